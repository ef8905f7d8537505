//! Topics that go and come, settings that change, clocks that step.

use std::time::Duration;

use milena_broker::{SteerError, TopicConfig};

use super::{Aftermath, Helm, Struck};
use crate::faults::{Fault, Scope};

impl Helm<'_> {
    /// A topic that is there.
    fn topic(&mut self) -> Option<usize> {
        let count = self.stage.scenario.topics.len() as u64;
        let number = self.stage.faults.dice().below(count) as usize;
        self.brokers.cluster.topic(&self.stage.scenario.topics[number].name).map(|_| number)
    }

    pub(super) fn delete_topic(&mut self) {
        let Some(number) = self.topic() else { return };
        let struck = self.open(Fault::TopicRecreated, Scope::Topic(number));
        self.brokers.delete_topic(self.stage, number);
        self.after(Duration::from_millis(1), Duration::from_secs(1), Aftermath::TopicReturns(number, struck));
    }

    pub(super) fn return_topic(&mut self, number: usize, struck: Struck) {
        self.stage.note(format_args!("topic {number} is there again"));
        self.brokers.create_topic(self.stage, number);
        self.close(struck);
    }

    /// Batches too large, or timestamps too old, for a while.
    pub(super) fn change_topic(&mut self) {
        let Some(number) = self.topic() else { return };
        let mut config = self.stage.scenario.topics[number].config.clone();
        let dice = self.stage.faults.dice();
        match dice.below(3) {
            0 => config.message_bytes_max = dice.between(100, 2000) as i32,
            1 => config.timestamp_before_max = dice.between(0, 8_000) as i64,
            _ => config.timestamp_after_max = dice.between(0, 8_000) as i64,
        }
        let struck = self.open(Fault::TopicChanged, Scope::Topic(number));
        self.alter(number, config);
        self.after(Duration::from_millis(20), Duration::from_secs(3), Aftermath::SettingsReturn(number, struck));
    }

    pub(super) fn return_settings(&mut self, number: usize, struck: Struck) {
        let config = self.stage.scenario.topics[number].config.clone();
        self.alter(number, config);
        self.close(struck);
    }

    fn alter(&mut self, number: usize, config: TopicConfig) {
        let name = &self.stage.scenario.topics[number].name;
        let altered = self.brokers.cluster.alter_topic(self.stage.broker_clock(), name, config);
        assert!(!matches!(altered, Err(SteerError::Storage(_))), "a topic in memory takes every setting");
    }

    /// Never so far that brokers forget what the client believes they know: no client could tell.
    pub(super) fn step_clock(&mut self) {
        let most = self.stage.scenario.horizon * 2 / 5;
        let dice = self.stage.faults.dice();
        let step = dice.spread(Duration::from_millis(50), most).as_millis() as i64;
        let step = if dice.chance(0.5) { step } else { -step };
        let clock = if dice.chance(0.5) { &mut self.stage.client_wall } else { &mut self.stage.broker_wall };
        *clock = step;
        self.stage.note(format_args!("a wall clock steps by {step} ms"));
        let struck = self.open(Fault::ClockStepped, Scope::Everything);
        self.after(Duration::from_millis(50), Duration::from_secs(3), Aftermath::ClocksReturn(struck));
    }

    pub(super) fn return_clocks(&mut self, struck: Struck) {
        (self.stage.client_wall, self.stage.broker_wall) = (0, 0);
        self.close(struck);
    }
}
