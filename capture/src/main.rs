//! The command `beyla-capture`.

use std::{
    env,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitCode, ExitStatus},
};

use anyhow::Context as _;
use beyla_capture::{
    check,
    cli::{Cli, Generate, Verb},
    loader, recover, session, tls, writer,
};
use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;

/// Exit codes: a failed capture, and a command line or an environment that does not allow one.
const FAILED: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(kind) = cli.generate {
        return match generate(kind) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error.into(), FAILED),
            _ => ExitCode::SUCCESS,
        };
    }
    match cli.verb {
        None => {}
        Some(Verb::Loader { command }) => {
            return match loader::serve(command) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&anyhow::anyhow!("loader: {error}"), FAILED),
            };
        }
        Some(Verb::Attacher { programs }) => {
            return match tls::serve(&programs) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&anyhow::anyhow!("attacher: {error}"), FAILED),
            };
        }
        Some(Verb::Check { pid }) => return ExitCode::from(if check::run(pid) { 0 } else { USAGE }),
        Some(Verb::Recover { file, force }) => return recover(&file, force),
    }
    let variable = |name: &str| Some(env::var_os(name)?.to_string_lossy().into_owned());
    let (options, notes) = match cli.options(variable) {
        Ok(asked) => asked,
        Err(error) => return fail(&error.into(), USAGE),
    };
    for note in notes.iter().filter(|_| !options.quiet) {
        eprintln!("beyla-capture: {note}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime.context("cannot start") {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, FAILED),
    };
    match runtime.block_on(session::run(options)) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(status)) => exit_code_of(status),
        Err(error @ session::Error::Write(writer::Error::Stopped { .. } | writer::Error::Write { .. })) => {
            fail(&error.into(), FAILED)
        }
        Err(error @ session::Error::Thread(..)) => fail(&error.into(), FAILED),
        Err(error) => fail(&error.into(), USAGE),
    }
}

fn recover(file: &Path, force: bool) -> ExitCode {
    let done = recover::recover(file, force, |recovered| eprintln!("{recovered}"));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is_usage() { USAGE } else { FAILED };
            fail(&error.into(), code)
        }
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("beyla-capture: {error}");
    ExitCode::from(code)
}

/// The exit code of the command, as a shell would report it.
fn exit_code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(FAILED))
}

fn generate(kind: Generate) -> io::Result<()> {
    let mut command = Cli::command();
    let mut output = Vec::new();
    let shell = match kind {
        Generate::Man => None,
        Generate::CompleteBash => Some(Shell::Bash),
        Generate::CompleteFish => Some(Shell::Fish),
        Generate::CompleteZsh => Some(Shell::Zsh),
    };
    match shell {
        None => clap_mangen::Man::new(command).render(&mut output)?,
        Some(shell) => clap_complete::generate(shell, &mut command, "beyla-capture", &mut output),
    }
    io::stdout().write_all(&output)
}
