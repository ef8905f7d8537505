//! The cells of the coverage that a run aims at: one fault, and some rows of the table in some states of a batch.

use milena_core::producer::back::BatchState;
use milena_core::producer::verdict::Row;

use super::{Scenario, millis, secs};
use crate::coverage::{Cell, is_possible};
use crate::dice::Dice;
use crate::faults::{Aim, Fault};

#[derive(Debug)]
pub(super) struct Target {
    pub(super) fault: Fault,
    pub(super) aims: Vec<Aim>,
}

/// So many aims share a run: each is met some ten times, and the fault is felt all the time.
const AIMS: usize = 7;

/// Faults under which batches seldom stand where they are wanted; they get more runs.
const SHY: [Fault; 12] = [
    Fault::Cut,
    Fault::Cut,
    Fault::Cut,
    Fault::DialRefused,
    Fault::FollowerFrozen,
    Fault::AnswerLost,
    Fault::RequestLate,
    Fault::LeaderMoved,
    Fault::ElectionMeanwhile,
    Fault::TopicRecreated,
    Fault::TopicRecreated,
    Fault::TopicRecreated,
];

impl Target {
    /// Runs aim at the faults in turn, and of each fault at the cells in turn; every fifth run aims at nothing, and some of those
    /// at heads whose own answer shows that the broker has lost what was acknowledged.
    pub(super) fn draw(seed: u64) -> Option<Self> {
        if seed % 25 == 5 {
            let aim = Aim { row: Row::GapUnanchored, state: BatchState::Head };
            return Some(Self { fault: Fault::Unclean, aims: vec![aim] });
        }
        if seed.is_multiple_of(5) {
            return None;
        }
        let number = (seed - seed / 5 - 1) as usize;
        let faults: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Closed).chain(SHY).collect();
        let fault = faults[number % faults.len()];
        // Each run of a fault is a turn of its own.
        let of_fault = |place: usize| faults[..place].iter().filter(|other| **other == fault).count();
        let turn = number / faults.len() * of_fault(faults.len()) + of_fault(number % faults.len());
        let of_leader = |aim: &Aim| aim.row == Row::OnLeader;
        let (leader_only, aims): (Vec<Aim>, Vec<Aim>) = aims_of(fault).into_iter().partition(of_leader);
        // With acks=1 other rows come, so those aims have runs of their own.
        let is_leader_only = turn.is_multiple_of(9) && !leader_only.is_empty();
        let aims = if is_leader_only { leader_only } else { some_of(&aims, turn) };
        Some(Self { fault, aims })
    }

    fn wants(&self, state: BatchState) -> bool {
        self.aims.iter().any(|aim| aim.state == state)
    }

    /// What must be asked of the brokers for the rows to come at all, as [`Scenario::draw_promise`] numbers it.
    pub(super) fn promise(&self) -> u64 {
        if self.aims.iter().any(|aim| aim.row == Row::OnLeader) { 5 } else { 99 }
    }

    /// How often the fault strikes: always something of it is felt, and windows fill in between.
    pub(super) fn rate(&self, dice: &mut Dice) -> f64 {
        match self.fault {
            Fault::Cut | Fault::AnswerLost | Fault::RequestLate => dice.pick(&[0.03, 0.06, 0.12]),
            Fault::TopicRecreated => dice.pick(&[0.7, 1.5, 3.0]),
            Fault::DialRefused => dice.pick(&[0.6, 1.2, 2.0]),
            _ => self.fault.unit().often(dice),
        }
    }

    /// How many brokers the fault needs.
    pub(super) fn nodes(&self) -> Option<i32> {
        match self.fault {
            Fault::LeaderMoved | Fault::ElectionMeanwhile | Fault::Unclean => Some(3),
            Fault::FollowerSlow | Fault::FollowerFrozen => Some(3),
            _ => None,
        }
    }

    /// What makes the cells likely: full windows, batches of a few records, patience.
    pub(super) fn shape(&self, scenario: &mut Scenario, dice: &mut Dice) {
        scenario.fill_windows(dice);
        scenario.front.batch_size = dice.pick(&[300, 500, 800]);
        scenario.records = dice.between(600, 1000);
        scenario.topics.iter_mut().for_each(|topic| topic.partitions = topic.partitions.max(2));
        if self.wants(BatchState::Alone) {
            // Each partition has its first batch.
            scenario.topics.iter_mut().for_each(|topic| topic.partitions = 4);
        }
        scenario.retry.initial = dice.spread(millis(2), millis(20));
        scenario.retry.max = scenario.retry.initial.max(millis(100));
        if self.fault == Fault::BufferFull {
            scenario.buffer_memory = dice.between(300, 800) as usize * 1024;
        }
        if self.fault.unit() == crate::faults::Unit::Second {
            scenario.workload = dice.spread(secs(2), secs(4));
            scenario.faults_end = milena_core::time::Moment::START + scenario.workload + secs(1);
        }
        if self.fault == Fault::Unclean {
            // Replicas fall out of sync soon, and what is acknowledged without them is lost.
            scenario.cluster.replica_lag_time_max = dice.spread(millis(50), millis(300));
            scenario.topics.iter_mut().for_each(|topic| topic.config.min_insync_replicas = 1);
        }
        if self.nodes().is_some() {
            scenario.topics.iter_mut().for_each(|topic| topic.replicas = topic.replicas.max(2));
        }
    }
}

fn aims_of(fault: Fault) -> Vec<Aim> {
    let aims = Row::ALL.into_iter().flat_map(|row| BatchState::ALL.into_iter().map(move |state| Aim { row, state }));
    aims.filter(|aim| is_possible(Cell { fault, row: aim.row, state: aim.state })).collect()
}

/// Rows that are seldom taken where they are wanted; one of them joins every run.
const SHY_ROWS: [(Row, BatchState); 11] = [
    (Row::DuplicateTold, BatchState::Behind),
    (Row::DuplicateTold, BatchState::Probe),
    (Row::RefusedAfterAppend, BatchState::Behind),
    (Row::TooLargeToSplit, BatchState::Resent),
    (Row::RefusedInDoubt, BatchState::Head),
    (Row::ForeignEpoch, BatchState::Probe),
    (Row::BadRecords, BatchState::Head),
    (Row::BadRecords, BatchState::Resent),
    (Row::RefusedBehind, BatchState::Probe),
    (Row::RefusedInDoubt, BatchState::Head),
    (Row::Unclear, BatchState::Behind),
];

/// Neighbours in the list are of the same row; a stride takes different ones.
fn some_of(aims: &[Aim], turn: usize) -> Vec<Aim> {
    const STRIDE: usize = 11;
    let first = turn * AIMS;
    let mut places: Vec<usize> = (first..first + AIMS).map(|number| number * STRIDE % aims.len()).collect();
    places.sort_unstable();
    places.dedup();
    let (row, state) = SHY_ROWS[turn % SHY_ROWS.len()];
    places.into_iter().map(|place| aims[place]).chain([Aim { row, state }]).collect()
}
