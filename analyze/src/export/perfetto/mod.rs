//! A timeline in the format of Perfetto: every request a slice on the track of its connection, in which `in queue` and
//! `processing` are nested where it waited, with what is known of it as arguments.
//!
//! Times are `CLOCK_MONOTONIC` of the first capture. Other captures have their times turned into it by wall time.

mod flows;
mod message;
mod tracks;

use std::io::{self, Write};

use beyla_engine::otlp;
use beyla_schema::{
    arrow::requests::Source,
    event::Clock as Wall,
    request::{EndReason, Request},
};
use prost::Message;

use self::{
    flows::Flows,
    message::{
        BOOTTIME, Clock, ClockSnapshot, Data, DebugAnnotation, MONOTONIC, REALTIME, TracePacket, TrackEvent,
        Type, Value,
    },
    tracks::Tracks,
};
use super::{Encoder, Exported};
use crate::Error;

/// The sequence that all packets are of.
const SEQUENCE: u32 = 1;

/// The field of a trace that packets are in, with its wire type: number 1, a length and bytes.
const PACKET: u8 = 1 << 3 | 2;

/// Bytes of one text; what is longer is cut off.
const MAX_TEXT: usize = 1024;

/// A timeline in the making.
#[derive(Default)]
pub(super) struct Trace {
    /// Host and clock of the first capture.
    first: (String, Wall),
    source: Source,
    tracks: Tracks,
    flows: Flows,
}

impl Encoder for Trace {
    fn head(&mut self, files: &[Exported], out: &mut dyn Write) -> Result<(), Error> {
        let Some(Exported { metadata, .. }) = files.first() else { return Ok(()) };
        self.first = (metadata.host.name.clone(), metadata.clock());
        let Some(sample) = metadata.clocks.first() else { return Ok(()) };
        let clock = |clock_id, timestamp| Clock { clock_id, timestamp };
        let mut clocks = vec![
            clock(MONOTONIC, sample.monotonic_ns),
            clock(REALTIME, sample.realtime_ns.try_into().unwrap_or(0)),
        ];
        // 0 stands for a clock that was not read.
        if sample.boottime_ns != 0 {
            clocks.push(clock(BOOTTIME, sample.boottime_ns));
        }
        let snapshot = ClockSnapshot { clocks, primary_trace_clock: MONOTONIC };
        write(out, Some(sample.monotonic_ns), Data::ClockSnapshot(snapshot))
    }

    fn begin(&mut self, source: &Source, _: &mut dyn Write) -> Result<(), Error> {
        self.source = source.clone();
        Ok(())
    }

    fn request(&mut self, request: &Request<'_>, out: &mut dyn Write) -> Result<(), Error> {
        let ready_ns = request.start_ns.saturating_sub(request.queue_ns.unwrap_or(0));
        let [begin, started, end] =
            [ready_ns, request.start_ns, otlp::end_ns(request)].map(|ns| self.monotonic_ns(ns));
        let first_host = self.source.host == self.first.0;
        let host = (self.source.host.as_str(), first_host);
        let declare = |track| write(out, None, Data::TrackDescriptor(track));
        let track_uuid = self.tracks.of(request, host, (begin, end), declare)?;
        let whole = TrackEvent {
            track_uuid,
            name: otlp::name(request),
            categories: vec![request.kind.name().to_owned()],
            debug_annotations: annotations(request, &self.source),
            flow_ids: self.flows.of(request, self.source.clock),
            ..TrackEvent::default()
        };
        let mut event = |ns, kind: Type, event: TrackEvent| {
            write(out, Some(ns), Data::TrackEvent(TrackEvent { r#type: kind.into(), ..event }))
        };
        let part = |name: &str| TrackEvent { track_uuid, name: name.to_owned(), ..TrackEvent::default() };
        let no_more = || TrackEvent { track_uuid, ..TrackEvent::default() };
        if request.end_reason == EndReason::Gap && request.end_ns.is_none() && begin == end {
            return event(begin, Type::Instant, whole);
        }
        event(begin, Type::SliceBegin, whole)?;
        if begin < started {
            event(begin, Type::SliceBegin, part("in queue"))?;
            event(started, Type::SliceEnd, no_more())?;
            event(started, Type::SliceBegin, part("processing"))?;
            event(end, Type::SliceEnd, no_more())?;
        }
        event(end, Type::SliceEnd, no_more())
    }

    fn finish(&mut self, _: &mut dyn Write) -> Result<(), Error> {
        Ok(())
    }
}

impl Trace {
    /// An event time as one of the first capture.
    fn monotonic_ns(&self, ts_ns: u64) -> u64 {
        let first = self.first.1.offset_ns;
        self.source.clock.wall_ns(ts_ns).saturating_sub(first).try_into().unwrap_or(0)
    }
}

fn write(out: &mut dyn Write, timestamp: Option<u64>, data: Data) -> Result<(), Error> {
    let packet = TracePacket {
        timestamp,
        trusted_packet_sequence_id: SEQUENCE,
        timestamp_clock_id: if timestamp.is_some() { MONOTONIC } else { 0 },
        data: Some(data),
    };
    let mut bytes = vec![PACKET];
    packet.encode_length_delimited(&mut bytes).map_err(io::Error::other)?;
    Ok(out.write_all(&bytes)?)
}

/// What is known of a request.
fn annotations(request: &Request<'_>, source: &Source) -> Vec<DebugAnnotation> {
    let mut known = Vec::new();
    let mut add = |name: &str, value: Option<Value>| {
        known.extend(value.map(|value| DebugAnnotation { name: name.to_owned(), value: Some(value) }));
    };
    let text = |text: Option<&str>| {
        text.map(|text| Value::Text(text[..text.floor_char_boundary(MAX_TEXT)].to_owned()))
    };
    let number = |number: Option<u64>| number.map(Value::Number);
    add("file", text(Some(&source.file)));
    add("protocol", text(Some(request.protocol.name())));
    add("method", text(request.method));
    add("scheme", text(request.scheme));
    add("authority", text(request.authority));
    add("path", text(request.path));
    add("query", text(request.query));
    add("route", text(request.route));
    add("user_agent", text(request.user_agent));
    add("status", number(request.status.map(u64::from)));
    add("rpc_status", number(request.rpc_status.map(u64::from)));
    add("error", Some(Value::Bool(request.error)));
    add("end_reason", text(Some(request.end_reason.name())));
    add("request_bytes", number(request.request_bytes));
    add("response_bytes", number(request.response_bytes));
    add("tid", number(Some(request.tid).filter(|tid| *tid != 0).map(u64::from)));
    add("goroutine", number(Some(request.goroutine).filter(|id| *id != 0)));
    add("connection", number(Some(request.connection)));
    add("stream", number(request.stream.map(u64::from)));
    add("ordinal", number(Some(request.ordinal)));
    add("trace_id", text(request.trace_id.map(|id| id.to_string()).as_deref()));
    add("span_id", text(request.span_id.map(|id| id.to_string()).as_deref()));
    add("parent_id", text(request.parent_id.map(|id| id.to_string()).as_deref()));
    known
}
