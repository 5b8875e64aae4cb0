//! Route rules from options and files, in everything that is made of requests, and the report that compares them.

mod common;

use std::{fs, path::Path};

use common::{Capture, MS, run, stdout};

/// Thirty requests to users, two to a health check, one to something static.
fn users(folder: &Path) {
    let mut capture = Capture::new(folder, "run.parquet");
    capture.process("shop");
    for number in 0..30 {
        capture.serve(number * 10 * MS, number + 1, &format!("/users/{}", 100 + number % 15), 200, MS);
    }
    capture.serve(310 * MS, 40, "/healthz", 200, MS);
    capture.serve(320 * MS, 41, "/healthz", 503, MS);
    capture.serve(330 * MS, 42, "/static/css/site.css", 200, MS);
    capture.call(340 * MS, 43, "/users/7", 200, MS);
    capture.end();
}

/// The routes of the requests in a capture, with how many of them there are.
fn routes(folder: &Path, options: &[&str]) -> String {
    let query = "select route, count(*) from requests group by route order by route nulls first";
    let mut arguments = vec!["run.parquet", "--sql", query, "--format", "csv"];
    arguments.extend(options);
    let csv = stdout(folder, &arguments);
    csv.lines().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn options_make_the_routes_of_every_output() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    users(path);
    let healthz = "/healthz,2";
    let css = "/static/css/site.css,1";
    for (unmatched, expected) in [
        ("heuristic", format!("{healthz} {css} /users/*,31")),
        ("low-cardinality", format!("{healthz} {css} /users/*,31")),
        ("wildcard", "/**,34".to_owned()),
        ("unset", ",34".to_owned()),
    ] {
        assert_eq!(routes(path, &["--unmatched", unmatched]), expected);
    }
    assert!(routes(path, &["--unmatched", "path"]).contains("/users/100,2 /users/101,2"));

    let given = ["--route", "/users/{id}", "--route", "/static/*", "--unmatched", "wildcard"];
    assert_eq!(routes(path, &given), "/**,2 /static/*,1 /users/{id},31");
    let with = |mode: &[&str]| {
        let arguments: Vec<&str> = ["run.parquet"].iter().chain(mode).chain(&given).copied().collect();
        stdout(path, &arguments)
    };
    let report = with(&[]);
    assert!(report.contains("  GET /users/{id}") && !report.contains("/users/1"), "{report}");
    let metrics = with(&["--prometheus"]);
    assert!(
        metrics.contains(",http_route=\"/users/{id}\",") && metrics.contains(",http_route=\"/static/*\",")
    );
    assert!(!metrics.contains("/users/1") && !metrics.contains("/healthz"), "{metrics}");
    let lines = with(&["--traces"]);
    assert!(lines.contains(" 200 GET /users/100 "), "a trace line has the path: {lines}");
}

#[test]
fn metrics_of_2023_have_routes_where_rules_are_given() {
    let folder = tempfile::tempdir().unwrap();
    users(folder.path());
    let metrics = |options: &[&str]| {
        let mut arguments = vec!["run.parquet", "--prometheus", "--metric-names", "beyla-2023"];
        arguments.extend(options);
        stdout(folder.path(), &arguments)
    };
    assert!(!metrics(&[]).contains("http_route"));
    let given = metrics(&["--route", "/users/:id"]);
    assert!(
        given.contains("http_server_duration_seconds_count{http_method=\"GET\",http_route=\"/users/:id\",")
    );
    assert!(given.lines().all(|line| !line.starts_with("http_client") || !line.contains("http_route")));
}

#[test]
fn ignored_paths_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    users(path);
    let ignore = ["--route-ignore", "/healthz", "--route-ignore", "/static/*"];
    assert_eq!(routes(path, &[&ignore[..], &["--unmatched", "heuristic"]].concat()), "/users/*,31");
    let report = stdout(path, &[&["run.parquet"], &ignore[..]].concat());
    assert!(report.contains("  requests    34\n"), "the head tells of the file: {report}");
    assert!(report.contains("  requests    30 (") && report.contains("  errors      0 (0.00%)"), "{report}");

    for (mode, in_metrics, in_traces) in
        [("all", false, false), ("metrics", false, true), ("traces", true, false)]
    {
        let text = format!("routes:\n  ignored_patterns: [/healthz]\n  ignore_mode: {mode}\n");
        fs::write(path.join("rules.yml"), text).unwrap();
        let has = |mode: &[&str]| {
            let arguments = [&["run.parquet", "--config", "rules.yml"], mode].concat();
            stdout(path, &arguments).contains("healthz")
        };
        assert_eq!(has(&[]), in_metrics, "{mode}");
        assert_eq!(has(&["--prometheus"]), in_metrics, "{mode}");
        assert_eq!(has(&["--traces"]), in_traces, "{mode}");
        assert_eq!(has(&["--sql", "select path from requests"]), in_traces, "{mode}");
    }
}

#[test]
fn a_file_has_the_rules_and_options_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    users(path);
    let text = "routes:\n  patterns: ['/users/{id}', '/static/*']\n  unmatched: unset\n";
    fs::write(path.join("beyla.yml"), text).unwrap();
    let config = ["--config", "beyla.yml"];
    assert_eq!(routes(path, &config), ",2 /static/*,1 /users/{id},31");
    let more = ["--config", "beyla.yml", "--route", "/users/{name}", "--unmatched", "wildcard"];
    assert_eq!(routes(path, &more), "/**,2 /static/*,1 /users/{name},31");
    let text =
        "routes:\n  max_path_segment_cardinality: 20\n  unmatched: low-cardinality\n  wildcard_char: '#'\n";
    fs::write(path.join("beyla.yml"), text).unwrap();
    assert_eq!(routes(path, &config), "/healthz,2 /static/css/site.css,1 /users/#,31");
}

#[test]
fn what_is_wrong_with_rules_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    users(path);
    let fails = |options: &[&str], expected: &[&str]| {
        let ran = run(path, &[&["run.parquet"], options].concat());
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{options:?}: {}", ran.stderr);
        for part in expected {
            assert!(ran.stderr.contains(part), "{options:?}: {part} is not in {}", ran.stderr);
        }
    };
    fails(&["--route", "/a/*/b"], &["--route", "/a/*/b", "last segment"]);
    fails(&["--route-ignore", "/{a"], &["--route-ignore", "{a"]);
    fails(&["--unmatched", "all"], &["--unmatched", "heuristic, low-cardinality, path, wildcard, unset"]);
    fails(&["--config", "missing.yml"], &["missing.yml: "]);
    fails(&["--max-series", "3"], &["--prometheus"]);
    fails(&["--prometheus", "--max-series", "0"], &["--max-series"]);
    fs::write(path.join("bad.yml"), "routes:\n  patterns:\n    - /a\n    - /{b}c\n").unwrap();
    fails(&["--config", "bad.yml"], &["beyla-analyze: bad.yml:4: ", "\"{b}c\""]);
    fs::write(path.join("bad.yml"), "routes:\n  unmatched: some\n").unwrap();
    fails(&["--config", "bad.yml"], &["beyla-analyze: bad.yml:2: unmatched: \"some\""]);
    fs::write(path.join("bad.yml"), "routes: [\n").unwrap();
    fails(&["--config", "bad.yml"], &["beyla-analyze: bad.yml:"]);

    fs::write(path.join("other.yml"), "open_port: 8080\nroutes:\n  pattern: [/a]\n  unmatched: unset\n")
        .unwrap();
    let ran = run(path, &["run.parquet", "--traces", "--config", "other.yml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stderr, "beyla-analyze: other.yml: not used here: open_port, routes.pattern\n");
}

#[test]
fn series_are_capped() {
    let folder = tempfile::tempdir().unwrap();
    users(folder.path());
    let metrics = |most: &str| {
        let options = ["run.parquet", "--prometheus", "--unmatched", "path", "--max-series", most];
        stdout(folder.path(), &options)
    };
    let counts = |text: &str| text.matches("http_server_request_duration_seconds_count{").count();
    let text = metrics("5");
    assert_eq!(counts(&text), 5, "{text}");
    let overflow =
        "http_server_request_duration_seconds_count{instance=\"shop-1\",otel_metric_overflow=\"true\"} 25\n";
    assert!(text.contains(overflow), "four routes have two requests each: {text}");
    let text = metrics("2000");
    assert!(counts(&text) == 18 && !text.contains("overflow"), "{text}");
}

#[test]
fn rules_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    users(path);
    let text = stdout(path, &["routes", "run.parquet", "--top", "2"]);
    for expected in [
        "shop: 34 HTTP requests\n",
        "\n  path: 18 routes",
        "\n  … 16 more\n",
        "\n  heuristic: 3 routes",
        "\n  low-cardinality: 3 routes",
        "\n  wildcard: 1 route ",
        "  31   91.18%  /users/100  /users/101  /users/102\n",
    ] {
        assert!(text.contains(expected), "{expected}\n---\n{text}");
    }
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
    assert!(!text.contains("given"), "{text}");

    let options =
        ["routes", "run.parquet", "--route", "/users/{id}", "--unmatched", "unset", "--format", "json"];
    let report: serde_json::Value = serde_json::from_str(&stdout(path, &options)).unwrap();
    assert_eq!(report["schema"], "beyla-analyze/routes/1");
    assert_eq!(report["complete"], true);
    let service = &report["services"][0];
    assert_eq!((&service["service"], &service["requests"]), (&"shop".into(), &34.into()));
    let given = &service["rules"][4];
    assert_eq!(
        (&given["rule"], &given["routes"], &given["uncounted"]),
        (&"given".into(), &1.into(), &0.into())
    );
    assert_eq!(given["top"][0]["route"], "/users/{id}");
    assert_eq!(given["top"][1]["route"], serde_json::Value::Null);
    assert_eq!(given["top"][1]["requests"], 3);
    assert_eq!(given["top"][1]["examples"][0], "/healthz");

    let ignoring = stdout(path, &["routes", "run.parquet", "--route-ignore", "/users/*"]);
    assert!(ignoring.starts_with("shop: 3 HTTP requests\n"), "{ignoring}");
    Capture::new(path, "empty.parquet").end();
    assert_eq!(stdout(path, &["routes", "empty.parquet"]), "no HTTP requests\n");
    let ran = run(path, &["routes", "missing.parquet"]);
    assert!(ran.code == 2 && ran.stderr.contains("missing.parquet"), "{}", ran.stderr);
}
