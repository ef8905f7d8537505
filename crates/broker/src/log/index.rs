//! The indexes of a segment, in Kafka's formats: where an offset lies, and which offset a time has.
//!
//! Both are sparse: an entry every `index.interval.bytes`. An offset's entry is the last offset of a batch and where that batch starts; a
//! time's the largest timestamp so far and the offset that has it. So whoever looks goes to the entry before and reads on from there.
//! Entries ascend strictly, which is also how a damaged file shows; an entry that is plausible and wrong shows when it is used.

/// Both indexes of one segment. Offsets are relative to its first, as in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
}

/// A batch in the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// The last offset of the batch.
    pub(crate) offset: u32,
    /// Where the batch starts.
    pub(crate) position: u32,
}

/// A time in the time index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// The largest timestamp up to here.
    pub(crate) timestamp: i64,
    /// An offset of the batch that has it.
    pub(crate) offset: u32,
}

impl Indexes {
    /// Takes note of a batch. Entries that would not ascend are left out.
    pub(crate) fn note(&mut self, batch: OffsetEntry, so_far: TimeEntry) {
        if self.offsets.last().is_none_or(|last| last.offset < batch.offset && last.position < batch.position) {
            self.offsets.push(batch);
        }
        self.finish(so_far);
    }

    /// As Kafka does when a segment is finished: its last time entry tells the largest of its timestamps. Where no record has one, there is
    /// none.
    pub(crate) fn finish(&mut self, so_far: TimeEntry) {
        let has_time = so_far.timestamp >= 0;
        if has_time
            && self.times.last().is_none_or(|last| last.timestamp < so_far.timestamp && last.offset < so_far.offset)
        {
            self.times.push(so_far);
        }
    }

    /// The last entry that is not behind an offset.
    pub(crate) fn before_offset(&self, offset: u32) -> Option<OffsetEntry> {
        let after = self.offsets.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).map(|index| self.offsets[index])
    }

    /// The last entry whose time is not behind a timestamp: every record before its offset is at most as new as that.
    pub(crate) fn before_time(&self, timestamp: i64) -> Option<TimeEntry> {
        let after = self.times.partition_point(|entry| entry.timestamp <= timestamp);
        after.checked_sub(1).map(|index| self.times[index])
    }

    /// Forgets what lies at or behind a position, and times of offsets from `offset` on.
    pub(crate) fn truncate(&mut self, position: u64, offset: u32) {
        self.offsets.retain(|entry| u64::from(entry.position) < position);
        self.times.retain(|entry| entry.offset < offset);
    }

    /// The files' contents: offset index and time index.
    pub(crate) fn write(&self) -> (Vec<u8>, Vec<u8>) {
        let offsets = self.offsets.iter().flat_map(|entry| {
            let (offset, position) = (u64::from(entry.offset), u64::from(entry.position));
            (offset << 32 | position).to_be_bytes()
        });
        let mut times = Vec::with_capacity(self.times.len() * TIME_ENTRY_BYTES);
        for entry in &self.times {
            times.extend_from_slice(&entry.timestamp.to_be_bytes());
            times.extend_from_slice(&entry.offset.to_be_bytes());
        }
        (offsets.collect(), times)
    }

    /// Reads what [`Indexes::write`] wrote for a segment of so many bytes; none if it shows damage.
    pub(crate) fn read(offsets: &[u8], times: &[u8], segment_bytes: u64) -> Option<Indexes> {
        if !offsets.len().is_multiple_of(OFFSET_ENTRY_BYTES) || !times.len().is_multiple_of(TIME_ENTRY_BYTES) {
            return None;
        }
        let offsets: Vec<_> = offsets.as_chunks().0.iter().map(read_offset_entry).collect();
        let times: Vec<_> = times.as_chunks().0.iter().map(read_time_entry).collect();
        let offsets_ascend = offsets.is_sorted_by(|a, b| a.offset < b.offset && a.position < b.position);
        let times_ascend = times.is_sorted_by(|a, b| a.timestamp < b.timestamp && a.offset < b.offset);
        let within = offsets.last().is_none_or(|last| u64::from(last.position) < segment_bytes);
        (offsets_ascend && times_ascend && within).then_some(Indexes { offsets, times })
    }
}

fn read_offset_entry(bytes: &[u8; OFFSET_ENTRY_BYTES]) -> OffsetEntry {
    let both = u64::from_be_bytes(*bytes);
    OffsetEntry { offset: (both >> 32) as u32, position: both as u32 }
}

fn read_time_entry(bytes: &[u8; TIME_ENTRY_BYTES]) -> TimeEntry {
    let [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3] = *bytes;
    TimeEntry {
        timestamp: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        offset: u32::from_be_bytes([o0, o1, o2, o3]),
    }
}

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes() -> Indexes {
        let mut indexes = Indexes::default();
        for (offset, position, timestamp, newest) in [(4, 0, 100, 3), (9, 50, 90, 3), (12, 70, 120, 11)] {
            indexes.note(OffsetEntry { offset, position }, TimeEntry { timestamp, offset: newest });
        }
        indexes
    }

    #[test]
    fn lookup_gives_the_entry_before() {
        let indexes = indexes();
        let position = |offset| indexes.before_offset(offset).map(|entry| entry.position);
        assert_eq!([position(3), position(4), position(11), position(500)], [None, Some(0), Some(50), Some(70)]);
        let offset = |timestamp| indexes.before_time(timestamp).map(|entry| entry.offset);
        assert_eq!([offset(99), offset(100), offset(119), offset(120)], [None, Some(3), Some(3), Some(11)]);
    }

    #[test]
    fn files_read_back_and_damage_shows() {
        let (offsets, times) = indexes().write();
        assert_eq!(Indexes::read(&offsets, &times, 80), Some(indexes()));
        assert_eq!(Indexes::read(&offsets, &times, 70), None, "an entry lies behind the segment's end");
        assert_eq!(Indexes::read(&offsets[1..], &times, 80), None, "not whole entries");
        assert_eq!(Indexes::read(&offsets, &times[..20], 80), None, "not whole entries");
        assert_eq!(Indexes::read(&[0; 24], &times, 80), None, "zeros, as after a crash of the machine");
        assert_eq!(Indexes::read(&offsets, &[0; 24], 80), None, "zeros, as after a crash of the machine");
    }

    #[test]
    fn truncated_indexes_know_nothing_of_what_was_cut() {
        let mut indexes = indexes();
        indexes.truncate(50, 5);
        assert_eq!(indexes.before_offset(500), Some(OffsetEntry { offset: 4, position: 0 }));
        assert_eq!(indexes.before_time(500), Some(TimeEntry { timestamp: 100, offset: 3 }));
    }
}
