//! The cluster: nodes, topics, connections and requests, without sockets, threads or clocks.
//!
//! A driver gives it frames and time, and takes events. The order of events is decided by the order of calls alone, so a run can be
//! replayed. A request changes the cluster wholly before its answer becomes an event; only a fetch that waits for data and a Produce
//! request that waits for followers outlive their call.
//!
//! What a request means is in `api/`; what a batch means is in `partition.rs` and below; how nodes are steered is in `steering.rs`, and what
//! the controller makes of it in `controller.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::Uuid;

use crate::api::Client;
use crate::catalogue::{Catalogue, TopicEntry};
use crate::chores::Chores;
use crate::cluster_config::{ClusterConfig, OpenError, check_nodes};
use crate::connection::{CloseReason, Connection, Event, Turn};
use crate::faults::Faults;
use crate::fetch_sessions::FetchSessions;
use crate::ids::{ConnectionId, NodeId, PartitionIndex};
use crate::leadership::Leadership;
use crate::log::TornTail;
use crate::moment::Moment;
use crate::nodes::{Nodes, Process};
use crate::notice::{Coordinated, Notice};
use crate::parking::{Parking, Waiting};
use crate::partition::{Move, Partition};
use crate::producer_ids::ProducerIds;
use crate::quota_rates::QuotaRates;
use crate::quotas::Quotas;
use crate::random::Random;
use crate::replica::{Recovery, Replica};
use crate::storage::{Place, Storage, StorageError};
use crate::timers::{Timer, Timers};
use crate::topics::{Topic, Topics};

/// A Kafka cluster in one value. See the crate's page for how it is driven.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) config: ClusterConfig,
    pub(crate) nodes: Nodes,
    pub(crate) cluster_id: String,
    pub(crate) topics: Topics,
    pub(crate) random: Random,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) timers: Timers,
    pub(crate) quotas: Quotas,
    pub(crate) quota_rates: QuotaRates,
    pub(crate) faults: Faults,
    /// Topics with partitions that changed in this call: who waits for them is asked before the call ends.
    pub(crate) changed: BTreeSet<Uuid>,
    /// Partitions whose leader or ISR changed in this call; they are saved before it ends.
    pub(crate) leadership_changed: BTreeSet<(Uuid, PartitionIndex)>,
    /// Set when that could not be saved; cleared when everything is.
    pub(crate) is_catalogue_behind: bool,
    is_settling: bool,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    connections_made: u64,
    pub(crate) events: VecDeque<Event>,
    pub(crate) parking: Parking,
    /// Of each node; they end with its process.
    pub(crate) fetch_sessions: BTreeMap<NodeId, FetchSessions>,
    torn_tails: Vec<TornTail>,
    /// Whether a timer looks for old segments.
    pub(crate) watches_retention: bool,
    /// The same for what was written again.
    pub(crate) watches_compaction: bool,
    pub(crate) chores: Chores,
    /// Not taken yet.
    notices: VecDeque<Notice>,
    /// What clients wanted a coordinator of.
    coordinators_wanted: BTreeSet<Coordinated>,
    /// How many requests were answered, without the fetches that waited for data.
    pub(crate) answered: u64,
    /// The last time producers were looked through for expired ones, on the monotonic clock.
    expiry_checked: Duration,
}

impl Cluster {
    /// Opens what the storage holds, or begins anew.
    pub fn open(config: ClusterConfig, mut storage: Box<dyn Storage>, now: Moment) -> Result<Cluster, OpenError> {
        check_nodes(&config.nodes)?;
        storage.lay_out(config.nodes.len());
        let mut random = Random::new(config.seed);
        let catalogue = storage.load_catalogue()?.unwrap_or_else(|| Catalogue {
            nodes: config.nodes.len(),
            cluster_id: config.cluster_id.clone().unwrap_or_else(|| random.uuid().to_string()),
            producer_ids_reserved: 0,
            quotas: Quotas::default(),
            topics: BTreeMap::new(),
        });
        let nodes = Nodes::new(&config.nodes);
        let known = |node: &NodeId| nodes.get(*node).is_some();
        let mut partitions = catalogue.topics.values().flat_map(|topic| &topic.partitions);
        if catalogue.nodes != nodes.len() || !partitions.all(|partition| partition.replicas.iter().all(known)) {
            return Err(OpenError::OtherNodes { stored: catalogue.nodes, configured: nodes.len() });
        }
        let mut cluster = Cluster {
            nodes,
            cluster_id: catalogue.cluster_id,
            topics: Topics::default(),
            random,
            storage,
            timers: Timers::default(),
            quotas: catalogue.quotas,
            quota_rates: QuotaRates::default(),
            faults: Faults::default(),
            changed: BTreeSet::new(),
            leadership_changed: BTreeSet::new(),
            is_catalogue_behind: false,
            is_settling: false,
            producer_ids: ProducerIds::after(catalogue.producer_ids_reserved),
            connections: BTreeMap::new(),
            connections_made: 0,
            events: VecDeque::new(),
            parking: Parking::default(),
            fetch_sessions: BTreeMap::new(),
            torn_tails: Vec::new(),
            watches_retention: false,
            watches_compaction: false,
            chores: Chores::default(),
            notices: VecDeque::new(),
            coordinators_wanted: BTreeSet::new(),
            answered: 0,
            expiry_checked: now.elapsed,
            config,
        };
        for (name, entry) in catalogue.topics {
            cluster.open_topic(name, entry, now)?;
        }
        cluster.replicate_all(now);
        cluster.save_catalogue()?;
        Ok(cluster)
    }

    /// The id that clients see.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// What was cut off when the logs were opened.
    pub fn torn_tails(&self) -> &[TornTail] {
        &self.torn_tails
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.values().filter(|connection| !connection.is_abandoned).count()
    }

    // Driving.

    /// A client connects to a node. None if there is no such node, or it is stopped; a frozen one accepts, as its system does for it.
    pub fn connect(&mut self, node: NodeId) -> Option<ConnectionId> {
        let state = self.nodes.get(node)?;
        if state.process == Process::Stopped {
            return None;
        }
        self.connections_made += 1;
        let id = ConnectionId(self.connections_made);
        self.connections.insert(id, Connection::to(node));
        Some(id)
    }

    /// The client is gone. What it sent before and is waiting is dropped; events of it that are not taken yet are too. A frozen node does not
    /// notice: what it was sent before is executed when it goes on.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.events.retain(|event| match event {
            Event::Response { connection: of, .. } | Event::Close { connection: of, .. } => *of != connection,
        });
        let Some(known) = self.connections.get_mut(&connection) else { return };
        let node_works = self.nodes.state(known.node).works();
        if !node_works && !known.waiting.is_empty() {
            known.is_abandoned = true;
            if matches!(known.turn, Turn::Answering | Turn::Lost) {
                known.turn = Turn::Client;
            }
            return;
        }
        self.parking.leave(connection);
        self.connections.remove(&connection);
    }

    /// A request has arrived: one frame without its length. It is served at once, or after those before it.
    /// Frames of a connection that is closed are dropped.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: Bytes) {
        self.expire_producers(now);
        if let Some(known) = self.connections.get_mut(&connection).filter(|known| known.turn != Turn::Lost) {
            known.waiting.push_back(frame);
            self.serve_waiting(now, connection);
        }
        self.settle(now);
    }

    /// Whether a request of this connection waits for its answer, the answer for being taken, or the client for the end of a throttle.
    /// A frozen node's connections are muted once they have sent anything.
    pub fn is_muted(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|connection| connection.turn != Turn::Client || !connection.waiting.is_empty())
    }

    /// Until when the client is throttled, if it is: its answer is out, and the next request is not served yet.
    pub fn throttled_until(&self, connection: ConnectionId) -> Option<Duration> {
        let connection = self.connections.get(&connection).filter(|connection| connection.turn == Turn::Throttled)?;
        Some(connection.throttled_until)
    }

    /// Until when a fault holds back the answer to this connection, or mutes it where there is none to give.
    pub(crate) fn held_until(&self, connection: ConnectionId) -> Option<Duration> {
        let connection = self.connections.get(&connection).filter(|connection| connection.turn == Turn::Held)?;
        connection.aftermath.as_ref()?.held.as_ref().map(|held| held.until)
    }

    /// Whether nothing that this connection sends is served any more, because a fault lost an answer.
    pub fn is_lost(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|connection| connection.turn == Turn::Lost)
    }

    /// Whether a fetch of this connection waits for data.
    pub(crate) fn waits_for_data(&self, connection: ConnectionId) -> bool {
        self.parking.request(connection).is_some_and(|request| matches!(request.what, Waiting::Fetch(_)))
    }

    /// What the driver has to do next.
    pub fn poll_event(&mut self, now: Moment) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Response { connection, .. } = event {
            self.end_turn(now, connection);
            self.serve_waiting(now, connection);
            self.settle(now);
        }
        Some(event)
    }

    /// Something that no client can be told, for whoever runs it.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Once for each kind, however often it is asked for.
    pub(crate) fn note_wanted(&mut self, notice: Option<Notice>) {
        if let Some(notice) = notice
            && let Notice::CoordinatorWanted { of, .. } = notice
            && self.coordinators_wanted.insert(of)
        {
            self.notices.push_back(notice);
        }
    }

    /// When [`Cluster::handle_timeout`] has something to do, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match (self.parking.next_deadline(), self.timers.next()) {
            (Some(deadline), Some(timer)) => Some(deadline.min(timer)),
            (deadline, timer) => deadline.or(timer),
        }
    }

    /// Does what is due, in the order in which it was: silent nodes are fenced, late followers copy or fall out of sync, requests that
    /// have waited long enough are answered.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(due) = self.poll_timeout().filter(|due| *due <= now.elapsed) {
            match self.parking.due(due) {
                Some(connection) => self.complete(now, connection),
                None => self.handle_timer(now, due),
            }
            self.settle(now);
        }
    }

    fn handle_timer(&mut self, now: Moment, due: Duration) {
        match self.timers.take_due(due) {
            Some(Timer::Fence(node)) => self.fence_if_silent(now, node),
            Some(Timer::Learn(node)) => self.learn(now, node),
            Some(Timer::Replicate(topic, index)) => self.replicate(now, topic, index),
            Some(Timer::Flush(topic, index)) => self.flush_due(now, topic, index),
            Some(Timer::Retain) => self.retain(now),
            Some(Timer::Compact) => self.compact(now),
            Some(Timer::Remove) => self.remove_discarded(now.elapsed),
            Some(Timer::Unmute(connection)) => self.unmute(now, connection),
            Some(Timer::Answer(connection)) => self.release(now, connection),
            None => {}
        }
    }

    /// Serves what has arrived, as far as the connection is not muted and its node not frozen.
    pub(crate) fn serve_waiting(&mut self, now: Moment, id: ConnectionId) {
        let Some(node) = self.connections.get(&id).map(|connection| connection.node) else { return };
        if !self.nodes.state(node).works() {
            return;
        }
        while let Some(frame) = self.connections.get_mut(&id).and_then(Connection::next_request) {
            self.serve(now, id, node, frame);
        }
        let is_over = |known: &Connection| known.is_abandoned && known.turn == Turn::Client && known.waiting.is_empty();
        if self.connections.get(&id).is_some_and(is_over) {
            self.connections.remove(&id);
        }
    }

    /// Hands out an answer as it is.
    pub(crate) fn post(&mut self, id: ConnectionId, frame: Bytes) {
        let is_abandoned = self.connections.get(&id).is_none_or(|connection| connection.is_abandoned);
        if is_abandoned {
            self.turn(id, Turn::Client);
        } else {
            self.turn(id, Turn::Answering);
            self.events.push_back(Event::Response { connection: id, frame });
        }
    }

    pub(crate) fn turn(&mut self, connection: ConnectionId, turn: Turn) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.turn = turn;
        }
    }

    pub(crate) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.parking.leave(connection);
        let known = self.connections.remove(&connection);
        if known.is_some_and(|connection| !connection.is_abandoned) {
            self.events.push_back(Event::Close { connection, reason });
        }
    }

    /// The longest that this answer asks for; what an earlier one asked for may still be longer.
    pub(crate) fn throttle_connection(&mut self, now: Moment, id: ConnectionId, throttle: Duration) {
        if let Some(connection) = self.connections.get_mut(&id).filter(|_| !throttle.is_zero()) {
            connection.throttled_until = connection.throttled_until.max(now.elapsed.saturating_add(throttle));
        }
    }

    /// The client has its answer, or needs none: it is its turn again, after the throttle if there is one (KIP-219).
    pub(crate) fn end_turn(&mut self, now: Moment, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.turn = Turn::Client;
        if connection.throttled_until > now.elapsed {
            connection.turn = Turn::Throttled;
            self.timers.set(connection.throttled_until, Timer::Unmute(id));
        }
    }

    fn unmute(&mut self, now: Moment, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|connection| connection.turn == Turn::Throttled) {
            self.end_turn(now, id);
            self.serve_waiting(now, id);
        }
    }

    /// Asks those who wait for what has changed, and keeps who leads what.
    pub(crate) fn settle(&mut self, now: Moment) {
        if std::mem::replace(&mut self.is_settling, true) {
            // Further up somebody does it already; here it would only nest.
            return;
        }
        while let Some(topic) = self.changed.pop_first() {
            for connection in self.parking.waiting_for(topic) {
                if self.has_waited_enough(connection) {
                    self.complete(now, connection);
                }
            }
        }
        self.save_leadership();
        self.is_settling = false;
    }

    fn has_waited_enough(&mut self, connection: ConnectionId) -> bool {
        let Some(node) = self.connections.get(&connection).map(|connection| connection.node) else { return false };
        let Some(request) = self.parking.request(connection) else { return false };
        if !self.nodes.state(node).works() {
            return false;
        }
        match &request.what {
            Waiting::Fetch(fetch) => self.has_enough(node, request.head, fetch),
            Waiting::Produce(_) => self.review_produce(node, connection),
            Waiting::Delete(_) => self.review_delete(node, connection),
        }
    }

    /// Answers a request that has waited, with what there is.
    fn complete(&mut self, now: Moment, connection: ConnectionId) {
        let Some(request) = self.parking.leave(connection) else { return };
        let Some(node) = self.connections.get(&connection).map(|connection| connection.node) else { return };
        self.turn(connection, Turn::Client);
        if !matches!(request.what, Waiting::Fetch(_)) {
            self.answered += 1;
        }
        let answer = match request.what {
            Waiting::Fetch(fetch) => self.answer_fetch(now, node, request.head, &fetch).and_then(|fetched| {
                let client = Client { node, name: &request.client };
                self.within_quota(now, client, request.head, fetched)
            }),
            Waiting::Delete(delete) => {
                self.end_delete(request.head, delete).map(|frame| (frame, request.head.throttle))
            }
            Waiting::Produce(produce) => {
                self.end_produce(node, request.head, produce).map(|frame| (frame, request.head.throttle))
            }
        };
        match answer {
            Ok((frame, throttle)) => {
                self.throttle_connection(now, connection, throttle);
                self.respond(now, connection, frame);
            }
            Err(reason) => self.close(connection, reason),
        }
        self.serve_waiting(now, connection);
    }

    // What outlives a restart.

    /// A restart is a new leadership, so that clients see that a log may have lost its tail.
    fn open_topic(&mut self, name: String, entry: TopicEntry, now: Moment) -> Result<(), StorageError> {
        let recovery = Recovery { now, producer_expiry: self.config.producer_expiry };
        let mut partitions = Vec::new();
        for (index, stored) in (0..).zip(entry.partitions) {
            let or_all = |nodes: Vec<NodeId>| if nodes.is_empty() { self.nodes.ids() } else { nodes };
            let replicas = or_all(stored.replicas);
            // All nodes are here again: where nobody was in sync, one of those is that may be elected.
            let eligible = replicas.iter().copied().find(|node| stored.eligible.contains(node)).or(stored.last_known);
            let isr = match eligible.filter(|_| stored.isr.is_empty()) {
                Some(node) => vec![node],
                None if stored.isr.is_empty() => replicas.clone(),
                None => stored.isr,
            };
            // Nobody led while no process ran, which takes an epoch too.
            let leadership = Leadership::first(&replicas, isr, stored.leader_epoch + 2, |_| true);
            let mut opened = Vec::new();
            for node in replicas {
                let place = Place { node, topic: &name, partition: PartitionIndex(index) };
                let folder = self.storage.open_log(place)?;
                let (replica, torn) = Replica::open(node, folder, leadership.clone(), recovery)?;
                self.torn_tails.extend(torn);
                opened.push(replica);
            }
            let mut partition = Partition::new(opened, leadership);
            partition.min_insync = self.config.eligible_min(&entry.config);
            partition.moving = Move { adding: stored.adding, removing: stored.removing };
            partitions.push(partition);
        }
        self.topics.insert(Topic { name, id: entry.id, config: Arc::new(entry.config), partitions });
        Ok(())
    }

    /// Kafka looks at fixed intervals, so an expired producer is remembered until the next look. Nobody can see a look that is made
    /// up for later, as of the time it was due.
    fn expire_producers(&mut self, now: Moment) {
        let interval = self.config.producer_expiry_check.max(Duration::from_millis(1));
        let since = now.elapsed.saturating_sub(self.expiry_checked);
        let into_interval = Duration::from_nanos((since.as_nanos() % interval.as_nanos()) as u64);
        if since < interval {
            return;
        }
        self.expiry_checked = now.elapsed.saturating_sub(into_interval);
        let due = now.before(into_interval);
        let expiry = self.config.producer_expiry;
        for topic in self.topics.iter_mut() {
            for partition in &mut topic.partitions {
                partition.expire_producers(due, expiry, &self.nodes);
            }
        }
    }
}
