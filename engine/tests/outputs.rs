//! The report, the exposition and the trace line, from requests made by hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/requests.rs"]
#[allow(unreachable_pub, reason = "it is shared by tests")]
mod requests;

use beyla_engine::Sink;
use beyla_engine::graph::Graph;
use beyla_engine::prometheus::{Exposition, Names};
use beyla_engine::red::{Aggregator, Row};
use beyla_engine::trace_line::{Form, Printer};
use beyla_schema::event::Clock;
use beyla_schema::request::{Kind, Protocol, Request, SpanId, TraceId};
use requests::request;

const MS: u64 = 1_000_000;

fn line(request: &Request<'_>, offset_ns: i64) -> String {
    printed(Form::Line, request, offset_ns)
}

fn printed(form: Form, request: &Request<'_>, offset_ns: i64) -> String {
    let mut out = Vec::new();
    Printer::new(form, Clock { offset_ns }).write(&mut out, request).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn quantiles_are_the_nearest_rank() {
    let mut red = Aggregator::default();
    // In an order that is not theirs.
    for n in (1..=100).map(|n| n * 37 % 101) {
        red.request(&request("/a", Some(200), 0, n * MS));
    }
    let total = red.report(5).inbound.unwrap().total;
    assert_eq!((total.p50_ms, total.p90_ms), (Some(50.0), Some(90.0)));
    assert_eq!((total.p95_ms, total.p99_ms), (Some(95.0), Some(99.0)));
    assert_eq!((total.max_ms, total.avg_ms), (Some(100.0), Some(50.5)));
}

#[test]
fn one_duration_is_every_quantile() {
    let mut red = Aggregator::default();
    red.request(&request("/a", Some(200), 0, 7 * MS));
    let total = red.report(5).inbound.unwrap().total;
    for quantile in [total.p50_ms, total.p90_ms, total.p95_ms, total.p99_ms, total.max_ms, total.avg_ms] {
        assert_eq!(quantile, Some(7.0));
    }
}

#[test]
fn a_report_of_nothing_is_empty() {
    let report = Aggregator::default().report(5);
    assert_eq!((report.requests, report.first_ns, report.last_ns), (0, None, None));
    assert_eq!((report.inbound, report.outbound), (None, None));
}

#[test]
fn tables_group_and_order_requests() {
    let mut red = Aggregator::default();
    for (route, status, times) in
        [("/b", Some(200), 2), ("/a", Some(200), 2), ("/c", Some(500), 3), ("/c", None, 1)]
    {
        for n in 0..times {
            red.request(&request(route, status, n * 1000 * MS, 10 * MS));
        }
    }
    let report = red.report(2);
    assert_eq!((report.requests, report.first_ns, report.last_ns), (8, Some(0), Some(2010 * MS)));
    assert!(report.outbound.is_none());
    let side = report.inbound.unwrap();
    let routes = |rows: &[Row]| rows.iter().map(|row| row.route.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(routes(&side.by_route), ["/c", "/a", "/b"]);
    assert_eq!(routes(&side.slowest), ["/c", "/a"]);
    let by_status: Vec<_> = side.by_status.iter().map(|row| (row.status, row.requests)).collect();
    assert_eq!(by_status, [(Some(200), 4), (Some(500), 3), (None, 1)]);
    assert_eq!(side.by_status[2].p50_ms, None);
    assert_eq!(side.by_service[0].service.as_deref(), Some("shop"));
    let total = side.total;
    assert_eq!((total.requests, total.errors, total.incomplete), (8, 4, 1));
    assert!((total.error_ratio - 0.5).abs() < 1e-12);
    assert!((total.rate.unwrap() - 8.0 / 2.01).abs() < 1e-12);
}

#[test]
fn the_exposition_is_exact() {
    let mut exposition = Exposition::new(Names::Beyla2023, "host \"a\"\n\\".to_owned());
    exposition.request(&request("/a", Some(200), 0, 5 * MS));
    exposition.request(&Request { method: Some("BREW"), ..request("/a", None, 0, 0) });
    let expected = r#"# HELP http_server_duration_seconds Duration of HTTP requests served by the captured processes.
# TYPE http_server_duration_seconds histogram
http_server_duration_seconds_bucket{LABELS,le="0"} 0
http_server_duration_seconds_bucket{LABELS,le="0.005"} 1
http_server_duration_seconds_bucket{LABELS,le="0.01"} 1
http_server_duration_seconds_bucket{LABELS,le="0.025"} 1
http_server_duration_seconds_bucket{LABELS,le="0.05"} 1
http_server_duration_seconds_bucket{LABELS,le="0.075"} 1
http_server_duration_seconds_bucket{LABELS,le="0.1"} 1
http_server_duration_seconds_bucket{LABELS,le="0.25"} 1
http_server_duration_seconds_bucket{LABELS,le="0.5"} 1
http_server_duration_seconds_bucket{LABELS,le="0.75"} 1
http_server_duration_seconds_bucket{LABELS,le="1"} 1
http_server_duration_seconds_bucket{LABELS,le="2.5"} 1
http_server_duration_seconds_bucket{LABELS,le="5"} 1
http_server_duration_seconds_bucket{LABELS,le="7.5"} 1
http_server_duration_seconds_bucket{LABELS,le="10"} 1
http_server_duration_seconds_bucket{LABELS,le="+Inf"} 1
http_server_duration_seconds_sum{LABELS} 0.005
http_server_duration_seconds_count{LABELS} 1
# HELP http_server_request_size_bytes Body size of HTTP requests served by the captured processes.
# TYPE http_server_request_size_bytes histogram
"#;
    let size = |labels: &str| {
        let bounds = ["0", "32", "64", "128", "256", "512", "1024", "2048", "4096", "8192", "+Inf"];
        let name = "http_server_request_size_bytes";
        let buckets: String =
            bounds.map(|bound| format!("{name}_bucket{{{labels},le=\"{bound}\"}} 1\n")).concat();
        format!("{buckets}{name}_sum{{{labels}}} 0\n{name}_count{{{labels}}} 1\n")
    };
    let common = r#"instance="host \"a\"\n\\",job="shop",service_name="shop""#;
    let get = format!("http_method=\"GET\",http_status_code=\"200\",{common}");
    let other = format!("http_method=\"_OTHER\",{common}");
    let info = format!(
        "# HELP target_info A captured service.\n# TYPE target_info gauge\ntarget_info{{{common}}} 1\n"
    );
    let expected = expected.replace("LABELS", &get) + &size(&get) + &size(&other) + &info;
    assert_eq!(exposition.render(), expected);
}

#[test]
fn opentelemetry_names_carry_the_server_and_both_sizes() {
    let mut exposition = Exposition::new(Names::Otel, "h".to_owned());
    exposition.request(&request("/a", Some(200), 0, 20_000 * MS));
    exposition.request(&Request { kind: Kind::Client, ..request("/a", Some(200), 0, 0) });
    let text = exposition.render();
    let labels = r#"http_request_method="GET",http_response_status_code="200",http_route="/a",instance="h",job="shop",server_address="::1",server_port="8080",service_name="shop",url_scheme="http""#;
    let lines: Vec<_> = text.lines().collect();
    for line in [
        format!("http_server_request_duration_seconds_bucket{{{labels},le=\"10\"}} 0"),
        format!("http_server_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 1"),
        format!("http_server_request_duration_seconds_sum{{{labels}}} 20"),
        format!("http_client_request_duration_seconds_bucket{{{labels},le=\"0\"}} 1"),
        format!("http_server_response_body_size_bytes_bucket{{{labels},le=\"64\"}} 0"),
        format!("http_server_response_body_size_bytes_sum{{{labels}}} 100"),
        format!("http_client_request_body_size_bytes_count{{{labels}}} 1"),
    ] {
        assert!(lines.contains(&line.as_str()), "{line}\nnot in\n{text}");
    }
    let families: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.is_sorted(), "{families:?}");
    assert!(text.ends_with("} 1\n"));
}

#[test]
fn the_order_of_requests_does_not_change_the_exposition() {
    let requests: Vec<_> =
        (0..50u16).map(|n| request("/a", Some(200 + n % 7), 0, u64::from(n) * MS)).collect();
    let render = |requests: &mut dyn Iterator<Item = &Request<'static>>| {
        let mut exposition = Exposition::new(Names::Otel, String::new());
        requests.for_each(|request| exposition.request(request));
        exposition.render()
    };
    assert_eq!(render(&mut requests.iter()), render(&mut requests.iter().rev()));
}

#[test]
fn series_have_routes_where_they_are_wanted() {
    let expose = |names, shown: Option<bool>, kind| {
        let mut exposition = Exposition::new(names, "h".to_owned());
        if let Some(shown) = shown {
            exposition = exposition.with_routes(shown);
        }
        exposition.request(&Request {
            route: Some("/users/*"),
            kind,
            ..request("/users/7", Some(200), 0, MS)
        });
        exposition.request(&Request { route: None, kind, ..request("/users/8", Some(200), 0, MS) });
        exposition.render()
    };
    for (names, shown, kind, routes) in [
        (Names::Otel, None, Kind::Server, true),
        (Names::Otel, None, Kind::Client, true),
        (Names::Otel, Some(false), Kind::Server, false),
        (Names::Beyla2023, None, Kind::Server, false),
        (Names::Beyla2023, Some(true), Kind::Server, true),
        (Names::Beyla2023, Some(true), Kind::Client, false),
    ] {
        let text = expose(names, shown, kind);
        let counts: Vec<_> = text.lines().filter(|line| line.contains("duration_seconds_count{")).collect();
        assert_eq!(text.contains(",http_route=\"/users/*\","), routes, "{text}");
        assert_eq!(counts.len(), if routes { 2 } else { 1 }, "{text}");
        assert!(!text.contains("/users/7"), "{text}");
    }
}

#[test]
fn series_beyond_the_limit_are_one() {
    let mut exposition = Exposition::new(Names::Otel, "h".to_owned()).with_max_series(3);
    let routes = ["/a", "/b", "/c", "/a", "/d", "/c"];
    for route in routes {
        exposition.request(&request(route, Some(200), 0, 7 * MS));
        exposition.request(&Request { kind: Kind::Client, ..request("/a", Some(200), 0, 7 * MS) });
    }
    exposition.request(&Request { service: "other", ..request("/a", Some(200), 0, 7 * MS) });
    let text = exposition.render();
    let counts: Vec<_> =
        text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count{")).collect();
    assert_eq!(counts.len(), 3, "{text}");
    for (labels, count) in [
        ("http_route=\"/a\"", 2),
        ("http_route=\"/b\"", 1),
        ("{instance=\"h\",otel_metric_overflow=\"true\"}", 4),
    ] {
        assert!(
            counts.iter().any(|line| line.contains(labels) && line.ends_with(&format!(" {count}"))),
            "{text}"
        );
    }
    assert!(text.contains(
        "http_server_response_body_size_bytes_sum{instance=\"h\",otel_metric_overflow=\"true\"} 400\n"
    ));
    assert!(
        text.contains("http_client_request_duration_seconds_count{http_request_method=\"GET\""),
        "{text}"
    );
    assert_eq!(text.matches("http_client_request_duration_seconds_count{").count(), 1, "{text}");
    assert!(!text.contains("other"), "what has no series leaves no trace: {text}");
}

#[test]
fn a_trace_line_is_that_of_the_announcement() {
    let hello = Request {
        duration_ns: Some(15_220_000),
        service_ns: Some(689_900),
        ..request("/hello", Some(200), 1_000, 0)
    };
    assert_eq!(
        line(&hello, 1_681_912_144_000_000_000),
        "2023-04-19 13:49:04 (15.22ms[689.9µs]) 200 GET /hello [::1]->[localhost:8080] size:0B\n"
    );
}

#[test]
fn a_trace_line_says_what_is_not_known() {
    let cut = Request { authority: None, request_bytes: None, ..request("/a", None, 0, 0) };
    assert_eq!(line(&cut, 0), "1970-01-01 00:00:00 (-) - GET /a [::1]->[[::1]:8080] size:?B\n");
    let bare = Request { method: None, path: None, client: None, server: None, ..cut };
    assert_eq!(line(&bare, 0), "1970-01-01 00:00:00 (-) - - - [-]->[-] size:?B\n");
}

#[test]
fn a_trace_line_cannot_be_forged() {
    let path = "/\x1b[2J\n2023 \u{9b}\u{202e}é";
    let forged = Request { path: Some(path), ..request("", Some(200), 0, 0) };
    let text = line(&forged, 0);
    assert!(text.contains(r" GET /\u{1b}[2J\u{a}2023\u{20}\u{9b}\u{202e}é ["), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_grpc_call_has_its_own_status_in_its_line() {
    let call = Request {
        protocol: Protocol::Grpc,
        rpc_status: Some(5),
        method: Some("POST"),
        ..request("/shop.Cart/Add", Some(200), 0, MS)
    };
    assert!(line(&call, 0).contains(") 5 gRPC /shop.Cart/Add ["));
}

/// A request of which everything is known.
fn hello() -> Request<'static> {
    Request {
        path: Some("/users/7"),
        duration_ns: Some(15_220_000),
        service_ns: Some(689_900),
        queue_ns: Some(14_530_100),
        trace_id: Some(TraceId([0xab; 16])),
        span_id: Some(SpanId([1; 8])),
        parent_id: Some(SpanId([2; 8])),
        end_ns: Some(20_689_900),
        ..request("/users/{id}", Some(200), 20_000_000, 0)
    }
}

const APRIL: i64 = 1_681_912_144_000_000_000;

#[test]
fn the_text_says_more_than_the_line() {
    let hello = hello();
    assert_eq!(
        printed(Form::Text, &hello, APRIL),
        "2023-04-19 13:49:04.020000 (15.22ms[689.9µs]) HTTP 200 GET /users/7(/users/{id}) \
         [[::1]:40000]->[localhost:8080] contentLen:0B responseLen:100B svc=[shop] \
         traceparent=[00-abababababababababababababababab-0101010101010101[0202020202020202]-01]\n"
    );
    let call = Request { protocol: Protocol::Grpc, kind: Kind::Client, rpc_status: Some(5), ..hello };
    assert!(printed(Form::Text, &call, 0).contains(") GRPCClient 5 GET /users/7 [["));
}

#[test]
fn the_text_says_what_is_not_known() {
    let bare = Request {
        method: None,
        path: None,
        route: None,
        authority: None,
        client: None,
        server: None,
        request_bytes: None,
        ..request("", None, 0, 0)
    };
    assert_eq!(
        printed(Form::Text, &bare, 0),
        "1970-01-01 00:00:00.000000 (-[-]) HTTP - - - [-]->[-] contentLen:?B responseLen:?B svc=[shop] \
         traceparent=[]\n"
    );
}

#[test]
fn no_form_can_be_forged() {
    let text = "/\x1b[2J\n\"}\u{7f}\u{9b}\u{202e}\u{2028}é";
    let forged = Request {
        service: text,
        method: Some(text),
        path: Some(text),
        route: Some(text),
        authority: Some(text),
        ..request("", Some(200), 0, 0)
    };
    for form in [Form::Line, Form::Text, Form::Json] {
        let printed = printed(form, &forged, 0);
        let line = printed.strip_suffix('\n').unwrap();
        assert!(
            !line.contains(|char: char| char.is_control() || "\u{202e}\u{2028}".contains(char)),
            "{line}"
        );
    }
    let object: serde_json::Value = serde_json::from_str(&printed(Form::Json, &forged, 0)).unwrap();
    assert_eq!((&object["service"], &object["attributes"]["url"]), (&text.into(), &text.into()));
}

#[test]
fn an_object_has_the_keys_of_beyla() {
    let mut expected = serde_json::json!({
        "type": "HTTP",
        "kind": "SPAN_KIND_SERVER",
        "service": "shop",
        "peer": "::1",
        "peerPort": "40000",
        "host": "::1",
        "hostPort": "8080",
        "hostName": "localhost",
        "traceID": "abababababababababababababababab",
        "spanID": "0101010101010101",
        "parentSpanID": "0202020202020202",
        "traceFlags": "01",
        "start": "1681912144005469",
        "handlerStart": "1681912144020000",
        "end": "1681912144020689",
        "duration": "15.22ms",
        "durationUSec": "15220",
        "handlerDuration": "689.9µs",
        "handlerDurationUSec": "689",
        "endReason": "response",
        "attributes": {
            "method": "GET",
            "status": "200",
            "url": "/users/7",
            "contentLen": "0",
            "responseLen": "100",
            "route": "/users/{id}",
            "clientAddr": "::1",
            "serverAddr": "::1",
            "serverPort": "8080",
        },
    });
    let object = |form, request: &Request<'_>| -> serde_json::Value {
        serde_json::from_str(&printed(form, request, APRIL)).unwrap()
    };
    assert_eq!(object(Form::Json, &hello()), expected);
    assert_eq!(object(Form::JsonIndent, &hello()), expected);
    assert!(printed(Form::JsonIndent, &hello(), 0).starts_with("{\n \"type\": \"HTTP\",\n"));

    let call = Request { protocol: Protocol::Grpc, kind: Kind::Client, rpc_status: Some(5), ..hello() };
    expected["type"] = "GRPCClient".into();
    expected["kind"] = "SPAN_KIND_CLIENT".into();
    expected["attributes"] = serde_json::json!({
        "method": "/users/7",
        "status": "5",
        "clientAddr": "::1",
        "serverAddr": "::1",
        "serverPort": "8080",
    });
    assert_eq!(object(Form::Json, &call), expected);

    let cut = object(Form::Json, &request("/a", None, 0, 0));
    assert_eq!(
        (&cut["end"], &cut["attributes"]["status"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(cut["endReason"], "closed");
}

#[test]
fn requests_are_counted_once() {
    let (mut out, mut printer) = (Vec::new(), Printer::new(Form::Counter, Clock::default()));
    printer.tick(&mut out).unwrap();
    for _ in 0..2 {
        printer.write(&mut out, &hello()).unwrap();
    }
    printer.tick(&mut out).unwrap();
    printer.tick(&mut out).unwrap();
    printer.write(&mut out, &hello()).unwrap();
    printer.finish(&mut out).unwrap();
    printer.finish(&mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "Processed 2 requests\nProcessed 3 requests\n");
    let mut none = Vec::new();
    Printer::new(Form::Counter, Clock::default()).finish(&mut none).unwrap();
    assert_eq!(none, b"Processed 0 requests\n");
}

#[test]
fn the_graph_names_services_and_else_addresses() {
    let call = |service, server: &str, duration| Request {
        service,
        kind: Kind::Client,
        server: server.parse().ok(),
        ..request("/a", Some(200), 0, duration)
    };
    let mut graph = Graph::default();
    for request in [
        call("shop", "10.0.0.1:80", MS),
        call("shop", "10.0.0.1:80", 3 * MS),
        call("shop", "10.0.0.2:80", MS),
        call("shop", "10.0.0.3:80", MS),
        Request { service: "cart", server: "10.0.0.1:80".parse().ok(), ..request("/a", Some(200), 0, MS) },
        Request { service: "cart", server: "10.0.0.3:80".parse().ok(), ..request("/a", Some(200), 0, MS) },
        Request { service: "mail", server: "10.0.0.3:80".parse().ok(), ..request("/a", Some(200), 0, MS) },
    ] {
        graph.request(&request);
    }
    let calls = graph.calls();
    let named: Vec<_> = calls.iter().map(|call| (call.callee.as_deref(), call.requests)).collect();
    assert_eq!(named, [(Some("cart"), 2), (Some("10.0.0.2:80"), 1), (Some("10.0.0.3:80"), 1)]);
    assert_eq!((calls[0].p50_ms, calls[0].p95_ms), (Some(1.0), Some(3.0)));
}

#[test]
fn calls_of_grpc_have_families_of_their_own() {
    let call = Request {
        protocol: Protocol::Grpc,
        rpc_status: Some(5),
        method: Some("POST"),
        path: Some("/shop.Cart/Add"),
        ..request("/shop.Cart/Add", Some(200), 0, MS)
    };
    for names in [Names::Otel, Names::Beyla2023] {
        let mut exposition = Exposition::new(names, "here".to_owned());
        exposition.request(&call);
        exposition.request(&Request { kind: Kind::Client, rpc_status: Some(0), ..call });
        let text = exposition.render();
        assert!(!text.contains("http_"), "{text}");
        let address = if names == Names::Otel { "server_address=\"::1\",server_port=\"8080\"," } else { "" };
        for (side, status) in [("client", 0), ("server", 5)] {
            let line = format!(
                "rpc_{side}_duration_seconds_count{{instance=\"here\",job=\"shop\",rpc_grpc_status_code=\"{status}\",\
                 rpc_method=\"/shop.Cart/Add\",rpc_system=\"grpc\",{address}service_name=\"shop\"}} 1\n"
            );
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
