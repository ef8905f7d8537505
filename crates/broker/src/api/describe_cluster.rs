//! DescribeCluster: the nodes and the cluster's id. Fenced nodes only where they are asked for (KIP-1073).

use std::time::Duration;

use milena_wire::ErrorCode;
use milena_wire::messages::describe_cluster::request::DescribeClusterRequest;
use milena_wire::messages::describe_cluster::response::{DescribeClusterBroker, DescribeClusterResponse};

use crate::cluster::Cluster;
use crate::nodes::NodeState;

impl Cluster {
    pub(super) fn describe_cluster(&self, view: Duration, request: &DescribeClusterRequest) -> DescribeClusterResponse {
        let refusal = |code: ErrorCode, message: String| DescribeClusterResponse {
            error_code: code.0,
            error_message: Some(message.into()),
            ..Default::default()
        };
        match request.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                let message =
                    "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
                return refusal(ErrorCode::MISMATCHED_ENDPOINT_TYPE, message.to_owned());
            }
            other => {
                let message = format!("Unsupported endpoint type {other}");
                return refusal(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, message);
            }
        }
        let listed = |state: &&NodeState| request.include_fenced_brokers || state.was_listed(view);
        let broker = |state: &NodeState| DescribeClusterBroker {
            broker_id: state.node.id.0,
            host: state.node.host.as_str().into(),
            port: i32::from(state.node.port),
            rack: self.rack(state.node.id),
            is_fenced: !state.was_listed(view),
            ..Default::default()
        };
        DescribeClusterResponse {
            cluster_id: self.cluster_id.as_str().into(),
            controller_id: self.nodes.controller(view).map_or(-1, |node| node.0),
            brokers: self.nodes.iter().filter(listed).map(broker).collect(),
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
