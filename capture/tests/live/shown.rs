//! What a capture shows while it runs, compared with what a replay of its file shows: in every test that reads one.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use beyla_engine::{
    Config, Engine, Sink,
    prometheus::{Exposition, Names},
    trace_line::{Form, Printer},
};
use beyla_schema::{
    file::{EventReader, Projection},
    request::Request,
};

/// Where a capture shows it.
pub(crate) struct Shown {
    traces: PathBuf,
    metrics: PathBuf,
}

/// What a replay makes of requests.
struct Replay {
    printer: Printer,
    lines: Vec<u8>,
    metrics: Exposition,
}

impl Sink for Replay {
    fn request(&mut self, request: &Request<'_>) {
        self.printer.write(&mut self.lines, request).unwrap();
        self.metrics.request(request);
    }
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
        let mut reader = EventReader::open_path(file, Projection::Pairing).unwrap();
        let metadata = reader.metadata();
        let mut replay = Replay {
            printer: Printer::new(Form::Line, metadata.clock()),
            lines: Vec::new(),
            metrics: Exposition::new(Names::Otel, metadata.host.name.clone()),
        };
        let mut engine = Engine::new(Config::default());
        while reader.next_batch(|event| engine.push(event, &mut replay)).unwrap().is_some() {}
        engine.finish(&mut replay);

        let metrics = fs::read_to_string(&self.metrics).unwrap();
        assert!(metrics.contains("beyla_capture_live_dropped_events_total 0\n"), "{metrics}");
        assert_eq!(fs::read_to_string(&self.traces).unwrap(), String::from_utf8(replay.lines).unwrap());
        let expected = replay.metrics.render();
        // What the capture says of itself comes after it.
        assert!(metrics.starts_with(&expected), "{metrics}\nis not\n{expected}");
    }
}
