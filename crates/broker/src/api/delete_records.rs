//! DeleteRecords: a partition's records before an offset go, on all replicas (KIP-107).
//!
//! Followers delete in the same moment. Where one copies late, the answer waits for it, at most for the request's timeout.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_wire::messages::delete_records::request::{DeleteRecordsRequest, DeleteRecordsTopic};
use milena_wire::messages::delete_records::response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use milena_wire::{ErrorCode, Uuid};

use super::{Answer, RequestHead, frame, write};
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::{ConnectionId, NodeId, PartitionIndex};
use crate::moment::Moment;
use crate::parking::{ParkedRequest, Waiting};

/// A request whose leaders have deleted, and not all followers.
#[derive(Debug, Default)]
pub(crate) struct WaitingDelete {
    /// The answer if the time is over now.
    response: DeleteRecordsResponse,
    /// What it still waits for.
    deletions: Vec<WaitingDeletion>,
}

#[derive(Debug)]
struct WaitingDeletion {
    topic: Uuid,
    partition: PartitionIndex,
    /// Where the leader's log starts now.
    start: i64,
    /// Where in the answer it is: topic, partition.
    at: (usize, usize),
}

impl Cluster {
    pub(super) fn answer_delete_records(
        &mut self,
        now: Moment,
        node: NodeId,
        head: RequestHead,
        request: &DeleteRecordsRequest,
    ) -> Result<Answer, CloseReason> {
        let mut delete = WaitingDelete::default();
        for topic in &request.topics {
            let result = self.delete_of_topic(now, node, topic, &mut delete);
            delete.response.topics.push(result);
        }
        self.review_deletions(node, &mut delete);
        if delete.deletions.is_empty() || request.timeout_ms <= 0 {
            return write(head, delete.response);
        }
        let topics = delete.deletions.iter().map(|deletion| deletion.topic).collect();
        let deadline = now.elapsed + Duration::from_millis(u64::from(request.timeout_ms.unsigned_abs()));
        let what = Waiting::Delete(delete);
        Ok(Answer::Later(Box::new(ParkedRequest { head, client: Box::default(), what, topics, deadline })))
    }

    fn delete_of_topic(
        &mut self,
        now: Moment,
        node: NodeId,
        asked: &DeleteRecordsTopic,
        delete: &mut WaitingDelete,
    ) -> DeleteRecordsTopicResult {
        // A partition that is named twice means the last time, as Kafka reads it.
        let wanted: BTreeMap<i32, i64> = asked.partitions.iter().map(|it| (it.partition_index, it.offset)).collect();
        let mut partitions = Vec::with_capacity(wanted.len());
        for (index, offset) in wanted {
            let partition = PartitionIndex(index);
            let (code, low_watermark) = match self.delete_records_before(now, node, (&asked.name, partition), offset) {
                Ok(low_watermark) => (ErrorCode::REQUEST_TIMED_OUT, low_watermark),
                Err(code) => (code, -1),
            };
            let led = self.topics.named(&asked.name).map(|topic| (topic.id, topic.partition(partition)));
            if code == ErrorCode::REQUEST_TIMED_OUT
                && let Some((topic, Some(found))) = led
                && let Ok(leader) = found.led_on(node)
            {
                let (start, at) = (leader.log.start_offset(), (delete.response.topics.len(), partitions.len()));
                delete.deletions.push(WaitingDeletion { topic, partition, start, at });
            }
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark,
                error_code: code.0,
                ..Default::default()
            });
        }
        DeleteRecordsTopicResult { name: asked.name.clone(), partitions, ..Default::default() }
    }

    /// Whether a waiting request has got all that it waits for.
    pub(crate) fn review_delete(&mut self, node: NodeId, connection: ConnectionId) -> bool {
        let Some(request) = self.parking.request_mut(connection) else { return false };
        let Waiting::Delete(waiting) = &mut request.what else { return false };
        let mut delete = std::mem::take(waiting);
        self.review_deletions(node, &mut delete);
        let is_over = delete.deletions.is_empty();
        if let Some(request) = self.parking.request_mut(connection) {
            request.what = Waiting::Delete(delete);
        }
        is_over
    }

    /// Takes out what need not wait any longer, and notes in the answer what became of it.
    fn review_deletions(&self, node: NodeId, delete: &mut WaitingDelete) {
        let WaitingDelete { response, deletions } = delete;
        deletions.retain(|deletion| {
            let (topic, partition) = deletion.at;
            let result = &mut response.topics[topic].partitions[partition];
            match self.low_watermark(node, deletion) {
                Err(code) => (result.error_code, result.low_watermark) = (code.0, -1),
                Ok(low_watermark) if low_watermark < deletion.start => return true,
                Ok(low_watermark) => (result.error_code, result.low_watermark) = (0, low_watermark),
            }
            false
        });
    }

    /// The smallest offset that is left on any replica that works.
    fn low_watermark(&self, node: NodeId, deletion: &WaitingDeletion) -> Result<i64, ErrorCode> {
        let topic = self.topics.with_id(deletion.topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let found = topic.partition(deletion.partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let leader = found.led_on(node)?;
        let working = found.replicas.iter().filter(|replica| self.nodes.state(replica.node).works());
        Ok(working.map(|replica| replica.log.start_offset()).min().unwrap_or(leader.log.start_offset()))
    }

    /// The answer of a request that has waited.
    pub(crate) fn end_delete(&self, head: RequestHead, delete: WaitingDelete) -> Result<bytes::Bytes, CloseReason> {
        frame(head, delete.response)
    }
}
