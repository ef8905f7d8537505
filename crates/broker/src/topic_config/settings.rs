//! Every topic setting of Kafka 4.3: its name, what its values may be, its default, and what the brokers call the same.
//!
//! A value is read once, into the one form in which it is listed: numbers without blanks, lists without blanks and repeats. Limits and
//! complaints are those seen on 4.3.1.

use std::fmt::Display;
use std::str::FromStr;

use super::ConfigError;

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// The broker setting that topics take their default from, where it has a default of its own.
    pub(crate) broker_name: Option<&'static str>,
    pub(crate) documentation: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Boolean,
    OneOf(&'static [&'static str]),
    /// An int32 of at least, and at most.
    Int(i32, i32),
    /// The same, or −1 for the codec's own default.
    LevelOrDefault(i32, i32),
    /// An int64 of at least.
    Long(i64),
    /// From 0 to 1.
    Ratio,
    /// An int32 of at least, or nothing.
    IntOrNone(i32),
    /// Any of these, separated by commas.
    Some(&'static [&'static str]),
    /// `*`, or partition and broker with a colon between them, separated by commas.
    Replicas,
}

impl Setting {
    pub(crate) fn named(name: &str) -> Option<&'static Setting> {
        match SETTINGS.binary_search_by(|setting| setting.name.cmp(name)) {
            Ok(index) => Some(&SETTINGS[index]),
            Err(_) => (name == INTERNAL_SEGMENT_BYTES.name).then_some(&INTERNAL_SEGMENT_BYTES),
        }
    }

    /// The value in the form in which it is listed.
    pub(crate) fn read(&self, text: &str) -> Result<String, ConfigError> {
        let trimmed = text.trim();
        let read = match self.kind {
            Kind::Boolean => boolean(trimmed),
            Kind::OneOf(words) => match words.contains(&trimmed) {
                true => Ok(trimmed.to_owned()),
                false => Err(format!("String must be one of: {}", words.join(", "))),
            },
            Kind::Int(min, max) => number(trimmed, "INT").and_then(|number| within(number, min, max)),
            Kind::LevelOrDefault(min, max) => number(trimmed, "INT").and_then(|level: i32| match level {
                -1 => Ok("-1".to_owned()),
                level if (min..=max).contains(&level) => Ok(level.to_string()),
                _ => Err(format!("Value must be between {min} and {max} or equal to -1")),
            }),
            Kind::IntOrNone(_) if trimmed.is_empty() => Ok(String::new()),
            Kind::IntOrNone(min) => number(trimmed, "INT").and_then(|number| within(number, min, i32::MAX)),
            Kind::Long(min) => number(trimmed, "LONG").and_then(|number| within(number, min, i64::MAX)),
            Kind::Ratio => ratio(trimmed),
            Kind::Some(words) => list(trimmed, words),
            Kind::Replicas => replicas(trimmed, self.name),
        };
        read.map_err(|why| {
            // Kafka shows these as the list that they were read as.
            let value = match self.kind {
                Kind::Replicas => format!("[{}]", text.split(',').map(str::trim).collect::<Vec<_>>().join(", ")),
                _ => text.to_owned(),
            };
            ConfigError::Invalid { name: self.name.to_owned(), value, why }
        })
    }

    /// Kafka's number for the type of its values.
    pub(crate) fn type_number(&self) -> i8 {
        match self.kind {
            Kind::Boolean => 1,
            Kind::OneOf(_) => 2,
            Kind::Int(..) | Kind::IntOrNone(_) | Kind::LevelOrDefault(..) => 3,
            Kind::Long(_) => 5,
            Kind::Ratio => 6,
            Kind::Some(_) | Kind::Replicas => 7,
        }
    }

    /// Whether single values can be added and taken away.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Some(_) | Kind::Replicas)
    }
}

fn boolean(text: &str) -> Result<String, String> {
    match text.to_ascii_lowercase() {
        word if word == "true" || word == "false" => Ok(word),
        _ => Err("Expected value to be either true or false".to_owned()),
    }
}

fn number<N: FromStr>(text: &str, kind: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("Not a number of type {kind}"))
}

fn within<N: PartialOrd + Display>(number: N, min: N, max: N) -> Result<String, String> {
    if number < min {
        Err(format!("Value must be at least {min}"))
    } else if number > max {
        Err(format!("Value must be no more than {max}"))
    } else {
        Ok(number.to_string())
    }
}

fn ratio(text: &str) -> Result<String, String> {
    let number: f64 = number(text, "DOUBLE")?;
    match number {
        below if below < 0.0 => Err("Value must be at least 0".to_owned()),
        within if within <= 1.0 => Ok(format!("{within:?}")),
        _ => Err("Value must be no more than 1".to_owned()),
    }
}

fn list(text: &str, words: &[&str]) -> Result<String, String> {
    let mut taken: Vec<&str> = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if !words.contains(&word) {
            return Err(format!("String must be one of: {}", words.join(", ")));
        }
        if !taken.contains(&word) {
            taken.push(word);
        }
    }
    Ok(taken.join(","))
}

fn replicas(text: &str, name: &str) -> Result<String, String> {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pair =
        |entry: &&str| entry.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker));
    match entries.iter().all(pair) || entries == ["*"] {
        true => Ok(entries.join(",")),
        false => Err(format!(
            "{name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        )),
    }
}

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker_name: &'static str,
    documentation: &'static str,
) -> Setting {
    let broker_name = if broker_name.is_empty() { None } else { Some(broker_name) };
    Setting { name, kind, default, broker_name, documentation }
}

const MAX: &str = "9223372036854775807";

/// By name.
pub(crate) static SETTINGS: [Setting; 33] = [
    setting(
        "cleanup.policy",
        Kind::Some(&["compact", "delete"]),
        "delete",
        "log.cleanup.policy",
        "What becomes of old records: delete drops them by age and size, .",
    ),
    setting(
        "compression.gzip.level",
        Kind::LevelOrDefault(1, 9),
        "-1",
        "compression.gzip.level",
        "How hard the broker compresses where compression.type is gzip.",
    ),
    setting(
        "compression.lz4.level",
        Kind::Int(1, 17),
        "9",
        "compression.lz4.level",
        "How hard the broker compresses where compression.type is lz4.",
    ),
    setting(
        "compression.type",
        Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        "compression.type",
        "How batches are compressed in the log; producer leaves them as they came.",
    ),
    setting(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        "3",
        "compression.zstd.level",
        "How hard the broker compresses where compression.type is zstd.",
    ),
    setting(
        "delete.retention.ms",
        Kind::Long(0),
        "86400000",
        "log.cleaner.delete.retention.ms",
        "How long a deletion marker stays in a compacted log, so that readers see it.",
    ),
    setting(
        "file.delete.delay.ms",
        Kind::Long(0),
        "60000",
        "log.segment.delete.delay.ms",
        "How long a file stays on disk after its records are gone.",
    ),
    setting(
        "flush.messages",
        Kind::Long(1),
        MAX,
        "log.flush.interval.messages",
        "After how many records the log is forced to disk.",
    ),
    setting("flush.ms", Kind::Long(0), MAX, "", "After how long the log is forced to disk."),
    setting(
        "follower.replication.throttled.replicas",
        Kind::Replicas,
        "",
        "",
        "Replicas whose copying is throttled on the follower's side.",
    ),
    setting(
        "index.interval.bytes",
        Kind::Int(0, i32::MAX),
        "4096",
        "log.index.interval.bytes",
        "How many bytes of the log have one entry in its index.",
    ),
    setting(
        "leader.replication.throttled.replicas",
        Kind::Replicas,
        "",
        "",
        "Replicas whose copying is throttled on the leader's side.",
    ),
    setting(
        "local.retention.bytes",
        Kind::Long(-2),
        "-2",
        "log.local.retention.bytes",
        "How much is kept locally of what is in tiered storage; -2 is retention.bytes.",
    ),
    setting(
        "local.retention.ms",
        Kind::Long(-2),
        "-2",
        "log.local.retention.ms",
        "How long is kept locally what is in tiered storage; -2 is retention.ms.",
    ),
    setting(
        "max.compaction.lag.ms",
        Kind::Long(1),
        MAX,
        "log.cleaner.max.compaction.lag.ms",
        "The longest that a record of a compacted log waits for compaction.",
    ),
    setting(
        "max.message.bytes",
        Kind::Int(0, i32::MAX),
        "1048588",
        "message.max.bytes",
        "The largest batch that is taken, after compression.",
    ),
    setting(
        "message.timestamp.after.max.ms",
        Kind::Long(0),
        "3600000",
        "log.message.timestamp.after.max.ms",
        "How far a record's own timestamp may be ahead of the broker's clock.",
    ),
    setting(
        "message.timestamp.before.max.ms",
        Kind::Long(0),
        MAX,
        "log.message.timestamp.before.max.ms",
        "How far a record's own timestamp may be behind the broker's clock.",
    ),
    setting(
        "message.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "log.message.timestamp.type",
        "Who stamps the records: the producer, or the broker on arrival.",
    ),
    setting(
        "min.cleanable.dirty.ratio",
        Kind::Ratio,
        "0.5",
        "log.cleaner.min.cleanable.ratio",
        "How much of a compacted log must be uncompacted before it is compacted again.",
    ),
    setting(
        "min.compaction.lag.ms",
        Kind::Long(0),
        "0",
        "log.cleaner.min.compaction.lag.ms",
        "The shortest that a record of a compacted log stays uncompacted.",
    ),
    setting(
        "min.insync.replicas",
        Kind::Int(1, i32::MAX),
        "1",
        "min.insync.replicas",
        "How many replicas must be in sync for a write with acks=all, and for the high watermark to rise.",
    ),
    setting(
        "preallocate",
        Kind::Boolean,
        "false",
        "log.preallocate",
        "Whether a new segment's file has its full size at once.",
    ),
    setting(
        "remote.log.copy.disable",
        Kind::Boolean,
        "false",
        "",
        "Whether a topic in tiered storage stops to copy there.",
    ),
    setting(
        "remote.log.delete.on.disable",
        Kind::Boolean,
        "false",
        "",
        "Whether what is in tiered storage is deleted when that is disabled.",
    ),
    setting("remote.storage.enable", Kind::Boolean, "false", "", "Whether the topic is kept in tiered storage, too."),
    setting(
        "retention.bytes",
        Kind::Long(i64::MIN),
        "-1",
        "log.retention.bytes",
        "How large a partition's log may become before its oldest segments are deleted; -1 is no limit.",
    ),
    setting(
        "retention.ms",
        Kind::Long(-1),
        "604800000",
        "",
        "How old records become before their segment is deleted; -1 is no limit.",
    ),
    setting(
        "segment.bytes",
        Kind::Int(1_048_576, i32::MAX),
        "1073741824",
        "log.segment.bytes",
        "How large a segment becomes before a new one is begun.",
    ),
    setting(
        "segment.index.bytes",
        Kind::Int(4, i32::MAX),
        "10485760",
        "log.index.size.max.bytes",
        "How large a segment's index becomes before a new segment is begun.",
    ),
    setting(
        "segment.jitter.ms",
        Kind::Long(0),
        "0",
        "",
        "How much of segment.ms is taken off by chance, so that not all segments end at once.",
    ),
    setting("segment.ms", Kind::Long(1), "604800000", "", "How old a segment becomes before a new one is begun."),
    setting(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "false",
        "unclean.leader.election.enable",
        "Whether a replica that is not in sync becomes leader where no other is left, although what it lacks is lost.",
    ),
];

/// Stays out of every list, as in Kafka.
pub(crate) static INTERNAL_SEGMENT_BYTES: Setting = setting(
    "internal.segment.bytes",
    Kind::IntOrNone(1),
    "",
    "",
    "How large a segment becomes, smaller than segment.bytes may say. For tests.",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_by_name_and_defaults_read_as_themselves() {
        assert!(SETTINGS.is_sorted_by(|one, other| one.name < other.name));
        for setting in &SETTINGS {
            assert_eq!(setting.read(setting.default).as_deref(), Ok(setting.default), "{}", setting.name);
            assert!(Setting::named(setting.name).is_some_and(|found| found.name == setting.name));
        }
        assert!(Setting::named("message.format.version").is_none());
    }

    /// As 4.3.1 took and refused them.
    #[test]
    fn values_are_taken_and_refused_as_kafka_does() {
        let read = |name: &str, text: &str| Setting::named(name).expect("a setting of Kafka's").read(text);
        let taken = [
            ("cleanup.policy", "compact,delete", "compact,delete"),
            ("cleanup.policy", " delete , compact", "delete,compact"),
            ("cleanup.policy", "delete,delete", "delete"),
            ("cleanup.policy", "", ""),
            ("retention.ms", " 5000 ", "5000"),
            ("retention.ms", "-1", "-1"),
            ("retention.bytes", "-5", "-5"),
            ("segment.bytes", "1048576", "1048576"),
            ("preallocate", "TRUE", "true"),
            ("min.cleanable.dirty.ratio", "1", "1.0"),
            ("min.insync.replicas", "5", "5"),
            ("leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2"),
            ("leader.replication.throttled.replicas", "*", "*"),
            ("compression.gzip.level", "-1", "-1"),
        ];
        for (name, text, listed) in taken {
            assert_eq!(read(name, text).as_deref(), Ok(listed), "{name}={text}");
        }
        let refused = [
            ("cleanup.policy", "foo", "String must be one of: compact, delete"),
            ("compression.type", "GZIP", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
            ("retention.ms", "-2", "Value must be at least -1"),
            ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
            ("segment.bytes", "1048575", "Value must be at least 1048576"),
            ("max.message.bytes", "2147483648", "Not a number of type INT"),
            ("compression.zstd.level", "23", "Value must be no more than 22"),
            ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
            ("min.cleanable.dirty.ratio", "1.1", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "NaN", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE"),
            ("preallocate", "yes", "Expected value to be either true or false"),
        ];
        for (name, text, why) in refused {
            let error = read(name, text).expect_err(text);
            assert_eq!(error.to_string(), format!("Invalid value {text} for configuration {name}: {why}"));
        }
        for text in ["foo", "1:1,*", "1:", ":1", "1:1:1", "-1:1"] {
            assert!(read("follower.replication.throttled.replicas", text).is_err(), "{text}");
        }
    }
}
