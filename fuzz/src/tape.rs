//! Events made of bytes: connections that open, move bytes both ways and close, with all that a recording can have wrong.
//!
//! An event is a byte, what it is and of which connection, and what it needs; `seeds.py` writes the same form.

use beyla_schema::event::{
    BY_TLS, Body, Call, Close, Data, Direction, Endpoint, Event, Listen, Loss, Open, Origin, Process, Source,
    Transport,
};

use crate::input::Input;

/// An event that owns what it is about, but for the bytes.
pub struct Made<'a> {
    pub ts_ns: u64,
    pub tid: u32,
    pub connection: u64,
    pub carried: bool,
    pub body: Body<'a>,
}

impl<'a> Made<'a> {
    pub fn event(&self) -> Event<'a> {
        Event {
            ts_ns: self.ts_ns,
            cpu: 0,
            seq: self.ts_ns,
            pid: 40 + self.tid % 2,
            tid: self.tid,
            connection: self.connection,
            carried: self.carried,
            body: self.body,
        }
    }
}

/// Where the streams of a few connections are, and how late it is.
pub struct Tape<'a> {
    input: Input<'a>,
    /// Of every connection, TLS session or not, and direction.
    positions: [[[u64; 2]; 2]; 4],
    now: u64,
}

impl<'a> Tape<'a> {
    pub fn new(input: Input<'a>) -> Self {
        Self { input, positions: [[[0; 2]; 2]; 4], now: 1_000_000_000 }
    }

    pub fn next(&mut self) -> Option<Made<'a>> {
        if self.input.is_empty() {
            return None;
        }
        let what = self.input.byte();
        let (at, kind) = (usize::from(what & 3), what >> 2 & 7);
        self.now += 50_000;
        let mut made = Made {
            ts_ns: self.now,
            tid: 43 + u32::from(what >> 6),
            connection: at as u64 + 1,
            carried: what & 0x20 != 0,
            body: Body::Seen(0),
        };
        match kind {
            0..=3 => self.data(at, &mut made),
            4 => made.body = self.open(),
            5 => {
                let how = self.input.byte();
                let session = usize::from(how & 0x80 != 0);
                let direction = [None, Some(Direction::Receive), Some(Direction::Send)][usize::from(how % 3)];
                let more = if how & 0x40 != 0 { u64::MAX } else { u64::from(how >> 3 & 7) };
                let [received, sent] =
                    self.positions[at][session].map(|position| position.saturating_add(more));
                made.connection |= BY_TLS * session as u64;
                made.body = Body::Close(Close { direction, received, sent });
            }
            6 => made.body = self.other(),
            _ => {
                // Time: a little back, or much further.
                let by = u64::from(self.input.short());
                if by % 4 == 0 {
                    made.ts_ns = self.now.saturating_sub(by << 12);
                } else {
                    self.now = self.now.saturating_add(by << 20);
                    made.ts_ns = self.now;
                }
                self.data(at, &mut made);
            }
        }
        Some(made)
    }

    fn data(&mut self, at: usize, made: &mut Made<'a>) {
        let how = self.input.byte();
        let direction = if how & 1 == 0 { Direction::Receive } else { Direction::Send };
        let source = [Source::Socket, Source::Socket, Source::OpenSsl, Source::Go][usize::from(how >> 1 & 3)];
        let session = how & 8 != 0 && source != Source::Socket;
        let length = usize::from(self.input.short());
        let odd = how >> 4;
        let by = if odd == 0 { 0 } else { u64::from(self.input.byte()) };
        let payload = self.input.take(length);

        let place = &mut self.positions[at][usize::from(source != Source::Socket)][direction as usize];
        let position = match odd & 3 {
            0 => *place,
            1 => place.saturating_sub(by),
            2 => place.saturating_add(by * by),
            _ => u64::MAX.wrapping_add(by << 56) >> (by & 31),
        };
        let (mut length, mut tail) = (payload.len() as u32, &payload[..0]);
        let mut head = payload;
        match odd >> 2 {
            0 => {}
            1 => length += by as u32,
            2 => {
                (head, tail) = payload.split_at(payload.len() - payload.len().min(usize::from(by as u8)));
                length += by as u32 * 3;
            }
            _ if by > 250 => length = u32::MAX,
            _ => length = by as u32,
        }
        *place = position.saturating_add(length.into());
        made.connection |= if session { BY_TLS } else { 0 };
        made.body = Body::Data(Data {
            direction,
            source,
            call: Call::Read,
            position,
            goroutine: 0,
            ready_ns: (by & 1 != 0).then_some(made.ts_ns.saturating_sub(by << 10)),
            length,
            payload: head,
            tail,
        });
    }

    fn open(&mut self) -> Body<'a> {
        let how = self.input.byte();
        let origin = [Origin::Accept, Origin::Connect, Origin::Found][usize::from(how % 3)];
        let transport = if how & 0x40 != 0 { Transport::Unix } else { Transport::Tcp };
        // The two ends of one connection may both be recorded.
        let port = |side: u8| {
            let port = if side == 0 { 8080 } else { 40_000 + u16::from(how >> 4 & 3) };
            Endpoint::Inet(([127, 0, 0, 1], port).into())
        };
        let (local, remote) = match how >> 2 & 3 {
            0 => (port(0), port(1)),
            1 => (port(1), port(0)),
            2 => (Endpoint::Unix("/run/a"), Endpoint::Unix("")),
            _ => (port(1), port(1)),
        };
        Body::Open(Open { origin, transport, local, remote })
    }

    fn other(&mut self) -> Body<'a> {
        let how = self.input.byte();
        let count = u64::from(how) << (how & 31);
        match how % 6 {
            0 => Body::Process(Process { service: "shop", ..Process::default() }),
            1 => Body::Process(Process { service: "cart", runtime: "go", ..Process::default() }),
            2 => Body::Loss(Loss { cause: ["ring_full", "other"][usize::from(how >> 7)], count }),
            3 => Body::Seen(count),
            4 => Body::End("signal"),
            _ => {
                let address = Endpoint::Inet(([0, 0, 0, 0], u16::from(how)).into());
                Body::Listen(Listen { transport: Transport::Tcp, address })
            }
        }
    }
}
