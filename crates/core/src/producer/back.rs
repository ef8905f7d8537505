//! The sending side of a partition: stamps, the batches that are not settled, and what is done about failures.
//!
//! ```text
//!            refused, cut or unanswered              the head settled
//! Streaming ────────────────────────▶ Recovering ──────────────────▶ Streaming
//!     │                                 │      ▲ no word on it         ▲
//!     │                                 ▼      │                       │ one behind it was there
//!     │            a gap at a doubtful head: Probing ──────────────────┘
//!     │ a stamp is proven void, or the producer id is
//!     ▼
//! Renewing ── nothing of it on the wire ──▶ what is certain goes on under fresh stamps, what is not ends ──▶ Streaming
//! ```
//!
//! Always holds:
//! - a stamp belongs to its bytes for ever; a retry sends both again (rule 1), and a second stamp needs a proof that the
//!   first can never be appended (rule 2);
//! - the first batch of an identity flies alone until it is acknowledged (rule 4), and so does one with stale timestamps
//!   (rule 17);
//! - at most five stamps from the oldest unsettled one on (rule 5): brokers remember five;
//! - after a failure the head goes first and alone until it is settled;
//! - a sent batch is given up together with everything sent after it, or not at all (rule 18).
//!
//! What an answer does is in `back/answers.rs`, new stamps are in `back/renewal.rs`, giving up what was sent in
//! `back/withdrawal.rs`, taking its place in `back/squat.rs`, what is asked about the log in `back/questions.rs`, ends by time or by order in `back/ending.rs`, the work on their bytes in `back/packing.rs`. Left out: which request an attempt travels in (`lane.rs`), what an answer means (`verdict.rs`).

mod answers;
mod ending;
mod packing;
mod questions;
mod renewal;
mod squat;
mod withdrawal;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::Uuid;
use milena_wire::records::Encoding;

use super::anchor::Anchor;
use super::batch::{Packing, SealedBatch};
use super::body::ChunkSource;
use super::completion::BatchEnd;
use super::control::NewPartition;
use super::doubt::Doubts;
pub use super::ended::Ended;
use super::outcome::NotWritten;
use super::packing::Encodings;
use super::scan::Base;
use super::stamped::{Flight, Stamp, StampedBatch, Surgery};
use super::trouble::Trouble;
pub use super::verdict::Acks;
use crate::backoff::Backoff;
use crate::ids::{Identity, PartitionId, PartitionIndex, ProducerId, Sequence};
use crate::time::Moment;
pub use answers::{BatchState, Effects, Word};
use questions::Questions;
pub use questions::{LogAnswer, OffsetAnswer, Question, Ticket};
pub(super) use questions::{Use, read_on, use_of};
use renewal::Renewal;
use squat::Squat;

/// Brokers keep the last five batches of a producer per partition to recognise a resent one (Kafka 0.11 and later).
pub const UNSETTLED_STAMPS_MAX: u64 = 5;

/// Half of the time after which brokers forget a producer by default (producer.id.expiration.ms, 24 h).
pub const HORIZON: Duration = Duration::from_secs(12 * 60 * 60);

/// As long as a partition without traffic may be thought to get some.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

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
    /// How records are written.
    pub encodings: Encodings,
    /// How many replicas must have a batch before it counts as written.
    pub acks: Acks,
    /// Whether batches carry stamps; only with acks=all.
    pub is_idempotent: bool,
    /// Unsettled batches of a partition at most; no more than [`UNSETTLED_STAMPS_MAX`] with idempotence.
    pub in_flight_max: u64,
    /// Half of the time after which brokers forget a producer: an acknowledgement or a record timestamp that is older proves
    /// nothing about what they know (rule 17).
    pub horizon: Duration,
    /// Whether a batch with timestamps older than the horizon is sent again after an unanswered attempt, though it may be
    /// written twice.
    pub resends_stale: bool,
    /// Whether what is not written by its deadline must not be written any more, unless a record says otherwise: then the end
    /// of the log is asked for before the first batch is sent, so that a doubt has a base (rule 21).
    pub withdraws: bool,
    /// How long a batch that was given up waits for its fence, and for its log to be read.
    pub settle_timeout: Duration,
    /// Whether there is a record that serves as a fence where nothing else is sent.
    pub has_fence: bool,
    /// Whether stamps are noted for a later process (rule 26), which needs a base for every doubt.
    pub has_journal: bool,
    /// The bug planted in this run.
    #[cfg(feature = "plants")]
    pub plant: crate::plant::Plant,
}

impl BackConfig {
    /// Idempotent with acks=all; the same call with and without planted bugs.
    pub fn new(delivery_timeout: Duration, retry: Backoff) -> Self {
        Self {
            delivery_timeout,
            retry,
            encodings: Encodings::NONE,
            acks: Acks::All,
            is_idempotent: true,
            in_flight_max: UNSETTLED_STAMPS_MAX,
            horizon: HORIZON,
            resends_stale: false,
            withdraws: false,
            settle_timeout: SETTLE_TIMEOUT,
            has_fence: false,
            has_journal: false,
            #[cfg(feature = "plants")]
            plant: crate::plant::Plant::Clean,
        }
    }
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
    next_ticket: u64,
    /// What the broker takes of what is preferred.
    encoding: Option<Encoding>,
    /// The last acknowledged batch of this identity.
    anchor: Option<Anchor>,
    /// Whether the broker stamps records with its own clock; seen in the answer to a first attempt, not known before.
    is_log_append_time: Option<bool>,
    pending: VecDeque<SealedBatch>,
    /// Claimed, of a stamp that is proven void, waiting for another; they go before the pending ones.
    renewed: VecDeque<StampedBatch>,
    /// In the order of their stamps.
    unsettled: VecDeque<StampedBatch>,
    mode: Mode,
    /// The last committed offset that is known, of this topic id.
    base: Option<Base>,
    /// Given up, until the log tells.
    doubts: Doubts,
    questions: Questions,
    /// Set when something was given up whose place the next batch can take; cleared with the epoch.
    squat: Option<Squat>,
    /// When something was given up last.
    withdrawn_at: Option<Moment>,
    #[cfg(feature = "plants")]
    kept: Vec<Arc<super::body::Body>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Streaming,
    /// The head goes first and alone, not before this moment.
    Recovering {
        not_before: Moment,
    },
    /// The head, and those up to `after`, were answered with a gap though they may be there (rule 13): the next one is asked
    /// alone. If none is there, what is doubtful ends so.
    Probing {
        after: u64,
        doubt: super::outcome::Undetermined,
    },
    /// Nothing more goes out under these stamps; answers of what was sent are awaited.
    Renewing(Renewal),
}

/// An attempt as its lane knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptKey {
    /// Of the batch's stamp.
    pub(super) ordinal: u64,
    /// Counts the attempts of the batch, from 1.
    pub(super) number: u32,
}

/// What a request takes along of this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// The unsettled batch at this place, once more.
    Resend(usize),
    /// The oldest one that waits for a new stamp.
    Restamp,
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
            next_ticket: 0,
            encoding: config.encodings.first_for(i16::MAX),
            anchor: None,
            is_log_append_time: None,
            pending: VecDeque::new(),
            renewed: VecDeque::new(),
            unsettled: VecDeque::new(),
            mode: Mode::Streaming,
            base: None,
            doubts: Doubts::default(),
            questions: Questions::default(),
            squat: None,
            withdrawn_at: None,
            #[cfg(feature = "plants")]
            kept: Vec::new(),
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

    /// Its topic.
    pub fn topic(&self) -> &TopicRef {
        &self.topic
    }

    /// What last went wrong here.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// How many replicas must have its batches.
    pub(super) fn acks(&self) -> Acks {
        self.config.acks
    }

    /// Whether it can stamp nothing for want of a producer id.
    pub fn needs_identity(&self) -> bool {
        self.config.is_idempotent && self.identity.is_none() && !matches!(self.mode, Mode::Renewing(_))
    }

    /// With what it stamps now.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The producer id that must not be used here again.
    pub fn abandoned(&self) -> Option<ProducerId> {
        self.abandoned
    }

    /// Whether an attempt of this partition is not answered.
    pub fn is_on_wire(&self) -> bool {
        self.unsettled.iter().any(|batch| batch.flight == Flight::OnWire)
    }

    /// Whether a broker recognises every batch that was sent when it comes again.
    pub(super) fn is_recognised(&self) -> bool {
        self.config.is_idempotent && self.unsettled.iter().all(|batch| !batch.is_stale || self.may_resend_stale())
    }

    /// Whether it holds no batch at all.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.renewed.is_empty() && self.unsettled.is_empty()
    }

    /// Whether a batch that is still filling could be claimed right now if it were sealed.
    pub fn has_room(&self, now: Moment) -> bool {
        let is_idle = self.pending.is_empty() && self.renewed.is_empty() && self.mode == Mode::Streaming;
        // What waits for the end of the log must be sealed to be seen waiting.
        is_idle && self.window_is_open(now)
    }

    /// From now on the partition stamps with this identity. Ignored while another one is in use.
    pub fn grant(&mut self, identity: Identity) {
        if self.identity.is_none() && self.abandoned != Some(identity.producer_id) {
            self.identity = Some(identity);
        }
    }

    /// The last committed offset that is known, from which a doubt of now would be looked for.
    pub(super) fn base(&self) -> Option<Base> {
        self.base
    }

    /// Whether what [`Self::take_next`] would give now has a stamp that was not seen before.
    pub(super) fn is_next_new(&self, now: Moment) -> bool {
        match self.next(now) {
            Next::Nothing => false,
            Next::Resend(place) => self.unsettled[place].surgery != Surgery::None,
            Next::Restamp | Next::Claim => true,
        }
    }

    /// Takes a batch from the front.
    pub fn add_sealed(&mut self, batch: SealedBatch) {
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::BatchOvertakes {
            return self.pending.push_front(batch);
        }
        self.pending.push_back(batch);
    }

    /// Sums the next batch ahead of its claim, off the write path. One that is compressed is summed by whoever does that.
    pub fn pack_next(&mut self) {
        if self.pending.front().is_some_and(|batch| self.is_packed(batch))
            && let Some(batch) = self.pending.front_mut()
        {
            batch.pack();
        }
    }

    /// Bytes that [`Self::take_next`] would add to a request now; none if it would give nothing.
    pub(super) fn next_bytes(&self, now: Moment) -> Option<usize> {
        match self.next(now) {
            Next::Nothing => None,
            Next::Resend(place) => Some(self.unsettled[place].wire_len()),
            Next::Restamp => self.renewed.front().map(StampedBatch::wire_len),
            Next::Claim => self.pending.front().map(SealedBatch::wire_len),
        }
    }

    fn next(&self, now: Moment) -> Next {
        match self.mode {
            Mode::Renewing(_) => Next::Nothing,
            Mode::Recovering { .. } | Mode::Probing { .. } if self.is_on_wire() || self.is_past_horizon(now) => {
                Next::Nothing
            }
            Mode::Recovering { not_before } if now < not_before => Next::Nothing,
            Mode::Recovering { .. } => self.resend(0),
            Mode::Probing { after, .. } => self.probe_after(after).map_or(Next::Nothing, |place| self.resend(place)),
            Mode::Streaming => self.next_in_stream(now),
        }
    }

    /// The batch at this place, if its bytes are ready.
    fn resend(&self, place: usize) -> Next {
        if self.unsettled[place].awaits_cut() { Next::Nothing } else { Next::Resend(place) }
    }

    fn next_in_stream(&self, now: Moment) -> Next {
        if let Some(place) = self.unsettled.iter().position(|batch| batch.flight == Flight::Waiting) {
            // A planted bug numbers a head anew; otherwise ordinals ascend.
            let ahead = self.unsettled[place].stamp.ordinal.saturating_sub(self.unsettled[0].stamp.ordinal);
            // Pieces of a batch are more than the window; what was sent behind them may still come late.
            let is_in_window = ahead < self.window() && self.unsettled.len() as u64 <= self.window();
            let may_accompany = is_in_window && self.may_accompany(&self.unsettled[0], now);
            let may_fly = place == 0 || may_accompany && !self.is_now_stale(place, now);
            return if may_fly { self.resend(place) } else { Next::Nothing };
        }
        // What keeps a batch young may be a record that leaves it at the claim.
        let horizon = self.config.horizon;
        let (next, is_old) = match (self.renewed.front(), self.pending.front()) {
            (Some(batch), _) if !batch.awaits_cut() => (Next::Restamp, batch.may_become_stale(now, horizon)),
            (None, Some(batch)) if self.is_packed(batch) => (Next::Claim, batch.may_become_stale(now, horizon)),
            _ => return Next::Nothing,
        };
        let flies_alone = is_old && self.is_by_create_time();
        let may_fly = self.window_is_open(now) && (self.unsettled.is_empty() || !flies_alone) && !self.needs_base();
        if may_fly { next } else { Next::Nothing }
    }

    /// What kept a batch young is in one of its pieces only: those that were not sent yet are looked at anew.
    fn is_now_stale(&self, place: usize, now: Moment) -> bool {
        let batch = &self.unsettled[place];
        if batch.attempts_of_stamp == 0 { self.has_become_stale(batch, now) } else { batch.is_stale }
    }

    fn window_is_open(&self, now: Moment) -> bool {
        let Some(head) = self.unsettled.front() else { return self.identity.is_some() || !self.config.is_idempotent };
        // What follows a squat goes under another epoch.
        self.squat.is_none() && self.next_ordinal - head.stamp.ordinal < self.window() && self.may_accompany(head, now)
    }

    /// Whether another batch may fly with the head (rules 4 and 17).
    fn may_accompany(&self, head: &StampedBatch, now: Moment) -> bool {
        if !self.config.is_idempotent {
            return true;
        }
        #[cfg(feature = "plants")]
        if self.config.plant == crate::plant::Plant::FirstBatchInCompany {
            return self.identity.is_some();
        }
        let is_known = self.identity.is_some() && self.is_anchored(head) && !self.is_past_horizon(now);
        is_known && !head.is_stale
    }

    /// Whether an earlier batch of the same identity was acknowledged, and nothing speaks against what that proves.
    fn is_anchored(&self, batch: &StampedBatch) -> bool {
        self.anchor.is_some_and(|anchor| anchor.ordinal < batch.stamp.ordinal)
    }

    #[cfg(not(feature = "plants"))]
    pub(super) fn window(&self) -> u64 {
        self.config.in_flight_max
    }

    #[cfg(feature = "plants")]
    pub(super) fn window(&self) -> u64 {
        self.config.in_flight_max + u64::from(self.config.plant == crate::plant::Plant::WindowOfSix)
    }

    /// The claim point (rule 3): the next attempt of this partition, stamped, with withdrawn records dropped. Batches
    /// whose every record was withdrawn end here and are not sent.
    pub(super) fn take_next(
        &mut self,
        now: Moment,
        chunks: &(impl ChunkSource + ?Sized),
        ended: &mut Vec<Ended>,
    ) -> Option<&StampedBatch> {
        self.withdraw_rather_than_send(now, ended);
        let place = loop {
            match self.next(now) {
                Next::Nothing => return None,
                Next::Resend(place) => {
                    self.cut(place, chunks);
                    self.unsettled[place].is_stale = self.is_now_stale(place, now);
                    break place;
                }
                Next::Restamp => {
                    self.leave_old_epoch(now, ended);
                    if self.identity.is_some() || !self.config.is_idempotent {
                        self.restamp(now, chunks);
                        break self.unsettled.len() - 1;
                    }
                }
                Next::Claim => {
                    self.leave_old_epoch(now, ended);
                    if (self.identity.is_some() || !self.config.is_idempotent) && self.claim(now, chunks, ended) {
                        break self.unsettled.len() - 1;
                    }
                }
            }
        };
        #[cfg(feature = "plants")]
        self.replant_stamp(place);
        let batch = &mut self.unsettled[place];
        batch.attempts += 1;
        batch.attempts_of_stamp += 1;
        batch.first_sent_at.get_or_insert(now);
        batch.completion.count_attempt();
        batch.flight = Flight::OnWire;
        Some(batch)
    }

    /// False if nothing was left of the oldest pending batch, or it must be packed once more.
    fn claim(&mut self, now: Moment, chunks: &(impl ChunkSource + ?Sized), ended: &mut Vec<Ended>) -> bool {
        let mut batch = self.pending.pop_front().expect("a claim follows a look at the pending batches");
        if batch.must_be_repacked() {
            (batch.packing, batch.is_repacked) = (Packing::Open, true);
            self.pending.push_front(batch);
            return false;
        }
        let dropped = batch.completion.claim();
        #[cfg(feature = "plants")]
        let dropped =
            if self.config.plant == crate::plant::Plant::WithdrawnAreSent { Default::default() } else { dropped };
        if dropped.len() >= batch.appended {
            ended.push(Ended::Sealed(batch, BatchEnd::NotWritten(NotWritten::DeadlinePassed)));
            return false;
        }
        if dropped.len() > batch.removed.len() {
            batch.drop_records(&dropped, chunks);
        }
        let is_stale = self.is_stale(&batch, now);
        self.take_place(batch.count, is_stale, ended);
        let stamp = self.next_stamp(batch.count);
        self.unsettled.push_back(batch.claimed(is_stale, stamp));
        true
    }

    fn next_stamp(&mut self, count: u32) -> Stamp {
        let identity = self.identity.filter(|_| self.config.is_idempotent);
        let stamp = Stamp { identity, sequence: self.next_sequence, ordinal: self.next_ordinal };
        self.next_sequence = self.next_sequence.next(count);
        self.next_ordinal += 1;
        stamp
    }

    /// A batch that was too large goes in two pieces. Together they have its sequences, so those behind keep their stamps;
    /// all are numbered anew, because a piece stands where one number was.
    fn cut(&mut self, place: usize, chunks: &(impl ChunkSource + ?Sized)) {
        match std::mem::take(&mut self.unsettled[place].surgery) {
            Surgery::None => {}
            // Without idempotence there are no sequences to keep.
            Surgery::Drop(places) => self.unsettled[place].drop_refused(&places, chunks),
            Surgery::Split => {
                let second = self.unsettled[place].split(chunks);
                self.insert_second(place, second);
            }
        }
    }

    fn insert_second(&mut self, place: usize, second: StampedBatch) {
        let mut behind = self.unsettled.range(place..);
        assert!(behind.all(|batch| batch.flight != Flight::OnWire), "an answer on its way would not find its batch");
        self.unsettled.insert(place + 1, second);
        for batch in self.unsettled.range_mut(place..) {
            batch.renumber(self.next_ordinal);
            self.next_ordinal += 1;
        }
    }

    #[cfg(feature = "plants")]
    fn replant_stamp(&mut self, place: usize) {
        if self.config.plant == crate::plant::Plant::NewStampOnResend && self.unsettled[place].attempts > 0 {
            let stamp = self.next_stamp(self.unsettled[place].count());
            self.unsettled[place].restamp(stamp);
        }
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
