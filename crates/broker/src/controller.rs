//! What the controller does: fencing, elections, and telling the nodes.
//!
//! The controller is nobody's: it works whatever the nodes do, hears of a dead one after the session timeout only, and its word reaches
//! every node that is awake in the same moment. After each of its decisions followers copy what they can, and who waits is asked
//! (`Cluster::settle`).

use milena_wire::Uuid;

use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::leadership::Election;
use crate::log::Appending;
use crate::moment::Moment;
use crate::nodes::{Nodes, Process};
use crate::partition::Partition;
use crate::replication::Replication;
use crate::timers::Timer;
use crate::topic_config::TopicConfig;
use crate::topics::Topic;

impl Cluster {
    /// A node that has said nothing for the session timeout is not counted on any more.
    pub(crate) fn fence_if_silent(&mut self, now: Moment, node: NodeId) {
        let timeout = self.config.session_timeout;
        let silent_since = self.nodes.state(node).silent_since;
        if silent_since.is_some_and(|since| since.saturating_add(timeout) <= now.elapsed) {
            self.fence(now, node);
        }
    }

    /// Whatever the node leads gets another leader, or none.
    pub(crate) fn fence(&mut self, now: Moment, node: NodeId) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        state.fence(now.elapsed, true);
        state.silent_since = None;
        let renews_epoch = self.config.release.renews_epoch_on_shrink();
        self.each_partition(now, |partition, nodes, config| {
            let mut next = partition.leadership.without(node, partition.replicas(), partition.election(config, nodes));
            if renews_epoch {
                next = partition.leadership.renewed_on_shrink(next);
            }
            partition.decide(now.elapsed, next, nodes)
        });
    }

    /// A node is alive and knows everything: it may lead and be in sync again.
    pub(crate) fn admit(&mut self, now: Moment, node: NodeId) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        state.process = Process::Running;
        state.knows_until = None;
        state.learns_at = None;
        state.silent_since = None;
        state.away_since = None;
        state.fence(now.elapsed, false);
        self.each_partition(now, |partition, nodes, config| {
            partition.tell(node);
            partition.elect_if_leaderless(now, config, nodes) || partition.replica(node).is_some()
        });
    }

    /// A node that woke has caught up.
    pub(crate) fn learn(&mut self, now: Moment, node: NodeId) {
        let state = self.nodes.state(node);
        if state.process == Process::Waking && state.learns_at.is_some_and(|at| at <= now.elapsed) {
            self.admit(now, node);
        }
    }

    /// Followers copy, the ISR and the high watermark follow.
    pub(crate) fn replicate(&mut self, now: Moment, topic: Uuid, index: PartitionIndex) {
        let Some(topic) = self.topics.with_id_mut(topic) else { return };
        let Topic { id, config, partitions, .. } = topic;
        let id = *id;
        let flush = self.config.flush.of_topic(config);
        let at = usize::try_from(index.0).ok();
        let Some(partition) = at.and_then(|at| partitions.get_mut(at)) else { return };
        let replicated = partition.replicate(&Replication {
            nodes: &self.nodes,
            now: now.elapsed,
            appending: Appending { config, flush, now },
            lag_max: self.config.replica_lag_time_max,
            commit_min: commit_min(self.config.strict_min_isr, config, partition),
            renews_epoch_on_shrink: self.config.release.renews_epoch_on_shrink(),
        });
        if let Some(at) = replicated.look_at {
            self.timers.set(at, Timer::Replicate(id, index));
        }
        for at in partition.replicas.iter_mut().filter_map(|replica| replica.log.arm_flush(flush.after)) {
            self.timers.set(at, Timer::Flush(id, index));
        }
        self.chores.discard(&mut self.timers, now.elapsed, config, &mut partition.replicas);
        let is_compacted = config.cleanup.compacts();
        if replicated.isr_changed {
            self.leadership_changed.insert((id, index));
        }
        self.changed.insert(id);
        self.watch_retention(now.elapsed);
        if is_compacted {
            self.watch_compaction(now.elapsed);
        }
        if self.finish_move(now, id, index) {
            self.replicate(now, id, index);
        }
    }

    /// A topic has other settings or more partitions: what depends on them follows, and so does who waits.
    pub(crate) fn follow_settings(&mut self, now: Moment, topic: &str) {
        let Some(topic) = self.topics.named_mut(topic) else { return };
        let (id, count) = (topic.id, topic.partitions.len());
        let min_insync = self.config.eligible_min(&topic.config);
        for (index, partition) in (0..).map(PartitionIndex).zip(&mut topic.partitions) {
            partition.min_insync = min_insync;
            // Fewer that must be in sync commit more: who lacks that is not eligible any more.
            let same = partition.leadership.clone();
            let is_other = partition.decide(now.elapsed, same, &self.nodes);
            if partition.elect_if_leaderless(now, &topic.config, &self.nodes) || is_other {
                self.leadership_changed.insert((id, index));
            }
        }
        for index in (0..).map(PartitionIndex).take(count) {
            self.replicate(now, id, index);
        }
    }

    pub(crate) fn replicate_all(&mut self, now: Moment) {
        self.each_partition(now, |_, _, _| true);
    }

    /// Followers of every partition that is changed copy what they can.
    pub(crate) fn each_partition(
        &mut self,
        now: Moment,
        mut change: impl FnMut(&mut Partition, &Nodes, &TopicConfig) -> bool,
    ) {
        let mut changed = Vec::new();
        for topic in self.topics.iter_mut() {
            for (index, partition) in (0..).map(PartitionIndex).zip(&mut topic.partitions) {
                let before = partition.leadership.clone();
                if change(partition, &self.nodes, &topic.config) {
                    changed.push((topic.id, index));
                }
                if partition.leadership != before {
                    self.leadership_changed.insert((topic.id, index));
                }
            }
        }
        for (topic, index) in changed {
            self.replicate(now, topic, index);
        }
    }
}

impl Partition {
    /// Where nobody leads, somebody may by now. Says whether anything changes.
    fn elect_if_leaderless(&mut self, now: Moment, config: &TopicConfig, nodes: &Nodes) -> bool {
        if self.leader().is_some() {
            return false;
        }
        let next = self.leadership.elected(self.replicas(), self.election(config, nodes));
        self.decide(now.elapsed, next, nodes)
    }

    fn election<'a>(&self, config: &TopicConfig, nodes: &'a Nodes) -> Election<impl Fn(NodeId) -> bool + use<'a>> {
        Election {
            is_unclean: config.unclean_leader_election,
            knows_eligible: self.min_insync.is_some(),
            may_lead: |id| nodes.is_eligible(id),
        }
    }
}

/// How many replicas must be in sync for the high watermark to rise.
fn commit_min(is_strict: bool, config: &TopicConfig, partition: &Partition) -> usize {
    if is_strict { config.min_isr(partition.replicas.len()) } else { 1 }
}
