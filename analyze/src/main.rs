//! `beyla-analyze`: arguments in, calls of the library, exit status out.

mod cli;

use std::{
    io,
    path::{Component, Path},
    process::ExitCode,
};

use beyla_analyze::Error;

use self::cli::{status::FAILED, terminal::complain};

fn main() -> ExitCode {
    quiet_decoder_panics();
    match cli::run() {
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
