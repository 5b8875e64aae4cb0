//! The command line.

use std::{env, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};

use beyla_engine::redact::{Policy, PolicyError};
use beyla_schema::wire::MAX_PAYLOAD;

use crate::{
    live, loader,
    probe::{Choice, Settings, Sizes},
    session::Options,
    target::{Cgroup, Executable, Ports, Selectors},
    tls,
    writer::{Limits, Rotate},
};

/// Closes row groups at this many events, so that a test sees many of them.
const GROUP_ROWS: &str = "BEYLA_TEST_GROUP_ROWS";

/// Record the socket events of a service with eBPF, without changing or restarting it.
///
/// Chooses processes by the port they listen on, by id, by executable, or starts a command itself; records
/// every byte count and the beginning of every message they send and receive over TCP, from the kernel, and
/// writes them to a Parquet file that beyla-analyze turns into reports. Processes that start later, and the
/// children of all of them, are recorded too.
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
      See what was recorded."
)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent of each other")]
pub struct Cli {
    /// Another thing to do than to record.
    #[command(subcommand)]
    pub verb: Option<Verb>,

    /// Record the processes that listen on these ports: 8080, or 80,443, or 9000-9010
    #[arg(short, long, value_name = "N[,N|A-B]")]
    port: Option<Ports>,

    /// Record the process with this id, and its children; may be given several times
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,

    /// Record processes whose executable matches: a name, or a path when the pattern has a slash
    #[arg(long, value_name = "GLOB")]
    exe: Vec<Executable>,

    /// Record the processes of this control group and of those below it, such as /system.slice/nginx.service
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<Cgroup>,

    /// File to write; refused when it exists
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Overwrite the file when it exists
    #[arg(long)]
    force: bool,

    /// Stop after this time: 30s, 5m, 1h
    #[arg(short, long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,

    /// Stop after this many events, and a few that are in flight then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_events: Option<u64>,

    /// Stop when the file, or all parts of it together, has about this size, give or take a few megabytes:
    /// 500MB, 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,

    /// Begin another file at this size or after this time: 256MB, 10m. Parts of run.parquet are run.0001.parquet
    /// and so on; each can be read alone, and all together are one capture
    #[arg(long, value_name = "SIZE|TIME", value_parser = rotate)]
    rotate: Option<Rotate>,

    /// Delete the oldest parts of this capture when there are more than this many finished ones
    #[arg(long, value_name = "N", requires = "rotate", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,

    /// Keep at most this much of each message, from its beginning (up to 16KiB)
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = snaplen)]
    snaplen: u32,

    /// Size of the buffer between kernel and recorder: a power of two
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = ring_size)]
    ring_size: u32,

    /// Most processes that are recorded at a time
    #[arg(long, value_name = "N", default_value_t = Sizes::default().targets, value_parser = entries())]
    max_targets: u32,

    /// Most connections at a time, where bytes are seen at the exit of system calls
    #[arg(long, value_name = "N", default_value_t = Sizes::default().connections, value_parser = entries())]
    max_connections: u32,

    /// Record the unix sockets of the chosen processes too
    #[arg(long)]
    unix: bool,

    /// Record the UDP sockets of the chosen processes too: every datagram is a row, no request is made of them
    #[arg(long)]
    udp: bool,

    /// Leave TLS libraries alone: what HTTPS says is not seen then
    #[arg(long)]
    no_tls: bool,

    /// Where to see the bytes that processes move
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    probe: Choice,

    /// What is masked before it is written
    #[arg(long, value_name = "POLICY", default_value = "default")]
    redact: Redaction,

    /// Mask the values of this header field too
    #[arg(long, value_name = "NAME")]
    redact_header: Vec<String>,

    /// Mask the values of this query parameter too
    #[arg(long, value_name = "NAME")]
    redact_param: Vec<String>,

    /// Print a line per request
    #[arg(long)]
    print_traces: bool,

    /// Serve metrics on this port
    #[arg(long, value_name = "PORT")]
    prometheus_port: Option<u16>,

    /// Write metrics to this file
    #[arg(long, value_name = "FILE")]
    prometheus_textfile: Option<PathBuf>,

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

/// What `--redact` masks.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Redaction {
    /// Credentials in header fields, query parameters and command lines
    Default,
    /// Bodies too, and what is not HTTP
    HeadersOnly,
    /// Only what is named with --redact-header and --redact-param
    None,
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
    #[error("name the file to write: -o run.parquet")]
    NoOutput,
    /// A name that cannot be masked.
    #[error(transparent)]
    Redaction(#[from] PolicyError),
}

impl Cli {
    /// The capture that was asked for.
    pub fn options(self) -> Result<Options, Error> {
        let selectors = Selectors {
            ports: self.port.unwrap_or_default(),
            pids: self.pid,
            executables: self.exe,
            cgroups: self.cgroup,
            command: self.command,
        };
        if selectors.is_empty() {
            return Err(Error::NoSelector);
        }
        let policy = match self.redact {
            Redaction::Default => Policy::standard(),
            Redaction::HeadersOnly => Policy::standard().headers_only(),
            Redaction::None => Policy::none(),
        };
        let policy = policy.with_names(&self.redact_header, &self.redact_param)?;
        Ok(Options {
            policy,
            selectors,
            output: self.output,
            force: self.force,
            limits: Limits {
                max_events: self.max_events,
                max_size: self.max_size,
                rotate: self.rotate,
                keep: self.keep,
                group_rows: env::var(GROUP_ROWS).ok().and_then(|rows| rows.parse().ok()),
            },
            duration: self.duration,
            sizes: Sizes {
                ring_bytes: self.ring_size,
                snaplen: self.snaplen,
                targets: self.max_targets,
                connections: self.max_connections,
                cpus: None,
            },
            settings: Settings { probe: self.probe, udp: self.udp, unix: self.unix, no_tls: self.no_tls },
            live: live::Options {
                traces: self.print_traces,
                endpoint: self.prometheus_port.map(|port| live::Endpoint {
                    address: std::net::Ipv4Addr::UNSPECIFIED.into(),
                    port,
                    path: "/metrics".to_owned(),
                }),
                textfile: self.prometheus_textfile,
                ..live::Options::default()
            },
            quiet: self.quiet,
        })
    }
}

/// Entries of a table of the kernel.
fn entries() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1 << 24)
}

fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "not a size such as 4KiB or 16MiB".to_owned())
}

fn rotate(text: &str) -> Result<Rotate, String> {
    const SMALLEST: u64 = 64 << 10;
    const SHORTEST: Duration = Duration::from_secs(1);
    // To the parser of times "M" is a month, and to that of sizes "m" a megabyte.
    if text.ends_with(['b', 'B']) {
        let size = size(text)?;
        return if size < SMALLEST { Err("less than 64KiB".to_owned()) } else { Ok(Rotate::Size(size)) };
    }
    match humantime::parse_duration(text) {
        Ok(time) if time < SHORTEST => Err("less than a second".to_owned()),
        Ok(time) if !text.ends_with('M') => Ok(Rotate::Time(time)),
        _ => Err("neither a size such as 256MB nor a time such as 10m".to_owned()),
    }
}

fn snaplen(text: &str) -> Result<u32, String> {
    let size = size(text)?;
    u32::try_from(size).ok().filter(|&size| size as usize <= MAX_PAYLOAD).ok_or_else(|| {
        format!("more than the {} that one record can carry", ByteSize(MAX_PAYLOAD as u64).display().iec())
    })
}

fn ring_size(text: &str) -> Result<u32, String> {
    const SMALLEST: u64 = 64 << 10;
    const LARGEST: u64 = 1 << 30;
    let size = size(text)?;
    if !size.is_power_of_two() {
        return Err(format!(
            "not a power of two; the next is {}",
            ByteSize(size.next_power_of_two()).display().iec()
        ));
    }
    if !(SMALLEST..=LARGEST).contains(&size) {
        return Err("not between 64KiB and 1GiB".to_owned());
    }
    Ok(size as u32)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn options(args: &str) -> Result<Options, Error> {
        Cli::parse_from(["beyla-capture"].into_iter().chain(args.split_whitespace())).options()
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
    fn parts_are_of_a_size_or_a_time() {
        assert_eq!(rotate("256MB"), Ok(Rotate::Size(256_000_000)));
        assert_eq!(rotate("1GiB"), Ok(Rotate::Size(1 << 30)));
        assert_eq!(rotate("10m"), Ok(Rotate::Time(Duration::from_mins(10))));
        for wrong in ["10", "256M", "big", "500ms", "1kB", ""] {
            assert!(rotate(wrong).is_err(), "{wrong}");
        }
        let limits = options("-p 80 -o x --max-events 5 --max-size 1MB --rotate 1m --keep 2").unwrap().limits;
        assert_eq!((limits.max_events, limits.max_size, limits.keep), (Some(5), Some(1_000_000), Some(2)));
    }

    #[test]
    fn recovery_is_no_capture() {
        let parse = |args: &str| Cli::try_parse_from(["beyla-capture"].into_iter().chain(args.split(' ')));
        let recover = parse("recover run.parquet --force").unwrap();
        assert!(matches!(recover.verb, Some(Verb::Recover { force: true, .. })));
        assert!(parse("--port 80 -o x recover run.parquet").is_err());
        assert_eq!(
            parse("-o x -- recover y").unwrap().options().unwrap().selectors.command,
            ["recover", "y"]
        );
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert_eq!(snaplen("4KiB"), Ok(4096));
        assert!(snaplen("17KiB").is_err());
        assert_eq!(ring_size("64KiB"), Ok(65536));
        for wrong in ["12MiB", "32KiB", "2GiB", "big"] {
            assert!(ring_size(wrong).is_err(), "{wrong}");
        }
    }
}
