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
    let mut looks = rig.control.looks;
    let mut events = 0;
    while rig.control.poll_event().is_some() {
        assert!(rig.control.looks - looks <= 1, "one look found something, and no other was needed");
        looks = rig.control.looks;
        events += 1;
    }
    assert_eq!((events, looks), (1 + 1 + 3 + PARTITIONS, PARTITIONS));
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
