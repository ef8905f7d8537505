//! DescribeCluster: the nodes and the cluster's id.

use milena_wire::ErrorCode;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_cluster::response::{DescribeClusterBroker, DescribeClusterResponse};

use crate::cluster::Cluster;

impl Cluster {
    pub(super) fn describe_cluster(&self, request: &DescribeClusterRequest) -> DescribeClusterResponse {
        let wrong_endpoint = match request.endpoint_type {
            BROKERS => None,
            CONTROLLERS => Some(ErrorCode::MISMATCHED_ENDPOINT_TYPE),
            _ => Some(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
        };
        if let Some(code) = wrong_endpoint {
            let message = "this is a broker; ask it for endpoint type 1";
            return DescribeClusterResponse {
                error_code: code.0,
                error_message: Some(message.into()),
                ..Default::default()
            };
        }
        let node = DescribeClusterBroker {
            broker_id: self.node.id.0,
            host: self.node.host.as_str().into(),
            port: i32::from(self.node.port),
            ..Default::default()
        };
        DescribeClusterResponse {
            cluster_id: self.cluster_id.as_str().into(),
            controller_id: self.node.id.0,
            brokers: vec![node],
            cluster_authorized_operations: match request.include_cluster_authorized_operations {
                true => CLUSTER_OPERATIONS,
                false => DescribeClusterResponse::default().cluster_authorized_operations,
            },
            ..Default::default()
        }
    }
}

/// Every operation on a cluster, as a broker without an authorizer answers: create, alter, describe, cluster action, describe
/// configs, alter configs, idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
