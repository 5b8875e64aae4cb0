//! `beyla-capture check`: what this kernel and these privileges allow, line by line, and what is done without.
//!
//! The programs are really loaded and attached, for a moment and without any target, so that the answer is the
//! kernel's and not a guess by its version.

use std::{fmt, io};

use anstyle::{AnsiColor, Style};
use caps::{Capability, CapsHashSet};

use crate::{
    cost::Meter,
    host, privilege,
    probe::{self, Mode, Settings, Sizes},
    target::Selectors,
    tls::{self, Library},
};

/// How a line turns out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is there.
    Yes,
    /// It is not, and something else is done or said instead.
    Without,
    /// It is not, and nothing can be recorded.
    No,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, colour) = match self {
            Self::Yes => ("ok", AnsiColor::Green),
            Self::Without => ("--", AnsiColor::Yellow),
            Self::No => ("NO", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        write!(f, "{style}{text}{style:#}")
    }
}

/// What each capability is for, and whether nothing works without it.
const CAPABILITIES: &[(Capability, &str, bool)] = &[
    (Capability::CAP_BPF, "load kernel programs and their maps", true),
    (Capability::CAP_PERFMON, "attach them, and let them read the memory of targets", true),
    (Capability::CAP_SYS_PTRACE, "find the sockets and executables of other users' processes", false),
    (Capability::CAP_DAC_READ_SEARCH, "read their environment, for service names", false),
    (Capability::CAP_SYS_ADMIN, "see into TLS libraries, and measure what the kernel programs cost", false),
];

/// Checks and prints, also which TLS libraries the process `pid` uses. Whether a capture is possible.
pub fn run(pid: Option<u32>) -> bool {
    let mut lines = Vec::new();
    let host = host::host();
    let has = privilege::capabilities();
    capabilities(&has, &mut lines);
    let mut possible = hooks(&mut lines);
    if let Some(pid) = pid {
        possible &= libraries(pid, &mut lines);
    }
    let mut out = anstream::stdout().lock();
    // Nobody is left to tell when this cannot be written.
    let _ =
        print(&mut out, &format!("Linux {} on {}, {} CPUs", host.kernel, host.machine, host.cpus), &lines);
    possible
}

type Line = (Verdict, String, String);

fn print(out: &mut impl io::Write, head: &str, lines: &[Line]) -> io::Result<()> {
    writeln!(out, "{head}")?;
    for (verdict, what, note) in lines {
        writeln!(out, "{verdict}  {what:<22} {note}")?;
    }
    out.flush()
}

fn capabilities(has: &CapsHashSet, lines: &mut Vec<Line>) {
    for &(capability, purpose, needed) in CAPABILITIES {
        // CAP_SYS_ADMIN was all of these once, and still is for loading.
        let granted = has.contains(&capability) || (needed && has.contains(&Capability::CAP_SYS_ADMIN));
        let verdict = match (granted, needed) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::No,
            (false, false) => Verdict::Without,
        };
        let note =
            if granted { purpose.to_owned() } else { format!("missing; it lets the recorder {purpose}") };
        lines.push((verdict, capability.to_string(), note));
    }
}

/// Loads and attaches everything. Whether that is enough for a capture.
fn hooks(lines: &mut Vec<Line>) -> bool {
    let meter = Meter::start();
    let sizes = Sizes { ring_bytes: 1 << 16, ..Sizes::default() };
    let attached = match probe::attach(&Selectors::default(), sizes, Settings::default()) {
        Ok((attached, _)) => attached,
        Err(error) => {
            lines.push((Verdict::No, "kernel programs".to_owned(), error.to_string()));
            return false;
        }
    };
    for probe in &attached.probes {
        lines.push(match &probe.failure {
            None => (Verdict::Yes, probe.name.clone(), purpose(&probe.name).to_owned()),
            Some(failure) => {
                (Verdict::Without, probe.name.clone(), format!("{}: {failure}", fallback(&probe.name)))
            }
        });
    }
    lines.push(match attached.mode {
        Mode::SockLength => {
            (Verdict::Yes, "data path".to_owned(), "sock-length: where sockets move bytes".to_owned())
        }
        Mode::SysExit => (
            Verdict::Without,
            "data path".to_owned(),
            "sys-exit: at the exit of system calls, for this kernel has no sock_send_length and \
             sock_recv_length (Linux 6.3)"
                .to_owned(),
        ),
    });
    let (verdict, note) = if meter.measures() {
        (Verdict::Yes, "what the kernel programs cost will be in the file")
    } else {
        (Verdict::Without, "what the kernel programs cost will not be known")
    };
    lines.push((verdict, "run-time statistics".to_owned(), note.to_owned()));
    true
}

/// Whether the process could be looked at.
fn libraries(pid: u32, lines: &mut Vec<Line>) -> bool {
    let process = format!("process {pid}");
    let Some(libraries) = tls::libraries(pid) else {
        lines.push((Verdict::No, process, "there is none, or it may not be looked at".to_owned()));
        return false;
    };
    if libraries.is_empty() {
        lines.push((Verdict::Yes, process, "no TLS library is loaded so far".to_owned()));
    }
    for Library { name, file, unseen } in libraries {
        let file = file.display();
        let what = format!("TLS, {name}");
        lines.push(match unseen {
            None => (Verdict::Yes, what, format!("{file}: its plaintext will be seen")),
            Some(why) => (Verdict::Without, what, format!("{file}: not seen, {why}")),
        });
    }
    true
}

fn purpose(hook: &str) -> &'static str {
    match hook {
        "sched_process_fork" | "sched_process_exec" | "sched_process_exit" => {
            "follow the processes of a target"
        }
        "inet_sock_set_state" => "beginning and end of connections, new listeners",
        "sk_data_ready" => "when data arrived, so how long it waited in a queue",
        "sock_send_length" | "sock_recv_length" => "every call that moved bytes, with its true length",
        "sys_exit" => "every call that moved bytes, at its exit; those of io_uring are not seen",
        "tcp_rcv_space_adjust" | "tcp_destroy_sock" => "what belongs to which connection, for sys_exit",
        _ => "",
    }
}

fn fallback(hook: &str) -> &'static str {
    match hook {
        "sk_data_ready" => "queue times are known from the establishing of connections only",
        "sock_send_length" => "sys_exit does the same",
        _ => "not needed",
    }
}
