//! Opening a log: what a checkpoint vouches for is believed, the rest is read.
//!
//! After a clean stop nothing is read but the checkpoint and the indexes of the active segment. After a crash segments that reach the recovery
//! point are read batch by batch, checksums included, and what follows the last whole batch is cut. A segment whose length is not the noted one
//! is read too, and so is everything of a log that has no checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use milena_wire::records::BatchError;

use super::epochs::{EpochStart, Epochs};
use super::files::{self, Checkpoint, offset_in};
use super::flush::FlushState;
use super::scan::{Headers, RECOVERY_AHEAD, Recovery};
use super::segment::{LogSegment, OpenSegment};
use super::{PartitionLog, TornTail};
use crate::moment::Moment;
use crate::storage::{LogFolder, StorageError};

impl PartitionLog {
    /// Opens what a folder holds, or begins anew in an empty one.
    pub(crate) fn open(
        mut folder: Box<dyn LogFolder>,
        now: Moment,
    ) -> Result<(PartitionLog, Option<TornTail>), StorageError> {
        let listed = Listed::tidied(&mut *folder)?;
        let checkpoint = match folder.read(files::CHECKPOINT)? {
            Some(text) => Checkpoint::parse(&String::from_utf8_lossy(&text)),
            None => None,
        };
        let checkpoint = checkpoint.unwrap_or_default();
        let mut opening = Opening {
            folder: &mut *folder,
            is_clean: false,
            now: now.timestamp(),
            epochs: checkpoint.epochs.clone(),
            next_offset: 0,
            torn: None,
        };
        opening.is_clean = opening.folder.stopped_cleanly() && listed.fits(&checkpoint);
        let segments = opening.segments(&listed, &checkpoint)?;
        let Opening { is_clean, mut epochs, next_offset, torn, .. } = opening;
        epochs.cut(next_offset);
        let mut log = PartitionLog {
            folder,
            start_offset: checkpoint.log_start.max(segments[0].base_offset),
            segments,
            epochs,
            next_offset,
            last_batch: None,
            cleaned: checkpoint.cleaned.min(next_offset),
            cleaning: None,
            discarded: Vec::new(),
            flush: FlushState::new(checkpoint.recovery_point.min(next_offset), !is_clean),
            snapshots: listed.snapshots,
            looked_into: None.into(),
        };
        if log.start_offset > log.next_offset {
            // The machine forgot what was written before it forgot what was deleted.
            log.restart_at(log.start_offset)?;
        }
        log.forget_snapshots_after(log.next_offset)?;
        let active = log.segments.last_mut().expect("a log has a segment");
        active.read_first_timestamp()?;
        Ok((log, torn))
    }
}

/// What lies in a folder, after what a crash left half done was finished or removed.
#[derive(Debug, Default)]
struct Listed {
    /// By first offset, with their lengths.
    segments: BTreeMap<i64, u64>,
    /// Those that have both indexes.
    indexed: BTreeSet<i64>,
    snapshots: BTreeSet<i64>,
}

impl Listed {
    fn tidied(folder: &mut dyn LogFolder) -> Result<Listed, StorageError> {
        let mut names: BTreeMap<String, u64> =
            folder.list()?.into_iter().map(|entry| (entry.name, entry.bytes)).collect();
        let unfinished = |name: &str| {
            let is_ours = name.ends_with(files::DELETED) && files::is_log_file(name);
            is_ours || offset_in(name, files::CLEANED).is_some() || name.ends_with(".new")
        };
        let left: Vec<String> = names.keys().filter(|name| unfinished(name)).cloned().collect();
        for name in left {
            folder.remove(&name)?;
            names.remove(&name);
        }
        let swaps: Vec<i64> = names.keys().filter_map(|name| offset_in(name, files::SWAP)).collect();
        for base_offset in swaps {
            finish_swap(folder, &mut names, base_offset)?;
        }
        let mut listed = Listed::default();
        for (name, bytes) in &names {
            if let Some(base_offset) = offset_in(name, files::LOG) {
                listed.segments.insert(base_offset, *bytes);
            }
            listed.snapshots.extend(offset_in(name, files::SNAPSHOT));
        }
        for name in names.keys() {
            let index = offset_in(name, files::INDEX).or_else(|| offset_in(name, files::TIME_INDEX));
            let Some(base_offset) = index else { continue };
            if !listed.segments.contains_key(&base_offset) {
                folder.remove(name)?;
            } else if names.contains_key(&files::name(base_offset, files::INDEX))
                && names.contains_key(&files::name(base_offset, files::TIME_INDEX))
            {
                listed.indexed.insert(base_offset);
            }
        }
        Ok(listed)
    }

    /// Whether a checkpoint was written when the log was closed, and every segment is as it was then.
    fn fits(&self, checkpoint: &Checkpoint) -> bool {
        let noted = checkpoint.segments.iter().map(|note| (note.base_offset, note.bytes));
        checkpoint.end.is_some() && noted.eq(self.segments.iter().map(|(base_offset, bytes)| (*base_offset, *bytes)))
    }
}

/// A compacted segment is whole: what it was made of goes, and it takes their place.
fn finish_swap(
    folder: &mut dyn LogFolder,
    names: &mut BTreeMap<String, u64>,
    base_offset: i64,
) -> Result<(), StorageError> {
    let swap = files::name(base_offset, files::SWAP);
    let mut end = base_offset;
    let data = folder.open(&swap)?;
    let mut headers = Headers::from(&*data, 0, RECOVERY_AHEAD);
    while let Some((_, header)) = headers.next()? {
        end = header.last_offset() + 1;
    }
    let bytes = data.len();
    drop(data);
    let replaced: Vec<i64> = names.keys().filter_map(|name| offset_in(name, files::LOG)).collect();
    for old in replaced.into_iter().filter(|old| (base_offset..end.max(base_offset + 1)).contains(old)) {
        for kind in [files::LOG, files::INDEX, files::TIME_INDEX] {
            let name = files::name(old, kind);
            if names.remove(&name).is_some() {
                folder.remove(&name)?;
            }
        }
    }
    folder.rename(&swap, &files::name(base_offset, files::LOG))?;
    names.remove(&swap);
    names.insert(files::name(base_offset, files::LOG), bytes);
    Ok(())
}

struct Opening<'a> {
    folder: &'a mut dyn LogFolder,
    is_clean: bool,
    now: i64,
    epochs: Epochs,
    next_offset: i64,
    torn: Option<TornTail>,
}

impl Opening<'_> {
    /// All segments, ascending, the last one open.
    fn segments(&mut self, listed: &Listed, checkpoint: &Checkpoint) -> Result<Vec<LogSegment>, StorageError> {
        let bases: Vec<i64> = listed.segments.keys().copied().collect();
        let notes: BTreeMap<i64, _> = checkpoint.segments.iter().map(|note| (note.base_offset, note)).collect();
        let mut segments = Vec::new();
        for (at, base_offset) in bases.iter().copied().enumerate() {
            let next_base = bases.get(at + 1).copied();
            let note = notes.get(&base_offset).filter(|note| note.bytes == listed.segments[&base_offset]);
            let is_flushed = next_base.is_some_and(|next| next <= checkpoint.recovery_point);
            match note.filter(|_| self.is_clean || is_flushed) {
                Some(note) => {
                    let mut segment = LogSegment::noted(note, self.now);
                    let is_active = next_base.is_none();
                    if is_active || !listed.indexed.contains(&base_offset) {
                        self.open_noted(&mut segment, is_active)?;
                    }
                    segments.push(segment);
                    self.next_offset = next_base.or(checkpoint.end).unwrap_or(base_offset);
                }
                None => {
                    segments.push(self.read(base_offset, &bases[at + 1..])?);
                    if self.torn.is_some() {
                        break;
                    }
                }
            }
        }
        if segments.is_empty() {
            segments.push(LogSegment::create(self.folder, checkpoint.log_start, self.now)?);
            self.next_offset = checkpoint.log_start;
        }
        Ok(segments)
    }

    fn open_noted(&mut self, segment: &mut LogSegment, is_active: bool) -> Result<(), StorageError> {
        let open = segment.reopen(self.folder)?;
        if is_active {
            segment.open = Some(open);
        } else {
            open.write_indexes(self.folder, segment.base_offset)?;
        }
        Ok(())
    }

    /// Reads a segment that a crash may have torn, and cuts it where it is; later ones then go too.
    fn read(&mut self, base_offset: i64, later: &[i64]) -> Result<LogSegment, StorageError> {
        let data = self.folder.open(&files::name(base_offset, files::LOG))?;
        // Read by one handle while the other takes note.
        let reader = self.folder.open(&files::name(base_offset, files::LOG))?;
        let note = files::SegmentNote { base_offset, bytes: 0, newest: None };
        let mut segment = LogSegment { open: Some(OpenSegment::empty(data)), ..LogSegment::noted(&note, self.now) };
        let mut recovery = Recovery::of(&*reader, base_offset);
        loop {
            match recovery.next()? {
                Ok(Some(header)) => {
                    segment.take_note(&header, INDEX_INTERVAL);
                    self.epochs.note(EpochStart { epoch: header.partition_leader_epoch, offset: header.base_offset });
                }
                Ok(None) => break,
                Err(why) => {
                    self.cut(&mut segment, later, why)?;
                    break;
                }
            }
        }
        self.next_offset = recovery.next_offset;
        if !later.is_empty() && self.torn.is_none() {
            segment.finish(self.folder)?;
            segment.shut(self.folder);
        }
        Ok(segment)
    }

    fn cut(&mut self, segment: &mut LogSegment, later: &[i64], why: BatchError) -> Result<(), StorageError> {
        let at = segment.bytes;
        let open = segment.open.as_mut().expect("it is being read");
        let mut cut_bytes = open.data.len() - at;
        for base_offset in later.iter().rev() {
            cut_bytes += self.folder.open(&files::name(*base_offset, files::LOG))?.len();
            for kind in [files::LOG, files::INDEX, files::TIME_INDEX] {
                self.folder.remove(&files::name(*base_offset, kind))?;
            }
        }
        open.data.truncate(at)?;
        self.torn = Some(TornTail { file: open.data.path().map(PathBuf::from), at, cut_bytes, why });
        Ok(())
    }
}

/// Kafka's default of `index.interval.bytes`: the topic's own is not known here.
const INDEX_INTERVAL: u64 = 4_096;
