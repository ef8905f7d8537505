//! The topics of a cluster, by name and by id.
//!
//! Both ways in lead to the same topic: a name has at most one id, and an id is never given twice. Names obey Kafka's rules.
//! Iteration is by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use milena_wire::Uuid;

use crate::ids::PartitionIndex;
use crate::partition::Partition;
use crate::topic_config::TopicConfig;

/// One topic.
#[derive(Debug)]
pub struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    /// Shared by the requests that it is looked up for.
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id; a topic of the same name that comes later has another one.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its settings.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// Its partitions, by index.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// One of its partitions. Indexes come from the network and may be anything.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, index: PartitionIndex) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index.0).ok()?)
    }
}

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_id: BTreeMap<Uuid, Topic>,
    ids: BTreeMap<String, Uuid>,
    /// The name that metrics would have, and the topic's.
    metric_names: BTreeSet<(String, String)>,
}

impl Topics {
    pub(crate) fn named(&self, name: &str) -> Option<&Topic> {
        self.by_id.get(self.ids.get(name)?)
    }

    pub(crate) fn named_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_id.get_mut(self.ids.get(name)?)
    }

    pub(crate) fn with_id(&self, id: Uuid) -> Option<&Topic> {
        self.by_id.get(&id)
    }

    pub(crate) fn with_id_mut(&mut self, id: Uuid) -> Option<&mut Topic> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn insert(&mut self, topic: Topic) {
        self.ids.insert(topic.name.clone(), topic.id);
        self.metric_names.insert((metric_name(&topic.name), topic.name.clone()));
        self.by_id.insert(topic.id, topic);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Topic> {
        self.metric_names.remove(&(metric_name(name), name.to_owned()));
        self.by_id.remove(&self.ids.remove(name)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.ids.values().filter_map(|id| self.by_id.get(id))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_id.values_mut()
    }

    /// A topic whose metric names would be the same: Kafka takes `.` and `_` for one there.
    pub(crate) fn colliding(&self, name: &str) -> Option<&str> {
        let wanted = metric_name(name);
        let same = self.metric_names.range((wanted.clone(), String::new())..);
        same.take_while(|(of, _)| *of == wanted).map(|(_, known)| known.as_str()).find(|known| *known != name)
    }
}

fn metric_name(name: &str) -> String {
    name.replace('.', "_")
}

/// Why a name cannot be a topic's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicNameError {
    /// Nothing there.
    Empty,
    /// `.` or `..`, which name folders.
    Dots(String),
    /// Longer than [`NAME_LENGTH_MAX`].
    TooLong(String),
    /// A character that Kafka does not allow.
    Character(String),
}

/// In Kafka's words.
impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topic name is invalid: ")?;
        match self {
            TopicNameError::Empty => f.write_str("the empty string is not allowed"),
            TopicNameError::Dots(name) => write!(f, "'{name}' is not allowed"),
            TopicNameError::TooLong(name) => {
                write!(f, "the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}")
            }
            TopicNameError::Character(name) => {
                write!(f, "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
            }
        }
    }
}

/// Kafka's rules for topic names.
pub(crate) fn check_name(name: &str) -> Result<(), TopicNameError> {
    let is_bad = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-');
    match name {
        "" => Err(TopicNameError::Empty),
        "." | ".." => Err(TopicNameError::Dots(name.to_owned())),
        long if long.encode_utf16().count() > NAME_LENGTH_MAX => Err(TopicNameError::TooLong(name.to_owned())),
        odd if odd.contains(is_bad) => Err(TopicNameError::Character(name.to_owned())),
        _ => Ok(()),
    }
}

/// Kafka's limit: a folder name, with room for the partition's number.
pub const NAME_LENGTH_MAX: usize = 249;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_obey_kafkas_rules() {
        assert_eq!(check_name("orders.v1_eu-WEST"), Ok(()));
        assert_eq!(check_name("..."), Ok(()));
        assert_eq!(check_name(""), Err(TopicNameError::Empty));
        for dots in [".", ".."] {
            assert_eq!(check_name(dots), Err(TopicNameError::Dots(dots.to_owned())));
        }
        for odd in ["a b", "../etc", "größe"] {
            assert_eq!(check_name(odd), Err(TopicNameError::Character(odd.to_owned())));
        }
        assert_eq!(check_name(&"x".repeat(249)), Ok(()));
        assert_eq!(check_name(&"x".repeat(250)), Err(TopicNameError::TooLong("x".repeat(250))));
    }
}
