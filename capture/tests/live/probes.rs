//! The kernel programs by themselves: attached by the tests, and asked record by record what they saw.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use beyla_capture::{
    probe::{self, Attached, Choice, Maps, Settings, Sizes},
    target::Selectors,
};
use beyla_schema::wire::{BY_INODE, Call, Counters, Data, Direction, Origin, Record, Transport, UNNUMBERED};

use Direction::{Receive, Send};

use crate::{Machine, capture::Capture, client::Client, folder, free_port, turn};

const BOTH: [Choice; 2] = [Choice::SockLength, Choice::SysExit];

/// Attached programs and what they are spoken to through.
struct Probes {
    attached: Attached,
    maps: Maps,
}

/// A record with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// Transport, origin, and the path of the named end: local first.
    Open(u8, u8, [String; 2]),
    /// Direction, call, position, length and what is kept.
    Data(Direction, Call, u64, u32, String),
    /// Received and sent.
    Close(u64, u64),
    Other,
}

impl Probes {
    fn attach(sizes: Sizes, settings: Settings) -> Self {
        let (attached, maps) = probe::attach(&Selectors::default(), sizes, settings).unwrap();
        Self { attached, maps }
    }

    /// Detaches the programs. Returns what they recorded, by connection in the order of their first records, and
    /// what they counted: every number is accounted for.
    fn finish(mut self) -> (Vec<(u64, Vec<Seen>)>, Counters) {
        drop(self.attached);
        let mut all: Vec<(u64, Vec<Seen>)> = Vec::new();
        let mut numbers: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        while let Some(item) = self.maps.events.next() {
            let record = Record::decode(&item).expect("a record");
            let head = record.head();
            if head.seq != UNNUMBERED {
                numbers.entry(head.cpu).or_default().push(head.seq);
            }
            let seen = seen(&record);
            match all.iter_mut().find(|(connection, _)| *connection == head.connection) {
                Some((_, seens)) => seens.push(seen),
                None => all.push((head.connection, vec![seen])),
            }
        }
        let mut total = [0; Counters::WORDS];
        for (cpu, words) in (0..).zip(self.maps.counters.get(&0, 0).unwrap().iter()) {
            let counters = Counters::from_words(*words);
            let delivered = numbers.remove(&cpu).unwrap_or_default();
            assert_eq!(counters.made, delivered.len() as u64 + counters.lost(), "{counters:?}");
            assert!(delivered.iter().all(|&number| number < counters.made));
            let mut distinct = delivered.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), delivered.len());
            for (total, word) in total.iter_mut().zip(words) {
                *total += word;
            }
        }
        (all, Counters::from_words(total))
    }
}

fn seen(record: &Record<'_>) -> Seen {
    match record {
        Record::Open(socket, path) => {
            let path = String::from_utf8_lossy(path).into_owned();
            let is_unix = socket.transport == Transport::Unix as u8;
            let ends = match (is_unix, socket.local_port) {
                (true, 0) => [String::new(), path],
                (true, _) => [path, String::new()],
                _ => [String::new(), String::new()],
            };
            Seen::Open(socket.transport, socket.origin, ends)
        }
        Record::Data(data, payload, tail) => {
            let &&Data { direction, call, position, length, .. } = data;
            assert!(tail.is_empty());
            let direction = if direction == 0 { Receive } else { Send };
            let call = Call::ALL.iter().copied().find(|known| *known as u8 == call).unwrap();
            Seen::Data(direction, call, position, length, String::from_utf8_lossy(payload).into_owned())
        }
        Record::Close(close) if close.direction == 255 => Seen::Close(close.received, close.sent),
        _ => Seen::Other,
    }
}

/// A Python program that says a line when it is ready and goes on when it is told to.
struct Program(Child);

impl Program {
    /// `before` runs before the program is a target, `after` when it is one.
    fn start(before: &str, after: &str, arguments: &[&str]) -> Self {
        let script = format!(
            "import os, select, socket, struct, sys, time\n{before}\nprint('ready', flush=True)\ninput()\n{after}\n"
        );
        let mut command = Command::new("timeout");
        command.args(["30", "/usr/bin/env", "python3", "-c", &script]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    /// The process that runs Python: the last of those that started each other.
    fn pid(&self) -> u32 {
        let mut pid = self.0.id();
        loop {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            match children.split_whitespace().next() {
                Some(child) => pid = child.parse().unwrap(),
                None => return pid,
            }
        }
    }

    /// Has the rest of the program run to its end.
    fn finish(mut self) {
        self.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }

    /// Makes it a target and has it run to its end.
    fn record(self, probes: &mut Probes) {
        probes.maps.targets.insert(self.pid(), 1, 0).unwrap();
        self.finish();
    }
}

const LOCAL: &str = "
a = socket.socket(socket.AF_UNIX); a.bind(sys.argv[1] + '/named'); a.listen()
c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1] + '/named'); s, _ = a.accept()
b = socket.socket(socket.AF_UNIX); b.bind('\\0live-' + sys.argv[1]); b.listen()
d = socket.socket(socket.AF_UNIX); d.connect('\\0live-' + sys.argv[1])
p, q = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))
v = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); v.bind(('::1', 0))
w = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); w.connect(v.getsockname())
t = socket.socket(); t.bind(('127.0.0.1', 0)); t.listen()
x = socket.create_connection(t.getsockname())
";

const LOCAL_TALK: &str = "
c.send(b'question'); s.recv(3); s.recv(100); s.send(b'answer')
d.send(b'abstract')
p.send(b'x' * 20); q.recv(5, 0x20)
p.send(b'y' * 20); q.recvmsg_into([bytearray(3), bytearray(4)], 0, 0x20)
p.send(b'z' * 20); q.recv(5)
u.sendto(b'datagram', u.getsockname()); u.recvfrom(100)
w.send(b'connected')
x.send(b'tcp')
";

#[test]
fn unix_and_udp_sockets_are_recorded_when_they_are_asked_for() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    let settings = Settings { probe: Choice::SockLength, udp: true, unix: true, ..Settings::default() };
    let mut probes = Probes::attach(Sizes::default(), settings);
    Program::start(LOCAL, LOCAL_TALK, &[path]).record(&mut probes);
    let (seen, counters) = probes.finish();
    assert_eq!((counters.lost(), counters.payload_fault, counters.segment_limit), (0, 0, 0));

    let (named, abstracted) = (format!("{path}/named"), format!("@live-{path}"));
    let open = |transport: Transport, local: &str, remote: &str| {
        Seen::Open(transport as u8, Origin::Found as u8, [local.to_owned(), remote.to_owned()])
    };
    let data = |direction, call, position, length, kept: &str| {
        Seen::Data(direction, call, position, length, kept.to_owned())
    };
    let (unix, udp) = (Transport::Unix, Transport::Udp);
    let wanted = [
        vec![open(unix, "", &named), data(Send, Call::Sendto, 0, 8, "question")],
        vec![
            open(unix, &named, ""),
            data(Receive, Call::Recvfrom, 0, 3, "que"),
            data(Receive, Call::Recvfrom, 3, 5, "stion"),
            data(Send, Call::Sendto, 0, 6, "answer"),
        ],
        vec![open(unix, "", &abstracted), data(Send, Call::Sendto, 0, 8, "abstract")],
        vec![
            open(unix, "", ""),
            data(Send, Call::Sendto, 0, 20, &"x".repeat(20)),
            data(Send, Call::Sendto, 20, 20, &"y".repeat(20)),
            data(Send, Call::Sendto, 40, 20, &"z".repeat(20)),
        ],
        vec![
            open(unix, "", ""),
            // As long as it was, and as much of it as was read.
            data(Receive, Call::Recvfrom, 0, 20, "xxxxx"),
            data(Receive, Call::Recvmsg, 20, 20, "yyyyyyy"),
            data(Receive, Call::Recvfrom, 40, 5, "zzzzz"),
        ],
        vec![
            open(udp, "", ""),
            data(Send, Call::Sendto, 0, 8, "datagram"),
            data(Receive, Call::Recvfrom, 0, 8, "datagram"),
        ],
        vec![open(udp, "", ""), data(Send, Call::Sendto, 0, 9, "connected")],
        vec![open(Transport::Tcp, "", ""), data(Send, Call::Sendto, 0, 3, "tcp")],
    ];
    let seen = connections(seen);
    let seen: Vec<_> = seen.into_iter().map(|(_, seens)| seens).collect();
    assert_eq!(seen, wanted);
}

/// Those that are connections, with what is interesting of them.
fn connections(seen: Vec<(u64, Vec<Seen>)>) -> Vec<(u64, Vec<Seen>)> {
    let seen = seen.into_iter().filter(|(connection, _)| *connection != 0);
    seen.map(|(connection, seens)| {
        let seens = seens.into_iter().filter(|seen| !matches!(seen, Seen::Close(..) | Seen::Other));
        (connection, seens.collect())
    })
    .collect()
}

#[test]
fn unix_and_udp_sockets_are_not_recorded_unasked() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    for probe in BOTH {
        let folder = folder();
        let mut probes = Probes::attach(Sizes::default(), Settings { probe, ..Settings::default() });
        Program::start(LOCAL, LOCAL_TALK, &[folder.path().to_str().unwrap()]).record(&mut probes);
        let (seen, counters) = probes.finish();
        let seen = connections(seen);
        assert_eq!(seen.len(), 1, "{probe:?}: {seen:?}");
        assert!(matches!(seen[0].1[0], Seen::Open(0, ..)));
        assert_eq!(counters.lost(), 0);
    }
}

#[test]
fn a_connection_without_a_cookie_stays_the_same_when_it_gets_one() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    let before = "
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
c = socket.create_connection(l.getsockname()); s, _ = l.accept(); s.send(b'0123456789')";
    let after = "
c.send(b'first'); c.recv(10); c.send(b'second'); c.close(); time.sleep(0.2)";
    for probe in BOTH {
        let mut probes = Probes::attach(Sizes::default(), Settings { probe, ..Settings::default() });
        Program::start(before, after, &[]).record(&mut probes);
        let (seen, counters) = probes.finish();
        assert_eq!(counters.lost(), 0);
        let data = |direction, call, position, length, kept: &str| {
            Seen::Data(direction, call, position, length, kept.to_owned())
        };
        let (connection, seens) = seen.iter().find(|(connection, _)| *connection != 0).unwrap();
        assert_eq!(connection & BY_INODE != 0, probe == Choice::SysExit, "{connection:#x}");
        let wanted = [
            Seen::Open(0, Origin::Found as u8, [String::new(), String::new()]),
            data(Send, Call::Sendto, 0, 5, "first"),
            data(Receive, Call::Recvfrom, 0, 10, "0123456789"),
            data(Send, Call::Sendto, 5, 6, "second"),
        ];
        assert_eq!(seens[..4], wanted, "{probe:?}");
        // Its own end, the peer's, and that of both.
        assert_eq!(seens.last(), Some(&Seen::Close(10, 11)), "{probe:?}: {seens:?}");
    }
}

/// Twenty connections, each with ten bytes, then twenty processes, each ended before the next.
const MANY: &str = "
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(50)
kept = []
for _ in range(20):
    c = socket.create_connection(l.getsockname()); s, _ = l.accept()
    c.send(b'0123456789'); s.recv(10); kept += [c, s]
    os.writev(c.fileno(), [b'a', b'b'])
for _ in range(20):
    pid = os.fork()
    if pid == 0: time.sleep(0.05); os._exit(0)
    if _ % 5 == 4: time.sleep(0.1)
while True:
    try: os.wait()
    except ChildProcessError: break";

#[test]
fn what_there_is_no_room_for_is_counted() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    for probe in BOTH {
        let run = |sizes| {
            let mut probes = Probes::attach(sizes, Settings { probe, ..Settings::default() });
            Program::start("", MANY, &[]).record(&mut probes);
            probes.finish().1
        };
        let all = run(Sizes::default());
        assert_eq!((all.lost(), all.targets_full), (0, 0));

        // Everything is seen that is seen otherwise, and what is lost is said to be.
        let full = run(Sizes { ring_bytes: 4096, ..Sizes::default() });
        assert!(full.ring_full > 50 && full.lost() == full.ring_full, "{probe:?}: {full:?}");
        assert!(full.made >= all.made, "{probe:?}: {full:?}, not {all:?}");

        let full = run(Sizes { targets: 2, ..Sizes::default() });
        assert!(full.targets_full > 0 && full.lost() == 0, "{probe:?}: {full:?}");

        if probe == Choice::SysExit {
            let full = run(Sizes { connections: 1, ..Sizes::default() });
            assert!(full.storage_full > 20 && full.lost() == full.storage_full, "{full:?}");
        }
    }
}

#[test]
fn a_process_that_is_handed_a_listening_socket_is_recorded_from_its_first_request() {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    for probe in ["sock-length", "sys-exit"] {
        let folder = folder();
        let (port, path) = (free_port().to_string(), folder.path().join("handed"));
        let path = path.to_str().unwrap();
        let capture = Capture::start(&["--port", &port, "--probe", probe]);
        // It listens and hands the socket to another process, which is not its child.
        let hand = "
l = socket.socket(); l.bind(('127.0.0.1', int(sys.argv[1]))); l.listen()
h = socket.socket(socket.AF_UNIX); h.bind(sys.argv[2]); h.listen()";
        let give = "
c, _ = h.accept(); socket.send_fds(c, [b'x'], [l.fileno()]); c.recv(1)";
        let serve = "
h = socket.socket(socket.AF_UNIX); h.connect(sys.argv[2])
_, fds, _, _ = socket.recv_fds(h, 1, 1)
l = socket.socket(fileno=fds[0])
print('ready', flush=True)
c, _ = l.accept()
c.recv(1000); c.send(b'HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n'); c.close()";
        let giver = Program::start(hand, give, &[&port, path]);
        let taker = Program::start("", serve, &[&port, path]);
        let mut taking = taker.0;
        taking.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut giver_child = giver.0;
        giver_child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut line = String::new();
        BufReader::new(taking.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut client = Client::new(port.parse().unwrap());
        client.ask("GET", "/handed-over");
        assert!(taking.wait().unwrap().success());
        assert!(giver_child.wait().unwrap().success());
        capture.stop().assert_served(&client.take_sent());
    }
}
