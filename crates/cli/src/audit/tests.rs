//! The checker against logs that are made up: every verdict, and what leads to it.

use super::checker::{Checker, Cleaning, Logged, TopicFacts};
use super::ledger::{Ledger, Place};
use super::line::{self, Line};
use super::verdicts::{Conclusion, Exception, Refutation, Whether, Why};
use crate::checksum::Checksum;

/// One partition: where it begins, its records by offset (a digit of the content each), and where it ends.
#[derive(Clone, Debug)]
struct Partition {
    start: i64,
    records: Vec<(i64, u64)>,
    end: i64,
}

/// Partitions with these contents, one after the other from offset 0.
fn log(partitions: &[&[u64]]) -> Vec<Partition> {
    let partition = |contents: &&[u64]| Partition {
        start: 0,
        records: (0..).zip(contents.iter().copied()).collect(),
        end: contents.len() as i64,
    };
    partitions.iter().map(partition).collect()
}

fn written(number: u64, content: u64, partition: i32, offset: i64) -> String {
    format!(
        r#"{{"line":{number},"topic":"t","outcome":"written","checksum":"{content:016x}","partition":{partition},"offset":{offset}}}"#
    )
}

fn told(number: u64, content: u64, outcome: &str) -> String {
    format!(r#"{{"line":{number},"topic":"t","outcome":"{outcome}","checksum":"{content:016x}"}}"#)
}

fn run(from_offsets: &[i64]) -> String {
    format!(r#"{{"topic":"t","topic_id":"abc","from_offsets":{from_offsets:?}}}"#)
}

struct Audit {
    cleaning: Cleaning,
    topic_id: &'static str,
    checks_order: bool,
}

const PLAIN: Audit = Audit { cleaning: Cleaning::Deletes, topic_id: "abc", checks_order: true };

impl Audit {
    fn of(&self, lines: &[String], log: &[Partition]) -> Conclusion {
        let mut ledger = Ledger::default();
        ledger.begin_file("told");
        for line in lines {
            match line::parse(line.as_bytes()).expect(line) {
                Line::Run(run) => ledger.begin_run(run).expect("the lines go together"),
                Line::Told(told) => ledger.take(&told).expect("few"),
                Line::Nothing => {}
            }
        }
        ledger.end_run().expect("the lines go together");
        let log_starts = log.iter().map(|partition| partition.start).collect();
        let facts = TopicFacts { id: Some(self.topic_id.to_owned()), cleaning: self.cleaning, log_starts };
        let mut checker = Checker::new(ledger, vec![facts], self.checks_order);
        for (partition, number) in log.iter().zip(0..) {
            let place = Place { topic: 0, partition: number };
            let first = checker.first_offset(place);
            checker.begin(place, partition.start);
            for (offset, content) in partition.records.iter().filter(|(offset, _)| *offset >= first) {
                let (checksum, producer_id, producer_epoch) = (Checksum(*content), 7, 0);
                checker.take(Logged { offset: *offset, checksum, producer_id, producer_epoch });
            }
            checker.end(partition.end);
        }
        checker.conclude()
    }
}

/// Number of the record, its verdict, and where it was found.
type Said = (u64, &'static str, Vec<(i32, i64)>);

fn said(conclusion: &Conclusion) -> Vec<Said> {
    let name = |exception: &Exception| match exception {
        Exception::Refuted { how, .. } => Refutation::ALL[*how as usize].1,
        Exception::Undecided { whether, .. } => Whether::ALL[*whether as usize].1,
    };
    let said = conclusion.exceptions.iter().map(|(entry, exception)| {
        let spots = match exception {
            Exception::Refuted { found, .. } => found.kept.clone(),
            Exception::Undecided { found, .. } => found.iter().copied().collect(),
        };
        let spots = spots.iter().map(|spot| (spot.partition, spot.record.offset)).collect();
        (conclusion.ledger.entries[*entry as usize].number, name(exception), spots)
    });
    said.collect()
}

fn refuted(lines: &[String], partitions: &[&[u64]]) -> Vec<Said> {
    said(&PLAIN.of(lines, &log(partitions)))
}

#[test]
fn a_run_that_told_the_truth_is_proved() {
    let lines = [
        run(&[2, 1]),
        written(1, 11, 0, 2),
        written(2, 12, 1, 1),
        told(3, 13, "not_written"),
        written(4, 14, 0, 4),
        r#"{"line":5,"topic":"t","outcome":"not_written","reason":"no_record"}"#.to_owned(),
    ];
    // What lies before the run is not its own, even if it is the same.
    let conclusion = PLAIN.of(&lines, &log(&[&[11, 13, 11, 99, 14], &[12, 12]]));
    assert_eq!(said(&conclusion), []);
    let counts = conclusion.counts;
    assert_eq!((counts.proved, counts.written, counts.not_written, counts.others), (5, 3, 2, 1));
    assert_eq!(conclusion.unprovable, []);
}

#[test]
fn a_written_record_that_is_nowhere_is_missing() {
    let lines = [written(1, 11, 0, 0), written(2, 12, 0, 1), written(3, 13, 0, 2), written(4, 14, 5, 0)];
    let mut log = log(&[&[11, 12]]);
    log[0].records.remove(1);
    // Nothing where it should be, behind the end, in no partition.
    let conclusion = PLAIN.of(&lines, &log);
    assert_eq!(said(&conclusion), [(2, "missing", vec![]), (3, "missing", vec![]), (4, "missing", vec![])]);
    assert_eq!(conclusion.counts.proved, 1);
}

#[test]
fn a_written_record_that_is_elsewhere_is_misplaced() {
    assert_eq!(refuted(&[written(1, 11, 0, 0)], &[&[99, 11], &[]]), [(1, "misplaced", vec![(0, 1)])]);
    assert_eq!(refuted(&[written(1, 11, 0, 0)], &[&[], &[11]]), [(1, "misplaced", vec![(1, 0)])]);
    // Other bytes at its offset.
    assert_eq!(refuted(&[written(1, 11, 0, 0)], &[&[99]]), [(1, "misplaced", vec![])]);
}

#[test]
fn a_record_that_is_there_twice_is_duplicated() {
    assert_eq!(refuted(&[written(1, 11, 0, 0)], &[&[11, 11]]), [(1, "duplicated", vec![(0, 1)])]);
    assert_eq!(refuted(&[written(1, 11, 1, 0)], &[&[11], &[11]]), [(1, "duplicated", vec![(0, 0)])]);
    assert_eq!(refuted(&[told(1, 11, "unknown")], &[&[11, 11]]), [(1, "duplicated", vec![(0, 0), (0, 1)])]);
    let without_offset = r#"{"line":1,"topic":"t","outcome":"written","checksum":"000000000000000b","partition":0}"#;
    let lines = [without_offset.to_owned()];
    assert_eq!(refuted(&lines, &[&[11]]), []);
    assert_eq!(refuted(&lines, &[&[11, 11]]), [(1, "duplicated", vec![(0, 0), (0, 1)])]);
    assert_eq!(refuted(&lines, &[&[], &[11]]), [(1, "misplaced", vec![(1, 0)])]);
    assert_eq!(refuted(&lines, &[&[12]]), [(1, "missing", vec![])]);
}

#[test]
fn more_copies_than_anybody_wants_to_see_are_counted() {
    let conclusion = PLAIN.of(&[written(1, 11, 0, 0)], &log(&[&[11; 101]]));
    let Exception::Refuted { how: Refutation::Duplicated, found, .. } = &conclusion.exceptions[0].1 else {
        panic!("{conclusion:?}")
    };
    assert_eq!(found.kept.len() as u64 + found.others, 100);
    assert!(found.kept.len() < 20);
}

#[test]
fn a_failed_record_that_is_in_the_log_failed_falsely() {
    assert_eq!(refuted(&[told(1, 11, "not_written")], &[&[5, 11]]), [(1, "falsely_failed", vec![(0, 1)])]);
    let settled = [
        told(1, 11, "unknown"),
        r#"{"line":1,"topic":"t","settlement":"not_written","reason":"cancelled"}"#.to_owned(),
    ];
    assert_eq!(refuted(&settled, &[&[11]]), [(1, "falsely_failed", vec![(0, 0)])]);
    assert_eq!(refuted(&settled, &[&[12]]), []);
}

#[test]
fn records_behind_younger_ones_of_their_partition_are_in_wrong_order() {
    let lines = [written(1, 11, 0, 1), written(2, 12, 0, 0), written(3, 13, 0, 2), written(4, 14, 1, 0)];
    let log = log(&[&[12, 11, 13], &[14]]);
    let conclusion = PLAIN.of(&lines, &log);
    assert_eq!(said(&conclusion), [(1, "wrong_order", vec![])]);
    let Exception::Refuted { after: Some(after), .. } = conclusion.exceptions[0].1 else { panic!("{conclusion:?}") };
    assert_eq!((after.number, after.offset), (2, 0));
    assert_eq!(said(&Audit { checks_order: false, ..PLAIN }.of(&lines, &log)), []);
}

#[test]
fn an_unknown_record_that_came_late_is_in_wrong_order() {
    let lines = [told(1, 11, "unknown"), written(2, 12, 0, 0)];
    assert_eq!(refuted(&lines, &[&[12, 11]]), [(1, "wrong_order", vec![(0, 1)])]);
    let lines = [told(2, 12, "unknown"), written(1, 11, 0, 1)];
    assert_eq!(refuted(&lines, &[&[12, 11]]), [(1, "wrong_order", vec![]), (2, "in_log", vec![(0, 0)])]);
    let lines = [told(1, 11, "unknown"), told(2, 12, "unknown")];
    assert_eq!(refuted(&lines, &[&[12, 11]]), [(1, "wrong_order", vec![(0, 1)]), (2, "in_log", vec![(0, 0)])]);
    assert_eq!(refuted(&lines, &[&[11, 12]]), [(1, "in_log", vec![(0, 0)]), (2, "in_log", vec![(0, 1)])]);
}

#[test]
fn runs_have_no_order_among_each_other() {
    let lines =
        [run(&[0]), written(1, 11, 0, 1), written(2, 12, 0, 3), run(&[0]), written(1, 21, 0, 0), written(2, 22, 0, 2)];
    assert_eq!(refuted(&lines, &[&[21, 11, 22, 12]]), []);
}

#[test]
fn undecided_records_are_said_to_be_there_or_not() {
    let lines = [told(1, 11, "unknown"), told(2, 12, "unknown")];
    let conclusion = PLAIN.of(&lines, &log(&[&[], &[12]]));
    assert_eq!(said(&conclusion), [(1, "not_in_log", vec![]), (2, "in_log", vec![(1, 0)])]);
    assert_eq!((conclusion.counts.refuted, conclusion.counts.undecided), ([0; 5], [1, 1, 0]));
}

/// Two records cannot be in one place: what Kafka does with other data under the same sequence.
#[test]
fn an_offset_proves_one_outcome_only() {
    assert_eq!(refuted(&[written(1, 11, 0, 0), written(2, 12, 0, 0)], &[&[11]]), [(2, "missing", vec![])]);
    assert_eq!(refuted(&[written(1, 12, 0, 0), written(2, 11, 0, 0)], &[&[11]]), [(1, "missing", vec![])]);
    assert_eq!(refuted(&[written(1, 11, 0, 0), written(2, 11, 0, 0)], &[&[11]]), [(2, "missing", vec![])]);
}

#[test]
fn records_of_one_content_are_counted() {
    let lines = [written(1, 11, 0, 0), told(2, 11, "not_written"), told(3, 11, "unknown"), written(4, 11, 0, 2)];
    // All but the unknown one.
    assert_eq!(refuted(&lines, &[&[11, 5, 11]]), [(3, "not_in_log", vec![])]);
    // One more explains the unknown one, two more the failed one too, three more are too many.
    assert_eq!(refuted(&lines, &[&[11, 11, 11]]), [(3, "in_log", vec![(0, 1)])]);
    let two = [(2, "falsely_failed", vec![(0, 3)]), (3, "in_log", vec![(0, 1)])];
    assert_eq!(refuted(&lines, &[&[11, 11, 11, 11]]), two);
    let three = [(1, "duplicated", vec![(0, 4)]), two[0].clone(), two[1].clone()];
    assert_eq!(refuted(&lines, &[&[11, 11, 11, 11, 11]]), three);
    // One that is at another offset is not missing, though nobody knows which it is.
    assert_eq!(
        refuted(&[written(1, 11, 0, 0), written(2, 11, 0, 1)], &[&[11, 5, 11]]),
        [(2, "misplaced", vec![(0, 2)])]
    );
}

/// As `yes` gives them, through an outage, while others write the same. Every one against every other would take hours.
#[test]
fn many_equal_records_are_counted_in_one_go() {
    const MANY: u64 = 10_000;
    let lines: Vec<String> = (1..=MANY).map(|number| told(number, 11, "unknown")).collect();
    let conclusion = PLAIN.of(&lines, &log(&[&vec![11; MANY as usize - 7], &[11; 3]]));
    assert_eq!(conclusion.counts.undecided, [MANY - 4, 4, 0]);
    let lines: Vec<String> = (1..=MANY).map(|number| written(number, 11, 0, number as i64 - 1)).collect();
    let conclusion = PLAIN.of(&lines, &log(&[&vec![11; 2 * MANY as usize]]));
    assert_eq!((conclusion.counts.proved, conclusion.counts.refuted), (MANY - 1, [0, 1, 0, 0, 0]));
    let Exception::Refuted { how: Refutation::Duplicated, found, .. } = &conclusion.exceptions[0].1 else {
        panic!("{:?}", conclusion.exceptions[0])
    };
    assert_eq!(found.kept.len() as u64 + found.others, MANY);
    // A run that began behind them all has none of them.
    let lines: Vec<String> =
        [run(&[MANY as i64])].into_iter().chain((1..=MANY).map(|number| told(number, 11, "unknown"))).collect();
    let lines = [vec![run(&[0])], lines].concat();
    let conclusion = PLAIN.of(&lines, &log(&[&vec![11; MANY as usize]]));
    assert_eq!((conclusion.counts.undecided, conclusion.counts.others), ([0, MANY, 0], MANY));
}

#[test]
fn what_retention_removed_is_unprovable() {
    let lines =
        [run(&[0]), written(1, 11, 0, 0), written(2, 12, 0, 1), told(3, 13, "not_written"), told(4, 14, "unknown")];
    let mut log = log(&[&[11, 12]]);
    (log[0].start, log[0].records) = (1, vec![(1, 12)]);
    let conclusion = PLAIN.of(&lines, &log);
    assert_eq!(said(&conclusion), [(4, "not_told", vec![])]);
    assert_eq!(conclusion.counts.unprovable, [2, 0, 0, 0, 0]);
    assert_eq!(conclusion.counts.proved, 1);
    let [(first, Why::LogStart)] = conclusion.unprovable[..] else { panic!("{conclusion:?}") };
    assert_eq!(conclusion.ledger.entries[first as usize].number, 1);
    // What went before the run began concerns nobody.
    let lines = [run(&[1]), written(2, 12, 0, 1), told(3, 13, "not_written"), told(4, 14, "unknown")];
    let conclusion = PLAIN.of(&lines, &log);
    assert_eq!(said(&conclusion), [(4, "not_in_log", vec![])]);
    assert_eq!((conclusion.counts.unprovable, conclusion.counts.proved), ([0; 5], 2));
}

#[test]
fn what_compaction_may_have_removed_is_unprovable() {
    let lines = [
        written(1, 11, 0, 0),
        written(2, 12, 0, 1),
        told(3, 13, "not_written"),
        written(4, 14, 0, 2),
        written(5, 15, 0, 3),
    ];
    let mut log = log(&[&[11, 12, 99]]);
    log[0].records.remove(0);
    for (cleaning, unprovable) in [(Cleaning::Compacts, [0, 2, 0, 0, 0]), (Cleaning::Untold, [0, 0, 2, 0, 0])] {
        let conclusion = Audit { cleaning, ..PLAIN }.of(&lines, &log);
        // Compaction neither replaces records nor cuts the end off.
        assert_eq!(said(&conclusion), [(4, "misplaced", vec![]), (5, "missing", vec![])]);
        assert_eq!((conclusion.counts.unprovable, conclusion.counts.proved), (unprovable, 1));
    }
}

#[test]
fn of_a_topic_that_was_made_anew_nothing_is_said() {
    let lines = [run(&[0]), written(1, 11, 0, 0), told(2, 12, "not_written"), told(3, 13, "unknown")];
    let conclusion = Audit { topic_id: "other", ..PLAIN }.of(&lines, &log(&[&[99, 12, 13, 13]]));
    assert_eq!(said(&conclusion), [(3, "not_told", vec![])]);
    assert_eq!(conclusion.counts.unprovable, [0, 0, 0, 2, 0]);
}

#[test]
fn outcomes_that_do_not_say_what_the_record_is_are_unprovable() {
    let line = |number: u64, rest: &str| format!(r#"{{"line":{number},"topic":"t",{rest}}}"#);
    let lines = [
        line(1, r#""outcome":"written","partition":0,"offset":0"#),
        line(2, r#""outcome":"written","partition":0,"offset":7"#),
        line(3, r#""outcome":"not_written""#),
        line(4, r#""outcome":"unknown""#),
    ];
    let conclusion = PLAIN.of(&lines, &log(&[&[11]]));
    assert_eq!(said(&conclusion), [(2, "missing", vec![]), (4, "not_told", vec![])]);
    assert_eq!(conclusion.counts.unprovable, [0, 0, 0, 0, 2]);
}

/// A true history, and then one lie of each kind in it: that one is found, and nothing else is said.
#[test]
fn a_lie_in_a_long_history_is_found_and_nothing_else() {
    for seed in 0..25 {
        let mut dice = Dice(seed);
        let (lines, partitions) = history(&mut dice);
        assert_eq!(said(&PLAIN.of(&lines, &log(&partitions.each_ref().map(Vec::as_slice)))), [], "seed {seed}");
        for lie in [lose, double, move_on, fail, swap] {
            let (mut lines, mut partitions) = (lines.clone(), partitions.clone());
            let expected = lie(&mut lines, &mut partitions, &mut dice);
            let all = said(&PLAIN.of(&lines, &log(&partitions.each_ref().map(Vec::as_slice))));
            let all: Vec<_> = all.into_iter().map(|(number, verdict, _)| (number, verdict)).collect();
            assert_eq!(all, [expected], "seed {seed}");
        }
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end as u64) as usize
    }
}

type Partitions = [Vec<u64>; 3];

/// Some two hundred records over three partitions, some not written, some of others between them.
fn history(dice: &mut Dice) -> (Vec<String>, Partitions) {
    let mut partitions: Partitions = Default::default();
    let mut lines = vec![run(&[0, 0, 0])];
    for number in 1..=200 {
        let partition = dice.below(3);
        if dice.below(4) == 0 {
            partitions[partition].push(1_000_000 + number);
        }
        if dice.below(10) == 0 {
            lines.push(told(number, number, "not_written"));
        } else {
            lines.push(written(number, number, partition as i32, partitions[partition].len() as i64));
            partitions[partition].push(number);
        }
    }
    (lines, partitions)
}

/// One of the run, not the last of its partition.
fn one(partitions: &Partitions, dice: &mut Dice) -> (usize, usize, u64) {
    loop {
        let partition = dice.below(3);
        let at = dice.below(partitions[partition].len() - 1);
        let content = partitions[partition][at];
        if content < 1_000_000 {
            return (partition, at, content);
        }
    }
}

type Lie = (u64, &'static str);

fn lose(_: &mut [String], partitions: &mut Partitions, dice: &mut Dice) -> Lie {
    let (partition, at, content) = one(partitions, dice);
    partitions[partition][at] = 2_000_000;
    (content, "misplaced")
}

fn double(_: &mut [String], partitions: &mut Partitions, dice: &mut Dice) -> Lie {
    let (_, _, content) = one(partitions, dice);
    partitions[dice.below(3)].push(content);
    (content, "duplicated")
}

fn move_on(_: &mut [String], partitions: &mut Partitions, dice: &mut Dice) -> Lie {
    let (partition, at, content) = one(partitions, dice);
    partitions[partition][at] = 2_000_000;
    partitions[dice.below(3)].push(content);
    (content, "misplaced")
}

fn fail(lines: &mut [String], partitions: &mut Partitions, dice: &mut Dice) -> Lie {
    let (_, _, content) = one(partitions, dice);
    lines[content as usize] = told(content, content, "not_written");
    (content, "falsely_failed")
}

fn swap(lines: &mut [String], partitions: &mut Partitions, dice: &mut Dice) -> Lie {
    loop {
        let (partition, at, content) = one(partitions, dice);
        let next = partitions[partition][at + 1];
        if next < 1_000_000 {
            partitions[partition].swap(at, at + 1);
            lines[content as usize] = written(content, content, partition as i32, at as i64 + 1);
            lines[next as usize] = written(next, next, partition as i32, at as i64);
            return (content, "wrong_order");
        }
    }
}
