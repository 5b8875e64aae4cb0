//! HPACK against encoders and decoders that know nothing of ours.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use beyla_engine::http2::hpack::{Decoder, Error, Step};
use httlib_hpack::Encoder;
use proptest::collection::vec;
use proptest::prelude::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Names and values, as far as they are known.
type Decoded = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

/// Decodes a block that comes in pieces; None for what is unknown.
fn decode(decoder: &mut Decoder, block: &[u8], piece: usize) -> Result<Decoded, Error> {
    let mut fields = Vec::new();
    for piece in block.chunks(piece.max(1)) {
        let mut at = 0;
        while let Some(step) = decoder.step(piece, &mut at)? {
            match step {
                Step::Field => {
                    let field = decoder.field();
                    fields.push((field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec)));
                }
                Step::Name(part) | Step::Value(part) => assert!(part.range.end <= piece.len()),
            }
        }
        assert_eq!(at, piece.len());
    }
    // What the last byte completes is told without another one.
    let mut at = 0;
    assert_eq!(decoder.step(&[], &mut at)?, None);
    decoder.end_block()?;
    Ok(fields)
}

fn known(decoder: &mut Decoder, block: &[u8], piece: usize) -> Fields {
    let fields = decode(decoder, block, piece).unwrap();
    fields.into_iter().map(|(name, value)| (name.unwrap(), value.unwrap())).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn texts(fields: &Fields) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

/// RFC 7541 appendices C.3 to C.6: requests and responses, plain and in the Huffman code.
#[test]
fn the_examples_of_the_rfc() {
    let requests = [
        vec![":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
        vec![
            ":method: GET",
            ":scheme: http",
            ":path: /",
            ":authority: www.example.com",
            "cache-control: no-cache",
        ],
        vec![
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ],
    ];
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let huffman = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, huffman] {
        for piece in [1, 2, 3, 99] {
            let mut decoder = Decoder::begun();
            for (block, expected) in blocks.iter().zip(&requests) {
                assert_eq!(&texts(&known(&mut decoder, &hex(block), piece)), expected);
            }
        }
    }
    // Appendix C.6, whose table has room for 256 bytes.
    let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
    let location = "location: https://www.example.com";
    let responses = [
        (
            "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            vec![":status: 302", "cache-control: private", date, location],
        ),
        ("4883 640e ffc1 c0bf", vec![":status: 307", "cache-control: private", date, location]),
        (
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
            vec![
                ":status: 200",
                "cache-control: private",
                "date: Mon, 21 Oct 2013 20:13:22 GMT",
                location,
                "content-encoding: gzip",
                "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ],
        ),
    ];
    let mut decoder = Decoder::begun();
    for (block, expected) in responses {
        assert_eq!(texts(&known(&mut decoder, &hex(block), 5)), expected);
    }
}

#[test]
fn what_was_missed_is_unknown_and_what_follows_is_not() {
    let name = || Some(b"custom-key".to_vec());
    let mut decoder = Decoder::found();
    // An entry from before, a new one, the new one again, the one before again.
    let block = hex("be 400a 6375 7374 6f6d 2d6b 6579 0161 be bf 7e 0162");
    let fields = decode(&mut decoder, &block, 99).unwrap();
    let a = Some(b"a".to_vec());
    assert_eq!(
        fields,
        [(None, None), (name(), a.clone()), (name(), a), (None, None), (name(), Some(b"b".to_vec()))]
    );
    decoder.lose();
    assert_eq!(decode(&mut decoder, &hex("be"), 1).unwrap(), [(None, None)]);
    // The table is emptied and grows again.
    assert_eq!(decode(&mut decoder, &hex("20 3fe11f be"), 1), Err(Error::Index));
    assert_eq!(decode(&mut Decoder::begun(), &hex("be"), 1), Err(Error::Index));
    assert_eq!(decode(&mut Decoder::begun(), &hex("80"), 1), Err(Error::Index));
    assert_eq!(decode(&mut Decoder::begun(), &hex("4003 61"), 1), Err(Error::Incomplete));
    assert_eq!(decode(&mut Decoder::begun(), &hex("ff ff ff ff ff ff ff"), 9), Err(Error::Integer));
    assert_eq!(decode(&mut Decoder::begun(), &hex("44 81 00"), 9), Err(Error::Huffman));
}

#[test]
fn an_integer_in_place_of_a_size_is_no_reason_to_allocate() {
    let mut decoder = Decoder::begun();
    let mut at = 0;
    // A value of four gigabytes, of which one comes in many pieces.
    decoder.step(&hex("44 7f 80 ff ff ff 0f"), &mut at).unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        at = 0;
        while decoder.step(&piece, &mut at).unwrap().is_some() {}
    }
    assert_eq!(decoder.field().value, None);
}

#[derive(Clone, Debug)]
struct Block {
    fields: Vec<(Vec<u8>, Vec<u8>, u8)>,
    resize: Option<u32>,
}

fn block() -> impl Strategy<Value = Block> {
    const NAMES: [&str; 6] = [":path", ":authority", "cookie", "accept", "x-a", "x-b"];
    let name = (0..8usize, vec(b'a'..=b'z', 1..30))
        .prop_map(|(at, other)| NAMES.get(at).map_or(other, |name| name.as_bytes().to_vec()));
    let value =
        prop_oneof![3 => vec(b'a'..b'c', 0..2), 2 => vec(b' '..=b'~', 0..60), 1 => vec(any::<u8>(), 0..20)];
    // Huffman for name and value, and with indexing, never, or the best representation.
    let flags = (0..4u8, prop_oneof![Just(0u8), Just(4), Just(8), Just(0x14), Just(0x10), Just(0x18)]);
    let field = (name, value, flags).prop_map(|(name, value, (huffman, kind))| (name, value, huffman | kind));
    let resize = prop_oneof![8 => Just(None), 1 => (0..200u32).prop_map(Some), 1 => Just(Some(4096))];
    (vec(field, 1..8), resize).prop_map(|(fields, resize)| Block { fields, resize })
}

fn encode(encoder: &mut Encoder<'_>, block: &Block) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(size) = block.resize {
        encoder.update_max_dynamic_size(size, &mut bytes).unwrap();
    }
    for (name, value, flags) in &block.fields {
        encoder.encode((name.clone(), value.clone(), *flags), &mut bytes).unwrap();
    }
    bytes
}

proptest! {
    #![proptest_config(support::cases(400))]

    #[test]
    fn blocks_are_decoded_as_others_decode_them(blocks in vec(block(), 1..15), piece in 1..40usize) {
        let mut encoder = Encoder::default();
        let mut other = loona_hpack::Decoder::new();
        let (mut ours, mut found) = (Decoder::begun(), Decoder::found());
        for block in &blocks {
            let bytes = encode(&mut encoder, block);
            let fields = known(&mut ours, &bytes, piece);
            prop_assert_eq!(&fields, &other.decode(&bytes).unwrap());
            let sent: Fields = block.fields.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
            prop_assert_eq!(&fields, &sent);
            // Nothing was missed: who does not know that knows all the same.
            prop_assert_eq!(&known(&mut found, &bytes, 99), &sent);
        }
    }

    #[test]
    fn a_missed_block_makes_things_unknown_but_never_wrong(blocks in vec(block(), 2..20), missed in any::<prop::sample::Index>()) {
        let mut encoder = Encoder::default();
        let mut ours = Decoder::begun();
        for (at, block) in blocks.iter().enumerate() {
            let bytes = encode(&mut encoder, block);
            if at == missed.index(blocks.len()) {
                ours.lose();
                continue;
            }
            let fields = decode(&mut ours, &bytes, 7).unwrap();
            prop_assert_eq!(fields.len(), block.fields.len());
            for ((name, value), (was_name, was_value, _)) in fields.iter().zip(&block.fields) {
                prop_assert!(name.as_ref().is_none_or(|name| name == was_name));
                prop_assert!(value.as_ref().is_none_or(|value| value == was_value));
            }
        }
    }

    #[test]
    fn hostile_bytes_are_survived(blocks in vec(vec(any::<u8>(), 0..60), 0..12), piece in 1..70usize) {
        let (mut begun, mut found) = (Decoder::begun(), Decoder::found());
        let mut other = loona_hpack::Decoder::new();
        let mut agreed = true;
        for block in &blocks {
            let ours = decode(&mut begun, block, piece);
            let _ = decode(&mut found, block, piece);
            if ours.is_err() {
                let _ = begun.end_block();
            }
            let _ = found.end_block();
            // What both take for good must mean the same.
            let theirs = other.decode(block);
            if let (true, Ok(ours), Ok(theirs)) = (agreed, &ours, &theirs) {
                let theirs: Vec<_> = theirs.iter().map(|(name, value)| (Some(name.clone()), Some(value.clone()))).collect();
                prop_assert_eq!(ours, &theirs);
            } else {
                agreed = false;
            }
        }
    }
}
