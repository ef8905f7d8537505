//! What a compaction does beside the broker's thread, in steps: it reads segments that nobody changes any more, and writes one that nobody
//! knows yet.
//!
//! A step is a value. It holds all that it needs, changes no name on the disk, and may be run anywhere and thrown away at any time: files that it
//! reads may be gone, and then it fails; what it writes has a name that the next opening removes. Which steps there are, and what their ends
//! mean, is in `log/cleaner.rs`; what becomes of a batch in `log/cleaned_batch.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_wire::records::{BatchError, BatchHeader, BatchView, Packer, batches};

use super::cleaned_batch::{Cleaned, Cleaning, LastOffsets};
use super::files;
use super::scan::{Headers, RECOVERY_AHEAD, damaged};
use super::segment::LogSegment;
use crate::storage::{LogFolder, Segment, StorageError};

/// Says to another thread that what it does is not wanted any more, once whoever wanted it is gone.
#[derive(Debug, Default)]
pub(super) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    pub(super) fn watch(&self) -> GivenUp {
        GivenUp(Arc::clone(&self.0))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a [`Wanted`] is gone.
#[derive(Debug)]
pub(super) struct GivenUp(Arc<AtomicBool>);

/// One step of a compaction.
#[derive(Debug)]
pub(crate) struct CleaningStep {
    pub(super) job: Job,
    pub(super) inputs: Inputs,
    pub(super) given_up: GivenUp,
}

/// Finished segments, ascending.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) segments: Vec<Input>,
    /// Where those are opened that have a name only.
    pub(super) folder: Option<Box<dyn LogFolder>>,
}

#[derive(Debug)]
pub(super) struct Input {
    pub(super) base_offset: i64,
    /// None for one that is to be opened.
    pub(super) shared: Option<Box<dyn Segment>>,
}

#[derive(Debug)]
pub(super) enum Job {
    /// Looks up the keys of whole batches that reach `from` and end before `until`.
    LookUp { from: i64, until: i64 },
    /// Writes what is left of the inputs.
    Rewrite { into: LogSegment, by: Arc<Cleaning> },
}

/// What a step has come to.
#[derive(Debug)]
pub(crate) struct FinishedStep {
    /// What it wrote, by its first offset, if it wrote anything.
    pub(super) wrote: Option<i64>,
    pub(super) done: Result<Done, StorageError>,
}

#[derive(Debug)]
pub(super) enum Done {
    LookedUp(LastOffsets),
    /// It is fsynced. Says whether it is anything else than its inputs were.
    Rewritten(LogSegment, bool),
    GivenUp,
}

impl CleaningStep {
    /// Takes as long as reading the inputs and writing what is left of them.
    pub(crate) fn run(self) -> FinishedStep {
        let CleaningStep { job, inputs, given_up } = self;
        match job {
            Job::LookUp { from, until } => {
                let done = inputs.keys(from, until, &given_up);
                FinishedStep { wrote: None, done }
            }
            Job::Rewrite { into, by } => {
                FinishedStep { wrote: Some(into.base_offset), done: inputs.rewritten(into, &by, &given_up) }
            }
        }
    }
}

impl Inputs {
    /// The keys, or as many as memory allows.
    fn keys(&self, from: i64, until: i64, given_up: &GivenUp) -> Result<Done, StorageError> {
        let mut last_offsets = LastOffsets::default();
        last_offsets.end = from;
        for input in &self.segments {
            let mut opened = None;
            let data = self.data(input, &mut opened)?;
            let mut headers = Headers::from(data, 0, RECOVERY_AHEAD);
            while let Some((position, header)) = headers.next()? {
                if given_up.is_set() {
                    return Ok(Done::GivenUp);
                }
                if header.last_offset() < from {
                    continue;
                }
                if header.last_offset() >= until {
                    break;
                }
                last_offsets.note(&read_batch(data, position, &header)?);
                if last_offsets.is_full() {
                    return Ok(Done::LookedUp(last_offsets));
                }
            }
        }
        last_offsets.end = last_offsets.end.max(until);
        Ok(Done::LookedUp(last_offsets))
    }

    fn rewritten(&self, mut into: LogSegment, by: &Cleaning, given_up: &GivenUp) -> Result<Done, StorageError> {
        let mut packer = Packer::new();
        let mut has_changed = self.segments.len() > 1;
        for input in &self.segments {
            let mut opened = None;
            let data = self.data(input, &mut opened)?;
            let mut headers = Headers::from(data, 0, RECOVERY_AHEAD);
            while let Some((position, header)) = headers.next()? {
                if given_up.is_set() {
                    return Ok(Done::GivenUp);
                }
                let batch = read_batch(data, position, &header)?;
                let (header, body) = match by.clean(&batch, &mut packer) {
                    Cleaned::Gone => {
                        has_changed = true;
                        continue;
                    }
                    Cleaned::Same => (header, batch.body),
                    Cleaned::Rewritten(header, body) => {
                        has_changed = true;
                        (header, body)
                    }
                };
                into.open.as_mut().expect("it was just made").data.append(&header.write(), &body)?;
                into.take_note(&header, INDEX_INTERVAL);
            }
        }
        if has_changed {
            into.open.as_mut().expect("it was just made").data.sync()?;
        }
        Ok(Done::Rewritten(into, has_changed))
    }

    /// The bytes of an input, opened for as long as they are read.
    fn data<'a>(
        &self,
        input: &'a Input,
        opened: &'a mut Option<Box<dyn Segment>>,
    ) -> Result<&'a dyn Segment, StorageError> {
        match (&input.shared, &self.folder) {
            (Some(shared), _) => Ok(&**shared),
            (None, Some(folder)) => Ok(&**opened.insert(folder.open(&files::name(input.base_offset, files::LOG))?)),
            (None, None) => unreachable!("segments without a folder are shared"),
        }
    }
}

impl GivenUp {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn read_batch(data: &dyn Segment, position: u64, header: &BatchHeader) -> Result<BatchView, StorageError> {
    match batches(data.read(position, header.total_bytes())?).next() {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(why)) => Err(damaged(data, position, &why)),
        None => Err(damaged(data, position, &BatchError::Empty)),
    }
}

/// Kafka's default of `index.interval.bytes`.
const INDEX_INTERVAL: u64 = 4_096;
