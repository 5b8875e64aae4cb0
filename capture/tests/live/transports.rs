//! What else than TCP carries bytes: unix sockets and UDP, when they are asked for.

use std::{
    net::UdpSocket,
    process::{Child, Command, Stdio},
    time::Duration,
};

use beyla_schema::event::{Body, Endpoint, Transport};

use crate::{
    Machine,
    capture::{Capture, probe},
    folder, free_port, sources, turn, wait_for,
};

/// A server that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn requests_over_a_unix_socket_are_recorded() {
    let Some(_turn) = turn(Machine::Shared, &["gunicorn", "curl"]) else { return };
    if probe().as_deref() == Some("sys-exit") {
        return eprintln!("unix sockets are not recorded at the exit of system calls");
    }
    let folder = folder();
    let path = folder.path().join("shop.sock");
    let server = Running(
        Command::new("gunicorn")
            .args(["--workers", "1", "--worker-tmp-dir", "/dev/shm", "app", "--chdir"])
            .arg(sources().join("gunicorn"))
            .arg(format!("--bind=unix:{}", path.display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let ask = |target: &str| {
        let url = format!("http://shop{target}");
        let asked =
            Command::new("curl").args(["-s", "-m", "10", "--unix-socket"]).arg(&path).arg(url).output();
        asked.unwrap().status.success()
    };
    wait_for("the server", || ask("/").then_some(()));
    let capture = Capture::start(&["--unix", "--pid", &server.0.id().to_string()]);
    for number in 0..20 {
        assert!(ask(&format!("/unix/{number}")));
    }
    let mut paths = Vec::new();
    let recording = capture.stop_and(|event| {
        if let Body::Open(open) = event.body
            && open.transport == Transport::Unix
            && let Endpoint::Unix(path) = open.local
        {
            paths.push(path.to_owned());
        }
    });
    recording.assert_complete();
    let seen = |number: usize| {
        let target = format!("/unix/{number}");
        recording.requests.iter().filter(|seen| seen.target.as_deref() == Some(&target)).collect::<Vec<_>>()
    };
    for number in 0..20 {
        let requests = seen(number);
        assert_eq!(requests.len(), 1, "{:?}", recording.requests);
        assert_eq!((requests[0].status, requests[0].server), (Some(200), None));
    }
    let path = path.to_str().unwrap();
    assert_eq!(paths.iter().filter(|seen| *seen == path).count(), 20, "{paths:?}");
}

#[test]
fn datagrams_are_recorded() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    if probe().as_deref() == Some("sys-exit") {
        return eprintln!("UDP is not recorded at the exit of system calls");
    }
    let port = free_port();
    // It ends by itself when nobody has anything to say.
    let script = "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', int(sys.argv[1])))
s.settimeout(60)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)";
    let server = Running(Command::new("python3").args(["-c", script, &port.to_string()]).spawn().unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 2048];
    let mut echo = |bytes: &[u8]| {
        client.send(bytes).is_ok() && client.recv(&mut buffer).is_ok_and(|length| length == bytes.len())
    };
    wait_for("the server", || echo(b"there?").then_some(()));
    let capture = Capture::start(&["--udp", "--redact", "none", "--pid", &server.0.id().to_string()]);
    let datagrams: Vec<_> =
        (0..50).map(|number| format!("datagram {number} {}", "x".repeat(number * 20))).collect();
    for datagram in &datagrams {
        assert!(echo(datagram.as_bytes()));
    }
    let mut moved = Vec::new();
    let recording = capture.stop_and(|event| match event.body {
        Body::Data(data) => {
            assert_eq!(data.length as usize, data.payload.len());
            moved.push(String::from_utf8_lossy(data.payload).into_owned());
        }
        Body::Open(open) => assert_eq!(open.transport, Transport::Udp),
        _ => {}
    });
    recording.assert_complete();
    assert_eq!(recording.requests.len(), 0);
    let twice: Vec<_> = datagrams.iter().flat_map(|datagram| [datagram.clone(), datagram.clone()]).collect();
    assert_eq!(moved, twice);
}
