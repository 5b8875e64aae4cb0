//! Events: out of columns and into them, into the journal, into Parquet, and into requests.

use std::hint::black_box;

use beyla_bench::Capture;
use beyla_engine::{Config, Engine, Sink};
use beyla_schema::arrow::events::{Builder, EventBatch};
use beyla_schema::event::Clock;
use beyla_schema::file::{EventWriter, Metadata, decode, encode};
use beyla_schema::request::Request;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FIXTURES: [&str; 3] = ["nginx", "pipelining", "go-http2"];

struct Count(u64);

impl Sink for Count {
    fn request(&mut self, request: &Request<'_>) {
        black_box(request);
        self.0 += 1;
    }
}

fn events(criterion: &mut Criterion) {
    for name in FIXTURES {
        let capture = Capture::of(name);
        let events = capture.events();
        let mut group = criterion.benchmark_group(format!("events/{name}"));
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_function("out of columns", |bench| {
            bench.iter(|| {
                for batch in black_box(&capture.records) {
                    let batch = EventBatch::new(batch).expect("it has our columns");
                    for row in 0..batch.rows() {
                        _ = black_box(batch.event(row));
                    }
                }
            });
        });
        group.bench_function("into columns", |bench| {
            let mut builder = Builder::new(Clock::default());
            bench.iter(|| {
                for event in black_box(&events) {
                    builder.append(event);
                }
                black_box(builder.finish().expect("columns are of one length"))
            });
        });
        group.bench_function("into Parquet", |bench| {
            bench.iter(|| {
                let mut writer = EventWriter::new(Vec::new(), Clock::default()).expect("memory takes all");
                for event in black_box(&events) {
                    writer.push(event).expect("memory takes all");
                }
                writer.finish(&Metadata::default()).expect("memory takes all");
            });
        });
        let mut journal = Vec::new();
        group.bench_function("into the journal", |bench| {
            bench.iter(|| {
                journal.clear();
                for event in black_box(&events) {
                    encode(event, &mut journal);
                }
            });
        });
        group.bench_function("out of the journal", |bench| {
            bench.iter(|| {
                let mut records = black_box(journal.as_slice());
                while let Some(event) = decode(&mut records) {
                    black_box(event);
                }
            });
        });
        group.bench_function("into requests", |bench| {
            bench.iter(|| {
                let (mut engine, mut requests) = (Engine::new(Config::default()), Count(0));
                for event in black_box(&events) {
                    engine.push(event, &mut requests);
                }
                engine.finish(&mut requests);
                requests.0
            });
        });
    }
}

criterion_group!(benches, events);
criterion_main!(benches);
