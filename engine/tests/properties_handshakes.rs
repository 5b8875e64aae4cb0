//! What holds for every TLS handshake: how calls cut the bytes does not matter, and faults leave facts unknown but never make
//! any up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::handshakes::{CASES, Facts, Flights, ask, call, facts, timeless};
use support::{Tape, What};

/// Whether nothing was learned that is not true.
fn is_honest((version, name, alpn, ns): &Facts, truth: &Facts) -> bool {
    version.is_none_or(|version| Some(version) == truth.0)
        && (name.is_none() || *name == truth.1)
        && (alpn.is_none() || *alpn == truth.2)
        && ns.is_none_or(|ns| Some(ns) == truth.3)
}

/// `flights` in calls that are cut at `cuts`.
fn cut(tape: Tape, flights: &Flights, cuts: &[Index]) -> Tape {
    flights.iter().enumerate().fold(tape, |mut tape, (number, (client, bytes))| {
        let cuts = cuts.iter().skip(number % 3).step_by(2);
        let mut at: Vec<_> = cuts.map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
        at.sort_unstable();
        for pair in at.windows(2).filter(|pair| pair[0] < pair[1]) {
            tape = call(tape, *client, &bytes[pair[0]..pair[1]]);
        }
        tape
    })
}

proptest! {
    #![proptest_config(support::cases(500))]

    #[test]
    fn any_cut_tells_the_same(case in select(&CASES[..]), client: bool, cuts in vec(any::<Index>(), 0..30)) {
        let tape = if client { Tape::connect() } else { Tape::accept() };
        let seen = facts(&cut(tape, &case.flights(), &cuts));
        prop_assert_eq!(timeless(seen), timeless(case.facts()));
    }

    #[test]
    fn faults_leave_facts_unknown_and_make_none_up(
        case in select(&CASES[..]),
        client: bool,
        cuts in vec(any::<Index>(), 0..12),
        snaplen in prop_oneof![Just(usize::MAX), 0..700usize],
        lost in vec(any::<Index>(), 0..3),
        twice in vec(any::<Index>(), 0..3),
    ) {
        let tape = if client { Tape::connect() } else { Tape::accept() };
        let mut tape = cut(tape.snaplen(snaplen), &case.flights(), &cuts);
        let truth = facts(&cut(Tape::accept(), &case.flights(), &cuts));
        for index in twice {
            let at = 1 + index.index(tape.events.len() - 1);
            let event = tape.events[at].clone();
            tape.events.insert(at + 1, event);
        }
        if lost.is_empty() && snaplen == usize::MAX {
            prop_assert_eq!(&facts(&tape), &truth);
        }
        for index in lost {
            tape.events.remove(1 + index.index(tape.events.len() - 1));
        }
        for seen in ask(tape.clone().snaplen(usize::MAX)).run().0 {
            let seen = (seen.tls_version, seen.tls_server_name, seen.tls_alpn, seen.handshake_ns);
            prop_assert!(is_honest(&seen, &truth), "{:?} {:?}", seen, truth);
        }
    }

    #[test]
    fn damaged_bytes_are_survived(
        case in select(&CASES[..]),
        cuts in vec(any::<Index>(), 0..12),
        flips in vec((any::<Index>(), any::<Index>(), any::<u8>(), 0..3u8), 1..8),
    ) {
        let mut tape = cut(Tape::accept(), &case.flights(), &cuts);
        for (event, byte, value, how) in flips {
            let at = 1 + event.index(tape.events.len() - 1);
            if let What::Data { payload, length, .. } = &mut tape.events[at].what {
                match (payload.len(), how) {
                    (0, _) => {}
                    (count, 0) => payload[byte.index(count)] = value,
                    (count, 1) => payload.truncate(byte.index(count)),
                    _ => *length = length.wrapping_sub(value.into()),
                }
            }
        }
        ask(tape).run();
    }
}
