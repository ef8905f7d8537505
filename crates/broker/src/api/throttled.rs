//! The field that every response has for clients that ask too much (KIP-219).

use milena_wire::messages::alter_client_quotas::response::AlterClientQuotasResponse;
use milena_wire::messages::alter_configs::response::AlterConfigsResponse;
use milena_wire::messages::alter_partition_reassignments::response::AlterPartitionReassignmentsResponse;
use milena_wire::messages::api_versions::response::ApiVersionsResponse;
use milena_wire::messages::create_partitions::response::CreatePartitionsResponse;
use milena_wire::messages::create_topics::response::CreateTopicsResponse;
use milena_wire::messages::delete_records::response::DeleteRecordsResponse;
use milena_wire::messages::delete_topics::response::DeleteTopicsResponse;
use milena_wire::messages::describe_client_quotas::response::DescribeClientQuotasResponse;
use milena_wire::messages::describe_cluster::response::DescribeClusterResponse;
use milena_wire::messages::describe_configs::response::DescribeConfigsResponse;
use milena_wire::messages::describe_log_dirs::response::DescribeLogDirsResponse;
use milena_wire::messages::describe_producers::response::DescribeProducersResponse;
use milena_wire::messages::describe_topic_partitions::response::DescribeTopicPartitionsResponse;
use milena_wire::messages::elect_leaders::response::ElectLeadersResponse;
use milena_wire::messages::fetch::response::FetchResponse;
use milena_wire::messages::find_coordinator::response::FindCoordinatorResponse;
use milena_wire::messages::incremental_alter_configs::response::IncrementalAlterConfigsResponse;
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;
use milena_wire::messages::list_config_resources::response::ListConfigResourcesResponse;
use milena_wire::messages::list_offsets::response::ListOffsetsResponse;
use milena_wire::messages::list_partition_reassignments::response::ListPartitionReassignmentsResponse;
use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::messages::offset_for_leader_epoch::response::OffsetForLeaderEpochResponse;
use milena_wire::messages::produce::response::ProduceResponse;

/// A response that can tell its client to slow down. Versions that are too old for that leave it out.
pub(super) trait ThrottledResponse {
    fn set_throttle_time(&mut self, milliseconds: i32);
}

macro_rules! throttled {
    ($($response:ty),* $(,)?) => {
        $(impl ThrottledResponse for $response {
            fn set_throttle_time(&mut self, milliseconds: i32) {
                self.throttle_time_ms = milliseconds;
            }
        })*
    };
}

throttled!(
    AlterClientQuotasResponse,
    AlterConfigsResponse,
    AlterPartitionReassignmentsResponse,
    ApiVersionsResponse,
    CreatePartitionsResponse,
    CreateTopicsResponse,
    DeleteRecordsResponse,
    DeleteTopicsResponse,
    DescribeClientQuotasResponse,
    DescribeClusterResponse,
    DescribeConfigsResponse,
    DescribeLogDirsResponse,
    DescribeProducersResponse,
    DescribeTopicPartitionsResponse,
    ElectLeadersResponse,
    FetchResponse,
    FindCoordinatorResponse,
    IncrementalAlterConfigsResponse,
    InitProducerIdResponse,
    ListConfigResourcesResponse,
    ListOffsetsResponse,
    ListPartitionReassignmentsResponse,
    MetadataResponse,
    OffsetForLeaderEpochResponse,
    ProduceResponse,
);
