//! The thread that turns input into records: stdin or files are read and handed to the producer in one place, so order is kept.
//!
//! It waits for room when the producer's memory is used up, which is how a slow cluster slows the input down. It ends at
//! the end of the input, or when the producer is closed; a read of stdin cannot be interrupted, so nobody waits for it
//! longer than for the lines it has.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use milena::{SendError, SendRefused, Topic};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::arguments::Dress;
use crate::dress::{Dressing, Tags, dressed};
use crate::format::InputRecord;
use crate::input::{self, Item, Reading, Source, What};
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
    /// The input cannot be read on, for this reason.
    Unreadable(String),
}

/// The running thread.
pub struct Intake {
    pub counts: Arc<Counts>,
    pub ended: oneshot::Receiver<Ended>,
}

/// What the thread does.
pub struct Work {
    pub topic: Topic,
    pub results: Arc<Results>,
    /// None: stdin.
    pub files: Vec<PathBuf>,
    pub reading: Reading,
    pub dress: Dress,
    pub tags: Option<Tags>,
    pub record_bytes_max: usize,
}

impl Intake {
    /// Within a tokio runtime, whose handle the thread waits with.
    pub fn start(work: Work) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (tell_end, ended) = oneshot::channel();
        let hands = Hands { work, counts: Arc::clone(&counts), waits: Handle::current() };
        std::thread::Builder::new().name("milena-intake".to_owned()).spawn(move || {
            let _nobody_waits = tell_end.send(hands.run());
        })?;
        Ok(Self { counts, ended })
    }
}

struct Hands {
    work: Work,
    counts: Arc<Counts>,
    waits: Handle,
}

struct Closed;

impl Hands {
    /// Numbers go on from file to file.
    fn run(&self) -> Ended {
        let mut number = 0;
        if self.work.files.is_empty() {
            return self.read(io::stdin(), "stdin", &mut number);
        }
        for path in &self.work.files {
            let ended = match input::open(path) {
                Ok(file) => self.read(file, &path.display().to_string(), &mut number),
                Err(why) => Ended::Unreadable(why),
            };
            let Ended::AtEnd = ended else { return ended };
        }
        Ended::AtEnd
    }

    fn read(&self, input: impl Read, name: &str, number: &mut u64) -> Ended {
        let mut source = Source::new(input, &self.work.reading, self.work.record_bytes_max);
        loop {
            match source.fill() {
                Ok(true) => {}
                Ok(false) => return Ended::AtEnd,
                Err(error) => return Ended::Unreadable(format!("{name} cannot be read: {error}")),
            }
            // Not while lines are handed over, which others wait for.
            self.work.results.wait_for_room();
            let _busy = self.counts.hand_over();
            while let Some(item) = source.next() {
                *number += 1;
                match self.take(item, *number) {
                    Ok(()) => {}
                    Err(Stop::Closed) => return Ended::Closed,
                    Err(Stop::Lost(why)) => {
                        return Ended::Unreadable(format!("record {number} of {name} is not as --format says: {why}"));
                    }
                }
            }
        }
    }

    /// The line counts as seen before it can be written, so that progress never shows the two the other way round.
    fn take(&self, item: Item<'_>, number: u64) -> Result<(), Stop> {
        add(&self.counts.consumed, item.bytes);
        match item.what {
            What::Record(record) => return self.send(&record, number).map_err(|Closed| Stop::Closed),
            What::TooLong => self.work.results.refuse_too_long(number, None, self.work.record_bytes_max),
            What::Wrong(why) => self.work.results.refuse_wrong(number, &why),
            What::Lost(why) => return Err(Stop::Lost(why)),
        }
        Ok(())
    }

    fn send(&self, record: &InputRecord<'_>, number: u64) -> Result<(), Closed> {
        let Work { topic, results, dress, tags, .. } = &self.work;
        let bytes = record.value.as_ref().map_or(0, |value| value.len());
        let dressing = Dressing { dress, tags: tags.as_ref(), has_checksum: results.has_outcomes() };
        dressed(record, &dressing, number, |record, checksum| {
            let tag = results.tag(number, checksum);
            let posted = match topic.post(record.tag(tag)) {
                Err(error) if error.is_retriable() => self.waits.block_on(topic.post_wait(error.into_record())),
                posted => posted,
            };
            match posted {
                Ok(()) => {
                    add(&self.counts.accepted, 1);
                    add(&self.counts.bytes, bytes as u64);
                    Ok(())
                }
                Err(error) => self.refused(&error, number, tag),
            }
        })
    }

    #[cold]
    fn refused(&self, error: &SendError<'_>, number: u64, tag: u64) -> Result<(), Closed> {
        let results = &self.work.results;
        match error.reason() {
            SendRefused::Closed => {
                results.forget(tag);
                return Err(Closed);
            }
            SendRefused::RecordTooLarge { limit, .. } => results.refuse_too_long(number, Some(tag), *limit),
            _ => results.refuse(number, tag, error),
        }
        Ok(())
    }
}

/// Why the input is not read on.
enum Stop {
    Closed,
    Lost(String),
}

/// Only one thread adds, so a load and a store are enough.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
