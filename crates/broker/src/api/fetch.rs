//! Fetch: batches out of logs, at once or when there is enough.
//!
//! Sessions are declined: a client that asks for one gets session id 0, which tells it to send every partition every time (KIP-227). The
//! first partition with data gives at least one whole batch, whatever the limits say; later ones may end in a cut batch (KIP-74).
//! Only what is committed is given. There are no transactions, so both isolation levels read the same. Consumers read from leaders only.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use milena_wire::{ErrorCode, Uuid};

use super::{Answer, AskedPartition, RequestHead, TopicRef, frame, write};
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::nodes::NodeState;
use crate::parking::{ParkedRequest, Waiting};
use crate::replica::Replica;

impl Cluster {
    pub(super) fn begin_fetch(
        &mut self,
        now: Moment,
        node: NodeId,
        head: RequestHead,
        request: FetchRequest,
    ) -> Result<Answer, CloseReason> {
        if let Some(code) = session_error(&request) {
            return write(head, FetchResponse { error_code: code.0, ..Default::default() });
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let topics = self.fetched_topics(&head, &request);
        if wait.is_zero() || topics.is_empty() || self.has_enough(node, head, &request) {
            return self.answer_fetch(node, head, &request).map(Answer::Frame);
        }
        Ok(Answer::Later(ParkedRequest { head, what: Waiting::Fetch(request), topics, deadline: now.elapsed + wait }))
    }

    /// Whether a fetch need not wait any longer: enough bytes, or something to tell that is no data.
    pub(crate) fn has_enough(&self, node: NodeId, head: RequestHead, request: &FetchRequest) -> bool {
        let bytes_max = u64::from(limit(request.max_bytes).min(RESPONSE_BYTES_MAX));
        let bytes_min = u64::try_from(request.min_bytes).unwrap_or(0).min(bytes_max);
        let mut bytes = 0;
        for (topic, partition) in partitions(request) {
            match self.locate(node, topic_ref(topic, head.version), partition) {
                Located::Data(replica) => {
                    let available = replica.log.bytes_between(partition.fetch_offset, replica.high_watermark);
                    bytes += available.min(u64::from(limit(partition.partition_max_bytes)));
                }
                Located::Diverging { .. } | Located::Error(_) => return true,
            }
        }
        bytes >= bytes_min
    }

    pub(crate) fn answer_fetch(
        &self,
        node: NodeId,
        head: RequestHead,
        request: &FetchRequest,
    ) -> Result<Bytes, CloseReason> {
        let mut budget = Budget { left: limit(request.max_bytes).min(RESPONSE_BYTES_MAX) as usize, whole_first: true };
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let asked = topic_ref(topic, head.version);
            let read = |partition| {
                let located = self.locate(node, asked, partition);
                let data = fetch_partition(located, partition, request.isolation_level, &mut budget);
                self.with_hint(node, head.version, asked, data)
            };
            responses.push(FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(read).collect(),
                ..Default::default()
            });
        }
        let node_endpoints = self.endpoints(head.version, &responses);
        frame(head, FetchResponse { responses, node_endpoints, ..Default::default() })
    }

    /// Tells who asked the wrong node which one to ask (KIP-951).
    fn with_hint(&self, node: NodeId, version: i16, topic: TopicRef<'_>, data: PartitionData) -> PartitionData {
        let strayed =
            matches!(ErrorCode(data.error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
        if version < LEADERS_SINCE || !strayed {
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
        if version < ENDPOINTS_SINCE {
            return Vec::new();
        }
        let partitions = responses.iter().flat_map(|topic| &topic.partitions);
        let leaders: BTreeSet<_> = partitions.map(|partition| partition.current_leader.leader_id).collect();
        let nodes = leaders.into_iter().filter_map(|id| self.nodes.get(NodeId(id)));
        let endpoint = |state: &NodeState| NodeEndpoint {
            node_id: state.node.id.0,
            host: state.node.host.as_str().into(),
            port: i32::from(state.node.port),
            ..Default::default()
        };
        nodes.map(endpoint).collect()
    }

    /// What there is to tell about a partition, before reading it.
    fn locate(&self, node: NodeId, topic: TopicRef<'_>, asked: &FetchPartition) -> Located<'_> {
        let index = PartitionIndex(asked.partition);
        let partition = AskedPartition { index, leader_epoch: asked.current_leader_epoch };
        let replica = match self.find_led(node, topic, partition) {
            Ok(replica) => replica,
            Err(code) => return Located::Error(code),
        };
        if asked.last_fetched_epoch >= 0 {
            match replica.log.end_of_epoch(asked.last_fetched_epoch) {
                None => return Located::Error(ErrorCode::OFFSET_OUT_OF_RANGE),
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
        aborted_transactions: (isolation_level == READ_COMMITTED).then(Vec::new),
        records: Some(Bytes::new()),
        ..Default::default()
    };
    let error = |code: ErrorCode, answer| PartitionData { error_code: code.0, ..answer };
    match located {
        Located::Error(code) => error(code, answer),
        Located::Diverging { replica, epoch, end_offset } => {
            let diverging_epoch = EpochEndOffset { epoch, end_offset, ..Default::default() };
            PartitionData { diverging_epoch, ..with_offsets(answer, replica) }
        }
        Located::Data(replica) => match budget.read(replica, asked) {
            Ok(records) => PartitionData { records: Some(records), ..with_offsets(answer, replica) },
            Err(_) => error(ErrorCode::KAFKA_STORAGE_ERROR, answer),
        },
    }
}

enum Located<'a> {
    Data(&'a Replica),
    /// The reader has records of an epoch that ended before them: its log and this one differ (KIP-320).
    Diverging {
        replica: &'a Replica,
        epoch: i32,
        end_offset: i64,
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
    fn read(&mut self, replica: &Replica, asked: &FetchPartition) -> Result<Bytes, crate::storage::StorageError> {
        let bytes_max = self.left.min(limit(asked.partition_max_bytes) as usize);
        let records = replica.log.read(asked.fetch_offset, replica.high_watermark, bytes_max, self.whole_first)?;
        self.left = self.left.saturating_sub(records.len());
        self.whole_first &= records.is_empty();
        Ok(records)
    }
}

fn session_error(request: &FetchRequest) -> Option<ErrorCode> {
    let full = matches!(request.session_epoch, 0 | -1);
    (!full).then_some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
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
/// The first version that says who leads, and the first that says where that is.
const LEADERS_SINCE: i16 = 12;
const ENDPOINTS_SINCE: i16 = 16;
const READ_COMMITTED: i8 = 1;
