//! The terminal: its modes, its keys, and when it is drawn.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal as _},
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::Backend,
    crossterm::event::{self, Event},
};

use super::{Action, Screen, View};

/// How often there is something new to see where no key is pressed.
const EVERY: Duration = Duration::from_millis(500);

/// What [`run`] wants of whoever knows the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The newest screen.
    Newest,
    /// To begin to count anew, and the newest screen.
    Reset,
}

/// Why [`run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The user wants to end the capture.
    Quit,
    /// There was no screen any more.
    Stopped,
}

/// Shows what `newest` gives, twice a second, until it gives none or the user quits.
///
/// It takes the terminal for itself and gives it back on return and on panic: Ctrl-C is a key like others here, no signal.
/// It blocks, so it wants a thread of its own. Without colours where `NO_COLOR` is set.
///
/// # Errors
///
/// When there is no terminal, or it goes away.
pub fn run(newest: impl FnMut(Ask) -> Option<Screen>) -> io::Result<End> {
    let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if !io::stdout().is_terminal() {
        return Err(io::Error::other("the standard output is no terminal"));
    }
    // Before the terminal is taken: also what fails half-way is undone.
    let _given_back = GivenBack;
    show(&mut ratatui::try_init()?, View::new(colours), next_event, newest)
}

/// Gives the terminal back.
struct GivenBack;

impl Drop for GivenBack {
    fn drop(&mut self) {
        // There is nobody left to be told.
        let _ = ratatui::try_restore();
    }
}

fn next_event(within: Duration) -> io::Result<Option<Event>> {
    if event::poll(within)? { event::read().map(Some) } else { Ok(None) }
}

fn show<B: Backend>(
    terminal: &mut Terminal<B>,
    mut view: View,
    mut next_event: impl FnMut(Duration) -> io::Result<Option<Event>>,
    mut newest: impl FnMut(Ask) -> Option<Screen>,
) -> io::Result<End>
where
    B::Error: Error + Send + Sync + 'static,
{
    let Some(mut screen) = newest(Ask::Newest) else { return Ok(End::Stopped) };
    loop {
        terminal.draw(|frame| view.draw(frame, &screen)).map_err(io::Error::other)?;
        let ask = match next_event(EVERY)? {
            Some(Event::Key(key)) => match view.press(key) {
                Action::Draw => Ask::Newest,
                Action::Quit => return Ok(End::Quit),
                Action::Reset => Ask::Reset,
            },
            _ => Ask::Newest,
        };
        // Also while paused: it may be time to stop.
        let Some(next) = newest(ask) else { return Ok(End::Stopped) };
        if !view.paused {
            screen = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{backend::TestBackend, buffer::Cell, crossterm::event::KeyCode};

    use super::*;

    /// Shows so many screens, `0`, `1`, … seconds old, and gives `keys` one after each, none for a space.
    /// What was asked for, the time on the last screen drawn, and how it ended.
    fn watch(keys: &str, screens: u64) -> (Vec<Ask>, String, End) {
        let mut terminal = Terminal::new(TestBackend::new(60, 5)).unwrap();
        let mut keys = keys.chars();
        let mut asked = Vec::new();
        let end = show(
            &mut terminal,
            View::new(true),
            |_| {
                let key = keys.next().filter(|&key| key != ' ');
                Ok(key.map(|key| Event::Key(KeyCode::Char(key).into())))
            },
            |ask| {
                let mut screen = Screen::default();
                screen.facts.elapsed = Duration::from_secs(asked.len() as u64);
                asked.push(ask);
                (asked.len() as u64 <= screens).then_some(screen)
            },
        );
        let time = terminal.backend().buffer().content.iter().take(8).map(Cell::symbol).collect();
        (asked, time, end.unwrap())
    }

    #[test]
    fn it_ends_when_there_is_no_more() {
        assert_eq!(watch("", 3), (vec![Ask::Newest; 4], "00:00:02".to_owned(), End::Stopped));
    }

    #[test]
    fn it_ends_when_the_user_quits() {
        assert_eq!(watch("  q", 9), (vec![Ask::Newest; 3], "00:00:02".to_owned(), End::Quit));
    }

    #[test]
    fn a_paused_screen_stays_until_one_goes_on_or_the_capture_ends() {
        assert_eq!(watch(" p   ", 5), (vec![Ask::Newest; 6], "00:00:01".to_owned(), End::Stopped));
        assert_eq!(watch(" p p ", 5), (vec![Ask::Newest; 6], "00:00:04".to_owned(), End::Stopped));
    }

    #[test]
    fn a_reset_is_asked_for_once() {
        assert_eq!(watch(" r", 3).0, [Ask::Newest, Ask::Newest, Ask::Reset, Ask::Newest]);
    }
}
