//! A topic's settings: the few of Kafka's that this broker acts on. Any other is refused by name.
//!
//! Names, values and defaults are Kafka 4.3's. A setting that would be taken and ignored is worse than a refusal.

use std::fmt;

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
                NAMES.iter().try_for_each(|known| write!(f, " {known}"))
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
            timestamp_type: TimestampType::CreateTime,
            message_bytes_max: 1_048_588,
            min_insync_replicas: 1,
            timestamp_before_max: i64::MAX,
            timestamp_after_max: 3_600_000,
        }
    }
}

impl TopicConfig {
    /// Sets one by Kafka's name; no value means its default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), ConfigError> {
        let fallback = TopicConfig::default();
        let invalid = |wanted| ConfigError::Invalid {
            name: name.to_owned(),
            value: value.unwrap_or_default().to_owned(),
            wanted,
        };
        match name {
            TIMESTAMP_TYPE => {
                self.timestamp_type = match value {
                    None => fallback.timestamp_type,
                    Some("CreateTime") => TimestampType::CreateTime,
                    Some("LogAppendTime") => TimestampType::LogAppendTime,
                    Some(_) => return Err(invalid("CreateTime or LogAppendTime")),
                }
            }
            MESSAGE_BYTES => {
                let bytes = number(value, i64::from(fallback.message_bytes_max)).and_then(|n| i32::try_from(n).ok());
                self.message_bytes_max = bytes.ok_or_else(|| invalid("a number of bytes from 0 to 2147483647"))?;
            }
            TIMESTAMP_BEFORE => {
                self.timestamp_before_max =
                    number(value, fallback.timestamp_before_max).ok_or_else(|| invalid(MILLISECONDS))?;
            }
            TIMESTAMP_AFTER => {
                self.timestamp_after_max =
                    number(value, fallback.timestamp_after_max).ok_or_else(|| invalid(MILLISECONDS))?;
            }
            MIN_ISR => {
                let count = number(value, i64::from(fallback.min_insync_replicas)).and_then(|n| i32::try_from(n).ok());
                let count = count.filter(|count| *count > 0);
                self.min_insync_replicas = count.ok_or_else(|| invalid("a number of replicas from 1"))?;
            }
            _ => return Err(ConfigError::Unknown { name: name.to_owned() }),
        }
        Ok(())
    }

    /// How many replicas must be in sync, of so many.
    pub(crate) fn min_isr(&self, replicas: usize) -> usize {
        usize::try_from(self.min_insync_replicas).unwrap_or(1).min(replicas)
    }

    /// All settings by Kafka's names, in one order.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, ConfigValue)> {
        let default = TopicConfig::default().texts();
        let texts = self.texts();
        NAMES
            .into_iter()
            .zip(texts.into_iter().zip(default))
            .map(|(name, (text, default))| (name, ConfigValue { is_set: text != default, text }))
    }

    fn texts(&self) -> [String; 5] {
        let timestamp_type = match self.timestamp_type {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        [
            self.message_bytes_max.to_string(),
            self.timestamp_after_max.to_string(),
            self.timestamp_before_max.to_string(),
            timestamp_type.to_owned(),
            self.min_insync_replicas.to_string(),
        ]
    }
}

fn number(value: Option<&str>, default: i64) -> Option<i64> {
    value.map_or(Some(default), |text| text.parse().ok()).filter(|number| *number >= 0)
}

const MESSAGE_BYTES: &str = "max.message.bytes";
const TIMESTAMP_AFTER: &str = "message.timestamp.after.max.ms";
const TIMESTAMP_BEFORE: &str = "message.timestamp.before.max.ms";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const MIN_ISR: &str = "min.insync.replicas";
/// In the order of `TopicConfig::texts`.
const NAMES: [&str; 5] = [MESSAGE_BYTES, TIMESTAMP_AFTER, TIMESTAMP_BEFORE, TIMESTAMP_TYPE, MIN_ISR];
const MILLISECONDS: &str = "a number of milliseconds from 0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_set_by_the_name_it_is_listed_under() {
        let mut config = TopicConfig::default();
        let values = ["17", "18", "19", "LogAppendTime", "2"];
        for (name, value) in NAMES.into_iter().zip(values) {
            config.set(name, Some(value)).expect("a known setting");
        }
        let listed: Vec<_> = config.entries().collect();
        for ((name, value), (expected_name, expected)) in listed.iter().zip(NAMES.into_iter().zip(values)) {
            assert_eq!((*name, value.text.as_str(), value.is_set), (expected_name, expected, true));
        }
        for name in NAMES {
            config.set(name, None).expect("a known setting");
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn refusal_names_the_setting() {
        let error = TopicConfig::default().set("cleanup.policy", Some("compact")).expect_err("not acted on");
        assert!(error.to_string().contains("cleanup.policy"));
        let error = TopicConfig::default().set(MESSAGE_BYTES, Some("-1")).expect_err("negative");
        assert!(error.to_string().contains("max.message.bytes cannot be -1"));
    }
}
