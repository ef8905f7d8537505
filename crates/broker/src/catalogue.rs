//! What the cluster knows beside the logs, as it is kept on disk: its id, its topics, and how many producer ids are taken.
//!
//! The catalogue is a snapshot, always saved whole. Producer ids are reserved in blocks before the first of a block is
//! handed out, so no id is given twice, whatever happens in between. The text is one line per topic, made to be read by people.

use std::collections::BTreeMap;
use std::fmt;

use milena_wire::Uuid;

use crate::topic_config::TopicConfig;

/// Everything that outlives a restart and is not in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Every producer id below this may have been handed out.
    pub producer_ids_reserved: i64,
    /// Topics by name.
    pub topics: BTreeMap<String, TopicEntry>,
}

/// One topic's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEntry {
    /// Made at creation; a topic of the same name that comes later has another one.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// The leader epoch of its partitions; one higher after every restart.
    pub leader_epoch: i32,
    /// Its settings, where they differ from the defaults.
    pub config: TopicConfig,
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

impl Catalogue {
    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Result<Catalogue, BadLine> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut next = |what: &'static str| lines.next().ok_or(BadLine { line: text.lines().count() + 1, what });
        expect_line(
            next("missing first line")?,
            |line| (line == FIRST_LINE).then_some(()),
            "not a catalogue of this version",
        )?;
        let cluster_id =
            expect_line(next("missing cluster id")?, |line| line.strip_prefix("cluster-id "), "no cluster id")?;
        let reserved = expect_line(
            next("missing producer ids")?,
            |line| line.strip_prefix("producer-ids-reserved ")?.parse().ok(),
            "no number of reserved producer ids",
        )?;
        let mut topics = BTreeMap::new();
        for line in lines {
            let (name, entry) = expect_line(line, parse_topic, "not a topic")?;
            topics.insert(name, entry);
        }
        Ok(Catalogue { cluster_id: cluster_id.to_owned(), producer_ids_reserved: reserved, topics })
    }
}

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "cluster-id {}", self.cluster_id)?;
        writeln!(f, "producer-ids-reserved {}", self.producer_ids_reserved)?;
        for (name, entry) in &self.topics {
            write!(f, "topic {name} {} {} {}", entry.id, entry.partitions, entry.leader_epoch)?;
            for (key, value) in entry.config.entries().filter(|(_, value)| value.is_set) {
                write!(f, " {key}={}", value.text)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn expect_line<'a, T>(
    (number, line): (usize, &'a str),
    read: impl FnOnce(&'a str) -> Option<T>,
    what: &'static str,
) -> Result<T, BadLine> {
    read(line).ok_or(BadLine { line: number, what })
}

fn parse_topic(line: &str) -> Option<(String, TopicEntry)> {
    let mut words = line.strip_prefix("topic ")?.split(' ');
    let name = words.next()?.to_owned();
    let id = parse_id(words.next()?)?;
    let partitions = words.next()?.parse().ok().filter(|count| *count > 0)?;
    let leader_epoch = words.next()?.parse().ok()?;
    let mut config = TopicConfig::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        config.set(key, Some(value)).ok()?;
    }
    Some((name, TopicEntry { id, partitions, leader_epoch, config }))
}

/// Ids are written as Kafka's tools write them: URL-safe base64 of 16 bytes, without padding.
fn parse_id(text: &str) -> Option<Uuid> {
    let mut bits: u128 = 0;
    for (at, c) in text.bytes().enumerate() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        // The last of the 22 characters has two bits and four of padding.
        bits = if at == 21 { bits << 2 | u128::from(six >> 4) } else { bits << 6 | u128::from(six) };
    }
    (text.len() == 22).then(|| Uuid(bits.to_be_bytes()))
}

const FIRST_LINE: &str = "milena-catalogue 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let mut config = TopicConfig::default();
        config.set("message.timestamp.type", Some("LogAppendTime")).expect("a known setting");
        let orders = TopicEntry { id: Uuid([7; 16]), partitions: 3, leader_epoch: 2, config };
        let plain = TopicEntry { id: Uuid([200; 16]), partitions: 1, leader_epoch: 0, config: TopicConfig::default() };
        Catalogue {
            cluster_id: "abc".to_owned(),
            producer_ids_reserved: 2_000,
            topics: [("orders".to_owned(), orders), ("a.b_c".to_owned(), plain)].into(),
        }
    }

    #[test]
    fn text_reads_back_as_it_was_written() {
        let catalogue = catalogue();
        assert_eq!(Catalogue::parse(&catalogue.to_string()), Ok(catalogue));
    }

    #[test]
    fn unreadable_line_is_named() {
        let text = catalogue().to_string().replace("topic orders", "tropic orders");
        assert_eq!(Catalogue::parse(&text), Err(BadLine { line: 5, what: "not a topic" }));
        assert_eq!(Catalogue::parse(""), Err(BadLine { line: 1, what: "missing first line" }));
    }

    #[test]
    fn truncated_text_is_never_taken_for_a_catalogue() {
        let text = catalogue().to_string();
        let before_topics = text.find("topic ").expect("there are topics");
        for end in 0..before_topics - 6 {
            assert!(Catalogue::parse(&text[..end]).is_err(), "accepted {:?}", &text[..end]);
        }
    }
}
