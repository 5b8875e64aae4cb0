//! The prompt: statements over several lines, a history that outlives the session, completion of names, and
//! Ctrl-C that takes back a line or stops a query.

mod commands;
mod words;

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anstream::eprintln;
use datafusion::sql::{
    parser::DFParser,
    sqlparser::{
        dialect::GenericDialect,
        tokenizer::{Token, Tokenizer},
    },
};
use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::FileHistory};
use tokio::signal::ctrl_c;

use self::{
    commands::{Next, Settings},
    words::Words,
};
use super::{Session, guard, query};
use crate::{Error, table::DIM};

/// How long a query that was stopped may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads and runs statements until the user leaves. Results go to `out`, everything else to stderr.
pub(super) fn run(session: &Session, out: &mut impl Write) -> Result<(), Error> {
    let failed = |error: ReadlineError| Error::Prompt(error.to_string());
    let config = Config::builder().auto_add_history(true).completion_type(CompletionType::List).build();
    let mut editor = Editor::<Words, FileHistory>::with_config(config).map_err(failed)?;
    let history = history_file();
    if let Some(history) = &history {
        // There is none the first time.
        let _ = editor.load_history(history);
    }
    eprintln!("{DIM}\\d lists tables, \\df functions, \\? helps, \\q leaves.{DIM:#}");
    let mut settings = Settings::new(session.show);
    let result = loop {
        editor.set_helper(Some(Words::new(session)));
        let line = match editor.readline("sql> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break Ok(()),
            Err(error) => break Err(failed(error)),
        };
        let result = match commands::run(session, &mut settings, line.trim(), out) {
            Next::Leave => break Ok(()),
            Next::Ran(result) => result,
            Next::Query => match settings.target.take() {
                Some(mut target) => {
                    let result = query(session, &settings, &line, &mut target);
                    settings.target = Some(target);
                    result
                }
                None => query(session, &settings, &line, out),
            },
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
    result.and_then(|()| settings.target.map_or(Ok(()), super::Target::finish))
}

/// Runs the statements of a line. Ctrl-C stops them; should what is under way not end then, a second one ends the program.
fn query(session: &Session, settings: &Settings, sql: &str, out: &mut impl Write) -> Result<(), Error> {
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
                rows = query::run_all(&session.context, statements, settings.show, out) => rows.map(Some),
                _ = ctrl_c() => Ok(None),
            }
        })
    });
    kill.abort();
    let took =
        if settings.timing { format!(", {:.3} s", began.elapsed().as_secs_f64()) } else { String::new() };
    match rows? {
        Some(1) => eprintln!("{DIM}1 row{took}{DIM:#}"),
        Some(rows) => eprintln!("{DIM}{rows} rows{took}{DIM:#}"),
        None => {
            let_go(session);
            eprintln!("{DIM}stopped{DIM:#}");
        }
    }
    for summary in session.findings().iter().filter(|summary| summary.damage.is_some()) {
        eprintln!("{}", summary.warning().unwrap_or_default());
    }
    Ok(())
}

/// Waits until a query that was stopped has given back its memory, as the next one may need it; for a moment.
fn let_go(session: &Session) {
    let pool = &session.context.runtime_env().memory_pool;
    let began = Instant::now();
    while pool.reserved() > 0 && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
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
}
