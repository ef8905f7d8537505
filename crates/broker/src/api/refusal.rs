//! How an answer says an error that a fault wants said: for each API what parts a request has, and where in its answer each has its code.
//!
//! Works on frames, around the handlers, so that none of them knows of faults: what is refused and changes something is left out of the
//! request before it is executed, and told in the answer afterwards. Every API that is served is here; a test says so.

mod others;
mod partitions;

use bytes::Bytes;
use milena_wire::frame::{decode_response, encode_response};
use milena_wire::messages::alter_client_quotas::request::AlterClientQuotasRequest;
use milena_wire::messages::alter_configs::request::AlterConfigsRequest;
use milena_wire::messages::alter_partition_reassignments::request::AlterPartitionReassignmentsRequest;
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_partitions::request::CreatePartitionsRequest;
use milena_wire::messages::create_topics::request::CreateTopicsRequest;
use milena_wire::messages::delete_records::request::DeleteRecordsRequest;
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::describe_client_quotas::request::DescribeClientQuotasRequest;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_configs::request::DescribeConfigsRequest;
use milena_wire::messages::describe_log_dirs::request::DescribeLogDirsRequest;
use milena_wire::messages::describe_producers::request::DescribeProducersRequest;
use milena_wire::messages::describe_topic_partitions::request::DescribeTopicPartitionsRequest;
use milena_wire::messages::elect_leaders::request::ElectLeadersRequest;
use milena_wire::messages::fetch::request::FetchRequest;
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::incremental_alter_configs::request::IncrementalAlterConfigsRequest;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::list_config_resources::request::ListConfigResourcesRequest;
use milena_wire::messages::list_offsets::request::ListOffsetsRequest;
use milena_wire::messages::list_partition_reassignments::request::ListPartitionReassignmentsRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::offset_for_leader_epoch::request::OffsetForLeaderEpochRequest;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, DecodeError, Reader, Request, Uuid, Writer};

use super::RequestHead;
use crate::connection::CloseReason;
use crate::faults::Refused;
use crate::ids::PartitionIndex;
use crate::topics::Topics;

pub(crate) use partitions::fetched_parts;

/// A topic, or a partition of one, that a request names and its answer has an error for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its name, also if the request has its id. Empty if there is no topic with that id.
    pub(crate) topic: Box<str>,
    pub(crate) partition: Option<PartitionIndex>,
    /// As the request has them, and so the answer.
    asked: Asked,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    name: Option<Box<str>>,
    id: Uuid,
    /// What kind of resource it is, where requests are about others than topics, too.
    resource_type: i8,
}

impl Part {
    fn of_topic(name: &str) -> Part {
        Part { topic: name.into(), partition: None, asked: Asked { name: Some(name.into()), ..Asked::default() } }
    }

    fn of_partition(name: &str, partition: i32) -> Part {
        Part { partition: Some(PartitionIndex(partition)), ..Part::of_topic(name) }
    }

    fn with_id(self, id: Uuid) -> Part {
        Part { asked: Asked { id, ..self.asked }, ..self }
    }

    /// A topic or something else that has settings; a fault about a topic fits topics only.
    fn of_resource(resource_type: i8, name: &str) -> Part {
        let part = Part::of_topic(name);
        let topic = if resource_type == TOPIC_RESOURCE { name.into() } else { "".into() };
        Part { topic, asked: Asked { resource_type, ..part.asked }, ..part }
    }

    fn name(&self) -> Box<str> {
        self.asked.name.clone().unwrap_or_default()
    }

    fn index(&self) -> i32 {
        self.partition.map_or(-1, |index| index.0)
    }

    /// Whether an answer's topic is the one that was asked for.
    fn is_of(&self, name: &str, id: Uuid) -> bool {
        self.asked.name.as_deref().unwrap_or_default() == name && self.asked.id == id
    }

    fn resolve(mut self, topics: &Topics) -> Part {
        if self.topic.is_empty()
            && let Some(topic) = topics.with_id(self.asked.id)
        {
            self.topic = topic.name.as_str().into();
        }
        self
    }
}

/// The parts of a request; none for all topics that there are.
type Parts = Option<Vec<Part>>;

/// What an answer says of a part, or of the whole.
pub(crate) type Told = (Option<Part>, Refused);

type Tell = fn(RequestHead, Option<Bytes>, &[Told]) -> Result<Bytes, CloseReason>;

/// What can be done to the frames of an API.
pub(crate) struct Refusal {
    parts: fn(Reader, i16) -> Result<Parts, DecodeError>,
    leave_out: fn(Reader, i16, &[bool]) -> Result<Reader, CloseReason>,
    tell: Tell,
    changes: bool,
}

impl Refusal {
    /// None for an API that is not served.
    pub(crate) fn of(api: ApiKey) -> Option<Refusal> {
        Some(match api {
            ApiKey::PRODUCE => of::<ProduceRequest>(),
            ApiKey::FETCH => of::<FetchRequest>(),
            ApiKey::LIST_OFFSETS => of::<ListOffsetsRequest>(),
            ApiKey::METADATA => of::<MetadataRequest>(),
            ApiKey::FIND_COORDINATOR => of::<FindCoordinatorRequest>(),
            ApiKey::API_VERSIONS => of::<ApiVersionsRequest>(),
            ApiKey::CREATE_TOPICS => of::<CreateTopicsRequest>(),
            ApiKey::DELETE_TOPICS => of::<DeleteTopicsRequest>(),
            ApiKey::DELETE_RECORDS => of::<DeleteRecordsRequest>(),
            ApiKey::INIT_PRODUCER_ID => of::<InitProducerIdRequest>(),
            ApiKey::OFFSET_FOR_LEADER_EPOCH => of::<OffsetForLeaderEpochRequest>(),
            ApiKey::DESCRIBE_CONFIGS => of::<DescribeConfigsRequest>(),
            ApiKey::ALTER_CONFIGS => of::<AlterConfigsRequest>(),
            ApiKey::DESCRIBE_LOG_DIRS => of::<DescribeLogDirsRequest>(),
            ApiKey::CREATE_PARTITIONS => of::<CreatePartitionsRequest>(),
            ApiKey::ELECT_LEADERS => of::<ElectLeadersRequest>(),
            ApiKey::INCREMENTAL_ALTER_CONFIGS => of::<IncrementalAlterConfigsRequest>(),
            ApiKey::ALTER_PARTITION_REASSIGNMENTS => of::<AlterPartitionReassignmentsRequest>(),
            ApiKey::LIST_PARTITION_REASSIGNMENTS => of::<ListPartitionReassignmentsRequest>(),
            ApiKey::DESCRIBE_CLIENT_QUOTAS => of::<DescribeClientQuotasRequest>(),
            ApiKey::ALTER_CLIENT_QUOTAS => of::<AlterClientQuotasRequest>(),
            ApiKey::DESCRIBE_CLUSTER => of::<DescribeClusterRequest>(),
            ApiKey::DESCRIBE_PRODUCERS => of::<DescribeProducersRequest>(),
            ApiKey::LIST_CONFIG_RESOURCES => of::<ListConfigResourcesRequest>(),
            ApiKey::DESCRIBE_TOPIC_PARTITIONS => of::<DescribeTopicPartitionsRequest>(),
            _ => return None,
        })
    }

    /// The parts of a request, in its order, those of its session after those that it names; none if it is answered as a whole.
    pub(crate) fn parts(
        &self,
        (body, version): (Reader, i16),
        session: Vec<Part>,
        topics: &Topics,
    ) -> Result<Vec<Part>, DecodeError> {
        let all = || topics.iter().map(|topic| Part::of_topic(&topic.name)).collect();
        let mut parts = (self.parts)(body, version)?.unwrap_or_else(all);
        let unnamed =
            |part: &Part| !parts.iter().any(|named| (&named.asked, named.partition) == (&part.asked, part.partition));
        let unnamed: Vec<Part> = session.into_iter().filter(unnamed).collect();
        parts.extend(unnamed);
        Ok(parts.into_iter().map(|part| part.resolve(topics)).collect())
    }

    /// Whether a request of this API is not executed at all when it is refused as a whole.
    pub(crate) fn changes_something(&self) -> bool {
        self.changes
    }

    /// The request without its refused parts, where executing them would change something. It waits for nothing.
    pub(crate) fn leave_out(&self, body: Reader, version: i16, refused: &[bool]) -> Result<Reader, CloseReason> {
        (self.leave_out)(body, version, refused)
    }

    /// The answer with what is to be told; made anew if there is none. Both with their lengths.
    pub(crate) fn tell(&self, head: RequestHead, answer: Option<Bytes>, told: &[Told]) -> Result<Bytes, CloseReason> {
        (self.tell)(head, answer, told)
    }
}

fn of<R: Refusable>() -> Refusal
where
    R::Response: Default,
{
    Refusal { parts: parts::<R>, leave_out: leave_out::<R>, tell: tell::<R>, changes: R::CHANGES }
}

fn parts<R: Refusable>(mut body: Reader, version: i16) -> Result<Parts, DecodeError> {
    Ok(R::read(&mut body, version)?.parts(version))
}

fn leave_out<R: Refusable>(mut body: Reader, version: i16, refused: &[bool]) -> Result<Reader, CloseReason> {
    let mut request = R::read(&mut body, version).map_err(CloseReason::Malformed)?;
    request.leave_out(refused);
    let mut writer = Writer::with_capacity(REQUEST_BYTES_USUAL);
    request.write(&mut writer, version).map_err(CloseReason::Unanswerable)?;
    Ok(Reader::new(Bytes::from(writer.into_bytes())))
}

fn tell<R: Refusable>(head: RequestHead, answer: Option<Bytes>, told: &[Told]) -> Result<Bytes, CloseReason>
where
    R::Response: Default,
{
    let mut response = match answer {
        Some(frame) => {
            let read = decode_response::<R>(frame.slice(LENGTH_BYTES..), head.version);
            read.expect("what was just written can be read").1
        }
        None => R::Response::default(),
    };
    for (part, refused) in told {
        R::tell(&mut response, part.as_ref(), *refused);
    }
    let frame = encode_response(head.correlation_id, head.version, &response).map_err(CloseReason::Unanswerable)?;
    Ok(Bytes::from(frame))
}

/// A request that can be refused in parts or as a whole.
trait Refusable: Request {
    /// Whether executing it changes something, so that it matters whether it is refused before or after.
    const CHANGES: bool = false;

    fn parts(&self, _version: i16) -> Parts {
        Some(Vec::new())
    }

    /// Takes out the parts that are refused, in the order of `parts`. Nobody needs to if it only reads.
    fn leave_out(&mut self, _refused: &[bool]) {}

    /// Puts a code where it belongs: beside a part that is there, or with a part that is not, or for the whole.
    fn tell(response: &mut Self::Response, part: Option<&Part>, refused: Refused);
}

/// What is there already, or is put there.
fn entry<T>(entries: &mut Vec<T>, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let found = entries.iter().position(is_it);
    let at = found.unwrap_or_else(|| {
        entries.push(make());
        entries.len() - 1
    });
    &mut entries[at]
}

/// ConfigResource.Type.TOPIC in Kafka.
const TOPIC_RESOURCE: i8 = 2;
/// Most requests without records fit.
const REQUEST_BYTES_USUAL: usize = 256;
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SERVED;

    #[test]
    fn every_api_that_is_served_can_be_refused() {
        let missing: Vec<ApiKey> = SERVED.into_iter().filter(|api| Refusal::of(*api).is_none()).collect();
        assert!(missing.is_empty(), "say in api/refusal.rs how these are refused: {missing:?}");
    }
}
