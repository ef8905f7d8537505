//! The brokers' side: requests are served one at a time per connection, and answered otherwise where a fault says so.
//!
//! The cluster decides when it answers: at once, when followers have copied, when a broker that stood still goes on.
//! Whatever steers it or lets its time pass is followed by [`Brokers::pump`].

mod graves;
mod lies;

use std::collections::BTreeSet;
use std::time::Duration;

use milena_broker::{
    Cluster, ClusterConfig, ConnectionId, Event as ClusterEvent, Memory, NewTopic, Node, PartitionIndex, Process,
    ProduceFault,
};
use milena_core::ids::NodeId;
use milena_core::metadata::Address;
use milena_core::time::Moment;
use milena_wire::{ApiKey, ErrorCode};

use crate::faults::{Fault, Scope, Situation};
use crate::history::{AttemptId, AttemptState};
use crate::network::{LinkId, Network};
use crate::request::{Asked, Retouched, hide, news_of, retouch};
use crate::scenario::address_of;
use crate::stage::{Event, Stage};

use graves::Grave;
use lies::Liar;

#[derive(Debug)]
pub(crate) struct Brokers {
    pub(crate) cluster: Cluster,
    liar: Liar,
    /// Logs of topics that were deleted.
    pub(crate) graves: Vec<Grave>,
    /// Connections of which a request waits until the broker reads.
    unread: BTreeSet<LinkId>,
    /// When the cluster is woken next.
    wakes_at: Option<Duration>,
}

impl Brokers {
    pub(crate) fn open(stage: &Stage) -> Self {
        let nodes = stage.scenario.nodes();
        let node = |node: &NodeId| {
            let Address { host, port } = address_of(*node);
            Node { id: milena_broker::NodeId(node.0), host: host.to_string(), port }
        };
        let plan = &stage.scenario.cluster;
        let config = ClusterConfig {
            seed: stage.scenario.seed,
            session_timeout: plan.session_timeout,
            replica_lag_time_max: plan.replica_lag_time_max,
            catch_up: plan.catch_up,
            strict_min_isr: plan.strict_min_isr,
            producer_expiry: plan.producer_expiry,
            producer_expiry_check: plan.producer_expiry_check,
            ..ClusterConfig::with_nodes(nodes.iter().map(node).collect())
        };
        let cluster = Cluster::open(config, Box::new(Memory), stage.broker_clock());
        Self {
            cluster: cluster.expect("an empty cluster in memory opens"),
            liar: Liar::default(),
            graves: Vec::new(),
            unread: BTreeSet::new(),
            wakes_at: None,
        }
    }

    pub(crate) fn create_topic(&mut self, stage: &mut Stage, number: usize) {
        let topic = &stage.scenario.topics[number];
        let new = NewTopic::new(&topic.name).partitions(topic.partitions).replication_factor(topic.replicas);
        let id = self.cluster.create_topic_with(new.config(topic.config.clone()));
        stage.topic_ids.insert(id.expect("the scenario's topics can be created"), number);
    }

    pub(crate) fn accept(&mut self, node: NodeId) -> Option<ConnectionId> {
        self.cluster.connect(milena_broker::NodeId(node.0))
    }

    /// Serves the oldest request of a connection, now or when its broker reads again: what a fault answers is meant for this
    /// attempt and no other.
    pub(crate) fn serve(&mut self, stage: &mut Stage, net: &mut Network, link: LinkId) {
        if net.peer(link).is_some_and(|(connection, node)| !self.reads(connection, node)) {
            self.unread.insert(link);
            return;
        }
        let Some((connection, frame, asked)) = net.next_request(link) else { return };
        let retouched = self.plant(stage, &asked);
        net.retouch(link, retouched);
        self.cluster.handle_frame(stage.broker_clock(), connection, frame);
        self.unplant(stage, &asked);
        self.pump(stage, net);
        if net.serving(connection).is_some() && !self.cluster.is_muted(connection) {
            // Nothing was asked back: acks=0.
            net.served(stage, link);
        }
    }

    fn reads(&self, connection: ConnectionId, node: NodeId) -> bool {
        let process = self.cluster.process(milena_broker::NodeId(node.0));
        process != Some(Process::Frozen) && !self.cluster.is_muted(connection)
    }

    /// The cluster's time has passed.
    pub(crate) fn wake(&mut self, stage: &mut Stage, net: &mut Network) {
        self.wakes_at = None;
        self.cluster.handle_timeout(stage.broker_clock());
        self.pump(stage, net);
    }

    /// Carries out what the cluster asks for, and asks to be woken for the rest.
    pub(crate) fn pump(&mut self, stage: &mut Stage, net: &mut Network) {
        while let Some(event) = self.cluster.poll_event(stage.broker_clock()) {
            match event {
                ClusterEvent::Response { connection, frame } => {
                    let Some((link, asked)) = net.serving(connection) else { continue };
                    let asked = asked.clone();
                    self.respond(stage, net, (link, &asked), frame);
                }
                ClusterEvent::Close { connection, reason } => {
                    stage.note(format_args!("a broker closes a connection: {reason}"));
                    net.closed_by_broker(stage, connection);
                }
            }
        }
        self.set_timer(stage);
        for link in std::mem::take(&mut self.unread) {
            self.serve(stage, net, link);
            self.forget(net, link);
        }
    }

    /// The broker closes its side of a connection that is over.
    pub(crate) fn forget(&mut self, net: &mut Network, link: LinkId) {
        if let Some(connection) = net.finished(link) {
            self.cluster.disconnect(connection);
        }
    }

    fn set_timer(&mut self, stage: &mut Stage) {
        let Some(due) = self.cluster.poll_timeout() else { return };
        if self.wakes_at.is_none_or(|wakes_at| due < wakes_at) {
            self.wakes_at = Some(due);
            // Not before it is due: the world's clock has a coarser grain.
            let when = Moment::from_micros(due.as_nanos().div_ceil(1000) as u64);
            stage.at(when, Event::ClusterWake(due));
        }
    }

    /// Whether this wake-up is the one that is waited for.
    pub(crate) fn is_due(&self, wake: Duration) -> bool {
        self.wakes_at == Some(wake)
    }

    fn respond(&mut self, stage: &mut Stage, net: &mut Network, (link, asked): (LinkId, &Asked), frame: bytes::Bytes) {
        let (frame, leaders) = self.liar.retell(stage, asked, frame);
        let frame = retouch(stage, &frame, asked);
        let frame = if asked.key == ApiKey::FETCH && !stage.scenario.may_read { hide(&frame, asked) } else { frame };
        let mut news = news_of(stage, &frame, asked);
        news.leaders.extend(leaders);
        for (attempt, code, base_offset) in &news.verdicts {
            stage.note(format_args!("broker answers attempt {}: {code} at {base_offset}", attempt.0));
            // The client may be gone; then this stays the last that is known.
            if !matches!(stage.history.attempts.get(*attempt).state, AttemptState::CutShort) {
                stage.history.attempts.answered(stage.now, *attempt, *code, *base_offset);
            }
        }
        net.respond(stage, link, &frame, news);
    }

    /// Plants what the faults want told of the batches of a request.
    fn plant(&mut self, stage: &mut Stage, asked: &Asked) -> Vec<Retouched> {
        asked.attempts.iter().filter_map(|attempt| self.plant_one(stage, *attempt)).collect()
    }

    /// What was meant for an attempt that was refused before it came to the log must not meet the next one.
    fn unplant(&mut self, stage: &Stage, asked: &Asked) {
        for attempt in &asked.attempts {
            let (topic, index) = stage.history.attempts.get(*attempt).place;
            self.cluster.unplant(&stage.scenario.topics[topic].name, PartitionIndex(index));
        }
    }

    fn plant_one(&mut self, stage: &mut Stage, id: AttemptId) -> Option<Retouched> {
        let attempts = &stage.history.attempts;
        let attempt = attempts.get(id);
        let (place, records, handed_at) = (attempt.place, attempt.records, attempt.handed_at);
        let situation = Situation {
            first: attempt.first,
            records,
            state: attempts.stands(id),
            is_doubtful: attempts.is_doubtful(id),
        };
        let planted = stage.faults.refuses(stage.now, &situation)?;
        let fault = ProduceFault { code: planted.code, appended: planted.is_appended, times: 1 };
        // Only what is committed is told to be a duplicate, so the broker's own answer is waited for.
        let is_duplicate = planted.code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER;
        if !is_duplicate && !self.cluster.plant(&stage.scenario.topics[place.0].name, PartitionIndex(place.1), fault) {
            return None;
        }
        let kind = if planted.is_appended { Fault::RefusedAfter } else { Fault::RefusedBefore };
        let felt = stage.now + stage.scenario.latency.1 * 4;
        stage.faults.strikes.add(kind, Scope::Place(place), handed_at, felt);
        stage.faults.refused.insert((place, planted.code));
        stage.history.attempts.plant(id);
        stage
            .note(format_args!("attempt {} is refused with {}, appended: {}", id.0, planted.code, planted.is_appended));
        let bad_records = if planted.names_records { records.div_ceil(2).min(records - 1) } else { 0 };
        let retouched = Retouched { place, is_silent: planted.is_silent, bad_records, is_duplicate };
        (planted.is_silent || bad_records > 0 || is_duplicate).then_some(retouched)
    }
}
