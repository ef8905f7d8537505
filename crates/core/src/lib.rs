//! The deciding machines of a Kafka producer: connection, metadata, partitions, lanes.
//!
//! Everything here is a plain value that is told what happened and asked what to do next. Four kinds of verb: commands
//! (`append`, `flush`, `cancel`), `handle_*` (answers, disconnects, time), `poll_*` (`poll_request`, `poll_event`,
//! `poll_timeout`) and getters. The time and the seed of every random choice are arguments, so that the simulation
//! drives the same code as the client.
//!
//! Left out: sockets, clocks, threads, logging. Those are the client's (`milena`) or the simulation's.

pub mod backoff;
#[doc(hidden)]
pub mod blocking;
pub mod connection;
pub mod fault;
pub mod ids;
pub mod metadata;
#[cfg(feature = "plants")]
pub mod plant;
pub mod producer;
#[doc(hidden)]
pub mod sync;
pub mod time;
