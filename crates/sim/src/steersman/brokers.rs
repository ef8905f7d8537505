//! Brokers that stand still, die, shut down, move, or ask for patience.

use std::time::Duration;

use milena_broker::{Effect, Fault as BrokerFault, Process, Stop};
use milena_core::ids::NodeId;
use milena_core::metadata::Address;
use milena_wire::ApiKey;

use super::{Aftermath, Helm, Struck};
use crate::faults::{Fault, Scope};
use crate::scenario::address_of;

/// The port of those who moved.
const AWAY: u16 = 9999;

const SHORT: Duration = Duration::from_millis(30);

impl Helm<'_> {
    /// The broker, and every partition that has a replica there: its leader waits for it, or is it.
    fn open_at(&mut self, fault: Fault, node: NodeId) -> Struck {
        let mut struck = self.open(fault, Scope::Node(node));
        for place in self.places_of(node) {
            self.also(&mut struck, fault, Scope::Place(place));
        }
        struck
    }

    pub(super) fn freeze(&mut self) {
        let Some(node) = self.running() else { return };
        let clock = self.stage.broker_clock();
        if self.brokers.cluster.freeze(clock, milena_broker::NodeId(node.0)).is_ok() {
            let struck = self.open_at(Fault::Frozen, node);
            let least = self.stage.scenario.cluster.frozen_least;
            let longest = self.stage.scenario.cluster.session_timeout * 3;
            self.after(least, longest, Aftermath::Thaw(node, struck));
        }
    }

    pub(super) fn thaw(&mut self, node: NodeId, struck: Struck) {
        self.stage.note(format_args!("broker {node} goes on"));
        let clock = self.stage.broker_clock();
        let _stopped_meanwhile = self.brokers.cluster.thaw(clock, milena_broker::NodeId(node.0));
        // For a while it believes what it knew before.
        self.stage.bring(self.stage.scenario.cluster.catch_up, Aftermath::Over(struck));
    }

    /// Dies, shuts down, or does so to come back at another address.
    pub(super) fn stop(&mut self, fault: Fault) {
        let Some(node) = self.running() else { return };
        let how = if fault == Fault::Killed { Stop::Kill } else { Stop::Clean };
        if let Some(struck) = self.stop_one(fault, node, how) {
            let longest = self.stage.scenario.cluster.session_timeout * 2;
            self.after(SHORT, longest, Aftermath::Start(node, struck));
        }
    }

    fn stop_one(&mut self, fault: Fault, node: NodeId, how: Stop) -> Option<Struck> {
        let clock = self.stage.broker_clock();
        self.brokers.cluster.stop(clock, milena_broker::NodeId(node.0), how).ok()?;
        Some(self.open_at(fault, node))
    }

    pub(super) fn start(&mut self, node: NodeId, struck: Struck) {
        let is_moved =
            struck.first().is_some_and(|strike| self.stage.faults.strikes.get(*strike).fault == Fault::BrokersChanged);
        if is_moved {
            self.readdress(node);
        }
        self.stage.note(format_args!("broker {node} starts"));
        let clock = self.stage.broker_clock();
        let _started_meanwhile = self.brokers.cluster.start(clock, milena_broker::NodeId(node.0));
        self.close(struck);
    }

    /// The broker listens elsewhere from now on, or at home again. One that the client is told to begin with stays at home.
    fn readdress(&mut self, node: NodeId) {
        let is_home = |node: &NodeId| self.stage.addresses.get(node) == Some(&address_of(*node));
        let bootstrap = &self.stage.scenario.cluster.bootstrap;
        let others = self.stage.scenario.nodes().into_iter().filter(|other| *other != node);
        let mut at_home = others.filter(|other| is_home(other) && bootstrap.contains(&address_of(*other)));
        let address = match at_home.next() {
            Some(_) if is_home(&node) => Address { port: AWAY, ..address_of(node) },
            _ => address_of(node),
        };
        self.stage.note(format_args!("broker {node} listens at {address}"));
        self.stage.addresses.insert(node, address);
    }

    /// One broker after the other shuts down in order and starts again.
    pub(super) fn roll(&mut self) {
        let struck = self.open(Fault::Rolling, Scope::Everything);
        self.roll_on(NodeId(1), struck);
    }

    pub(super) fn roll_on(&mut self, node: NodeId, struck: Struck) {
        let clock = self.stage.broker_clock();
        let before = milena_broker::NodeId(node.0 - 1);
        if self.brokers.cluster.process(before) == Some(Process::Stopped) {
            self.brokers.cluster.start(clock, before).expect("it is stopped");
        }
        if node.0 > self.stage.scenario.cluster.nodes {
            return self.close(struck);
        }
        if self.process(node) == Some(Process::Running) {
            self.stage.note(format_args!("broker {node} is next"));
            let stopped = self.brokers.cluster.stop(clock, milena_broker::NodeId(node.0), Stop::Clean);
            stopped.expect("it runs");
        }
        self.after(SHORT, Duration::from_millis(400), Aftermath::RollOn(NodeId(node.0 + 1), struck));
    }

    /// Answers ask for a pause, and nothing is read meanwhile.
    pub(super) fn throttle(&mut self) {
        let now = self.stage.now;
        let patience = self.stage.scenario.request_timeout;
        let dice = self.stage.faults.dice();
        let time = dice.spread(Duration::from_millis(5), patience);
        let lasts = dice.spread(Duration::from_millis(50), Duration::from_secs(1));
        let api = dice.pick(&[None, Some(ApiKey::PRODUCE), Some(ApiKey::PRODUCE)]);
        let times = dice.between(1, 6) as u32;
        let node = self.node();
        let clock = self.stage.broker_clock();
        let fault = BrokerFault::new(Effect::Throttle(time)).node(node.0).times(times).lasting(lasts);
        let fault = match api {
            Some(api) => fault.api(api),
            None => fault,
        };
        self.stage.note(format_args!("{fault:?}"));
        self.brokers.cluster.add_fault(clock, fault);
        self.stage.faults.strikes.add(Fault::Throttled, Scope::Node(node), now, now + lasts + time);
    }
}
