//! Draws a snapshot, and knows what the keys do.
//!
//! Pure: what is drawn depends on a [`Screen`] and the state of the [`View`] alone. Texts from the network are escaped.

use std::{cmp::Reverse, time::Duration};

use indicatif::HumanCount;
use ratatui::{
    Frame,
    crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Sparkline,
};

use super::{Row, Snapshot, table};
use crate::status::{bytes, plural};

/// Below this many lines there is no sparkline.
const LOW: u16 = 12;

/// What is said of the capture itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Time since the capture began.
    pub elapsed: Duration,
    /// Events recorded.
    pub events: u64,
    /// Events lost on the way to the file.
    pub lost: u64,
    /// Events that are in the file, or will be, but were not looked at live.
    pub dropped: u64,
    /// Bytes of the file so far.
    pub file_bytes: u64,
    /// Processes that are recorded.
    pub targets: usize,
}

/// All that is drawn.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// What the service does.
    pub snapshot: Snapshot,
    /// What the capture does.
    pub facts: Facts,
}

/// What the table is ordered by, highest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Requests per second.
    #[default]
    Rate,
    /// Share of requests that failed.
    Errors,
    /// 99th percentile of the durations.
    P99,
}

/// What a key asks of others than the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To draw again.
    Draw,
    /// To end.
    Quit,
    /// To count anew.
    Reset,
}

/// How things are shown.
#[derive(Clone, Debug)]
pub struct View {
    colours: bool,
    sort: Sort,
    /// The newest screen is not to be shown.
    pub(super) paused: bool,
    /// Rows above the first one shown.
    scrolled: usize,
}

impl View {
    /// A view from the top, the highest rate first.
    pub fn new(colours: bool) -> Self {
        Self { colours, sort: Sort::Rate, paused: false, scrolled: 0 }
    }

    /// Takes a key.
    pub fn press(&mut self, key: KeyEvent) -> Action {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if key.kind == KeyEventKind::Release => {}
            KeyCode::Char('c') if ctrl => return Action::Quit,
            _ if ctrl => {}
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('r') => {
                self.scrolled = 0;
                self.paused = false;
                return Action::Reset;
            }
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('s') => {
                self.scrolled = 0;
                self.sort = match self.sort {
                    Sort::Rate => Sort::Errors,
                    Sort::Errors => Sort::P99,
                    Sort::P99 => Sort::Rate,
                };
            }
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            // How far there is to go is known when the table is drawn.
            KeyCode::Down => self.scrolled += 1,
            _ => {}
        }
        Action::Draw
    }

    /// Draws `screen` on all of the frame.
    pub fn draw(&mut self, frame: &mut Frame<'_>, screen: &Screen) {
        let area = frame.area();
        let graph = if area.height < LOW { 0 } else { 4 };
        let [capture, service, history, rows, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(graph),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        frame.render_widget(fit(capture.width, self.capture(&screen.facts)), capture);
        frame.render_widget(fit(service.width, self.service(&screen.snapshot)), service);
        self.history(frame, history, &screen.snapshot.history);

        let sorted = self.sorted(&screen.snapshot.rows);
        let visible = usize::from(rows.height.saturating_sub(1));
        self.scrolled = self.scrolled.min(sorted.len().saturating_sub(visible));
        let shown = sorted.into_iter().skip(self.scrolled).take(visible);
        frame.render_widget(table::table(shown, rows.width, |share| self.alarm(share > 0.0)), rows);
        frame.render_widget(fit(keys.width, self.keys()), keys);
    }

    fn sorted<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let mut sorted: Vec<_> = rows.iter().collect();
        // Rows come by rate, and stay so where they are equal.
        match self.sort {
            Sort::Rate => {}
            Sort::Errors => sorted.sort_by(|a, b| b.error_share().total_cmp(&a.error_share())),
            Sort::P99 => sorted.sort_by_key(|row| Reverse(row.p99_ns)),
        }
        sorted
    }

    /// The line of the capture, the most important first.
    fn capture(&self, facts: &Facts) -> Vec<Span<'static>> {
        let seconds = facts.elapsed.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut spans = vec![
            Span::raw(format!("{hours:02}:{minutes:02}:{seconds:02}")),
            Span::styled(format!("lost {}", HumanCount(facts.lost)), self.alarm(facts.lost > 0)),
            Span::raw(format!("{} events", HumanCount(facts.events))),
            Span::raw(plural(facts.targets, "process", "processes")),
            Span::raw(format!("{} written", bytes(facts.file_bytes))),
        ];
        if facts.dropped > 0 {
            let text = format!("{} not shown, only recorded", HumanCount(facts.dropped));
            spans.insert(1, Span::styled(text, self.alarm(true)));
        }
        spans
    }

    /// The line of the service, likewise.
    fn service(&self, snapshot: &Snapshot) -> Vec<Span<'static>> {
        // The sum of nothing is -0.0, which shows.
        let rate = snapshot.rows.iter().fold(0.0, |rate, row| rate + row.rate);
        let errors: u64 = snapshot.rows.iter().map(|row| row.errors).sum();
        let requests: u64 = snapshot.rows.iter().map(|row| row.requests).sum();
        let share = errors as f64 / requests.max(1) as f64;
        vec![
            Span::styled(format!("{} req/s", table::rate(rate)), Modifier::BOLD),
            Span::styled(format!("errors {}", table::share(share)), self.alarm(errors > 0)),
            Span::raw(format!("in {} s", snapshot.seconds)),
            Span::raw(format!("{} requests in all", HumanCount(snapshot.requests))),
            Span::raw(format!("{} failed", HumanCount(snapshot.errors))),
        ]
    }

    /// The requests per second as bars, the newest on the right.
    fn history(&self, frame: &mut Frame<'_>, area: Rect, counts: &[u64]) {
        let [title, bars] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let highest = counts.iter().copied().max().unwrap_or(0);
        let title_text = format!("last {} s, up to {} req/s", counts.len(), HumanCount(highest));
        frame.render_widget(Line::styled(title_text, Modifier::DIM), title);
        let room = counts.len().saturating_sub(bars.width.into());
        let newest = counts.get(room..).unwrap_or_default();
        let style = if self.colours { Style::new().fg(Color::Cyan) } else { Style::new() };
        frame.render_widget(Sparkline::default().data(newest).max(highest).style(style), bars);
    }

    fn keys(&self) -> Vec<Span<'static>> {
        let sort = match self.sort {
            Sort::Rate => "rate",
            Sort::Errors => "errors",
            Sort::P99 => "p99",
        };
        let pause = if self.paused { "p go on" } else { "p pause" };
        let mut spans = vec![Span::raw("q quit"), Span::raw(format!("s by {sort}")), Span::raw(pause)];
        spans.extend([Span::raw("r reset"), Span::raw("↑↓ scroll")]);
        if self.paused {
            spans.insert(0, Span::styled("paused", Modifier::REVERSED));
        }
        spans
    }

    fn alarm(&self, ringing: bool) -> Style {
        match (ringing, self.colours) {
            (false, _) => Style::new(),
            (true, false) => Style::new().add_modifier(Modifier::BOLD),
            (true, true) => Style::new().fg(Color::Red),
        }
    }
}

/// As many of the spans as there is room for.
fn fit(width: u16, spans: Vec<Span<'static>>) -> Line<'static> {
    let mut line = Line::default();
    for span in spans {
        let gap = if line.spans.is_empty() { "" } else { "   " };
        if line.width() + gap.len() + span.width() > width.into() && !line.spans.is_empty() {
            break;
        }
        line.extend([Span::raw(gap), span]);
    }
    line
}

#[cfg(test)]
mod tests;
