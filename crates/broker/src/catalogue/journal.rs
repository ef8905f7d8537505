//! The catalogue's file: changes one after the other, each with its length and checksum, the first of which says everything.
//!
//! ```text
//! milena-catalogue 3
//! = 62 5e0a91c4
//! cluster-id fPvv…
//! producer-ids-reserved 1000
//! topic orders nzIh… 3 0
//! = 12 09bd3ad7
//! no-topic orders
//! ```
//!
//! The file is begun anew, wholly or not at all, when the changes are as long as what they change. A crash leaves a part of the last
//! change, which is cut: nobody was told of it. Where a whole change follows one that is not, something else has damaged the file, and it is
//! refused. Files of earlier versions had no changes and are read as they are.

use milena_wire::crc32c;

use super::text::{Reading, changes_text};
use super::{BadLine, Catalogue, CatalogueChange};

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) catalogue: Catalogue,
    /// How much of the file is whole; the rest was never finished.
    pub(crate) whole_bytes: usize,
}

impl Catalogue {
    /// A file of its own.
    pub(crate) fn file(&self) -> String {
        format!("{FIRST_LINE}\n{}", framed(&self.to_string()))
    }
}

/// Changes that count together or not at all, as they stand in a file.
pub(crate) fn block(changes: &[CatalogueChange]) -> String {
    framed(&changes_text(changes))
}

fn framed(text: &str) -> String {
    format!("= {} {:08x}\n{text}", text.len(), crc32c::checksum(text.as_bytes()))
}

impl Journal {
    pub(crate) fn read(content: &[u8]) -> Result<Journal, BadLine> {
        let bad = |what| BadLine { line: 1, what };
        let first = content.split(|byte| *byte == b'\n').next().filter(|first| !first.is_empty());
        let first = first.ok_or(bad("missing first line"))?;
        let mut reading = Reading::begun();
        if OLDER_FIRST_LINES.iter().any(|older| older.as_bytes() == first) {
            let text = std::str::from_utf8(content).map_err(|_| bad("not text"))?;
            reading.read(&text[(first.len() + 1).min(text.len())..], 2)?;
            let catalogue = reading.end(text.lines().count() + 1)?;
            return Ok(Journal { catalogue, whole_bytes: content.len() });
        }
        if first != FIRST_LINE.as_bytes() {
            return Err(bad("not a catalogue of this version"));
        }
        let (mut at, mut line) = ((first.len() + 1).min(content.len()), 2);
        let mut blocks = 0;
        while at < content.len() {
            let Some((text, end)) = whole_block(&content[at..]) else { break };
            reading.read(text, line + 1)?;
            line += 1 + text.lines().count();
            at += end;
            blocks += 1;
        }
        let rest = &content[at..];
        // What was never finished begins as it should, or with what the disk had there before.
        let is_foreign = rest.first().is_some_and(|first| !b"=\0".contains(first));
        // The first one was there before the file had its name.
        if blocks == 0 || is_foreign || has_whole_block(rest) {
            return Err(BadLine { line, what: "damaged" });
        }
        Ok(Journal { catalogue: reading.end(line)?, whole_bytes: at })
    }
}

/// The text of the block at the start of some bytes, and where it ends.
fn whole_block(bytes: &[u8]) -> Option<(&str, usize)> {
    let head_bytes = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&bytes[..head_bytes]).ok()?;
    let (length, crc) = head.strip_prefix("= ")?.split_once(' ')?;
    let length: usize = length.parse().ok()?;
    let text = bytes.get(head_bytes + 1..)?.get(..length)?;
    let is_whole = u32::from_str_radix(crc, 16).ok()? == crc32c::checksum(text);
    Some((std::str::from_utf8(text).ok().filter(|_| is_whole)?, head_bytes + 1 + length))
}

/// Whether one begins anywhere behind the first byte.
fn has_whole_block(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|at| bytes[at..].starts_with(b"= ") && whole_block(&bytes[at..]).is_some())
}

const FIRST_LINE: &str = "milena-catalogue 3";
/// Of one node, and of several.
const OLDER_FIRST_LINES: [&str; 2] = ["milena-catalogue 1", "milena-catalogue 2"];
/// A sign, a length, a checksum, and blanks between them.
const HEAD_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {

    use milena_wire::Uuid;

    use super::super::{PartitionEntry, TopicEntry};
    use super::*;
    use crate::ids::{NodeId, PartitionIndex};
    use crate::quotas::Quotas;
    use crate::topic_config::TopicConfig;

    fn read(file: &str) -> Result<Catalogue, BadLine> {
        Journal::read(file.as_bytes()).map(|journal| journal.catalogue)
    }

    /// The same as an earlier version wrote it.
    fn older(catalogue: &Catalogue) -> String {
        format!("{}\n{catalogue}", OLDER_FIRST_LINES[usize::from(catalogue.nodes > 1)])
    }

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
            assert_eq!(read(&catalogue.file()), Ok(catalogue));
        }
    }

    #[test]
    fn a_topic_that_grew_beyond_what_one_request_makes_is_read() {
        let mut catalogue = catalogue();
        let grown = catalogue.topics.get_mut("orders").expect("it is there");
        grown.partitions = vec![grown.partitions[0].clone(); 10_003];
        assert_eq!(read(&catalogue.file()), Ok(catalogue));
    }

    #[test]
    fn files_of_earlier_versions_are_read() {
        for catalogue in [catalogue(), catalogue_of_three_nodes()] {
            assert_eq!(read(&older(&catalogue)), Ok(catalogue));
        }
    }

    type Applied = Box<dyn Fn(&mut Catalogue)>;

    /// Every change there is, and what it makes of a catalogue.
    fn changes() -> Vec<(CatalogueChange, Applied)> {
        let name = || "orders".to_owned();
        let entry = catalogue_of_three_nodes().topics.remove("orders").expect("it is there");
        let partition = PartitionEntry { leader_epoch: 9, replicas: vec![NodeId(1)], ..PartitionEntry::default() };
        let mut quotas = Quotas::default();
        quotas.read_line("user= client-id=a%20b consumer_byte_rate=7").expect("a good line");
        let (again, one, some) = (entry.clone(), partition.clone(), quotas.clone());
        vec![
            (CatalogueChange::ProducerIds(3_000), Box::new(|it| it.producer_ids_reserved = 3_000)),
            (CatalogueChange::Quotas(quotas), Box::new(move |it| it.quotas = some.clone())),
            (CatalogueChange::TopicGone { name: name() }, Box::new(|it| drop(it.topics.remove("orders")))),
            (
                CatalogueChange::Topic { name: name(), entry },
                Box::new(move |it| drop(it.topics.insert("orders".to_owned(), again.clone()))),
            ),
            (
                CatalogueChange::Partition { name: name(), index: PartitionIndex(1), entry: partition },
                Box::new(move |it| it.topics.get_mut("orders").expect("it is there").partitions[1] = one.clone()),
            ),
            (CatalogueChange::Quotas(Quotas::default()), Box::new(|it| it.quotas = Quotas::default())),
        ]
    }

    #[test]
    fn changes_are_read_in_their_order_each_wholly_or_not_at_all() {
        let mut catalogue = catalogue_of_three_nodes();
        let (mut file, mut told) = (catalogue.file(), vec![]);
        for (change, apply) in changes() {
            let before = (catalogue.clone(), file.len());
            apply(&mut catalogue);
            file.push_str(&block(std::slice::from_ref(&change)));
            assert_eq!(read(&file).as_ref(), Ok(&catalogue), "{change:?}");
            for end in before.1..file.len() {
                let cut = Journal::read(&file.as_bytes()[..end]).expect("a crash leaves this");
                assert_eq!((cut.catalogue, cut.whole_bytes), before, "{change:?} cut at {end}");
                let zeros = [&file.as_bytes()[..end], &vec![0; file.len() - end]].concat();
                assert_eq!(Journal::read(&zeros).expect("so does the loss of power").whole_bytes, before.1);
            }
            told.push(change);
        }
        let together = catalogue_of_three_nodes().file() + &block(&told);
        assert_eq!(read(&together), Ok(catalogue));
    }

    #[test]
    fn damage_before_a_whole_change_is_refused_wherever_it_is() {
        let mut file = catalogue_of_three_nodes().file();
        let begun = file.len();
        changes().iter().for_each(|(change, _)| file.push_str(&block(std::slice::from_ref(change))));
        let last = file.rfind("= ").expect("there are blocks");
        for at in 0..last {
            let mut bytes = file.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Journal::read(&bytes).is_err(), "{at}");
        }
        assert_eq!(Journal::read(&file.as_bytes()[..begun - 1]).map_err(|bad| bad.what), Err("damaged"));
        assert_eq!(Journal::read(b"").map_err(|bad| bad.what), Err("missing first line"));
        assert_eq!(
            Journal::read(b"milena-catalogue 4\n").map_err(|bad| bad.what),
            Err("not a catalogue of this version")
        );
    }

    #[test]
    fn unreadable_line_is_named() {
        let text = older(&catalogue()).replace("topic orders", "tropic orders");
        assert_eq!(read(&text), Err(BadLine { line: 5, what: "not a line of a catalogue" }));
        let text = older(&catalogue_of_three_nodes());
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
            ("cluster-id abc\n", "", "missing cluster id"),
            ("producer-ids-reserved 2000", "producer-ids-reserved x", "no number of reserved producer ids"),
            ("cluster-id abc", "quota user=a", "not a quota"),
            ("cluster-id abc", "no-topic abc", "no topic that is there"),
            ("cluster-id abc", "partition abc 0", "no partition that is there"),
        ];
        for (good, bad, what) in rows {
            let error = read(&text.replacen(good, bad, 1)).expect_err(bad);
            assert_eq!(error.what, what, "{bad}");
        }
    }
}
