//! The faults that strike by themselves: brokers, leaders, topics, clocks. Each is steered here, and undone later.

use std::time::Duration;

use milena_broker::TopicConfig;
use milena_core::ids::NodeId;

use crate::brokers::Brokers;
use crate::faults::{Fault, Scope, StrikeId};
use crate::network::Network;
use crate::stage::Stage;
use crate::workload::Workload;

/// What a strike brings later.
#[derive(Clone, Debug)]
pub(crate) enum Aftermath {
    /// The topic is there again, under a new id.
    TopicReturns(usize, StrikeId),
    /// The topic has its settings again.
    SettingsReturn(usize, StrikeId),
    /// Wall clocks are right again.
    ClocksReturn(StrikeId),
}

/// What is steered.
pub(crate) struct Helm<'a> {
    pub(crate) stage: &'a mut Stage,
    pub(crate) brokers: &'a mut Brokers,
    pub(crate) net: &'a mut Network,
    pub(crate) workload: &'a mut Workload,
}

impl Helm<'_> {
    /// A fault strikes by itself.
    pub(crate) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::DialRefused => {
                let node = self.node();
                self.net.refuse_dials(self.stage, node);
            }
            Fault::TopicRecreated => self.delete_topic(),
            Fault::TopicChanged => self.change_topic(),
            Fault::ClockStepped => self.step_clock(),
            Fault::BufferFull => self.workload.surge(),
            _ => {}
        }
    }

    pub(crate) fn settle(&mut self, aftermath: Aftermath) {
        match aftermath {
            Aftermath::TopicReturns(number, strike) => {
                self.brokers.create_topic(self.stage, number);
                self.close(strike);
            }
            Aftermath::SettingsReturn(number, strike) => {
                let config = self.stage.scenario.topics[number].config.clone();
                self.alter(number, config);
                self.close(strike);
            }
            Aftermath::ClocksReturn(strike) => {
                (self.stage.client_wall, self.stage.broker_wall) = (0, 0);
                self.close(strike);
            }
        }
    }

    fn node(&mut self) -> NodeId {
        let nodes = self.stage.scenario.nodes();
        self.stage.faults.dice().pick(&nodes)
    }

    /// A topic that is there.
    fn topic(&mut self) -> Option<usize> {
        let count = self.stage.scenario.topics.len() as u64;
        let number = self.stage.faults.dice().below(count) as usize;
        self.brokers.cluster.topic(&self.stage.scenario.topics[number].name).map(|_| number)
    }

    fn open(&mut self, fault: Fault, scope: Scope) -> StrikeId {
        let now = self.stage.now;
        self.stage.note(format_args!("{fault}: {scope:?}"));
        self.stage.faults.strikes.open(fault, scope, now)
    }

    /// What was struck is as it was, and felt for a moment longer.
    fn close(&mut self, strike: StrikeId) {
        let felt = self.stage.now + self.stage.scenario.latency.1 * 4;
        self.stage.faults.strikes.close(strike, felt);
    }

    fn after(&mut self, least: Duration, most: Duration, aftermath: Aftermath) {
        let wait = self.stage.faults.dice().spread(least, most);
        self.stage.bring(wait, aftermath);
    }

    fn delete_topic(&mut self) {
        let Some(number) = self.topic() else { return };
        let strike = self.open(Fault::TopicRecreated, Scope::Topic(number));
        self.brokers.delete_topic(self.stage, number);
        self.brokers.pump(self.stage, self.net);
        self.after(Duration::from_millis(1), Duration::from_secs(1), Aftermath::TopicReturns(number, strike));
    }

    /// Batches too large, or timestamps too old, for a while.
    fn change_topic(&mut self) {
        let Some(number) = self.topic() else { return };
        let mut config = self.stage.scenario.topics[number].config.clone();
        let dice = self.stage.faults.dice();
        match dice.below(3) {
            0 => config.message_bytes_max = dice.between(100, 2000) as i32,
            1 => config.timestamp_before_max = dice.between(0, 8_000) as i64,
            _ => config.timestamp_after_max = dice.between(0, 8_000) as i64,
        }
        let strike = self.open(Fault::TopicChanged, Scope::Topic(number));
        self.alter(number, config);
        self.after(Duration::from_millis(20), Duration::from_secs(3), Aftermath::SettingsReturn(number, strike));
    }

    fn alter(&mut self, number: usize, config: TopicConfig) {
        let name = &self.stage.scenario.topics[number].name;
        let altered = self.brokers.cluster.alter_topic(name, config);
        assert!(altered.is_ok(), "a topic in memory takes every setting");
    }

    fn step_clock(&mut self) {
        let dice = self.stage.faults.dice();
        let step = dice.spread(Duration::from_millis(100), Duration::from_secs(30 * 60 * 60)).as_millis() as i64;
        let step = if dice.chance(0.5) { step } else { -step };
        if dice.chance(0.5) {
            self.stage.client_wall = step;
        } else {
            self.stage.broker_wall = step;
        }
        let strike = self.open(Fault::ClockStepped, Scope::Everything);
        self.after(Duration::from_millis(50), Duration::from_secs(3), Aftermath::ClocksReturn(strike));
    }
}
