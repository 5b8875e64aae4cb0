//! What the capture says while it runs and when it ends. All of it goes to standard error.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use beyla_schema::file::Cost;
use bytesize::ByteSize;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    ring::{Losses, Progress},
    writer::{Place, Written},
};

/// The live line on a terminal; nothing elsewhere.
#[derive(Clone)]
pub struct Line {
    bar: ProgressBar,
    /// What is to be said once the terminal is free.
    held: Option<Arc<Mutex<Vec<String>>>>,
}

impl Line {
    /// Shows the line when standard error is a terminal and `quiet` is not asked for.
    pub fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}") {
            bar.set_style(style);
        }
        Self { bar, held: None }
    }

    /// Shows nothing, and keeps what is to be said for the end: somebody else draws on the terminal.
    pub fn held() -> Self {
        Self { held: Some(Arc::default()), ..Self::new(true) }
    }

    /// Shows how the capture is going.
    pub fn update(&self, progress: &Progress, targets: usize, waiting_for: &str) {
        let mut text = String::new();
        if targets == 0 {
            let _ = write!(text, "waiting for {waiting_for}");
        } else {
            let count = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
            let _ = write!(
                text,
                "{} events  {} kept of {}  lost {}  {}",
                HumanCount(count(&progress.events)),
                bytes(count(&progress.kept)),
                bytes(count(&progress.moved)),
                HumanCount(count(&progress.lost)),
                plural(targets, "process", "processes"),
            );
        }
        self.bar.set_message(text);
        self.bar.tick();
    }

    /// Prints a line that stays.
    pub fn say(&self, text: &str) {
        match &self.held {
            Some(held) => held.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned()),
            None => self.bar.suspend(|| eprintln!("{text}")),
        }
    }

    /// Takes the line away, and says what was held.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
        for text in self
            .held
            .iter()
            .flat_map(|held| std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner)))
        {
            eprintln!("{text}");
        }
    }
}

pub(crate) fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(count as u64), if count == 1 { one } else { many })
}

/// The last words: what was recorded, what was lost, and what to do next.
pub fn summary(
    progress: &Progress,
    processes: usize,
    took: Duration,
    losses: &Losses,
    written: &Written,
) -> String {
    let count = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    let mut text = format!(
        "recorded {} events in {:.1} s: {} kept of {} that {} moved\n",
        HumanCount(count(&progress.events)),
        took.as_secs_f64(),
        bytes(count(&progress.kept)),
        bytes(count(&progress.moved)),
        plural(processes, "process", "processes"),
    );
    let total: u64 = losses.iter().map(|loss| loss.1).sum();
    let _ = write!(text, "lost     {}", HumanCount(total));
    for (cause, count) in losses {
        if *count > 0 {
            let _ = write!(text, "\n         {} to {cause}: {}", HumanCount(*count), advice(cause));
        }
    }
    let _ = write!(text, "\ncost     {}", cost(&written.cost, count(&progress.events)));
    let Some(Place { path, bytes: size, parts }) = &written.file else { return text };
    let (path, size) = (path.display(), bytes(*size));
    let parts = parts.map_or(String::new(), |parts| plural(parts as usize, "part", "parts") + ", ");
    let _ = write!(text, "\nwrote    {path}, {parts}{size}\nnext     beyla-analyze {path}");
    text
}

/// What the capture itself took.
fn cost(cost: &Cost, events: u64) -> String {
    let each = |ns: u64, events: u64| format!("{:.2} µs", ns as f64 / 1e3 / events.max(1) as f64);
    let kernel_ns: u64 = cost.programs.iter().map(|program| program.run_ns).sum();
    let measured = cost.measured_events.unwrap_or(events);
    let kernel = if cost.programs.is_empty() || measured == 0 {
        "not measured".to_owned()
    } else {
        each(kernel_ns, measured)
    };
    format!(
        "{} of CPU per event in the recorder, {kernel} in the kernel; {} of memory",
        each(cost.cpu_ns, events),
        bytes(cost.memory_bytes),
    )
}

fn advice(cause: &str) -> &'static str {
    match cause {
        "ring_full" => "raise --ring-size, or narrow the selector",
        "storage_full" => "there was no room for what is remembered of connections",
        "descriptor_gone" => "calls whose descriptor was closed while they returned, maybe not of a socket",
        "message_limit" => {
            "more messages in one call than this kernel can be made to look at: use Linux 5.17 or newer"
        }
        "writer_behind" => "the disk is too slow: record to another one, or lower --snaplen",
        "payload_fault" => "lengths are recorded, the bytes were not in memory",
        "segment_limit" => "calls with more than 512 segments are recorded in part",
        "targets_full" => "more than 16,384 processes were targets at a time",
        "unheard" => "programs were started that --exe was not asked about: raise --ring-size",
        "io_uring" => "calls that moved bytes this kernel does not show: use Linux 6.3 or newer",
        "frames_lost" => {
            "directions of HTTP/2 connections are recorded as far as --snaplen goes from some point on"
        }
        "undecoded" => "the kernel object is not the one this program was built for",
        "unaccounted" => "an error of this program: please report it",
        _ => "events that interrupted one of their own kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_always_mentioned() {
        let progress = Progress::default();
        let cost = Cost { cpu_ns: 4_000, memory_bytes: 3 << 20, ..Cost::default() };
        let file = Some(Place { path: "run.parquet".into(), bytes: 2048, parts: None });
        let written = Written { file, cost };
        let text = |losses: &Losses| summary(&progress, 1, Duration::from_secs(2), losses, &written);
        let none = text(&vec![("ring_full", 0), ("storage_full", 0)]);
        assert_eq!(
            none,
            "recorded 0 events in 2.0 s: 0 B kept of 0 B that 1 process moved\nlost     0\n\
             cost     4.00 µs of CPU per event in the recorder, not measured in the kernel; 3.0 MiB of memory\n\
             wrote    run.parquet, 2.0 KiB\nnext     beyla-analyze run.parquet"
        );
        let some = text(&vec![("ring_full", 9381), ("storage_full", 0)]);
        let lost =
            "\nlost     9,381\n         9,381 to ring_full: raise --ring-size, or narrow the selector\n";
        assert!(some.contains(lost), "{some}");
    }
}
