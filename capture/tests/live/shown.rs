//! What a capture shows while it runs, compared with what `beyla-analyze` says of its file: in every test that reads one.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::capture::PROGRAM;

/// Where a capture shows it.
pub(crate) struct Shown {
    traces: PathBuf,
    metrics: PathBuf,
}

impl Shown {
    /// Has `command`, a capture, show trace lines and metrics, in `folder`.
    pub(crate) fn into(command: &mut Command, folder: &Path) -> Self {
        let shown = Self { traces: folder.join("traces.txt"), metrics: folder.join("metrics.prom") };
        command.stdout(Stdio::from(File::create(&shown.traces).unwrap()));
        command.args(["--print-traces", "--prometheus-textfile"]).arg(&shown.metrics);
        shown
    }

    /// The same bytes come from the file of the capture.
    pub(crate) fn assert_is_what_a_replay_shows(&self, file: &Path) {
        let metrics = fs::read_to_string(&self.metrics).unwrap();
        assert!(metrics.contains("beyla_capture_live_dropped_events_total 0\n"), "{metrics}");
        let traces = fs::read_to_string(&self.traces).unwrap();
        let replayed = analyze(file, &["--traces"]);
        let differs = traces.lines().zip(replayed.lines()).position(|(live, replayed)| live != replayed);
        assert_eq!(differs.map(|line| (traces.lines().nth(line), replayed.lines().nth(line))), None);
        assert_eq!(traces.len(), replayed.len());
        let replayed = analyze(file, &["--prometheus"]);
        // What the capture says of itself comes after it.
        assert!(metrics.starts_with(&replayed), "{metrics}\nis not\n{replayed}");
    }
}

/// What the analyzer says of a file: the program beside the one under test.
pub(crate) fn analyze(file: &Path, arguments: &[&str]) -> String {
    let program = Path::new(PROGRAM).with_file_name("beyla-analyze");
    let output = Command::new(&program).arg(file).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}: build it too", program.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
