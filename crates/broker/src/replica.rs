//! One node's copy of a partition: the log, what is known of its producers, and what this node believes about the leadership.
//!
//! The log and the producer state always tell the same story: both grow by the same batches, and what is cut from the one is taken from the
//! other by replaying it. A leader appends what it has checked; a follower copies what its leader has, without checking, after it has
//! cut off what the leader does not have. The high watermark never passes the log's end.
//!
//! Who copies when is decided by `partition.rs`.

use std::time::Duration;

use milena_wire::records::BatchHeader;

use crate::ids::{Epoch, NodeId, ProducerId, Sequence};
use crate::leadership::Leadership;
use crate::log::{PartitionLog, TornTail};
use crate::moment::Moment;
use crate::producer_state::{CachedBatch, Producers, Stamp};
use crate::storage::{Segment, StorageError};

/// A node's copy of a partition.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) node: NodeId,
    pub(crate) log: PartitionLog,
    pub(crate) producers: Producers,
    snapshot: Snapshot,
    /// What this node believes; the truth, unless it was frozen meanwhile.
    pub(crate) known: Leadership,
    /// The epoch under which the log was made to agree with the leader's; a leader's own from its first moment on. A leader counts on
    /// the ends of no others.
    pub(crate) agreed_epoch: Option<i32>,
    /// Where this node's own leadership began.
    pub(crate) epoch_start: i64,
    pub(crate) high_watermark: i64,
    /// Since when it lacks something that its leader has. A leader lacks nothing.
    pub(crate) behind_since: Option<Duration>,
}

/// Producer state as Kafka keeps it on disk: the last batch of each producer only.
#[derive(Debug, Default)]
struct Snapshot {
    /// One past the last record it includes.
    offset: i64,
    producers: Producers,
}

/// What opening a replica needs to know beside its segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    pub(crate) now: Moment,
    pub(crate) producer_expiry: Duration,
}

impl Replica {
    /// A new one, or an old one after a restart: producer state is what the log tells, less what Kafka forgets then.
    pub(crate) fn open(
        node: NodeId,
        segment: Box<dyn Segment>,
        known: Leadership,
        recovery: Recovery,
    ) -> Result<(Replica, Option<TornTail>), StorageError> {
        let mut producers = Producers::default();
        let (log, torn) = PartitionLog::open(segment, |header| remember(&mut producers, header))?;
        let mut replica = Replica {
            node,
            log,
            producers,
            snapshot: Snapshot::default(),
            known,
            agreed_epoch: None,
            epoch_start: 0,
            high_watermark: 0,
            behind_since: None,
        };
        replica.forget_as_a_restart_does(recovery);
        replica.take_leadership();
        Ok((replica, torn))
    }

    /// Whether this node believes that it leads.
    pub(crate) fn leads(&self) -> bool {
        self.known.leader == Some(self.node)
    }

    pub(crate) fn end(&self) -> i64 {
        self.log.next_offset()
    }

    /// Hears what the controller has decided.
    pub(crate) fn learn(&mut self, leadership: &Leadership) {
        let is_new_epoch = self.known.epoch != leadership.epoch;
        self.known.clone_from(leadership);
        if is_new_epoch {
            self.agreed_epoch = None;
            self.take_leadership();
        }
    }

    /// A leader's log is right by definition, and its epoch begins where it ends.
    fn take_leadership(&mut self) {
        if self.leads() {
            self.log.begin_epoch(self.known.epoch);
            self.agreed_epoch = Some(self.known.epoch);
            self.epoch_start = self.end();
            self.behind_since = None;
        }
    }

    /// Appends a batch as the leader.
    pub(crate) fn append(&mut self, header: &BatchHeader, records: &bytes::Bytes) -> Result<(), StorageError> {
        self.log.append(header, records)?;
        remember(&mut self.producers, header);
        Ok(())
    }

    /// Copies what the leader has before `end`, without checking it.
    pub(crate) fn copy(&mut self, leader: &Replica, end: i64) -> Result<(), StorageError> {
        let producers = &mut self.producers;
        self.log.copy_from(&leader.log, end, |header| remember(producers, header))
    }

    /// Cuts off what the leader does not have: the epochs of both logs tell where they part (KIP-279).
    pub(crate) fn agree_with(&mut self, leader: &Replica) -> Result<(), StorageError> {
        while let Some(epoch) = self.log.latest_epoch() {
            let (known, end) = leader.log.end_of_epoch(epoch).unwrap_or((epoch, leader.end()));
            let own_end = self.log.end_of_epoch(known).map_or(self.end(), |(_, end)| end);
            self.truncate(end.min(own_end))?;
            if known == epoch {
                break;
            }
        }
        self.agreed_epoch = Some(self.known.epoch);
        Ok(())
    }

    /// The rest is replayed from the last snapshot, as Kafka does, so more is known afterwards than after a restart.
    fn truncate(&mut self, end: i64) -> Result<(), StorageError> {
        let cuts = end < self.end();
        self.log.truncate(end)?;
        if !cuts {
            return Ok(());
        }
        self.high_watermark = self.high_watermark.min(self.end());
        if self.snapshot.offset > self.end() {
            self.snapshot = Snapshot::default();
        }
        let mut producers = self.snapshot.producers.clone();
        self.log.replay(self.snapshot.offset, |header| remember(&mut producers, header))?;
        self.producers = producers;
        Ok(())
    }

    /// The process ended and began again: the log is there, the cache is what a snapshot holds.
    pub(crate) fn forget_as_a_restart_does(&mut self, recovery: Recovery) {
        self.producers.keep_last_batches();
        self.producers.expire(recovery.now, recovery.producer_expiry);
        self.snapshot = Snapshot { offset: self.end(), producers: self.producers.clone() };
    }
}

pub(crate) fn stamp_of(header: &BatchHeader) -> Option<Stamp> {
    let first = Sequence(header.base_sequence);
    (header.producer_id >= 0).then(|| Stamp {
        producer_id: ProducerId(header.producer_id),
        epoch: Epoch(header.producer_epoch),
        first,
        last: first.advance(header.last_offset_delta),
        transactional: header.attributes.is_transactional(),
    })
}

fn remember(producers: &mut Producers, header: &BatchHeader) {
    if let Some(stamp) = stamp_of(header) {
        let batch = CachedBatch {
            first: stamp.first,
            last: stamp.last,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        };
        producers.remember(stamp.producer_id, stamp.epoch, batch);
    }
}
