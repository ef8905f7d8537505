//! What became of the batches that a process left in a journal (rule 26): for each producer id and partition, what to ask and what
//! the answers prove.
//!
//! ```text
//! Identified ── a fence is to be sent ──▶ Fencing ── acknowledged ──▶ Reading ── up to the fence ──────────▶ Confirming ──▶ Done
//!      └── none is ──▶ Ending ── it is known where the log ends ──────▶   │ └── as far as it is committed ──────────────────▲
//!                                                                        └── the log does not reach there ──▶ Bounding ─────┘
//! ```
//!
//! Always holds: the fence has the last epoch there is, which no producer uses, and sequence 0, so brokers recognise it however often
//! the journal is settled; without it nothing is said to be absent; what is found is written.
//!
//! Left out: requests and sockets, and the record that serves as the fence.

#[cfg(all(test, not(milena_model)))]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_wire::{ErrorCode, Uuid};

use super::back::{LogAnswer, OffsetAnswer, TopicRef, Use, read_on, use_of};
use super::completion::BatchEnd;
use super::journal::{Found, Reading, Sent};
use super::outcome::Undetermined;
use super::scan::{Base, Fence, Mark, Scan};
use super::stamped::{Print, Stamp};
use crate::ids::{Epoch, Identity, PartitionIndex, ProducerId, Sequence};

/// Of fences that settle what a process left behind; producers stop before it (rule 24).
pub const SETTLING_EPOCH: Epoch = Epoch(i16::MAX);

/// By what a journal is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleConfig {
    /// Whether there is a record that serves as a fence.
    pub has_fence: bool,
    /// Milliseconds of the wall clock.
    pub wall: i64,
    /// For how long brokers certainly remember (rule 17).
    pub horizon: Duration,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the log or never will be.
    Proven(Found),
    /// It is not known, for this reason.
    Undetermined(Undetermined),
}

/// What is to be found out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Which cluster this is, and which id the topic has.
    Identify,
    /// The fence is to be sent, one record with acks=all and the time of now, under this identity and sequence 0.
    Fence(Identity),
    /// Where the log ends, as far as it is committed.
    End,
    /// What stands in the log from here on.
    Log {
        /// An offset.
        offset: i64,
    },
    /// Nothing.
    Done,
}

/// Whether an answer was of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// On to the next step.
    Taken,
    /// The same is to be asked again, maybe of another broker.
    Again,
}

/// The batches in doubt of one producer id on one partition.
#[derive(Debug)]
pub struct Case {
    config: SettleConfig,
    key: Key,
    sent: Vec<Sent>,
    stage: Stage,
    /// Why nobody can be told to be absent though a fence was to be sent.
    fence_refused: Option<ErrorCode>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    cluster: Option<Arc<str>>,
    name: Arc<str>,
    id: [u8; 16],
    partition: PartitionIndex,
    producer_id: ProducerId,
}

#[derive(Debug)]
enum Stage {
    New,
    Fencing(Base),
    Ending(Base),
    Reading(Scan),
    /// There is nothing where the log was to be read on.
    Bounding(Scan),
    /// What was read counts if the topic is still the one that it was.
    Confirming(Vec<Verdict>),
    Done(Vec<Verdict>),
}

/// What a journal leaves in doubt, in the order of topics and partitions.
pub fn cases(reading: &Reading, config: SettleConfig) -> Vec<Case> {
    let mut cases: BTreeMap<Key, Vec<Sent>> = BTreeMap::new();
    for sent in reading.in_doubt() {
        let identity = sent.mark.stamp.identity.expect("a line of a journal has an identity");
        let key = Key {
            cluster: sent.cluster.clone(),
            name: Arc::clone(&sent.topic.name),
            id: sent.topic.id.0,
            partition: sent.partition,
            producer_id: identity.producer_id,
        };
        cases.entry(key).or_default().push(sent.clone());
    }
    let case = |(key, sent)| Case { config, key, sent, stage: Stage::New, fence_refused: None };
    cases.into_iter().map(case).collect()
}

impl Case {
    /// The topic, as it was when the batches were sent.
    pub fn topic(&self) -> TopicRef {
        TopicRef { name: Arc::clone(&self.key.name), id: Uuid(self.key.id) }
    }

    /// The partition.
    pub fn partition(&self) -> PartitionIndex {
        self.key.partition
    }

    /// Why the record that was to be the fence was not taken.
    pub fn fence_refused(&self) -> Option<ErrorCode> {
        self.fence_refused
    }

    /// What is to be found out next.
    pub fn step(&self) -> Step {
        match &self.stage {
            Stage::New | Stage::Confirming(_) => Step::Identify,
            Stage::Fencing(_) => Step::Fence(self.fence_identity()),
            Stage::Ending(_) | Stage::Bounding(_) => Step::End,
            Stage::Reading(scan) => Step::Log { offset: scan.next_offset() },
            Stage::Done(_) => Step::Done,
        }
    }

    /// Each batch with what became of it; nothing before [`Step::Done`].
    pub fn verdicts(&self) -> impl Iterator<Item = (&Sent, Verdict)> {
        let verdicts = if let Stage::Done(verdicts) = &self.stage { &verdicts[..] } else { &[] };
        self.sent.iter().zip(verdicts.iter().copied())
    }

    fn fence_identity(&self) -> Identity {
        Identity { producer_id: self.key.producer_id, epoch: SETTLING_EPOCH }
    }

    fn end_all(&mut self, why: Undetermined) {
        self.stage = Stage::Done(vec![Verdict::Undetermined(why); self.sent.len()]);
    }

    /// Which cluster answers, and the topic's id there; none if it has no such topic or partition. Names tell where ids are unknown.
    pub fn handle_identity(&mut self, cluster: Option<&str>, topic: Option<Uuid>) {
        let is_other_cluster = self.key.cluster.as_deref().zip(cluster).is_some_and(|(was, is)| was != is);
        let was = Uuid(self.key.id);
        let is_same_topic = topic.is_some_and(|is| is == was || is.is_zero() || was.is_zero());
        if is_other_cluster {
            return self.end_all(Undetermined::ClusterChanged);
        }
        if !is_same_topic {
            return self.end_all(Undetermined::TopicRecreated);
        }
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Confirming(verdicts) => self.stage = Stage::Done(verdicts),
            _ => self.begin(),
        }
    }

    /// From the oldest base on, as stretches of doubts are read (rule 19).
    fn begin(&mut self) {
        let base = self.sent.iter().filter_map(|sent| sent.base).min_by_key(|base| base.offset);
        match base {
            None => self.end_all(Undetermined::NoBase),
            Some(base) if self.config.has_fence => self.stage = Stage::Fencing(base),
            Some(base) => self.stage = Stage::Ending(base),
        }
    }

    /// What the broker says to the fence; its offset, or −1.
    pub fn handle_fence(&mut self, error: ErrorCode, offset: i64) -> Heard {
        let Stage::Fencing(base) = self.stage else { return Heard::Taken };
        match error {
            ErrorCode::NONE if offset >= 0 => {
                let identity = Some(self.fence_identity());
                let stamp = Stamp { identity, sequence: Sequence::FIRST, ordinal: 0 };
                let mark = Mark { stamp, count: 1, print: Print::UNKNOWN };
                self.stage = Stage::Reading(Scan::new(base, Fence { mark, offset }, self.marks()));
                self.conclude_if_read();
            }
            _ if is_worth_asking_again(error) => return Heard::Again,
            // Whoever cannot be fenced can still be found.
            _ => {
                self.fence_refused = Some(error);
                self.stage = Stage::Ending(base);
            }
        }
        Heard::Taken
    }

    fn marks(&self) -> impl Iterator<Item = Mark> + use<> {
        self.sent.iter().map(|sent| sent.mark).collect::<Vec<_>>().into_iter()
    }

    /// Where the log ends.
    pub fn handle_end(&mut self, answer: &OffsetAnswer) -> Heard {
        let end = match use_of(answer.error) {
            Use::Answered if answer.end_offset >= 0 => answer.end_offset,
            // Whether it begins behind what was to be read or ends before it: nothing more can be found.
            Use::Refused => i64::MAX,
            _ => return Heard::Again,
        };
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Ending(base) => {
                let mut scan = Scan::unfenced(base, end, self.marks());
                if end == i64::MAX {
                    scan.give_up(Undetermined::NotPermittedToRead);
                }
                self.stage = Stage::Reading(scan);
            }
            Stage::Bounding(mut scan) => {
                scan.give_up_out_of_range(end);
                self.stage = Stage::Reading(scan);
            }
            other => self.stage = other,
        }
        self.conclude_if_read();
        Heard::Taken
    }

    /// What stands in the log.
    pub fn handle_log(&mut self, answer: &LogAnswer) -> Heard {
        let Stage::Reading(scan) = &mut self.stage else { return Heard::Taken };
        let heard = match use_of(answer.error) {
            Use::Answered if read_on(scan, answer.records.clone()) => Heard::Taken,
            Use::Answered | Use::Again => Heard::Again,
            Use::Refused => {
                scan.give_up(Undetermined::NotPermittedToRead);
                Heard::Taken
            }
            Use::OutOfRange if scan.skip_witness() => Heard::Taken,
            Use::OutOfRange => {
                if let Stage::Reading(scan) = std::mem::replace(&mut self.stage, Stage::New) {
                    self.stage = Stage::Bounding(scan);
                }
                return Heard::Taken;
            }
        };
        self.conclude_if_read();
        heard
    }

    /// No answer came in the time there is. What was found until then is found.
    pub fn give_up(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Reading(mut scan) | Stage::Bounding(mut scan) => {
                scan.give_up(Undetermined::ScanTooLong);
                let verdicts = self.judge(&scan);
                self.stage = Stage::Done(verdicts);
            }
            Stage::Fencing(_) => self.end_all(Undetermined::NoFence),
            // Without the topic's id nothing is told of its log.
            Stage::New | Stage::Ending(_) | Stage::Confirming(_) => self.end_all(Undetermined::ScanTooLong),
            Stage::Done(verdicts) => self.stage = Stage::Done(verdicts),
        }
    }

    fn conclude_if_read(&mut self) {
        if let Stage::Reading(scan) = &self.stage
            && scan.is_done()
        {
            self.stage = Stage::Confirming(self.judge(scan));
        }
    }

    fn judge(&self, scan: &Scan) -> Vec<Verdict> {
        self.sent.iter().zip(scan.ends()).map(|(sent, end)| self.judge_one(sent, end)).collect()
    }

    /// Absence is proven only of what has a base, and of what brokers remember for sure (rule 17).
    fn judge_one(&self, sent: &Sent, end: BatchEnd) -> Verdict {
        let age = self.config.wall.saturating_sub(sent.sent_at);
        let horizon = i64::try_from(self.config.horizon.as_millis()).unwrap_or(i64::MAX);
        match end {
            BatchEnd::Written { base_offset: Some(offset), .. } => Verdict::Proven(Found::Written(offset)),
            _ if sent.base.is_none() => Verdict::Undetermined(Undetermined::NoBase),
            BatchEnd::NotWritten(_) if sent.is_stale => Verdict::Undetermined(Undetermined::StaleTimestamps),
            // A wall clock that went back does not tell how long it was.
            BatchEnd::NotWritten(_) if age > horizon || age < -CLOCK_SLACK_MILLIS => {
                Verdict::Undetermined(Undetermined::ProducerStateExpired)
            }
            BatchEnd::NotWritten(_) => Verdict::Proven(Found::NotWritten),
            BatchEnd::Undetermined(why) => Verdict::Undetermined(why),
            BatchEnd::Written { .. } | BatchEnd::InParts => Verdict::Undetermined(Undetermined::NoFence),
        }
    }
}

/// The journal may have been written on another host of the same cluster, whose clock is a little ahead.
const CLOCK_SLACK_MILLIS: i64 = 60_000;

/// Where the fence may be taken the next time: its stamp makes sure that it stands in the log once. The rest of Kafka's codes says
/// no to the record, or to whoever sends it.
fn is_worth_asking_again(error: ErrorCode) -> bool {
    error.is_retriable() || error == ErrorCode::UNKNOWN_SERVER_ERROR
}
