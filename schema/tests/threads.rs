//! A file gives the same events and the same errors whatever the number of threads that decode it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use beyla_schema::{
    event::{Body, Call, Data, Direction, Event, Loss, Source},
    file::{EventReader, EventWriter, Metadata, Projection},
};

/// Enough for several row groups.
const ROWS: u64 = 300_000;

fn event(number: u64) -> Event<'static> {
    const TEXT: &[u8] = b"GET /carts/7 HTTP/1.1\r\nHost: shop\r\n\r\n";
    let payload = &TEXT[..(number % 37) as usize];
    let body = match number % 1000 {
        0 => Body::Loss(Loss { cause: "ring_full", count: number }),
        _ => Body::Data(Data {
            direction: if number.is_multiple_of(2) { Direction::Receive } else { Direction::Send },
            source: Source::Socket,
            call: Call::Read,
            position: number,
            ready_ns: None,
            goroutine: 0,
            length: payload.len() as u32,
            payload,
            tail: b"",
        }),
    };
    Event { ts_ns: number * 10, cpu: 0, seq: number, pid: 17, tid: 18, connection: 9, carried: false, body }
}

fn file() -> Vec<u8> {
    let metadata = Metadata { schema_version: beyla_schema::file::VERSION, ..Metadata::default() };
    let mut bytes = Vec::new();
    let mut writer = EventWriter::new(&mut bytes, metadata.clock()).unwrap();
    (0..ROWS).for_each(|number| writer.push(&event(number)).unwrap());
    writer.finish(&metadata).unwrap();
    drop(writer);
    bytes
}

/// Hands every event to `each`. How it ended.
fn read(bytes: &[u8], threads: usize, mut each: impl FnMut(&Event<'_>)) -> Result<(), String> {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let mut reader = EventReader::open(bytes, Projection::Pairing).map_err(|error| error.to_string())?;
    reader.decode_on(threads);
    while reader.next_batch(&mut each).map_err(|error| error.to_string())?.is_some() {}
    Ok(())
}

#[test]
fn events_are_the_same() {
    let file = file();
    for threads in [0, 1, 2, 3, 4, 1000] {
        let mut numbers = 0..ROWS;
        let each = |found: &Event<'_>| assert_eq!(Some(*found), numbers.next().map(event));
        assert_eq!(read(&file, threads, each), Ok(()), "{threads} threads");
        assert_eq!(numbers.next(), None, "{threads} threads");
    }
}

#[test]
fn damage_is_the_same() {
    let file = file();
    let mut failures = 0;
    for place in 0..40 {
        let mut damaged = file.clone();
        // One byte in one column, or in several at once.
        let at = damaged.len() / 41 * (place + 1);
        damaged[at] ^= 0x55;
        if place % 4 == 0 {
            let middle = damaged.len() / 2;
            damaged[middle + place..middle + 3000].fill(0xa5);
        }
        let outcome = |threads| {
            let (mut rows, mut sum) = (0, 0_u64);
            let result = read(&damaged, threads, |event| {
                rows += 1;
                sum = sum.wrapping_mul(31).wrapping_add(event.ts_ns ^ event.seq);
            });
            (rows, sum, result)
        };
        let alone = outcome(1);
        failures += usize::from(alone.2.is_err());
        assert_eq!(outcome(3), alone, "damaged at {at}");
    }
    assert!(failures > 10, "{failures} of 40 failed");
}

#[test]
fn a_reader_may_be_left_at_any_moment() {
    let file = bytes::Bytes::from(file());
    for batches in 0..4 {
        let mut reader = EventReader::open(file.clone(), Projection::All).unwrap();
        reader.decode_on(2);
        (0..batches).for_each(|_| assert!(reader.next_record_batch().unwrap().is_some()));
    }
}
