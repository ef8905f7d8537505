//! The producer's machines, wired as the driver of the client wires them, with one difference: no locks and no threads.
//!
//! A turn does what the driver's tasks do when they wake: release what is due, let control and lanes do what is due,
//! carry out what they ask for, write while the kernel takes bytes. What one task tells another travels as mail and
//! takes time; so does a notice from a caller to a lane, but never longer than the lane may wait by itself.
//!
//! Left out: partitioning and appending (`client/callers.rs`).

mod callers;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use milena_core::fault::ConnectionError;
use milena_core::ids::{LaneId, PartitionId, TopicIndex};
use milena_core::producer::back::Ended;
use milena_core::producer::batch::SealReason;
use milena_core::producer::completion::{BatchCompletion, BatchEnd, Posted};
use milena_core::producer::control::{Control, ControlEvent, NewPartition};
use milena_core::producer::expiry::Expiry;
use milena_core::producer::front::PartitionFront;
use milena_core::producer::lane::{Lane, LaneEvent, LaneOrder, LaneReport};
use milena_core::producer::outcome::{NotWritten, Undetermined};
use milena_core::producer::produce_request::Transmit;
use milena_core::time::Moment;

use crate::dice::Dice;
use crate::history::{History, Place};
use crate::memory::Memory;
use crate::network::{Heard, LinkId, Network, Outgoing, Owner};
use crate::request::attempts_of;
use crate::stage::{Event, Mail, Stage};

pub(crate) use callers::Offered;

#[derive(Debug)]
pub(crate) struct Client {
    control: Control,
    control_link: Option<LinkId>,
    lanes: BTreeMap<LaneId, LaneSeat>,
    fronts: BTreeMap<PartitionId, FrontSeat>,
    topics: Vec<TopicSeat>,
    expiry: Expiry<PartitionId>,
    memory: Memory,
    /// When the newest mail arrives: from control, and to it. Mail never overtakes mail.
    mail_from_control: Moment,
    mail_to_control: Moment,
    /// Numbers the timers; only the newest counts.
    wake: u64,
    dice: Dice,
    is_closed: bool,
}

#[derive(Debug)]
struct LaneSeat {
    lane: Lane,
    link: Option<LinkId>,
}

#[derive(Debug)]
struct FrontSeat {
    front: PartitionFront,
    place: Place,
    /// Who leads it.
    lane: Option<LaneId>,
}

#[derive(Debug, Default)]
struct TopicSeat {
    partitions: Vec<PartitionId>,
    /// Where records without a key go until a batch is full.
    sticky: usize,
}

/// A turn that is not through after so many rounds never will be.
const ROUNDS_MAX: usize = 10_000;

impl Client {
    pub(crate) fn new(stage: &Stage) -> Self {
        let scenario = &stage.scenario;
        let mut control = Control::new(scenario.control(), scenario.seed);
        for (number, topic) in scenario.topics.iter().enumerate() {
            assert_eq!(control.want_topic(&topic.name), TopicIndex(number as u32), "topics are numbered in order");
        }
        Self {
            control,
            control_link: None,
            lanes: BTreeMap::new(),
            fronts: BTreeMap::new(),
            topics: scenario.topics.iter().map(|_| TopicSeat::default()).collect(),
            expiry: Expiry::new(),
            memory: Memory::new(scenario.buffer_memory),
            mail_from_control: Moment::START,
            mail_to_control: Moment::START,
            wake: 0,
            dice: Dice::new(scenario.seed, 5),
            is_closed: false,
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The socket of this owner says something. Words of an older socket of the same owner are not heard.
    pub(crate) fn hear(&mut self, stage: &mut Stage, net: &mut Network, link: LinkId, owner: Owner, heard: Heard) {
        let now = stage.now;
        if self.link_of(owner) != Some(link) {
            return;
        }
        match (owner, heard) {
            (Owner::Control, Heard::Connected) => self.control.handle_connected(now),
            (Owner::Control, Heard::Written(bytes)) => self.control.handle_written(bytes),
            (Owner::Control, Heard::Read(bytes)) => {
                if let Some(buffer) = self.control.read_buffer() {
                    buffer.extend_from_slice(&bytes);
                    self.control.handle_read(now);
                }
            }
            (Owner::Control, Heard::Gone(why)) => {
                self.hang_up(stage, net, owner);
                self.control.handle_disconnected(now, ConnectionError::Lost { why: why.into() });
            }
            (Owner::Lane(id), Heard::Gone(why)) => {
                stage.note(format_args!("{owner} hears: {why}"));
                self.hang_up(stage, net, owner);
                self.lane(id).handle_disconnected(now, ConnectionError::Lost { why: why.into() });
            }
            (Owner::Lane(id), Heard::Connected) => self.lane(id).handle_connected(now),
            (Owner::Lane(id), Heard::Written(bytes)) => self.lane(id).handle_written(bytes),
            (Owner::Lane(id), Heard::Read(bytes)) => {
                let lane = self.lane(id);
                if let Some(buffer) = lane.read_buffer() {
                    buffer.extend_from_slice(&bytes);
                    lane.handle_read(now);
                }
            }
        }
    }

    fn link_of(&self, owner: Owner) -> Option<LinkId> {
        match owner {
            Owner::Control => self.control_link,
            Owner::Lane(id) => self.lanes.get(&id)?.link,
        }
    }

    fn lane(&mut self, id: LaneId) -> &mut Lane {
        &mut self.lanes.get_mut(&id).expect("a lane is opened before anything is told to it").lane
    }

    fn hang_up(&mut self, stage: &mut Stage, net: &mut Network, owner: Owner) {
        let link = match owner {
            Owner::Control => self.control_link.take(),
            Owner::Lane(id) => self.lanes.get_mut(&id).and_then(|seat| seat.link.take()),
        };
        if let Some(link) = link {
            net.hang_up(stage, link, &self.memory);
        }
    }

    pub(crate) fn receive(&mut self, stage: &mut Stage, mail: Mail) {
        match mail {
            Mail::ToControl(report) => self.control.handle_report(stage.now, *report),
            Mail::ToLane(id, order) => {
                let adopted = if let LaneOrder::Adopt(back) = &*order { Some(back.id()) } else { None };
                self.lane(id).obey(stage.now, *order);
                if let Some(partition) = adopted {
                    let seat = self.fronts.get_mut(&partition).expect("partitions have fronts before they move");
                    seat.lane = Some(id);
                    self.collect(stage, partition);
                }
            }
        }
    }

    /// A lane looks at a front, if one leads it; otherwise it will when it takes the partition over.
    pub(crate) fn collect(&mut self, stage: &mut Stage, partition: PartitionId) {
        let seat = self.fronts.get_mut(&partition).expect("whoever names a partition has seen its front");
        let lane = seat.lane.and_then(|lane| self.lanes.get_mut(&lane));
        if let Some(held) = lane {
            held.lane.collect(partition, &mut seat.front, stage.now);
        }
    }

    /// Everything that can be done now; then the next timer is set.
    pub(crate) fn turn(&mut self, stage: &mut Stage, net: &mut Network) {
        if !self.is_closed {
            let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
            let mut rounds = 0;
            loop {
                let mut moved = self.release(stage);
                moved |= self.advance_control(stage, net);
                for id in self.lanes.keys().copied().collect::<Vec<_>>() {
                    moved |= self.advance_lane(stage, net, id);
                }
                rounds += 1;
                if !moved || rounds == ROUNDS_MAX {
                    break;
                }
            }
            if rounds == ROUNDS_MAX {
                stage.history.give_up(format!("the client never comes to rest at {} (lanes {lanes:?})", stage.now));
            }
            self.set_timer(stage, net);
        }
        stage.history.answer_bells(stage.now);
    }

    pub(crate) fn is_newest_wake(&self, wake: u64) -> bool {
        self.wake == wake
    }

    fn set_timer(&mut self, stage: &mut Stage, net: &Network) {
        // A request that control has ready waits while the kernel takes no bytes.
        let can_ask = self.control_link.is_none_or(|link| net.can_write(link));
        let control = self.control.poll_timeout().filter(|due| can_ask || *due > stage.now);
        let lanes = self.lanes.values().filter_map(|seat| seat.lane.poll_timeout()).min();
        let next = [control, lanes, self.expiry.poll_timeout()].into_iter().flatten().min();
        self.wake += 1;
        let Some(next) = next.filter(|next| *next < Moment::NEVER) else { return };
        if next <= stage.now {
            stage.history.give_up(format!("a timer that is due at {next} stays due after the turn at {}", stage.now));
        }
        stage.at(next, Event::Wake(self.wake));
    }

    fn release(&mut self, stage: &mut Stage) -> bool {
        if self.expiry.poll_timeout().is_none_or(|due| due > stage.now) {
            return false;
        }
        let mut sealed = Vec::new();
        for mut gone in self.expiry.expire(stage.now) {
            if gone.needs_seal {
                let seat = self.fronts.get_mut(&gone.place).expect("batches come from fronts");
                if seat.front.seal_batch(&gone.completion, SealReason::Deadline) {
                    sealed.push(gone.place);
                }
                gone.sealed();
            }
            report(&mut stage.history, &gone.completion, &gone.posted, stage.now);
            if gone.is_dead {
                let seat = self.fronts.get_mut(&gone.place).expect("batches come from fronts");
                for batch in seat.front.take_dead() {
                    let end = BatchEnd::NotWritten(NotWritten::DeadlinePassed);
                    conclude(stage, &self.memory, Ended::Sealed(batch, end));
                }
                sealed.push(gone.place);
            }
        }
        for partition in sealed {
            let delay = stage.mail_delay();
            stage.after(delay, Event::Collect(partition));
        }
        true
    }

    /// Time before the socket: what is due now may be sent now. And what was given up is closed before anything is written.
    fn advance_control(&mut self, stage: &mut Stage, net: &mut Network) -> bool {
        self.control.handle_timeout(stage.now);
        let mut moved = self.obey_control_events(stage, net);
        while let Some(link) = self.control_link.filter(|link| net.can_write(*link)) {
            let Some(frame) = self.control.poll_transmit(stage.now) else { break };
            let outgoing = Outgoing { bytes: Bytes::from(frame), transmit: None, attempts: Vec::new() };
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
            ControlEvent::Dial(_) => self.control_link = Some(net.dial(stage, Owner::Control)),
            ControlEvent::HangUp => self.hang_up(stage, net, Owner::Control),
            ControlEvent::Reached => {}
            ControlEvent::TopicMissing(topic, code) => stage.note(format_args!("{topic} is missing: {code}")),
            ControlEvent::PartitionsAppeared(topic, partitions) => self.add_partitions(stage, topic, &partitions),
            ControlEvent::LaneNeeded(id, _) => {
                let scenario = &stage.scenario;
                self.lanes.entry(id).or_insert_with(|| {
                    let seed = scenario.seed ^ id.node.0 as u64 ^ (u64::from(id.is_slow) << 32);
                    LaneSeat { lane: Lane::new(id, scenario.lane(), seed), link: None }
                });
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

    /// As for control.
    fn advance_lane(&mut self, stage: &mut Stage, net: &mut Network, id: LaneId) -> bool {
        let now = stage.now;
        self.lane(id).handle_timeout(now);
        while let Some(partition) = self.lane(id).poll_collect(now) {
            self.collect(stage, partition);
        }
        let mut moved = self.obey_lane_events(stage, net, id);
        if self.lane(id).poll_dial(now) {
            let link = net.dial(stage, Owner::Lane(id));
            self.lanes.get_mut(&id).expect("the lane dials").link = Some(link);
        }
        moved |= self.write_lane(stage, net, id);
        moved | self.obey_lane_events(stage, net, id)
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
            let outgoing = hand_over(stage, transmit);
            stage.note(format_args!(
                "lane {id} writes {} bytes, attempts {:?}",
                outgoing.bytes.len(),
                outgoing.attempts
            ));
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
            LaneEvent::Report(report) => {
                if let LaneReport::Released(back) = &report {
                    self.fronts.get_mut(&back.id()).expect("led partitions have fronts").lane = None;
                }
                let arrival = (stage.now + stage.mail_delay()).max(self.mail_to_control);
                self.mail_to_control = arrival;
                stage.at(arrival, Event::Mail(Mail::ToControl(Box::new(report))));
            }
        }
    }

    fn end_front(&mut self, stage: &mut Stage, partition: PartitionId, why: NotWritten) {
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
                Mail::ToControl(told) => {
                    if let LaneReport::Released(back) = *told {
                        self.end_back(stage, *back);
                    }
                }
            }
        }
    }

    fn end_back(&mut self, stage: &mut Stage, mut back: milena_core::producer::back::PartitionBack) {
        let mut ended = Vec::new();
        back.end_all(NotWritten::Closed, Undetermined::ClosedBeforeProof, &mut ended);
        ended.into_iter().for_each(|ended| conclude(stage, &self.memory, ended));
    }
}

fn conclude(stage: &mut Stage, memory: &Memory, ended: Ended) {
    match &ended {
        Ended::Sealed(_, end) | Ended::Stamped(_, end) => stage.note(format_args!("batch ended: {end:?}")),
        Ended::Records(..) => stage.note(format_args!("records of a batch ended")),
    }
    let concluded = ended.conclude();
    if let Some(body) = concluded.memory {
        body.give_back(memory);
    }
    report(&mut stage.history, &concluded.completion, &concluded.posted, stage.now);
}

fn report(history: &mut History, completion: &Arc<BatchCompletion>, posted: &[Posted], now: Moment) {
    for posted in posted {
        history.reported(posted.tag, completion.outcome(posted.index), now);
    }
}

/// The bytes of a request, and which records they carry, read as the broker will.
fn hand_over(stage: &mut Stage, transmit: Transmit) -> Outgoing {
    let mut bytes = BytesMut::with_capacity(transmit.len());
    transmit.slices().for_each(|slice| bytes.extend_from_slice(slice));
    let bytes = bytes.freeze();
    let attempts = attempts_of(stage, &bytes);
    Outgoing { bytes, transmit: Some(transmit), attempts }
}
