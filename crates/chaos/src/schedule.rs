//! What is done to the cluster, drawn from a seed: steps, each of some rules for the proxies and one act on the nodes.
//!
//! Pure: the same seed gives the same steps. Kinds are dealt like cards, so that after as many steps as there are cards every
//! kind had its turn; chance only orders them and draws their numbers.

use std::fmt::{self, Display};
use std::time::Duration;

use kafka_harness::proxy::{Bytes, Fault, INIT_PRODUCER_ID, METADATA, PRODUCE, Pause, Sender, Then, Way};

use crate::content::Dice;

/// Steps without end.
pub struct Schedule {
    dice: Dice,
    acts: Deck<ActKind>,
    faults: Deck<FaultKind>,
    shape: Shape,
    /// By which the usual length of a step is divided.
    pace: u64,
}

/// What there is to strike at.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub nodes: u32,
    pub topics: usize,
    /// Of each topic.
    pub partitions: i32,
}

/// What happens at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub plans: Vec<Plan>,
    pub act: Act,
    /// How many records are offered meanwhile.
    pub offered: u64,
    /// What becomes of the rules, and of what they hold.
    pub rules_end: RulesEnd,
    /// Whether everything is whole again before the next step.
    pub settles: bool,
}

/// A rule, before topics have ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// All nodes if none.
    pub node: Option<u32>,
    pub api: i16,
    /// A topic, by its number, and a partition.
    pub place: Option<(usize, i32)>,
    pub after: u32,
    pub times: u32,
    pub percent: u32,
    pub fault: Fault,
}

/// What happens to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Only the rules of the step.
    Nothing,
    /// SIGKILL, and started again.
    Kill(Whom),
    /// SIGTERM, and started again.
    Restart(Whom),
    /// SIGSTOP, and SIGCONT at the end of the step.
    Freeze(Whom),
    /// Frozen, and killed as soon as it is thawed.
    ThawAndKill(Whom),
    /// All but this one frozen.
    FreezeOthers(u32),
    /// One after the other by SIGTERM, each started again before the next.
    RollingRestart,
    /// Its disk is full but for so many bytes; it is started again at the end.
    FillDisk(u32, u64),
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// Who leads this partition of this topic then.
    Leader(usize, i32),
    /// The controller that is active then.
    Controller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesEnd {
    /// What is held goes on as it was to go on.
    Cleared,
    /// All connections are closed, what is held is lost.
    Cut,
    /// They last through the next step.
    Kept,
}

/// A kind of [`Act`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActKind {
    Nothing,
    Kill,
    KillController,
    Restart,
    Freeze,
    FreezeController,
    ThawAndKill,
    FreezeOthers,
    RollingRestart,
    FillDisk,
}

/// Some steps leave the nodes alone: what the network does shall be seen by itself, too.
pub const ACTS: &[ActKind] = &[
    ActKind::Nothing,
    ActKind::Kill,
    ActKind::Nothing,
    ActKind::KillController,
    ActKind::Restart,
    ActKind::Freeze,
    ActKind::Nothing,
    ActKind::FreezeController,
    ActKind::ThawAndKill,
    ActKind::Nothing,
    ActKind::FreezeOthers,
    ActKind::RollingRestart,
    ActKind::FillDisk,
];

/// All but the longest.
pub const BRIEF_ACTS: &[ActKind] = &[
    ActKind::Nothing,
    ActKind::Kill,
    ActKind::Nothing,
    ActKind::KillController,
    ActKind::Restart,
    ActKind::Freeze,
    ActKind::Nothing,
    ActKind::FreezeController,
    ActKind::ThawAndKill,
    ActKind::FreezeOthers,
    ActKind::FillDisk,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultKind {
    LostAnswers,
    SilentThenLost,
    Late,
    LateAndDismissed,
    LateInOnePartition,
    CutRequests,
    CutAnswers,
    FrozenRequest,
    UnheardRequest,
    FrozenAnswer,
    UnheardAnswer,
    Delays,
    LostMetadata,
    LostProducerIds,
}

const FAULTS: &[FaultKind] = &[
    FaultKind::LostAnswers,
    FaultKind::SilentThenLost,
    FaultKind::Late,
    FaultKind::LateAndDismissed,
    FaultKind::LateInOnePartition,
    FaultKind::CutRequests,
    FaultKind::CutAnswers,
    FaultKind::FrozenRequest,
    FaultKind::UnheardRequest,
    FaultKind::FrozenAnswer,
    FaultKind::UnheardAnswer,
    FaultKind::Delays,
    FaultKind::LostMetadata,
    FaultKind::LostProducerIds,
];

const FAULTS_PER_STEP_MAX: u64 = 3;

/// Shorter than any other hold.
const DELAY_MAX: Duration = Duration::from_millis(200);

impl Schedule {
    /// Every one of `acts` has its turn in as many steps.
    pub fn new(seed: u64, acts: &'static [ActKind], shape: Shape, pace: u64) -> Self {
        Self { dice: Dice::new(seed), acts: Deck::new(acts), faults: Deck::new(FAULTS), shape, pace }
    }

    pub fn step(&mut self) -> Step {
        let kind = self.acts.deal(&mut self.dice);
        let act = self.act(kind);
        let least = u64::from(act == Act::Nothing);
        let count = least + self.dice.below(FAULTS_PER_STEP_MAX + 1 - least);
        let plans = (0..count)
            .map(|_| {
                let kind = self.faults.deal(&mut self.dice);
                self.plan(kind)
            })
            .collect();
        let rules_end = match self.dice.below(4) {
            0 => RulesEnd::Cut,
            1 => RulesEnd::Kept,
            _ => RulesEnd::Cleared,
        };
        let settles = self.dice.below(10) < 6;
        Step { plans, act, offered: self.offered(kind) / self.pace, rules_end, settles }
    }

    /// In records of [`SECOND`](crate::rows::SECOND): from less than a session of a node to more than the request timeout.
    fn offered(&mut self, kind: ActKind) -> u64 {
        match kind {
            ActKind::Freeze | ActKind::FreezeController if self.dice.below(2) == 0 => 500 + self.dice.below(3_000),
            ActKind::Freeze | ActKind::FreezeController | ActKind::FreezeOthers | ActKind::ThawAndKill => {
                4_000 + self.dice.below(8_000)
            }
            ActKind::RollingRestart => 500,
            ActKind::FillDisk => 6_000 + self.dice.below(6_000),
            _ => 2_000 + self.dice.below(6_000),
        }
    }

    fn act(&mut self, kind: ActKind) -> Act {
        match kind {
            ActKind::Nothing => Act::Nothing,
            ActKind::Kill => Act::Kill(self.leader()),
            ActKind::KillController => Act::Kill(Whom::Controller),
            ActKind::Restart => Act::Restart(self.leader()),
            ActKind::Freeze => Act::Freeze(self.leader()),
            ActKind::FreezeController => Act::Freeze(Whom::Controller),
            ActKind::ThawAndKill => Act::ThawAndKill(self.leader()),
            ActKind::FreezeOthers => Act::FreezeOthers(self.node()),
            ActKind::RollingRestart => Act::RollingRestart,
            ActKind::FillDisk => Act::FillDisk(self.node(), self.dice.below(512 << 10)),
        }
    }

    fn leader(&mut self) -> Whom {
        let (topic, partition) = self.place();
        Whom::Leader(topic, partition)
    }

    fn place(&mut self) -> (usize, i32) {
        let topic = self.dice.below(self.shape.topics as u64) as usize;
        (topic, self.dice.below(self.shape.partitions as u64) as i32)
    }

    fn node(&mut self) -> u32 {
        1 + self.dice.below(u64::from(self.shape.nodes)) as u32
    }

    /// Rare enough that most requests pass, and so long that clients give up at times.
    fn plan(&mut self, kind: FaultKind) -> Plan {
        let node = (self.dice.below(3) > 0).then(|| self.node());
        let brief = self.between(250, 2_500);
        // The request timeout of the load is 3 s.
        let long = self.between(500, 8_000);
        let often = Plan {
            node,
            api: PRODUCE,
            place: None,
            after: self.dice.below(10) as u32,
            times: 3 + self.dice.below(20) as u32,
            percent: 8 + self.dice.below(15) as u32,
            fault: Fault::LOST_ANSWER,
        };
        let once = Plan { times: 1 + self.dice.below(2) as u32, percent: 100, ..often.clone() };
        let held = |way, pause, sender| Fault::frozen(way, Bytes::Drawn, pause, sender);
        match kind {
            FaultKind::LostAnswers => often,
            FaultKind::SilentThenLost => Plan { fault: Fault::silent_then_lost(long), ..once },
            FaultKind::Late => Plan { fault: Fault::late(long), ..once },
            FaultKind::LateAndDismissed => Plan { fault: Fault::late_and_dismissed(brief), ..once },
            FaultKind::LateInOnePartition => {
                Plan { place: Some(self.place()), node: None, fault: Fault::late_and_dismissed(long), ..once }
            }
            FaultKind::CutRequests => Plan { fault: Fault::cut(Way::Request, Bytes::Drawn), ..often },
            FaultKind::CutAnswers => Plan { fault: Fault::cut(Way::Answer, Bytes::Drawn), ..often },
            FaultKind::FrozenRequest => Plan { fault: held(Way::Request, long, Sender::Heard), ..once },
            FaultKind::UnheardRequest => Plan { fault: held(Way::Request, long, Sender::Unheard), ..once },
            FaultKind::FrozenAnswer => Plan { fault: held(Way::Answer, long, Sender::Heard), ..once },
            FaultKind::UnheardAnswer => Plan { fault: held(Way::Answer, long, Sender::Unheard), ..once },
            FaultKind::Delays => {
                let way = if self.dice.below(2) == 0 { Way::Request } else { Way::Answer };
                Plan {
                    times: 400,
                    percent: 60,
                    fault: Fault::delayed(way, self.millis(5, DELAY_MAX.as_millis() as u64)),
                    ..often
                }
            }
            FaultKind::LostMetadata => Plan { api: METADATA, after: 0, percent: 60, ..often },
            FaultKind::LostProducerIds => Plan { api: INIT_PRODUCER_ID, after: 0, percent: 60, ..often },
        }
    }

    fn between(&mut self, least: u64, most: u64) -> Pause {
        Pause::For(self.millis(least, most))
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.dice.below(most - least))
    }
}

impl Act {
    /// For counting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing to nodes",
            Self::Kill(Whom::Controller) => "controller killed",
            Self::Kill(_) => "leader killed",
            Self::Restart(_) => "leader restarted",
            Self::Freeze(Whom::Controller) => "controller frozen",
            Self::Freeze(_) => "leader frozen",
            Self::ThawAndKill(_) => "leader thawed and killed",
            Self::FreezeOthers(_) => "two nodes frozen",
            Self::RollingRestart => "rolling restart",
            Self::FillDisk(..) => "disk full",
        }
    }
}

/// What a fault does, for counting.
pub fn fault_name(fault: Fault) -> &'static str {
    let Fault { way, passes, then } = fault;
    let is_brief = |pause: Pause| matches!(pause, Pause::For(time) if time <= DELAY_MAX);
    match (way, then) {
        (Way::Request, Then::Hold { pause, sender: Sender::Heard, .. }) if is_brief(pause) => "request delayed",
        (Way::Answer, Then::Hold { pause, sender: Sender::Heard, .. }) if is_brief(pause) => "answer delayed",
        (Way::Answer, Then::Cut) if passes == Bytes::First(0) => "answer lost",
        (Way::Answer, Then::Cut) => "answer cut",
        (Way::Request, Then::Cut) => "request cut",
        (Way::Answer, Then::Hold { end: kafka_harness::proxy::End::Cut, .. }) => "silence, then answer lost",
        (Way::Request, Then::Hold { sender: Sender::Dismissed, .. }) => "request late, client dismissed",
        (Way::Request, Then::Hold { .. }) if passes == Bytes::First(0) => "request late",
        (Way::Request, Then::Hold { sender: Sender::Unheard, .. }) => "request frozen, client unheard",
        (Way::Request, Then::Hold { .. }) => "request frozen",
        (Way::Answer, Then::Hold { sender: Sender::Unheard, .. }) => "answer frozen, node unheard",
        (Way::Answer, Then::Hold { .. }) => "answer frozen",
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plans, act, offered, .. } = self;
        write!(f, "{act:?} for {offered} records")?;
        for Plan { node, api, place, fault, .. } in plans {
            let node = node.map_or("every node".to_owned(), |node| format!("node {node}"));
            write!(f, "; {} at {node}", fault_name(*fault))?;
            if *api != PRODUCE {
                write!(f, ", API {api}")?;
            }
            if let Some((topic, partition)) = place {
                write!(f, ", topic {} partition {partition}", topic + 1)?;
            }
        }
        Ok(())
    }
}

/// Cards that are dealt in an order by chance, all of them before the first comes again.
struct Deck<C: 'static> {
    cards: &'static [C],
    left: Vec<usize>,
}

impl<C: Copy> Deck<C> {
    fn new(cards: &'static [C]) -> Self {
        Self { cards, left: Vec::new() }
    }

    fn deal(&mut self, dice: &mut Dice) -> C {
        if self.left.is_empty() {
            self.left = (0..self.cards.len()).collect();
        }
        let place = dice.below(self.left.len() as u64) as usize;
        self.cards[self.left.swap_remove(place)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SHAPE: Shape = Shape { nodes: 3, topics: 2, partitions: 6 };

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        steps_of(ACTS, seed, count)
    }

    fn steps_of(acts: &'static [ActKind], seed: u64, count: usize) -> Vec<Step> {
        let mut schedule = Schedule::new(seed, acts, SHAPE, 1);
        (0..count).map(|_| schedule.step()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_steps_again_and_another_gives_others() {
        assert_eq!(steps(7, 50), steps(7, 50));
        assert_ne!(steps(7, 50), steps(8, 50));
    }

    #[test]
    fn one_round_of_the_deck_has_every_act_and_a_few_have_every_fault() {
        let acts: BTreeSet<&str> = steps(3, ACTS.len()).iter().map(|step| step.act.name()).collect();
        assert_eq!(acts.len(), 10, "{acts:?}");
        let faults: BTreeSet<&str> =
            steps(3, 30).iter().flat_map(|step| &step.plans).map(|plan| fault_name(plan.fault)).collect();
        assert_eq!(faults.len(), 12, "{faults:?}");
    }

    #[test]
    fn what_a_brief_campaign_needs_is_in_its_schedule() {
        let brief = steps_of(BRIEF_ACTS, 7, BRIEF_ACTS.len());
        let faults: BTreeSet<&str> =
            brief.iter().flat_map(|step| &step.plans).map(|plan| fault_name(plan.fault)).collect();
        for needed in ["request late, client dismissed", "request cut", "answer lost", "answer cut"] {
            assert!(faults.contains(needed), "{needed}: {faults:?}");
        }
    }

    #[test]
    fn what_is_struck_is_there_and_a_step_without_an_act_has_a_fault() {
        for step in steps(11, 500) {
            assert!(step.act != Act::Nothing || !step.plans.is_empty(), "{step:?}");
            for plan in step.plans {
                assert!(plan.node.is_none_or(|node| (1..=3).contains(&node)) && plan.times > 0, "{plan:?}");
                assert!(plan.place.is_none_or(|(topic, partition)| topic < 2 && (0..6).contains(&partition)));
            }
        }
    }
}
