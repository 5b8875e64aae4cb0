//! Redaction of the events of real services.

use std::hint::black_box;

use beyla_bench::Capture;
use beyla_engine::redact::{Policy, Redactor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FIXTURES: [&str; 4] = ["nginx", "pipelining", "go-http2", "grpc"];

fn redact(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("redact");
    for name in FIXTURES {
        let capture = Capture::of(name);
        let events = capture.events();
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut redactor = Redactor::new(&Policy::standard());
                for event in black_box(&events) {
                    black_box(redactor.redact(event));
                }
            });
        });
    }
}

criterion_group!(benches, redact);
criterion_main!(benches);
