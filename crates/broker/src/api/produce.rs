//! Produce: batches into logs, and answers when as many replicas have them as the client wants.
//!
//! With acks=1 the leader's append is enough. With acks=all the answer waits until every replica in sync has the batch, a duplicate's original
//! too, at most for the request's timeout; meanwhile the connection is muted. Waiting requests are looked at again when the leadership
//! changes, so an error may follow an append: the base offset beside it says so. With acks=0 there is no answer; a refusal closes the
//! connection, which is all that the client can notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::messages::produce::response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use milena_wire::records::{BatchHeader, Compression};
use milena_wire::{ErrorCode, Uuid};

use super::{Answer, RequestHead, TopicRef, frame, write};
use crate::batch_check::{BadRecord, Judge, Unreadable, ZSTD_SINCE, attributes, is_newest, next_batch};
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::{ConnectionId, NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::parking::{ParkedRequest, Waiting};
use crate::partition::{Arrival, Produced};

/// A Produce request whose batches are in the leaders' logs, and not all committed.
#[derive(Debug)]
pub(crate) struct WaitingProduce {
    /// The answer so far.
    response: ProduceResponse,
    /// What it still waits for.
    batches: Vec<WaitingBatch>,
}

#[derive(Debug)]
struct WaitingBatch {
    topic: Uuid,
    partition: PartitionIndex,
    /// One past its last record.
    end_offset: i64,
    /// Where in the answer it is: topic, partition.
    at: (usize, usize),
}

/// How a Produce request came.
#[derive(Clone, Copy)]
struct Request {
    now: Moment,
    node: NodeId,
    version: i16,
    acks: i16,
    /// Whether it names a transactional id.
    transactional: bool,
}

impl Cluster {
    pub(super) fn answer_produce(
        &mut self,
        now: Moment,
        node: NodeId,
        head: RequestHead,
        request: &ProduceRequest,
    ) -> Result<Answer, CloseReason> {
        let transactional = request.transactional_id.is_some();
        let how = Request { now, node, version: head.version, acks: request.acks, transactional };
        let mut produce = WaitingProduce { response: ProduceResponse::default(), batches: Vec::new() };
        let refused = self.refusal(request, head.version);
        for data in each_once(request) {
            let response = match &refused {
                None => self.produce(how, &data, &mut produce),
                Some(Unreadable { code, message }) => {
                    data.answer_all(|_, _| Produced { message: message.clone(), ..Produced::error(*code) })
                }
            };
            produce.response.responses.push(response);
        }
        if request.acks == 0 {
            return match first_error(&produce.response) {
                None => Ok(Answer::Silence),
                Some(code) => Err(CloseReason::SilentProduceRefused(code)),
            };
        }
        let acks_all = how.acks == ALL;
        if acks_all {
            self.review(node, &mut produce);
        }
        if !acks_all || produce.batches.is_empty() {
            self.give_hints(node, head.version, &mut produce.response);
            return write(head, produce.response);
        }
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let topics = produce.batches.iter().map(|batch| batch.topic).collect();
        let deadline = now.elapsed + timeout;
        let what = Waiting::Produce(produce);
        Ok(Answer::Later(Box::new(ParkedRequest { head, client: Box::default(), what, topics, deadline })))
    }

    fn produce(&mut self, how: Request, data: &Once<'_>, produce: &mut WaitingProduce) -> TopicProduceResponse {
        let asked = topic_ref(how.version, &data.topic.name, data.topic.topic_id);
        let topic = match asked {
            TopicRef::Id(id) => self.topics.with_id_mut(id),
            TopicRef::Name(name) => self.topics.named_mut(name),
        };
        let Some(topic) = topic else {
            return data.answer_all(|_, _| Produced::error(asked.unknown()));
        };
        let (id, config) = (topic.id, Arc::clone(&topic.config));
        let timestamp_after_max = self.config.release.timestamp_after_max(&config);
        let name = topic.name.clone();
        let flush = self.config.flush.of_topic(&config);
        let arrival = Arrival { node: how.node, acks_all: how.acks == ALL, flush };
        let is_in_transaction = |batch: &[u8]| how.transactional && is_transactional(batch);
        let topic_at = produce.response.responses.len();
        data.answer_all(|at, data| {
            let index = PartitionIndex(data.index);
            let found = self.topics.with_id_mut(id).and_then(|topic| topic.partition_mut(index));
            let Some(partition) = found else {
                return Produced::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            };
            let place = (name.as_str(), data.index);
            let judge = Judge { config: &config, timestamp_after_max, now: how.now, version: how.version, place };
            let batch = match judge.shape(data.records.as_ref()) {
                Ok(_) if !(-1..=1).contains(&how.acks) => return Produced::error(ErrorCode::INVALID_REQUIRED_ACKS),
                // Nobody gives out ids for transactions, so no transaction has this one.
                Ok(batch) if is_in_transaction(&batch) => {
                    return Produced::error(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
                }
                Ok(batch) => batch,
                Err(refused) => return Produced::refused(refused),
            };
            let produced = partition.produce(&batch, judge, arrival);
            if let Some(end_offset) = produced.end_offset {
                produce.batches.push(WaitingBatch { topic: id, partition: index, end_offset, at: (topic_at, at) });
            }
            self.replicate(how.now, id, index);
            produced
        })
    }

    /// Why a whole request is refused: what Kafka meets before it looks at single partitions.
    fn refusal(&self, request: &ProduceRequest, version: i16) -> Option<Unreadable> {
        let data =
            || request.topic_data.iter().flat_map(|topic| topic.partition_data.iter().map(move |data| (topic, data)));
        for (_, PartitionProduceData { records, .. }) in data() {
            let batch = records.as_deref().unwrap_or_default();
            match next_batch(batch) {
                Err(unreadable) => return Some(unreadable),
                Ok(Some(_)) if is_newest(batch) && attributes(batch).is_transactional() => {
                    let code = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
                    let is_named = request.transactional_id.is_some();
                    return (!is_named).then_some(Unreadable { code, message: None });
                }
                Ok(_) => {}
            }
        }
        // Older versions look for zstd, and fail to name what they find.
        let is_there = |topic: &TopicProduceData, index| {
            let topic = self.find_topic(topic_ref(version, &topic.name, topic.topic_id));
            topic.is_some_and(|topic| topic.partition(PartitionIndex(index)).is_some())
        };
        let is_nameless = |(topic, data): (&TopicProduceData, &PartitionProduceData)| {
            let batch = data.records.as_deref().unwrap_or_default();
            let codec = attributes(batch).compression();
            let is_odd = is_newest(batch) && matches!(codec, Compression::Unknown(_));
            is_odd && matches!(next_batch(batch), Ok(Some(_))) && is_there(topic, data.index)
        };
        let is_refused = version < ZSTD_SINCE && data().any(is_nameless);
        is_refused.then_some(Unreadable { code: ErrorCode::UNKNOWN_SERVER_ERROR, message: None })
    }

    /// Whether a waiting request has got all that it waits for.
    pub(crate) fn review_produce(&mut self, node: NodeId, connection: ConnectionId) -> bool {
        let Some(request) = self.parking.request_mut(connection) else { return false };
        let Waiting::Produce(waiting) = &mut request.what else { return false };
        let empty = WaitingProduce { response: ProduceResponse::default(), batches: Vec::new() };
        let mut produce = std::mem::replace(waiting, empty);
        self.review(node, &mut produce);
        let is_over = produce.batches.is_empty();
        if let Some(request) = self.parking.request_mut(connection) {
            request.what = Waiting::Produce(produce);
        }
        is_over
    }

    /// Takes out what need not wait any longer, and notes in the answer what became of it.
    fn review(&self, node: NodeId, produce: &mut WaitingProduce) {
        let WaitingProduce { response, batches } = produce;
        batches.retain(|batch| {
            let fate = self.fate_of(node, batch);
            if let Some(code) = fate {
                note(response, batch, code);
            }
            fate.is_none()
        });
    }

    /// What a batch can be answered with; none while it has to wait. Where it lay stays in the answer, whatever the error.
    fn fate_of(&self, node: NodeId, batch: &WaitingBatch) -> Option<ErrorCode> {
        let Some(topic) = self.topics.with_id(batch.topic) else {
            return Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let partition = topic.partition(batch.partition)?;
        partition.committed(node, batch.end_offset, topic.config.min_isr(partition.replicas().count()))
    }

    /// The answer of a request that has waited: what is not committed by now has timed out.
    pub(crate) fn end_produce(
        &self,
        node: NodeId,
        head: RequestHead,
        mut produce: WaitingProduce,
    ) -> Result<bytes::Bytes, CloseReason> {
        for batch in std::mem::take(&mut produce.batches) {
            note(&mut produce.response, &batch, ErrorCode::REQUEST_TIMED_OUT);
        }
        self.give_hints(node, head.version, &mut produce.response);
        frame(head, produce.response)
    }

    /// Tells who asked the wrong node which one to ask, and where that is (KIP-951).
    fn give_hints(&self, node: NodeId, version: i16, response: &mut ProduceResponse) {
        if version < HINTS_SINCE {
            return;
        }
        let mut leaders = BTreeSet::new();
        for topic in &mut response.responses {
            let asked = topic_ref(version, &topic.name, topic.topic_id);
            let strayed =
                |partition: &&mut PartitionProduceResponse| partition.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER.0;
            for partition in topic.partition_responses.iter_mut().filter(strayed) {
                let hint = self.leader_hint(node, asked, PartitionIndex(partition.index));
                let leader_id = hint.and_then(|hint| hint.leader).map_or(-1, |leader| leader.0);
                let leader_epoch = hint.map_or(-1, |hint| hint.epoch);
                partition.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch, ..Default::default() };
                leaders.insert(leader_id);
            }
        }
        response.node_endpoints = leaders.into_iter().filter_map(|id| self.endpoint(NodeId(id))).collect();
    }

    fn endpoint(&self, node: NodeId) -> Option<NodeEndpoint> {
        let node = &self.nodes.get(node)?.node;
        let (host, port) = (node.host.as_str().into(), i32::from(node.port));
        Some(NodeEndpoint { node_id: node.id.0, host, port, rack: self.rack(node.id), ..Default::default() })
    }
}

fn note(response: &mut ProduceResponse, batch: &WaitingBatch, code: ErrorCode) {
    let (topic, partition) = batch.at;
    response.responses[topic].partition_responses[partition].error_code = code.0;
}

/// Batches without a producer id are not looked for in transactions.
fn is_transactional(batch: &[u8]) -> bool {
    BatchHeader::read(batch).is_ok_and(|header| header.attributes.is_transactional() && header.producer_id >= 0)
}

fn topic_ref(version: i16, name: &str, id: Uuid) -> TopicRef<'_> {
    if version >= TOPIC_IDS_SINCE { TopicRef::Id(id) } else { TopicRef::Name(name) }
}

/// What a request has for a topic.
struct Once<'a> {
    topic: &'a TopicProduceData,
    partitions: Vec<&'a PartitionProduceData>,
}

impl Once<'_> {
    fn answer_all(&self, mut produce: impl FnMut(usize, &PartitionProduceData) -> Produced) -> TopicProduceResponse {
        let partitions = self.partitions.iter().enumerate();
        TopicProduceResponse {
            name: self.topic.name.clone(),
            topic_id: self.topic.topic_id,
            partition_responses: partitions.map(|(at, data)| response(data.index, produce(at, data))).collect(),
            ..Default::default()
        }
    }
}

/// Every topic once, and every partition once, with what is named last for it.
fn each_once(request: &ProduceRequest) -> Vec<Once<'_>> {
    let mut topics: Vec<Once<'_>> = Vec::with_capacity(request.topic_data.len());
    let (mut topic_places, mut places) = (BTreeMap::new(), BTreeMap::new());
    for topic in &request.topic_data {
        let at = *topic_places.entry((&topic.name, topic.topic_id)).or_insert(topics.len());
        if at == topics.len() {
            topics.push(Once { topic, partitions: Vec::with_capacity(topic.partition_data.len()) });
        }
        let partitions = &mut topics[at].partitions;
        for data in &topic.partition_data {
            match *places.entry((at, data.index)).or_insert(partitions.len()) {
                place if place == partitions.len() => partitions.push(data),
                known => partitions[known] = data,
            }
        }
    }
    topics
}

fn response(index: i32, produced: Produced) -> PartitionProduceResponse {
    let record_error = |bad: BadRecord| BatchIndexAndErrorMessage {
        batch_index: bad.index,
        batch_index_error_message: Some(bad.message.into()),
        ..Default::default()
    };
    PartitionProduceResponse {
        index,
        error_code: produced.code.0,
        base_offset: produced.base_offset,
        log_append_time_ms: produced.append_timestamp,
        log_start_offset: produced.log_start_offset,
        record_errors: produced.bad_records.into_iter().map(record_error).collect(),
        error_message: produced.message.map(Into::into),
        ..Default::default()
    }
}

fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let mut codes =
        response.responses.iter().flat_map(|topic| &topic.partition_responses).map(|p| ErrorCode(p.error_code));
    codes.find(|code| !code.is_none())
}

/// Acks of those who wait for every replica in sync.
const ALL: i16 = -1;
/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version that says who leads (KIP-951).
const HINTS_SINCE: i16 = 10;
