//! Turns kernel records into events.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use beyla_schema::{
    event::{Body, Call, Close, Data, Direction, Endpoint, Event, Listen, Open, Origin, Source, Transport},
    wire::{Head, Record},
};

/// The event that a record tells of. None for process records, which need more than the record has, and for
/// records whose values are none of ours.
pub fn event<'a>(record: &Record<'a>) -> Option<Event<'a>> {
    let body = match *record {
        Record::Process(_) => return None,
        Record::Open(socket, path) => {
            let transport = numbered(Transport::ALL, |transport| transport as u8, socket.transport)?;
            let (local, remote) = match transport {
                Transport::Tcp | Transport::Udp => (
                    Endpoint::Inet(address(socket.family, socket.local, socket.local_port)?),
                    Endpoint::Inet(address(socket.family, socket.remote, socket.remote_port)?),
                ),
                Transport::Unix if socket.local_port > 0 => (Endpoint::Unix(text(path)), Endpoint::Unix("")),
                Transport::Unix => (Endpoint::Unix(""), Endpoint::Unix(text(path))),
            };
            let origin = numbered(Origin::ALL, |origin| origin as u8, socket.origin)?;
            Body::Open(Open { origin, transport, local, remote })
        }
        Record::Listen(socket) => Body::Listen(Listen {
            transport: numbered(Transport::ALL, |transport| transport as u8, socket.transport)?,
            address: Endpoint::Inet(address(socket.family, socket.local, socket.local_port)?),
        }),
        Record::Close(close) => Body::Close(Close {
            direction: direction(close.direction),
            received: close.received,
            sent: close.sent,
        }),
        Record::Data(data, payload, tail) => Body::Data(Data {
            direction: direction(data.direction)?,
            source: numbered(Source::ALL, |source| source as u8, data.source)?,
            call: numbered(Call::ALL, |call| call as u8, data.call)?,
            position: data.position,
            goroutine: data.head.goroutine(),
            ready_ns: (data.ready_ns != 0).then_some(data.ready_ns),
            length: data.length,
            payload,
            tail,
        }),
    };
    let &Head { ts_ns, seq, connection, pid, tid, cpu, .. } = record.head();
    Some(Event { ts_ns, cpu, seq, pid, tid, connection, carried: false, body })
}

/// The value of `all` that has the number `wanted`.
pub(crate) fn numbered<T: Copy>(all: &[T], number: impl Fn(T) -> u8, wanted: u8) -> Option<T> {
    all.iter().copied().find(|&value| number(value) == wanted)
}

/// The path, as far as it is text.
fn text(path: &[u8]) -> &str {
    path.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

fn direction(number: u8) -> Option<Direction> {
    numbered(Direction::ALL, |direction| direction as u8, number)
}

fn address(family: u16, bytes: [u8; 16], port: u16) -> Option<SocketAddr> {
    /// `AF_INET` and `AF_INET6` of include/linux/socket.h, as in `wire::Socket::family`.
    const FAMILIES: (u16, u16) = (2, 10);
    let ip: IpAddr = match family {
        family if family == FAMILIES.0 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        family if family == FAMILIES.1 => Ipv6Addr::from(bytes).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families() {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(address(2, bytes, 80), Some("127.0.0.1:80".parse().unwrap()));
        bytes = [0; 16];
        bytes[15] = 1;
        assert_eq!(address(10, bytes, 80), Some("[::1]:80".parse().unwrap()));
        assert_eq!(address(1, bytes, 80), None);
    }

    #[test]
    fn numbers_that_are_none_of_ours_are_refused() {
        assert_eq!(direction(0), Some(Direction::Receive));
        assert_eq!(direction(255), None);
        assert_eq!(numbered(Origin::ALL, |origin| origin as u8, 3), Some(Origin::Found));
        assert_eq!(numbered(Origin::ALL, |origin| origin as u8, 0), None);
    }
}
