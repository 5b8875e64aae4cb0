//! Every way to move bytes over TCP, byte by byte: the number of rows, their positions and lengths, and whether
//! their bytes are there and are the right ones, wherever the kernel programs look.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use beyla_schema::{
    event::{Body, Call, Data, Direction, Endpoint},
    file::{EventReader, Projection},
};

use crate::{
    Machine,
    capture::{Capture, Recording},
    turn,
};

use Direction::{Receive, Send};

/// Every connection carries these bytes, from its first one on, in both directions.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position * 7 % 251) as u8).collect()
}

/// Bytes that a peer sends.
const SENT: usize = 4096;

/// Sends [`SENT`] bytes to everybody who connects, and reads what they send. An eager peer sends at once, a patient
/// one when it has been sent something.
fn peer(eager: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut room = vec![0; 65536];
                // The other end may be closed at any time.
                let first = if eager { 1 } else { stream.read(&mut room).unwrap_or(0) };
                if first > 0 && stream.write_all(&pattern(SENT)).is_ok() {
                    while stream.read(&mut room).is_ok_and(|read| read > 0) {}
                }
            });
        }
    });
    port
}

/// How much of a call's bytes a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    All,
    /// As much as the snaplen allows, and the last 64.
    Ends,
    Nothing,
}

/// A data row: direction, call, position, length, and what is kept.
type Row = (Direction, Call, u64, u32, Kept);

fn row(data: &Data<'_>) -> Row {
    let Data { direction, call, position, length, payload, tail, .. } = *data;
    let (from, end) = (position as usize, position as usize + length as usize);
    let right = pattern(end);
    assert_eq!(payload, &right[from..from + payload.len()], "the bytes of {data:?}");
    assert_eq!(tail, &right[end - tail.len()..], "the last bytes of {data:?}");
    let kept = match (payload.len(), tail.len()) {
        (0, 0) => Kept::Nothing,
        (all, 0) if all == length as usize => Kept::All,
        (16_320, 64) => Kept::Ends,
        other => panic!("{other:?} bytes are kept of {data:?}"),
    };
    (direction, call, position, length, kept)
}

/// What is recorded of a command that connects to one of our peers once for each of its steps, in the order of the
/// connections.
fn record(probe: &str, command: &[&str]) -> (Vec<Vec<Row>>, Recording) {
    let capture = Capture::start(&[&["--probe", probe, "--redact", "none", "--"], command].concat());
    let path = capture.path();
    let (code, said, _folder) = capture.ended();
    assert_eq!(code, Some(0), "{said}");
    let mut reader = EventReader::open(File::open(&path).unwrap(), Projection::All).unwrap();
    let mut order = Vec::new();
    let mut rows: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    let mut each = |event: &beyla_schema::event::Event<'_>| match event.body {
        Body::Open(open) => {
            assert!(matches!(open.remote, Endpoint::Inet(_)), "{open:?}");
            order.push(event.connection);
        }
        Body::Data(data) => rows.entry(event.connection).or_default().push(row(&data)),
        _ => {}
    };
    while reader.next_batch(&mut each).unwrap().is_some() {}
    let steps = order.into_iter().map(|connection| rows.remove(&connection).unwrap_or_default());
    (steps.collect(), Recording { stderr: said, ..Recording::read(&path) })
}

/// One connection for each step. Each says how many bytes its calls moved, for those that leave it to the kernel.
const STEPS: &str = r#"
import ctypes, os, socket, struct, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
pattern = bytes(position * 7 % 251 for position in range(8 << 20))
PEEK, TRUNC, ERRQUEUE, ZEROCOPY, DONTWAIT, WAITALL = 2, 0x20, 0x2000, 0x4000000, 0x40, 0x100

class Segment(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("segments", ctypes.c_void_p),
                ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]
class Message(ctypes.Structure):
    _fields_ = [("header", Header), ("length", ctypes.c_uint)]
keep = []
def messages(parts):
    array = (Message * len(parts))()
    for message, segments in zip(array, parts):
        buffers = [ctypes.create_string_buffer(segment, len(segment)) for segment in segments]
        vector = (Segment * len(buffers))(*[(ctypes.addressof(b), len(b)) for b in buffers])
        message.header.segments, message.header.count = ctypes.addressof(vector), len(buffers)
        keep.extend([buffers, vector])
    return array

def file(size):
    f = tempfile.TemporaryFile(); f.write(pattern[:size]); f.flush(); keep.append(f); return f
def splice_out(s):
    r, w = os.pipe(); os.write(w, pattern[:3000]); return os.splice(r, s.fileno(), 3000)
def splice_in(s):
    r, w = os.pipe(); moved = os.splice(s.fileno(), w, 2000)
    if sys.argv[2] == "sys-exit": s.recv(100)
    return moved
def zerocopy(s):
    s.setsockopt(socket.SOL_SOCKET, 60, 1)
    sent = s.send(pattern[:20000], ZEROCOPY)
    import select; select.select([], [], [s], 0.2)
    try: s.recvmsg(0, 1000, ERRQUEUE)
    except BlockingIOError: pass
    return sent
def partial(s):
    # So little that it is full before the kernel looks at what the peer has read.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100000)
    s.setblocking(False)
    return s.send(pattern)
def again(s):
    s.recv(4096)
    s.setblocking(False)
    for call in (lambda: s.recv(10, DONTWAIT), lambda: os.read(s.fileno(), 10)):
        try: call()
        except BlockingIOError: pass
    return 0
def discard(s):
    libc.recv(s.fileno(), None, 60, TRUNC)
    unwritten = ctypes.create_string_buffer(b"x" * 30, 30)
    libc.recv(s.fileno(), unwritten, 30, TRUNC)
    s.recv(10)
    return 0
def fault(s):
    return libc.send(s.fileno(), ctypes.c_void_p(8), 10, 0)
def descriptors(s):
    # Descriptors that are no sockets, of the same numbers as calls on sockets.
    r, w = os.pipe(); os.write(w, b"no socket"); os.read(r, 9)
    a, b = socket.socketpair(); a.send(b"not tcp"); b.recv(9)
    f = file(100); os.read(f.fileno(), 10); os.writev(f.fileno(), [b"a", b"b"])
    s.send(pattern[:5])
    return 0
steps = dict(
    send=lambda s: s.send(pattern[:100]),
    write=lambda s: os.write(s.fileno(), pattern[:100]),
    writev=lambda s: os.writev(s.fileno(), [pattern[:10], pattern[10:30], b"", pattern[30:100]]),
    sendmsg=lambda s: s.sendmsg([pattern[:60], pattern[60:100]]),
    sendmmsg=lambda s: libc.sendmmsg(s.fileno(), messages([[pattern[:10]], [pattern[10:15], pattern[15:30]], [pattern[30:60]]]), 3, 0),
    sendfile=lambda s: os.sendfile(s.fileno(), file(5000).fileno(), 0, 5000),
    splice_out=splice_out,
    zerocopy=zerocopy,
    partial=partial,
    recv=lambda s: len(s.recv(100)),
    read=lambda s: len(os.read(s.fileno(), 100)),
    readv=lambda s: os.readv(s.fileno(), [bytearray(10), bytearray(90)]),
    recvmsg=lambda s: s.recvmsg_into([bytearray(60), bytearray(40)])[0],
    recvmmsg=lambda s: libc.recvmmsg(s.fileno(), messages([[b"." * 10], [b"." * 5, b"." * 15], [b"." * 30]]), 3, 0, None),
    peek=lambda s: [s.recv(50, PEEK), s.recvmsg(50, 0, PEEK), s.recv(20)] and 0,
    discard=discard,
    splice_in=splice_in,
    again=again,
    fault=fault,
    descriptors=descriptors,
)
for name, step in steps.items():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
        # Everything is there to be read, and this is not recorded.
        s.recv(4096, PEEK | WAITALL)
        print(name, step(s), file=sys.stderr)
"#;

/// What is recorded of [`STEPS`], and what each said.
fn steps(probe: &str) -> (BTreeMap<String, Vec<Row>>, BTreeMap<String, i64>) {
    let port = peer(true).to_string();
    let (rows, recording) = record(probe, &["timeout", "30", "python3", "-c", STEPS, &port, probe]);
    // What the command says comes between the lines of the recorder.
    let said: Vec<(String, i64)> = recording
        .stderr
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (!name.is_empty()).then_some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    assert_eq!(rows.len(), said.len(), "{}", recording.stderr);
    recording.assert_complete();
    let names = said.iter().map(|(name, _)| name.clone());
    (names.zip(rows).collect(), said.into_iter().collect())
}

fn every_call_is_recorded(probe: &str) {
    let Some(_turn) = turn(Machine::Shared, &["python3"]) else { return };
    let (rows, said) = steps(probe);
    let at_exit = probe == "sys-exit";
    let one = |direction, call, length, kept| vec![(direction, call, 0, length, kept)];
    let is = |name: &str, wanted: Vec<Row>| assert_eq!(rows[name], wanted, "{name} with {probe}");

    is("send", one(Send, Call::Sendto, 100, Kept::All));
    is("write", one(Send, Call::Write, 100, Kept::All));
    is("writev", one(Send, Call::Writev, 100, Kept::All));
    is("sendmsg", one(Send, Call::Sendmsg, 100, Kept::All));
    is("recv", one(Receive, Call::Recvfrom, 100, Kept::All));
    is("read", one(Receive, Call::Read, 100, Kept::All));
    is("readv", one(Receive, Call::Readv, 100, Kept::All));
    is("recvmsg", one(Receive, Call::Recvmsg, 100, Kept::All));
    // Where sockets move bytes, nobody knows which message of several it is.
    let kept = if at_exit { Kept::All } else { Kept::Nothing };
    let three = |direction, call| {
        [(0, 10), (10, 20), (30, 30)].map(|(position, length)| (direction, call, position, length, kept))
    };
    is("sendmmsg", three(Send, Call::Sendmmsg).into());
    is("recvmmsg", three(Receive, Call::Recvmmsg).into());
    is("zerocopy", one(Send, Call::Sendto, 20_000, Kept::Ends));
    let written = said["partial"] as u32;
    assert!(written > 20_000 && written < 8 << 20, "{written} bytes were written");
    is("partial", one(Send, Call::Sendto, written, Kept::Ends));
    is("peek", one(Receive, Call::Recvfrom, 20, Kept::All));
    is(
        "discard",
        vec![
            (Receive, Call::Recvfrom, 0, 60, Kept::Nothing),
            (Receive, Call::Recvfrom, 60, 30, Kept::Nothing),
            (Receive, Call::Recvfrom, 90, 10, Kept::All),
        ],
    );
    is("again", one(Receive, Call::Recvfrom, 4096, Kept::All));
    is("fault", Vec::new());
    is("descriptors", one(Send, Call::Sendto, 5, Kept::All));
    // In as many pieces as the kernel makes of it, without their bytes.
    for (name, call, length) in [("sendfile", Call::Sendfile, 5000), ("splice_out", Call::Splice, 3000)] {
        let mut position = 0;
        for &(direction, seen, at, length, kept) in &rows[name] {
            assert_eq!((direction, seen, at, kept), (Send, call, position, Kept::Nothing), "{name}");
            position += u64::from(length);
        }
        assert_eq!((position, said[name]), (length, length as i64), "{name}");
        assert!(!at_exit || rows[name].len() == 1, "{name}");
    }
    // From a socket to a pipe: where sockets move bytes nothing tells of it.
    let moved = said["splice_in"] as u32;
    let rest = (Receive, Call::Recvfrom, u64::from(moved), 100, Kept::All);
    let all = vec![(Receive, Call::Splice, 0, moved, Kept::Nothing), rest];
    is("splice_in", if at_exit { all } else { Vec::new() });
}

#[test]
fn every_call_is_recorded_where_sockets_move_bytes() {
    every_call_is_recorded("sock-length");
}

#[test]
fn every_call_is_recorded_at_its_exit() {
    every_call_is_recorded("sys-exit");
}

/// Set for a process that is this test program once more: what it is to do, and the port of its peer.
const TASK: &str = "BEYLA_LIVE_TASK";

/// Does what [`TASK`] says. As a test of its own it has nothing to do.
#[test]
fn task() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (task, port) = task.split_once(' ').unwrap();
    let port = port.parse().unwrap();
    match task {
        "ring" => ring::talk(port),
        #[cfg(target_arch = "x86_64")]
        "compat" => compat::talk(port),
        other => panic!("{other} is no task"),
    }
}

/// What is recorded of a task.
fn record_task(probe: &str, task: &str, port: u16) -> (Vec<Vec<Row>>, Recording) {
    let program = std::env::current_exe().unwrap();
    let task = format!("{TASK}={task} {port}");
    let test = "calls::task";
    record(probe, &["env", &task, program.to_str().unwrap(), "--exact", test, "--test-threads", "1"])
}

mod ring {
    //! A process that talks through an io_uring.

    use std::{io::Write as _, net::TcpStream, os::fd::AsRawFd as _, thread, time::Duration};

    use io_uring::{IoUring, opcode, squeue, types::Fd};

    use super::pattern;

    fn submit(ring: &mut IoUring, entry: &squeue::Entry) {
        // SAFETY: the buffers of all entries live until their completions have come.
        unsafe { ring.submission().push(entry).unwrap() };
    }

    fn completed(ring: &mut IoUring) -> Option<i32> {
        ring.completion().next().map(|entry| entry.result())
    }

    /// Each on a connection of its own: at once, by a worker thread, and when the bytes have come, which is in the
    /// middle of something else.
    pub(super) fn talk(port: u16) {
        let mut ring = IoUring::new(8).unwrap();
        let sent = pattern(100);
        let mut received = [0; 50];
        for flags in [squeue::Flags::empty(), squeue::Flags::ASYNC] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let fd = Fd(stream.as_raw_fd());
            let entry = opcode::Send::new(fd, sent.as_ptr(), 100).build();
            submit(&mut ring, &entry.flags(flags));
            ring.submit_and_wait(1).unwrap();
            assert_eq!(completed(&mut ring), Some(100));
            // The answer of a patient peer has all the time it needs.
            thread::sleep(Duration::from_millis(100));
            submit(&mut ring, &opcode::Recv::new(fd, received.as_mut_ptr(), 50).build().flags(flags));
            ring.submit_and_wait(1).unwrap();
            assert_eq!(completed(&mut ring), Some(50));
            assert_eq!(received, *pattern(50));
            stream.write_all(&[]).unwrap();
        }

        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let entry = opcode::Recv::new(Fd(stream.as_raw_fd()), received.as_mut_ptr(), 50).build();
        submit(&mut ring, &entry);
        ring.submit().unwrap();
        assert_eq!(completed(&mut ring), None);
        stream.write_all(&pattern(10)).unwrap();
        // What these calls read is not what the socket receives.
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while completed(&mut ring).is_none() && std::time::Instant::now() < until {
            assert!(std::fs::read("/proc/self/stat").unwrap().len() > 50);
        }
        assert_eq!(received, *pattern(50));
    }
}

#[test]
fn what_moves_through_an_io_uring_is_recorded_without_its_bytes() {
    let Some(_turn) = turn(Machine::Shared, &["env"]) else { return };
    let (rows, recording) = record_task("sock-length", "ring", peer(false));
    recording.assert_complete();
    let ring = |direction, length| (direction, Call::IoUring, 0, length, Kept::Nothing);
    let both = vec![ring(Send, 100), ring(Receive, 50)];
    let later = vec![(Send, Call::Sendto, 0, 10, Kept::All), ring(Receive, 50)];
    assert_eq!(rows, [both.clone(), both, later]);
}

#[test]
fn what_moves_through_an_io_uring_is_said_to_be_missed_at_the_exit_of_calls() {
    let Some(_turn) = turn(Machine::Shared, &["env"]) else { return };
    let (rows, recording) = record_task("sys-exit", "ring", peer(false));
    assert_eq!(rows, [vec![], vec![], vec![(Send, Call::Sendto, 0, 10, Kept::All)]]);
    // Five requests, each handed over by a call of its own.
    assert_eq!(recording.stats.losses["io_uring"], 5);
    assert!(recording.stderr.contains("to io_uring: "), "{}", recording.stderr);
}

#[cfg(target_arch = "x86_64")]
mod compat {
    //! A process that makes system calls as 32-bit programs do.

    use std::{arch::asm, net::TcpStream, os::fd::AsRawFd as _, ptr};

    use super::pattern;

    /// # Safety
    ///
    /// As for the call.
    unsafe fn call(number: u32, first: i32, second: usize, third: usize) -> i32 {
        let result: i32;
        // SAFETY: rbx is put back; the interrupt changes nothing else but the result, and r8 to r11.
        unsafe {
            asm!("xchg rbx, {first:r}", "int 0x80", "xchg rbx, {first:r}",
                first = inout(reg) i64::from(first) => _, inlateout("eax") number => result,
                in("ecx") second as u32, in("edx") third as u32,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        result
    }

    /// Numbers of i386: read, write and writev.
    const CALLS: [u32; 3] = [3, 4, 146];

    pub(super) fn talk(port: u16) {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let fd = stream.as_raw_fd();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT);
        // SAFETY: fresh memory, in the lowest 4 GiB.
        let room = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(room, libc::MAP_FAILED);
        let [read, write, writev] = CALLS;
        // SAFETY: `room` is memory of ours that nothing else uses.
        unsafe {
            room.cast::<[u8; 100]>().write(pattern(100).try_into().unwrap());
            assert_eq!(call(write, fd, room as usize, 100), 100);
            let vector = room.byte_add(2048).cast::<[u32; 2]>();
            room.byte_add(1024).cast::<[u8; 50]>().write(pattern(150)[100..].try_into().unwrap());
            vector.write([room as u32 + 1024, 50]);
            assert_eq!(call(writev, fd, vector as usize, 1), 50);
            assert_eq!(call(read, fd, room as usize, 70), 70);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn calls_of_32_bit_programs_are_not_misread(probe: &str) {
    let Some(_turn) = turn(Machine::Shared, &["env"]) else { return };
    let (rows, recording) = record_task(probe, "compat", peer(true));
    recording.assert_complete();
    let wanted = vec![
        (Send, Call::Write, 0, 100, Kept::All),
        // Its segments are laid out in another way.
        (Send, Call::Writev, 100, 50, Kept::Nothing),
        (Receive, Call::Read, 0, 70, Kept::All),
    ];
    assert_eq!(rows, [wanted]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_32_bit_programs_are_not_misread_where_sockets_move_bytes() {
    calls_of_32_bit_programs_are_not_misread("sock-length");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_32_bit_programs_are_not_misread_at_their_exit() {
    calls_of_32_bit_programs_are_not_misread("sys-exit");
}
