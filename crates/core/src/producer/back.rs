//! The sending side of a partition: stamps, the batches that are not settled, and what is done about failures.
//!
//! ```text
//!            refused, cut or unanswered            the head settled
//! Streaming ────────────────────────▶ Recovering ──────────────────▶ Streaming
//!     │ refused for good                  │ refused for good
//!     ▼                                   ▼
//! Stopping ── nothing of it on the wire ──▶ everything ended, identity given up ──▶ Streaming
//! ```
//!
//! Always holds:
//! - a stamp belongs to its bytes for ever; a retry sends both again (rule 1);
//! - the first batch of an identity flies alone until it is acknowledged, and so does the next one after a long pause
//!   (rules 4 and 17);
//! - at most five stamps from the oldest unsettled one on (rule 5): brokers remember five;
//! - after a failure the head goes first and alone until it is settled;
//! - a sent batch is given up together with everything sent after it, or not at all (rule 18).
//!
//! Left out: which request an attempt travels in (`lane.rs`), what an answer means (`verdict.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::{ErrorCode, Uuid};

use super::batch::{ChunkSource, Flight, SealedBatch, Stamp, StampedBatch};
use super::completion::BatchEnd;
use super::control::NewPartition;
pub use super::ended::Ended;
use super::outcome::{NotWritten, Undetermined};
use super::trouble::Trouble;
use super::verdict::{Answer, Context, Verdict, classify};
use crate::backoff::{Backoff, Chance};
use crate::ids::{Identity, PartitionId, PartitionIndex, ProducerId, Sequence};
use crate::time::{Moment, TICK};

/// Brokers keep the last five batches of a producer per partition to recognise a resent one (Kafka 0.11 and later).
const UNSETTLED_STAMPS_MAX: u64 = 5;

/// Half of the time after which brokers forget a producer (producer.id.expiration.ms, 24 h): an older acknowledgement does
/// not say any more that they know this one (rule 17).
const HORIZON: Duration = Duration::from_secs(12 * 60 * 60);

/// Between two looks at a batch that is past `delivery_timeout` and still wanted.
const GIVE_UP_AGAIN: Duration = Duration::from_millis(100);

/// Which topic a partition belongs to, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRef {
    /// For Produce up to version 12.
    pub name: Arc<str>,
    /// For Produce from version 13 on; zero when the broker gave none.
    pub id: Uuid,
}

/// What a back needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct BackConfig {
    /// When a batch that nobody waits for any more is given up, counted from its first record.
    pub delivery_timeout: Duration,
    /// Between attempts.
    pub retry: Backoff,
    /// The bug planted in this run.
    #[cfg(feature = "plants")]
    pub plant: crate::plant::Plant,
}

impl BackConfig {
    /// As a product uses it; the same call with and without planted bugs.
    pub fn new(delivery_timeout: Duration, retry: Backoff) -> Self {
        Self {
            delivery_timeout,
            retry,
            #[cfg(feature = "plants")]
            plant: crate::plant::Plant::Clean,
        }
    }
}

/// What came of an answer, for the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The partition may have moved.
    pub refresh_metadata: bool,
    /// Nothing more is sent until a fresh producer id comes; what the front holds ends with this code.
    pub stopped: Option<ErrorCode>,
}

/// The lane's half of a partition.
#[derive(Debug)]
pub struct PartitionBack {
    config: BackConfig,
    id: PartitionId,
    index: PartitionIndex,
    topic: TopicRef,
    /// Told of every failed attempt, cleared by every success.
    trouble: Arc<Trouble>,
    identity: Option<Identity>,
    /// The producer id that must not be used here again.
    abandoned: Option<ProducerId>,
    next_sequence: Sequence,
    next_ordinal: u64,
    /// When a batch of this identity was last acknowledged (rule 4).
    acknowledged_at: Option<Moment>,
    pending: VecDeque<SealedBatch>,
    /// In the order of their stamps.
    unsettled: VecDeque<StampedBatch>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Streaming,
    /// The head goes first and alone, not before this moment.
    Recovering {
        not_before: Moment,
    },
    /// The head was refused for good; answers of what was sent after it are awaited.
    Stopping {
        refused: u64,
        code: ErrorCode,
    },
}

/// What a request takes along of this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// The unsettled batch at this place, once more.
    Resend(usize),
    /// The oldest pending batch.
    Claim,
}

impl PartitionBack {
    /// A partition of which nothing was sent yet.
    pub fn new(partition: &NewPartition, topic: TopicRef, config: BackConfig) -> Self {
        Self {
            config,
            id: partition.id,
            index: partition.index,
            topic,
            trouble: Arc::clone(&partition.trouble),
            identity: None,
            abandoned: None,
            next_sequence: Sequence::FIRST,
            next_ordinal: 0,
            acknowledged_at: None,
            pending: VecDeque::new(),
            unsettled: VecDeque::new(),
            mode: Mode::Streaming,
        }
    }

    /// The client's number for the partition.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Its number within the topic.
    pub fn index(&self) -> PartitionIndex {
        self.index
    }

    /// What last went wrong here.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Its topic.
    pub fn topic(&self) -> &TopicRef {
        &self.topic
    }

    /// Whether it can stamp nothing for want of a producer id.
    pub fn needs_identity(&self) -> bool {
        self.identity.is_none() && !matches!(self.mode, Mode::Stopping { .. })
    }

    /// The producer id that must not be used here again.
    pub fn abandoned(&self) -> Option<ProducerId> {
        self.abandoned
    }

    /// Whether an attempt of this partition is not answered.
    pub fn is_on_wire(&self) -> bool {
        self.unsettled.iter().any(|batch| batch.flight == Flight::OnWire)
    }

    /// Whether it holds no batch at all.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.unsettled.is_empty()
    }

    /// Whether a batch that is still filling could be claimed right now if it were sealed.
    pub fn has_room(&self, now: Moment) -> bool {
        self.pending.is_empty() && self.mode == Mode::Streaming && self.window_is_open(now)
    }

    /// From now on the partition stamps with this identity. Ignored while another one is in use.
    pub fn grant(&mut self, identity: Identity) {
        if self.identity.is_none() && self.abandoned != Some(identity.producer_id) {
            self.identity = Some(identity);
        }
    }

    /// Takes a batch from the front.
    pub fn add_sealed(&mut self, batch: SealedBatch) {
        self.pending.push_back(batch);
    }

    /// Does the work of the next claim ahead of it, off the write path.
    pub fn pack_next(&mut self) {
        if let Some(batch) = self.pending.front_mut() {
            batch.pack();
        }
    }

    /// Bytes that [`Self::take_next`] would add to a request now; none if it would give nothing.
    pub(super) fn next_bytes(&self, now: Moment) -> Option<usize> {
        match self.next(now) {
            Next::Nothing => None,
            Next::Resend(place) => Some(self.unsettled[place].wire_len()),
            Next::Claim => self.pending.front().map(SealedBatch::wire_len),
        }
    }

    /// When the partition may have something to send, or to give up, without anything else happening.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let retry = match self.mode {
            Mode::Recovering { not_before } if !self.is_on_wire() && !self.unsettled.is_empty() => Some(not_before),
            _ => None,
        };
        let give_up = self.unsettled.back().filter(|_| !self.is_on_wire()).map(|batch| self.gives_up_at(batch));
        retry.into_iter().chain(give_up).min()
    }

    /// As [`Self::poll_timeout`], once what is due now was done.
    pub(super) fn poll_timeout_after(&self, now: Moment) -> Option<Moment> {
        let due = self.poll_timeout()?;
        if due > now {
            return Some(due);
        }
        // A retry that is due waits for its connection; a batch past its time is looked at until nobody wants it.
        self.unsettled.back().map(|youngest| self.gives_up_at(youngest).max(now + GIVE_UP_AGAIN))
    }

    fn next(&self, now: Moment) -> Next {
        let waiting = || self.unsettled.iter().position(|batch| batch.flight == Flight::Waiting);
        match self.mode {
            Mode::Stopping { .. } => Next::Nothing,
            Mode::Recovering { not_before } if self.is_on_wire() || now < not_before => Next::Nothing,
            Mode::Recovering { .. } => Next::Resend(0),
            Mode::Streaming => match waiting() {
                Some(place) => Next::Resend(place),
                None if !self.pending.is_empty() && self.window_is_open(now) => Next::Claim,
                None => Next::Nothing,
            },
        }
    }

    fn window_is_open(&self, now: Moment) -> bool {
        let Some(head) = self.unsettled.front() else { return self.identity.is_some() };
        let is_known = self.acknowledged_at.is_some_and(|at| now.since(at) < HORIZON);
        is_known && self.next_ordinal - head.stamp.ordinal < self.window()
    }

    #[cfg(not(feature = "plants"))]
    fn window(&self) -> u64 {
        UNSETTLED_STAMPS_MAX
    }

    #[cfg(feature = "plants")]
    fn window(&self) -> u64 {
        UNSETTLED_STAMPS_MAX + u64::from(self.config.plant == crate::plant::Plant::WindowOfSix)
    }

    /// The claim point (rule 3): the next attempt of this partition, stamped, with withdrawn records dropped. Batches
    /// whose every record was withdrawn end here and are not sent.
    pub(super) fn take_next(
        &mut self,
        now: Moment,
        chunks: &(impl ChunkSource + ?Sized),
        ended: &mut Vec<Ended>,
    ) -> Option<&StampedBatch> {
        let place = loop {
            match self.next(now) {
                Next::Nothing => return None,
                Next::Resend(place) => break place,
                Next::Claim if self.claim(chunks, ended) => break self.unsettled.len() - 1,
                Next::Claim => {}
            }
        };
        #[cfg(feature = "plants")]
        self.replant_stamp(place);
        let batch = &mut self.unsettled[place];
        batch.attempts += 1;
        batch.completion.count_attempt();
        batch.flight = Flight::OnWire;
        Some(batch)
    }

    /// False if nothing was left of the oldest pending batch.
    fn claim(&mut self, chunks: &(impl ChunkSource + ?Sized), ended: &mut Vec<Ended>) -> bool {
        let mut batch = self.pending.pop_front().expect("a claim follows a look at the pending batches");
        let dropped = batch.completion.claim();
        if dropped.len() >= batch.count {
            ended.push(Ended::Sealed(batch, BatchEnd::NotWritten(NotWritten::DeadlinePassed)));
            return false;
        }
        if !dropped.is_empty() {
            batch.drop_records(&dropped, chunks);
        }
        let stamp = self.next_stamp(batch.count);
        self.unsettled.push_back(batch.stamp(stamp));
        true
    }

    fn next_stamp(&mut self, count: u32) -> Stamp {
        let identity = self.identity.expect("the window is open only with an identity");
        let stamp = Stamp { identity, sequence: self.next_sequence, ordinal: self.next_ordinal };
        self.next_sequence = self.next_sequence.next(count);
        self.next_ordinal += 1;
        stamp
    }

    #[cfg(feature = "plants")]
    fn replant_stamp(&mut self, place: usize) {
        if self.config.plant == crate::plant::Plant::NewStampOnResend && self.unsettled[place].attempts > 0 {
            let stamp = self.next_stamp(self.unsettled[place].count);
            self.unsettled[place].restamp(stamp);
        }
    }

    /// An answer for the attempt with this ordinal.
    pub(super) fn handle_answer(
        &mut self,
        now: Moment,
        ordinal: u64,
        answer: Answer,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) -> Effects {
        // A partition that moved on (its topic was recreated) has no use for the answer.
        let Some(place) = self.unsettled.iter().position(|batch| batch.stamp.ordinal == ordinal) else {
            return Effects::default();
        };
        let mut effects = Effects::default();
        match classify(answer, Context { is_head: place == 0 }) {
            Verdict::Written { base_offset, log_append_time } => {
                self.settle(now, place, BatchEnd::Written { base_offset, log_append_time }, ended);
            }
            Verdict::Resend { is_ambiguous, refresh_metadata } => {
                effects.refresh_metadata = refresh_metadata;
                self.fail_attempt(now, place, is_ambiguous, chance);
            }
            Verdict::Stop { is_ambiguous } => {
                self.fail_attempt(now, place, is_ambiguous, chance);
                self.stop(ordinal, answer.error);
            }
        }
        effects.stopped = self.finish_stopping(ended);
        effects
    }

    fn settle(&mut self, now: Moment, place: usize, end: BatchEnd, ended: &mut Vec<Ended>) {
        let batch = self.unsettled.remove(place).expect("the batch was found at this place");
        self.acknowledged_at = Some(now);
        ended.push(Ended::Stamped(batch, end));
        if place == 0 && matches!(self.mode, Mode::Recovering { .. }) {
            self.mode = Mode::Streaming;
        }
    }

    fn fail_attempt(&mut self, now: Moment, place: usize, is_ambiguous: bool, chance: &mut Chance) {
        let batch = &mut self.unsettled[place];
        batch.flight = Flight::Waiting;
        batch.is_ambiguous |= is_ambiguous;
        if !matches!(self.mode, Mode::Stopping { .. }) {
            let attempts = self.unsettled[0].attempts;
            self.mode = Mode::Recovering { not_before: now + self.config.retry.after(attempts, chance) };
        }
    }

    fn stop(&mut self, refused: u64, code: ErrorCode) {
        if !matches!(self.mode, Mode::Stopping { .. }) {
            self.mode = Mode::Stopping { refused, code };
        }
    }

    /// The connection is gone; attempts of which not every byte was handed to the kernel are not executed (rule 12).
    pub(super) fn handle_attempt_lost(
        &mut self,
        now: Moment,
        ordinal: u64,
        was_all_written: bool,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) -> Effects {
        if let Some(place) = self.unsettled.iter().position(|batch| batch.stamp.ordinal == ordinal) {
            self.fail_attempt(now, place, was_all_written, chance);
        }
        Effects { refresh_metadata: true, stopped: self.finish_stopping(ended) }
    }

    fn finish_stopping(&mut self, ended: &mut Vec<Ended>) -> Option<ErrorCode> {
        let Mode::Stopping { refused, code } = self.mode else { return None };
        if self.is_on_wire() {
            return None;
        }
        let end = |batch: &StampedBatch| match batch {
            batch if batch.is_ambiguous => {
                BatchEnd::Undetermined(Undetermined::RefusedAfterAmbiguousAttempt(code.into()))
            }
            batch if batch.stamp.ordinal == refused => BatchEnd::NotWritten(NotWritten::Refused(code.into())),
            _ => BatchEnd::NotWritten(NotWritten::PartitionStopped(code.into())),
        };
        self.end_unsettled(end, ended);
        self.end_pending(BatchEnd::NotWritten(NotWritten::PartitionStopped(code.into())), ended);
        self.give_up_identity();
        Some(code)
    }

    fn end_unsettled(&mut self, end: impl Fn(&StampedBatch) -> BatchEnd, ended: &mut Vec<Ended>) {
        ended.extend(self.unsettled.drain(..).map(|batch| {
            let end = end(&batch);
            Ended::Stamped(batch, end)
        }));
    }

    fn end_pending(&mut self, end: BatchEnd, ended: &mut Vec<Ended>) {
        ended.extend(self.pending.drain(..).map(|batch| Ended::Sealed(batch, end)));
    }

    /// A fresh producer id starts at sequence 0 with its first batch alone; it fences nothing, so late copies of the
    /// old stamps remain possible.
    fn give_up_identity(&mut self) {
        self.abandoned = self.identity.take().map(|identity| identity.producer_id).or(self.abandoned);
        self.next_sequence = Sequence::FIRST;
        self.acknowledged_at = None;
        self.mode = Mode::Streaming;
    }

    fn gives_up_at(&self, youngest: &StampedBatch) -> Moment {
        // A caller may be due a little later than the timeout; the batch is never given up under its eyes.
        (youngest.opened_at + self.config.delivery_timeout).max(youngest.last_due.moment() + TICK)
    }

    /// Gives up what is past `delivery_timeout`, if nothing sent is on the wire or still wanted (rule 18), and ends
    /// pending batches that nobody wants.
    pub(super) fn handle_timeout(&mut self, now: Moment, ended: &mut Vec<Ended>) {
        self.end_dead_pending(ended);
        let Some(youngest) = self.unsettled.back() else { return };
        let is_due = !self.is_on_wire() && self.gives_up_at(youngest) <= now;
        if is_due && !self.unsettled.iter().any(|batch| batch.completion.is_wanted()) {
            self.end_unsettled(no_answer_in_time, ended);
            self.give_up_identity();
        }
    }

    /// Ends the oldest pending batches that nobody wants any more, so that their memory goes back.
    pub(super) fn end_dead_pending(&mut self, ended: &mut Vec<Ended>) {
        while self.pending.front().is_some_and(|batch| !batch.completion.is_wanted()) {
            ended.extend(
                self.pending
                    .pop_front()
                    .map(|batch| Ended::Sealed(batch, BatchEnd::NotWritten(NotWritten::DeadlinePassed))),
            );
        }
    }

    /// The topic was deleted and created again. Old stamps are never sent to the new one (rule 25).
    pub(super) fn handle_topic_recreated(&mut self, id: Uuid, ended: &mut Vec<Ended>) {
        self.topic.id = id;
        self.end_unsettled(recreated, ended);
        self.give_up_identity();
    }

    /// Ends everything: the producer is closed, or its driver is lost.
    pub fn end_all(&mut self, unclaimed: NotWritten, doubt: Undetermined, ended: &mut Vec<Ended>) {
        // Every attempt so far may have been refused, but one that is on the wire is in doubt.
        self.end_unsettled(
            |batch| match batch.is_ambiguous || batch.flight == Flight::OnWire {
                true => BatchEnd::Undetermined(doubt),
                false => BatchEnd::NotWritten(unclaimed),
            },
            ended,
        );
        self.end_pending(BatchEnd::NotWritten(unclaimed), ended);
        // Its stamps are given up with the batches; what would still be added starts a sequence of its own.
        self.give_up_identity();
    }
}

fn no_answer_in_time(batch: &StampedBatch) -> BatchEnd {
    match batch.is_ambiguous {
        true => BatchEnd::Undetermined(Undetermined::NoFence),
        false => BatchEnd::NotWritten(NotWritten::DeadlinePassed),
    }
}

fn recreated(batch: &StampedBatch) -> BatchEnd {
    match batch.is_ambiguous || batch.flight == Flight::OnWire {
        true => BatchEnd::Undetermined(Undetermined::TopicRecreated),
        false => BatchEnd::NotWritten(NotWritten::TopicRecreated),
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
