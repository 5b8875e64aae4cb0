//! Makes a large capture of small ones, to measure with: their events over and over, as if the service went on.
//!
//!     enlarge --events 10000000 -o large.parquet fixtures/nginx/nginx.parquet fixtures/grpc/grpc.parquet
//!
//! Payloads are those that were recorded. Every repetition has connections of its own and comes after the one before; its
//! times are stretched by 0.7 to 1.5, so that durations vary. The result is a valid capture.
#![allow(clippy::print_stderr, reason = "it is a tool of the command line")]

use std::{fs::File, path::PathBuf};

use anyhow::{Context, ensure};
use beyla_schema::{
    event::{Body, Data, Event},
    file::{Cost, EventReader, EventWriter, Metadata, Projection, VERSION},
};
use clap::Parser;

/// Time between one repetition and the next.
const PAUSE_NS: u64 = 1_000_000;

/// The CPU of rows that the recorder adds.
const RECORDER: u16 = u16::MAX;

#[derive(Parser)]
struct Options {
    /// Captures to repeat, one after the other
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Events to write, at least
    #[arg(long)]
    events: u64,
    /// Where to write them
    #[arg(short, long)]
    output: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Options { inputs, events, output } = Options::parse();
    let open = |input: &PathBuf| {
        EventReader::open_path(input, Projection::All).with_context(|| input.display().to_string())
    };
    let first = inputs.first().context("there is no input")?;
    let metadata = open(first)?.metadata().clone();
    let mut large = Large {
        writer: EventWriter::new(File::create(&output)?, metadata.clock())?,
        now_ns: metadata.clocks.first().map_or(0, |sample| sample.monotonic_ns),
        seq: 0,
        recorder_seq: 0,
        connections: 0,
        rows: 0,
        random: 1,
    };
    while large.rows < events {
        for input in &inputs {
            let before = large.rows;
            large.repeat(&mut open(input)?)?;
            ensure!(large.rows > before, "{} has no events", input.display());
            if large.rows >= events {
                break;
            }
        }
    }
    large.add(Body::Seen(large.seq))?;
    large.add(Body::End("duration"))?;
    let metadata =
        Metadata { schema_version: VERSION, part: None, late_rows: 0, cost: Cost::default(), ..metadata };
    large.writer.finish(&metadata)?;
    eprintln!("{} events on {} connections", large.rows, large.connections);
    Ok(())
}

/// The capture in the making. All its records come from one CPU.
struct Large {
    writer: EventWriter<File>,
    now_ns: u64,
    seq: u64,
    recorder_seq: u64,
    connections: u64,
    rows: u64,
    random: u64,
}

impl Large {
    /// Writes the events of a capture, later and on other connections.
    fn repeat(&mut self, reader: &mut EventReader) -> anyhow::Result<()> {
        // Numerical Recipes' generator: the same numbers in every run.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stretch = 0.7 + 0.8 * (self.random >> 33) as f64 / (1_u64 << 31) as f64;
        let mut numbers = std::collections::HashMap::new();
        let (mut base, begin) = (None, self.now_ns + PAUSE_NS);
        let mut result = Ok(());
        while let Some(_rows) = reader.next_batch(|event| {
            let base = *base.get_or_insert(event.ts_ns);
            let at = |ns: u64| begin + (ns.saturating_sub(base) as f64 * stretch) as u64;
            if result.is_ok() && !matches!(event.body, Body::Loss(_) | Body::Seen(_) | Body::End(_)) {
                let connection = match event.connection {
                    0 => 0,
                    known => *numbers.entry(known).or_insert_with(|| {
                        self.connections += 1;
                        self.connections
                    }),
                };
                let body = match event.body {
                    Body::Data(data) => Body::Data(Data { ready_ns: data.ready_ns.map(at), ..data }),
                    body => body,
                };
                self.now_ns = self.now_ns.max(at(event.ts_ns));
                let event = Event { ts_ns: self.now_ns, connection, body, ..*event };
                result = self.push(event);
            }
        })? {}
        result
    }

    fn push(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        let (cpu, seq) = if event.cpu == RECORDER || event.carried {
            (RECORDER, &mut self.recorder_seq)
        } else {
            (0, &mut self.seq)
        };
        self.writer.push(&Event { cpu, seq: *seq, ..event })?;
        *seq += 1;
        self.rows += 1;
        Ok(())
    }

    fn add(&mut self, body: Body<'_>) -> anyhow::Result<()> {
        let (ts_ns, cpu) = (self.now_ns, RECORDER);
        self.push(Event { ts_ns, cpu, seq: 0, pid: 0, tid: 0, connection: 0, carried: false, body })
    }
}
