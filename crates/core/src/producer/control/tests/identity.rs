//! Who gets which producer id, and when.

use super::*;
use rig::fast;

#[test]
fn partitions_share_one_producer_id() {
    let mut rig = Rig::with_topic(&[1, 2]);
    rig.need_identity(0, None);
    rig.need_identity(1, None);
    let request: InitProducerIdRequest = rig.asked[0].decode();
    assert_eq!((rig.asked.len(), request.transactional_id), (1, None));
    rig.answer_identity(0, 40);
    assert_eq!(rig.told(), ["grant 40 to 0 on 1", "grant 40 to 1 on 2"]);
    rig.need_identity(1, None);
    assert_eq!(rig.told(), ["grant 40 to 1 on 2"], "it is known now");
    assert!(rig.asked.is_empty());
}

#[test]
fn a_partition_that_abandoned_the_producer_id_gets_a_fresh_one_and_the_others_keep_theirs() {
    let mut rig = Rig::with_topic(&[1, 2, 1]);
    rig.need_identity(0, None);
    rig.answer_identity(0, 40);
    rig.told.clear();
    rig.wait(PAUSE);
    rig.need_identity(0, Some(40));
    assert!(rig.told().is_empty());
    rig.need_identity(1, None);
    assert_eq!(rig.told(), ["grant 40 to 1 on 2"], "nothing speaks against it there");
    rig.answer_identity(0, 41);
    assert_eq!(rig.told(), ["grant 41 to 0 on 1"]);
    rig.need_identity(2, Some(40));
    assert_eq!(rig.told(), ["grant 41 to 2 on 1"], "the fresh one serves the next who abandons the first");
}

#[test]
fn a_refused_or_senseless_producer_id_is_asked_for_again_with_pauses() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(0, None);
    for (code, producer_id) in [(14, -1), (15, -1), (16, -1), (0, -1)] {
        rig.answer_identity(code, producer_id);
        assert!(rig.asked.is_empty() && rig.told().is_empty(), "a batch with the id −1 would not be idempotent");
        rig.wait(PAUSE);
    }
    rig.answer_identity(0, 5);
    assert_eq!(rig.told(), ["grant 5 to 0 on 1"]);
}

#[test]
fn records_that_wait_for_a_producer_id_are_told_so() {
    let mut rig = Rig::with_topic(&[1, 1]);
    rig.need_identity(0, None);
    assert_eq!((rig.trouble(0), rig.trouble(1)), (Some(AttemptError::NoProducerId), None));
    rig.answer_identity(14, -1);
    let refused = |code: ErrorCode| Some(AttemptError::ProducerIdRefused(code.into()));
    assert_eq!(rig.trouble(0), refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    rig.wait(PAUSE);
    rig.answer_identity(0, 5);
    assert_eq!(rig.trouble(0), None);
}

/// Somebody has to change an access rule, or a broker: asking ten times a second does not help, giving up neither.
#[test]
fn a_producer_id_that_is_forbidden_is_asked_for_slowly_and_for_ever() {
    for code in [31, 53, 35, 58] {
        let mut rig = Rig::with_topic(&[1]);
        rig.need_identity(0, None);
        for _ in 0..3 {
            rig.answer_identity(code, -1);
            assert_eq!(rig.trouble(0), Some(AttemptError::ProducerIdRefused(ErrorCode(code).into())));
            let pause = rig.wait_for_due();
            assert!(pause > Duration::from_secs(3) && pause < Duration::from_secs(7), "{pause:?}");
        }
        rig.answer_identity(0, 5);
        assert!(rig.told().contains(&"grant 5 to 0 on 1".to_owned()));
    }
}

/// Rule 14.
#[test]
fn a_producer_id_that_somebody_else_uses_is_abandoned_everywhere() {
    let mut rig = Rig::with_topic_at(&[(1, 0), (2, 0), (1, 0), (-1, 0)]);
    rig.need_identity(0, None);
    rig.answer_identity(0, 40);
    rig.wait(PAUSE);
    // One is on its way between lanes.
    rig.refresh(&metadata_at(1, &[(1, 0), (2, 0), (2, 1), (-1, 0)]));
    rig.told.clear();
    rig.report(fast(1), LaneReport::ProducerIdUsedElsewhere(ProducerId(40)));
    let everywhere = ["abandon 40 of 0 on 1", "abandon 40 of 1 on 2", "abandon 40 of 2 on 1"];
    assert_eq!(rig.told(), everywhere);
    rig.report(fast(2), LaneReport::ProducerIdUsedElsewhere(ProducerId(40)));
    assert!(rig.told().is_empty(), "the second partition that sees it has nothing to add");
    rig.need_identity(1, None);
    rig.answer_identity(0, 41);
    assert_eq!(rig.told(), ["grant 41 to 1 on 2"], "nobody gets the old one");
}

/// The order to abandon it reached a lane that had given the partition back already.
#[test]
fn a_partition_on_its_way_between_lanes_abandons_the_producer_id_too() {
    let mut rig = Rig::with_topic_at(&[(1, 0)]);
    rig.moved[0].1.grant(Identity { producer_id: ProducerId(40), epoch: Epoch(0) });
    rig.refresh(&metadata_at(1, &[(2, 1)]));
    rig.report(fast(2), LaneReport::ProducerIdUsedElsewhere(ProducerId(40)));
    rig.release(0);
    let (_, back) = rig.moved.pop().expect("it moved on");
    assert_eq!((back.needs_identity(), back.abandoned()), (true, Some(ProducerId(40))));
}

/// Rule 25.
#[test]
fn a_partition_on_its_way_between_lanes_learns_of_another_cluster() {
    let elsewhere =
        |leaders: &[(i32, i32)]| MetadataResponse { cluster_id: Some("other".into()), ..metadata_at(1, leaders) };
    for (granted, keeps) in [(40, false), (41, true)] {
        let mut rig = Rig::with_topic_at(&[(1, 0), (1, 0)]);
        rig.need_identity(0, None);
        rig.answer_identity(0, 40);
        rig.wait(PAUSE);
        rig.lose("gone");
        for _ in 0..3 {
            rig.lose("gone");
        }
        rig.connect();
        rig.wait(PAUSE);
        rig.answer(&elsewhere(&[(1, 0), (1, 0)]));
        rig.need_identity(1, None);
        rig.answer_identity(0, 41);
        let place = rig.moved.iter().position(|(_, back)| back.id().0 == 0).expect("it is led");
        rig.moved[place].1.grant(Identity { producer_id: ProducerId(granted), epoch: Epoch(0) });
        rig.release(0);
        let (_, back) = rig.moved.iter().find(|(_, back)| back.id().0 == 0).expect("it went back");
        assert_eq!(!back.needs_identity(), keeps, "{granted}");
    }
}

/// A broker that refuses each new producer id as used elsewhere made the client ask for the next one at once.
#[test]
fn producer_ids_that_are_given_up_as_soon_as_they_come_are_asked_for_with_growing_pauses() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(0, None);
    let mut pauses = Vec::new();
    for id in 40..46 {
        rig.answer_identity(0, id);
        rig.report(fast(1), LaneReport::ProducerIdUsedElsewhere(ProducerId(id)));
        rig.need_identity(0, Some(id));
        let before = rig.now;
        while rig.asked.is_empty() {
            rig.wait_for_due();
        }
        pauses.push(rig.now.since(before));
    }
    assert!(pauses[0] > Duration::from_millis(70) && pauses[5] > Duration::from_millis(790), "{pauses:?}");
    rig.answer_identity(0, 50);
    rig.wait(Duration::from_secs(100));
    rig.report(fast(1), LaneReport::ProducerIdUsedElsewhere(ProducerId(50)));
    rig.need_identity(0, Some(50));
    assert_eq!(rig.asked.len(), 1, "that one had served");
}

/// A thousand questions in one moment.
#[test]
fn a_broker_that_gives_an_id_that_was_given_up_is_asked_again_after_a_pause() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(0, None);
    rig.answer_identity(0, 40);
    rig.wait(PAUSE);
    rig.need_identity(0, Some(40));
    rig.answer_identity(0, 40);
    assert!(rig.asked.iter().all(|asked| asked.key != ApiKey::INIT_PRODUCER_ID));
    rig.wait(PAUSE);
    rig.answer_identity(0, 41);
    assert!(rig.told().iter().any(|told| told.starts_with("grant 41")));
}
