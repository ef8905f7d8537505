//! One partition on its leader: the log, what is known of its producers, and the faults planted for tests.
//!
//! Everything that is appended passes here: batch check, stamp check, log, producer state, in this order. The log and the
//! producer state always tell the same story; after a restart the state is rebuilt from the log.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::ErrorCode;
use milena_wire::records::{BatchHeader, TimestampType};

use crate::batch_check::{CheckedBatch, Judge, Refused};
use crate::ids::{Epoch, ProducerId, Sequence};
use crate::log::{PartitionLog, TornTail};
use crate::moment::Moment;
use crate::producer_state::{CachedBatch, Producers, Stamp, Verdict, validate};
use crate::storage::{Segment, StorageError};

/// A partition as its leader has it.
#[derive(Debug)]
pub struct Partition {
    log: PartitionLog,
    producers: Producers,
    faults: VecDeque<ProduceFault>,
}

/// An answer to give instead of the true one. Planted by tests and simulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceFault {
    /// What the client is told.
    pub code: ErrorCode,
    /// Whether the batch is handled first. Kafka does so with codes like REQUEST_TIMED_OUT; the answer then carries the base offset.
    pub appended: bool,
    /// How many attempts are treated so.
    pub times: u32,
}

/// What became of a batch, as the answer tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) code: ErrorCode,
    /// −1 beside an error, unless the batch is in the log all the same.
    pub(crate) base_offset: i64,
    /// The broker's time where it counts: LogAppendTime topics and duplicates; otherwise −1.
    pub(crate) append_timestamp: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) message: Option<String>,
    pub(crate) bad_records: Vec<i32>,
}

impl Produced {
    /// An error that says nothing about the log.
    pub(crate) fn error(code: ErrorCode) -> Produced {
        Produced {
            code,
            base_offset: -1,
            append_timestamp: -1,
            log_start_offset: -1,
            message: None,
            bad_records: Vec::new(),
        }
    }
}

impl Partition {
    /// A new partition's, or an old one's after a restart: state is what the log tells, less what Kafka forgets then.
    pub(crate) fn open(
        segment: Box<dyn Segment>,
        recovery: Recovery,
    ) -> Result<(Partition, Option<TornTail>), StorageError> {
        let mut producers = Producers::default();
        let (mut log, torn) = PartitionLog::open(segment, |header| remember(&mut producers, header))?;
        producers.keep_last_batches();
        producers.expire(recovery.now, recovery.producer_expiry);
        log.begin_epoch(recovery.leader_epoch);
        Ok((Partition { log, producers, faults: VecDeque::new() }, torn))
    }

    /// What consumers read.
    pub fn log(&self) -> &PartitionLog {
        &self.log
    }

    /// What is known of those who write here.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    pub(crate) fn plant(&mut self, fault: ProduceFault) {
        self.faults.push_back(fault);
    }

    pub(crate) fn expire_producers(&mut self, now: Moment, expiry: Duration) {
        self.producers.expire(now, expiry);
    }

    /// Handles one batch, as the planted faults want it.
    pub(crate) fn produce(&mut self, batch: Option<Bytes>, judge: Judge<'_>, leader_epoch: i32) -> Produced {
        match self.next_fault() {
            None => self.append(batch, judge, leader_epoch),
            Some(fault) if !fault.appended => Produced::error(fault.code),
            Some(fault) => {
                let produced = self.append(batch, judge, leader_epoch);
                let code = if produced.code.is_none() { fault.code } else { produced.code };
                Produced { code, ..produced }
            }
        }
    }

    fn next_fault(&mut self) -> Option<ProduceFault> {
        self.faults.retain(|fault| fault.times > 0);
        let fault = self.faults.front_mut()?;
        fault.times -= 1;
        Some(*fault)
    }

    fn append(&mut self, batch: Option<Bytes>, judge: Judge<'_>, leader_epoch: i32) -> Produced {
        let checked = match judge.check(batch) {
            Ok(checked) => checked,
            Err(refused) => return self.refused(refused),
        };
        match self.verdict(&checked.header) {
            Verdict::Append => self.write(checked, leader_epoch),
            Verdict::Duplicate(original) => self.duplicate(&original),
            Verdict::Refuse(refusal) => {
                Produced { log_start_offset: self.log.start_offset(), ..Produced::error(refusal.code()) }
            }
        }
    }

    /// A batch without a producer id is always the next one.
    fn verdict(&self, header: &BatchHeader) -> Verdict {
        match stamp_of(header) {
            Some(stamp) => validate(self.producers.entry(stamp.producer_id), &stamp),
            None => Verdict::Append,
        }
    }

    fn write(&mut self, checked: CheckedBatch, leader_epoch: i32) -> Produced {
        let base_offset = self.log.next_offset();
        let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..checked.header };
        if let Err(error) = self.log.append(&header, &checked.records) {
            let message = Some(error.to_string());
            return Produced { message, ..Produced::error(ErrorCode::KAFKA_STORAGE_ERROR) };
        }
        remember(&mut self.producers, &header);
        let append_timestamp = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => -1,
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        Produced { append_timestamp, ..self.written(base_offset) }
    }

    /// Kafka gives the original's timestamp here on topics of either timestamp type.
    fn duplicate(&self, original: &CachedBatch) -> Produced {
        Produced { append_timestamp: original.timestamp, ..self.written(original.base_offset) }
    }

    fn written(&self, base_offset: i64) -> Produced {
        let log_start_offset = self.log.start_offset();
        Produced { base_offset, log_start_offset, ..Produced::error(ErrorCode::NONE) }
    }

    fn refused(&self, refused: Refused) -> Produced {
        Produced {
            log_start_offset: if refused.by_log { self.log.start_offset() } else { -1 },
            message: Some(refused.message),
            bad_records: refused.records,
            ..Produced::error(refused.code)
        }
    }
}

/// What opening a partition needs to know beside its segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    pub(crate) now: Moment,
    pub(crate) producer_expiry: Duration,
    /// The epoch under which this node leads from now on.
    pub(crate) leader_epoch: i32,
}

fn stamp_of(header: &BatchHeader) -> Option<Stamp> {
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
