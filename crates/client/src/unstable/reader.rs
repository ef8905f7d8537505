//! One partition read from an offset to another, in order, without copying records.
//!
//! Always holds: the position only ascends, so reading ends; what it passed was handed out, was control data, or is a gap
//! (compaction leaves them). Every answer either moves it on or is a setback that waits for the metadata's back-off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{FetchResponse, PartitionData};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::list_offsets::response::ListOffsetsResponse;
use milena_wire::records::{self, BatchError, BatchHeader, BatchView, Record};
use milena_wire::{ErrorCode, Uuid};

use super::cluster::{Cluster, Leader};
use super::error::{ClusterError, ReadError, Setback};
use super::link::LinkError;

/// Reads a partition; see [`super::Admin::reader`].
#[derive(Debug)]
pub struct Reader<'a> {
    cluster: &'a mut Cluster,
    topic: &'a str,
    partition: i32,
    /// Set by the first answer: offsets mean something within one topic id only.
    topic_id: Option<Uuid>,
    position: i64,
}

/// Between which offsets a partition has records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The first that is still there.
    pub earliest: i64,
    /// One past the last that is committed: the high watermark.
    pub latest: i64,
}

/// Where a partition stood when its leader answered; −1 where the leader's version does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The first offset that is still there.
    pub log_start: i64,
    /// Before it every transaction has ended.
    pub last_stable: i64,
    /// One past the last that is committed.
    pub high_watermark: i64,
}

/// Records that were written together.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    /// Of the answer that it came with.
    pub marks: Marks,
    view: BatchView,
    /// Records before it belong to an earlier read, those from `end` on to a later one.
    from: i64,
    end: i64,
}

impl ReadBatch {
    /// What its records have in common.
    pub fn header(&self) -> &BatchHeader {
        &self.view.header
    }

    /// Its records within the range that is read, as slices of the answer, or of what is unpacked here if they are
    /// compressed: at most 256 MiB a batch. After an error there is no more.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, BatchError>> + use<> {
        let (from, end) = (self.from, self.end);
        self.view.records().filter(move |record| match record {
            Ok(record) => (from..end).contains(&record.offset),
            Err(_) => true,
        })
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(cluster: &'a mut Cluster, topic: &'a str, partition: i32) -> Self {
        Self { cluster, topic, partition, topic_id: None, position: 0 }
    }

    /// Where the partition begins and ends now.
    pub async fn offsets(&mut self) -> Result<Offsets, ReadError> {
        let told = "an end of the log without an offset is asked for again";
        let earliest = self.offset_at(EARLIEST).await?.expect(told);
        let latest = self.offset_at(LATEST).await?.expect(told);
        Ok(Offsets { earliest, latest })
    }

    /// The first record of this time, in milliseconds since 1970, or of a later one; none if all are older.
    pub async fn offset_since(&mut self, timestamp: i64) -> Result<Option<i64>, ReadError> {
        self.offset_at(timestamp.max(0)).await
    }

    /// The next read begins at this offset.
    pub fn seek(&mut self, offset: i64) {
        self.position = offset;
    }

    /// Where the next read begins.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next batches before `end`; none when the position has reached it. They wait for nobody: `end` must be committed,
    /// as [`Offsets::latest`] is.
    pub async fn read(&mut self, end: i64) -> Result<Vec<ReadBatch>, ReadError> {
        let mut until = self.cluster.until();
        while self.position < end {
            let before = self.position;
            let setback = match self.fetch(until).await? {
                Ok((records, marks)) => {
                    let batches = self.take(records, marks, end)?;
                    if !batches.is_empty() {
                        return Ok(batches);
                    }
                    Setback::NothingNew
                }
                Err(setback) => setback,
            };
            if self.position > before {
                until = self.cluster.until();
            } else {
                self.cluster.refresh(setback, until).await?;
            }
        }
        Ok(Vec::new())
    }

    async fn offset_at(&mut self, timestamp: i64) -> Result<Option<i64>, ReadError> {
        let until = self.cluster.until();
        loop {
            let leader = self.leader(until).await?;
            let request = |_| list_offsets(self.topic, self.partition, leader.epoch, timestamp);
            let asked = self.cluster.ask(&leader.address, i16::MAX, request, until).await;
            let setback = match asked {
                Ok(response) => match offset_in(&response, self.partition) {
                    Ok(None) if timestamp < 0 => Setback::NothingNew,
                    Ok(offset) => return Ok(offset),
                    Err(setback) => self.passing(setback)?,
                },
                Err(error) => passing_link(error, &leader)?,
            };
            self.cluster.refresh(setback, until).await?;
        }
    }

    /// One question to the leader, one answer. The inner error is worth another attempt.
    async fn fetch(&mut self, until: Instant) -> Result<Result<(Bytes, Marks), Setback>, ReadError> {
        let leader = self.leader(until).await?;
        // A cluster of an older format has no topic ids, even where its brokers speak of them.
        let version_max = if leader.topic_id == Uuid::ZERO { TOPIC_IDS_SINCE - 1 } else { VERSION_MAX };
        let request = |version| fetch(self.topic, self.partition, &leader, self.position, version);
        match self.cluster.ask(&leader.address, version_max, request, until).await {
            Ok(response) => match records_in(response, self.partition) {
                Ok(records) => Ok(Ok(records)),
                Err(setback) => self.passing(setback).map(Err),
            },
            Err(error) => Ok(Err(passing_link(error, &leader)?)),
        }
    }

    async fn leader(&mut self, until: Instant) -> Result<Leader, ReadError> {
        let leader = self.cluster.leader(self.topic, self.partition, until).await?;
        if *self.topic_id.get_or_insert(leader.topic_id) != leader.topic_id {
            return Err(ReadError::Recreated { topic: self.topic.into() });
        }
        Ok(leader)
    }

    /// What newer metadata or another attempt cannot cure is an error.
    fn passing(&self, setback: Setback) -> Result<Setback, ReadError> {
        let topic = || self.topic.into();
        match setback {
            Setback::Code(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                Err(ReadError::OffsetOutOfRange { topic: topic(), partition: self.partition, offset: self.position })
            }
            Setback::Code(code) if !code.is_retriable() => {
                Err(ClusterError::Refused { topic: topic(), code, message: None }.into())
            }
            passing => Ok(passing),
        }
    }

    /// The batches that reach into the range, up to the first that cannot be read: that one is an error when it is the
    /// first, and is come back to otherwise.
    fn take(&mut self, records: Bytes, marks: Marks, end: i64) -> Result<Vec<ReadBatch>, ReadError> {
        let mut taken = Vec::new();
        for batch in records::batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                // Brokers cut the last batch at the limit of the answer.
                Err(BatchError::Incomplete { .. }) => break,
                Err(_) if !taken.is_empty() => break,
                Err(error) => {
                    return Err(ReadError::Damaged { topic: self.topic.into(), partition: self.partition, error });
                }
            };
            if batch.header.last_offset() < self.position {
                continue;
            }
            if batch.header.base_offset >= end {
                self.position = end;
                break;
            }
            let is_control = batch.header.attributes.is_control();
            let from = self.position;
            self.position = batch.header.last_offset() + 1;
            if !is_control {
                taken.push(ReadBatch { marks, view: batch, from, end });
            }
        }
        Ok(taken)
    }
}

fn passing_link(error: LinkError, leader: &Leader) -> Result<Setback, ReadError> {
    match error.is_passing() {
        true => Ok(Setback::Link(error)),
        false => Err(ClusterError::Broken { address: leader.address.clone(), error }.into()),
    }
}

fn list_offsets(topic: &str, partition: i32, epoch: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition {
        partition_index: partition,
        current_leader_epoch: epoch,
        timestamp,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..ListOffsetsTopic::default() };
    ListOffsetsRequest { replica_id: CONSUMER, topics: vec![topic], ..ListOffsetsRequest::default() }
}

/// None: no record is so young.
fn offset_in(response: &ListOffsetsResponse, partition: i32) -> Result<Option<i64>, Setback> {
    let told = response.topics.iter().flat_map(|topic| &topic.partitions);
    let told = told.into_iter().find(|told| told.partition_index == partition).ok_or(Setback::NothingNew)?;
    ErrorCode(told.error_code).into_result().map_err(Setback::Code)?;
    Ok((told.offset >= 0).then_some(told.offset))
}

fn fetch(topic: &str, partition: i32, leader: &Leader, position: i64, version: i16) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        current_leader_epoch: leader.epoch,
        fetch_offset: position,
        partition_max_bytes: FETCH_BYTES_MAX,
        ..FetchPartition::default()
    };
    let by_id = version >= TOPIC_IDS_SINCE;
    let topic = FetchTopic {
        topic: if by_id { "".into() } else { topic.into() },
        topic_id: if by_id { leader.topic_id } else { Uuid::ZERO },
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms: MAX_WAIT.as_millis() as i32,
        min_bytes: 1,
        max_bytes: FETCH_BYTES_MAX,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn records_in(response: FetchResponse, partition: i32) -> Result<(Bytes, Marks), Setback> {
    ErrorCode(response.error_code).into_result().map_err(Setback::Code)?;
    let told = response.responses.into_iter().flat_map(|topic| topic.partitions);
    let told = told.into_iter().find(|told| told.partition_index == partition);
    let PartitionData { error_code, records, log_start_offset, last_stable_offset, high_watermark, .. } =
        told.ok_or(Setback::NothingNew)?;
    ErrorCode(error_code).into_result().map_err(Setback::Code)?;
    let marks = Marks { log_start: log_start_offset, last_stable: last_stable_offset, high_watermark };
    Ok((records.unwrap_or_default(), marks))
}

/// Not a follower.
pub(super) const CONSUMER: i32 = -1;
/// Timestamps with a meaning of their own in ListOffsets.
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

/// Version 18 brings nothing to consumers.
const VERSION_MAX: i16 = 17;
const TOPIC_IDS_SINCE: i16 = 13;

/// Large enough that the round trip is nothing against the transfer, small enough to stay in the processor's cache
/// between being read and being used.
const FETCH_BYTES_MAX: i32 = 4 * 1024 * 1024;

/// A partition that has nothing new (yet) answers after this, so that asking again does not spin.
const MAX_WAIT: Duration = Duration::from_millis(500);
