//! The exporter, with receivers that answer well, badly, late or not at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use beyla_engine::otlp::{Payload, Signal};

use super::{Counts, Exporter, Options};
use crate::live::OtlpOptions;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n";

/// A request as it was received: its head and its body.
type Received = (String, Vec<u8>);

/// A receiver that gives these answers, one for each connection, and then is gone. Its requests.
fn receiver(answers: &[&str]) -> (SocketAddr, JoinHandle<Vec<Received>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<_> = answers.iter().map(|&answer| answer.to_owned()).collect();
    let thread = thread::spawn(move || {
        let answer = |answer: &String| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let (status, content) = answer.split_once("\r\n\r\n").unwrap_or((answer.trim_end(), ""));
            write!(&stream, "{status}\r\nconnection: close\r\n\r\n{content}").unwrap();
            (head, body)
        };
        answers.iter().map(answer).collect()
    });
    (address, thread)
}

type Said = Arc<Mutex<Vec<String>>>;

fn exporter(address: SocketAddr, timeout: Duration) -> (Exporter, Said) {
    let whole = |signal: Signal| Some(format!("http://{address}/{}", signal.path()));
    let options = OtlpOptions {
        traces_endpoint: whole(Signal::Traces),
        metrics_endpoint: whole(Signal::Metrics),
        headers: vec![("x-scope".to_owned(), "me".to_owned())],
        timeout,
        ..OtlpOptions::default()
    };
    let options = Options::of(&options).unwrap().unwrap();
    let said = Said::default();
    let exporter = Exporter::start(options, {
        let said = Arc::clone(&said);
        move |line| said.lock().unwrap().push(line.to_owned())
    });
    (exporter.unwrap(), said)
}

fn payload(items: u64) -> Payload {
    Payload { signal: Signal::Traces, items, bytes: b"spans".to_vec() }
}

/// Exported, failed, dropped, retried.
fn counts(counts: &Counts) -> (u64, u64, u64, u64) {
    let Counts { exported, failed, dropped, retried, .. } = counts;
    (exported.load(Relaxed), failed.load(Relaxed), dropped.load(Relaxed), retried.load(Relaxed))
}

/// Hands over a payload for each number of items and finishes: the counts of spans, and what was said.
fn export(answers: &[&str], payloads: &[u64]) -> ((u64, u64, u64, u64), Vec<String>, Vec<Received>) {
    let (address, receiver) = receiver(answers);
    let (exporter, said) = exporter(address, Duration::from_secs(10));
    for &items in payloads {
        exporter.send(payload(items));
    }
    let counters = Arc::clone(exporter.counters());
    exporter.finish();
    let said = said.lock().unwrap().clone();
    (counts(&counters.traces), said, receiver.join().unwrap())
}

#[test]
fn a_payload_is_the_body_of_a_request() {
    let (address, receiver) = receiver(&[OK, OK]);
    let (exporter, said) = exporter(address, Duration::from_secs(10));
    exporter.send(payload(3));
    exporter.send(Payload { signal: Signal::Metrics, items: 2, bytes: b"metrics".to_vec() });
    let counters = Arc::clone(exporter.counters());
    exporter.finish();
    assert_eq!((counts(&counters.traces), counts(&counters.metrics)), ((3, 0, 0, 0), (2, 0, 0, 0)));
    assert!(said.lock().unwrap().is_empty());
    let requests = receiver.join().unwrap();
    assert_eq!((&*requests[0].1, &*requests[1].1), (&b"spans"[..], &b"metrics"[..]));
    assert!(requests[0].0.starts_with("POST /v1/traces HTTP/1.1\r\n"));
    assert!(requests[1].0.starts_with("POST /v1/metrics HTTP/1.1\r\n"));
    for line in ["content-type: application/x-protobuf\r\n", "x-scope: me\r\n"] {
        assert!(requests[0].0.contains(line), "{}", requests[0].0);
    }
}

#[test]
fn a_receiver_that_is_busy_is_asked_again() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n";
    let wait = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n";
    let began = Instant::now();
    let (counts, said, received) = export(&[busy, busy, wait, OK, OK], &[3, 1]);
    assert_eq!(counts, (4, 0, 0, 3));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(received.iter().all(|(_, body)| body == b"spans"));
    // Each kind of failure once.
    assert!(said.len() == 2 && said[0].contains("503") && said[1].contains("429"), "{said:?}");
}

#[test]
fn a_receiver_that_does_not_want_it_is_not_asked_again() {
    let bad = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n";
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n";
    // Longer than anyone waits, and than an `Instant` can be told.
    let never =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 18446744073709551615\r\ncontent-length: 0\r\n";
    let (counts, said, _) = export(&[bad, bad, elsewhere, never, OK], &[3, 1, 1, 1, 5]);
    assert_eq!(counts, (5, 6, 0, 0));
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[3], "OTLP: 6 of 11 spans could not be delivered");
}

#[test]
fn what_is_rejected_of_a_payload_has_failed() {
    // partial_success { rejected_spans: 2, error_message: "bad\e" }; then a warning; then what is no message at all.
    let partial = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n\x0a\x08\x08\x02\x12\x04bad\x1b";
    let warning = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n\x0a\x03\x12\x01w";
    let text = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";
    let (counts, said, _) = export(&[partial, warning, text], &[3, 1, 1]);
    assert_eq!(counts, (3, 2, 0, 0));
    assert!(said.len() == 2 && said[0].ends_with("2 rejected: bad\\u{1b}"), "{said:?}");
}

#[test]
fn without_a_receiver_the_end_comes_all_the_same() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (exporter, said) = exporter(nobody, Duration::from_secs(10));
    for _ in 0..3 {
        exporter.send(payload(1));
    }
    let counters = Arc::clone(exporter.counters());
    let began = Instant::now();
    exporter.finish();
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert_eq!((counters.traces.undelivered(), counts(&counters.traces).0), (3, 0));
    assert!(counts(&counters.traces).3 >= 2, "it was tried again");
    let said = said.lock().unwrap();
    assert!(said.len() == 2 && said[1] == "OTLP: 3 of 3 spans could not be delivered", "{said:?}");
}

#[test]
fn a_receiver_that_is_slow_holds_nobody_up() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (exporter, said) = exporter(silent.local_addr().unwrap(), Duration::from_millis(300));
    let began = Instant::now();
    for _ in 0..1000 {
        exporter.send(payload(2));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let counters = Arc::clone(exporter.counters());
    // The queue, and the one that is being sent.
    let dropped = counts(&counters.traces).2;
    assert!((2 * (1000 - 17)..=2 * (1000 - 16)).contains(&dropped), "{dropped}");
    let began = Instant::now();
    exporter.finish();
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert_eq!(counters.traces.undelivered(), 2000);
    let said = said.lock().unwrap();
    assert!(said.len() == 2 && said[1] == "OTLP: 2000 of 2000 spans could not be delivered", "{said:?}");
}
