//! Compaction: which part of a log is due, and how its segments are replaced.
//!
//! The log is *clean* up to an offset: every record before it was compared with all later ones up to there. What follows is *dirty*, up to the
//! active segment, which is never touched. A compaction looks up the keys of the dirty part, then goes through all segments before its end and
//! leaves out what was written again. Small neighbours become one segment.
//!
//! A new segment is written aside, fsynced, and given a name that says it is whole; then the old ones go. A crash before that name leaves
//! the old segments, one after it the new one (`log/open.rs`). What becomes of a batch is in `log/cleaned_batch.rs`.

use std::collections::BTreeMap;

use milena_wire::records::{BatchHeader, BatchView, Packer, batches};

use super::cleaned_batch::{Cleaned, Cleaning, LastOffsets};
use super::scan::{Headers, RECOVERY_AHEAD, damaged};
use super::segment::{Looked, OpenSegment};
use super::{LogSegment, PartitionLog, files};
use crate::storage::StorageError;
use crate::topic_config::TopicConfig;

/// The part of a log that compaction may look at.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dirty {
    from: i64,
    until: i64,
    /// Its share of the log, without what compaction may not look at yet.
    share: f64,
    /// The time of its oldest record.
    since: Option<i64>,
}

impl PartitionLog {
    /// Compacts what is due. `last_of` has the last offset of each producer's last batch. Says whether anything was due.
    pub(crate) fn compact(
        &mut self,
        config: &TopicConfig,
        now: i64,
        high_watermark: i64,
        last_of: &BTreeMap<i64, i64>,
    ) -> Result<bool, StorageError> {
        let Some(dirty) = self.dirty(config, now, high_watermark)? else { return Ok(false) };
        let waited_long = dirty.since.is_some_and(|since| now.saturating_sub(since) > config.compaction_lag_max);
        if !waited_long && dirty.share <= config.cleanable_ratio_min.share() {
            return Ok(false);
        }
        self.check_unbroken()?;
        let last_offsets = self.look_up_keys(dirty)?;
        let end = last_offsets.end;
        let cleaning = Cleaning { last_offsets: &last_offsets, now, delete_retention: config.delete_retention };
        let mut at = 0;
        while at < self.segments.len() - 1 && self.segments[at].base_offset < end {
            let count = self.group(at, end, config);
            self.replace(at, count, &cleaning, last_of)?;
            at += 1;
        }
        self.cleaned = end;
        self.write_checkpoint(None)?;
        Ok(true)
    }

    /// None where there is nothing to compact.
    fn dirty(&self, config: &TopicConfig, now: i64, high_watermark: i64) -> Result<Option<Dirty>, StorageError> {
        let from = self.cleaned.max(self.start_offset);
        let finished = &self.segments[..self.segments.len() - 1];
        let mut until = high_watermark.min(self.active().base_offset);
        if config.compaction_lag_min > 0 {
            let is_young = |segment: &&LogSegment| {
                let newest = segment.newest.map_or(segment.modified, |(timestamp, _)| timestamp);
                segment.base_offset >= from && newest > now.saturating_sub(config.compaction_lag_min)
            };
            until = until.min(finished.iter().find(is_young).map_or(i64::MAX, |young| young.base_offset));
        }
        let bytes = |is_in: &dyn Fn(i64) -> bool| {
            finished.iter().filter(|segment| is_in(segment.base_offset)).map(|segment| segment.bytes).sum::<u64>()
        };
        let (clean_bytes, dirty_bytes) = (bytes(&|base| base < from), bytes(&|base| base >= from && base < until));
        if from >= until || dirty_bytes == 0 {
            return Ok(None);
        }
        let mut since = None;
        for (at, segment) in finished.iter().enumerate().filter(|(_, it)| (from..until).contains(&it.base_offset)) {
            let first = self.look(at, |open| Headers::from(&*open.data, 0, 0).next().map(Looked::There))?;
            let timestamp = first.map(|(_, header)| header.max_timestamp).filter(|timestamp| *timestamp > 0);
            since = [since, timestamp.or(Some(segment.modified))].into_iter().flatten().min();
        }
        let share = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
        Ok(Some(Dirty { from, until, share, since }))
    }

    /// The keys of the dirty part, or of as much of it as memory allows, in whole batches.
    fn look_up_keys(&self, dirty: Dirty) -> Result<LastOffsets, StorageError> {
        let mut last_offsets = LastOffsets::default();
        last_offsets.end = dirty.from;
        let mut next = dirty.from;
        while let Some((at, found)) = self.find(next)?.filter(|(_, found)| found.header.last_offset() < dirty.until) {
            let batch = self.look(at, |open| read_batch(open, found.position, &found.header).map(Looked::There))?;
            last_offsets.note(&batch);
            next = last_offsets.end;
            if last_offsets.is_full() {
                return Ok(last_offsets);
            }
        }
        last_offsets.end = last_offsets.end.max(dirty.until);
        Ok(last_offsets)
    }

    /// How many segments from one on become one, as large as segments may be.
    fn group(&self, first: usize, end: i64, config: &TopicConfig) -> usize {
        let base_offset = self.segments[first].base_offset;
        let mut bytes = 0;
        let fits = |(at, segment): &(usize, &LogSegment)| {
            bytes += segment.bytes;
            let behind = self.segments.get(at + 1).map_or(self.next_offset, |next| next.base_offset);
            let is_near = behind - base_offset <= i64::from(i32::MAX);
            segment.base_offset < end && bytes <= config.segment_size() && is_near
        };
        let last = self.segments.len() - 1;
        self.segments[..last].iter().enumerate().skip(first).take_while(fits).count().max(1)
    }

    /// Puts what compaction leaves of some segments in their place.
    fn replace(
        &mut self,
        first: usize,
        count: usize,
        cleaning: &Cleaning<'_>,
        last_of: &BTreeMap<i64, i64>,
    ) -> Result<(), StorageError> {
        let base_offset = self.segments[first].base_offset;
        let (aside, swap) = (files::name(base_offset, files::CLEANED), files::name(base_offset, files::SWAP));
        let data = self.folder.create(&aside)?;
        let modified = self.segments[first..first + count].iter().map(|segment| segment.modified).max().unwrap_or(0);
        let note = files::SegmentNote { base_offset, bytes: 0, newest: None };
        let mut cleaned = LogSegment { open: Some(OpenSegment::empty(data)), ..LogSegment::noted(&note, modified) };
        let mut packer = Packer::new();
        let mut has_changed = count > 1;
        for at in first..first + count {
            has_changed |= self.clean_into(at, &mut cleaned, cleaning, last_of, &mut packer)?;
        }
        if !has_changed {
            return self.folder.remove(&aside);
        }
        cleaned.open.as_mut().expect("it was just made").data.sync()?;
        self.looked_into.take();
        self.folder.rename(&aside, &swap)?;
        // From here on the new one counts, whatever happens: the next opening finishes what ends here.
        let swapped = self.swap_in(first, count, cleaned);
        self.unless_broken(swapped)
    }

    /// The new segment has its name on the disk before the old ones lose theirs.
    fn swap_in(&mut self, first: usize, count: usize, mut cleaned: LogSegment) -> Result<(), StorageError> {
        self.folder.sync()?;
        for old in &self.segments[first..first + count] {
            old.remove(&mut *self.folder)?;
        }
        let base_offset = cleaned.base_offset;
        self.folder.rename(&files::name(base_offset, files::SWAP), &files::name(base_offset, files::LOG))?;
        cleaned.finish(&mut *self.folder)?;
        cleaned.shut(&*self.folder);
        self.segments.splice(first..first + count, [cleaned]);
        self.folder.sync()
    }

    /// Appends what is left of one segment. Says whether that is less than it was, or another.
    fn clean_into(
        &self,
        at: usize,
        into: &mut LogSegment,
        cleaning: &Cleaning<'_>,
        last_of: &BTreeMap<i64, i64>,
        packer: &mut Packer,
    ) -> Result<bool, StorageError> {
        let mut has_changed = false;
        self.look(at, |open| {
            let mut headers = Headers::from(&*open.data, 0, RECOVERY_AHEAD);
            while let Some((position, header)) = headers.next()? {
                let batch = read_batch(open, position, &header)?;
                let is_last = last_of.get(&header.producer_id) == Some(&header.last_offset());
                let (header, body) = match cleaning.clean(&batch, is_last, packer) {
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
                into.take_note(&header, CLEANED_INDEX_INTERVAL);
            }
            Ok(Looked::There(()))
        })?;
        Ok(has_changed)
    }
}

fn read_batch(open: &OpenSegment, position: u64, header: &BatchHeader) -> Result<BatchView, StorageError> {
    let bytes = open.data.read(position, header.total_bytes())?;
    match batches(bytes).next() {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(why)) => Err(damaged(&*open.data, position, &why)),
        None => Err(damaged(&*open.data, position, &milena_wire::records::BatchError::Empty)),
    }
}

/// Kafka's default of `index.interval.bytes`.
const CLEANED_INDEX_INTERVAL: u64 = 4_096;
