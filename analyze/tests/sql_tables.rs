//! The tables beside `requests`, the views, our functions, and the filters that are applied before rows are made.

mod common;

use beyla_schema::event::{Body, Close, Direction, Origin};
use common::{Capture, MS, shop, stdout};

/// The answer to a query of `file` as CSV.
fn ask(folder: &std::path::Path, file: &str, query: &str) -> String {
    stdout(folder, &[file, "--sql", query, "--format", "csv"])
}

#[test]
fn a_connection_is_one_row_of_what_its_events_add_up_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    capture.process("shop");
    capture.open(MS, 1, Origin::Accept);
    capture.data(2 * MS, 1, Direction::Receive, 0, b"0123456789");
    // Five bytes before this call were lost.
    capture.data(3 * MS, 1, Direction::Receive, 15, b"01234");
    capture.data(4 * MS, 1, Direction::Send, 0, b"ok");
    let close = |direction| Body::Close(Close { direction, received: 20, sent: 2 });
    capture.event(5 * MS, 1, close(Some(Direction::Receive)));
    capture.event(6 * MS, 1, close(None));
    capture.open(7 * MS, 2, Origin::Found);
    capture.end();
    let query = "select connection, service, pid, origin, local_port, remote_address, duration_ms, finished_by, \
                 received_bytes, sent_bytes, receive_calls, send_calls, captured_bytes, missing_bytes \
                 from connections";
    assert_eq!(
        ask(folder.path(), "run.parquet", query).lines().skip(1).collect::<Vec<_>>(),
        ["1,shop,17,accept,8080,10.0.0.2,5.0,remote,20,2,2,1,17,5", "2,,,found,8080,10.0.0.2,,,,,0,0,,0",]
    );
    let times = "select opened is null as unknown, closed, first_event from connections where connection = 2";
    assert_eq!(
        ask(folder.path(), "run.parquet", times),
        "unknown,closed,first_event\ntrue,,2026-01-05T10:00:00.007Z\n"
    );
}

#[test]
fn what_is_told_of_a_connection_after_its_end_belongs_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    capture.open(MS, 1, Origin::Accept);
    capture.event(2 * MS, 1, Body::Close(Close { direction: None, received: 0, sent: 0 }));
    capture.data(3 * MS, 1, Direction::Receive, 0, b"late");
    capture.end();
    let query = "select received_bytes, closed from connections";
    assert_eq!(
        ask(folder.path(), "run.parquet", query),
        "received_bytes,closed\n4,2026-01-05T10:00:00.002Z\n"
    );
}

#[test]
fn a_connection_over_two_parts_is_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "1.parquet");
    capture.open(MS, 1, Origin::Accept);
    capture.data(2 * MS, 1, Direction::Receive, 0, b"01234");
    let mut capture = capture.rotate("2.parquet");
    capture.carry_open(1, Origin::Accept);
    capture.data(4 * MS, 1, Direction::Receive, 5, b"56789");
    capture.event(5 * MS, 1, Body::Close(Close { direction: None, received: 10, sent: 0 }));
    capture.end();
    let query = "select file, received_bytes, receive_calls, missing_bytes, duration_ms from connections";
    let both = stdout(folder.path(), &["2.parquet", "1.parquet", "--sql", query, "--format", "csv"]);
    assert_eq!(both.lines().nth(1), Some("2.parquet,10,2,0,4.0"));
    // Alone, the second part does not tell when it was opened.
    assert_eq!(ask(folder.path(), "2.parquet", query).lines().nth(1), Some("2.parquet,10,1,0,"));
}

#[test]
fn losses_are_told_with_their_increase() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "1.parquet");
    capture.loss("ring_full", 0);
    capture.loss("ring_full", 5);
    capture.loss("payload_fault", 2);
    capture.loss("ring_full", 9);
    let mut capture = capture.rotate("2.parquet");
    capture.add(0, true, Body::Loss(beyla_schema::event::Loss { cause: "ring_full", count: 9 }));
    capture.loss("ring_full", 10);
    capture.end();
    let query = "select file, cause, count, increase, loses_events from losses";
    let both = stdout(folder.path(), &["1.parquet", "2.parquet", "--sql", query, "--format", "csv"]);
    let rows = [
        "1.parquet,ring_full,0,0,true",
        "1.parquet,ring_full,5,5,true",
        "1.parquet,payload_fault,2,2,false",
        "1.parquet,ring_full,9,4,true",
        "2.parquet,ring_full,10,1,true",
    ];
    assert_eq!(both.lines().skip(1).collect::<Vec<_>>(), rows);
    assert_eq!(ask(folder.path(), "2.parquet", query).lines().nth(1), Some(rows[4]));
}

#[test]
fn processes_and_events_know_their_file() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "a.parquet");
    shop(folder.path(), "b.parquet");
    let ask = |query| stdout(folder.path(), &["a.parquet", "b.parquet", "--sql", query, "--format", "csv"]);
    assert_eq!(
        ask("select file, host, pid, service, executable from processes"),
        "file,host,pid,service,executable\n\
         a.parquet,shop-1,17,shop,/usr/bin/shop\nb.parquet,shop-1,17,shop,/usr/bin/shop\n"
    );
    assert_eq!(
        ask(
            "select file, host, count(*) as n from events where file <> 'a.parquet' and kind = 'data' group by file, host"
        ),
        "file,host,n\nb.parquet,shop-1,24\n"
    );
}

#[test]
fn filters_say_the_same_before_rows_are_made_as_after() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    for (filter, shown, rows) in [
        ("status >= 400", "status >= 400", 3),
        ("kind = 'server' and status <> 200", "kind = server, status != 200", 2),
        ("duration_ms between 20 and 50", "duration_ms >= 20", 3),
        ("method in ('POST', 'PUT', 'PATCH', 'HEAD')", "method IN", 2),
        ("error", "error", 2),
        ("not error", "NOT error", 10),
        ("query is not null", "query IS NOT NULL", 8),
        ("end_time is null", "end_time IS NULL", 0),
        ("start_time >= '2026-01-05T10:00:00.9Z'", "start_time >=", 3),
        ("path = '/pay' or status = 404", "path = /pay OR status = 404", 2),
    ] {
        let count = |filter: &str| {
            ask(folder.path(), "run.parquet", &format!("select count(*) from requests where {filter}"))
        };
        assert_eq!(count(filter), format!("count(*)\n{rows}\n"), "{filter}");
        // A table that is made of all rows first knows nothing of filters.
        let query = format!(
            "create table copied as select * from requests; select count(*) from copied where {filter}"
        );
        assert_eq!(ask(folder.path(), "run.parquet", &query), count(filter), "{filter}");
        let plan = format!("explain select path from requests where {filter}");
        let plan = stdout(folder.path(), &["run.parquet", "--sql", &plan]);
        let scan = plan.lines().find(|line| line.contains("RequestsScan")).unwrap();
        assert!(scan.contains(shown) && !plan.contains("FilterExec"), "{filter}: {plan}");
    }
}

#[test]
fn plans_say_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let plan = |query: &str| stdout(folder.path(), &["run.parquet", "--sql", &format!("explain {query}")]);
    let count = plan("select count(*) from requests");
    assert!(count.contains("RequestsScan: columns=[], filters=[], files=1"), "{count}");
    let limited = plan("select path from requests where status = 200 limit 3");
    assert!(limited.contains("columns=[path], filters=[status = 200], files=1, limit=3"), "{limited}");
    for table in ["events", "connections", "losses", "processes"] {
        let plan = plan(&format!("select * from {table}"));
        assert!(!plan.contains("RequestsScan"), "{plan}");
    }
}

#[test]
fn quantiles_are_those_of_the_report() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let report: serde_json::Value =
        serde_json::from_str(&stdout(folder.path(), &["run.parquet", "--format", "json"])).unwrap();
    let total = &report["inbound"]["total"];
    let query = "select p50(duration_ms) as p50_ms, p90(duration_ms) as p90_ms, p95(duration_ms) as p95_ms, \
                 p99(duration_ms) as p99_ms, quantile(duration_ms, 1) as max_ms \
                 from requests where kind = 'server'";
    let row: serde_json::Value =
        serde_json::from_str(&stdout(folder.path(), &["run.parquet", "--sql", query, "--format", "ndjson"]))
            .unwrap();
    for (name, value) in row.as_object().unwrap() {
        assert!(value.is_f64(), "{name}");
        assert_eq!(value, &total[name], "{name}");
    }
    let none =
        "select p99(duration_ms) as p99, quantile(queue_ms, 0.5) as q from requests where status = 999";
    assert_eq!(ask(folder.path(), "run.parquet", none), "p99,q\n,\n");
    let first = "select p50(response_bytes) over (partition by kind) as p from requests where kind = 'server' limit 1";
    assert_eq!(ask(folder.path(), "run.parquet", first), "p\n2.0\n");
}

#[test]
fn functions_answer_what_people_ask() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let one = |expression: &str| {
        let answer = ask(folder.path(), "run.parquet", &format!("select {expression} as a"));
        answer.lines().nth(1).unwrap_or_default().to_owned()
    };
    for (expression, answer) in [
        ("route('/users/123/cart')", "/users/*/cart"),
        ("route('/users/123/cart', 'path')", "/users/123/cart"),
        ("route('/users/123/cart', 'wildcard')", "/**"),
        ("route('/users/123/cart', 'unset') is null", "true"),
        ("time_bucket('1h', timestamp '2026-01-05T10:34:56Z')", "2026-01-05T10:00:00"),
        ("time_bucket(interval '15 minutes', timestamp '2026-01-05T10:34:56Z')", "2026-01-05T10:30:00"),
        ("time_bucket('10s', '1969-12-31T23:59:59Z')", "1969-12-31T23:59:50Z"),
        (r"body_text(x'47450d0aff5c')", r"GE\r\n\xff\\"),
        ("body_text(x'414243', 2)", "AB"),
        ("text(x'41')", "A"),
    ] {
        assert_eq!(one(expression), answer, "{expression}");
    }
    for (expression, reason) in [
        ("route('/', 'low-cardinality')", "depends on the paths before"),
        ("route('/', 'nothing')", "nothing"),
        ("time_bucket('10 parsecs', now())", "a width is like"),
        ("time_bucket('0s', now())", "more than nothing"),
        ("quantile(1, 2)", "from 0 to 1"),
    ] {
        let ran = common::run(folder.path(), &["run.parquet", "--sql", &format!("select {expression}")]);
        assert!(ran.code == 2 && ran.stderr.contains(reason), "{expression}: {}", ran.stderr);
    }
}

#[test]
fn concurrency_counts_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    capture.open(0, 1, Origin::Accept);
    capture.open(0, 2, Origin::Accept);
    let (request, response) = (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 X\r\n\r\n");
    capture.data(MS, 1, Direction::Receive, 0, request);
    capture.data(2 * MS, 2, Direction::Receive, 0, request);
    capture.data(3 * MS, 1, Direction::Send, 0, response);
    // One ends and one begins at the same moment.
    capture.data(4 * MS, 1, Direction::Receive, request.len() as u64, request);
    capture.data(4 * MS, 2, Direction::Send, 0, response);
    capture.data(5 * MS, 1, Direction::Send, response.len() as u64, response);
    capture.end();
    let query = "select step, in_flight from concurrency order by time, step";
    assert_eq!(ask(folder.path(), "run.parquet", query), "step,in_flight\n1,1\n1,2\n-1,1\n-1,0\n1,1\n-1,0\n");
}

#[test]
fn requests_have_the_names_of_opentelemetry() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let query = r#"select kind, name, status, round(duration * 1000) as ms, "service.name", "http.request.method", "http.route",
                   "http.response.status_code", "server.address", "server.port", "client.address", "error.type"
                   from otel_requests where "http.response.status_code" >= 400"#;
    assert_eq!(
        ask(folder.path(), "run.parquet", query).lines().skip(1).collect::<Vec<_>>(),
        [
            "SERVER,GET /pay,ERROR,50.0,shop,GET,/pay,500,shop,8080,10.0.0.2,500",
            "SERVER,GET /gone,UNSET,0.0,shop,GET,/gone,404,shop,8080,10.0.0.2,",
            "CLIENT,POST /charge,ERROR,20.0,shop,POST,/charge,402,bank,9000,10.0.0.1,402",
        ]
    );
}
