//! The truth as values: what a partition's log holds, and who is connected, for checkers on other threads and in other processes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::ApiKey;
use milena_wire::records::{self, BatchError, BatchView};

use crate::cluster::Cluster;
use crate::connection::{Connection, Turn};
use crate::ids::{ConnectionId, Epoch, NodeId, PartitionIndex, ProducerId, Sequence};
use crate::storage::StorageError;

/// A record in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRecord {
    /// Where it is.
    pub offset: i64,
    /// In milliseconds since 1970.
    pub timestamp: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; none for a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Who wrote it, and as which of its records; none if it was not written idempotently.
    pub stamp: Option<RecordStamp>,
    /// Under which leader its batch was written.
    pub leader_epoch: i32,
    /// The offset of its batch's first record.
    pub batch: i64,
}

/// Who wrote a record, and as which of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordStamp {
    /// The producer.
    pub producer_id: ProducerId,
    /// Under which of its epochs.
    pub epoch: Epoch,
    /// The record's own sequence number.
    pub sequence: Sequence,
}

/// A partition and records of its log, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSnapshot {
    /// Who leads; none while nobody in sync is alive.
    pub leader: Option<NodeId>,
    /// Under which epoch.
    pub leader_epoch: i32,
    /// The first offset that is still there.
    pub start_offset: i64,
    /// One past the last committed record: what lies behind it no consumer sees.
    pub high_watermark: i64,
    /// One past the last record.
    pub end_offset: i64,
    /// The records that were asked for, committed or not.
    pub records: Vec<LoggedRecord>,
}

/// Why a log cannot be shown.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// There is no such partition.
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
    },
    /// The file cannot be read.
    Storage(StorageError),
    /// What was read is damaged.
    Damaged(BatchError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::NoSuchPartition { topic, partition } => {
                write!(f, "there is no partition {partition} of a topic {topic:?}")
            }
            SnapshotError::Storage(error) => error.fmt(f),
            SnapshotError::Damaged(error) => write!(f, "the log is damaged: {error}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Which records to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From this offset on.
    pub from: i64,
    /// At most so many.
    pub records_max: usize,
    /// Until their keys and values have so many bytes. One record is always shown.
    pub bytes_max: usize,
}

impl Window {
    /// Everything.
    pub const ALL: Window = Window { from: 0, records_max: usize::MAX, bytes_max: usize::MAX };
}

/// A client's connection, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionEntry {
    /// Its id.
    pub id: ConnectionId,
    /// The node that it is to.
    pub node: NodeId,
    /// The client's name for itself, from its last request.
    pub client: Option<String>,
    /// What it asked last.
    pub api: Option<ApiKey>,
    /// How many requests were served.
    pub requests: u64,
    /// How many wait, because the connection is muted or its node frozen.
    pub waiting: usize,
    /// Until when it is throttled, on the monotonic clock.
    pub throttled_until: Option<Duration>,
}

impl Cluster {
    /// A partition's log, as its leader has it, or who led last.
    pub fn snapshot(
        &self,
        topic: &str,
        partition: PartitionIndex,
        window: Window,
    ) -> Result<LogSnapshot, SnapshotError> {
        let missing = || SnapshotError::NoSuchPartition { topic: topic.to_owned(), partition };
        let found = self.partition(topic, partition).ok_or_else(missing)?;
        let log = found.log();
        let mut snapshot = LogSnapshot {
            leader: found.leader(),
            leader_epoch: found.leader_epoch(),
            start_offset: log.start_offset(),
            high_watermark: found.high_watermark(),
            end_offset: log.next_offset(),
            records: Vec::new(),
        };
        let mut next = window.from.max(snapshot.start_offset);
        let mut room = Room { records: window.records_max, bytes: window.bytes_max };
        while next < snapshot.end_offset && room.is_left() {
            let bytes = log.read(next, snapshot.end_offset, READ_BYTES, true).map_err(SnapshotError::Storage)?;
            let before = next;
            for batch in records::batches(bytes) {
                match batch {
                    Ok(batch) => {
                        add(&mut snapshot.records, &batch, window.from, &mut room)?;
                        next = batch.header.last_offset() + 1;
                    }
                    // The end of what one read takes; the next read begins there.
                    Err(BatchError::Incomplete { .. }) if next > before => break,
                    Err(error) => return Err(SnapshotError::Damaged(error)),
                }
                if !room.is_left() {
                    break;
                }
            }
            if next == before {
                break;
            }
        }
        Ok(snapshot)
    }

    /// Who is connected, in the order in which they came.
    pub fn clients(&self) -> impl Iterator<Item = ConnectionEntry> {
        let present = self.connections.iter().filter(|(_, connection)| !connection.is_abandoned);
        present.map(|(id, connection)| ConnectionEntry {
            id: *id,
            node: connection.node,
            client: connection.seen.client.as_deref().map(str::to_owned),
            api: connection.seen.api,
            requests: connection.seen.requests,
            waiting: connection.waiting.len(),
            throttled_until: self.throttled_until(*id),
        })
    }
}

/// What clients make a cluster do, for whoever waits until they are done: nothing changes while they want nothing but news.
///
/// ```
/// use milena_broker::{Broker, BrokerOptions, Work};
///
/// let broker = Broker::start(BrokerOptions::default())?;
/// assert_eq!(broker.look(|cluster| cluster.work()), Work { answered: 0, unanswered: 0 });
/// # Ok::<(), milena_broker::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// How many requests were answered, without the fetches that waited for data first.
    pub answered: u64,
    /// How many connections wait for an answer, without those whose fetch waits for data.
    pub unanswered: usize,
}

impl Cluster {
    /// What clients make it do.
    pub fn work(&self) -> Work {
        let waits = |(id, connection): &(&ConnectionId, &Connection)| match connection.turn {
            Turn::Parked => !self.waits_for_data(**id),
            Turn::Answering | Turn::Held => true,
            Turn::Client | Turn::Throttled | Turn::Lost => !connection.waiting.is_empty(),
        };
        Work { answered: self.answered, unanswered: self.connections.iter().filter(waits).count() }
    }
}

/// What may still be shown.
struct Room {
    records: usize,
    bytes: usize,
}

impl Room {
    fn is_left(&self) -> bool {
        self.records > 0 && self.bytes > 0
    }

    fn take(&mut self, record: &records::Record) {
        let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        self.records -= 1;
        self.bytes = self.bytes.saturating_sub(bytes(&record.key) + bytes(&record.value));
    }
}

fn add(to: &mut Vec<LoggedRecord>, batch: &BatchView, from: i64, room: &mut Room) -> Result<(), SnapshotError> {
    let header = &batch.header;
    let stamp = |sequence: Option<i32>| {
        let sequence = Sequence(sequence.filter(|_| header.producer_id >= 0)?);
        Some(RecordStamp { producer_id: ProducerId(header.producer_id), epoch: Epoch(header.producer_epoch), sequence })
    };
    for record in batch.records() {
        let record = record.map_err(SnapshotError::Damaged)?;
        if record.offset < from {
            continue;
        }
        if !room.is_left() {
            break;
        }
        room.take(&record);
        let headers = record.headers().map(|header| (header.key_text().into_owned(), header.value.clone()));
        to.push(LoggedRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            headers: headers.collect(),
            stamp: stamp(record.sequence),
            leader_epoch: header.partition_leader_epoch,
            batch: header.base_offset,
            key: record.key,
            value: record.value,
        });
    }
    Ok(())
}

/// What one read takes of a log that is shown.
const READ_BYTES: usize = 1 << 20;
