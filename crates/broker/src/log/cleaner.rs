//! Compaction: which part of a log is due, and how its segments are replaced.
//!
//! The log is *clean* up to an offset: every record before it was compared with all later ones up to there. What follows is *dirty*, up to the
//! active segment, which is never touched. A compaction looks up the keys of the dirty part, then goes through all segments before its end and
//! leaves out what was written again. Small neighbours become one segment.
//!
//! Reading and writing are steps that another thread may do (`log/cleaning.rs`); here is what begins, and what comes of an end. Meanwhile the
//! log goes on: it grows, its oldest segments may go, and a step whose inputs are not there any more is thrown away. A log that is cut where a
//! compaction reads forgets about that compaction.
//!
//! A new segment is written aside, fsynced, and given a name that says it is whole; then the old ones go. A crash before that name leaves
//! the old segments, one after it the new one (`log/open.rs`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::cleaned_batch::{Cleaning, LastOffsets};
use super::cleaning::{CleaningStep, Done, FinishedStep, Input, Inputs, Job, Wanted};
use super::scan::Headers;
use super::segment::{Looked, OpenSegment};
use super::{LogSegment, PartitionLog, files};
use crate::storage::StorageError;
use crate::topic_config::TopicConfig;

/// A compaction that is not over. Dropping it stops the thread that works for it.
#[derive(Debug)]
pub(super) struct Compaction {
    /// Only segments before it are read; the log may be cut there or behind without a harm.
    pub(super) reach: i64,
    stage: Stage,
    wanted: Wanted,
}

#[derive(Debug)]
enum Stage {
    /// What is looked for comes with the keys.
    LookingUp(Cleaning),
    /// So many segments become one, from the one with this first offset on.
    Rewriting { by: Arc<Cleaning>, first: i64, count: usize },
}

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
    /// Begins a compaction if one is due: gives its first step. `last_of` has the last offset of each producer's last batch.
    pub(crate) fn begin_cleaning(
        &mut self,
        config: &TopicConfig,
        now: i64,
        high_watermark: i64,
        last_of: BTreeMap<i64, i64>,
    ) -> Result<Option<CleaningStep>, StorageError> {
        let Some(dirty) = self.dirty(config, now, high_watermark)? else { return Ok(None) };
        let waited_long = dirty.since.is_some_and(|since| now.saturating_sub(since) > config.compaction_lag_max);
        if !waited_long && dirty.share <= config.cleanable_ratio_min.share() {
            return Ok(None);
        }
        self.check_unbroken()?;
        let last_offsets = LastOffsets::default();
        let cleaning = Cleaning { last_offsets, last_of, now, delete_retention: config.delete_retention };
        let first = self.segments.partition_point(|segment| segment.base_offset <= dirty.from).saturating_sub(1);
        let behind = self.segments.partition_point(|segment| segment.base_offset < dirty.until);
        let inputs = self.inputs(first..behind);
        let job = Job::LookUp { from: dirty.from, until: dirty.until };
        Ok(Some(self.hand_out(Wanted::default(), Stage::LookingUp(cleaning), job, inputs)))
    }

    /// Takes what a step has come to, and gives the next one if there is any. What is not wanted any more is removed.
    pub(crate) fn continue_cleaning(
        &mut self,
        config: &TopicConfig,
        finished: FinishedStep,
    ) -> Result<Option<CleaningStep>, StorageError> {
        let FinishedStep { wrote, done } = finished;
        let taken = match self.cleaning.take() {
            Some(Compaction { stage, wanted, .. }) => {
                done.and_then(|done| Ok(self.take_step(stage, done)?.map(|(by, from)| (wanted, by, from))))
            }
            None => Ok(None),
        };
        if let Some(aside) = wrote.map(|base_offset| files::name(base_offset, files::CLEANED)) {
            // One that took its place has another name by now.
            self.folder.remove(&aside)?;
        }
        match taken? {
            Some((wanted, by, from)) => self.rewrite_from(wanted, by, from, config),
            None => Ok(None),
        }
    }

    /// What goes on, by what, and from which offset.
    fn take_step(&mut self, stage: Stage, done: Done) -> Result<Option<(Arc<Cleaning>, i64)>, StorageError> {
        match (stage, done) {
            (Stage::LookingUp(cleaning), Done::LookedUp(last_offsets)) => {
                Ok(Some((Arc::new(Cleaning { last_offsets, ..cleaning }), i64::MIN)))
            }
            (Stage::Rewriting { by, first, count }, Done::Rewritten(cleaned, has_changed)) => {
                let place = self.segments.iter().position(|segment| segment.base_offset == first);
                // Old segments go oldest first: where the first input is, all are.
                if let Some(at) = place.filter(|_| has_changed) {
                    self.replace(at, count, cleaned)?;
                }
                Ok(Some((by, first + 1)))
            }
            _ => Ok(None),
        }
    }

    /// The next segments that become one, or the end.
    fn rewrite_from(
        &mut self,
        wanted: Wanted,
        by: Arc<Cleaning>,
        from: i64,
        config: &TopicConfig,
    ) -> Result<Option<CleaningStep>, StorageError> {
        let end = by.last_offsets.end;
        let at = self.segments.partition_point(|segment| segment.base_offset < from);
        if at >= self.segments.len() - 1 || self.segments[at].base_offset >= end {
            self.cleaned = end.max(self.start_offset);
            self.write_checkpoint(None)?;
            return Ok(None);
        }
        self.check_unbroken()?;
        let count = self.group(at, end, config);
        let first = self.segments[at].base_offset;
        let data = self.folder.create(&files::name(first, files::CLEANED))?;
        let modified = self.segments[at..at + count].iter().map(|segment| segment.modified).max().unwrap_or(0);
        let note = files::SegmentNote { base_offset: first, bytes: 0, newest: None };
        let into = LogSegment { open: Some(OpenSegment::empty(data)), ..LogSegment::noted(&note, modified) };
        let inputs = self.inputs(at..at + count);
        let job = Job::Rewrite { into, by: Arc::clone(&by) };
        Ok(Some(self.hand_out(wanted, Stage::Rewriting { by, first, count }, job, inputs)))
    }

    fn hand_out(&mut self, wanted: Wanted, stage: Stage, job: Job, inputs: Inputs) -> CleaningStep {
        let given_up = wanted.watch();
        self.cleaning = Some(Compaction { reach: self.active().base_offset, stage, wanted });
        CleaningStep { job, inputs, given_up }
    }

    fn inputs(&self, range: Range<usize>) -> Inputs {
        let folder = self.folder.for_thread();
        let input = |segment: &LogSegment| Input {
            base_offset: segment.base_offset,
            shared: segment.open.as_ref().filter(|_| folder.is_none()).and_then(|open| open.data.shared()),
        };
        Inputs { segments: self.segments[range].iter().map(input).collect(), folder }
    }

    /// The log ends here now; a compaction that read what is behind it is forgotten.
    pub(super) fn cut_cleaning(&mut self, end: i64) {
        self.cleaning = self.cleaning.take().filter(|compaction| compaction.reach <= end);
        self.cleaned = self.cleaned.min(end);
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
    fn replace(&mut self, first: usize, count: usize, cleaned: LogSegment) -> Result<(), StorageError> {
        self.check_unbroken()?;
        self.looked_into.take();
        let base_offset = cleaned.base_offset;
        let (aside, swap) = (files::name(base_offset, files::CLEANED), files::name(base_offset, files::SWAP));
        self.folder.rename(&aside, &swap)?;
        // From here on the new one counts, whatever happens: the next opening finishes what ends here.
        let swapped = self.swap_in(first, count, cleaned);
        self.unless_broken(swapped)
    }

    /// The new segment has its name on the disk before the old ones lose theirs.
    fn swap_in(&mut self, first: usize, count: usize, mut cleaned: LogSegment) -> Result<(), StorageError> {
        self.folder.sync()?;
        for old in &self.segments[first..first + count] {
            old.discard(&mut *self.folder, &mut self.discarded)?;
        }
        let base_offset = cleaned.base_offset;
        self.folder.rename(&files::name(base_offset, files::SWAP), &files::name(base_offset, files::LOG))?;
        cleaned.finish(&mut *self.folder)?;
        cleaned.shut(&*self.folder);
        self.segments.splice(first..first + count, [cleaned]);
        // A crash before they are synced finishes the same again.
        self.flush.note_new_names();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use milena_wire::crc32c;
    use milena_wire::records::RecordLayout;

    use super::*;
    use crate::ids::{NodeId, PartitionIndex};
    use crate::log::{Appending, FlushPolicy};
    use crate::moment::Moment;
    use crate::storage::{Memory, Place, Storage};
    use crate::topic_config::CleanupPolicy;
    use milena_wire::records::BatchHeader;

    fn log() -> PartitionLog {
        let place = Place { node: NodeId(1), topic: "orders", partition: PartitionIndex(0) };
        let folder = Memory.create_log(place).expect("memory takes all");
        PartitionLog::open(folder, Moment::default()).expect("it is empty").0
    }

    fn config() -> TopicConfig {
        TopicConfig { cleanup: CleanupPolicy::Compact, segment_bytes_for_tests: Some(300), ..TopicConfig::default() }
    }

    /// One record, three of which fill a segment.
    fn append(log: &mut PartitionLog, key: &str) {
        let (config, mut body) = (config(), Vec::new());
        let layout = RecordLayout::new(0, 0, Some(key.as_bytes()), Some(20), &[]).expect("it is small");
        layout.write(Some(&[7; 20]), &mut body);
        let header = BatchHeader { base_offset: log.next_offset(), record_count: 1, ..BatchHeader::default() };
        let header = BatchHeader::read(&header.seal(body.len(), crc32c::checksum(&body))).expect("it was sealed");
        let flush = FlushPolicy::Never.of_topic(&config);
        let how =
            Appending { config: &config, flush, now: Moment { wall: Duration::from_secs(1), ..Moment::default() } };
        if log.must_roll(&header, &how) {
            log.roll(header.base_offset, b"", how.now).expect("memory takes all");
        }
        log.append(&header, &Bytes::from(body), &how).expect("memory takes all");
    }

    fn offsets(log: &PartitionLog) -> Vec<i64> {
        log.batches().expect("it reads").iter().map(|entry| entry.base_offset).collect()
    }

    /// What a leader had that nobody else had is cut off while a thread reads the segment that it begins in: nothing of it comes back.
    #[test]
    fn log_that_is_cut_where_it_is_compacted_keeps_what_the_cut_leaves() {
        // Committed up to 7, in the middle of the third segment; what follows is cut there and replaced.
        for chores in 0..5 {
            let mut log = log();
            (0..12).for_each(|number| append(&mut log, ["a", "b"][number % 2]));
            let mut step = log.begin_cleaning(&config(), 0, 7, BTreeMap::new()).expect("it reads");
            for _ in 0..chores {
                let Some(next) = step.take() else { break };
                step = log.continue_cleaning(&config(), next.run()).expect("memory takes all");
            }
            let Some(out) = step else {
                assert_eq!(chores, 4, "keys, and a chore for each segment before the seventh record");
                continue;
            };
            let finished = out.run();
            log.truncate(7).expect("memory takes all");
            append(&mut log, "c");
            append(&mut log, "c");
            let before = offsets(&log);
            assert!(before.ends_with(&[6, 7, 8]), "{before:?}");
            assert!(log.continue_cleaning(&config(), finished).expect("it is thrown away").is_none());
            assert_eq!(offsets(&log), before, "cut beside chore {chores}");
            // And then from the beginning.
            (0..3).for_each(|_| append(&mut log, "d"));
            let mut step = log.begin_cleaning(&config(), 0, log.next_offset(), BTreeMap::new()).expect("it reads");
            assert!(step.is_some());
            while let Some(next) = step.take() {
                step = log.continue_cleaning(&config(), next.run()).expect("memory takes all");
            }
            assert_eq!(offsets(&log)[..2], [5, 6], "the last of a and b");
        }
    }

    #[test]
    fn nobody_works_for_a_compaction_that_is_forgotten() {
        let mut log = log();
        (0..12).for_each(|number| append(&mut log, ["a", "b"][number % 2]));
        let step = log.begin_cleaning(&config(), 0, 12, BTreeMap::new()).expect("it reads").expect("it is due");
        log.restart_at(40).expect("memory takes all");
        let FinishedStep { done, .. } = step.run();
        assert!(matches!(done, Ok(Done::GivenUp)), "{done:?}");
    }
}
