//! The tables: `requests` replays the files; `connections` and `losses` read the few columns they are made of; `events` is
//! the files themselves.

mod columns;
mod connections;
mod connections_row;
mod events;
mod losses;
mod requests;
mod unfinished_events;

pub(super) use self::{
    connections::Connections, events::EventsTable, losses::Losses, requests::Requests,
    unfinished_events::UnfinishedEvents,
};
