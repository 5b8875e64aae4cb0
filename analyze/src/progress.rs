//! A progress bar on stderr, for replays that take long enough to wonder.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// A replay shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// Counts rows, and shows how many are left once the work takes longer than `PATIENCE`. The bar is wiped
/// when this is dropped.
pub struct Progress {
    total: u64,
    done: u64,
    began: Instant,
    visible: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of `total` rows none is done. Without `visible`, or when stderr is no terminal, nothing is shown.
    pub fn new(total: u64, visible: bool) -> Self {
        let visible = visible && stderr().is_terminal();
        Self { total, done: 0, began: Instant::now(), visible, bar: None }
    }

    /// So many more rows are done.
    pub fn advance(&mut self, rows: u64) {
        self.done += rows;
        if self.bar.is_none() && self.visible && self.began.elapsed() > PATIENCE {
            let bar = ProgressBar::new(self.total);
            let style = "{bar:30} {percent:>3}%  {human_pos} of {human_len} events  {eta} left";
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
