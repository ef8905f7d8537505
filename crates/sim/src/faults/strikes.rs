//! What struck, where, and how long something of it was felt.

use milena_core::ids::NodeId;
use milena_core::time::Moment;

use super::Fault;
use crate::history::{Attempt, Place};
use crate::network::LinkId;

/// What a strike touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One connection.
    Link(LinkId),
    /// One broker, with every connection to it.
    Node(NodeId),
    /// One partition.
    Place(Place),
    /// Every partition of a topic.
    Topic(usize),
    /// The client as a whole, or the cluster.
    Everything,
}

/// A fault that struck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) scope: Scope,
    pub(crate) from: Moment,
    /// Until when it lasts by itself; [`Moment::NEVER`] while that is not known.
    pub(crate) to: Moment,
    /// Another one of the same fault counts.
    is_beside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrikeId(usize);

/// In the order in which they struck.
#[derive(Debug, Default)]
pub(crate) struct Strikes {
    all: Vec<Strike>,
}

impl Strikes {
    pub(crate) fn add(&mut self, fault: Fault, scope: Scope, from: Moment, to: Moment) -> StrikeId {
        self.all.push(Strike { fault, scope, from, to, is_beside: false });
        StrikeId(self.all.len() - 1)
    }

    /// One whose end is told later by [`Self::close`].
    pub(crate) fn open(&mut self, fault: Fault, scope: Scope, from: Moment) -> StrikeId {
        self.add(fault, scope, from, Moment::NEVER)
    }

    /// What is felt of a strike elsewhere.
    pub(crate) fn open_beside(&mut self, fault: Fault, scope: Scope, from: Moment) -> StrikeId {
        let id = self.open(fault, scope, from);
        self.all[id.0].is_beside = true;
        id
    }

    pub(crate) fn get(&self, id: StrikeId) -> &Strike {
        &self.all[id.0]
    }

    pub(crate) fn close(&mut self, id: StrikeId, to: Moment) {
        self.all[id.0].to = to;
    }

    pub(crate) fn all(&self) -> &[Strike] {
        &self.all
    }

    /// Whether this fault struck at all.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.all.iter().any(|strike| strike.fault == fault)
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.all.iter().filter(|strike| strike.fault == fault && !strike.is_beside).count() as u64
    }
}

impl Strike {
    /// Whether something of it was there in this time.
    pub(crate) fn overlaps(&self, from: Moment, to: Moment) -> bool {
        self.from <= to && from <= self.to
    }

    /// Whether it may have been felt on this partition. What strikes another partition alone must not be.
    pub(crate) fn concerns(&self, place: Place) -> bool {
        match self.scope {
            Scope::Link(_) | Scope::Node(_) | Scope::Everything => true,
            Scope::Place(struck) => struck == place,
            Scope::Topic(topic) => topic == place.0,
        }
    }

    /// Whether it touched this attempt by itself, later effects not counted.
    pub(crate) fn touches(&self, attempt: &Attempt, until: Moment) -> bool {
        let is_there = match self.scope {
            Scope::Link(link) => link == attempt.link,
            Scope::Node(node) => node == attempt.node,
            Scope::Place(place) => place == attempt.place,
            Scope::Topic(topic) => topic == attempt.place.0,
            Scope::Everything => true,
        };
        is_there && self.overlaps(attempt.handed_at, until)
    }
}
