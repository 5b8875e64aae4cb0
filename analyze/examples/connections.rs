//! Makes a capture in which many connections are open at the same time, to measure what their number costs.
//!
//!     connections --connections 100000 --events 2000000 -o many.parquet fixtures/nginx/nginx.parquet
//!
//! The longest connection of a capture, call by call over and over, on each of the connections in turn. Every one gets
//! whole exchanges, its positions grow, and the result is a valid capture.
#![allow(clippy::print_stderr, reason = "it is a tool of the command line")]

use std::{collections::BTreeMap, fs::File, path::PathBuf};

use anyhow::{Context, ensure};
use beyla_schema::{
    event::{Body, Data, Direction, Event, Open},
    file::{Cost, EventReader, EventWriter, Metadata, Projection, VERSION, decode, encode},
};
use clap::Parser;

/// Time between one event and the next.
const STEP_NS: u64 = 1_000;

/// The CPU of rows that the recorder adds.
const RECORDER: u16 = u16::MAX;

#[derive(Parser)]
struct Options {
    /// Capture with the connection
    input: PathBuf,
    /// How many there are
    #[arg(long)]
    connections: u64,
    /// Events to write, about
    #[arg(long)]
    events: u64,
    /// Where to write them
    #[arg(short, long)]
    output: PathBuf,
}

/// A connection in the making.
#[derive(Clone, Copy, Default)]
struct State {
    /// The next exchange.
    next: usize,
    /// Bytes received and sent.
    moved: [u64; 2],
}

fn main() -> anyhow::Result<()> {
    let Options { input, connections, events, output } = Options::parse();
    let mut reader = EventReader::open_path(&input, Projection::All)?;
    let metadata = reader.metadata().clone();
    let (opened, records) = longest(&mut reader)?;
    let mut open = opened.as_slice();
    let open = decode(&mut open).context("the connection has no beginning")?;
    let exchanges = exchanges(&records)?;
    let mut writer = EventWriter::new(File::create(output)?, metadata.clock())?;
    let mut seq = 0;
    let mut now_ns = open.ts_ns;
    let mut push = |event: Event<'_>| {
        now_ns += STEP_NS;
        let event = Event { ts_ns: now_ns, cpu: 0, seq, ..event };
        seq += 1;
        writer.push(&event).map(|()| seq)
    };
    for connection in 1..=connections {
        push(Event { connection, ..open })?;
    }
    let mut states = vec![State::default(); usize::try_from(connections)?];
    let mut written = 0;
    while written < events {
        for (connection, state) in (1..).zip(&mut states) {
            for event in &exchanges[state.next] {
                let Body::Data(data) = event.body else { continue };
                let moved = &mut state.moved[usize::from(data.direction == Direction::Send)];
                let body = Body::Data(Data { position: *moved, ready_ns: None, ..data });
                *moved += u64::from(data.length);
                written = push(Event { connection, body, ..*event })?;
            }
            state.next = (state.next + 1) % exchanges.len();
        }
    }
    let about = Event { cpu: RECORDER, connection: 0, pid: 0, tid: 0, ..open };
    for (seq, body) in [(0, Body::Seen(written)), (1, Body::End("duration"))] {
        writer.push(&Event { ts_ns: now_ns + STEP_NS, seq, body, ..about })?;
    }
    writer.finish(&Metadata {
        schema_version: VERSION,
        part: None,
        late_rows: 0,
        cost: Cost::default(),
        ..metadata
    })?;
    eprintln!("{} events on {connections} connections", written + 2);
    Ok(())
}

/// The beginning of the connection with most calls and its calls, as records.
fn longest(reader: &mut EventReader) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let mut found: BTreeMap<u64, (Vec<u8>, Vec<u8>, u32)> = BTreeMap::new();
    while let Some(_rows) = reader.next_batch(|event| {
        let (opened, calls, count) = found.entry(event.connection).or_default();
        match event.body {
            Body::Open(Open { .. }) => encode(event, opened),
            Body::Data(_) => {
                encode(event, calls);
                *count += 1;
            }
            _ => {}
        }
    })? {}
    let longest = found.into_values().filter(|found| !found.0.is_empty()).max_by_key(|found| found.2);
    longest.map(|(opened, calls, _)| (opened, calls)).context("the capture has no connection")
}

/// Calls from one request to the next.
fn exchanges(mut records: &[u8]) -> anyhow::Result<Vec<Vec<Event<'_>>>> {
    let mut exchanges: Vec<Vec<Event<'_>>> = Vec::new();
    let mut answered = true;
    while !records.is_empty() {
        let event = decode(&mut records).context("a record that is none")?;
        let Body::Data(data) = event.body else { continue };
        let sends = data.direction == Direction::Send;
        match exchanges.last_mut() {
            Some(last) if sends || !answered => last.push(event),
            _ => exchanges.push(vec![event]),
        }
        answered = sends;
    }
    ensure!(!exchanges.is_empty(), "the connection has no calls");
    Ok(exchanges)
}
