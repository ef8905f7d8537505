//! What an answer says about the attempt it answers: a pure table.
//!
//! Always holds: a refusal speaks for its attempt, not for the batch (rule 10), so `NotWritten` comes only from a row of
//! which the history is clean; codes that may follow an append leave doubt on the first attempt too (rule 11); a base
//! offset beside an error says "appended at that leader, not committed". Every pair of answer and context has exactly one
//! [`Row`], and every row one verdict.
//!
//! Left out: acting on the verdict; see `back.rs`.

use milena_wire::ErrorCode;

/// How many replicas must have a batch before the broker answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// All that are in sync; "written" means committed.
    #[default]
    All,
    /// The leader alone; "written" means on the leader.
    Leader,
    /// None: the broker does not answer.
    None,
}

/// A partition's part of a produce response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// NONE or why the broker refused.
    pub error: ErrorCode,
    /// Of the first record; beside an error it says where the batch was appended, if it was.
    pub base_offset: i64,
    /// −1 unless the topic uses `LogAppendTime`.
    pub log_append_time: i64,
    /// Where the log starts now; −1 if not told.
    pub log_start_offset: i64,
    /// The records that made the broker refuse the whole batch (KIP-467), by their place in it.
    pub bad_records: Vec<u32>,
}

/// What else the meaning of an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Nothing older of this partition is unsettled.
    pub is_head: bool,
    /// An earlier attempt may have been appended: it went unanswered, or was answered ambiguously.
    pub is_doubtful: bool,
    /// An earlier batch of the same topic id, producer id and epoch was acknowledged, and no sign of lost broker state came since.
    pub is_anchored: bool,
    /// This client went on to a higher epoch on the partition after it had given the stamp.
    pub is_superseded: bool,
    /// The batch carries a stamp.
    pub is_idempotent: bool,
    /// How many replicas were asked for.
    pub acks: Acks,
    /// Records in the batch.
    pub records: u32,
    /// The bug planted in this run.
    #[cfg(feature = "plants")]
    pub plant: crate::plant::Plant,
}

/// A row of the table: what an answer is in its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// NONE with acks=all: committed, now or when it came first.
    Acknowledged,
    /// NONE with acks=1: on the leader.
    OnLeader,
    /// DUPLICATE_SEQUENCE_NUMBER of brokers before the cache of five: appended before; Java takes it as success.
    DuplicateTold,
    /// REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND: in the leader's log, not committed.
    NotCommitted,
    /// The partition may have moved, before the append or after it (3, 5, 6, 13, 56).
    Moved,
    /// The broker does not know the topic's id, or leads another epoch: refused before the append.
    Stale,
    /// Refused before the append for a passing reason (NOT_ENOUGH_REPLICAS, CORRUPT_MESSAGE, a quota).
    RefusedForNow,
    /// A refusal with a base offset: appended at that leader, not committed.
    RefusedAfterAppend,
    /// −1, a code this client does not know, or one that no broker should give a producer.
    Unclear,
    /// Too large, more than one record, no attempt appended: it can be split.
    TooLargeToSplit,
    /// Records are named that made the batch invalid, no attempt appended: the others can go without them.
    BadRecords,
    /// Refused for good, no attempt appended.
    RefusedForGood,
    /// Refused for good after an attempt that may have been appended.
    RefusedInDoubt,
    /// Refused for good while an older batch is unsettled: it comes again when this one is the head.
    RefusedBehind,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER while an older batch is unsettled: that one is missing.
    GapBehind,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER for a head of which no attempt was appended: the broker lost what came before it.
    GapBeforeCleanHead,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER for a doubtful head: ordinary after a broker restart (rule 13).
    GapAtDoubtfulHead,
    /// As before, without an anchor: nothing later can prove it.
    GapUnanchored,
    /// INVALID_PRODUCER_EPOCH and its kin for an epoch that this client has not superseded: somebody else uses the producer id (rule 14).
    ForeignEpoch,
    /// INVALID_PRODUCER_EPOCH for an epoch that this client itself left behind: a late copy was refused.
    SupersededEpoch,
}

impl Row {
    /// Every row.
    pub const ALL: [Self; 20] = [
        Self::Acknowledged,
        Self::OnLeader,
        Self::DuplicateTold,
        Self::NotCommitted,
        Self::Moved,
        Self::Stale,
        Self::RefusedForNow,
        Self::RefusedAfterAppend,
        Self::Unclear,
        Self::TooLargeToSplit,
        Self::BadRecords,
        Self::RefusedForGood,
        Self::RefusedInDoubt,
        Self::RefusedBehind,
        Self::GapBehind,
        Self::GapBeforeCleanHead,
        Self::GapAtDoubtfulHead,
        Self::GapUnanchored,
        Self::ForeignEpoch,
        Self::SupersededEpoch,
    ];
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In the log; with acks=all committed.
    Written,
    /// Send the same bytes under the same stamp again.
    Resend {
        /// The attempt may have been appended.
        is_ambiguous: bool,
        /// The partition may have moved.
        refresh_metadata: bool,
    },
    /// Ask for the batches behind it, one alone after the other: what the broker knows of them settles this one (rule 13).
    Probe,
    /// Under its stamp it can never be appended; it and what follows need new ones.
    Renew,
    /// In smaller pieces it may pass.
    Split,
    /// Without the named records it may pass.
    DropRecords,
    /// It ends as not written.
    Refuse,
    /// It ends in doubt: an earlier attempt, or this one, may have been appended.
    Doubt,
    /// The broker's memory of the producer is gone, and with it every proof.
    StateLost,
    /// The producer id must not be used again, on any partition.
    Abandon,
    /// Nothing: what it is about was settled otherwise.
    Ignore,
}

/// The table: which row an answer is, and what follows.
pub fn classify(answer: &Answer, context: Context) -> (Row, Verdict) {
    #[cfg(feature = "plants")]
    let context = context.planted();
    let row = row(answer, context);
    let verdict = verdict(row, answer);
    #[cfg(feature = "plants")]
    let verdict = verdict.planted(context.plant);
    (row, verdict)
}

#[cfg(feature = "plants")]
impl Context {
    /// Rule 10 broken: a refusal speaks for the whole batch.
    fn planted(self) -> Self {
        let is_planted = self.plant == crate::plant::Plant::RefusalSpeaksForBatch;
        Self { is_doubtful: self.is_doubtful && !is_planted, ..self }
    }
}

#[cfg(feature = "plants")]
impl Verdict {
    fn planted(self, plant: crate::plant::Plant) -> Self {
        use crate::plant::Plant;
        match self {
            // Rule 11 broken: no code leaves doubt.
            Self::Resend { refresh_metadata, .. } if plant == Plant::NoCodeLeavesDoubt => {
                Self::Resend { is_ambiguous: false, refresh_metadata }
            }
            // Rule 13 broken: a gap at the head means that the batch is not there.
            Self::Probe if plant == Plant::GapMeansAbsent => Self::Renew,
            kept => kept,
        }
    }
}

fn row(answer: &Answer, context: Context) -> Row {
    let in_doubt = context.is_doubtful || answer.base_offset >= 0;
    match class(answer.error) {
        Class::Success if context.acks == Acks::Leader => Row::OnLeader,
        Class::Success => Row::Acknowledged,
        Class::Duplicate => Row::DuplicateTold,
        Class::NotCommitted => Row::NotCommitted,
        Class::Moved => Row::Moved,
        Class::Unclear => Row::Unclear,
        Class::ForNow | Class::Stale if answer.base_offset >= 0 => Row::RefusedAfterAppend,
        Class::ForNow => Row::RefusedForNow,
        Class::Stale => Row::Stale,
        Class::Epoch if !context.is_idempotent => Row::Unclear,
        Class::Epoch if context.is_superseded => Row::SupersededEpoch,
        Class::Epoch => Row::ForeignEpoch,
        Class::Gap if !context.is_idempotent => Row::Unclear,
        Class::Gap if !context.is_head => Row::GapBehind,
        Class::Gap if !in_doubt => Row::GapBeforeCleanHead,
        Class::Gap if context.is_anchored => Row::GapAtDoubtfulHead,
        Class::Gap => Row::GapUnanchored,
        Class::TooLarge | Class::BadBatch | Class::ForGood if !context.is_head => Row::RefusedBehind,
        Class::TooLarge | Class::BadBatch | Class::ForGood if in_doubt => Row::RefusedInDoubt,
        Class::TooLarge if context.records > 1 => Row::TooLargeToSplit,
        Class::BadBatch if names_some(&answer.bad_records, context.records) => Row::BadRecords,
        Class::TooLarge | Class::BadBatch | Class::ForGood => Row::RefusedForGood,
    }
}

fn verdict(row: Row, answer: &Answer) -> Verdict {
    let refresh_metadata = answer.error.refreshes_metadata();
    match row {
        Row::Acknowledged | Row::OnLeader | Row::DuplicateTold => Verdict::Written,
        Row::NotCommitted | Row::Moved | Row::RefusedAfterAppend | Row::Unclear => {
            Verdict::Resend { is_ambiguous: true, refresh_metadata }
        }
        Row::Stale | Row::RefusedForNow | Row::RefusedBehind | Row::GapBehind => {
            Verdict::Resend { is_ambiguous: answer.base_offset >= 0, refresh_metadata }
        }
        Row::TooLargeToSplit => Verdict::Split,
        Row::BadRecords => Verdict::DropRecords,
        Row::RefusedForGood => Verdict::Refuse,
        Row::RefusedInDoubt => Verdict::Doubt,
        Row::GapBeforeCleanHead => Verdict::Renew,
        Row::GapAtDoubtfulHead => Verdict::Probe,
        Row::GapUnanchored => Verdict::StateLost,
        Row::ForeignEpoch => Verdict::Abandon,
        Row::SupersededEpoch => Verdict::Ignore,
    }
}

/// Whether some records, and not all, are named as the bad ones.
fn names_some(bad_records: &[u32], records: u32) -> bool {
    !bad_records.is_empty() && bad_records.len() < records as usize && bad_records.iter().all(|bad| *bad < records)
}

/// What a code is to a producer, whatever the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Success,
    Duplicate,
    NotCommitted,
    Moved,
    Stale,
    ForNow,
    TooLarge,
    BadBatch,
    ForGood,
    Gap,
    Epoch,
    Unclear,
}

fn class(code: ErrorCode) -> Class {
    match code {
        ErrorCode::NONE => Class::Success,
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Class::Duplicate,
        // Rule 11: brokers send these after the append too, because a request that waits for its followers is looked at
        // again when the leadership changes.
        ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => Class::NotCommitted,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::KAFKA_STORAGE_ERROR => Class::Moved,
        // Before the append: the topic or the epoch is looked up first (ReplicaManager, 3.9 to 4.3).
        ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH => Class::Stale,
        ErrorCode::CORRUPT_MESSAGE | ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::THROTTLING_QUOTA_EXCEEDED => {
            Class::ForNow
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Class::TooLarge,
        ErrorCode::INVALID_RECORD | ErrorCode::INVALID_TIMESTAMP => Class::BadBatch,
        // UNKNOWN_PRODUCER_ID comes from brokers before 2.8 only; like a gap it says that what came before is not known.
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => Class::Gap,
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING
        | ErrorCode::TRANSACTION_COORDINATOR_FENCED => Class::Epoch,
        ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::INVALID_REQUIRED_ACKS
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::DELEGATION_TOKEN_AUTHORIZATION_FAILED
        | ErrorCode::SASL_AUTHENTICATION_FAILED
        | ErrorCode::UNSUPPORTED_VERSION
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::POLICY_VIOLATION
        | ErrorCode::INVALID_TXN_STATE
        | ErrorCode::TRANSACTION_ABORTABLE
        | ErrorCode::INVALID_PARTITIONS => Class::ForGood,
        // UNKNOWN_SERVER_ERROR, codes of later releases, and codes that belong to other requests: nothing proves that they
        // came before the append, and the same stamp asked again does.
        _ => Class::Unclear,
    }
}

#[cfg(test)]
mod tests;
