//! The end of a batch: decided by a back, published by whoever holds the memory and the reports.
//!
//! Left out: what the end is; see `back.rs`.

use std::sync::Arc;

use super::batch::{Body, SealedBatch, StampedBatch};
use super::completion::{BatchCompletion, BatchEnd, Posted};

/// A batch that ended, with its memory.
#[derive(Debug)]
pub enum Ended {
    /// It was never claimed.
    Sealed(SealedBatch, BatchEnd),
    /// It was claimed.
    Stamped(StampedBatch, BatchEnd),
}

/// A batch whose end is published and whose memory can go back.
#[derive(Debug)]
pub struct Concluded {
    /// The batch.
    pub completion: Arc<BatchCompletion>,
    /// Its posted records that are to be reported now.
    pub posted: Vec<Posted>,
    /// Its records, those withdrawn not counted if it was sent.
    pub records: u32,
    /// Bytes of its body.
    pub bytes: usize,
    /// Attempts that were made; 0 if it was never claimed.
    pub attempts: u32,
    /// Its memory, unless a request that is still being written holds it; to be given back.
    pub memory: Option<Body>,
}

impl Ended {
    /// Publishes the end.
    pub fn conclude(self) -> Concluded {
        match self {
            Self::Sealed(batch, end) => {
                let (records, bytes) = (batch.count(), batch.body_len());
                let posted = batch.completion.settle(end);
                Concluded {
                    completion: batch.completion,
                    posted,
                    records,
                    bytes,
                    attempts: 0,
                    memory: Some(batch.body),
                }
            }
            Self::Stamped(batch, end) => {
                let (records, bytes, attempts) = (batch.count, batch.body.len(), batch.attempts);
                let posted = batch.completion.settle(end);
                let memory = Arc::into_inner(batch.body);
                Concluded { completion: batch.completion, posted, records, bytes, attempts, memory }
            }
        }
    }
}
