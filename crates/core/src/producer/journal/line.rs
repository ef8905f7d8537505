//! The lines of a journal, as text: words with spaces between them, and at the end of each line its checksum.
//!
//! ```text
//! milena-fate-journal 1 GENERATION
//! sent NUMBER CLUSTER TOPIC TOPIC-ID PARTITION PRODUCER-ID EPOCH SEQUENCE COUNT BASE WITNESS OPENED SENT STALE CHECKSUM
//! done NUMBER.. CHECKSUM
//! found NUMBER written OFFSET CHECKSUM
//! found NUMBER not-written CHECKSUM
//! ```
//!
//! Always holds: each line stands for itself, so a damaged one takes no other with it. What is unknown is `-`.

use std::fmt::Write;
use std::str::{FromStr, Split};
use std::sync::Arc;

use milena_wire::{Uuid, crc32c};

use crate::ids::{Epoch, Identity, PartitionIndex, ProducerId, Sequence};
use crate::producer::back::TopicRef;
use crate::producer::scan::{Base, Mark, Witness};
use crate::producer::stamped::{Print, Stamp};

/// A batch that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Of its line; never given twice in a journal.
    pub number: u64,
    /// The cluster that gave the producer id, if it told its own id.
    pub cluster: Option<Arc<str>>,
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// Its stamp, and how many records it has.
    pub mark: Mark,
    /// The last offset that was committed before it, as far as that was known.
    pub base: Option<Base>,
    /// Its timestamps were too old to rely on what brokers remember.
    pub is_stale: bool,
    /// When its first record was accepted, in milliseconds of the wall clock.
    pub opened_at: i64,
    /// When it was first handed over, in milliseconds of the wall clock.
    pub sent_at: i64,
}

/// What a process that settled the journal found out with proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The batch is in the log, its first record here.
    Written(i64),
    /// It is not, and never will be.
    NotWritten,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Sent(Box<Sent>),
    Done(Vec<u64>),
    Found(u64, Found),
}

pub(super) const NAME: &str = "milena-fate-journal";
pub(super) const VERSION: &str = "1";

/// Of lines and generations: nobody counts so far, and whoever goes on from there must not overflow.
pub(super) const NUMBER_MAX: u64 = 1 << 62;

/// The first line.
pub(super) fn header(generation: u64) -> String {
    format!("{NAME} {VERSION} {generation}\n")
}

impl Sent {
    pub(in crate::producer) fn to_line(&self) -> String {
        let stamp = self.mark.stamp;
        let (producer, epoch) = stamp.identity.map_or((-1, -1), |identity| (identity.producer_id.0, identity.epoch.0));
        let mut line = format!("sent {} ", self.number);
        match &self.cluster {
            Some(cluster) => escape(&mut line, cluster),
            None => line.push('-'),
        }
        line.push(' ');
        escape(&mut line, &self.topic.name);
        let (id, partition, sequence) = (u128::from_be_bytes(self.topic.id.0), self.partition, stamp.sequence);
        append(&mut line, format_args!(" {id:032x} {partition} {producer} {epoch} {sequence} {} ", self.mark.count));
        match self.base {
            Some(base) => {
                append(&mut line, format_args!("{} ", base.offset));
                write_witness(&mut line, base.witness);
            }
            None => line.push_str("- -"),
        }
        let stale = if self.is_stale { "stale" } else { "-" };
        append(&mut line, format_args!(" {} {} {stale}", self.opened_at, self.sent_at));
        seal(&mut line, 0);
        line
    }
}

/// These have ended.
pub(super) fn strike_out(lines: &mut String, numbers: &[u64]) {
    let from = lines.len();
    lines.push_str("done");
    numbers.iter().for_each(|number| append(lines, format_args!(" {number}")));
    seal(lines, from);
}

/// What was found out about this one.
pub fn found(number: u64, found: Found) -> String {
    let mut line = match found {
        Found::Written(offset) => format!("found {number} written {offset}"),
        Found::NotWritten => format!("found {number} not-written"),
    };
    seal(&mut line, 0);
    line
}

fn write_witness(line: &mut String, witness: Witness) {
    match witness {
        Witness::Own(Mark { stamp: Stamp { identity: Some(identity), sequence, .. }, count, .. }) => {
            append(line, format_args!("own:{}:{}:{sequence}:{count}", identity.producer_id, identity.epoch));
        }
        Witness::Epoch(epoch) => append(line, format_args!("epoch:{epoch}")),
        Witness::Own(_) | Witness::Nobody => line.push('-'),
    }
}

fn append(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a string takes everything");
}

/// Ends the line that begins there.
fn seal(lines: &mut String, from: usize) {
    let sum = crc32c::checksum(&lines.as_bytes()[from..]);
    append(lines, format_args!(" {sum:08x}\n"));
}

/// Names of topics need none of it; a cluster may call itself anything.
fn escape(line: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'%' | b'-' if name == "-" || byte == b'%' => append(line, format_args!("%{byte:02x}")),
            b'!'..=b'~' => line.push(char::from(byte)),
            _ => append(line, format_args!("%{byte:02x}")),
        }
    }
    if name.is_empty() {
        line.push('%');
    }
}

fn unescape(word: &str) -> Option<String> {
    if word == "%" {
        return Some(String::new());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(word.len()), word.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push((high << 4 | low) as u8);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Checksum,
    Form,
}

/// A line without its end.
pub(super) fn parse(line: &[u8]) -> Result<Line, Bad> {
    let text = std::str::from_utf8(line).map_err(|_| Bad::Checksum)?;
    let (content, sum) = text.rsplit_once(' ').ok_or(Bad::Checksum)?;
    let sum = (sum.len() == 8).then(|| u32::from_str_radix(sum, 16).ok()).flatten();
    if sum != Some(crc32c::checksum(content.as_bytes())) {
        return Err(Bad::Checksum);
    }
    let mut words = Words(content.split(' '));
    let line = match words.0.next() {
        Some("sent") => words.sent().map(|sent| Line::Sent(Box::new(sent))),
        Some("done") => words.0.by_ref().map(|word| word.parse().ok()).collect::<Option<_>>().map(Line::Done),
        Some("found") => words.found().map(|(number, found)| Line::Found(number, found)),
        _ => None,
    };
    line.filter(|_| words.0.next().is_none()).ok_or(Bad::Form)
}

struct Words<'a>(Split<'a, char>);

impl<'a> Words<'a> {
    fn next<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    /// Of a line.
    fn number(&mut self) -> Option<u64> {
        self.next().filter(|number| *number < NUMBER_MAX)
    }

    fn found(&mut self) -> Option<(u64, Found)> {
        let number = self.number()?;
        let found = match self.0.next()? {
            "written" => Found::Written(self.next().filter(|offset| *offset >= 0)?),
            "not-written" => Found::NotWritten,
            _ => return None,
        };
        Some((number, found))
    }

    fn sent(&mut self) -> Option<Sent> {
        let number = self.number()?;
        let cluster = match self.0.next()? {
            "-" => None,
            word => Some(Arc::from(unescape(word)?)),
        };
        let name: Arc<str> = unescape(self.0.next()?)?.into();
        let id = self.0.next().filter(|word| word.len() == 32)?;
        let id = Uuid(u128::from_str_radix(id, 16).ok()?.to_be_bytes());
        let partition = PartitionIndex(self.next().filter(|index| *index >= 0)?);
        let mark = mark(&mut self.0, number)?;
        let base = self.base()?;
        let (opened_at, sent_at) = (self.next()?, self.next()?);
        let is_stale = match self.0.next()? {
            "stale" => true,
            "-" => false,
            _ => return None,
        };
        let topic = TopicRef { name, id };
        Some(Sent { number, cluster, topic, partition, mark, base, is_stale, opened_at, sent_at })
    }

    fn base(&mut self) -> Option<Option<Base>> {
        let (offset, witness) = (self.0.next()?, self.0.next()?);
        if offset == "-" {
            return (witness == "-").then_some(None);
        }
        let offset = offset.parse().ok().filter(|offset| *offset >= -1)?;
        let witness = match witness.split_once(':') {
            None => (witness == "-").then_some(Witness::Nobody)?,
            Some(("epoch", epoch)) => Witness::Epoch(epoch.parse().ok()?),
            Some(("own", own)) => Witness::Own(mark(&mut own.split(':'), 0)?),
            Some(_) => return None,
        };
        Some(Some(Base { offset, witness }))
    }
}

/// Producer id, epoch, sequence, count.
fn mark(words: &mut Split<'_, char>, ordinal: u64) -> Option<Mark> {
    let mut words = words.take(4);
    let producer_id = ProducerId(words.next()?.parse().ok().filter(|id| *id >= 0)?);
    let epoch = Epoch(words.next()?.parse().ok().filter(|epoch| (0..i16::MAX).contains(epoch))?);
    let sequence = Sequence::new(words.next()?.parse().ok()?)?;
    let count = words.next()?.parse().ok().filter(|count| (1..=i32::MAX as u32).contains(count))?;
    let identity = Some(Identity { producer_id, epoch });
    Some(Mark { stamp: Stamp { identity, sequence, ordinal }, count, print: Print::UNKNOWN })
}
