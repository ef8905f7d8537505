//! Lies of every kind are found, and the truth is not.

use super::*;
use crate::ledger::{Call, Offer};
use crate::rows::ROWS;

/// Some entries and the one log that they claim to be in.
struct Case {
    begun: Instant,
    entries: BTreeMap<Id, Entry>,
    log: Vec<DumpedRecord>,
    stall: Duration,
}

/// What was told of record 1 to 4: written at offset 0, cancelled in time, unknown and then written at offset 1, unknown
/// and never to be known, though it is at offset 2. Record 5 was refused.
fn truth() -> Case {
    let begun = Instant::now();
    let mut case = Case { begun, entries: BTreeMap::new(), log: Vec::new(), stall: Duration::ZERO };
    case.tell(1, written(0), None);
    case.tell(2, not_written("Cancelled"), None);
    case.tell(3, Word::Unknown, Some(written(1)));
    case.tell(4, Word::Unknown, Some(Word::Undetermined(reason("NoFence"))));
    case.tell(5, Word::Unknown, None);
    let refused = case.entries.get_mut(&5).expect("told");
    refused.outcomes.clear();
    refused.offer.refused = Some("BufferFull".to_owned());
    [1, 3, 4].into_iter().for_each(|id| case.append(id));
    case
}

impl Case {
    /// Calls are a second apart and take a millisecond; outcomes come 5 ms after the deadline.
    fn tell(&mut self, id: Id, word: Word, fate: Option<Word>) {
        let began = self.begun + Duration::from_secs(id);
        let returned = began + Duration::from_millis(1);
        let deadline = Duration::from_secs(2);
        let offer = Offer { id, topic: 0, call: Call::Post, deadline, began, returned, refused: None };
        let outcomes = vec![(word, began + deadline + Duration::from_millis(5))];
        self.entries.insert(id, Entry { offer, outcomes, fate, was_cancelled: false });
    }

    fn append(&mut self, id: Id) {
        let Content { key, value } = Content::of(id);
        let offset = self.log.len() as i64;
        self.log.push(DumpedRecord { partition: 0, offset, timestamp: 0, key, headers: vec![], value: Some(value) });
    }

    fn entry(&mut self, id: Id) -> &mut Entry {
        self.entries.get_mut(&id).expect("told")
    }

    fn audit(&self) -> Audit {
        audit(&self.entries, std::slice::from_ref(&self.log), |_, _| Stall { excused: self.stall, ran: Duration::ZERO })
    }

    /// The only finding.
    fn found(&self) -> String {
        let audit = self.audit();
        assert_eq!(audit.findings.len(), 1, "{:#?}", audit.findings);
        audit.findings[0].clone()
    }
}

fn written(offset: i64) -> Word {
    Word::Written { partition: 0, offset: Some(offset) }
}

fn not_written(name: &str) -> Word {
    Word::NotWritten(reason(name))
}

fn reason(name: &str) -> Reason {
    Reason { name: name.to_owned(), attempts: 1, whole: name.to_owned() }
}

#[test]
fn the_truth_is_counted_and_not_found_fault_with() {
    let audit = truth().audit();
    assert_eq!(audit.findings, Vec::<String>::new());
    let counts = audit.counts;
    assert_eq!((counts.offered, counts.written, counts.unknown, counts.fate_written), (5, 1, 2, 1));
    assert_eq!((counts.compared(), counts.found, counts.undetermined_found, counts.ordered), (4, 3, 1, 1));
    assert_eq!(audit.lateness, [Duration::from_millis(5); 2]);
}

#[test]
fn a_written_record_must_be_there_once() {
    let mut case = truth();
    case.entry(1).outcomes[0].0 = written(7);
    assert!(case.found().contains("told written to 0 at Some(7)"));

    let mut case = truth();
    case.entry(3).fate = Some(written(7));
    assert!(case.found().contains("told written"));

    let mut case = truth();
    case.append(1);
    assert!(case.audit().findings.iter().any(|finding| finding.contains("in the log 2 times")));

    let mut case = truth();
    case.entry(1).outcomes[0].0 = Word::Written { partition: 0, offset: None };
    assert_eq!(case.audit().findings, Vec::<String>::new());
    case.log.remove(0);
    assert!(case.found().contains("told written"));
}

#[test]
fn what_was_not_written_must_not_be_there() {
    let mut case = truth();
    case.append(2);
    assert!(case.found().contains("told Cancelled, found"));

    let mut case = truth();
    case.entry(3).fate = Some(not_written("Closed"));
    assert!(case.found().contains("told Closed, found"));

    let mut case = truth();
    case.append(5);
    assert!(case.found().contains("refused with BufferFull, yet told"));
}

#[test]
fn a_late_copy_comes_at_most_once() {
    let mut case = truth();
    case.append(4);
    assert!(case.found().contains("in the log 2 times"));
}

#[test]
fn the_log_holds_only_what_was_offered() {
    let mut case = truth();
    case.append(6);
    assert!(case.found().contains("never offered"));

    let mut case = truth();
    case.log[0].key = Some(b"another".to_vec());
    assert!(case.found().contains("other bytes"));

    let mut case = truth();
    case.entry(4).offer.topic = 1;
    assert!(case.found().contains("another topic's log"));
}

#[test]
fn every_record_has_one_outcome_and_every_unknown_one_a_fate() {
    let mut case = truth();
    case.entry(2).outcomes.clear();
    assert!(case.found().contains("no outcome"));

    let mut case = truth();
    let again = case.entry(2).outcomes[0].clone();
    case.entry(2).outcomes.push(again);
    assert!(case.found().contains("2 outcomes"));

    let mut case = truth();
    case.entry(4).fate = None;
    assert!(case.found().contains("never settled"));

    let mut case = truth();
    case.entry(4).fate = Some(Word::Undetermined(Reason { attempts: 0, ..reason("NoFence") }));
    assert!(case.found().contains("without an attempt"));
}

#[test]
fn who_was_accepted_first_stands_first() {
    let mut case = truth();
    case.log.clear();
    [3, 1, 4].into_iter().for_each(|id| case.append(id));
    case.entry(1).outcomes[0].0 = written(1);
    case.entry(3).fate = Some(written(0));
    assert!(case.found().contains("accepted before record 3, and behind it"));

    // Who was still being accepted when the other call began may stand on either side.
    case.entry(1).offer.returned += Duration::from_secs(3);
    assert_eq!(case.audit().findings, Vec::<String>::new());
}

#[test]
fn late_is_what_neither_the_tick_nor_a_stall_excuses() {
    let mut case = truth();
    case.entry(2).outcomes[0].1 += Duration::from_millis(256);
    assert!(case.found().contains("told 261ms after its deadline, 0ns excused"));
    case.stall = Duration::from_millis(1);
    let audit = case.audit();
    assert_eq!((audit.findings, audit.stall_max), (vec![], Duration::from_millis(2)));
}

#[test]
fn nobody_is_withdrawn_before_the_deadline() {
    let mut case = truth();
    case.entry(2).outcomes[0] = (not_written("DeadlinePassed"), case.begun + Duration::from_secs(3));
    assert!(case.found().contains("before its deadline"));
}

#[test]
fn a_row_in_which_nothing_was_compared_fails() {
    assert!(ROWS.iter().all(|row| Audit::default().emptiness(row.partitions(), row.releases).is_some()));
}

#[test]
fn a_topic_that_its_neighbours_held_up_is_found_and_those_are_not() {
    let row = ROWS.iter().find(|row| row.topics.len() == 2).expect("a row has neighbours");
    let held_up = |latency| Audit { latencies: vec![vec![latency]; 2], ..Audit::default() }.held_up(row);
    assert_eq!(held_up(Duration::from_secs(4)), ["topic 2 was held up for 4s"]);
    assert_eq!(held_up(Duration::from_secs(2)), Vec::<String>::new());
}
