//! HTTP/2 of real servers and clients: frames as a bystander walks them, and their header blocks.

use std::collections::BTreeMap;
use std::hint::black_box;

use beyla_bench::Capture;
use beyla_engine::http2::frame::{HEAD, Head, PREFACE};
use beyla_engine::http2::hpack::Decoder;
use beyla_schema::event::Direction;
use beyla_schema::frames::{Frames, Next};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FIXTURES: [&str; 5] = ["go-http2", "node-http2", "h2load", "curl-http2", "grpc"];

/// The bytes of each direction, up to where some are missing.
fn directions(captures: &[Capture]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for capture in captures {
        let mut streams: BTreeMap<(u64, bool), (Vec<u8>, bool)> = BTreeMap::new();
        for (connection, data) in capture.calls() {
            let key = (connection, data.direction == Direction::Send);
            let (bytes, whole) = streams.entry(key).or_insert((Vec::new(), true));
            *whole &= data.payload.len() == data.length as usize;
            if *whole {
                bytes.extend_from_slice(data.payload);
            }
        }
        all.extend(streams.into_values().map(|(bytes, _)| bytes));
    }
    for bytes in &mut all {
        if bytes.starts_with(PREFACE) {
            bytes.drain(..PREFACE.len());
        }
    }
    all
}

/// Hands out every frame; those of no sense end a direction.
fn frames<'a>(mut bytes: &'a [u8], mut each: impl FnMut(Head, &'a [u8])) {
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let head = Head::parse(head);
        let Some((payload, rest)) = rest.split_at_checked(head.length as usize) else { return };
        if !head.is_legal() {
            return;
        }
        each(head, payload);
        bytes = rest;
    }
}

/// How the kernel programs walk: what is kept of each call.
fn kept(bytes: &[u8]) -> u64 {
    let (mut walk, mut at, mut kept) = (Frames::NEW, 0, 0);
    while at < bytes.len() {
        let rest = (bytes.len() - at) as u32;
        match walk.next() {
            Next::Head(count) if count <= rest => {
                let Some(head) = bytes[at..].first_chunk::<HEAD>() else { break };
                if !walk.begin(*head) {
                    break;
                }
                (at, kept) = (at + HEAD, kept + HEAD as u64);
            }
            Next::Head(_) => break,
            Next::Kept(count) => {
                let count = count.min(rest);
                walk.passed(count);
                (at, kept) = (at + count as usize, kept + u64::from(count));
            }
            Next::LeftOut(count) => {
                let count = count.min(rest);
                walk.passed(count);
                at += count as usize;
            }
        }
    }
    kept
}

fn http2(criterion: &mut Criterion) {
    let captures = FIXTURES.map(Capture::of);
    let directions = directions(&captures);
    let mut count = 0;
    let mut blocks = Vec::new();
    for bytes in &directions {
        let mut of_one = Vec::new();
        frames(bytes, |head, payload| {
            count += 1;
            if let Some(fragment) = head.fragment(payload).filter(|_| head.is_block()) {
                of_one.push(&payload[fragment]);
            }
        });
        blocks.push(of_one);
    }
    let decode = |each: &mut dyn FnMut(usize)| {
        for blocks in black_box(&blocks) {
            let mut decoder = Decoder::begun();
            for block in blocks {
                let field = |field: beyla_engine::http2::hpack::Field<'_>| {
                    each(black_box((field.name, field.value)).0.map_or(0, <[u8]>::len));
                };
                if decoder.block(block, field).is_err() {
                    break;
                }
            }
        }
    };
    let mut fields = 0;
    decode(&mut |_| fields += 1);

    let mut group = criterion.benchmark_group("http2");
    group.throughput(Throughput::Elements(count));
    group.bench_function("frames", |bench| {
        bench.iter(|| {
            for bytes in black_box(&directions) {
                frames(bytes, |head, payload| {
                    black_box((head, head.fragment(payload)));
                });
            }
        });
    });
    group.bench_function("frames, what is kept of them", |bench| {
        bench.iter(|| black_box(&directions).iter().map(|bytes| kept(bytes)).sum::<u64>());
    });
    group.throughput(Throughput::Elements(fields));
    group.bench_function("header fields", |bench| {
        bench.iter(|| decode(&mut |length| _ = black_box(length)));
    });
}

criterion_group!(benches, http2);
criterion_main!(benches);
