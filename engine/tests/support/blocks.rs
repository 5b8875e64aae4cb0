//! Header blocks as encoders write them, the same ones every time: of real stacks' habits, and of no habits at all.

use beyla_engine::http2::hpack::huffman;
use httlib_hpack::Encoder;

/// Random numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn text(&mut self, letters: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(self.of(letters))).collect()
    }
}

const HEX: &[u8] = b"0123456789abcdef";

/// Writes the parts of a block (RFC 7541 sections 5 and 6).
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn integer(&mut self, pattern: u8, bits: u32, number: usize) {
        let most = (1 << bits) - 1;
        if number < most {
            self.0.push(pattern | number as u8);
            return;
        }
        self.0.push(pattern | most as u8);
        let mut rest = number - most;
        while rest >= 128 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    pub fn string(&mut self, text: &[u8], coded: bool) {
        if !coded {
            self.integer(0, 7, text.len());
            self.0.extend_from_slice(text);
            return;
        }
        let bits: usize = text.iter().map(|&symbol| usize::from(huffman::code(symbol).1)).sum();
        self.integer(0x80, 7, bits.div_ceil(8));
        let (mut ahead, mut count) = (0u64, 0u32);
        for &symbol in text {
            let (code, length) = huffman::code(symbol);
            ahead = ahead << length | u64::from(code);
            count += u32::from(length);
            while count >= 8 {
                count -= 8;
                self.0.push((ahead >> count) as u8);
            }
        }
        if count > 0 {
            self.0.push((ahead << (8 - count)) as u8 | (0xff >> count));
        }
    }

    /// A literal field, the name of which is `name` or the one of an index.
    pub fn literal(&mut self, kind: u8, index: usize, name: &[u8], value: &[u8], coded: [bool; 2]) {
        self.integer(kind, if kind == INDEXED { 6 } else { 4 }, index);
        if index == 0 {
            self.string(name, coded[0]);
        }
        self.string(value, coded[1]);
    }
}

/// The kinds of literal fields.
pub const INDEXED: u8 = 0x40;
pub const PLAIN: u8 = 0x00;
pub const NEVER: u8 = 0x10;

/// Header blocks of one connection and direction.
pub type Stream = Vec<Vec<u8>>;

/// Makes so many blocks.
pub type Make = fn(&mut Random, usize) -> Stream;

/// What the encoders of real stacks write, by name.
pub const STREAMS: [(&str, Make); 7] = [
    ("grpc-go unary calls", grpc_go),
    ("Go net/http2 client", go_client),
    ("Node http2 client", node_client),
    ("nginx responses", nginx),
    ("Huffman literals only", huffman_only),
    ("raw literals only", raw_only),
    ("indices only", indices_only),
];

type Fields<'a> = Vec<(&'a str, String, u8)>;

/// The best representation that an encoder with a table finds: all strings in the Huffman code.
const BEST: u8 = 0x17;
/// Likewise, but the field is not remembered; and never is.
const FORGET: u8 = 0x13;
const SECRET: u8 = 0x1b;

fn encoded<'a>(count: usize, mut fields: impl FnMut(usize) -> Fields<'a>) -> Stream {
    let mut encoder = Encoder::default();
    let block = |at| {
        let mut block = Vec::new();
        for (name, value, flags) in fields(at) {
            encoder.encode((name.as_bytes().to_vec(), value.into_bytes(), flags), &mut block).unwrap();
        }
        block
    };
    (0..count).map(block).collect()
}

fn grpc_go(random: &mut Random, count: usize) -> Stream {
    let method = ["/shop.v1.Cart/AddItem", "/shop.v1.Cart/GetCart", "/shop.v1.Catalog/ListProducts"];
    encoded(count, |_| {
        let mut fields: Fields<'_> = vec![
            (":method", "POST".into(), BEST),
            (":scheme", "http".into(), BEST),
            (":path", random.of(&method).into(), BEST),
            (":authority", "cart.shop.svc.cluster.local:50051".into(), BEST),
            ("content-type", "application/grpc".into(), BEST),
            ("user-agent", "grpc-go/1.64.0".into(), BEST),
            ("te", "trailers".into(), BEST),
            ("grpc-timeout", format!("{}u", 900_000 + random.below(100_000)), BEST),
        ];
        if random.one_in(2) {
            let (trace, parent) = (random.text(HEX, 32), random.text(HEX, 16));
            fields.push(("traceparent", format!("00-{trace}-{parent}-01"), BEST));
        }
        fields
    })
}

fn go_client(random: &mut Random, count: usize) -> Stream {
    encoded(count, |_| {
        let id = random.below(100_000);
        let mut fields: Fields<'_> = vec![
            (":authority", "api.example.com:8443".into(), BEST),
            (":method", random.of(&["GET", "GET", "GET", "POST", "DELETE"]).into(), BEST),
            (":path", format!("/v1/users/{id}/orders?limit=20&after={}", random.text(HEX, 12)), BEST),
            (":scheme", "http".into(), BEST),
            (
                "authorization",
                "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.aBcDeFgHiJkLmNoPqRsT".into(),
                SECRET,
            ),
            ("x-request-id", random.text(HEX, 32), BEST),
            ("accept-encoding", "gzip".into(), BEST),
            ("user-agent", "Go-http-client/2.0".into(), BEST),
        ];
        if random.one_in(3) {
            fields.push(("content-length", random.below(5000).to_string(), BEST));
        }
        fields
    })
}

fn node_client(random: &mut Random, count: usize) -> Stream {
    let paths = ["/", "/index.html", "/assets/app.8f3a1c.js", "/assets/style.css", "/api/session"];
    encoded(count, |_| {
        vec![
            (":method", "GET".into(), BEST),
            (":path", format!("{}?v={}", random.of(&paths), random.below(50)), FORGET),
            (":scheme", "https".into(), BEST),
            (":authority", "www.example.com".into(), BEST),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".into(), BEST),
            ("accept-language", "en-US,en;q=0.5".into(), BEST),
            ("cookie", format!("session={}; theme=dark", random.text(HEX, 40)), FORGET),
            ("if-none-match", format!("\"{}\"", random.text(HEX, 16)), FORGET),
            ("cache-control", random.of(&["no-cache", "max-age=0"]).into(), BEST),
        ]
    })
}

/// Literals that are remembered and never referred to, which is how nginx writes responses.
fn nginx(random: &mut Random, count: usize) -> Stream {
    let types = ["text/html", "application/json", "image/png", "text/css"];
    let block = |_| {
        let mut block = Writer::default();
        block.0.push(0x88);
        let second = random.below(60);
        for (index, value) in [
            (54, "nginx/1.26.1".to_owned()),
            (33, format!("Mon, 21 Oct 2024 20:13:{second:02} GMT")),
            (31, random.of(&types).to_owned()),
            (28, random.below(100_000).to_string()),
            (44, "Sat, 14 Sep 2024 09:31:07 GMT".to_owned()),
            (34, format!("\"{}-{}\"", random.text(HEX, 8), random.text(HEX, 4))),
            (18, "bytes".to_owned()),
        ] {
            block.literal(INDEXED, index, b"", value.as_bytes(), [true; 2]);
        }
        block.0
    };
    (0..count).map(block).collect()
}

fn huffman_only(random: &mut Random, count: usize) -> Stream {
    literals(random, count, true)
}

fn raw_only(random: &mut Random, count: usize) -> Stream {
    literals(random, count, false)
}

fn literals(random: &mut Random, count: usize, coded: bool) -> Stream {
    let block = |_| {
        let mut block = Writer::default();
        for name in [":path", "user-agent", "x-request-id", "x-forwarded-for", "etag", "x-b3-traceid"] {
            let length = 8 + random.below(40);
            let value = random.text(b"abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789-_/.=", length);
            block.literal(PLAIN, 0, name.as_bytes(), value.as_bytes(), [coded; 2]);
        }
        block.0
    };
    (0..count).map(block).collect()
}

fn indices_only(random: &mut Random, count: usize) -> Stream {
    let mut stream = grpc_go(random, 1);
    stream.extend((1..count).map(|_| {
        // The first block left nine fields in the table, or eight.
        (0..9).map(|_| 0x80 | (2 + random.below(66)) as u8).collect()
    }));
    stream
}
