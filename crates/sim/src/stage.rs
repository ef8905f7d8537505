//! What every part of the world shares: the clock, the queue of what comes next, chance, the trace and the history.
//!
//! Events at the same time happen in the order in which they were scheduled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use milena_core::ids::{LaneId, NodeId, PartitionId};
use milena_core::metadata::Address;
use milena_core::producer::lane::{LaneOrder, LaneReport};
use milena_core::producer::packing::PackDone;
use milena_core::time::{Moment, Now};
use milena_wire::{ErrorCode, Uuid};

use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::history::{History, RecordId};
use crate::network::{LinkId, Way};
use crate::scenario::{Scenario, address_of};
use crate::steersman::Aftermath;
use crate::trace::Trace;
use crate::workload::{WALL_START, wall_at};

/// What happens at some time.
#[derive(Debug)]
pub(crate) enum Event {
    /// The application makes its next records.
    Produce,
    /// The application offers again what the buffer had no room for.
    Offer,
    Cancel(RecordId),
    /// The faults are over: those who only look do so.
    Look,
    /// The faults are over: every partition gets something to send, until all is settled.
    Trickle,
    CreateTopic(usize),
    CloseProducer,
    /// The client's earliest timer; void unless it is the newest.
    Wake(u64),
    /// A lane looks at a front that somebody put into its gate.
    Collect(PartitionId),
    /// From control to a lane, or back.
    Mail(Mail),
    /// Somebody has compressed a batch for a lane.
    Packed(LaneId, Box<PackDone>),
    Dialed(LinkId),
    Writable(LinkId),
    Arrive(LinkId, Way, Bytes),
    /// One side learns that the connection is gone.
    End(LinkId, Way),
    Cut(LinkId),
    /// The broker has worked long enough on the oldest request of a connection.
    Serve(LinkId),
    /// Time has passed for the cluster; void unless it is the earliest that it asked for.
    ClusterWake(Duration),
    /// A fault that strikes by itself does so.
    Strike(Fault),
    /// What a strike brings later.
    Aftermath(Aftermath),
}

#[derive(Debug)]
pub(crate) enum Mail {
    ToLane(LaneId, Box<LaneOrder>),
    ToControl(LaneId, Box<LaneReport>),
}

impl Event {
    /// Whether requests or answers may still move because of it.
    fn is_traffic(&self) -> bool {
        matches!(self, Self::Arrive(..) | Self::End(..) | Self::Serve(_) | Self::Writable(_) | Self::Cut(_))
    }
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    scheduled: u64,
    traffic: u64,
    /// For the network and the tasks' timing.
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    pub(crate) history: History,
    pub(crate) scenario: Scenario,
    pub(crate) trace: Trace,
    /// Topics of the scenario by the id that the broker gave them.
    pub(crate) topic_ids: BTreeMap<Uuid, usize>,
    /// Error codes that the client was told of topics in metadata.
    pub(crate) told_of_topics: BTreeSet<(usize, ErrorCode)>,
    /// Where each broker listens now.
    pub(crate) addresses: BTreeMap<NodeId, Address>,
    /// When the last aftermath comes.
    aftermath_at: Moment,
    /// By how much the wall clocks are wrong, in milliseconds: the client's, and the brokers'.
    pub(crate) client_wall: i64,
    pub(crate) broker_wall: i64,
}

impl Stage {
    pub(crate) fn new(scenario: Scenario, trace: Trace) -> Self {
        Self {
            now: Moment::START,
            queue: BTreeMap::new(),
            scheduled: 0,
            traffic: 0,
            dice: Dice::new(scenario.seed, 4),
            faults: Faults::new(scenario.rates, scenario.planted.clone(), scenario.faults_end, scenario.seed),
            history: History::default(),
            trace,
            topic_ids: BTreeMap::new(),
            addresses: scenario.nodes().into_iter().map(|node| (node, address_of(node))).collect(),
            told_of_topics: BTreeSet::new(),
            aftermath_at: Moment::START,
            client_wall: 0,
            broker_wall: 0,
            scenario,
        }
    }

    pub(crate) fn at(&mut self, when: Moment, event: Event) {
        self.traffic += u64::from(event.is_traffic());
        self.scheduled += 1;
        self.queue.insert((when.max(self.now), self.scheduled), event);
    }

    /// What a strike brings later; the faults are not over before.
    pub(crate) fn bring(&mut self, wait: Duration, aftermath: Aftermath) {
        self.aftermath_at = self.aftermath_at.max(self.now + wait);
        self.after(wait, Event::Aftermath(aftermath));
    }

    /// No fault starts or is undone after this.
    pub(crate) fn faults_over_at(&self) -> Moment {
        self.faults.end().max(self.aftermath_at)
    }

    pub(crate) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    /// Goes on to the next event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((when, _), event) = self.queue.pop_first()?;
        self.now = when;
        self.traffic -= u64::from(event.is_traffic());
        Some(event)
    }

    /// Mail that nobody will read, because its readers end.
    pub(crate) fn take_mail(&mut self) -> Vec<Mail> {
        let (mail, rest) =
            std::mem::take(&mut self.queue).into_iter().partition(|(_, event)| matches!(event, Event::Mail(_)));
        self.queue = rest;
        let mail: BTreeMap<(Moment, u64), Event> = mail;
        mail.into_values().filter_map(|event| if let Event::Mail(mail) = event { Some(mail) } else { None }).collect()
    }

    /// Whether nothing is on its way between client and broker.
    pub(crate) fn is_silent(&self) -> bool {
        self.traffic == 0
    }

    pub(crate) fn clock(&self) -> Now {
        Now { moment: self.now, wall_millis: self.wall() }
    }

    /// What the client's wall clock shows.
    pub(crate) fn wall(&self) -> i64 {
        wall_at(self.now) + self.client_wall
    }

    /// Whether some broker does not listen where the cluster believes.
    pub(crate) fn has_moved_brokers(&self) -> bool {
        self.addresses.iter().any(|(node, address)| *address != address_of(*node))
    }

    pub(crate) fn broker_clock(&self) -> milena_broker::Moment {
        let elapsed = Duration::from_micros(self.now.as_micros());
        let wall = Duration::from_millis((WALL_START + self.broker_wall) as u64) + elapsed;
        milena_broker::Moment { elapsed, wall }
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    pub(crate) fn latency(&mut self) -> Duration {
        let (least, most) = self.scenario.latency;
        self.dice.duration(least, most)
    }

    pub(crate) fn service(&mut self) -> Duration {
        let (least, most) = self.scenario.service;
        self.dice.duration(least, most)
    }

    /// How long a message between two tasks of the client takes.
    pub(crate) fn mail_delay(&mut self) -> Duration {
        let most = self.scenario.mail_max;
        if self.dice.chance(0.5) { Duration::ZERO } else { self.dice.duration(Duration::ZERO, most) }
    }
}
