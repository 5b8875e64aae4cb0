//! Exports, read back: tables as SQL has them, spans, archives, and scripts that are run.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arrow::{ipc::reader::FileReader, json::LineDelimitedWriter, record_batch::RecordBatch};
use beyla_schema::event::{Body, Close, Direction, Endpoint, Open, Origin, Transport};
use common::{Capture, MS, analyze, run, shop, stdout};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::tempdir;

const ALL: [&str; 11] = [
    "parquet",
    "arrow",
    "csv",
    "ndjson",
    "otlp",
    "otlp-json",
    "har",
    "perfetto",
    "openmetrics",
    "curl",
    "k6",
];

/// Text in which a shell, JavaScript, HTML or a table would find something to do.
const HOSTILE_TARGET: &str =
    "/a'b\"c`touch pwned`$(touch pwned);touch pwned|&<b>\\n{1,2}[3]~/../%41?q=</script>'+\"&x=${HOME}";
const HOSTILE_AGENT: &str = "'; touch pwned; `touch pwned` $(touch pwned) \"</script> \\ =1+1,;";
const HOSTILE_METHOD: &str = "P'$`|T";

/// One request of each kind of hostility, and one of which the path is no UTF-8.
fn hostile(folder: &Path) {
    let mut capture = Capture::new(folder, "hostile.parquet");
    capture.process("shop");
    let first = format!(
        "{HOSTILE_METHOD} {HOSTILE_TARGET} HTTP/1.1\r\nHost: $(touch pwned)'\r\nUser-Agent: {HOSTILE_AGENT}\r\n\r\n"
    );
    let heads: [&[u8]; 3] = [
        first.as_bytes(),
        b"GET /\xff\xfe\xe2\x80\xae HTTP/1.1\r\nHost: shop\r\nUser-Agent: a\0b\xe2\x80\xae\r\n\r\n",
        b"GET /\xe2\x80\xa8 HTTP/1.1\r\nHost: shop\r\nUser-Agent: caf\xc3\xa9\r\nContent-Type: \x1b[2J\r\n\r\n",
    ];
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (connection, head) in (1..).zip(heads) {
        let at = connection * 10 * MS;
        capture.open(at, connection, Origin::Accept);
        capture.data(at, connection, Direction::Receive, 0, head);
        capture.data(at + MS, connection, Direction::Send, 0, response);
        let (received, sent) = (head.len() as u64, response.len() as u64);
        capture.event(at + MS, connection, Body::Close(Close { direction: None, received, sent }));
    }
    capture.end();
}

/// What a server saw: request lines, and all lines of the heads.
struct Seen {
    lines: Vec<String>,
    heads: Vec<Vec<String>>,
}

/// A server on loopback that answers so many connections, one request each.
fn serve(count: usize) -> (String, JoinHandle<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let serving = thread::spawn(move || {
        let mut seen = Seen { lines: Vec::new(), heads: Vec::new() };
        let deadline = Instant::now() + Duration::from_mins(1);
        while seen.lines.len() < count && Instant::now() < deadline {
            let Ok((mut stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            seen.lines.extend(head.first().cloned());
            seen.heads.push(head);
        }
        seen
    });
    (url, serving)
}

/// Whether a program is there that a test needs; says so if it is not.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no {program}");
    }
    found
}

fn export(folder: &Path, file: &str, format: &str, more: &[&str]) -> String {
    stdout(folder, &[&["export", file, "--to", format], more].concat())
}

fn sql(folder: &Path, file: &str, format: &str) -> String {
    stdout(folder, &[file, "--sql", "select * from requests", "--format", format])
}

fn lines(batches: &[RecordBatch]) -> Vec<Value> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    json_lines(&String::from_utf8(writer.into_inner()).unwrap())
}

fn json_lines(text: &str) -> Vec<Value> {
    let without_nulls = |mut value: Value| {
        value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        value
    };
    text.lines().map(|line| without_nulls(serde_json::from_str(line).unwrap())).collect()
}

#[test]
fn tables_are_those_of_sql() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    hostile(folder);
    for file in ["run.parquet", "hostile.parquet"] {
        for format in ["csv", "ndjson"] {
            assert!(export(folder, file, format, &[]) == sql(folder, file, format), "{file} {format}");
        }
    }

    let expected = json_lines(&sql(folder, "run.parquet", "ndjson"));
    export(folder, "run.parquet", "arrow", &["-o", "requests.arrow"]);
    let reader = FileReader::try_new(File::open(folder.join("requests.arrow")).unwrap(), None).unwrap();
    assert_eq!(reader.schema().metadata()["beyla.table"], "requests");
    assert_eq!(lines(&reader.map(Result::unwrap).collect::<Vec<_>>()), expected);

    export(folder, "run.parquet", "parquet", &["-o", "requests.parquet"]);
    let file = File::open(folder.join("requests.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let inputs = pairs.iter().find(|pair| pair.key == "beyla.inputs").unwrap().value.clone().unwrap();
    let made: Value = serde_json::from_str(&inputs).unwrap();
    assert_eq!((&made[0]["file"], &made[0]["host"]), (&"run.parquet".into(), &"shop-1".into()));
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(lines(&batches), expected);
}

#[test]
fn an_export_of_nothing_is_what_its_readers_take() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    for format in ALL {
        let out = ["-o", "nothing", "--force", "--where", "status = 999"];
        export(folder, "run.parquet", format, &out);
        let written = fs::read(folder.join("nothing")).unwrap();
        let empty = ["ndjson", "otlp", "otlp-json"].contains(&format);
        assert!(written.is_empty() == empty, "{format}");
    }
    let har: Value =
        serde_json::from_str(&export(folder, "run.parquet", "har", &["--where", "status = 999"])).unwrap();
    assert_eq!(har["log"]["entries"], Value::Array(vec![]));
}

#[test]
fn selections_and_several_files_count() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "a.parquet");
    shop(folder, "b.parquet");
    let rows =
        stdout(folder, &["export", "a.parquet", "b.parquet", "--to", "ndjson", "--where", "status = 500"]);
    let files: Vec<_> = json_lines(&rows).iter().map(|row| row["file"].clone()).collect();
    assert_eq!(files, ["a.parquet", "b.parquet"]);
}

#[test]
fn metrics_are_those_of_the_option() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    assert_eq!(
        export(folder, "run.parquet", "openmetrics", &[]),
        stdout(folder, &["run.parquet", "--openmetrics"])
    );
}

#[test]
fn spans_are_framed_as_the_collector_does() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    let requests = json_lines(&sql(folder, "run.parquet", "ndjson"));

    let mut spans = Vec::new();
    for line in json_lines(&export(folder, "run.parquet", "otlp-json", &[])) {
        for resource in line["resourceSpans"].as_array().unwrap() {
            for scope in resource["scopeSpans"].as_array().unwrap() {
                spans.extend(scope["spans"].as_array().unwrap().clone());
            }
        }
    }
    assert_eq!(spans.len(), requests.len());
    for (span, request) in spans.iter().zip(&requests) {
        assert_eq!((&span["traceId"], &span["spanId"]), (&request["trace_id"], &request["span_id"]));
        assert_eq!(span["kind"], if request["kind"] == "server" { 2 } else { 3 });
        let ns = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        let took_ns = (ns("endTimeUnixNano") - ns("startTimeUnixNano")) as f64;
        assert_eq!(Some(took_ns / 1e6), request["duration_ms"].as_f64());
        assert_eq!(span.get("status").is_some(), request["error"] == true);
    }

    export(folder, "run.parquet", "otlp", &["-o", "spans"]);
    let bytes = fs::read(folder.join("spans")).unwrap();
    let mut rest = &bytes[..];
    let mut frames = 0;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        rest = &after[u32::from_be_bytes(*length) as usize..];
        frames += 1;
    }
    assert!(frames == 1 && rest.is_empty());
}

#[test]
fn both_ends_of_an_exchange_are_linked() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let mut capture = Capture::new(folder, "run.parquet");
    capture.process("shop");
    let [caller, answerer] =
        ["10.0.0.1:40000", "10.0.0.2:9000"].map(|address| Endpoint::Inet(address.parse().unwrap()));
    let mut open = |connection, origin, local, remote| {
        let open = Open { origin, transport: Transport::Tcp, local, remote };
        capture.event(0, connection, Body::Open(open));
    };
    open(1, Origin::Connect, caller, answerer);
    open(2, Origin::Accept, answerer, caller);
    let request = b"GET /stock HTTP/1.1\r\nHost: bank\r\n\r\n";
    let response = b"HTTP/1.1 204 X\r\n\r\n";
    capture.data(MS, 1, Direction::Send, 0, request);
    capture.data(2 * MS, 2, Direction::Receive, 0, request);
    capture.data(3 * MS, 2, Direction::Send, 0, response);
    capture.data(4 * MS, 1, Direction::Receive, 0, response);
    capture.end();

    let line: Value = serde_json::from_str(&export(folder, "run.parquet", "otlp-json", &[])).unwrap();
    let spans = &line["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let [server, client] = [&spans[0], &spans[1]];
    assert_eq!((&server["kind"], &client["kind"]), (&2.into(), &3.into()));
    assert_eq!(server.get("links"), None, "the other end was not there yet");
    assert_eq!(client["links"][0]["spanId"], server["spanId"]);
    assert_eq!(client["links"][0]["traceId"], server["traceId"]);
}

#[test]
fn an_archive_says_what_is_known_and_no_more() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    hostile(folder);
    let har: Value = serde_json::from_str(&export(folder, "run.parquet", "har", &[])).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    let requests = json_lines(&sql(folder, "run.parquet", "ndjson"));
    assert_eq!(entries.len(), requests.len());
    for (entry, request) in entries.iter().zip(&requests) {
        assert_eq!(entry["response"]["status"], request["status"]);
        assert_eq!(entry["_span_id"], request["span_id"]);
        assert_eq!(entry["time"].as_f64(), request["duration_ms"].as_f64());
        assert_eq!(entry["timings"]["blocked"], -1.0, "the queue was not observed");
    }
    let first = &entries[0];
    assert_eq!(first["request"]["url"], "http://shop/cart?id=1");
    assert_eq!(first["request"]["queryString"][0]["value"], "1");

    let har: Value = serde_json::from_str(&export(folder, "hostile.parquet", "har", &[])).unwrap();
    let request = &har["log"]["entries"][0]["request"];
    assert_eq!(
        (&request["method"], &request["headers"][1]["value"]),
        (&HOSTILE_METHOD.into(), &HOSTILE_AGENT.into())
    );
    let url = request["url"].as_str().unwrap();
    assert!(!url.contains(['"', '<', '`', ' ']), "{url}");
}

#[test]
fn the_shell_script_sends_what_was_recorded_and_nothing_else_happens() {
    if !has("curl") {
        return;
    }
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    hostile(folder);
    for (file, count) in [("run.parquet", 10), ("hostile.parquet", 3)] {
        let (url, server) = serve(count);
        let script = export(folder, file, "curl", &["--base-url", &url]);
        assert!(
            script.bytes().all(|byte| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic()),
            "{script}"
        );
        fs::write(folder.join("again.sh"), &script).unwrap();
        let ran = Command::new("sh").arg("again.sh").current_dir(folder).output().unwrap();
        let seen = server.join().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(!folder.join("pwned").exists(), "the script ran what a client sent");
        if file == "run.parquet" {
            let expected =
                json_lines(&sql(folder, file, "ndjson")).into_iter().filter(|row| row["kind"] == "server");
            let expected: Vec<_> = expected
                .map(|row| {
                    let query = row["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default();
                    format!(
                        "{} {}{query} HTTP/1.1",
                        row["method"].as_str().unwrap(),
                        row["path"].as_str().unwrap()
                    )
                })
                .collect();
            assert_eq!(seen.lines, expected);
        } else {
            assert_eq!(
                seen.lines[0],
                format!("{HOSTILE_METHOD} {} HTTP/1.1", HOSTILE_TARGET.replace(' ', "%20"))
            );
            assert!(seen.heads[0].contains(&format!("User-Agent: {HOSTILE_AGENT}")), "{:?}", seen.heads[0]);
            let ends = "%EF%BF%BD%EF%BF%BD%E2%80%AE";
            assert_eq!(seen.lines[1], format!("GET /{ends} HTTP/1.1"));
            assert!(seen.heads[1].iter().all(|line| !line.starts_with("User-Agent")), "{:?}", seen.heads[1]);
        }
    }
    let calls = export(folder, "run.parquet", "curl", &["--kind", "client"]);
    assert_eq!(calls.matches("\ncurl ").count(), 2);
    assert!(calls.contains("without its body of 3 bytes"), "{calls}");
}

/// Stand-ins for the modules of k6, in which time passes only while a script sleeps.
const STUBS: [(&str, &str); 7] = [
    ("package.json", r#"{"name":"k6","exports":{".":"./k6.mjs","./*":"./*.mjs"}}"#),
    ("k6.mjs", "export const sleep = (s) => { globalThis.now += s * 1000; };
                export const check = (response, checks) => { for (const name in checks) globalThis.checks.push(checks[name](response)); };"),
    ("data.mjs", "export class SharedArray { constructor(name, make) { return JSON.parse(JSON.stringify(make())); } }"),
    ("execution.mjs", "export default { scenario: { startTime: 0, iterationInTest: 0 } };"),
    ("http.mjs", "export default { request: (method, url, body, { headers, tags }) => {
                    globalThis.calls.push({ at: globalThis.now, method, url, headers, tags });
                    return { status: 200 }; } };"),
    ("metrics.mjs", "export class Trend { add(value) { globalThis.late.push(value); } }"),
    ("../../run.mjs", "
        Object.assign(globalThis, { __ENV: {}, now: 0, calls: [], checks: [], late: [] });
        Date.now = () => globalThis.now;
        const { default: exec } = await import('k6/execution');
        const { default: iteration, options } = await import('./again.mjs');
        const { iterations } = options.scenarios.recorded;
        for (exec.scenario.iterationInTest = 0; exec.scenario.iterationInTest < iterations; exec.scenario.iterationInTest++) iteration();
        console.log(JSON.stringify({ options, calls, checks, late }));"),
];

/// Runs the script for k6 of a file, and gives what it did.
fn play(folder: &Path, file: &str, more: &[&str]) -> Value {
    let modules = folder.join("node_modules/k6");
    fs::create_dir_all(&modules).unwrap();
    for (name, text) in STUBS {
        fs::write(modules.join(name), text).unwrap();
    }
    let script = export(folder, file, "k6", more);
    assert!(script.is_ascii() && !script.contains("</script>"), "{script}");
    fs::write(folder.join("again.mjs"), &script).unwrap();
    let node = |arguments: &[&str]| {
        let ran = Command::new("node").args(arguments).current_dir(folder).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    };
    node(&["--check", "again.mjs"]);
    serde_json::from_slice(&node(&["run.mjs"])).unwrap()
}

#[test]
fn the_script_for_k6_sends_requests_when_they_were_recorded() {
    if !has("node") {
        return;
    }
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    let did = play(folder, "run.parquet", &["--speed", "2", "--base-url", "http://here:1/"]);
    let calls = did["calls"].as_array().unwrap();
    let at: Vec<_> = calls.iter().map(|call| call["at"].as_f64().unwrap()).collect();
    assert_eq!(at, (0..10).map(|number| f64::from(number) * 50.0).collect::<Vec<_>>());
    assert_eq!(calls[0]["url"], "http://here:1/cart?id=1");
    let names: Vec<_> = calls.iter().map(|call| call["tags"]["name"].as_str().unwrap()).collect();
    assert_eq!(names[7..], ["/cart", "/pay", "/gone"]);
    let checks: Vec<_> = did["checks"].as_array().unwrap().iter().map(|held| held == true).collect();
    assert_eq!(
        checks,
        [true, true, true, true, true, true, true, true, false, false],
        "500 and 404 were recorded"
    );
    let scenario = &did["options"]["scenarios"]["recorded"];
    assert_eq!((&scenario["iterations"], &scenario["vus"]), (&10.into(), &10.into()));
    assert!(did["late"].as_array().unwrap().iter().all(|late| late == 0.0 || late == 0));
}

#[test]
fn hostile_text_is_data_for_k6() {
    if !has("node") {
        return;
    }
    let folder = tempdir().unwrap();
    let folder = folder.path();
    hostile(folder);
    let did = play(folder, "hostile.parquet", &[]);
    let call = &did["calls"][0];
    assert_eq!(call["method"], HOSTILE_METHOD);
    assert_eq!(call["url"], format!("http://10.0.0.1:8080{}", HOSTILE_TARGET.replace(' ', "%20")));
    assert_eq!(call["headers"]["User-Agent"], HOSTILE_AGENT);
    assert_eq!(did["calls"].as_array().unwrap().len(), 3);
}

#[test]
fn commands_of_the_documentation_run() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    let commands = include_str!("../../docs/export.md")
        .lines()
        .filter_map(|line| line.strip_prefix("    beyla-analyze "));
    let mut count = 0;
    for command in commands {
        // Words, and single quotes around some of them.
        let quoted = command.split('\'').enumerate();
        let words = quoted.flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![part],
        });
        stdout(folder, &words.collect::<Vec<_>>());
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn the_format_is_what_to_is_here_and_the_end_of_time_has_its_other_name() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    let all = export(folder, "run.parquet", "ndjson", &[]);
    assert_eq!(export(folder, "run.parquet", "ndjson", &["--until", "+1h"]), all);
    assert_eq!(export(folder, "run.parquet", "ndjson", &["--until", "+0s"]), "");
    let ran = run(folder, &["export", "run.parquet", "--to", "+10s"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("'--to <FORMAT>'"), "{}", ran.stderr);
    let help = stdout(folder, &["export", "--help"]);
    assert!(help.contains("--to <FORMAT>") && help.contains("--until <TIME>"), "{help}");
    assert!(!help.contains("--to <TIME>") && !help.contains("[alias: --until]"), "{help}");
    let help = stdout(folder, &["--help"]);
    assert!(help.contains("--to <TIME>") && help.contains("[alias: --until]"), "{help}");
    let manual = stdout(folder, &["--generate", "man"]);
    assert!(manual.contains("\\fB\\-\\-until\\fR"), "{manual}");
    let completions = stdout(folder, &["--generate", "complete-bash"]);
    assert!(completions.contains("--until"), "{completions}");
}

#[test]
fn files_are_not_replaced_unasked_and_options_must_fit() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "run.parquet");
    export(folder, "run.parquet", "csv", &["-o", "out.csv"]);
    let refused = |arguments: &[&str]| {
        let ran = run(folder, &[&["export", "run.parquet", "--to"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}");
        ran.stderr
    };
    assert!(refused(&["csv", "-o", "out.csv"]).contains("overwrite it with --force"));
    assert!(refused(&["csv", "-o", "no/out.csv"]).starts_with("beyla-analyze: no/out.csv: "));
    assert!(refused(&["har", "--kind", "client"]).contains("--kind and --base-url are for"));
    assert!(refused(&["curl", "--speed", "2"]).contains("--speed is for"));
    assert!(refused(&["k6", "--speed", "0"]).contains("no number above 0"));
    assert!(refused(&["curl", "--base-url", "localhost"]).contains("no URL like"));
    export(folder, "run.parquet", "ndjson", &["-o", "out.csv", "--force"]);
    assert!(fs::read_to_string(folder.join("out.csv")).unwrap().starts_with('{'));
    let left = fs::read_dir(folder).unwrap().count();
    assert_eq!(left, 2, "nothing is left beside the capture and the output");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    let mut capture = Capture::new(folder, "long.parquet");
    capture.process("shop");
    for number in 0..20_000 {
        capture.serve(
            number * MS,
            number + 1,
            "/a/long/enough/path/to/fill/every/buffer/on/the/way",
            200,
            1000,
        );
    }
    capture.end();
    for format in ALL {
        // The metrics are few, whatever the number of requests.
        if format == "openmetrics" {
            continue;
        }
        let mut child = analyze(folder)
            .args(["export", "long.parquet", "--to", format])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success() && ended.stderr.is_empty(), "{format}: {ended:?}");
    }
}
