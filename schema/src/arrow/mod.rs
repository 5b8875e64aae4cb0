//! The Arrow form of events and requests: column names, types and the conversions both ways.

pub mod events;
pub mod requests;
mod words;
