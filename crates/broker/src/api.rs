//! What each request means: from frame to answer.
//!
//! Reading a request, finding its meaning and writing the answer meet here; one file per API has the meaning. Handlers are methods of
//! the cluster that take a request and give a response; they never see a frame. A frame that Kafka would answer by closing the connection
//! is closed here too, with the reason.

mod api_versions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_producers;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;

use bytes::Bytes;
use milena_wire::frame::{RequestHeader, decode_request, encode_response};
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_topics::request::CreateTopicsRequest;
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_producers::request::DescribeProducersRequest;
use milena_wire::messages::fetch::request::FetchRequest;
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::list_offsets::request::ListOffsetsRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::offset_for_leader_epoch::request::OffsetForLeaderEpochRequest;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, ErrorCode, Reader, Request, Response, Uuid};

use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::PartitionIndex;
use crate::moment::Moment;
use crate::parking::ParkedFetch;
use crate::partition::Partition;
use crate::topics::Topic;

pub(crate) use create_topics::NewTopic;
pub use create_topics::{CreateTopicError, PARTITIONS_MAX};

/// What comes of a request at once.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer, length included.
    Frame(Bytes),
    /// A Produce request with acks=0: nothing is answered, and the next request is served.
    Silence,
    /// A fetch that waits for data.
    Later(ParkedFetch),
}

/// What an answer needs of its request's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead {
    pub(crate) correlation_id: i32,
    pub(crate) version: i16,
}

impl Cluster {
    /// Serves one request.
    pub(crate) fn answer(&mut self, now: Moment, frame: Bytes) -> Result<Answer, CloseReason> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::read(&mut reader).map_err(CloseReason::Malformed)?;
        let head = RequestHead { correlation_id: header.correlation_id, version: header.api_version };
        let api = header.api_key;
        let Some(served) = api.stable_versions() else {
            return Err(CloseReason::UnknownApi(api));
        };
        if !served.contains(&head.version) {
            return match api {
                ApiKey::API_VERSIONS => write(head.at_version(0), &api_versions::unsupported()),
                _ => Err(CloseReason::UnsupportedVersion { api, version: head.version }),
            };
        }
        match api {
            ApiKey::PRODUCE => self.answer_produce(now, head, &read::<ProduceRequest>(reader, head)?),
            ApiKey::FETCH => self.begin_fetch(now, head, read::<FetchRequest>(reader, head)?),
            ApiKey::API_VERSIONS => {
                write(head, &api_versions::answer(&read::<ApiVersionsRequest>(reader, head)?, head.version))
            }
            ApiKey::METADATA => write(head, &self.metadata(&read::<MetadataRequest>(reader, head)?, head.version)),
            ApiKey::INIT_PRODUCER_ID => {
                write(head, &self.init_producer_id(&read::<InitProducerIdRequest>(reader, head)?))
            }
            ApiKey::LIST_OFFSETS => {
                write(head, &self.list_offsets(&read::<ListOffsetsRequest>(reader, head)?, head.version))
            }
            ApiKey::CREATE_TOPICS => write(head, &self.create_topics(&read::<CreateTopicsRequest>(reader, head)?)),
            ApiKey::DELETE_TOPICS => {
                write(head, &self.delete_topics(now, &read::<DeleteTopicsRequest>(reader, head)?, head.version))
            }
            ApiKey::FIND_COORDINATOR => {
                write(head, &find_coordinator::answer(&read::<FindCoordinatorRequest>(reader, head)?, head.version))
            }
            ApiKey::DESCRIBE_CLUSTER => {
                write(head, &self.describe_cluster(&read::<DescribeClusterRequest>(reader, head)?))
            }
            ApiKey::DESCRIBE_PRODUCERS => {
                write(head, &self.describe_producers(&read::<DescribeProducersRequest>(reader, head)?))
            }
            ApiKey::OFFSET_FOR_LEADER_EPOCH => {
                write(head, &self.offset_for_leader_epoch(&read::<OffsetForLeaderEpochRequest>(reader, head)?))
            }
            other => Err(CloseReason::UnknownApi(other)),
        }
    }
}

impl RequestHead {
    fn at_version(self, version: i16) -> RequestHead {
        RequestHead { version, ..self }
    }
}

fn read<R: Request>(reader: Reader, head: RequestHead) -> Result<R, CloseReason> {
    decode_request(reader, head.version).map_err(CloseReason::Malformed)
}

fn write<R: Response>(head: RequestHead, response: &R) -> Result<Answer, CloseReason> {
    frame(head, response).map(Answer::Frame)
}

fn frame<R: Response>(head: RequestHead, response: &R) -> Result<Bytes, CloseReason> {
    let frame = encode_response(head.correlation_id, head.version, response).map_err(CloseReason::Unanswerable)?;
    Ok(Bytes::from(frame))
}

/// How a request names a topic: by id in newer versions, by name in older ones.
#[derive(Clone, Copy, Debug)]
enum TopicRef<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl TopicRef<'_> {
    /// What to say when there is no such topic.
    fn unknown(self) -> ErrorCode {
        match self {
            TopicRef::Name(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            TopicRef::Id(_) => ErrorCode::UNKNOWN_TOPIC_ID,
        }
    }
}

impl Cluster {
    fn find_topic(&self, topic: TopicRef<'_>) -> Option<&Topic> {
        match topic {
            TopicRef::Name(name) => self.topics.named(name),
            TopicRef::Id(id) => self.topics.with_id(id),
        }
    }

    /// A partition that this node leads, as a reader asks for it.
    fn find_partition(&self, topic: TopicRef<'_>, asked: AskedPartition) -> Result<&Partition, ErrorCode> {
        let topic_found = self.find_topic(topic).ok_or(topic.unknown())?;
        let partition = topic_found.partition(asked.index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        check_leader_epoch(asked.leader_epoch, topic_found.leader_epoch)?;
        Ok(partition)
    }
}

/// A partition of a reader's request, and the leader epoch that the reader believes in; −1 for none.
#[derive(Clone, Copy, Debug)]
struct AskedPartition {
    index: PartitionIndex,
    leader_epoch: i32,
}

/// A reader with an older epoch has missed an election; one with a newer epoch knows more than this node (KIP-320).
fn check_leader_epoch(asked: i32, current: i32) -> Result<(), ErrorCode> {
    match asked {
        -1 => Ok(()),
        older if older < current => Err(ErrorCode::FENCED_LEADER_EPOCH),
        newer if newer > current => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}
