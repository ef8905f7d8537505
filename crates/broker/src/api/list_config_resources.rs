//! ListConfigResources: what has settings (KIP-1142). Topics and brokers do; version 0 asks for client metrics, of which there are none.

use milena_wire::ErrorCode;
use milena_wire::messages::list_config_resources::request::ListConfigResourcesRequest;
use milena_wire::messages::list_config_resources::response::{ConfigResource, ListConfigResourcesResponse};

use super::configs::{BROKER, KNOWN_ELSEWHERE, TOPIC};
use crate::cluster::Cluster;

impl Cluster {
    pub(super) fn list_config_resources(
        &self,
        request: &ListConfigResourcesRequest,
        version: i16,
    ) -> ListConfigResourcesResponse {
        let asked = &request.resource_types;
        let is_known = |kind: &i8| matches!(*kind, TOPIC | BROKER) || KNOWN_ELSEWHERE.contains(kind);
        if !asked.iter().all(is_known) {
            return ListConfigResourcesResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.0, ..Default::default() };
        }
        let is_asked = |kind: i8| version >= KINDS_SINCE && (asked.is_empty() || asked.contains(&kind));
        let resource = |name: String, resource_type| ConfigResource {
            resource_name: name.into(),
            resource_type,
            ..Default::default()
        };
        let brokers = [BROKER, LOGGERS].into_iter().filter(|kind| is_asked(*kind));
        let topics = self.topics.iter().filter(|_| is_asked(TOPIC));
        let brokers =
            brokers.flat_map(|kind| self.nodes.iter().map(move |state| resource(state.node.id.to_string(), kind)));
        let topics = topics.map(|topic| resource(topic.name.clone(), TOPIC));
        ListConfigResourcesResponse { config_resources: brokers.chain(topics).collect(), ..Default::default() }
    }
}

/// Every broker is listed as something that has loggers.
const LOGGERS: i8 = 8;
/// The first version that asks for kinds.
const KINDS_SINCE: i16 = 1;
