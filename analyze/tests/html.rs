//! The page for browsers: what is in it. What browsers make of it is for `just check-html`, which has some captures
//! kept in the folder that `BEYLA_HTML` names.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{env, fs, path::Path};

use common::{Capture, MS, run, shop, stdout};
use serde_json::Value;

/// The data in a page.
fn data(page: &str) -> Value {
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

fn page(folder: &Path, arguments: &[&str]) -> String {
    stdout(folder, &[&["run.parquet", "--format", "html"], arguments].concat())
}

/// Keeps a capture for the checks in a browser.
fn keep(folder: &Path, name: &str) {
    if let Some(wanted) = env::var_os("BEYLA_HTML") {
        fs::create_dir_all(&wanted).unwrap();
        fs::copy(folder.join("run.parquet"), Path::new(&wanted).join(name)).unwrap();
    }
}

/// Sums of the cells of a side: requests, errors, requests with a duration.
fn sums(side: &Value) -> [u64; 3] {
    let mut sums = [0; 3];
    for group in side["groups"].as_array().unwrap() {
        for cell in group["cells"].as_array().unwrap() {
            sums[0] += cell[1].as_u64().unwrap();
            sums[1] += cell[2].as_u64().unwrap();
            let steps = cell[6].as_array().unwrap();
            sums[2] += steps.chunks(2).map(|pair| pair[1].as_u64().unwrap()).sum::<u64>();
        }
    }
    sums
}

#[test]
fn the_page_has_the_figures_of_the_report_and_as_many_requests_in_its_groups() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let data = data(&page(folder.path(), &[]));
    let json: Value =
        serde_json::from_str(&stdout(folder.path(), &["run.parquet", "--format", "json"])).unwrap();
    for side in ["inbound", "outbound"] {
        for table in ["by_service", "by_route", "by_status"] {
            assert_eq!(data["sides"][side][table]["rows"], json[side][table], "{side} {table}");
            assert_eq!(data["sides"][side][table]["left_out"], 0);
        }
        assert_eq!(data["sides"][side]["total"], json[side]["total"], "{side}");
    }
    assert_eq!(data["calls"], json["calls"]);
    assert_eq!(data["complete"], true);
    assert_eq!(sums(&data["sides"]["inbound"]), [10, 1, 10]);
    assert_eq!(sums(&data["sides"]["outbound"]), [2, 1, 2]);
}

#[test]
fn a_selection_of_requests_is_all_that_a_page_has() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let data = data(&page(folder.path(), &["--where", "status >= 500"]));
    assert_eq!(sums(&data["sides"]["inbound"]), [1, 1, 1]);
    assert_eq!(data["sides"]["outbound"], Value::Null);
}

#[test]
fn a_page_of_a_file_with_losses_says_so_and_so_does_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    capture.serve(0, 1, "/", 200, MS);
    capture.loss("ring_full", 7);
    capture.cut();
    let ran = run(folder.path(), &["run.parquet", "--format", "html"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("7 events were lost"), "{}", ran.stderr);
    let data = data(&ran.stdout);
    assert_eq!((&data["complete"], &data["files"][0]["lost"]), (&false.into(), &7.into()));
    let facts = data["files"][0]["facts"].to_string();
    assert!(facts.contains("ring_full 7") && facts.contains("not cleanly"), "{facts}");
}

#[test]
fn a_capture_without_requests_is_a_page_too() {
    let folder = tempfile::tempdir().unwrap();
    Capture::new(folder.path(), "run.parquet").end();
    let data = data(&page(folder.path(), &[]));
    assert_eq!((&data["requests"], &data["time"]), (&0.into(), &Value::Null));
}

#[test]
fn the_result_of_a_query_is_no_page() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let ran = run(folder.path(), &["run.parquet", "--sql", "select 1", "--format", "html"]);
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    assert!(ran.stderr.contains("table, csv, tsv, json, ndjson"), "{}", ran.stderr);
}

#[test]
fn more_names_than_a_page_can_have_are_counted_by_class_and_their_rows_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    for number in 0..600 {
        let status = if number % 10 == 0 { 503 } else { 200 };
        capture.serve(number * MS, number + 1, &format!("/{number}"), status, (number % 7 + 1) * 100_000);
    }
    capture.end();
    let data = data(&page(folder.path(), &["--unmatched", "path"]));
    assert_eq!(data["limits"]["unnamed"], 100);
    let side = &data["sides"]["inbound"];
    assert_eq!(sums(side), [600, 60, 600]);
    assert_eq!(side["by_route"]["rows"].as_array().unwrap().len(), 600);
    let nameless = side["groups"].as_array().unwrap().iter().filter(|group| group["name"].is_null());
    assert_eq!(nameless.map(|group| group["class"].to_string()).collect::<Vec<_>>(), ["\"5xx\"", "\"2xx\""]);
    keep(folder.path(), "many.parquet");
}

const HOSTILE: [&str; 7] = [
    "/<script>document.title='owned'</script>",
    "/</script><script>document.title='owned'</script>",
    "/\"onmouseover=\"document.title='owned'\"x=\"",
    "/<img/src=x/onerror=document.title='owned'>",
    "/&lt;b&gt;&amp;",
    "/\u{202e}gnp.exe\u{2028}end",
    "/{{scripts}}<!--",
];

#[test]
fn texts_of_the_network_are_data_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "run.parquet");
    capture.process("<b>shop</b>");
    for (number, path) in (0..).zip(HOSTILE) {
        capture.serve(number * 10 * MS, number + 1, path, 200, (number + 1) * MS);
    }
    capture.call(200 * MS, 99, HOSTILE[0], 503, MS);
    capture.end();
    let hostile = page(folder.path(), &["--unmatched", "path"]);
    let data = data(&hostile);
    let texts = data["texts"].to_string();
    for path in HOSTILE {
        assert!(texts.contains(&Value::from(path).to_string()), "{path} is not in {texts}");
    }

    let other = tempfile::tempdir().unwrap();
    shop(other.path(), "run.parquet");
    let harmless = page(other.path(), &[]);
    let shape =
        |page: &str| ["<script", "</script", "<b>", "<img", "<!--"].map(|tag| page.matches(tag).count());
    assert_eq!(shape(&hostile), shape(&harmless));

    keep(folder.path(), "hostile.parquet");
}
