//! Random header blocks, sound and broken, against an independent decoder: `loona-hpack`.
//!
//! 20,000 blocks, always the same ones; `BEYLA_BLOCKS=n` takes n. Every block is read at once, in pieces, and by a
//! decoder that came later; all have to say the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/blocks.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "the benchmark uses the rest")]
mod blocks;

use std::collections::{BTreeMap, VecDeque};

use beyla_engine::http2::hpack::{Decoder, Error, Field, MAX_STRING, MAX_TABLE, Step};
use blocks::{INDEXED, NEVER, PLAIN, Random, STREAMS, Stream, Writer};
use httlib_hpack::Encoder;
use loona_hpack::decoder::DecoderError;

/// What an encoder that uses every representation has in its table.
#[derive(Debug)]
struct Peer {
    /// The length of the name of every entry, and of both strings; newest first.
    entries: VecDeque<(usize, usize)>,
    max: usize,
}

const NAMES: [&[u8]; 6] = [b"x-a", b"x-request-id", b"grpc-timeout", b"cookie", b":path", b""];

/// The lengths of the names of the static table; its first ones are looked up most.
const STATIC: usize = 61;

impl Peer {
    fn insert(&mut self, name: usize, length: usize) {
        self.entries.push_front((name, length));
        self.evict();
    }

    fn evict(&mut self) {
        while self.entries.iter().map(|(_, length)| length + 32).sum::<usize>() > self.max {
            self.entries.pop_back();
        }
    }

    fn block(&mut self, random: &mut Random) -> Vec<u8> {
        let mut block = Writer::default();
        if random.one_in(8) {
            for _ in 0..=random.below(2) {
                self.max = random.of(&[0, 40, 100, 150, 200, 300, 300, 1000, 4096, MAX_TABLE]);
                self.evict();
                block.integer(0x20, 5, self.max);
            }
        }
        for _ in 0..=random.below(6) {
            let every = STATIC + self.entries.len();
            if random.one_in(2) {
                // The oldest entry, and now and then the one that was the last to be evicted.
                let oldest = every + usize::from(random.one_in(12));
                let index = if random.one_in(8) { oldest } else { 1 + random.below(every) };
                block.integer(0x80, 7, index);
                continue;
            }
            let kind = random.of(&[INDEXED, INDEXED, INDEXED, PLAIN, NEVER]);
            // A name that the model knows the length of: one of the dynamic table, or a literal.
            let index = if kind != INDEXED && random.one_in(2) {
                1 + random.below(every)
            } else if random.one_in(2) && !self.entries.is_empty() {
                1 + STATIC + random.below(self.entries.len())
            } else {
                0
            };
            let name = if random.one_in(3) { text(random) } else { random.of(&NAMES).to_vec() };
            let value = text(random);
            let coded = [(); 2].map(|()| random.one_in(3));
            block.literal(kind, index, &name, &value, [coded[0], coded[1] && value.len() < 100]);
            if kind == INDEXED {
                let name = match index.checked_sub(1 + STATIC) {
                    Some(age) => self.entries[age].0,
                    None => name.len(),
                };
                self.insert(name, name + value.len());
            }
        }
        block.0
    }
}

/// Mostly short ones; a few that fill a table, or are longer than any.
fn text(random: &mut Random) -> Vec<u8> {
    let length = match random.below(20_000) {
        0 => MAX_STRING + 1 + random.below(1000),
        1..50 => random.below(5000),
        50..2000 => random.below(150),
        _ => random.below(12),
    };
    let any = random.one_in(8);
    (0..length)
        .map(
            |_| {
                if any { random.next() as u8 } else { random.of(b"abcdefghijklmnopqrstuvwxyz0123456789-/. ") }
            },
        )
        .collect()
}

/// Blocks of an encoder that was written by others.
fn encoded(random: &mut Random, count: usize) -> Stream {
    let mut encoder = Encoder::default();
    let mut block = |_| {
        let mut block = Vec::new();
        if random.one_in(12) {
            encoder.update_max_dynamic_size(random.of(&[0, 64, 200, 4096]), &mut block).unwrap();
        }
        for _ in 0..=random.below(6) {
            let name = match random.below(3) {
                0 => random.of(&[&b":path"[..], b":authority", b"accept", b"content-type"]).to_vec(),
                1 => random.of(&NAMES[..5]).to_vec(),
                _ => text(random),
            };
            let value = if random.one_in(2) { vec![b'a' + random.below(4) as u8] } else { text(random) };
            // The best representation or a literal, kept, not kept, or never kept; strings as they are or coded.
            let kind = random.of(&[0u8, 0x4, 0x8, 0x14, 0x10, 0x18]);
            let coded = random.of(&[0, 0, 1, 2, 3]);
            encoder.encode((name, value, kind | coded), &mut block).unwrap();
        }
        block
    };
    (0..count).map(&mut block).collect()
}

/// Changes, cuts or lengthens a block, or puts another in its place.
fn spoil(random: &mut Random, block: &mut Vec<u8>) {
    let at = random.below(block.len() + 1);
    match random.below(6) {
        0 | 1 if at < block.len() => block[at] ^= 1 << random.below(8),
        2 if at < block.len() => block[at] = random.next() as u8,
        3 => block.truncate(at),
        4 => {
            let any = random.next() as u8;
            block.insert(at, random.of(&[0xff, 0x80, 0x7f, 0x3f, 0x00, any]));
        }
        _ => *block = (0..random.below(40)).map(|_| random.next() as u8).collect(),
    }
}

fn connection(random: &mut Random) -> Stream {
    let count = 1 + random.below(40);
    let mut stream = match random.below(8) {
        0 => STREAMS[random.below(STREAMS.len())].1(random, count.min(3)),
        1..4 => encoded(random, count),
        _ => {
            let mut peer = Peer { entries: VecDeque::new(), max: 4096 };
            (0..count).map(|_| peer.block(random)).collect()
        }
    };
    for block in &mut stream {
        if random.one_in(12) {
            spoil(random, block);
        }
    }
    stream
}

type Text = Option<Vec<u8>>;
type Fields = Vec<(Text, Text)>;

fn owned(field: Field<'_>) -> (Text, Text) {
    (field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec))
}

fn at_once(decoder: &mut Decoder, block: &[u8]) -> (Fields, Result<(), Error>) {
    let mut fields = Vec::new();
    let result = decoder.block(block, |field| fields.push(owned(field)));
    (fields, result)
}

fn in_pieces(decoder: &mut Decoder, block: &[u8], random: &mut Random) -> (Fields, Result<(), Error>) {
    let (mut fields, mut rest) = (Vec::new(), block);
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(1 + random.below(rest.len()));
        let mut at = 0;
        while let Ok(Some(step)) = decoder.step(piece, &mut at) {
            if step == Step::Field {
                fields.push(owned(decoder.field()));
            }
        }
        rest = more;
    }
    (fields, decoder.end_block())
}

/// What became of blocks, by name.
#[derive(Debug, Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

/// What the other decoder refuses and this one reads.
fn explained(error: DecoderError) -> bool {
    use loona_hpack::decoder::IntegerDecodingError::TooManyOctets;
    match error {
        // An encoder may change its mind at the end of a block, which a bystander need not mind.
        DecoderError::SizeUpdateAtEnd
        // It was told to allow no more than is kept here. Here such a table is used as far as it is known.
        | DecoderError::InvalidMaxDynamicSize
        // It reads integers of 5 bytes at most, below 2^28. Here they may have 6 and 32 bits.
        | DecoderError::IntegerDecodingError(TooManyOctets) => true,
        _ => false,
    }
}

/// Nothing is unknown to who saw everything, but strings that are too long to be kept.
fn same(ours: &Fields, theirs: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let same = |ours: &Text, theirs: &Vec<u8>| match ours {
        Some(ours) => ours == theirs,
        None => theirs.len() > MAX_STRING,
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| same(&ours.0, &theirs.0) && same(&ours.1, &theirs.1))
}

/// Reads blocks until one is refused by either, after which their tables need not be alike.
fn compare(stream: &Stream, random: &mut Random, counts: &mut Counts) {
    let mut ours = [Decoder::begun(), Decoder::begun()];
    let mut found = Decoder::found();
    let begins = random.below(stream.len());
    let mut other = loona_hpack::Decoder::new();
    other.set_max_allowed_table_size(MAX_TABLE);
    for (at, block) in stream.iter().enumerate() {
        let (fields, result) = at_once(&mut ours[0], block);
        let (pieces, pieces_result) = in_pieces(&mut ours[1], block, random);
        assert_eq!((&fields, result.is_ok()), (&pieces, pieces_result.is_ok()), "in pieces: {block:02x?}");
        let theirs = other.decode(block);
        counts.add("blocks");
        match (result, theirs) {
            (Ok(()), Ok(theirs)) if same(&fields, &theirs) => {
                counts.add("alike");
                *counts.0.entry("fields".into()).or_default() += fields.len() as u64;
                if at >= begins {
                    let (partly, result) = at_once(&mut found, block);
                    assert_eq!((partly.len(), result), (fields.len(), Ok(())), "found: {block:02x?}");
                    for (known, field) in partly.iter().zip(&fields) {
                        assert!(known.0.is_none() || known.0 == field.0, "found: {block:02x?}");
                        assert!(known.1.is_none() || known.1 == field.1, "found: {block:02x?}");
                        counts.add(if known.1.is_none() {
                            "fields found later, unknown"
                        } else {
                            "fields found later, known"
                        });
                    }
                }
            }
            (Ok(()), Ok(theirs)) => {
                counts.add("disagreements");
                println!("block {at} {block:02x?}\n ours {fields:?}\n theirs {theirs:?}");
                return;
            }
            (Err(_), Err(_)) => {
                counts.add("refused by both");
                return;
            }
            (Ok(()), Err(error)) => {
                counts.add(format!("refused by the other decoder only: {error}"));
                assert!(explained(error), "block {at} {block:02x?}: {error}");
                return;
            }
            (Err(error), Ok(_)) => {
                counts.add("disagreements");
                println!("block {at} {block:02x?}: refused by this decoder only: {error}");
                return;
            }
        }
    }
}

#[test]
fn random_blocks_are_decoded_as_another_decoder_does() {
    let wanted = std::env::var("BEYLA_BLOCKS").map_or(20_000, |text| text.parse::<u64>().unwrap());
    let (mut random, mut counts) = (Random(7541), Counts::default());
    while counts.0.get("blocks").is_none_or(|&blocks| blocks < wanted) {
        let stream = connection(&mut random);
        compare(&stream, &mut random, &mut counts);
    }
    for (what, count) in &counts.0 {
        println!("{count:>9} {what}");
    }
    assert_eq!(counts.0.get("disagreements"), None);
    assert!(counts.0["alike"] > wanted / 2 && counts.0["refused by both"] > wanted / 100);
}
