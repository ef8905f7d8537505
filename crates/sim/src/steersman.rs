//! The faults that strike by themselves: brokers, leaders, topics, clocks. Each is steered here, and undone later.
//!
//! Brokers are in `steersman/brokers.rs`, partitions in `steersman/partitions.rs`, topics and strangers in
//! `steersman/topics.rs` and `steersman/strangers.rs`.

mod brokers;
mod partitions;
mod strangers;
mod topics;

use std::time::Duration;

use milena_broker::Process;
use milena_core::ids::NodeId;

use crate::brokers::Brokers;
use crate::faults::{Fault, Scope, StrikeId};
use crate::history::Place;
use crate::network::Network;
use crate::stage::Stage;
use crate::workload::Workload;

/// What a strike brings later.
#[derive(Clone, Debug)]
pub(crate) enum Aftermath {
    /// The broker goes on.
    Thaw(NodeId, Struck),
    /// The broker starts again.
    Start(NodeId, Struck),
    /// The brokers from this one on shut down and start again, one after the other.
    RollOn(NodeId, Struck),
    /// The follower copies as it should.
    CatchUp(NodeId, Struck),
    /// The partition gets another leader, which lacks what its requests wait for.
    Elect(Place, NodeId, Struck),
    /// The partition gets a leader that is not in sync.
    ElectUnclean(Place, NodeId, Struck),
    /// What was struck is as it was.
    Over(Struck),
    /// The topic is there again, under a new id.
    TopicReturns(usize, Struck),
    /// The topic has its settings again.
    SettingsReturn(usize, Struck),
    /// Wall clocks are right again.
    ClocksReturn(Struck),
}

/// What a fault touched, to be closed together.
pub(crate) type Struck = Vec<StrikeId>;

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
            Fault::Throttled => self.throttle(),
            Fault::Frozen => self.freeze(),
            Fault::Killed | Fault::Stopped | Fault::BrokersChanged => self.stop(fault),
            Fault::Rolling => self.roll(),
            Fault::LeaderMoved => self.move_leader(),
            Fault::FollowerSlow | Fault::FollowerFrozen => self.lag(fault),
            Fault::ElectionMeanwhile => self.elect_meanwhile(),
            Fault::Unclean => self.leave_behind(),
            Fault::IdentityStolen => self.steal_identity(),
            Fault::StateExpired => self.workload.grow_old(self.stage),
            Fault::TopicRecreated => self.delete_topic(),
            Fault::TopicChanged => self.change_topic(),
            Fault::ClockStepped => self.step_clock(),
            Fault::BufferFull => self.workload.surge(),
            Fault::Cut
            | Fault::Delay
            | Fault::RequestLate
            | Fault::Stall
            | Fault::AnswerLost
            | Fault::RefusedBefore
            | Fault::RefusedAfter
            | Fault::StaleMetadata
            | Fault::MetadataRefused
            | Fault::Rebootstrap
            | Fault::IdentityRefused
            | Fault::Closed => unreachable!("{fault} strikes with what it strikes"),
        }
        self.brokers.pump(self.stage, self.net);
    }

    pub(crate) fn settle(&mut self, aftermath: Aftermath) {
        match aftermath {
            Aftermath::Thaw(node, struck) => self.thaw(node, struck),
            Aftermath::Start(node, struck) => self.start(node, struck),
            Aftermath::RollOn(node, struck) => self.roll_on(node, struck),
            Aftermath::CatchUp(node, struck) => self.catch_up(node, struck),
            Aftermath::Elect(place, node, struck) => self.elect(place, node, struck),
            Aftermath::ElectUnclean(place, next, struck) => self.elect_unclean(place, next, struck),
            Aftermath::Over(struck) => self.close(struck),
            Aftermath::TopicReturns(number, struck) => self.return_topic(number, struck),
            Aftermath::SettingsReturn(number, struck) => self.return_settings(number, struck),
            Aftermath::ClocksReturn(struck) => self.return_clocks(struck),
        }
        self.brokers.pump(self.stage, self.net);
    }

    fn node(&mut self) -> NodeId {
        let nodes = self.stage.scenario.nodes();
        self.stage.faults.dice().pick(&nodes)
    }

    /// A broker that runs, by chance.
    fn running(&mut self) -> Option<NodeId> {
        let is_running = |node: &NodeId| self.process(*node) == Some(Process::Running);
        let running: Vec<NodeId> = self.stage.scenario.nodes().into_iter().filter(is_running).collect();
        (!running.is_empty()).then(|| self.stage.faults.dice().pick(&running))
    }

    fn process(&self, node: NodeId) -> Option<Process> {
        self.brokers.cluster.process(milena_broker::NodeId(node.0))
    }

    fn open(&mut self, fault: Fault, scope: Scope) -> Struck {
        let now = self.stage.now;
        self.stage.note(format_args!("{fault}: {scope:?}"));
        vec![self.stage.faults.strikes.open(fault, scope, now)]
    }

    /// The strike is felt here too; it counts once.
    fn also(&mut self, struck: &mut Struck, fault: Fault, scope: Scope) {
        let now = self.stage.now;
        struck.push(self.stage.faults.strikes.open_beside(fault, scope, now));
    }

    /// What was struck is as it was, and felt until the client has asked again.
    fn close(&mut self, struck: Struck) {
        let felt = self.stage.now + self.stage.scenario.latency.1 * 4 + self.stage.scenario.retry.max.mul_f64(1.2);
        struck.into_iter().for_each(|strike| self.stage.faults.strikes.close(strike, felt));
    }

    fn after(&mut self, least: Duration, most: Duration, aftermath: Aftermath) {
        let wait = self.stage.faults.dice().spread(least, most.max(least));
        self.stage.bring(wait, aftermath);
    }
}
