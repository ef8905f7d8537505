//! Steering, and the truth: what tests, simulations and the owner of a broker may do to a cluster, and see of it.
//!
//! Nothing here is part of Kafka's protocol. What is done takes effect in the same call; what comes of it later is due at
//! [`Cluster::poll_timeout`]. Take events after every call that takes `now`. What cannot be done changes nothing, and says why.

use std::sync::Arc;
use std::time::Duration;

use milena_wire::Uuid;

use crate::api::{CreateTopicError, Replicas, TopicPlan};
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::faults::{Fault, FaultEntry, FaultId};
use crate::ids::{ConnectionId, NodeId, PartitionIndex};
use crate::leadership::Leadership;
use crate::log::PartitionLog;
use crate::moment::Moment;
use crate::new_topic::NewTopic;
use crate::nodes::{NodeState, Nodes, Process, Stop};
use crate::partition::{Partition, ProduceFault};
use crate::replica::Recovery;
use crate::steer_error::{CannotLead, SteerError};
use crate::storage::StorageError;
use crate::timers::Timer;
use crate::topic_config::TopicConfig;
use crate::topics::Topic;

impl Cluster {
    /// Makes a topic with default settings, as an administrator would. Replicas go around: partition `i` of `n` nodes is first led by the node at
    /// place `i % n` in the order of ids, and kept by the next ones too.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<Uuid, CreateTopicError> {
        self.add_topic(TopicPlan::with_defaults(name, partitions))
    }

    /// The same as it is asked for.
    pub fn create_topic_with(&mut self, new: NewTopic) -> Result<Uuid, CreateTopicError> {
        let NewTopic { name, partitions, replication_factor, config } = new;
        config.check().map_err(CreateTopicError::Config)?;
        for (setting, _) in config.kept() {
            self.config.release.check_topic_setting(setting).map_err(CreateTopicError::Config)?;
        }
        let partitions = partitions.unwrap_or(self.config.default_partitions);
        let factor = replication_factor.unwrap_or(self.config.default_replication_factor);
        self.add_topic(TopicPlan { name: &name, partitions, replicas: Replicas::Factor(factor), config })
    }

    /// Removes a topic and its logs.
    pub fn delete_topic(&mut self, now: Moment, name: &str) -> Result<(), SteerError> {
        let removed = self.remove_topic(name);
        self.settle(now);
        if removed? { Ok(()) } else { Err(SteerError::NoSuchTopic(name.to_owned())) }
    }

    /// Gives a topic other settings from now on.
    pub fn alter_topic(&mut self, now: Moment, name: &str, config: TopicConfig) -> Result<(), SteerError> {
        if self.give_settings(now, name, config)? { Ok(()) } else { Err(SteerError::NoSuchTopic(name.to_owned())) }
    }

    /// Says whether the topic is there.
    pub(crate) fn give_settings(&mut self, now: Moment, name: &str, config: TopicConfig) -> Result<bool, StorageError> {
        let Some(topic) = self.topics.named_mut(name) else {
            return Ok(false);
        };
        let before = std::mem::replace(&mut topic.config, Arc::new(config));
        let saved = self.save_topic(name);
        if let (Err(_), Some(topic)) = (&saved, self.topics.named_mut(name)) {
            topic.config = before;
        }
        saved?;
        self.follow_settings(now, name);
        self.settle(now);
        Ok(true)
    }

    /// Answers the next Produce attempts on a partition, at its leader, with an error. Faults of one partition are used up in order.
    /// Says whether the partition is there.
    pub fn plant(&mut self, topic: &str, partition: PartitionIndex, fault: ProduceFault) -> bool {
        let partition = self.topics.named_mut(topic).and_then(|topic| topic.partition_mut(partition));
        partition.map(|partition| partition.plant(fault)).is_some()
    }

    /// Forgets what was planted on a partition and met no attempt yet.
    pub fn unplant(&mut self, topic: &str, partition: PartitionIndex) {
        if let Some(partition) = self.topics.named_mut(topic).and_then(|topic| topic.partition_mut(partition)) {
            partition.unplant();
        }
    }

    /// SIGSTOP: the node keeps its connections, and new ones are made; it reads nothing, answers nothing and copies nothing. After the session
    /// timeout it is fenced, and what it leads goes to replicas in sync.
    pub fn freeze(&mut self, now: Moment, node: NodeId) -> Result<(), SteerError> {
        let session_timeout = self.config.session_timeout;
        let state = self.steered(node)?;
        match state.process {
            Process::Running | Process::Waking => {}
            Process::Frozen => return Err(SteerError::Frozen(node)),
            Process::Stopped => return Err(SteerError::Stopped(node)),
        }
        state.process = Process::Frozen;
        state.learns_at = None;
        state.knows_until.get_or_insert(now.elapsed);
        state.away_since = Some(now.elapsed);
        if !state.is_fenced {
            state.silent_since = Some(now.elapsed);
            self.timers.set(now.elapsed.saturating_add(session_timeout), Timer::Fence(node));
        }
        for connection in self.connections_of(node) {
            self.parking.hold(connection);
        }
        self.settle(now);
        Ok(())
    }

    /// SIGCONT: the node executes what waits in its sockets, and what arrives, with what it knew before: it may lead under an epoch that is over,
    /// append under it, and answer acks=1; it can commit nothing that way. After [`ClusterConfig::catch_up`](crate::ClusterConfig::catch_up)
    /// it learns the truth: requests that wait for followers end in NOT_LEADER_OR_FOLLOWER with their base offset, the log is cut to
    /// what the leader has, and it follows.
    pub fn thaw(&mut self, now: Moment, node: NodeId) -> Result<(), SteerError> {
        let learns_at = now.elapsed.saturating_add(self.config.catch_up);
        let state = self.steered(node)?;
        if state.process != Process::Frozen {
            return Err(SteerError::NotFrozen(node));
        }
        state.process = Process::Waking;
        state.learns_at = Some(learns_at);
        state.silent_since = None;
        state.away_since = None;
        self.timers.set(learns_at, Timer::Learn(node));
        self.each_partition(now, |partition, _, _| partition.replica(node).is_some());
        for connection in self.connections_of(node) {
            self.parking.resume(connection);
            self.release(now, connection);
            self.serve_waiting(now, connection);
        }
        self.settle(now);
        Ok(())
    }

    /// Ends the node's process, frozen or not: its connections close, its logs stay. What it leads goes to replicas in sync at once, or after the
    /// session timeout; see [`Stop`].
    pub fn stop(&mut self, now: Moment, node: NodeId, how: Stop) -> Result<(), SteerError> {
        let session_timeout = self.config.session_timeout;
        let state = self.steered(node)?;
        if state.process == Process::Stopped {
            return Err(SteerError::Stopped(node));
        }
        // A frozen process does not hear SIGTERM.
        let is_clean = how == Stop::Clean && state.works();
        if is_clean {
            self.fence(now, node);
            self.settle(now);
        }
        let state = self.nodes.get_mut(node).expect("it was just found");
        state.process = Process::Stopped;
        state.was_killed = !is_clean;
        self.fetch_sessions.remove(&node);
        state.learns_at = None;
        state.knows_until = None;
        state.away_since = Some(now.elapsed);
        if !state.is_fenced && state.silent_since.is_none() {
            state.silent_since = Some(now.elapsed);
            self.timers.set(now.elapsed.saturating_add(session_timeout), Timer::Fence(node));
        }
        for connection in self.connections_of(node) {
            self.close(connection, CloseReason::NodeStopped);
        }
        Ok(())
    }

    /// Begins a stopped node's process anew: of each producer it remembers the last batch only, its logs are cut to what the leaders have, and it
    /// follows. Partitions that had no leader for want of it get one.
    pub fn start(&mut self, now: Moment, node: NodeId) -> Result<(), SteerError> {
        let recovery = Recovery { now, producer_expiry: self.config.producer_expiry };
        if self.steered(node)?.process != Process::Stopped {
            return Err(SteerError::NotStopped(node));
        }
        // A process that registers ends the session of the one before it.
        self.fence(now, node);
        if self.nodes.state(node).was_killed {
            // It may have lost what it had not written to its disk (KIP-966).
            for topic in self.topics.iter_mut() {
                for (index, partition) in (0..).map(PartitionIndex).zip(&mut topic.partitions) {
                    partition.leadership.eligible.retain(|eligible| *eligible != node);
                    self.leadership_changed.insert((topic.id, index));
                }
            }
        }
        self.each_partition(now, |partition, _, _| {
            partition.restart(node, recovery);
            false
        });
        self.admit(now, node);
        self.settle(now);
        Ok(())
    }

    /// From now on the node copies every batch so much later as a follower: acks=all waits for it, and it falls out of sync if that is longer than
    /// `replica.lag.time.max.ms`. `Duration::MAX` is not at all; none ends it. What it leads is not touched.
    pub fn lag(&mut self, now: Moment, node: NodeId, delay: Option<Duration>) -> Result<(), SteerError> {
        self.steered(node)?.lag = delay.filter(|delay| !delay.is_zero());
        self.each_partition(now, |partition, _, _| partition.replica(node).is_some());
        self.settle(now);
        Ok(())
    }

    /// Makes another node the leader, as an administrator's election does: one that is in sync and not fenced, and does not lead already. A frozen
    /// node can be made leader; it does not hear of it before it is thawed.
    pub fn move_leader(
        &mut self,
        now: Moment,
        topic: &str,
        partition: PartitionIndex,
        node: NodeId,
    ) -> Result<(), SteerError> {
        self.elect(now, (topic, partition, node), |found, nodes| match () {
            () if found.leader() == Some(node) => Err(CannotLead::Leads),
            () if found.replica(node).is_none() => Err(CannotLead::NoReplica),
            () if !nodes.is_eligible(node) => Err(CannotLead::Fenced),
            () if !found.isr().contains(&node) => Err(CannotLead::OutOfSync),
            () => Ok(found.leadership.led_by(Some(node))),
        })
    }

    /// Moves a partition's replicas to these nodes, the preferred leader first, as an administrator's reassignment does. It is over when this
    /// returns, unless one of the new nodes copies nothing at the moment or nobody leads: then it goes on by itself.
    pub fn move_replicas(
        &mut self,
        now: Moment,
        topic: &str,
        partition: PartitionIndex,
        nodes: &[NodeId],
    ) -> Result<(), SteerError> {
        self.steered_partition(topic, partition)?;
        if nodes.is_empty() {
            return Err(SteerError::NoReplicas);
        }
        for (at, node) in nodes.iter().enumerate() {
            self.steered(*node)?;
            if nodes[..at].contains(node) {
                return Err(SteerError::ReplicaTwice(*node));
            }
        }
        self.reassign(now, topic, partition, nodes)?;
        self.settle(now);
        Ok(())
    }

    /// Makes a replica the leader that is out of sync and not fenced, as `unclean.leader.election.enable` allows: what it lacks is lost, committed
    /// or not, and the other logs are cut to its own (KIP-101, KIP-279). It alone is in sync then.
    pub fn elect_unclean(
        &mut self,
        now: Moment,
        topic: &str,
        partition: PartitionIndex,
        node: NodeId,
    ) -> Result<(), SteerError> {
        self.elect(now, (topic, partition, node), |found, nodes| match () {
            () if found.replica(node).is_none() => Err(CannotLead::NoReplica),
            () if found.isr().contains(&node) => Err(CannotLead::InSync),
            () if !nodes.is_eligible(node) => Err(CannotLead::Fenced),
            () => Ok(Leadership { isr: vec![node], ..found.leadership.led_by(Some(node)) }),
        })
    }

    fn elect(
        &mut self,
        now: Moment,
        (topic, partition, node): (&str, PartitionIndex, NodeId),
        choose: impl FnOnce(&Partition, &Nodes) -> Result<Leadership, CannotLead>,
    ) -> Result<(), SteerError> {
        self.steered(node)?;
        let (id, found, nodes) = self.steered_partition(topic, partition)?;
        let next = choose(found, nodes).map_err(|why| SteerError::CannotLead {
            node,
            why,
            leader: found.leader(),
            isr: found.isr().to_vec(),
        })?;
        found.decide(now.elapsed, next, nodes);
        self.leadership_changed.insert((id, partition));
        self.replicate(now, id, partition);
        self.settle(now);
        Ok(())
    }

    /// From now on requests that fit meet this fault; see [`Fault`]. Faults are looked at in the order in which they were added.
    pub fn add_fault(&mut self, now: Moment, fault: Fault) -> FaultId {
        self.faults.add(now, fault)
    }

    /// Ends a fault and forgets it: answers that it holds back go out at once. What else it did to requests stays done. None if it is
    /// not known (any more).
    pub fn remove_fault(&mut self, now: Moment, fault: FaultId) -> Option<FaultEntry> {
        let entry = self.faults.remove(now, fault)?;
        self.hold_no_more(now, Some(fault));
        self.settle(now);
        Some(entry)
    }

    /// Ends and forgets all faults, as [`Cluster::remove_fault`] does with one.
    pub fn clear_faults(&mut self, now: Moment) {
        self.faults.clear();
        self.hold_no_more(now, None);
        self.settle(now);
    }

    /// From now on the node's Metadata answers tell leaders, epochs, ISRs and living nodes as they were so long ago; zero ends it. Topics are
    /// told as they are, and so are the leaders in hints (KIP-951). Of each partition the last 16 changes are remembered, of each node the last
    /// one.
    pub fn age_metadata(&mut self, _now: Moment, node: NodeId, age: Duration) -> Result<(), SteerError> {
        self.steered(node)?.metadata_age = age;
        Ok(())
    }

    fn steered(&mut self, node: NodeId) -> Result<&mut NodeState, SteerError> {
        let nodes = self.nodes.ids();
        self.nodes.get_mut(node).ok_or(SteerError::NoSuchNode { node, nodes })
    }

    fn steered_partition(
        &mut self,
        name: &str,
        partition: PartitionIndex,
    ) -> Result<(Uuid, &mut Partition, &Nodes), SteerError> {
        let Self { topics, nodes, .. } = self;
        let topic = topics.named_mut(name).ok_or_else(|| SteerError::NoSuchTopic(name.to_owned()))?;
        let (id, partitions) = (topic.id, topic.partitions.len());
        let missing = || SteerError::NoSuchPartition { topic: name.to_owned(), partition, partitions };
        Ok((id, topic.partition_mut(partition).ok_or_else(missing)?, nodes))
    }

    fn connections_of(&self, node: NodeId) -> Vec<ConnectionId> {
        let of_node = self.connections.iter().filter(|(_, connection)| connection.node == node);
        of_node.map(|(id, _)| *id).collect()
    }
}

/// The truth, for whoever checks.
impl Cluster {
    /// A fault, and how often it has hit. The last 1,000 that are over are remembered.
    pub fn fault(&self, now: Moment, fault: FaultId) -> Option<FaultEntry> {
        self.faults.entry(now, fault)
    }

    /// All faults that are known, in the order in which they were added.
    pub fn faults(&self, now: Moment) -> impl Iterator<Item = FaultEntry> {
        self.faults.entries(now)
    }

    /// How often faults have hit in all. Rises only.
    pub fn fault_hits(&self) -> u64 {
        self.faults.hits()
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.named(name)
    }

    /// A partition.
    pub fn partition(&self, topic: &str, partition: PartitionIndex) -> Option<&Partition> {
        self.topics.named(topic)?.partition(partition)
    }

    /// The log of a partition: its leader's, or that of who led last. What lies behind the high watermark is not committed.
    pub fn log(&self, topic: &str, partition: PartitionIndex) -> Option<&PartitionLog> {
        self.partition(topic, partition).map(Partition::log)
    }

    /// The log as one node has it.
    pub fn log_on(&self, node: NodeId, topic: &str, partition: PartitionIndex) -> Option<&PartitionLog> {
        self.partition(topic, partition)?.log_on(node)
    }

    /// Who leads a partition, as the controller has it. None without such a partition, and while no replica in sync is alive.
    pub fn leader(&self, topic: &str, partition: PartitionIndex) -> Option<NodeId> {
        self.partition(topic, partition)?.leader()
    }

    /// Under which epoch. Rises by one with every change of the leader.
    pub fn leader_epoch(&self, topic: &str, partition: PartitionIndex) -> Option<i32> {
        self.partition(topic, partition).map(Partition::leader_epoch)
    }

    /// The replicas in sync, in the order of the assignment.
    pub fn isr(&self, topic: &str, partition: PartitionIndex) -> Option<&[NodeId]> {
        self.partition(topic, partition).map(Partition::isr)
    }

    /// One past the last committed record, as the owner of [`Cluster::log`] knows it.
    pub fn high_watermark(&self, topic: &str, partition: PartitionIndex) -> Option<i64> {
        self.partition(topic, partition).map(Partition::high_watermark)
    }

    /// The ids of all nodes, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|state| state.node.id)
    }

    /// What a node's process is doing.
    pub fn process(&self, node: NodeId) -> Option<Process> {
        self.nodes.get(node).map(|state| state.process)
    }

    /// Whether the controller counts on a node.
    pub fn is_fenced(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(|state| state.is_fenced)
    }
}
