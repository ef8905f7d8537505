//! What each request means: from frame to answer.
//!
//! Reading a request, finding its meaning and writing the answer meet here; one file per API has the meaning. Handlers are methods of
//! the cluster that take a request, and the node it came to, and give a response; they never see a frame. A frame that Kafka would answer
//! by closing the connection is closed here too, with the reason.

mod alter_configs;
mod api_versions;
mod client_quotas;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod elect_leaders;
mod fault;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_config_resources;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod reassignments;
mod refusal;
mod throttled;

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::frame::encode_response;
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
use milena_wire::{ApiKey, ErrorCode, Reader, Request, Response, Uuid};

use crate::cluster::Cluster;
use crate::connection::CloseReason;
use crate::ids::{NodeId, PartitionIndex};
use crate::leadership::Leadership;
use crate::moment::Moment;
use crate::parking::ParkedRequest;
use crate::release::KafkaRelease;
use crate::replica::Replica;
use crate::topics::Topic;
use alter_configs::How;
use throttled::ThrottledResponse;

pub(crate) use client_quotas::Charged;
pub use create_partitions::TOPIC_PARTITIONS_MAX;
pub use create_topics::{CreateTopicError, PARTITIONS_MAX};
pub(crate) use create_topics::{Replicas, TopicPlan};
pub(crate) use delete_records::WaitingDelete;
pub(crate) use fetch::WaitingFetch;
pub(crate) use produce::WaitingProduce;
pub(crate) use refusal::{Part, Refusal, Told, fetched_parts};

/// What comes of a request at once, and how long its connection is muted after the answer.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) answer: Answer,
    pub(crate) throttle: Duration,
}

/// What comes of a request at once.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer, length included.
    Frame(Bytes),
    /// A Produce request with acks=0: nothing is answered, and the next request is served.
    Silence,
    /// A request that waits for data or for followers.
    Later(Box<ParkedRequest>),
}

/// What an answer needs of its request's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead {
    pub(crate) correlation_id: i32,
    pub(crate) version: i16,
    /// How long the client is told to wait after the answer.
    pub(crate) throttle: Duration,
    /// The most that the answer to a Fetch request may have by the client's quota.
    pub(crate) fetch_bytes_max: u32,
}

/// Who asks: what it calls itself, and the node that it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) node: NodeId,
    pub(crate) name: &'a str,
}

/// The APIs that are served, in the order of their numbers; the wire has messages for more.
pub(crate) const SERVED: [ApiKey; 25] = [
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::LIST_OFFSETS,
    ApiKey::METADATA,
    ApiKey::FIND_COORDINATOR,
    ApiKey::API_VERSIONS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::DELETE_RECORDS,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ApiKey::DESCRIBE_CONFIGS,
    ApiKey::ALTER_CONFIGS,
    ApiKey::DESCRIBE_LOG_DIRS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::ELECT_LEADERS,
    ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ApiKey::ALTER_PARTITION_REASSIGNMENTS,
    ApiKey::LIST_PARTITION_REASSIGNMENTS,
    ApiKey::DESCRIBE_CLIENT_QUOTAS,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::DESCRIBE_CLUSTER,
    ApiKey::DESCRIBE_PRODUCERS,
    ApiKey::LIST_CONFIG_RESOURCES,
    ApiKey::DESCRIBE_TOPIC_PARTITIONS,
];

/// In which versions a cluster that behaves as a release serves an API.
pub(crate) fn served(release: KafkaRelease, api: ApiKey) -> Option<RangeInclusive<i16>> {
    release.versions(api).filter(|_| SERVED.contains(&api))
}

impl Cluster {
    /// Serves one request, of which the header is read.
    pub(crate) fn answer(
        &mut self,
        now: Moment,
        client: Client<'_>,
        (api, head): (ApiKey, RequestHead),
        reader: Reader,
    ) -> Result<Served, CloseReason> {
        let (node, throttle) = (client.node, head.throttle);
        let Some(served) = served(self.config.release, api) else {
            return Err(CloseReason::UnknownApi(api));
        };
        let answer = match (served.contains(&head.version), api) {
            (true, ApiKey::FETCH) => return self.begin_fetch(now, client, head, read::<FetchRequest>(reader, head)?),
            (true, _) => self.answer_api(now, node, api, head, reader)?,
            (false, ApiKey::API_VERSIONS) => write(head.at_version(0), api_versions::unsupported(self.config.release))?,
            (false, _) => return Err(CloseReason::UnsupportedVersion { api, version: head.version }),
        };
        Ok(Served { answer, throttle })
    }

    fn answer_api(
        &mut self,
        now: Moment,
        node: NodeId,
        api: ApiKey,
        head: RequestHead,
        reader: Reader,
    ) -> Result<Answer, CloseReason> {
        match api {
            ApiKey::PRODUCE => self.answer_produce(now, node, head, &read::<ProduceRequest>(reader, head)?),
            ApiKey::API_VERSIONS => {
                let request = read::<ApiVersionsRequest>(reader, head)?;
                write(head, api_versions::answer(self.config.release, &request, head.version))
            }
            ApiKey::METADATA => {
                let view = self.nodes.view_of(node, now.elapsed);
                write(head, self.metadata(view, &read::<MetadataRequest>(reader, head)?, head.version))
            }
            ApiKey::INIT_PRODUCER_ID => {
                write(head, self.init_producer_id(&read::<InitProducerIdRequest>(reader, head)?))
            }
            ApiKey::LIST_OFFSETS => {
                write(head, self.list_offsets(node, &read::<ListOffsetsRequest>(reader, head)?, head.version))
            }
            ApiKey::CREATE_TOPICS => write(head, self.create_topics(&read::<CreateTopicsRequest>(reader, head)?)),
            ApiKey::DELETE_TOPICS => {
                write(head, self.delete_topics(&read::<DeleteTopicsRequest>(reader, head)?, head.version))
            }
            ApiKey::FIND_COORDINATOR => {
                let request = read::<FindCoordinatorRequest>(reader, head)?;
                self.note_wanted(find_coordinator::wanted(&request, head.version));
                write(head, find_coordinator::answer(&request, head.version))
            }
            ApiKey::DESCRIBE_CLUSTER => {
                let view = self.nodes.view_of(node, now.elapsed);
                write(head, self.describe_cluster(view, &read::<DescribeClusterRequest>(reader, head)?))
            }
            ApiKey::DESCRIBE_PRODUCERS => {
                write(head, self.describe_producers(node, &read::<DescribeProducersRequest>(reader, head)?))
            }
            ApiKey::OFFSET_FOR_LEADER_EPOCH => {
                write(head, self.offset_for_leader_epoch(node, &read::<OffsetForLeaderEpochRequest>(reader, head)?))
            }
            other => self.answer_admin(now, node, other, head, reader),
        }
    }

    /// What administrators ask.
    fn answer_admin(
        &mut self,
        now: Moment,
        node: NodeId,
        api: ApiKey,
        head: RequestHead,
        reader: Reader,
    ) -> Result<Answer, CloseReason> {
        match api {
            ApiKey::DESCRIBE_CONFIGS => {
                write(head, self.describe_configs(node, &read::<DescribeConfigsRequest>(reader, head)?))
            }
            ApiKey::INCREMENTAL_ALTER_CONFIGS => {
                let request = read::<IncrementalAlterConfigsRequest>(reader, head)?;
                let how = How { now, node, validate_only: request.validate_only };
                write(head, self.incremental_alter_configs(how, &request))
            }
            ApiKey::ALTER_CONFIGS => {
                let request = read::<AlterConfigsRequest>(reader, head)?;
                let how = How { now, node, validate_only: request.validate_only };
                write(head, self.alter_configs(how, &request))
            }
            ApiKey::LIST_CONFIG_RESOURCES => {
                let request = read::<ListConfigResourcesRequest>(reader, head)?;
                write(head, self.list_config_resources(&request, head.version))
            }
            ApiKey::CREATE_PARTITIONS => {
                write(head, self.create_partitions_asked(now, &read::<CreatePartitionsRequest>(reader, head)?))
            }
            ApiKey::ELECT_LEADERS => write(head, self.elect_leaders(now, &read::<ElectLeadersRequest>(reader, head)?)),
            ApiKey::ALTER_PARTITION_REASSIGNMENTS => {
                let request = read::<AlterPartitionReassignmentsRequest>(reader, head)?;
                write(head, self.alter_reassignments(now, &request))
            }
            ApiKey::LIST_PARTITION_REASSIGNMENTS => {
                write(head, self.list_reassignments(&read::<ListPartitionReassignmentsRequest>(reader, head)?))
            }
            ApiKey::DESCRIBE_CLIENT_QUOTAS => {
                write(head, self.describe_client_quotas(&read::<DescribeClientQuotasRequest>(reader, head)?))
            }
            ApiKey::ALTER_CLIENT_QUOTAS => {
                write(head, self.alter_client_quotas(&read::<AlterClientQuotasRequest>(reader, head)?))
            }
            ApiKey::DELETE_RECORDS => {
                self.answer_delete_records(now, node, head, &read::<DeleteRecordsRequest>(reader, head)?)
            }
            ApiKey::DESCRIBE_LOG_DIRS => {
                write(head, self.describe_log_dirs(node, &read::<DescribeLogDirsRequest>(reader, head)?))
            }
            ApiKey::DESCRIBE_TOPIC_PARTITIONS => {
                let view = self.nodes.view_of(node, now.elapsed);
                let request = read::<DescribeTopicPartitionsRequest>(reader, head)?;
                write(head, self.describe_topic_partitions(view, &request))
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

/// What follows the request in its frame is not looked at, as Kafka does.
fn read<R: Request>(mut reader: Reader, head: RequestHead) -> Result<R, CloseReason> {
    R::read(&mut reader, head.version).map_err(CloseReason::Malformed)
}

fn write<R: Response + ThrottledResponse>(head: RequestHead, response: R) -> Result<Answer, CloseReason> {
    frame(head, response).map(Answer::Frame)
}

fn frame<R: Response + ThrottledResponse>(head: RequestHead, mut response: R) -> Result<Bytes, CloseReason> {
    response.set_throttle_time(i32::try_from(head.throttle.as_millis()).unwrap_or(i32::MAX));
    let frame = encode_response(head.correlation_id, head.version, &response).map_err(CloseReason::Unanswerable)?;
    Ok(Bytes::from(frame))
}

/// Kafka's words for INVALID_REQUEST where it has no others.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

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

    /// The rack of a node, as clients are told it.
    fn rack(&self, node: NodeId) -> Option<Box<str>> {
        self.config.racks.get(&node).map(|rack| rack.as_str().into())
    }

    /// A replica that a node leads, as a reader asks for it.
    fn find_led(&self, node: NodeId, topic: TopicRef<'_>, asked: AskedPartition) -> Result<&Replica, ErrorCode> {
        let replica = self.find_replica(node, topic, asked)?;
        if replica.leads() { Ok(replica) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// A replica on a node, leading or not, whose epoch the reader knows.
    fn find_replica(&self, node: NodeId, topic: TopicRef<'_>, asked: AskedPartition) -> Result<&Replica, ErrorCode> {
        let topic_found = self.find_topic(topic).ok_or(topic.unknown())?;
        let partition = topic_found.partition(asked.index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let replica = partition.replica(node).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        check_leader_epoch(asked.leader_epoch, replica.known.epoch)?;
        Ok(replica)
    }

    /// Who leads a partition and under which epoch, as a node tells those who ask the wrong one (KIP-951).
    fn leader_hint(&self, node: NodeId, topic: TopicRef<'_>, index: PartitionIndex) -> Option<&Leadership> {
        let partition = self.find_topic(topic)?.partition(index)?;
        match partition.replica(node) {
            Some(replica) => Some(&replica.known),
            None => match self.nodes.state(node).knows_until {
                Some(until) => Some(partition.leadership_seen(until)),
                None => Some(&partition.leadership),
            },
        }
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
