//! The control machine's turn: what it asks for is carried out, or travels to a lane.

use std::sync::Arc;

use bytes::Bytes;
use milena_core::fault::ConnectionError;
use milena_core::ids::TopicIndex;
use milena_core::producer::completion::BatchEnd;
use milena_core::producer::control::{ControlEvent, NewPartition};
use milena_core::producer::ended::Ended;
use milena_core::producer::front::PartitionFront;
use milena_core::producer::lane::Lane;
use milena_core::producer::outcome::NotWritten;

use super::{Client, FrontSeat, LaneSeat, conclude};
use crate::network::{Network, Outgoing, Owner};
use crate::request::asked;
use crate::stage::{Event, Mail, Stage};

impl Client {
    /// Time before the socket: what is due now may be sent now. And what was given up is closed before anything is written.
    pub(super) fn advance_control(&mut self, stage: &mut Stage, net: &mut Network) -> bool {
        self.control.handle_timeout(stage.now);
        let mut moved = self.obey_control_events(stage, net);
        while let Some(link) = self.control_link.filter(|link| net.can_write(*link)) {
            let Some(frame) = self.control.poll_transmit(stage.now) else { break };
            let bytes = Bytes::from(frame);
            let node = net.node_of(link).expect("an open connection leads somewhere");
            let asked = asked(stage, &bytes, link, node);
            stage.note(format_args!("control asks {} on {link:?}", asked.key));
            let outgoing = Outgoing { bytes, transmit: None, asked };
            let written = net.write(stage, link, outgoing, &self.memory);
            self.control.handle_written(written);
            moved = true;
        }
        moved | self.obey_control_events(stage, net)
    }

    fn obey_control_events(&mut self, stage: &mut Stage, net: &mut Network) -> bool {
        let mut moved = false;
        while let Some(event) = self.control.poll_event() {
            self.obey_control(stage, net, event);
            moved = true;
        }
        moved
    }

    fn obey_control(&mut self, stage: &mut Stage, net: &mut Network, event: ControlEvent) {
        match event {
            ControlEvent::Dial(address) => self.control_link = Some(net.dial(stage, Owner::Control, &address)),
            ControlEvent::HangUp => self.hang_up(stage, net, Owner::Control),
            ControlEvent::Reached => {}
            ControlEvent::TopicMissing(topic, code) => stage.note(format_args!("{topic} is missing: {code}")),
            // Nobody has a turn before the last ones are there.
            ControlEvent::PartitionsAppeared { topic, partitions, .. } => {
                self.add_partitions(stage, topic, &partitions);
            }
            ControlEvent::TopicShrunk { topic, count } => {
                let topic = &mut self.topics[topic.0 as usize];
                topic.partitions.truncate(count);
                topic.sticky = 0;
            }
            ControlEvent::PartitionGone(id) => {
                let front = &mut self.fronts.get_mut(&id).expect("it appeared before").front;
                front.close();
                let waiting: Vec<_> = front.drain().collect();
                for batch in waiting {
                    let end = BatchEnd::NotWritten(NotWritten::PartitionGone);
                    conclude(stage, &self.memory, Ended::Sealed(batch, end));
                }
            }
            ControlEvent::LaneNeeded(id, address) => {
                let address = Some(address);
                if let Some(seat) = self.lanes.get_mut(&id) {
                    (seat.address, seat.is_ending) = (address, false);
                    return seat.lane.redial(stage.now);
                }
                let scenario = &stage.scenario;
                let seed = scenario.seed ^ id.node.0 as u64 ^ (u64::from(id.is_slow) << 32);
                let lane = Lane::new(id, scenario.lane(), seed);
                self.lanes.insert(id, LaneSeat { lane, address, link: None, is_ending: false });
            }
            ControlEvent::LaneLost(id) => {
                let seat = self.lanes.get_mut(&id).expect("a lane is needed before it is lost");
                seat.address = None;
                seat.lane.handle_disconnected(stage.now, ConnectionError::BrokerUnknown);
            }
            ControlEvent::LaneEnded(id) => {
                self.lanes.get_mut(&id).expect("a lane is needed before it ends").is_ending = true;
            }
            ControlEvent::Ended(_, ended) => conclude(stage, &self.memory, ended),
            ControlEvent::Order(id, order) => {
                let arrival = (stage.now + stage.mail_delay()).max(self.mail_from_control);
                self.mail_from_control = arrival;
                stage.at(arrival, Event::Mail(Mail::ToLane(id, Box::new(order))));
            }
        }
    }

    fn add_partitions(&mut self, stage: &Stage, topic: TopicIndex, partitions: &[NewPartition]) {
        let number = topic.0 as usize;
        for partition in partitions {
            let front = PartitionFront::new(partition.index, Arc::clone(&partition.trouble), stage.scenario.front);
            self.fronts.insert(partition.id, FrontSeat { front, place: (number, partition.index.0), lane: None });
            self.topics[number].partitions.push(partition.id);
        }
    }
}
