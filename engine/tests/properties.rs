//! What holds for every recording: how calls cut the bytes does not matter, and faults lose requests but
//! never make any up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::Engine;
use beyla_schema::event::{Body, Direction};
use beyla_schema::request::EndReason;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use support::{Collect, Seen, Tape, What};

/// A request and its response, with sizes of their bodies.
#[derive(Clone, Debug)]
struct Turn {
    request_body: Coding,
    response_body: Coding,
    /// Requests sent at once.
    batch: usize,
}

#[derive(Clone, Copy, Debug)]
enum Coding {
    Length(usize),
    Chunks(usize, usize),
}

impl Coding {
    fn render(self, first_line: &str) -> String {
        match self {
            Self::Length(length) => {
                format!("{first_line}\r\nContent-Length: {length}\r\n\r\n{}", "b".repeat(length))
            }
            Self::Chunks(count, size) => {
                let chunk = format!("{size:X};x\r\n{}\r\n", "c".repeat(size));
                format!(
                    "{first_line}\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\nT: v\r\n\r\n",
                    chunk.repeat(count)
                )
            }
        }
    }
}

fn coding() -> impl Strategy<Value = Coding> {
    prop_oneof![
        (0..600usize).prop_map(Coding::Length),
        (0..9usize, 1..90usize).prop_map(|(n, size)| Coding::Chunks(n, size))
    ]
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (coding(), coding(), prop_oneof![3 => Just(1), 1 => 2..5usize]);
    vec(
        turn.prop_map(|(request_body, response_body, batch)| Turn { request_body, response_body, batch }),
        1..12,
    )
}

/// The bytes of every turn: request number `n` is `POST /n`, and its response has the status 200 + n.
fn bytes(turns: &[Turn]) -> Vec<(String, String)> {
    let mut numbers = 0..;
    turns
        .iter()
        .map(|turn| {
            let numbers: Vec<u16> = numbers.by_ref().take(turn.batch).collect();
            let request = |n: &u16| turn.request_body.render(&format!("POST /{n} HTTP/1.1"));
            let response = |n: &u16| turn.response_body.render(&format!("HTTP/1.1 {} OK", 400 + n));
            (numbers.iter().map(request).collect(), numbers.iter().map(response).collect())
        })
        .collect()
}

/// `bytes` cut at `cuts`.
fn calls(mut tape: Tape, direction: Direction, bytes: &str, cuts: &[Index]) -> Tape {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    for pair in at.windows(2).filter(|pair| pair[0] < pair[1]) {
        tape = tape.data(direction, &bytes.as_bytes()[pair[0]..pair[1]]);
    }
    tape
}

fn record(mut tape: Tape, turns: &[Turn], cuts: &[Index]) -> Tape {
    for (turn, (request, response)) in bytes(turns).iter().enumerate() {
        let cuts =
            |side: usize| cuts.iter().copied().skip(turn % 3).step_by(side + 1).take(4).collect::<Vec<_>>();
        // A batch is one call: a client that spreads it over several is met in `pairing.rs`.
        tape =
            calls(tape, Direction::Receive, request, &if turns[turn].batch > 1 { vec![] } else { cuts(0) });
        tape = calls(tape, Direction::Send, response, &cuts(1));
    }
    tape
}

fn assert_honest(seen: &[Seen]) {
    for seen in seen {
        let number: u16 =
            seen.path.as_deref().and_then(|path| path.strip_prefix('/')).unwrap().parse().unwrap();
        assert_eq!(seen.method.as_deref(), Some("POST"));
        assert!(seen.status.is_none_or(|status| status == 400 + number), "{seen:#?}");
        assert_eq!(seen.end_reason == EndReason::Response, seen.end_ns.is_some());
    }
    let mut ordinals: Vec<_> = seen.iter().map(|seen| seen.ordinal).collect();
    ordinals.sort_unstable();
    ordinals.dedup();
    assert_eq!(ordinals.len(), seen.len());
    assert!(seen.is_sorted_by_key(|seen| (seen.ended_ns, seen.connection, seen.ordinal)));
}

proptest! {
    #![proptest_config(support::cases(1000))]

    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_requests(turns in turns(), cuts in vec(any::<Index>(), 0..20)) {
        let whole = record(Tape::accept(), &turns, &[]).run().0;
        let cut = record(Tape::accept(), &turns, &cuts).run().0;
        prop_assert_eq!(whole.len(), turns.iter().map(|turn| turn.batch).sum::<usize>());
        prop_assert!(whole.iter().all(|seen| seen.end_reason == EndReason::Response));
        let timeless = |seen: Vec<Seen>| seen.into_iter().map(Seen::timeless).collect::<Vec<_>>();
        prop_assert_eq!(timeless(whole), timeless(cut));
    }

    #[test]
    fn faults_lose_requests_but_make_none_up(
        turns in turns(),
        cuts in vec(any::<Index>(), 0..20),
        // Missing bytes and disorder in the same place are more than anyone could see through.
        (lost, snaplen, found, swapped) in prop_oneof![
            (vec(any::<Index>(), 0..4), prop_oneof![Just(usize::MAX), 0..700usize], any::<bool>())
                .prop_map(|(lost, snaplen, found)| (lost, snaplen, found, None)),
            any::<Index>().prop_map(|swapped| (vec![], usize::MAX, false, Some(swapped))),
        ],
        twice in vec(any::<Index>(), 0..4),
    ) {
        let tape = if found { Tape::found() } else { Tape::accept() };
        let mut tape = record(tape.snaplen(snaplen), &turns, &cuts);
        for index in twice {
            let at = index.index(tape.events.len());
            let event = tape.events[at].clone();
            tape.events.insert(at + 1, event);
        }
        for index in lost {
            // Without the first event, losses before the second are not to be seen.
            if tape.events.len() > 1 {
                tape.events.remove(1 + index.index(tape.events.len() - 1));
            }
        }
        if let Some(index) = swapped {
            let at = index.index(tape.events.len() - 1);
            let data = |event: &support::Recorded| matches!(event.what, What::Data { .. });
            if data(&tape.events[at]) && data(&tape.events[at + 1]) {
                let times = (tape.events[at].ts_ns, tape.events[at + 1].ts_ns);
                tape.events.swap(at, at + 1);
                (tape.events[at].ts_ns, tape.events[at + 1].ts_ns) = times;
            }
        }
        assert_honest(&tape.run().0);
    }

}

proptest! {
    #![proptest_config(support::cases(128))]

    #[test]
    fn random_bytes_are_survived(
        parts in vec((any::<bool>(), prop_oneof![
            vec(any::<u8>(), 0..40),
            "(GET|POST|HTTP/1.1|HTTP/1.0| |/|\r\n|\n|:|Content-Length|[0-9a-f]{1,20}|chunked|Transfer-Encoding|200|101|x){0,30}"
                .prop_map(String::into_bytes),
        ], 0..2000u64), 0..60),
        found in any::<bool>(),
    ) {
        let tape = if found { Tape::bare() } else { Tape::accept() };
        let tape = parts.iter().fold(tape, |tape, (send, bytes, _)| {
            tape.data(if *send { Direction::Send } else { Direction::Receive }, bytes)
        });
        let mut jumbled = tape.clone();
        for (event, (.., shift)) in jumbled.events.iter_mut().zip(&parts) {
            if let What::Data { position, length, .. } = &mut event.what {
                *position = position.wrapping_mul(*shift).wrapping_add(*shift);
                *length = length.wrapping_add((*shift as u32) % 3);
            }
        }
        for tape in [tape, jumbled] {
            for seen in tape.run().0 {
                prop_assert!(seen.method.is_some_and(|method| !method.is_empty()));
            }
        }
    }
}

#[test]
fn hostile_numbers_are_survived() {
    let mut engine = Engine::new(beyla_engine::Config::default());
    let mut seen = Collect::default();
    let mut tape = Tape::accept().recv("GET / HTTP/1.1\r\n\r\n").send("HTTP/1.1 200 OK\r\n\r\n").close();
    for event in &mut tape.events {
        if let What::Data { position, length, .. } = &mut event.what {
            *position = u64::MAX - 1;
            *length = u32::MAX;
        }
        event.ts_ns = u64::MAX;
        event.push(&mut engine, &mut seen);
    }
    engine.push(&support::event(0, 7, Body::End("")), &mut seen);
    engine.finish(&mut seen);
}
