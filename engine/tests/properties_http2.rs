//! What holds for every recording of HTTP/2: how calls cut the bytes, and which thread is recorded first, does not matter;
//! faults lose requests, or parts of them, but never make any up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_schema::event::Direction;
use beyla_schema::request::{EndReason, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use support::peer::{END_STREAM, Peer, data, frame, hello, message, reset, settings};
use support::{Seen, Tape, What};

/// A request and its response.
#[derive(Clone, Debug)]
struct Turn {
    grpc: bool,
    /// Sizes of the DATA frames of both sides.
    asks: Vec<usize>,
    answers: Vec<usize>,
    interim: bool,
    trailers: bool,
    padding: Option<u8>,
    /// Header blocks are cut there.
    continuation: Option<Index>,
    /// The client ends it after so many frames of the answer.
    reset: Option<usize>,
}

fn turn() -> impl Strategy<Value = Turn> {
    let sizes = || vec(prop_oneof![0..40usize, 0..400usize], 0..4);
    let rare = |often: u32| prop_oneof![often => Just(false), 1 => Just(true)];
    (
        any::<bool>(),
        (sizes(), sizes()),
        (rare(5), rare(2)),
        proptest::option::weighted(0.2, 0..9u8),
        proptest::option::weighted(0.2, any::<Index>()),
        proptest::option::weighted(0.1, 0..3usize),
    )
        .prop_map(|(grpc, (asks, answers), (interim, trailers), padding, continuation, reset)| Turn {
            grpc,
            asks,
            answers,
            interim,
            trailers,
            padding,
            continuation,
            reset,
        })
}

/// What one side sends on one stream, in order. Header blocks are made when it is sent.
#[derive(Clone, Debug)]
enum Sent {
    Headers { fields: Vec<(String, String)>, end: bool },
    Data { payload: Vec<u8>, end: bool },
    Reset,
}

impl Turn {
    fn request(&self, n: usize) -> Vec<Sent> {
        let field = |name: &str, value: String| (name.to_owned(), value);
        let mut fields = vec![
            field(":method", "POST".into()),
            field(":path", if self.grpc { format!("/shop.S/{n}") } else { format!("/{n}") }),
            field(":authority", format!("shop-{}", n % 3)),
        ];
        if self.grpc {
            fields.push(field("content-type", "application/grpc".into()));
        }
        let mut sent = vec![Sent::Headers { fields, end: self.asks.is_empty() }];
        sent.extend(self.bodies(&self.asks, true));
        sent
    }

    fn response(&self, n: usize) -> Vec<Sent> {
        let status = |status: usize| vec![(":status".to_owned(), status.to_string())];
        let mut sent = Vec::new();
        if self.interim {
            sent.push(Sent::Headers { fields: status(103), end: false });
        }
        let trailers = self.trailers || self.grpc;
        let mut fields = status(400 + n);
        if self.grpc {
            fields.push(("content-type".to_owned(), "application/grpc".to_owned()));
        }
        sent.push(Sent::Headers { fields, end: self.answers.is_empty() && !trailers });
        sent.extend(self.bodies(&self.answers, !trailers));
        if trailers {
            let fields = vec![("grpc-status".to_owned(), n.to_string())];
            sent.push(Sent::Headers { fields, end: true });
        }
        sent
    }

    fn bodies(&self, sizes: &[usize], end: bool) -> Vec<Sent> {
        let payload = |size: usize| if self.grpc { message(vec![7; size]) } else { vec![7; size] };
        let last = sizes.len().wrapping_sub(1);
        let body = |(at, &size)| Sent::Data { payload: payload(size), end: end && at == last };
        sizes.iter().enumerate().map(body).collect()
    }

    fn bytes(&self, sent: &Sent, stream: u32, peer: &mut Peer<'_>) -> Vec<u8> {
        let flags = |end: bool| if end { END_STREAM } else { 0 };
        match sent {
            Sent::Reset => reset(stream),
            Sent::Data { payload, end } => match self.padding {
                Some(padding) => {
                    let padded = [&[padding], &payload[..], &vec![0; padding.into()]].concat();
                    data(flags(*end) | 8, stream, padded)
                }
                None => data(flags(*end), stream, payload),
            },
            Sent::Headers { fields, end } => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                let block = peer.block(&fields);
                match self.continuation {
                    Some(cut) => {
                        let (first, rest) = block.split_at(cut.index(block.len()));
                        [frame(1, flags(*end), stream, first), frame(9, 4, stream, rest)].concat()
                    }
                    None => frame(1, flags(*end) | 4, stream, block),
                }
            }
        }
    }
}

/// Frames in the order they are sent; the client's first.
fn conversation(turns: &[Turn], order: &[Index]) -> Vec<(bool, Vec<u8>)> {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let mut frames = vec![(true, hello()), (false, settings())];
    let mut asks: Vec<_> = turns.iter().enumerate().map(|(n, turn)| turn.request(n)).collect();
    let mut answers: Vec<_> = turns.iter().enumerate().map(|(n, turn)| turn.response(n)).collect();
    let (mut begun, mut answered) = (0, vec![0; turns.len()]);
    let mut order = order.iter().cycle();
    loop {
        // Whoever may send next: requests begin in order, responses after their request has begun.
        let mut next: Vec<(bool, usize)> = Vec::new();
        for n in 0..turns.len().min(begun + 1) {
            if !asks[n].is_empty() {
                next.push((true, n));
            }
            // A response that ends before its request is met in `http2.rs`.
            let waits = answers[n].len() == 1 && !asks[n].is_empty();
            if n < begun && !answers[n].is_empty() && !waits {
                next.push((false, n));
            }
        }
        if next.is_empty() {
            return frames;
        }
        let (ask, n) = next[order.next().unwrap().index(next.len())];
        let stream = 2 * n as u32 + 1;
        if ask {
            begun = begun.max(n + 1);
            frames.push((true, turns[n].bytes(&asks[n].remove(0), stream, &mut client)));
        } else {
            frames.push((false, turns[n].bytes(&answers[n].remove(0), stream, &mut server)));
            answered[n] += 1;
            if turns[n].reset == Some(answered[n]) && !answers[n].is_empty() {
                frames.push((true, turns[n].bytes(&Sent::Reset, stream, &mut client)));
                answers[n].clear();
                asks[n].clear();
            }
        }
    }
}

/// The calls that move the frames: those that follow each other in one direction, cut at `cuts`.
fn record(mut tape: Tape, frames: &[(bool, Vec<u8>)], cuts: &[Index]) -> Tape {
    let ask = if tape.is_client() { Direction::Send } else { Direction::Receive };
    let answer = if tape.is_client() { Direction::Receive } else { Direction::Send };
    let mut cuts = cuts.iter().cycle();
    for run in frames.chunk_by(|a, b| a.0 == b.0) {
        let direction = if run[0].0 { ask } else { answer };
        let bytes: Vec<u8> = run.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let mut at: Vec<_> = cuts.by_ref().take(3).map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        for pair in at.windows(2).filter(|pair| pair[0] < pair[1]) {
            tape = tape.data(direction, &bytes[pair[0]..pair[1]]);
        }
    }
    tape
}

fn timeless(tape: &Tape) -> Vec<Seen> {
    let mut seen: Vec<_> = tape.run().0.into_iter().map(Seen::timeless).collect();
    seen.sort_unstable_by_key(|seen| seen.ordinal);
    seen
}

/// Whatever is said is right.
fn assert_honest(seen: &[Seen], turns: &[Turn]) {
    for seen in seen {
        let n = (seen.stream.unwrap() as usize - 1) / 2;
        let turn = &turns[n];
        assert!(seen.method.as_deref().is_none_or(|method| method == "POST"));
        let path = if turn.grpc { format!("/shop.S/{n}") } else { format!("/{n}") };
        assert!(seen.path.as_ref().is_none_or(|seen| *seen == path), "{seen:#?}");
        assert!(seen.authority.as_ref().is_none_or(|seen| *seen == format!("shop-{}", n % 3)), "{seen:#?}");
        assert!(seen.status.is_none_or(|status| usize::from(status) == 400 + n), "{seen:#?}");
        assert!(seen.rpc_status.is_none_or(|status| status as usize == n), "{seen:#?}");
        assert_eq!(seen.end_reason == EndReason::Response, seen.end_ns.is_some());
        if seen.protocol == Protocol::Grpc {
            assert!(turn.grpc);
            let counted = |count: Option<u64>, all: usize| match count.map(|count| count as usize) {
                // What came before the reset.
                Some(count) if seen.end_reason == EndReason::Reset => count <= all,
                Some(count) => count == all,
                None => true,
            };
            assert!(counted(seen.messages.0, turn.asks.len()), "{seen:#?}");
            assert!(counted(seen.messages.1, turn.answers.len()), "{seen:#?}");
        }
        let size = |sizes: &[usize]| {
            sizes.iter().map(|size| size + if turn.grpc { 5 } else { 0 }).sum::<usize>() as u64
        };
        assert!(seen.request_bytes.is_none_or(|bytes| bytes == size(&turn.asks)), "{seen:#?} {turn:#?}");
        assert!(seen.response_bytes.is_none_or(|bytes| bytes == size(&turn.answers)), "{seen:#?} {turn:#?}");
    }
    let mut ordinals: Vec<_> = seen.iter().map(|seen| seen.ordinal).collect();
    ordinals.sort_unstable();
    ordinals.dedup();
    assert_eq!(ordinals.len(), seen.len());
    assert!(seen.is_sorted_by_key(|seen| seen.ended_ns));
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    vec(turn(), 1..12)
}

fn indexes() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 1..40)
}

proptest! {
    #![proptest_config(support::cases(500))]

    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_requests(
        turns in turns(),
        order in indexes(),
        cuts in indexes(),
        client in any::<bool>(),
    ) {
        let frames = conversation(&turns, &order);
        let tape = || if client { Tape::connect() } else { Tape::accept() };
        let whole = timeless(&record(tape(), &frames, &[]));
        prop_assert_eq!(whole.len(), turns.len());
        assert_honest(&record(tape(), &frames, &cuts).run().0, &turns);
        for (seen, turn) in whole.iter().zip(&turns) {
            let ended = if seen.end_reason == EndReason::Reset { turn.reset.is_some() } else { true };
            prop_assert!(ended && seen.end_reason != EndReason::Gap);
            prop_assert!(seen.end_reason == EndReason::Reset || seen.status.is_some());
        }
        prop_assert_eq!(&whole, &timeless(&record(tape(), &frames, &cuts)));
    }

    #[test]
    fn who_is_recorded_first_does_not_matter_to_a_client(
        turns in turns(),
        order in indexes(),
        cuts in indexes(),
        swaps in indexes(),
    ) {
        let frames = conversation(&turns, &order);
        let tape = record(Tape::connect(), &frames, &cuts);
        let mut swapped = tape.clone();
        for swap in &swaps {
            let at = swap.index(swapped.events.len() - 1);
            let direction = |at: usize| match &swapped.events[at].what {
                What::Data { direction, .. } => Some(*direction),
                _ => None,
            };
            // The thread that reads may be ahead of the one that writes, and no two of a direction change places.
            if (direction(at), direction(at + 1)) == (Some(Direction::Send), Some(Direction::Receive)) {
                let times = (swapped.events[at].ts_ns, swapped.events[at + 1].ts_ns);
                swapped.events.swap(at, at + 1);
                (swapped.events[at].ts_ns, swapped.events[at + 1].ts_ns) = times;
            }
        }
        let complete = |tape: &Tape| {
            let mut seen = timeless(tape);
            // A reset that overtakes what it resets is another story.
            seen.retain(|seen| turns[(seen.stream.unwrap() as usize - 1) / 2].reset.is_none());
            seen
        };
        prop_assert_eq!(complete(&tape), complete(&swapped));
    }

    #[test]
    fn faults_lose_requests_but_make_none_up(
        turns in turns(),
        order in indexes(),
        cuts in indexes(),
        snaplen in prop_oneof![Just(usize::MAX), 0..500usize],
        lost in vec(any::<Index>(), 0..4),
        twice in vec(any::<Index>(), 0..3),
        found in any::<bool>(),
        client in any::<bool>(),
    ) {
        let frames = conversation(&turns, &order);
        let tape = if client { Tape::connect() } else { Tape::accept() };
        let mut tape = record(tape.snaplen(snaplen), &frames, &cuts);
        for index in twice {
            let at = index.index(tape.events.len());
            let event = tape.events[at].clone();
            tape.events.insert(at + 1, event);
        }
        for index in lost {
            if tape.events.len() > 1 {
                tape.events.remove(1 + index.index(tape.events.len() - 1));
            }
        }
        if found {
            // As by a capture that began later.
            tape.events.drain(..tape.events.len() / 3);
        }
        let (seen, _) = tape.run();
        assert_honest(&seen, &turns);
        prop_assert!(seen.len() <= turns.len());
    }
}
