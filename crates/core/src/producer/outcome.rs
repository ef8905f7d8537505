//! What a caller is told: one of three outcomes on time, and later the settlement of every unknown one.

use std::fmt;

use milena_wire::ErrorCode;

use super::completion::Fate;

mod advice;
mod result;

pub use self::result::{DeliveryError, SettlementError};

/// What is known about a record when its deadline ends, or earlier.
#[derive(Debug)]
pub enum Outcome {
    /// In the log, committed.
    Written(Written),
    /// Not in the log, and never will be: safe to send again.
    NotWritten(Because<NotWritten>),
    /// It was sent and no conclusive answer has come. The fate goes on until it is settled; to send the record again
    /// before that may write it twice.
    Unknown(Fate),
}

/// How an [`Outcome::Unknown`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// In the log, committed.
    Written(Written),
    /// Not in the log, and never will be.
    NotWritten(Because<NotWritten>),
    /// It cannot be told, for this reason. A copy may be in the log, or still arrive.
    Undetermined(Because<Undetermined>),
}

/// Where a written record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition's number.
    pub partition: i32,
    /// The record's offset; absent only where a broker confirms without telling (DUPLICATE_SEQUENCE_NUMBER of old brokers).
    pub offset: Option<i64>,
    /// The broker's clock at the append, in milliseconds since the epoch, on topics with `LogAppendTime`.
    pub timestamp: Option<i64>,
}

impl Written {
    /// The record so many places behind it in its batch.
    #[inline]
    pub(super) fn after(self, rank: u32) -> Self {
        // A broker may claim any offset; one past the largest is none.
        Self { offset: self.offset.and_then(|offset| offset.checked_add(i64::from(rank))), ..self }
    }
}

/// A reason, and what led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Because<R> {
    /// Why the record ended so: [`NotWritten`] or [`Undetermined`].
    pub reason: R,
    /// What was tried, and what went wrong.
    pub cause: Cause,
}

/// What was tried for a record, and what went wrong last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// How often the record's batch was handed to a connection.
    pub attempts: u32,
    /// The broker that the last error is about; without an error the partition's leader. Absent before a leader is known.
    pub node: Option<i32>,
    /// What went wrong on the record's partition since the last success there; for a record that was never sent, what it
    /// waited for. Absent if nothing did: then the record waited for its turn, or for an answer.
    pub last_error: Option<AttemptError>,
}

/// What kept a record from being written, or from being known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The broker answered with this code.
    Kafka(KafkaError),
    /// The connection ended before an answer came.
    ConnectionLost,
    /// No answer came within `request_timeout`.
    RequestTimedOut,
    /// The broker's answer broke the protocol; its connection was closed.
    InvalidAnswer,
    /// No connection to the broker could be opened.
    NotConnected,
    /// The broker's host says that nothing listens there.
    ConnectionRefused,
    /// The name of the broker's host has no address.
    NameNotResolved,
    /// The broker's port speaks TLS, which this client does not.
    SpeaksTls,
    /// The broker's port does not answer in Kafka's protocol.
    NotKafka,
    /// Client and broker have no version of an API in common.
    NoCommonVersion,
    /// The cluster names no leader for the partition.
    NoLeader,
    /// No broker has given a producer id yet.
    NoProducerId,
    /// A broker was asked for a producer id and answered with this code.
    ProducerIdRefused(KafkaError),
    /// The fate journal could not be written, so nothing new is sent.
    JournalFailed,
}

/// Why a record is certainly not in the log. As long as committed data is not lost, it never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotWritten {
    /// Its deadline ended before a connection claimed its batch, or every attempt was refused until `delivery_timeout`.
    DeadlinePassed,
    /// The caller cancelled it before a connection claimed its batch.
    Cancelled,
    /// The cluster refused its batch with this code, and no attempt could have been appended.
    Refused(KafkaError),
    /// It was sent, no conclusive answer came, and it was given up: a batch of a later epoch keeps every copy out, and the log up
    /// to that one does not have it.
    Fenced,
    /// The topic was deleted and created again with fewer partitions, the record's is none of them, and no attempt of its
    /// batch was appended. Sent again it goes to one that is there.
    PartitionGone,
    /// The producer was closed, and no attempt of its batch was appended: none was made, or each was refused.
    Closed,
    /// The producer's driver ended (a panic, or its runtime was shut down) before a connection claimed its batch.
    DriverLost,
}

/// Why it cannot be told whether a record was written. Every way to end in doubt of this version stands here; later ones may
/// add some.
///
/// Whatever the reason, a copy may be in the log, and a late one may still come: what was handed to a connection can be
/// executed as long as a broker holds it, however long ago the client gave it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undetermined {
    /// An attempt went unanswered or was answered ambiguously, and a later one was refused with this code.
    /// Advice: read the partition before sending again.
    RefusedAfterAmbiguousAttempt(KafkaError),
    /// It was given up after its deadline or `delivery_timeout`, and no later batch of the partition was acknowledged in time that could
    /// prove absence. Advice: a late copy is possible until the broker closes the old connection; name a record in `fence_with`,
    /// or raise `settle_timeout` to outlast outages.
    NoFence,
    /// The record was given up, and the log could not be read for it, because no batch of its partition had been acknowledged
    /// and its end had not been asked for: it is not known from where on. Advice: `AfterDeadline::Withdraw` as the producer's own
    /// setting has it asked for; WRITE or DESCRIBE on the topic is needed.
    NoBase,
    /// This client may not read the topic, so it cannot look whether a record that was given up is there.
    /// Advice: grant it READ on the topic, or read the partition by other means before sending again.
    NotPermittedToRead,
    /// What lies between the last acknowledged batch and the fence is too long to be read, or could not be read in time.
    /// Advice: read the partition before sending again.
    ScanTooLong,
    /// The log no longer reaches back to where the record would be: retention, or somebody, deleted what was there.
    /// Advice: a copy may have been written and is gone; raise the topic's retention if records are withdrawn so late.
    LogTruncated,
    /// Offsets are missing where the record would be: the topic is compacted. Advice: look for the record's key, and whether
    /// a later value stands there.
    OffsetGap,
    /// Committed data was lost (an unclean election, or the loss of every replica in sync), so that nothing can be said of
    /// the rest. Advice: read the partition before sending again; see `unclean.leader.election.enable` and `min.insync.replicas`.
    DataLossSeen,
    /// The brokers no longer know what this producer wrote to the partition, so a resend proves nothing: after a restart
    /// only the last batch of each producer is remembered. Advice: read the partition before sending again.
    StateLost,
    /// The record's timestamp is older than half of what brokers remember of a producer (12 h by default), so its batch is
    /// not sent again after an unanswered attempt: a copy might not be recognised. Advice: read the partition before
    /// sending again; send old timestamps to a topic with `message.timestamp.type=LogAppendTime`.
    StaleTimestamps,
    /// So much time passed since the last acknowledgement that brokers may have forgotten the producer, and a copy might
    /// not be recognised. Advice: read the partition before sending again.
    ProducerStateExpired,
    /// The topic was deleted and created again after an unanswered attempt; old stamps are never sent to a new topic.
    /// Advice: a written copy went with the old topic; send again if the new one should have it.
    TopicRecreated,
    /// The brokers at the same addresses now belong to another cluster. Advice: read the old cluster's partition; check
    /// the addresses in `bootstrap_servers`.
    ClusterChanged,
    /// Another producer uses this producer's id with a higher epoch, and the brokers refuse what this one sends; the log does not
    /// show the bytes that were sent, or could not be read.
    /// Advice: find who copied the id, such as a virtual machine resumed from a snapshot; read the partition before sending again.
    ProducerIdUsedElsewhere,
    /// No acknowledgement was asked for (`acks=0`): no broker ever tells. Advice: use `acks=all` where it matters.
    NoAcknowledgementAsked,
    /// No conclusive answer came before `delivery_timeout`. Without idempotence brokers do not recognise what is sent again, so
    /// each unanswered attempt may have left a copy.
    /// Advice: use `acks=all` with idempotence where it matters; read the partition before sending again.
    LeaderOnly,
    /// The producer was closed before a conclusive answer came. Advice: give `close` more time.
    ClosedBeforeProof,
    /// The producer's driver ended (a panic, or its runtime was shut down) before a conclusive answer came.
    DriverLost,
}

impl Undetermined {
    /// Whether a fence and a reading of the log may still settle it: only sending did not.
    pub(super) fn is_open_to_proof(self) -> bool {
        matches!(self, Self::NoFence | Self::StateLost | Self::RefusedAfterAmbiguousAttempt(_))
    }
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadlinePassed => f.write_str("not written: its deadline ended before it could be appended"),
            Self::Cancelled => f.write_str("not written: cancelled before it was sent"),
            Self::Refused(code) => {
                write!(f, "not written: the cluster refused its batch with {code}{}", Advised(*code))
            }
            Self::Fenced => f.write_str(
                "not written: given up without a conclusive answer; the log does not have it, and later copies are kept out",
            ),
            Self::PartitionGone => f.write_str(
                "not written: its topic was created again with fewer partitions, and its partition is none of them; sent \
                 again it goes to one that is there",
            ),
            Self::Closed => f.write_str("not written: the producer was closed before it could be appended"),
            Self::DriverLost => f.write_str("not written: the producer's driver ended before it was sent"),
        }
    }
}

impl fmt::Display for Undetermined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RefusedAfterAmbiguousAttempt(code) => {
                write!(
                    f,
                    "undetermined: refused with {code} after an attempt that may have been appended{}",
                    Advised(*code)
                )
            }
            Self::NoFence => {
                f.write_str("undetermined: given up without a conclusive answer, and no later batch was acknowledged to prove absence")
            }
            Self::NoBase => {
                f.write_str("undetermined: given up without a conclusive answer, and it is not known where in the log to look")
            }
            Self::NotPermittedToRead => {
                f.write_str("undetermined: given up without a conclusive answer, and this client may not read the topic")
            }
            Self::ScanTooLong => f.write_str(
                "undetermined: given up without a conclusive answer, and the log is too long to look, or was not read in time",
            ),
            Self::LogTruncated => {
                f.write_str("undetermined: given up without a conclusive answer, and the log was truncated where it would be")
            }
            Self::OffsetGap => {
                f.write_str("undetermined: given up without a conclusive answer, and the log has gaps where it would be")
            }
            Self::DataLossSeen => {
                f.write_str("undetermined: given up without a conclusive answer, and the cluster lost committed data")
            }
            Self::StateLost => {
                f.write_str("undetermined: the brokers no longer know what this producer wrote to the partition")
            }
            Self::StaleTimestamps => f.write_str(
                "undetermined: a record with so old a timestamp is not sent again after an unanswered attempt",
            ),
            Self::ProducerStateExpired => {
                f.write_str("undetermined: the brokers may have forgotten the producer since the last acknowledgement")
            }
            Self::TopicRecreated => {
                f.write_str("undetermined: the topic was deleted and created again after an unanswered attempt")
            }
            Self::ClusterChanged => f.write_str("undetermined: the brokers now belong to another cluster"),
            Self::ProducerIdUsedElsewhere => f.write_str("undetermined: somebody else uses this producer's id"),
            Self::NoAcknowledgementAsked => f.write_str("undetermined: no acknowledgement was asked for (acks=0)"),
            Self::LeaderOnly => {
                f.write_str("undetermined: no conclusive answer before delivery_timeout, and without idempotence each attempt may have left a copy")
            }
            Self::ClosedBeforeProof => f.write_str("undetermined: the producer was closed before a conclusive answer"),
            Self::DriverLost => f.write_str("undetermined: the producer's driver ended before a conclusive answer"),
        }
    }
}

impl<R: fmt::Display> fmt::Display for Because<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            0 => f.write_str("no attempt was made")?,
            1 => f.write_str("1 attempt")?,
            attempts => write!(f, "{attempts} attempts")?,
        }
        match (self.last_error, self.node) {
            (Some(error), node) => {
                f.write_str("; ")?;
                error.tell(node, f)
            }
            (None, Some(node)) => write!(f, "; the partition's leader is node {node}"),
            (None, None) => Ok(()),
        }
    }
}

impl AttemptError {
    fn tell(self, node: Option<i32>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broker = Broker(node);
        match self {
            Self::Kafka(code) => write!(f, "{broker} last answered {}{}", Named(code), Advised(code)),
            Self::ConnectionLost => write!(f, "the connection to {broker} was lost"),
            Self::RequestTimedOut => write!(f, "{broker} did not answer within request_timeout"),
            Self::InvalidAnswer => write!(f, "the answer of {broker} could not be read"),
            Self::NotConnected => write!(f, "no connection to {broker} could be opened"),
            Self::ConnectionRefused => write!(f, "the host of {broker} refused the connection"),
            Self::NameNotResolved => write!(f, "the host name of {broker} does not resolve"),
            Self::SpeaksTls => write!(f, "the port of {broker} speaks TLS, this client plain text only"),
            Self::NotKafka => write!(f, "the port of {broker} does not answer like a Kafka broker's"),
            Self::NoCommonVersion => write!(f, "{broker} and this client have no API version in common"),
            Self::NoLeader => f.write_str("the partition has no leader"),
            Self::NoProducerId => f.write_str("no broker has given a producer id"),
            Self::ProducerIdRefused(code) => {
                write!(f, "a producer id was refused with {}{}", Named(code), Advised(code))
            }
            Self::JournalFailed => f.write_str("the fate journal could not be written"),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(None, f)
    }
}

struct Broker(Option<i32>);

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(node) => write!(f, "node {node}"),
            None => f.write_str("the broker"),
        }
    }
}

/// The name alone, inside brackets; the number where there is no name.
struct Named(KafkaError);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0.code()),
        }
    }
}

impl std::error::Error for NotWritten {}
impl std::error::Error for Undetermined {}
impl std::error::Error for AttemptError {}
impl<R: std::error::Error> std::error::Error for Because<R> {}

/// What a broker said instead of yes: an error code of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaError(ErrorCode);

impl KafkaError {
    /// What to do about it: for a log, next to the error. None where nobody can do anything but wait or report a bug.
    pub fn advice(self) -> Option<&'static str> {
        advice::advice(self.0)
    }

    /// The number on the wire.
    pub fn code(self) -> i16 {
        self.0.0
    }

    /// Kafka's name for it; none if this client does not know the number.
    pub fn name(self) -> Option<&'static str> {
        self.0.name()
    }
}

/// The advice, where there is some, behind a comma.
struct Advised(KafkaError);

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.advice().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

impl From<ErrorCode> for KafkaError {
    fn from(code: ErrorCode) -> Self {
        Self(code)
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many records ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the log.
    pub written: u64,
    /// Certainly not in the log.
    pub not_written: u64,
    /// Sent, without a conclusive answer in time.
    pub unknown: u64,
}

impl Tally {
    /// All records counted.
    pub fn records(&self) -> u64 {
        self.written + self.not_written + self.unknown
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.not_written += other.not_written;
        self.unknown += other.unknown;
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    fn because<R>(reason: R, attempts: u32, node: Option<i32>, last_error: Option<AttemptError>) -> Because<R> {
        Because { reason, cause: Cause { attempts, node, last_error } }
    }

    #[test]
    fn an_end_reads_as_one_sentence_with_its_cause() {
        let timed_out = AttemptError::Kafka(ErrorCode::REQUEST_TIMED_OUT.into());
        let deadline = NotWritten::DeadlinePassed;
        for (attempts, node, error, cause) in [
            (2, Some(3), Some(timed_out), "2 attempts; node 3 last answered REQUEST_TIMED_OUT"),
            (1, Some(3), Some(AttemptError::ConnectionLost), "1 attempt; the connection to node 3 was lost"),
            (
                0,
                Some(3),
                Some(AttemptError::NotConnected),
                "no attempt was made; no connection to node 3 could be opened",
            ),
            (0, None, Some(AttemptError::NoLeader), "no attempt was made; the partition has no leader"),
            (1, Some(3), None, "1 attempt; the partition's leader is node 3"),
            (0, None, None, "no attempt was made"),
        ] {
            let text = because(deadline, attempts, node, error).to_string();
            assert_eq!(text, format!("not written: its deadline ended before it could be appended ({cause})"));
        }
        let unanswered = because(Undetermined::NoFence, 4, Some(1), Some(AttemptError::RequestTimedOut)).to_string();
        assert!(unanswered.ends_with("(4 attempts; node 1 did not answer within request_timeout)"), "{unanswered}");
    }

    /// The names of all reasons. One that is added does not compile before it stands here.
    macro_rules! reasons {
        ($of:ident: $($name:ident),* $(,)?) => {{
            let _every_reason_is_named = |why: $of| match why {
                $($of::$name { .. } => {})*
            };
            vec![$(stringify!($name)),*]
        }};
    }

    /// Each with what happened and what to do about it, and no other.
    #[test]
    fn every_reason_stands_in_the_page_with_its_advice() {
        let page = include_str!("../../../../docs/certainty.md");
        let not_written = reasons!(
            NotWritten: DeadlinePassed,
            Cancelled,
            Refused,
            Fenced,
            PartitionGone,
            Closed,
            DriverLost,
        );
        let undetermined = reasons!(
            Undetermined: RefusedAfterAmbiguousAttempt,
            NoFence,
            NoBase,
            NotPermittedToRead,
            ScanTooLong,
            LogTruncated,
            OffsetGap,
            DataLossSeen,
            StateLost,
            StaleTimestamps,
            ProducerStateExpired,
            TopicRecreated,
            ClusterChanged,
            ProducerIdUsedElsewhere,
            NoAcknowledgementAsked,
            LeaderOnly,
            ClosedBeforeProof,
            DriverLost,
        );
        for (heading, names) in [("| `NotWritten` |", not_written), ("| `Undetermined` |", undetermined)] {
            let (_, table) = page.split_once(heading).expect("the table is there");
            let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
            let told: Vec<Vec<&str>> =
                rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
            assert!(told.iter().all(|cells| cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty())), "{told:?}");
            let named: Vec<&str> = told.iter().map(|cells| cells[0].trim_matches('`')).collect();
            assert_eq!(named, names);
        }
    }

    #[test]
    fn a_refusal_that_somebody_can_mend_says_how() {
        let too_large = NotWritten::Refused(ErrorCode::MESSAGE_TOO_LARGE.into()).to_string();
        assert_eq!(
            too_large,
            "not written: the cluster refused its batch with MESSAGE_TOO_LARGE (10): raise the topic's \
             max.message.bytes, or send less in one record"
        );
        let topic = NotWritten::Refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED.into()).to_string();
        assert!(topic.ends_with("(29): grant this client WRITE on the topic"), "{topic}");
        let cluster = AttemptError::ProducerIdRefused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED.into()).to_string();
        assert!(cluster.contains("CLUSTER_AUTHORIZATION_FAILED: grant this client IDEMPOTENT_WRITE"), "{cluster}");
        assert_eq!(KafkaError::from(ErrorCode::UNKNOWN_SERVER_ERROR).advice(), None);
    }
}
