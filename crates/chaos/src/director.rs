//! Does to a cluster what a schedule says, and counts what came of it.
//!
//! Waits for records to be offered, for replicas to be in sync, for processes to end; never for time alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_harness::proxy::{Ending, Rule, RuleId, Target, TopicRef, Way};
use kafka_harness::{Kafka, proxy::Deed};

use crate::load::Load;
use crate::rows::{Error, SECOND};
use crate::schedule::{Act, Plan, RulesEnd, Step, Whom, fault_name};

/// Holds a cluster and the load on it.
pub struct Director<'a> {
    pub kafka: &'a mut Kafka,
    pub loads: &'a [Load],
    pub topics: &'a [String],
    /// By topic.
    pub names: Vec<Vec<TopicRef>>,
    pub tally: &'a mut Tally,
}

/// How often what was done.
#[derive(Debug, Default)]
pub struct Tally {
    pub steps: usize,
    pub acts: BTreeMap<&'static str, usize>,
    /// What proxies did, by fault: how often, and to how many batches.
    pub faults: BTreeMap<&'static str, (usize, usize)>,
    /// Requests with records that were delivered whole after their client had left.
    pub late_after_client: usize,
    /// Answers to requests with records that were executed and never heard.
    pub answers_lost: usize,
    /// Requests with records of which a part, and not all, reached the node.
    pub requests_torn: usize,
    /// What nodes said of their full disks, in lines of their logs.
    pub disk_errors: usize,
    /// What each rule does, by proxy; its id is not used again.
    kinds: BTreeMap<(usize, RuleId), &'static str>,
    /// Deeds that were counted, by proxy.
    counted: BTreeMap<usize, usize>,
}

impl Director<'_> {
    /// One step, from its rules to their end.
    pub fn take(&mut self, step: &Step) -> Result<(), Error> {
        for plan in &step.plans {
            self.put(plan);
        }
        self.tally.steps += 1;
        *self.tally.acts.entry(step.act.name()).or_default() += 1;
        self.act(step)?;
        match step.rules_end {
            RulesEnd::Cleared => self.kafka.proxies().for_each(|proxy| proxy.clear()),
            RulesEnd::Cut => self.kafka.proxies().for_each(|proxy| proxy.cut()),
            RulesEnd::Kept => {}
        }
        if step.settles { self.settle() } else { Ok(()) }
    }

    /// Ends all faults, and waits until every replica is in sync and the load flows.
    pub fn settle(&self) -> Result<(), Error> {
        self.kafka.proxies().for_each(|proxy| proxy.clear());
        for topic in self.topics {
            self.kafka.await_in_sync(topic)?;
        }
        self.loads.iter().try_for_each(|load| load.await_written(SECOND / 2)).map_err(Error::from)
    }

    fn put(&mut self, plan: &Plan) {
        let topic = plan.place.map(|(topic, _)| self.names[topic].clone());
        let target = Target { api: Some(plan.api), topic, partition: plan.place.map(|(_, partition)| partition) };
        let Plan { after, times, percent, fault, .. } = *plan;
        let rule = Rule { target, after, times, percent, fault };
        let chosen = (1..).zip(self.kafka.proxies()).filter(|(node, _)| plan.node.is_none_or(|chosen| chosen == *node));
        for (node, proxy) in chosen {
            let id = proxy.add(rule.clone());
            self.tally.kinds.insert((node as usize, id), fault_name(fault));
        }
    }

    fn act(&mut self, step: &Step) -> Result<(), Error> {
        let offered = step.offered;
        match step.act {
            Act::Nothing => self.await_offered(offered),
            Act::Kill(whom) => {
                let node = self.node(whom)?;
                self.kafka.node(node).kill()?;
                self.await_offered(offered)?;
                Ok(self.kafka.node(node).start()?)
            }
            Act::Restart(whom) => {
                let node = self.node(whom)?;
                self.kafka.node(node).terminate()?;
                self.await_offered(offered)?;
                Ok(self.kafka.node(node).start()?)
            }
            Act::Freeze(whom) => {
                let node = self.node(whom)?;
                self.kafka.node(node).freeze()?;
                self.await_offered(offered)?;
                Ok(self.kafka.node(node).thaw()?)
            }
            Act::ThawAndKill(whom) => {
                let node = self.node(whom)?;
                self.kafka.node(node).freeze()?;
                self.await_offered(offered)?;
                self.kafka.node(node).thaw()?;
                self.kafka.node(node).kill()?;
                Ok(self.kafka.node(node).start()?)
            }
            Act::FreezeOthers(alone) => {
                let others: Vec<u32> = (1..=NODES).filter(|node| *node != alone).collect();
                others.iter().try_for_each(|node| self.kafka.node(*node).freeze())?;
                self.await_offered(offered)?;
                Ok(others.iter().try_for_each(|node| self.kafka.node(*node).thaw())?)
            }
            Act::RollingRestart => {
                for node in 1..=NODES {
                    self.kafka.node(node).terminate()?;
                    self.kafka.node(node).start()?;
                    self.topics.iter().try_for_each(|topic| self.kafka.await_in_sync(topic).map(drop))?;
                    self.await_offered(offered)?;
                }
                Ok(())
            }
            Act::FillDisk(node, room) => {
                let before = self.kafka.node(node).logged(DISK_ERROR)?;
                self.kafka.node(node).fill_disk(room)?;
                self.await_offered(offered)?;
                self.tally.disk_errors += self.kafka.node(node).logged(DISK_ERROR)? - before;
                // It may have ended by itself, or be about to.
                self.kafka.node(node).kill()?;
                Ok(self.kafka.node(node).start()?)
            }
        }
    }

    fn node(&self, whom: Whom) -> Result<u32, Error> {
        match whom {
            Whom::Controller => Ok(self.kafka.active_controller()?),
            Whom::Leader(topic, partition) => {
                let led = |states: &[kafka_harness::PartitionState]| states.iter().all(|state| state.leader.is_some());
                let states = self.kafka.await_partitions(&self.topics[topic], led)?;
                let state = states.iter().find(|state| state.partition == partition);
                state.and_then(|state| state.leader).ok_or_else(|| "the partition is there and is led".into())
            }
        }
    }

    fn await_offered(&self, count: u64) -> Result<(), Error> {
        Ok(self.loads[0].await_offered(count)?)
    }
}

impl Tally {
    /// Looks at what proxies have done since the last look; everything is over.
    pub fn count(&mut self, kafka: &Kafka) {
        for (node, proxy) in (1..).zip(kafka.proxies()) {
            let deeds = proxy.deeds();
            let before = self.counted.insert(node, deeds.len()).unwrap_or(0);
            for deed in &deeds[before..] {
                let kind = self.kinds.get(&(node, deed.rule)).copied().unwrap_or("of a rule that nobody made");
                self.count_deed(kind, deed);
            }
        }
    }

    fn count_deed(&mut self, kind: &'static str, deed: &Deed) {
        let batches = deed.request.batches.len();
        let (times, struck) = self.faults.entry(kind).or_default();
        *times += 1;
        *struck += batches;
        let Some(end) = deed.end.filter(|_| batches > 0) else { return };
        match (deed.way, end.ending) {
            (Way::Request, Ending::Delivered) => self.late_after_client += usize::from(end.sender_left),
            (Way::Request, _) => self.requests_torn += usize::from(deed.passed > 0 && deed.passed < deed.length),
            (Way::Answer, Ending::Cut | Ending::Unheard) => {
                self.answers_lost += usize::from(deed.passed < deed.length);
            }
            (Way::Answer, Ending::Delivered) => {}
        }
    }

    /// What a campaign cannot do without, if it was long enough.
    pub fn missing(&self) -> Vec<String> {
        let needed = [
            ("request that came after its client had left", self.late_after_client),
            ("answer that was lost", self.answers_lost),
            ("request of which a part reached the node", self.requests_torn),
        ];
        let is_disk_idle = self.acts.contains_key(Act::FillDisk(0, 0).name()) && self.disk_errors == 0;
        let idle = is_disk_idle.then(|| "a full disk refused nothing".to_owned());
        needed
            .iter()
            .filter(|(_, count)| *count == 0)
            .map(|(what, _)| format!("there was no {what}"))
            .chain(idle)
            .collect()
    }
}

/// Waits until what was sent by way of the proxies has come and was answered; nobody is connected any more.
pub fn await_late_copies(kafka: &Kafka) -> Result<(), Error> {
    let deadline = Instant::now() + LATE_COPIES_PATIENCE;
    for proxy in kafka.proxies() {
        if !proxy.await_quiet(deadline.saturating_duration_since(Instant::now())) {
            return Err(format!("connections last {LATE_COPIES_PATIENCE:?} longer than their clients").into());
        }
    }
    Ok(())
}

pub const NODES: u32 = 3;

/// What a node writes when a disk refuses.
const DISK_ERROR: &str = "KafkaStorageException";

/// A broker that waits for followers answers after the 2 s of TimeoutMs.
const LATE_COPIES_PATIENCE: Duration = Duration::from_secs(180);
