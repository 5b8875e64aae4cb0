//! The loader's side.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{Map, MapData};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    Request,
    helper::{self, line},
};
use crate::{
    privilege,
    target::{Facts, Marks, mark},
};

/// Serves the recorder that started this process, with the kernel's memory of sockets as standard output. `command` is
/// the process that it may end.
pub fn serve(command: Option<u32>) -> io::Result<()> {
    privilege::keep_to_look()?;
    let mut marks = marks(io::stdout().as_fd().try_clone_to_owned()?)?;
    helper::serve(|request| match request {
        Request::Ready => line(&()),
        Request::Facts(pid) => line(&Facts::of(pid)),
        Request::Mark(pid) => line(&mark(pid, &mut marks)),
        Request::EndCommand => {
            if let Some(pid) = command.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::TERM);
            }
            line(&())
        }
    })
}

fn marks(map: OwnedFd) -> io::Result<Marks> {
    let data = MapData::from_fd(map).map_err(io::Error::other)?;
    Marks::try_from(Map::SkStorage(data)).map_err(io::Error::other)
}
