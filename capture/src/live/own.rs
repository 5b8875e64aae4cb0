//! What a capture says of itself in its metrics: what it recorded and lost, how its engine does, and what it takes.

use std::sync::atomic::{AtomicU64, Ordering};

use beyla_engine::{
    Stats,
    prometheus::{Family, Kind, Sample, Unit},
};
use procfs::process::Process;

use super::{
    Context,
    feed::Backlog,
    otlp::{Counters, Counts},
};
use crate::{cost, host};

/// The families, by name.
pub(super) fn families(
    context: &Context,
    backlog: &Backlog,
    stats: &Stats,
    scrapes: u64,
) -> Vec<Family<'static>> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let progress = &context.progress;
    let own = Process::myself().and_then(|process| process.stat());
    let resident = own.as_ref().map_or(0, |stat| stat.rss * procfs::page_size());
    let started_ns = own.as_ref().map_or(0, |stat| host::started_ns(stat.starttime));
    let losses =
        stats.losses.iter().map(|(cause, &lost)| Sample::number([("cause", cause.clone())], lost as f64));
    vec![
        Family {
            name: "beyla_build_info",
            instrument: "",
            help: "The version of the capture.",
            unit: Unit::One,
            kind: Kind::Info,
            samples: vec![Sample::number([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        },
        counter(
            "beyla_capture_events_total",
            "Events that were recorded.",
            Unit::One,
            count(&progress.events),
        ),
        counter(
            "beyla_capture_kept_bytes_total",
            "Bytes that were kept of what the captured processes moved.",
            Unit::Bytes,
            count(&progress.kept),
        ),
        counter(
            "beyla_capture_live_dropped_events_total",
            "Events that are in the file, but were left out of these metrics because they could not keep up.",
            Unit::One,
            count(&backlog.dropped),
        ),
        Family {
            samples: losses.collect(),
            ..counter("beyla_capture_lost_events_total", "Events that were lost, by cause.", Unit::One, 0)
        },
        counter(
            "beyla_capture_moved_bytes_total",
            "Bytes that the captured processes moved.",
            Unit::Bytes,
            count(&progress.moved),
        ),
        counter(
            "beyla_engine_connections_total",
            "Connections that were followed.",
            Unit::One,
            stats.connections,
        ),
        counter(
            "beyla_engine_desynchronisations_total",
            "Times that a direction of a connection lost the boundaries of its messages.",
            Unit::One,
            stats.desynchronisations,
        ),
        counter(
            "beyla_engine_gap_bytes_total",
            "Bytes that connections moved and nothing is known of.",
            Unit::Bytes,
            stats.gap_bytes,
        ),
        counter(
            "beyla_engine_limits_reached_total",
            "Messages that were given up because a limit was reached.",
            Unit::One,
            stats.limits_reached,
        ),
        counter(
            "beyla_engine_requests_total",
            "Requests that were paired, or given up as incomplete.",
            Unit::One,
            stats.requests,
        ),
        counter(
            "beyla_engine_unparsed_bytes_total",
            "Captured bytes that belong to no message that could be recognised.",
            Unit::Bytes,
            stats.unparsed_bytes,
        ),
        counter(
            "beyla_prometheus_http_requests_total",
            "Times that these metrics were asked for.",
            Unit::One,
            scrapes,
        ),
        Family {
            samples: vec![number(cost::own_cpu_ns() as f64 / 1e9)],
            ..counter("process_cpu_seconds_total", "CPU time of the capture.", Unit::Seconds, 0)
        },
        gauge(
            "process_resident_memory_bytes",
            "Physical memory of the capture.",
            Unit::Bytes,
            resident as f64,
        ),
        gauge(
            "process_start_time_seconds",
            "When the capture began, seconds since 1970-01-01 UTC.",
            Unit::Seconds,
            started_ns as f64 / 1e9,
        ),
    ]
}

/// What became of spans and metrics that were to be sent.
pub(super) fn exports(counters: &Counters) -> Vec<Family<'static>> {
    let signals = [
        (
            &counters.metrics,
            ["beyla_otel_metric_export_errors_total", "beyla_otel_metric_exports_total"],
            ["Data points that were not delivered.", "Data points that were sent."],
        ),
        (
            &counters.traces,
            ["beyla_otel_trace_export_errors_total", "beyla_otel_trace_exports_total"],
            ["Spans that were not delivered.", "Spans that were sent."],
        ),
    ];
    let of = |(counts, names, helps): (&Counts, [&'static str; 2], [&'static str; 2])| {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failed = count(&counts.failed) + count(&counts.dropped);
        [
            counter(names[0], helps[0], Unit::One, failed),
            counter(names[1], helps[1], Unit::One, count(&counts.exported)),
        ]
    };
    signals.into_iter().flat_map(of).collect()
}

/// A counter without labels.
pub(super) fn counter(name: &'static str, help: &'static str, unit: Unit, value: u64) -> Family<'static> {
    Family { name, instrument: "", help, unit, kind: Kind::Counter, samples: vec![number(value as f64)] }
}

fn gauge(name: &'static str, help: &'static str, unit: Unit, value: f64) -> Family<'static> {
    Family { name, instrument: "", help, unit, kind: Kind::Gauge, samples: vec![number(value)] }
}

fn number(value: f64) -> Sample<'static> {
    Sample::number::<&str>([], value)
}
