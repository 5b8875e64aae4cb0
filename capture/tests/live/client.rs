//! A client that knows exactly what it sent, on which connection, and what came back.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use crate::{PATIENCE, now_ns};

/// A request to send.
#[derive(Clone, Copy, Default)]
pub(crate) struct Message<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) body: &'a [u8],
    /// Send the body in chunks of this size.
    pub(crate) chunks: Option<usize>,
    /// More header lines, each with its line end.
    pub(crate) headers: &'a str,
    /// Hand the socket one byte at a time.
    pub(crate) byte_by_byte: bool,
}

/// A request that was sent and answered.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) client: Option<SocketAddr>,
    pub(crate) server: SocketAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) request_bytes: Size,
    pub(crate) response_bytes: Size,
    /// When it began and ended, on the clock of events.
    pub(crate) time: (u64, u64),
}

/// A body's size, and whether a recording that keeps the beginning of a message can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Told(u64),
    Hidden(u64),
}

/// One connection at a time to a server.
pub(crate) struct Client {
    server: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    sent: Vec<Sent>,
}

impl Client {
    /// A client of the local server on `port`. It connects when it has something to say.
    pub(crate) fn new(port: u16) -> Self {
        Self { server: (Ipv4Addr::LOCALHOST, port).into(), stream: None, sent: Vec::new() }
    }

    /// Sends a request without a body.
    pub(crate) fn ask(&mut self, method: &str, target: &str) {
        self.send(Message { method, target, ..Message::default() });
    }

    /// Sends each of several requests on a connection of its own.
    pub(crate) fn ask_one_by_one(&mut self, targets: &[&str]) {
        for target in targets {
            self.hang_up();
            self.ask("GET", target);
        }
        self.hang_up();
    }

    /// Sends a request and waits for the whole response.
    pub(crate) fn send(&mut self, message: Message<'_>) {
        let Message { method, target, body, chunks, headers, byte_by_byte } = message;
        let framing = match chunks {
            Some(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
            None if body.is_empty() => String::new(),
            None => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}{framing}\r\n", self.server);
        let mut bytes = head.into_bytes();
        if let Some(size) = chunks {
            for chunk in body.chunks(size) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(body);
        }

        let began = now_ns();
        let stream = self.stream.get_or_insert_with(|| connect(self.server));
        let client = stream.get_ref().local_addr().unwrap();
        for part in bytes.chunks(if byte_by_byte { 1 } else { usize::MAX }) {
            stream.get_mut().write_all(part).unwrap();
        }
        let Response { status, body: size, chunked, close } = Response::read(stream, method);
        let ended = now_ns();
        if close {
            self.stream = None;
        }
        self.sent.push(Sent {
            client: Some(client),
            server: self.server,
            method: method.to_owned(),
            target: target.to_owned(),
            status,
            request_bytes: Size::new(body.len() as u64, chunks.is_some()),
            response_bytes: Size::new(size, chunked),
            time: (began, ended),
        });
    }

    /// Closes the connection.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    /// What was sent since this was last asked.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }
}

impl Size {
    pub(crate) fn new(bytes: u64, chunked: bool) -> Self {
        // A chunk's size may lie beyond what is kept of a message.
        if chunked && bytes > 8 * 1024 { Self::Hidden(bytes) } else { Self::Told(bytes) }
    }

    /// Whether a recording may say this of it.
    pub(crate) fn allows(self, seen: Option<u64>) -> bool {
        match self {
            Self::Told(bytes) => seen == Some(bytes),
            Self::Hidden(bytes) => seen.is_none_or(|seen| seen == bytes),
        }
    }
}

pub(crate) fn connect(server: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

struct Response {
    status: u16,
    body: u64,
    chunked: bool,
    close: bool,
}

impl Response {
    fn read(stream: &mut BufReader<TcpStream>, method: &str) -> Self {
        let head = head(stream);
        let (first, fields) = head.split_once("\r\n").unwrap();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {first:?}"));
        let field = |wanted: &str| {
            let mut fields = fields.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
        };
        let has = |name, value| field(name).is_some_and(|field: &str| field.eq_ignore_ascii_case(value));
        let chunked = has("transfer-encoding", "chunked");
        let close = has("connection", "close");
        let body = if method == "HEAD" || matches!(status, 204 | 304) {
            0
        } else if chunked {
            chunks(stream)
        } else if let Some(length) = field("content-length") {
            skip(stream, length.parse().unwrap())
        } else {
            assert!(close, "a response without an end:\n{head}");
            skip(stream, u64::MAX)
        };
        Self { status, body, chunked, close }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let read = stream.read_line(&mut line).unwrap();
    assert!(read > 0, "the server hung up");
    line
}

fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &line(stream);
    }
    head
}

fn chunks(stream: &mut BufReader<TcpStream>) -> u64 {
    let mut total = 0;
    loop {
        let size = line(stream);
        let size = u64::from_str_radix(size.trim(), 16).unwrap();
        total += skip(stream, size);
        assert_eq!(line(stream), "\r\n");
        if size == 0 {
            return total;
        }
    }
}

fn skip(stream: &mut BufReader<TcpStream>, count: u64) -> u64 {
    let skipped = std::io::copy(&mut stream.take(count), &mut std::io::sink()).unwrap();
    assert!(count == u64::MAX || skipped == count, "the server hung up");
    skipped
}
