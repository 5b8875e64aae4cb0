//! What /proc tells about a process as such: program, arguments, age, control group, service.

use std::path::{Path, PathBuf};

use procfs::process::Process;
use serde::{Deserialize, Serialize};

use super::runtime::Runtime;
use crate::{host, tls};

/// Longest command line that is kept, bytes.
const COMMAND_LINE: usize = 4096;

/// What is known of a process. Texts are empty where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Path of its executable.
    pub executable: PathBuf,
    /// Name to report it under: what the user calls it, else what its environment says by OpenTelemetry's rules, else the
    /// file name of the executable.
    pub service: String,
    /// Its arguments, separated by blanks.
    pub command_line: String,
    /// Path of its control group: of version 2 where there is one.
    pub cgroup: String,
    /// Id of its container.
    pub container: String,
    /// What runs its program.
    pub runtime: Option<Runtime>,
    /// Of a program of Go: where its `runtime.g` has the number of the goroutine.
    pub goid_offset: Option<u16>,
    /// When it started, nanoseconds since 1970-01-01 UTC.
    pub started_ns: Option<i64>,
    /// The process that started it; 0 when it is gone.
    pub parent: u32,
}

impl Facts {
    /// Looks a process up; what cannot be found stays empty.
    pub fn of(pid: u32) -> Self {
        open(pid).map_or_else(Self::default, |process| Self::read(&process))
    }

    /// The same, reported under this name if there is one. What is known of nobody stays nothing.
    pub(super) fn called(self, service: Option<&str>) -> Self {
        match service {
            Some(service) if self != Self::default() => Self { service: cut(service.to_owned()), ..self },
            _ => self,
        }
    }

    fn read(process: &Process) -> Self {
        let executable = process.exe().unwrap_or_default();
        let arguments = process.cmdline().unwrap_or_default();
        let stat = process.stat().ok();
        let cgroup = cgroup(process).unwrap_or_default();
        // The path is that of the process's own file system, which a container has to itself.
        let file = PathBuf::from(format!("/proc/{}/exe", process.pid));
        let runtime = Runtime::of(&executable, &file);
        let goid_offset = (runtime == Some(Runtime::Go)).then(|| tls::go::goid_offset(&file)).flatten();
        Self {
            service: service(process).unwrap_or_else(|| file_name(&executable)),
            command_line: cut(arguments.join(" ")),
            container: container(&cgroup).unwrap_or_default().to_owned(),
            cgroup,
            runtime,
            goid_offset,
            started_ns: stat.as_ref().map(|stat| host::started_ns(stat.starttime)),
            parent: stat.map_or(0, |stat| stat.ppid.unsigned_abs()),
            executable,
        }
    }
}

pub(super) fn open(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

fn file_name(executable: &Path) -> String {
    let name = executable.file_name().unwrap_or_default().to_string_lossy();
    // The kernel adds this to the path of an executable that was replaced while it runs.
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(COMMAND_LINE));
    text
}

/// The service name of the environment, by the rules of OpenTelemetry's SDKs: `OTEL_SERVICE_NAME`, else
/// `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
fn service(process: &Process) -> Option<String> {
    let environment = process.environ().ok()?;
    let variable =
        |name: &str| environment.get(std::ffi::OsStr::new(name)).map(|value| value.to_string_lossy());
    let name = match variable("OTEL_SERVICE_NAME") {
        Some(name) if !name.is_empty() => name.into_owned(),
        _ => attribute(&variable("OTEL_RESOURCE_ATTRIBUTES")?, "service.name")?,
    };
    (!name.is_empty()).then(|| cut(name))
}

/// One value of a list such as `service.name=shop,service.version=1%2C0`.
fn attribute(list: &str, name: &str) -> Option<String> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| key.trim() == name)?;
    Some(percent_decoded(value.trim()))
}

pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
        match (first, after) {
            (b'%', [high, low, behind @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path in the unified hierarchy; on machines that only have the old one, in that of any controller.
fn cgroup(process: &Process) -> Option<String> {
    let groups = process.cgroups().ok()?.0;
    let unified = groups.iter().find(|group| group.hierarchy == 0 && group.pathname != "/");
    let group = unified.or_else(|| groups.iter().find(|group| group.pathname != "/"));
    Some(group.or_else(|| groups.first())?.pathname.clone())
}

/// The id in the names that container runtimes give their groups: `docker-ID.scope`, `cri-containerd-ID.scope`,
/// `libpod-ID.scope`, or plainly `ID`, of 64 hexadecimal digits.
fn container(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find_map(|component| {
        let name = component.strip_suffix(".scope").unwrap_or(component);
        let id = name.rsplit(['-', ':']).next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let facts = Facts::of(std::process::id());
        assert!(facts.parent > 0);
        assert_eq!(facts.runtime, Some(Runtime::Rust));
        assert!(facts.command_line.starts_with(&*facts.executable.to_string_lossy()));
        let now = host::clock_sample().realtime_ns;
        let age_ns = now - facts.started_ns.unwrap();
        assert!((0..600_000_000_000).contains(&age_ns), "{age_ns}");
    }

    #[test]
    fn the_user_has_the_last_word_on_names() {
        let facts = Facts::of(std::process::id());
        assert_eq!(facts.clone().called(None), facts);
        assert_eq!(facts.clone().called(Some("shop")), Facts { service: "shop".to_owned(), ..facts });
    }

    #[test]
    fn a_process_that_is_gone_has_no_facts() {
        assert_eq!(Facts::of(u32::MAX).called(Some("shop")), Facts::default());
    }

    #[test]
    fn containers_are_recognised_by_their_groups() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/kubepods/besteffort/pod1/{id}"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{id}"),
        ] {
            assert_eq!(container(&path), Some(&*id), "{path}");
        }
        for path in ["/", "/system.slice/nginx.service", "/user.slice/user-1000.slice/session-2.scope"] {
            assert_eq!(container(path), None, "{path}");
        }
    }

    #[test]
    fn resource_attributes_are_decoded() {
        let list = "deployment.environment=test, service.name = shop%20%2A%zz ,x";
        assert_eq!(attribute(list, "service.name").as_deref(), Some("shop *%zz"));
        assert_eq!(attribute(list, "service.version"), None);
    }
}
