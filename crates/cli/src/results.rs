//! What became of the records: counts, latencies, reasons.
//!
//! Always holds: each record that the producer accepted is reported once; a record is counted as refused when the
//! producer did not accept it, and then it has no report. A record that was unknown at its deadline counts as what it
//! turns out to be before the command ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{DecimalBytes, HumanCount};
use milena::{Because, DeliveryReport, Fate, Outcome, ProducerStats, Settlement, Tally};
use tokio::sync::Notify;

use crate::checksum::Checksum;
use crate::exit::Exit;
use crate::outcomes::{Outcomes, Run, Sent, Writer};

/// Shared by the thread that reports come on, the one that reads lines, and the one that waits.
#[derive(Debug)]
pub struct Results {
    start: Instant,
    /// Of the file of outcomes, if there is one.
    writer: Option<Writer>,
    inner: Mutex<Inner>,
    /// All that is awaited was reported, or written to the file of outcomes.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Inner {
    tally: Tally,
    /// Not accepted by the producer, so never sent.
    refused: u64,
    latency: Histogram<u64>,
    /// Every reason why records are not written or stay unknown, with their number; the kinds are few.
    reasons: Vec<(String, u64)>,
    /// Set by the first line that no record can hold.
    too_long: Option<TooLong>,
    /// Of those that count as unknown, with their lines (0 without a file of outcomes); some may be settled by now.
    fates: Vec<(u64, Fate)>,
    outcomes: Option<Outcomes>,
    /// Set when nothing more is counted or told.
    is_finished: bool,
    /// Set while somebody waits for so many reports.
    awaited: Option<u64>,
}

impl Results {
    /// `changed` is what the writer of the outcomes tells.
    pub fn new(outcomes: Option<Outcomes>, changed: Arc<Notify>) -> Self {
        // Up to an hour, to three digits; what is longer counts as an hour.
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3).expect("bounds and digits are in range");
        let inner = Inner {
            tally: Tally::default(),
            refused: 0,
            latency,
            reasons: Vec::new(),
            too_long: None,
            fates: Vec::new(),
            outcomes,
            is_finished: false,
            awaited: None,
        };
        let writer = inner.outcomes.as_ref().map(|outcomes| outcomes.writer().clone());
        Self { start: Instant::now(), writer, inner: Mutex::new(inner), changed }
    }

    /// The tag of a record that is handed over now: since when it is on its way, or its place among those on theirs.
    pub fn tag(&self, line: u64, checksum: Option<Checksum>) -> u64 {
        let now = self.now();
        // Written once, before anything is shared; so whoever has no outcomes takes no lock.
        if self.writer.is_none() {
            return now;
        }
        self.lock().outcomes.as_mut().map_or(now, |outcomes| outcomes.enter(Sent { line, at: now, checksum }))
    }

    /// Whether what became of each record is told.
    pub fn has_outcomes(&self) -> bool {
        self.writer.is_some()
    }

    /// The run that begins now; before the first record.
    pub fn begin(&self, run: &Run<'_>) {
        if let Some(outcomes) = &mut self.lock().outcomes {
            outcomes.begin(run);
        }
    }

    /// Takes a report; its tag says which record it is about, and since when that was on its way. Waits for whoever reads
    /// the outcomes.
    pub fn take(&self, report: &DeliveryReport<'_>) {
        let has_given = self.count(report);
        if has_given {
            self.wait_for_room();
        }
    }

    /// Waits while the file of outcomes is far behind. Nothing that is held while it waits keeps others from their end.
    pub fn wait_for_room(&self) {
        if let Some(writer) = &self.writer {
            writer.wait_for_room();
        }
    }

    /// Whether lines went to the file of outcomes.
    fn count(&self, report: &DeliveryReport<'_>) -> bool {
        let now = self.now();
        let mut inner = self.lock();
        if inner.is_finished {
            return false;
        }
        let sent = match &mut inner.outcomes {
            Some(outcomes) => outcomes.leave(report.tag()),
            None => Sent { line: 0, at: report.tag(), checksum: None },
        };
        let latency = now.saturating_sub(sent.at);
        inner.latency.saturating_record(latency);
        if let Some(outcomes) = &mut inner.outcomes {
            outcomes.tell_outcome(sent, report.outcome(), latency);
        }
        match report.outcome() {
            Outcome::Written(_) => inner.tally.written += 1,
            Outcome::NotWritten(why) => {
                inner.tally.not_written += 1;
                inner.count_reason(&kind_of(why));
            }
            Outcome::Unknown(fate) => {
                inner.tally.unknown += 1;
                inner.keep_fate(sent.line, fate.clone());
            }
        }
        if inner.awaited == Some(inner.tally.records()) {
            self.changed.notify_one();
        }
        inner.outcomes.as_ref().is_some_and(Outcomes::has_just_given)
    }

    /// Takes a record that the producer did not accept.
    pub fn refuse(&self, line: u64, tag: u64, why: &dyn fmt::Display) {
        let mut inner = self.lock();
        inner.refused += 1;
        inner.count_reason(&format!("not written: {why}"));
        if let Some(outcomes) = &mut inner.outcomes {
            let sent = outcomes.leave(tag);
            outcomes.tell_refused(line, sent.checksum, "refused_by_producer", why);
        }
    }

    /// A record that was not accepted because the producer was closed: it is as if it had not been read.
    pub fn forget(&self, tag: u64) {
        if let Some(outcomes) = &mut self.lock().outcomes {
            outcomes.leave(tag);
        }
    }

    /// Takes a piece of the input that is no record.
    pub fn refuse_wrong(&self, line: u64, why: &str) {
        let mut inner = self.lock();
        inner.refused += 1;
        inner.count_reason(&format!("not written: line {line} is no record: {why}"));
        if let Some(outcomes) = &mut inner.outcomes {
            outcomes.tell_refused(line, None, "no_record", &why);
        }
    }

    /// Takes a line that no record can hold; with its tag if it has one already.
    pub fn refuse_too_long(&self, line: u64, tag: Option<u64>, limit: usize) {
        let mut inner = self.lock();
        inner.refused += 1;
        inner.too_long.get_or_insert(TooLong { first: line, lines: 0, limit }).lines += 1;
        if let Some(outcomes) = &mut inner.outcomes {
            let sent = tag.map(|tag| outcomes.leave(tag));
            let why = format_args!("it is longer than a record may be, {limit} bytes with the batch around it");
            outcomes.tell_refused(line, sent.and_then(|sent| sent.checksum), "too_large", &why);
        }
    }

    /// Several times a second: what is known by now reaches the file of outcomes.
    pub fn tell(&self) {
        let mut inner = self.lock();
        if inner.outcomes.is_some() {
            inner.take_settled();
        }
        if let Some(outcomes) = &mut inner.outcomes {
            outcomes.write();
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Waits for the reports of this many accepted records, which are all decided: as long as they come, however slowly
    /// the outcomes are read. Cancelled, it may be called again.
    pub async fn reported(&self, accepted: u64) {
        self.lock().awaited = Some(accepted);
        let mut before = 0;
        let mut has_stalled = false;
        loop {
            let now = self.lock().tally.records();
            let is_behind = self.writer.as_ref().is_some_and(|writer| !writer.is_through());
            if now >= accepted || (has_stalled && now == before && !is_behind) {
                return;
            }
            before = now;
            has_stalled = tokio::time::timeout(STALLED, self.changed.notified()).await.is_err();
        }
    }

    /// Counts the records of this many accepted ones that have no report as unknown, and tells the last outcomes. Again,
    /// it does nothing.
    pub fn finish(&self, accepted: u64) {
        let mut inner = self.lock();
        if inner.is_finished {
            return;
        }
        inner.tally.unknown += accepted.saturating_sub(inner.tally.records());
        inner.take_settled();
        inner.is_finished = true;
        let Inner { outcomes, fates, .. } = &mut *inner;
        if let Some(outcomes) = outcomes {
            outcomes.finish(fates);
        }
    }

    /// Waits until the file of outcomes has every line, or cannot have it. Cancelled, it may be called again.
    pub async fn told(&self) {
        while self.writer.as_ref().is_some_and(|writer| !writer.is_through()) {
            self.changed.notified().await;
        }
    }

    /// The lines that nobody has read by now are not waited for.
    pub fn let_go(&self) {
        if let Some(writer) = &self.writer {
            writer.let_go();
        }
    }

    /// Everything so far, for the eyes of the user.
    pub fn summary(&self, bytes: u64, stats: ProducerStats, batch_size: usize) -> Summary {
        let inner = self.lock();
        let at = |quantile| Duration::from_micros(inner.latency.value_at_quantile(quantile));
        let tally = Tally { not_written: inner.tally.not_written + inner.refused, ..inner.tally };
        Summary {
            tally,
            bytes,
            elapsed: self.start.elapsed(),
            latency: (!inner.latency.is_empty())
                .then(|| [at(0.5), at(0.99), Duration::from_micros(inner.latency.max())]),
            reasons: inner.reasons.clone(),
            too_long: inner.too_long,
            stats,
            batch_size,
            lacks_outcomes: self.writer.as_ref().is_some_and(Writer::is_broken),
        }
    }

    /// How many are written.
    pub fn written(&self) -> u64 {
        self.lock().tally.written
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Fates that are settled are let go now and then, so that a long outage does not pile them up.
    fn keep_fate(&mut self, line: u64, fate: Fate) {
        if self.fates.len() == self.fates.capacity() {
            self.take_settled();
        }
        self.fates.push((line, fate));
    }

    fn take_settled(&mut self) {
        let fates = std::mem::take(&mut self.fates);
        for (line, fate) in fates {
            let Some(settlement) = fate.try_settlement() else {
                self.fates.push((line, fate));
                continue;
            };
            if let Some(outcomes) = &mut self.outcomes {
                outcomes.tell_settlement(line, &settlement);
            }
            match settlement {
                Settlement::Written(_) => {
                    self.tally.unknown -= 1;
                    self.tally.written += 1;
                }
                Settlement::NotWritten(why) => {
                    self.tally.unknown -= 1;
                    self.tally.not_written += 1;
                    self.count_reason(&kind_of(&why));
                }
                Settlement::Undetermined(why) => self.count_reason(&kind_of(&why)),
            }
        }
    }

    fn count_reason(&mut self, why: &str) {
        if let Some((_, count)) = self.reasons.iter_mut().find(|(known, _)| known == why) {
            *count += 1;
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.push((why.to_owned(), 1));
        }
    }
}

/// The reason and the last error: a line for each number of attempts would say less.
fn kind_of<R: fmt::Display>(why: &Because<R>) -> String {
    match why.cause.last_error {
        Some(error) => format!("{}: {error}", why.reason),
        None => why.reason.to_string(),
    }
}

/// Lines that no record can hold.
#[derive(Clone, Copy, Debug)]
struct TooLong {
    /// The number of the first one, counted from 1.
    first: u64,
    lines: u64,
    /// Bytes of a record with the batch around it.
    limit: usize,
}

/// The last lines of `milena produce`.
#[derive(Clone, Debug)]
pub struct Summary {
    tally: Tally,
    bytes: u64,
    elapsed: Duration,
    /// p50, p99 and the longest.
    latency: Option<[Duration; 3]>,
    reasons: Vec<(String, u64)>,
    too_long: Option<TooLong>,
    stats: ProducerStats,
    batch_size: usize,
    /// The file of outcomes could not be written to its end.
    lacks_outcomes: bool,
}

impl Summary {
    /// How many were read, whatever became of them.
    pub fn records(&self) -> u64 {
        self.tally.records()
    }

    /// A record that may be written or not is worse news than one that is not.
    pub fn exit(&self) -> Exit {
        match self.tally {
            Tally { unknown: 1.., .. } => Exit::Unknown,
            Tally { not_written: 1.., .. } => Exit::Failed,
            _ if self.lacks_outcomes => Exit::Failed,
            _ => Exit::Done,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, bytes, elapsed, stats, .. } = self;
        let seconds = elapsed.as_secs_f64();
        let per_second = |amount: u64| (amount as f64 / seconds) as u64;
        writeln!(
            f,
            "{}, {} in {}: {} records/s, {}/s",
            Count(tally.records(), ["record", "records"]),
            DecimalBytes(*bytes),
            Rounded(*elapsed),
            HumanCount(per_second(tally.records())),
            DecimalBytes(per_second(*bytes)),
        )?;
        write!(f, "{} written, {} not written, {} unknown", tally.written, tally.not_written, tally.unknown)?;
        for (why, count) in &self.reasons {
            write!(f, "\n{count} {why}")?;
        }
        if let Some(TooLong { first, lines, limit }) = self.too_long {
            write!(
                f,
                "\n{lines} not written: a line is longer than a record may be, {limit} bytes with the batch around it; \
                 the first is line {first}"
            )?;
        }
        if let Some([p50, p99, max]) = self.latency {
            write!(f, "\nlatency p50 {}, p99 {}, max {}", Rounded(p50), Rounded(p99), Rounded(max))?;
        }
        if let Some(batches) = std::num::NonZeroU64::new(stats.batches) {
            let fill = stats.batch_bytes as f64 / batches.get() as f64 / self.batch_size as f64;
            write!(
                f,
                "\n{}, {} each on average, {:.1} % full",
                Count(batches.get(), ["batch", "batches"]),
                Count(stats.records / batches, ["record", "records"]),
                fill * 100.0
            )?;
        }
        Ok(())
    }
}

/// A number and what is counted, as one and as many.
pub struct Count(pub u64, pub [&'static str; 2]);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, [one, many]) = self;
        write!(f, "{number} {}", if *number == 1 { one } else { many })
    }
}

/// A time in the unit that leaves few digits.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match self.0.as_micros() {
            micros @ ..1000 => write!(f, "{micros} µs"),
            // What would be rounded to 1000.0 ms is a second.
            ..999_950 => write!(f, "{:.1} ms", seconds * 1000.0),
            _ => write!(f, "{seconds:.1} s"),
        }
    }
}

/// In which time a report comes if any comes: it is decided, and only has its way through a thread.
const STALLED: Duration = Duration::from_secs(30);

const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

/// More kinds of trouble than this at once do not occur; a bound all the same.
const REASONS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_leaves_few_digits() {
        for (micros, text) in [
            (0, "0 µs"),
            (812, "812 µs"),
            (2_349, "2.3 ms"),
            (999_949, "999.9 ms"),
            (999_950, "1.0 s"),
            (30_015_000, "30.0 s"),
        ] {
            assert_eq!(Rounded(Duration::from_micros(micros)).to_string(), text);
        }
    }
}
