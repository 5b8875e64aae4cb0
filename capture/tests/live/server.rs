//! The servers of `fixtures/servers`, each a process of its own that ends with its test.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use beyla_schema::event::Source;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::{
    folder, free_port, sources, stacks,
    tls::{self, Service},
    wait_for,
};

/// What to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// gRPC-Web, gRPC and Connect on connect-go.
    Connect,
    Go,
    /// HTTP/1.1, HTTP/2 without TLS and the upgrade, on net/http.
    GoHttp2,
    /// grpc-go.
    Grpc,
    Gunicorn,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/1.1 and HTTP/2 without TLS.
    Hyper,
    Java,
    /// Listens with Multipath TCP.
    Multipath,
    Nginx,
    /// A proxy to the service at this port.
    NginxProxy {
        backend: u16,
    },
    /// HTTP/2 without TLS.
    Nghttpd,
    Node,
    Python,
    Ruby,
    Uvicorn,
    /// Sends back what it is sent.
    Websocket,
    /// No HTTP: sends back what it is sent.
    Echo,
    /// Forks a process for every connection.
    Forking,
    /// Sleeps before it accepts, and before it reads.
    Slow {
        accept_ms: u64,
        read_ms: u64,
    },
    /// Speaks TLS.
    Tls(Service),
}

impl Kind {
    /// What must be installed.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Connect | Self::GoHttp2 | Self::Grpc | Self::Hyper => stacks::PROGRAMS,
            Self::Go => &["go"],
            Self::Gunicorn => &["gunicorn"],
            Self::Java => &["java", "javac"],
            Self::Nginx | Self::NginxProxy { .. } => &["nginx"],
            Self::Nghttpd => &["nghttpd"],
            Self::Node | Self::H2c => &["node"],
            Self::Python
            | Self::Echo
            | Self::Forking
            | Self::Multipath
            | Self::Slow { .. }
            | Self::Websocket => &["python3"],
            Self::Ruby => &["ruby"],
            Self::Uvicorn => &["uvicorn"],
            Self::Tls(service) => service.programs(),
        }
    }

    /// Where the bytes of its messages are seen.
    pub(crate) fn source(self) -> Source {
        if let Self::Tls(service) = self { service.source() } else { Source::Socket }
    }

    /// Adds what starts the server to a command that bounds its time whatever happens to the test.
    fn command(self, port: u16, folder: &Path, mut command: Command) -> Command {
        let sources = sources();
        let port = port.to_string();
        command.args(["-k", "5", "120"]);
        match self {
            Self::Connect => command.arg(stacks::program("connect-server")).arg(port),
            Self::Go => command.arg(go_program()).arg(port),
            Self::GoHttp2 => command.arg(stacks::program("h2-server")).arg(port),
            Self::Grpc => command.arg(stacks::program("grpc-server")).arg(port),
            Self::Hyper => command.arg(stacks::program("hyper-server")).arg(port),
            Self::Gunicorn => command
                .args(["gunicorn", "--workers", "2", "--bind", &format!("127.0.0.1:{port}"), "app"])
                .args(["--worker-tmp-dir", "/dev/shm", "--chdir"])
                .arg(sources.join("gunicorn")),
            Self::Java => command.args(["java", "-cp"]).arg(java_classes()).args(["Server", &port]),
            Self::Nginx => nginx(&mut command, folder, ("PORT", &port)),
            Self::NginxProxy { backend } => {
                let ports = [("PORT", port.as_str()), ("BACKEND", &backend.to_string())];
                nginx_config(&sources.join("nginx-proxy"), folder, &ports);
                command.args(["nginx", "-c", "nginx.conf", "-e", "error.log", "-p"]).arg(folder)
            }
            Self::Nghttpd => {
                fs::write(folder.join("index.html"), "hello\n").unwrap();
                command
                    .args(["nghttpd", "--no-tls", "--address", "127.0.0.1", "--htdocs"])
                    .arg(folder)
                    .arg(port)
            }
            Self::Node => command.arg("node").arg(sources.join("node/server.js")).arg(port),
            Self::H2c => command.arg("node").arg(sources.join("h2c/server.js")).arg(port),
            Self::Python => command.arg("python3").arg(sources.join("python/server.py")).arg(port),
            Self::Multipath => command.arg("python3").arg(sources.join("multipath/multipath.py")).arg(port),
            Self::Ruby => command.arg("ruby").arg(sources.join("ruby/server.rb")).arg(port),
            Self::Uvicorn => command
                .args(["uvicorn", "--loop", "asyncio", "--log-level", "warning"])
                .args(["--port", &port, "--app-dir"])
                .arg(sources.join("uvicorn"))
                .arg("app:application"),
            // The package is installed for the system's Python.
            Self::Websocket => {
                command.arg("/usr/bin/python3").arg(sources.join("websocket/server.py")).arg(port)
            }
            Self::Forking => command.arg("python3").arg(sources.join("forking/forking.py")).arg(port),
            Self::Slow { accept_ms, read_ms } => command
                .arg("python3")
                .arg(sources.join("slow/slow.py"))
                .args([port, accept_ms.to_string(), read_ms.to_string()]),
            Self::Echo => command.arg("python3").arg(sources.join("echo/echo.py")).arg(port),
            Self::Tls(service) => service.command(&mut command, &port, folder),
        };
        command
    }
}

/// Adds what starts nginx, and makes the files it serves.
pub(crate) fn nginx<'a>(command: &'a mut Command, folder: &Path, value: (&str, &str)) -> &'a mut Command {
    nginx_config(&sources().join("nginx"), folder, &[value]);
    fs::create_dir(folder.join("html")).unwrap();
    fs::write(folder.join("html/index.html"), "hello\n").unwrap();
    fs::write(folder.join("html/big.bin"), vec![b'x'; 1 << 20]).unwrap();
    command.args(["nginx", "-c", "nginx.conf", "-e", "error.log", "-p"]).arg(folder)
}

/// Writes a configuration of nginx with its placeholders replaced.
fn nginx_config(source: &Path, folder: &Path, values: &[(&str, &str)]) {
    let template = fs::read_to_string(source.join("nginx.conf")).unwrap();
    let text = values.iter().fold(template, |text, (name, value)| text.replace(name, value));
    fs::write(folder.join("nginx.conf"), text).unwrap();
}

/// The Go server, compiled once.
pub(crate) fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        compiled("go-server", |program| {
            let mut build = Command::new("go");
            build.current_dir(sources().join("go")).args(["build", "-o"]).arg(program).arg(".");
            build
        })
    })
}

/// The folder of the Java server, compiled once.
fn java_classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let class = compiled("Server.class", |class| {
            let mut build = Command::new("javac");
            build.arg("-d").arg(class.parent().unwrap()).arg(sources().join("java/Server.java"));
            build
        });
        class.parent().unwrap().to_owned()
    })
}

/// Runs a compiler for the file called `name`, and puts it where the next run replaces it. The program may be
/// in use by tests in other processes, which a rename does not disturb.
pub(crate) fn compiled(name: &str, compiler: impl FnOnce(&Path) -> Command) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tempfile::tempdir_in(place).unwrap();
    let fresh = folder.path().join(name);
    assert!(compiler(&fresh).status().unwrap().success(), "{name} does not compile");
    fs::rename(fresh, place.join(name)).unwrap();
    place.join(name)
}

/// A running server.
pub(crate) struct Server {
    pub(crate) port: u16,
    kind: Kind,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_on(kind, free_port())
    }

    /// The same, on a port that was chosen before.
    pub(crate) fn start_on(kind: Kind, port: u16) -> Self {
        Self::start_with(kind, port, Command::new("timeout"))
    }

    /// The same, by a command that does what `timeout` does with its arguments.
    pub(crate) fn start_with(kind: Kind, port: u16, timeout: Command) -> Self {
        let folder = folder();
        let mut command = kind.command(port, folder.path(), timeout);
        let log = File::create(folder.path().join("server.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = Self { port, kind, child: command.spawn().unwrap(), folder };
        wait_for("the server", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                let log = fs::read_to_string(server.folder.path().join("server.log"));
                panic!("{kind:?} ended ({status}): {}", log.unwrap());
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        server
    }

    /// Where `target` is.
    pub(crate) fn url(&self, target: &str) -> String {
        let scheme = if self.certificate().is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}{target}", self.port)
    }

    /// What its clients must trust, if it speaks TLS.
    pub(crate) fn certificate(&self) -> Option<PathBuf> {
        (self.kind.source() != Source::Socket).then(|| self.folder.path().join(tls::CERTIFICATE))
    }

    /// What tells clients of ours to trust it.
    pub(crate) fn trust(&self) -> Vec<String> {
        let Some(certificate) = self.certificate() else { return Vec::new() };
        vec!["-certificate".to_owned(), certificate.display().to_string()]
    }

    /// The id of the server's process: the child of the one that bounds its time.
    pub(crate) fn pid(&self) -> u32 {
        let bound = self.child.id();
        let children = fs::read_to_string(format!("/proc/{bound}/task/{bound}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + Duration::from_secs(3);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
