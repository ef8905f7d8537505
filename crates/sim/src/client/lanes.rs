//! A lane's turn: what it asks for is carried out, or travels to control.

use std::time::Duration;

use bytes::BytesMut;
use milena_core::fault::ConnectionError;
use milena_core::ids::{LaneId, NodeId};
use milena_core::producer::lane::{LaneEvent, LaneReport};
use milena_core::producer::packing::PackDone;
use milena_core::producer::produce_request::Transmit;

use super::{Client, conclude};
use crate::network::{LinkId, Network, Outgoing, Owner};
use crate::request::asked;
use crate::stage::{Event, Mail, Stage};

impl Client {
    /// As for control.
    pub(super) fn advance_lane(&mut self, stage: &mut Stage, net: &mut Network, id: LaneId) -> bool {
        let now = stage.now;
        self.lane(id).handle_timeout(now);
        while let Some(partition) = self.lane(id).poll_collect(now) {
            self.collect(stage, partition);
        }
        let mut moved = self.obey_lane_events(stage, net, id);
        let seat = self.lanes.get_mut(&id).expect("the lane is having its turn");
        if seat.is_ending && !seat.lane.has_unanswered() {
            seat.lane.handle_disconnected(now, ConnectionError::BrokerUnknown);
        }
        if seat.lane.poll_dial(now) {
            match &seat.address {
                Some(address) => seat.link = Some(net.dial(stage, Owner::Lane(id), address)),
                None => seat.lane.handle_disconnected(now, ConnectionError::BrokerUnknown),
            }
        }
        moved |= self.write_lane(stage, net, id);
        moved |= self.obey_lane_events(stage, net, id);
        // Last, because claims find work too.
        self.pack_for_lane(stage, id);
        moved
    }

    /// Work on bytes takes its time, and a later piece may be done before an earlier one.
    fn pack_for_lane(&mut self, stage: &mut Stage, id: LaneId) {
        while let Some(job) = self.lanes.get_mut(&id).and_then(|seat| seat.lane.poll_pack()) {
            let done = job.run(&mut self.packer);
            let delay = self.dice.duration(Duration::ZERO, stage.scenario.pack_max);
            stage.after(delay, Event::Packed(id, Box::new(done)));
        }
    }

    /// What came of it. A lane that is gone wants it no more.
    pub(crate) fn take_packed(&mut self, id: LaneId, done: PackDone) {
        match self.lanes.get_mut(&id) {
            Some(seat) => seat.lane.handle_packed(done, &self.memory),
            None => done.give_back(&self.memory),
        }
    }

    fn obey_lane_events(&mut self, stage: &mut Stage, net: &mut Network, id: LaneId) -> bool {
        let mut moved = false;
        while let Some(event) = self.lane(id).poll_event() {
            self.obey_lane(stage, net, id, event);
            moved = true;
        }
        moved
    }

    fn write_lane(&mut self, stage: &mut Stage, net: &mut Network, id: LaneId) -> bool {
        let mut moved = false;
        let seat = self.lanes.get_mut(&id).expect("the lane is having its turn");
        while let Some(link) = seat.link.filter(|link| net.can_write(*link)) {
            let Some(transmit) = seat.lane.poll_request(stage.now, &self.memory) else { break };
            let node = net.node_of(link).expect("an open connection leads somewhere");
            let outgoing = hand_over(stage, transmit, link, node);
            stage.note(format_args!("lane {id} writes {} bytes to {link:?}", outgoing.bytes.len()));
            for attempt in &outgoing.asked.attempts {
                let told = stage.history.attempts.get(*attempt).to_string();
                stage.note(format_args!("  attempt {}: {told}", attempt.0));
            }
            let written = net.write(stage, link, outgoing, &self.memory);
            seat.lane.handle_written(written);
            moved = true;
        }
        moved
    }

    fn obey_lane(&mut self, stage: &mut Stage, net: &mut Network, id: LaneId, event: LaneEvent) {
        match event {
            LaneEvent::Ended(_, ended) => conclude(stage, &self.memory, ended),
            LaneEvent::Disconnected(error) => {
                stage.note(format_args!("lane {id} hangs up: {error}"));
                self.hang_up(stage, net, Owner::Lane(id));
            }
            LaneEvent::FenceWanted(_) => unreachable!("no record serves as a fence here"),
            LaneEvent::Report(report) => {
                if let LaneReport::Released(back) = &report {
                    self.fronts.get_mut(&back.id()).expect("led partitions have fronts").lane = None;
                }
                let arrival = (stage.now + stage.mail_delay()).max(self.mail_to_control);
                self.mail_to_control = arrival;
                stage.at(arrival, Event::Mail(Mail::ToControl(id, Box::new(report))));
            }
        }
    }
}

/// The bytes of a request, and which records they carry, read as the broker will.
fn hand_over(stage: &mut Stage, transmit: Transmit, link: LinkId, node: NodeId) -> Outgoing {
    let mut bytes = BytesMut::with_capacity(transmit.len());
    transmit.slices().for_each(|slice| bytes.extend_from_slice(slice));
    let bytes = bytes.freeze();
    let asked = asked(stage, &bytes, link, node);
    Outgoing { bytes, transmit: Some(transmit), asked }
}
