//! A lane turn by turn.

mod moves;
mod noting;
mod pace;
mod packing;

use std::sync::Arc;

use super::rig::{REQUEST_TIMEOUT, Rig, answer_to, partitions_of, response_to, topic};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::ProduceResponse;
use milena_wire::{ErrorCode, Uuid};

use super::*;
use crate::connection::ConnectionError;
use crate::fault::{DialError, FailedDial};
use crate::ids::{LeaderEpoch, NodeId, TopicIndex};
use crate::metadata::Address;
use crate::producer::back::Acks;
use crate::producer::completion::BatchEnd;
use crate::producer::front::FrontConfig;
use crate::producer::outcome::{AttemptError, Because, Outcome};
use crate::producer::testbed::{FRONT, IDENTITY, value};

const MILLI: Duration = Duration::from_millis(1);
const RETRY_MAX: Duration = Duration::from_millis(480);
const WRITTEN: BatchEnd = BatchEnd::Written { base_offset: Some(100), log_append_time: None };

fn sequences(rig: &Rig) -> Vec<i32> {
    let sequence = |asked: &crate::producer::testbed::Asked| {
        let request: ProduceRequest = asked.decode();
        let records = request.topic_data[0].partition_data[0].records.clone().expect("not null");
        milena_wire::records::BatchHeader::read(&records).expect("our own header").base_sequence
    };
    rig.asked.iter().map(sequence).collect()
}

#[test]
fn a_lane_dials_only_for_partitions_and_once_per_attempt() {
    let mut rig = Rig::new();
    rig.turn();
    assert!(!rig.is_dialing && rig.lane.poll_timeout().is_none());
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.turn();
    assert!(rig.is_dialing);
    assert_eq!(rig.needs_identity, [(PartitionId(0), None)]);
    rig.wait(Duration::from_secs(60));
    assert!(rig.is_dialing, "one that was told to dial waits for the result");
}

#[test]
fn failed_dials_wait_longer_and_longer_and_ask_for_metadata() {
    let mut rig = Rig::new();
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.turn();
    let mut waits = Vec::new();
    for failures in 1..=5 {
        rig.cut();
        assert!(!rig.is_dialing);
        assert_eq!(rig.metadata_wanted, failures);
        let due = rig.lane.poll_timeout().expect("it dials again");
        waits.push(due.since(rig.now));
        rig.now = due;
        rig.turn();
        assert!(rig.is_dialing);
    }
    assert!(waits[0] <= 120 * MILLI && waits[4] >= 320 * MILLI, "{waits:?}");
    rig.connect();
    rig.cut();
    assert!(rig.lane.poll_timeout().is_some_and(|due| due.since(rig.now) <= 120 * MILLI), "it was reached meanwhile");
}

#[test]
fn each_end_of_a_connection_is_told_with_its_reason_to_whoever_asks_and_to_records_that_wait() {
    let mut rig = Rig::new();
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.append(0, b"x");
    let cause = |rig: &Rig| rig.lane.partitions[&PartitionId(0)].back.trouble().last();
    let tried = [FailedDial { to: "10.0.0.1:9092".parse().expect("an address"), why: DialError::Refused }];
    let refused = ConnectionError::NotConnected { host: "b1".into(), tried: tried.into() };
    rig.is_dialing = false;
    rig.lane.handle_disconnected(rig.now, refused.clone());
    rig.turn();
    assert_eq!((rig.faults.pop(), rig.connections), (Some(refused), 0));
    assert_eq!(cause(&rig), (Some(NodeId(1)), Some(AttemptError::ConnectionRefused)));
    rig.wait(RETRY_MAX);
    rig.connect();
    assert_eq!((rig.faults.len(), rig.connections), (0, 1));
    rig.cut();
    assert_eq!((rig.faults.pop(), rig.connections), (Some(ConnectionError::Closed), 1));
    assert_eq!(cause(&rig), (Some(NodeId(1)), Some(AttemptError::ConnectionLost)));
}

#[test]
fn a_disconnect_that_is_told_twice_counts_once() {
    let mut rig = Rig::connected(1);
    rig.cut();
    let due = rig.lane.poll_timeout();
    rig.now = rig.now + 50 * MILLI;
    rig.lane.handle_disconnected(rig.now, ConnectionError::Closed);
    assert_eq!((rig.lane.poll_timeout(), rig.metadata_wanted), (due, 1));
}

#[test]
fn a_batch_is_sealed_when_its_linger_is_over_and_goes_out_at_once() {
    let mut rig = Rig::anchored(1);
    rig.append(0, b"x");
    assert_eq!(rig.lane.poll_timeout(), Some(rig.now + FRONT.linger));
    rig.wait(FRONT.linger - 2 * MILLI);
    assert!(rig.asked.is_empty());
    rig.wait(MILLI);
    assert_eq!(rig.partitions_asked(), [0], "what is due within a millisecond goes along");
    rig.acknowledge();
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn a_batch_whose_linger_is_over_keeps_filling_while_it_could_not_be_sent() {
    let mut rig = Rig::connected(1);
    rig.flush(0, b"first alone");
    rig.append(0, b"x");
    rig.wait(FRONT.linger);
    rig.append(0, b"y");
    assert!(rig.fronts[&PartitionId(0)].has_open());
    assert_eq!(rig.asked.len(), 1);
    rig.acknowledge();
    assert_eq!(rig.asked.len(), 1, "the answer makes room, and the batch goes at once");
    rig.acknowledge();
    assert_eq!(rig.ends.len(), 2);
}

/// Only an answer looked at the linger again, so the batch waited for a whole round trip though the window was open.
#[test]
fn a_batch_whose_linger_ended_behind_a_waiting_batch_goes_when_that_one_is_claimed() {
    let mut rig = Rig::anchored(1);
    rig.is_writable = false;
    rig.flush(0, b"waits for the socket");
    rig.append(0, b"lingers");
    rig.wait(10 * MILLI);
    assert!(rig.fronts[&PartitionId(0)].has_open());
    rig.is_writable = true;
    rig.turn();
    assert_eq!(rig.asked.len(), 2);
    assert_eq!(sequences(&rig), [1, 2]);
}

#[test]
fn a_batch_that_waits_for_an_identity_goes_when_it_comes() {
    let mut rig = Rig::new();
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.turn();
    rig.connect();
    rig.append(0, b"x");
    rig.wait(10 * MILLI);
    assert!(rig.asked.is_empty());
    rig.grant(0, IDENTITY);
    rig.turn();
    assert_eq!(rig.partitions_asked(), [0]);
}

#[test]
fn nothing_is_claimed_while_bytes_are_unsent() {
    let mut rig = Rig::anchored(2);
    rig.is_writable = false;
    let first = rig.append_record(0, value(b"x"));
    rig.wait(FRONT.linger);
    rig.write_some(10);
    let second = rig.append_record(1, value(b"y"));
    rig.wait(FRONT.linger);
    assert!(rig.lane.poll_request(rig.now, &rig.memory).is_none());
    first.cancel();
    second.cancel();
    assert!(matches!(first.try_outcome(), Some(Outcome::Unknown(_))), "claimed with the bytes before it");
    assert!(matches!(second.try_outcome(), Some(Outcome::NotWritten(Because { reason: NotWritten::Cancelled, .. }))));
    rig.is_writable = true;
    rig.turn();
    assert_eq!(rig.asked.len(), 1, "nothing is left of the second");
}

#[test]
fn at_most_five_requests_are_unanswered() {
    let mut rig = Rig::anchored(8);
    for id in 0..8 {
        rig.flush(id, b"x");
    }
    assert_eq!(rig.asked.iter().map(partitions_of).collect::<Vec<_>>(), [[0], [1], [2], [3], [4]]);
    rig.acknowledge();
    let last = rig.asked.back().expect("one more");
    assert_eq!((rig.asked.len(), partitions_of(last)), (5, vec![5, 6, 7]), "all that waited, in one request");
}

#[test]
fn a_request_takes_one_batch_of_each_partition_in_turn_and_ends_at_its_size() {
    let mut rig = Rig::new();
    let large = FrontConfig { batch_size: 1_000_000, ..FRONT };
    for id in 0..6 {
        rig.adopt_new(id, TopicIndex(0), large);
        rig.grant(id, IDENTITY);
    }
    for id in 0..6 {
        rig.flush(id, &[7; 900_000]);
    }
    rig.turn();
    rig.connect();
    let requests: Vec<_> = rig.asked.iter().map(partitions_of).collect();
    assert_eq!(requests, [vec![1, 2, 3, 4], vec![0, 5]], "4 MiB, the rest in the next; each has its turn");
    rig.acknowledge();
    rig.acknowledge();
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn a_batch_larger_than_a_request_should_be_goes_alone() {
    let mut rig = Rig::new();
    let config = FrontConfig { batch_size: 1_000_000, max_request_size: 10_000_000, ..FRONT };
    for id in 0..2 {
        rig.adopt_new(id, TopicIndex(0), config);
        rig.grant(id, IDENTITY);
        rig.flush(id, &[7; 6_000_000]);
    }
    rig.turn();
    rig.connect();
    assert_eq!(rig.asked.iter().map(partitions_of).collect::<Vec<_>>(), [[1], [0]]);
}

#[test]
fn partitions_of_several_topics_share_a_request_in_every_version() {
    for version in [3, 8, 9, 12, 13] {
        let mut rig = Rig::new();
        rig.produce_version = version;
        for id in 0..4 {
            rig.adopt_new(id, TopicIndex(id % 2), FRONT);
            rig.grant(id, IDENTITY);
            rig.flush(id, b"x");
        }
        rig.turn();
        rig.connect();
        assert_eq!(rig.asked.len(), 1);
        assert_eq!(rig.partitions_asked(), [0, 2, 1, 3], "by topic");
        rig.answer_with(|index| (ErrorCode::NONE, i64::from(index) * 10));
        let offsets: Vec<_> = rig.ends.iter().map(|(id, end)| (id.0, *end)).collect();
        for (id, end) in offsets {
            assert_eq!(end, BatchEnd::Written { base_offset: Some(i64::from(id) * 10), log_append_time: None });
        }
    }
}

#[test]
fn a_topic_without_an_id_is_named_though_the_broker_knows_ids() {
    let mut rig = Rig::new();
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.recreate(0, Uuid::ZERO);
    rig.grant(0, IDENTITY);
    rig.flush(0, b"x");
    rig.connect();
    assert_eq!(rig.asked[0].version, 12);
    rig.acknowledge();
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
}

#[test]
fn a_refused_batch_waits_and_goes_again_and_asks_for_metadata_where_the_code_says_so() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!((rig.asked.len(), rig.metadata_wanted), (0, 1));
    let due = rig.lane.poll_timeout().expect("the retry");
    assert!(due.since(rig.now) >= 80 * MILLI);
    rig.now = due;
    rig.turn();
    assert_eq!(sequences(&rig), [1]);
    rig.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(rig.metadata_wanted, 1);
    rig.wait(RETRY_MAX);
    rig.acknowledge();
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
}

#[test]
fn a_retry_that_is_due_while_the_connection_is_down_goes_when_it_is_up() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.cut();
    rig.wait(RETRY_MAX);
    rig.wait(RETRY_MAX);
    assert!(rig.is_dialing);
    rig.connect();
    assert_eq!(sequences(&rig), [1]);
}

#[test]
fn a_refused_batch_ends_alone_and_the_partition_goes_on_under_the_next_epoch() {
    let mut rig = Rig::anchored(2);
    rig.needs_identity.clear();
    rig.flush(0, b"refused");
    rig.append(0, b"still fills");
    let code = ErrorCode::MESSAGE_TOO_LARGE;
    rig.refuse(code);
    assert_eq!(rig.ends, [(PartitionId(0), BatchEnd::NotWritten(NotWritten::Refused(code.into())))]);
    assert_eq!(rig.needs_identity, [], "an epoch needs nobody's leave");
    rig.wait(FRONT.linger);
    assert_eq!(sequences(&rig), [0]);
    rig.flush(1, b"its neighbour");
    rig.acknowledge();
    assert_eq!(rig.partitions_asked(), [1]);
}

/// Rule 12 through the lane: the cut request was written in part, the one before it in full.
#[test]
fn a_cut_connection_leaves_doubt_only_where_every_byte_was_written() {
    let mut rig = Rig::anchored(2);
    rig.flush(0, b"all written");
    rig.is_writable = false;
    rig.flush(1, b"partly written");
    rig.write_some(20);
    rig.cut();
    rig.is_writable = true;
    rig.wait(RETRY_MAX);
    rig.connect();
    let code = ErrorCode::INVALID_RECORD;
    while !rig.asked.is_empty() {
        rig.refuse(code);
    }
    rig.wait(crate::producer::back::SETTLE_TIMEOUT);
    rig.ends.sort_by_key(|(id, _)| *id);
    let doubt = BatchEnd::Undetermined(Undetermined::RefusedAfterAmbiguousAttempt(code.into()));
    let certain = BatchEnd::NotWritten(NotWritten::Refused(code.into()));
    assert_eq!(rig.ends, [(PartitionId(0), doubt), (PartitionId(1), certain)]);
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn an_unanswered_request_ends_the_connection_after_its_timeout_and_its_batch_goes_again() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.wait(REQUEST_TIMEOUT - MILLI);
    assert!(rig.faults.is_empty());
    rig.wait(MILLI);
    assert_eq!(rig.faults, [ConnectionError::TimedOut { api: "Produce", after: REQUEST_TIMEOUT }]);
    rig.wait(RETRY_MAX);
    rig.connect();
    rig.wait(RETRY_MAX);
    rig.acknowledge();
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
}

#[test]
fn a_broker_that_accepts_but_never_tells_its_versions_is_dialed_again() {
    let mut rig = Rig::new();
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.turn();
    rig.is_dialing = false;
    rig.peer = Some(crate::producer::testbed::Peer::new());
    rig.lane.handle_connected(rig.now);
    rig.turn();
    rig.wait(REQUEST_TIMEOUT);
    assert_eq!(rig.faults, [ConnectionError::TimedOut { api: "ApiVersions", after: REQUEST_TIMEOUT }]);
    rig.wait(RETRY_MAX);
    assert!(rig.is_dialing);
}

#[test]
fn a_broker_too_old_to_produce_to_is_named() {
    let mut rig = Rig::new();
    rig.adopt_new(0, TopicIndex(0), FRONT);
    rig.turn();
    rig.produce_version = 2;
    rig.connect();
    assert_eq!(rig.faults, [ConnectionError::BrokerTooOld { api: "Produce", ours: 3..=13, theirs: 0..=2 }]);
    rig.wait(RETRY_MAX);
    assert!(rig.is_dialing);
}

#[test]
fn a_partition_that_the_answer_leaves_out_is_sent_again_in_doubt() {
    let mut rig = Rig::anchored(2);
    rig.is_writable = false;
    rig.flush(0, b"x");
    rig.flush(1, b"y");
    rig.is_writable = true;
    rig.turn();
    assert_eq!(rig.partitions_asked().len(), 2);
    let asked = rig.asked.pop_front().expect("a request waits");
    let mut request: ProduceRequest = asked.decode();
    request.topic_data[0].partition_data.remove(0);
    let answered = request.topic_data[0].partition_data[0].index;
    let response = ProduceResponse {
        responses: vec![milena_wire::messages::produce::response::TopicProduceResponse {
            topic_id: request.topic_data[0].topic_id,
            partition_responses: vec![milena_wire::messages::produce::response::PartitionProduceResponse {
                index: answered,
                base_offset: 100,
                log_append_time_ms: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..ProduceResponse::default()
    };
    rig.receive(&asked.answer(&response));
    assert_eq!(rig.ends, [(PartitionId(answered as u32), WRITTEN)]);
    rig.wait(RETRY_MAX);
    rig.refuse(ErrorCode::INVALID_RECORD);
    let code = ErrorCode::INVALID_RECORD;
    rig.wait(crate::producer::back::SETTLE_TIMEOUT);
    assert_eq!(rig.ends[1].1, BatchEnd::Undetermined(Undetermined::RefusedAfterAmbiguousAttempt(code.into())));
}

/// Answers that came with the garbage, before it and after it: the first counts, the third was lost and its partition
/// waited for ever.
#[test]
fn garbage_between_answers_ends_the_connection_and_loses_no_batch() {
    let mut rig = Rig::anchored(3);
    for id in 0..3 {
        rig.flush(id, b"x");
    }
    let mut answers: Vec<Vec<u8>> =
        rig.asked.iter().map(|asked| answer_to(asked, |_| (ErrorCode::NONE, 100))).collect();
    let garbage = &mut answers[1];
    let end = garbage.len();
    garbage[8..end].fill(0xff);
    rig.receive_quietly(&answers.concat());
    rig.turn();
    assert!(matches!(rig.faults[..], [ConnectionError::Malformed { .. }]), "{:?}", rig.faults);
    assert_eq!(rig.ends, [(PartitionId(0), WRITTEN)]);
    rig.wait(RETRY_MAX);
    rig.connect();
    while !rig.asked.is_empty() {
        rig.acknowledge();
    }
    assert_eq!(rig.ends.len(), 3);
    assert_eq!(rig.memory.held(), 0);
}

#[test]
fn sent_batches_are_given_up_in_the_lane_when_their_time_is_over() {
    let mut rig = Rig::anchored(1);
    rig.needs_identity.clear();
    rig.flush(0, b"x");
    rig.cut();
    for _ in 0..20 {
        rig.wait(300 * MILLI);
        rig.is_dialing = false;
        rig.lane.handle_disconnected(rig.now, ConnectionError::Closed);
        rig.turn();
    }
    assert_eq!(rig.memory.held(), 0, "what is given up is never sent again");
    assert!(rig.ends.is_empty() && rig.needs_identity.is_empty(), "a batch of the next epoch may come and keep it out");
    rig.wait(crate::producer::back::SETTLE_TIMEOUT);
    assert_eq!(rig.ends, [(PartitionId(0), BatchEnd::Undetermined(Undetermined::NoFence))]);
}

#[test]
fn a_lane_whose_producer_ends_holds_nothing_afterwards_and_stays_quiet() {
    let mut rig = Rig::anchored(2);
    rig.flush(0, b"sent");
    rig.is_writable = false;
    rig.flush(1, b"not sent");
    rig.lane.end_all(NotWritten::Closed, Undetermined::ClosedBeforeProof);
    rig.turn();
    let ends = [BatchEnd::Undetermined(Undetermined::ClosedBeforeProof), BatchEnd::NotWritten(NotWritten::Closed)];
    assert_eq!(rig.ends, [(PartitionId(0), ends[0]), (PartitionId(1), ends[1])]);
    assert_eq!(rig.memory.held(), 0);
    rig.is_writable = true;
    rig.acknowledge();
    rig.cut();
    rig.wait(Duration::from_secs(60));
    rig.connect();
    assert_eq!(rig.asked.len(), 0);
}
