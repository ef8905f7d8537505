//! What a producer does beside sending: find brokers and topics, get producer ids, move partitions between lanes.
//!
//! Always holds: every partition's back is in one place, here or in one lane; a partition moves only with nothing of it
//! unanswered; metadata and producer ids have a connection of their own, so no frozen partition holds them up.
//!
//! Left out: sending (`lane.rs`), and the fronts, which stay where the callers are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::{ApiKey, ErrorCode, Request, Uuid};

use super::back::{BackConfig, Ended, PartitionBack, TopicRef};
use super::lane::{LaneOrder, LaneReport, Recall, StrayAnswer};
use super::outcome::{NotWritten, Undetermined};
use super::trouble::Trouble;
use crate::backoff::{Backoff, Chance};
use crate::connection::{Answer, Connection, ConnectionConfig, ConnectionError};
use crate::fault::Faults;
use crate::ids::{Epoch, Identity, LaneId, NodeId, PartitionId, PartitionIndex, ProducerId, TopicIndex};
use crate::metadata::{Address, Metadata, TopicMetadata, TopicState};
use crate::time::Moment;

use self::readiness::Reach;
pub use self::readiness::{ReadyQuestion, Unready};

/// What the control machine needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Where to ask first.
    pub bootstrap: Vec<Address>,
    /// For its own connection.
    pub connection: ConnectionConfig,
    /// For every partition.
    pub back: BackConfig,
    /// Between attempts to connect or to ask.
    pub retry: Backoff,
    /// Metadata older than this is asked for again.
    pub metadata_max_age: Duration,
}

/// A partition that appeared.
#[derive(Clone, Debug)]
pub struct NewPartition {
    /// The client's number for it.
    pub id: PartitionId,
    /// Its number within the topic.
    pub index: PartitionIndex,
    /// Shared by its front and its back.
    pub trouble: Arc<Trouble>,
}

/// What the surroundings must do or may want to know.
#[derive(Debug)]
pub enum ControlEvent {
    /// Open a socket to this address for the control connection.
    Dial(Address),
    /// Close the control connection's socket.
    HangUp,
    /// The cluster answered; brokers are known.
    Reached,
    /// The topic has these partitions, in order, beside those told before.
    PartitionsAppeared(TopicIndex, Vec<NewPartition>),
    /// The cluster says that the topic is not there, or may not be seen.
    TopicMissing(TopicIndex, ErrorCode),
    /// This lane is needed, or its broker's address changed.
    LaneNeeded(LaneId, Address),
    /// For this lane.
    Order(LaneId, LaneOrder),
    /// A batch of this partition ended.
    Ended(PartitionId, Ended),
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Metadata,
    ProducerId,
}

#[derive(Debug)]
enum Link {
    Down { retry_at: Moment },
    Dialing { address: Address, since: Moment },
    Up { address: Address, connection: Box<Connection<Purpose>> },
}

#[derive(Debug)]
enum Place {
    Here(Box<PartitionBack>),
    Lane { lane: LaneId, is_recalled: bool },
}

#[derive(Debug)]
struct ControlPartition {
    topic: TopicIndex,
    index: PartitionIndex,
    place: Place,
}

#[derive(Debug)]
struct ControlTopic {
    name: Arc<str>,
    /// Of the newest metadata.
    id: Uuid,
    partitions: Vec<PartitionId>,
}

/// The machine.
#[derive(Debug)]
pub struct Control {
    config: ControlConfig,
    metadata: Metadata,
    link: Link,
    /// Counts dials, to go through the addresses in turn.
    dials: usize,
    failures: u32,
    reach: Reach,
    topics: Vec<ControlTopic>,
    partitions: Vec<ControlPartition>,
    lanes: BTreeMap<LaneId, Address>,
    identity: Option<Identity>,
    /// Partitions without an identity, with the producer id that is no good for them.
    waiting_for_identity: BTreeMap<PartitionId, Option<ProducerId>>,
    is_asking_identity: bool,
    identity_not_before: Moment,
    identity_failures: u32,
    events: VecDeque<ControlEvent>,
    chance: Chance,
}

impl Control {
    /// Knows only the bootstrap addresses.
    pub fn new(config: ControlConfig, seed: u64) -> Self {
        Self {
            metadata: Metadata::new(config.retry, config.metadata_max_age),
            config,
            link: Link::Down { retry_at: Moment::START },
            dials: 0,
            failures: 0,
            reach: Reach::default(),
            topics: Vec::new(),
            partitions: Vec::new(),
            lanes: BTreeMap::new(),
            identity: None,
            waiting_for_identity: BTreeMap::new(),
            is_asking_identity: false,
            identity_not_before: Moment::START,
            identity_failures: 0,
            events: VecDeque::new(),
            chance: Chance::new(seed),
        }
    }

    /// From now on this topic is looked for. Asking twice gives the same number.
    pub fn want_topic(&mut self, name: &str) -> TopicIndex {
        if let Some(known) = self.topics.iter().position(|topic| &*topic.name == name) {
            return TopicIndex(known as u32);
        }
        let name: Arc<str> = Arc::from(name);
        self.metadata.want(Arc::clone(&name));
        self.topics.push(ControlTopic { name, id: Uuid::ZERO, partitions: Vec::new() });
        TopicIndex(self.topics.len() as u32 - 1)
    }

    /// Why the addresses tried since the last answer could not be asked.
    pub fn faults(&self) -> &Faults {
        &self.reach.faults
    }

    /// The cluster's own id, once told.
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.metadata.cluster_id()
    }

    /// A lane says that the cluster may have changed.
    pub fn refresh_metadata(&mut self) {
        self.metadata.refresh();
    }

    /// A lane says something.
    pub fn handle_report(&mut self, now: Moment, report: LaneReport) {
        match report {
            LaneReport::NeedsIdentity(partition, abandoned) => {
                self.waiting_for_identity.insert(partition, abandoned);
                self.grant_identities();
            }
            LaneReport::NeedsMetadata | LaneReport::LeaderHint(..) | LaneReport::Slow(_) | LaneReport::Prompt(_) => {
                self.refresh_metadata()
            }
            LaneReport::Connected(lane) => self.handle_lane_connected(lane),
            LaneReport::Disconnected(lane, error) => self.handle_lane_disconnected(now, lane, error),
            LaneReport::Stray(partition, stray) => self.forward(now, partition, stray),
            LaneReport::ProducerIdUsedElsewhere(producer_id) => self.abandon(producer_id),
            LaneReport::Released(back) => self.handle_released(*back),
        }
    }

    /// An answer follows its partition.
    fn forward(&mut self, now: Moment, partition: PartitionId, stray: StrayAnswer) {
        match &mut self.partition(partition).place {
            Place::Lane { lane, .. } => {
                let lane = *lane;
                self.events.push_back(ControlEvent::Order(lane, LaneOrder::Stray(partition, stray)));
            }
            Place::Here(back) => {
                let mut ended = Vec::new();
                stray.tell(now, back, &mut ended);
                self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(partition, ended)));
            }
        }
    }

    /// Somebody else uses this producer id (rule 14): no partition may stamp with it any more.
    fn abandon(&mut self, producer_id: ProducerId) {
        self.identity = self.identity.filter(|identity| identity.producer_id != producer_id);
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            let id = PartitionId(number as u32);
            match &mut partition.place {
                Place::Lane { lane, .. } => {
                    self.events.push_back(ControlEvent::Order(*lane, LaneOrder::Abandon(id, producer_id)));
                }
                Place::Here(back) => {
                    let mut ended = Vec::new();
                    back.abandon(producer_id, &mut ended);
                    self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(id, ended)));
                }
            }
        }
    }

    fn grant_identities(&mut self) {
        let Some(identity) = self.identity else { return };
        let good: Vec<PartitionId> = self
            .waiting_for_identity
            .iter()
            .filter(|(_, abandoned)| **abandoned != Some(identity.producer_id))
            .map(|(partition, _)| *partition)
            .collect();
        for id in good {
            // One that is on its way between lanes asks again where it arrives.
            self.waiting_for_identity.remove(&id);
            if let Place::Lane { lane, .. } = self.partition(id).place {
                self.events.push_back(ControlEvent::Order(lane, LaneOrder::Grant(id, identity)));
            }
        }
    }

    fn partition(&mut self, id: PartitionId) -> &mut ControlPartition {
        &mut self.partitions[id.0 as usize]
    }

    /// A lane gave a partition back.
    fn handle_released(&mut self, mut back: PartitionBack) {
        let id = back.id();
        self.catch_up_with_topic(&mut back);
        let place = std::mem::replace(&mut self.partition(id).place, Place::Here(Box::new(back)));
        self.place_partition(id);
        // Without a leader it goes back: a lane sees to its timers, and to memory that nobody wants.
        if let (Place::Lane { lane, .. }, Place::Here(_)) = (place, &self.partition(id).place) {
            self.hand_over(id, lane);
        }
    }

    /// A topic may be created anew while a partition is on its way and no lane could be told.
    fn catch_up_with_topic(&mut self, back: &mut PartitionBack) {
        let id = back.id();
        let topic = self.partition(id).topic;
        let topic_id = self.topics[topic.0 as usize].id;
        if back.topic().id == Uuid::ZERO || back.topic().id == topic_id {
            return;
        }
        let mut ended = Vec::new();
        back.handle_topic_recreated(topic_id, &mut ended);
        self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(id, ended)));
    }

    /// The control connection's socket is open.
    pub fn handle_connected(&mut self, now: Moment) {
        if let Link::Dialing { address, .. } = &self.link {
            let connection = Box::new(Connection::new(self.config.connection.clone(), now));
            self.link = Link::Up { address: address.clone(), connection };
        }
    }

    /// The control connection's socket could not be opened, or is closed, for this reason.
    pub fn handle_disconnected(&mut self, now: Moment, error: ConnectionError) {
        let (address, connection) = match std::mem::replace(&mut self.link, Link::Down { retry_at: now }) {
            down @ Link::Down { .. } => {
                self.link = down;
                return;
            }
            Link::Dialing { address, .. } => (address, None),
            Link::Up { address, connection } => (address, Some(connection)),
        };
        self.link = Link::Down { retry_at: now + self.pause_before_dial() };
        let error = match &connection {
            Some(connection) => connection.explain(error),
            None => error,
        };
        self.reach.faults.note(now, address, error);
        // A broker that is gone may lead nothing any more.
        self.metadata.refresh();
        for unanswered in connection.into_iter().flat_map(|connection| connection.close()) {
            self.handle_unanswered(now, unanswered.purpose);
        }
    }

    fn pause_before_dial(&mut self) -> Duration {
        self.failures += 1;
        // The first round through the addresses waits for nobody.
        if self.dials < self.candidates().len() {
            return Duration::ZERO;
        }
        self.config.retry.after(self.failures, &mut self.chance)
    }

    fn handle_unanswered(&mut self, now: Moment, purpose: Purpose) {
        match purpose {
            Purpose::Metadata => self.metadata.handle_failed(now, &mut self.chance),
            Purpose::ProducerId => self.identity_failed(now),
        }
    }

    fn identity_failed(&mut self, now: Moment) {
        self.is_asking_identity = false;
        self.identity_failures += 1;
        self.identity_not_before = now + self.config.retry.after(self.identity_failures, &mut self.chance);
    }

    fn fail(&mut self, now: Moment, error: ConnectionError) {
        self.events.push_back(ControlEvent::HangUp);
        self.handle_disconnected(now, error);
    }

    /// Known brokers first, then the bootstrap addresses.
    fn candidates(&self) -> Vec<Address> {
        let mut candidates: Vec<Address> = self.metadata.brokers().values().cloned().collect();
        for address in &self.config.bootstrap {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates
    }

    /// So many more bytes were handed to the kernel.
    pub fn handle_written(&mut self, bytes: usize) {
        if let Link::Up { connection, .. } = &mut self.link {
            connection.handle_written(bytes);
        }
    }

    /// Where the socket may read to; followed by [`Self::handle_read`].
    pub fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        if let Link::Up { connection, .. } = &mut self.link { Some(connection.read_buffer()) } else { None }
    }

    /// The read buffer has grown.
    pub fn handle_read(&mut self, now: Moment) {
        let Link::Up { connection, .. } = &mut self.link else { return };
        let read = connection.handle_read(now);
        while let Link::Up { connection, .. } = &mut self.link {
            let Some(answer) = connection.poll_answer() else { break };
            if let Err(error) = self.take_answer(now, &answer) {
                self.handle_unanswered(now, answer.purpose);
                return self.fail(now, error);
            }
        }
        if let Err(error) = read {
            self.fail(now, error);
        }
    }

    fn take_answer(&mut self, now: Moment, answer: &Answer<Purpose>) -> Result<(), ConnectionError> {
        match answer.purpose {
            Purpose::Metadata => {
                let response = answer.decode::<MetadataRequest>()?;
                self.handle_throttle(now, response.throttle_time_ms);
                self.take_metadata(now, &response);
            }
            Purpose::ProducerId => {
                let response = answer.decode::<InitProducerIdRequest>()?;
                self.handle_throttle(now, response.throttle_time_ms);
                self.take_identity(now, &response);
            }
        }
        Ok(())
    }

    fn handle_throttle(&mut self, now: Moment, throttle_time_ms: i32) {
        if let Link::Up { connection, .. } = &mut self.link {
            connection.handle_throttle(now, throttle_time_ms);
        }
    }

    fn take_identity(&mut self, now: Moment, response: &InitProducerIdResponse) {
        // Negative numbers in a batch mean "not idempotent", so a broker that gives such an id gives none.
        let is_usable = response.producer_id >= 0 && response.producer_epoch >= 0;
        if !ErrorCode(response.error_code).is_none() || !is_usable {
            self.reach.identity_refused = Some(ErrorCode(response.error_code)).filter(|code| !code.is_none());
            return self.identity_failed(now);
        }
        self.reach.identity_refused = None;
        self.is_asking_identity = false;
        self.identity_failures = 0;
        let producer_id = ProducerId(response.producer_id);
        self.identity = Some(Identity { producer_id, epoch: Epoch(response.producer_epoch) });
        self.grant_identities();
    }

    fn take_metadata(&mut self, now: Moment, response: &MetadataResponse) {
        self.failures = 0;
        self.reach.answered_at = Some(now);
        self.reach.faults.clear();
        let cluster = self.metadata.cluster_id().cloned();
        self.metadata.handle_response(now, response, &mut self.chance);
        if cluster.is_some() && cluster.as_ref() != self.metadata.cluster_id() {
            // Another cluster numbers its producers anew; this number may be somebody else's there (rule 25).
            self.identity = None;
        }
        self.events.push_back(ControlEvent::Reached);
        for place in 0..self.topics.len() {
            self.take_topic(TopicIndex(place as u32));
        }
    }

    fn take_topic(&mut self, index: TopicIndex) {
        let topic = &self.topics[index.0 as usize];
        match self.metadata.topic(&topic.name) {
            None | Some(TopicState::Wanted) => {}
            Some(TopicState::Missing(code)) => self.events.push_back(ControlEvent::TopicMissing(index, *code)),
            Some(TopicState::Known(known)) => {
                let known = known.clone();
                self.take_known_topic(index, &known);
            }
        }
    }

    fn take_known_topic(&mut self, index: TopicIndex, known: &TopicMetadata) {
        let topic = &mut self.topics[index.0 as usize];
        let old_id = std::mem::replace(&mut topic.id, known.id);
        if old_id != Uuid::ZERO && old_id != known.id {
            self.topic_recreated(index, known.id);
        }
        self.add_partitions(index, known);
        for id in self.topics[index.0 as usize].partitions.clone() {
            self.place_partition(id);
        }
    }

    fn topic_recreated(&mut self, index: TopicIndex, id: Uuid) {
        for partition in self.topics[index.0 as usize].partitions.clone() {
            match &mut self.partitions[partition.0 as usize].place {
                Place::Lane { lane, .. } => {
                    self.events.push_back(ControlEvent::Order(*lane, LaneOrder::TopicRecreated(partition, id)));
                }
                Place::Here(back) => {
                    let mut ended = Vec::new();
                    back.handle_topic_recreated(id, &mut ended);
                    self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(partition, ended)));
                }
            }
        }
    }

    fn add_partitions(&mut self, index: TopicIndex, known: &TopicMetadata) {
        let topic = &self.topics[index.0 as usize];
        let topic_ref = TopicRef { name: Arc::clone(&topic.name), id: known.id };
        let mut appeared = Vec::new();
        for number in topic.partitions.len()..known.partitions.len() {
            let id = PartitionId(self.partitions.len() as u32);
            let partition = PartitionIndex(number as i32);
            let new = NewPartition { id, index: partition, trouble: Trouble::new() };
            let back = PartitionBack::new(&new, topic_ref.clone(), self.config.back);
            let place = Place::Here(Box::new(back));
            self.partitions.push(ControlPartition { topic: index, index: partition, place });
            appeared.push(new);
        }
        if !appeared.is_empty() {
            self.topics[index.0 as usize].partitions.extend(appeared.iter().map(|partition| partition.id));
            self.events.push_back(ControlEvent::PartitionsAppeared(index, appeared));
        }
    }

    fn leader_of(&self, partition: &ControlPartition) -> Option<NodeId> {
        let name = &self.topics[partition.topic.0 as usize].name;
        let Some(TopicState::Known(topic)) = self.metadata.topic(name) else { return None };
        let leader = topic.partitions.get(partition.index.0 as usize)?.leader?;
        self.metadata.brokers().contains_key(&leader).then_some(leader)
    }

    /// Brings a partition to its leader's lane: at once from here, after a recall from another lane.
    fn place_partition(&mut self, id: PartitionId) {
        let partition = &self.partitions[id.0 as usize];
        let Some(leader) = self.leader_of(partition) else { return };
        let address = self.metadata.brokers()[&leader].clone();
        let goal = LaneId::fast(leader);
        if self.lanes.get(&goal) != Some(&address) {
            self.lanes.insert(goal, address.clone());
            self.events.push_back(ControlEvent::LaneNeeded(goal, address));
        }
        match &mut self.partition(id).place {
            Place::Lane { lane, is_recalled } if *lane != goal && !*is_recalled => {
                *is_recalled = true;
                let lane = *lane;
                self.events.push_back(ControlEvent::Order(lane, LaneOrder::Recall(id, Recall::WhenIdle)));
            }
            Place::Lane { .. } => {}
            Place::Here(_) => self.hand_over(id, goal),
        }
    }

    fn hand_over(&mut self, id: PartitionId, lane: LaneId) {
        let place = Place::Lane { lane, is_recalled: false };
        let Place::Here(back) = std::mem::replace(&mut self.partition(id).place, place) else {
            unreachable!("only what is here is handed over")
        };
        self.events.push_back(ControlEvent::Order(lane, LaneOrder::Adopt(back)));
    }

    /// The next bytes for the control connection's socket.
    pub fn poll_transmit(&mut self, now: Moment) -> Option<Vec<u8>> {
        let Link::Up { connection, .. } = &mut self.link else { return None };
        if let Some(frame) = connection.poll_handshake() {
            return Some(frame);
        }
        if !connection.is_ready() {
            return None;
        }
        if let Some(request) = self.metadata.poll_request(now) {
            return self.ask(now, ApiKey::METADATA, METADATA_OLDEST, Purpose::Metadata, &request);
        }
        if self.identity_is_due(now) {
            self.is_asking_identity = true;
            // The timeout belongs to transactions; brokers ignore it without a transactional id but Java sends this.
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            return self.ask(now, ApiKey::INIT_PRODUCER_ID, 0, Purpose::ProducerId, &request);
        }
        None
    }

    fn identity_is_due(&self, now: Moment) -> bool {
        !self.is_asking_identity && !self.waiting_for_identity.is_empty() && self.identity_not_before <= now
    }

    fn ask<R: Request>(
        &mut self,
        now: Moment,
        key: ApiKey,
        oldest: i16,
        purpose: Purpose,
        request: &R,
    ) -> Option<Vec<u8>> {
        let Link::Up { connection, .. } = &mut self.link else { return None };
        let version = match connection.version_from::<R>(oldest) {
            Ok(version) => version,
            Err(error) => {
                self.handle_unanswered(now, purpose);
                self.fail(now, error);
                return None;
            }
        };
        let frame = connection.encode(version, request).expect("topic names are checked before they are wanted");
        connection.register(now, key, version, frame.len(), purpose);
        Some(frame)
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        match &self.link {
            Link::Down { retry_at } => Some(*retry_at),
            Link::Dialing { .. } => None,
            Link::Up { connection, .. } => {
                // Nothing is asked while the request before is not written; what frees the socket comes by itself.
                let may_ask = connection.is_ready() && !connection.has_unsent();
                let metadata = self.metadata.poll_timeout().filter(|_| may_ask);
                let wants_identity = may_ask && !self.is_asking_identity && !self.waiting_for_identity.is_empty();
                let identity = wants_identity.then_some(self.identity_not_before);
                [connection.poll_timeout(), metadata, identity].into_iter().flatten().min()
            }
        }
    }

    /// Time has passed; what is due is then given by [`Self::poll_transmit`] and [`Self::poll_event`].
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.link {
            Link::Down { retry_at } if *retry_at <= now => {
                let candidates = self.candidates();
                let address = candidates[self.dials % candidates.len()].clone();
                self.dials += 1;
                self.link = Link::Dialing { address: address.clone(), since: now };
                self.events.push_back(ControlEvent::Dial(address));
            }
            Link::Down { .. } | Link::Dialing { .. } => {}
            Link::Up { connection, .. } => {
                if let Err(error) = connection.handle_timeout(now) {
                    self.fail(now, error);
                }
            }
        }
    }

    /// What the surroundings must do.
    pub fn poll_event(&mut self) -> Option<ControlEvent> {
        self.events.pop_front()
    }

    /// Ends everything held here: the producer is closed, or its driver is lost.
    pub fn end_all(&mut self, unclaimed: NotWritten, doubt: Undetermined) {
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            if let Place::Here(back) = &mut partition.place {
                let mut ended = Vec::new();
                back.end_all(unclaimed, doubt, &mut ended);
                let id = PartitionId(number as u32);
                self.events.extend(ended.into_iter().map(|ended| ControlEvent::Ended(id, ended)));
            }
        }
    }
}

/// Before this version Metadata creates the topics it is asked for (KIP-204); brokers since 0.11 speak it.
const METADATA_OLDEST: i16 = 4;

mod readiness;
#[cfg(all(test, not(milena_model)))]
mod tests;
