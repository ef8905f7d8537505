//! Fetch: batches out of logs, at once or when there is enough.
//!
//! What a request wants beside what it names, its session knows (`fetch_sessions.rs`). The
//! first partition with data gives at least one whole batch, whatever the limits say; later ones may end in a cut batch (KIP-74).
//! Only what is committed is given. There are no transactions, so both isolation levels read the same. Since version 11 followers answer, too,
//! up to the high watermark that they know, and a consumer that names its rack is sent to a replica there (KIP-392).

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use milena_wire::{ErrorCode, Uuid};

use super::client_quotas::Charged;
use super::{Answer, AskedPartition, Client, RequestHead, Served, TopicRef, frame, write};
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::fetch_sessions::{NewSession, SessionUse};
use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::nodes::NodeState;
use crate::parking::{ParkedRequest, Waiting};
use crate::replica::Replica;
use crate::topics::Topic;

/// A fetch that waits for data.
#[derive(Debug)]
pub(crate) struct WaitingFetch {
    /// All that it wants, with what its session remembers.
    request: FetchRequest,
    session: SessionUse,
}

/// An answer, its session, or 0 for none, and how many bytes of records it has.
#[derive(Debug)]
pub(crate) struct Fetched {
    frame: Bytes,
    session_id: i32,
    bytes: usize,
}

/// Who asks, and where.
#[derive(Clone, Copy)]
struct From<'a> {
    node: NodeId,
    version: i16,
    rack: &'a str,
}

impl Cluster {
    pub(super) fn begin_fetch(
        &mut self,
        now: Moment,
        client: Client<'_>,
        head: RequestHead,
        request: FetchRequest,
    ) -> Result<Served, CloseReason> {
        let node = client.node;
        let sessions = self.fetch_sessions.entry(node).or_default();
        let name_of = |id| self.topics.with_id(id).map(|topic| topic.name.as_str().into());
        let fetch = match sessions.begin(now.elapsed, head.version >= TOPIC_IDS_SINCE, request, name_of) {
            Ok((session, request)) => WaitingFetch { request, session },
            Err(code) => {
                let answer = write(head, FetchResponse { error_code: code.0, ..Default::default() })?;
                return Ok(Served { answer, throttle: head.throttle });
            }
        };
        let wait = Duration::from_millis(u64::try_from(fetch.request.max_wait_ms).unwrap_or(0));
        let topics = self.fetched_topics(&head, &fetch.request);
        if wait.is_zero() || topics.is_empty() || self.has_enough(node, head, &fetch) {
            let fetched = self.answer_fetch(now, node, head, &fetch)?;
            let (frame, throttle) = self.within_quota(now, client, head, fetched)?;
            return Ok(Served { answer: Answer::Frame(frame), throttle });
        }
        let (what, deadline) = (Waiting::Fetch(fetch), now.elapsed + wait);
        let parked = ParkedRequest { head, client: client.name.into(), what, topics, deadline };
        Ok(Served { answer: Answer::Later(Box::new(parked)), throttle: head.throttle })
    }

    /// Whether a fetch need not wait any longer: enough bytes, or something to tell that is no data.
    pub(crate) fn has_enough(&self, node: NodeId, head: RequestHead, fetch: &WaitingFetch) -> bool {
        let request = &fetch.request;
        let from = From { node, version: head.version, rack: &request.rack_id };
        let bytes_max = u64::from(limit(request.max_bytes).min(RESPONSE_BYTES_MAX));
        let bytes_min = u64::try_from(request.min_bytes).unwrap_or(0).min(bytes_max);
        let mut bytes = 0;
        for (topic, partition) in partitions(request) {
            match self.locate(from, topic, partition) {
                Located::Data(replica) => {
                    let available = replica.log.bytes_between(partition.fetch_offset, replica.high_watermark);
                    // What cannot be read is told at once.
                    let Ok(available) = available else { return true };
                    bytes += available.min(u64::from(limit(partition.partition_max_bytes)));
                }
                Located::Diverging { .. } | Located::Elsewhere { .. } | Located::Error(_) => return true,
            }
        }
        bytes >= bytes_min
    }

    pub(crate) fn answer_fetch(
        &mut self,
        now: Moment,
        node: NodeId,
        head: RequestHead,
        fetch: &WaitingFetch,
    ) -> Result<Fetched, CloseReason> {
        let responses = self.read_partitions(node, head, &fetch.request);
        let sessions = self.fetch_sessions.entry(node).or_default();
        let (session_id, responses) = match (fetch.session, sessions.conclude(fetch.session, responses)) {
            (SessionUse::New, Ok((_, responses))) => {
                let new = NewSession {
                    now: now.elapsed,
                    sessions_max: self.config.fetch_sessions_max,
                    uses_ids: head.version >= TOPIC_IDS_SINCE,
                    request: &fetch.request,
                    responses: &responses,
                };
                (sessions.create(new, || self.random.positive()), responses)
            }
            (_, Ok(told)) => told,
            (_, Err(code)) => {
                let refusal = frame(head, FetchResponse { error_code: code.0, ..Default::default() })?;
                return Ok(Fetched { frame: refusal, session_id: 0, bytes: 0 });
            }
        };
        let node_endpoints = self.endpoints(head.version, &responses);
        let bytes = record_bytes(&responses);
        let frame = frame(head, FetchResponse { session_id, responses, node_endpoints, ..Default::default() })?;
        Ok(Fetched { frame, session_id, bytes })
    }

    /// What a client gets of an answer, and how long it has to wait for the next: nothing, if it would be too much.
    pub(crate) fn within_quota(
        &mut self,
        now: Moment,
        client: Client<'_>,
        head: RequestHead,
        fetched: Fetched,
    ) -> Result<(Bytes, Duration), CloseReason> {
        let Client { node, name } = client;
        let wait = self.charge_answer(Charged { node, now: now.elapsed, client: name, bytes: fetched.bytes });
        if wait.is_zero() {
            return Ok((fetched.frame, head.throttle));
        }
        let head = RequestHead { throttle: head.throttle.max(wait), ..head };
        let nothing = FetchResponse { session_id: fetched.session_id, ..Default::default() };
        Ok((frame(head, nothing)?, head.throttle))
    }

    fn read_partitions(&self, node: NodeId, head: RequestHead, request: &FetchRequest) -> Vec<FetchableTopicResponse> {
        let bytes_max = limit(request.max_bytes).min(RESPONSE_BYTES_MAX).min(head.fetch_bytes_max);
        let mut budget = Budget { left: bytes_max as usize, whole_first: true };
        let from = From { node, version: head.version, rack: &request.rack_id };
        let mut responses: Vec<FetchableTopicResponse> = Vec::with_capacity(request.topics.len());
        for (topic, partition) in self.in_order(head.version, request) {
            let located = self.locate(from, topic, partition);
            let data = fetch_partition(located, partition, request.isolation_level, &mut budget);
            let data = self.with_hint(node, head.version, topic_ref(topic, head.version), data);
            match responses.last_mut().filter(|last| is_same(last, topic, head.version)) {
                Some(last) => last.partitions.push(data),
                None => responses.push(FetchableTopicResponse {
                    topic: if head.version < TOPIC_IDS_SINCE { topic.topic.clone() } else { Box::default() },
                    topic_id: topic.topic_id,
                    partitions: vec![data],
                    ..Default::default()
                }),
            }
        }
        responses
    }

    /// Tells who asked the wrong node which one to ask (KIP-951).
    fn with_hint(&self, node: NodeId, version: i16, topic: TopicRef<'_>, data: PartitionData) -> PartitionData {
        let strayed =
            matches!(ErrorCode(data.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
        if version < HINTS_SINCE || !strayed {
            return data;
        }
        let hint = self.leader_hint(node, topic, PartitionIndex(data.partition_index));
        let current_leader = LeaderIdAndEpoch {
            leader_id: hint.and_then(|hint| hint.leader).map_or(-1, |leader| leader.0),
            leader_epoch: hint.map_or(-1, |hint| hint.epoch),
            ..Default::default()
        };
        PartitionData { current_leader, ..data }
    }

    /// Where the leaders are that the answer names.
    fn endpoints(&self, version: i16, responses: &[FetchableTopicResponse]) -> Vec<NodeEndpoint> {
        if version < HINTS_SINCE {
            return Vec::new();
        }
        let partitions = responses.iter().flat_map(|topic| &topic.partitions);
        let leaders: BTreeSet<_> = partitions.map(|partition| partition.current_leader.leader_id).collect();
        let nodes = leaders.into_iter().filter_map(|id| self.nodes.get(NodeId(id)));
        let endpoint = |state: &NodeState| NodeEndpoint {
            node_id: state.node.id.0,
            host: state.node.host.as_str().into(),
            port: i32::from(state.node.port),
            rack: self.rack(state.node.id),
            ..Default::default()
        };
        nodes.map(endpoint).collect()
    }

    /// What is asked for, in the order of the answer: partitions that are not there come last, those of unknown ids before the others.
    fn in_order<'a>(&self, version: i16, request: &'a FetchRequest) -> Vec<(&'a FetchTopic, &'a FetchPartition)> {
        let is_there = |(topic, partition): &(&FetchTopic, &FetchPartition)| match self.meant(topic, version) {
            Meant::Topic(topic) | Meant::Replaced(topic) => {
                topic.partition(PartitionIndex(partition.partition)).is_some()
            }
            Meant::Gone | Meant::Unknown => false,
        };
        let (there, missing): (Vec<_>, Vec<_>) = partitions(request).partition(is_there);
        let has_no_name =
            |(topic, _): &(&FetchTopic, &FetchPartition)| matches!(self.meant(topic, version), Meant::Unknown);
        let (nameless, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(has_no_name);
        there.into_iter().chain(nameless).chain(missing).collect()
    }

    /// Kafka knows topics by name first, and compares ids only where the name leads.
    fn meant(&self, asked: &FetchTopic, version: i16) -> Meant<'_> {
        let named = self.topics.named(&asked.topic);
        match (self.find_topic(topic_ref(asked, version)), named) {
            (Some(topic), _) => Meant::Topic(topic),
            (None, _) if version >= TOPIC_IDS_SINCE && asked.topic.is_empty() => Meant::Unknown,
            (None, Some(other)) => Meant::Replaced(other),
            (None, None) => Meant::Gone,
        }
    }

    /// What there is to tell about a partition, before reading it.
    fn locate(&self, from: From<'_>, wanted: &FetchTopic, asked: &FetchPartition) -> Located<'_> {
        let index = PartitionIndex(asked.partition);
        let is_there = |topic: &Topic| topic.partition(index).is_some();
        match self.meant(wanted, from.version) {
            Meant::Topic(_) => {}
            Meant::Replaced(topic) if is_there(topic) => return Located::Error(ErrorCode::INCONSISTENT_TOPIC_ID),
            Meant::Replaced(_) | Meant::Gone => return Located::Error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Meant::Unknown => return Located::Error(ErrorCode::UNKNOWN_TOPIC_ID),
        }
        let topic = topic_ref(wanted, from.version);
        // Here every negative epoch is none.
        let partition = AskedPartition { index, leader_epoch: asked.current_leader_epoch.max(-1) };
        let found = match from.version {
            FOLLOWERS_SINCE.. => self.find_replica(from.node, topic, partition),
            _ => self.find_led(from.node, topic, partition),
        };
        let replica = match found {
            Ok(replica) => replica,
            Err(code) => return Located::Error(code),
        };
        if let Some(node) = self.nearer(from, topic, replica, asked) {
            return Located::Elsewhere { replica, node };
        }
        if asked.last_fetched_epoch >= 0 {
            match replica.log.end_of_epoch(asked.last_fetched_epoch) {
                None => return Located::Error(ErrorCode::OFFSET_OUT_OF_RANGE),
                // Whether epochs part counts for nothing before the start of the log.
                Some(_) if asked.fetch_offset < replica.log.start_offset() => {
                    return Located::Error(ErrorCode::OFFSET_OUT_OF_RANGE);
                }
                Some((epoch, end_offset)) if epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset => {
                    return Located::Diverging { replica, epoch, end_offset };
                }
                Some(_) => {}
            }
        }
        if (replica.log.start_offset()..=replica.end()).contains(&asked.fetch_offset) {
            Located::Data(replica)
        } else {
            Located::Error(ErrorCode::OFFSET_OUT_OF_RANGE)
        }
    }

    /// A replica in the reader's rack, if it has what is asked for and the leader is not there itself. Of several the one that has most.
    fn nearer(&self, from: From<'_>, topic: TopicRef<'_>, leader: &Replica, asked: &FetchPartition) -> Option<NodeId> {
        let stands_there = |node: NodeId| self.config.racks.get(&node).is_some_and(|rack| rack == from.rack);
        if from.rack.is_empty() || !leader.leads() || stands_there(leader.node) {
            return None;
        }
        let partition = self.find_topic(topic)?.partition(PartitionIndex(asked.partition))?;
        let serves = |replica: &&Replica| {
            let offsets = replica.log.start_offset()..=replica.end();
            let is_alive = !self.nodes.state(replica.node).is_fenced && leader.known.isr.contains(&replica.node);
            is_alive && stands_there(replica.node) && offsets.contains(&asked.fetch_offset)
        };
        // The first of those that have most: `max_by_key` would give the last.
        let candidates = partition.replicas.iter().rev().filter(serves);
        candidates.max_by_key(|replica| replica.end()).map(|replica| replica.node)
    }

    fn fetched_topics(&self, head: &RequestHead, request: &FetchRequest) -> Vec<Uuid> {
        let found = |topic| self.find_topic(topic_ref(topic, head.version)).map(|topic| topic.id);
        request.topics.iter().filter_map(found).collect()
    }
}

fn fetch_partition(
    located: Located<'_>,
    asked: &FetchPartition,
    isolation_level: i8,
    budget: &mut Budget,
) -> PartitionData {
    let answer = PartitionData {
        partition_index: asked.partition,
        high_watermark: -1,
        aborted_transactions: None,
        records: Some(Bytes::new()),
        ..Default::default()
    };
    let error = |code: ErrorCode, answer| PartitionData { error_code: code.0, ..answer };
    let bytes_max = budget.bytes_max(asked);
    match located {
        // What is not there is answered before isolation is looked at, with the default of the field.
        Located::Error(code @ (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID)) => {
            error(code, PartitionData { aborted_transactions: Some(Vec::new()), ..answer })
        }
        Located::Error(code) => error(code, answer),
        Located::Diverging { replica, epoch, end_offset } => {
            let diverging_epoch = EpochEndOffset { epoch, end_offset, ..Default::default() };
            PartitionData { diverging_epoch, ..with_offsets(answer, replica) }
        }
        Located::Elsewhere { replica, node } => {
            PartitionData { preferred_read_replica: node.0, ..with_offsets(answer, replica) }
        }
        Located::Data(replica) => match budget.read(replica, asked) {
            Ok(records) => {
                // A batch that does not fit is taken back, and nobody looks for its transactions then.
                let is_read = !records.is_empty() || asked.fetch_offset >= replica.high_watermark || bytes_max == 0;
                PartitionData {
                    records: Some(records),
                    aborted_transactions: (isolation_level == READ_COMMITTED && is_read).then(Vec::new),
                    ..with_offsets(answer, replica)
                }
            }
            Err(_) => error(ErrorCode::KAFKA_STORAGE_ERROR, answer),
        },
    }
}

/// What a fetch means by a topic.
enum Meant<'a> {
    Topic(&'a Topic),
    /// One that is gone and whose name another topic has, as its session remembers.
    Replaced(&'a Topic),
    /// One that is gone.
    Gone,
    /// An id that nothing is known of.
    Unknown,
}

enum Located<'a> {
    Data(&'a Replica),
    /// The reader has records of an epoch that ended before them: its log and this one differ (KIP-320).
    Diverging {
        replica: &'a Replica,
        epoch: i32,
        end_offset: i64,
    },
    /// The reader's own rack has a replica (KIP-392).
    Elsewhere {
        replica: &'a Replica,
        node: NodeId,
    },
    Error(ErrorCode),
}

/// The bytes that a response may still take.
struct Budget {
    left: usize,
    /// Whether no data has been given yet.
    whole_first: bool,
}

impl Budget {
    fn bytes_max(&self, asked: &FetchPartition) -> usize {
        self.left.min(limit(asked.partition_max_bytes) as usize)
    }

    fn read(&mut self, replica: &Replica, asked: &FetchPartition) -> Result<Bytes, crate::storage::StorageError> {
        let bytes_max = self.bytes_max(asked);
        let records = replica.log.read(asked.fetch_offset, replica.high_watermark, bytes_max, self.whole_first)?;
        self.left = self.left.saturating_sub(records.len());
        self.whole_first &= records.is_empty();
        Ok(records)
    }
}

fn record_bytes(responses: &[FetchableTopicResponse]) -> usize {
    let partitions = responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.records.as_ref().map_or(0, Bytes::len)).sum()
}

fn with_offsets(answer: PartitionData, replica: &Replica) -> PartitionData {
    PartitionData {
        high_watermark: replica.high_watermark,
        last_stable_offset: replica.high_watermark,
        log_start_offset: replica.log.start_offset(),
        ..answer
    }
}

fn topic_ref(topic: &FetchTopic, version: i16) -> TopicRef<'_> {
    if version >= TOPIC_IDS_SINCE { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(&topic.topic) }
}

fn is_same(told: &FetchableTopicResponse, asked: &FetchTopic, version: i16) -> bool {
    if version >= TOPIC_IDS_SINCE { told.topic_id == asked.topic_id } else { told.topic == asked.topic }
}

fn partitions(request: &FetchRequest) -> impl Iterator<Item = (&FetchTopic, &FetchPartition)> {
    request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
}

fn limit(bytes: i32) -> u32 {
    u32::try_from(bytes).unwrap_or(0)
}

/// `fetch.max.bytes` of a broker.
const RESPONSE_BYTES_MAX: u32 = 55 * 1024 * 1024;
/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version that is answered by followers.
const FOLLOWERS_SINCE: i16 = 11;
/// The first version that says who leads, and where that is. The field for who leads is older, and Kafka leaves it empty there.
const HINTS_SINCE: i16 = 16;
const READ_COMMITTED: i8 = 1;
