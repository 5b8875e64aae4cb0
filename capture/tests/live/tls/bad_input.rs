//! What cannot be seen into is named, and everything else goes on.

use super::{
    Service,
    ask::{Ask, Client},
};
use crate::{
    Machine,
    capture::Capture,
    server::{Kind, Server},
    turn,
};

#[test]
fn a_go_that_nobody_knows_is_told_once_and_its_ciphertext_recorded() {
    let kind = Kind::Tls(Service::GoUnoptimised);
    let Some(_turn) = turn(Machine::Shared, kind.programs()) else { return };
    let server = Server::start(kind);
    let capture = Capture::of_port(server.port);
    let mut client = Client::with(&server, 1);
    let sent = client.send(&[Ask::get(0, "/one"), Ask { last: true, ..Ask::get(0, "/two") }]);
    client.hang_up();
    assert_eq!(sent.len(), 2);
    let recording = capture.stop();
    recording.assert_complete();
    assert!(recording.requests.is_empty(), "{:?}", recording.requests);
    assert!(recording.stats.ciphertext_bytes > 1000, "{:?}", recording.stats);
    let said: Vec<_> = recording.stderr.lines().filter(|line| line.contains("is not seen")).collect();
    let [line] = said[..] else { panic!("{}", recording.stderr) };
    assert!(line.contains("go-server-unoptimised") && line.contains("crypto/tls.(*Conn).Read"), "{line}");
    let metadata = recording.metadata.unwrap();
    let probe = metadata.probes.iter().find(|probe| probe.name.starts_with("go:")).unwrap();
    assert!(probe.failure.as_ref().is_some_and(|failure| line.ends_with(&**failure)), "{probe:?}");
}
