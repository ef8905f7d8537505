//! A topic to be, as its owner asks for it. What is not said is as the cluster makes topics otherwise.

use crate::topic_config::{ConfigError, TopicConfig};

/// A topic that is to be made; see [`Broker::create_topic_with`](crate::Broker::create_topic_with).
///
/// ```
/// use milena_broker::{Broker, BrokerOptions, NewTopic};
///
/// let broker = Broker::start(BrokerOptions::default().nodes(3))?;
/// let orders = NewTopic::new("orders").partitions(6).replication_factor(2).set("min.insync.replicas", "2")?;
/// broker.create_topic_with(orders)?;
/// assert_eq!(broker.isr("orders", 5).map(|isr| isr.len()), Some(2));
/// assert!(NewTopic::new("late").set("retention.ms", "soon").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: Option<i32>,
    pub(crate) replication_factor: Option<i16>,
    pub(crate) config: TopicConfig,
}

impl NewTopic {
    /// As the cluster makes topics whose creator does not say more.
    pub fn new(name: impl Into<String>) -> NewTopic {
        NewTopic { name: name.into(), partitions: None, replication_factor: None, config: TopicConfig::default() }
    }

    /// How many partitions. Default: `BrokerOptions::default_partitions`.
    pub fn partitions(self, partitions: i32) -> NewTopic {
        NewTopic { partitions: Some(partitions), ..self }
    }

    /// How many nodes keep each partition. Default: all, but no more than three.
    pub fn replication_factor(self, factor: i16) -> NewTopic {
        NewTopic { replication_factor: Some(factor), ..self }
    }

    /// A setting by Kafka's name, such as `retention.ms`.
    pub fn set(mut self, name: &str, value: &str) -> Result<NewTopic, ConfigError> {
        self.config.set(name, Some(value))?;
        Ok(self)
    }

    /// All settings at once; those that were set before are gone.
    pub fn config(self, config: TopicConfig) -> NewTopic {
        NewTopic { config, ..self }
    }
}
