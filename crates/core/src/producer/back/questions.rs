//! What a partition wants to know of its log, and what the answers mean: where it ends before the first batch is sent, so that
//! a later doubt has a base (rule 21), and what stands between a base and a fence (rule 22).
//!
//! Always holds: one question of a partition is open at a time, and its answer counts only while it is; an answer that is no
//! use is asked for again, with growing pauses. Questions hold up nobody but, before its first batch, the partition itself.
//!
//! Left out: the requests (`lane/questions.rs`), reading the log (`scan.rs`).

use bytes::Bytes;
use milena_wire::ErrorCode;
use milena_wire::records;

use super::PartitionBack;
use crate::backoff::Chance;
use crate::producer::ended::Ended;
use crate::producer::scan::{Base, Scan, Witness};
use crate::producer::verdict::Acks;
use crate::time::Moment;

/// What to ask the partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Where the log ends, as far as it is committed.
    End,
    /// What stands there.
    Log {
        /// From here on.
        offset: i64,
    },
}

/// A question that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAnswer {
    /// NONE or why it is not told.
    pub error: ErrorCode,
    /// Behind the last committed record.
    pub end_offset: i64,
    /// Of the leader; −1 if it does not tell.
    pub leader_epoch: i32,
}

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAnswer {
    /// NONE or why it is not told.
    pub error: ErrorCode,
    /// Whole batches, and maybe the beginning of one more.
    pub records: Bytes,
}

#[derive(Debug)]
pub(super) struct Questions {
    next: u64,
    open: Option<Ticket>,
    not_before: Moment,
    failures: u32,
    /// The leader will not tell where the log ends.
    is_end_refused: bool,
    /// The leader did not show the log when it was asked last.
    pub(super) may_not_read: bool,
    /// There is nothing where the log was to be read on: because it begins behind that, or because it ends before it.
    is_out_of_range: bool,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            next: 0,
            open: None,
            not_before: Moment::START,
            failures: 0,
            is_end_refused: false,
            may_not_read: false,
            is_out_of_range: false,
        }
    }
}

/// What an answer's code means for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Use {
    Answered,
    /// Not permitted, now or ever.
    Refused,
    /// The log does not reach there.
    OutOfRange,
    /// Another broker may lead, or this one in a moment.
    Again,
}

pub(in crate::producer) fn use_of(code: ErrorCode) -> Use {
    match code {
        ErrorCode::NONE => Use::Answered,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::UNSUPPORTED_VERSION
        | ErrorCode::INVALID_REQUEST => Use::Refused,
        ErrorCode::OFFSET_OUT_OF_RANGE => Use::OutOfRange,
        _ => Use::Again,
    }
}

impl PartitionBack {
    /// Whether the first batch waits until it is known where the log ends.
    pub(super) fn needs_base(&self) -> bool {
        let is_provable = self.config.is_idempotent && self.config.acks == Acks::All;
        let is_known = self.base.is_some() || self.questions.is_end_refused;
        let withdraws = || {
            let next = self.renewed.front().map(|batch| batch.withdraws);
            self.config.withdraws
                || self.config.has_journal
                || next.or(self.pending.front().map(|batch| batch.withdraws)) == Some(true)
        };
        // What is on its way already may be appended before an answer comes.
        is_provable && !is_known && self.unsettled.is_empty() && withdraws()
    }

    /// What is to be asked, if anything is, and may be now.
    pub(in crate::producer) fn next_question(&mut self, now: Moment) -> Option<Question> {
        if self.questions.open.is_some() || self.questions.not_before > now {
            return None;
        }
        if self.doubts.wants_end() {
            return Some(Question::End);
        }
        if let Some(scan) = self.doubts.scan() {
            if self.questions.is_out_of_range {
                return Some(Question::End);
            }
            return Some(Question::Log { offset: scan.next_offset() });
        }
        let has_work = !self.pending.is_empty() || !self.renewed.is_empty();
        (has_work && self.needs_base()).then_some(Question::End)
    }

    /// When [`Self::next_question`] has something.
    pub(in crate::producer) fn asks_at(&self) -> Option<Moment> {
        let has_work = !self.pending.is_empty() || !self.renewed.is_empty();
        let is_wanted = self.doubts.wants_log() || has_work && self.needs_base();
        (is_wanted && self.questions.open.is_none()).then_some(self.questions.not_before)
    }

    /// The question goes out.
    pub(in crate::producer) fn ask(&mut self) -> Ticket {
        let ticket = Ticket(self.questions.next);
        self.questions.next += 1;
        self.questions.open = Some(ticket);
        ticket
    }

    /// Nobody here will hear of the question that is open: the partition leaves.
    pub(in crate::producer) fn forget_questions(&mut self) {
        self.questions.open = None;
        (self.questions.is_end_refused, self.questions.is_out_of_range) = (false, false);
    }

    fn take_ticket(&mut self, ticket: Ticket) -> bool {
        let is_open = self.questions.open == Some(ticket);
        if is_open {
            self.questions.open = None;
        }
        is_open
    }

    /// The connection is gone, or the answer says nothing.
    pub(in crate::producer) fn handle_question_lost(&mut self, now: Moment, ticket: Ticket, chance: &mut Chance) {
        if self.take_ticket(ticket) {
            self.ask_again(now, chance);
        }
    }

    fn ask_again(&mut self, now: Moment, chance: &mut Chance) {
        self.questions.failures += 1;
        self.questions.not_before = now + self.config.retry.after(self.questions.failures, chance);
    }

    /// Where the log ends. Whether the partition may be led elsewhere.
    pub(in crate::producer) fn handle_end(
        &mut self,
        now: Moment,
        ticket: Ticket,
        answer: &OffsetAnswer,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) -> bool {
        if !self.take_ticket(ticket) {
            return false;
        }
        match use_of(answer.error) {
            Use::Answered if answer.end_offset >= 0 && self.questions.is_out_of_range => {
                self.end_out_of_range(answer.end_offset, ended);
                false
            }
            Use::Answered if answer.end_offset >= 0 && self.doubts.wants_end() => {
                self.questions.failures = 0;
                self.read_without_fence(answer.end_offset, ended);
                false
            }
            Use::Answered if answer.end_offset >= 0 => {
                self.questions.failures = 0;
                let offset = answer.end_offset - 1;
                let witness =
                    if answer.leader_epoch < 0 { Witness::Nobody } else { Witness::Epoch(answer.leader_epoch) };
                self.base = Some(Base { offset, witness });
                false
            }
            Use::Refused if self.questions.is_out_of_range => {
                self.end_out_of_range(i64::MAX, ended);
                false
            }
            Use::Refused if self.doubts.wants_end() => {
                self.read_without_fence(0, ended);
                false
            }
            Use::Refused => {
                self.questions.is_end_refused = true;
                false
            }
            Use::Answered | Use::OutOfRange | Use::Again => {
                self.ask_again(now, chance);
                true
            }
        }
    }

    /// Nothing that could be read is nothing that could be found.
    fn read_without_fence(&mut self, end_offset: i64, ended: &mut Vec<Ended>) {
        self.doubts.read_to(end_offset);
        self.doubts.end_read(ended);
    }

    fn end_out_of_range(&mut self, end_offset: i64, ended: &mut Vec<Ended>) {
        self.questions.is_out_of_range = false;
        if let Some(scan) = self.doubts.scan() {
            scan.give_up_out_of_range(end_offset);
        }
        self.doubts.end_read(ended);
    }

    /// What stands behind the base. Whether the partition may be led elsewhere.
    pub(in crate::producer) fn handle_log(
        &mut self,
        now: Moment,
        ticket: Ticket,
        answer: &LogAnswer,
        chance: &mut Chance,
        ended: &mut Vec<Ended>,
    ) -> bool {
        if !self.take_ticket(ticket) {
            return false;
        }
        let Some(scan) = self.doubts.scan() else { return false };
        #[cfg(feature = "plants")]
        scan.plant(self.config.plant);
        let is_elsewhere = match use_of(answer.error) {
            Use::Answered => {
                self.questions.may_not_read = false;
                match read_on(scan, answer.records.clone()) {
                    true => self.questions.failures = 0,
                    // The fence is committed, but this leader may not know yet.
                    false => self.ask_again(now, chance),
                }
                false
            }
            Use::Refused => {
                scan.refuse();
                self.questions.may_not_read = true;
                false
            }
            Use::OutOfRange if scan.skip_witness() => false,
            Use::OutOfRange => {
                self.questions.is_out_of_range = true;
                false
            }
            Use::Again => {
                self.ask_again(now, chance);
                true
            }
        };
        self.doubts.end_read(ended);
        is_elsewhere
    }
}

/// Whether there was anything new. Bytes that are no batch are not believed, and asked for again.
pub(in crate::producer) fn read_on(scan: &mut Scan, records: Bytes) -> bool {
    let before = scan.next_offset();
    for batch in records::batches(records) {
        let Ok(batch) = batch else { break };
        scan.take(&batch.header);
    }
    scan.is_done() || scan.next_offset() > before
}
