//! The end of a batch: decided by a back, published by whoever holds the memory and the reports.
//!
//! Left out: what the end is; see `back.rs`.

use std::sync::Arc;

use super::batch::SealedBatch;
use super::body::Body;
use super::completion::{BatchCompletion, BatchEnd, Posted};
use super::doubt::Doubt;
use super::stamped::StampedBatch;

/// A batch that ended, with its memory.
#[derive(Debug)]
pub enum Ended {
    /// It was never claimed.
    Sealed(SealedBatch, BatchEnd),
    /// It was claimed.
    Stamped(StampedBatch, BatchEnd),
    /// Some records of a batch ended before it, and these of them are to be reported.
    Records(Arc<BatchCompletion>, Vec<Posted>),
    /// A batch was given up, and its bytes are not sent any more; its fate is open.
    Payload(Arc<BatchCompletion>, Arc<Body>),
    /// What became of a batch that was given up is known, or never will be.
    Doubt(Doubt, BatchEnd),
}

/// A batch whose end is published and whose memory can go back.
#[derive(Debug)]
pub struct Concluded {
    /// The batch.
    pub completion: Arc<BatchCompletion>,
    /// Its posted records that are to be reported now.
    pub posted: Vec<Posted>,
    /// Its memory, unless a request that is still being written holds it, or somebody who works on it; to be given back.
    pub memory: Option<Body>,
}

/// What a batch amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedSize {
    /// Its records, those withdrawn not counted if it was sent.
    pub records: u32,
    /// Bytes of its body, as it was sent.
    pub bytes: usize,
    /// Bytes of its records before they were compressed.
    pub raw_bytes: usize,
    /// Attempts that were made; 0 if it was never claimed.
    pub attempts: u32,
}

impl Ended {
    /// To be counted before the end is published.
    pub fn size(&self) -> EndedSize {
        match self {
            Self::Sealed(batch, _) => {
                EndedSize { records: batch.count(), bytes: batch.body_len(), raw_bytes: batch.raw_len, attempts: 0 }
            }
            Self::Stamped(batch, _) => batch.size(),
            Self::Doubt(doubt, _) => doubt.size,
            Self::Records(..) | Self::Payload(..) => EndedSize { records: 0, bytes: 0, raw_bytes: 0, attempts: 0 },
        }
    }

    /// Publishes the end.
    pub fn conclude(self) -> Concluded {
        match self {
            Self::Sealed(batch, end) => {
                let posted = batch.completion.settle(end);
                Concluded { completion: batch.completion, posted, memory: Arc::into_inner(batch.body) }
            }
            Self::Stamped(batch, end) => {
                let posted = batch.completion.settle_part(batch.records, end);
                Concluded { completion: batch.completion, posted, memory: Arc::into_inner(batch.body) }
            }
            Self::Records(completion, posted) => Concluded { completion, posted, memory: None },
            Self::Payload(completion, body) => {
                Concluded { completion, posted: Vec::new(), memory: Arc::into_inner(body) }
            }
            Self::Doubt(doubt, end) => {
                let posted = doubt.completion.settle_part(doubt.records, end);
                Concluded { completion: doubt.completion, posted, memory: None }
            }
        }
    }
}
