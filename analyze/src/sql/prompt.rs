//! The prompt: statements over several lines, a history that outlives the session, completion of names, and
//! Ctrl-C that takes back a line or stops a query.

use std::{env, fs, io::Write, path::PathBuf, time::Instant};

use anstream::eprintln;
use datafusion::sql::{
    parser::DFParser,
    sqlparser::{
        dialect::GenericDialect,
        tokenizer::{Token, Tokenizer},
    },
};
use rustyline::{
    CompletionType, Config, Context, Editor, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use tokio::signal::ctrl_c;

use super::{Session, guard, tables};
use crate::{
    Error,
    table::{Align, BOLD, Cell, DIM, Table},
};

const HELP: &str = "\
Statements end with `;`. Ctrl-C takes back a line or stops a query; a second one ends the program.
  \\d         tables and their columns
  \\d TABLE   the columns of one
  \\q         leave, as does Ctrl-D";

/// Reads and runs statements until the user leaves. Results go to `out`, everything else to stderr.
pub(super) fn run(session: &Session, out: &mut impl Write) -> Result<(), Error> {
    let failed = |error: ReadlineError| Error::Prompt(error.to_string());
    let config = Config::builder().auto_add_history(true).completion_type(CompletionType::List).build();
    let mut editor = Editor::<Words, FileHistory>::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Words::new()));
    let history = history_file();
    if let Some(history) = &history {
        // There is none the first time.
        let _ = editor.load_history(history);
    }
    eprintln!("{DIM}Tables: requests, events. \\d lists columns, \\? helps, \\q leaves.{DIM:#}");
    let result = loop {
        let line = match editor.readline("sql> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break Ok(()),
            Err(error) => break Err(failed(error)),
        };
        let result = match line.trim().trim_end_matches(';').trim_end() {
            "" => Ok(()),
            "\\q" | "quit" | "exit" => break Ok(()),
            "\\?" | "help" => writeln!(out, "{HELP}").map_err(Error::from),
            command if command.starts_with("\\d") => {
                describe(command[2..].trim(), session.show.colour, out).map_err(Error::from)
            }
            command if command.starts_with('\\') => {
                eprintln!("{command} is no command: \\? lists them");
                Ok(())
            }
            _ => query(session, &line, out),
        };
        match result.and_then(|()| Ok(out.flush()?)) {
            Ok(()) => {}
            Err(Error::Write(error)) => break Err(error.into()),
            Err(error) => eprintln!("{error}"),
        }
    };
    if let Some(history) = &history {
        // A history that cannot be kept is no reason to fail.
        let _ = history.parent().map(fs::create_dir_all);
        let _ = editor.save_history(history);
    }
    result
}

/// Runs the statements of a line. Ctrl-C stops them where they wait for rows; where they do not, a second one ends
/// the program.
fn query(session: &Session, sql: &str, out: &mut impl Write) -> Result<(), Error> {
    let began = Instant::now();
    let statements = DFParser::parse_sql(sql)?;
    let kill = session.runtime.spawn(async {
        if ctrl_c().await.is_ok() && ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    let rows = guard(|| {
        session.runtime.block_on(async {
            tokio::select! {
                rows = session.run_all(statements, out) => rows.map(Some),
                _ = ctrl_c() => Ok(None),
            }
        })
    });
    kill.abort();
    match rows? {
        Some(1) => eprintln!("{DIM}1 row, {:.3} s{DIM:#}", began.elapsed().as_secs_f64()),
        Some(rows) => eprintln!("{DIM}{rows} rows, {:.3} s{DIM:#}", began.elapsed().as_secs_f64()),
        None => eprintln!("{DIM}stopped{DIM:#}"),
    }
    for summary in session.findings().iter().filter(|summary| summary.damage.is_some()) {
        eprintln!("{}", summary.warning().unwrap_or_default());
    }
    Ok(())
}

/// The columns of `table`, or of all tables when it is empty.
fn describe(table: &str, colour: bool, out: &mut impl Write) -> std::io::Result<()> {
    let mut text = String::new();
    for (name, columns) in tables().into_iter().filter(|(name, _)| table.is_empty() || table == *name) {
        let mut list = Table::new([Align::Left, Align::Left]);
        list.push(vec![Cell::new(name).styled(BOLD)]);
        for (column, data_type) in columns {
            list.push(vec![Cell::new(&format!("  {column}")), Cell::new(&data_type).styled(DIM)]);
        }
        list.render(&mut text, 0, usize::MAX);
    }
    match (text.is_empty(), colour) {
        (true, _) => writeln!(out, "no table {table}"),
        (false, true) => write!(out, "{text}"),
        (false, false) => write!(out, "{}", anstream::adapter::strip_str(&text)),
    }
}

/// Where the history is kept: the user's state folder.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME")
        .or_else(|| folder("LOCALAPPDATA"))
        .or_else(|| env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("beyla-replay").join("sql_history"))
}

/// Whether a line is all that is needed to run it: a command, nothing, or statements whose last one is ended.
fn complete(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.starts_with('\\') || ["quit", "exit", "help"].contains(&line) {
        return true;
    }
    // What cannot be split into tokens is an open quote or comment.
    Tokenizer::new(&GenericDialect {}, line).tokenize().is_ok_and(|tokens| {
        let last = tokens.iter().rev().find(|token| !matches!(token, Token::Whitespace(_)));
        last == Some(&Token::SemiColon)
    })
}

/// Completes the names of tables and columns, and the commonest words of SQL.
struct Words(Vec<String>);

impl Words {
    fn new() -> Self {
        let keywords = "select from where group by order limit having distinct count avg min max sum as and or not \
                        null is in like between desc asc approx_percentile_cont date_trunc describe explain";
        let mut words: Vec<_> = keywords.split_whitespace().map(str::to_owned).collect();
        for (name, columns) in tables() {
            words.push(name.to_owned());
            words.extend(columns.into_iter().map(|(column, _)| column));
        }
        words.sort_unstable();
        words.dedup();
        Self(words)
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let start = line[..end]
            .rfind(|char| !is_word(char))
            .map_or(0, |index| index + line[index..].chars().next().map_or(0, char::len_utf8));
        let begun = line[start..end].to_lowercase();
        let fits = |word: &&String| !begun.is_empty() && word.starts_with(&begun);
        Ok((start, self.0.iter().filter(fits).cloned().collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Highlighter for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_runs_when_it_is_ended() {
        for line in ["", "\\d requests", "quit", "select 1;", "select ';' ; -- done", "select 1; select 2;"] {
            assert!(complete(line), "{line}");
        }
        for line in ["select 1", "select ';", "select 1; select 2", "select 1 -- ;", "/* ;"] {
            assert!(!complete(line), "{line}");
        }
    }

    #[test]
    fn names_are_completed_from_their_beginning() {
        let history = FileHistory::new();
        let context = Context::new(&history);
        let complete = |line: &str| Words::new().complete(line, line.len(), &context).unwrap();
        assert_eq!(complete("select dura"), (7, vec!["duration_ms".to_owned()]));
        assert_eq!(complete("select é,QUE"), (10, vec!["query".to_owned(), "queue_ms".to_owned()]));
        assert_eq!(complete("select "), (7, vec![]));
    }
}
