//! What became of the records of a benchmark, one by one.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use milena::{DeliveryReport, Outcome};

use crate::arguments::BenchProduce;

/// Shared by the thread that sends and the one that reports come on. Counts are apart from what needs the lock, because a
/// look at the clock for each record would be measured too.
#[derive(Debug)]
pub struct Tracker {
    warm_up_records: u64,
    records: u64,
    rate: Option<u64>,
    /// Reports and refusals of all records.
    done: AtomicU64,
    /// Of the measured ones.
    acked: AtomicU64,
    inner: Mutex<Inner>,
    /// All, or nobody wants to know any more.
    all_reported: Condvar,
    is_cancelled: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    /// When the measured part began; before that, when the warm-up did.
    begun: Instant,
    /// At the last report.
    ended: Instant,
    /// `acked` is not counted here.
    counted: Counted,
    /// When each [`SAMPLED`]th record was sent, where no schedule says when it was due.
    sent: Vec<Duration>,
}

/// Of the measured records.
#[derive(Clone, Debug)]
pub struct Counted {
    pub acked: u64,
    pub not_written: u64,
    pub unknown: u64,
    /// Why the first that was not written was not.
    pub refusal: Option<String>,
    /// In microseconds.
    pub latency: Histogram<u64>,
}

impl Tracker {
    pub fn new(options: &BenchProduce) -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3).expect("bounds and digits are in range");
        let now = Instant::now();
        let counted = Counted { acked: 0, not_written: 0, unknown: 0, refusal: None, latency };
        let BenchProduce { warmup_records, records, rate, .. } = *options;
        Self {
            warm_up_records: warmup_records,
            records,
            rate,
            done: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            inner: Mutex::new(Inner { begun: now, ended: now, counted, sent: Vec::new() }),
            all_reported: Condvar::new(),
            is_cancelled: AtomicBool::new(false),
        }
    }

    /// Nobody waits for the end any more: whoever sends stops, whoever waits returns.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        // Whoever is about to wait has looked before, or looks after this.
        drop(self.lock());
        self.all_reported.notify_all();
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// The measured part starts now.
    pub fn begin(&self) {
        self.lock().begun = Instant::now();
    }

    /// Since the measured part began.
    pub fn elapsed(&self) -> Duration {
        self.lock().begun.elapsed()
    }

    /// A run of [`SAMPLED`] records is sent now.
    pub fn sending_run(&self) {
        let mut inner = self.lock();
        let now = inner.begun.elapsed();
        inner.sent.push(now);
    }

    pub fn take(&self, report: &DeliveryReport<'_>) {
        let is_written = matches!(report.outcome(), Outcome::Written(_));
        let measured = report.tag().checked_sub(self.warm_up_records);
        if let Some(number) = measured {
            if is_written {
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            if self.rate.is_some() || number.is_multiple_of(SAMPLED) {
                self.sample(number);
            }
        }
        if !is_written {
            self.lock().counted.lose(report.outcome());
        }
        self.count();
    }

    fn sample(&self, number: u64) {
        let mut inner = self.lock();
        let since = match self.rate {
            Some(rate) => due(number, rate),
            None => inner.sent[(number / SAMPLED) as usize],
        };
        let micros = inner.begun.elapsed().saturating_sub(since).as_micros() as u64;
        inner.counted.latency.saturating_record(micros);
    }

    /// A record that the producer did not accept.
    pub fn refuse(&self, why: &dyn fmt::Display) {
        self.lock().counted.refuse(why);
        self.count();
    }

    fn count(&self) {
        let done = self.done.fetch_add(1, Ordering::Release) + 1;
        if done == self.warm_up_records || done == self.warm_up_records + self.records {
            self.lock().ended = Instant::now();
            self.all_reported.notify_all();
        }
    }

    /// The warm-up is over when all of it is acknowledged; the error says why it is not.
    pub fn wait_for_warm_up(&self) -> Result<(), String> {
        let inner = self.wait_until(self.warm_up_records);
        match &inner.counted.refusal {
            Some(why) => Err(format!("a record of the warm-up was not written: {why}")),
            None => Ok(()),
        }
    }

    /// How long all took. Every record has its outcome by its deadline, so this ends.
    pub fn wait_for_all(&self) -> Duration {
        let inner = self.wait_until(self.warm_up_records + self.records);
        inner.ended.saturating_duration_since(inner.begun)
    }

    pub fn counted(&self) -> Counted {
        Counted { acked: self.acked.load(Ordering::Relaxed), ..self.lock().counted.clone() }
    }

    fn wait_until(&self, done: u64) -> MutexGuard<'_, Inner> {
        let is_open = |_: &mut Inner| self.done.load(Ordering::Acquire) < done && !self.is_cancelled();
        let waited = self.all_reported.wait_while(self.lock(), is_open);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// A record that is not written, as far as is known.
    fn lose(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Written(_) => {}
            Outcome::NotWritten(why) => self.refuse(why),
            Outcome::Unknown(_) => {
                self.unknown += 1;
                self.refusal.get_or_insert_with(|| "no conclusive answer came before the deadline".to_owned());
            }
        }
    }

    fn refuse(&mut self, why: &dyn fmt::Display) {
        self.not_written += 1;
        self.refusal.get_or_insert_with(|| why.to_string());
    }
}

/// When a record is due, since the begin.
pub fn due(number: u64, rate: u64) -> Duration {
    Duration::from_nanos((u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64)
}

/// As often as one record is looked at where none is due at a time.
pub const SAMPLED: u64 = 64;

/// An hour; what is longer counts as that.
const LATENCY_MAX_MICROS: u64 = 3_600_000_000;
