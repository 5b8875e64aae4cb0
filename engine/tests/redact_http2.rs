//! Secrets in HTTP/2: masked in the header blocks, which others decode as before but for the secrets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::redact::{Policy, Redactor};
use beyla_schema::event::{Body, Direction};
use httlib_hpack::Encoder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use support::Tape;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of each call of a tape, redacted.
fn redact(policy: &Policy, tape: &Tape) -> Vec<Vec<u8>> {
    let mut redactor = Redactor::new(policy);
    let mut calls = Vec::new();
    for recorded in &tape.events {
        if let Body::Data(after) = redactor.redact(&recorded.event()).body {
            calls.push([after.payload, after.tail].concat());
        }
    }
    calls
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])
}

/// A header field, and whether its value is secret: all of it, or from a place on up to another.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    value: String,
    flags: u8,
    secret: std::ops::Range<usize>,
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[A-Za-z0-9]{8,60}", 1 => "[A-Za-z0-9._~+/=-]{8,60}", 1 => "[!$(),-~]{8,30}", 1 => "\\PC{8,20}"]
        .prop_filter("a value ends at these", |text| {
            !text.contains(['&', ';', ' ', '#', '"', '\'', '<', '>'])
        })
}

fn field() -> impl Strategy<Value = Field> {
    let flags = (0..4u8, prop_oneof![Just(0u8), Just(4), Just(8), Just(0x14), Just(0x10), Just(0x18)])
        .prop_map(|(huffman, kind)| huffman | kind);
    let name = prop_oneof![
        Just("authorization"),
        Just("cookie"),
        Just("set-cookie"),
        Just("x-api-key"),
        Just("x-secret")
    ];
    let all =
        (name, secret()).prop_map(|(name, value)| (name.to_owned(), String::new(), value, String::new()));
    let key = prop_oneof![Just("token"), Just("X-Amz-Signature"), Just("%70assword")];
    let path = prop_oneof![Just(":path"), Just("referer"), Just("location")];
    let query = (path, "[a-z/]{1,9}", key, secret(), "(&[a-z]{1,3}=[a-zA-Z0-9~{}]{0,9})?").prop_map(
        |(name, path, key, value, rest)| (name.to_owned(), format!("/{path}?a=b&{key}="), value, rest),
    );
    let plain = ("[a-z]{1,8}", "[ -~]{0,30}")
        .prop_filter("no secrets", |(_, value)| !value.contains('='))
        .prop_map(|(name, value)| (format!("y-{name}"), value, String::new(), String::new()));
    (prop_oneof![2 => all, 2 => query, 2 => plain], flags).prop_map(
        |((name, before, secret, after), flags)| Field {
            name,
            secret: before.len()..before.len() + secret.len(),
            value: before + &secret + &after,
            flags,
        },
    )
}

/// How a header block is sent.
#[derive(Clone, Debug)]
struct Message {
    fields: Vec<Field>,
    resize: Option<u32>,
    padding: Option<u8>,
    priority: bool,
    push: bool,
    continuations: Vec<Index>,
    data: Vec<u8>,
}

fn message() -> impl Strategy<Value = Message> {
    let resize = prop_oneof![8 => Just(None), 1 => (0..300u32).prop_map(Some), 1 => Just(Some(4096))];
    let shape = (proptest::option::of(0..20u8), any::<bool>(), any::<bool>(), vec(any::<Index>(), 0..3));
    (vec(field(), 1..7), resize, shape, vec(any::<u8>(), 0..50)).prop_map(
        |(fields, resize, (padding, priority, push, continuations), data)| Message {
            fields,
            resize,
            padding,
            priority,
            push,
            continuations,
            data,
        },
    )
}

/// The frames of a message, and where in them the pieces of its header block are.
fn render(message: &Message, encoder: &mut Encoder<'_>) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let mut block = Vec::new();
    if let Some(size) = message.resize {
        encoder.update_max_dynamic_size(size, &mut block).unwrap();
    }
    for field in &message.fields {
        let (name, value) = (field.name.clone().into_bytes(), field.value.clone().into_bytes());
        encoder.encode((name, value, field.flags), &mut block).unwrap();
    }
    let mut cuts: Vec<_> = message.continuations.iter().map(|cut| cut.index(block.len() + 1)).collect();
    cuts.extend([0, block.len()]);
    cuts.sort_unstable();
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for (at, pair) in cuts.windows(2).enumerate() {
        let end = if at + 2 == cuts.len() { 4 } else { 0 };
        let mut payload = Vec::new();
        let (mut kind, mut flags, mut padding) = (9, end, 0);
        if at == 0 {
            kind = if message.push { 5 } else { 1 };
            if let Some(length) = message.padding {
                flags |= 8;
                payload.push(length);
                padding = length.into();
            }
            if message.push {
                payload.extend([0, 0, 0, 8]);
            } else if message.priority {
                flags |= 0x20;
                payload.extend([0, 0, 0, 1, 16]);
            }
        }
        let start = bytes.len() + 9 + payload.len();
        places.push(start..start + pair[1] - pair[0]);
        payload.extend(&block[pair[0]..pair[1]]);
        payload.extend(vec![0; padding]);
        bytes.extend(frame(kind, flags, 7, &payload));
    }
    bytes.extend(frame(0, 8, 7, &[&[3], &message.data[..], &[0, 0, 0]].concat()));
    (bytes, places)
}

fn calls(mut tape: Tape, direction: Direction, bytes: &[u8], cuts: &[Index], bytewise: bool) -> Tape {
    let mut at: Vec<_> = if bytewise {
        (0..=bytes.len()).collect()
    } else {
        cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect()
    };
    at.sort_unstable();
    at.dedup();
    for pair in at.windows(2) {
        tape = tape.data(direction, &bytes[pair[0]..pair[1]]);
    }
    tape
}

/// Whether six bytes of a secret are in `bytes`, of those that no mask is made of.
fn shares(secret: &[u8], bytes: &[u8]) -> bool {
    let telling = |byte: &u8| byte.is_ascii_alphanumeric() && !b"ox".contains(byte);
    secret
        .windows(6)
        .filter(|window| window.iter().all(telling))
        .any(|secret| bytes.windows(6).any(|window| window == secret))
}

fn policy() -> Policy {
    Policy::standard().with_header("X-Secret").unwrap()
}

fn blocks(bytes: &[u8], messages: &[Vec<std::ops::Range<usize>>]) -> Vec<Vec<u8>> {
    messages
        .iter()
        .map(|places| places.iter().flat_map(|place| bytes[place.clone()].to_vec()).collect())
        .collect()
}

proptest! {
    #![proptest_config(support::cases(400))]

    #[test]
    fn masked_blocks_are_decoded_as_before_but_for_the_secrets(
        messages in vec(message(), 1..6), cuts in vec(any::<Index>(), 0..12), bytewise in any::<bool>(),
        server in any::<bool>(), upgraded in any::<bool>(), headers_only in any::<bool>(),
    ) {
        let mut encoder = Encoder::default();
        let mut bytes = if server { settings() } else { [PREFACE, &settings()].concat() };
        let mut places = Vec::new();
        for message in &messages {
            let (frames, at) = render(message, &mut encoder);
            places.push(at.into_iter().map(|place| place.start + bytes.len()..place.end + bytes.len()).collect::<Vec<_>>());
            bytes.extend(frames);
        }
        let direction = if server { Direction::Send } else { Direction::Receive };
        let mut tape = Tape::accept();
        if upgraded {
            tape = tape.recv("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n").send("HTTP/1.1 101 Switching Protocols\r\n\r\n");
        }
        let before = tape.events.len() - 1;
        let policy = if headers_only { policy().headers_only() } else { policy() };
        let tape = calls(tape, direction, &bytes, &cuts, bytewise);
        let masked = redact(&policy, &tape)[before..].concat();
        prop_assert_eq!(masked.len(), bytes.len());
        let mut other = loona_hpack::Decoder::new();
        for (message, block) in messages.iter().zip(blocks(&masked, &places)) {
            let fields = other.decode(&block).unwrap();
            prop_assert_eq!(fields.len(), message.fields.len());
            for ((name, value), field) in fields.iter().zip(&message.fields) {
                let (was, secret) = (field.value.as_bytes(), field.secret.clone());
                prop_assert_eq!(name, field.name.as_bytes());
                prop_assert_eq!(value.len(), was.len());
                prop_assert_eq!(&value[..secret.start], &was[..secret.start]);
                prop_assert_eq!(&value[secret.end..], &was[secret.end..]);
                prop_assert!(!shares(&was[secret.clone()], value), "{:?} in {:?}", value, was);
            }
        }
        let mut outside = vec![true; bytes.len()];
        places.iter().flatten().for_each(|place| outside[place.clone()].fill(false));
        for (at, outside) in outside.into_iter().enumerate() {
            prop_assert!(!outside || masked[at] == bytes[at] || masked[at] == b'*', "{}", at);
        }
        if headers_only {
            for message in &messages {
                prop_assert!(message.data.len() < 8 || !masked.windows(message.data.len()).any(|window| window == message.data));
            }
        }
    }

    /// Frames of which some are missing, from any place on: no secret is in what comes out, plain or in the code of a
    /// string.
    #[test]
    fn faults_leak_nothing(
        messages in vec(message(), 1..8), cuts in vec(any::<Index>(), 0..20), from in any::<Index>(), found in any::<bool>(),
        lost in vec(any::<Index>(), 0..4), snaplen in prop_oneof![Just(usize::MAX), 0..200usize], at_frame in any::<bool>(),
    ) {
        let mut encoder = Encoder::default();
        let (mut bytes, mut starts) = ([PREFACE, &settings()].concat(), Vec::new());
        for message in &messages {
            starts.push(bytes.len());
            bytes.extend(render(message, &mut encoder).0);
        }
        let mut tape = Tape::accept().snaplen(snaplen);
        if found {
            let from = if at_frame { starts[from.index(starts.len())] } else { from.index(bytes.len()) };
            tape = calls(Tape::found().snaplen(snaplen), Direction::Receive, &bytes[from..], &cuts, false);
        } else {
            tape = calls(tape, Direction::Receive, &bytes, &cuts, false);
        }
        for index in lost {
            let at = index.index(tape.events.len());
            if at > 0 {
                tape.events.remove(at);
            }
        }
        for policy in [policy(), policy().headers_only()] {
            for call in redact(&policy, &tape) {
                for field in &messages.iter().flat_map(|message| &message.fields).collect::<Vec<_>>() {
                    let secret = &field.value.as_bytes()[field.secret.clone()];
                    prop_assert!(!shares(secret, &call), "{:?} in {:?}", field, call);
                    let mut huffman = Vec::new();
                    Encoder::default().encode((vec![], secret.to_vec(), 2), &mut huffman).unwrap();
                    let coded = call.windows(6).any(|window| huffman.windows(6).any(|secret| secret == window));
                    // Codes of other characters are long, and alike.
                    let common = secret.iter().all(u8::is_ascii_alphanumeric) && field.secret.start == 0;
                    prop_assert!(!coded || !common, "{:?} in {:?}", field, call);
                }
            }
        }
    }
}

/// gRPC as a recorder meets it that starts late: the first frames it sees refer to a table it has not seen.
#[test]
fn a_connection_found_in_its_middle_is_masked_where_names_are_unknown() {
    let mut encoder = Encoder::default();
    let mut call = |token: &str| {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":path", "/shop.Cart/Add"),
            ("x-custom-credential", token),
            ("te", "trailers"),
        ] {
            encoder
                .encode((name.as_bytes().to_vec(), value.as_bytes().to_vec(), 0x16u8), &mut block)
                .unwrap();
        }
        let data = frame(0, 1, 7, b"\0\0\0\0\x03abc");
        ([frame(1, 4, 7, &block), data].concat(), block)
    };
    let _missed = call("first-token-nobody-saw");
    let (second, block) = call("second-token-is-a-secret");
    let tape = Tape::found().recv(&second[..9]).recv(&second[9..]);
    let masked = redact(&Policy::standard(), &tape).concat();
    assert_eq!(masked[..9], second[..9]);
    assert_eq!(
        masked[9 + block.len()..][..9],
        second[9 + block.len()..][..9],
        "frames after the block are followed"
    );
    // The name is in the table that was missed, so that the value may be anything.
    assert_ne!(masked[9..9 + block.len()], block);
    // Where the beginning is known, that name is no secret.
    let (whole, _) = call("third-token-is-no-secret");
    let tape = Tape::accept().recv(PREFACE).recv(settings()).recv(&whole);
    let masked = redact(&Policy::standard(), &tape).concat();
    assert_eq!(masked.len(), PREFACE.len() + settings().len() + whole.len());
}

#[test]
fn a_client_that_speaks_first_or_second_is_understood() {
    let block = [0x82, 0x0f, 0x08, 0x06, b's', b'e', b'c', b'r', b'e', b't'];
    let request = frame(1, 5, 1, &block);
    // Static entry 23 is authorization.
    let expected = [&request[..13], b"******"].concat();
    for tape in [
        Tape::accept().recv(PREFACE).recv(settings()).send(settings()).recv(&request),
        Tape::accept().send(settings()).recv([PREFACE, &settings()].concat()).recv(&request),
        Tape::connect().recv(PREFACE).recv(&request),
        Tape::found().recv(settings()).recv(&request),
    ] {
        assert_eq!(redact(&Policy::standard(), &tape).last(), Some(&expected));
    }
}

#[test]
fn h2_speed_is_not_that_of_bit_by_bit() {
    // Guards against decoding work that grows with the square of a value in many reads.
    let value = vec![b'a'; 60_000];
    let mut block = Vec::new();
    Encoder::default().encode((b"cookie".to_vec(), value, 0x12u8), &mut block).unwrap();
    let bytes = [PREFACE, &settings(), &frame(1, 4, 1, &block)].concat();
    let tape = calls(Tape::accept(), Direction::Receive, &bytes, &[], true);
    let masked = redact(&Policy::standard(), &tape).concat();
    let start = bytes.len() - block.len();
    let fields = loona_hpack::Decoder::new().decode(&masked[start..]).unwrap();
    assert_eq!((fields[0].0.as_slice(), fields[0].1.len()), (&b"cookie"[..], 60_000));
    assert!(!fields[0].1.contains(&b'a'));
}

#[test]
fn a_frame_that_has_no_room_for_what_it_announces_is_survived() {
    for (kind, flags) in [(0, 8), (1, 8), (1, 0x20), (1, 0x28), (5, 0), (5, 8)] {
        for length in 0..6 {
            let bytes = [PREFACE, &settings(), &frame(kind, flags, 1, &[0; 5][..length.min(5)])].concat();
            let tape = Tape::accept().send(settings()).recv(&bytes).recv(b"rest");
            assert_eq!(redact(&Policy::standard(), &tape).concat().len(), bytes.len() + 15 + 4);
            tape.run();
        }
    }
}
