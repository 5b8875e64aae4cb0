//! The live view: what the service does right now, on a terminal.
//!
//! A [`Window`] takes the requests that the engine settles and gives a [`Snapshot`] of the last seconds. A [`View`] draws
//! it, together with [`Facts`] about the capture; [`run`] owns the terminal and the keys, on a thread of its own.

mod table;
mod terminal;
mod view;
mod window;

pub use terminal::{Ask, End, run};
pub use view::{Action, Facts, Screen, Sort, View};
pub use window::{Name, Row, Snapshot, Window};
