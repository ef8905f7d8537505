//! Random events.

use super::*;
use rig::fast;

/// Whatever order things come in, the machine comes to rest, no partition is in two places, and every lane that is told
/// something is there.
#[test]
fn random_events_leave_it_quiet_and_every_partition_in_one_place() {
    for seed in 0..300 {
        let mut chance = Chance::new(seed);
        let mut rig = Rig::new(&["a", "b"]);
        rig.control.want_topic("t");
        let mut below = |limit: u64| chance.bits() % limit;
        for _ in 0..300 {
            let partitions = rig.control.partitions.len() as u64;
            let some = PartitionId(below(partitions.max(1)) as u32);
            let lane = LaneId { node: NodeId(below(4) as i32), is_slow: below(2) == 0 };
            match below(17) {
                0 => rig.wait(Duration::from_millis(below(700))),
                1 if below(4) == 0 => rig.lose("cut"),
                2 if partitions > 0 => rig.report(lane, LaneReport::NeedsMetadata((below(2) == 0).then_some(some))),
                3 | 4 if !rig.moved.is_empty() => {
                    let place = below(rig.moved.len() as u64) as usize;
                    let id = rig.moved[place].1.id();
                    rig.release(id.0);
                }
                5 if partitions > 0 => rig.need_identity(some.0, (below(2) == 0).then_some(below(3) as i64)),
                6 if partitions > 0 && below(4) == 0 => {
                    rig.report(lane, LaneReport::ProducerIdUsedElsewhere(ProducerId(below(5) as i64)));
                }
                7 if partitions > 0 => rig.report(lane, LaneReport::Slow(some)),
                8 if partitions > 0 => rig.report(lane, LaneReport::Prompt(some)),
                9 if partitions > 0 => {
                    let address = (below(2) == 0).then(|| rig::address("hinted"));
                    let (leader, epoch) = (NodeId(below(6) as i32), LeaderEpoch(below(8) as i32));
                    rig.report(
                        lane,
                        LaneReport::LeaderHint(some, LeaderHint { topic_id: Uuid::ZERO, leader, epoch, address }),
                    );
                }
                10..13 if matches!(rig.control.link, Link::Dialing { .. }) => rig.connect(),
                _ => match rig.asked.pop_front() {
                    Some(asked) if asked.key == ApiKey::METADATA => rig.receive(&asked.answer(&random(&mut below))),
                    Some(asked) if asked.key == ApiKey::INIT_PRODUCER_ID => {
                        let (error_code, producer_id) = (below(2) as i16 * 14, below(5) as i64);
                        let response = InitProducerIdResponse {
                            error_code,
                            producer_id,
                            producer_epoch: 0,
                            ..InitProducerIdResponse::default()
                        };
                        rig.receive(&asked.answer(&response));
                    }
                    _ => {}
                },
            }
            rig.turn();
            check(&rig);
        }
    }
}

fn random(below: &mut impl FnMut(u64) -> u64) -> MetadataResponse {
    let leaders: Vec<_> = (0..below(5)).map(|_| (below(5) as i32 - 1, below(8) as i32 - 1)).collect();
    let mut response = metadata_at(below(3) as u8, &leaders);
    if below(10) == 0 {
        response.cluster_id = Some("other".into());
    }
    if below(20) == 0 {
        response.error_code = 129;
    }
    if below(10) == 0 {
        response.topics[0].error_code = [3, 5][below(2) as usize];
    }
    response.brokers.truncate(below(8) as usize);
    response
}

fn check(rig: &Rig) {
    for (number, partition) in rig.control.partitions.iter().enumerate() {
        let id = PartitionId(number as u32);
        let led: Vec<LaneId> = rig.moved.iter().filter(|(_, back)| back.id() == id).map(|(lane, _)| *lane).collect();
        match &partition.place {
            Place::Here(_) => assert!(led.is_empty(), "{id} is in two places"),
            Place::Lane { lane, .. } => assert_eq!(led, [*lane], "{id}"),
        }
    }
    for (id, lane) in &rig.control.lanes {
        let led = rig.moved.iter().filter(|(lane, _)| lane == id).count();
        assert_eq!(lane.partitions, led, "{id}");
    }
    assert!(rig.moved.iter().all(|(lane, _)| rig.control.lanes.contains_key(lane)), "a lane ended too early");
    assert!(rig.control.queue.is_empty() && !rig.control.lanes.contains_key(&fast(-1)));
}
