//! Which segments go by age and size, and where the log starts then.
//!
//! Only whole segments go, oldest first, and never one that holds what is not committed. The rules are those of Kafka 4.3: a segment's age is
//! that of its newest record by the record's own timestamp, and the active one goes too once all of it is too old.

use super::PartitionLog;
use super::files;
use crate::storage::{LogFolder, StorageError};
use crate::topic_config::TopicConfig;

/// Files that nobody reads any more.
#[derive(Debug)]
pub(crate) struct Discarded {
    folder: Box<dyn LogFolder>,
    names: Vec<String>,
}

impl Discarded {
    /// Whatever cannot be removed is removed by the next opening.
    pub(crate) fn remove(mut self) {
        for name in &self.names {
            let _left_for_the_next_start = self.folder.remove(name);
        }
    }
}

impl PartitionLog {
    /// How many of the oldest segments may go at a time of the wall clock. All of them means that a new one must be begun first.
    pub(crate) fn expired_segments(&self, config: &TopicConfig, now: i64, high_watermark: i64) -> usize {
        let ends = self.segments[1..].iter().map(|next| next.base_offset).chain([self.next_offset]);
        let last = self.segments.len() - 1;
        let is_committed = |(at, end): (usize, i64)| end <= high_watermark && (at < last || self.active().bytes > 0);
        let deletable = ends.enumerate().take_while(|(at, end)| is_committed((*at, *end))).count();

        let before_start = self.segments[1..].iter().take_while(|next| next.base_offset <= self.start_offset).count();
        let mut expired = before_start.min(deletable);
        if !config.cleanup.deletes() {
            return expired;
        }
        if let Ok(bytes_max) = u64::try_from(config.retention_bytes) {
            let mut bytes: u64 = self.segments[expired..].iter().map(|segment| segment.bytes).sum();
            while expired < deletable && bytes - self.segments[expired].bytes >= bytes_max {
                bytes -= self.segments[expired].bytes;
                expired += 1;
            }
        }
        if config.retention_ms >= 0 {
            let is_old = |segment: &super::LogSegment| {
                let newest = segment.newest.map_or(segment.modified, |(timestamp, _)| timestamp);
                now.saturating_sub(newest) > config.retention_ms
            };
            expired += self.segments[expired..deletable].iter().take_while(|segment| is_old(segment)).count();
        }
        expired
    }

    /// The files that nobody reads any more since this was asked last, for whoever removes them.
    pub(crate) fn take_discarded(&mut self) -> Option<Discarded> {
        if self.discarded.is_empty() {
            return None;
        }
        let folder = self.folder.for_thread()?;
        Some(Discarded { folder, names: std::mem::take(&mut self.discarded) })
    }

    /// How many segments there are.
    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Removes the oldest segments; the log starts behind them.
    pub(crate) fn remove_oldest(&mut self, count: usize) -> Result<(), StorageError> {
        assert!(count < self.segments.len(), "the active segment stays");
        if count == 0 {
            return Ok(());
        }
        self.looked_into.take();
        // Oldest first: whatever is interrupted leaves a log without a hole.
        for _ in 0..count {
            self.segments[0].discard(&mut *self.folder, &mut self.discarded)?;
            self.segments.remove(0);
            self.start_offset = self.start_offset.max(self.segments[0].base_offset);
        }
        self.forget_snapshots_before_start()?;
        self.epochs.advance(self.start_offset);
        self.cleaned = self.cleaned.max(self.start_offset);
        self.write_checkpoint(None)
    }

    /// Nothing before `offset` is given any more. Segments that hold nothing else go at the next look at what is too old, as in Kafka, where
    /// that shows: sizes are told with them. An offset that the log has passed changes nothing.
    pub(crate) fn advance_start(&mut self, offset: i64) -> Result<(), StorageError> {
        if offset <= self.start_offset {
            return Ok(());
        }
        assert!(offset <= self.next_offset, "a log starts no later than it ends");
        self.start_offset = offset;
        self.epochs.advance(offset);
        self.cleaned = self.cleaned.max(offset);
        self.write_checkpoint(None)
    }

    /// Those of segments that are gone; the newest stays whatever it is of.
    fn forget_snapshots_before_start(&mut self) -> Result<(), StorageError> {
        let first = self.segments[0].base_offset;
        while self.snapshots.len() > 1
            && let Some(oldest) = self.snapshots.first().copied().filter(|oldest| *oldest < first)
        {
            self.folder.remove(&files::name(oldest, files::SNAPSHOT))?;
            self.snapshots.remove(&oldest);
        }
        Ok(())
    }
}
