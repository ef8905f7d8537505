//! A partition whose lane is played by hand: every attempt and every answer is named.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::records::{self, BatchHeader};
use milena_wire::{ErrorCode, Uuid};

use super::super::*;
use crate::backoff::Chance;
use crate::ids::Epoch;
use crate::producer::completion::BatchEnd;
use crate::producer::outcome::Undetermined;
use crate::producer::testbed::{CountedMemory, IDENTITY, at, new_partition, read, sealed};
use crate::producer::verdict::Answer;

pub(super) const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_millis(400) };
/// No wait after a failure is longer.
pub(super) const RETRY_MAX: u64 = 480;
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const ANSWER: Answer = Answer {
    error: ErrorCode::NONE,
    base_offset: -1,
    log_append_time: -1,
    log_start_offset: -1,
    bad_records: Vec::new(),
};
pub(super) const FRESH: Identity = Identity { producer_id: ProducerId(8), epoch: Epoch(0) };

pub(super) const TIMED_OUT: ErrorCode = ErrorCode::REQUEST_TIMED_OUT;
pub(super) const NOT_ENOUGH: ErrorCode = ErrorCode::NOT_ENOUGH_REPLICAS;
pub(super) const OUT_OF_ORDER: ErrorCode = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
pub(super) const TOO_LARGE: ErrorCode = ErrorCode::MESSAGE_TOO_LARGE;

pub(super) struct Partition {
    pub(super) back: PartitionBack,
    pub(super) memory: CountedMemory,
    pub(super) chance: Chance,
    pub(super) millis: u64,
    pub(super) ended: Vec<Ended>,
    /// How often each batch was sent.
    pub(super) attempts: BTreeMap<u64, u32>,
}

/// An attempt as it went out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) ordinal: u64,
    pub(super) sequence: i32,
    pub(super) bytes: Vec<u8>,
}

impl Partition {
    pub(super) fn without_identity() -> Self {
        Self::with(BackConfig::new(DELIVERY_TIMEOUT, RETRY))
    }

    pub(super) fn with(config: BackConfig) -> Self {
        let topic = TopicRef { name: Arc::from("t"), id: Uuid([1; 16]) };
        let back = PartitionBack::new(&new_partition(0), topic, config);
        Self {
            back,
            memory: CountedMemory::new(usize::MAX),
            chance: Chance::new(3),
            millis: 1_000,
            ended: Vec::new(),
            attempts: BTreeMap::new(),
        }
    }

    pub(super) fn new() -> Self {
        let mut partition = Self::without_identity();
        partition.back.grant(IDENTITY);
        partition
    }

    /// One whose first batch was acknowledged; it had the sequence 0.
    pub(super) fn anchored() -> Self {
        let mut partition = Self::new();
        partition.add(1);
        partition.send();
        partition.acknowledge(0, 0);
        partition.ended.clear();
        partition
    }

    pub(super) fn now(&self) -> Moment {
        at(self.millis)
    }

    /// One that withdraws what is late; its log holds the batch that was acknowledged.
    pub(super) fn withdrawing() -> (Self, FakeLog) {
        let mut partition = Self::with(BackConfig { withdraws: true, ..BackConfig::new(DELIVERY_TIMEOUT, RETRY) });
        partition.back.grant(IDENTITY);
        let mut log = FakeLog::default();
        partition.add_withdrawn(1);
        partition.tell_end(0);
        let first = partition.send();
        log.append(&first);
        partition.acknowledge(0, 0);
        partition.ended.clear();
        (partition, log)
    }

    /// As [`Self::add`], of records that are not to be written late.
    pub(super) fn add_withdrawn(&mut self, batches: usize) {
        for _ in 0..batches {
            let batch = sealed(&self.memory, self.millis, &[b"x", b"y"]);
            self.back.add_sealed(SealedBatch { withdraws: true, ..batch });
        }
    }

    /// The leader says where the log ends, which it was asked for.
    pub(super) fn tell_end(&mut self, end_offset: i64) {
        assert_eq!(self.back.next_question(self.now()), Some(Question::End));
        let (now, ticket) = (self.now(), self.back.ask());
        let answer = OffsetAnswer { error: ErrorCode::NONE, end_offset, leader_epoch: 0 };
        self.back.handle_end(now, ticket, &answer, &mut self.chance, &mut self.ended);
    }

    /// The leader shows what stands where it was asked to look; whether it was asked.
    pub(super) fn show(&mut self, log: &FakeLog) -> bool {
        let Some(Question::Log { offset }) = self.back.next_question(self.now()) else { return false };
        self.tell_log(&LogAnswer { error: ErrorCode::NONE, records: log.from(offset) });
        true
    }

    pub(super) fn tell_log(&mut self, answer: &LogAnswer) {
        let (now, ticket) = (self.now(), self.back.ask());
        self.back.handle_log(now, ticket, answer, &mut self.chance, &mut self.ended);
    }

    /// Everybody's deadline has passed, and the partition looks.
    pub(super) fn withdraw(&mut self) {
        self.release_everybody();
        self.wait(5_000);
        self.time_out();
    }

    /// Batches of two records each.
    pub(super) fn add(&mut self, batches: usize) {
        for _ in 0..batches {
            self.back.add_sealed(sealed(&self.memory, self.millis, &[b"x", b"y"]));
        }
    }

    pub(super) fn try_send(&mut self) -> Option<Sent> {
        let now = self.now();
        let expected = self.back.next_bytes(now);
        let attempts = &mut self.attempts;
        let sent = self.back.take_next(now, &self.memory, &mut self.ended).map(|batch| {
            attempts.insert(batch.stamp.ordinal, batch.attempts);
            let bytes = [&batch.header[..]].into_iter().chain(batch.body.slices()).collect::<Vec<_>>().concat();
            assert_eq!(read(batch).0.record_count, batch.count() as i32);
            Sent { ordinal: batch.stamp.ordinal, sequence: batch.stamp.sequence.value(), bytes }
        });
        assert!(sent.is_none() || expected.is_some(), "what is sent was announced");
        sent
    }

    pub(super) fn send(&mut self) -> Sent {
        self.try_send().expect("something to send")
    }

    /// Everything that goes out now; the ordinals.
    pub(super) fn send_all(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.try_send()).map(|sent| sent.ordinal).collect()
    }

    pub(super) fn answer(&mut self, ordinal: u64, error: ErrorCode, base_offset: i64) -> Effects {
        let answer = Answer { error, base_offset, ..ANSWER };
        self.take(ordinal, &answer)
    }

    /// The answer to the newest attempt of a batch.
    pub(super) fn take(&mut self, ordinal: u64, answer: &Answer) -> Effects {
        let number = self.attempts.get(&ordinal).copied().unwrap_or(0);
        let key = AttemptKey { ordinal, number };
        self.back.handle_answer(at(self.millis), key, answer, &mut self.chance, &mut self.ended)
    }

    pub(super) fn acknowledge(&mut self, ordinal: u64, base_offset: i64) {
        self.answer(ordinal, ErrorCode::NONE, base_offset);
    }

    pub(super) fn refuse(&mut self, ordinal: u64, error: ErrorCode) -> Effects {
        self.answer(ordinal, error, -1)
    }

    pub(super) fn lose(&mut self, ordinal: u64, was_all_written: bool) -> Effects {
        let now = self.now();
        let key = AttemptKey { ordinal, number: self.attempts[&ordinal] };
        self.back.handle_attempt_lost(now, key, was_all_written, &mut self.chance, &mut self.ended)
    }

    /// Every byte of them was handed over, and the connection is gone.
    pub(super) fn lose_all(&mut self, ordinals: impl IntoIterator<Item = u64>) {
        for ordinal in ordinals {
            self.lose(ordinal, true);
        }
    }

    /// What is heard of the first attempt of a batch on a connection that was left.
    pub(super) fn hear(&mut self, ordinal: u64, word: Word) {
        let now = self.now();
        self.back.hear(now, AttemptKey { ordinal, number: 1 }, &word, &mut self.ended);
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.millis += millis;
    }

    pub(super) fn time_out(&mut self) {
        let now = self.now();
        self.back.handle_timeout(now, &mut self.ended);
    }

    /// What was given up waits for a fence in vain.
    pub(super) fn wait_for_no_fence(&mut self) {
        self.time_out();
        self.wait(SETTLE_TIMEOUT.as_millis() as u64);
        self.time_out();
    }

    pub(super) fn release_everybody(&self) {
        let claimed = self.back.unsettled.iter().chain(&self.back.renewed);
        let unsettled = claimed.map(|batch| &batch.completion);
        unsettled.chain(self.back.pending.iter().map(|batch| &batch.completion)).for_each(|batch| {
            batch.release_due(Moment::NEVER);
        });
    }

    /// How batches ended since the last look, oldest first.
    pub(super) fn ends(&mut self) -> Vec<BatchEnd> {
        let end = |ended: Ended| match ended {
            Ended::Sealed(_, end) | Ended::Stamped(_, end) => Some(end),
            Ended::Doubt(_, end) => Some(end),
            Ended::Records(..) | Ended::Payload(..) => None,
        };
        self.ended.drain(..).filter_map(end).collect()
    }
}

/// The log of the partition at its leader.
#[derive(Default)]
pub(super) struct FakeLog {
    batches: Vec<(i64, Vec<u8>)>,
    pub(super) end: i64,
}

impl FakeLog {
    /// Appends what was sent; at which offset.
    pub(super) fn append(&mut self, sent: &Sent) -> i64 {
        let mut bytes = sent.bytes.clone();
        records::place_batch(&mut bytes, self.end, 0).expect("it is a whole batch");
        let header = BatchHeader::read(&bytes).expect("it is a whole batch");
        self.batches.push((header.last_offset(), bytes));
        std::mem::replace(&mut self.end, header.last_offset() + 1)
    }

    fn from(&self, offset: i64) -> bytes::Bytes {
        let rest = self.batches.iter().filter(|(last, _)| *last >= offset);
        rest.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

pub(super) fn written(offset: i64) -> BatchEnd {
    BatchEnd::Written { base_offset: Some(offset), log_append_time: None }
}

pub(super) fn refused(code: ErrorCode) -> BatchEnd {
    BatchEnd::NotWritten(NotWritten::Refused(code.into()))
}

pub(super) fn in_doubt(code: ErrorCode) -> BatchEnd {
    BatchEnd::Undetermined(Undetermined::RefusedAfterAmbiguousAttempt(code.into()))
}
