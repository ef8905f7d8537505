//! Connections between the client's sockets and the broker: two streams of bytes that arrive in order, in pieces, late,
//! or not at all.
//!
//! Always holds: bytes that the kernel took arrive in order, unless the connection was cut; the broker reads on what has
//! arrived after the client gave up. A request is complete for the broker only if the kernel took its last byte.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use milena_broker::ConnectionId;
use milena_core::ids::LaneId;
use milena_core::producer::produce_request::Transmit;
use milena_core::time::Moment;
use milena_wire::ErrorCode;
use milena_wire::frame::{FRAME_BYTES_MAX, FrameSplitter};

use crate::faults::FaultKind;
use crate::history::{AttemptId, AttemptState};
use crate::memory::Memory;
use crate::stage::{Event, Stage};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Control,
    Lane(LaneId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToBroker,
    ToClient,
}

/// What the client's socket says.
#[derive(Debug)]
pub(crate) enum Heard {
    Connected,
    Written(usize),
    Read(Bytes),
    Gone(&'static str),
}

/// A frame for the kernel, with what it carries.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    /// Holds the memory of its batches until the last byte is taken.
    pub(crate) transmit: Option<Transmit>,
    pub(crate) attempts: Vec<AttemptId>,
}

/// A request on its way, or waiting at the broker.
#[derive(Debug)]
struct Asked {
    end: u64,
    attempts: Vec<AttemptId>,
}

/// What the broker says about the batches of a request.
pub(crate) type Verdicts = Vec<(AttemptId, ErrorCode, i64)>;

#[derive(Debug)]
struct Answered {
    end: u64,
    verdicts: Verdicts,
}

#[derive(Debug, Default)]
struct Pipe {
    sent: u64,
    arrived: u64,
    last_arrival: Moment,
    held_until: Moment,
    /// The cut: nothing from this byte on arrives.
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientEnd {
    Dialing,
    Open,
    Closed,
}

#[derive(Debug)]
struct Link {
    owner: Owner,
    client: ClientEnd,
    broker: Option<ConnectionId>,
    up: Pipe,
    down: Pipe,
    /// What the kernel has not taken yet, and from where on.
    outbox: Option<(Outgoing, usize)>,
    stalled_until: Moment,
    asked: VecDeque<Asked>,
    answered: VecDeque<Answered>,
    inbox: FrameSplitter,
    frames: VecDeque<Bytes>,
    is_serving: bool,
    has_ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<LinkId, Link>,
    dialed: u64,
    unreachable_until: Moment,
}

impl Network {
    pub(crate) fn dial(&mut self, stage: &mut Stage, owner: Owner) -> LinkId {
        self.dialed += 1;
        let id = LinkId(self.dialed);
        let link = Link {
            owner,
            client: ClientEnd::Dialing,
            broker: None,
            up: Pipe::default(),
            down: Pipe::default(),
            outbox: None,
            stalled_until: Moment::START,
            asked: VecDeque::new(),
            answered: VecDeque::new(),
            inbox: FrameSplitter::new(FRAME_BYTES_MAX),
            frames: VecDeque::new(),
            is_serving: false,
            has_ended: false,
        };
        self.links.insert(id, link);
        let wait = stage.latency() + stage.latency();
        stage.after(wait, Event::Dialed(id));
        stage.note(format_args!("{owner} dials {id:?}"));
        id
    }

    /// The end of a dial: `accept` is asked only if the broker can be reached.
    pub(crate) fn dialed(
        &mut self,
        stage: &mut Stage,
        id: LinkId,
        accept: impl FnOnce() -> ConnectionId,
    ) -> Option<(Owner, Heard)> {
        let link = self.links.get_mut(&id)?;
        let owner = link.owner;
        if link.client == ClientEnd::Closed || stage.now < self.unreachable_until {
            self.links.remove(&id);
            return Some((owner, Heard::Gone("connection refused")));
        }
        link.client = ClientEnd::Open;
        link.broker = Some(accept());
        Some((owner, Heard::Connected))
    }

    /// Whether the kernel takes a new frame.
    pub(crate) fn can_write(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.client == ClientEnd::Open && link.outbox.is_none())
    }

    /// Hands a frame to the kernel; gives how many bytes it took at once.
    pub(crate) fn write(&mut self, stage: &mut Stage, id: LinkId, frame: Outgoing, memory: &Memory) -> usize {
        let Some(link) = self.links.get_mut(&id) else { return 0 };
        let end =
            link.asked.back().map_or(link.up.sent, |asked| asked.end.max(link.up.sent)) + frame.bytes.len() as u64;
        link.asked.push_back(Asked { end, attempts: frame.attempts.clone() });
        let wait = 2 * (stage.scenario.latency.1 + stage.scenario.service.1);
        if stage.faults.cuts(stage.now) {
            let after = stage.faults.dice().duration(Duration::ZERO, wait);
            stage.after(after, Event::Cut(id));
        }
        if stage.faults.delays(stage.now) {
            let held = hold(stage);
            let until = stage.now + held;
            if stage.faults.dice().chance(0.3) {
                link.stalled_until = until;
            } else {
                link.up.held_until = until;
            }
            stage.faults.strike(FaultKind::Delay, stage.now, until);
            stage.note(format_args!("{id:?} request held for {held:?}"));
        }
        let bytes = frame.bytes.len();
        link.outbox = Some((frame, 0));
        // A stalled kernel still takes a part.
        let part = stage.dice.below(bytes as u64 + 1) as usize;
        let first = if stage.now < link.stalled_until { part.min(bytes - 1) } else { self.portion(stage, bytes) };
        self.take(stage, id, first, memory)
    }

    fn portion(&self, stage: &mut Stage, left: usize) -> usize {
        if stage.dice.chance(0.6) { left } else { stage.dice.between(1, left as u64) as usize }
    }

    /// The kernel takes so many bytes of the frame that is being written.
    fn take(&mut self, stage: &mut Stage, id: LinkId, bytes: usize, memory: &Memory) -> usize {
        let Some(link) = self.links.get_mut(&id) else { return 0 };
        let Some((frame, at)) = &mut link.outbox else { return 0 };
        let taken = frame.bytes.slice(*at..*at + bytes);
        *at += bytes;
        if *at == frame.bytes.len() {
            let (frame, _) = link.outbox.take().expect("a frame is being written");
            frame.end(memory);
        } else {
            let pause = stage.dice.duration(Duration::ZERO, Duration::from_micros(400));
            let again = (stage.now + pause).max(link.stalled_until);
            stage.at(again, Event::Writable(id));
        }
        let latency = stage.latency();
        link.up.send(stage, (id, Way::ToBroker), &taken, latency);
        bytes
    }

    /// The kernel has room again.
    pub(crate) fn writable(&mut self, stage: &mut Stage, id: LinkId, memory: &Memory) -> Option<(Owner, Heard)> {
        let link = self.links.get(&id)?;
        let owner = link.owner;
        let left = link.outbox.as_ref().map(|(frame, at)| frame.bytes.len() - at)?;
        let bytes = self.portion(stage, left);
        let taken = self.take(stage, id, bytes, memory);
        Some((owner, Heard::Written(taken)))
    }

    /// Bytes arrive at one end.
    pub(crate) fn arrive(&mut self, stage: &mut Stage, id: LinkId, way: Way, bytes: &Bytes) -> Option<(Owner, Heard)> {
        let link = self.links.get_mut(&id)?;
        match way {
            Way::ToBroker => {
                let bytes = link.up.receive(bytes);
                link.inbox.push(&bytes);
                while let Some(frame) = link.inbox.next_frame().ok().flatten() {
                    link.frames.push_back(frame);
                }
                self.serve_next(stage, id);
                None
            }
            Way::ToClient => {
                let bytes = link.down.receive(bytes);
                if link.client != ClientEnd::Open || bytes.is_empty() {
                    return None;
                }
                link.tell_answered(stage);
                Some((link.owner, Heard::Read(bytes)))
            }
        }
    }

    fn serve_next(&mut self, stage: &mut Stage, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.is_serving && !link.frames.is_empty() {
            link.is_serving = true;
            let work = stage.service();
            stage.after(work, Event::Serve(id));
        }
    }

    /// The oldest request of a connection, with its batches.
    pub(crate) fn next_request(&mut self, id: LinkId) -> Option<(ConnectionId, Bytes, Vec<AttemptId>)> {
        let link = self.links.get_mut(&id)?;
        let frame = link.frames.pop_front()?;
        let asked = link.asked.pop_front().expect("every frame was asked");
        Some((link.broker?, frame, asked.attempts))
    }

    /// The broker's answer to the request that was served. Without one the broker has closed.
    pub(crate) fn respond(&mut self, stage: &mut Stage, id: LinkId, answer: Option<&Bytes>, verdicts: Verdicts) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.is_serving = false;
        if let Some(frame) = answer {
            if link.down.limit.is_none() && stage.faults.loses_answer(stage.now) {
                self.lose_answers(stage, id);
            } else if stage.faults.delays(stage.now) {
                let held = hold(stage);
                link.down.held_until = stage.now + held;
                stage.faults.strike(FaultKind::Delay, stage.now, stage.now + held);
                stage.note(format_args!("{id:?} answer held for {held:?}"));
            }
            let Some(link) = self.links.get_mut(&id) else { return };
            let end = link.down.sent + frame.len() as u64;
            link.answered.push_back(Answered { end, verdicts });
            let latency = stage.latency();
            link.down.send(stage, (id, Way::ToClient), frame, latency);
        } else {
            stage.at(stage.now, Event::End(id, Way::ToClient));
        }
        self.serve_next(stage, id);
    }

    /// Nothing more comes back on this connection; the client learns it soon, or by its own timeout.
    fn lose_answers(&mut self, stage: &mut Stage, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.down.limit = Some(link.down.sent);
        let is_silent = stage.faults.dice().chance(0.3);
        let told = if is_silent { stage.scenario.request_timeout } else { told_after(stage) };
        if !is_silent {
            let when = link.down.last_arrival.max(stage.now + told);
            stage.at(when, Event::End(id, Way::ToClient));
        }
        stage.faults.strike(FaultKind::AnswerLost, stage.now, stage.now + told);
        stage.note(format_args!("{id:?} answer lost"));
    }

    /// The connection is cut: of what is on its way, a part arrives.
    pub(crate) fn cut(&mut self, stage: &mut Stage, id: LinkId) {
        if self.links.get(&id).is_none_or(|link| link.client != ClientEnd::Open) {
            return;
        }
        if stage.faults.cut_is_outage() {
            let longest = stage.scenario.delivery_timeout.mul_f64(1.5);
            let length = stage.faults.dice().spread(Duration::from_millis(10), longest);
            self.unreachable_until = stage.now + length;
            let all: Vec<LinkId> = self.links.keys().copied().collect();
            for id in all {
                self.cut_one(stage, id);
            }
            stage.faults.strike(FaultKind::Cut, stage.now, self.unreachable_until);
            stage.note(format_args!("broker out of reach for {length:?}"));
            return;
        }
        let told = self.cut_one(stage, id);
        stage.faults.strike(FaultKind::Cut, stage.now, stage.now + told);
    }

    fn cut_one(&mut self, stage: &mut Stage, id: LinkId) -> Duration {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.client == ClientEnd::Open) else {
            return Duration::ZERO;
        };
        link.up.cut(stage);
        link.down.cut(stage);
        let told = told_after(stage);
        stage.at(link.up.last_arrival, Event::End(id, Way::ToBroker));
        stage.after(told, Event::End(id, Way::ToClient));
        stage.note(format_args!("{id:?} cut"));
        told
    }

    /// One side learns that the connection is gone.
    pub(crate) fn end(&mut self, id: LinkId, way: Way) -> Option<(Owner, Heard)> {
        let link = self.links.get_mut(&id)?;
        match way {
            Way::ToBroker => link.has_ended = true,
            Way::ToClient if link.client == ClientEnd::Open => return Some((link.owner, Heard::Gone("reset by peer"))),
            Way::ToClient => {}
        }
        None
    }

    /// The client's socket is closed: what the kernel took still goes out.
    pub(crate) fn hang_up(&mut self, stage: &mut Stage, id: LinkId, memory: &Memory) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.client == ClientEnd::Open {
            stage.at(link.up.last_arrival, Event::End(id, Way::ToBroker));
        }
        link.client = ClientEnd::Closed;
        if let Some((frame, _)) = link.outbox.take() {
            frame.end(memory);
        }
        for asked in &link.asked {
            let state = (asked.end > link.up.sent).then_some(AttemptState::CutShort);
            asked.attempts.iter().for_each(|attempt| stage.history.off_wire(*attempt, state));
        }
        for (attempt, ..) in link.answered.iter().flat_map(|answered| &answered.verdicts) {
            stage.history.off_wire(*attempt, None);
        }
    }

    /// The broker's side of a connection that ended and has nothing left to serve, once.
    pub(crate) fn finished(&mut self, id: LinkId) -> Option<ConnectionId> {
        let link = self.links.get(&id)?;
        if !link.has_ended || link.is_serving || !link.frames.is_empty() {
            return None;
        }
        let connection = link.broker;
        if link.client == ClientEnd::Closed {
            self.links.remove(&id);
        } else if let Some(link) = self.links.get_mut(&id) {
            link.broker = None;
        }
        connection
    }
}

impl Outgoing {
    fn end(self, memory: &Memory) {
        if let Some(transmit) = self.transmit {
            transmit.give_back(memory);
        }
    }
}

impl Pipe {
    /// Bytes travel in up to five pieces, each with a delay of its own but never before the one ahead of it.
    fn send(&mut self, stage: &mut Stage, (id, way): (LinkId, Way), bytes: &Bytes, latency: Duration) {
        self.sent += bytes.len() as u64;
        let mut rest = bytes.clone();
        let mut arrival = (stage.now + latency).max(self.last_arrival).max(self.held_until);
        let pieces = stage.dice.below(5);
        for _ in 0..pieces {
            if rest.len() < 2 {
                break;
            }
            let piece = rest.split_to(stage.dice.between(1, rest.len() as u64 - 1) as usize);
            stage.at(arrival, Event::Arrive(id, way, piece));
            arrival = arrival + stage.dice.duration(Duration::ZERO, Duration::from_micros(300));
        }
        if !rest.is_empty() {
            stage.at(arrival, Event::Arrive(id, way, rest));
        }
        self.last_arrival = arrival;
    }

    /// What of these bytes arrives.
    fn receive(&mut self, bytes: &Bytes) -> Bytes {
        let limit = self.limit.unwrap_or(u64::MAX).saturating_sub(self.arrived);
        self.arrived += bytes.len() as u64;
        bytes.slice(..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    fn cut(&mut self, stage: &mut Stage) {
        let limit = stage.faults.dice().between(self.arrived, self.sent.max(self.arrived));
        self.limit = Some(self.limit.map_or(limit, |earlier| earlier.min(limit)));
    }
}

impl Link {
    fn tell_answered(&mut self, stage: &mut Stage) {
        let arrived = self.down.limit.map_or(self.down.arrived, |limit| limit.min(self.down.arrived));
        while self.answered.front().is_some_and(|answer| answer.end <= arrived) {
            let answer = self.answered.pop_front().expect("the answer was just seen");
            for (attempt, code, base_offset) in answer.verdicts {
                let at = stage.now;
                stage.history.off_wire(attempt, Some(AttemptState::Told { code, base_offset, at }));
            }
        }
    }
}

/// Between a twentieth and three times the client's patience.
fn hold(stage: &mut Stage) -> Duration {
    let patience = stage.scenario.request_timeout;
    stage.faults.dice().spread(patience / 20, patience * 3)
}

fn told_after(stage: &mut Stage) -> Duration {
    stage.faults.dice().duration(Duration::ZERO, Duration::from_millis(50))
}
