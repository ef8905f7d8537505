//! The brokers of one cluster: whom to ask what, over which link, and when to ask again.
//!
//! Always holds: a link that failed is dropped, and what is asked again waits for the metadata's back-off first, so nothing
//! spins, whatever brokers answer.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_core::backoff::{Backoff, Chance};
use milena_core::ids::{NodeId, PartitionIndex, TopicIndex};
use milena_core::metadata::{Address, Metadata, MetadataConfig, TopicMetadata};
use milena_core::time::Moment;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::{ErrorCode, Request, Uuid};

use super::error::{ClusterError, Setback};
use super::link::{Link, LinkError};
use crate::config::parse_address;

#[derive(Debug)]
pub(crate) struct Cluster {
    bootstrap: Vec<Address>,
    client_id: Arc<str>,
    deadline: Duration,
    metadata: Metadata,
    /// As last told; before KRaft only this broker makes topics.
    controller: Option<NodeId>,
    links: BTreeMap<Address, Link>,
    chance: Chance,
    since: Instant,
}

/// Whom to ask about a partition.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) address: Address,
    pub(crate) epoch: i32,
    pub(crate) topic_id: Uuid,
}

impl Cluster {
    /// Reaches one of the brokers, or says of each why not: an address that is wrong now will be wrong in a minute.
    pub(crate) async fn connect(
        bootstrap: &[String],
        client_id: &str,
        deadline: Duration,
    ) -> Result<Self, ClusterError> {
        let parsed: Result<Vec<Address>, _> = bootstrap.iter().map(|address| parse_address(address)).collect();
        let mut cluster = Self {
            bootstrap: parsed.map_err(ClusterError::Config)?,
            client_id: Arc::from(client_id),
            deadline,
            metadata: Metadata::new(METADATA),
            controller: None,
            links: BTreeMap::new(),
            chance: Chance::new(RandomState::new().build_hasher().finish()),
            since: Instant::now(),
        };
        let until = cluster.until();
        if let Some(request) = cluster.metadata.poll_request(Moment::START) {
            let response = cluster.ask_anybody(&request, until).await?;
            cluster.take(&response);
        }
        Ok(cluster)
    }

    /// Which one it is, if it says so.
    pub(crate) fn id(&self) -> Option<&Arc<str>> {
        self.metadata.cluster_id()
    }

    /// When a call that begins now has to end.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Asks one broker. `request` is made for the version that is spoken, which is at most `version_max`.
    pub(crate) async fn ask<R: Request>(
        &mut self,
        address: &Address,
        version_max: i16,
        request: impl FnOnce(i16) -> R,
        until: Instant,
    ) -> Result<R::Response, LinkError> {
        let mut link = match self.links.remove(address) {
            Some(link) => link,
            None => Link::open(address, Arc::clone(&self.client_id), until).await?,
        };
        let version = link.version_of::<R>()?.min(version_max);
        let answer = link.ask(version, &request(version), until).await?;
        self.links.insert(address.clone(), link);
        Ok(answer)
    }

    /// What the first broker answers that can be asked: those with a link come first, then all others.
    pub(crate) async fn ask_anybody(
        &mut self,
        request: &MetadataRequest,
        until: Instant,
    ) -> Result<MetadataResponse, ClusterError> {
        let mut tried = Vec::new();
        for address in self.anybody() {
            match self.ask(&address, i16::MAX, |_| request.clone(), until).await {
                Ok(response) => return Ok(response),
                Err(error) => tried.push((address, error)),
            }
        }
        Err(ClusterError::Unreachable(tried))
    }

    fn anybody(&self) -> Vec<Address> {
        let mut order: Vec<Address> = self.links.keys().cloned().collect();
        for address in self.metadata.brokers().values().chain(&self.bootstrap) {
            if !order.contains(address) {
                order.push(address.clone());
            }
        }
        order
    }

    /// Whom to ask for a change of topics.
    pub(crate) fn controller(&self) -> Address {
        let known = self.controller.and_then(|node| self.metadata.brokers().get(&node)).cloned();
        let anybody = || self.anybody().swap_remove(0);
        known.unwrap_or_else(anybody)
    }

    /// Gets new metadata after the back-off that is due, from whoever answers first. `why` is told when the time is over.
    pub(crate) async fn refresh(&mut self, mut why: Setback, until: Instant) -> Result<(), ClusterError> {
        self.metadata.doubt_brokers();
        loop {
            let wait = self.metadata.poll_timeout().map_or(Duration::ZERO, |due| due.since(self.now()));
            if Instant::now() + wait >= until {
                return Err(ClusterError::DeadlinePassed { deadline: self.deadline, last: why });
            }
            tokio::time::sleep(wait).await;
            if let Some(request) = self.metadata.poll_request(self.now()) {
                match self.ask_anybody(&request, until).await {
                    Ok(response) if response.error_code == 0 => {
                        self.take(&response);
                        return Ok(());
                    }
                    Ok(response) => why = Setback::Code(ErrorCode(response.error_code)),
                    Err(error) => why = passing(error)?,
                }
            }
            // Also of a call that was dropped while it waited and left its question open.
            let now = self.now();
            self.metadata.handle_failed(now, &mut self.chance);
        }
    }

    fn take(&mut self, response: &MetadataResponse) {
        self.controller = (response.controller_id >= 0).then_some(NodeId(response.controller_id));
        let now = self.now();
        // One that is of no use is asked for again after the back-off.
        let _ = self.metadata.handle_response(now, response, &mut self.chance);
    }

    /// A topic as it is now, whatever was known before. None: it does not exist.
    pub(crate) async fn topic(&mut self, name: &str, until: Instant) -> Result<Option<TopicMetadata>, ClusterError> {
        let topic = self.metadata.want(name);
        let mut why = Setback::NothingNew;
        loop {
            let now = self.now();
            self.metadata.doubt(now, topic);
            self.refresh(why, until).await?;
            let known = self.metadata.topic(topic);
            match known.missing() {
                None if known.partitions().is_empty() => why = Setback::NothingNew,
                None => return Ok(Some(known.clone())),
                Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => return Ok(None),
                Some(code) if !code.is_retriable() => return Err(refused(name, code)),
                Some(code) => why = Setback::Code(code),
            }
        }
    }

    /// The leader of a partition, waited for where there is none.
    pub(crate) async fn leader(&mut self, topic: &str, partition: i32, until: Instant) -> Result<Leader, ClusterError> {
        let number = self.metadata.want(topic);
        loop {
            if let Some(leader) = self.known_leader(number, partition)? {
                return Ok(leader);
            }
            let now = self.now();
            self.metadata.doubt(now, number);
            self.refresh(Setback::NoLeader, until).await?;
        }
    }

    fn known_leader(&self, number: TopicIndex, partition: i32) -> Result<Option<Leader>, ClusterError> {
        let (known, topic) = (self.metadata.topic(number), self.metadata.name(number));
        match known.missing() {
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                return Err(ClusterError::TopicMissing { topic: (&**topic).into() });
            }
            Some(code) if !code.is_retriable() => return Err(refused(topic, code)),
            None if !known.partitions().is_empty() => {}
            Some(_) | None => return Ok(None),
        }
        let partitions = known.partitions().len();
        if usize::try_from(partition).is_ok_and(|index| index < partitions) {
            let leader = known.leader(PartitionIndex(partition));
            let leader = leader.and_then(|(node, epoch)| Some((self.metadata.brokers().get(&node)?.clone(), epoch.0)));
            return Ok(leader.map(|(address, epoch)| Leader { address, epoch, topic_id: known.id() }));
        }
        Err(ClusterError::PartitionMissing { topic: (&**topic).into(), partition, partitions })
    }

    fn now(&self) -> Moment {
        Moment::START + self.since.elapsed()
    }
}

pub(crate) fn refused(topic: &str, code: ErrorCode) -> ClusterError {
    ClusterError::Refused { topic: topic.into(), code, message: None }
}

/// Unreachable brokers are a setback while one of them may come back; otherwise the end.
fn passing(error: ClusterError) -> Result<Setback, ClusterError> {
    match error {
        ClusterError::Unreachable(mut tried) if tried.iter().any(|(_, error)| error.is_passing()) => {
            Ok(tried.pop().map_or(Setback::NothingNew, |(_, error)| Setback::Link(error)))
        }
        error => Err(error),
    }
}

/// Asked for again and again while somebody waits: short pauses at first, because a new topic is visible within tens of
/// milliseconds. What is old is replaced when it is found wrong; nothing here lives long enough for more.
const METADATA: MetadataConfig = MetadataConfig {
    retry: Backoff { initial: Duration::from_millis(20), max: Duration::from_secs(1) },
    max_age: Duration::from_secs(300),
    doubt: Duration::ZERO,
    allow_auto_create_topics: false,
};
