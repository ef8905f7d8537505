//! Lines, whole journals, and how they stay small.

use std::sync::Arc;

use milena_wire::Uuid;

use super::line::{self, Line, parse};
use super::*;
use crate::ids::{Epoch, Identity, Sequence};
use crate::producer::ended::EndedSize;
use crate::producer::outcome::NotWritten;
use crate::producer::scan::Witness;
use crate::producer::stamped::{Print, Stamp};
use crate::producer::trouble::Trouble;

fn mark(epoch: i16, sequence: i32, count: u32) -> Mark {
    let identity = Some(Identity { producer_id: ProducerId(7), epoch: Epoch(epoch) });
    let stamp = Stamp { identity, sequence: Sequence::new(sequence).expect("not negative"), ordinal: 0 };
    Mark { stamp, count, print: Print::UNKNOWN }
}

fn orders() -> TopicRef {
    TopicRef { name: "orders.eu-1".into(), id: Uuid([9; 16]) }
}

fn sent(number: u64) -> Sent {
    let mut mark = mark(3, 40, 10);
    mark.stamp.ordinal = number;
    Sent {
        number,
        cluster: Some("Hxr-2_q".into()),
        topic: orders(),
        partition: PartitionIndex(4),
        mark,
        base: Some(Base { offset: 99, witness: Witness::Epoch(2) }),
        is_stale: false,
        opened_at: 1_760_000_000_000,
        sent_at: 1_760_000_000_017,
    }
}

/// A batch of ten records and how it would be handed over.
struct Batch {
    completion: Arc<BatchCompletion>,
    mark: Mark,
}

impl Batch {
    fn new(sequence: i32) -> Self {
        let completion = BatchCompletion::new(PartitionIndex(4), Trouble::new());
        Self { completion, mark: mark(3, sequence, 10) }
    }

    fn sending(&self) -> Sending {
        Sending {
            topic: orders(),
            partition: PartitionIndex(4),
            mark: self.mark,
            base: None,
            is_stale: false,
            opened_at: 5,
            batch: BatchKey::new(&self.completion, 0),
        }
    }

    fn ended(&self, end: BatchEnd) -> Ended {
        let size = EndedSize { records: 10, bytes: 1, raw_bytes: 1, attempts: 1 };
        let doubt = crate::producer::doubt::Doubt {
            mark: self.mark,
            completion: Arc::clone(&self.completion),
            records: 0..10,
            otherwise: None,
            size,
            since: None,
        };
        Ended::Doubt(doubt, end)
    }
}

const WRITTEN: BatchEnd = BatchEnd::Written { base_offset: Some(100), log_append_time: None };
const NO_FENCE: BatchEnd = BatchEnd::Undetermined(Undetermined::NoFence);

/// A journal with its file, as the driver keeps it.
struct Kept {
    journal: Journal,
    file: String,
}

impl Kept {
    fn new() -> Self {
        let mut kept = Self { journal: Journal::resume(&Reading::default()), file: String::new() };
        kept.replace();
        kept
    }

    fn replace(&mut self) {
        self.file = self.journal.content();
        self.journal.handle_replaced(self.file.len() as u64);
    }

    fn note(&mut self, batch: &Batch) {
        self.journal.note(&[batch.sending()], 17);
        self.write();
    }

    fn end(&mut self, batch: &Batch, end: BatchEnd) {
        self.journal.handle_ended(&batch.ended(end));
        if self.journal.wants_write() {
            self.write();
        }
    }

    fn write(&mut self) {
        if let Some(lines) = self.journal.poll_append() {
            self.file.push_str(lines);
            self.journal.handle_appended();
        }
        match self.journal.upkeep() {
            Upkeep::Nothing => {}
            Upkeep::Truncate(bytes) => {
                self.file.truncate(bytes as usize);
                self.journal.handle_truncated(bytes);
            }
            Upkeep::Replace(content) => {
                self.file = content;
                self.journal.handle_replaced(self.file.len() as u64);
            }
        }
        assert_eq!(self.journal.file_bytes(), self.file.len() as u64);
    }

    fn sequences(&self) -> Vec<i32> {
        let reading = read(self.file.as_bytes()).expect("a journal");
        assert_eq!((reading.damages.len(), reading.whole_bytes), (0, self.file.len()));
        reading.in_doubt().map(|sent| sent.mark.stamp.sequence.value()).collect()
    }
}

#[test]
fn a_line_is_read_as_it_was_written() {
    let plain = sent(17);
    assert_eq!(
        plain.to_line().rsplit_once(' ').expect("a checksum").0,
        "sent 17 Hxr-2_q orders.eu-1 09090909090909090909090909090909 4 7 3 40 10 99 epoch:2 1760000000000 1760000000017 -"
    );
    let own = Some(Base { offset: -1, witness: Witness::Own(mark(2, 0, 3)) });
    let nobody = Some(Base { offset: 0, witness: Witness::Nobody });
    let odd = ["", "-", "%", "a b\nc", "ä", "--"].map(|name| Sent { cluster: Some(name.into()), ..sent(1) });
    let others = [
        Sent { base: own, is_stale: true, ..sent(2) },
        Sent { base: nobody, cluster: None, ..sent(3) },
        Sent { base: None, ..sent(4) },
    ];
    for sent in odd.into_iter().chain(others).chain([plain]) {
        let line = sent.to_line();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        match (parse(line.trim_end().as_bytes()), sent) {
            (Ok(Line::Sent(read)), mut sent) => {
                // The witness is a batch of its own.
                sent.mark.stamp.ordinal = sent.number;
                assert_eq!(*read, sent);
            }
            (other, _) => panic!("{line}: {other:?}"),
        }
    }
    for found in [Found::Written(0), Found::Written(i64::MAX), Found::NotWritten] {
        assert_eq!(parse(line::found(9, found).trim_end().as_bytes()), Ok(Line::Found(9, found)));
    }
    let mut lines = String::new();
    line::strike_out(&mut lines, &[1, 22]);
    assert_eq!(parse(lines.trim_end().as_bytes()), Ok(Line::Done(vec![1, 22])));
}

#[test]
fn lines_that_say_what_no_client_does_are_not_believed() {
    let sealed = |content: &str| format!("{content} {:08x}", milena_wire::crc32c::checksum(content.as_bytes()));
    let good = sent(17).to_line();
    let good = good.rsplit_once(' ').expect("a checksum").0;
    assert!(parse(sealed(good).as_bytes()).is_ok());
    for (from, to) in [
        (" 4 7 3 40 10 ", " -4 7 3 40 10 "),
        (" 4 7 3 40 10 ", " 4 -7 3 40 10 "),
        // The epoch of whoever settles.
        (" 4 7 3 40 10 ", " 4 7 32767 40 10 "),
        (" 4 7 3 40 10 ", " 4 7 3 -40 10 "),
        (" 4 7 3 40 10 ", " 4 7 3 40 0 "),
        (" 4 7 3 40 10 ", " 4 7 3 40 4294967295 "),
        ("sent 17", "sent 9223372036854775807"),
        ("sent 17", "sent"),
        ("sent 17", "sint 17"),
        ("epoch:2", "epoch:"),
        ("epoch:2", "own:1:2:3"),
        ("99 epoch", "-2 epoch"),
        ("99 epoch", "- epoch"),
        (" -", " - -"),
        (" -", " +"),
        ("0909", "090"),
        ("orders", "or%gers"),
    ] {
        let line = good.replacen(from, to, 1);
        assert_ne!(line, good, "{from}");
        assert!(parse(sealed(&line).as_bytes()).is_err(), "{line}");
    }
    for nothing in ["", " ", "sent", "\u{0}", "done 1 00000000"] {
        assert!(parse(nothing.as_bytes()).is_err(), "{nothing:?}");
    }
}

#[test]
fn a_batch_is_in_the_journal_until_it_has_ended() {
    let mut kept = Kept::new();
    let (first, second) = (Batch::new(0), Batch::new(10));
    kept.note(&first);
    kept.note(&second);
    assert_eq!(kept.sequences(), [0, 10]);
    let before = kept.file.len();
    kept.note(&first);
    assert_eq!(kept.file.len(), before, "sent again it is there already");
    kept.end(&first, WRITTEN);
    assert_eq!(kept.file.len(), before, "it is struck out along with what comes next");
    kept.end(&second, BatchEnd::NotWritten(NotWritten::Fenced));
    assert_eq!(kept.sequences(), [] as [i32; 0]);
}

#[test]
fn a_stamp_that_is_proven_void_leaves_with_the_one_that_replaces_it() {
    let mut kept = Kept::new();
    let mut batch = Batch::new(20);
    kept.note(&batch);
    batch.mark = mark(4, 0, 9);
    kept.note(&batch);
    assert_eq!(kept.sequences(), [0]);
}

#[test]
fn what_ended_in_doubt_stays_for_whoever_can_find_out_more() {
    let mut kept = Kept::new();
    let (doubtful, gone) = (Batch::new(0), Batch::new(10));
    kept.note(&doubtful);
    kept.note(&gone);
    kept.end(&doubtful, NO_FENCE);
    kept.end(&gone, BatchEnd::Undetermined(Undetermined::TopicRecreated));
    assert_eq!(kept.sequences(), [0]);
    let reading = read(kept.file.as_bytes()).expect("a journal");
    let mut next = Kept { journal: Journal::resume(&reading), file: String::new() };
    next.replace();
    let batch = Batch::new(30);
    next.note(&batch);
    next.end(&batch, WRITTEN);
    assert_eq!(next.sequences(), [0], "of the process before");
    assert_eq!(next.file.lines().next(), Some("milena-fate-journal 1 2"));
}

#[test]
fn however_long_it_runs_the_journal_stays_small() {
    let mut kept = Kept::new();
    let stuck = Batch::new(1_000_000);
    kept.note(&stuck);
    let mut largest = 0;
    for sequence in 0..20_000 {
        let batch = Batch::new(sequence);
        kept.note(&batch);
        kept.end(&batch, WRITTEN);
        largest = largest.max(kept.file.len());
    }
    assert!((DEAD_BYTES_MAX..2 * DEAD_BYTES_MAX).contains(&largest), "{largest}");
    assert_eq!(kept.sequences(), [1_000_000, 19_999], "the last one is struck out along with what comes next");
    kept.end(&stuck, WRITTEN);
    assert_eq!(kept.sequences(), [] as [i32; 0]);
    let batches: Vec<Batch> = (0..2 * DOUBTFUL_MAX as i32).map(Batch::new).collect();
    for batch in &batches {
        kept.note(batch);
        kept.end(batch, NO_FENCE);
    }
    let left = kept.sequences();
    assert_eq!((left.len(), left[0]), (DOUBTFUL_MAX, DOUBTFUL_MAX as i32), "the newest ones");
}

#[test]
fn with_nothing_in_doubt_only_the_first_line_is_left_of_a_large_one() {
    let mut kept = Kept::new();
    let batches: Vec<Batch> = (0..2000).map(Batch::new).collect();
    batches.iter().for_each(|batch| kept.note(batch));
    assert!(kept.file.len() > DEAD_BYTES_MAX);
    batches.iter().for_each(|batch| kept.journal.handle_ended(&batch.ended(WRITTEN)));
    kept.write();
    assert_eq!(kept.file, "milena-fate-journal 1 1\n");
}

#[test]
fn what_could_not_be_written_is_written_later_and_until_then_nobody_says_it_was() {
    let mut kept = Kept::new();
    let batch = Batch::new(0);
    kept.journal.note(&[batch.sending()], 17);
    assert!(kept.journal.poll_append().is_some() && !kept.journal.are_written(&[batch.sending()]));
    kept.journal.handle_ended(&batch.ended(NO_FENCE));
    kept.write();
    assert_eq!(kept.sequences(), [0]);
    let other = Batch::new(10);
    kept.note(&other);
    assert!(kept.journal.are_written(&[other.sending()]));
}

#[test]
fn a_last_line_without_an_end_is_no_damage_and_any_other_costs_only_itself() {
    let whole = [line::header(3), sent(1).to_line(), sent(2).to_line(), sent(3).to_line()].concat();
    let ends: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).collect();
    for cut in 0..whole.len() {
        let reading = read(&whole.as_bytes()[..cut]).unwrap_or_else(|error| panic!("{cut}: {error:?}"));
        let lines = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!((reading.damages.len(), reading.sent.len()), (0, lines.saturating_sub(1)), "{cut}");
        assert_eq!(reading.whole_bytes, if lines == 0 { 0 } else { ends[lines - 1] });
    }
    for place in ends[1]..ends[2] - 1 {
        let mut bytes = whole.clone().into_bytes();
        bytes[place] ^= 1;
        let reading = read(&bytes).expect("a journal");
        let numbers: Vec<u64> = reading.sent.iter().map(|sent| sent.number).collect();
        let damages: Vec<usize> = reading.damages.iter().map(|damage| damage.line).collect();
        // A line that falls apart is two that cannot be read.
        assert!(numbers == [1, 3] && damages.contains(&3), "{place}: {numbers:?} {damages:?}");
    }
    let twice = [line::header(3), sent(1).to_line(), sent(1).to_line()].concat();
    let reading = read(twice.as_bytes()).expect("a journal");
    assert_eq!(reading.damages, [Damage { line: 3, kind: DamageKind::Number }]);
}

#[test]
fn a_file_that_is_no_journal_or_of_another_version_is_left_alone() {
    for other in
        ["orders\n", "orders", "milena-fate-journal\n", "milena-fate-journal 1\n", "\n", "milena-fate-journal 1 x"]
    {
        assert_eq!(read(other.as_bytes()), Err(Unreadable::NotAJournal), "{other:?}");
    }
    assert_eq!(read(b"milena-fate-journal 2 5 more\n"), Err(Unreadable::Version("2".to_owned())));
    assert_eq!(read(b"").expect("new"), Reading::default());
}

#[test]
fn what_was_found_out_is_kept_and_not_looked_for_again() {
    let lines = [line::header(3), sent(1).to_line(), sent(2).to_line(), found(1, Found::Written(44))].concat();
    let reading = read(lines.as_bytes()).expect("a journal");
    assert_eq!(reading.sent.len(), 2);
    assert_eq!(reading.found[&1], Found::Written(44));
    assert_eq!(reading.in_doubt().map(|sent| sent.number).collect::<Vec<_>>(), [2]);
    let resumed = Journal::resume(&reading).content();
    let resumed = read(resumed.as_bytes()).expect("a journal");
    assert_eq!((resumed.sent.len(), resumed.generation, resumed.next_number), (1, 4, 3));
}
