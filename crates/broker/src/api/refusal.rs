//! How an answer says an error that a fault wants said: for each API what parts a request has, and where in its answer each has its code.
//!
//! Works on frames, around the handlers, so that none of them knows of faults: what is refused and changes something is left out of the
//! request before it is executed, and told in the answer afterwards. Every API that is served is here; a test says so.

use bytes::Bytes;
use milena_wire::frame::{decode_response, encode_response};
use milena_wire::messages::alter_configs::request::AlterConfigsRequest;
use milena_wire::messages::alter_configs::response::AlterConfigsResourceResponse;
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_partitions::request::CreatePartitionsRequest;
use milena_wire::messages::create_partitions::response::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use milena_wire::messages::create_topics::request::CreateTopicsRequest;
use milena_wire::messages::create_topics::response::{CreatableTopicResult, CreateTopicsResponse};
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::delete_topics::response::{DeletableTopicResult, DeleteTopicsResponse};
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_configs::request::DescribeConfigsRequest;
use milena_wire::messages::describe_configs::response::DescribeConfigsResult;
use milena_wire::messages::describe_producers::request::DescribeProducersRequest;
use milena_wire::messages::describe_producers::response::{PartitionResponse, TopicResponse};
use milena_wire::messages::describe_topic_partitions::request::DescribeTopicPartitionsRequest;
use milena_wire::messages::describe_topic_partitions::response::DescribeTopicPartitionsResponse;
use milena_wire::messages::fetch::request::{FetchRequest, FetchTopic};
use milena_wire::messages::fetch::response::{FetchResponse, FetchableTopicResponse, PartitionData};
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::find_coordinator::response::FindCoordinatorResponse;
use milena_wire::messages::incremental_alter_configs::request::IncrementalAlterConfigsRequest;
use milena_wire::messages::incremental_alter_configs::response::AlterConfigsResourceResponse as IncrementalResponse;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::list_config_resources::request::ListConfigResourcesRequest;
use milena_wire::messages::list_offsets::request::ListOffsetsRequest;
use milena_wire::messages::list_offsets::response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{MetadataResponse, MetadataResponseTopic};
use milena_wire::messages::offset_for_leader_epoch::request::OffsetForLeaderEpochRequest;
use milena_wire::messages::offset_for_leader_epoch::response::{EpochEndOffset, OffsetForLeaderTopicResult};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use milena_wire::{ApiKey, DecodeError, Reader, Request, Uuid, Writer};

use super::RequestHead;
use crate::connection::CloseReason;
use crate::faults::Refused;
use crate::ids::PartitionIndex;
use crate::topics::Topics;

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
            ApiKey::INIT_PRODUCER_ID => of::<InitProducerIdRequest>(),
            ApiKey::OFFSET_FOR_LEADER_EPOCH => of::<OffsetForLeaderEpochRequest>(),
            ApiKey::DESCRIBE_CONFIGS => of::<DescribeConfigsRequest>(),
            ApiKey::ALTER_CONFIGS => of::<AlterConfigsRequest>(),
            ApiKey::CREATE_PARTITIONS => of::<CreatePartitionsRequest>(),
            ApiKey::INCREMENTAL_ALTER_CONFIGS => of::<IncrementalAlterConfigsRequest>(),
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

/// Requests that are answered with one code.
macro_rules! as_a_whole {
    ($($request:ident $(changes $changes:literal)?),* $(,)?) => {
        $(impl Refusable for $request {
            $(const CHANGES: bool = $changes;)?

            fn tell(response: &mut Self::Response, _part: Option<&Part>, refused: Refused) {
                response.error_code = refused.code.0;
            }
        })*
    };
}

as_a_whole!(
    ApiVersionsRequest,
    DescribeClusterRequest,
    InitProducerIdRequest changes true,
    ListConfigResourcesRequest,
);

/// Requests that only read, and are answered with a code for each partition.
macro_rules! reads_partitions {
    ($($request:ident { $topics:ident: $name:ident, $partitions:ident: $($index:ident)? }
        => $answers:ident: $topic_answer:ident { $answer_name:ident }, $partition_answer:ident { $answer_index:ident };)*) => {
        $(impl Refusable for $request {
            fn parts(&self, _version: i16) -> Parts {
                let mut parts = Vec::new();
                for topic in &self.$topics {
                    let index = topic.$partitions.iter().map(|partition| reads_partitions!(@index partition $($index)?));
                    parts.extend(index.map(|index| Part::of_partition(&topic.$name, index)));
                }
                Some(parts)
            }

            fn tell(response: &mut Self::Response, part: Option<&Part>, refused: Refused) {
                let Some(part) = part else { return };
                let name = part.name();
                let topic = entry(
                    &mut response.$answers,
                    |topic| topic.$answer_name == name,
                    || $topic_answer { $answer_name: name.clone(), ..Default::default() },
                );
                let partition = entry(
                    &mut topic.partitions,
                    |partition| partition.$answer_index == part.index(),
                    || $partition_answer { $answer_index: part.index(), ..Default::default() },
                );
                *partition = $partition_answer {
                    $answer_index: part.index(),
                    error_code: refused.code.0,
                    ..Default::default()
                };
            }
        })*
    };
    (@index $partition:ident $index:ident) => { $partition.$index };
    (@index $partition:ident) => { *$partition };
}

reads_partitions! {
    ListOffsetsRequest { topics: name, partitions: partition_index }
        => topics: ListOffsetsTopicResponse { name }, ListOffsetsPartitionResponse { partition_index };
    OffsetForLeaderEpochRequest { topics: topic, partitions: partition }
        => topics: OffsetForLeaderTopicResult { topic }, EpochEndOffset { partition };
    DescribeProducersRequest { topics: name, partition_indexes: }
        => topics: TopicResponse { name }, PartitionResponse { partition_index };
}

impl Refusable for ProduceRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        let mut parts = Vec::new();
        for topic in &self.topic_data {
            let part = |index| Part::of_partition(&topic.name, index).with_id(topic.topic_id);
            parts.extend(topic.partition_data.iter().map(|partition| part(partition.index)));
        }
        Some(parts)
    }

    fn leave_out(&mut self, refused: &[bool]) {
        let mut refused = refused.iter();
        for topic in &mut self.topic_data {
            topic.partition_data.retain(|_| refused.next() != Some(&true));
        }
        self.topic_data.retain(|topic| !topic.partition_data.is_empty());
    }

    /// The offset of a batch that was written stays, as Kafka tells it beside REQUEST_TIMED_OUT.
    fn tell(response: &mut ProduceResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        let topic = entry(
            &mut response.responses,
            |topic| part.is_of(&topic.name, topic.topic_id),
            || TopicProduceResponse { name: part.name(), topic_id: part.asked.id, ..Default::default() },
        );
        let partition = entry(
            &mut topic.partition_responses,
            |partition| partition.index == part.index(),
            || PartitionProduceResponse {
                index: part.index(),
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: -1,
                ..Default::default()
            },
        );
        partition.error_code = refused.code.0;
    }
}

impl Refusable for FetchRequest {
    fn parts(&self, _version: i16) -> Parts {
        Some(fetched_parts(&self.topics))
    }

    /// An error is told at once.
    fn leave_out(&mut self, refused: &[bool]) {
        if refused.contains(&true) {
            self.max_wait_ms = 0;
        }
    }

    fn tell(response: &mut FetchResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else {
            response.error_code = refused.code.0;
            response.responses.clear();
            return;
        };
        let topic = entry(
            &mut response.responses,
            |topic| part.is_of(&topic.topic, topic.topic_id),
            || FetchableTopicResponse { topic: part.name(), topic_id: part.asked.id, ..Default::default() },
        );
        let untold = || PartitionData {
            partition_index: part.index(),
            high_watermark: -1,
            records: Some(Bytes::new()),
            ..Default::default()
        };
        let partition = entry(&mut topic.partitions, |partition| partition.partition_index == part.index(), untold);
        *partition = PartitionData { error_code: refused.code.0, ..untold() };
    }
}

impl Refusable for MetadataRequest {
    fn parts(&self, version: i16) -> Parts {
        let part = |topic: &MetadataRequestTopic| {
            let name = topic.name.clone();
            Part {
                topic: name.clone().unwrap_or_default(),
                partition: None,
                asked: Asked { name, id: topic.topic_id, ..Asked::default() },
            }
        };
        match &self.topics {
            // Version 0 says "all" with an empty list; in later ones that is "none", which has nothing to refuse.
            Some(topics) if !topics.is_empty() || version > 0 => Some(topics.iter().map(part).collect()),
            _ => None,
        }
    }

    fn tell(response: &mut MetadataResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        let is_it = |topic: &MetadataResponseTopic| match &part.asked.name {
            Some(name) => topic.name.as_ref() == Some(name),
            None => topic.topic_id == part.asked.id,
        };
        let topic = entry(&mut response.topics, is_it, || MetadataResponseTopic {
            name: Some(part.topic.clone()),
            topic_id: part.asked.id,
            ..Default::default()
        });
        topic.error_code = refused.code.0;
        topic.partitions.clear();
    }
}

impl Refusable for CreateTopicsRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        Some(self.topics.iter().map(|topic| Part::of_topic(&topic.name)).collect())
    }

    fn leave_out(&mut self, refused: &[bool]) {
        let mut refused = refused.iter();
        self.topics.retain(|_| refused.next() != Some(&true));
    }

    fn tell(response: &mut CreateTopicsResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        let name = part.name();
        let topic = entry(
            &mut response.topics,
            |topic| topic.name == name,
            || CreatableTopicResult { name: name.clone(), ..Default::default() },
        );
        topic.error_code = refused.code.0;
    }
}

impl Refusable for DeleteTopicsRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        let named = self.topic_names.iter().map(|name| Part::of_topic(name));
        let either = self.topics.iter().map(|topic| Part {
            topic: topic.name.clone().unwrap_or_default(),
            partition: None,
            asked: Asked { name: topic.name.clone(), id: topic.topic_id, ..Asked::default() },
        });
        Some(named.chain(either).collect())
    }

    fn leave_out(&mut self, refused: &[bool]) {
        let mut refused = refused.iter();
        self.topic_names.retain(|_| refused.next() != Some(&true));
        self.topics.retain(|_| refused.next() != Some(&true));
    }

    fn tell(response: &mut DeleteTopicsResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        let is_it = |topic: &DeletableTopicResult| match &part.asked.name {
            Some(name) => topic.name.as_ref() == Some(name),
            None => topic.topic_id == part.asked.id,
        };
        let topic = entry(&mut response.responses, is_it, || DeletableTopicResult {
            name: part.asked.name.clone(),
            topic_id: part.asked.id,
            ..Default::default()
        });
        topic.error_code = refused.code.0;
    }
}

impl Refusable for CreatePartitionsRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        Some(self.topics.iter().map(|topic| Part::of_topic(&topic.name)).collect())
    }

    fn leave_out(&mut self, refused: &[bool]) {
        let mut refused = refused.iter();
        self.topics.retain(|_| refused.next() != Some(&true));
    }

    fn tell(response: &mut CreatePartitionsResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        let name = part.name();
        let topic = entry(
            &mut response.results,
            |topic| topic.name == name,
            || CreatePartitionsTopicResult { name: name.clone(), ..Default::default() },
        );
        topic.error_code = refused.code.0;
    }
}

/// Requests about the settings of resources.
macro_rules! about_resources {
    ($($request:ident $(changes $changes:literal)? => $answers:ident: $answer:ident,)*) => {
        $(impl Refusable for $request {
            $(const CHANGES: bool = $changes;)?

            fn parts(&self, _version: i16) -> Parts {
                let resources = self.resources.iter();
                Some(resources.map(|resource| Part::of_resource(resource.resource_type, &resource.resource_name)).collect())
            }

            fn leave_out(&mut self, refused: &[bool]) {
                let mut refused = refused.iter();
                self.resources.retain(|_| !(Self::CHANGES && refused.next() == Some(&true)));
            }

            fn tell(response: &mut Self::Response, part: Option<&Part>, refused: Refused) {
                let Some(part) = part else { return };
                let (resource_type, resource_name) = (part.asked.resource_type, part.name());
                let resource = entry(
                    &mut response.$answers,
                    |known| known.resource_type == resource_type && known.resource_name == resource_name,
                    || $answer { resource_type, resource_name: resource_name.clone(), ..Default::default() },
                );
                resource.error_code = refused.code.0;
            }
        })*
    };
}

about_resources! {
    DescribeConfigsRequest => results: DescribeConfigsResult,
    AlterConfigsRequest changes true => responses: AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest changes true => responses: IncrementalResponse,
}

/// What is on another page is told there.
impl Refusable for DescribeTopicPartitionsRequest {
    fn parts(&self, _version: i16) -> Parts {
        let named = self.topics.iter().map(|topic| Part::of_topic(&topic.name));
        if self.topics.is_empty() { None } else { Some(named.collect()) }
    }

    fn tell(response: &mut DescribeTopicPartitionsResponse, part: Option<&Part>, refused: Refused) {
        let Some(part) = part else { return };
        for topic in response.topics.iter_mut().filter(|topic| topic.name == part.asked.name) {
            topic.error_code = refused.code.0;
            topic.partitions.clear();
        }
    }
}

/// Newer versions ask for several coordinators, each with its code; older ones for one.
impl Refusable for FindCoordinatorRequest {
    fn tell(response: &mut FindCoordinatorResponse, _part: Option<&Part>, refused: Refused) {
        if response.coordinators.is_empty() {
            response.error_code = refused.code.0;
        }
        for coordinator in &mut response.coordinators {
            coordinator.error_code = refused.code.0;
        }
    }
}

/// What a session wants to read, as its requests do.
pub(crate) fn fetched_parts(topics: &[FetchTopic]) -> Vec<Part> {
    let mut parts = Vec::new();
    for topic in topics {
        let part = |index| Part::of_partition(&topic.topic, index).with_id(topic.topic_id);
        parts.extend(topic.partitions.iter().map(|partition| part(partition.partition)));
    }
    parts
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
