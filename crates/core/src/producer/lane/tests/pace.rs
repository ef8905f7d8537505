//! Brokers that take their time: throttling, suspicion, and partitions that hold up others (rule 27); and requests that
//! are not answered at all (rule 29).

use super::*;

/// Rule 27 through the lane: an answer's throttle counts.
#[test]
fn a_throttled_request_has_its_time_after_the_throttle() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.flush(0, b"y");
    let asked = rig.asked.pop_front().expect("a request waits");
    rig.receive(&asked.answer(&ProduceResponse { throttle_time_ms: 1_500, ..ProduceResponse::default() }));
    let started = rig.now;
    rig.wait(REQUEST_TIMEOUT + 1_499 * MILLI);
    assert!(rig.faults.is_empty());
    rig.now = started + REQUEST_TIMEOUT + 1_500 * MILLI;
    rig.turn();
    assert_eq!(rig.faults.len(), 1);
}

/// A throttled broker reads nothing (KIP-219), so what is claimed meanwhile could only not be withdrawn any more.
#[test]
fn nothing_is_claimed_while_the_broker_is_throttled() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    let asked = rig.asked.pop_front().expect("a request waits");
    let mut response = response_to(&asked, |_| (ErrorCode::NONE, 100));
    response.throttle_time_ms = 700;
    rig.receive(&asked.answer(&response));
    rig.flush(0, b"y");
    rig.wait(699 * MILLI);
    assert!(rig.asked.is_empty());
    assert_eq!(rig.lane.poll_timeout(), Some(rig.now + MILLI));
    rig.wait(MILLI);
    assert_eq!(rig.asked.len(), 1);
}

/// A frozen leader never says that it leads no more.
#[test]
fn an_answer_that_takes_longer_than_the_followers_may_makes_the_lane_ask_who_leads_again_and_again() {
    let mut rig = Rig::anchored(1);
    rig.flush(0, b"x");
    rig.metadata_wanted = 0;
    rig.wait(999 * MILLI);
    assert_eq!(rig.metadata_wanted, 0);
    rig.wait(MILLI);
    assert_eq!(rig.metadata_wanted, 1);
    rig.wait(999 * MILLI);
    assert_eq!(rig.metadata_wanted, 1);
    rig.acknowledge();
    rig.wait(Duration::from_secs(5));
    assert_eq!(rig.metadata_wanted, 1, "and stops when it is answered");
}

/// One frozen follower of one partition held its neighbour for 3.0 s, in the same request and in the next one (Kafka 4.3.1).
#[test]
fn a_partition_whose_followers_are_slow_leaves_and_its_neighbours_do_not_wait_for_what_it_asked_before() {
    let mut rig = Rig::anchored(2);
    let both = |rig: &mut Rig| {
        for id in [0, 1] {
            rig.append(id, b"x");
        }
        rig.wait(FRONT.linger);
    };
    both(&mut rig);
    both(&mut rig);
    assert_eq!(rig.asked.len(), 2);
    rig.answer_with(|index| if index == 0 { (ErrorCode::REQUEST_TIMED_OUT, -1) } else { (ErrorCode::NONE, 100) });
    assert!(matches!(&rig.reports[..], [LaneReport::Slow(PartitionId(0))]), "{:?}", rig.reports);
    assert!(matches!(rig.faults.last(), Some(ConnectionError::HeldUp)));
    assert_eq!(rig.released.len(), 1, "nothing of it is unanswered any more");
    rig.connect();
    assert_eq!(rig.partitions_asked(), [1], "at once, on another connection, without its neighbour");
    rig.acknowledge();
    assert_eq!(rig.ends.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 1]);
}

/// Slow partitions in several requests were met one after the other, each after the broker's whole patience, and their
/// neighbours waited for the sum (Kafka 4.3.1, a frozen follower beside a topic without it).
#[test]
fn when_the_oldest_request_takes_too_long_all_are_asked_again_elsewhere_and_told_apart_at_once() {
    let mut rig = Rig::anchored(4);
    rig.flush(0, b"slow");
    for id in [1, 2, 3] {
        rig.append(id, b"x");
    }
    rig.wait(FRONT.linger);
    assert_eq!(rig.asked.len(), 2);
    rig.wait(244 * MILLI);
    assert!(rig.faults.is_empty());
    rig.wait(MILLI);
    assert!(matches!(rig.faults.last(), Some(ConnectionError::HeldUp)));
    rig.connect();
    assert_eq!(rig.partitions_asked(), [0, 1, 2, 3]);
    assert_eq!(rig.asked[0].decode::<ProduceRequest>().timeout_ms, 125, "the broker waits a moment only");
    let slow = |index| index < 2;
    rig.answer_with(|index| if slow(index) { (ErrorCode::REQUEST_TIMED_OUT, -1) } else { (ErrorCode::NONE, 100) });
    assert_eq!(rig.ends.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(rig.released.len(), 2, "both slow ones leave");
    rig.flush(2, b"y");
    assert_eq!(rig.asked[0].decode::<ProduceRequest>().timeout_ms, 1_000, "and now it may wait again");
}

/// Where a connection takes longer to set up than the broker may wait for followers, each one was left before anything could be
/// answered on it, for ever.
#[test]
fn a_connection_on_which_nothing_was_answered_is_not_left_for_yet_another_one() {
    let mut rig = Rig::anchored(4);
    let all = |rig: &mut Rig| {
        for id in [0, 1, 2, 3] {
            rig.append(id, b"x");
        }
        rig.wait(FRONT.linger);
    };
    let left = |rig: &Rig| rig.faults.iter().filter(|fault| matches!(fault, ConnectionError::HeldUp)).count();
    all(&mut rig);
    rig.wait(250 * MILLI);
    assert_eq!(left(&rig), 1);
    rig.wait(1_100 * MILLI);
    rig.connect();
    rig.wait(400 * MILLI);
    assert_eq!((left(&rig), rig.asked.len()), (1, 1));
    rig.acknowledge();
    assert_eq!(rig.ends.len(), 4);
    all(&mut rig);
    rig.wait(250 * MILLI);
    assert_eq!(left(&rig), 2, "but it is, once something was answered");
}

/// A follower that copies a quarter of a second late: what is asked again is committed when it comes, and answered at once.
#[test]
fn a_partition_that_was_too_slow_is_asked_with_something_new() {
    let mut rig = Rig::anchored(3);
    rig.flush(0, b"slow");
    rig.flush(1, b"x");
    rig.wait(250 * MILLI);
    assert_eq!(rig.faults.len(), 1);
    rig.connect();
    rig.acknowledge();
    assert!(rig.released.is_empty(), "nothing is known of 0 yet");
    rig.flush(1, b"y");
    assert_eq!(rig.asked[0].decode::<ProduceRequest>().timeout_ms, 125);
    rig.acknowledge();
    rig.flush(0, b"slow again");
    assert_eq!(rig.asked[0].decode::<ProduceRequest>().timeout_ms, 125, "the broker waits a moment only");
    rig.answer_with(|_| (ErrorCode::REQUEST_TIMED_OUT, -1));
    assert_eq!(rig.released.len(), 1, "it leaves");
    rig.flush(2, b"z");
    assert_eq!(rig.asked[0].decode::<ProduceRequest>().timeout_ms, 1_000, "everybody is told apart");
}

#[test]
fn nothing_is_waited_for_from_a_suspect_that_was_called_elsewhere() {
    let mut rig = Rig::anchored(2);
    rig.flush(0, b"slow");
    rig.flush(1, b"x");
    rig.wait(250 * MILLI);
    rig.connect();
    rig.acknowledge();
    rig.recall(0, Recall::WhenIdle);
    rig.flush(1, b"y");
    assert_eq!(rig.asked[0].decode::<ProduceRequest>().timeout_ms, 1_000);
}

#[test]
fn a_broker_that_is_slow_in_everything_is_not_asked_for_everything_again_and_again() {
    let mut rig = Rig::anchored(2);
    rig.flush(0, b"x");
    rig.flush(1, b"y");
    rig.wait(250 * MILLI);
    assert_eq!(rig.faults.len(), 1);
    rig.connect();
    rig.wait(900 * MILLI);
    assert_eq!(rig.faults.len(), 1, "what sorts them is waited for");
    rig.acknowledge();
    rig.flush(0, b"x");
    rig.flush(1, b"y");
    rig.wait(250 * MILLI);
    assert_eq!(rig.faults.len(), 2, "a second time after the broker's patience");
    rig.connect();
    rig.acknowledge();
    rig.flush(0, b"x");
    rig.flush(1, b"y");
    rig.wait(300 * MILLI);
    assert_eq!(rig.faults.len(), 2, "and not before");
}

#[test]
fn a_late_answer_that_nobody_else_waits_for_is_waited_for_until_somebody_does() {
    let mut rig = Rig::anchored(2);
    rig.flush(0, b"x");
    rig.wait(600 * MILLI);
    assert!(rig.faults.is_empty());
    rig.flush(1, b"y");
    assert!(matches!(rig.faults.last(), Some(ConnectionError::HeldUp)));
    rig.connect();
    assert_eq!(rig.partitions_asked(), [0, 1]);
}

/// Without stamps the broker would write again what it is asked again.
#[test]
fn a_connection_is_not_left_where_the_broker_would_not_recognise_what_comes_again() {
    let mut rig = Rig::with_acks(Acks::Leader);
    rig.adopt_unstamped(1);
    rig.flush(0, b"x");
    rig.flush(1, b"y");
    rig.wait(600 * MILLI);
    assert!(rig.faults.is_empty());
}

#[test]
fn a_partition_that_alone_takes_long_to_commit_leaves_too_and_one_without_neighbours_stays() {
    for (partitions, leaves) in [(1, false), (2, true)] {
        let mut rig = Rig::anchored(partitions);
        rig.flush(0, b"x");
        rig.wait(501 * MILLI);
        rig.acknowledge();
        assert_eq!(rig.released.len(), usize::from(leaves));
        assert!(rig.faults.is_empty(), "nothing holds up anybody");
    }
}

#[test]
fn on_the_slow_lane_a_partition_that_is_prompt_for_a_while_may_go_back() {
    let mut rig = Rig::slow();
    for _ in 0..7 {
        rig.flush(0, b"x");
        rig.acknowledge();
    }
    rig.flush(0, b"x");
    rig.wait(501 * MILLI);
    rig.acknowledge();
    assert!(rig.reports.is_empty() && rig.released.is_empty(), "{:?}", rig.reports);
    for _ in 0..8 {
        rig.flush(0, b"x");
        rig.acknowledge();
    }
    assert!(matches!(&rig.reports[..], [LaneReport::Prompt(PartitionId(0))]), "{:?}", rig.reports);
}

#[test]
fn without_acknowledgements_batches_end_when_their_last_byte_is_handed_over() {
    let mut rig = Rig::with_acks(Acks::None);
    rig.cut();
    rig.wait(RETRY_MAX);
    rig.connect();
    assert_eq!(rig.last_error(0), Some(AttemptError::ConnectionLost));
    rig.faults.clear();
    rig.is_writable = false;
    rig.flush(0, b"x");
    rig.write_some(30);
    assert!(rig.ends.is_empty());
    rig.write_some(1_000);
    rig.turn();
    assert_eq!(rig.ends, [(PartitionId(0), BatchEnd::Undetermined(Undetermined::NoAcknowledgementAsked))]);
    assert_eq!(rig.asked.pop_front().expect("it was read").decode::<ProduceRequest>().acks, 0);
    rig.is_writable = true;
    rig.flush(0, b"y");
    assert_eq!(rig.ends.len(), 2);
    rig.wait(Duration::from_secs(60));
    assert!(rig.faults.is_empty(), "no answer is missed");
    assert_eq!(rig.last_error(0), None, "and what went wrong before it is over");
}

#[test]
fn a_request_without_acknowledgements_that_was_cut_short_goes_again() {
    let mut rig = Rig::with_acks(Acks::None);
    rig.is_writable = false;
    rig.flush(0, b"x");
    rig.write_some(30);
    rig.cut();
    rig.is_writable = true;
    rig.wait(RETRY_MAX);
    rig.connect();
    rig.wait(RETRY_MAX);
    assert_eq!(rig.ends, [(PartitionId(0), BatchEnd::Undetermined(Undetermined::NoAcknowledgementAsked))]);
}

/// The batch stayed on the wire for ever, with nothing due: no answer is missed, and no byte was taken.
#[test]
fn a_frozen_broker_that_takes_no_bytes_is_found_without_acknowledgements_too() {
    let mut rig = Rig::with_acks(Acks::None);
    rig.is_writable = false;
    rig.flush(0, b"x");
    rig.write_some(30);
    rig.metadata_wanted = 0;
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.metadata_wanted, 1, "whoever leads now is asked for");
    rig.wait(Duration::from_secs(1));
    assert!(matches!(rig.faults.last(), Some(ConnectionError::TimedOut { .. })));
}

/// Answers that had come with the first were thrown away with the connection.
#[test]
fn what_was_read_is_taken_before_a_connection_is_left() {
    let mut rig = Rig::anchored(2);
    for _ in 0..3 {
        rig.append(0, b"x");
        rig.append(1, b"x");
        rig.wait(FRONT.linger);
    }
    let slow = |index| if index == 0 { (ErrorCode::REQUEST_TIMED_OUT, -1) } else { (ErrorCode::NONE, 100) };
    let first = rig.asked.pop_front().expect("a request waits");
    let second = rig.asked.pop_front().expect("another one");
    let answers = [answer_to(&first, slow), answer_to(&second, |_| (ErrorCode::NONE, 101))].concat();
    rig.receive(&answers);
    assert_eq!(rig.ends.iter().filter(|(id, _)| id.0 == 1).count(), 2);
}
