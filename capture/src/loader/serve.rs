//! The loader's side: answers until the socket ends.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
};

use aya::maps::{Map, MapData};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::Request;
use crate::{
    privilege,
    target::{Facts, Marks, mark},
};

/// Longest request.
const REQUEST: u64 = 256;

/// Serves the recorder that started this process: the socket is standard input, the kernel's memory of sockets
/// standard output. `command` is the process that it may end.
pub fn serve(command: Option<u32>) -> io::Result<()> {
    privilege::keep_to_look()?;
    let mut marks = marks(io::stdout().as_fd().try_clone_to_owned()?)?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut answers = socket.try_clone()?;
    let mut requests = BufReader::new(socket);
    let mut line = String::new();
    loop {
        line.clear();
        // Whoever could make the recorder send anything else than its requests gets nothing out of this process.
        if requests.by_ref().take(REQUEST).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line)? {
            Request::Ready => json(&()),
            Request::Facts(pid) => json(&Facts::of(pid)),
            Request::Mark(pid) => json(&mark(pid, &mut marks)),
            Request::EndCommand => {
                if let Some(pid) = command.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                    // It may have ended by itself.
                    let _ = kill_process(pid, Signal::TERM);
                }
                json(&())
            }
        }?;
        answers.write_all(answer.as_bytes())?;
    }
}

fn json<T: Serialize>(answer: &T) -> io::Result<String> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    Ok(line)
}

fn marks(map: OwnedFd) -> io::Result<Marks> {
    let data = MapData::from_fd(map).map_err(io::Error::other)?;
    Marks::try_from(Map::SkStorage(data)).map_err(io::Error::other)
}
