//! The prompt on a terminal: commands, several lines, and Ctrl-C that stops a query.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod common;

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use common::{Capture, MS, shop};

/// A prompt on a terminal that `script` makes.
struct Prompt {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    read: usize,
}

impl Prompt {
    /// Of `file` in `folder`. None where there is no `script`.
    fn open(folder: &Path, file: &str) -> Option<Self> {
        // The status that `script` itself ends with may be none at all when the terminal is closed before the command has
        // ended. Ctrl-C is for the prompt, not for the shell around it.
        let command = format!(
            "trap : INT; {} {file} --sql; echo \"left with $?.\"",
            env!("CARGO_BIN_EXE_beyla-analyze")
        );
        let child = Command::new("script")
            .args(["-qfc", &command, "/dev/null"])
            .current_dir(folder)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("XDG_STATE_HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no `script` to make a terminal");
            return None;
        };
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, copy) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                copy.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        let keys = child.stdin.take().unwrap();
        let mut prompt = Self { child, keys, shown, read: 0 };
        prompt.wait("sql> ");
        Some(prompt)
    }

    fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until `text` is shown, and returns what was shown before it.
    fn wait(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()[self.read..]).into_owned();
            if let Some(at) = shown.find(text) {
                self.read += at + text.len();
                return shown[..at].to_owned();
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{text:?} is not in {shown:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types a line, and returns what is shown until the next prompt.
    fn ask(&mut self, line: &str, until: &str) -> String {
        self.keys(&format!("{line}\n"));
        let shown = self.wait(until);
        self.wait("sql> ");
        shown
    }

    /// Leaves, which takes but a moment.
    fn leave(&mut self) {
        self.keys("\\q\n");
        let began = Instant::now();
        self.wait("left with 0.");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

impl Drop for Prompt {
    /// Without its terminal the prompt ends too.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_tell_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let Some(mut prompt) = Prompt::open(folder.path(), "run.parquet") else { return };
    prompt.ask("\\d", "otel_requests");
    assert!(prompt.ask("\\d connections", "missing_bytes").contains("received_bytes"));
    prompt.ask("\\dv", "processes");
    prompt.ask("\\df", "time_bucket(width, time)");
    prompt.ask("\\timing off", "timing: off");
    prompt.ask("\\nothing", "is no command");
    // A statement ends with its semicolon, lines later.
    prompt.keys("select count(*) as n\n");
    assert!(prompt.ask("from requests;", "1 row\r\n").contains("12"));
    prompt.ask("\\x on", "expanded rows: on");
    assert!(prompt.ask("select 7 as seven;", "1 row").contains("seven  7"));
    prompt.keys("\\o out.txt\n");
    prompt.wait("sql> ");
    prompt.ask("select 'written' as what;", "1 row");
    prompt.keys("\\o\n");
    prompt.wait("sql> ");
    let written = std::fs::read_to_string(folder.path().join("out.txt")).unwrap();
    assert!(written.contains("what  written"), "{written}");
    prompt.leave();
    let history = std::fs::read_to_string(folder.path().join("beyla-replay/sql_history")).unwrap();
    assert!(history.contains("select 7 as seven;"), "{history}");
}

#[test]
fn a_query_is_stopped_and_the_prompt_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(folder.path(), "long.parquet");
    for number in 0..5_000 {
        capture.serve(number * MS, number + 1, "/", 200, 1000);
    }
    capture.end();
    let Some(mut prompt) = Prompt::open(folder.path(), "long.parquet") else { return };
    for query in [
        // One that hands out no row before its end, and one that never waits.
        "select count(*) from requests a, requests b, requests c where a.ordinal + b.ordinal + c.ordinal >= 0;",
        "select max(a.value + b.value) from generate_series(1, 100000) a, generate_series(1, 1000000000) b;",
    ] {
        prompt.keys(&format!("{query}\n"));
        thread::sleep(Duration::from_millis(1500));
        let began = Instant::now();
        prompt.keys("\x03");
        prompt.wait("stopped");
        assert!(began.elapsed() < Duration::from_secs(10), "{query}: {:?}", began.elapsed());
        prompt.wait("sql> ");
    }
    assert!(prompt.ask("select 20 + 22 as answer;", "1 row").contains("42"));
    prompt.leave();
}

/// A batch of rows that takes hours is not waited for.
#[test]
fn leaving_does_not_wait_for_a_query_that_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), "run.parquet");
    let Some(mut prompt) = Prompt::open(folder.path(), "run.parquet") else { return };
    prompt.keys(
        "select sum(levenshtein(repeat('a', 20000), repeat(chr(cast(value % 60 + 40 as int)), 20000))) \
         from generate_series(1, 8000);\n",
    );
    thread::sleep(Duration::from_millis(1500));
    prompt.keys("\x03");
    prompt.wait("stopped");
    prompt.wait("sql> ");
    prompt.leave();
}
