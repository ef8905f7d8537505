//! What a partition remembers of its producers, and what that makes of a batch.
//!
//! Per producer: the newest epoch and up to [`CACHED_BATCHES`] of its last batches. [`validate`] is Kafka's order of checks as a pure
//! table: duplicate, transaction, epoch, sequence. It looks at nothing but the two arguments, and changes nothing.
//! A batch is checked for its own sense (checksum, count, timestamps) before it comes here; see `batch_check.rs`.
//!
//! State ends with the producer expiry, measured from the last batch's *record timestamp*, as Kafka does (`producer.id.expiration.ms`).
//! Transactions are left out: no batch opens one, so a transactional batch is never part of one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use milena_wire::ErrorCode;

use crate::ids::{Epoch, ProducerId, Sequence};
use crate::moment::Moment;

/// The batches of one producer that a partition recognises when they come again. Kafka's fixed five: the
/// reason why clients keep at most five requests in flight.
pub const CACHED_BATCHES: usize = 5;

/// The stamp of a batch: what the broker compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// The sequence of its first record.
    pub first: Sequence,
    /// The sequence of its last record.
    pub last: Sequence,
    /// Whether it says that it belongs to a transaction.
    pub transactional: bool,
}

/// A batch in the log that would be recognised if it came again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedBatch {
    /// The sequence of its first record.
    pub first: Sequence,
    /// The sequence of its last record.
    pub last: Sequence,
    /// Where its first record is in the log.
    pub base_offset: i64,
    /// Where its last record is in the log.
    pub last_offset: i64,
    /// Its largest record timestamp.
    pub timestamp: i64,
}

/// What a partition knows about one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    epoch: Epoch,
    batches: VecDeque<CachedBatch>,
    last_timestamp: i64,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Append,
    /// It is in the log already; the answer carries the original offset and timestamp.
    Duplicate(CachedBatch),
    /// It is not written.
    Refuse(Refusal),
}

/// Why a stamp is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The epoch is older than one already seen; also for late copies of batches that are in the log.
    StaleEpoch,
    /// A gap, a batch older than the cache, or a new epoch that does not start at 0.
    OutOfOrder,
    /// It claims to be part of a transaction, and none is open.
    NoTransaction,
}

impl Refusal {
    /// The code that Kafka answers with.
    pub fn code(self) -> ErrorCode {
        match self {
            Refusal::StaleEpoch => ErrorCode::INVALID_PRODUCER_EPOCH,
            Refusal::OutOfOrder => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            Refusal::NoTransaction => ErrorCode::INVALID_TXN_STATE,
        }
    }
}

/// Decides about a stamped batch by what is known of its producer. The order of the checks is Kafka's.
pub fn validate(known: Option<&ProducerEntry>, batch: &Stamp) -> Verdict {
    if let Some(original) = known.and_then(|entry| entry.duplicate_of(batch)) {
        return Verdict::Duplicate(original);
    }
    let stale = known.is_some_and(|entry| batch.epoch < entry.epoch);
    if stale {
        return Verdict::Refuse(Refusal::StaleEpoch);
    }
    if batch.transactional {
        return Verdict::Refuse(Refusal::NoTransaction);
    }
    if in_sequence(known, batch) { Verdict::Append } else { Verdict::Refuse(Refusal::OutOfOrder) }
}

/// A partition without state takes any first sequence: it cannot tell a new producer from an expired one.
fn in_sequence(known: Option<&ProducerEntry>, batch: &Stamp) -> bool {
    match known {
        None => true,
        Some(entry) if entry.epoch != batch.epoch => batch.first == Sequence(0),
        Some(entry) => match entry.batches.back() {
            Some(last) => batch.first == last.last.advance(1),
            None => batch.first == Sequence(0),
        },
    }
}

impl ProducerEntry {
    /// The newest epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last sequence under the newest epoch; none when no batch of it is cached.
    pub fn last_sequence(&self) -> Option<Sequence> {
        self.batches.back().map(|batch| batch.last)
    }

    /// The largest record timestamp of the last batch: expiry is measured from it.
    pub fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }

    /// The batches that would be recognised, oldest first.
    pub fn cached(&self) -> impl Iterator<Item = &CachedBatch> {
        self.batches.iter()
    }

    /// Exact match only: a batch that overlaps another one partly is no duplicate.
    fn duplicate_of(&self, batch: &Stamp) -> Option<CachedBatch> {
        if self.epoch != batch.epoch {
            return None;
        }
        self.batches.iter().find(|cached| cached.first == batch.first && cached.last == batch.last).copied()
    }

    fn remember(&mut self, epoch: Epoch, batch: CachedBatch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
        if self.batches.len() == CACHED_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
        self.last_timestamp = batch.timestamp;
    }

    /// Never because of arrival: a batch with old record timestamps ends its own producer's state early.
    fn is_expired(&self, timestamp: i64, expiry: Duration) -> bool {
        let age = i128::from(timestamp) - i128::from(self.last_timestamp);
        age >= i128::try_from(expiry.as_millis()).unwrap_or(i128::MAX)
    }
}

/// The producers of one partition, by id.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    entries: BTreeMap<ProducerId, ProducerEntry>,
}

impl Producers {
    /// What is known of a producer.
    pub fn entry(&self, producer: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer)
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// Takes note of a batch that is in the log now.
    pub fn remember(&mut self, producer: ProducerId, epoch: Epoch, batch: CachedBatch) {
        self.entries
            .entry(producer)
            .or_insert_with(|| ProducerEntry {
                epoch,
                batches: VecDeque::with_capacity(1),
                last_timestamp: batch.timestamp,
            })
            .remember(epoch, batch);
    }

    /// Drops what has expired by now.
    pub fn expire(&mut self, now: Moment, expiry: Duration) {
        let timestamp = now.timestamp();
        self.entries.retain(|_, entry| !entry.is_expired(timestamp, expiry));
    }

    /// What a restart leaves: Kafka's snapshot keeps the last batch of a producer only, so a batch before it is
    /// answered OUT_OF_ORDER_SEQUENCE_NUMBER although it is in the log (seen on 4.3.1 after SIGTERM and SIGKILL).
    pub fn keep_last_batches(&mut self) {
        for entry in self.entries.values_mut() {
            let last = entry.batches.pop_back();
            entry.batches.clear();
            entry.batches.extend(last);
        }
    }
}

mod snapshot;
#[cfg(test)]
mod tests;
