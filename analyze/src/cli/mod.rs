//! The command line: what is accepted, and the calls of the library it is turned into. A file per command; nothing is
//! decided here that the library could decide.

mod cat;
mod check;
mod diff;
mod export;
mod filter;
mod generate;
mod input;
mod merge;
mod replay;
mod routes;
mod routing;
mod schema;
mod stats;
pub(crate) mod status;
pub(crate) mod terminal;
mod validate;
mod values;

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::{
    cat::Cat,
    check::Check,
    diff::Diff,
    export::Export,
    filter::Filter,
    generate::Generate,
    merge::Merge,
    replay::Replay,
    routes::Routes,
    schema::Schema,
    stats::Stats,
    terminal::{Color, Terminal},
    validate::Validate,
};

const EXAMPLES: &str = "\
Examples:
  beyla-analyze --demo                             the report of a capture that comes along
  beyla-analyze run.parquet                        rate, errors and durations
  beyla-analyze run.parquet --format json          the same for programs
  beyla-analyze run.parquet --format html > run.html     the same with charts and filters, for a browser
  beyla-analyze run.parquet --sql                  a prompt; \\d lists tables
  beyla-analyze run.parquet --traces | head        one line per request
  beyla-analyze run.parquet --traces=json          one JSON object per request
  beyla-analyze run.parquet --prometheus           metrics of the whole run
  beyla-analyze run.parquet --prometheus --step 15s    as they were every 15 seconds, to load into Prometheus
  beyla-analyze run.parquet --route '/users/{id}' --route '/static/*' --unmatched wildcard
  beyla-analyze run.parquet --config beyla.yml     the same from a file with Beyla's keys
  beyla-analyze run.parquet --from +10s --where 'status >= 500'    of some requests

  beyla-analyze run.parquet --sql \"
    select route, count(*) as n, p95(duration_ms) as p95
    from requests where kind = 'server' group by route order by p95 desc limit 5\"
  beyla-analyze a.parquet b.parquet --sql 'select * from requests' --format ndjson
  beyla-analyze 'runs/*.parquet' --sql 'select * from connections' --format parquet -o connections.parquet
  beyla-analyze run.parquet --sql --format csv < queries.sql
  beyla-analyze routes run.parquet                 which route rules would give how many routes
  beyla-analyze stats run.parquet                  when, where and how it was recorded, and what it holds
  beyla-analyze schema                             the columns of the tables and what they mean
  beyla-analyze cat run.parquet --follow           events as lines, while they are recorded
  beyla-analyze validate run.parquet               is it what the format says
  beyla-analyze filter run.parquet -o shared.parquet --redact
  beyla-analyze export run.parquet --to perfetto -o run.perfetto-trace
  beyla-analyze filter run.parquet -o errors.parquet --where 'status >= 500'
  beyla-analyze merge run.0*.parquet -o run.parquet
  beyla-analyze diff base.parquet new.parquet --fail-on 'p95>+10%'
  beyla-analyze check run.parquet --assert 'select count(*) = 0 from requests where error'

A file that is called like a command is given as ./validate.

Exit status:
  0  fine
  2  wrong usage, or input that cannot be read
  3  with --strict: the capture is not complete

Data goes to stdout, everything else to stderr.";

/// Replays captures of beyla-capture: reports, SQL, metrics, traces.
///
/// Every request in the files is paired again from the recorded bytes, by the same engine as during the
/// capture. The same files always give the same output.
#[derive(Debug, Parser)]
#[command(
    name = "beyla-analyze",
    version,
    override_usage = "beyla-analyze [OPTIONS] <FILE>...\n       beyla-analyze <COMMAND>",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    replay: Replay,

    /// Write the manual page or completions for a shell
    #[arg(long, value_name = "WHAT", exclusive = true)]
    generate: Option<Generate>,

    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    color: Color,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Routes(Routes),
    Stats(Stats),
    Schema(Schema),
    Cat(Cat),
    Validate(Validate),
    Filter(Filter),
    Export(Export),
    Merge(Merge),
    Diff(Diff),
    Check(Check),
}

/// The definition, of which help, completions and the manual are made too. The formats of `export` are what `--to` is
/// there, so that the end of the span of time has only its other name.
pub(crate) fn definition() -> clap::Command {
    Cli::command().mut_subcommand("export", |export| {
        export.mut_arg(input::END, |end| end.long(input::UNTIL).visible_alias(None::<&str>))
    })
}

/// Does what the command line asks for. Ends the process when that is nothing: wrong usage, `--help`.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let Cli { replay, generate, color, command } = Cli::from_arg_matches(&definition().get_matches())
        .unwrap_or_else(|error| error.format(&mut definition()).exit());
    let mut terminal = Terminal::new(color);
    let code = match (generate, command) {
        (Some(what), _) => {
            generate::generate(what, &mut terminal.out).context("cannot write")?;
            ExitCode::SUCCESS
        }
        (None, None) => replay.run(&mut terminal)?,
        (None, Some(Command::Routes(routes))) => routes.run(&mut terminal)?,
        (None, Some(Command::Stats(stats))) => stats.run(&mut terminal)?,
        (None, Some(Command::Schema(schema))) => schema.run(&mut terminal)?,
        (None, Some(Command::Cat(cat))) => cat.run(&mut terminal)?,
        (None, Some(Command::Validate(validate))) => validate.run(&mut terminal)?,
        (None, Some(Command::Filter(filter))) => filter.run()?,
        (None, Some(Command::Export(export))) => export.run(&mut terminal)?,
        (None, Some(Command::Merge(merge))) => merge.run()?,
        (None, Some(Command::Diff(diff))) => diff.run(&mut terminal)?,
        (None, Some(Command::Check(check))) => check.run(&mut terminal)?,
    };
    terminal.out.flush()?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }
}
