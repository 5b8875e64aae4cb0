//! Processes that do for the recorder what it has no privileges for any more: started as this program once more, spoken
//! to over a socket, a line of JSON each way. When the recorder is gone, the socket ends and so do they.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
};

use serde::{Serialize, de::DeserializeOwned};

/// Longest request.
const REQUEST: u64 = 256;

/// The recorder's end.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    socket: BufReader<UnixStream>,
}

impl Helper {
    /// Starts a subcommand of this program, which gets `map`, if there is one, as its standard output.
    pub(crate) fn start(
        subcommand: &str,
        arguments: impl IntoIterator<Item = String>,
        map: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut helper = Command::new("/proc/self/exe");
        helper.arg0("beyla-capture").arg(subcommand).args(arguments);
        // Ctrl-C is for the recorder, which still needs it then.
        helper.process_group(0);
        // Standard input and output are the two descriptors that a started program gets without further ado.
        helper.stdin(OwnedFd::from(theirs)).stdout(map.map_or_else(Stdio::null, Stdio::from));
        let child = helper.spawn()?;
        // It holds the other end of the socket, which must end when the helper does.
        drop(helper);
        Ok(Self { child, socket: BufReader::new(ours) })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, request: &impl Serialize) -> io::Result<T> {
        self.socket.get_mut().write_all(line(request)?.as_bytes())?;
        let mut answer = String::new();
        self.socket.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Has it end, in its own time.
    pub(crate) fn leave(&self) {
        // It may have ended by itself.
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
    }

    /// Has it end, and waits for that.
    pub(crate) fn end(&mut self) {
        self.leave();
        // There is nothing left to say if it had failed.
        let _ = self.child.wait();
    }
}

/// The helper's side: answers requests, which come through standard input, until there are no more.
pub(crate) fn serve<T: DeserializeOwned>(mut answer: impl FnMut(T) -> io::Result<String>) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut answers = socket.try_clone()?;
    let mut requests = BufReader::new(socket);
    let mut request = String::new();
    loop {
        request.clear();
        // Whoever could make the recorder send anything else than its requests gets nothing out of this process.
        if requests.by_ref().take(REQUEST).read_line(&mut request)? == 0 {
            return Ok(());
        }
        answers.write_all(answer(serde_json::from_str(&request)?)?.as_bytes())?;
    }
}

/// A message as it is sent.
pub(crate) fn line(message: &impl Serialize) -> io::Result<String> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    Ok(line)
}
