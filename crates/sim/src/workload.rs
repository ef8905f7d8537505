//! What the application does: records of all shapes in bursts and trickles, offered first come, first served.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use milena_core::producer::front::AfterDeadline;
use milena_core::time::Moment;
use milena_wire::records::Record as LogRecord;

use crate::dice::Dice;
use crate::faults::{Fault, Scope};
use crate::history::{Content, RecordId, Via};
use crate::scenario::Scenario;
use crate::stage::Stage;

#[derive(Debug)]
pub(crate) struct Workload {
    dice: Dice,
    /// What is not made yet.
    left: u64,
    /// When the next records are made.
    pace: Pace,
    /// The mean pause between two groups.
    pause: Duration,
    pub(crate) waiting: VecDeque<RecordId>,
    topics: u64,
    /// Values are such that a codec makes them smaller.
    shrinks: bool,
    wall_start: i64,
    keys: u64,
    /// Of records that are larger than a chunk, or nearly.
    large: f64,
    /// Of records with a deadline of their own.
    own_deadlines: f64,
    /// Of records that say themselves what becomes of them after their deadlines.
    own_policies: f64,
    /// With chance of its own: what else a seed draws does not depend on it.
    policy_dice: Dice,
    /// Up to this one, past `delivery_timeout`.
    longest_deadline: Duration,
    /// How old stale timestamps are.
    expiry: Duration,
    horizon: Duration,
    /// So many records come with timestamps that brokers forget soon.
    stale: u64,
    /// Nothing comes for so long.
    silence: Duration,
    /// No other silence begins before.
    silent_until: Moment,
    /// Large records that are made next, so that the buffer has no room.
    surging: u64,
}

#[derive(Clone, Copy, Debug)]
enum Pace {
    Trickle,
    Burst(u64),
}

/// How long the buffer was full, before a record is offered again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(3);

impl Workload {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut dice = Dice::new(scenario.seed, 3);
        let pace = if dice.chance(0.5) { Pace::Trickle } else { Pace::Burst(dice.between(5, 80)) };
        let group = match pace {
            Pace::Trickle => 1,
            Pace::Burst(size) => size / 2,
        };
        let pause = scenario.workload.mul_f64(group as f64 / scenario.records as f64);
        Self {
            left: scenario.records,
            shrinks: !scenario.encodings.is_none(),
            pace,
            pause,
            waiting: VecDeque::new(),
            topics: scenario.topics.len() as u64,
            wall_start: WALL_START,
            keys: dice.between(2, 40),
            large: dice.pick(&[0.0, 0.0, 0.01, 0.03]),
            own_deadlines: scenario.own_deadlines,
            own_policies: scenario.own_policies,
            policy_dice: Dice::new(scenario.seed, 11),
            longest_deadline: scenario.delivery_timeout * 2,
            expiry: scenario.cluster.producer_expiry,
            horizon: scenario.horizon,
            stale: 0,
            silence: Duration::ZERO,
            silent_until: Moment::START,
            surging: 0,
            dice,
        }
    }

    /// How many records come now, and when the next ones do.
    pub(crate) fn next_group(&mut self) -> (u64, Option<Duration>) {
        let size = match self.pace {
            Pace::Trickle => 1,
            Pace::Burst(size) => self.dice.between(1, size),
        };
        let size = size.max(self.surging).min(self.left);
        self.left -= size;
        // A quarter of the pauses is very short, so that batches also fill while requests are out.
        let pause =
            if self.dice.chance(0.25) { self.pause / 50 } else { self.pause.mul_f64(2.4 * self.dice.fraction()) };
        let pause = pause + std::mem::take(&mut self.silence);
        (size, (self.left > 0).then_some(pause))
    }

    /// More comes at once than a small buffer has room for.
    pub(crate) fn surge(&mut self) {
        self.surging = 16;
    }

    /// Brokers forget the client: because of the timestamps of its records, or because nothing comes for too long.
    pub(crate) fn grow_old(&mut self, stage: &mut Stage) {
        let now = stage.now;
        let lasts = self.expiry + stage.scenario.recovery_max();
        if now < self.silent_until || self.dice.chance(0.6) {
            self.stale = self.dice.between(1, 12);
        } else {
            self.silence = self.expiry + self.expiry / 4;
            self.silent_until = now + self.silence * 3;
        }
        stage.faults.strikes.add(Fault::StateExpired, Scope::Everything, now, now + self.silence + lasts);
    }

    pub(crate) fn make(&mut self, id: RecordId, now: Moment) -> (usize, Content, Via) {
        let topic = self.dice.below(self.topics) as usize;
        let content = self.content(id, now);
        let via = match self.dice.below(100) {
            0..50 => Via::Await,
            50..60 => Via::Look,
            60..97 => Via::Post,
            _ => Via::Nobody,
        };
        (topic, content, via)
    }

    /// The record's number stands in its value, its key or a header, so that every shape can be told apart in the log.
    fn content(&mut self, id: RecordId, now: Moment) -> Content {
        let timestamp = self.timestamp(now);
        let key = self.dice.chance(0.5).then(|| Bytes::from(format!("key-{}", self.dice.below(self.keys))));
        let (deadline, after_deadline) = (self.deadline(), self.after_deadline());
        let mut headers = Vec::new();
        for number in 0..if self.dice.chance(0.2) { self.dice.below(3) } else { 0 } {
            let value = self.dice.chance(0.7).then(|| self.filler(10));
            headers.push((format!("h{number}"), value));
        }
        match self.dice.below(10) {
            0 => {
                headers.push((ID_HEADER.to_owned(), Some(mark(id, &[]))));
                let value = self.dice.chance(0.5).then(|| self.filler(5));
                Content { key, value, headers, timestamp, deadline, after_deadline }
            }
            1 => Content {
                key: Some(mark(id, &[])),
                value: self.dice.chance(0.5).then(Bytes::new),
                headers,
                timestamp,
                deadline,
                after_deadline,
            },
            _ => {
                let filler = self.value_filler();
                Content { key, value: Some(mark(id, &filler)), headers, timestamp, deadline, after_deadline }
            }
        }
    }

    /// None, for the clock's; some are stale.
    fn timestamp(&mut self, now: Moment) -> Option<i64> {
        let wall = self.wall_start + (now.as_micros() / 1000) as i64;
        if self.stale > 0 {
            self.stale -= 1;
            let age = self.dice.duration(self.horizon, self.expiry * 2);
            return Some(wall - age.as_millis() as i64);
        }
        let most = self.horizon.as_millis().min(40_000) as u64 / 4;
        self.dice.chance(0.15).then(|| wall + self.dice.below(2 * most) as i64 - most as i64)
    }

    /// None, for the producer's own; from zero to far past `delivery_timeout`.
    fn deadline(&mut self) -> Option<Duration> {
        if !self.dice.chance(self.own_deadlines) {
            return None;
        }
        Some(match self.dice.below(4) {
            0 => Duration::ZERO,
            1 => self.dice.spread(Duration::from_millis(1), Duration::from_millis(60)),
            _ => self.dice.spread(Duration::from_millis(20), self.longest_deadline),
        })
    }

    fn after_deadline(&mut self) -> Option<AfterDeadline> {
        let is_own = self.policy_dice.chance(self.own_policies);
        is_own.then(|| {
            self.policy_dice.pick(&[AfterDeadline::Complete, AfterDeadline::Withdraw, AfterDeadline::Withdraw])
        })
    }

    /// For a partition that has nothing else to send, and may have to keep out what was given up.
    pub(crate) fn trickle(id: RecordId) -> Content {
        let after_deadline = Some(AfterDeadline::Complete);
        Content {
            key: None,
            value: Some(mark(id, &[])),
            headers: Vec::new(),
            timestamp: None,
            deadline: None,
            after_deadline,
        }
    }

    fn value_filler(&mut self) -> Bytes {
        let is_surging = self.surging > 0;
        self.surging = self.surging.saturating_sub(1);
        if is_surging || self.dice.chance(self.large) {
            let bytes = self.dice.between(7_000, 100_000);
            return Bytes::from(vec![self.dice.below(256) as u8; bytes as usize]);
        }
        let most = self.dice.pick(&[10, 100, 100, 1000]);
        self.filler(most)
    }

    fn filler(&mut self, most: u64) -> Bytes {
        let len = self.dice.below(most + 1);
        let noise = (0..len).map(|_| self.dice.below(256) as u8);
        if self.shrinks { noise.map(|_| b'x').collect() } else { noise.collect() }
    }
}

/// The wall clock at the start of every run.
pub(crate) const WALL_START: i64 = 1_700_000_000_000;

/// What a wall clock that does not step shows then, in milliseconds.
pub(crate) fn wall_at(when: Moment) -> i64 {
    WALL_START + (when.as_micros() / 1000) as i64
}

const ID_HEADER: &str = "id";
const MARK: &[u8; 4] = b"mil#";

fn mark(id: RecordId, filler: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(8 + filler.len());
    bytes.put_slice(MARK);
    bytes.put_u32(id.0);
    bytes.put_slice(filler);
    bytes.freeze()
}

fn read_mark(bytes: &Bytes) -> Option<RecordId> {
    let (mark, rest) = bytes.split_first_chunk()?;
    let id = rest.first_chunk().copied().map(u32::from_be_bytes)?;
    (mark == MARK).then_some(RecordId(id))
}

/// Which record of the workload this is.
pub(crate) fn identify(record: &LogRecord) -> Option<RecordId> {
    let in_header = || {
        let header = record.headers().find(|header| header.key == ID_HEADER)?;
        read_mark(&header.value?)
    };
    record.value.as_ref().and_then(read_mark).or_else(|| record.key.as_ref().and_then(read_mark)).or_else(in_header)
}

/// Whether somebody else than the client wrote this.
pub(crate) fn is_foreign(record: &LogRecord) -> bool {
    record.key.as_deref() == Some(FOREIGN)
}

/// The key of what somebody else writes.
pub(crate) const FOREIGN: &[u8] = b"for#";
