//! When the catalogue is saved, and what of it: what changes, before anybody is told.
//!
//! Who leads is saved too, but what was decided stays decided if that fails: then everything is saved with the next change.

use std::collections::BTreeSet;

use crate::catalogue::{Catalogue, CatalogueChange, PartitionEntry, TopicEntry};
use crate::cluster::Cluster;
use crate::ids::ProducerId;
use crate::partition::Partition;
use crate::storage::StorageError;
use crate::topics::Topic;

impl Cluster {
    pub(crate) fn take_producer_id(&mut self) -> Result<ProducerId, StorageError> {
        if let Some(reserved) = self.producer_ids.reservation() {
            let before = self.producer_ids.reserved();
            self.producer_ids.reserve(reserved);
            let saved = self.save_changes(&[CatalogueChange::ProducerIds(reserved)]);
            if saved.is_err() {
                self.producer_ids.reserve(before);
            }
            saved?;
        }
        Ok(self.producer_ids.take())
    }

    /// A topic is new, or has other settings or partitions.
    pub(crate) fn save_topic(&mut self, name: &str) -> Result<(), StorageError> {
        let topic = self.topics.named(name).expect("a topic that is saved is there");
        let change = CatalogueChange::Topic { name: name.to_owned(), entry: self.topic_entry(topic) };
        self.save_changes(&[change])
    }

    pub(crate) fn save_changes(&mut self, changes: &[CatalogueChange]) -> Result<(), StorageError> {
        let is_saved = !self.is_catalogue_behind && self.storage.save_changes(changes)?;
        if is_saved { Ok(()) } else { self.save_catalogue() }
    }

    pub(crate) fn save_catalogue(&mut self) -> Result<(), StorageError> {
        let catalogue = self.catalogue();
        self.storage.save_catalogue(&catalogue)?;
        self.is_catalogue_behind = false;
        Ok(())
    }

    /// Who leads and who is in sync, where that has changed.
    pub(crate) fn save_leadership(&mut self) {
        let changed = std::mem::take(&mut self.leadership_changed);
        if changed.is_empty() {
            return;
        }
        let found = |(id, index)| Some((self.topics.with_id(id)?, index));
        let topic_of =
            |topic: &Topic| CatalogueChange::Topic { name: topic.name.clone(), entry: self.topic_entry(topic) };
        let changes: Vec<_> = match self.nodes.len() {
            // Its partitions have a line together.
            1 => {
                let topics: BTreeSet<_> = changed.into_iter().map(|(id, _)| id).collect();
                topics.into_iter().filter_map(|id| self.topics.with_id(id)).map(topic_of).collect()
            }
            _ => {
                let changed = changed.into_iter().filter_map(found);
                changed
                    .filter_map(|(topic, index)| {
                        let entry = self.partition_entry(topic.partition(index)?);
                        Some(CatalogueChange::Partition { name: topic.name.clone(), index, entry })
                    })
                    .collect()
            }
        };
        // The leaders are what they are, saved or not.
        self.is_catalogue_behind |= !changes.is_empty() && self.save_changes(&changes).is_err();
    }

    fn partition_entry(&self, partition: &Partition) -> PartitionEntry {
        let has_one_node = self.nodes.len() == 1;
        PartitionEntry {
            leader_epoch: partition.leader_epoch(),
            replicas: if has_one_node { Vec::new() } else { partition.replicas().collect() },
            isr: if has_one_node { Vec::new() } else { partition.isr().to_vec() },
            eligible: if has_one_node { Vec::new() } else { partition.leadership.eligible.clone() },
            last_known: partition.leadership.last_known.filter(|_| !has_one_node),
            adding: partition.moving.adding.clone(),
            removing: partition.moving.removing.clone(),
        }
    }

    fn topic_entry(&self, topic: &Topic) -> TopicEntry {
        TopicEntry {
            id: topic.id,
            partitions: topic.partitions.iter().map(|partition| self.partition_entry(partition)).collect(),
            config: topic.config.as_ref().clone(),
        }
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue {
            nodes: self.nodes.len(),
            cluster_id: self.cluster_id.clone(),
            producer_ids_reserved: self.producer_ids.reserved(),
            quotas: self.quotas.clone(),
            topics: self.topics.iter().map(|topic| (topic.name.clone(), self.topic_entry(topic))).collect(),
        }
    }
}
