//! The producer's machines, wired as the driver of the client wires them, with one difference: no locks and no threads.
//!
//! A turn does what the driver's tasks do when they wake: release what is due, let control and lanes do what is due,
//! carry out what they ask for, write while the kernel takes bytes. What one task tells another travels as mail and
//! takes time; so does a notice from a caller to a lane, but never longer than the lane may wait by itself.
//!
//! Left out: partitioning and appending (`client/callers.rs`).

mod callers;
mod closing;
mod control;
mod lanes;

use std::collections::BTreeMap;

use milena_core::fault::ConnectionError;
use milena_core::ids::{LaneId, PartitionId, TopicIndex};
use milena_core::metadata::Address;
use milena_core::producer::back::Ended;
use milena_core::producer::batch::SealReason;
use milena_core::producer::completion::BatchEnd;
use milena_core::producer::control::Control;
use milena_core::producer::expiry::Expiry;
use milena_core::producer::front::PartitionFront;
use milena_core::producer::lane::{Lane, LaneOrder};
use milena_core::producer::outcome::NotWritten;
use milena_core::time::Moment;
use milena_wire::records::Packer;

use crate::coverage::Taken;
use crate::dice::Dice;
use crate::faults::StrikeId;
use crate::history::{AttemptId, Place};
use crate::memory::Memory;
use crate::network::{Heard, LinkId, Network, Owner};
use crate::stage::{Event, Mail, Stage};
use closing::{conclude, report};

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
    packer: Packer,
    /// When the newest mail arrives: from control, and to it. Mail never overtakes mail.
    mail_from_control: Moment,
    mail_to_control: Moment,
    /// Numbers the timers; only the newest counts.
    wake: u64,
    dice: Dice,
    /// Since when the buffer has no room.
    full_since: Option<StrikeId>,
    is_closed: bool,
}

#[derive(Debug)]
struct LaneSeat {
    lane: Lane,
    /// Absent while nobody knows where its broker is.
    address: Option<Address>,
    link: Option<LinkId>,
    /// It hangs up once nothing is unanswered.
    is_ending: bool,
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
            packer: Packer::new(),
            mail_from_control: Moment::START,
            mail_to_control: Moment::START,
            wake: 0,
            dice: Dice::new(scenario.seed, 5),
            full_since: None,
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
            (Owner::Control, Heard::Read(bytes, _)) => {
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
            (Owner::Lane(id), Heard::Read(bytes, told)) => {
                stage.note(format_args!("{owner} reads the answers to {told:?}"));
                let lane = self.lane(id);
                if let Some(buffer) = lane.read_buffer() {
                    buffer.extend_from_slice(&bytes);
                    lane.handle_read(now);
                }
                self.take_covered(stage, id, told);
            }
        }
    }

    /// Which rows the answers took that have just come. Answers of one partition are taken in the order in which they came.
    fn take_covered(&mut self, stage: &mut Stage, id: LaneId, mut told: Vec<AttemptId>) {
        for covered in self.lane(id).take_covered() {
            let place = self.fronts[&covered.partition].place;
            let found = told.iter().position(|attempt| stage.history.attempts.get(*attempt).place == place);
            let Some(found) = found else {
                stage.history.blame(format!("{place:?} took an answer as {:?} that nobody gave", covered.row));
                continue;
            };
            let attempt = told.remove(found);
            stage.note(format_args!("attempt {}: {:?} as {:?}", attempt.0, covered.row, covered.state));
            stage.history.taken.push(Taken { attempt, row: covered.row, state: covered.state });
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
            Mail::ToControl(lane, report) => self.control.handle_report(stage.now, lane, *report),
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
}
