//! Every batch on its way in one request, as the network saw it: the truth about attempts does not come from the client.

use std::collections::BTreeMap;
use std::fmt;

use milena_core::ids::NodeId;
use milena_core::time::Moment;
use milena_wire::ErrorCode;

use super::{Place, RecordId};
use crate::faults::leaves_open;
use crate::network::LinkId;
use milena_core::producer::back::BatchState;

/// A batch on its way in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptId(pub(crate) u32);

/// What a request carries for one partition, as it was read from its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) place: Place,
    pub(crate) records: Vec<RecordId>,
    pub(crate) stamp: WireStamp,
}

/// The stamp in a batch's header; producer id −1 without idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireStamp {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

/// The road that an attempt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Road {
    pub(crate) link: LinkId,
    pub(crate) node: NodeId,
    pub(crate) acks: i16,
}

/// One batch in one request.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) place: Place,
    /// Its first record, by which a resent batch is known again.
    pub(crate) first: RecordId,
    pub(crate) records: u32,
    pub(crate) stamp: WireStamp,
    pub(crate) link: LinkId,
    pub(crate) node: NodeId,
    pub(crate) acks: i16,
    pub(crate) handed_at: Moment,
    /// When a broker answered it.
    pub(crate) answered_at: Option<Moment>,
    /// When its answer reached the client, or its connection ended.
    pub(crate) over_at: Option<Moment>,
    pub(crate) state: AttemptState,
    /// Its batch was handed over before.
    pub(crate) is_again: bool,
    /// A fault decided what was answered.
    pub(crate) is_planted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptState {
    /// Handed over; nothing more is known.
    Sent,
    /// The connection ended before the kernel had every byte.
    CutShort,
    /// The broker answered so; the answer has not reached the client, and may never.
    Answered { code: ErrorCode, base_offset: i64 },
    /// The answer reached the client.
    Told { code: ErrorCode, base_offset: i64, at: Moment },
}

impl Attempt {
    /// The same partition, producer id and epoch.
    pub(crate) fn is_same_epoch(&self, other: &Self) -> bool {
        self.place == other.place
            && (self.stamp.producer_id, self.stamp.epoch) == (other.stamp.producer_id, other.stamp.epoch)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WireStamp { producer_id, epoch, sequence } = self.stamp;
        let (topic, partition) = self.place;
        let again = if self.is_again { "again " } else { "" };
        write!(
            f,
            "{again}{topic}/{partition}: {} records from {} as {producer_id}.{epoch}.{sequence}",
            self.records, self.first.0
        )
    }
}

impl AttemptState {
    /// The broker said, or says, that it is in the log.
    pub(crate) fn is_confirmed(self) -> bool {
        matches!(self, Self::Answered { code: ErrorCode::NONE, .. } | Self::Told { code: ErrorCode::NONE, .. })
    }

    /// It may have been appended, for all the client can know.
    pub(crate) fn is_open(self) -> bool {
        match self {
            Self::Sent | Self::Answered { .. } => true,
            Self::CutShort => false,
            Self::Told { code, base_offset, .. } => leaves_open(code, base_offset),
        }
    }
}

/// All attempts, and what is on the wire.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    all: Vec<Attempt>,
    on_wire: BTreeMap<Place, Vec<AttemptId>>,
    /// By the first record: the attempts of a batch so far, oldest first.
    of_batch: BTreeMap<RecordId, Vec<AttemptId>>,
    of_epoch: BTreeMap<(Place, i64, i16), EpochSeen>,
    /// Of each partition, the attempt whose answer reached the client last.
    last_told: BTreeMap<Place, AttemptId>,
    /// The most batches of one partition that were on the wire at once.
    pub(crate) deepest: usize,
}

/// The batches of a producer id and epoch on a partition.
#[derive(Debug, Default)]
struct EpochSeen {
    /// By their sequences; the newest attempt of each.
    unsettled: BTreeMap<i32, AttemptId>,
    is_anchored: bool,
}

impl Attempts {
    pub(crate) fn hand_over(&mut self, now: Moment, carried: &Carried, road: Road) -> AttemptId {
        let id = AttemptId(self.all.len() as u32);
        let first = carried.records[0];
        let of_batch = self.of_batch.entry(first).or_default();
        self.all.push(Attempt {
            place: carried.place,
            first,
            records: carried.records.len() as u32,
            stamp: carried.stamp,
            link: road.link,
            node: road.node,
            acks: road.acks,
            handed_at: now,
            answered_at: None,
            over_at: None,
            state: AttemptState::Sent,
            is_again: !of_batch.is_empty(),
            is_planted: false,
        });
        of_batch.push(id);
        let epoch = (carried.place, carried.stamp.producer_id, carried.stamp.epoch);
        self.of_epoch.entry(epoch).or_default().unsettled.insert(carried.stamp.sequence, id);
        let on_wire = self.on_wire.entry(carried.place).or_default();
        on_wire.push(id);
        self.deepest = self.deepest.max(on_wire.len());
        id
    }

    /// The client was told, or its connection is gone.
    pub(crate) fn off_wire(&mut self, now: Moment, id: AttemptId, state: Option<AttemptState>) {
        let attempt = &mut self.all[id.0 as usize];
        attempt.over_at = attempt.over_at.or(Some(now));
        attempt.state = state.unwrap_or(attempt.state);
        if let AttemptState::Told { code, .. } = attempt.state {
            self.last_told.insert(attempt.place, id);
            let epoch = (attempt.place, attempt.stamp.producer_id, attempt.stamp.epoch);
            if let Some(epoch) = self.of_epoch.get_mut(&epoch).filter(|_| code.is_none()) {
                epoch.is_anchored = true;
                epoch.unsettled.retain(|sequence, _| *sequence > attempt.stamp.sequence);
            }
        }
        self.on_wire.entry(attempt.place).or_default().retain(|other| *other != id);
    }

    pub(crate) fn answered(&mut self, now: Moment, id: AttemptId, code: ErrorCode, base_offset: i64) {
        let attempt = &mut self.all[id.0 as usize];
        (attempt.state, attempt.answered_at) = (AttemptState::Answered { code, base_offset }, Some(now));
    }

    pub(crate) fn plant(&mut self, id: AttemptId) {
        self.all[id.0 as usize].is_planted = true;
    }

    pub(crate) fn get(&self, id: AttemptId) -> &Attempt {
        &self.all[id.0 as usize]
    }

    pub(crate) fn all(&self) -> &[Attempt] {
        &self.all
    }

    /// The attempts of the batch that starts with this record, oldest first.
    pub(crate) fn of_batch(&self, first: RecordId) -> impl Iterator<Item = &Attempt> {
        self.of_batch.get(&first).into_iter().flatten().map(|id| self.get(*id))
    }

    /// Where the batch of this attempt seems to stand with the client, seen from outside.
    pub(crate) fn stands(&self, id: AttemptId) -> BatchState {
        let attempt = self.get(id);
        let known = self.of_epoch.get(&(attempt.place, attempt.stamp.producer_id, attempt.stamp.epoch));
        let unsettled = known.into_iter().flat_map(|epoch| &epoch.unsettled);
        // One before it that is answered with success settles first.
        let has_failed = |newest: &AttemptId| {
            !matches!(self.get(*newest).state, AttemptState::Answered { code: ErrorCode::NONE, .. })
        };
        if unsettled.clone().any(|(sequence, newest)| *sequence < attempt.stamp.sequence && has_failed(newest)) {
            return if self.follows_gap(attempt) { BatchState::Probe } else { BatchState::Behind };
        }
        match attempt.is_again {
            true => BatchState::Resent,
            false if known.is_some_and(|epoch| epoch.is_anchored) => BatchState::Head,
            false => BatchState::Alone,
        }
    }

    /// The last answer said of an older batch of the same stamps that something before it is missing.
    fn follows_gap(&self, attempt: &Attempt) -> bool {
        let Some(last) = self.last_told.get(&attempt.place).map(|id| self.get(*id)) else { return false };
        let is_gap = matches!(last.state, AttemptState::Told { code: ErrorCode(45 | 59), .. });
        let is_alone = self.on_wire.get(&attempt.place).is_none_or(|on_wire| on_wire.len() <= 1);
        is_gap && is_alone && last.is_same_epoch(attempt) && last.stamp.sequence < attempt.stamp.sequence
    }

    /// Whether an earlier attempt of the same batch may have been appended, for all the client can know.
    pub(crate) fn is_doubtful(&self, id: AttemptId) -> bool {
        let earlier = self.of_batch.get(&self.get(id).first).into_iter().flatten().take_while(|other| **other < id);
        earlier.map(|other| self.get(*other).state).any(AttemptState::is_open)
    }
}
