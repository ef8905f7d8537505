//! A topic's settings: all that Kafka 4.3 has, by its names, with its defaults. Any other is refused.
//!
//! What the broker acts on has a field here; the others are taken, listed and kept, because nothing that a client can see depends on
//! them: there is no tiered storage, no throttled replication, and files are not preallocated.
//!
//! What each setting may be is in `topic_config/settings.rs`.

mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use milena_wire::records::Compression;

pub(crate) use settings::{INTERNAL_SEGMENT_BYTES, SETTINGS, Setting};

/// How a topic treats what is written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `message.timestamp.type`: who stamps the records.
    pub timestamp_type: TimestampType,
    /// `max.message.bytes`: the largest batch taken.
    pub message_bytes_max: i32,
    /// `min.insync.replicas`: how many replicas must be in sync for acks=all; no more than there are. Default: 1.
    pub min_insync_replicas: i32,
    /// `message.timestamp.before.max.ms`: how far in the past a record's own timestamp may be.
    pub timestamp_before_max: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max: i64,
    /// `compression.type`: how batches are compressed in the log; none for as they came. Default: none.
    pub compression: Option<Compression>,
    /// `cleanup.policy`: what becomes of old records. Default: they are deleted.
    pub cleanup: CleanupPolicy,
    /// `delete.retention.ms`: how long a tombstone outlives the compaction that first saw it. Default: 24 h.
    pub delete_retention: i64,
    /// `flush.messages`: after how many records the log is fsynced. 1 means before every acknowledgement. Default: `i64::MAX`, as the
    /// cluster does; see [`ClusterConfig::flush`](crate::ClusterConfig::flush).
    pub flush_messages: i64,
    /// `flush.ms`: how long a record may wait for an fsync. Default: `i64::MAX`, as the cluster does.
    pub flush_ms: i64,
    /// `index.interval.bytes`: how many bytes of batches lie between two entries of an index. Default: 4096.
    pub index_interval: i32,
    /// `internal.segment.bytes`: a segment size below what `segment.bytes` allows, for tests; Kafka has it for the same reason. Never listed.
    pub segment_bytes_for_tests: Option<i32>,
    /// `max.compaction.lag.ms`: how long a record may stay uncompacted. Default: `i64::MAX`.
    pub compaction_lag_max: i64,
    /// `min.cleanable.dirty.ratio`: how much of a log must be uncompacted before it is compacted. Default: 0.5.
    pub cleanable_ratio_min: Ratio,
    /// `min.compaction.lag.ms`: how long a record stays uncompacted at least. Default: 0.
    pub compaction_lag_min: i64,
    /// `retention.bytes`: how large a partition may grow before its oldest segments go; negative for no limit. Default: −1.
    pub retention_bytes: i64,
    /// `retention.ms`: how old a segment's newest record may be before the segment goes; −1 for no limit. Default: 7 days.
    pub retention_ms: i64,
    /// `segment.bytes`: how large a segment may grow. Only whole segments are deleted or compacted. Default: 1 GiB.
    pub segment_bytes: i32,
    /// `segment.ms`: how much time a segment's records may span. Default: 7 days.
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`: whether a replica out of sync leads where no other is left. Default: no.
    pub unclean_leader_election: bool,
    /// What was set by name, and to what, in the form in which it is listed: a value that is the default counts as set, too.
    pub named: BTreeMap<&'static str, String>,
}

/// What becomes of old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Segments go by age and size.
    Delete,
    /// The last record of each key stays.
    Compact,
    /// Both.
    CompactAndDelete,
    /// Neither: everything stays.
    Keep,
}

impl CleanupPolicy {
    /// Whether segments go by age and size.
    pub fn deletes(self) -> bool {
        matches!(self, CleanupPolicy::Delete | CleanupPolicy::CompactAndDelete)
    }

    /// Whether only the last record of each key stays.
    pub fn compacts(self) -> bool {
        matches!(self, CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete)
    }
}

/// A share of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

/// No share is NaN.
impl Eq for Ratio {}

impl Ratio {
    /// None unless it is from 0 to 1.
    pub fn new(share: f64) -> Option<Ratio> {
        (0.0..=1.0).contains(&share).then_some(Ratio(share))
    }

    /// The share.
    pub fn share(self) -> f64 {
        self.0
    }
}

/// Who stamps the records of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker, on arrival.
    LogAppendTime,
}

/// A setting as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// Its value, as Kafka writes it.
    pub text: String,
    /// Whether it was set by name, or differs from the default.
    pub is_set: bool,
}

/// A setting that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Kafka has no such topic setting.
    Unknown {
        /// Its name.
        name: String,
    },
    /// The value is not one of those allowed.
    Invalid {
        /// Its name.
        name: String,
        /// The value given.
        value: String,
        /// What would be right.
        why: String,
    },
    /// It is given without a value where one is needed.
    Null {
        /// Its name.
        name: String,
    },
    /// `min.compaction.lag.ms` is more than `max.compaction.lag.ms`.
    CompactionLags {
        /// The one.
        min: i64,
        /// The other.
        max: i64,
    },
    /// `remote.storage.enable` is set, and there is none.
    RemoteStorage,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown { name } => write!(f, "Unknown topic config name: {name}"),
            ConfigError::Invalid { name, value, why } => write!(f, "Invalid value {value} for configuration {name}: {why}"),
            ConfigError::Null { name } => write!(f, "Null value not supported for : {name}"),
            ConfigError::CompactionLags { min, max } => {
                write!(f, "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})")
            }
            ConfigError::RemoteStorage => f.write_str(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            timestamp_type: TimestampType::CreateTime,
            message_bytes_max: 1_048_588,
            min_insync_replicas: 1,
            timestamp_before_max: i64::MAX,
            timestamp_after_max: 3_600_000,
            compression: None,
            cleanup: CleanupPolicy::Delete,
            delete_retention: DAY,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval: 4_096,
            segment_bytes_for_tests: None,
            compaction_lag_max: i64::MAX,
            cleanable_ratio_min: Ratio(0.5),
            compaction_lag_min: 0,
            retention_bytes: -1,
            retention_ms: 7 * DAY,
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY,
            unclean_leader_election: false,
            named: BTreeMap::new(),
        }
    }
}

impl TopicConfig {
    /// Sets one by Kafka's name; no value means its default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), ConfigError> {
        let setting = Setting::named(name).ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })?;
        match value {
            None => {
                self.named.remove(setting.name);
                self.assign(setting.name, setting.default);
            }
            Some(value) => {
                let text = setting.read(value)?;
                self.assign(setting.name, &text);
                self.named.insert(setting.name, text);
            }
        }
        Ok(())
    }

    /// Whether the settings go together, and with a broker without tiered storage.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (min, max) = (self.compaction_lag_min, self.compaction_lag_max);
        if min > max {
            return Err(ConfigError::CompactionLags { min, max });
        }
        match self.named.get("remote.storage.enable").map(String::as_str) {
            Some("true") => Err(ConfigError::RemoteStorage),
            _ => Ok(()),
        }
    }

    /// How many replicas must be in sync, of so many.
    pub(crate) fn min_isr(&self, replicas: usize) -> usize {
        usize::try_from(self.min_insync_replicas).unwrap_or(1).min(replicas)
    }

    /// `compression.gzip.level` and its like, for the codec of `compression`; none for a codec without levels.
    pub fn compression_level(&self) -> Option<i32> {
        match self.compression? {
            Compression::Gzip => Some(self.number("compression.gzip.level")),
            Compression::Lz4 => Some(self.number("compression.lz4.level")),
            Compression::Zstd => Some(self.number("compression.zstd.level")),
            _ => None,
        }
    }

    /// `file.delete.delay.ms`: how long a file of a segment that is gone stays under another name. Default: 1 min.
    pub fn file_delete_delay(&self) -> Duration {
        Duration::from_millis(self.number("file.delete.delay.ms"))
    }

    /// One setting as text. None if Kafka has no such setting.
    pub fn value(&self, name: &str) -> Option<ConfigValue> {
        Setting::named(name).map(|setting| self.value_of(setting))
    }

    /// All settings by Kafka's names, in the order of names.
    /// How large a segment may grow.
    pub(crate) fn segment_size(&self) -> u64 {
        u64::try_from(self.segment_bytes_for_tests.unwrap_or(self.segment_bytes)).unwrap_or(0)
    }

    /// All settings by Kafka's names, in one order.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, ConfigValue)> {
        SETTINGS.iter().map(|setting| (setting.name, self.value_of(setting)))
    }

    /// What has to be kept to make the same again.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&'static str, ConfigValue)> {
        let all =
            SETTINGS.iter().chain([&INTERNAL_SEGMENT_BYTES]).map(|setting| (setting.name, self.value_of(setting)));
        all.filter(|(_, value)| value.is_set)
    }

    pub(crate) fn value_of(&self, setting: &Setting) -> ConfigValue {
        let named = self.named.get(setting.name);
        let text = self.text(setting.name).or_else(|| named.cloned()).unwrap_or_else(|| setting.default.to_owned());
        ConfigValue { is_set: named.is_some() || text != setting.default, text }
    }

    /// What has no field of its own.
    fn number<N: std::str::FromStr>(&self, name: &'static str) -> N {
        let default = Setting::named(name).map_or("", |setting| setting.default);
        let text = self.named.get(name).map_or(default, String::as_str);
        text.parse().ok().expect("settings are read before they are kept")
    }

    /// Takes over a value that was read.
    fn assign(&mut self, name: &str, text: &str) {
        match name {
            "message.timestamp.type" => {
                self.timestamp_type =
                    if text == "LogAppendTime" { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
            }
            "max.message.bytes" => self.message_bytes_max = parsed(text),
            "min.insync.replicas" => self.min_insync_replicas = parsed(text),
            "message.timestamp.before.max.ms" => self.timestamp_before_max = parsed(text),
            "message.timestamp.after.max.ms" => self.timestamp_after_max = parsed(text),
            "compression.type" => {
                self.compression = CODECS.iter().find(|(word, _)| *word == text).map(|(_, codec)| *codec)
            }
            "cleanup.policy" => {
                let has = |wanted: &str| text.split(',').any(|policy| policy == wanted);
                self.cleanup = match (has("delete"), has("compact")) {
                    (true, false) => CleanupPolicy::Delete,
                    (false, true) => CleanupPolicy::Compact,
                    (true, true) => CleanupPolicy::CompactAndDelete,
                    (false, false) => CleanupPolicy::Keep,
                };
            }
            "retention.ms" => self.retention_ms = parsed(text),
            "retention.bytes" => self.retention_bytes = parsed(text),
            "segment.bytes" => self.segment_bytes = parsed(text),
            "segment.ms" => self.segment_ms = parsed(text),
            "flush.messages" => self.flush_messages = parsed(text),
            "flush.ms" => self.flush_ms = parsed(text),
            "delete.retention.ms" => self.delete_retention = parsed(text),
            "min.compaction.lag.ms" => self.compaction_lag_min = parsed(text),
            "max.compaction.lag.ms" => self.compaction_lag_max = parsed(text),
            "min.cleanable.dirty.ratio" => {
                self.cleanable_ratio_min =
                    Ratio::new(parsed(text)).expect("settings are read before they are assigned");
            }
            "index.interval.bytes" => self.index_interval = parsed(text),
            "internal.segment.bytes" => self.segment_bytes_for_tests = text.parse().ok(),
            "unclean.leader.election.enable" => self.unclean_leader_election = text == "true",
            _ => {}
        }
    }

    /// The text of what has a field of its own.
    fn text(&self, name: &str) -> Option<String> {
        Some(match name {
            "message.timestamp.type" => match self.timestamp_type {
                TimestampType::CreateTime => "CreateTime".to_owned(),
                TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
            },
            "max.message.bytes" => self.message_bytes_max.to_string(),
            "min.insync.replicas" => self.min_insync_replicas.to_string(),
            "message.timestamp.before.max.ms" => self.timestamp_before_max.to_string(),
            "message.timestamp.after.max.ms" => self.timestamp_after_max.to_string(),
            "compression.type" => {
                let word = CODECS.iter().find(|(_, codec)| Some(*codec) == self.compression).map(|(word, _)| *word);
                word.unwrap_or("producer").to_owned()
            }
            "cleanup.policy" => self.cleanup_text(),
            "retention.ms" => self.retention_ms.to_string(),
            "retention.bytes" => self.retention_bytes.to_string(),
            "segment.bytes" => self.segment_bytes.to_string(),
            "segment.ms" => self.segment_ms.to_string(),
            "flush.messages" => self.flush_messages.to_string(),
            "flush.ms" => self.flush_ms.to_string(),
            "delete.retention.ms" => self.delete_retention.to_string(),
            "min.compaction.lag.ms" => self.compaction_lag_min.to_string(),
            "max.compaction.lag.ms" => self.compaction_lag_max.to_string(),
            "min.cleanable.dirty.ratio" => format!("{:?}", self.cleanable_ratio_min.share()),
            "index.interval.bytes" => self.index_interval.to_string(),
            "internal.segment.bytes" => {
                self.segment_bytes_for_tests.map_or_else(String::new, |bytes| bytes.to_string())
            }
            "unclean.leader.election.enable" => self.unclean_leader_election.to_string(),
            _ => return None,
        })
    }

    /// In the order in which it was given, as Kafka lists it.
    fn cleanup_text(&self) -> String {
        let delete_first = self.named.get("cleanup.policy").is_some_and(|text| text.starts_with("delete"));
        let text = match self.cleanup {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactAndDelete if delete_first => "delete,compact",
            CleanupPolicy::CompactAndDelete => "compact,delete",
            CleanupPolicy::Keep => "",
        };
        text.to_owned()
    }
}

fn parsed<N: std::str::FromStr>(text: &str) -> N {
    text.parse().ok().expect("settings are read before they are assigned")
}

const DAY: i64 = 24 * 60 * 60 * 1_000;
const CODECS: [(&str, Compression); 5] = [
    ("uncompressed", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn other_than_default(setting: &Setting) -> &'static str {
        match setting.name {
            "message.timestamp.type" => "LogAppendTime",
            "compression.type" => "lz4",
            "cleanup.policy" => "delete,compact",
            "min.cleanable.dirty.ratio" => "0.25",
            "segment.bytes" => "2000000",
            name if name.ends_with("replicas") && setting.is_list() => "0:1",
            _ if setting.type_number() == 1 => "true",
            _ => "7",
        }
    }

    #[test]
    fn every_setting_is_set_by_the_name_it_is_listed_under() {
        let mut config = TopicConfig::default();
        for setting in &SETTINGS {
            config.set(setting.name, Some(other_than_default(setting))).expect("a good value");
        }
        for (setting, (name, value)) in SETTINGS.iter().zip(config.entries()) {
            let expected = (setting.name, other_than_default(setting), true);
            assert_eq!((name, value.text.as_str(), value.is_set), expected);
        }
        config.set("internal.segment.bytes", Some("100")).expect("a known setting");
        assert_eq!((config.entries().count(), config.kept().count()), (33, 34));
        for setting in SETTINGS.iter().chain([&INTERNAL_SEGMENT_BYTES]) {
            config.set(setting.name, None).expect("a known setting");
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn fields_of_the_default_are_what_is_listed() {
        for (name, value) in TopicConfig::default().entries() {
            let default = Setting::named(name).expect("it is listed").default;
            assert_eq!((value.text.as_str(), value.is_set), (default, false), "{name}");
        }
    }

    #[test]
    fn value_that_is_the_default_counts_as_set() {
        let mut config = TopicConfig::default();
        config.set("retention.ms", Some("604800000")).expect("a good value");
        assert!(config.value("retention.ms").is_some_and(|value| value.is_set));
        let by_field = TopicConfig { retention_ms: 5, ..TopicConfig::default() };
        assert_eq!(by_field.value("retention.ms"), Some(ConfigValue { text: "5".to_owned(), is_set: true }));
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let mut config = TopicConfig::default();
        config.set("max.compaction.lag.ms", Some("1")).expect("a good value");
        assert_eq!(config.check(), Ok(()));
        config.set("min.compaction.lag.ms", Some("100")).expect("a good value");
        assert_eq!(config.check(), Err(ConfigError::CompactionLags { min: 100, max: 1 }));
        let mut config = TopicConfig::default();
        config.set("remote.storage.enable", Some("true")).expect("a good value");
        assert_eq!(config.check(), Err(ConfigError::RemoteStorage));
    }

    #[test]
    fn refusal_names_the_setting() {
        let error = TopicConfig::default().set("clean.policy", Some("compact")).expect_err("Kafka has none of it");
        assert_eq!(error.to_string(), "Unknown topic config name: clean.policy");
    }
}
