//! What a process leaves behind of batches that it sent and was not told of (rule 26): which lines are in the journal, which are
//! to be written, and when the journal is to be made small again.
//!
//! Always holds: a batch is in the journal before the first byte of its request is handed over; a line leaves it only after
//! the batch has ended, or its stamp is proven void; what is in the journal is bounded by what is unsettled, however long the
//! process runs.
//!
//! The lines are in `journal/line.rs`, what is made of a whole journal in `journal/reading.rs`. Left out: the file.

mod line;
mod reading;
#[cfg(all(test, not(milena_model)))]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::back::TopicRef;
use super::completion::{BatchCompletion, BatchEnd};
use super::ended::Ended;
use super::outcome::Undetermined;
use super::scan::{Base, Mark};
use crate::ids::{PartitionIndex, ProducerId};

pub use line::{Found, Sent, found};
pub use reading::{Damage, DamageKind, Reading, Unreadable, read};

/// A batch that a connection is about to carry.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// Its stamp and how many records it has.
    pub mark: Mark,
    /// From where on the log would have it.
    pub base: Option<Base>,
    /// Its timestamps are so old that brokers forget the producer too soon (rule 17).
    pub is_stale: bool,
    /// When its first record was accepted, in milliseconds of the wall clock.
    pub opened_at: i64,
    pub(super) batch: BatchKey,
}

/// Who is told of batches before they are handed over; the fate journal, or nobody.
pub trait Scribe {
    /// Whether anybody is told.
    const IS_ON: bool;

    /// Whether batches may get stamps now. If not, they wait.
    fn may_claim(&mut self) -> bool;

    /// These are about to be handed over. If not all are noted, none may be.
    fn note(&mut self, sendings: &[Sending]) -> bool;
}

/// Nobody is told.
impl Scribe for () {
    const IS_ON: bool = false;

    fn may_claim(&mut self) -> bool {
        true
    }

    fn note(&mut self, _: &[Sending]) -> bool {
        true
    }
}

/// Which batch: its completion, and the first record of it that it carries. Nobody else has both while it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BatchKey(usize, u32);

impl BatchKey {
    pub(super) fn new(completion: &Arc<BatchCompletion>, first: u32) -> Self {
        Self(Arc::as_ptr(completion) as usize, first)
    }
}

/// The machine.
#[derive(Debug)]
pub struct Journal {
    generation: u64,
    next_number: u64,
    /// Which cluster gave a producer id.
    clusters: BTreeMap<ProducerId, Arc<str>>,
    /// Lines of batches that have not ended; never iterated.
    open: HashMap<BatchKey, Open>,
    /// Every line that is not struck out, by its number.
    lines: BTreeMap<u64, Box<str>>,
    live_bytes: usize,
    /// Of batches that ended in doubt, oldest first: another process may find out more.
    doubtful: VecDeque<u64>,
    /// Struck out, and not told to the file.
    struck: Vec<u64>,
    /// To be appended.
    staged: String,
    /// Lines from this number on may not be in the file.
    unwritten_from: u64,
    file_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u64,
    mark: Mark,
}

/// What is to be done to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Nothing.
    Nothing,
    /// Only its first line is to be left, at this length.
    Truncate(u64),
    /// It is to be replaced by one with this content.
    Replace(String),
}

/// A journal with nothing but dead lines is left alone below this size, and one with others below this part of them: it would
/// be made small for the sake of a page.
pub const DEAD_BYTES_MAX: usize = 64 * 1024;

/// Batches that ended in doubt and stay in the journal: a process that is told of more has somebody who looks.
pub const DOUBTFUL_MAX: usize = 4096;

/// Ended batches that a file is not told of while others are unsettled; the next line goes along with them.
const STRUCK_MAX: usize = 64;

impl Journal {
    /// One that goes on from what an earlier process left: its batches in doubt stay in it.
    pub fn resume(left: &Reading) -> Self {
        let mut journal = Self {
            generation: left.generation,
            next_number: left.next_number,
            clusters: BTreeMap::new(),
            open: HashMap::new(),
            lines: BTreeMap::new(),
            live_bytes: 0,
            doubtful: VecDeque::new(),
            struck: Vec::new(),
            staged: String::new(),
            unwritten_from: left.next_number,
            file_bytes: 0,
        };
        for sent in left.in_doubt() {
            journal.keep_line(sent.number, sent.to_line());
            journal.doubtful.push_back(sent.number);
        }
        journal
    }

    /// This cluster gave this producer id.
    pub fn note_cluster(&mut self, producer_id: ProducerId, cluster: &Arc<str>) {
        self.clusters.insert(producer_id, Arc::clone(cluster));
    }

    /// These are about to be handed over, at this time of the wall clock. Those that are in the journal already change nothing.
    pub fn note(&mut self, sendings: &[Sending], wall: i64) {
        for sending in sendings {
            let known = self.open.get(&sending.batch).copied();
            if known.is_some_and(|open| open.mark == sending.mark) {
                continue;
            }
            // A second stamp is given only once the first is proven void (rule 2).
            if let Some(void) = known {
                self.strike(void.number);
            }
            let number = self.next_number;
            self.next_number += 1;
            let cluster = sending.mark.stamp.identity.and_then(|identity| self.clusters.get(&identity.producer_id));
            let line = Sent {
                number,
                cluster: cluster.cloned(),
                topic: sending.topic.clone(),
                partition: sending.partition,
                mark: sending.mark,
                base: sending.base,
                is_stale: sending.is_stale,
                opened_at: sending.opened_at,
                sent_at: wall,
            }
            .to_line();
            self.staged.push_str(&line);
            self.keep_line(number, line);
            self.open.insert(sending.batch, Open { number, mark: sending.mark });
        }
    }

    fn keep_line(&mut self, number: u64, line: String) {
        self.live_bytes += line.len();
        self.lines.insert(number, line.into());
    }

    fn strike(&mut self, number: u64) {
        if let Some(line) = self.lines.remove(&number) {
            self.live_bytes -= line.len();
            self.struck.push(number);
        }
    }

    /// Whether the lines of these are in the file.
    pub fn are_written(&self, sendings: &[Sending]) -> bool {
        let is_written =
            |sending: &Sending| self.open.get(&sending.batch).is_some_and(|open| open.number < self.unwritten_from);
        sendings.iter().all(is_written)
    }

    /// A batch has ended.
    pub fn handle_ended(&mut self, ended: &Ended) {
        let (key, end) = match ended {
            Ended::Stamped(batch, end) => (BatchKey::new(&batch.completion, batch.records.start), end),
            Ended::Doubt(doubt, end) => (BatchKey::new(&doubt.completion, doubt.records.start), end),
            Ended::Sealed(..) | Ended::Records(..) | Ended::Payload(..) => return,
        };
        let Some(open) = self.open.remove(&key) else { return };
        match end {
            BatchEnd::Undetermined(why) if may_be_found_out(*why) => {
                self.doubtful.push_back(open.number);
                if self.doubtful.len() > DOUBTFUL_MAX
                    && let Some(oldest) = self.doubtful.pop_front()
                {
                    self.strike(oldest);
                }
            }
            _ => self.strike(open.number),
        }
    }

    /// Whether the file should be told of what has ended, though nothing is to be sent.
    pub fn wants_write(&self) -> bool {
        !self.struck.is_empty() && (self.open.is_empty() || self.struck.len() >= STRUCK_MAX)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What is to be appended; kept until [`Self::handle_appended`].
    pub fn poll_append(&mut self) -> Option<&str> {
        if !self.struck.is_empty() {
            line::strike_out(&mut self.staged, &self.struck);
            self.struck.clear();
        }
        (!self.staged.is_empty()).then_some(&self.staged)
    }

    /// All of it is in the file.
    pub fn handle_appended(&mut self) {
        self.file_bytes += self.staged.len() as u64;
        self.handle_stored();
    }

    /// Bytes of the file that count; what may stand behind them was not written whole.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Whether the file has grown so much that it should be made small.
    pub fn upkeep(&self) -> Upkeep {
        let header = line::header(self.generation).len();
        let dead = self.file_bytes.saturating_sub((header + self.live_bytes) as u64);
        if dead <= DEAD_BYTES_MAX.max(self.live_bytes) as u64 {
            return Upkeep::Nothing;
        }
        if self.lines.is_empty() && self.file_bytes > 0 {
            return Upkeep::Truncate(header as u64);
        }
        Upkeep::Replace(self.content())
    }

    /// All that a file of its own would have, under the next generation.
    pub fn content(&self) -> String {
        let mut content = line::header(self.generation + 1);
        self.lines.values().for_each(|line| content.push_str(line));
        content
    }

    /// Only its first line is left of the file.
    pub fn handle_truncated(&mut self, bytes: u64) {
        self.file_bytes = bytes;
        self.handle_stored();
    }

    /// The file was replaced by [`Self::content`].
    pub fn handle_replaced(&mut self, bytes: u64) {
        self.generation += 1;
        self.file_bytes = bytes;
        self.handle_stored();
    }

    fn handle_stored(&mut self) {
        self.staged.clear();
        self.struck.clear();
        self.unwritten_from = self.next_number;
    }
}

/// Whether reading the log later, or under other rights, may tell more.
fn may_be_found_out(why: Undetermined) -> bool {
    use Undetermined::*;
    !matches!(
        why,
        NoBase
            | TopicRecreated
            | ClusterChanged
            | LogTruncated
            | OffsetGap
            | DataLossSeen
            | NoAcknowledgementAsked
            | LeaderOnly
    )
}
