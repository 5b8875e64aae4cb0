//! The worked questions of docs/sql.md are answered as they say, of every fixture.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up fails")]

mod common;

use std::{fs, path::Path};

use common::{analyze, run_with, stdout};

/// A question of the document: its title, its query and the columns of the answer.
struct Question {
    title: String,
    query: String,
    columns: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn questions() -> Vec<Question> {
    let document = fs::read_to_string(root().join("docs/sql.md")).unwrap();
    let (_, section) = document.split_once("\n## Worked questions\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let question = |text: &str| {
        let (title, text) = text.split_once('\n').unwrap();
        let (_, text) = text.split_once("```sql\n").unwrap_or_else(|| panic!("{title} has no query"));
        let (query, text) = text.split_once("```\n").unwrap();
        let (_, text) = text.split_once("Answer: ").unwrap_or_else(|| panic!("{title} has no answer"));
        let columns = text.lines().next().unwrap().split('`').skip(1).step_by(2);
        Question {
            title: title.to_owned(),
            query: query.to_owned(),
            columns: columns.map(str::to_owned).collect(),
        }
    };
    section.split("\n### ").skip(1).map(question).collect()
}

fn fixtures() -> Vec<String> {
    let mut files = Vec::new();
    for folder in fs::read_dir(root().join("fixtures")).unwrap().flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "parquet") {
                files.push(file.path().display().to_string());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_question_has_an_answer_of_the_columns_it_says() {
    let questions = questions();
    assert_eq!(questions.len(), 20);
    let files = fixtures();
    for question in &questions {
        let arguments = ["--sql", &question.query, "--format", "csv"];
        let arguments: Vec<_> = files.iter().map(String::as_str).chain(arguments).collect();
        let answer = stdout(root(), &arguments);
        let mut lines = answer.lines();
        assert_eq!(lines.next(), Some(question.columns.join(",").as_str()), "{}", question.title);
        assert!(lines.next().is_some(), "{}: no fixture has anything to answer it with", question.title);
    }
}

#[test]
fn every_fixture_can_be_asked_every_question() {
    let queries: Vec<_> = questions().into_iter().map(|question| question.query).collect();
    let queries = queries.join("\n");
    for file in fixtures() {
        let ran = run_with(root(), &[&file, "--sql", "--format", "ndjson"], &queries);
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{file}");
    }
}

#[test]
fn every_other_query_of_the_document_runs() {
    let document = fs::read_to_string(root().join("docs/sql.md")).unwrap();
    let file = root().join("fixtures/nginx/nginx.parquet").display().to_string();
    let (before, _) = document.split_once("\n## Worked questions\n").unwrap();
    for query in before.split("```sql\n").skip(1).map(|text| text.split("```").next().unwrap()) {
        let output = analyze(root()).args([&file, "--sql", query]).output().unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
