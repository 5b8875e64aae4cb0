//! Secrets: what clients and servers tell each other in confidence is in no file, neither while the capture runs nor
//! in the end, and the requests are the same as without.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use beyla_schema::{
    event::Body,
    file::{EventReader, Projection},
};

use crate::{
    Machine, Noise,
    capture::Capture,
    client::{Client, Message, Sent},
    server::{Kind, Server},
    sources, turn,
};

/// Requests, each with one secret; over several clients at a time.
pub(crate) const SECRETS: usize = 1000;
pub(crate) const CLIENTS: usize = 8;

/// So long that no other text has it by chance.
pub(crate) fn secret(noise: &mut Noise) -> String {
    format!("{:016x}{:08x}", noise.next(), noise.next() as u32)
}

/// One way to tell a secret: header lines, or a query.
pub(crate) fn place(number: usize, secret: &str) -> (String, String) {
    let target = format!("/{number}");
    match number % 8 {
        0 => (target, format!("Authorization: Bearer {secret}\r\n")),
        1 => (target, format!("cookie: theme=dark; session={secret}\r\n")),
        2 => (target, format!("X-API-KEY:{secret}\r\n")),
        3 => (target, format!("Proxy-Authorization: Basic {secret}\r\n")),
        4 => (format!("{target}?a=1&token={secret}&b=2"), String::new()),
        5 => (format!("{target}?password={secret}"), String::new()),
        6 => (target, format!("Referer: http://shop/?access_token={secret}#top\r\n")),
        _ => (target, format!("X-Ours: {secret}\r\n")),
    }
}

/// What of `secret` is in `bytes`: any eight bytes of it.
pub(crate) fn leaks(bytes: &[u8], secret: &str) -> bool {
    secret.as_bytes().windows(8).step_by(8).any(|part| memchr::memmem::find(bytes, part).is_some())
}

/// What of `secret` is in `bytes` in the code of HPACK (RFC 7541 section 5.2), wherever in a byte it begins.
fn leaks_coded(bytes: &[u8], secret: &str) -> bool {
    let mut coded = Vec::new();
    httlib_huffman::encode(secret.as_bytes(), &mut coded).unwrap();
    (0..8).any(|shift| {
        let pairs = coded.windows(2);
        let shifted: Vec<_> =
            pairs.map(|pair| (u16::from_be_bytes([pair[0], pair[1]]) >> shift) as u8).collect();
        // The last byte is padded.
        memchr::memmem::find(bytes, &shifted[..shifted.len() - 1]).is_some()
    })
}

/// The bytes of the capture's files as they are, and of everything that a reader makes of them.
pub(crate) fn everything(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        // It may be gone by now: the journal is, once the file is complete.
        bytes.extend(fs::read(entry.unwrap().path()).unwrap_or_default());
    }
    let Ok(mut reader) = EventReader::open_path(&folder.join("run.parquet"), Projection::All) else {
        return bytes;
    };
    bytes.extend(format!("{:?}", reader.metadata()).bytes());
    let mut each = |event: &beyla_schema::event::Event<'_>| match event.body {
        Body::Data(data) => {
            bytes.extend(data.payload);
            bytes.extend(data.tail);
        }
        body => bytes.extend(format!("{body:?}").bytes()),
    };
    while reader.next_batch(&mut each).is_ok_and(|batch| batch.is_some()) {}
    bytes
}

#[test]
fn no_secret_reaches_a_disk() {
    let Some(_turn) = turn(Machine::Alone, Kind::Node.programs()) else { return };
    let server = Server::start(Kind::Node);
    let port = server.port;
    let capture = Capture::start(&["--port", &port.to_string(), "--redact-header", "x-ours"]);
    let mut noise = Noise(0x2026_1122);
    let secrets: Vec<_> = (0..SECRETS).map(|_| secret(&mut noise)).collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let mine: Vec<_> = secrets.iter().cloned().enumerate().skip(client).step_by(CLIENTS).collect();
            thread::spawn(move || {
                let mut client = Client::new(port);
                for (number, secret) in mine {
                    let (target, headers) = place(number, &secret);
                    // Some are cut apart, in the middle of the secret too.
                    let byte_by_byte = number % 5 == 0;
                    client.send(Message {
                        method: "GET",
                        target: &target,
                        headers: &headers,
                        byte_by_byte,
                        ..Message::default()
                    });
                }
                client.take_sent()
            })
        })
        .collect();
    // Looked at while it is written, too.
    let folder = capture.path().parent().unwrap().to_owned();
    let mut looked = Vec::new();
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(50));
        looked.extend(everything(&folder));
    }
    let mut sent: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let recording = capture.stop();
    let end = everything(recording.folder.as_ref().unwrap().path());
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!leaks(&looked, secret), "secret {number} was on the disk for a while");
        assert!(!leaks(&end, secret), "secret {number} is in the file");
    }
    assert!(leaks(&looked, "/run.parquet") && leaks(&end, "/run.parquet"), "nothing was looked at");
    hide(&mut sent, &secrets);
    recording.assert_served(&sent);
}

/// Nothing else changes: the secrets of the queries are as long as they were.
pub(crate) fn hide(sent: &mut [Sent], secrets: &[String]) {
    for sent in sent {
        for secret in secrets {
            sent.target = sent.target.replace(secret, &"*".repeat(secret.len()));
        }
    }
}

/// What is no secret.
const PLAIN: &str = "nothing-secret-here";

/// Header fields of a request over HTTP/2 that tell a secret.
fn fields(number: usize, secret: &str) -> String {
    let path = format!("/{number}\",\"x-plain\":\"{PLAIN}");
    match number % 5 {
        0 => format!(r#"{{":path":"{path}","authorization":"{secret}"}}"#),
        1 => format!(r#"{{":path":"{path}","cookie":"theme=dark; session={secret}"}}"#),
        2 => format!(r#"{{":path":"/{number}?a=1&token={secret}&b=2"}}"#),
        3 => format!(r#"{{":path":"{path}","x-api-key":"{secret}"}}"#),
        // It comes back in a response.
        _ => format!(r#"{{":path":"{path}","x-ours":"{secret}","x-echo":"{secret}"}}"#),
    }
}

#[test]
fn no_secret_of_http2_reaches_a_disk() {
    no_secret_over_http2_reaches_a_disk(Kind::H2c);
}

pub(crate) fn no_secret_over_http2_reaches_a_disk(kind: Kind) {
    let Some(_turn) = turn(Machine::Alone, kind.programs()) else { return };
    let server = Server::start(kind);
    let port = server.port.to_string();
    let ours = ["--redact-header", "x-ours", "--redact-header", "x-echo"];
    let capture = Capture::start(&[&["--port", &port], &ours[..]].concat());
    let mut noise = Noise(0x2026_1123);
    // Characters that the code shortens, and such that are written as they are because it does not.
    let secrets: Vec<_> = (0..SECRETS)
        .map(|number| match number % 2 {
            0 => secret(&mut noise),
            _ => secret(&mut noise).replace(['0', '1', '2', '3'], "!").replace(['4', '5', '6', '7'], "$"),
        })
        .collect();
    let lines: Vec<_> = secrets.iter().enumerate().map(|(number, secret)| fields(number, secret)).collect();
    let mut client = Command::new("timeout")
        .args(["60", "node"])
        .arg(sources().join("h2c/client.js"))
        .args([&port, "4"])
        .args(server.certificate())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let answered = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answered.stdout).trim(), SECRETS.to_string());
    let folder = capture.path().parent().unwrap().to_owned();
    let looked = everything(&folder);
    let recording = capture.stop();
    recording.assert_source(kind.source());
    let end = everything(recording.folder.as_ref().unwrap().path());
    for bytes in [&looked, &end] {
        for (number, secret) in secrets.iter().enumerate() {
            assert!(!leaks(bytes, secret), "secret {number} is there");
            assert!(!leaks_coded(bytes, secret), "secret {number} is there, coded");
        }
        // What is no secret is found in both forms.
        assert!(leaks(bytes, "/run.parquet") && leaks_coded(bytes, PLAIN));
    }
}
