//! Requests that wait: who waits, for which topics, and until when.
//!
//! A connection waits for one request at most, because it is muted meanwhile. Every parked request is found by its connection, by each of
//! its topics, and by its deadline; leaving removes it from all three. While a node is frozen its requests have no deadline: nobody there
//! looks at a clock. Whether a request has waited enough is decided by `api/fetch.rs` and `api/produce.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_wire::Uuid;

use crate::api::{RequestHead, WaitingDelete, WaitingFetch, WaitingProduce};
use crate::ids::ConnectionId;

/// A request without an answer yet.
#[derive(Debug)]
pub(crate) struct ParkedRequest {
    pub(crate) head: RequestHead,
    /// What a reader calls itself: its answer is measured by its bytes. A writer's request was.
    pub(crate) client: Box<str>,
    pub(crate) what: Waiting,
    /// The topics whose growth or end may complete it.
    pub(crate) topics: Vec<Uuid>,
    /// When it is answered with whatever is there.
    pub(crate) deadline: Duration,
}

/// What waits.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// For data.
    Fetch(WaitingFetch),
    /// For followers that copy.
    Produce(WaitingProduce),
    /// For followers that delete.
    Delete(WaitingDelete),
}

/// All requests without an answer.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    requests: BTreeMap<ConnectionId, ParkedRequest>,
    by_topic: BTreeSet<(Uuid, ConnectionId)>,
    by_deadline: BTreeSet<(Duration, ConnectionId)>,
}

impl Parking {
    pub(crate) fn park(&mut self, connection: ConnectionId, request: ParkedRequest) {
        self.by_topic.extend(request.topics.iter().map(|topic| (*topic, connection)));
        self.by_deadline.insert((request.deadline, connection));
        let earlier = self.requests.insert(connection, request);
        assert!(earlier.is_none(), "a muted connection sends no second request");
    }

    pub(crate) fn leave(&mut self, connection: ConnectionId) -> Option<ParkedRequest> {
        let request = self.requests.remove(&connection)?;
        for topic in &request.topics {
            self.by_topic.remove(&(*topic, connection));
        }
        self.by_deadline.remove(&(request.deadline, connection));
        Some(request)
    }

    /// The connection's node is frozen.
    pub(crate) fn hold(&mut self, connection: ConnectionId) {
        if let Some(request) = self.requests.get(&connection) {
            self.by_deadline.remove(&(request.deadline, connection));
        }
    }

    /// The connection's node goes on. Deadlines that have passed meanwhile are due now.
    pub(crate) fn resume(&mut self, connection: ConnectionId) {
        if let Some(request) = self.requests.get(&connection) {
            self.by_deadline.insert((request.deadline, connection));
        }
    }

    pub(crate) fn request(&self, connection: ConnectionId) -> Option<&ParkedRequest> {
        self.requests.get(&connection)
    }

    pub(crate) fn request_mut(&mut self, connection: ConnectionId) -> Option<&mut ParkedRequest> {
        self.requests.get_mut(&connection)
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
