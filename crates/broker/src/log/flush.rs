//! What of a log is on the disk, and what is done about it.
//!
//! Everything before the *recovery point* is there; only segments that reach it are read after a crash. A finished segment is fsynced by
//! a thread, whatever the policy is; the recovery point moves, and is noted, when that is over. The active segment is fsynced
//! as the policy says: before the batch is noted, so that nobody is told of a batch that the disk does not have.
//! After a failed fsync nothing is appended any more: nobody knows what the disk has (the kernel forgets what it could not write).

use std::collections::VecDeque;
use std::time::Duration;

use milena_wire::records::BatchHeader;

use super::files::{self, Checkpoint};
use super::{Appending, PartitionLog};
use crate::storage::{PendingSync, StorageError};
use crate::topic_config::TopicConfig;

/// When a broker fsyncs what clients write, where a topic does not say (`flush.messages`, `flush.ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushPolicy {
    /// When the system likes, as Kafka does: what was acknowledged survives the process, not the machine.
    #[default]
    Never,
    /// Before it is acknowledged: it survives the machine. Costs an fsync per batch.
    EveryBatch,
    /// At most so long after it was written: what was acknowledged earlier survives the machine.
    Interval(Duration),
}

impl FlushPolicy {
    /// What holds for a topic: its own settings, where it has any.
    pub(crate) fn of_topic(self, config: &TopicConfig) -> Flush {
        let has_own = config.flush_messages != i64::MAX || config.flush_ms != i64::MAX;
        let own_ms = u64::try_from(config.flush_ms).unwrap_or(0);
        match self {
            _ if has_own => Flush {
                messages: config.flush_messages,
                after: (config.flush_ms != i64::MAX).then(|| Duration::from_millis(own_ms)),
            },
            FlushPolicy::Never => Flush { messages: i64::MAX, after: None },
            FlushPolicy::EveryBatch => Flush { messages: 1, after: None },
            FlushPolicy::Interval(after) => Flush { messages: i64::MAX, after: Some(after) },
        }
    }
}

/// When a log is fsynced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    /// With so many records that are not.
    pub(crate) messages: i64,
    /// So long after the first of them.
    pub(crate) after: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct FlushState {
    /// One past the last record that a crash of the machine leaves.
    recovery_point: i64,
    /// Since when there is a record behind the recovery point. Set by an append, cleared by an fsync.
    dirty_since: Option<Duration>,
    /// Finished segments on their way to the disk, each with the first offset behind it.
    syncs: VecDeque<(i64, PendingSync)>,
    /// Files were made or renamed since the folder was fsynced.
    has_new_names: bool,
    /// Something changed since the log was closed last.
    has_changed: bool,
    /// Whether a timer will look at this.
    pub(super) timer_is_set: bool,
    is_broken: bool,
}

impl FlushState {
    pub(super) fn new(recovery_point: i64, has_changed: bool) -> FlushState {
        FlushState {
            recovery_point,
            dirty_since: None,
            syncs: VecDeque::new(),
            has_new_names: true,
            has_changed,
            timer_is_set: false,
            is_broken: false,
        }
    }

    /// The log ends here now.
    pub(super) fn cut(&mut self, end: i64) {
        self.recovery_point = self.recovery_point.min(end);
        // A segment that was finished and is cut now is active again, or gone; the fsync under way says nothing about what will follow in it.
        self.syncs.retain(|(behind, _)| *behind <= end);
        self.has_changed = true;
    }

    /// Files were made, renamed or removed.
    pub(super) fn note_new_names(&mut self) {
        self.has_new_names = true;
    }

    pub(super) fn restart_at(&mut self, offset: i64) {
        *self = FlushState { is_broken: self.is_broken, ..FlushState::new(offset, true) };
    }
}

impl PartitionLog {
    /// A log whose disk failed takes no more.
    pub(super) fn check_unbroken(&self) -> Result<(), StorageError> {
        if !self.flush.is_broken {
            return Ok(());
        }
        let data = self.active().open.as_ref().and_then(|open| open.data.path());
        Err(StorageError::SegmentBroken { path: data.unwrap_or(std::path::Path::new("")).to_path_buf() })
    }

    /// What failed in between leaves nobody knows what on the disk.
    pub(super) fn unless_broken<T>(&mut self, done: Result<T, StorageError>) -> Result<T, StorageError> {
        self.flush.is_broken |= done.is_err();
        done
    }

    /// Fsyncs a batch that was just written, if that is wanted. If it fails, the batch is not part of the log.
    pub(super) fn flush_as_wanted(&mut self, batch: &BatchHeader, how: &Appending<'_>) -> Result<(), StorageError> {
        self.flush.has_changed = true;
        let end = batch.last_offset() + 1;
        let done = match end - self.flush.recovery_point.max(self.start_offset) >= how.flush.messages {
            true => self.flush_to(end),
            false => {
                self.flush.dirty_since.get_or_insert(how.now.elapsed);
                self.note_finished_syncs()
            }
        };
        if done.is_err() {
            let position = self.active().bytes;
            // It may stay on the disk all the same: its producer was told of no outcome.
            let _broken_anyway = self.active_data().truncate(position);
        }
        done
    }

    /// When the log has to be fsynced; none while there is nothing to do or a timer is set already.
    pub(crate) fn arm_flush(&mut self, after: Option<Duration>) -> Option<Duration> {
        let due = self.flush.dirty_since?.saturating_add(after?);
        (!std::mem::replace(&mut self.flush.timer_is_set, true)).then_some(due)
    }

    /// Fsyncs if it is time; the timer that was set is over.
    pub(crate) fn flush_if_due(&mut self, now: Duration, after: Option<Duration>) {
        self.flush.timer_is_set = false;
        let due = self.flush.dirty_since.zip(after).map(|(since, after)| since.saturating_add(after));
        if due.is_some_and(|due| due <= now) && !self.flush.is_broken {
            // A failure shows to the next who appends: the log takes no more.
            let _breaks_the_log = self.flush_to(self.next_offset);
        }
    }

    /// Waits for the disk to have everything before `end`, which is all that was appended.
    fn flush_to(&mut self, end: i64) -> Result<(), StorageError> {
        let synced = self.active_data().sync();
        self.unless_broken(synced)?;
        while let Some((_, sync)) = self.flush.syncs.pop_front() {
            let finished = sync.finish();
            self.unless_broken(finished)?;
        }
        self.sync_names()?;
        self.flush.recovery_point = end;
        self.flush.dirty_since = None;
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), StorageError> {
        if self.flush.has_new_names {
            let synced = self.folder.sync();
            self.unless_broken(synced)?;
            self.flush.has_new_names = false;
        }
        Ok(())
    }

    /// The segment before the active one was just finished.
    pub(super) fn begin_sync_of_finished(&mut self) -> Result<(), StorageError> {
        self.flush.has_new_names = true;
        self.flush.has_changed = true;
        if !self.folder.is_lasting() {
            return Ok(());
        }
        let [.., finished, active] = &mut self.segments[..] else { return Ok(()) };
        let behind = active.base_offset;
        if let Some(open) = &mut finished.open {
            let begun = open.data.begin_sync();
            finished.shut(&*self.folder);
            let sync = self.unless_broken(begun)?;
            self.flush.syncs.push_back((behind, sync));
        }
        Ok(())
    }

    /// Moves the recovery point behind the segments that the disk has by now.
    pub(crate) fn note_finished_syncs(&mut self) -> Result<(), StorageError> {
        let mut moved = false;
        while self.flush.syncs.front().is_some_and(|(_, sync)| sync.is_over()) {
            let (behind, sync) = self.flush.syncs.pop_front().expect("there is a first");
            let finished = sync.finish();
            self.unless_broken(finished)?;
            self.flush.recovery_point = self.flush.recovery_point.max(behind);
            moved = true;
        }
        if moved {
            self.sync_names()?;
            self.write_checkpoint(None)?;
        }
        Ok(())
    }

    /// Notes what the next opening need not read again.
    pub(super) fn write_checkpoint(&mut self, end: Option<i64>) -> Result<(), StorageError> {
        self.flush.has_changed |= end.is_none();
        if !self.folder.is_lasting() {
            return Ok(());
        }
        let finished = self.segments.windows(2).filter(|pair| pair[1].base_offset <= self.flush.recovery_point);
        let finished = finished.map(|pair| pair[0].note());
        let segments = match end {
            Some(_) => self.segments.iter().map(|segment| segment.note()).collect(),
            None => finished.collect(),
        };
        let mut epochs = self.epochs.clone();
        epochs.cut(self.next_offset);
        let checkpoint = Checkpoint {
            log_start: self.start_offset,
            recovery_point: self.flush.recovery_point,
            cleaned: self.cleaned,
            epochs,
            segments,
            end,
        };
        // One that is lost costs reading only, unless it says what the segments do not.
        let durably = end.is_none() || self.start_offset != self.segments[0].base_offset;
        self.folder.replace(files::CHECKPOINT, checkpoint.to_string().as_bytes(), durably)
    }

    /// Begins to leave everything on the disk; says whether [`PartitionLog::finish_close`] has to wait for that. The snapshot is of the producers
    /// at the end. A log that did not change since it was closed last is left as it is.
    pub(crate) fn begin_close(&mut self, snapshot: &[u8]) -> Result<bool, StorageError> {
        if !self.folder.is_lasting() || !self.flush.has_changed {
            return Ok(false);
        }
        self.check_unbroken()?;
        let end = self.next_offset;
        self.keep_snapshot(end, snapshot)?;
        let active = self.segments.last_mut().expect("a log has a segment");
        active.finish(&mut *self.folder)?;
        let data = self.active_data().begin_sync();
        let data = self.unless_broken(data)?;
        let names = self.folder.begin_sync();
        let names = self.unless_broken(names)?;
        self.flush.syncs.extend([(end, data), (end, names)]);
        Ok(true)
    }

    /// Waits until everything is on the disk, and notes that it is.
    pub(crate) fn finish_close(&mut self) -> Result<(), StorageError> {
        while let Some((_, sync)) = self.flush.syncs.pop_front() {
            let finished = sync.finish();
            self.unless_broken(finished)?;
        }
        self.flush.recovery_point = self.next_offset;
        self.flush.dirty_since = None;
        self.flush.has_new_names = false;
        self.write_checkpoint(Some(self.next_offset))?;
        self.flush.has_changed = false;
        Ok(())
    }
}
