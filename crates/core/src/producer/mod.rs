//! The producer's machines, in the order of a record's road.
//!
//! ```text
//! record ─ front ─▶ SealedBatch ─ lane ─▶ StampedBatch ─▶ request … answer ─ verdict ─▶ BatchEnd
//!                         completion: one per batch, shared with every caller that waits for it
//! ```

pub mod account;
mod anchor;
pub mod back;
pub mod batch;
pub mod body;
pub mod completion;
pub mod control;
mod delivery;
pub mod doubt;
pub mod ended;
pub mod expiry;
pub mod front;
pub mod journal;
pub mod lane;
pub mod outcome;
pub mod packing;
pub mod partitioning;
pub mod produce_request;
mod roster;
pub mod scan;
pub mod settle;
pub mod stamped;
#[cfg(all(test, not(milena_model)))]
mod testbed;
pub mod trouble;
pub mod verdict;
mod waiters;
