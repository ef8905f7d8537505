//! The thread that turns lines into records: stdin is read and handed to the producer in one place, so order is kept.
//!
//! It waits for room when the producer's memory is used up, which is how a slow cluster slows the input down. It ends at
//! the end of the input, or when the producer is closed; a read of stdin cannot be interrupted, so nobody waits for it
//! longer than for the lines it has.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milena::{Record, SendError, SendRefused, Topic};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::lines::{Line, Lines};
use crate::results::Results;

/// What the thread has done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Records that the producer accepted.
    accepted: AtomicU64,
    /// Bytes of their values.
    bytes: AtomicU64,
    /// Bytes of all lines seen, with their LFs.
    consumed: AtomicU64,
    /// Held while lines are handed over, not while stdin is read.
    handing_over: Mutex<()>,
}

impl Counts {
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// After the producer was closed: waits until the lines in hand are refused, so that the counts change no more.
    pub fn settle(&self) {
        drop(self.hand_over());
    }

    fn hand_over(&self) -> MutexGuard<'_, ()> {
        self.handing_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the thread ended.
#[derive(Debug)]
pub enum Ended {
    /// All input is handed over.
    AtEnd,
    /// The producer takes nothing more.
    Closed,
    /// stdin cannot be read.
    Unreadable(io::Error),
}

/// The running thread.
pub struct Intake {
    pub counts: Arc<Counts>,
    pub ended: oneshot::Receiver<Ended>,
}

impl Intake {
    /// Within a tokio runtime, whose handle the thread waits with.
    pub fn start(
        input: impl Read + Send + 'static,
        line_bytes_max: usize,
        topic: Topic,
        results: Arc<Results>,
    ) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (tell_end, ended) = oneshot::channel();
        let work = Work { topic, results, counts: Arc::clone(&counts), waits: Handle::current(), line_bytes_max };
        std::thread::Builder::new().name("milena-intake".to_owned()).spawn(move || {
            let _nobody_waits = tell_end.send(work.run(Lines::new(input, line_bytes_max)));
        })?;
        Ok(Self { counts, ended })
    }
}

struct Work {
    topic: Topic,
    results: Arc<Results>,
    counts: Arc<Counts>,
    waits: Handle,
    line_bytes_max: usize,
}

struct Closed;

impl Work {
    fn run(&self, mut lines: Lines<impl Read>) -> Ended {
        let mut number = 0;
        loop {
            match lines.fill() {
                Ok(true) => {}
                Ok(false) => return Ended::AtEnd,
                Err(error) => return Ended::Unreadable(error),
            }
            let _busy = self.counts.hand_over();
            while let Some(line) = lines.next_line() {
                number += 1;
                if let Err(Closed) = self.take(line, number) {
                    return Ended::Closed;
                }
            }
        }
    }

    /// The line counts as seen before it can be written, so that progress never shows the two the other way round.
    fn take(&self, line: Line<'_>, number: u64) -> Result<(), Closed> {
        match line {
            Line::Whole(value) => {
                add(&self.counts.consumed, value.len() as u64 + 1);
                self.send(value, number)
            }
            Line::TooLong { bytes } => {
                add(&self.counts.consumed, bytes + 1);
                self.results.refuse_too_long(number, self.line_bytes_max);
                Ok(())
            }
        }
    }

    fn send(&self, value: &[u8], number: u64) -> Result<(), Closed> {
        let record = Record::value(value).tag(self.results.tag());
        let posted = match self.topic.post(record) {
            Err(error) if error.is_retriable() => self.waits.block_on(self.topic.post_wait(error.into_record())),
            posted => posted,
        };
        match posted {
            Ok(()) => {
                add(&self.counts.accepted, 1);
                add(&self.counts.bytes, value.len() as u64);
                Ok(())
            }
            Err(error) => self.refused(&error, number),
        }
    }

    #[cold]
    fn refused(&self, error: &SendError<'_>, number: u64) -> Result<(), Closed> {
        match error.reason() {
            SendRefused::Closed => return Err(Closed),
            SendRefused::RecordTooLarge { limit, .. } => self.results.refuse_too_long(number, *limit),
            _ => self.results.refuse(error),
        }
        Ok(())
    }
}

/// Only one thread adds, so a load and a store are enough.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
