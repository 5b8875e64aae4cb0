//! Ctrl-C, for work that has something to put away before it ends.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::{
    runtime::Builder,
    select,
    signal::unix::{SignalKind, signal},
};

/// Whether the user wants it to end. From when this is made on, a signal does not end the process by itself.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for SIGINT and SIGTERM until the process ends.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let interrupted = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&interrupted);
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            seen.store(true, Ordering::Relaxed);
        })?;
        Ok(Self(interrupted))
    }

    /// Whether a signal came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
