//! The files of a log: their names, as Kafka has them, and the checkpoint.
//!
//! `BASE.log` holds batches from offset BASE on, `BASE.index` and `BASE.timeindex` say where in it; `OFFSET.snapshot` is what was known of
//! producers there. `checkpoint` is what Kafka keeps in files for all logs: where the log starts, up to where the disk has it, its leader
//! epochs, and what was compacted. A log without one is read from its first byte.

use std::fmt;

use super::epochs::{EpochStart, Epochs};

/// Batches.
pub(crate) const LOG: &str = "log";
/// Where offsets are.
pub(crate) const INDEX: &str = "index";
/// Where times are.
pub(crate) const TIME_INDEX: &str = "timeindex";
/// Producers.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// A segment that is being compacted; worth nothing.
pub(crate) const CLEANED: &str = "log.cleaned";
/// A compacted segment that is whole; what it replaces may still be there.
pub(crate) const SWAP: &str = "log.swap";
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Behind the name of a file that nobody reads any more, and that is removed after `file.delete.delay.ms`.
pub(crate) const DELETED: &str = ".deleted";

/// The file of a segment, or a snapshot.
pub(crate) fn name(offset: i64, kind: &str) -> String {
    format!("{offset:020}.{kind}")
}

/// The offset in a name of that kind.
pub(crate) fn offset_in(name: &str, kind: &str) -> Option<i64> {
    let digits = name.strip_suffix(kind)?.strip_suffix('.')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// Whether a file in a partition's folder is one of those that a log has.
pub(crate) fn is_log_file(name: &str) -> bool {
    let kinds = [LOG, INDEX, TIME_INDEX, SNAPSHOT, CLEANED, SWAP];
    let name = name.strip_suffix(DELETED).unwrap_or(name);
    name == CHECKPOINT || kinds.iter().any(|kind| offset_in(name, kind).is_some())
}

/// What a log notes for whoever opens it next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) log_start: i64,
    /// Everything before it is on the disk, so only segments that reach it are read after a crash.
    pub(crate) recovery_point: i64,
    /// Everything before it was compacted.
    pub(crate) cleaned: i64,
    /// Of batches before the recovery point at least.
    pub(crate) epochs: Epochs,
    /// The segments that were finished before the recovery point, ascending.
    pub(crate) segments: Vec<SegmentNote>,
    /// One past the last record, if this was written when the log was closed; its last segment is then among the others.
    pub(crate) end: Option<i64>,
}

/// What there is to know of a segment without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentNote {
    pub(crate) base_offset: i64,
    pub(crate) bytes: u64,
    /// Its largest timestamp, and the offset that has it.
    pub(crate) newest: Option<(i64, i64)>,
}

impl Checkpoint {
    /// Reads what `Display` wrote; none if anything is wrong with it.
    pub(crate) fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut read = Checkpoint::default();
        let mut is_whole = false;
        for line in lines {
            let mut words = line.split(' ');
            let word = words.next()?;
            let mut number = || words.next()?.parse::<i64>().ok().filter(|number| *number >= 0);
            match word {
                "log-start" => read.log_start = number()?,
                "recovery-point" => read.recovery_point = number()?,
                "cleaned" => read.cleaned = number()?,
                "epoch" => {
                    read.epochs.note(EpochStart { epoch: i32::try_from(number()?).ok()?, offset: number()? });
                }
                "segment" => {
                    let (base_offset, bytes) = (number()?, number()?.unsigned_abs());
                    let newest = number().zip(number());
                    read.segments.push(SegmentNote { base_offset, bytes, newest });
                }
                "end" => read.end = Some(number()?),
                "." => is_whole = true,
                _ => return None,
            }
        }
        let ascending = read.segments.is_sorted_by(|a, b| a.base_offset < b.base_offset);
        (is_whole && ascending).then_some(read)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "log-start {}", self.log_start)?;
        writeln!(f, "recovery-point {}", self.recovery_point)?;
        writeln!(f, "cleaned {}", self.cleaned)?;
        for EpochStart { epoch, offset } in self.epochs.iter() {
            writeln!(f, "epoch {epoch} {offset}")?;
        }
        for SegmentNote { base_offset, bytes, newest } in &self.segments {
            write!(f, "segment {base_offset} {bytes}")?;
            match newest {
                Some((timestamp, offset)) => writeln!(f, " {timestamp} {offset}")?,
                None => writeln!(f)?,
            }
        }
        if let Some(end) = self.end {
            writeln!(f, "end {end}")?;
        }
        writeln!(f, ".")
    }
}

const FIRST_LINE: &str = "milena-checkpoint 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_reads_back_and_half_of_one_does_not() {
        let mut epochs = Epochs::default();
        epochs.begin(EpochStart { epoch: 3, offset: 10 });
        let newest = [Some((1_700, 12)), None];
        let segments = newest.into_iter().zip([10, 20]);
        let segments = segments.map(|(newest, base_offset)| SegmentNote { base_offset, bytes: 99, newest }).collect();
        let checkpoint = Checkpoint { log_start: 10, recovery_point: 25, cleaned: 15, epochs, segments, end: Some(25) };
        let text = checkpoint.to_string();
        assert_eq!(Checkpoint::parse(&text), Some(checkpoint));
        for end in 0..text.len() - 1 {
            assert_eq!(Checkpoint::parse(&text[..end]), None, "{:?}", &text[..end]);
        }
        assert_eq!(Checkpoint::parse(&text.replace("segment 20", "segment 10")), None);
    }

    #[test]
    fn only_names_of_ours_are_ours() {
        assert_eq!(offset_in("00000000000000000123.log", LOG), Some(123));
        for ours in [
            "00000000000000000123.log.swap",
            "00000000000000000123.log.deleted",
            "00000000000000000000.timeindex",
            "checkpoint",
        ] {
            assert!(is_log_file(ours), "{ours}");
        }
        for foreign in
            ["123.log", "+0000000000000000123.log", "notes.log", "00000000000000000123.txt", "99999999999999999999.log"]
        {
            assert!(!is_log_file(foreign), "{foreign}");
        }
    }
}
