//! Connections between the client's sockets and the brokers: two streams of bytes that arrive in order, in pieces, late,
//! or not at all.
//!
//! Always holds: bytes that the kernel took arrive in order, unless the connection was cut; a broker reads on what has
//! arrived after the client gave up. A request is complete for the broker only if the kernel took its last byte.

mod link;
mod mishaps;
mod pipe;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use milena_broker::ConnectionId;
use milena_core::ids::{LaneId, NodeId};
use milena_core::metadata::Address;
use milena_core::producer::produce_request::Transmit;
use milena_core::time::Moment;

use crate::history::AttemptId;
use crate::memory::Memory;
use crate::request::{Asked, News, Retouched};
use crate::stage::{Event, Stage};
use link::{Answered, ClientEnd, Link};

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
    /// With the attempts that are answered by these bytes.
    Read(Bytes, Vec<AttemptId>),
    Gone(&'static str),
}

/// A frame for the kernel, with what it carries.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    /// Holds the memory of its batches until the last byte is taken.
    pub(crate) transmit: Option<Transmit>,
    pub(crate) asked: Asked,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<LinkId, Link>,
    by_connection: BTreeMap<ConnectionId, LinkId>,
    dialed: u64,
    unreachable_until: BTreeMap<NodeId, Moment>,
}

impl Network {
    pub(crate) fn dial(&mut self, stage: &mut Stage, owner: Owner, address: &Address) -> LinkId {
        let node = stage.addresses.iter().find(|(_, known)| *known == address).map(|(node, _)| *node);
        self.dialed += 1;
        let id = LinkId(self.dialed);
        self.links.insert(id, Link::new(owner, node));
        let wait = stage.latency() + stage.latency();
        stage.after(wait, Event::Dialed(id));
        stage.note(format_args!("{owner} dials {address}: {id:?}"));
        id
    }

    /// The end of a dial: `accept` is asked only if the broker can be reached.
    pub(crate) fn dialed(
        &mut self,
        stage: &mut Stage,
        id: LinkId,
        accept: impl FnOnce(NodeId) -> Option<ConnectionId>,
    ) -> Option<(Owner, Heard)> {
        let link = self.links.get_mut(&id)?;
        let owner = link.owner;
        let can_be_reached = |node: &NodeId| self.unreachable_until.get(node).is_none_or(|until| stage.now >= *until);
        let reached = link.node.filter(|_| link.client != ClientEnd::Closed).filter(can_be_reached);
        let Some(connection) = reached.and_then(accept) else {
            self.links.remove(&id);
            return Some((owner, Heard::Gone("connection refused")));
        };
        link.client = ClientEnd::Open;
        link.broker = Some(connection);
        self.by_connection.insert(connection, id);
        Some((owner, Heard::Connected))
    }

    /// Whether the kernel takes a new frame.
    pub(crate) fn can_write(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.is_open() && link.outbox.is_none())
    }

    /// Where a connection leads; the client writes only to those that were accepted.
    pub(crate) fn node_of(&self, id: LinkId) -> Option<NodeId> {
        self.links.get(&id)?.node
    }

    /// Hands a frame to the kernel; gives how many bytes it took at once.
    pub(crate) fn write(&mut self, stage: &mut Stage, id: LinkId, frame: Outgoing, memory: &Memory) -> usize {
        self.trip(stage, id);
        let Some(link) = self.links.get_mut(&id) else { return 0 };
        let bytes = frame.bytes.len();
        let end = link.asked_end() + bytes as u64;
        link.asked.push_back((end, frame.asked.clone()));
        link.outbox = Some((frame, 0));
        // A stalled kernel still takes a part.
        let part = stage.dice.below(bytes as u64 + 1) as usize;
        let first = if stage.now < link.stalled_until { part.min(bytes - 1) } else { portion(stage, bytes) };
        self.take(stage, id, first, memory)
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
        let bytes = portion(stage, left);
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
                self.work_on_next(stage, id);
                None
            }
            Way::ToClient => {
                let bytes = link.down.receive(bytes);
                if !link.is_open() || bytes.is_empty() {
                    return None;
                }
                let mut told = Vec::new();
                link.tell_answered(stage, &mut told);
                Some((link.owner, Heard::Read(bytes, told)))
            }
        }
    }

    fn work_on_next(&mut self, stage: &mut Stage, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.is_working && !link.frames.is_empty() {
            link.is_working = true;
            let work = stage.service();
            stage.after(work, Event::Serve(id));
        }
    }

    /// The broker's side of a connection, while a request of it waits there.
    pub(crate) fn peer(&self, id: LinkId) -> Option<(ConnectionId, NodeId)> {
        let link = self.links.get(&id).filter(|link| !link.frames.is_empty())?;
        Some((link.broker?, link.node?))
    }

    /// The oldest request of a connection, for the broker to serve.
    pub(crate) fn next_request(&mut self, id: LinkId) -> Option<(ConnectionId, Bytes, Asked)> {
        let link = self.links.get_mut(&id)?;
        let connection = link.broker?;
        let frame = link.frames.pop_front()?;
        let (_, asked) = link.asked.pop_front().expect("every frame was asked");
        link.serving = Some(asked.clone());
        Some((connection, frame, asked))
    }

    /// Answers to what the broker works on will be told so.
    pub(crate) fn retouch(&mut self, id: LinkId, retouched: Vec<Retouched>) {
        if let Some(serving) = self.links.get_mut(&id).and_then(|link| link.serving.as_mut()) {
            serving.retouched = retouched;
        }
    }

    /// What a connection's broker is working on.
    pub(crate) fn serving(&self, connection: ConnectionId) -> Option<(LinkId, &Asked)> {
        let id = *self.by_connection.get(&connection)?;
        Some((id, self.links.get(&id)?.serving.as_ref()?))
    }

    /// The broker's answer to the request that it served.
    pub(crate) fn respond(&mut self, stage: &mut Stage, id: LinkId, frame: &Bytes, news: News) {
        self.trip_answer(stage, id);
        let Some(link) = self.links.get_mut(&id) else { return };
        let end = link.down.sent + frame.len() as u64;
        if link.client == ClientEnd::Open {
            link.answered.push_back(Answered { end, news });
        }
        let latency = stage.latency();
        link.down.send(stage, (id, Way::ToClient), frame, latency);
        self.served(stage, id);
    }

    /// The request needs no answer, or was answered: the broker reads the next one.
    pub(crate) fn served(&mut self, stage: &mut Stage, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.is_working = false;
        link.serving = None;
        self.work_on_next(stage, id);
    }

    /// The broker has closed the connection: what it has not read is lost, and so is what is on its way.
    pub(crate) fn closed_by_broker(&mut self, stage: &mut Stage, connection: ConnectionId) {
        let Some(id) = self.by_connection.remove(&connection) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        link.broker = None;
        link.frames.clear();
        link.up.cut_here();
        link.has_ended = true;
        link.is_working = false;
        let told = link.down.last_arrival.max(stage.now + stage.latency());
        stage.at(told, Event::End(id, Way::ToClient));
        if link.client == ClientEnd::Closed {
            self.links.remove(&id);
        }
    }

    /// Every open connection to a node.
    pub(crate) fn links_to(&self, node: NodeId) -> Vec<LinkId> {
        let open = self.links.iter().filter(|(_, link)| link.is_open() && link.node == Some(node));
        open.map(|(id, _)| *id).collect()
    }

    /// One side learns that the connection is gone.
    pub(crate) fn end(&mut self, id: LinkId, way: Way) -> Option<(Owner, Heard)> {
        let link = self.links.get_mut(&id)?;
        match way {
            Way::ToBroker => link.has_ended = true,
            Way::ToClient if link.is_open() => return Some((link.owner, Heard::Gone("reset by peer"))),
            Way::ToClient => {}
        }
        None
    }

    /// The client closes its socket: what the kernel took still goes out.
    pub(crate) fn hang_up(&mut self, stage: &mut Stage, id: LinkId, memory: &Memory) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.is_open() {
            stage.at(link.up.last_arrival, Event::End(id, Way::ToBroker));
        }
        link.hang_up(stage, memory);
        if link.broker.is_none() && link.has_ended {
            self.links.remove(&id);
        }
    }

    /// The broker's side of a connection that ended and has nothing left to serve, once.
    pub(crate) fn finished(&mut self, id: LinkId) -> Option<ConnectionId> {
        let link = self.links.get_mut(&id)?;
        if !link.has_ended || link.is_working || !link.frames.is_empty() {
            return None;
        }
        let connection = link.broker.take();
        if let Some(connection) = connection {
            self.by_connection.remove(&connection);
        }
        if link.client == ClientEnd::Closed {
            self.links.remove(&id);
        }
        connection
    }
}

fn portion(stage: &mut Stage, left: usize) -> usize {
    if stage.dice.chance(0.6) { left } else { stage.dice.between(1, left as u64) as usize }
}

impl Outgoing {
    fn end(self, memory: &Memory) {
        if let Some(transmit) = self.transmit {
            transmit.give_back(memory);
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control"),
            Self::Lane(lane) => write!(f, "lane {lane}"),
        }
    }
}
