//! SQL over captures: the tables, the formats, several statements, and what is wrong with a query.

mod common;

use common::{Capture, MS, run, run_with, shop, stdout};

#[test]
fn formats_show_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let query = "select path, status, start_time, duration_ms, query from requests where status >= 400 \
                 order by start_time";
    let show = |format: &str| stdout(folder.path(), &["run.parquet", "--sql", query, "--format", format]);
    assert_eq!(
        show("table"),
        "path     status  start_time                duration_ms  query\n\
         ───────  ──────  ────────────────────────  ───────────  ─────\n\
         /pay        500  2026-01-05T10:00:00.800Z         50.0  NULL\n\
         /gone       404  2026-01-05T10:00:00.900Z        0.456  NULL\n\
         /charge     402  2026-01-05T10:00:00.980Z         20.0  NULL\n"
    );
    assert_eq!(
        show("csv"),
        "path,status,start_time,duration_ms,query\n\
         /pay,500,2026-01-05T10:00:00.800Z,50.0,\n\
         /gone,404,2026-01-05T10:00:00.900Z,0.456,\n\
         /charge,402,2026-01-05T10:00:00.980Z,20.0,\n"
    );
    let ndjson = "{\"path\":\"/pay\",\"status\":500,\"start_time\":\"2026-01-05T10:00:00.800Z\",\"duration_ms\":50.0,\"query\":null}\n\
         {\"path\":\"/gone\",\"status\":404,\"start_time\":\"2026-01-05T10:00:00.900Z\",\"duration_ms\":0.456,\"query\":null}\n\
         {\"path\":\"/charge\",\"status\":402,\"start_time\":\"2026-01-05T10:00:00.980Z\",\"duration_ms\":20.0,\"query\":null}\n";
    assert_eq!(show("ndjson"), ndjson);
    assert_eq!(show("json"), format!("[\n{}\n]\n", ndjson.trim_end().replace('\n', ",\n")));
}

#[test]
fn every_column_comes_in_the_order_of_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let arguments = ["run.parquet", "--sql", "select * from requests", "--format", "ndjson"];
    let rows = stdout(folder.path(), &arguments);
    assert_eq!(rows.lines().count(), 12);
    let first = rows.lines().next().unwrap();
    let expected: Vec<_> = beyla_schema::arrow::requests::schema()
        .fields()
        .iter()
        .map(|field| first.find(&format!("\"{}\":", field.name())).unwrap_or_else(|| panic!("{field}")))
        .collect();
    assert!(expected.is_sorted(), "{first}");
    assert!(first.contains(r#""file":"run.parquet","host":"shop-1","service":"shop""#), "{first}");
    assert_eq!(stdout(folder.path(), &arguments), rows, "the same query gives the same bytes");
}

#[test]
fn an_empty_result_still_has_its_shape() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let show = |format: &str| {
        let query = "select path, status from requests where status = 999";
        stdout(folder.path(), &["run.parquet", "--sql", query, "--format", format])
    };
    assert_eq!(show("csv"), "path,status\n");
    assert_eq!(show("json"), "[]\n");
    assert_eq!(show("ndjson"), "");
    assert_eq!(show("table"), "path  status\n────  ──────\n");
}

#[test]
fn queries_come_from_stdin() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let queries = "-- a comment; with a semicolon\n\
                   select ';' as a;; set datafusion.execution.batch_size = 100;\n\
                   create view slow as select * from requests where duration_ms > 10;\n\
                   select count(*) as slow from slow";
    let ran = run_with(folder.path(), &["run.parquet", "--sql", "--format", "csv"], queries);
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "a\n;\nslow\n3\n", ""));
    let ran = run_with(folder.path(), &["run.parquet", "--sql"], "");
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "", ""));
}

#[test]
fn tables_describe_themselves() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let query = |query| stdout(folder.path(), &["run.parquet", "--sql", query, "--format", "csv"]);
    let tables = query("show tables");
    assert!(tables.contains("requests,BASE TABLE") && tables.contains("events,BASE TABLE"), "{tables}");
    assert!(query("describe requests").contains("duration_ms,Float64,YES"));
    assert!(query("describe events").contains("\npayload,Binary,YES"));
    let columns = "select column_name from information_schema.columns where table_name = 'requests' limit 2";
    assert_eq!(query(columns), "column_name\nfile\nhost\n");
}

#[test]
fn events_are_the_rows_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    shop(folder.path(), "with space * and 100%25.parquet");
    let query = |query| {
        let files = ["run.parquet", "with space * and 100%25.parquet"];
        stdout(folder.path(), &[files[0], files[1], "--sql", query, "--format", "csv"])
    };
    assert_eq!(
        query("select kind, count(*) as n from events group by kind order by kind"),
        "kind,n\nclose,24\ndata,48\nend,2\nloss,2\nopen,24\nprocess,2\n"
    );
    let longest = "select direction, length, cast(payload as varchar) as text, time from events \
                   where kind = 'data' and connection = 11 order by seq limit 1";
    assert_eq!(
        query(longest),
        "direction,length,text,time\n\
         send,59,\"POST /charge HTTP/1.1\r\nHost: bank\r\nContent-Length: 3\r\n\r\nabc\",2026-01-05T10:00:00.950Z\n"
    );
}

#[test]
fn limits_and_projections_reach_the_replay() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "long.parquet");
    for number in 0..20_000 {
        capture.serve(number * MS, number + 1, "/", 200, 1000);
    }
    capture.end();
    let query = |query| stdout(folder.path(), &["long.parquet", "--sql", query, "--format", "csv"]);
    assert_eq!(query("select count(*) as n, max(connection) as last from requests"), "n,last\n20000,20000\n");
    assert_eq!(query("select count(*) as n from requests"), "n\n20000\n");
    assert_eq!(query("select connection from requests limit 3"), "connection\n1\n2\n3\n");
    assert_eq!(query("select connection from requests limit 2 offset 9000"), "connection\n9001\n9002\n");
    assert_eq!(
        query("select connection, status from requests where connection > 12345 limit 1").lines().count(),
        2
    );
}

#[test]
fn exports_are_tables_under_their_names() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let export = ["export", "run.parquet", "--to", "parquet", "-o", "requests.parquet"];
    assert_eq!(run(folder.path(), &export).code, 0);
    let query = |table: &str| {
        let query =
            format!("select path, status, count(*) as n from {table} group by path, status order by path");
        stdout(folder.path(), &["run.parquet", "--sql", &query, "--format", "csv"])
    };
    let exported = query("'requests.parquet'");
    assert!(exported.lines().count() > 3, "{exported}");
    assert_eq!(exported, query("requests"));
}

#[test]
fn a_bad_query_is_one_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    for (query, reason) in [
        ("selec 1", "selec"),
        ("select nothing from requests", "nothing"),
        ("select * from nowhere", "nowhere"),
        ("select 'open", "Unterminated string literal"),
        ("select cast('x' as int)", "Cannot cast string 'x'"),
    ] {
        let ran = run(folder.path(), &["run.parquet", "--sql", query]);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{query}");
        assert!(ran.stderr.starts_with("beyla-analyze: ") && ran.stderr.contains(reason), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn tables_cannot_be_controlled_from_the_network() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let table = stdout(folder.path(), &["run.parquet", "--sql", "select chr(27) || '[2J' as a"]);
    assert_eq!(table, "a\n─────────\n\\u{1b}[2J\n");
}
