//! Which release of Kafka a cluster behaves as.
//!
//! What each one serves is in `release/table.rs`, generated from its own jar. What it does differently is here, one method for each
//! difference that a client can see. Beyond the versions of messages, brokers of different releases differ little to a producer.

mod table;

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use milena_wire::ApiKey;

use crate::topic_config::{ConfigError, ConfigValue, SETTINGS, Setting, TopicConfig};

/// A release of Kafka, without its last number: patches change no protocol.
///
/// Until 3.2 it is a cluster with ZooKeeper as clients see it, from 3.3 on one without. Versions of messages that only clients older than
/// Kafka 2.1 need (KIP-896) are served by no release here.
///
/// ```
/// use milena_broker::KafkaRelease;
///
/// assert_eq!("3.9".parse(), Ok(KafkaRelease::V3_9));
/// assert_eq!("3.9.2".parse(), Ok(KafkaRelease::V3_9));
/// assert!("1.1".parse::<KafkaRelease>().is_err());
/// assert!(KafkaRelease::V2_8 < KafkaRelease::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "their names say it")]
#[non_exhaustive]
pub enum KafkaRelease {
    V2_8,
    V3_0,
    V3_1,
    V3_2,
    V3_3,
    V3_4,
    V3_5,
    V3_6,
    V3_7,
    V3_8,
    V3_9,
    V4_0,
    V4_1,
    V4_2,
    #[default]
    V4_3,
}

use KafkaRelease::*;

impl KafkaRelease {
    /// All of them, ascending.
    ///
    /// ```
    /// assert!(milena_broker::KafkaRelease::ALL.is_sorted());
    /// ```
    pub const ALL: [KafkaRelease; 15] =
        [V2_8, V3_0, V3_1, V3_2, V3_3, V3_4, V3_5, V3_6, V3_7, V3_8, V3_9, V4_0, V4_1, V4_2, V4_3];

    /// The versions of an API that its brokers serve and that there are messages for; none if they do not serve it.
    pub(crate) fn versions(self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        let row = table::APIS.binary_search_by_key(&api, |(key, _)| *key).ok()?;
        let (_, changes) = table::APIS[row];
        let (_, served) = changes.iter().rev().find(|(since, _)| *since <= self)?;
        let ((min, max), known) = ((*served)?, api.stable_versions()?);
        let both = min.max(*known.start())..=max.min(*known.end());
        (!both.is_empty()).then_some(both)
    }

    /// The settings of topics that it has, in the order of names.
    pub(crate) fn topic_settings(self) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(move |setting| self.has_topic_setting(setting.name))
    }

    /// Refuses a setting that other releases have; a name that none has is not judged here.
    pub(crate) fn check_topic_setting(self, name: &str) -> Result<(), ConfigError> {
        if self.has_topic_setting(name) { Ok(()) } else { Err(ConfigError::Unknown { name: name.to_owned() }) }
    }

    fn has_topic_setting(self, name: &str) -> bool {
        let row = table::TOPIC_SETTINGS.iter().find(|(known, ..)| *known == name);
        row.is_none_or(|(_, since, until)| (*since..=*until).contains(&self))
    }

    /// What a setting of a topic is unless it is set. Until 4.0 a record could lie any time ahead of the broker's clock (KIP-1030).
    pub(crate) fn default_of(self, setting: &Setting) -> &'static str {
        if self < V4_0 && setting.name == TIMESTAMP_AFTER_MAX { "9223372036854775807" } else { setting.default }
    }

    /// A setting of a topic as text.
    pub(crate) fn value_of(self, setting: &Setting, config: &TopicConfig) -> ConfigValue {
        let value = config.value_of(setting);
        if value.is_set { value } else { ConfigValue { text: self.default_of(setting).to_owned(), is_set: false } }
    }

    /// How far in the future a topic's records may lie: where that is not set, as the release has it.
    pub(crate) fn timestamp_after_max(self, config: &TopicConfig) -> i64 {
        let is_set = || config.value(TIMESTAMP_AFTER_MAX).is_some_and(|value| value.is_set);
        if self < V4_0 && !is_set() { i64::MAX } else { config.timestamp_after_max }
    }

    /// Whether the high watermark waits while fewer replicas than `min.insync.replicas` are in sync (KIP-966).
    pub(crate) fn is_min_isr_strict(self) -> bool {
        self >= V3_7
    }

    /// Whether a leader gets a new epoch when a follower falls out of sync: the first releases without ZooKeeper did that, and
    /// clients saw batches refused that nobody had led anywhere else (KAFKA-15021).
    pub(crate) fn renews_epoch_on_shrink(self) -> bool {
        (V3_3..=V3_5).contains(&self)
    }

    /// How long producers are remembered unless it is configured: as long as transactional ids, until they got a setting of their own
    /// (KIP-854).
    pub(crate) fn producer_expiry(self) -> Duration {
        let days = if self >= V3_4 { 1 } else { 7 };
        Duration::from_secs(days * 24 * 60 * 60)
    }
}

const TIMESTAMP_AFTER_MAX: &str = "message.timestamp.after.max.ms";

impl fmt::Display for KafkaRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = match *self as u8 {
            0 => (2, 8),
            number if *self < V4_0 => (3, number - V3_0 as u8),
            number => (4, number - V4_0 as u8),
        };
        write!(f, "{major}.{minor}")
    }
}

/// There is no such release, or none that a cluster can behave as.
///
/// ```
/// let error = "0.11".parse::<milena_broker::KafkaRelease>().unwrap_err();
/// assert!(error.to_string().contains("there are 2.8, 3.0"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRelease {
    said: String,
}

impl fmt::Display for UnknownRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<String> = KafkaRelease::ALL.iter().map(KafkaRelease::to_string).collect();
        write!(f, "{:?} is no release that a cluster can behave as; there are {}", self.said, known.join(", "))
    }
}

impl std::error::Error for UnknownRelease {}

/// `3.9`, or with the number of a patch behind it.
impl FromStr for KafkaRelease {
    type Err = UnknownRelease;

    fn from_str(text: &str) -> Result<Self, UnknownRelease> {
        let is_patch = |rest: &str| rest.strip_prefix('.').is_some_and(|patch| patch.parse::<u8>().is_ok());
        let names = |release: &&KafkaRelease| {
            text.strip_prefix(release.to_string().as_str()).is_some_and(|rest| rest.is_empty() || is_patch(rest))
        };
        Self::ALL.iter().find(names).copied().ok_or_else(|| UnknownRelease { said: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_told_which_there_are() {
        for release in KafkaRelease::ALL {
            assert_eq!(release.to_string().parse(), Ok(release));
            assert_eq!(format!("{release}.2").parse(), Ok(release));
        }
        for wrong in ["", "4", "4.", "4.30", "4.3.", "4.3.x", "5.0", "2.7", "4.3.1.1", "v4.3"] {
            let error = wrong.parse::<KafkaRelease>().expect_err(wrong).to_string();
            assert!(error.contains("there are 2.8, 3.0") && error.ends_with("4.2, 4.3"), "{error}");
        }
    }

    #[test]
    fn the_newest_release_serves_every_stable_version_of_its_definitions() {
        let served = crate::api::SERVED.iter().map(|api| (*api, KafkaRelease::V4_3.versions(*api)));
        for (api, versions) in served {
            assert_eq!(versions, api.stable_versions(), "{api}");
        }
    }

    #[test]
    fn earlier_releases_serve_what_their_definitions_say() {
        assert_eq!(V2_8.versions(ApiKey::PRODUCE), Some(3..=9));
        assert_eq!(V3_6.versions(ApiKey::PRODUCE), Some(3..=9));
        assert_eq!(V3_7.versions(ApiKey::PRODUCE), Some(3..=10));
        assert_eq!(V4_1.versions(ApiKey::PRODUCE), Some(3..=13));
        assert_eq!(V3_0.versions(ApiKey::FETCH), Some(4..=12), "topic ids came with 3.1");
        assert_eq!(V3_7.versions(ApiKey::DESCRIBE_TOPIC_PARTITIONS), None);
        assert_eq!(V3_2.versions(ApiKey::CREATE_DELEGATION_TOKEN), Some(1..=2));
        assert_eq!(V3_3.versions(ApiKey::CREATE_DELEGATION_TOKEN), None, "without ZooKeeper it came back with 3.6");
        assert_eq!(V4_3.versions(ApiKey::LEADER_AND_ISR), None);
    }

    #[test]
    fn settings_of_topics_come_and_go() {
        assert!(!V3_5.has_topic_setting("message.timestamp.after.max.ms"));
        assert!(V3_6.has_topic_setting("message.timestamp.after.max.ms"));
        assert!(V3_9.has_topic_setting("message.timestamp.difference.max.ms"));
        assert!(!V4_0.has_topic_setting("message.timestamp.difference.max.ms"));
        assert!(V2_8.has_topic_setting("retention.ms") && V4_3.has_topic_setting("retention.ms"));
    }
}
