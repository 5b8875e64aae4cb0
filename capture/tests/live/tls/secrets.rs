//! Secrets over TLS: their plaintext is in no file either, neither while the capture runs nor in the end.

use std::{thread, time::Duration};

use super::{
    Service,
    ask::{Ask, Client},
};
use crate::{
    Machine, Noise,
    capture::Capture,
    secrets::{
        CLIENTS, SECRETS, everything, hide, leaks, no_secret_over_http2_reaches_a_disk, place, secret,
    },
    server::{Kind, Server},
    turn,
};

fn no_secret_reaches_a_disk(service: Service) {
    let kind = Kind::Tls(service);
    let Some(_turn) = turn(Machine::Alone, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::start(&["--port", &server.port.to_string(), "--redact-header", "x-ours"]);
    let mut noise = Noise(0x2026_1129);
    let secrets: Vec<_> = (0..SECRETS).map(|_| secret(&mut noise)).collect();
    let ask = |(number, secret): (usize, &String)| {
        let (target, header) = place(number, secret);
        let mut ask = Ask::get((number % CLIENTS) as u64, target);
        if let Some((name, value)) = header.split_once(':') {
            ask.headers.insert(name.to_owned(), value.trim().to_owned());
        }
        ask
    };
    let asked: Vec<_> = secrets.iter().enumerate().map(ask).collect();
    let mut client = Client::of(&server);
    let sending = thread::spawn(move || {
        let sent = client.send(&asked);
        client.hang_up();
        sent
    });
    // Looked at while it is written, too.
    let folder = capture.path().parent().unwrap().to_owned();
    let mut looked = Vec::new();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        looked.extend(everything(&folder));
    }
    let mut sent = sending.join().unwrap();
    let recording = capture.stop();
    let end = everything(recording.folder.as_ref().unwrap().path());
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!leaks(&looked, secret), "secret {number} was on the disk for a while");
        assert!(!leaks(&end, secret), "secret {number} is in the file");
    }
    assert!(leaks(&looked, "/run.parquet") && leaks(&end, "/run.parquet"), "nothing was looked at");
    // What is no secret is there.
    assert!(leaks(&end, "GET /999"), "no plaintext was looked at");
    hide(&mut sent, &secrets);
    recording.assert_source(service.source());
    recording.assert_served(&sent);
}

#[test]
fn no_secret_of_go_reaches_a_disk() {
    no_secret_reaches_a_disk(Service::Go);
}

#[test]
fn no_secret_of_node_reaches_a_disk() {
    no_secret_reaches_a_disk(Service::Node);
}

#[test]
fn no_secret_of_python_reaches_a_disk() {
    no_secret_reaches_a_disk(Service::Python);
}

#[test]
fn no_secret_of_http2_reaches_a_disk() {
    no_secret_over_http2_reaches_a_disk(Kind::Tls(Service::NodeHttp2));
}
