//! Where the results of SQL go: binary formats, files, and the patterns that name captures.

mod common;

use std::{fs, fs::File};

use arrow::{ipc::reader::StreamReader, record_batch::RecordBatch};
use common::{run, run_with, shop, stdout};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const QUERY: &str =
    "select path, status, start_time, query from requests where status >= 400 order by start_time";

#[test]
fn tabs_and_markdown_show_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let show = |query: &str, format: &str| {
        stdout(folder.path(), &["run.parquet", "--sql", query, "--format", format])
    };
    assert_eq!(
        show(QUERY, "tsv").lines().take(2).collect::<Vec<_>>(),
        ["path\tstatus\tstart_time\tquery", "/pay\t500\t2026-01-05T10:00:00.800Z\t"]
    );
    assert_eq!(
        show("select path, status, 'a|<b>' as x from requests where status = 500", "markdown"),
        "| path | status | x |\n| --- | ---: | --- |\n| /pay | 500 | a\\|&lt;b&gt; |\n"
    );
    assert_eq!(show("select path from requests where status = 999", "markdown"), "| path |\n| --- |\n");
}

#[test]
fn parquet_and_arrow_are_read_by_their_libraries() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let write = |query: &str, format: &str, output: &str| {
        assert_eq!(
            stdout(folder.path(), &["run.parquet", "--sql", query, "--format", format, "-o", output]),
            ""
        );
        File::open(folder.path().join(output)).unwrap()
    };
    let rows = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let parquet = |file| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        reader.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let arrow = |file| StreamReader::try_new(file, None).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let (whole, nothing) = ("select * from requests", "select * from requests where status = 999");
    let requests = parquet(write(whole, "parquet", "requests.parquet"));
    assert_eq!(requests[0].schema().fields(), beyla_schema::arrow::requests::schema().fields());
    assert_eq!(rows(requests), 12);
    assert_eq!(rows(arrow(write(whole, "arrow", "requests.arrow"))), 12);
    assert_eq!(rows(parquet(write(nothing, "parquet", "none.parquet"))), 0);
    assert_eq!(rows(arrow(write(nothing, "arrow", "none.arrow"))), 0);
    assert_eq!(rows(arrow(write("select * from events", "arrow", "events.arrow"))), 51);
    let first = fs::read(folder.path().join("requests.parquet")).unwrap();
    write(whole, "parquet", "requests.parquet");
    assert_eq!(fs::read(folder.path().join("requests.parquet")).unwrap(), first, "the same bytes");
}

#[test]
fn a_file_holds_one_result_of_a_binary_format() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let ran =
        run(folder.path(), &["run.parquet", "--sql", "select 1; select 2", "--format", "parquet", "-o", "x"]);
    assert!(ran.code == 2 && ran.stderr.contains("one result"), "{}", ran.stderr);
    assert!(!folder.path().join("x").exists(), "what is not complete is not there");
}

#[test]
fn a_capture_is_not_overwritten_by_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = shop(folder.path(), "run.parquet");
    let before = fs::read(&path).unwrap();
    let ran = run(folder.path(), &["run.parquet", "--sql", "select 1", "-o", "./run.parquet"]);
    assert!(ran.code == 2 && ran.stderr.contains("one of the captures"), "{}", ran.stderr);
    assert_eq!(fs::read(&path).unwrap(), before);
    let ran = run_with(
        folder.path(),
        &["run.parquet", "--sql", "-o", "out.csv", "--format", "csv"],
        "select 1 as a",
    );
    assert_eq!((ran.code, &*ran.stdout), (0, ""));
    assert_eq!(fs::read_to_string(folder.path().join("out.csv")).unwrap(), "a\n1\n");
}

#[test]
fn a_table_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let query = "select 1 as a from requests a, requests b, requests c, requests d, requests e";
    let ran = run(folder.path(), &["run.parquet", "--sql", query]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout.lines().count(), 100_002);
    assert!(ran.stderr.contains("148832 more rows") && ran.stderr.contains("--format csv"), "{}", ran.stderr);
}

#[test]
fn patterns_name_captures_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.parquet", "a.parquet", "a[1].parquet", ".hidden.parquet"] {
        shop(folder.path(), name);
    }
    fs::create_dir(folder.path().join("folder.parquet")).unwrap();
    let files = |pattern: &str| {
        let query = "select distinct file from requests";
        stdout(folder.path(), &[pattern, "--sql", query, "--format", "csv"])
            .lines()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(files("?.parquet"), "a.parquet b.parquet");
    assert_eq!(files("*.parquet"), "a.parquet a[1].parquet b.parquet");
    assert_eq!(files("a[1].parquet"), "a[1].parquet", "a file of that name is meant");
    assert!(stdout(folder.path(), &["validate", "?.parquet"]).contains("b.parquet"));
    for (pattern, reason) in [("x*.parquet", "no such file"), ("a[.parquet", "a[.parquet: ")] {
        let ran = run(folder.path(), &[pattern]);
        assert!(ran.code == 2 && ran.stderr.contains(reason), "{}", ran.stderr);
    }
}
