//! What the tests of the machines have in common: memory that is counted, wakers that remember, time in milliseconds.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use milena_wire::frame::{self, FrameSplitter, RequestHeader};
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::records::{self, BatchHeader, Record};
use milena_wire::{ApiKey, Reader, Request, Response};

use super::account::{Account, Full, Share, Tight};
use super::batch::{SealReason, SealedBatch};
use super::body::{Chunk, ChunkSource};
use super::completion::Delivery;
use super::control::NewPartition;
use super::front::{AfterDeadline, Due, FrontConfig, PartitionFront, RecordRef, Reply, Value, WhenFull};
use super::stamped::{Stamp, StampedBatch};
use super::trouble::Trouble;
use crate::ids::{Epoch, Identity, PartitionId, PartitionIndex, ProducerId, Sequence};
use crate::time::{Moment, Now, TICK, Tick};

/// Chunks in the classes of the client's pool; every byte that is held is counted.
pub(crate) struct CountedMemory {
    held: Cell<usize>,
    limit: usize,
    share: Share,
}

impl CountedMemory {
    pub(crate) fn new(limit: usize) -> Self {
        Self::with_share(limit, 1.0)
    }

    pub(crate) fn with_share(limit: usize, share: f64) -> Self {
        Self { held: Cell::new(0), limit, share: Share::new(share).expect("a share") }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }
}

impl ChunkSource for CountedMemory {
    fn take(&self, account: &Account, bytes: usize) -> Result<Vec<u8>, Full> {
        let class = [1, 4, 16, 64].map(|kib| kib * 1024).into_iter().find(|class| *class >= bytes);
        let class = class.expect("nobody asks for more than the largest chunk");
        self.charge(account, class)?;
        Ok(Vec::with_capacity(class))
    }

    fn charge(&self, account: &Account, bytes: usize) -> Result<(), Full> {
        if self.held() + bytes > self.limit {
            return Err(Full::Buffer);
        }
        let room = self.share.room(self.limit, self.held(), account.held());
        if bytes > room {
            return Err(Full::Share(Tight { wanted: bytes, room, free: self.limit - self.held() }));
        }
        self.charge_always(account, bytes);
        Ok(())
    }

    fn charge_always(&self, account: &Account, bytes: usize) {
        account.add(bytes);
        self.held.set(self.held() + bytes);
    }

    fn give(&self, account: &Account, chunk: Chunk) {
        assert!(account.held() >= chunk.bytes_held(), "only what a partition took is given back for it");
        account.subtract(chunk.bytes_held());
        let left = self.held().checked_sub(chunk.bytes_held());
        self.held.set(left.expect("only what was taken is given back"));
    }
}

/// Counts how often it was woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls once, as a task that `wakes` stands for.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(wakes));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// So many milliseconds after the start.
pub(crate) fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

/// So many ticks after the start.
pub(crate) fn ticks(count: u32) -> Moment {
    Moment::START + TICK * count
}

/// When a record is released whose deadline ends after so many milliseconds.
pub(crate) fn released(millis: u64) -> Moment {
    Tick::not_before(at(millis)).moment()
}

/// As [`at`], for appending; the wall clock starts at a million.
pub(crate) fn now(millis: u64) -> Now {
    Now { moment: at(millis), wall_millis: 1_000_000 + millis as i64 }
}

/// A front whose batches hold 10 kB, linger 5 ms and end their wait after 1 s.
pub(crate) fn front() -> PartitionFront {
    front_with(FRONT)
}

/// A front with these limits.
pub(crate) fn front_with(config: FrontConfig) -> PartitionFront {
    PartitionFront::new(PartitionIndex(0), Trouble::new(), config)
}

/// Partition 0 of its topic, with this number.
pub(crate) fn new_partition(id: u32) -> NewPartition {
    NewPartition { id: PartitionId(id), index: PartitionIndex(0), trouble: Trouble::new() }
}

pub(crate) const FRONT: FrontConfig = FrontConfig {
    batch_size: 10_000,
    max_request_size: 1_000_000,
    linger: Duration::from_millis(5),
    deadline: Duration::from_secs(1),
    after_deadline: AfterDeadline::Complete,
    may_withdraw: true,
};

/// A record with nothing but a value.
pub(crate) fn value(bytes: &[u8]) -> RecordRef<'_> {
    RecordRef {
        key: None,
        value: Value::Borrowed(bytes),
        headers: &[],
        timestamp: None,
        due: Due::Configured,
        after_deadline: None,
    }
}

/// Appends, and gives the record's handle.
pub(crate) fn append(
    front: &mut PartitionFront,
    memory: &CountedMemory,
    millis: u64,
    record: RecordRef<'_>,
) -> Delivery {
    let appended = front.append(now(millis), memory, record, Reply::Handle, WhenFull::OpenNext);
    appended.expect("there is room").delivery()
}

/// A batch of small records, sealed at the time when its first one came.
pub(crate) fn sealed(memory: &CountedMemory, millis: u64, records: &[&[u8]]) -> SealedBatch {
    let mut front = front();
    records.iter().for_each(|bytes| drop(append(&mut front, memory, millis, value(bytes))));
    front.seal(SealReason::Flush);
    front.take_sealed().next().expect("a batch was sealed")
}

/// The records of a batch as a broker reads them; header and checksum are verified on the way.
pub(crate) fn read(batch: &StampedBatch) -> (BatchHeader, Vec<Record>) {
    let bytes: Vec<u8> = [&batch.header[..]].into_iter().chain(batch.body.slices()).collect::<Vec<_>>().concat();
    records::validate_produced(&bytes).expect("a broker accepts the batch");
    let mut batches = records::batches(bytes.into());
    let view = batches.next().expect("one batch").expect("which is whole");
    assert!(batches.next().is_none(), "and nothing behind it");
    (view.header, view.records().collect::<Result<_, _>>().expect("every record is whole"))
}

/// The stamp of producer 7 in epoch 0.
pub(crate) fn stamp(sequence: i32) -> Stamp {
    let sequence = Sequence::new(sequence).expect("not negative");
    Stamp { identity: Some(IDENTITY), sequence, ordinal: 0 }
}

pub(crate) const IDENTITY: Identity = Identity { producer_id: ProducerId(7), epoch: Epoch(0) };

/// The other end of a connection: takes what was written apart and answers it.
pub(crate) struct Peer {
    splitter: FrameSplitter,
}

/// A request as a broker reads it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    correlation: i32,
    frame: Bytes,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { splitter: FrameSplitter::new(100_000_000) }
    }

    /// Bytes came over the wire; gives the requests that they complete.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Asked> {
        self.splitter.push(bytes);
        let frames = std::iter::from_fn(|| self.splitter.next_frame().expect("our own frames are short"));
        frames.map(Asked::new).collect()
    }
}

impl Asked {
    fn new(frame: Bytes) -> Self {
        let header = RequestHeader::read(&mut Reader::new(frame.clone())).expect("our own header");
        Self { key: header.api_key, version: header.api_version, correlation: header.correlation_id, frame }
    }

    pub(crate) fn decode<R: Request>(&self) -> R {
        let mut reader = Reader::new(self.frame.clone());
        RequestHeader::read(&mut reader).expect("it was read before");
        frame::decode_request(reader, self.version).expect("our own request")
    }

    pub(crate) fn answer<R: Response>(&self, response: &R) -> Vec<u8> {
        frame::encode_response(self.correlation, self.version, response).expect("fits")
    }

    /// What a broker says that speaks these APIs up to these versions.
    pub(crate) fn answer_versions(&self, newest: &[(ApiKey, i16)]) -> Vec<u8> {
        let api = |(key, max_version): &(ApiKey, i16)| ApiVersion {
            api_key: key.0,
            max_version: *max_version,
            ..ApiVersion::default()
        };
        let api_keys = newest.iter().map(api).collect();
        self.answer(&ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() })
    }
}
