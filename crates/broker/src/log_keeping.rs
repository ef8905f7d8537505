//! What is done to logs by and by: fsyncs that are due, old segments, records that a client wants gone, and the end.
//!
//! What each of them does to one log is in `log/`; here is when, and to which.

use std::sync::Arc;
use std::time::Duration;

use milena_wire::{ErrorCode, Uuid};

use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::replica::Replica;
use crate::storage::StorageError;
use crate::timers::Timer;

impl Cluster {
    /// Closes the logs, so that the next opening of the same storage need not read them. Nothing is to be asked of the cluster afterwards. Without
    /// it nothing is lost that would not be lost in a crash, and the next opening reads the last segment of each log.
    pub fn close_logs(&mut self) -> Result<(), StorageError> {
        let partitions = self.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let mut replicas: Vec<&mut Replica> = partitions.flat_map(|partition| &mut partition.replicas).collect();
        for some in replicas.chunks_mut(CLOSED_AT_ONCE) {
            let mut begun = Vec::new();
            for replica in some {
                if replica.begin_close()? {
                    begun.push(replica);
                }
            }
            begun.into_iter().try_for_each(|replica| replica.log.finish_close())?;
        }
        self.storage.note_clean_stop()
    }

    /// Deletes the records of a partition before an offset; −1 stands for the high watermark. The answer is the smallest offset that is left on any
    /// replica that works, once its leader and those have deleted.
    pub(crate) fn delete_records_before(
        &mut self,
        now: Moment,
        node: NodeId,
        (topic, partition): (&str, PartitionIndex),
        offset: i64,
    ) -> Result<i64, ErrorCode> {
        let topic = self.topics.named_mut(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let (id, config) = (topic.id, Arc::clone(&topic.config));
        let found = topic.partition_mut(partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let start = found.delete_records_before(node, offset, &config)?;
        self.replicate(now, id, partition);
        let found = self.topics.with_id(id).and_then(|topic| topic.partition(partition));
        let works = |node| self.nodes.state(node).works();
        let replicas = found.into_iter().flat_map(|partition| &partition.replicas);
        let starts = replicas.filter(|replica| works(replica.node)).map(|replica| replica.log.start_offset());
        Ok(starts.min().unwrap_or(start))
    }

    pub(crate) fn flush_due(&mut self, now: Moment, topic: Uuid, index: PartitionIndex) {
        let Some(topic) = self.topics.with_id_mut(topic) else { return };
        let (id, after) = (topic.id, self.config.flush.of_topic(&topic.config).after);
        let Some(partition) = topic.partition_mut(index) else { return };
        for replica in &mut partition.replicas {
            replica.log.flush_if_due(now.elapsed, after);
            if let Some(at) = replica.log.arm_flush(after) {
                self.timers.set(at, Timer::Flush(id, index));
            }
        }
    }

    /// From the first record on, logs are looked at in fixed intervals.
    pub(crate) fn watch_retention(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.watches_retention, true) {
            let interval = self.config.retention_check.max(Duration::from_millis(1));
            self.timers.set(now.saturating_add(interval), Timer::Retain);
        }
    }

    /// From the first record of a compacted topic on, logs are looked at in fixed intervals.
    pub(crate) fn watch_compaction(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.watches_compaction, true) {
            let interval = self.config.cleaner_backoff.max(Duration::from_millis(1));
            self.timers.set(now.saturating_add(interval), Timer::Compact);
        }
    }

    /// Looks for segments that are too old or too much now, whenever the next look is due.
    pub fn retain_now(&mut self, now: Moment) {
        self.retain(now);
        self.settle(now);
    }

    pub(crate) fn retain(&mut self, now: Moment) {
        let mut has_data = false;
        for topic in self.topics.iter_mut() {
            for partition in &mut topic.partitions {
                partition.retain(&topic.config, now, &self.nodes);
                self.chores.discard(&mut self.timers, now.elapsed, &topic.config, &mut partition.replicas);
                has_data |= partition.has_data();
            }
        }
        self.watches_retention = false;
        if has_data {
            self.watch_retention(now.elapsed);
        }
    }
}

/// A file system takes about as long for a few fsyncs at once as for one; each has a thread or two meanwhile.
const CLOSED_AT_ONCE: usize = 32;
