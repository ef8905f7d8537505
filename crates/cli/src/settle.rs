//! `milena settle`: what became of the batches that a killed producer left in its fate journal.
//!
//! Left out: finding it out, which is the library's ([`milena::Settle`]).

use std::fmt;
use std::io::{BufWriter, Write};

use milena::{BatchFate, JournalDamage, Record, SettleError, SettledBatch, SettledJournal};
use serde::Serialize;

use crate::arguments::Settle;
use crate::exit::{self, Exit, Failure, interrupted, tell};
use crate::interrupts::Interrupts;
use crate::json;
use crate::outcomes;
use crate::place::{Missing, Place};
use crate::settings;

pub async fn run(options: &Settle, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    let reach = options.settings.reach(&options.place)?;
    let Ok(place) = interrupts.unless_pressed(Place::open(&reach.place, Missing::Refuse)).await else {
        return Ok(interrupted("before a broker was there: nothing was settled"));
    };
    let place = place?;
    let mut settle = milena::Settle::new(place.bootstrap().join(","), &options.journal)
        .client_id(&reach.client_id)
        .timeout(options.timeout.unwrap_or(reach.deadline));
    if let Some(value) = &options.fence {
        let fence = Record::shared(value.clone().into());
        settle = settle.fence_with(match &options.fence_key {
            Some(key) => fence.shared_key(key.clone().into()),
            None => fence,
        });
    }
    if let Some(expiration) = options.expiration {
        settle = settle.producer_id_expiration(expiration);
    }
    let settled = match interrupts.unless_pressed(settle.run()).await {
        Ok(settled) => settled.map_err(refused),
        Err(_) => return Ok(interrupted("before the end: what was settled until then is noted in the journal")),
    };
    place.leave(interrupts).await;
    let report = Report { settled: settled?, is_json: options.is_json };
    report.tell_troubles(options);
    exit::print(&report.lines())?;
    Ok(report.exit())
}

fn refused(error: SettleError) -> Failure {
    match error {
        SettleError::Interrupted => Failure::midway(error),
        _ => settings::refused(error),
    }
}

struct Report {
    settled: SettledJournal,
    is_json: bool,
}

/// A batch, as a line of JSON.
#[derive(Serialize)]
struct Told<'a> {
    fate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a str>,
    topic: &'a str,
    partition: i32,
    producer_id: i64,
    producer_epoch: i16,
    sequence: i32,
    records: u32,
    accepted_at: i64,
    sent_at: i64,
    base_offset_before: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    batches: u64,
    written: u64,
    not_written: u64,
    undetermined: u64,
    bad_lines: u64,
}

impl Report {
    fn summary(&self) -> Summary {
        let settled = &self.settled;
        let mut summary = Summary {
            batches: settled.batches.len() as u64,
            bad_lines: settled.damages.len() as u64,
            ..Summary::default()
        };
        for batch in &settled.batches {
            match batch.fate {
                BatchFate::Written { .. } => summary.written += 1,
                BatchFate::NotWritten => summary.not_written += 1,
                _ => summary.undetermined += 1,
            }
        }
        summary
    }

    fn exit(&self) -> Exit {
        match self.summary() {
            Summary { undetermined: 1.., .. } => Exit::Unknown,
            Summary { bad_lines: 1.., .. } => Exit::Failed,
            _ if self.settled.unrecorded.is_some() => Exit::Failed,
            _ => Exit::Done,
        }
    }

    fn tell_troubles(&self, options: &Settle) {
        let journal = options.journal.display();
        for JournalDamage { line, why, .. } in &self.settled.damages {
            tell(format_args!("{journal}:{line}: {why}; what it says is lost"));
        }
        if let Some(why) = &self.settled.unrecorded {
            tell(format_args!("{journal} cannot be written: {why}; the next run has to find it out again"));
        }
    }

    fn lines(&self) -> Vec<u8> {
        let mut lines = BufWriter::new(Vec::new());
        for batch in &self.settled.batches {
            match self.is_json {
                true => json_line(&told(batch), &mut lines),
                false => writeln!(lines, "{}", Sentence(batch)).expect("memory takes it"),
            }
        }
        match self.is_json {
            true => json_line(&self.summary(), &mut lines),
            false => writeln!(lines, "{}", self.summary()).expect("memory takes it"),
        }
        lines.into_inner().expect("memory takes it")
    }
}

fn json_line(value: &impl Serialize, lines: &mut impl Write) {
    let mut line = Vec::new();
    json::line(value, &mut line);
    lines.write_all(&line).expect("memory takes it");
}

fn told(batch: &SettledBatch) -> Told<'_> {
    let (fate, offset, why) = match batch.fate {
        BatchFate::Written { offset } => ("written", Some(offset), None),
        BatchFate::NotWritten => ("not_written", None, None),
        BatchFate::Undetermined(why) => ("undetermined", None, Some(why)),
        _ => ("other", None, None),
    };
    let reason = why.map(outcomes::undetermined);
    Told {
        fate,
        offset,
        reason: reason.map(|(reason, _)| reason),
        kafka_error: reason.and_then(|(_, code)| code).map(|code| code.to_string()),
        message: why.map(|why| why.to_string()),
        trouble: batch.trouble.as_deref(),
        topic: &batch.topic,
        partition: batch.partition,
        producer_id: batch.producer_id,
        producer_epoch: batch.epoch,
        sequence: batch.sequence,
        records: batch.count,
        accepted_at: batch.opened_at,
        sent_at: batch.sent_at,
        base_offset_before: batch.base,
    }
}

/// A batch, for people.
struct Sentence<'a>(&'a SettledBatch);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.0;
        let records = if batch.count == 1 { "record" } else { "records" };
        let accepted = chrono::DateTime::from_timestamp_millis(batch.opened_at);
        let accepted = accepted.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        write!(
            f,
            "topic {}, partition {}: {} {records} accepted from {} on (producer {}, epoch {}, sequence {}): {}",
            batch.topic,
            batch.partition,
            batch.count,
            accepted.as_deref().unwrap_or("an unknown time"),
            batch.producer_id,
            batch.epoch,
            batch.sequence,
            batch.fate,
        )?;
        batch.trouble.as_ref().map_or(Ok(()), |trouble| write!(f, "; {trouble}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, written, not_written, undetermined, bad_lines } = self;
        write!(
            f,
            "{batches} batches in doubt: {written} written, {not_written} not written, {undetermined} undetermined"
        )?;
        if *bad_lines > 0 { write!(f, "; {bad_lines} lines of the journal could not be read") } else { Ok(()) }
    }
}
