//! Whom the control connection leads to, and what becomes of its questions.

use super::*;
use rig::lost;

/// The id of the cluster behind an address, as its brokers tell it.
fn of_cluster(id: &str, leaders: &[(i32, i32)]) -> MetadataResponse {
    MetadataResponse { cluster_id: Some(id.into()), ..metadata_at(id.len() as u8, leaders) }
}

#[test]
fn the_first_round_through_the_addresses_waits_for_nobody_and_the_next_ones_wait_longer_and_longer() {
    let mut rig = Rig::new(&["a", "b", "c"]);
    rig.turn();
    for why in ["refused", "unreachable", "unknown host"] {
        rig.lose(why);
    }
    assert_eq!(rig.dials, ["a", "b", "c"]);
    assert_eq!(rig.control.poll_timeout().map(|due| due > rig.now), Some(true));
    let told = |rig: &Rig| -> Vec<_> {
        let faults = rig.control.reach.faults.iter();
        faults.map(|(address, fault)| (address.to_string(), fault.attempts, fault.error.clone())).collect()
    };
    let expected = [("a:9092", "refused"), ("b:9092", "unreachable"), ("c:9092", "unknown host")];
    assert_eq!(told(&rig), expected.map(|(address, why)| (address.to_owned(), 1, lost(why))));
    let mut pauses = Vec::new();
    for _ in 0..5 {
        pauses.push(rig.wait_for_due());
        rig.lose("refused");
    }
    assert_eq!(rig.dials.concat(), "abcabcab");
    let last = rig.control.reach.faults.iter().map(|(_, fault)| fault.failed_at).max();
    assert_eq!((last, told(&rig)[0].1, told(&rig)[2].1), (Some(rig.now), 3, 2));
    assert!(pauses[0] < pauses[4] && pauses[4] <= PAUSE, "{pauses:?}");
}

/// Every refused address doubled the patience with the next one, which then ate four seconds and more.
#[test]
fn an_address_that_refuses_gives_the_next_one_no_more_time_and_one_that_is_silent_does() {
    let mut rig = Rig::new(&["a", "b", "c", "d"]);
    rig.turn();
    rig.lose("refused");
    rig.lose("refused");
    let first = rig.wait_for_due();
    assert!(first <= Duration::from_secs(2), "{first:?}");
    assert_eq!(rig.dials.concat(), "abcd");
    rig.lose("refused");
    rig.wait(PAUSE);
    let second = rig.wait_for_due();
    assert!(second > first && second <= 2 * first, "{second:?} after {first:?}");
}

#[test]
fn an_answer_clears_the_faults_and_says_that_the_cluster_is_reached() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    rig.lose("refused");
    rig.connect();
    assert!(rig.told.is_empty());
    rig.answer(&metadata(1, &[]));
    assert_eq!(rig.told(), ["reached"]);
    assert!(rig.control.reach.faults.is_empty());
    assert_eq!(rig.control.cluster_id().map(|id| &**id), Some("cluster"));
    assert_eq!(rig.control.poll_timeout(), Some(rig.now + MAX_AGE));
}

/// One dead machine of three ate ten seconds of the first records' deadlines.
#[test]
fn a_dial_that_comes_to_nothing_is_left_for_another_address_and_the_last_one_has_its_time() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    assert_eq!(rig.dials, ["a"]);
    let patience = rig.wait_for_due();
    assert!(patience <= Duration::from_secs(2), "{patience:?}");
    assert_eq!((rig.dials.concat(), rig.hang_ups), ("ab".to_owned(), 1));
    let (address, fault) = rig.control.reach.faults.iter().next().expect("the first address was left");
    let not_yet = ConnectionError::NotYet { after: patience };
    assert_eq!((&*address.host, &fault.error), ("a", &not_yet));
    rig.wait(Duration::from_secs(60));
    assert_eq!((rig.dials.concat(), rig.hang_ups), ("ab".to_owned(), 1), "there is nobody else");
}

/// KIP-899. The brokers were replaced, machine by machine; the client knew the old ones only and never came back.
#[test]
fn when_no_known_broker_can_be_asked_the_bootstrap_addresses_are_asked_again() {
    let mut rig = Rig::with_topic(&[1]);
    rig.dials.clear();
    for _ in 0..3 {
        rig.lose("gone");
    }
    rig.lose("gone");
    rig.dials.sort();
    assert_eq!(rig.dials, ["a", "b1", "b2", "b3"], "known brokers first, and nobody is waited for");
    rig.connect();
    rig.wait(PAUSE);
    rig.answer(&metadata(1, &[1]));
    assert_eq!(rig.told(), ["reached"], "nothing has changed for the lane");
}

/// The bootstrap address may be gone for good, though the brokers come back.
#[test]
fn brokers_that_were_known_are_tried_after_the_bootstrap_addresses() {
    let mut rig = Rig::with_topic(&[1]);
    for _ in 0..4 {
        rig.lose("gone");
    }
    rig.dials.clear();
    for _ in 0..5 {
        rig.wait(PAUSE);
        rig.lose("gone");
    }
    assert_eq!(rig.dials, ["b1", "b2", "b3", "a"]);
}

/// KIP-1102.
#[test]
fn a_broker_may_demand_that_everything_begins_anew() {
    let mut rig = Rig::with_topic(&[1, 2]);
    rig.dials.clear();
    rig.refresh(&MetadataResponse { error_code: 129, ..metadata(1, &[1, 2]) });
    assert_eq!(rig.told(), ["lane 1 lost", "lane 2 lost"], "what they are connected to is wrong");
    assert_eq!((rig.hang_ups, rig.dials.concat()), (1, "a".to_owned()));
    rig.connect();
    rig.wait(PAUSE);
    rig.answer(&metadata(1, &[1, 2]));
    assert_eq!(rig.told(), ["reached", "lane 1 at b1", "lane 2 at b2"]);
}

#[test]
fn a_broker_that_demands_it_again_and_again_is_not_asked_in_a_hot_loop() {
    let mut rig = Rig::new(&["a"]);
    rig.turn();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        rig.connect();
        if rig.asked.is_empty() {
            rig.wait_for_due();
        }
        rig.answer(&MetadataResponse { error_code: 129, ..metadata(1, &[]) });
        pauses.push(rig.wait_for_due());
    }
    assert!(pauses[5] > Duration::from_millis(790), "{pauses:?}");
}

/// KIP-1102. Each broker takes the connection and the question, and none answers.
#[test]
fn without_metadata_for_five_minutes_everything_begins_anew() {
    let mut rig = Rig::with_topic(&[1]);
    rig.refresh(&metadata(1, &[1]));
    let begun = rig.now;
    // More of them than can be asked in that time.
    for node in 0..200 {
        let address = Address { host: format!("x{node}").into(), port: 1 };
        rig.report(
            rig::fast(1),
            LaneReport::LeaderHint(
                PartitionId(0),
                LeaderHint {
                    topic_id: Uuid::ZERO,
                    leader: NodeId(1_000 + node),
                    epoch: LeaderEpoch(node),
                    address: Some(address),
                },
            ),
        );
    }
    rig.told.clear();
    rig.report(rig::fast(1), LaneReport::NeedsMetadata(Some(PartitionId(0))));
    while rig.told.iter().all(|told| !told.ends_with("lost")) {
        match rig.control.link {
            Link::Dialing { .. } => rig.connect(),
            _ => drop(rig.wait_for_due()),
        }
        assert!(rig.now.since(begun) < Duration::from_secs(400), "it would go on for ever");
    }
    let after = rig.now.since(begun);
    assert!(after >= Duration::from_secs(300) && after < Duration::from_secs(302), "{after:?}");
    assert_eq!(rig.dials.last().map(String::as_str), Some("a"));
}

/// KIP-1242. An address may be given to a broker of another cluster, when machines come and go.
#[test]
fn a_known_broker_of_another_cluster_is_left_for_the_next_one() {
    let mut rig = Rig::with_topic_at(&[(1, 0)]);
    rig.lose("gone");
    rig.connect();
    rig.report(rig::fast(1), LaneReport::NeedsMetadata(Some(PartitionId(0))));
    rig.wait(PAUSE);
    rig.answer(&of_cluster("elsewhere", &[(3, 7)]));
    assert!(rig.told().is_empty());
    let fault = rig.control.reach.faults.iter().find_map(|(_, fault)| match &fault.error {
        ConnectionError::OtherCluster { expected, found } => Some((expected.to_string(), found.to_string())),
        _ => None,
    });
    assert_eq!(fault, Some(("cluster".to_owned(), "elsewhere".to_owned())));
    rig.connect();
    rig.wait(PAUSE);
    rig.answer(&metadata_at(1, &[(1, 0)]));
    assert_eq!(rig.told(), ["reached"]);
}

/// One of three machines was given to another cluster; it took the whole producer along.
#[test]
fn an_address_of_the_configuration_alone_says_nothing_while_brokers_of_the_cluster_are_left() {
    let mut rig = Rig::new(&["b1", "b2", "b3"]);
    rig.turn();
    rig.connect();
    rig.answer(&metadata(1, &[]));
    rig.lose("gone");
    rig.told.clear();
    let mut answered = Vec::new();
    while rig.told.is_empty() {
        rig.connect();
        rig.wait(PAUSE);
        let host = rig.dials.last().expect("it dialed").clone();
        match host.as_str() {
            "b2" => rig.answer(&of_cluster("elsewhere", &[])),
            _ => rig.answer(&metadata(1, &[])),
        }
        answered.push(host);
    }
    assert_eq!((answered, rig.told()), (["b2", "b3"].map(str::to_owned).to_vec(), vec!["reached".to_owned()]));
}

/// Rule 25: a producer id belongs to its cluster, and so do topics, leaders and connections.
#[test]
fn another_cluster_behind_a_bootstrap_address_is_met_as_a_stranger() {
    let mut rig = Rig::with_topic_at(&[(1, 5), (2, 5)]);
    rig.need_identity(0, None);
    rig.answer_identity(0, 40);
    rig.refresh(&of_cluster("elsewhere", &[(2, 0), (2, 0)]));
    assert!(rig.told().is_empty(), "one voice is not enough");
    for _ in 0..3 {
        rig.lose("gone");
    }
    assert_eq!(rig.dials.last().map(String::as_str), Some("a"), "no broker of the former cluster is left");
    rig.connect();
    rig.wait(PAUSE);
    rig.answer(&of_cluster("elsewhere", &[(2, 0), (2, 0)]));
    let expected = [
        "another cluster for 0 on 1",
        "another cluster for 1 on 2",
        "lane 1 lost",
        "lane 2 lost",
        "reached",
        "lane 1 at b1",
        "lane 2 at b2",
        "recreated 0 on 1",
        "recall 0 from 1",
        "recreated 1 on 2",
    ];
    assert_eq!(rig.told(), expected, "what is in doubt ends before anything is sent there");
    rig.need_identity(1, None);
    rig.answer_identity(0, 2);
    assert_eq!(rig.told(), ["grant 2 to 1 on 2"]);
}

#[test]
fn requests_that_a_lost_connection_leaves_unanswered_are_asked_again() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(0, None);
    rig.report(rig::fast(1), LaneReport::NeedsMetadata(None));
    rig.wait(PAUSE);
    assert_eq!(rig.asked.len(), 2);
    rig.lose("cut");
    assert_eq!(rig.dials.last().map(String::as_str), Some("b2"), "known brokers come before bootstrap addresses");
    rig.connect();
    rig.wait(PAUSE);
    assert_eq!(rig.asked.len(), 2);
    rig.answer(&metadata(1, &[1]));
    rig.answer_identity(0, 1);
    assert!(rig.told().contains(&"grant 1 to 0 on 1".to_owned()));
}

/// A third of all metadata questions meets the leader that froze. The first one waited as long as a request may.
#[test]
fn a_silent_broker_is_left_for_the_next_one_soon_and_the_longer_the_more_are_silent() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    let mut waits = Vec::new();
    for _ in 0..5 {
        let asked_at = rig.now;
        rig.connect();
        if rig.asked.is_empty() {
            rig.wait_for_due();
        }
        while rig.hang_ups as usize == waits.len() {
            rig.wait_for_due();
        }
        waits.push(rig.now.since(asked_at).as_secs());
        if matches!(rig.control.link, Link::Down { .. }) {
            rig.wait_for_due();
        }
    }
    assert_eq!((waits, rig.dials.concat()), (vec![2, 4, 8, 10, 10], "ababab".to_owned()));
    let fault = rig.control.reach.faults.iter().next().expect("the first address failed").1;
    assert_eq!(fault.error, ConnectionError::TimedOut { api: "Metadata", after: TIMEOUT });
}

/// Both answers came in one read and the first was garbage: the second was forgotten, and nobody ever asked again.
#[test]
fn garbage_ends_the_connection_and_everything_is_asked_again() {
    let mut rig = Rig::with_topic(&[1]);
    rig.need_identity(0, None);
    rig.report(rig::fast(1), LaneReport::NeedsMetadata(None));
    rig.wait(PAUSE);
    let answers: Vec<_> = rig
        .asked
        .drain(..)
        .map(|asked| {
            let mut garbage = match asked.key {
                ApiKey::METADATA => asked.answer(&metadata(1, &[1])),
                _ => asked.answer(&InitProducerIdResponse::default()),
            };
            garbage[8..].fill(0xff);
            garbage
        })
        .collect();
    rig.receive(&answers.concat());
    assert_eq!(rig.hang_ups, 1);
    rig.connect();
    rig.wait(PAUSE);
    let mut keys: Vec<_> = rig.asked.iter().map(|asked| asked.key).collect();
    keys.sort();
    assert_eq!(keys, [ApiKey::METADATA, ApiKey::INIT_PRODUCER_ID]);
}

/// A broker that starts may answer before it knows of any broker.
#[test]
fn a_broker_that_knows_of_none_is_left_for_the_next_one() {
    let mut rig = Rig::new(&["a", "b"]);
    rig.turn();
    rig.connect();
    rig.answer(&MetadataResponse { brokers: vec![], ..metadata(1, &[]) });
    assert_eq!((rig.told(), rig.hang_ups, rig.dials.concat()), (vec![], 1, "ab".to_owned()));
}

/// Versions before 4 would create the topics that they are asked for.
#[test]
fn a_broker_that_would_create_topics_when_asked_is_not_asked() {
    let mut rig = Rig::new(&["a"]);
    rig.control.want_topic("t");
    rig.turn();
    rig.connect_speaking(&[(ApiKey::METADATA, 3)]);
    assert_eq!((rig.hang_ups, rig.asked.len()), (1, 0));
    let fault = rig.control.reach.faults.iter().next().expect("the address failed").1;
    assert_eq!(fault.error, ConnectionError::BrokerTooOld { api: "Metadata", ours: 4..=13, theirs: 0..=3 });
}

#[test]
fn a_disconnect_that_is_told_twice_counts_once() {
    let mut rig = Rig::new(&["a"]);
    rig.turn();
    rig.lose("refused");
    let due = rig.control.poll_timeout();
    rig.now = rig.now + Duration::from_millis(10);
    rig.control.handle_disconnected(rig.now, lost("again"));
    assert_eq!(rig.control.poll_timeout(), due);
}
