//! Whatever the input is, the answer is one line that names it and says what is wrong, and the right status.

mod common;

use std::{fs, path::Path};

use beyla_schema::file::Version;
use common::{Capture, MS, Ran, analyze, run, shop, stdout};
use parquet::file::metadata::RowGroupMetaData;

fn assert_refused(ran: &Ran, file: &str, reason: &str) {
    assert_eq!((ran.code, &*ran.stdout), (2, ""), "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("beyla-analyze: {file}: ")), "{ran:?}");
    assert!(ran.stderr.contains(reason), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn files_that_cannot_be_read_are_refused_in_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let good = fs::read(shop(path, "good.parquet")).unwrap();
    fs::write(path.join("text.parquet"), "hello").unwrap();
    fs::write(path.join("empty.parquet"), "").unwrap();
    fs::write(path.join("cut.parquet"), &good[..good.len() / 2]).unwrap();
    foreign(&path.join("foreign.parquet"));
    Capture::new(path, "newer.parquet").version(Version { major: 99, minor: 0 }).end();
    for (file, reason) in [
        ("missing.parquet", "No such file"),
        ("text.parquet", "not a Parquet file"),
        ("empty.parquet", "not a Parquet file"),
        ("cut.parquet", "cut short"),
        ("foreign.parquet", "not one written by beyla-capture"),
        ("newer.parquet", "99.0"),
    ] {
        for mode in [&[][..], &["--format", "json"], &["--sql", "select 1"], &["--prometheus"], &["--traces"]]
        {
            assert_refused(&run(path, &[&["good.parquet", file], mode].concat()), file, reason);
        }
    }
}

/// A Parquet file of somebody else.
#[expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
fn foreign(path: &Path) {
    use arrow::{
        array::{Int32Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    };
    let schema = Schema::new(vec![Field::new("a", DataType::Int32, false)]);
    let batch =
        RecordBatch::try_new(schema.into(), vec![std::sync::Arc::new(Int32Array::from(vec![1]))]).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn the_good_part_of_a_damaged_file_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // Several row groups, the last of them overwritten.
    let mut capture = Capture::new(path, "damaged.parquet");
    for number in 0..70_000 {
        capture.serve(number * MS, number + 1, "/", 200, 1000);
    }
    let file = capture.end();
    let mut bytes = fs::read(&file).unwrap();
    let reader =
        parquet::file::serialized_reader::SerializedFileReader::new(fs::File::open(&file).unwrap()).unwrap();
    let groups = parquet::file::reader::FileReader::metadata(&reader).row_groups();
    assert!(groups.len() >= 3, "{}", groups.len());
    for column in groups[2].columns() {
        let (start, length) = column.byte_range();
        for byte in &mut bytes[start as usize..(start + length) as usize] {
            *byte ^= 0x5a;
        }
    }
    fs::write(&file, bytes).unwrap();
    let good: i64 = groups[..2].iter().map(RowGroupMetaData::num_rows).sum();

    let ran = run(path, &["damaged.parquet"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("\nInbound\n") && ran.stdout.contains("  ended       damaged: "), "{ran:?}");
    let warned = |ran: &Ran| {
        assert!(ran.stderr.starts_with("beyla-analyze: damaged.parquet: damaged: "), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("{good}")), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    };
    warned(&ran);

    let ran = run(path, &["damaged.parquet", "--traces"]);
    assert!(ran.code == 2 && ran.stdout.lines().count() > 60_000);
    warned(&ran);

    let count = "select count(*) > 60000 as many from requests";
    let ran = run(path, &["damaged.parquet", "--sql", count, "--format", "csv"]);
    assert_eq!((ran.code, &*ran.stdout), (2, "many\ntrue\n"), "{ran:?}");
    warned(&ran);

    // The engine's table shows what is good; the table of the files themselves has no such choice.
    let ran = run(path, &["damaged.parquet", "--sql", "select max(position), max(payload) from events"]);
    assert_eq!((ran.code, &*ran.stdout, ran.stderr.lines().count()), (2, "", 1), "{ran:?}");
    assert!(ran.stderr.starts_with("beyla-analyze: "), "{ran:?}");
}

#[test]
fn any_damaged_byte_ends_in_an_answer_or_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let file = shop(path, "run.parquet");
    let good = fs::read(&file).unwrap();
    let step = good.len() / 40;
    for position in (4..good.len() - 4).step_by(step) {
        let mut bytes = good.clone();
        bytes[position] ^= 0xff;
        fs::write(&file, bytes).unwrap();
        for mode in [&[][..], &["--sql", "select * from events", "--format", "csv"]] {
            let ran: Ran = analyze(path).arg("run.parquet").args(mode).output().unwrap().into();
            assert!(ran.code == 0 || ran.code == 2, "byte {position}: {ran:?}");
            assert!(!ran.stderr.contains("panicked"), "byte {position}: {ran:?}");
            assert!(ran.stderr.lines().count() <= 1, "byte {position}: {ran:?}");
        }
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    for arguments in [
        &[][..],
        &["run.parquet", "--nonsense"],
        &["run.parquet", "--format", "csv"],
        &["run.parquet", "--sql", "select 1", "--format", "text"],
        &["run.parquet", "--traces", "--format", "json"],
        &["run.parquet", "--traces", "--prometheus"],
        &["run.parquet", "--metric-names", "otel"],
        &["run.parquet", "--step", "15s"],
        &["run.parquet", "--prometheus", "--step", "0s"],
        &["run.parquet", "--prometheus", "--step", "1500us"],
        &["run.parquet", "--prometheus", "--openmetrics"],
        &["run.parquet", "--openmetrics", "--format", "text"],
        &["run.parquet", "--top", "many"],
    ] {
        let ran = run(folder.path(), arguments);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains("--help"), "{arguments:?} {ran:?}");
    }
}

#[test]
fn the_command_line_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    let run = |argument: &str| stdout(folder.path(), &[argument]);
    assert!(run("--help").contains("Examples:") && run("-h").contains("Examples:"));
    assert!(run("--version").starts_with("beyla-analyze 0."));
    for command in ["validate", "filter"] {
        assert!(run("--help").contains(&format!("\n  {command}  ")), "{command}");
        assert!(stdout(folder.path(), &[command, "--help"]).contains("Exit status:"), "{command}");
    }
    for (what, expected) in [
        ("man", ".TH beyla-analyze"),
        ("complete-bash", "complete -F _beyla__analyze"),
        ("complete-zsh", "#compdef beyla-analyze"),
        ("complete-fish", "complete -c beyla-analyze"),
    ] {
        let text = stdout(folder.path(), &["--generate", what]);
        assert!(text.contains(expected), "{what}:\n{text}");
        let plain = text.replace('\\', "");
        assert!(plain.contains("validate") && plain.contains("redact-header"), "{what}:\n{text}");
    }
}
