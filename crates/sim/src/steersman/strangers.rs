//! Somebody else who writes to the same partitions.

use bytes::Bytes;
use milena_broker::{NodeId, PartitionIndex};
use milena_wire::crc32c;
use milena_wire::frame::encode_request;
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::{BatchHeader, RecordLayout};

use super::Helm;
use crate::faults::{Fault, Scope};
use crate::history::{AttemptState, Place, WireStamp};
use crate::stage::Stage;
use crate::workload::FOREIGN;

impl Helm<'_> {
    /// Somebody writes under a higher epoch of the client's producer id, as a virtual machine does that was resumed from a
    /// snapshot. Never under one that the client comes to by itself: the same stamp from two writers is one batch to a broker,
    /// and no client can tell.
    pub(super) fn steal_identity(&mut self) {
        let newest = self.stage.history.attempts.all().iter().rev().find(|attempt| {
            attempt.stamp.producer_id >= 0 && matches!(attempt.state, AttemptState::Told { code, .. } if code.is_none())
        });
        let Some((place, stamp)) = newest.map(|attempt| (attempt.place, attempt.stamp)) else { return };
        let is_copy = self.stage.faults.dice().chance(0.5) && self.write_as_the_client(place, stamp);
        // What a copy wrote must not stand alone, for want of followers.
        let acks = if is_copy { ACKS_LEADER } else { ACKS_ALL };
        let stamp = WireStamp { epoch: stamp.epoch + 1000, sequence: 0, ..stamp };
        if self.write_as_stranger(place, stamp, 1, acks) {
            self.stage.faults.stolen.insert(stamp.producer_id);
            let now = self.stage.now;
            let felt = now + self.stage.scenario.recovery_max();
            self.stage.note(format_args!("somebody writes to {place:?} as {stamp:?}"));
            self.stage.faults.strikes.add(Fault::IdentityStolen, Scope::Everything, now, felt);
        }
    }

    /// First it goes on where the client stood, as a copy of the machine does: under the very stamp, and with as many records,
    /// of a batch that the client has on its way. What follows at once under the higher epoch keeps the client's own
    /// from being taken for it.
    fn write_as_the_client(&mut self, place: Place, stamp: WireStamp) -> bool {
        let all = self.stage.history.attempts.all();
        let mut on_its_way = all.iter().rev().take_while(|attempt| attempt.stamp != stamp);
        let Some((stamp, records)) = on_its_way
            .find(|attempt| {
                let is_of_epoch = (attempt.stamp.producer_id, attempt.stamp.epoch) == (stamp.producer_id, stamp.epoch);
                attempt.place == place && is_of_epoch && attempt.state == AttemptState::Sent
            })
            .map(|attempt| (attempt.stamp, attempt.records))
        else {
            return false;
        };
        self.stage.note(format_args!("somebody writes to {place:?} as {stamp:?}, {records} records"));
        self.write_as_stranger(place, stamp, records, ACKS_LEADER)
    }

    /// Hands one batch to the leader, on a connection of its own. False if there is none that works.
    fn write_as_stranger(&mut self, place: Place, stamp: WireStamp, records: u32, acks: i16) -> bool {
        let name = &self.stage.scenario.topics[place.0].name;
        let cluster = &mut self.brokers.cluster;
        let Some(leader) = cluster.leader(name, PartitionIndex(place.1)) else { return false };
        let Some(connection) = cluster.connect(NodeId(leader.0)) else { return false };
        let batch = batch(self.stage, stamp, records);
        let frame = request(name, place.1, batch, acks);
        cluster.handle_frame(self.stage.broker_clock(), connection, frame);
        true
    }
}

/// Without its length, in the last version that names topics by name.
fn request(name: &str, index: i32, batch: Bytes, acks: i16) -> Bytes {
    let partition = PartitionProduceData { index, records: Some(batch), ..PartitionProduceData::default() };
    let topic = TopicProduceData { name: name.into(), partition_data: vec![partition], ..TopicProduceData::default() };
    let request = ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() };
    Bytes::from(encode_request("stranger", 1, NAMED_VERSION, &request).expect("it is small")).slice(4..)
}

fn batch(stage: &Stage, stamp: WireStamp, records: u32) -> Bytes {
    let mut body = Vec::new();
    for place in 0..records as i32 {
        let layout = RecordLayout::new(0, place, Some(FOREIGN), Some(0), &[]).expect("it is small");
        layout.write(Some(b""), &mut body);
    }
    let now = stage.broker_clock().wall.as_millis() as i64;
    let header = BatchHeader {
        base_timestamp: now,
        max_timestamp: now,
        producer_id: stamp.producer_id,
        producer_epoch: stamp.epoch,
        base_sequence: stamp.sequence,
        last_offset_delta: records as i32 - 1,
        record_count: records as i32,
        ..BatchHeader::default()
    };
    Bytes::from([&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat())
}

const ACKS_ALL: i16 = -1;
/// Answered as soon as it is in the leader's log, so that what follows stands right behind it.
const ACKS_LEADER: i16 = 1;

/// Produce names topics by id from the next one on.
const NAMED_VERSION: i16 = 12;
