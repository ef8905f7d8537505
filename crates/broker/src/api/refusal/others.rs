//! Requests that are about topics, settings or the cluster.

use milena_wire::messages::alter_client_quotas::request::AlterClientQuotasRequest;
use milena_wire::messages::alter_client_quotas::response::AlterClientQuotasResponse;
use milena_wire::messages::alter_configs::request::AlterConfigsRequest;
use milena_wire::messages::alter_configs::response::AlterConfigsResourceResponse;
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::create_partitions::request::CreatePartitionsRequest;
use milena_wire::messages::create_partitions::response::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use milena_wire::messages::create_topics::request::CreateTopicsRequest;
use milena_wire::messages::create_topics::response::{CreatableTopicResult, CreateTopicsResponse};
use milena_wire::messages::delete_topics::request::DeleteTopicsRequest;
use milena_wire::messages::delete_topics::response::{DeletableTopicResult, DeleteTopicsResponse};
use milena_wire::messages::describe_client_quotas::request::DescribeClientQuotasRequest;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_configs::request::DescribeConfigsRequest;
use milena_wire::messages::describe_configs::response::DescribeConfigsResult;
use milena_wire::messages::describe_log_dirs::request::DescribeLogDirsRequest;
use milena_wire::messages::describe_topic_partitions::request::DescribeTopicPartitionsRequest;
use milena_wire::messages::describe_topic_partitions::response::DescribeTopicPartitionsResponse;
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::find_coordinator::response::FindCoordinatorResponse;
use milena_wire::messages::incremental_alter_configs::request::IncrementalAlterConfigsRequest;
use milena_wire::messages::incremental_alter_configs::response::AlterConfigsResourceResponse as IncrementalResponse;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::list_config_resources::request::ListConfigResourcesRequest;
use milena_wire::messages::list_partition_reassignments::request::ListPartitionReassignmentsRequest;
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::metadata::response::{MetadataResponse, MetadataResponseTopic};

use super::{Asked, Part, Parts, Refusable, entry};
use crate::faults::Refused;

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
    DescribeClientQuotasRequest,
    DescribeClusterRequest,
    DescribeLogDirsRequest,
    InitProducerIdRequest changes true,
    ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest,
);

/// Refused as a whole. What it would have changed is only looked at, so that the answer names it.
impl Refusable for AlterClientQuotasRequest {
    const CHANGES: bool = true;

    fn parts(&self, _version: i16) -> Parts {
        Some(vec![Part::of_resource(0, "")])
    }

    fn leave_out(&mut self, refused: &[bool]) {
        self.validate_only |= refused.contains(&true);
    }

    fn tell(response: &mut AlterClientQuotasResponse, _part: Option<&Part>, refused: Refused) {
        for entry in &mut response.entries {
            entry.error_code = refused.code.0;
        }
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
