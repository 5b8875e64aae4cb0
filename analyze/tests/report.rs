//! The report, metrics and trace lines of whole captures.

mod common;

use std::process::Stdio;

use beyla_schema::file::{Cost, ProgramCost};

use common::{Capture, MS, analyze, run, shop, stdout};

#[test]
fn the_report_tells_what_happened_and_how_complete_that_is() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let report = stdout(folder.path(), &["run.parquet"]);
    for expected in [
        "run.parquet\n  host        shop-1 (6.12.0, x86_64)\n",
        "  when        2026-01-05 10:00:00.000 to 10:00:01.000 UTC (1.00 s)\n  selected    port 8080\n",
        "  events      51 on 12 connections\n  requests    12\n  lost        0 (0.00%)\n",
        "  gaps        0 bytes not captured, 0 bytes not understood\n  ended       cleanly (signal)\n",
        "\nInbound\n  service     shop\n  requests    10 (10.0 per second)\n  errors      1 (10.00%)\n  duration    avg 8.65 ms   p50 4.00 ms",
        "\nOutbound\n  service     shop\n  requests    2 (2.00 per second)\n  errors      1 (50.00%)\n",
        "\n  by status",
        "\n  slowest by p95",
    ] {
        assert!(report.contains(expected), "{expected}\n---\n{report}");
    }
    assert!(!report.contains('\u{1b}') && !report.contains("by service"), "{report}");
    assert!(report.lines().all(|line| line.chars().count() <= 100 && !line.ends_with(' ')), "{report}");
    assert_eq!(stdout(folder.path(), &["run.parquet"]), report, "the same file gives the same report");
    let coloured = stdout(folder.path(), &["run.parquet", "--color", "always"]);
    assert!(coloured.contains("\u{1b}["), "{coloured}");
}

#[test]
fn tables_are_cut_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let report = stdout(folder.path(), &["run.parquet", "--top", "1"]);
    assert!(report.contains("\n  … 2 more routes, shown with --top 3\n"), "{report}");
    assert!(report.contains("\n  … 2 more statuses, shown with --top 3\n"), "{report}");
}

#[test]
fn the_json_report_has_the_same_content() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let json = stdout(folder.path(), &["run.parquet", "--format", "json"]);
    assert!(json.ends_with("}\n"));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "beyla-analyze/report/1");
    assert_eq!(report["complete"], true);
    assert_eq!(report["requests"], 12);
    assert_eq!(report["first_time"], "2026-01-05T10:00:00.000000000Z");
    let file = &report["files"][0];
    assert_eq!((&file["file"], &file["host"]), (&"run.parquet".into(), &"shop-1".into()));
    assert_eq!((&file["lost"], &file["end"]), (&0.into(), &"signal".into()));
    assert_eq!(file["losses"]["ring_full"], 0);
    assert_eq!(report["inbound"]["total"]["errors"], 1);
    assert_eq!(report["inbound"]["by_route"].as_array().unwrap().len(), 3);
    assert_eq!(report["outbound"]["total"]["max_ms"], 20.0);
}

#[test]
fn an_empty_capture_has_no_requests() {
    let folder = tempfile::tempdir().unwrap();
    Capture::new(folder.path(), "empty.parquet").end();
    Capture::new(folder.path(), "nothing.parquet").cut();
    let report = stdout(folder.path(), &["empty.parquet"]);
    assert!(report.ends_with("  ended       cleanly (signal)\n\nno requests\n"), "{report}");
    let report = stdout(folder.path(), &["nothing.parquet"]);
    assert!(report.contains("no events") && report.ends_with("\nno requests\n"), "{report}");
    let json = run(folder.path(), &["empty.parquet", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &report["inbound"]), (0, &serde_json::Value::Null));
    assert_eq!(stdout(folder.path(), &["empty.parquet", "--traces"]), "");
}

#[test]
fn losses_and_a_missing_end_are_told_and_strict_fails_on_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    shop(path, "good.parquet");
    let mut capture = Capture::new(path, "lossy.parquet");
    capture.serve(0, 1, "/", 200, MS);
    capture.loss("ring_full", 1);
    capture.loss("ring_full", 3);
    capture.end();
    let mut capture = Capture::new(path, "killed.parquet");
    capture.serve(0, 1, "/", 200, MS);
    capture.cut();

    let lossy = stdout(path, &["lossy.parquet"]);
    assert!(lossy.contains("  lost        3 (30.00%): ring_full 3\n"), "{lossy}");
    assert!(lossy.contains("raise --ring-size"), "{lossy}");
    let killed = stdout(path, &["killed.parquet"]);
    assert!(killed.contains("  ended       not cleanly"), "{killed}");

    assert_eq!(run(path, &["good.parquet", "--strict"]).code, 0);
    for mode in [&["--prometheus"][..], &["--traces"], &["--sql", "select 1"], &["--format", "json"], &[]] {
        for (file, reason) in
            [("lossy.parquet", "3 events were lost"), ("killed.parquet", "did not end cleanly")]
        {
            let ran = run(path, &[&[file, "good.parquet", "--strict"], mode].concat());
            assert_eq!(ran.code, 3, "{mode:?} {ran:?}");
            assert!(ran.stderr.starts_with(&format!("beyla-analyze: {file}: ")), "{ran:?}");
            assert!(ran.stderr.contains(reason), "{ran:?}");
        }
    }
    let ran = run(path, &["killed.parquet", "--prometheus"]);
    assert!(ran.code == 0 && ran.stderr.contains("did not end cleanly"), "{ran:?}");
}

#[test]
fn several_files_are_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    shop(path, "a.parquet");
    let mut other = Capture::new(path, "b.parquet").host("shop-2");
    other.process("desk");
    // The same connection id as in the other file: nothing to do with it.
    other.serve(500 * MS, 1, "/cart", 200, MS);
    other.end();
    let report = stdout(path, &["b.parquet", "a.parquet"]);
    assert!(report.starts_with("b.parquet\n") && report.contains("\na.parquet\n"), "{report}");
    assert!(report.contains("\n  requests    11 (11.0 per second)\n"), "{report}");
    assert!(report.contains("\n  by service") && report.contains("\n  shop GET /cart"), "{report}");
    let query = "select file, host, service, count(*) as n from requests group by 1, 2, 3 order by 1";
    assert_eq!(
        stdout(path, &["b.parquet", "a.parquet", "--sql", query, "--format", "csv"]),
        "file,host,service,n\na.parquet,shop-1,shop,12\nb.parquet,shop-2,desk,1\n"
    );
    let metrics = stdout(path, &["b.parquet", "a.parquet", "--prometheus"]);
    assert!(metrics.contains(r#"instance="shop-1,shop-2""#), "{metrics}");
}

#[test]
fn metrics_have_the_names_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let otel = stdout(folder.path(), &["run.parquet", "--prometheus"]);
    assert!(otel.contains("http_server_request_duration_seconds_count{"), "{otel}");
    assert!(otel.contains(r#"instance="shop-1""#) && otel.ends_with('\n'), "{otel}");
    let old = stdout(folder.path(), &["run.parquet", "--prometheus", "--metric-names", "beyla-2023"]);
    assert!(old.contains("http_server_duration_seconds_count{"), "{old}");
}

#[test]
fn openmetrics_has_exemplars_with_their_time() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let metrics = stdout(folder.path(), &["run.parquet", "--openmetrics", "--metric-names", "beyla-2023"]);
    let labels =
        r#"http_method="POST",http_status_code="200",instance="shop-1",job="shop",service_name="shop""#;
    let bucket = format!("http_client_duration_seconds_bucket{{{labels},le=\"0.025\"}} 1 # {{trace_id=\"");
    let line = metrics.lines().find(|line| line.starts_with(&bucket)).unwrap_or_else(|| panic!("{metrics}"));
    assert!(line.ends_with("\"} 0.02 1767607200.970"), "{line}");
    assert!(metrics.ends_with("\n# EOF\n"), "{metrics}");
}

#[test]
fn a_backfill_has_every_file_in_wall_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    shop(path, "a.parquet");
    let mut other = Capture::new(path, "b.parquet").host("shop-2");
    other.process("desk");
    other.serve(1700 * MS, 1, "/cart", 200, MS);
    other.end();
    let backfill = |files: &[&str]| {
        let options = ["--prometheus", "--metric-names", "beyla-2023", "--step", "500ms"];
        stdout(path, &[files, &options].concat())
    };
    let text = backfill(&["b.parquet", "a.parquet"]);
    assert_eq!(text, backfill(&["a.parquet", "b.parquet"]));
    let samples = |service: &str| -> Vec<&str> {
        let labels = format!(
            "http_server_duration_seconds_count{{http_method=\"GET\",http_status_code=\"200\",\
             instance=\"shop-1,shop-2\",job=\"{service}\",service_name=\"{service}\"}}"
        );
        text.lines().filter_map(|line| line.strip_prefix(&labels)).collect()
    };
    let times = ["1767607200", "1767607200.500", "1767607201", "1767607201.500", "1767607202"];
    let at = |counts: [u64; 5]| {
        counts.iter().zip(times).map(|(count, at)| format!(" {count} {at}")).collect::<Vec<_>>()
    };
    assert_eq!(samples("shop"), at([0, 5, 8, 8, 8]));
    assert_eq!(samples("desk"), at([0, 0, 0, 0, 1]));
    assert!(text.ends_with(" 1 1767607202\n# EOF\n"), "{text}");
}

#[test]
fn a_step_that_is_too_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "days.parquet");
    capture.process("shop");
    capture.serve(0, 1, "/", 200, MS);
    capture.serve(30 * 86_400_000 * MS, 2, "/", 200, MS);
    capture.end();
    let ran = run(folder.path(), &["days.parquet", "--prometheus", "--step", "1s"]);
    assert_eq!((ran.code, &*ran.stdout), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("beyla-analyze: --step 1s: there would be "), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("more than 10000000; --step 15s would do\n"), "{}", ran.stderr);
}

#[test]
fn trace_lines_are_in_the_order_of_the_requests() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let traces = stdout(folder.path(), &["run.parquet", "--traces"]);
    let lines: Vec<_> = traces.lines().collect();
    assert_eq!(lines.len(), 12);
    assert!(lines[0].starts_with("2026-01-05 10:00:00 (1ms[1ms]) 200 GET /cart "), "{}", lines[0]);
    assert!(lines[11].contains(" 402 POST /charge "), "{}", lines[11]);
    assert_eq!(stdout(folder.path(), &["run.parquet", "--traces=counter"]), "Processed 12 requests\n");
}

#[test]
fn a_closed_pipe_is_a_clean_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "long.parquet");
    for number in 0..20_000 {
        capture.serve(number * MS, number + 1, "/some/path", 200, 1000);
    }
    capture.end();
    for mode in [
        &["--traces"][..],
        &["--sql", "select * from requests", "--format", "csv"],
        &["--sql", "select * from requests", "--format", "json"],
        &["--sql", "select * from requests"],
    ] {
        let mut child = analyze(folder.path())
            .arg("long.parquet")
            .args(mode)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{mode:?}");
    }
}

#[test]
fn the_report_tells_what_the_capture_itself_cost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let cost = Cost {
        programs: vec![ProgramCost { name: "sock_send_length".into(), runs: 10, run_ns: 4_000 }],
        measured_events: None,
        cpu_ns: 12_000,
        memory_bytes: 23_400_000,
        written_bytes: 1_200,
    };
    for (name, recovered) in [("run.parquet", false), ("recovered.parquet", true)] {
        let mut capture = Capture::new(path, name).describe(|metadata| {
            metadata.cost = cost.clone();
            metadata.recovered = recovered;
        });
        capture.serve(0, 1, "/", 200, MS);
        capture.seen(0);
        capture.end();
    }
    // What was known at its beginning says nothing.
    assert!(!stdout(path, &["recovered.parquet"]).contains("  cost "));
    let report = stdout(path, &["run.parquet"]);
    let expected =
        "3.00 µs of CPU per event, kernel programs 400 ns per run, 23.4 MB of memory, 1.20 kB written";
    assert!(report.contains(&format!("\n  cost        {expected}\n")), "{report}");
    assert!(report.contains("\n  lost        0 (0.00%) of 4 seen\n"), "{report}");
    let report: serde_json::Value =
        serde_json::from_str(&stdout(path, &["run.parquet", "--format", "json"])).unwrap();
    let file = &report["files"][0];
    assert_eq!((&file["seen"], &file["cost"]["cpu_ns_per_event"]), (&4.into(), &3000.0.into()));
    assert_eq!(file["cost"]["programs"][0]["ns_per_run"], 400.0);
}

#[test]
fn a_report_can_be_about_some_requests() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let requests = |options: &[&str]| {
        let json = stdout(folder.path(), &[&["run.parquet", "--format", "json"], options].concat());
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        report["requests"].as_u64().unwrap()
    };
    assert_eq!(requests(&[]), 12);
    assert_eq!(requests(&["--from", "+850ms"]), 3);
    assert_eq!(requests(&["--from", "2026-01-05T10:00:00.85Z", "--to", "+960ms"]), 2);
    assert_eq!(requests(&["--service", "other"]), 0);
    assert_eq!(requests(&["--only-route", "/pay", "--only-route", "/gone", "--service", "shop"]), 2);
    assert_eq!(requests(&["--where", "status >= 400 and kind = 'server'"]), 2);
    assert_eq!(requests(&["--where", "status >= 400", "--to", "+810ms"]), 1);
    assert_eq!(requests(&["--where", "status >= 400", "--until", "+810ms"]), 1);
    assert_eq!(requests(&["--where", "query = 'id=1' or file <> 'run.parquet'"]), 8);
    assert_eq!(requests(&["--where", "true"]), 12);
    let fails = |predicate: &str, reason: &str| {
        let ran = run(folder.path(), &["run.parquet", "--where", predicate]);
        assert_eq!(ran.code, 2, "{predicate}");
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    };
    fails("nowhere = 1", "nowhere");
    fails("status + 1", "neither true nor false");
    fails("status >", "Expected: an expression");
    let ran = run(folder.path(), &["run.parquet", "--from", "noon"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("+30s"), "{}", ran.stderr);
}

#[test]
fn the_demo_needs_no_file_and_goes_with_everything() {
    let folder = tempfile::tempdir().unwrap();
    let report = stdout(folder.path(), &["--demo"]);
    assert!(report.starts_with("(demo)\n"), "{report}");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/nginx-proxy/report.txt");
    let kept = std::fs::read_to_string(fixture).unwrap();
    assert_eq!(report.split_once('\n').unwrap().1, kept.split_once('\n').unwrap().1);
    let count = |table: &str| {
        let query = format!("select count(*) as n from {table}");
        stdout(folder.path(), &["--demo", "--sql", &query, "--format", "csv"])
    };
    assert_eq!((count("requests"), count("events")), ("n\n225\n".to_owned(), "n\n542\n".to_owned()));
    assert_eq!(run(folder.path(), &["--demo", "run.parquet"]).code, 2);
}
