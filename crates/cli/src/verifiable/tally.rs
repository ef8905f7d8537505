//! What became of the records of a verifiable producer: told as it is known, and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use milena::{DeliveryReport, Fate, Outcome, SendRefused, Settlement};
use tokio::sync::Notify;

use super::events::{Events, Subject};
use crate::arguments::VerifiableProducer;

/// Shared by the thread that sends, the one that reports come on, and the one that waits.
#[derive(Debug)]
pub struct Tally {
    pub events: Events,
    names: Names,
    /// Records that the producer accepted.
    accepted: AtomicU64,
    /// Handed to the producer, whether it took them or not, as Java counts.
    sent: AtomicU64,
    reported: Mutex<Reported>,
    pub changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub reported: u64,
    pub written: u64,
    pub not_written: u64,
}

#[derive(Debug, Default)]
struct Reported {
    counts: Counts,
    /// Records in doubt, and what they wait for.
    fates: Vec<(u64, Fate)>,
}

/// Key and value by the number of a record, so that nothing is kept of those on their way.
#[derive(Clone, Debug)]
pub struct Names {
    topic: String,
    prefix: Option<i64>,
    keys: Option<u64>,
}

impl Names {
    pub fn new(options: &VerifiableProducer) -> Self {
        Self { topic: options.topic.clone(), prefix: options.value_prefix, keys: options.repeating_keys }
    }

    pub fn key(&self, number: u64) -> Option<String> {
        self.keys.map(|keys| (number % keys).to_string())
    }

    pub fn value(&self, number: u64) -> String {
        match self.prefix {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        }
    }

    fn with<R>(&self, number: u64, tell: impl FnOnce(Subject<'_>) -> R) -> R {
        let (key, value) = (self.key(number), self.value(number));
        tell(Subject { key: key.as_deref(), value: &value, topic: &self.topic })
    }
}

impl Tally {
    pub fn new(names: Names) -> Self {
        let (accepted, sent, reported) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::default());
        Self { events: Events::default(), names, accepted, sent, reported, changed: Notify::new() }
    }

    pub fn accept(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a record that the producer did not accept.
    pub fn refuse(&self, number: u64, why: &SendRefused, message: String) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.lock().counts.not_written += 1;
        self.names.with(number, |subject| self.events.refused(subject, why, message));
    }

    /// Takes a report; its tag is the record's number.
    pub fn take(&self, report: &DeliveryReport<'_>) {
        let number = report.tag();
        // Told before it is counted: whoever has seen the count may tell the end.
        self.names.with(number, |subject| match report.outcome() {
            Outcome::Written(at) => self.events.success(subject, at),
            Outcome::NotWritten(why) => self.events.error(subject, why),
            Outcome::Unknown(_) => self.events.unknown(subject),
        });
        let mut reported = self.lock();
        reported.counts.reported += 1;
        match report.outcome() {
            Outcome::Written(_) => reported.counts.written += 1,
            Outcome::NotWritten(_) => reported.counts.not_written += 1,
            Outcome::Unknown(fate) => reported.fates.push((number, fate.clone())),
        }
        drop(reported);
        self.changed.notify_one();
    }

    /// Tells of the doubts that are settled by now, several times a second.
    pub fn settle(&self) {
        let mut reported = self.lock();
        let Reported { counts, fates } = &mut *reported;
        let mut settled = Vec::new();
        fates.retain(|(number, fate)| match fate.try_settlement() {
            Some(settlement) => {
                settled.push((*number, settlement));
                false
            }
            None => true,
        });
        for (number, settlement) in settled {
            match settlement {
                Settlement::Written(_) => counts.written += 1,
                Settlement::NotWritten(_) => counts.not_written += 1,
                Settlement::Undetermined(_) => {}
            }
            self.names.with(number, |subject| self.events.settled(subject, &settlement));
        }
    }

    /// Whether every accepted record has its report.
    pub fn is_complete(&self) -> bool {
        self.lock().counts.reported >= self.accepted.load(Ordering::Relaxed)
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
