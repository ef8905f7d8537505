//! The end of the producer, and of batches.

use std::sync::Arc;

use milena_core::fault::ConnectionError;
use milena_core::ids::PartitionId;
use milena_core::producer::back::{Ended, PartitionBack};
use milena_core::producer::completion::{BatchCompletion, BatchEnd, Posted};
use milena_core::producer::control::ControlEvent;
use milena_core::producer::lane::{LaneEvent, LaneOrder, LaneReport};
use milena_core::producer::outcome::{NotWritten, Undetermined};
use milena_core::time::Moment;

use super::Client;
use crate::history::History;
use crate::memory::Memory;
use crate::network::{Network, Owner};
use crate::stage::{Mail, Stage};

impl Client {
    pub(super) fn end_front(&mut self, stage: &mut Stage, partition: PartitionId, why: NotWritten) {
        let seat = self.fronts.get_mut(&partition).expect("whoever names a partition has seen its front");
        for batch in seat.front.drain() {
            conclude(stage, &self.memory, Ended::Sealed(batch, BatchEnd::NotWritten(why)));
        }
    }

    /// Ends everything without waiting for anything. Sockets first, so that what was not written whole is known.
    pub(crate) fn close(&mut self, stage: &mut Stage, net: &mut Network) {
        stage.note(format_args!("the producer is closed"));
        self.is_closed = true;
        let (unclaimed, doubt) = (NotWritten::Closed, Undetermined::ClosedBeforeProof);
        for seat in self.fronts.values_mut() {
            seat.front.close();
        }
        for partition in self.fronts.keys().copied().collect::<Vec<_>>() {
            self.end_front(stage, partition, unclaimed);
        }
        self.hang_up(stage, net, Owner::Control);
        self.control.end_all(unclaimed, doubt);
        while let Some(event) = self.control.poll_event() {
            match event {
                ControlEvent::Ended(_, ended) => conclude(stage, &self.memory, ended),
                ControlEvent::Order(_, LaneOrder::Adopt(back)) => self.end_back(stage, *back),
                _ => {}
            }
        }
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.hang_up(stage, net, Owner::Lane(id));
            self.lane(id).handle_disconnected(stage.now, ConnectionError::Closed);
            self.lane(id).end_all(unclaimed, doubt);
            while let Some(event) = self.lane(id).poll_event() {
                match event {
                    LaneEvent::Ended(_, ended) => conclude(stage, &self.memory, ended),
                    LaneEvent::Report(LaneReport::Released(back)) => self.end_back(stage, *back),
                    _ => {}
                }
            }
        }
        for mail in stage.take_mail() {
            match mail {
                Mail::ToLane(_, order) => {
                    if let LaneOrder::Adopt(back) = *order {
                        self.end_back(stage, *back);
                    }
                }
                Mail::ToControl(_, told) => {
                    if let LaneReport::Released(back) = *told {
                        self.end_back(stage, *back);
                    }
                }
            }
        }
    }

    fn end_back(&mut self, stage: &mut Stage, mut back: PartitionBack) {
        let mut ended = Vec::new();
        back.end_all(NotWritten::Closed, Undetermined::ClosedBeforeProof, &mut ended);
        ended.into_iter().for_each(|ended| conclude(stage, &self.memory, ended));
    }
}

pub(super) fn conclude(stage: &mut Stage, memory: &Memory, ended: Ended) {
    match &ended {
        Ended::Sealed(_, end) | Ended::Stamped(_, end) => stage.note(format_args!("batch ended: {end:?}")),
        Ended::Records(..) => stage.note(format_args!("records of a batch ended")),
        Ended::Payload(..) => stage.note(format_args!("a batch is given up")),
        Ended::Doubt(_, end) => stage.note(format_args!("a batch that was given up ended: {end:?}")),
    }
    let concluded = ended.conclude();
    if let Some(body) = concluded.memory {
        body.give_back(memory);
    }
    report(&mut stage.history, &concluded.completion, &concluded.posted, stage.now);
}

pub(super) fn report(history: &mut History, completion: &Arc<BatchCompletion>, posted: &[Posted], now: Moment) {
    for posted in posted {
        history.reported(posted.tag, completion.outcome(posted.index), now);
    }
}
