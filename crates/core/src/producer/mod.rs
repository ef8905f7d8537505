//! The producer's machines, in the order of a record's road.
//!
//! ```text
//! record ─ front ─▶ SealedBatch ─ lane ─▶ StampedBatch ─▶ request … answer ─ verdict ─▶ BatchEnd
//!                         completion: one per batch, shared with every caller that waits for it
//! ```

pub mod back;
pub mod batch;
pub mod completion;
pub mod control;
pub mod expiry;
pub mod front;
pub mod lane;
pub mod outcome;
mod produce_request;
pub mod verdict;
mod waiters;
