//! Asking brokers what a case wants to know.
//!
//! Always holds: whoever is asked leads the partition as far as is known; what went wrong is asked again after the metadata's pause,
//! until nothing new came for as long as the caller waits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_core::ids::Identity;
use milena_core::producer::back::{LogAnswer, OffsetAnswer};
use milena_core::producer::settle::{Case, Heard, Step};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::list_offsets::request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::{BatchHeader, RecordLayout};
use milena_wire::{ErrorCode, Request, Uuid, crc32c};

use super::{SettleError, wall_millis};
use crate::record::Record;
use crate::unstable::cluster::{Cluster, Leader};
use crate::unstable::error::{ClusterError, Setback};

pub(super) struct Asker {
    cluster: Cluster,
}

/// Since these versions topics are named by their ids.
const PRODUCE_BY_ID_FROM: i16 = 13;
const FETCH_BY_ID_FROM: i16 = 13;

/// A piece of a log; a broker gives at least one batch, however large.
const LOG_BYTES_MAX: i32 = 1024 * 1024;

/// How long a broker waits for what is not committed yet.
const LOG_WAIT: Duration = Duration::from_millis(100);

/// How long a broker may wait for its followers.
const FENCE_WAIT: Duration = Duration::from_secs(2);

/// What consumers ask for who want the end of the log.
const LATEST: i64 = -1;

impl Asker {
    pub(super) async fn connect(servers: &str, client_id: &str, timeout: Duration) -> Result<Self, SettleError> {
        let servers: Vec<String> =
            servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect();
        if servers.is_empty() {
            return Err(SettleError::Config(crate::ConfigError::NoBootstrapServers));
        }
        let cluster = Cluster::connect(&servers, client_id, timeout).await.map_err(|error| match error {
            ClusterError::Config(error) => SettleError::Config(error),
            error => SettleError::Unreachable(error.to_string()),
        })?;
        Ok(Self { cluster })
    }

    /// Until it is settled, or nobody tells more: then why.
    pub(super) async fn settle(&mut self, case: &mut Case, fence: Option<&Record<'static>>) -> Option<String> {
        // The same bytes however often it is sent.
        let fence_at = wall_millis();
        let mut until = self.cluster.until();
        loop {
            let asked = match case.step() {
                Step::Done => return case.fence_refused().map(|code| format!("the fence was refused: {code}")),
                Step::Identify => self.identify(case, until).await,
                Step::Fence(identity) => {
                    let fence = fence.expect("a case without a fence asks for none");
                    match encode(fence, identity, fence_at) {
                        Some(records) => self.fence(case, records, until).await,
                        None => Ok(Ok(case.handle_fence(ErrorCode::MESSAGE_TOO_LARGE, -1))),
                    }
                }
                Step::End => self.end(case, until).await,
                Step::Log { offset } => self.log(case, offset, until).await,
            };
            let setback = match asked {
                Ok(Ok(Heard::Taken)) => {
                    until = self.cluster.until();
                    continue;
                }
                Ok(Ok(Heard::Again)) => Setback::NothingNew,
                Ok(Err(setback)) => setback,
                Err(error) => return give_up(case, &error),
            };
            if let Err(error) = self.cluster.refresh(setback, until).await {
                return give_up(case, &error);
            }
        }
    }

    async fn identify(&mut self, case: &mut Case, until: Instant) -> Asked {
        let topic = self.cluster.topic(&case.topic().name, until).await?;
        let index = usize::try_from(case.partition().0).unwrap_or(usize::MAX);
        let id = topic.filter(|topic| index < topic.partitions().len()).map(|topic| topic.id());
        let cluster = self.cluster.id().cloned();
        case.handle_identity(cluster.as_deref(), id);
        Ok(Ok(Heard::Taken))
    }

    async fn fence(&mut self, case: &mut Case, records: Bytes, until: Instant) -> Asked {
        let (topic, index) = (case.topic(), case.partition().0);
        let request = |version| {
            let partition = PartitionProduceData { index, records: Some(records), ..PartitionProduceData::default() };
            let by_id = version >= PRODUCE_BY_ID_FROM;
            let topic = TopicProduceData {
                name: if by_id { "".into() } else { (*topic.name).into() },
                topic_id: if by_id { topic.id } else { Uuid::ZERO },
                partition_data: vec![partition],
                ..TopicProduceData::default()
            };
            ProduceRequest {
                acks: -1,
                timeout_ms: FENCE_WAIT.as_millis() as i32,
                topic_data: vec![topic],
                ..ProduceRequest::default()
            }
        };
        let response = match self.ask(case, until, PRODUCE_BY_ID_FROM, request).await? {
            Ok(response) => response,
            Err(setback) => return Ok(Err(setback)),
        };
        let told = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let told = told.into_iter().find(|told| told.index == index);
        Ok(told.map(|told| case.handle_fence(ErrorCode(told.error_code), told.base_offset)).ok_or(Setback::NothingNew))
    }

    async fn end(&mut self, case: &mut Case, until: Instant) -> Asked {
        let (topic, index) = (case.topic(), case.partition().0);
        let request = |_| {
            let partition = ListOffsetsPartition {
                partition_index: index,
                current_leader_epoch: -1,
                timestamp: LATEST,
                ..ListOffsetsPartition::default()
            };
            let name = (*topic.name).into();
            let topic = ListOffsetsTopic { name, partitions: vec![partition], ..ListOffsetsTopic::default() };
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() }
        };
        let response = match self.ask(case, until, i16::MAX, request).await? {
            Ok(response) => response,
            Err(setback) => return Ok(Err(setback)),
        };
        let told = response.topics.iter().flat_map(|topic| &topic.partitions);
        let Some(told) = told.into_iter().find(|told| told.partition_index == index) else {
            return Ok(Err(Setback::NothingNew));
        };
        let (error, end_offset) = (ErrorCode(told.error_code), told.offset);
        Ok(Ok(case.handle_end(&OffsetAnswer { error, end_offset, leader_epoch: told.leader_epoch })))
    }

    async fn log(&mut self, case: &mut Case, offset: i64, until: Instant) -> Asked {
        let (topic, index) = (case.topic(), case.partition().0);
        let request = |version| {
            let partition = FetchPartition {
                partition: index,
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                partition_max_bytes: LOG_BYTES_MAX,
                ..FetchPartition::default()
            };
            let by_id = version >= FETCH_BY_ID_FROM;
            let topic = FetchTopic {
                topic: if by_id { "".into() } else { (*topic.name).into() },
                topic_id: if by_id { topic.id } else { Uuid::ZERO },
                partitions: vec![partition],
                ..FetchTopic::default()
            };
            FetchRequest {
                max_wait_ms: LOG_WAIT.as_millis() as i32,
                min_bytes: 1,
                max_bytes: LOG_BYTES_MAX,
                session_epoch: -1,
                topics: vec![topic],
                ..FetchRequest::default()
            }
        };
        let response = match self.ask(case, until, i16::MAX, request).await? {
            Ok(response) => response,
            Err(setback) => return Ok(Err(setback)),
        };
        let whole = ErrorCode(response.error_code);
        let told = response.responses.into_iter().flat_map(|topic| topic.partitions);
        let told = told.into_iter().find(|told| told.partition_index == index);
        let answer = match told {
            _ if !whole.is_none() => LogAnswer { error: whole, records: Bytes::new() },
            Some(told) => LogAnswer { error: ErrorCode(told.error_code), records: told.records.unwrap_or_default() },
            None => return Ok(Err(Setback::NothingNew)),
        };
        Ok(Ok(case.handle_log(&answer)))
    }

    /// The partition's leader; the inner error is worth another attempt.
    async fn ask<R: Request>(
        &mut self,
        case: &Case,
        until: Instant,
        by_id_from: i16,
        request: impl FnOnce(i16) -> R,
    ) -> Result<Result<R::Response, Setback>, ClusterError> {
        let topic = case.topic();
        let Leader { address, .. } = self.cluster.leader(&topic.name, case.partition().0, until).await?;
        // One that told no ids of topics speaks no version that needs one.
        let version_max = if topic.id.is_zero() { by_id_from.min(FETCH_BY_ID_FROM) - 1 } else { i16::MAX };
        match self.cluster.ask(&address, version_max, request, until).await {
            Ok(response) => Ok(Ok(response)),
            Err(error) if error.is_passing() => Ok(Err(Setback::Link(error))),
            Err(error) => Err(ClusterError::Broken { address, error }),
        }
    }
}

/// What came of a question: an answer's use, what is worth another attempt, or what is not.
type Asked = Result<Result<Heard, Setback>, ClusterError>;

fn give_up(case: &mut Case, why: &ClusterError) -> Option<String> {
    case.give_up();
    Some(why.to_string())
}

/// A batch of this one record; none if no batch can hold it.
fn encode(record: &Record<'_>, identity: Identity, at: i64) -> Option<Bytes> {
    let (fence, value) = (record.as_fence(), record.value_bytes());
    let layout = RecordLayout::new(0, 0, fence.key, value.map(<[u8]>::len), fence.headers).ok()?;
    let mut body = Vec::with_capacity(layout.total_len());
    layout.write(value, &mut body);
    let header = BatchHeader {
        base_timestamp: at,
        max_timestamp: at,
        producer_id: identity.producer_id.0,
        producer_epoch: identity.epoch.0,
        base_sequence: 0,
        last_offset_delta: 0,
        record_count: 1,
        ..BatchHeader::default()
    };
    let header = header.seal(body.len(), crc32c::checksum(&body));
    Some([&header[..], &body].concat().into())
}
