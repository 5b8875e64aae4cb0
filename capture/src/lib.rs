//! Records the socket events of an unmodified service to Parquet.
//!
//! The way of an event: [`probe`] attaches the kernel programs, which write records into a ring buffer;
//! [`ring`] drains it on a thread of its own and hands batches through a bounded channel to [`writer`], where
//! [`order`] puts them into the order of the file and [`convert`] turns them into events. [`target`] decides
//! whose events they are, as [`cli`] and [`config`] have asked for; [`session`] runs it all, and gives up its privileges ([`privilege`]) before the first
//! event is looked at; what needs some later are processes of their own, the [`loader`] and the one that attaches to TLS
//! libraries ([`tls`]). What is shown meanwhile comes from the same events ([`live`]). [`recover`] makes a
//! file of what a capture left that was killed.

pub mod check;
pub mod cli;
pub mod config;
pub mod convert;
pub mod cost;
pub mod host;
pub mod live;
pub mod loader;
pub mod order;
pub mod privilege;
pub mod probe;
pub mod recover;
pub mod ring;
pub mod session;
pub mod status;
pub mod target;
pub mod tls;
pub mod writer;
