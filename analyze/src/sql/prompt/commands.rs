//! What is no SQL at the prompt: commands that begin with a backslash.

use std::{
    io::{self, Write},
    path::Path,
};

use anstream::{adapter::strip_str, eprintln};

use crate::{
    Error,
    sql::{Session, Show, Target, functions::FUNCTIONS},
    table::{Align, BOLD, Cell, DIM, Table},
};

const HELP: &str = "\
Statements end with `;` and may have several lines. Tab completes names. Ctrl-C takes back a line or stops a query.
  \\d               tables and views
  \\d NAME          the columns of one
  \\dv              views
  \\df              functions
  \\timing [on|off] whether the time that a query took is shown
  \\x [on|off]      whether rows are shown with a column a line
  \\o [FILE]        write results to FILE; without one, to the terminal again, and FILE is complete
  \\q               leave, as does Ctrl-D";

/// What was set at the prompt.
pub(super) struct Settings {
    pub(super) show: Show,
    pub(super) timing: bool,
    /// Where results go; to the terminal without it.
    pub(super) target: Option<Target>,
    /// Whether tables are coloured on the terminal.
    colour: bool,
}

impl Settings {
    pub(super) fn new(show: Show) -> Self {
        Self { show, timing: true, target: None, colour: show.colour }
    }
}

/// What is to be done after a line.
pub(super) enum Next {
    /// It was a command.
    Ran(Result<(), Error>),
    /// It is SQL.
    Query,
    Leave,
}

/// Runs a command, if `line` is one.
pub(super) fn run(session: &Session, settings: &mut Settings, line: &str, out: &mut impl Write) -> Next {
    let line = line.trim_end_matches(';').trim_end();
    let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let result = match (command, argument) {
        ("", _) => Ok(()),
        ("\\q" | "quit" | "exit", "") => return Next::Leave,
        ("\\?" | "help", "") => writeln!(out, "{HELP}").map_err(Error::from),
        ("\\d" | "\\dt", "") => tables(session, settings, false, out),
        ("\\dv", "") => tables(session, settings, true, out),
        ("\\d" | "\\dt" | "\\dv", name) => columns(session, settings, name, out),
        ("\\df", _) => functions(session, settings, out),
        ("\\timing", _) => {
            switch(&mut settings.timing, "timing", argument);
            Ok(())
        }
        ("\\x", _) => {
            switch(&mut settings.show.expanded, "expanded rows", argument);
            Ok(())
        }
        ("\\o", _) => output(session, settings, argument),
        (command, _) if command.starts_with('\\') => {
            eprintln!("{command} is no command: \\? lists them");
            Ok(())
        }
        _ => return Next::Query,
    };
    Next::Ran(result)
}

fn switch(setting: &mut bool, name: &str, argument: &str) {
    match argument {
        "" => *setting = !*setting,
        "on" => *setting = true,
        "off" => *setting = false,
        _ => {
            eprintln!("{argument} is neither on nor off");
            return;
        }
    }
    eprintln!("{DIM}{name}: {}{DIM:#}", if *setting { "on" } else { "off" });
}

fn output(session: &Session, settings: &mut Settings, file: &str) -> Result<(), Error> {
    if let Some(before) = settings.target.take() {
        before.finish()?;
    }
    settings.show.colour = settings.colour && file.is_empty();
    if !file.is_empty() {
        settings.target = Some(Target::create(Path::new(file), &session.input.files)?);
    }
    Ok(())
}

fn show(table: &Table, settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    let mut text = String::new();
    table.render(&mut text, 0, usize::MAX);
    if settings.colour { write!(out, "{text}") } else { write!(out, "{}", strip_str(&text)) }
}

fn tables(session: &Session, settings: &Settings, views: bool, out: &mut impl Write) -> Result<(), Error> {
    let mut list = Table::new([Align::Left, Align::Left, Align::Right]);
    for known in session.known().into_iter().filter(|known| known.is_view || !views) {
        let kind = if known.is_view { "view" } else { "table" };
        let columns = format!("{} columns", known.columns.len());
        list.push(vec![
            Cell::new(&known.name).styled(BOLD),
            Cell::new(kind).styled(DIM),
            Cell::new(&columns).styled(DIM),
        ]);
    }
    Ok(show(&list, settings, out)?)
}

fn columns(session: &Session, settings: &Settings, name: &str, out: &mut impl Write) -> Result<(), Error> {
    let Some(known) = session.known().into_iter().find(|known| known.name == name) else {
        eprintln!("there is no table {name}: \\d lists them");
        return Ok(());
    };
    let mut list = Table::new([Align::Left, Align::Left]);
    for (column, data_type) in &known.columns {
        list.push(vec![Cell::new(column), Cell::new(data_type).styled(DIM)]);
    }
    Ok(show(&list, settings, out)?)
}

fn functions(session: &Session, settings: &Settings, out: &mut impl Write) -> Result<(), Error> {
    let mut list = Table::new([Align::Left, Align::Left]);
    for function in FUNCTIONS {
        list.push(vec![Cell::new(function.call).styled(BOLD), Cell::new(function.gives)]);
    }
    show(&list, settings, out)?;
    let ours = |name: &String| FUNCTIONS.iter().any(|function| function.name == name);
    let others: Vec<_> = session.function_names().into_iter().filter(|name| !ours(name)).collect();
    Ok(writeln!(out, "and those of DataFusion: {}", others.join(" "))?)
}
