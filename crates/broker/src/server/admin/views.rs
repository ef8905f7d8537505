//! How the cluster looks in JSON.
//!
//! Bytes that are not UTF-8 stand as base64 in a field of their own (`value_base64`), as in `milena consume --json`, so every answer is
//! valid JSON and every record can be told from every other.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::faults::{Effect, FaultEntry};
use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::nodes::{NodeState, Process};
use crate::partition::Partition;
use crate::snapshot::{ConnectionEntry, LogSnapshot, LoggedRecord};
use crate::topics::Topic;

#[derive(Serialize)]
pub(super) struct ClusterView<'a> {
    pub(super) cluster_id: &'a str,
    pub(super) bootstrap: &'a str,
    pub(super) nodes: Vec<NodeView<'a>>,
}

#[derive(Serialize)]
pub(super) struct NodeView<'a> {
    id: i32,
    host: &'a str,
    port: u16,
    /// Null: none.
    rack: Option<&'a str>,
    process: &'static str,
    fenced: bool,
    /// Null: not late. −1: copies nothing.
    lag_ms: Option<i64>,
    metadata_age_ms: u64,
    connections: usize,
}

pub(super) fn cluster<'a>(cluster: &'a Cluster, bootstrap: &'a str) -> ClusterView<'a> {
    let nodes = cluster.nodes.iter().map(|state| node(cluster, state)).collect();
    ClusterView { cluster_id: cluster.cluster_id(), bootstrap, nodes }
}

pub(super) fn node<'a>(cluster: &'a Cluster, state: &'a NodeState) -> NodeView<'a> {
    let process = match state.process {
        Process::Running => "running",
        Process::Waking => "waking",
        Process::Frozen => "frozen",
        Process::Stopped => "stopped",
    };
    NodeView {
        id: state.node.id.0,
        host: &state.node.host,
        port: state.node.port,
        rack: cluster.config.racks.get(&state.node.id).map(String::as_str),
        process,
        fenced: state.is_fenced,
        lag_ms: state.lag.map(|lag| i64::try_from(lag.as_millis()).unwrap_or(-1)),
        metadata_age_ms: u64::try_from(state.metadata_age.as_millis()).unwrap_or(u64::MAX),
        connections: cluster.clients().filter(|client| client.node == state.node.id).count(),
    }
}

#[derive(Serialize)]
pub(super) struct TopicView<'a> {
    name: &'a str,
    topic_id: String,
    partitions: Vec<PartitionView>,
}

#[derive(Serialize)]
pub(super) struct PartitionView {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    /// Of a move that is not over: replicas that are not in sync yet, and those that will leave.
    adding_replicas: Vec<i32>,
    removing_replicas: Vec<i32>,
    start_offset: i64,
    high_watermark: i64,
    end_offset: i64,
    producers: usize,
}

pub(super) fn topic(topic: &Topic) -> TopicView<'_> {
    let partitions = topic.partitions().iter().zip((0..).map(PartitionIndex));
    TopicView {
        name: topic.name(),
        topic_id: topic.id().to_string(),
        partitions: partitions.map(|(found, index)| partition(found, index)).collect(),
    }
}

pub(super) fn partition(found: &Partition, PartitionIndex(index): PartitionIndex) -> PartitionView {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    PartitionView {
        partition: index,
        leader: found.leader().map(|node| node.0),
        leader_epoch: found.leader_epoch(),
        replicas: found.replicas().map(|node| node.0).collect(),
        isr: numbers(found.isr()),
        adding_replicas: numbers(&found.moving.adding),
        removing_replicas: numbers(&found.moving.removing),
        start_offset: found.log().start_offset(),
        high_watermark: found.high_watermark(),
        end_offset: found.log().next_offset(),
        producers: found.producers().iter().count(),
    }
}

#[derive(Serialize)]
pub(super) struct ProducerView<'a> {
    topic: &'a str,
    partition: i32,
    producer_id: i64,
    producer_epoch: i16,
    last_sequence: Option<i32>,
    last_timestamp: i64,
    /// The batches that would be recognised if they came again, oldest first.
    batches: Vec<BatchView>,
}

#[derive(Serialize)]
struct BatchView {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
}

pub(super) fn producers<'a>(topic: &'a str, index: PartitionIndex, found: &Partition) -> Vec<ProducerView<'a>> {
    let view = |(id, entry): (crate::ids::ProducerId, &crate::producer_state::ProducerEntry)| ProducerView {
        topic,
        partition: index.0,
        producer_id: id.0,
        producer_epoch: entry.epoch().0,
        last_sequence: entry.last_sequence().map(|sequence| sequence.0),
        last_timestamp: entry.last_timestamp(),
        batches: entry.cached().map(batch).collect(),
    };
    found.producers().iter().map(view).collect()
}

fn batch(cached: &crate::producer_state::CachedBatch) -> BatchView {
    BatchView {
        first_sequence: cached.first.0,
        last_sequence: cached.last.0,
        base_offset: cached.base_offset,
        last_offset: cached.last_offset,
    }
}

#[derive(Serialize)]
pub(super) struct ConnectionView {
    id: u64,
    node: i32,
    client: Option<String>,
    last_api: Option<&'static str>,
    requests: u64,
    waiting: usize,
    throttled_ms: u64,
}

pub(super) fn connection(entry: ConnectionEntry, now: Moment) -> ConnectionView {
    let left = entry.throttled_until.map_or(0, |until| until.saturating_sub(now.elapsed).as_millis());
    ConnectionView {
        id: entry.id.0,
        node: entry.node.0,
        client: entry.client,
        last_api: entry.api.map(milena_wire::ApiKey::name),
        requests: entry.requests,
        waiting: entry.waiting,
        throttled_ms: u64::try_from(left).unwrap_or(u64::MAX),
    }
}

#[derive(Serialize)]
pub(super) struct FaultView {
    id: u64,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    api: Option<&'static str>,
    node: Option<i32>,
    client: Option<String>,
    topic: Option<String>,
    partition: Option<i32>,
    skip: u32,
    times: Option<u32>,
    lasting_ms: Option<u64>,
    hits: u64,
    spared: u64,
    over: bool,
    /// What its maker may not have meant; told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

pub(super) fn fault(entry: FaultEntry) -> FaultView {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let named = |code: milena_wire::ErrorCode| code.name().map_or_else(|| code.0.to_string(), str::to_owned);
    let (effect, code, time_ms, bytes) = match entry.fault.effect {
        Effect::Refuse(code) => ("refuse", Some(named(code)), None, None),
        Effect::RefuseAfter(code) => ("refuse_after", Some(named(code)), None, None),
        Effect::CloseBefore => ("close_before", None, None, None),
        Effect::CloseAfter => ("close_after", None, None, None),
        Effect::LoseAnswer => ("lose_answer", None, None, None),
        Effect::Delay(time) => ("delay", None, Some(millis(time)), None),
        Effect::Cut(bytes) => ("cut", None, None, Some(bytes)),
        Effect::Throttle(time) => ("throttle", None, Some(millis(time)), None),
    };
    FaultView {
        id: entry.id.0,
        effect,
        code,
        time_ms,
        bytes,
        api: entry.fault.api.map(milena_wire::ApiKey::name),
        node: entry.fault.node.map(|NodeId(node)| node),
        client: entry.fault.client,
        topic: entry.fault.topic,
        partition: entry.fault.partition.map(|PartitionIndex(index)| index),
        skip: entry.fault.skip,
        times: entry.fault.times,
        lasting_ms: entry.fault.lasting.map(millis),
        hits: entry.hits,
        spared: entry.spared,
        over: entry.is_over,
        note: None,
    }
}

#[derive(Serialize)]
pub(super) struct LogView<'a> {
    topic: &'a str,
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    start_offset: i64,
    high_watermark: i64,
    end_offset: i64,
    records: Vec<RecordView<'a>>,
}

#[derive(Serialize)]
struct RecordView<'a> {
    offset: i64,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<HeaderView<'a>>,
    producer_id: Option<i64>,
    producer_epoch: Option<i16>,
    sequence: Option<i32>,
    leader_epoch: i32,
    batch: i64,
    committed: bool,
}

#[derive(Serialize)]
struct HeaderView<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

pub(super) fn log<'a>(topic: &'a str, partition: PartitionIndex, snapshot: &'a LogSnapshot) -> LogView<'a> {
    let committed = snapshot.high_watermark;
    LogView {
        topic,
        partition: partition.0,
        leader: snapshot.leader.map(|node| node.0),
        leader_epoch: snapshot.leader_epoch,
        start_offset: snapshot.start_offset,
        high_watermark: snapshot.high_watermark,
        end_offset: snapshot.end_offset,
        records: snapshot.records.iter().map(|found| record(found, found.offset < committed)).collect(),
    }
}

fn record(found: &LoggedRecord, committed: bool) -> RecordView<'_> {
    let (key, key_base64) = told(found.key.as_deref());
    let (value, value_base64) = told(found.value.as_deref());
    let headers = found.headers.iter().map(|(key, bytes)| {
        let (value, value_base64) = told(bytes.as_deref());
        HeaderView { key, value, value_base64 }
    });
    RecordView {
        offset: found.offset,
        timestamp: found.timestamp,
        key,
        key_base64,
        value,
        value_base64,
        headers: headers.collect(),
        producer_id: found.stamp.map(|stamp| stamp.producer_id.0),
        producer_epoch: found.stamp.map(|stamp| stamp.epoch.0),
        sequence: found.stamp.map(|stamp| stamp.sequence.0),
        leader_epoch: found.leader_epoch,
        batch: found.batch,
        committed,
    }
}

/// Text or null in the field, or base64 in the other one.
fn told(bytes: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (Some(None), None),
        Some(Ok(text)) => (Some(Some(text)), None),
        Some(Err(bytes)) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}
