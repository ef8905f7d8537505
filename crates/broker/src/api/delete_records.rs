//! DeleteRecords: a partition's records before an offset go, on all replicas (KIP-107).
//!
//! Followers delete in the same moment. Where one copies late, the answer is the offset that it still has, without waiting for it.

use std::collections::BTreeMap;

use milena_wire::ErrorCode;
use milena_wire::messages::delete_records::request::{DeleteRecordsRequest, DeleteRecordsTopic};
use milena_wire::messages::delete_records::response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::cluster::Cluster;
use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;

impl Cluster {
    pub(super) fn delete_records(
        &mut self,
        now: Moment,
        node: NodeId,
        request: &DeleteRecordsRequest,
    ) -> DeleteRecordsResponse {
        let topics = request.topics.iter().map(|topic| self.delete_of_topic(now, node, topic)).collect();
        DeleteRecordsResponse { topics, ..Default::default() }
    }

    fn delete_of_topic(&mut self, now: Moment, node: NodeId, asked: &DeleteRecordsTopic) -> DeleteRecordsTopicResult {
        // A partition that is named twice means the last time, as Kafka reads it.
        let wanted: BTreeMap<i32, i64> = asked.partitions.iter().map(|it| (it.partition_index, it.offset)).collect();
        let mut partitions = Vec::with_capacity(wanted.len());
        for (index, offset) in wanted {
            let deleted = self.delete_records_before(now, node, (&asked.name, PartitionIndex(index)), offset);
            let (code, low_watermark) = match deleted {
                Ok(low_watermark) => (ErrorCode::NONE, low_watermark),
                Err(code) => (code, -1),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark,
                error_code: code.0,
                ..Default::default()
            });
        }
        DeleteRecordsTopicResult { name: asked.name.clone(), partitions, ..Default::default() }
    }
}
