//! A topic's settings: the few of Kafka's that this broker acts on. Any other is refused by name.
//!
//! Names, values and defaults are Kafka 4.3's. A setting that would be taken and ignored is worse than a refusal.

use std::fmt;

/// How a topic treats what is written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
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
    /// `max.message.bytes`: the largest batch taken.
    pub message_bytes_max: i32,
    /// `message.timestamp.type`: who stamps the records.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a record's own timestamp may be.
    pub timestamp_before_max: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max: i64,
    /// `min.cleanable.dirty.ratio`: how much of a log must be uncompacted before it is compacted. Default: 0.5.
    pub cleanable_ratio_min: Ratio,
    /// `min.compaction.lag.ms`: how long a record stays uncompacted at least. Default: 0.
    pub compaction_lag_min: i64,
    /// `min.insync.replicas`: how many replicas must be in sync for acks=all; no more than there are. Default: 1.
    pub min_insync_replicas: i32,
    /// `retention.bytes`: how large a partition may grow before its oldest segments go; −1 for no limit. Default: −1.
    pub retention_bytes: i64,
    /// `retention.ms`: how old a segment's newest record may be before the segment goes; −1 for no limit. Default: 7 days.
    pub retention_ms: i64,
    /// `segment.bytes`: how large a segment may grow. Only whole segments are deleted or compacted. Default: 1 GiB.
    pub segment_bytes: i32,
    /// `segment.ms`: how much time a segment's records may span. Default: 7 days.
    pub segment_ms: i64,
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
    /// Whether it differs from the default.
    pub is_set: bool,
}

/// A setting that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// This broker does not act on it.
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
        wanted: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown { name } => {
                write!(f, "topic config {name} is not supported by this broker; leave it out, or use one of")?;
                SETTINGS.iter().try_for_each(|known| write!(f, " {}", known.name))
            }
            ConfigError::Invalid { name, value, wanted } => {
                write!(f, "topic config {name} cannot be {value}; use {wanted}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            cleanup: CleanupPolicy::Delete,
            delete_retention: DAY,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval: 4_096,
            segment_bytes_for_tests: None,
            compaction_lag_max: i64::MAX,
            message_bytes_max: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: i64::MAX,
            timestamp_after_max: 3_600_000,
            cleanable_ratio_min: Ratio(0.5),
            compaction_lag_min: 0,
            min_insync_replicas: 1,
            retention_bytes: -1,
            retention_ms: 7 * DAY,
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY,
        }
    }
}

impl TopicConfig {
    /// Sets one by Kafka's name; no value means its default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), ConfigError> {
        let known = SETTINGS.iter().chain([&INTERNAL_SEGMENT_BYTES]).find(|setting| setting.name == name);
        let Some(setting) = known else { return Err(ConfigError::Unknown { name: name.to_owned() }) };
        let default = (setting.get)(&TopicConfig::default());
        let text = value.unwrap_or(&default);
        (setting.set)(self, text).ok_or_else(|| ConfigError::Invalid {
            name: name.to_owned(),
            value: text.to_owned(),
            wanted: setting.wanted,
        })
    }

    /// What only shows when all are set: Kafka refuses a compaction that must come before it may.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.compaction_lag_min <= self.compaction_lag_max {
            return Ok(());
        }
        Err(ConfigError::Invalid {
            name: "min.compaction.lag.ms".to_owned(),
            value: self.compaction_lag_min.to_string(),
            wanted: "no more than max.compaction.lag.ms",
        })
    }

    /// How many replicas must be in sync, of so many.
    pub(crate) fn min_isr(&self, replicas: usize) -> usize {
        usize::try_from(self.min_insync_replicas).unwrap_or(1).min(replicas)
    }

    /// All settings by Kafka's names, in one order.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, ConfigValue)> {
        SETTINGS.iter().map(|setting| setting.entry(self))
    }

    /// What has to be kept to make the same again.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&'static str, ConfigValue)> {
        let all = SETTINGS.iter().chain([&INTERNAL_SEGMENT_BYTES]).map(|setting| setting.entry(self));
        all.filter(|(_, value)| value.is_set)
    }
}

/// A setting's name, and its way from text and back.
struct Setting {
    name: &'static str,
    wanted: &'static str,
    get: fn(&TopicConfig) -> String,
    /// None, and nothing changed, if the value is not one of those wanted.
    set: fn(&mut TopicConfig, &str) -> Option<()>,
}

impl Setting {
    fn entry(&self, config: &TopicConfig) -> (&'static str, ConfigValue) {
        let text = (self.get)(config);
        (self.name, ConfigValue { is_set: text != (self.get)(&TopicConfig::default()), text })
    }
}

/// A number from `least` on.
fn number<N: std::str::FromStr + PartialOrd>(text: &str, least: N) -> Option<N> {
    text.parse().ok().filter(|number| *number >= least)
}

macro_rules! number_setting {
    ($name:literal, $field:ident, $least:literal, $wanted:expr) => {
        Setting {
            name: $name,
            wanted: $wanted,
            get: |config| config.$field.to_string(),
            set: |config, text| number(text, $least).map(|number| config.$field = number),
        }
    };
}

/// By name.
const SETTINGS: [Setting; 17] = [
    Setting {
        name: "cleanup.policy",
        wanted: "delete, compact or compact,delete",
        get: |config| {
            let text = match config.cleanup {
                CleanupPolicy::Delete => "delete",
                CleanupPolicy::Compact => "compact",
                CleanupPolicy::CompactAndDelete => "compact,delete",
            };
            text.to_owned()
        },
        set: |config, text| {
            let words: Vec<&str> = text.split(',').map(str::trim).collect();
            config.cleanup = match words[..] {
                ["delete"] => CleanupPolicy::Delete,
                ["compact"] => CleanupPolicy::Compact,
                ["compact", "delete"] | ["delete", "compact"] => CleanupPolicy::CompactAndDelete,
                _ => return None,
            };
            Some(())
        },
    },
    number_setting!("delete.retention.ms", delete_retention, 0, MILLISECONDS),
    number_setting!("flush.messages", flush_messages, 1, "a number of records from 1"),
    number_setting!("flush.ms", flush_ms, 0, MILLISECONDS),
    number_setting!("index.interval.bytes", index_interval, 0, BYTES),
    number_setting!("max.compaction.lag.ms", compaction_lag_max, 1, MILLISECONDS_FROM_1),
    number_setting!("max.message.bytes", message_bytes_max, 0, BYTES),
    number_setting!("message.timestamp.after.max.ms", timestamp_after_max, 0, MILLISECONDS),
    number_setting!("message.timestamp.before.max.ms", timestamp_before_max, 0, MILLISECONDS),
    Setting {
        name: "message.timestamp.type",
        wanted: "CreateTime or LogAppendTime",
        get: |config| {
            let text = match config.timestamp_type {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            };
            text.to_owned()
        },
        set: |config, text| {
            config.timestamp_type = match text {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        wanted: "a share from 0 to 1",
        get: |config| format!("{:?}", config.cleanable_ratio_min.share()),
        set: |config, text| {
            let share = text.parse().ok().and_then(Ratio::new)?;
            config.cleanable_ratio_min = share;
            Some(())
        },
    },
    number_setting!("min.compaction.lag.ms", compaction_lag_min, 0, MILLISECONDS),
    number_setting!("min.insync.replicas", min_insync_replicas, 1, "a number of replicas from 1"),
    Setting {
        name: "retention.bytes",
        wanted: "a number of bytes from 0, or -1 for no limit",
        get: |config| config.retention_bytes.to_string(),
        set: |config, text| number(text, -1).map(|number| config.retention_bytes = number),
    },
    Setting {
        name: "retention.ms",
        wanted: "a number of milliseconds from 0, or -1 for no limit",
        get: |config| config.retention_ms.to_string(),
        set: |config, text| number(text, -1).map(|number| config.retention_ms = number),
    },
    number_setting!("segment.bytes", segment_bytes, 1_048_576, "a number of bytes from 1048576 to 2147483647"),
    number_setting!("segment.ms", segment_ms, 1, MILLISECONDS_FROM_1),
];

/// Stays out of every list, as in Kafka.
const INTERNAL_SEGMENT_BYTES: Setting = Setting {
    name: "internal.segment.bytes",
    wanted: "a number of bytes from 1 to 2147483647",
    get: |config| config.segment_bytes_for_tests.map_or_else(String::new, |bytes| bytes.to_string()),
    set: |config, text| {
        config.segment_bytes_for_tests = if text.is_empty() { None } else { Some(number(text, 1)?) };
        Some(())
    },
};

const MILLISECONDS: &str = "a number of milliseconds from 0";
const MILLISECONDS_FROM_1: &str = "a number of milliseconds from 1";
const BYTES: &str = "a number of bytes from 0 to 2147483647";
const DAY: i64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_set_by_the_name_it_is_listed_under() {
        let mut config = TopicConfig::default();
        let values = [
            "compact,delete",
            "11",
            "12",
            "13",
            "14",
            "15",
            "16",
            "17",
            "18",
            "LogAppendTime",
            "0.25",
            "9",
            "2",
            "20",
            "21",
            "2000000",
            "22",
        ];
        for (setting, value) in SETTINGS.iter().zip(values) {
            config.set(setting.name, Some(value)).expect("a known setting");
        }
        config.check().expect("the lags are in order");
        let listed: Vec<_> = config.entries().collect();
        for ((name, value), (setting, expected)) in listed.iter().zip(SETTINGS.iter().zip(values)) {
            assert_eq!((*name, value.text.as_str(), value.is_set), (setting.name, expected, true));
        }
        assert!(listed.is_sorted_by_key(|(name, _)| *name), "they are listed by name");
        config.set("internal.segment.bytes", Some("100")).expect("a known setting");
        assert_eq!((config.entries().count(), config.kept().count()), (17, 18));
        for (name, _) in
            listed.into_iter().chain([(INTERNAL_SEGMENT_BYTES.name, ConfigValue { text: String::new(), is_set: true })])
        {
            config.set(name, None).expect("a known setting");
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn value_out_of_range_is_refused_and_changes_nothing() {
        let bad = [
            ("cleanup.policy", "compact,compact"),
            ("cleanup.policy", ""),
            ("min.cleanable.dirty.ratio", "1.1"),
            ("min.cleanable.dirty.ratio", "NaN"),
            ("retention.ms", "-2"),
            ("segment.bytes", "1048575"),
            ("segment.ms", "0"),
            ("flush.messages", "0"),
            ("max.message.bytes", "2147483648"),
            ("internal.segment.bytes", "0"),
        ];
        for (name, value) in bad {
            let mut config = TopicConfig::default();
            assert!(matches!(config.set(name, Some(value)), Err(ConfigError::Invalid { .. })), "{name}={value}");
            assert_eq!(config, TopicConfig::default());
        }
    }

    #[test]
    fn compaction_that_must_come_before_it_may_is_refused() {
        let lags = TopicConfig { compaction_lag_min: 10, compaction_lag_max: 9, ..TopicConfig::default() };
        assert!(lags.check().is_err_and(|error| error.to_string().contains("min.compaction.lag.ms cannot be 10")));
    }

    #[test]
    fn refusal_names_the_setting() {
        let error = TopicConfig::default().set("file.delete.delay.ms", Some("1")).expect_err("not acted on");
        assert!(error.to_string().contains("file.delete.delay.ms"));
        let error = TopicConfig::default().set("max.message.bytes", Some("-1")).expect_err("negative");
        assert!(error.to_string().contains("max.message.bytes cannot be -1"));
    }
}
