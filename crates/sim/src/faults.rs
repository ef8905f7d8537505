//! The four faults: how often each strikes in a run, when it did, and what a planted answer may mean.
//!
//! A fault is counted when it strikes something: a cut hits an open connection, a delay holds bytes, a lost answer was
//! given by the broker, a refusal answers an attempt. What each one touched is kept with its time, so that the checker
//! can ask whether a doubt was forced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use milena_core::time::Moment;
use milena_wire::ErrorCode;

use crate::dice::Dice;
use crate::history::{Place, RecordId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// The broker executed the request; the connection dies before its answer arrives.
    AnswerLost,
    /// At any byte, in both directions; sometimes the broker cannot be reached for a while after.
    Cut,
    /// A request or an answer is held, or the kernel takes no more bytes, possibly beyond `request_timeout`.
    Delay,
    /// The broker answers an attempt with an error, before or after the append.
    Refused,
}

impl FaultKind {
    pub(crate) const ALL: [Self; 4] = [Self::AnswerLost, Self::Cut, Self::Delay, Self::Refused];
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnswerLost => "answer lost",
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::Refused => "refused",
        })
    }
}

/// Probabilities: of the first three per request, of a refusal per attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultRates {
    answer_lost: f64,
    cut: f64,
    /// That a cut takes the broker away for a while.
    outage: f64,
    delay: f64,
    refused: f64,
    /// That a refusal is one for good.
    is_final: f64,
}

impl FaultRates {
    pub(crate) const NONE: Self =
        Self { answer_lost: 0.0, cut: 0.0, outage: 0.0, delay: 0.0, refused: 0.0, is_final: 0.0 };

    /// Attempts are refused again and again, mostly after the append, and little else goes wrong.
    pub(crate) const SLOW_FOLLOWERS: Self =
        Self { answer_lost: 0.01, cut: 0.01, outage: 0.0, delay: 0.01, refused: 0.4, is_final: 0.0 };

    /// Mixed, or one kind so often that it meets itself while the last one is still being repaired.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        const SOME: [f64; 5] = [0.0, 0.01, 0.02, 0.04, 0.1];
        const MANY: [f64; 3] = [0.1, 0.2, 0.35];
        let mut rates = Self {
            answer_lost: dice.pick(&SOME),
            cut: dice.pick(&SOME),
            outage: dice.pick(&[0.0, 0.1, 0.3]),
            delay: dice.pick(&SOME),
            refused: dice.pick(&SOME),
            is_final: dice.pick(&[0.0, 0.0, 0.02, 0.1]),
        };
        match dice.below(7) {
            0 => rates.answer_lost = dice.pick(&MANY),
            1 => rates.cut = dice.pick(&MANY),
            2 => rates.delay = dice.pick(&MANY),
            3 | 4 => rates.refused = dice.pick(&MANY),
            _ => {}
        }
        rates
    }
}

/// What the broker answers instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) is_appended: bool,
    /// The answer does not tell the offset of the append.
    pub(crate) is_silent: bool,
}

/// Refusals that Kafka's brokers give and that pass, with their weights; `true`: after the append.
const PASSING: [(u64, ErrorCode, bool); 12] = [
    (20, ErrorCode::NOT_ENOUGH_REPLICAS, false),
    (10, ErrorCode::NOT_LEADER_OR_FOLLOWER, false),
    (4, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false),
    (4, ErrorCode::LEADER_NOT_AVAILABLE, false),
    (4, ErrorCode::CORRUPT_MESSAGE, false),
    (3, ErrorCode::NETWORK_EXCEPTION, false),
    (2, ErrorCode::KAFKA_STORAGE_ERROR, false),
    (3, ErrorCode::REQUEST_TIMED_OUT, false),
    (22, ErrorCode::REQUEST_TIMED_OUT, true),
    (16, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, true),
    (10, ErrorCode::NOT_LEADER_OR_FOLLOWER, true),
    (2, ErrorCode::KAFKA_STORAGE_ERROR, true),
];

const FINAL: [(u64, ErrorCode, bool); 5] = [
    (4, ErrorCode::INVALID_RECORD, false),
    (4, ErrorCode::MESSAGE_TOO_LARGE, false),
    (1, ErrorCode::TOPIC_AUTHORIZATION_FAILED, false),
    (1, ErrorCode::UNKNOWN_SERVER_ERROR, false),
    (1, ErrorCode::UNKNOWN_SERVER_ERROR, true),
];

/// Rule 11 in the words of the checker: what an answer with this code leaves open.
pub(crate) fn leaves_open(code: ErrorCode, base_offset: i64) -> bool {
    base_offset >= 0 || [3, 5, 6, 7, 13, 20, 56, -1].contains(&code.0) || code.name().is_none()
}

/// What struck, and how long something of it was felt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) kind: FaultKind,
    pub(crate) from: Moment,
    pub(crate) to: Moment,
}

/// Decides and remembers.
#[derive(Debug)]
pub(crate) struct Faults {
    rates: FaultRates,
    end: Moment,
    dice: Dice,
    strikes: Vec<Strike>,
    refused: BTreeSet<(Place, ErrorCode)>,
    /// What the batch that starts with this record was last refused with.
    stubborn: BTreeMap<RecordId, Refusal>,
}

/// How often a batch that was refused is refused again.
const AGAIN: f64 = 0.5;

impl Faults {
    pub(crate) fn new(rates: FaultRates, end: Moment, seed: u64) -> Self {
        Self {
            rates,
            end,
            dice: Dice::new(seed, 2),
            strikes: Vec::new(),
            refused: BTreeSet::new(),
            stubborn: BTreeMap::new(),
        }
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    pub(crate) fn end(&self) -> Moment {
        self.end
    }

    fn is_due(&mut self, now: Moment, rate: f64) -> bool {
        self.dice.chance(rate) && now < self.end
    }

    pub(crate) fn loses_answer(&mut self, now: Moment) -> bool {
        self.is_due(now, self.rates.answer_lost)
    }

    pub(crate) fn cuts(&mut self, now: Moment) -> bool {
        self.is_due(now, self.rates.cut)
    }

    pub(crate) fn cut_is_outage(&mut self) -> bool {
        self.dice.chance(self.rates.outage)
    }

    pub(crate) fn delays(&mut self, now: Moment) -> bool {
        self.is_due(now, self.rates.delay)
    }

    /// A batch that was refused and is sent again often meets the same trouble again: a follower that is slow stays slow.
    pub(crate) fn refuses(&mut self, now: Moment, first: Option<RecordId>) -> Option<Refusal> {
        let again = first.and_then(|first| self.stubborn.remove(&first));
        let refusal = match again {
            Some(again) if now < self.end && self.dice.chance(AGAIN) => again,
            _ if self.is_due(now, self.rates.refused) => {
                let is_final = self.dice.chance(self.rates.is_final);
                draw(&mut self.dice, if is_final { &FINAL } else { &PASSING })
            }
            _ => return None,
        };
        self.stubborn.extend(first.map(|first| (first, refusal)));
        Some(refusal)
    }

    pub(crate) fn strike(&mut self, kind: FaultKind, from: Moment, to: Moment) {
        self.strikes.push(Strike { kind, from, to });
    }

    pub(crate) fn note_refusal(&mut self, place: Place, code: ErrorCode) {
        self.refused.insert((place, code));
    }

    /// Whether an attempt on this partition was answered with this code by a fault.
    pub(crate) fn refused(&self, place: Place, code: ErrorCode) -> bool {
        self.refused.contains(&(place, code))
    }

    pub(crate) fn strikes(&self) -> &[Strike] {
        &self.strikes
    }
}

fn draw(dice: &mut Dice, from: &[(u64, ErrorCode, bool)]) -> Refusal {
    let mut left = dice.below(from.iter().map(|(weight, ..)| weight).sum());
    for (weight, code, is_appended) in from {
        if left < *weight {
            return Refusal { code: *code, is_appended: *is_appended, is_silent: dice.chance(0.5) };
        }
        left -= weight;
    }
    unreachable!("the number drawn is below the sum of the weights")
}
