//! Secrets do not leave the redactor, whatever reads do to them; and all that is no secret does, unchanged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::redact::{Policy, Redactor};
use beyla_engine::{Config, Engine};
use beyla_schema::event::{Body, Data, Direction, Event};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use support::{Collect, Seen, Tape, What};

const RECV: Direction = Direction::Receive;
const SEND: Direction = Direction::Send;

/// The tape as it leaves the redactor. Checks that nothing but bytes has changed, and bytes to masks only.
fn redact(policy: &Policy, tape: &Tape) -> Tape {
    let mut redactor = Redactor::new(policy);
    let mut tape = tape.clone();
    for recorded in &mut tape.events {
        let before = recorded.event();
        let after = redactor.redact(&before);
        if let (Body::Data(was), Body::Data(is)) = (before.body, after.body) {
            for (was, is) in [(was.payload, is.payload), (was.tail, is.tail)] {
                assert_eq!(was.len(), is.len());
                assert!(was.iter().zip(is).all(|(was, is)| was == is || *is == b'*'));
            }
            let (new_payload, new_tail) = (is.payload.to_vec(), is.tail.to_vec());
            assert_eq!(Data { payload: was.payload, tail: was.tail, ..is }, was);
            if let What::Data { payload, tail, .. } = &mut recorded.what {
                (*payload, *tail) = (new_payload, new_tail);
            }
        } else {
            assert_eq!(before, after);
        }
    }
    tape
}

/// All bytes of a direction that were kept.
fn bytes(tape: &Tape, of: Direction) -> Vec<u8> {
    let data = tape.events.iter().filter_map(|recorded| match &recorded.what {
        What::Data { direction, payload, tail, .. } if *direction == of => {
            Some([&payload[..], tail].concat())
        }
        _ => None,
    });
    data.collect::<Vec<_>>().concat()
}

fn text(tape: &Tape, of: Direction) -> String {
    String::from_utf8(bytes(tape, of)).unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "tapes are made where they are redacted")]
fn standard(tape: Tape) -> Tape {
    redact(&Policy::standard(), &tape)
}

#[test]
fn values_are_masked_and_nothing_else() {
    let tape = Tape::accept()
        .recv("GET /a?x=1&Access_Token=abc;sig=d%20e&y#token=f HTTP/1.1\r\nHost: shop\r\naUTHORIZATION:\t Bearer x y \r\nCookie: a=b; c\r\n  d\r\n\te\r\nReferer: http://a/?%74oken=abc&z=1\r\nX-Cookie: kept\r\n\r\n")
        .send("HTTP/1.1 302 Found\r\nSet-Cookie : a=b; Path=/\r\nLocation: /?code=1&id_token=abc\r\nX: cookie: no\r\nContent-Length: 24\r\n\r\npassword=abc&user=x\nb=c?");
    let masked = standard(tape);
    assert_eq!(
        text(&masked, RECV),
        "GET /a?x=1&Access_Token=***;sig=*****&y#token=f HTTP/1.1\r\nHost: shop\r\naUTHORIZATION:\t ***********\r\nCookie: ******\r\n  *\r\n\t*\r\nReferer: http://a/?%74oken=***&z=1\r\nX-Cookie: kept\r\n\r\n"
    );
    assert_eq!(
        text(&masked, SEND),
        "HTTP/1.1 302 Found\r\nSet-Cookie : ***********\r\nLocation: /?code=1&id_token=***\r\nX: cookie: no\r\nContent-Length: 24\r\n\r\npassword=***&user=x\nb=c?"
    );
}

#[test]
fn an_event_without_secrets_is_given_back_as_it_is() {
    let tape = Tape::accept().recv("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut redactor = Redactor::new(&Policy::standard());
    for recorded in &tape.events {
        let before = recorded.event();
        let after = redactor.redact(&before);
        if let (Body::Data(before), Body::Data(after)) = (before.body, after.body) {
            assert!(std::ptr::eq(before.payload, after.payload));
        }
    }
}

#[test]
fn a_secret_that_ends_a_body_does_not_take_the_next_message_with_it() {
    let form = "POST /login HTTP/1.1\r\nContent-Length: 12\r\n\r\npassword=abc";
    for cut in 1..form.len() {
        let both = format!("{form}{form}GET /x?token=1 HTTP/1.1\r\n\r\n");
        let tape = Tape::accept().recv(&both[..form.len() + cut]).recv(&both[form.len() + cut..]);
        assert_eq!(text(&standard(tape), RECV), both.replace("abc", "***").replace("token=1", "token=*"));
    }
}

#[test]
fn methods_that_nobody_registered_are_methods_where_a_message_must_begin() {
    let tape =
        Tape::accept().bytewise(RECV, "BREW /?sig=a HTTP/1.1\r\n\r\nBREW / HTTP/1.1\r\nCookie: b\r\n\r\n");
    let masked = "BREW /?sig=* HTTP/1.1\r\n\r\nBREW / HTTP/1.1\r\nCookie: *\r\n\r\n";
    for policy in policies() {
        assert_eq!(text(&redact(&policy, &tape), RECV), masked);
    }
}

#[test]
fn what_may_continue_a_secret_after_a_gap_is_masked_to_the_end_of_its_line() {
    let head = "GET / HTTP/1.1\r\nCookie: secret-secret-secret\r\nX: y\r\n\r\n";
    let lost = Tape::accept().recv(&head[..30]).recv(&head[30..35]).lost().recv(&head[35..]);
    assert!(text(&standard(lost), RECV).ends_with("****\r\nX: y\r\n\r\n"));
    let found = Tape::found().recv(&head[35..]).send("HTTP/1.1 200 OK\r\n\r\n");
    let found = standard(found);
    assert!(text(&found, RECV).ends_with("****\r\nX: y\r\n\r\n"));
    assert_eq!(text(&found, SEND), "HTTP/1.1 200 OK\r\n\r\n");
    let begins = Tape::found().bytewise(RECV, "GET /?token=ab HTTP/1.1\r\nCookie: a\r\n\r\n");
    assert_eq!(text(&standard(begins), RECV), "GET /?token=** HTTP/1.1\r\nCookie: *\r\n\r\n");
    let repeated = standard(Tape::accept().recv(head).twice());
    assert!(!text(&repeated, RECV).contains("secret"));
    let body = Tape::accept()
        .recv("POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\n0123")
        .blind(RECV, 6)
        .recv("01234567890123456789");
    assert!(text(&standard(body), RECV).ends_with("012301234567890123456789"));
}

#[test]
fn what_only_looks_like_a_message_after_a_gap_hides_no_gap() {
    let tape = Tape::accept().blind(RECV, 100).recv("HTTP/1.1").recv("\r\n");
    let masked = standard(tape.recv("GET /?token=se").blind(RECV, 2).recv("cret HTTP/1.1\r\nX: y\r\n\r\n"));
    assert!(!text(&masked, RECV).contains("cret"), "{}", text(&masked, RECV));
}

#[test]
fn a_secret_in_chunks_that_were_missed_is_told_from_chunks() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
    let after = |rest: &[u8]| {
        let masked = standard(Tape::accept().recv(head).blind(RECV, 900).recv(rest));
        bytes(&masked, RECV)[head.len()..].escape_ascii().to_string()
    };
    assert_eq!(after(b"cret\r\nX: y\r\n\r\n"), r"****\r\nX: y\r\n\r\n");
    assert_eq!(after(b"0\r\n cret\r\n\r\n"), r"*\r\n ****\r\n\r\n");
    assert_eq!(after(b"\n cret\r\n\r\n"), r"\n ****\r\n\r\n");
    for chunks in
        ["0\r\n\r\n", "0\r\nT: v\r\n\r\n", "x\r\n0\r\n\r\n", "x\r\n3e8\r\nyy", "x\x01\r\n\r\n", "a\nb\n"]
    {
        assert_eq!(after(chunks.as_bytes()), chunks.as_bytes().escape_ascii().to_string());
    }
}

#[test]
fn binary_bytes_of_unknown_place_are_masked_until_a_message_begins() {
    let tape = Tape::found().recv(b"\x00\x01secret\nsecret").recv(b"secret").recv("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(text(&standard(tape), RECV), format!("{}GET / HTTP/1.1\r\n\r\n", "*".repeat(21)));
    let tls = Tape::accept().recv(b"\x16\x03\x01\n:=").recv(b"\x17\x03\x03");
    assert_eq!(bytes(&standard(tls.clone()), RECV), bytes(&tls, RECV));
}

#[test]
fn connections_beyond_the_limit_are_masked_altogether() {
    let mut redactor = Redactor::new(&Policy::standard()).with_max_connections(1);
    let tape = Tape::accept().recv("GET / HTTP/1.1\r\n\r\n");
    for recorded in &tape.events {
        redactor.redact(&recorded.event());
    }
    let data = Tape::bare().recv("GET / HTTP/1.1\r\n\r\n").events.remove(0);
    let other = Event { connection: 99, ..data.event() };
    let Body::Data(masked) = redactor.redact(&other).body else { unreachable!() };
    assert!(masked.payload.iter().all(|&byte| byte == b'*'));
}

#[test]
fn headers_only_keeps_heads_and_framing() {
    let policy = Policy::standard().headers_only();
    let tape = Tape::accept()
        .recv("POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .send("HTTP/1.1 100 Continue\r\n\r\n")
        .recv("abcHEAD / HTTP/1.1\r\nCookie: a\r\n\r\n")
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: v\r\n\r\n")
        .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n")
        .recv("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n")
        .send("HTTP/1.1 101 Go\r\n\r\nabc")
        .recv("GET / HTTP/1.1\r\n\r\n");
    let masked = redact(&policy, &tape);
    assert_eq!(
        text(&masked, RECV),
        format!(
            "POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n***HEAD / HTTP/1.1\r\nCookie: *\r\n\r\nGET / HTTP/1.1\r\nUpgrade: x\r\n\r\n{}",
            "*".repeat(18)
        )
    );
    let sent = text(&masked, SEND);
    assert!(sent.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\n***\r\n0\r\nT: v\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "{sent}");
    assert!(sent.ends_with("HTTP/1.1 101 Go\r\n\r\n***"), "{sent}");
    let other = Tape::accept().recv("*1\r\n$4\r\nPING\r\n").send("+PONG\r\n");
    let masked = redact(&policy, &other);
    assert!(bytes(&masked, RECV).iter().chain(&bytes(&masked, SEND)).all(|&byte| byte == b'*'));
    let found = Tape::found().recv("secret\r\nGET / HTTP/1.1\r\n\r\n").recv("GET /b HTTP/1.1\r\n\r\n");
    assert_eq!(text(&redact(&policy, &found), RECV), format!("{}GET /b HTTP/1.1\r\n\r\n", "*".repeat(26)));
}

/// A piece of a conversation, and whether it is to be masked.
#[derive(Clone, Debug)]
struct Piece(String, bool);

fn secret() -> impl Strategy<Value = String> {
    "[A-Z0-9][A-Z0-9._~+/=-]{6,40}[A-Z0-9]"
}

fn blanks() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" "), Just("\t"), Just("  ")]
}

/// A header field with a secret.
fn secret_field() -> impl Strategy<Value = Vec<Piece>> {
    let name = prop_oneof![
        Just("Authorization"),
        Just("COOKIE"),
        Just("set-cookie"),
        Just("x-Api-Key"),
        Just("Proxy-authorization"),
    ];
    (name, blanks(), blanks(), vec(secret(), 1..4), any::<bool>()).prop_map(
        |(name, before, after, parts, folded)| {
            let mut pieces = vec![Piece(format!("{name}{before}:{after}"), false)];
            for (at, part) in parts.into_iter().enumerate() {
                if at > 0 && folded {
                    pieces.push(Piece("\r\n \t".into(), false));
                }
                pieces.push(Piece(if at > 0 && !folded { format!(" {part}") } else { part }, true));
            }
            pieces.push(Piece("\r\n".into(), false));
            pieces
        },
    )
}

/// A text with query parameters.
fn query() -> impl Strategy<Value = Vec<Piece>> {
    let key = prop_oneof![
        Just("token"),
        Just("Sig"),
        Just("X-Amz-Signature"),
        Just("AWSAccessKeyId"),
        Just("%70assword"),
        Just("user%5Bsecret%5D"),
    ];
    let pair = prop_oneof![
        "[b-f]{1,4}=[a-z]{0,9}".prop_map(|pair| vec![Piece(pair, false)]),
        (key, secret()).prop_map(|(key, secret)| vec![Piece(format!("{key}="), false), Piece(secret, true)]),
    ];
    vec(pair, 0..4).prop_map(|pairs| {
        let mut pieces = Vec::new();
        for (at, pair) in pairs.into_iter().enumerate() {
            pieces.push(Piece(if at == 0 { "?" } else { "&" }.into(), false));
            pieces.extend(pair);
        }
        pieces
    })
}

fn field() -> impl Strategy<Value = Vec<Piece>> {
    prop_oneof![
        secret_field(),
        query().prop_map(|query| [
            vec![Piece("Referer: http://h/p".into(), false)],
            query,
            vec![Piece("\r\n".into(), false)]
        ]
        .concat()),
        "x-[a-z]{1,9}: [a-z:= ]{0,20}\r\n".prop_map(|field| vec![Piece(field, false)]),
    ]
}

#[derive(Clone, Debug)]
enum Content {
    None,
    Length(Vec<Piece>),
    Chunks(Vec<usize>),
}

fn content() -> impl Strategy<Value = Content> {
    let form = (query(), any::<bool>()).prop_map(|(mut form, open)| {
        if let Some(first) = form.first_mut() {
            first.0.clear();
        }
        form.push(Piece(if open { "" } else { "&z=~" }.into(), false));
        form
    });
    prop_oneof![
        Just(Content::None),
        form.prop_map(Content::Length),
        // Not the vowels and `w`, without which no name of a secret is spelt.
        "([b-df-hj-np-tvx-z\n:=&][b-df-hj-np-tvx-z]){0,150}"
            .prop_map(|text| Content::Length(vec![Piece(text, false)])),
        vec(1..200usize, 0..5).prop_map(Content::Chunks),
    ]
}

impl Content {
    fn render(&self, to: &mut Vec<Piece>) {
        let mut push = |text: String| to.push(Piece(text, false));
        match self {
            Self::None => push("Content-Length: 0\r\n\r\n".into()),
            Self::Length(body) => {
                let length: usize = body.iter().map(|piece| piece.0.len()).sum();
                push(format!("Content-Length: {length}\r\n\r\n"));
                to.extend(body.iter().cloned());
            }
            Self::Chunks(sizes) => {
                push("Transfer-Encoding: chunked\r\n\r\n".into());
                for size in sizes {
                    push(format!("{size:x}\r\n{}\r\n", "%".repeat(*size)));
                }
                push("0\r\n\r\n".into());
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Turn {
    request: Vec<Piece>,
    response: Vec<Piece>,
}

fn turn() -> impl Strategy<Value = Turn> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("HEAD"), Just("DELETE")];
    let request = (method, "/[a-z]{1,8}", query(), vec(field(), 0..4), content());
    let response = (prop_oneof![Just(200), Just(404), Just(204), Just(304)], vec(field(), 0..4), content());
    (request, response).prop_map(|((method, path, query, fields, content), (status, more, answer))| {
        let mut request = vec![Piece(format!("{method} {path}"), false)];
        request.extend(query);
        request.push(Piece(" HTTP/1.1\r\n".into(), false));
        request.extend(fields.concat());
        content.render(&mut request);
        let mut response = vec![Piece(format!("HTTP/1.1 {status} Some Reason\r\n"), false)];
        response.extend(more.concat());
        let mut whole = response.clone();
        answer.render(&mut whole);
        if method == "HEAD" || status == 204 || status == 304 {
            // No body follows, whatever the head says.
            let mut head = whole.split_off(response.len());
            head.truncate(1);
            response.extend(head);
        } else {
            response = whole;
        }
        Turn { request, response }
    })
}

fn render(pieces: &[Piece], masked: bool) -> String {
    pieces
        .iter()
        .map(|piece| if masked && piece.1 { "*".repeat(piece.0.len()) } else { piece.0.clone() })
        .collect()
}

/// How the bytes are cut into calls.
#[derive(Clone, Debug)]
enum Cut {
    Bytes,
    At(Vec<Index>),
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![1 => Just(Cut::Bytes), 3 => vec(any::<Index>(), 0..12).prop_map(Cut::At)]
}

fn calls(mut tape: Tape, direction: Direction, bytes: &str, cut: &Cut) -> Tape {
    let Cut::At(cuts) = cut else { return tape.bytewise(direction, bytes) };
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    for pair in at.windows(2).filter(|pair| pair[0] < pair[1]) {
        tape = tape.data(direction, &bytes.as_bytes()[pair[0]..pair[1]]);
    }
    tape
}

/// The turns, so many at once.
fn record(mut tape: Tape, turns: &[Turn], batch: usize, cut: &Cut) -> Tape {
    for turns in turns.chunks(batch) {
        let side = |of: fn(&Turn) -> &Vec<Piece>| {
            turns.iter().map(|turn| render(of(turn), false)).collect::<String>()
        };
        tape = calls(tape, RECV, &side(|turn| &turn.request), cut);
        tape = calls(tape, SEND, &side(|turn| &turn.response), cut);
    }
    tape
}

/// No six bytes of a secret are in the tape, of those in bodies too if `bodies`.
fn assert_no_secret(turns: &[Turn], masked: &Tape, bodies: bool) {
    let message = |pieces: &'_ [Piece]| {
        let head = pieces.iter().position(|piece| piece.0.ends_with("\r\n\r\n"));
        pieces[..if bodies { pieces.len() } else { head.unwrap() }].to_vec()
    };
    let secrets = turns.iter().flat_map(|turn| [message(&turn.request), message(&turn.response)].concat());
    let secrets: Vec<Piece> = secrets.filter(|piece| piece.1).collect();
    let windows: std::collections::HashSet<Vec<u8>> =
        secrets.iter().flat_map(|secret| secret.0.as_bytes().windows(6).map(<[u8]>::to_vec)).collect();
    for recorded in &masked.events {
        let What::Data { payload, tail, .. } = &recorded.what else { continue };
        for part in [payload, tail] {
            let leak = part.windows(6).find(|window| windows.contains(*window));
            assert_eq!(leak.map(String::from_utf8_lossy), None, "in {}", String::from_utf8_lossy(part));
        }
    }
}

/// The same requests, but for masked queries.
fn assert_same_requests(tape: &Tape, masked: &Tape) {
    let run = |tape: &Tape| {
        let mut engine = Engine::new(Config::default());
        let mut seen = Collect::default();
        tape.events.iter().for_each(|recorded| recorded.push(&mut engine, &mut seen));
        engine.finish(&mut seen);
        seen.0
    };
    let (was, is) = (run(tape), run(masked));
    let queryless =
        |seen: &[Seen]| seen.iter().map(|seen| Seen { query: None, ..seen.clone() }).collect::<Vec<_>>();
    assert_eq!(queryless(&was), queryless(&is));
    for (was, is) in was.iter().zip(&is) {
        assert_eq!(was.query.as_ref().map(String::len), is.query.as_ref().map(String::len));
    }
}

fn policies() -> [Policy; 2] {
    [Policy::standard(), Policy::standard().headers_only()]
}

proptest! {
    #![proptest_config(support::cases(250))]

    #[test]
    fn secrets_are_masked_and_everything_else_is_kept_however_reads_cut_them(
        turns in vec(turn(), 1..6), batch in 1..4usize, cut in cut(), client in any::<bool>(),
    ) {
        let tape = if client { Tape::connect() } else { Tape::accept() };
        let tape = record(tape, &turns, batch, &cut);
        let masked = standard(tape.clone());
        for (direction, side) in [(RECV, 0), (SEND, 1)] {
            let expected: String = turns.iter().map(|turn| render([&turn.request, &turn.response][side], true)).collect();
            prop_assert_eq!(text(&masked, direction), expected);
        }
        assert_same_requests(&tape, &masked);
        let masked = redact(&Policy::standard().headers_only(), &tape);
        assert_no_secret(&turns, &masked, true);
        prop_assert!(!text(&masked, SEND).contains("%%%%"));
        assert_same_requests(&tape, &masked);
    }

    #[test]
    fn faults_leak_nothing(
        turns in vec(turn(), 1..6), batch in 1..3usize, cut in cut(), origin in 0..3usize,
        snaplen in prop_oneof![Just(usize::MAX), 0..400usize],
        lost in vec(any::<Index>(), 0..4), twice in vec(any::<Index>(), 0..3), swapped in vec(any::<Index>(), 0..3),
    ) {
        let tape = [Tape::accept(), Tape::found(), Tape::unopened()][origin].clone();
        let mut tape = record(tape.snaplen(snaplen), &turns, batch, &cut);
        for index in twice {
            let at = index.index(tape.events.len());
            tape.events.insert(at + 1, tape.events[at].clone());
        }
        for index in lost {
            tape.events.remove(index.index(tape.events.len()));
            if tape.events.is_empty() {
                return Ok(());
            }
        }
        for index in swapped {
            let at = index.index(tape.events.len());
            tape.events.swap(at, at.saturating_sub(1));
        }
        for policy in policies() {
            assert_no_secret(&turns, &redact(&policy, &tape), policy != Policy::standard());
        }
    }

    #[test]
    fn what_the_snaplen_cuts_is_paired_as_before(
        turns in vec(turn(), 1..6), batch in 1..3usize, snaplen in 0..600usize, cut in vec(any::<Index>(), 0..3),
    ) {
        let uncut = cut.is_empty();
        let tape = record(Tape::accept().snaplen(snaplen), &turns, batch, &Cut::At(cut));
        for policy in policies() {
            let masked = redact(&policy, &tape);
            assert_no_secret(&turns, &masked, policy != Policy::standard());
            // After a gap, heads are kept only if their first line is whole.
            if policy == Policy::standard() || (snaplen > 400 && uncut) {
                assert_same_requests(&tape, &masked);
            }
        }
    }

    #[test]
    fn random_bytes_are_survived(
        parts in vec((any::<bool>(), prop_oneof![
            vec(any::<u8>(), 0..40),
            "(GET|POST|HEAD|HTTP/1.1|HTTP/1.0| |/|\r\n|\n|:|=|&|token|Cookie|Content-Length|[0-9a-f]{1,20}|chunked|Transfer-Encoding|200|101|PRI \\* HTTP/2.0\r\n\r\nSM\r\n\r\n|\x00\x00\x00\x04\x00\x00\x00\x00\x00){0,30}"
                .prop_map(String::into_bytes),
        ], 0..2000u64, 0..70usize), 0..40),
        origin in 0..3usize,
    ) {
        let tape = [Tape::accept(), Tape::found(), Tape::unopened()][origin].clone();
        let mut tape = parts.iter().fold(tape, |tape, (send, bytes, ..)| {
            tape.data(if *send { SEND } else { RECV }, bytes)
        });
        let parts = parts.iter().rev().zip(tape.events.iter_mut().rev());
        for ((.., shift, end), recorded) in parts {
            if let What::Data { position, length, tail, .. } = &mut recorded.what {
                if *shift > 1000 {
                    *position = position.wrapping_mul(*shift).wrapping_add(*shift);
                }
                *length = length.wrapping_add((*shift as u32) % 3);
                *tail = vec![b'x'; *end];
            }
        }
        let mut redactors = policies().map(|policy| Redactor::new(&policy));
        for recorded in &tape.events {
            for redactor in &mut redactors {
                redactor.redact(&recorded.event());
            }
        }
    }
}

/// `cargo test --release -p beyla-engine --test redact -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
fn speed() {
    let json: Vec<u8> =
        br#"{"id":12345,"name":"A product with a name","price":12.5,"tags":["a","b","c"]},"#.repeat(900);
    let html: Vec<u8> =
        br#"<li class="item"><a href="/shop/item?id=12&amp;page=3" title="An item">item</a>: 12.50</li>
"#
        .repeat(700);
    let random: Vec<u8> =
        (0..65536u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    for (name, body) in [("json", json), ("html", html), ("random", random)] {
        for policy in policies() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len() << 20);
            let mut tape = Tape::accept().send(head).send(&body);
            let mut redactor = Redactor::new(&policy);
            for recorded in &tape.events {
                redactor.redact(&recorded.event());
            }
            let mut data = tape.events.remove(2);
            let begun = std::time::Instant::now();
            let rounds = 8000;
            for _ in 0..rounds {
                if let What::Data { position, length, .. } = &mut data.what {
                    *position += u64::from(*length);
                }
                std::hint::black_box(redactor.redact(&data.event()));
            }
            let rate = (rounds * body.len()) as f64 / begun.elapsed().as_secs_f64() / 1e9;
            println!("{name} {}: {rate:.2} GB/s", policy.describe().name);
        }
    }
}
