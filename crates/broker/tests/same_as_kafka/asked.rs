//! A request of any API that is compared, and its answer, as values.
//!
//! An API that milena-broker serves and that is not in the list below fails the test; see `coverage` in `main.rs`.

use bytes::Bytes;
use milena_wire::frame::{decode_response, encode_request};
use milena_wire::messages as m;
use milena_wire::{ApiKey, DecodeError, EncodeError, Request};

macro_rules! apis {
    ($($name:ident = $request:ty),* $(,)?) => {
        /// What is asked.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant)] // A few thousand of them are alive at once.
        pub enum Asked { $($name($request)),* }

        /// What is answered.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant)] // One at a time.
        pub enum Answer { $($name(<$request as Request>::Response)),* }

        $(impl From<$request> for Asked {
            fn from(request: $request) -> Asked {
                Asked::$name(request)
            }
        })*

        impl Asked {
            pub fn api(&self) -> ApiKey {
                match self { $(Asked::$name(_) => <$request as Request>::KEY),* }
            }

            /// The whole frame, its length included.
            pub fn frame(&self, correlation_id: i32, version: i16) -> Result<Vec<u8>, EncodeError> {
                match self { $(Asked::$name(request) => encode_request(CLIENT, correlation_id, version, request)),* }
            }

            /// An answer to this request, without its length.
            pub fn read_answer(&self, frame: Bytes, version: i16) -> Result<Answer, DecodeError> {
                match self {
                    $(Asked::$name(_) => decode_response::<$request>(frame, version).map(|(_, answer)| Answer::$name(answer)),)*
                }
            }
        }
    };
}

apis! {
    Produce = m::produce::request::ProduceRequest,
    Fetch = m::fetch::request::FetchRequest,
    ListOffsets = m::list_offsets::request::ListOffsetsRequest,
    Metadata = m::metadata::request::MetadataRequest,
    FindCoordinator = m::find_coordinator::request::FindCoordinatorRequest,
    ApiVersions = m::api_versions::request::ApiVersionsRequest,
    CreateTopics = m::create_topics::request::CreateTopicsRequest,
    DeleteTopics = m::delete_topics::request::DeleteTopicsRequest,
    InitProducerId = m::init_producer_id::request::InitProducerIdRequest,
    OffsetForLeaderEpoch = m::offset_for_leader_epoch::request::OffsetForLeaderEpochRequest,
    DescribeCluster = m::describe_cluster::request::DescribeClusterRequest,
    DescribeProducers = m::describe_producers::request::DescribeProducersRequest,
    DescribeConfigs = m::describe_configs::request::DescribeConfigsRequest,
    AlterConfigs = m::alter_configs::request::AlterConfigsRequest,
    IncrementalAlterConfigs = m::incremental_alter_configs::request::IncrementalAlterConfigsRequest,
    ListConfigResources = m::list_config_resources::request::ListConfigResourcesRequest,
    CreatePartitions = m::create_partitions::request::CreatePartitionsRequest,
    DescribeTopicPartitions = m::describe_topic_partitions::request::DescribeTopicPartitionsRequest,
    DeleteRecords = m::delete_records::request::DeleteRecordsRequest,
    ElectLeaders = m::elect_leaders::request::ElectLeadersRequest,
    AlterPartitionReassignments = m::alter_partition_reassignments::request::AlterPartitionReassignmentsRequest,
    ListPartitionReassignments = m::list_partition_reassignments::request::ListPartitionReassignmentsRequest,
    DescribeLogDirs = m::describe_log_dirs::request::DescribeLogDirsRequest,
    DescribeClientQuotas = m::describe_client_quotas::request::DescribeClientQuotasRequest,
    AlterClientQuotas = m::alter_client_quotas::request::AlterClientQuotasRequest,
}

/// The client id of every request.
pub const CLIENT: &str = "same-as-kafka";
