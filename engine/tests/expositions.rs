//! What is exposed of requests made by hand in each format: exact where it is small, and parsed back by a strict parser
//! of our own where texts are hostile.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::float_cmp, reason = "what is written is read back as it was")]

#[path = "support/cases.rs"]
#[allow(unreachable_pub, reason = "it is shared by tests")]
mod cases;
#[path = "support/requests.rs"]
#[allow(unreachable_pub, reason = "it is shared by tests")]
mod requests;
#[path = "support/text_formats.rs"]
#[allow(unreachable_pub, reason = "it is shared by tests")]
mod text_formats;

use std::time::Duration;

use beyla_engine::Sink;
use beyla_engine::prometheus::{
    Backfill, BackfillError, Exposition, Family, Format, Kind, MAX_SAMPLES, Names, Sample, Unit, Value,
};
use beyla_schema::event::Clock;
use beyla_schema::request::{Kind as Side, Protocol, Request, SpanId, TraceId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use requests::request;
use text_formats::{Parsed, parse};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// 2023-11-14 22:13:20 UTC.
const CLOCK: Clock = Clock { offset_ns: 1_700_000_000_000_000_000 };

fn traced(number: u8, duration_ns: u64) -> Request<'static> {
    Request {
        trace_id: Some(TraceId([number; 16])),
        span_id: Some(SpanId([number; 8])),
        ..request("/a", Some(200), 0, duration_ns)
    }
}

/// Two metrics of a program itself.
fn own() -> [Family<'static>; 3] {
    let family = |name, unit, kind, samples| Family {
        name,
        instrument: "",
        help: "A \"test\"\\.",
        unit,
        kind,
        samples,
    };
    [
        family(
            "lost_events_total",
            Unit::One,
            Kind::Counter,
            vec![Sample::number([("cause", "ring\n\"full\""), ("none", "")], 3.0)],
        ),
        family("used_bytes", Unit::Bytes, Kind::Gauge, vec![Sample::number([("", ""); 0], f64::INFINITY)]),
        family("nothing", Unit::One, Kind::Gauge, Vec::new()),
    ]
}

fn text(exposition: &Exposition, format: Format, more: &[Family<'_>]) -> String {
    String::from_utf8(exposition.render_with(format, CLOCK, more)).unwrap()
}

#[test]
fn openmetrics_is_exact() {
    let mut exposition = Exposition::new(Names::Beyla2023, "h".to_owned()).with_exemplars(true);
    exposition.request(&Request { request_bytes: None, ..traced(1, 5 * MS) });
    exposition.request(&Request { request_bytes: None, ..traced(2, 4 * MS) });
    exposition.request(&Request { request_bytes: None, span_id: None, ..traced(3, 20_000 * MS) });
    exposition.request(&Request { request_bytes: None, ..request("/a", Some(200), 0, 3 * MS) });
    let (trace, span) = ("02".repeat(16), "02".repeat(8));
    let expected = r#"# TYPE http_server_duration_seconds histogram
# UNIT http_server_duration_seconds seconds
# HELP http_server_duration_seconds Duration of HTTP requests served by the captured processes.
http_server_duration_seconds_bucket{LABELS,le="0.0"} 0
http_server_duration_seconds_bucket{LABELS,le="0.005"} 3 # {trace_id="TRACE",span_id="SPAN"} 0.004 1700000000.004
http_server_duration_seconds_bucket{LABELS,le="0.01"} 3
http_server_duration_seconds_bucket{LABELS,le="0.025"} 3
http_server_duration_seconds_bucket{LABELS,le="0.05"} 3
http_server_duration_seconds_bucket{LABELS,le="0.075"} 3
http_server_duration_seconds_bucket{LABELS,le="0.1"} 3
http_server_duration_seconds_bucket{LABELS,le="0.25"} 3
http_server_duration_seconds_bucket{LABELS,le="0.5"} 3
http_server_duration_seconds_bucket{LABELS,le="0.75"} 3
http_server_duration_seconds_bucket{LABELS,le="1.0"} 3
http_server_duration_seconds_bucket{LABELS,le="2.5"} 3
http_server_duration_seconds_bucket{LABELS,le="5.0"} 3
http_server_duration_seconds_bucket{LABELS,le="7.5"} 3
http_server_duration_seconds_bucket{LABELS,le="10.0"} 3
http_server_duration_seconds_bucket{LABELS,le="+Inf"} 4 # {trace_id="LAST"} 20 1700000020
http_server_duration_seconds_sum{LABELS} 20.012
http_server_duration_seconds_count{LABELS} 4
# TYPE target info
# HELP target A captured service.
target_info{instance="h",job="shop",service_name="shop"} 1
# TYPE lost_events counter
# HELP lost_events A \"test\"\\.
lost_events_total{cause="ring\n\"full\""} 3
# TYPE used_bytes gauge
# UNIT used_bytes bytes
# HELP used_bytes A \"test\"\\.
used_bytes +Inf
# EOF
"#;
    let labels = r#"http_method="GET",http_status_code="200",instance="h",job="shop",service_name="shop""#;
    let expected = expected.replace("LABELS", labels).replace("LAST", &"03".repeat(16));
    let expected = expected.replace("TRACE", &trace).replace("SPAN", &span);
    assert_eq!(text(&exposition, Format::OpenMetrics, &own()), expected);
    parse(&expected, true);
}

#[test]
fn further_families_follow_the_text_as_it_is_without_them() {
    let mut exposition = Exposition::new(Names::Otel, "h".to_owned()).with_exemplars(true).with_native(true);
    exposition.request(&traced(1, MS));
    let more = "# HELP lost_events_total A \"test\"\\\\.\n# TYPE lost_events_total counter\n\
                lost_events_total{cause=\"ring\\n\\\"full\\\"\"} 3\n\
                # HELP used_bytes A \"test\"\\\\.\n# TYPE used_bytes gauge\nused_bytes +Inf\n";
    assert_eq!(text(&exposition, Format::Text, &own()), exposition.render() + more);
    assert_eq!(exposition.render_as(Format::Text, CLOCK), exposition.render().into_bytes());
    let mut plain = Exposition::new(Names::Otel, "h".to_owned());
    plain.request(&traced(1, MS));
    assert_eq!(exposition.render(), plain.render(), "the text knows nothing of exemplars");
}

#[test]
fn histograms_can_be_walked_by_either_name() {
    let mut exposition = Exposition::new(Names::Otel, "h".to_owned());
    exposition.request(&request("/a", Some(200), 0, 20_000 * MS));
    exposition.request(&request("/a", Some(200), 0, 7 * MS));
    let mut seen = Vec::new();
    exposition.families(|family| {
        seen.push(family.name);
        let (Value::Histogram(histogram), Unit::Seconds) = (family.samples[0].value, family.unit) else {
            return;
        };
        assert_eq!((family.instrument, family.unit.ucum()), ("http.server.request.duration", "s"));
        assert_eq!((histogram.count(), histogram.sum()), (2, 20.007));
        let bounds: Vec<f64> = histogram.bounds().collect();
        assert_eq!(histogram.buckets().len(), bounds.len() + 1);
        assert_eq!((bounds[2], histogram.buckets()[2], histogram.buckets()[15]), (0.01, 1, 1));
        let labels = family.samples[0].labels.iter();
        let labels: Vec<_> = labels.map(|label| (label.name, label.attribute, &*label.value)).collect();
        assert!(labels.contains(&("http_response_status_code", "http.response.status_code", "200")));
        assert!(labels.contains(&("service_name", "service.name", "shop")));
        assert!(labels.contains(&("job", "", "shop")));
    });
    assert_eq!(
        seen,
        [
            "http_server_request_body_size_bytes",
            "http_server_request_duration_seconds",
            "http_server_response_body_size_bytes",
            "target_info"
        ]
    );
}

#[test]
fn what_expires_makes_room() {
    let mut exposition = Exposition::new(Names::Otel, "h".to_owned()).with_max_series(3);
    let ask = |exposition: &mut Exposition, service: &'static str, at| {
        exposition.request(&Request { service, ..request("/a", Some(200), at, MS) });
    };
    for (service, at) in [("old", 0), ("kept", 0), ("late", 0), ("kept", 10 * SECOND)] {
        ask(&mut exposition, service, at);
    }
    let full = exposition.render();
    assert!(full.contains("otel_metric_overflow") && full.contains("\"old\"") && !full.contains("\"late\""));
    exposition.expire(MS);
    assert_eq!(exposition.render(), full, "what ended at that time has not ended before it");
    exposition.expire(SECOND);
    let text = exposition.render();
    assert!(text.contains("\"kept\"") && !text.contains("\"old\"") && !text.contains("overflow"), "{text}");
    assert!(text.contains("service_name=\"kept\",url_scheme=\"http\"} 2\n"), "{text}");
    ask(&mut exposition, "late", 11 * SECOND);
    ask(&mut exposition, "later", 11 * SECOND);
    let text = exposition.render();
    assert!(text.contains("\"late\"") && !text.contains("\"later\""), "{text}");
}

/// Fields of a protobuf message: numbers as they are, the rest as bytes.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_first_chunk().unwrap();
                bytes = rest;
                Field::Number(u64::from_le_bytes(*number))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(field)
            }
            wire => panic!("wire type {wire}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn all(message: &[u8], number: u64) -> Vec<Field<'_>> {
    fields(message).into_iter().filter(|(of, _)| *of == number).map(|(_, field)| field).collect()
}

fn messages(message: &[u8], number: u64) -> Vec<&[u8]> {
    let bytes = |field| if let Field::Bytes(bytes) = field { bytes } else { panic!("{number} is a number") };
    all(message, number).into_iter().map(bytes).collect()
}

fn numbers(message: &[u8], number: u64) -> Vec<u64> {
    let value =
        |field| if let Field::Number(value) = field { value } else { panic!("{number} is no number") };
    all(message, number).into_iter().map(value).collect()
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[test]
fn protobuf_has_classic_and_native_buckets() {
    let mut exposition =
        Exposition::new(Names::Beyla2023, "h".to_owned()).with_native(true).with_exemplars(true);
    // Bounds of native buckets: 2^-7 s is in the bucket -56, twice that in -48, a little more in -47.
    for (number, duration_ns) in [(1, 0), (2, 7_812_500), (3, 7_812_500), (4, 15_625_000), (5, 15_625_001)] {
        exposition.request(&traced(number, duration_ns));
    }
    let bytes = exposition.render_with(Format::Protobuf, CLOCK, &own());
    let mut rest = &*bytes;
    let mut families = Vec::new();
    while !rest.is_empty() {
        let length = varint(&mut rest) as usize;
        let (family, after) = rest.split_at(length);
        rest = after;
        families.push((str::from_utf8(messages(family, 1)[0]).unwrap(), numbers(family, 3)[0], family));
    }
    let kinds: Vec<_> = families.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    let expected = [
        ("http_server_duration_seconds", 4),
        ("http_server_request_size_bytes", 4),
        ("target_info", 1),
        ("lost_events_total", 0),
        ("used_bytes", 1),
    ];
    assert_eq!(kinds, expected);
    let family = families[0].2;
    assert_eq!(messages(family, 5), [b"seconds"]);
    let metric = messages(family, 4)[0];
    let label = messages(metric, 1)[0];
    assert_eq!((messages(label, 1)[0], messages(label, 2)[0]), (&b"http_method"[..], &b"GET"[..]));
    let histogram = messages(metric, 7)[0];
    assert_eq!(numbers(histogram, 1), [5]);
    assert_eq!(f64::from_bits(numbers(histogram, 2)[0]), 0.046_875_001);
    let buckets = messages(histogram, 3);
    let counts: Vec<_> = buckets.iter().map(|bucket| numbers(bucket, 1)[0]).collect();
    assert_eq!(counts, [1, 1, 3, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    assert_eq!(f64::from_bits(numbers(buckets[15], 2)[0]), f64::INFINITY);
    let exemplar = messages(buckets[2], 3)[0];
    assert_eq!(messages(messages(exemplar, 1)[0], 2)[0], "03".repeat(16).as_bytes());
    assert_eq!(f64::from_bits(numbers(exemplar, 2)[0]), 0.007_812_5);
    assert_eq!(numbers(messages(exemplar, 3)[0], 1), [1_700_000_000]);
    assert_eq!(numbers(messages(exemplar, 3)[0], 2), [7_812_500]);

    assert_eq!(zigzag(numbers(histogram, 5)[0]), 3);
    assert_eq!(f64::from_bits(numbers(histogram, 6)[0]), 2f64.powi(-128));
    assert_eq!(numbers(histogram, 7), [1]);
    let span = |span: &&[u8]| (zigzag(numbers(span, 1)[0]), numbers(span, 2)[0]);
    assert_eq!(messages(histogram, 12).iter().map(span).collect::<Vec<_>>(), [(-56, 1), (7, 2)]);
    assert_eq!(numbers(histogram, 13).into_iter().map(zigzag).collect::<Vec<_>>(), [2, -1, 0]);

    let counter = messages(messages(families[3].2, 4)[0], 3)[0];
    assert_eq!(f64::from_bits(numbers(counter, 1)[0]), 3.0);
}

fn backfill(step: Duration, requests: &[Request<'_>]) -> Backfill {
    let mut backfill = Backfill::new(Names::Beyla2023, "h".to_owned(), step);
    for request in requests {
        backfill.request(request);
    }
    backfill
}

fn written(backfill: &Backfill) -> String {
    let mut bytes = Vec::new();
    backfill.write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_series_has_a_sample_at_every_step() {
    // Ends at 100.5, 101.25 and exactly 104 seconds.
    let requests = [
        request("/a", Some(200), 100 * SECOND, 500 * MS),
        request("/a", Some(404), 101 * SECOND, 250 * MS),
        request("/a", Some(200), 103 * SECOND, SECOND),
    ];
    let text = written(&backfill(Duration::from_secs(1), &requests));
    parse(&text, true);
    let lines = |name: &str, status: &str| -> Vec<String> {
        let labels = format!("{name}{{http_method=\"GET\",http_status_code=\"{status}\"");
        let lines = text.lines().filter(|line| line.starts_with(&labels));
        lines.map(|line| line.rsplit_once("} ").unwrap().1.to_owned()).collect()
    };
    assert_eq!(
        lines("http_server_duration_seconds_count", "200"),
        ["0 100", "1 101", "1 102", "1 103", "2 104"]
    );
    assert_eq!(
        lines("http_server_duration_seconds_sum", "200"),
        ["0 100", "0.5 101", "0.5 102", "0.5 103", "1.5 104"]
    );
    assert_eq!(
        lines("http_server_duration_seconds_count", "404"),
        ["0 100", "0 101", "1 102", "1 103", "1 104"]
    );
    let target: Vec<_> = text.lines().filter(|line| line.starts_with("target_info")).collect();
    assert_eq!(target.len(), 5, "{text}");
    assert!(target[4].ends_with(" 1 104"), "{text}");
    let reversed: Vec<_> = requests.into_iter().rev().collect();
    assert_eq!(written(&backfill(Duration::from_secs(1), &reversed)), text);
    assert!(written(&backfill(Duration::from_millis(1500), &requests)).contains("} 1 100.500\n"));
}

#[test]
fn nothing_is_an_empty_backfill() {
    assert_eq!(written(&backfill(Duration::from_secs(1), &[])), "# EOF\n");
}

#[test]
fn the_last_sample_of_a_backfill_is_the_exposition() {
    let requests: Vec<_> =
        (0..40).map(|n| request("/a", Some(200 + n as u16 % 3), n * 300 * MS, n * n * MS)).collect();
    let mut exposition = Exposition::new(Names::Beyla2023, "h".to_owned());
    for request in &requests {
        exposition.request(request);
    }
    let last = written(&backfill(Duration::from_mins(1), &requests)).replace(" 60\n", "\n");
    let last: Vec<_> = last.lines().filter(|line| !line.ends_with(" 0")).collect();
    let whole = text(&exposition, Format::OpenMetrics, &[]);
    let whole: Vec<_> = whole.lines().filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(last, whole);
}

#[test]
fn too_many_samples_are_refused_with_a_step_that_would_do() {
    let year = 365 * 86_400 * SECOND;
    let far = [request("/a", Some(200), 0, SECOND), request("/a", Some(200), year, SECOND)];
    let refused = |backfill: &Backfill| {
        let mut out = Vec::new();
        let error = backfill.write(&mut out).unwrap_err();
        assert!(out.is_empty());
        let BackfillError::TooManySamples { samples, step } = error else { panic!("{error}") };
        assert!(samples > MAX_SAMPLES);
        step
    };
    let step = refused(&backfill(Duration::from_secs(15), &far)).unwrap();
    assert_eq!(step, Duration::from_mins(2));
    // It begins to write, into no room.
    let begun = backfill(step, &far).write(&mut &mut [0; 0][..]);
    assert!(matches!(begun, Err(BackfillError::Write(_))), "{begun:?}");

    // So many steps with requests that they are not even kept.
    let mut many = Backfill::new(Names::Otel, "h".to_owned(), Duration::from_millis(1));
    for n in 0..240_000 {
        many.request(&request("/a", Some(200), n * MS, 0));
    }
    assert_eq!(refused(&many), Some(Duration::from_millis(10)));
}

/// Texts that mean to break out.
fn hostile() -> impl Strategy<Value = String> {
    let special = select("\\\"\n\r\0{},= #a1_\u{85}\u{2028}\u{fffd}\u{1b}é".chars().collect::<Vec<_>>());
    prop_oneof![
        vec(special, 0..12).prop_map(String::from_iter),
        vec(any::<char>(), 0..12).prop_map(String::from_iter),
        vec(any::<u8>(), 0..12).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        Just("\"} 1\n# EOF\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(cases::cases(200))]

    #[test]
    fn no_text_breaks_an_exposition(
        instance in hostile(),
        texts in vec((hostile(), hostile(), hostile(), any::<bool>(), any::<bool>(), any::<Option<u64>>()), 1..6),
        otel in any::<bool>(),
        own in hostile(),
    ) {
        let names = if otel { Names::Otel } else { Names::Beyla2023 };
        let mut exposition =
            Exposition::new(names, instance.clone()).with_routes(true).with_exemplars(true).with_native(true);
        let mut backfill = Backfill::new(names, instance.clone(), Duration::from_hours(1)).with_routes(true);
        for (service, route, method, rpc, client, duration_ns) in &texts {
            let request = Request {
                service,
                route: Some(route),
                path: Some(route),
                method: Some(method),
                protocol: if *rpc { Protocol::Grpc } else { Protocol::Http11 },
                kind: if *client { Side::Client } else { Side::Server },
                duration_ns: *duration_ns,
                ended_ns: duration_ns.unwrap_or(0) % (7 * 3600 * SECOND),
                ..traced(7, 0)
            };
            exposition.request(&request);
            backfill.request(&request);
        }
        let more = [Family {
            name: "own_total",
            instrument: "",
            help: "Own.",
            unit: Unit::One,
            kind: Kind::Counter,
            samples: vec![Sample::number([("text", &*own)], 1.0)],
        }];
        let observed = texts.iter().filter(|(.., duration_ns)| duration_ns.is_some()).count() as f64;
        for format in [Format::Text, Format::OpenMetrics] {
            let samples = parse(&text(&exposition, format, &more), format == Format::OpenMetrics);
            let counts = samples.iter().filter(|sample| sample.name.ends_with("duration_seconds_count"));
            prop_assert_eq!(counts.map(|sample| sample.value).sum::<f64>(), observed);
            for (service, ..) in &texts {
                let named = |sample: &Parsed| {
                    sample.name == "target_info" && sample.label("service_name") == service
                        && sample.label("job") == service && sample.label("instance") == instance
                };
                prop_assert!(samples.iter().any(named), "{:?} is missing", service);
            }
            prop_assert!(samples.iter().any(|sample| sample.name == "own_total" && sample.label("text") == own));
        }
        prop_assert!(!exposition.render_as(Format::Protobuf, CLOCK).is_empty());
        parse(&written(&backfill), true);
    }

    #[test]
    fn any_accept_has_a_format(accept in hostile()) {
        prop_assert_eq!(Format::negotiate(&accept), Format::Text);
    }
}
