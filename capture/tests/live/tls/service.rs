//! Servers that speak TLS: programs of `fixtures/servers`, which do when they are given a certificate.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use beyla_schema::event::Source;

use crate::{
    server::{compiled, go_program, nginx},
    sources, stacks,
};

/// What to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// HTTP/1.1 and HTTP/2, on net/http.
    Go,
    /// The same without symbols.
    GoStripped,
    /// Not optimised: not the code that the probes are made for.
    GoUnoptimised,
    /// What `h2-client` asks.
    GoHttp2,
    /// grpc-go.
    Grpc,
    Gunicorn,
    /// HTTP/1.1 and HTTP/2, on the system's OpenSSL.
    Hyper,
    /// The same with an OpenSSL of its own, linked into the program.
    HyperVendored,
    /// HTTP/1.1 and HTTP/2.
    Nginx,
    Node,
    /// The same, and without TLS on this port at the same time.
    NodeBoth {
        http: u16,
    },
    /// HTTP/1.1 and HTTP/2.
    NodeHttp2,
    Python,
    Ruby,
    UvicornAsyncio,
    UvicornUvloop,
}

impl Service {
    /// What must be installed: python3 for the client.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Go | Self::GoStripped | Self::GoUnoptimised => &["openssl", "python3", "go"],
            Self::GoHttp2 | Self::Grpc | Self::Hyper | Self::HyperVendored => {
                &["openssl", "python3", "go", "cargo"]
            }
            Self::Gunicorn => &["openssl", "python3", "gunicorn"],
            Self::Nginx => &["openssl", "python3", "nginx"],
            Self::Node | Self::NodeBoth { .. } | Self::NodeHttp2 => &["openssl", "python3", "node"],
            Self::Python => &["openssl", "python3"],
            Self::Ruby => &["openssl", "python3", "ruby"],
            Self::UvicornAsyncio | Self::UvicornUvloop => &["openssl", "python3", "uvicorn"],
        }
    }

    /// Its library.
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Go | Self::GoStripped | Self::GoUnoptimised | Self::GoHttp2 | Self::Grpc => Source::Go,
            _ => Source::OpenSsl,
        }
    }

    /// Adds what starts the server, with a certificate in `folder`.
    pub(crate) fn command<'a>(self, command: &'a mut Command, port: &str, folder: &Path) -> &'a mut Command {
        let sources = sources();
        let [certificate, key] = certificate(folder);
        let command = match self {
            Self::Go => command.arg(go_program()).arg(port),
            Self::GoStripped => command.arg(stripped_go_program()).arg(port),
            Self::GoUnoptimised => command.arg(unoptimised_go_program()).arg(port),
            Self::GoHttp2 => command.arg(stacks::program("h2-server")).arg(port),
            Self::Grpc => command.arg(stacks::program("grpc-server")).arg(port),
            Self::Hyper => command.arg(stacks::program("hyper-server")).arg(port),
            Self::HyperVendored => command.arg(stacks::program("hyper-server-vendored")).arg(port),
            Self::Node | Self::NodeBoth { .. } => {
                command.arg("node").arg(sources.join("node/server.js")).arg(port)
            }
            Self::NodeHttp2 => command.arg("node").arg(sources.join("h2c/server.js")).arg(port),
            Self::Python => command.arg("python3").arg(sources.join("python/server.py")).arg(port),
            Self::Ruby => command.arg("ruby").arg(sources.join("ruby/server.rb")).arg(port),
            Self::Gunicorn => {
                return command
                    .args(["gunicorn", "--workers", "2", "--bind", &format!("127.0.0.1:{port}"), "app"])
                    .args(["--worker-tmp-dir", "/dev/shm", "--chdir"])
                    .arg(sources.join("gunicorn"))
                    .arg("--certfile")
                    .arg(certificate)
                    .arg("--keyfile")
                    .arg(key);
            }
            Self::UvicornAsyncio => return uvicorn(command, port, "asyncio", &certificate, &key),
            Self::UvicornUvloop => return uvicorn(command, port, "uvloop", &certificate, &key),
            Self::Nginx => {
                let listen = format!(
                    "{port} ssl http2; ssl_certificate {}; ssl_certificate_key {};",
                    certificate.display(),
                    key.display()
                );
                return nginx(command, folder, ("PORT;", &listen));
            }
        };
        command.arg(certificate).arg(key);
        if let Self::NodeBoth { http } = self {
            command.arg(http.to_string());
        }
        command
    }
}

fn uvicorn<'a>(
    command: &'a mut Command,
    port: &str,
    event_loop: &str,
    certificate: &Path,
    key: &Path,
) -> &'a mut Command {
    command
        .args(["uvicorn", "--loop", event_loop, "--log-level", "warning", "--port", port])
        // It is longer than a capture takes to begin.
        .args(["--timeout-keep-alive", "60", "--ssl-certfile"])
        .arg(certificate)
        .arg("--ssl-keyfile")
        .arg(key)
        .arg("--app-dir")
        .arg(sources().join("uvicorn"))
        .arg("app:application")
}

/// The Go server without symbols, compiled once.
fn stripped_go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        compiled("go-server-stripped", |program| {
            let mut build = Command::new("go");
            build.current_dir(sources().join("go"));
            build.args(["build", "-ldflags", "-s -w", "-o"]).arg(program).arg(".");
            build
        })
    })
}

/// The same whose TLS was compiled for a debugger, compiled once.
fn unoptimised_go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        compiled("go-server-unoptimised", |program| {
            let mut build = Command::new("go");
            build.current_dir(sources().join("go"));
            build.args(["build", "-gcflags", "crypto/tls=-N -l", "-o"]).arg(program).arg(".");
            build
        })
    })
}

/// The name of a server's certificate in its folder.
pub(crate) const CERTIFICATE: &str = "certificate.pem";

/// Makes a certificate for this machine, and its key.
fn certificate(folder: &Path) -> [PathBuf; 2] {
    let files = [CERTIFICATE, "key.pem"].map(|name| folder.join(name));
    let [certificate, key] = &files;
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    files
}
