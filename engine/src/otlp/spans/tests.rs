//! Spans of requests made by hand, read back from their bytes.

use beyla_schema::request::Protocol;

use super::*;
use crate::otlp::message::{KeyValue, Value};

const TRACE: TraceId = TraceId([7; 16]);
const SPAN: SpanId = SpanId([8; 8]);

fn request() -> Request<'static> {
    Request {
        service: "shop",
        pid: 10,
        tid: 11,
        method: Some("GET"),
        scheme: Some("http"),
        authority: Some("shop.example:80"),
        path: Some("/products/1"),
        query: Some("q=1"),
        route: Some("/products/*"),
        user_agent: Some("curl/8"),
        status: Some(200),
        end_ns: Some(1_500),
        duration_ns: Some(500),
        service_ns: Some(500),
        request_bytes: Some(0),
        response_bytes: Some(100),
        client: "[::1]:40000".parse().ok(),
        server: "[::1]:8080".parse().ok(),
        connection: 1,
        trace_id: Some(TRACE),
        span_id: Some(SPAN),
        parent_id: Some(SpanId([9; 8])),
        trace_state: Some("vendor=1"),
        ended_ns: 1_500,
        ..Request::begun(Kind::Server, 1_000, EndReason::Response)
    }
}

fn unanswered(end_reason: EndReason) -> Request<'static> {
    Request {
        status: None,
        end_ns: None,
        duration_ns: None,
        service_ns: None,
        response_bytes: None,
        end_reason,
        ended_ns: 9_000,
        ..request()
    }
}

fn groups(requests: &[Request<'_>]) -> Vec<ResourceSpans> {
    let mut spans = Spans::new("vm".to_owned(), Clock { offset_ns: 1_000_000 });
    for request in requests {
        spans.request(request);
    }
    let payload = spans.take().unwrap();
    crate::otlp::leave(&payload);
    let groups = ExportTraceServiceRequest::decode(&*payload.bytes).unwrap().resource_spans;
    let count =
        groups.iter().flat_map(|group| &group.scope_spans).map(|scope| scope.spans.len()).sum::<usize>();
    assert_eq!((payload.signal, payload.items), (Signal::Traces, count as u64));
    assert_eq!((spans.take(), spans.len()), (None, 0));
    groups
}

fn spans(request: &Request<'_>) -> Vec<Span> {
    groups(&[*request])[0].scope_spans[0].spans.clone()
}

fn span(request: &Request<'_>) -> Span {
    let [span] = spans(request).try_into().unwrap();
    span
}

fn text(attributes: &[KeyValue]) -> String {
    let lines = attributes.iter().map(|KeyValue { key, value }| {
        match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::Text(text)) => format!("{key} = {text}\n"),
            Some(Value::Int(number)) => format!("{key} = {number}\n"),
            None => format!("{key}\n"),
        }
    });
    lines.collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let text = text(&span.attributes);
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ").map(str::to_owned))
}

#[test]
fn a_request_is_a_span() {
    let span = span(&request());
    assert_eq!(
        (&*span.trace_id, &*span.span_id, &*span.parent_span_id),
        (&[7; 16][..], &[8; 8][..], &[9; 8][..])
    );
    assert_eq!((span.name.as_str(), span.kind(), span.status), ("GET /products/*", SpanKind::Server, None));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_001_000, 1_001_500));
    assert_eq!(span.trace_state, "vendor=1");
    assert_eq!(
        text(&span.attributes),
        "http.request.method = GET\n\
         http.route = /products/*\n\
         url.scheme = http\n\
         url.path = /products/1\n\
         url.query = q=1\n\
         http.response.status_code = 200\n\
         http.request.body.size = 0\n\
         http.response.body.size = 100\n\
         user_agent.original = curl/8\n\
         network.protocol.version = 1.1\n\
         server.address = shop.example\n\
         server.port = 8080\n\
         client.address = ::1\n\
         client.port = 40000\n\
         network.peer.address = ::1\n\
         network.peer.port = 40000\n\
         thread.id = 11\n"
    );
}

#[test]
fn spans_are_grouped_by_process() {
    let processes = [("shop", 10), ("shop", 12), ("", 10), ("shop", 10)];
    let requests: Vec<_> = (0..)
        .zip(processes)
        .map(|(ordinal, (service, pid))| Request { service, pid, ordinal, span_id: None, ..request() })
        .collect();
    let groups = groups(&requests);
    let sizes: Vec<_> = groups.iter().map(|group| group.scope_spans[0].spans.len()).collect();
    assert_eq!(sizes, [2, 1, 1]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        text(&groups[0].resource.as_ref().unwrap().attributes),
        format!(
            "service.name = shop\n\
             service.instance.id = vm:10\n\
             host.name = vm\n\
             process.pid = 10\n\
             telemetry.sdk.name = beyla-replay\n\
             telemetry.sdk.language = rust\n\
             telemetry.sdk.version = {version}\n"
        )
    );
    assert!(
        text(&groups[2].resource.as_ref().unwrap().attributes)
            .starts_with("service.name = unknown_service\n")
    );
}

#[test]
fn a_wait_is_a_span_beside_the_work() {
    let waited = Request { queue_ns: Some(400), duration_ns: Some(900), ..request() };
    let [whole, wait, work] = spans(&waited).try_into().unwrap();
    assert_eq!(
        (whole.name.as_str(), wait.name.as_str(), work.name.as_str()),
        ("GET /products/*", "in queue", "processing")
    );
    let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!(
        (times(&whole), times(&wait), times(&work)),
        ((1_000_600, 1_001_500), (1_000_600, 1_001_000), (1_001_000, 1_001_500))
    );
    // What the request made meanwhile is a child of the work.
    assert_eq!(work.span_id, SPAN.0);
    assert_eq!(whole.parent_span_id, [9; 8]);
    assert_eq!((&wait.parent_span_id, &work.parent_span_id), (&whole.span_id, &whole.span_id));
    assert!(whole.span_id != work.span_id && wait.span_id != work.span_id && wait.span_id != whole.span_id);
    assert_eq!((wait.kind(), work.kind()), (SpanKind::Internal, SpanKind::Internal));
    assert!([&wait, &work].iter().all(|span| span.trace_id == TRACE.0 && span.attributes.is_empty()));
    assert_eq!(spans(&waited)[0].span_id, whole.span_id, "the same each time");
    assert_eq!(spans(&Request { queue_ns: Some(0), ..request() }).len(), 1);
}

#[test]
fn the_peer_of_a_client_is_the_server() {
    let span = span(&Request { kind: Kind::Client, authority: Some("user:secret@[::1]:8080"), ..request() });
    assert_eq!(span.kind(), SpanKind::Client);
    assert_eq!(attribute(&span, "server.address").as_deref(), Some("::1"));
    assert_eq!(attribute(&span, "network.peer.port").as_deref(), Some("8080"));
}

#[test]
fn grpc_has_the_attributes_of_rpc() {
    let call = Request {
        protocol: Protocol::Grpc,
        method: Some("POST"),
        path: Some("/shop.Cart/Add"),
        route: Some("/shop.Cart/Add"),
        rpc_service: Some("shop.Cart"),
        rpc_method: Some("Add"),
        rpc_status: Some(14),
        rpc_message: Some("later"),
        span_status: SpanStatus::Error,
        ..request()
    };
    let span = span(&call);
    assert_eq!(span.name, "/shop.Cart/Add");
    assert_eq!(
        span.status.as_ref().map(|status| (status.code(), status.message.as_str())),
        Some((StatusCode::Error, "later"))
    );
    for (key, value) in [
        ("rpc.system", Some("grpc")),
        ("rpc.service", Some("shop.Cart")),
        ("rpc.method", Some("Add")),
        ("rpc.grpc.status_code", Some("14")),
        ("error.type", Some("UNAVAILABLE")),
        ("network.protocol.version", Some("2")),
        ("http.request.method", None),
        ("url.path", None),
    ] {
        assert_eq!(attribute(&span, key).as_deref(), value, "{key}");
    }
    // By the conventions, the fault of its client is no error of a gRPC server.
    let span =
        self::span(&Request { rpc_status: Some(5), error: true, span_status: SpanStatus::Unset, ..call });
    assert_eq!((span.status.clone(), attribute(&span, "error.type")), (None, None));
}

#[test]
fn an_error_has_a_type() {
    let failed = Request { status: Some(503), error: true, span_status: SpanStatus::Error, ..request() };
    let span = span(&failed);
    assert_eq!(span.status.as_ref().map(Status::code), Some(StatusCode::Error));
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("503"));
    let span = self::span(&Request { span_status: SpanStatus::Error, ..unanswered(EndReason::Closed) });
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("closed"));
}

#[test]
fn without_a_response_a_span_ends_when_nobody_waits_any_more() {
    for (reason, end) in [
        (EndReason::Closed, 1_009_000),
        (EndReason::Reset, 1_009_000),
        (EndReason::CaptureEnd, 1_009_000),
        (EndReason::Gap, 1_001_000),
    ] {
        let span = span(&unanswered(reason));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_001_000, end), "{reason:?}");
        assert_eq!(attribute(&span, "beyla.end_reason").as_deref(), Some(reason.name()));
        assert_eq!(attribute(&span, "http.response.status_code"), None);
    }
}

#[test]
fn a_request_without_ids_gets_some() {
    let bare = Request { trace_id: None, span_id: None, parent_id: None, ..request() };
    let one = span(&bare);
    assert!(one.trace_id.len() == 16 && one.span_id.len() == 8 && one.parent_span_id.is_empty());
    assert!(one.trace_id != [0; 16] && one.span_id != [0; 8]);
    assert_ne!(span(&Request { ordinal: 1, ..bare }).trace_id, one.trace_id);
}

#[test]
fn texts_from_the_network_are_bounded() {
    let long = "ä".repeat(10_000);
    let span = span(&Request {
        method: Some(&long),
        path: Some(&long),
        route: Some(&long),
        trace_state: Some(&long),
        ..request()
    });
    assert_eq!(span.name.len(), "HTTP ".len() + 1024);
    assert_eq!(span.trace_state, "");
    assert_eq!(attribute(&span, "url.path").map(|path| path.len()), Some(1024));
    assert_eq!(attribute(&span, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(&span, "http.request.method_original").map(|method| method.len()), Some(1024));
}

#[test]
fn it_is_full_by_spans_and_by_bytes() {
    let mut spans = Spans::new("vm".to_owned(), Clock { offset_ns: 0 });
    let waited = Request { queue_ns: Some(1), ..request() };
    while !spans.is_full() {
        spans.request(&waited);
    }
    assert_eq!(spans.len(), 510);
    spans.take();
    let long = "x".repeat(1024);
    let large = Request { path: Some(&long), query: Some(&long), user_agent: Some(&long), ..request() };
    while !spans.is_full() {
        spans.request(&large);
    }
    assert!((200..400).contains(&spans.len()), "{}", spans.len());
}

#[test]
fn json_has_hexadecimal_ids_and_long_numbers_as_texts() {
    let mut spans = Spans::new("vm".to_owned(), Clock { offset_ns: 1_000_000 });
    let failed = Request { span_status: SpanStatus::Error, queue_ns: Some(100), ..request() };
    spans.add(&failed, Some((TraceId([1; 16]), SpanId([2; 8]))));
    let line = spans.take_json().unwrap().unwrap();
    assert!(!line.contains(&b'\n') && spans.take_json().is_none());
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let group = &line["resourceSpans"][0];
    assert_eq!(group["resource"]["attributes"][0]["value"]["stringValue"], "shop");
    let [whole, wait, work] = [0, 1, 2].map(|index| &group["scopeSpans"][0]["spans"][index]);
    assert_eq!((&whole["traceId"], &work["spanId"]), (&"07".repeat(16).into(), &"08".repeat(8).into()));
    assert_eq!((&whole["kind"], &whole["status"]["code"]), (&2.into(), &2.into()));
    assert_eq!(
        (&whole["startTimeUnixNano"], &whole["endTimeUnixNano"]),
        (&"1000900".into(), &"1001500".into())
    );
    let other = serde_json::json!([{
        "traceId": "01".repeat(16),
        "spanId": "02".repeat(8),
        "attributes": [{ "key": "beyla.link", "value": { "stringValue": "other_side" } }],
    }]);
    assert_eq!(whole["links"], other);
    let fields = |span: &serde_json::Value| span.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let part = [
        "endTimeUnixNano",
        "kind",
        "name",
        "parentSpanId",
        "spanId",
        "startTimeUnixNano",
        "traceId",
        "traceState",
    ];
    let mut found = fields(wait);
    found.sort();
    assert_eq!(found, part, "what is not set is left out");
    let status = whole["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fact| fact["key"] == "http.response.status_code");
    assert_eq!(status.unwrap()["value"]["intValue"], "200");
}
