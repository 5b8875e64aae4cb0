//! Where results go: standard output, as wide and as colourful as it is.

use std::io::{self, IsTerminal, StdoutLock, Write, stderr, stdout};

use anstream::{
    AutoStream, ColorChoice,
    adapter::{strip_bytes, strip_str},
};
use beyla_analyze::report;
use clap::ValueEnum;
use terminal_size::{Width, terminal_size_of};

/// When results are coloured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    Always,
    Never,
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// Standard output, buffered, and what is known of it.
pub(crate) struct Terminal {
    pub(crate) out: io::BufWriter<StdoutLock<'static>>,
    /// Whether texts keep their colours.
    pub(crate) colour: bool,
}

impl Terminal {
    pub(crate) fn new(when: Color) -> Self {
        ColorChoice::from(when).write_global();
        let colour = AutoStream::choice(&stdout()) != ColorChoice::Never;
        Self { out: io::BufWriter::new(stdout().lock()), colour }
    }

    /// Whether a person reads along.
    pub(crate) fn is_terminal() -> bool {
        stdout().is_terminal()
    }

    /// Columns of a text.
    pub(crate) fn width() -> usize {
        terminal_size_of(stdout()).map_or(report::text::WIDTH, |(Width(width), _)| width.into())
    }

    /// Writes a text with ANSI styles, which are taken out where they are not wanted.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        if self.colour {
            self.out.write_all(text.as_bytes())
        } else {
            write!(self.out, "{}", strip_str(text))
        }
    }
}

/// A text with ANSI styles that is written piece by piece, each of whole lines.
impl Write for Terminal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.colour {
            self.out.write_all(text)?;
        } else {
            self.out.write_all(&strip_bytes(text).into_vec())?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Says something on stderr.
pub(crate) fn complain(message: &str) {
    // When stderr is gone, the exit status has to do.
    let _ = writeln!(stderr(), "beyla-analyze: {message}");
}
