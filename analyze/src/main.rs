//! `beyla-analyze`: arguments in, calls of the library, exit status out.

mod cli;

use std::{
    io::{self, BufWriter, IsTerminal, Read, Write, stderr, stdin, stdout},
    path::{Component, Path},
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use anyhow::Context;
use beyla_analyze::{
    Error, config,
    export::{self, Metrics},
    filter,
    replay::{Capture, Summary},
    report, routes,
    sql::{Format, Session, Show},
    validate::{self, Verdict},
};
use beyla_engine::route::Rules;
use terminal_size::{Width, terminal_size_of};

use self::cli::{Action, Options, RouteOptions};

/// A check did not hold.
const CHECK_FAILED: u8 = 1;

/// Wrong usage, or input that cannot be read.
const FAILED: u8 = 2;

/// `--strict`, and something is missing.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    quiet_decoder_panics();
    match cli::parse().context("cannot write").and_then(run) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Errors of the library tell their cause themselves.
            let ours = error.downcast_ref::<Error>().map(ToString::to_string);
            complain(&ours.unwrap_or_else(|| format!("{error:#}")));
            ExitCode::from(FAILED)
        }
    }
}

fn run(options: Options) -> anyhow::Result<ExitCode> {
    options.color.write_global();
    let colour = AutoStream::choice(&stdout()) != ColorChoice::Never;
    let width = || terminal_size_of(stdout()).map_or(report::text::WIDTH, |(Width(width), _)| width.into());
    let (rules, rules_given) = rules(options.routes)?;
    let mut out = BufWriter::new(stdout().lock());
    let captures = || options.files.iter().map(|file| Capture::open(file)).collect::<Result<Vec<_>, _>>();
    let (summaries, warn) = match options.action {
        Action::Print(bytes) => {
            out.write_all(&bytes)?;
            (Vec::new(), false)
        }
        Action::TextReport { top } => {
            let report = report::build(captures()?, &rules, top);
            let text = report::text::render(&report, top, width());
            write_text(&text, colour, &mut out)?;
            // The report itself says what is missing; only damage makes it fail.
            (report.files, false)
        }
        Action::JsonReport { top } => {
            let report = report::build(captures()?, &rules, top);
            out.write_all(report::json::render(&report).as_bytes())?;
            (report.files, true)
        }
        Action::Prometheus(metrics) => {
            let metrics = Metrics { routes: metrics.routes || rules_given, ..metrics };
            (export::prometheus(captures()?, &rules, metrics, &mut out)?, true)
        }
        Action::Traces(form) => {
            let summaries = export::traces(captures()?, &rules, form, &mut out, !stdout().is_terminal())?;
            (summaries, true)
        }
        Action::Routes { top, json } => {
            let comparison = routes::compare(captures()?, &rules, top);
            if json {
                out.write_all(routes::show::json(&comparison).as_bytes())?;
            } else {
                write_text(&routes::show::text(&comparison, width()), colour, &mut out)?;
            }
            (comparison.files, true)
        }
        Action::Validate { json } => {
            let captures = options.files.iter().map(|file| Capture::open_whole(file));
            let validations = validate::validate(captures.collect::<Result<_, _>>()?, true);
            if json {
                out.write_all(validate::show::json(&validations).as_bytes())?;
            } else {
                write_text(&validate::show::text(&validations), colour, &mut out)?;
            }
            out.flush()?;
            let invalid = validations.iter().any(|validation| validation.verdict == Verdict::Invalid);
            return Ok(if invalid { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS });
        }
        Action::Filter { output, policy, force } => {
            for input in &options.files {
                filter::redact(Capture::open_whole(input)?, &output, force, &policy)?;
            }
            (Vec::new(), false)
        }
        Action::Sql { query, format } => {
            let progress = format == Format::Table || !stdout().is_terminal();
            let session = Session::new(&options.files, rules, Show { format, colour, progress })?;
            match query {
                Some(query) => session.run(&query, &mut out)?,
                None if stdin().is_terminal() && stdout().is_terminal() => session.prompt(&mut out)?,
                None => {
                    let mut queries = String::new();
                    stdin().read_to_string(&mut queries).context("cannot read the queries")?;
                    session.run(&queries, &mut out)?;
                }
            }
            let summaries = if options.strict { session.summaries()? } else { session.findings() };
            (summaries, true)
        }
    };
    out.flush()?;
    drop(out);
    Ok(verdict(&summaries, warn, options.strict))
}

/// The route rules, and whether somebody gave any. Says which keys of a configuration file are not used.
fn rules(options: RouteOptions) -> Result<(Rules, bool), Error> {
    let Some(path) = &options.config else { return Ok(options.rules(None)) };
    let config = config::read(path)?;
    if !config.unknown.is_empty() {
        let unknown = config.unknown.join(", ");
        complain(&format!("{}: not used here: {unknown}", path.display()));
    }
    Ok(options.rules(config.routes))
}

fn write_text(text: &str, colour: bool, out: &mut impl Write) -> io::Result<()> {
    if colour { out.write_all(text.as_bytes()) } else { write!(out, "{}", strip_str(text)) }
}

/// Says on stderr what is missing from the files, and gives the exit status for it.
fn verdict(summaries: &[Summary], warn: bool, strict: bool) -> ExitCode {
    let damaged = summaries.iter().any(|summary| summary.damage.is_some());
    let incomplete = strict && summaries.iter().any(|summary| !summary.complete());
    if warn || damaged || incomplete {
        for warning in summaries.iter().filter_map(Summary::warning) {
            complain(&warning);
        }
    }
    match (damaged, incomplete) {
        (true, _) => ExitCode::from(FAILED),
        (false, true) => ExitCode::from(INCOMPLETE),
        (false, false) => ExitCode::SUCCESS,
    }
}

fn complain(message: &str) {
    // When stderr is gone, the exit status has to do.
    let _ = writeln!(stderr(), "beyla-analyze: {message}");
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match error.downcast_ref::<Error>() {
        Some(Error::Write(error)) => is_pipe(error),
        Some(_) => false,
        None => error.downcast_ref::<io::Error>().is_some_and(is_pipe),
    }
}

/// The Parquet library panics on some damaged pages. Those panics are caught and reported as errors, so they
/// need no trace of their own; any other is a fault of this program and keeps it.
fn quiet_decoder_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let in_decoder = info.location().is_some_and(|location| {
            Path::new(location.file()).components().any(|component| match component {
                Component::Normal(name) => {
                    let name = name.to_string_lossy();
                    name == "parquet" || name.starts_with("parquet-") || name.starts_with("arrow-")
                }
                _ => false,
            })
        });
        if !in_decoder {
            report(info);
        }
    }));
}
