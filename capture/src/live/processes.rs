//! The captured processes, as the events tell of them, and what the system says they take.

use std::collections::BTreeMap;

use beyla_engine::prometheus::{Family, Kind, Sample, Unit};
use beyla_schema::event::{Body, Change, Event};
use procfs::process::Process;

use crate::host;

/// Processes that are shown; a server that forks for every connection has many.
const MOST: usize = 500;

/// The processes that live.
#[derive(Default)]
pub(super) struct Processes(BTreeMap<u32, Known>);

struct Known {
    service: Box<str>,
    command: Box<str>,
    started_ns: Option<i64>,
}

impl Processes {
    /// Takes what an event tells of processes.
    pub(super) fn learn(&mut self, event: &Event<'_>) {
        let Body::Process(process) = event.body else { return };
        if process.change == Some(Change::Exit) {
            self.0.remove(&event.pid);
        } else if !process.service.is_empty() {
            let command = process.executable.rsplit('/').next().unwrap_or_default();
            let known = Known {
                service: process.service.into(),
                command: command.into(),
                started_ns: process.started_ns,
            };
            self.0.insert(event.pid, known);
        }
    }

    /// How many there are of each service, and what they take.
    pub(super) fn families(&self, instance: &str) -> Vec<Family<'static>> {
        let mut of_service = BTreeMap::<&str, u32>::new();
        for known in self.0.values() {
            *of_service.entry(&known.service).or_default() += 1;
        }
        let count = |(service, count): (&str, u32)| {
            Sample::number([("process_name", service.to_owned())], count.into())
        };
        let instrumented = Family {
            name: "beyla_instrumented_processes",
            instrument: "",
            help: "Captured processes.",
            unit: Unit::One,
            kind: Kind::Gauge,
            samples: of_service.into_iter().map(count).collect(),
        };
        let mut time = Family {
            name: "process_cpu_time_seconds_total",
            instrument: "process.cpu.time",
            help: "CPU time of a captured process.",
            unit: Unit::Seconds,
            kind: Kind::Counter,
            samples: Vec::new(),
        };
        let mut resident = Family {
            name: "process_memory_usage_bytes",
            instrument: "process.memory.usage",
            help: "Physical memory of a captured process.",
            unit: Unit::Bytes,
            kind: Kind::Gauge,
            samples: Vec::new(),
        };
        let mut memory = Family {
            name: "process_memory_virtual_bytes",
            instrument: "process.memory.virtual",
            help: "Address space of a captured process that is in use.",
            ..resident.clone()
        };
        for (&pid, known) in self.0.iter().take(MOST) {
            let Some(usage) = Usage::of(pid, known) else { continue };
            let labels = |mode: Option<&str>| {
                let mut labels = Vec::new();
                labels.extend(mode.map(|mode| ("cpu_mode", mode.to_owned())));
                labels.extend([
                    ("instance", instance.to_owned()),
                    ("job", known.service.to_string()),
                    ("process_command", known.command.to_string()),
                    ("process_pid", pid.to_string()),
                    ("service_name", known.service.to_string()),
                ]);
                labels
            };
            time.samples.push(Sample::number(labels(Some("system")), usage.system_seconds));
            time.samples.push(Sample::number(labels(Some("user")), usage.user_seconds));
            resident.samples.push(Sample::number(labels(None), usage.resident_bytes));
            memory.samples.push(Sample::number(labels(None), usage.virtual_bytes));
        }
        vec![instrumented, time, resident, memory]
    }
}

/// What a process takes.
struct Usage {
    user_seconds: f64,
    system_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
}

impl Usage {
    /// None when it is gone, also when another one has its number now.
    fn of(pid: u32, known: &Known) -> Option<Self> {
        // Everybody may read this file of everybody's processes.
        let stat = Process::new(pid.cast_signed()).and_then(|process| process.stat()).ok()?;
        let started_ns = host::started_ns(stat.starttime);
        if known.started_ns.is_some_and(|known| known != started_ns) {
            return None;
        }
        let ticks = procfs::ticks_per_second() as f64;
        Some(Self {
            user_seconds: stat.utime as f64 / ticks,
            system_seconds: stat.stime as f64 / ticks,
            resident_bytes: stat.rss as f64 * procfs::page_size() as f64,
            virtual_bytes: stat.vsize as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use beyla_schema::event::Process as Told;

    use super::*;

    fn told(pid: u32, change: Option<Change>, started_ns: Option<i64>) -> Event<'static> {
        let body = Body::Process(Told {
            change,
            parent: 1,
            started_ns,
            executable: "/usr/bin/shop",
            command_line: "",
            cgroup: "",
            container: "",
            runtime: "",
            service: "shop",
        });
        Event { ts_ns: 0, cpu: 0, seq: 0, pid, tid: pid, connection: 0, carried: false, body }
    }

    #[test]
    fn processes_are_shown_as_long_as_they_live() {
        let own = std::process::id();
        let mut processes = Processes::default();
        processes.learn(&told(own, None, None));
        let samples = |processes: &Processes| -> Vec<usize> {
            processes.families("vm").iter().map(|family| family.samples.len()).collect()
        };
        assert_eq!(samples(&processes), [1, 2, 1, 1]);
        // Another process that had the number before.
        processes.learn(&told(own, Some(Change::Exec), Some(1)));
        assert_eq!(samples(&processes), [1, 0, 0, 0]);
        processes.learn(&told(own, Some(Change::Exit), None));
        assert_eq!(samples(&processes), [0, 0, 0, 0]);
    }
}
