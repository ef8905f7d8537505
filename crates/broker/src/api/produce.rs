//! Produce: batches into logs.
//!
//! One node has every replica, so a batch is committed when it is appended, acks=1 and acks=all answer at once, and the request's timeout
//! never passes. With acks=0 there is no answer; a refusal closes the connection, which is all that the client can notice.

use milena_wire::ErrorCode;
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::messages::produce::response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use milena_wire::records::BatchHeader;

use super::{Answer, RequestHead, TopicRef, write};
use crate::batch_check::Judge;
use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::PartitionIndex;
use crate::moment::Moment;
use crate::partition::Produced;
use crate::topics::Topic;

impl Cluster {
    pub(super) fn answer_produce(
        &mut self,
        now: Moment,
        head: RequestHead,
        request: &ProduceRequest,
    ) -> Result<Answer, CloseReason> {
        let arrival = Arrival { now, version: head.version };
        let responses: Vec<_> = match refusal(request) {
            None => request.topic_data.iter().map(|topic| self.produce(topic, arrival)).collect(),
            Some(code) => {
                let refuse = |topic| answer_all(topic, |_| Produced::error(code));
                request.topic_data.iter().map(refuse).collect()
            }
        };
        if request.acks == 0 {
            return match first_error(&responses) {
                None => Ok(Answer::Silence),
                Some(code) => Err(CloseReason::SilentProduceRefused(code)),
            };
        }
        write(head, &ProduceResponse { responses, ..Default::default() })
    }

    fn produce(&mut self, data: &TopicProduceData, arrival: Arrival) -> TopicProduceResponse {
        let by_id = arrival.version >= TOPIC_IDS_SINCE;
        let asked = if by_id { TopicRef::Id(data.topic_id) } else { TopicRef::Name(&data.name) };
        let topic = match asked {
            TopicRef::Id(id) => self.topics.with_id_mut(id),
            TopicRef::Name(name) => self.topics.named_mut(name),
        };
        let Some(topic) = topic else {
            return answer_all(data, |_| Produced::error(asked.unknown()));
        };
        let id = topic.id;
        let response = answer_all(data, |partition| produce_to(topic, partition, arrival));
        self.wake_fetches(arrival.now, id);
        response
    }
}

/// When a batch came, and how.
#[derive(Clone, Copy)]
struct Arrival {
    now: Moment,
    version: i16,
}

fn produce_to(topic: &mut Topic, data: &PartitionProduceData, arrival: Arrival) -> Produced {
    let Arrival { now, version } = arrival;
    let leader_epoch = topic.leader_epoch;
    let config = topic.config.clone();
    match topic.partition_mut(PartitionIndex(data.index)) {
        None => Produced::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Some(partition) => {
            partition.produce(data.records.clone(), Judge { config: &config, now, version }, leader_epoch)
        }
    }
}

/// Why a whole request is refused.
fn refusal(request: &ProduceRequest) -> Option<ErrorCode> {
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let transactional = |data: &PartitionProduceData| {
        let header = BatchHeader::read(data.records.as_deref().unwrap_or_default());
        header.is_ok_and(|header| header.attributes.is_transactional())
    };
    if request.transactional_id.is_none() && batches.into_iter().any(transactional) {
        return Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    (!(-1..=1).contains(&request.acks)).then_some(ErrorCode::INVALID_REQUIRED_ACKS)
}

fn answer_all(
    data: &TopicProduceData,
    mut produce: impl FnMut(&PartitionProduceData) -> Produced,
) -> TopicProduceResponse {
    TopicProduceResponse {
        name: data.name.clone(),
        topic_id: data.topic_id,
        partition_responses: data.partition_data.iter().map(|data| response(data.index, produce(data))).collect(),
        ..Default::default()
    }
}

fn response(index: i32, produced: Produced) -> PartitionProduceResponse {
    let record_error = |index| BatchIndexAndErrorMessage { batch_index: index, ..Default::default() };
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

fn first_error(responses: &[TopicProduceResponse]) -> Option<ErrorCode> {
    let mut codes = responses.iter().flat_map(|topic| &topic.partition_responses).map(|p| ErrorCode(p.error_code));
    codes.find(|code| !code.is_none())
}

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
