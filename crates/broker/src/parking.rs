//! Fetches that wait for data: who waits, for which topics, and until when.
//!
//! A connection waits for one fetch at most, because it is muted meanwhile. Every parked fetch is found by its connection, by each of its
//! topics, and by its deadline; leaving removes it from all three. Whether it has waited enough is decided by `api/fetch.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_wire::Uuid;
use milena_wire::messages::fetch::request::FetchRequest;

use crate::api::RequestHead;
use crate::ids::ConnectionId;

/// A fetch without an answer yet.
#[derive(Debug)]
pub(crate) struct ParkedFetch {
    pub(crate) head: RequestHead,
    pub(crate) request: FetchRequest,
    /// The topics whose growth or end may complete it.
    pub(crate) topics: Vec<Uuid>,
    /// When it is answered with whatever is there.
    pub(crate) deadline: Duration,
}

/// All fetches without an answer.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    fetches: BTreeMap<ConnectionId, ParkedFetch>,
    by_topic: BTreeSet<(Uuid, ConnectionId)>,
    by_deadline: BTreeSet<(Duration, ConnectionId)>,
}

impl Parking {
    pub(crate) fn park(&mut self, connection: ConnectionId, fetch: ParkedFetch) {
        self.by_topic.extend(fetch.topics.iter().map(|topic| (*topic, connection)));
        self.by_deadline.insert((fetch.deadline, connection));
        let earlier = self.fetches.insert(connection, fetch);
        assert!(earlier.is_none(), "a muted connection sends no second fetch");
    }

    pub(crate) fn leave(&mut self, connection: ConnectionId) -> Option<ParkedFetch> {
        let fetch = self.fetches.remove(&connection)?;
        for topic in &fetch.topics {
            self.by_topic.remove(&(*topic, connection));
        }
        self.by_deadline.remove(&(fetch.deadline, connection));
        Some(fetch)
    }

    pub(crate) fn fetch(&self, connection: ConnectionId) -> Option<&ParkedFetch> {
        self.fetches.get(&connection)
    }

    /// Who waits for a topic.
    pub(crate) fn waiting_for(&self, topic: Uuid) -> Vec<ConnectionId> {
        let from = (topic, ConnectionId(0));
        let to = (topic, ConnectionId(u64::MAX));
        self.by_topic.range(from..=to).map(|(_, connection)| *connection).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Whose time is over.
    pub(crate) fn due(&self, now: Duration) -> Option<ConnectionId> {
        self.by_deadline.first().filter(|(deadline, _)| *deadline <= now).map(|(_, connection)| *connection)
    }
}
