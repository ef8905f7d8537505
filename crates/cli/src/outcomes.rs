//! The file of outcomes: a line of JSON for the run, and one for what became of each record.
//!
//! Always holds: the line of the run comes first, with the first record's; a record has one line with its outcome, and one that was unknown a second with its settlement. Only
//! whole lines reach the file, so it is valid whenever the command ends; what is told is there within a moment, see
//! [`Outcomes::write`]. The tag that the producer carries is a place here, because a line's number and the time it was
//! sent would not fit into it.

mod writer;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use milena::{Because, Cause, Fate, KafkaError, NotWritten, Outcome, Settlement, Undetermined, Written};
use serde::Serialize;
use tokio::sync::Notify;

pub use self::writer::Writer;
use crate::checksum::Checksum;
use crate::json;

/// The file, and the records that have no line yet.
pub struct Outcomes {
    writer: Writer,
    name: String,
    topic: String,
    /// What the tag of a record begins with, if records are tagged.
    run: Option<String>,
    /// The line of the run; taken when the first record has one, so that a run without records leaves an empty file.
    run_line: Vec<u8>,
    /// Whole lines that the writer does not have yet.
    lines: Vec<u8>,
    sent: Vec<Sent>,
    /// Places in `sent` that nobody has.
    free: Vec<usize>,
}

/// A record on its way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Its number in the input, from 1; 0 when the place is free.
    pub line: u64,
    /// When it was handed over, in microseconds.
    pub at: u64,
    /// What it is known by in the log.
    pub checksum: Option<Checksum>,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run<'a> {
    pub topic: &'a str,
    /// Absent where the cluster has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<&'a str>,
    /// The end of each partition, by number: nothing of this run lies before it.
    pub from_offsets: &'a [i64],
}

impl Outcomes {
    /// `-` is stdout. A file that is there is replaced. `written` is told whenever all is written.
    pub fn create(path: &Path, topic: &str, run: Option<String>, written: Arc<Notify>) -> Result<Self, String> {
        let name = path.display().to_string();
        let wrong = |error: io::Error| format!("--outcomes {name} cannot be written: {error}");
        let file: Box<dyn Write + Send> = match path.to_str() {
            Some("-") => Box::new(io::stdout()),
            _ => Box::new(File::create(path).map_err(wrong)?),
        };
        let writer = Writer::start(file, name.clone(), written).map_err(wrong)?;
        let (topic, lines) = (topic.to_owned(), Vec::with_capacity(LINES_BYTES * 2));
        Ok(Self { writer, name, topic, run, run_line: Vec::new(), lines, sent: Vec::new(), free: Vec::new() })
    }

    /// What the first line says.
    pub fn begin(&mut self, run: &Run<'_>) {
        json::line(run, &mut self.run_line);
    }

    /// The tag of a record that is handed over now.
    pub fn enter(&mut self, sent: Sent) -> u64 {
        let place = self.free.pop().unwrap_or(self.sent.len());
        match self.sent.get_mut(place) {
            Some(free) => *free = sent,
            None => self.sent.push(sent),
        }
        place as u64
    }

    /// Whose tag it is; the tag means another record from now on.
    pub fn leave(&mut self, tag: u64) -> Sent {
        let place = tag as usize;
        self.free.push(place);
        std::mem::replace(&mut self.sent[place], Sent { line: 0, at: 0, checksum: None })
    }

    pub fn tell_outcome(&mut self, Sent { line, checksum, .. }: Sent, outcome: &Outcome, latency: u64) {
        let told = Told { latency_us: Some(latency), ..Told::of(checksum) };
        match outcome {
            Outcome::Written(at) => self.add(line, Told { outcome: Some("written"), ..told.at(at) }),
            Outcome::NotWritten(why) => {
                let (reason, code) = not_written(why.reason);
                self.add(line, Told { outcome: Some("not_written"), ..told.because(reason, code, why) });
            }
            Outcome::Unknown(_) => self.add(line, Told { outcome: Some("unknown"), ..told }),
        }
    }

    pub fn tell_settlement(&mut self, line: u64, settlement: &Settlement) {
        let told = Told::default();
        match settlement {
            Settlement::Written(at) => self.add(line, Told { settlement: Some("written"), ..told.at(at) }),
            Settlement::NotWritten(why) => {
                let (reason, code) = not_written(why.reason);
                self.add(line, Told { settlement: Some("not_written"), ..told.because(reason, code, why) });
            }
            Settlement::Undetermined(why) => {
                let (reason, code) = undetermined(why.reason);
                self.add(line, Told { settlement: Some("undetermined"), ..told.because(reason, code, why) });
            }
        }
    }

    /// Of a record that the producer never had.
    pub fn tell_refused(
        &mut self,
        line: u64,
        checksum: Option<Checksum>,
        reason: &'static str,
        why: &dyn fmt::Display,
    ) {
        let (outcome, message) = (Some("not_written"), Some(why.to_string()));
        self.add(line, Told { outcome, reason: Some(reason), message, ..Told::of(checksum) });
    }

    /// The command ends: records without an outcome will have none, and those in doubt stay so.
    pub fn finish(&mut self, in_doubt: &[(u64, Fate)]) {
        let left = std::mem::take(&mut self.sent);
        self.free.clear();
        let mut left: Vec<Sent> = left.into_iter().filter(|sent| sent.line > 0).collect();
        left.sort_unstable_by_key(|sent| sent.line);
        for Sent { line, checksum, .. } in left {
            self.add(line, Told { outcome: Some("unknown"), reason: Some(ENDED), ..Told::of(checksum) });
        }
        for (line, _) in in_doubt {
            self.add(*line, Told { settlement: Some("undetermined"), reason: Some(ENDED), ..Told::default() });
        }
        self.write();
    }

    /// What was told goes to the file: called several times a second, and when there is much. Waits for nothing.
    pub fn write(&mut self) {
        if !self.lines.is_empty() {
            self.writer.give(&mut self.lines);
        }
    }

    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Whether much was told just now, so that the writer may be behind.
    pub fn has_just_given(&self) -> bool {
        self.lines.is_empty()
    }

    fn add(&mut self, line: u64, told: Told<'_>) {
        self.lines.append(&mut self.run_line);
        let tag = self.run.as_deref().map(|run| tag(run, line));
        json::line(&Told { line, topic: &self.topic, tag, ..told }, &mut self.lines);
        if self.lines.len() >= LINES_BYTES {
            self.write();
        }
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What stands in the header of `--tag`.
pub fn tag(run: &str, line: u64) -> String {
    format!("{run}-{line}")
}

#[derive(Debug, Default, Serialize)]
struct Told<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settlement: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_error: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<ToldCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ToldCause {
    attempts: u32,
    node: Option<i32>,
    last_error: Option<String>,
}

impl Told<'_> {
    fn of(checksum: Option<Checksum>) -> Self {
        Self { checksum: checksum.map(|checksum| checksum.to_string()), ..Self::default() }
    }

    fn at(self, written: &Written) -> Self {
        let Written { partition, offset, timestamp } = *written;
        Self { partition: Some(partition), offset, timestamp, ..self }
    }

    fn because<R: fmt::Display>(self, reason: &'static str, code: Option<KafkaError>, why: &Because<R>) -> Self {
        let Cause { attempts, node, last_error } = why.cause;
        let cause = Some(ToldCause { attempts, node, last_error: last_error.map(|error| error.to_string()) });
        let (kafka_error, message) = (code.map(KafkaError::code), Some(why.reason.to_string()));
        Self { reason: Some(reason), kafka_error, message, cause, ..self }
    }
}

pub fn not_written(reason: NotWritten) -> (&'static str, Option<KafkaError>) {
    match reason {
        NotWritten::DeadlinePassed => ("deadline_passed", None),
        NotWritten::Cancelled => ("cancelled", None),
        NotWritten::Refused(code) => ("refused", Some(code)),
        NotWritten::Fenced => ("fenced", None),
        NotWritten::PartitionGone => ("partition_gone", None),
        NotWritten::Closed => ("closed", None),
        NotWritten::DriverLost => ("driver_lost", None),
        // The message says it.
        _ => (OTHER, None),
    }
}

pub fn undetermined(reason: Undetermined) -> (&'static str, Option<KafkaError>) {
    match reason {
        Undetermined::RefusedAfterAmbiguousAttempt(code) => ("refused_after_ambiguous_attempt", Some(code)),
        Undetermined::NoFence => ("no_fence", None),
        Undetermined::NoBase => ("no_base", None),
        Undetermined::NotPermittedToRead => ("not_permitted_to_read", None),
        Undetermined::ScanTooLong => ("scan_too_long", None),
        Undetermined::LogTruncated => ("log_truncated", None),
        Undetermined::OffsetGap => ("offset_gap", None),
        Undetermined::DataLossSeen => ("data_loss_seen", None),
        Undetermined::StateLost => ("state_lost", None),
        Undetermined::StaleTimestamps => ("stale_timestamps", None),
        Undetermined::ProducerStateExpired => ("producer_state_expired", None),
        Undetermined::TopicRecreated => ("topic_recreated", None),
        Undetermined::ClusterChanged => ("cluster_changed", None),
        Undetermined::ProducerIdUsedElsewhere => ("producer_id_used_elsewhere", None),
        Undetermined::NoAcknowledgementAsked => ("no_acknowledgement_asked", None),
        Undetermined::LeaderOnly => ("leader_only", None),
        Undetermined::ClosedBeforeProof => ("closed_before_proof", None),
        Undetermined::DriverLost => ("driver_lost", None),
        // The message says it.
        _ => (OTHER, None),
    }
}

/// The command was ended before more could be known.
const ENDED: &str = "command_ended";
const OTHER: &str = "other";

/// So few writes that they cost nothing beside the records.
const LINES_BYTES: usize = 64 * 1024;
