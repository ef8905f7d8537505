//! What the broker answers instead of the truth, and when.
//!
//! Always holds: a lie is one that Kafka's brokers could tell. A code that speaks of a refusal before the append is
//! planted after it only together with the base offset; a duplicate is told only of a batch that is in the log.
//!
//! Left out: telling it (`brokers.rs`).

use std::collections::BTreeMap;

use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;
use milena_wire::ErrorCode;

use super::{Fault, FaultRates};
use crate::dice::Dice;
use crate::history::RecordId;

/// An answer that is not the broker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planted {
    pub(crate) code: ErrorCode,
    pub(crate) is_appended: bool,
    /// The answer does not tell the offset of the append.
    pub(crate) is_silent: bool,
    /// The answer names some of the batch's records as the bad ones.
    pub(crate) names_records: bool,
}

/// What can be seen of an attempt from outside when the broker is about to answer it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// The batch's first record, by which a resent batch is known again.
    pub(crate) first: RecordId,
    pub(crate) records: u32,
    /// Where the batch seems to stand with the client.
    pub(crate) state: BatchState,
    /// An earlier attempt went unanswered, or was answered ambiguously.
    pub(crate) is_doubtful: bool,
}

/// What a run aims at, beside the mixture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) row: Row,
    pub(crate) state: BatchState,
}

/// Decides which attempts are answered how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) aims: Vec<Aim>,
    /// That a refusal is one for good.
    pub(crate) is_final: f64,
    /// That the broker has forgotten a batch that is sent again (rule 13).
    pub(crate) gap: f64,
    /// What the batch that starts with this record was last refused with.
    stubborn: BTreeMap<RecordId, Planted>,
}

/// How often a batch that was refused is refused again: a follower that is slow stays slow.
const AGAIN: f64 = 0.5;

impl Plan {
    pub(crate) fn new(aims: Vec<Aim>, is_final: f64, gap: f64) -> Self {
        Self { aims, is_final, gap, stubborn: BTreeMap::new() }
    }

    pub(super) fn draw(&mut self, rates: &FaultRates, dice: &mut Dice, attempt: &Situation) -> Option<Planted> {
        let again = self.stubborn.remove(&attempt.first).filter(|_| dice.chance(AGAIN));
        let planted = self.aimed(dice, attempt).or(again).or_else(|| self.mixed(rates, dice, attempt))?;
        self.stubborn.insert(attempt.first, planted);
        Some(planted)
    }

    /// An aim that fits, or what leads to the state of one that does not.
    fn aimed(&self, dice: &mut Dice, attempt: &Situation) -> Option<Planted> {
        let fitting: Vec<&Aim> = self.aims.iter().filter(|aim| aim.state == attempt.state).collect();
        if !fitting.is_empty() && dice.chance(0.5) {
            return recipe(dice.pick(&fitting).row, attempt, dice);
        }
        let wants = |state| self.aims.iter().any(|aim| aim.state == state);
        let wants_row = |row| self.aims.iter().any(|aim| aim.row == row);
        // A probe follows a gap at a doubtful head with others behind it.
        let wants_gap = wants(BatchState::Probe) || wants_row(Row::GapAtDoubtfulHead);
        let wants_doubt = wants_gap || wants_row(Row::RefusedInDoubt) || wants_row(Row::GapUnanchored);
        match attempt.state {
            BatchState::Resent if wants_gap && attempt.is_doubtful && dice.chance(0.6) => Some(GAP),
            BatchState::Head if wants_gap && dice.chance(0.2) => Some(NOT_COMMITTED),
            BatchState::Head | BatchState::Alone if wants_doubt && dice.chance(0.1) => Some(NOT_COMMITTED),
            // Behind is only who stands behind one that failed.
            BatchState::Head | BatchState::Resent if wants(BatchState::Behind) && dice.chance(0.25) => {
                Some(if dice.chance(0.5) { NOT_COMMITTED } else { NOT_ENOUGH_REPLICAS })
            }
            BatchState::Head | BatchState::Alone if wants(BatchState::Resent) && dice.chance(0.2) => {
                Some(if dice.chance(0.5) { NOT_COMMITTED } else { NOT_ENOUGH_REPLICAS })
            }
            // A gap before a head that is clean makes the next one the first of a new epoch.
            BatchState::Head if wants(BatchState::Alone) && dice.chance(0.2) => Some(GAP),
            _ => None,
        }
    }

    fn mixed(&self, rates: &FaultRates, dice: &mut Dice, attempt: &Situation) -> Option<Planted> {
        let before = dice.chance(rates.of(Fault::RefusedBefore));
        let after = dice.chance(rates.of(Fault::RefusedAfter));
        if attempt.is_doubtful && dice.chance(self.gap) {
            return Some(GAP);
        }
        let is_final = dice.chance(self.is_final);
        let code = match (before, after, is_final) {
            (true, _, true) => draw(dice, &FINAL),
            (true, _, false) => draw(dice, &PASSING),
            (false, true, true) => draw(dice, &FINAL_AFTER),
            (false, true, false) => draw(dice, &PASSING_AFTER),
            (false, false, _) => return None,
        };
        let is_appended = !before;
        let may_be_silent = is_appended && leaves_open(code, -1);
        let names_records = NAMES_RECORDS.contains(&code) && attempt.records > 1 && dice.chance(0.5);
        Some(Planted { code, is_appended, is_silent: may_be_silent && dice.chance(0.5), names_records })
    }
}

const GAP: Planted = Planted {
    code: ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    is_appended: false,
    is_silent: false,
    names_records: false,
};

const NOT_COMMITTED: Planted =
    Planted { code: ErrorCode::REQUEST_TIMED_OUT, is_appended: true, is_silent: true, names_records: false };

const NOT_ENOUGH_REPLICAS: Planted =
    Planted { code: ErrorCode::NOT_ENOUGH_REPLICAS, is_appended: false, is_silent: false, names_records: false };

/// What makes an attempt take this row, if its context does the rest; nothing for the rows that need no lie.
fn recipe(row: Row, attempt: &Situation, dice: &mut Dice) -> Option<Planted> {
    let before = |code| Planted { code, is_appended: false, is_silent: false, names_records: false };
    let after = |code, is_silent| Planted { code, is_appended: true, is_silent, names_records: false };
    let either = |code, dice: &mut Dice| if dice.chance(0.5) { before(code) } else { after(code, dice.chance(0.5)) };
    Some(match row {
        Row::Acknowledged | Row::OnLeader | Row::SupersededEpoch => return None,
        Row::DuplicateTold => after(ErrorCode::DUPLICATE_SEQUENCE_NUMBER, true),
        Row::NotCommitted => after(dice.pick(&[ErrorCode(7), ErrorCode(20)]), dice.chance(0.5)),
        Row::Moved => {
            either(dice.pick(&[ErrorCode(3), ErrorCode(5), ErrorCode(6), ErrorCode(13), ErrorCode(56)]), dice)
        }
        Row::Stale => before(dice.pick(&STALE)),
        Row::RefusedForNow => before(dice.pick(&FOR_NOW)),
        Row::RefusedAfterAppend => {
            after(dice.pick(&[ErrorCode(19), ErrorCode(2), ErrorCode(89), ErrorCode(74)]), false)
        }
        Row::Unclear => either(dice.pick(&UNCLEAR), dice),
        Row::TooLargeToSplit => before(dice.pick(&[ErrorCode(10), ErrorCode(18)])),
        Row::BadRecords => Planted { names_records: true, ..before(dice.pick(&NAMES_RECORDS)) },
        // An attempt that is the first leaves doubt if its refusal tells an offset.
        Row::RefusedInDoubt if !attempt.is_doubtful => after(draw(dice, &FINAL), false),
        Row::GapAtDoubtfulHead | Row::GapUnanchored if !attempt.is_doubtful => after(dice.pick(&GAPS), false),
        Row::RefusedForGood | Row::RefusedInDoubt | Row::RefusedBehind => before(draw(dice, &FINAL)),
        Row::GapBehind | Row::GapBeforeCleanHead | Row::GapAtDoubtfulHead | Row::GapUnanchored => {
            before(dice.pick(&GAPS))
        }
        Row::ForeignEpoch => before(dice.pick(&[ErrorCode(47), ErrorCode(47), ErrorCode(90), ErrorCode(49)])),
    })
}

const GAPS: [ErrorCode; 3] = [ErrorCode(45), ErrorCode(45), ErrorCode(59)];
const STALE: [ErrorCode; 4] = [ErrorCode(100), ErrorCode(103), ErrorCode(74), ErrorCode(75)];
const FOR_NOW: [ErrorCode; 3] = [ErrorCode(19), ErrorCode(2), ErrorCode(89)];
/// The broker's own confusion, a code of a later release, one that belongs to other requests.
const UNCLEAR: [ErrorCode; 3] = [ErrorCode(-1), ErrorCode(1234), ErrorCode(14)];
const NAMES_RECORDS: [ErrorCode; 2] = [ErrorCode::INVALID_RECORD, ErrorCode::INVALID_TIMESTAMP];

/// Refusals before the append that pass, with their weights.
const PASSING: [(u64, ErrorCode); 12] = [
    (20, ErrorCode::NOT_ENOUGH_REPLICAS),
    (10, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    (4, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    (4, ErrorCode::LEADER_NOT_AVAILABLE),
    (4, ErrorCode::CORRUPT_MESSAGE),
    (3, ErrorCode::NETWORK_EXCEPTION),
    (2, ErrorCode::KAFKA_STORAGE_ERROR),
    (3, ErrorCode::REQUEST_TIMED_OUT),
    (3, ErrorCode::UNKNOWN_TOPIC_ID),
    (3, ErrorCode::FENCED_LEADER_EPOCH),
    (2, ErrorCode::UNKNOWN_SERVER_ERROR),
    (1, ErrorCode(1234)),
];

const PASSING_AFTER: [(u64, ErrorCode); 7] = [
    (22, ErrorCode::REQUEST_TIMED_OUT),
    (16, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    (10, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    (2, ErrorCode::KAFKA_STORAGE_ERROR),
    (2, ErrorCode::UNKNOWN_SERVER_ERROR),
    (1, ErrorCode(1234)),
    (2, ErrorCode::NOT_ENOUGH_REPLICAS),
];

const FINAL: [(u64, ErrorCode); 7] = [
    (5, ErrorCode::INVALID_RECORD),
    (3, ErrorCode::INVALID_TIMESTAMP),
    (5, ErrorCode::MESSAGE_TOO_LARGE),
    (1, ErrorCode::RECORD_LIST_TOO_LARGE),
    (2, ErrorCode::TOPIC_AUTHORIZATION_FAILED),
    (1, ErrorCode::POLICY_VIOLATION),
    (1, ErrorCode::INVALID_REQUEST),
];

const FINAL_AFTER: [(u64, ErrorCode); 3] =
    [(2, ErrorCode::INVALID_RECORD), (2, ErrorCode::MESSAGE_TOO_LARGE), (1, ErrorCode::DUPLICATE_SEQUENCE_NUMBER)];

/// Rule 11 in the words of the checker: what an answer with this code leaves open.
pub(crate) fn leaves_open(code: ErrorCode, base_offset: i64) -> bool {
    const REFUSED_BEFORE: [i16; 30] = [
        2, 10, 17, 18, 19, 21, 29, 31, 32, 35, 42, 43, 44, 45, 47, 48, 49, 53, 58, 59, 65, 74, 75, 76, 87, 89, 90, 100,
        103, 120,
    ];
    base_offset >= 0 || !(code.is_none() || REFUSED_BEFORE.contains(&code.0))
}

fn draw(dice: &mut Dice, from: &[(u64, ErrorCode)]) -> ErrorCode {
    let mut left = dice.below(from.iter().map(|(weight, _)| weight).sum());
    for (weight, code) in from {
        if left < *weight {
            return *code;
        }
        left -= weight;
    }
    unreachable!("the number drawn is below the sum of the weights")
}
