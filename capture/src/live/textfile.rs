//! Metrics as a file, for the textfile collector of node_exporter: replaced as a whole, so that nobody reads half of it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::writer::remove;

/// How often it is written.
const INTERVAL: Duration = Duration::from_secs(5);

/// The file, and when it was written last.
pub(super) struct Textfile {
    path: PathBuf,
    due: Instant,
}

impl Textfile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, due: Instant::now() + INTERVAL }
    }

    /// Whether it should be written again.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces what is in it.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.due = Instant::now() + INTERVAL;
        // A device or a pipe is never replaced.
        if fs::metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            return File::options().write(true).open(&self.path)?.write_all(text);
        }
        // The collector reads files that are called *.prom.
        let mut beside = self.path.clone().into_os_string();
        beside.push(".tmp");
        // Never what a link points to: this may run as root.
        remove(Path::new(&beside))?;
        File::create_new(&beside)?.write_all(text)?;
        fs::rename(&beside, &self.path)
    }
}
