//! HTTP/2: every frame head and every header block is kept wherever calls have them, and of other payloads only the
//! beginning.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use beyla_schema::{
    event::{Body, Direction, Origin},
    frames::{BEGINNING, Frames, HEAD, Next, PREFACE, SMALL},
};

use crate::{
    Machine, Noise,
    capture::{Capture, Recording},
    folder, free_port,
    server::compiled,
    sources, turn, wait_for,
};

use Direction::{Receive, Send};

/// What is known of the bytes of one direction, by their position.
type Bytes = Vec<Option<u8>>;

/// A capture of HTTP/2, and the bytes of its connections, which leave nothing out.
#[derive(Default)]
struct Kept {
    recording: Recording,
    sides: BTreeMap<(u64, Direction), Bytes>,
    origins: BTreeMap<u64, Origin>,
    rows: usize,
    /// The longest row, which is more than any other call can keep.
    longest: u32,
}

impl Kept {
    fn of(capture: Capture) -> Self {
        let path = capture.path();
        let (code, said, _folder) = capture.ended();
        assert_eq!(code, Some(0), "{said}");
        let mut kept = Self::default();
        let recording = Recording::read_and(&path, |event| match event.body {
            Body::Open(open) => drop(kept.origins.insert(event.connection, open.origin)),
            Body::Data(data) => {
                let bytes = kept.sides.entry((event.connection, data.direction)).or_default();
                assert_eq!(bytes.len() as u64, data.position, "{data:?}");
                let hidden = data.length as usize - data.payload.len() - data.tail.len();
                bytes.extend(data.payload.iter().copied().map(Some));
                bytes.extend(std::iter::repeat_n(None, hidden));
                bytes.extend(data.tail.iter().copied().map(Some));
                kept.rows += 1;
                kept.longest = kept.longest.max(data.length);
            }
            _ => {}
        });
        Self { recording: Recording { stderr: said, ..recording }, ..kept }
    }

    /// The two ends of a connection whose ends were both captured: what the client sent and got, and the other end.
    fn both_ends(&self) -> [[&Bytes; 2]; 2] {
        let end = |wanted| {
            let (&connection, _) = self.origins.iter().find(|&(_, &origin)| origin == wanted).unwrap();
            [Send, Receive].map(|direction| &self.sides[&(connection, direction)])
        };
        assert_eq!(self.origins.len(), 2, "{:?}", self.origins);
        let [[sent, got], [answered, asked]] = [end(Origin::Connect), end(Origin::Accept)];
        [[sent, got], [asked, answered]]
    }
}

/// Frames of one direction.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walked {
    data_bytes: usize,
    /// Parts of header blocks, one after the other.
    blocks: Vec<u8>,
}

/// Walks over frames of which every head, and of every payload what is to be kept, must be there.
fn walk(bytes: &[Option<u8>]) -> Walked {
    let (mut walked, mut place, mut at) = (Walked::default(), Frames::default(), 0);
    let known = |from: usize, count: usize| -> Vec<u8> {
        let bytes = bytes[from..from + count].iter().enumerate();
        bytes.map(|(at, byte)| byte.unwrap_or_else(|| panic!("byte {} is not kept", from + at))).collect()
    };
    let mut kind = 0;
    while at < bytes.len() {
        match place.next() {
            Next::Head(_) => {
                let head = known(at, HEAD);
                kind = head[3];
                assert!(place.begin(head.try_into().unwrap()), "no frame at {at}");
                walked.data_bytes += if kind == 0 { place.left as usize } else { 0 };
                at += HEAD;
            }
            Next::Kept(count) => {
                let payload = known(at, count as usize);
                if matches!(kind, 1 | 5 | 9) {
                    walked.blocks.extend(payload);
                }
                place.passed(count);
                at += count as usize;
            }
            Next::LeftOut(count) => {
                place.passed(count);
                at += count as usize;
            }
        }
    }
    assert_eq!(at, bytes.len());
    walked
}

/// Both ends of a connection have all that belongs to its frames, and the same. Returns what the client sent and got.
fn assert_walkable(kept: &Kept) -> [Walked; 2] {
    let [near, far] = kept.both_ends().map(|[sent, got]| {
        assert!(sent.starts_with(&PREFACE.map(Some)));
        [walk(&sent[PREFACE.len()..]), walk(got)]
    });
    // The last frames, which are about the end of the connection, need not be read.
    assert!(near == far);
    near
}

/// A server of Node and its client, in one process: large header fields and bodies, all at once.
const NODE: &str = r#"
const http2 = require("http2");
const big = (name, length) => (name + ": ").padEnd(length, "abcdefghijklmnop");
const server = http2.createServer({ settings: { maxHeaderListSize: 65536 } });
server.on("stream", (stream, headers) => {
  stream.on("data", () => {});
  stream.respond({ ":status": 200, "x-answer": big(headers[":path"], 10000) }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": big(headers[":path"], 3000) }));
  stream.end("b".repeat(200000));
});
server.listen(0, "127.0.0.1", () => {
  const client = http2.connect("http://127.0.0.1:" + server.address().port);
  let open = 20;
  for (let number = 0; number < 20; number++) {
    const stream = client.request({ ":method": "POST", ":path": "/" + number, "x-question": big("q" + number, 5000) });
    stream.on("data", () => {});
    stream.on("close", () => { if (--open == 0) { client.close(); server.close(); } });
    stream.end("u".repeat(30000));
  }
});
"#;

#[test]
fn nodes_heads_and_header_blocks_are_kept() {
    let Some(_turn) = turn(Machine::Shared, &["node"]) else { return };
    let kept = Kept::of(Capture::start(&["--redact", "none", "--", "timeout", "60", "node", "-e", NODE]));
    kept.recording.assert_lost_nothing();
    let [asked, answered] = assert_walkable(&kept);
    assert_eq!((asked.data_bytes, answered.data_bytes), (20 * 30_000, 20 * 200_000));
    // Their fields are Huffman-coded: five bits of eight for most letters.
    assert!(asked.blocks.len() > 20 * 5000 / 2, "{}", asked.blocks.len());
    assert!(answered.blocks.len() > 20 * 13_000 / 2, "{}", answered.blocks.len());
    assert!(kept.longest > 4096);
    assert_little_is_kept(&kept);
}

/// Of two ends.
fn assert_little_is_kept(kept: &Kept) {
    let all: usize = kept.sides.values().map(Vec::len).sum();
    let known: usize = kept.sides.values().map(|bytes| bytes.iter().flatten().count()).sum();
    eprintln!("{} rows, {known} of {all} bytes", kept.rows);
    assert!(known < all / 4, "{known} of {all} bytes");
}

#[test]
fn gos_heads_and_header_blocks_are_kept() {
    let Some(_turn) = turn(Machine::Shared, &["go"]) else { return };
    let program = compiled("go-h2c", |program| {
        let mut build = Command::new("go");
        build.current_dir(sources().join("go_h2c")).args(["build", "-o"]).arg(program).arg(".");
        build
    });
    let program = program.to_str().unwrap();
    let kept = Kept::of(Capture::start(&["--redact", "none", "--", "timeout", "60", program]));
    kept.recording.assert_lost_nothing();
    let [asked, answered] = assert_walkable(&kept);
    assert_eq!((asked.data_bytes, answered.data_bytes), (10 * 30_000, 10 * 100_000));
    assert!(asked.blocks.len() > 10 * 2000 / 2, "{}", asked.blocks.len());
    assert!(answered.blocks.len() > 10 * 3000 / 2, "{}", answered.blocks.len());
    assert_little_is_kept(&kept);
}

/// Sends one file and receives another over one connection, in pieces and ways that chance decides: as client or server,
/// with so many bytes of text of each before HTTP/2 begins.
const CUTTER: &str = r#"
import os, random, socket, sys
role, port, asking, answering, sent_name, got_name = sys.argv[1:7]
text = {"client": int(asking), "server": int(answering)}
mine, theirs = open(sent_name, "rb").read(), open(got_name, "rb").read()
random.seed(role + asking)
if role == "client":
    s = socket.create_connection(("127.0.0.1", int(port)))
else:
    listener = socket.create_server(("127.0.0.1", int(port)))
    s, _ = listener.accept()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
sent = got = 0
def segments(count):
    cuts = sorted(random.randrange(count + 1) for _ in range(random.choice([0, 1, 5, 300])))
    return [end - begin for begin, end in zip([0] + cuts, cuts + [count])]
def size():
    return random.choice([1, 9, 24, 100, 5000, 60000, 300000])
def send(count):
    global sent
    part = memoryview(mine)[sent:sent + count]
    way = random.randrange(3)
    if way == 0:
        sent += s.send(part)
    elif way == 1:
        sent += os.write(s.fileno(), part)
    else:
        vector, at = [], 0
        for length in segments(len(part)):
            vector.append(part[at:at + length])
            at += length
        sent += s.sendmsg(vector)
def receive(count):
    global got
    count = min(count, len(theirs) - got)
    way = random.randrange(3)
    if way == 0:
        part = s.recv(count)
    elif way == 1:
        part = os.read(s.fileno(), count)
    else:
        buffers = [bytearray(length) for length in segments(count)]
        count = os.readv(s.fileno(), buffers)
        part = b"".join(buffers)[:count]
    assert part == theirs[got:got + len(part)] and part
    got += len(part)
if role == "client":
    while sent < text["client"]: send(text["client"] - sent)
    while got < text["server"]: receive(text["server"] - got)
    while sent < text["client"] + 24: send(min(size(), text["client"] + 24 - sent))
else:
    while got < text["client"]: receive(text["client"] - got)
    # Without an upgrade, the first frame: a server may speak first.
    first = text["server"] or 15
    while sent < first: send(first - sent)
    while got < text["client"] + 24: receive(size())
while sent < len(mine) or got < len(theirs):
    if sent < len(mine): send(size())
    if got < len(theirs): receive(size())
"#;

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, 0]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Settings, then frames of any kind.
fn frames(noise: &mut Noise) -> Vec<u8> {
    let mut bytes = frame(4, 0, &[0; 6]);
    while bytes.len() < 1 << 20 {
        let (kind, longest) =
            [(0, 200), (0, 16_384), (0, 70_000), (1, 500), (9, 20_000), (1, 57_000), (99, 900)]
                [noise.next() as usize % 7];
        for _ in 0..noise.next() % 8 {
            let length = noise.next() as usize % longest;
            bytes.extend(frame(kind, 1, &noise.bytes(length)));
        }
    }
    bytes
}

/// Whether each byte of `frames` is to be kept.
fn expected(frames: &[u8]) -> Vec<bool> {
    let mut expected = Vec::new();
    let mut rest = frames;
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let whole = matches!(head[3], 1 | 5 | 9) || length <= SMALL;
        let kept = if whole { length } else { BEGINNING };
        expected.extend(std::iter::repeat_n(true, HEAD + kept as usize));
        expected.extend(std::iter::repeat_n(false, (length - kept) as usize));
        rest = &after[length as usize..];
    }
    expected
}

/// The bytes of a connection's client and server, and how many of them are text before HTTP/2.
struct Talk {
    client: Vec<u8>,
    server: Vec<u8>,
    texts: [usize; 2],
}

impl Talk {
    fn new(noise: &mut Noise, upgrades: bool) -> Self {
        let (asking, answering) = if upgrades {
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            )
        } else {
            ("", "")
        };
        let client = [asking.as_bytes(), &PREFACE, &frames(noise)].concat();
        let server = [answering.as_bytes(), &frames(noise)].concat();
        Self { client, server, texts: [asking.len(), answering.len()] }
    }

    /// Is the client of a target that serves, or the server of one that asks.
    fn peer(self, mut stream: TcpStream, is_client: bool) {
        let Self { client, server, texts: [asking, answering] } = self;
        let read = |stream: &mut TcpStream, wanted: &[u8]| {
            let mut room = vec![0; wanted.len()];
            stream.read_exact(&mut room).unwrap();
            assert!(room == wanted);
        };
        let (mine, theirs, begun) = if is_client {
            stream.write_all(&client[..asking]).unwrap();
            read(&mut stream, &server[..answering]);
            (client[asking..].to_vec(), &server[answering..], 0)
        } else {
            read(&mut stream, &client[..asking]);
            stream.write_all(&server[..answering]).unwrap();
            read(&mut stream, &PREFACE);
            (server[answering..].to_vec(), &client[asking..], PREFACE.len())
        };
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(&mine).unwrap());
        read(&mut stream, &theirs[begun..]);
        writing.join().unwrap();
    }
}

/// The bytes of both directions that were kept are those that belong to their frames, no more and no less.
fn what_is_kept_does_not_depend_on_cuts(role: &str, upgrades: bool, probe: &str) {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    let mut noise = Noise(if upgrades { 1 } else { 2 });
    let talk = Talk::new(&mut noise, upgrades);
    let serves = role == "server";
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (sent, got) = if serves { (&talk.server, &talk.client) } else { (&talk.client, &talk.server) };
    let (sent_path, got_path) = (write("sent", sent), write("got", got));
    let listener = (!serves).then(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.as_ref().map_or_else(free_port, |listener| listener.local_addr().unwrap().port());

    let texts = talk.texts;
    let [asking, answering] = texts.map(|text| text.to_string());
    let expected = [(Send, sent.clone()), (Receive, got.clone())].map(|(direction, bytes)| {
        let is_client = (direction == Send) != serves;
        let begun = if is_client { texts[0] + PREFACE.len() } else { texts[1] };
        let mut all = vec![true; begun];
        all.extend(expected(&bytes[begun..]));
        assert_eq!(all.len(), bytes.len());
        let bytes = bytes.into_iter().zip(all).map(|(byte, kept)| kept.then_some(byte)).collect::<Bytes>();
        (direction, bytes)
    });
    let peer = thread::spawn(move || {
        let stream = match listener {
            Some(listener) => listener.accept().unwrap().0,
            None => wait_for("the target", || TcpStream::connect(("127.0.0.1", port)).ok()),
        };
        talk.peer(stream, serves);
    });
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let port = port.to_string();
    let (sent_path, got_path) = (text(&sent_path), text(&got_path));
    let target = ["python3", "-c", CUTTER, role, &port, &asking, &answering, &sent_path, &got_path];
    let options = ["--probe", probe, "--redact", "none", "--", "timeout", "60"];
    let kept = Kept::of(Capture::start(&[&options[..], &target].concat()));
    peer.join().unwrap();

    kept.recording.assert_lost_nothing();
    assert_eq!(kept.sides.len(), 2);
    for (direction, expected) in expected {
        let (_, bytes) = kept.sides.iter().find(|((_, side), _)| *side == direction).unwrap();
        assert_eq!(bytes.len(), expected.len());
        let wrong = bytes.iter().zip(&expected).position(|(is, wanted)| is != wanted);
        if let Some(at) = wrong {
            panic!("{role} {direction:?}, byte {at}: {:?}, not {:?}", bytes[at], expected[at]);
        }
    }
}

#[test]
fn cuts_do_not_matter_to_a_client() {
    for probe in ["sock-length", "sys-exit"] {
        what_is_kept_does_not_depend_on_cuts("client", false, probe);
    }
}

#[test]
fn cuts_do_not_matter_to_a_server() {
    for probe in ["sock-length", "sys-exit"] {
        what_is_kept_does_not_depend_on_cuts("server", false, probe);
    }
}

#[test]
fn cuts_do_not_matter_after_an_upgrade() {
    for probe in ["sock-length", "sys-exit"] {
        what_is_kept_does_not_depend_on_cuts("client", true, probe);
        what_is_kept_does_not_depend_on_cuts("server", true, probe);
    }
}

/// A client that sends so much at once.
const SENDER: &str = r#"
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    for name in sys.argv[2:]:
        s.sendall(open(name, "rb").read())
"#;

/// Records a client that sends each of `calls` with one call.
fn record_sender(calls: &[Vec<u8>]) -> Kept {
    let folder = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let reader = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        std::io::copy(&mut { stream }, &mut std::io::sink()).unwrap()
    });
    let names = calls.iter().enumerate().map(|(number, bytes)| {
        let path = folder.path().join(number.to_string());
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let names: Vec<String> = names.collect();
    let mut arguments = vec!["--redact", "none", "--", "timeout", "60", "python3", "-c", SENDER, &port];
    arguments.extend(names.iter().map(String::as_str));
    let kept = Kept::of(Capture::start(&arguments));
    assert_eq!(reader.join().unwrap(), calls.iter().map(Vec::len).sum::<usize>() as u64);
    kept
}

#[test]
fn a_call_with_too_many_frames_ends_the_walk_and_is_counted() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    let begin = [&PREFACE[..], &frame(4, 0, &[0; 6])].concat();
    let many = frame(4, 0, &[]).repeat(40_000);
    let large = frame(0, 1, &[b'x'; 16_384]);
    // A call with as many as fit into 64 KiB is no trouble.
    let few = frame(4, 0, &[]).repeat(7000);
    let kept = record_sender(&[begin, few.clone(), many.clone(), large.clone()]);
    assert_eq!(kept.recording.stats.losses["frames_lost"], 1);
    assert!(kept.recording.stderr.contains("to frames_lost: "), "{}", kept.recording.stderr);
    let bytes = kept.sides.values().next().unwrap();
    let before = PREFACE.len() + HEAD + 6 + few.len();
    let after = before + many.len();
    assert!(bytes[..before].iter().all(Option::is_some));
    // From here on the snaplen decides.
    assert!(bytes[after..][..192].iter().all(Option::is_some));
    assert_eq!(bytes.len(), after + large.len());
}

#[test]
fn an_answer_in_another_protocol_is_no_loss() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    let listener = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))).accept()[0]; s.recv(100); s.sendall(b'HTTP/1.1 400 Bad Request\\r\\nContent-Length: 20000\\r\\n\\r\\n' + b'x' * 20000); s.recv(1)";
    let port = free_port();
    let asking = thread::spawn(move || {
        let mut stream = wait_for("the target", || TcpStream::connect(("127.0.0.1", port)).ok());
        stream.write_all(&PREFACE).unwrap();
        let mut answer = vec![0; 20_051];
        stream.read_exact(&mut answer).unwrap();
    });
    let port = port.to_string();
    let kept = Kept::of(Capture::start(&[
        "--redact", "none", "--", "timeout", "60", "python3", "-c", listener, &port,
    ]));
    asking.join().unwrap();
    kept.recording.assert_lost_nothing();
    let (_, answer) = kept.sides.iter().find(|((_, direction), _)| *direction == Send).unwrap();
    assert!(answer[..16_000].iter().all(Option::is_some));
}
