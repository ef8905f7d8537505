//! Where each leader epoch of a log begins.

/// First offset of each leader epoch, ascending in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    starts: Vec<EpochStart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochStart {
    pub(crate) epoch: i32,
    pub(crate) offset: i64,
}

impl Epochs {
    /// A leader begins under an epoch, at the end of the log.
    pub(crate) fn begin(&mut self, start: EpochStart) {
        self.starts.retain(|known| known.epoch < start.epoch && known.offset < start.offset);
        self.starts.push(start);
    }

    /// A batch of an epoch is in the log.
    pub(crate) fn note(&mut self, start: EpochStart) {
        if self.starts.last().is_none_or(|known| known.epoch < start.epoch) {
            self.starts.push(start);
        }
    }

    /// The log ends here now.
    pub(crate) fn cut(&mut self, end: i64) {
        self.starts.retain(|known| known.offset < end);
    }

    /// The log starts here now: the epoch that holds there begins there, and those before it are over.
    pub(crate) fn advance(&mut self, start: i64) {
        let after = self.starts.partition_point(|known| known.offset <= start);
        self.starts.drain(..after.saturating_sub(1));
        if let Some(first) = self.starts.first_mut() {
            first.offset = first.offset.max(start);
        }
    }

    pub(crate) fn latest(&self) -> Option<i32> {
        self.starts.last().map(|known| known.epoch)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = EpochStart> {
        self.starts.iter().copied()
    }

    /// Where an epoch ended: the newest known epoch not above `epoch`, and one past its last offset, in a log that ends at `end`. None if
    /// `epoch` is newer than all, or none at all; one older than all ended where the first one began.
    pub(crate) fn end_of(&self, epoch: i32, end: i64) -> Option<(i32, i64)> {
        if epoch == NO_EPOCH {
            return None;
        }
        let after = self.starts.partition_point(|known| known.epoch <= epoch);
        let known = after.checked_sub(1).map(|index| self.starts[index].epoch);
        match self.starts.get(after) {
            Some(next) => Some((known.unwrap_or(epoch), next.offset)),
            None => known.filter(|known| *known == epoch).map(|known| (known, end)),
        }
    }

    /// The epoch under which the record at `offset`, or the next one, was or will be written.
    pub(crate) fn at(&self, offset: i64) -> i32 {
        let after = self.starts.partition_point(|known| known.offset <= offset);
        after.checked_sub(1).map_or(NO_EPOCH, |index| self.starts[index].epoch)
    }
}

/// As clients write it.
const NO_EPOCH: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_before_the_start_of_a_log_are_forgotten() {
        let mut epochs = Epochs::default();
        for (epoch, offset) in [(0, 0), (2, 5), (3, 9)] {
            epochs.begin(EpochStart { epoch, offset });
        }
        epochs.advance(7);
        assert_eq!(epochs.iter().map(|start| (start.epoch, start.offset)).collect::<Vec<_>>(), [(2, 7), (3, 9)]);
        assert_eq!((epochs.at(6), epochs.at(7), epochs.at(20)), (-1, 2, 3));
        assert_eq!((epochs.end_of(0, 20), epochs.end_of(2, 20)), (Some((0, 7)), Some((2, 9))));
        epochs.advance(30);
        assert_eq!(epochs.at(30), 3);
    }
}
