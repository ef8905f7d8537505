//! What takes long and may be done beside the cluster's thread: compaction, and removing files.
//!
//! The cluster decides what is to be done and gives it out as a value; whoever drives the cluster runs it, on any thread or at once, and brings back
//! what it came to. Only then anything changes, in the order of the calls, so a run can be replayed. One chore is out at a time, and a log that
//! changes meanwhile does not wait: what does not fit it any more is thrown away.
//!
//! What a chore does is in `log/cleaning.rs`, which logs are looked at when in `log_keeping.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::Uuid;

use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::log::{CleaningStep, Discarded, FinishedStep};
use crate::moment::Moment;
use crate::partition::Partition;
use crate::replica::Replica;
use crate::storage::StorageError;
use crate::timers::{Timer, Timers};
use crate::topic_config::TopicConfig;

/// Something to do that takes long, and needs nothing of the cluster. One that is never run, or whose end nobody hears of, is the last one.
#[derive(Debug)]
pub struct Chore(Work);

#[derive(Debug)]
enum Work {
    Clean(LogId, CleaningStep),
    Remove(Discarded),
}

/// What a [`Chore`] came to.
#[derive(Debug)]
pub struct FinishedChore(Option<(LogId, FinishedStep)>);

/// The log of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogId {
    pub(crate) topic: Uuid,
    pub(crate) partition: PartitionIndex,
    pub(crate) node: NodeId,
}

/// What is to be done, and whether somebody does it.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    /// Logs that are looked at one after the other.
    to_compact: VecDeque<LogId>,
    ready: VecDeque<Work>,
    is_out: bool,
    /// What is to be removed, and when, on the monotonic clock. Timers of the same name wake up for it.
    discarded: VecDeque<(Duration, Discarded)>,
}

impl Chores {
    /// What logs of a topic have no use for any more is removed after a while.
    pub(crate) fn discard(
        &mut self,
        timers: &mut Timers,
        now: Duration,
        config: &TopicConfig,
        replicas: &mut [Replica],
    ) {
        for discarded in replicas.iter_mut().filter_map(|replica| replica.log.take_discarded()) {
            let at = now.saturating_add(config.file_delete_delay());
            let behind = self.discarded.partition_point(|(known, _)| *known <= at);
            self.discarded.insert(behind, (at, discarded));
            timers.set(at, Timer::Remove);
        }
    }
}

impl Chore {
    /// Does it, on the calling thread: reads and writes files, or the memory that stands for them. It ends early when nobody wants it any more.
    pub fn run(self) -> FinishedChore {
        match self.0 {
            Work::Clean(of, step) => FinishedChore(Some((of, step.run()))),
            Work::Remove(discarded) => {
                discarded.remove();
                FinishedChore(None)
            }
        }
    }
}

impl Cluster {
    /// The next chore, to be run anywhere; none while one is out. Ask after every call that takes time, as for events. Without chores
    /// everything works but compaction, and files of segments that are gone stay until the next opening.
    ///
    /// ```
    /// # use milena_broker::{Cluster, ClusterConfig, Memory, Moment, Node, NodeId};
    /// # let node = Node { id: NodeId(1), host: "broker".to_owned(), port: 9092 };
    /// # let now = Moment::default();
    /// # let mut cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(Memory), now)?;
    /// cluster.handle_timeout(now);
    /// if let Some(chore) = cluster.poll_chore() {
    ///     let finished = std::thread::spawn(|| chore.run()).join().expect("it does not panic");
    ///     cluster.handle_chore(now, finished);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_chore(&mut self) -> Option<Chore> {
        if self.chores.is_out {
            return None;
        }
        let work = self.chores.ready.pop_front()?;
        self.chores.is_out = true;
        Some(Chore(work))
    }

    /// A chore is done: what came of it takes effect, if it still fits, and the next one may be there.
    pub fn handle_chore(&mut self, now: Moment, finished: FinishedChore) {
        self.chores.is_out = false;
        if let FinishedChore(Some((of, step))) = finished {
            // What failed is tried again at the next look.
            let next = self.with_log(of, |replica, config| replica.log.continue_cleaning(config, step));
            match next {
                Some(Ok(Some(step))) => self.chores.ready.push_back(Work::Clean(of, step)),
                _ => self.compact_next(now),
            }
            self.discard_of(now.elapsed, of);
        }
        self.settle(now);
    }

    /// Runs all chores on this thread, for whoever has no other.
    ///
    /// ```
    /// # use milena_broker::{Cluster, ClusterConfig, Memory, Moment, Node, NodeId};
    /// # let node = Node { id: NodeId(1), host: "broker".to_owned(), port: 9092 };
    /// # let now = Moment::default();
    /// # let mut cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(Memory), now)?;
    /// cluster.handle_timeout(now);
    /// cluster.do_chores(now);
    /// assert!(cluster.poll_chore().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn do_chores(&mut self, now: Moment) {
        while let Some(chore) = self.poll_chore() {
            self.handle_chore(now, chore.run());
        }
    }

    /// All logs of compacted topics are looked at once; then again after a while.
    pub(crate) fn compact(&mut self, now: Moment) {
        let mut logs = VecDeque::new();
        for topic in self.topics.iter().filter(|topic| topic.config.cleanup.compacts()) {
            for (partition, found) in (0..).map(PartitionIndex).zip(&topic.partitions) {
                logs.extend(found.replicas().map(|node| LogId { topic: topic.id, partition, node }));
            }
        }
        self.chores.to_compact = logs;
        self.compact_next(now);
    }

    /// Begins with the next log that is due.
    fn compact_next(&mut self, now: Moment) {
        while let Some(of) = self.chores.to_compact.pop_front() {
            if !self.nodes.state(of.node).works() {
                continue;
            }
            let begin = |replica: &mut Replica, config: &TopicConfig| match config.cleanup.compacts() {
                true => replica.begin_cleaning(config, now),
                false => Ok(None),
            };
            // What cannot be compacted now is at the next look.
            if let Some(Ok(Some(step))) = self.with_log(of, begin) {
                self.chores.ready.push_back(Work::Clean(of, step));
                return;
            }
        }
        self.watches_compaction = false;
        let has_data = self
            .topics
            .iter()
            .any(|topic| topic.config.cleanup.compacts() && topic.partitions.iter().any(Partition::has_data));
        if has_data {
            self.watch_compaction(now.elapsed);
        }
    }

    /// What a log has no use for any more is removed after a while.
    fn discard_of(&mut self, now: Duration, of: LogId) {
        let Some(topic) = self.topics.with_id_mut(of.topic) else { return };
        let config = Arc::clone(&topic.config);
        let Some(partition) = topic.partition_mut(of.partition) else { return };
        self.chores.discard(&mut self.timers, now, &config, &mut partition.replicas);
    }

    pub(crate) fn remove_discarded(&mut self, now: Duration) {
        let chores = &mut self.chores;
        let due = chores.discarded.partition_point(|(at, _)| *at <= now);
        chores.ready.extend(chores.discarded.drain(..due).map(|(_, discarded)| Work::Remove(discarded)));
    }

    /// None where the log is not there any more.
    fn with_log<T>(
        &mut self,
        of: LogId,
        act: impl FnOnce(&mut Replica, &TopicConfig) -> Result<T, StorageError>,
    ) -> Option<Result<T, StorageError>> {
        let topic = self.topics.with_id_mut(of.topic)?;
        let config = Arc::clone(&topic.config);
        let partition = topic.partition_mut(of.partition)?;
        let replica = partition.replicas.iter_mut().find(|replica| replica.node == of.node)?;
        Some(act(replica, &config))
    }
}
