//! Many partitions: the work is proportional to what changed, and comes in pieces.

use super::*;
use rig::fast;
use std::time::Instant;

const PARTITIONS: usize = 10_000;

fn many(leader_of: impl Fn(usize) -> (i32, i32)) -> Vec<(i32, i32)> {
    (0..PARTITIONS).map(leader_of).collect()
}

fn told_once() -> Rig {
    Rig::with_topic_at(&many(|place| (place as i32 % 3 + 1, 0)))
}

/// Each answer used to look at every partition of every topic.
#[test]
fn an_answer_that_changes_nothing_looks_at_no_partition() {
    let mut rig = told_once();
    let before = rig.control.looks;
    rig.refresh(&metadata_at(1, &many(|place| (place as i32 % 3 + 1, 0))));
    assert_eq!(rig.control.looks - before, 0);
    assert_eq!(rig.told(), ["reached"]);
}

#[test]
fn an_answer_looks_at_the_partitions_that_moved() {
    let mut rig = told_once();
    let before = rig.control.looks;
    rig.refresh(&metadata_at(1, &many(|place| if place % 1_000 == 7 { (2, 1) } else { (place as i32 % 3 + 1, 0) })));
    assert_eq!(rig.control.looks - before, 10);
    assert_eq!(rig.told().len(), 11);
}

/// A lane that lost its connection with thousands of partitions says so for each of them.
#[test]
fn a_lane_in_doubt_is_walked_through_once_per_question() {
    let mut rig = told_once();
    for _ in 0..1_000 {
        rig.control.handle_report(rig.now, fast(1), LaneReport::NeedsMetadata(None));
    }
    assert!(rig.control.lanes[&fast(1)].is_doubted);
    rig.wait(PAUSE);
    assert!(!rig.control.lanes[&fast(1)].is_doubted, "the next question is another one");
    assert_eq!(rig.asked.len(), 1);
}

/// Whoever polls may stop after each event: none takes longer because there are many.
#[test]
fn placing_many_partitions_comes_in_pieces() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    let asked = rig.pop(ApiKey::METADATA);
    let bytes = asked.answer(&metadata_at(1, &many(|place| (place as i32 % 3 + 1, 0))));
    rig.control.read_buffer().expect("the socket is open").extend_from_slice(&bytes);
    rig.control.handle_read(rig.now);
    let (mut looks, mut appeared, mut is_complete, mut placed) = (rig.control.looks, 0, false, 0);
    while let Some(event) = rig.control.poll_event() {
        assert!(rig.control.looks - looks <= 1, "one look found something, and no other was needed");
        looks = rig.control.looks;
        match event {
            ControlEvent::PartitionsAppeared { partitions, are_last, .. } => {
                assert!(partitions.len() <= 256 && !is_complete);
                (appeared, is_complete) = (appeared + partitions.len(), are_last);
            }
            ControlEvent::Order(_, LaneOrder::Adopt(_)) => placed += 1,
            ControlEvent::Reached | ControlEvent::LaneNeeded(..) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((looks, appeared, is_complete, placed), (PARTITIONS, PARTITIONS, true, PARTITIONS));
}

/// It shrank while its partitions were being added; whoever had been told of some of them waited for the last for ever.
#[test]
fn a_topic_that_is_created_anew_while_its_partitions_are_added_comes_to_an_end() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    let asked = rig.pop(ApiKey::METADATA);
    let bytes = asked.answer(&metadata_at(1, &many(|_| (1, 0))));
    rig.control.read_buffer().expect("the socket is open").extend_from_slice(&bytes);
    rig.control.handle_read(rig.now);
    let is_part = |event| matches!(event, Some(ControlEvent::PartitionsAppeared { are_last: false, .. }));
    assert!(matches!(rig.control.poll_event(), Some(ControlEvent::Reached)));
    assert!(is_part(rig.control.poll_event()));
    rig.control.handle_report(rig.now, fast(1), LaneReport::NeedsMetadata(Some(PartitionId(0))));
    rig.now = rig.now + PAUSE;
    let frame = rig.control.poll_transmit(rig.now).expect("it is asked again");
    rig.control.handle_written(frame.len());
    let asked = rig.peer.as_mut().expect("connected").read(&frame).pop().expect("one request");
    rig.receive(&asked.answer(&metadata_at(2, &[(1, 0)])));
    let told = rig.told();
    assert_eq!(
        told.iter().filter(|told| told.starts_with("topic 0 has")).collect::<Vec<_>>(),
        ["topic 0 has the first 1 only", "topic 0 has []"]
    );
    rig.refresh(&metadata_at(3, &[(1, 0)]));
    assert!(rig.told().iter().all(|told| !told.starts_with("topic 0 has")));
}

#[test]
fn a_hundred_thousand_topics_are_wanted_in_no_time() {
    let mut rig = Rig::new(&["a"]);
    let begun = Instant::now();
    for number in 0..100_000 {
        assert_eq!(rig.control.want_topic(&format!("topic-{number}")).0, number);
    }
    println!("100,000 topics are wanted within {:?}", begun.elapsed());
}

/// Prints what each step takes (`cargo test --release -p milena-core scale -- --nocapture`); asserts nothing about it.
#[test]
fn what_ten_thousand_partitions_cost() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect();
    let leaders = |epoch: i32| many(move |place| (place as i32 % 3 + 1, epoch));
    let measure = |what: &str, rig: &mut Rig, response: &MetadataResponse| {
        let bytes = rig.pop(ApiKey::METADATA).answer(response);
        rig.control.read_buffer().expect("the socket is open").extend_from_slice(&bytes);
        let begun = Instant::now();
        rig.control.handle_read(rig.now);
        let read = begun.elapsed();
        let mut longest = Duration::ZERO;
        let mut events = 0;
        loop {
            let begun = Instant::now();
            let Some(event) = rig.control.poll_event() else { break };
            longest = longest.max(begun.elapsed());
            events += 1;
            rig.take_event(event);
        }
        println!(
            "{what}: an answer of {} bytes is taken in {read:?}; {events} events, the longest in {longest:?}, all in {:?}",
            bytes.len(),
            begun.elapsed(),
        );
        assert!(events > 0);
    };
    measure("all appear", &mut rig, &metadata_at(1, &leaders(0)));
    for (what, epoch) in [("nothing changes", 0), ("all move", 1)] {
        rig.report(fast(1), LaneReport::NeedsMetadata(None));
        rig.wait(PAUSE);
        measure(what, &mut rig, &metadata_at(1, &leaders(epoch)));
    }
}
