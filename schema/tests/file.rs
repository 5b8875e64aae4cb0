//! The file format: what is written is read back, and what cannot be read says why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;

use beyla_schema::{
    event::{
        Body, Call, Change, Close, Data, Direction, Endpoint, Event, Listen, Loss, Open, Origin, Process,
        Source, Transport,
    },
    file::{
        ClockSample, Error, EventReader, EventWriter, Host, Metadata, Probe, Projection, VERSION, Version,
    },
};

fn metadata(schema_version: Version) -> Metadata {
    Metadata {
        schema_version,
        tool_version: "0.1.0".into(),
        capture_id: "00000000000000ff".into(),
        argv: vec!["beyla-capture".into(), "--port".into(), "8080".into()],
        host: Host { name: "shop-1".into(), ..Host::default() },
        clocks: vec![ClockSample {
            monotonic_ns: 1_000,
            realtime_ns: 1_700_000_000_000_000_000,
            boottime_ns: 1_000,
        }],
        selectors: vec!["port 8080".into()],
        snaplen: 4096,
        ring_bytes: 1 << 24,
        redaction: "none".into(),
        probes: vec![Probe { name: "sk_data_ready".into(), failure: None }],
        redacted_headers: vec!["cookie".into()],
        part: Some(2),
        ..Metadata::default()
    }
}

fn events() -> Vec<Event<'static>> {
    let event = |seq: u64, connection: u64, body| Event {
        ts_ns: 1_000 + seq,
        cpu: (seq % 2) as u16,
        seq,
        pid: 17,
        tid: 18,
        connection,
        carried: false,
        body,
    };
    let process = Process {
        change: Some(Change::Start),
        parent: 1,
        started_ns: Some(1_700_000_000_000_000_000),
        executable: "/bin/shop",
        command_line: "shop --port 8080",
        cgroup: "/system.slice/shop.service",
        container: "",
        runtime: "go",
        service: "shop",
    };
    let data = Data {
        direction: Direction::Receive,
        source: Source::Socket,
        call: Call::Recvfrom,
        position: 0,
        ready_ns: Some(1_001),
        goroutine: 77,
        length: 5,
        payload: b"GET\0\xff",
        tail: b"",
    };
    vec![
        event(0, 0, Body::Process(process)),
        event(1, 0, Body::Process(Process::default())),
        event(
            2,
            9,
            Body::Listen(Listen {
                transport: Transport::Tcp,
                address: Endpoint::Inet("[::]:8080".parse().unwrap()),
            }),
        ),
        event(
            3,
            u64::MAX,
            Body::Open(Open {
                origin: Origin::Accept,
                transport: Transport::Tcp,
                local: Endpoint::Inet("127.0.0.1:8080".parse().unwrap()),
                remote: Endpoint::Inet("[::ffff:127.0.0.1]:5000".parse().unwrap()),
            }),
        ),
        Event {
            carried: true,
            ..event(
                3,
                8,
                Body::Open(Open {
                    origin: Origin::Found,
                    transport: Transport::Unix,
                    local: Endpoint::Unix("/run/shop.sock"),
                    remote: Endpoint::Unix(""),
                }),
            )
        },
        event(3, 0, Body::Seen(u64::MAX)),
        event(4, u64::MAX, Body::Data(data)),
        event(
            5,
            u64::MAX,
            Body::Data(Data {
                direction: Direction::Send,
                call: Call::Sendfile,
                position: 1 << 40,
                ready_ns: None,
                goroutine: 0,
                length: u32::MAX,
                payload: b"",
                tail: b"0\r\n\r\n",
                ..data
            }),
        ),
        event(6, u64::MAX, Body::Close(Close { direction: Some(Direction::Send), received: 5, sent: 6 })),
        event(7, u64::MAX, Body::Close(Close { direction: None, received: 5, sent: 6 })),
        event(8, 0, Body::Loss(Loss { cause: "ring_full", count: 3 })),
        event(9, 0, Body::End("signal")),
    ]
}

fn write(version: Version) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.parquet");
    let metadata = metadata(version);
    let mut writer = EventWriter::new(File::create(&path).unwrap(), metadata.clock()).unwrap();
    for event in events() {
        writer.push(&event).unwrap();
    }
    writer.finish(&metadata).unwrap();
    (folder, path)
}

#[test]
fn events_and_metadata_come_back_as_written() {
    let (_folder, path) = write(VERSION);
    let mut reader = EventReader::open(File::open(&path).unwrap(), Projection::All).unwrap();
    assert_eq!(reader.metadata(), &metadata(VERSION));
    assert_eq!(reader.rows(), 12);
    let mut expected = events().into_iter();
    while reader.next_batch(|event| assert_eq!(Some(*event), expected.next())).unwrap().is_some() {}
    assert_eq!(expected.next(), None);
}

#[test]
fn pairing_projection_loses_nothing_that_pairing_needs() {
    let (_folder, path) = write(VERSION);
    let mut reader = EventReader::open(File::open(&path).unwrap(), Projection::Pairing).unwrap();
    let mut bodies = Vec::new();
    while reader
        .next_batch(|event| {
            bodies.push(matches!(event.body, Body::Process(Process { service: "shop", executable: "", .. })));
            if let Body::Data(data) = event.body {
                assert!(!data.payload.is_empty() || !data.tail.is_empty());
            }
        })
        .unwrap()
        .is_some()
    {}
    assert_eq!(bodies.len(), 12);
    assert!(bodies[0]);
}

#[test]
fn the_same_events_give_the_same_bytes() {
    let (_one, first) = write(VERSION);
    let (_two, second) = write(VERSION);
    assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
}

#[test]
fn a_newer_major_is_refused_and_a_newer_minor_is_not() {
    let open = |version| {
        let (_folder, path) = write(version);
        EventReader::open(File::open(&path).unwrap(), Projection::All).map(|_| ())
    };
    let major = Version { major: VERSION.major + 1, minor: 0 };
    let error = open(major).unwrap_err();
    assert!(matches!(error, Error::NewerVersion { theirs } if theirs == major), "{error}");
    assert!(open(Version { minor: VERSION.minor + 1, ..VERSION }).is_ok());
}

#[test]
fn other_files_and_damaged_ones_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        EventReader::open(File::open(&path).unwrap(), Projection::All).map(|_| ()).unwrap_err()
    };
    assert!(matches!(open(b""), Error::NotParquet));
    assert!(matches!(open(b"PK"), Error::NotParquet));
    assert!(matches!(open(b"hello, this is text"), Error::NotParquet));
    assert!(matches!(open(b"PAR1 and no footer"), Error::Truncated));

    let (_folder, whole) = write(VERSION);
    let whole = std::fs::read(whole).unwrap();
    assert!(matches!(open(&whole[..whole.len() - 1]), Error::Truncated));
}

/// Reads a whole file that may be damaged.
fn read(bytes: Vec<u8>) -> Result<(), Error> {
    let mut reader = EventReader::open(bytes::Bytes::from(bytes), Projection::All)?;
    while reader.next_batch(|_| {})?.is_some() {}
    Ok(())
}

#[test]
fn a_file_with_a_hole_is_an_error() {
    let (_folder, whole) = write(VERSION);
    let mut whole = std::fs::read(whole).unwrap();
    whole.drain(100..200);
    assert!(read(whole).is_err());
}

#[test]
fn a_damaged_byte_is_an_error_or_harmless_never_a_panic() {
    let (_folder, whole) = write(VERSION);
    let whole = std::fs::read(whole).unwrap();
    let outcomes = (0..whole.len()).map(|at| {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        read(damaged).is_err()
    });
    assert!(outcomes.filter(|&failed| failed).count() > whole.len() / 10);
}
