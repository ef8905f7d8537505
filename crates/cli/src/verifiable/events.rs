//! The lines that Kafka's system tests read: one object of JSON for each event, `timestamp` and `name` first.
//!
//! Names and fields of Kafka's VerifiableProducer are as there. What it has no words for is told by events and fields of
//! our own: a record in doubt, what became of it, and where the run began, which an audit goes by.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use milena::{Because, KafkaError, NotWritten, SendRefused, Settlement, Written};
use serde::Serialize;

use crate::json;
use crate::outcomes;

/// What an event is about.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject<'a> {
    pub key: Option<&'a str>,
    pub value: &'a str,
    pub topic: &'a str,
}

/// stdout, shared by the threads that have something to tell.
#[derive(Debug, Default)]
pub struct Events {
    /// Set by the first line that could not be written.
    is_broken: AtomicBool,
}

impl Events {
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    pub fn startup_complete(&self, run: Option<&outcomes::Run<'_>>) {
        self.tell("startup_complete", &run);
    }

    pub fn success(&self, subject: Subject<'_>, at: &Written) {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            subject: Subject<'a>,
            partition: i32,
            offset: i64,
        }
        // −1 is what Java says where the broker gave none.
        let (partition, offset) = (at.partition, at.offset.unwrap_or(-1));
        self.tell("producer_send_success", &Body { subject, partition, offset });
    }

    pub fn error(&self, subject: Subject<'_>, why: &Because<NotWritten>) {
        let (reason, code) = outcomes::not_written(why.reason);
        self.tell("producer_send_error", &Failed::new(subject, reason, code, why.reason.to_string()));
    }

    /// Of a record that the producer never had.
    pub fn refused(&self, subject: Subject<'_>, why: &SendRefused, message: String) {
        let (reason, exception) = refusal(why);
        let exception = format!("class {exception}");
        let failed = Failed { exception, ..Failed::new(subject, reason, None, message) };
        self.tell("producer_send_error", &failed);
    }

    pub fn unknown(&self, subject: Subject<'_>) {
        self.tell("producer_send_unknown", &subject);
    }

    pub fn settled(&self, subject: Subject<'_>, settlement: &Settlement) {
        let settled = match settlement {
            Settlement::Written(at) => {
                let settled = Settled::new(subject, "written");
                Settled { partition: Some(at.partition), offset: at.offset, ..settled }
            }
            Settlement::NotWritten(why) => {
                Settled::new(subject, "not_written").because(outcomes::not_written(why.reason), why.reason)
            }
            Settlement::Undetermined(why) => {
                Settled::new(subject, "undetermined").because(outcomes::undetermined(why.reason), why.reason)
            }
        };
        self.tell("producer_send_settled", &settled);
    }

    pub fn shutdown_complete(&self) {
        self.tell("shutdown_complete", &None::<()>);
    }

    pub fn tool_data(&self, data: &ToolData) {
        self.tell("tool_data", data);
    }

    /// A line for each, at once: whoever reads along acts on them.
    fn tell(&self, name: &'static str, body: &impl Serialize) {
        #[derive(Serialize)]
        struct Event<'a, B> {
            timestamp: u64,
            name: &'static str,
            #[serde(flatten)]
            body: &'a B,
        }
        if self.is_broken() {
            return;
        }
        let mut line = Vec::with_capacity(160);
        let mut out = io::stdout().lock();
        // Under the lock, so that the times ascend.
        json::line(&Event { timestamp: now(), name, body }, &mut line);
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    /// As Java prints the class of what it would throw.
    exception: String,
    message: String,
    /// Ours: it is certain.
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_error: Option<i16>,
}

impl<'a> Failed<'a> {
    fn new(subject: Subject<'a>, reason: &'static str, code: Option<KafkaError>, message: String) -> Self {
        let kafka_error = code.map(KafkaError::code);
        let exception = format!("class {}", exception(reason, kafka_error));
        Self { subject, exception, message, outcome: "not_written", reason, kafka_error }
    }
}

#[derive(Serialize)]
struct Settled<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    settlement: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_error: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl<'a> Settled<'a> {
    fn new(subject: Subject<'a>, settlement: &'static str) -> Self {
        Self { subject, settlement, partition: None, offset: None, reason: None, kafka_error: None, message: None }
    }

    fn because(self, (reason, code): (&'static str, Option<KafkaError>), why: impl fmt::Display) -> Self {
        let (kafka_error, message) = (code.map(KafkaError::code), Some(why.to_string()));
        Self { reason: Some(reason), kafka_error, message, ..self }
    }
}

/// The last event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ToolData {
    pub sent: u64,
    pub acked: u64,
    pub target_throughput: i64,
    pub avg_throughput: f64,
    /// Ours, and so are those that follow.
    pub not_written: u64,
    pub unknown: u64,
}

/// The class of the exception with which Java's producer ends a record for this reason.
fn exception(reason: &str, code: Option<i16>) -> &'static str {
    match (reason, code) {
        (_, Some(2)) => "org.apache.kafka.common.errors.CorruptRecordException",
        (_, Some(3)) => "org.apache.kafka.common.errors.UnknownTopicOrPartitionException",
        (_, Some(10)) => "org.apache.kafka.common.errors.RecordTooLargeException",
        (_, Some(17)) => "org.apache.kafka.common.errors.InvalidTopicException",
        (_, Some(18)) => "org.apache.kafka.common.errors.RecordBatchTooLargeException",
        (_, Some(19)) => "org.apache.kafka.common.errors.NotEnoughReplicasException",
        (_, Some(21)) => "org.apache.kafka.common.errors.InvalidRequiredAcksException",
        (_, Some(29)) => "org.apache.kafka.common.errors.TopicAuthorizationException",
        (_, Some(31)) => "org.apache.kafka.common.errors.ClusterAuthorizationException",
        (_, Some(32)) => "org.apache.kafka.common.errors.InvalidTimestampException",
        (_, Some(43)) => "org.apache.kafka.common.errors.UnsupportedForMessageFormatException",
        (_, Some(44)) => "org.apache.kafka.common.errors.PolicyViolationException",
        (_, Some(76)) => "org.apache.kafka.common.errors.UnsupportedCompressionTypeException",
        (_, Some(87)) => "org.apache.kafka.common.InvalidRecordException",
        ("deadline_passed", None) => "org.apache.kafka.common.errors.TimeoutException",
        // What it throws for codes that it does not know, and for whatever it has no class for.
        _ => "org.apache.kafka.common.KafkaException",
    }
}

/// Reason and class for a record that the producer never had.
fn refusal(why: &SendRefused) -> (&'static str, &'static str) {
    const OWN: &str = "refused_by_producer";
    match why {
        // What Java's throws when it has waited for metadata or room as long as it may.
        SendRefused::Unreachable { .. }
        | SendRefused::TopicMissing { .. }
        | SendRefused::MetadataPending
        | SendRefused::BufferFull
        | SendRefused::PartitionFull => (OWN, exception("deadline_passed", None)),
        SendRefused::TopicNotAuthorized => (OWN, exception(OWN, Some(29))),
        SendRefused::TopicRefused(code) => (OWN, exception(OWN, Some(code.code()))),
        SendRefused::RecordTooLarge { .. } => ("too_large", exception(OWN, Some(10))),
        _ => (OWN, exception(OWN, None)),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
