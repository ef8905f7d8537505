//! Journals that are settled, answer by answer.

use bytes::Bytes;
use milena_wire::crc32c;
use milena_wire::records::BatchHeader;

use super::*;
use crate::producer::journal;
use crate::producer::scan::Witness;

const CLUSTER: &str = "Hxr-2_q";
const TOPIC: Uuid = Uuid([9; 16]);
const SENT_AT: i64 = 1_760_000_000_000;
const NOW: i64 = SENT_AT + 1000;
const FENCE: (i16, i32, u32) = (i16::MAX, 0, 1);

fn sent(number: u64, (epoch, sequence, count): (i16, i32, u32)) -> Sent {
    let identity = Some(Identity { producer_id: ProducerId(7), epoch: Epoch(epoch) });
    let sequence = Sequence::new(sequence).expect("not negative");
    let stamp = Stamp { identity, sequence, ordinal: number };
    Sent {
        number,
        cluster: Some(CLUSTER.into()),
        topic: TopicRef { name: "orders".into(), id: TOPIC },
        partition: PartitionIndex(4),
        mark: Mark { stamp, count, print: Print::UNKNOWN },
        base: Some(Base { offset: 99, witness: Witness::Epoch(2) }),
        is_stale: false,
        opened_at: SENT_AT,
        sent_at: SENT_AT,
    }
}

fn reading(sent: Vec<Sent>) -> Reading {
    Reading { sent, ..Reading::default() }
}

fn config(has_fence: bool) -> SettleConfig {
    SettleConfig { has_fence, wall: NOW, horizon: Duration::from_secs(3600) }
}

fn only(sent: Vec<Sent>, config: SettleConfig) -> Case {
    let mut cases = cases(&reading(sent), config);
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

/// A batch in the log, without a record that anybody could read.
fn batch(base_offset: i64, (epoch, sequence, count): (i16, i32, u32)) -> Vec<u8> {
    let header = BatchHeader {
        base_offset,
        partition_leader_epoch: 2,
        producer_id: 7,
        producer_epoch: epoch,
        base_sequence: sequence,
        last_offset_delta: count as i32 - 1,
        record_count: count as i32,
        ..BatchHeader::default()
    };
    // As many bytes as so many records have at least.
    let body = vec![0; 8 * count as usize];
    let mut bytes = [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat();
    milena_wire::records::place_batch(&mut bytes, base_offset, 2).expect("whole");
    bytes
}

fn log(batches: &[Vec<u8>]) -> LogAnswer {
    LogAnswer { error: ErrorCode::NONE, records: Bytes::from(batches.concat()) }
}

fn refused(error: ErrorCode) -> LogAnswer {
    LogAnswer { error, records: Bytes::new() }
}

fn end(end_offset: i64) -> OffsetAnswer {
    OffsetAnswer { error: ErrorCode::NONE, end_offset, leader_epoch: 2 }
}

fn verdicts(case: &Case) -> Vec<Verdict> {
    assert_eq!(case.step(), Step::Done);
    case.verdicts().map(|(_, verdict)| verdict).collect()
}

impl Case {
    fn identified(mut self) -> Self {
        assert_eq!(self.step(), Step::Identify);
        self.handle_identity(Some(CLUSTER), Some(TOPIC));
        self
    }

    fn fenced(mut self, offset: i64) -> Self {
        let identity = Identity { producer_id: ProducerId(7), epoch: Epoch(i16::MAX) };
        assert_eq!(self.step(), Step::Fence(identity));
        assert_eq!(self.handle_fence(ErrorCode::NONE, offset), Heard::Taken);
        self
    }
}

const WRITTEN_AT_102: Verdict = Verdict::Proven(Found::Written(102));
const NOT_WRITTEN: Verdict = Verdict::Proven(Found::NotWritten);

fn undetermined(why: Undetermined) -> Vec<Verdict> {
    vec![Verdict::Undetermined(why)]
}

#[test]
fn with_a_fence_what_is_there_is_written_and_what_is_not_never_will_be() {
    let doubts = vec![sent(1, (3, 40, 10)), sent(2, (3, 50, 5))];
    let mut case = only(doubts, config(true)).identified().fenced(112);
    assert_eq!(case.step(), Step::Log { offset: 99 });
    let first = [batch(99, (0, 0, 1)), batch(100, (3, 38, 2))];
    assert_eq!(case.handle_log(&log(&first)), Heard::Taken);
    assert_eq!(case.step(), Step::Log { offset: 102 });
    assert_eq!(case.handle_log(&log(&[])), Heard::Again, "this leader does not know yet that it is committed");
    let rest = [batch(102, (3, 40, 10)), batch(112, FENCE)];
    assert_eq!(case.handle_log(&log(&rest)), Heard::Taken);
    assert_eq!((case.step(), case.verdicts().count()), (Step::Identify, 0), "it may have been made anew meanwhile");
    assert_eq!(verdicts(&case.identified()), [WRITTEN_AT_102, NOT_WRITTEN]);
}

#[test]
fn without_a_fence_what_is_there_is_written_and_nothing_is_said_of_the_rest() {
    let doubts = vec![sent(1, (3, 40, 10)), sent(2, (3, 50, 5))];
    let mut case = only(doubts, config(false)).identified();
    assert_eq!(case.step(), Step::End);
    assert_eq!(case.handle_end(&end(113)), Heard::Taken);
    assert_eq!(case.step(), Step::Log { offset: 100 });
    case.handle_log(&log(&[batch(100, (3, 38, 2)), batch(102, (3, 40, 10)), batch(112, (3, 99, 1))]));
    let case = case.identified();
    assert_eq!(verdicts(&case), [WRITTEN_AT_102, Verdict::Undetermined(Undetermined::NoFence)]);
}

#[test]
fn an_empty_log_behind_the_base_needs_no_reading() {
    let mut case = only(vec![sent(1, (3, 40, 10))], config(false)).identified();
    case.handle_end(&end(100));
    assert_eq!(verdicts(&case.identified()), undetermined(Undetermined::NoFence));
}

#[test]
fn a_fence_that_is_refused_leaves_what_can_be_found() {
    let mut case = only(vec![sent(1, (3, 40, 10))], config(true)).identified();
    assert_eq!(case.handle_fence(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1), Heard::Again);
    assert_eq!(case.handle_fence(ErrorCode::TOPIC_AUTHORIZATION_FAILED, -1), Heard::Taken);
    assert_eq!((case.fence_refused(), case.step()), (Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Step::End));
    case.handle_end(&end(112));
    case.handle_log(&log(&[batch(100, (3, 38, 2)), batch(102, (3, 40, 10))]));
    assert_eq!(verdicts(&case.identified()), [WRITTEN_AT_102]);
}

#[test]
fn absence_past_the_horizon_or_of_old_timestamps_proves_nothing() {
    let run = |change: fn(&mut Sent), config: SettleConfig| {
        let mut doubt = sent(1, (3, 40, 10));
        change(&mut doubt);
        let mut case = only(vec![doubt], config).identified().fenced(100);
        case.handle_log(&log(&[batch(99, (0, 0, 1)), batch(100, FENCE)]));
        verdicts(&case.identified())[0]
    };
    let old = SettleConfig { wall: SENT_AT + 3_600_001, ..config(true) };
    assert_eq!(run(|_| {}, config(true)), NOT_WRITTEN);
    assert_eq!(run(|_| {}, old), Verdict::Undetermined(Undetermined::ProducerStateExpired));
    let back = SettleConfig { wall: SENT_AT - 3_600_000, ..config(true) };
    assert_eq!(
        run(|_| {}, back),
        Verdict::Undetermined(Undetermined::ProducerStateExpired),
        "nobody knows how long it was"
    );
    let stale = Verdict::Undetermined(Undetermined::StaleTimestamps);
    assert_eq!(run(|doubt| doubt.is_stale = true, config(true)), stale);
    let mut case = only(vec![sent(1, (3, 40, 10))], old).identified().fenced(112);
    case.handle_log(&log(&[batch(99, (0, 0, 3)), batch(102, (3, 40, 10)), batch(112, FENCE)]));
    assert_eq!(verdicts(&case.identified()), [WRITTEN_AT_102], "what is found is found");
}

#[test]
fn another_cluster_or_topic_says_nothing_of_this_one() {
    let new = || only(vec![sent(1, (3, 40, 10))], config(true));
    let identified = |cluster, topic| {
        let mut case = new();
        case.handle_identity(cluster, topic);
        case
    };
    assert_eq!(verdicts(&identified(Some("other"), Some(TOPIC))), undetermined(Undetermined::ClusterChanged));
    assert_eq!(verdicts(&identified(Some(CLUSTER), Some(Uuid([8; 16])))), undetermined(Undetermined::TopicRecreated));
    assert_eq!(verdicts(&identified(Some(CLUSTER), None)), undetermined(Undetermined::TopicRecreated));
    // Brokers before 2.8 tell no ids of topics, and some no id of the cluster.
    assert!(matches!(identified(None, Some(Uuid::ZERO)).step(), Step::Fence(_)));
    let mut case = new().identified().fenced(100);
    case.handle_log(&log(&[batch(99, (0, 0, 1)), batch(100, FENCE)]));
    case.handle_identity(Some(CLUSTER), Some(Uuid([8; 16])));
    assert_eq!(verdicts(&case), undetermined(Undetermined::TopicRecreated), "it was made anew while it was read");
}

#[test]
fn a_log_that_does_not_reach_there_proves_nothing() {
    let run = |end_offset| {
        let mut case = only(vec![sent(1, (3, 40, 10))], config(true)).identified().fenced(112);
        assert_eq!(case.handle_log(&refused(ErrorCode::OFFSET_OUT_OF_RANGE)), Heard::Taken);
        assert_eq!(case.step(), Step::Log { offset: 100 }, "the base itself may be gone");
        case.handle_log(&refused(ErrorCode::OFFSET_OUT_OF_RANGE));
        assert_eq!(case.step(), Step::End);
        case.handle_end(&end(end_offset));
        verdicts(&case.identified())
    };
    assert_eq!(run(113), undetermined(Undetermined::LogTruncated));
    assert_eq!(run(50), undetermined(Undetermined::DataLossSeen));
    let mut case = only(vec![sent(1, (3, 40, 10))], config(true)).identified().fenced(112);
    case.handle_log(&refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert_eq!(verdicts(&case.identified()), undetermined(Undetermined::NotPermittedToRead));
    let before = only(vec![sent(1, (3, 40, 10))], config(true)).identified().fenced(99);
    assert_eq!(verdicts(&before.identified()), undetermined(Undetermined::DataLossSeen));
}

#[test]
fn what_has_no_base_is_found_beside_another_and_not_told_to_be_absent() {
    let mut unplaced = [sent(1, (3, 40, 10)), sent(2, (3, 60, 1))];
    unplaced.iter_mut().for_each(|sent| sent.base = None);
    let alone = only(unplaced.to_vec(), config(true)).identified();
    let none = Verdict::Undetermined(Undetermined::NoBase);
    assert_eq!(verdicts(&alone), [none, none]);
    let [found, missing] = unplaced;
    let mut case = only(vec![found, missing, sent(3, (3, 50, 5))], config(true)).identified().fenced(112);
    case.handle_log(&log(&[batch(99, (0, 0, 3)), batch(102, (3, 40, 10)), batch(112, FENCE)]));
    assert_eq!(verdicts(&case.identified()), [WRITTEN_AT_102, none, NOT_WRITTEN]);
}

#[test]
fn when_nobody_answers_what_was_found_is_found() {
    let doubts = || vec![sent(1, (3, 40, 10)), sent(2, (3, 50, 5))];
    let late = Verdict::Undetermined(Undetermined::ScanTooLong);
    let mut case = only(doubts(), config(true)).identified().fenced(200);
    case.handle_log(&log(&[batch(99, (0, 0, 3)), batch(102, (3, 40, 10))]));
    case.give_up();
    assert_eq!(verdicts(&case), [WRITTEN_AT_102, late]);
    let mut unfenced = only(doubts(), config(true)).identified();
    unfenced.give_up();
    assert_eq!(verdicts(&unfenced), [Verdict::Undetermined(Undetermined::NoFence); 2]);
    let mut new = only(doubts(), config(true));
    new.give_up();
    assert_eq!(verdicts(&new), [late; 2]);
}

#[test]
fn each_producer_id_of_a_partition_is_a_case_of_its_own_and_the_oldest_base_counts() {
    let mut other = sent(2, (0, 0, 1));
    other.mark.stamp.identity = Some(Identity { producer_id: ProducerId(8), epoch: Epoch(0) });
    let mut older = sent(3, (2, 7, 1));
    older.base = Some(Base { offset: 20, witness: Witness::Nobody });
    let settled = sent(4, (3, 60, 1));
    let mut journal = reading(vec![sent(1, (3, 40, 10)), other, older, settled]);
    journal.found.insert(4, Found::NotWritten);
    let cases = cases(&journal, config(true));
    assert_eq!(cases.iter().map(|case| case.sent.len()).collect::<Vec<_>>(), [2, 1]);
    let [case, _] = <[Case; 2]>::try_from(cases).expect("two");
    assert_eq!(case.identified().fenced(30).step(), Step::Log { offset: 21 });
}

#[test]
fn a_journal_as_a_process_left_it_leads_to_the_same_cases() {
    let line = [sent(1, (3, 40, 10)), sent(2, (3, 50, 5))];
    let lines: String = line.iter().map(Sent::to_line).collect();
    let text = format!("milena-fate-journal 1 0\n{lines}{}", journal::found(1, Found::Written(102)));
    let case = cases(&journal::read(text.as_bytes()).expect("a journal"), config(false)).remove(0);
    assert_eq!(case.sent, [line[1].clone()]);
}
