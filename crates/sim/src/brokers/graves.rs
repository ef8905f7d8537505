//! Logs of topics that were deleted, and what lies in a log: the truth for the checker.

use milena_broker::{Cluster, PartitionIndex, SteerError};
use milena_wire::records::Record as LogRecord;

use crate::history::Place;
use crate::stage::Stage;

/// A partition's log as it was when its topic was deleted.
#[derive(Debug)]
pub(crate) struct Grave {
    pub(crate) place: Place,
    pub(crate) committed: i64,
    pub(crate) records: Vec<LogRecord>,
}

/// A log that can be read.
pub(crate) struct Lying {
    pub(crate) place: Place,
    /// What lies from here on is not committed.
    pub(crate) committed: i64,
    pub(crate) records: Result<Vec<LogRecord>, String>,
}

/// What the leaders of a topic's partitions hold.
pub(crate) fn logs_of(stage: &Stage, cluster: &Cluster, number: usize) -> Vec<Lying> {
    let topic = &stage.scenario.topics[number];
    let lying = |index| {
        let log = cluster.log(&topic.name, PartitionIndex(index))?;
        let committed = cluster.high_watermark(&topic.name, PartitionIndex(index))?;
        let mut records = Vec::new();
        for entry in &log.batches().expect("a log in memory reads") {
            match log.read_batch(entry) {
                Ok(batch) => records.extend(batch.records().filter_map(Result::ok)),
                Err(error) => {
                    return Some(Lying { place: (number, index), committed, records: Err(format!("{error:?}")) });
                }
            }
        }
        Some(Lying { place: (number, index), committed, records: Ok(records) })
    };
    (0..topic.partitions).filter_map(lying).collect()
}

impl super::Brokers {
    /// Deletes a topic; what its log held stays known to the checker.
    pub(crate) fn delete_topic(&mut self, stage: &Stage, number: usize) {
        let logs = logs_of(stage, &self.cluster, number);
        self.graves.extend(logs.into_iter().map(|lying| Grave {
            place: lying.place,
            committed: lying.committed,
            records: lying.records.unwrap_or_default(),
        }));
        let name = &stage.scenario.topics[number].name;
        let deleted = self.cluster.delete_topic(stage.broker_clock(), name);
        assert!(!matches!(deleted, Err(SteerError::Storage(_))), "a topic in memory can be deleted");
    }

    /// Every log there is or was.
    pub(crate) fn logs(&self, stage: &Stage) -> Vec<Lying> {
        let buried = self.graves.iter().map(|grave| Lying {
            place: grave.place,
            committed: grave.committed,
            records: Ok(grave.records.clone()),
        });
        let there = (0..stage.scenario.topics.len()).flat_map(|number| logs_of(stage, &self.cluster, number));
        buried.chain(there).collect()
    }
}
