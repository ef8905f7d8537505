//! What the cluster knows beside the logs, as it is kept on disk: its id, its topics, and how many producer ids are taken.
//!
//! The catalogue is a snapshot, always saved whole. Producer ids are reserved in blocks before the first of a block is
//! handed out, so no id is given twice, whatever happens in between. The text is one line per topic, made to be read by people. In a
//! cluster of several nodes a line per partition follows, with its leader epoch, its replicas and those in sync.

use std::collections::BTreeMap;
use std::fmt;

use milena_wire::Uuid;

use crate::api::PARTITIONS_MAX;
use crate::ids::{NodeId, PartitionIndex};
use crate::quotas::Quotas;
use crate::topic_config::TopicConfig;

/// Everything that outlives a restart and is not in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// How many nodes the cluster has.
    pub nodes: usize,
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Every producer id below this may have been handed out.
    pub producer_ids_reserved: i64,
    /// How much clients may do.
    pub quotas: Quotas,
    /// Topics by name.
    pub topics: BTreeMap<String, TopicEntry>,
}

/// One topic's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEntry {
    /// Made at creation; a topic of the same name that comes later has another one.
    pub id: Uuid,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionEntry>,
    /// Its settings, where they differ from the defaults.
    pub config: TopicConfig,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionEntry {
    /// Its leader epoch; one higher after every restart.
    pub leader_epoch: i32,
    /// The nodes that keep it, the preferred leader first. Empty in a cluster of one node.
    pub replicas: Vec<NodeId>,
    /// Those of them that had all that is committed. Empty in a cluster of one node.
    pub isr: Vec<NodeId>,
    /// Those out of sync that may be elected once nobody is in sync (KIP-966).
    pub eligible: Vec<NodeId>,
    /// Who led when nobody was in sync any more.
    pub last_known: Option<NodeId>,
    /// Those that are to stay once they are in sync: a reassignment is not over.
    pub adding: Vec<NodeId>,
    /// Those that are to leave then.
    pub removing: Vec<NodeId>,
}

impl TopicEntry {
    /// Whether a node keeps a partition; any node where there is one only.
    pub(crate) fn has_replica(&self, partition: PartitionIndex, node: NodeId) -> bool {
        let entry = usize::try_from(partition.0).ok().and_then(|index| self.partitions.get(index));
        entry.is_some_and(|entry| entry.replicas.is_empty() || entry.replicas.contains(&node))
    }
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
        let end = text.lines().count() + 1;
        let mut next = |what: &'static str| lines.next().ok_or(BadLine { line: end, what });
        let version = expect_line(next("missing first line")?, parse_version, "not a catalogue of this version")?;
        let cluster_id =
            expect_line(next("missing cluster id")?, |line| line.strip_prefix("cluster-id "), "no cluster id")?;
        let reserved = expect_line(
            next("missing producer ids")?,
            |line| line.strip_prefix("producer-ids-reserved ")?.parse().ok(),
            "no number of reserved producer ids",
        )?;
        let nodes = match version {
            Version::OneNode => 1,
            Version::ManyNodes => expect_line(next("missing number of nodes")?, parse_nodes, "no number of nodes")?,
        };
        let mut topics = BTreeMap::new();
        let mut quotas = Quotas::default();
        while let Some(line) = lines.next() {
            if let Some(quota) = line.1.strip_prefix("quota ") {
                expect_line((line.0, quota), |line| quotas.read_line(line), "not a quota")?;
                continue;
            }
            let (name, count, leader_epoch, mut entry) = expect_line(line, parse_topic, "not a topic")?;
            for _ in 0..count {
                let partition = match version {
                    Version::OneNode => PartitionEntry { leader_epoch, ..PartitionEntry::default() },
                    Version::ManyNodes => {
                        let line = lines.next().ok_or(BadLine { line: end, what: "missing partition" })?;
                        expect_line(line, parse_partition, "not a partition")?
                    }
                };
                entry.partitions.push(partition);
            }
            topics.insert(name, entry);
        }
        Ok(Catalogue { nodes, cluster_id: cluster_id.to_owned(), producer_ids_reserved: reserved, quotas, topics })
    }
}

impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many_nodes = self.nodes > 1;
        writeln!(f, "{}", if many_nodes { FIRST_LINE_MANY_NODES } else { FIRST_LINE })?;
        writeln!(f, "cluster-id {}", self.cluster_id)?;
        writeln!(f, "producer-ids-reserved {}", self.producer_ids_reserved)?;
        if many_nodes {
            writeln!(f, "nodes {}", self.nodes)?;
        }
        write!(f, "{}", self.quotas)?;
        for (name, entry) in &self.topics {
            // The partitions of one node's topics have one leader, which changed for all of them at once.
            let leader_epoch = entry.partitions.iter().map(|partition| partition.leader_epoch).max().unwrap_or(0);
            write!(f, "topic {name} {} {} {leader_epoch}", entry.id, entry.partitions.len())?;
            for (key, value) in entry.config.kept() {
                write!(f, " {key}={}", value.text)?;
            }
            writeln!(f)?;
            for partition in entry.partitions.iter().filter(|_| many_nodes) {
                let PartitionEntry { leader_epoch, replicas, isr, eligible, last_known, adding, removing } = partition;
                write!(f, "  epoch {leader_epoch} replicas {} isr {}", Row(replicas), Row(isr))?;
                let last_known = last_known.as_slice();
                let optional =
                    [(ELIGIBLE, &**eligible), (LAST_KNOWN, last_known), (ADDING, adding), (REMOVING, removing)];
                for (word, nodes) in optional.into_iter().filter(|(_, nodes)| !nodes.is_empty()) {
                    write!(f, "{word}{}", Row(nodes))?;
                }
                writeln!(f)?;
            }
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

#[derive(Clone, Copy)]
enum Version {
    OneNode,
    ManyNodes,
}

fn parse_version(line: &str) -> Option<Version> {
    match line {
        FIRST_LINE => Some(Version::OneNode),
        FIRST_LINE_MANY_NODES => Some(Version::ManyNodes),
        _ => None,
    }
}

fn parse_nodes(line: &str) -> Option<usize> {
    line.strip_prefix("nodes ")?.parse().ok().filter(|count| *count > 1)
}

/// Name, number of partitions, highest leader epoch, and the rest.
fn parse_topic(line: &str) -> Option<(String, i32, i32, TopicEntry)> {
    let mut words = line.strip_prefix("topic ")?.split(' ');
    let name = words.next()?.to_owned();
    let id = parse_id(words.next()?)?;
    let partitions = words.next()?.parse().ok().filter(|count| (1..=PARTITIONS_MAX).contains(count))?;
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
const FIRST_LINE: &str = "milena-catalogue 1";
const FIRST_LINE_MANY_NODES: &str = "milena-catalogue 2";

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let mut config = TopicConfig::default();
        config.set("message.timestamp.type", Some("LogAppendTime")).expect("a known setting");
        let partition = |leader_epoch| PartitionEntry { leader_epoch, ..PartitionEntry::default() };
        let orders = TopicEntry { id: Uuid([7; 16]), partitions: vec![partition(2); 3], config };
        let plain = TopicEntry { id: Uuid([200; 16]), partitions: vec![partition(0)], config: TopicConfig::default() };
        Catalogue {
            nodes: 1,
            cluster_id: "abc".to_owned(),
            producer_ids_reserved: 2_000,
            quotas: Quotas::default(),
            topics: [("orders".to_owned(), orders), ("a.b_c".to_owned(), plain)].into(),
        }
    }

    fn catalogue_of_three_nodes() -> Catalogue {
        let mut catalogue = Catalogue { nodes: 3, ..catalogue() };
        let partitions = catalogue.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        for (epoch, partition) in (0..).zip(partitions) {
            partition.leader_epoch = epoch;
            partition.replicas = vec![NodeId(2), NodeId(3), NodeId(1)];
            partition.isr = if epoch == 2 { Vec::new() } else { vec![NodeId(3)] };
            partition.eligible = if epoch > 0 { vec![NodeId(1), NodeId(2)] } else { Vec::new() };
            partition.last_known = (epoch == 2).then_some(NodeId(1));
            partition.adding = if epoch == 1 { vec![NodeId(1)] } else { Vec::new() };
            partition.removing = if epoch < 2 { vec![NodeId(2), NodeId(3)] } else { Vec::new() };
        }
        catalogue
    }

    #[test]
    fn text_reads_back_as_it_was_written() {
        for catalogue in [catalogue(), catalogue_of_three_nodes()] {
            assert_eq!(Catalogue::parse(&catalogue.to_string()), Ok(catalogue));
        }
    }

    #[test]
    fn quotas_stand_before_topics() {
        let mut catalogue = catalogue_of_three_nodes();
        catalogue.quotas.read_line("user= client-id=a%20b consumer_byte_rate=7").expect("a good line");
        let text = catalogue.to_string();
        assert_eq!(Catalogue::parse(&text), Ok(catalogue));
        let bad = text.replace("consumer_byte_rate=7", "consumer_byte_rate=-7");
        assert_eq!(Catalogue::parse(&bad), Err(BadLine { line: 5, what: "not a quota" }));
    }

    #[test]
    fn unreadable_line_is_named() {
        let text = catalogue().to_string().replace("topic orders", "tropic orders");
        assert_eq!(Catalogue::parse(&text), Err(BadLine { line: 5, what: "not a topic" }));
        let text = catalogue_of_three_nodes().to_string();
        let rows = [
            ("replicas 2,3,1 isr 3", "replicas 2,3,1", "not a partition"),
            ("replicas 2,3,1", "replicas 2,2,3", "not a partition"),
            ("isr 3", "isr 4", "not a partition"),
            ("isr -", "isr ", "not a partition"),
            ("last 1", "last 1,2", "not a partition"),
            ("elr 1,2", "elr 1,7", "not a partition"),
            ("removing 2,3", "removing 2,7", "not a partition"),
            ("removing 2,3", "removing ", "not a partition"),
            ("nodes 3", "nodes 1", "no number of nodes"),
        ];
        for (good, bad, what) in rows {
            let error = Catalogue::parse(&text.replacen(good, bad, 1)).expect_err(bad);
            assert_eq!(error.what, what, "{bad}");
        }
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
