//! The command line: what is accepted, and the plain values that come of it together with the environment and a
//! configuration file (`config`).

mod args;
mod values;

use std::{env, mem, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use args::{FileArgs, LiveArgs, Recording, RedactionArgs, Routing, Selection};
use beyla_engine::{prometheus::Names, redact::PolicyError};

use crate::{
    config::{self, Layer, Otlp, TracePrinter},
    live::{self, Endpoint, Metrics, OtlpOptions},
    loader,
    session::Options,
    tls,
    writer::Limits,
};

/// Closes row groups at this many events, so that a test sees many of them.
const GROUP_ROWS: &str = "BEYLA_TEST_GROUP_ROWS";

/// Record the socket events of a service with eBPF, without changing or restarting it.
///
/// Chooses processes by the port they listen on, by id, by executable, or starts a command itself; records
/// every byte count and the beginning of every message they send and receive over TCP, from the kernel, and
/// writes them to a Parquet file that beyla-analyze turns into reports, or shows at once what comes of them: trace lines,
/// metrics, spans. Processes that start later, and the children of all of them, are recorded too.
///
/// Runs until Ctrl-C, then writes what is still in flight and says what was lost. A second Ctrl-C ends it
/// at once. Whatever happens to it, killed or out of disk, what it had written down can be read, and "recover"
/// makes a complete file of it. Needs root, or CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
#[derive(Debug, Parser)]
#[command(
    name = "beyla-capture",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  sudo beyla-capture --port 8080 -o run.parquet
      Record whatever serves port 8080, now or later, until Ctrl-C.
  sudo beyla-capture --exe nginx --duration 30s -o nginx.parquet
      Record every nginx for half a minute.
  sudo beyla-capture -o test.parquet -- ./run-tests.sh
      Record a command and all it starts, and end with it.
  sudo beyla-capture --port 8080 -o run.parquet --rotate 256MB --keep 8
      Record for as long as it takes: the last eight parts of 256 MB, run.0001.parquet and so on.
  beyla-capture recover run.parquet
      Make a complete file of what a capture left that was killed.
  beyla-analyze run.parquet
      See what was recorded.

  sudo beyla-capture --port 8080 --print-traces
      Print a line for every request as it ends, without a file.
  sudo beyla-capture --port 8080 --prometheus-port 8999 -o run.parquet
      Serve metrics at http://localhost:8999/metrics while it is recorded.
  sudo beyla-capture --port 8080 --otlp-endpoint http://localhost:4318 --service-name shop
      Send spans and metrics to a collector.
  sudo BEYLA_PROMETHEUS_PORT=8999 PRINT_TRACES=true OPEN_PORT=8080 beyla-capture
      The same with the variables of Beyla; docs/configuration.md lists them.
  sudo beyla-capture --config beyla.yml
      The same from a file with the keys of Beyla."
)]
pub struct Cli {
    /// Another thing to do than to record.
    #[command(subcommand)]
    pub verb: Option<Verb>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    file: FileArgs,

    #[command(flatten)]
    live: LiveArgs,

    #[command(flatten)]
    routing: Routing,

    #[command(flatten)]
    recording: Recording,

    #[command(flatten)]
    redaction: RedactionArgs,

    /// Read what is not given here or by the environment from a YAML file with the keys of Beyla
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print a man page or shell completions and exit
    #[arg(long, value_name = "KIND", exclusive = true)]
    pub generate: Option<Generate>,

    /// Start this command and record it and its children; the capture ends with it and passes its exit code on
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What can be done besides a capture.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say line by line what this kernel and these privileges allow, and what is done without
    Check {
        /// Say too which TLS libraries this process has loaded, and whether what they carry will be seen
        #[arg(long, value_name = "PID")]
        pid: Option<u32>,
    },
    /// What the recorder starts to look at processes with
    #[command(name = loader::SUBCOMMAND, hide = true)]
    Loader {
        /// The process that it may end
        command: Option<u32>,
    },
    /// What the recorder starts to attach programs to TLS libraries with
    #[command(name = tls::SUBCOMMAND, hide = true)]
    Attacher {
        /// The programs
        programs: Vec<u32>,
    },
    /// Make a complete file of what a capture left that was killed or had no room to write
    ///
    /// Reads FILE.partial and FILE.journal, writes FILE, and removes the two. Says what is missing. Needs no
    /// privileges but those to read and write the files.
    #[command(after_help = "\
Examples:
  beyla-capture recover run.parquet
      Make run.parquet of run.parquet.partial and run.parquet.journal.
  beyla-capture recover run.parquet --force
      The same, when there is a run.parquet, or when the files are damaged and what is before the damage will do.")]
    Recover {
        /// The file that was to be written; of a rotated capture, with or without the number of a part
        file: PathBuf,

        /// Overwrite the file when it exists, and give up what cannot be read
        #[arg(long)]
        force: bool,
    },
}

/// What `--generate` prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Generate {
    Man,
    CompleteBash,
    CompleteFish,
    CompleteZsh,
}

/// A command line that asks for something impossible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everything would be recorded.
    #[error("choose what to record: --port N, --pid PID, --exe GLOB, --cgroup PATH, or -- COMMAND")]
    NoSelector,
    /// Nothing would come of it.
    #[error(
        "name the file to write, -o run.parquet, or what to show meanwhile: --print-traces, --top, --prometheus-port N, --prometheus-textfile FILE or --otlp-endpoint URL"
    )]
    NoOutput,
    /// The environment or a file.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A name that cannot be masked.
    #[error(transparent)]
    Redaction(#[from] PolicyError),
}

impl Cli {
    /// The capture that was asked for, and what is not used of what was, for people. `variable` looks up an environment
    /// variable.
    pub fn options(self, variable: impl Fn(&str) -> Option<String>) -> Result<(Options, Vec<String>), Error> {
        let Self { mut selection, file, live, routing, recording, redaction, .. } = self;
        let flags = Layer {
            service: selection.service_name.take(),
            selectors: selection.selectors(self.command),
            // The table has the terminal to itself.
            traces: live.print_traces.map(TracePrinter::Form).or(live.top.then_some(TracePrinter::Disabled)),
            prometheus_port: live.prometheus_port,
            prometheus_path: live.prometheus_path.clone(),
            names: live.metric_names.map(Into::into),
            ttl: live.series_ttl,
            otlp: Otlp::flags(
                live.otlp_endpoint.as_deref(),
                live.otlp_traces_endpoint.clone(),
                live.otlp_metrics_endpoint.clone(),
                live.otlp_header.clone(),
            ),
            unmatched: routing.unmatched,
            ..Layer::default()
        };
        let mut layer = config::resolve(flags, self.config, variable)?;
        let (selectors, notes) = (mem::take(&mut layer.selectors), mem::take(&mut layer.notes));
        if selectors.is_empty() {
            return Err(Error::NoSelector);
        }
        let service = layer.service.take();
        let live = live_options(layer, live, routing);
        if file.output.is_none() && live.is_empty() {
            return Err(Error::NoOutput);
        }
        let options = Options {
            policy: redaction.policy()?,
            selectors,
            service,
            output: file.output,
            force: file.force,
            limits: Limits {
                max_events: recording.max_events,
                max_size: file.max_size,
                rotate: file.rotate,
                keep: file.keep,
                group_rows: env::var(GROUP_ROWS).ok().and_then(|rows| rows.parse().ok()),
            },
            duration: recording.duration,
            sizes: recording.sizes(),
            settings: recording.settings(),
            live,
            quiet: self.quiet,
        };
        Ok((options, notes))
    }
}

/// What is to be shown, by all layers and by what only flags can say.
fn live_options(layer: Layer, flags: LiveArgs, routing: Routing) -> live::Options {
    let traces = match layer.traces {
        Some(TracePrinter::Form(form)) => Some(form),
        Some(TracePrinter::Disabled) | None => None,
    };
    let Routing { route, route_ignore, .. } = routing;
    let rules_given =
        layer.routes.is_some() || layer.unmatched.is_some() || !route.is_empty() || !route_ignore.is_empty();
    let names = layer.names.unwrap_or(Names::Otel);
    let defaults = OtlpOptions::default();
    live::Options {
        rules: layer.routes.unwrap_or_default().preceded_by(route, route_ignore, layer.unmatched),
        traces,
        endpoint: layer.prometheus_port.map(|port| Endpoint {
            address: flags.prometheus_address,
            port,
            path: layer.prometheus_path.unwrap_or_else(|| "/metrics".to_owned()),
        }),
        textfile: flags.prometheus_textfile,
        metrics: Metrics {
            names,
            routes: names == Names::Otel || rules_given,
            max_series: usize::try_from(flags.max_series).unwrap_or(usize::MAX),
        },
        ttl: layer.ttl,
        otlp: OtlpOptions {
            traces_endpoint: layer.otlp.traces_endpoint,
            metrics_endpoint: layer.otlp.metrics_endpoint,
            headers: layer.otlp.headers,
            timeout: layer.otlp.timeout.unwrap_or(defaults.timeout),
            interval: layer.otlp.interval.unwrap_or(defaults.interval),
        },
        top: flags.top,
    }
}

#[cfg(test)]
mod tests {
    use beyla_engine::{route::Unmatched, trace_line::Form};
    use clap::CommandFactory as _;

    use super::*;

    /// What comes of arguments, which may follow variables such as `A=1 B=2 |`.
    fn asked(text: &str) -> Result<(Options, Vec<String>), Error> {
        let (variables, args) = text.split_once('|').unwrap_or(("", text));
        let pairs: Vec<_> = variables.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        let variable =
            |name: &str| pairs.iter().find_map(|&(known, value)| (known == name).then(|| value.to_owned()));
        parse(args).unwrap().options(variable)
    }

    fn options(text: &str) -> Result<Options, Error> {
        asked(text).map(|(options, _)| options)
    }

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["beyla-capture"].into_iter().chain(args.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_capture_of_everything_is_refused() {
        assert!(matches!(options("-o x"), Err(Error::NoSelector)));
        assert!(matches!(options("--port 80"), Err(Error::NoOutput)));
    }

    #[test]
    fn selectors_are_described_as_they_were_asked_for() {
        let options = options("-p 80,8000-8010 --pid 7 --exe nginx -o x -- sleep 1").unwrap();
        assert_eq!(
            options.selectors.describe(),
            ["port 80,8000-8010", "pid 7", "exe nginx", "command sleep 1"]
        );
    }

    #[test]
    fn limits_are_those_of_the_file() {
        let limits = options("-p 80 -o x --max-events 5 --max-size 1MB --rotate 1m --keep 2").unwrap().limits;
        assert_eq!((limits.max_events, limits.max_size, limits.keep), (Some(5), Some(1_000_000), Some(2)));
        for file_only in ["--max-size 1MB", "--rotate 1m", "--rotate 1m --keep 2", "--force"] {
            assert!(parse(&format!("-p 80 --top {file_only}")).is_err(), "{file_only}");
        }
    }

    #[test]
    fn a_file_is_not_needed_when_something_is_shown() {
        for live in [
            "--print-traces",
            "--top",
            "--prometheus-port 0",
            "--prometheus-textfile x.prom",
            "--otlp-endpoint http://c",
            "--otlp-traces-endpoint http://c/",
        ] {
            let options = options(&format!("-p 80 {live}")).unwrap();
            assert!(options.output.is_none() && !options.live.is_empty(), "{live}");
        }
        let options = options("-p 80 -o x").unwrap();
        assert!(options.output.is_some() && options.live.is_empty());
    }

    #[test]
    fn the_form_of_trace_lines_follows_an_equals_sign() {
        let traces = |text: &str| options(text).unwrap().live.traces;
        assert_eq!(traces("-p 80 --print-traces"), Some(Form::Line));
        assert_eq!(traces("-p 80 --print-traces=json-indent"), Some(Form::JsonIndent));
        assert!(parse("-p 80 --print-traces json").is_err());
        assert!(parse("-p 80 --print-traces=xml").is_err());
        assert!(parse("-p 80 --print-traces --top").is_err());
        assert_eq!(traces("PRINT_TRACES=true | -p 80 --top"), None);
    }

    #[test]
    fn the_command_of_the_announcement_works() {
        let (options, notes) =
            asked("BEYLA_PROMETHEUS_PORT=8999 PRINT_TRACES=true OPEN_PORT=8080 |").unwrap();
        assert_eq!(options.selectors.describe(), ["port 8080"]);
        let endpoint = Endpoint { address: [0, 0, 0, 0].into(), port: 8999, path: "/metrics".to_owned() };
        assert_eq!((options.live.traces, options.live.endpoint), (Some(Form::Line), Some(endpoint)));
        assert_eq!((options.live.metrics.names, options.live.metrics.routes), (Names::Beyla2023, false));
        assert!(options.output.is_none() && notes.is_empty());
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("beyla.yml");
        let text = "open_port: 1\nservice_name: file\nprint_traces: true\nprometheus_export: {port: 1, path: /file}\n\
                    routes: {patterns: [/file], unmatched: path}\nlog_level: debug\n";
        std::fs::write(&file, text).unwrap();
        let file = file.display();
        let (options, notes) = asked(&format!(
            "BEYLA_CONFIG_PATH={file} OPEN_PORT=2 EXECUTABLE_NAME=x BEYLA_PROMETHEUS_PORT=2 SERVICE_NAME=variable \
             BEYLA_TRACE_PRINTER=disabled | --exe nginx --prometheus-port 3 --route /flag --service-name flag"
        ))
        .unwrap();
        assert_eq!(options.selectors.describe(), ["exe nginx"]);
        assert_eq!((options.service.as_deref(), options.live.traces), (Some("flag"), None));
        let endpoint = options.live.endpoint.unwrap();
        assert_eq!((endpoint.port, &*endpoint.path), (3, "/file"));
        let rules = options.live.rules;
        let patterns: Vec<_> = rules.patterns.iter().map(ToString::to_string).collect();
        assert_eq!(patterns, ["/flag", "/file"]);
        assert_eq!(rules.unmatched, Unmatched::Path);
        let note = format!("{file}: not used here: log_level");
        assert_eq!(notes, ["EXECUTABLE_NAME is not used beside OPEN_PORT".to_owned(), note]);
    }

    #[test]
    fn series_have_routes_by_the_names_of_2023_when_there_are_rules() {
        let routes = |text: &str| options(text).unwrap().live.metrics.routes;
        assert!(routes("-p 80 --top"));
        assert!(!routes("-p 80 --top --metric-names beyla-2023"));
        assert!(routes("-p 80 --top --metric-names beyla-2023 --unmatched path"));
    }

    #[test]
    fn recovery_is_no_capture() {
        let recover = parse("recover run.parquet --force").unwrap();
        assert!(matches!(recover.verb, Some(Verb::Recover { force: true, .. })));
        assert!(parse("--port 80 -o x recover run.parquet").is_err());
        assert_eq!(options("-o x -- recover y").unwrap().selectors.command, ["recover", "y"]);
    }
}
