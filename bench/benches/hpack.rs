//! Measures how fast header blocks are decoded, and how much faster than by another decoder, `loona-hpack`.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

#[path = "../../engine/tests/support/blocks.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "tests use the rest")]
mod blocks;

use std::hint::black_box;
use std::time::{Duration, Instant};

use beyla_engine::http2::hpack::Decoder;
use blocks::{Random, STREAMS, Stream};

/// Blocks of a stream, and how often each stream is decoded.
const BLOCKS: usize = 3000;
const ROUNDS: usize = 15;

/// Streams that real stacks write come first.
const REAL: usize = 4;

fn ours(stream: &Stream) -> (usize, usize) {
    let (mut decoder, mut fields, mut bytes) = (Decoder::begun(), 0, 0);
    for block in stream {
        let each = |field: beyla_engine::http2::hpack::Field<'_>| {
            let (name, value) = (field.name.unwrap_or_default(), field.value.unwrap_or_default());
            black_box((name, value));
            fields += 1;
            bytes += name.len() + value.len();
        };
        decoder.block(block, each).unwrap();
    }
    (fields, bytes)
}

/// Without copies of what need not be copied.
fn theirs(stream: &Stream) -> (usize, usize) {
    let (mut decoder, mut fields, mut bytes) = (loona_hpack::Decoder::new(), 0, 0);
    for block in stream {
        let each = |name: std::borrow::Cow<'_, [u8]>, value: std::borrow::Cow<'_, [u8]>| {
            black_box((&name, &value));
            fields += 1;
            bytes += name.len() + value.len();
        };
        decoder.decode_with_cb(block, each).unwrap();
    }
    (fields, bytes)
}

/// With a list of fields for every block.
fn theirs_owned(stream: &Stream) -> (usize, usize) {
    let (mut decoder, mut fields, mut bytes) = (loona_hpack::Decoder::new(), 0, 0);
    for block in stream {
        let list = black_box(decoder.decode(block).unwrap());
        fields += list.len();
        bytes += list.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    }
    (fields, bytes)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    println!("{:24} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}", "", "ns/field", "MB/s", "loona", "", "ratio", "");
    println!(
        "{:24} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "stream", "", "decoded", "borrowed", "owned", "borrowed", "owned"
    );
    let mut sums = [0.0; 3];
    for (at, (name, make)) in STREAMS.iter().enumerate() {
        let stream = make(&mut Random(at as u64), BLOCKS);
        let (fields, bytes) = ours(&stream);
        assert_eq!((fields, bytes), theirs(&stream));
        let mut times = [vec![], vec![], vec![]];
        for _ in 0..rounds {
            for (decode, times) in [ours, theirs, theirs_owned].iter().zip(&mut times) {
                let begun = Instant::now();
                black_box(decode(black_box(&stream)));
                times.push(begun.elapsed());
            }
        }
        let [ours, borrowed, owned] = times.map(median);
        let each = |time: f64| time / fields as f64;
        println!(
            "{name:24} {:9.1} {:9.0} {:9.1} {:9.1} {:8.1} {:8.1}",
            each(ours),
            bytes as f64 / ours * 1e3,
            each(borrowed),
            each(owned),
            borrowed / ours,
            owned / ours
        );
        if at < REAL {
            sums = [sums[0] + ours, sums[1] + borrowed, sums[2] + owned];
        }
    }
    println!(
        "all of what real stacks write: {:.1} times as fast, {:.1} with owned fields",
        sums[1] / sums[0],
        sums[2] / sums[0]
    );
}
