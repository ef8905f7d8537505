//! The catalogue as text: a line for each thing, and one below it for each partition where there are several nodes.
//!
//! A change is the same lines again; what is said later counts. `no-topic` takes a topic away, `quotas` all quotas.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use milena_wire::Uuid;

use super::{BadLine, Catalogue, CatalogueChange, PartitionEntry, TopicEntry};
use crate::api::TOPIC_PARTITIONS_MAX;
use crate::ids::NodeId;
use crate::quotas::Quotas;
use crate::topic_config::TopicConfig;

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster-id {}", self.cluster_id)?;
        writeln!(f, "producer-ids-reserved {}", self.producer_ids_reserved)?;
        if self.nodes > 1 {
            writeln!(f, "nodes {}", self.nodes)?;
        }
        write!(f, "{}", self.quotas)?;
        self.topics.iter().try_for_each(|(name, entry)| write_topic(f, name, entry))
    }
}

impl fmt::Display for CatalogueChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CatalogueChange::ProducerIds(reserved) => writeln!(f, "producer-ids-reserved {reserved}"),
            CatalogueChange::Quotas(quotas) => write!(f, "quotas\n{quotas}"),
            CatalogueChange::Topic { name, entry } => write_topic(f, name, entry),
            CatalogueChange::TopicGone { name } => writeln!(f, "no-topic {name}"),
            CatalogueChange::Partition { name, index, entry } => {
                writeln!(f, "partition {name} {index}")?;
                write_partition(f, entry)
            }
        }
    }
}

/// Changes that count together or not at all.
pub(super) fn changes_text(changes: &[CatalogueChange]) -> String {
    let mut text = String::new();
    for change in changes {
        write!(text, "{change}").expect("text takes all");
    }
    text
}

fn write_topic(f: &mut fmt::Formatter<'_>, name: &str, entry: &TopicEntry) -> fmt::Result {
    // The partitions of one node's topics have one leader, which changed for all of them at once.
    let leader_epoch = entry.partitions.iter().map(|partition| partition.leader_epoch).max().unwrap_or(0);
    write!(f, "topic {name} {} {} {leader_epoch}", entry.id, entry.partitions.len())?;
    for (key, value) in entry.config.kept() {
        write!(f, " {key}={}", value.text)?;
    }
    writeln!(f)?;
    // Only where there are several nodes it is said who keeps what.
    entry.partitions.iter().filter(|partition| !partition.replicas.is_empty()).try_for_each(|it| write_partition(f, it))
}

fn write_partition(f: &mut fmt::Formatter<'_>, partition: &PartitionEntry) -> fmt::Result {
    let PartitionEntry { leader_epoch, replicas, isr, eligible, last_known, adding, removing } = partition;
    write!(f, "  epoch {leader_epoch} replicas {} isr {}", Row(replicas), Row(isr))?;
    let last_known = last_known.as_slice();
    let optional = [(ELIGIBLE, &**eligible), (LAST_KNOWN, last_known), (ADDING, adding), (REMOVING, removing)];
    for (word, nodes) in optional.into_iter().filter(|(_, nodes)| !nodes.is_empty()) {
        write!(f, "{word}{}", Row(nodes))?;
    }
    writeln!(f)
}

/// Node ids with commas between them.
struct Row<'a>(&'a [NodeId]);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NOBODY);
        }
        self.0.iter().enumerate().try_for_each(|(at, node)| match at {
            0 => write!(f, "{node}"),
            _ => write!(f, ",{node}"),
        })
    }
}

/// A catalogue that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    cluster_id: Option<String>,
    producer_ids_reserved: Option<i64>,
    rest: Catalogue,
}

impl Reading {
    pub(super) fn begun() -> Reading {
        let rest = Catalogue {
            nodes: 1,
            cluster_id: String::new(),
            producer_ids_reserved: 0,
            quotas: Quotas::default(),
            topics: BTreeMap::new(),
        };
        Reading { cluster_id: None, producer_ids_reserved: None, rest }
    }

    /// Reads lines of which the first has a number.
    pub(super) fn read(&mut self, text: &str, first_line: usize) -> Result<(), BadLine> {
        let mut lines = (first_line..).zip(text.lines());
        let end = first_line + text.lines().count();
        while let Some((number, line)) = lines.next() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let bad = |what| BadLine { line: number, what };
            let mut partition = || {
                let (number, line) = lines.next().ok_or(BadLine { line: end, what: "missing partition" })?;
                parse_partition(line).ok_or(BadLine { line: number, what: "not a partition" })
            };
            match word {
                "cluster-id" => self.cluster_id = Some(rest.to_owned()),
                "producer-ids-reserved" => {
                    let reserved = rest.parse().map_err(|_| bad("no number of reserved producer ids"))?;
                    self.producer_ids_reserved = Some(reserved);
                }
                "nodes" => {
                    let nodes = rest.parse().ok().filter(|count| *count > 1);
                    self.rest.nodes = nodes.ok_or(bad("no number of nodes"))?;
                }
                "quotas" => self.rest.quotas = Quotas::default(),
                "quota" => self.rest.quotas.read_line(rest).ok_or(bad("not a quota"))?,
                "topic" => {
                    let (name, count, leader_epoch, mut entry) = parse_topic(rest).ok_or(bad("not a topic"))?;
                    for _ in 0..count {
                        entry.partitions.push(match self.rest.nodes {
                            1 => PartitionEntry { leader_epoch, ..PartitionEntry::default() },
                            _ => partition()?,
                        });
                    }
                    self.rest.topics.insert(name, entry);
                }
                "no-topic" => drop(self.rest.topics.remove(rest).ok_or(bad("no topic that is there"))?),
                "partition" => {
                    let (name, index) = rest.split_once(' ').ok_or(bad("no partition that is there"))?;
                    let topic = self.rest.topics.get_mut(name);
                    let place = topic
                        .zip(index.parse().ok())
                        .and_then(|(topic, index): (_, usize)| topic.partitions.get_mut(index));
                    let place = place.ok_or(bad("no partition that is there"))?;
                    *place = partition()?;
                }
                _ => return Err(bad("not a line of a catalogue")),
            }
        }
        Ok(())
    }

    /// All was read, up to before a line.
    pub(super) fn end(self, line: usize) -> Result<Catalogue, BadLine> {
        let missing = |what| BadLine { line, what };
        let cluster_id = self.cluster_id.ok_or(missing("missing cluster id"))?;
        let producer_ids_reserved = self.producer_ids_reserved.ok_or(missing("missing producer ids"))?;
        Ok(Catalogue { cluster_id, producer_ids_reserved, ..self.rest })
    }
}

/// Name, number of partitions, highest leader epoch, and the rest.
fn parse_topic(line: &str) -> Option<(String, i32, i32, TopicEntry)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let id = parse_id(words.next()?)?;
    let partitions = words.next()?.parse().ok().filter(|count| (1..=TOPIC_PARTITIONS_MAX).contains(count))?;
    let leader_epoch = words.next()?.parse().ok()?;
    let mut config = TopicConfig::default();
    for word in words {
        let (key, value) = word.split_once('=')?;
        config.set(key, Some(value)).ok()?;
    }
    Some((name, partitions, leader_epoch, TopicEntry { id, partitions: Vec::new(), config }))
}

fn parse_partition(line: &str) -> Option<PartitionEntry> {
    let (leader_epoch, rest) = line.strip_prefix("  epoch ")?.split_once(" replicas ")?;
    let (replicas, rest) = rest.split_once(" isr ")?;
    let (rest, removing) = split_optional(rest, REMOVING);
    let (rest, adding) = split_optional(rest, ADDING);
    let (rest, last_known) = split_optional(rest, LAST_KNOWN);
    let (isr, eligible) = split_optional(rest, ELIGIBLE);
    let row_or_none = |nodes: Option<&str>| nodes.map_or(Some(Vec::new()), parse_row);
    let entry = PartitionEntry {
        leader_epoch: leader_epoch.parse().ok()?,
        replicas: parse_row(replicas)?,
        isr: if isr == NOBODY { Vec::new() } else { parse_row(isr)? },
        eligible: row_or_none(eligible)?,
        last_known: match last_known {
            Some(node) => Some(NodeId(node.parse().ok()?)),
            None => None,
        },
        adding: row_or_none(adding)?,
        removing: row_or_none(removing)?,
    };
    let in_doubt = entry.eligible.iter().chain(&entry.last_known);
    let mut named = entry.isr.iter().chain(in_doubt).chain(&entry.adding).chain(&entry.removing);
    named.all(|node| entry.replicas.contains(node)).then_some(entry)
}

/// What stands before a word, and behind it if it is there.
fn split_optional<'a>(text: &'a str, word: &str) -> (&'a str, Option<&'a str>) {
    text.split_once(word).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// At least one, none twice.
fn parse_row(text: &str) -> Option<Vec<NodeId>> {
    let nodes: Vec<NodeId> = text.split(',').map(|id| id.parse().ok().map(NodeId)).collect::<Option<_>>()?;
    let distinct = nodes.iter().enumerate().all(|(at, node)| !nodes[..at].contains(node));
    distinct.then_some(nodes)
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

/// An ISR without members.
const NOBODY: &str = "-";
const ELIGIBLE: &str = " elr ";
const LAST_KNOWN: &str = " last ";
const ADDING: &str = " adding ";
const REMOVING: &str = " removing ";
