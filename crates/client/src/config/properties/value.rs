//! Values of properties. An error is what to give instead.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;

use crate::config::check::parse_address;
use crate::config::{Compression, split_servers};
use crate::partitioner::Partitioner;

pub(super) type Parsed<T> = Result<T, &'static str>;

pub(super) fn millis(value: &str) -> Parsed<Duration> {
    value.parse().map(Duration::from_millis).map_err(|_| "a whole number of milliseconds, as in 250")
}

/// librdkafka's -1 turns it off.
pub(super) fn refresh(value: &str) -> Parsed<Duration> {
    match value {
        "-1" => {
            Err("a time: -1, never, is not possible, because new partitions would not be found; 1000 at least, as in \
                     300000, the default; 86400000 for once a day")
        }
        _ => millis(value),
    }
}

/// librdkafka takes parts of a millisecond.
pub(super) fn fine_millis(value: &str) -> Parsed<Duration> {
    let wanted = "a number of milliseconds, as in 5 or 0.5";
    if let Ok(whole) = millis(value) {
        return Ok(whole);
    }
    let parts: f64 = value.parse().map_err(|_| wanted)?;
    Duration::try_from_secs_f64(parts / 1000.0).map_err(|_| wanted)
}

/// As `host:port`, at least one.
pub(super) fn servers(value: &str) -> Parsed<Vec<String>> {
    let servers = split_servers(value);
    if servers.is_empty() || servers.iter().any(|server| parse_address(server).is_err()) {
        return Err("brokers as host:port, separated by commas, as in localhost:9092 or [::1]:9092");
    }
    Ok(servers)
}

pub(super) fn bytes(value: &str) -> Parsed<usize> {
    value.parse().map_err(|_| "a whole number of bytes, as in 1048576")
}

pub(super) fn kibibytes(value: &str) -> Parsed<usize> {
    let wanted = "a whole number of kibibytes, as in 32768";
    let count: usize = value.parse().map_err(|_| wanted)?;
    count.checked_mul(1024).ok_or(wanted)
}

pub(super) fn file(value: &str) -> Parsed<PathBuf> {
    if value.is_empty() { Err("the name of a file") } else { Ok(value.into()) }
}

pub(super) fn threads(value: &str) -> Parsed<usize> {
    value.parse().map_err(|_| "a number of threads, 1 to 64, as in 2")
}

pub(super) fn count(value: &str) -> Parsed<u32> {
    value.parse().map_err(|_| "a whole number, as in 5")
}

pub(super) fn partitioner(value: &str) -> Parsed<Partitioner> {
    match value.to_ascii_lowercase().as_str() {
        "murmur2_random" => Ok(Partitioner::Murmur2Random),
        "murmur2" => Ok(Partitioner::Murmur2),
        "consistent_random" => Ok(Partitioner::ConsistentRandom),
        "consistent" => Ok(Partitioner::Consistent),
        "fnv1a_random" => Ok(Partitioner::Fnv1aRandom),
        "fnv1a" => Ok(Partitioner::Fnv1a),
        "random" => Ok(Partitioner::Sticky),
        _ => Err("murmur2_random, murmur2, consistent_random, consistent, fnv1a_random, fnv1a or random"),
    }
}

/// Java's own; others are Java. None for an empty one, which says nothing.
pub(super) fn partitioner_class(value: &str) -> Parsed<Option<Partitioner>> {
    match value {
        "" | "null" => Ok(None),
        "org.apache.kafka.clients.producer.RoundRobinPartitioner" => Ok(Some(Partitioner::RoundRobin)),
        _ => Err("org.apache.kafka.clients.producer.RoundRobinPartitioner or nothing; for one of your own use \
                  Partitioner::custom"),
    }
}

pub(super) fn compression(value: &str) -> Parsed<Compression> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("none, gzip, snappy, lz4 or zstd"),
    }
}

/// As in `photos:none, logs:zstd+lz4`.
pub(super) fn topic_compression(value: &str) -> Parsed<BTreeMap<String, Vec<Compression>>> {
    let wanted =
        "topics and their codecs (none, gzip, snappy, lz4 or zstd), as in photos:none, logs:zstd+lz4, each topic once";
    let mut of_topics = BTreeMap::new();
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (topic, codecs) = pair.split_once(':').ok_or(wanted)?;
        let codecs: Parsed<Vec<Compression>> = codecs.split('+').map(|codec| compression(codec.trim())).collect();
        if of_topics.insert(topic.trim().to_owned(), codecs.map_err(|_| wanted)?).is_some() {
            return Err(wanted);
        }
    }
    Ok(of_topics)
}

/// None for -1, which is the codec's own default.
pub(super) fn level(value: &str) -> Parsed<Option<i32>> {
    let level: i32 =
        value.parse().map_err(|_| "a whole number: 1 to 9 for gzip, -131072 to 22 for zstd, or -1 for the default")?;
    Ok(Some(level).filter(|level| *level != -1))
}

/// Java's levels of zstd: −1 is one of them.
pub(super) fn zstd_level(value: &str) -> Parsed<i32> {
    value.parse().map_err(|_| "a whole number, -131072 to 22")
}

pub(super) fn share(value: &str) -> Parsed<f64> {
    value.parse().map_err(|_| "a number above 0 and at most 1, as in 0.5")
}

pub(super) fn boolean(value: &str) -> Parsed<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false"),
    }
}

pub(super) fn acks(value: &str) -> Parsed<Acks> {
    match value.to_ascii_lowercase().as_str() {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Ok(Acks::None),
        _ => Err("all (or -1), 1 or 0"),
    }
}

pub(super) fn after_deadline(value: &str) -> Parsed<AfterDeadline> {
    match value.to_ascii_lowercase().as_str() {
        "complete" => Ok(AfterDeadline::Complete),
        "withdraw" => Ok(AfterDeadline::Withdraw),
        _ => Err("complete or withdraw"),
    }
}
