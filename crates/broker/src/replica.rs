//! One node's copy of a partition: the log, what is known of its producers, and what this node believes about the leadership.
//!
//! The log and the producer state always tell the same story: both grow by the same batches, and what is cut from the one is taken from the
//! other by replaying it. A leader appends what it has checked; a follower copies what its leader has, without checking, after it has
//! cut off what the leader does not have. The high watermark never passes the log's end.
//!
//! Who copies when is decided by `partition.rs`.

use std::time::Duration;

use bytes::Bytes;
use milena_wire::ErrorCode;
use milena_wire::records::BatchHeader;

use crate::ids::{Epoch, NodeId, ProducerId, Sequence};
use crate::leadership::Leadership;
use crate::log::{Appending, CleaningStep, PartitionLog, TornTail};
use crate::moment::Moment;
use crate::producer_state::{CachedBatch, Producers, Stamp};
use crate::storage::{LogFolder, StorageError};
use crate::topic_config::TopicConfig;

/// A node's copy of a partition.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) node: NodeId,
    pub(crate) log: PartitionLog,
    pub(crate) producers: Producers,
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

/// What opening a replica needs to know beside its folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    pub(crate) now: Moment,
    pub(crate) producer_expiry: Duration,
}

impl Replica {
    /// A new one, or an old one after a restart: producer state is what a snapshot and the log behind it tell, less what Kafka forgets then.
    pub(crate) fn open(
        node: NodeId,
        folder: Box<dyn LogFolder>,
        known: Leadership,
        recovery: Recovery,
    ) -> Result<(Replica, Option<TornTail>), StorageError> {
        let (log, torn) = PartitionLog::open(folder, recovery.now)?;
        let mut replica = Replica {
            node,
            producers: producers_of(&log)?,
            log,
            known,
            agreed_epoch: None,
            epoch_start: 0,
            high_watermark: 0,
            behind_since: None,
        };
        replica.forget_as_a_restart_does(recovery)?;
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

    /// Appends a batch as the leader, to a segment that has room for it.
    pub(crate) fn append(
        &mut self,
        header: &BatchHeader,
        records: &Bytes,
        how: &Appending<'_>,
    ) -> Result<(), StorageError> {
        self.log.append(header, records, how)?;
        remember(&mut self.producers, header);
        Ok(())
    }

    /// Copies what the leader has before `end`, without checking it. What the leader has deleted goes here too.
    pub(crate) fn copy(&mut self, leader: &Replica, end: i64, how: &Appending<'_>) -> Result<(), StorageError> {
        let start = leader.log.start_offset();
        if self.end() < start {
            self.log.restart_at(start)?;
            self.producers = Producers::default();
        }
        leader.log.each_batch(self.end(), end, |header, batch| {
            self.roll_if_full(header, how)?;
            self.log.append_copy(header, batch, how)?;
            remember(&mut self.producers, header);
            Ok(())
        })?;
        self.log.advance_start(start.min(self.end()))
    }

    pub(crate) fn roll_if_full(&mut self, header: &BatchHeader, how: &Appending<'_>) -> Result<(), StorageError> {
        if !self.log.must_roll(header, how) {
            return Ok(());
        }
        let is_full = !self.log.has_room_for(header, how);
        self.log.roll(header.base_offset, &self.producers.snapshot(), how.now)?;
        // A disk has room until the next look; memory shall not grow with the time between two of them. Only for what fills segments: records of
        // long ago that begin one by their time are there until the next look, as a test expects that writes some.
        if is_full && !self.log.is_lasting() { self.retain(how.config, how.now) } else { Ok(()) }
    }

    /// Deletes what is too old or too much. If that is everything, an empty segment is left.
    pub(crate) fn retain(&mut self, config: &TopicConfig, now: Moment) -> Result<(), StorageError> {
        self.log.note_finished_syncs()?;
        let expired = self.log.expired_segments(config, now.timestamp(), self.high_watermark);
        if expired == self.log.segment_count() {
            self.log.roll(self.end(), &self.producers.snapshot(), now)?;
        }
        self.log.remove_oldest(expired)
    }

    /// Begins to leave out what was written again, if that is due.
    pub(crate) fn begin_cleaning(
        &mut self,
        config: &TopicConfig,
        now: Moment,
    ) -> Result<Option<CleaningStep>, StorageError> {
        let last_of = self.producers.iter().filter_map(|(id, entry)| Some((id.0, entry.cached().last()?.last_offset)));
        let last_of = last_of.collect();
        self.log.begin_cleaning(config, now.timestamp(), self.high_watermark, last_of)
    }

    /// Nothing before `offset` is given any more.
    pub(crate) fn delete_records_before(&mut self, offset: i64) -> Result<(), ErrorCode> {
        if offset > self.high_watermark {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        self.log.advance_start(offset).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)
    }

    /// Begins to leave the disk so that the next opening need not read the log; see [`PartitionLog::begin_close`].
    pub(crate) fn begin_close(&mut self) -> Result<bool, StorageError> {
        self.log.begin_close(&self.producers.snapshot())
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
        if cuts {
            self.high_watermark = self.high_watermark.min(self.end());
            self.producers = producers_of(&self.log)?;
        }
        Ok(())
    }

    /// The process ended and began again: the log is there, the cache is what a snapshot holds.
    pub(crate) fn forget_as_a_restart_does(&mut self, recovery: Recovery) -> Result<(), StorageError> {
        if self.end() <= self.log.start_offset() {
            // Every record was deleted, and Kafka forgets who wrote them.
            self.producers = Producers::default();
        }
        self.producers.keep_last_batches();
        self.producers.expire(recovery.now, recovery.producer_expiry);
        let end = self.end();
        if end > self.log.start_offset() && !self.log.has_snapshot(end) {
            self.log.keep_snapshot(end, &self.producers.snapshot())?;
        }
        Ok(())
    }
}

/// What the newest readable snapshot says, and every batch behind it.
fn producers_of(log: &PartitionLog) -> Result<Producers, StorageError> {
    let (mut from, mut producers) = (log.start_offset(), Producers::default());
    // A snapshot at the start of the log or before it counts for nothing, so producers go with the last of the records.
    for offset in log.snapshots().filter(|offset| *offset > log.start_offset()) {
        let content = log.snapshot(offset)?;
        if let Some(read) = content.and_then(|content| Producers::of_snapshot(&content)) {
            (from, producers) = (offset, read);
            break;
        }
    }
    log.replay(from, |header| remember(&mut producers, header))?;
    Ok(producers)
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
