//! Fetch: batches out of logs, at once or when there is enough.
//!
//! Sessions are declined: a client that asks for one gets session id 0, which tells it to send every partition every time (KIP-227). The
//! first partition with data gives at least one whole batch, whatever the limits say; later ones may end in a cut batch (KIP-74).
//! Everything in a log is committed, and there are no transactions, so both isolation levels read the same.

use std::time::Duration;

use bytes::Bytes;
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData};
use milena_wire::{ErrorCode, Uuid};

use super::{Answer, AskedPartition, RequestHead, TopicRef, frame, write};
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::PartitionIndex;
use crate::log::PartitionLog;
use crate::moment::Moment;
use crate::parking::ParkedFetch;

impl Cluster {
    pub(super) fn begin_fetch(
        &mut self,
        now: Moment,
        head: RequestHead,
        request: FetchRequest,
    ) -> Result<Answer, CloseReason> {
        if let Some(code) = session_error(&request) {
            return write(head, &FetchResponse { error_code: code.0, ..Default::default() });
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let topics = self.fetched_topics(&head, &request);
        let fetch = ParkedFetch { head, request, topics, deadline: now.elapsed + wait };
        if wait.is_zero() || fetch.topics.is_empty() || self.has_enough(&fetch) {
            return self.answer_fetch(&fetch.head, &fetch.request).map(Answer::Frame);
        }
        Ok(Answer::Later(fetch))
    }

    /// Whether a fetch need not wait any longer: enough bytes, or something to tell that is no data.
    pub(crate) fn has_enough(&self, fetch: &ParkedFetch) -> bool {
        let bytes_max = u64::from(limit(fetch.request.max_bytes).min(RESPONSE_BYTES_MAX));
        let bytes_min = u64::try_from(fetch.request.min_bytes).unwrap_or(0).min(bytes_max);
        let mut bytes = 0;
        for (topic, partition) in partitions(&fetch.request) {
            match self.locate(topic_ref(topic, fetch.head.version), partition) {
                Located::Data(log) => {
                    bytes +=
                        log.bytes_from(partition.fetch_offset).min(u64::from(limit(partition.partition_max_bytes)));
                }
                Located::Diverging { .. } | Located::Error(_) => return true,
            }
        }
        bytes >= bytes_min
    }

    pub(crate) fn answer_fetch(&self, head: &RequestHead, request: &FetchRequest) -> Result<Bytes, CloseReason> {
        let mut budget = Budget { left: limit(request.max_bytes).min(RESPONSE_BYTES_MAX) as usize, whole_first: true };
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let asked = topic_ref(topic, head.version);
            let read = |partition| self.fetch_partition(asked, partition, request.isolation_level, &mut budget);
            responses.push(FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(read).collect(),
                ..Default::default()
            });
        }
        frame(*head, &FetchResponse { responses, ..Default::default() })
    }

    fn fetch_partition(
        &self,
        topic: TopicRef<'_>,
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
        match self.locate(topic, asked) {
            Located::Error(code) => error(code, answer),
            Located::Diverging { log, epoch, end_offset } => {
                let diverging_epoch = EpochEndOffset { epoch, end_offset, ..Default::default() };
                PartitionData { diverging_epoch, ..with_offsets(answer, log) }
            }
            Located::Data(log) => match budget.read(log, asked) {
                Ok(records) => PartitionData { records: Some(records), ..with_offsets(answer, log) },
                Err(_) => error(ErrorCode::KAFKA_STORAGE_ERROR, answer),
            },
        }
    }

    /// What there is to tell about a partition, before reading it.
    fn locate(&self, topic: TopicRef<'_>, asked: &FetchPartition) -> Located<'_> {
        let index = PartitionIndex(asked.partition);
        let partition = AskedPartition { index, leader_epoch: asked.current_leader_epoch };
        let log = match self.find_partition(topic, partition) {
            Ok(partition) => partition.log(),
            Err(code) => return Located::Error(code),
        };
        if asked.last_fetched_epoch >= 0 {
            match log.end_of_epoch(asked.last_fetched_epoch) {
                None => return Located::Error(ErrorCode::OFFSET_OUT_OF_RANGE),
                Some((epoch, end_offset)) if epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset => {
                    return Located::Diverging { log, epoch, end_offset };
                }
                Some(_) => {}
            }
        }
        if (log.start_offset()..=log.next_offset()).contains(&asked.fetch_offset) {
            Located::Data(log)
        } else {
            Located::Error(ErrorCode::OFFSET_OUT_OF_RANGE)
        }
    }

    fn fetched_topics(&self, head: &RequestHead, request: &FetchRequest) -> Vec<Uuid> {
        let found = |topic| self.find_topic(topic_ref(topic, head.version)).map(|topic| topic.id);
        request.topics.iter().filter_map(found).collect()
    }
}

enum Located<'a> {
    Data(&'a PartitionLog),
    /// The reader has records of an epoch that ended before them: its log and this one differ (KIP-320).
    Diverging {
        log: &'a PartitionLog,
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
    fn read(&mut self, log: &PartitionLog, asked: &FetchPartition) -> Result<Bytes, crate::storage::StorageError> {
        let bytes_max = self.left.min(limit(asked.partition_max_bytes) as usize);
        let records = log.read(asked.fetch_offset, bytes_max, self.whole_first)?;
        self.left = self.left.saturating_sub(records.len());
        self.whole_first &= records.is_empty();
        Ok(records)
    }
}

fn session_error(request: &FetchRequest) -> Option<ErrorCode> {
    let full = matches!(request.session_epoch, 0 | -1);
    (!full).then_some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
}

fn with_offsets(answer: PartitionData, log: &PartitionLog) -> PartitionData {
    PartitionData {
        high_watermark: log.next_offset(),
        last_stable_offset: log.next_offset(),
        log_start_offset: log.start_offset(),
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
const READ_COMMITTED: i8 = 1;
