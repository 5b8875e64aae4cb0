//! What is shown live is what a replay shows: every fixture, through the thread of the live side.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use beyla_engine::{
    Config, Engine, Sink,
    prometheus::{Exposition, Names},
    trace_line::{Form, Printer},
};
use beyla_schema::{
    event::Event,
    file::{EventReader, Projection},
    request::Request,
};

use super::{Context, Options, Prepared};
use crate::status::Line;

/// Where a test looks at what was written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What a replay makes of requests.
struct Replay {
    lines: Vec<u8>,
    printer: Printer,
    metrics: Exposition,
}

impl Sink for Replay {
    fn request(&mut self, request: &Request<'_>) {
        self.printer.write(&mut self.lines, request).unwrap();
        self.metrics.request(request);
    }
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let folders = fs::read_dir(root).unwrap().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    let files = files.map(|file| file.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect()
}

#[test]
fn what_is_shown_live_is_what_a_replay_shows() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 20, "{fixtures:?}");
    // Each form, in turn.
    for (fixture, form) in fixtures.into_iter().zip(Form::ALL.into_iter().cycle()) {
        let mut reader = EventReader::open_path(&fixture, Projection::All).unwrap();
        let metadata = reader.metadata().clone();
        let (capture_id, host, clock) = (metadata.number(), metadata.host.name.clone(), metadata.clock());
        let folder = tempfile::tempdir().unwrap();
        let textfile = folder.path().join("metrics.prom");
        let options = Options { traces: Some(form), textfile: Some(textfile.clone()), ..Options::default() };
        let out = Shared::default();
        let (progress, line) = (Arc::default(), Line::new(true));
        let targets = Arc::default();
        let context = Context { capture_id, host: host.clone(), clock, progress, targets, line };
        let prepared = Prepared::new(&options).unwrap();
        let (mut feed, running) = prepared.start(Box::new(out.clone()), context).unwrap().unwrap();

        let metrics = Exposition::new(Names::Otel, host);
        let mut replay = Replay { lines: Vec::new(), printer: Printer::new(form, clock), metrics };
        let mut engine = Engine::new(Config { capture_id, ..Config::default() });
        let mut each = |event: &Event<'_>| {
            feed.push(event);
            engine.push(event, &mut replay);
        };
        while reader.next_batch(&mut each).unwrap().is_some() {}
        engine.finish(&mut replay);
        replay.printer.finish(&mut replay.lines).unwrap();
        drop(feed);
        assert_eq!(running.finish(), None);

        let name = fixture.display();
        assert!(!replay.lines.is_empty(), "{name}");
        assert_eq!(out.text(), String::from_utf8(replay.lines).unwrap(), "{name}");
        let metrics = fs::read_to_string(&textfile).unwrap();
        let golden = fs::read_to_string(fixture.with_file_name("metrics.prom")).unwrap();
        assert_eq!(replay.metrics.render(), golden, "{name}");
        // What the capture says of itself comes after it.
        assert!(metrics.starts_with(&golden), "{name}: {metrics}");
    }
}
