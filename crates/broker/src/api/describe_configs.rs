//! DescribeConfigs: settings of topics and brokers, with where each value comes from.
//!
//! Any node tells about topics; about a broker only that one itself.

use milena_wire::ErrorCode;
use milena_wire::messages::describe_configs::request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_wire::messages::describe_configs::response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::configs::{
    BROKER, BrokerSetting, FROM_DEFAULT, FROM_STATIC_BROKER, FROM_TOPIC, KNOWN_ELSEWHERE, TOPIC, broker_named,
};
use super::fault::Fault;
use crate::cluster::Cluster;
use crate::ids::NodeId;
use crate::release::KafkaRelease;
use crate::topic_config::Setting;
use crate::topics::Topic;

/// What the answer shall tell beside values.
#[derive(Clone, Copy)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

impl Cluster {
    pub(super) fn describe_configs(&self, node: NodeId, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        let wanted = Wanted { synonyms: request.include_synonyms, documentation: request.include_documentation };
        let is_known = |kind: i8| matches!(kind, TOPIC | BROKER) || KNOWN_ELSEWHERE.contains(&kind);
        if !request.resources.iter().all(|resource| is_known(resource.resource_type)) {
            return refusal(request);
        }
        let describe = |resource: &DescribeConfigsResource| {
            let (code, message, configs) = match self.described(node, resource, wanted) {
                Ok(configs) => (ErrorCode::NONE, Some("".into()), configs),
                // Kafka has no words for this one.
                Err(fault) if fault.code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                    (fault.code, Some("".into()), Vec::new())
                }
                Err(fault) => (fault.code, fault.text(), Vec::new()),
            };
            DescribeConfigsResult {
                error_code: code.0,
                error_message: message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
                ..Default::default()
            }
        };
        DescribeConfigsResponse { results: request.resources.iter().map(describe).collect(), ..Default::default() }
    }

    fn described(
        &self,
        node: NodeId,
        resource: &DescribeConfigsResource,
        wanted: Wanted,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Fault> {
        // No names and no list of names ask for all.
        let names = resource.configuration_keys.as_ref().filter(|names| !names.is_empty());
        let is_asked = |name: &str| names.is_none_or(|names| names.iter().any(|asked| &**asked == name));
        match resource.resource_type {
            TOPIC => {
                let topic = self.configured_topic(&resource.resource_name)?;
                let release = self.config.release;
                let asked = release.topic_settings().filter(|setting| is_asked(setting.name));
                Ok(asked.map(|setting| topic_setting(release, topic, setting, wanted)).collect())
            }
            BROKER => match broker_named(&resource.resource_name)? {
                // What was changed for all brokers while they run: nothing can be.
                None => Ok(Vec::new()),
                Some(asked) if asked != node => Err(Fault::invalid_request(format!(
                    "Unexpected broker id, expected {node} or empty string, but received {asked}"
                ))),
                Some(_) => {
                    let asked = self.broker_settings(node).into_iter().filter(|setting| is_asked(setting.name));
                    Ok(asked.map(|setting| broker_setting(setting, wanted)).collect())
                }
            },
            elsewhere if KNOWN_ELSEWHERE.contains(&elsewhere) => Err(Fault::invalid_request(
                "this broker has no loggers, client metrics and groups; only topics and brokers have settings",
            )),
            other => Err(Fault::invalid_request(format!("Unknown resource type {other}"))),
        }
    }
}

/// One kind that is none fails them all.
fn refusal(request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let refused = |resource: &DescribeConfigsResource| DescribeConfigsResult {
        error_code: ErrorCode::INVALID_REQUEST.0,
        error_message: Some(super::MALFORMED.into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    };
    DescribeConfigsResponse { results: request.resources.iter().map(refused).collect(), ..Default::default() }
}

fn topic_setting(
    release: KafkaRelease,
    topic: &Topic,
    setting: &Setting,
    wanted: Wanted,
) -> DescribeConfigsResourceResult {
    let value = release.value_of(setting, &topic.config);
    let own = value.is_set.then(|| synonym(setting.name, &value.text, FROM_TOPIC));
    let default = setting.broker_name.map(|name| synonym(name, release.default_of(setting), FROM_DEFAULT));
    DescribeConfigsResourceResult {
        name: setting.name.into(),
        value: Some(value.text.into()),
        config_source: if value.is_set { FROM_TOPIC } else { FROM_DEFAULT },
        synonyms: if wanted.synonyms { own.into_iter().chain(default).collect() } else { Vec::new() },
        config_type: setting.type_number(),
        documentation: wanted.documentation.then(|| setting.documentation.into()),
        ..Default::default()
    }
}

fn broker_setting(setting: BrokerSetting, wanted: Wanted) -> DescribeConfigsResourceResult {
    let is_default = setting.value == setting.default;
    let own = setting.value.as_deref().filter(|_| !is_default);
    let own = own.map(|value| synonym(setting.name, value, FROM_STATIC_BROKER));
    let default = setting.default.as_deref().map(|value| synonym(setting.name, value, FROM_DEFAULT));
    DescribeConfigsResourceResult {
        name: setting.name.into(),
        value: setting.value.map(Into::into),
        read_only: true,
        config_source: if is_default { FROM_DEFAULT } else { FROM_STATIC_BROKER },
        synonyms: if wanted.synonyms { own.into_iter().chain(default).collect() } else { Vec::new() },
        config_type: setting.type_number,
        documentation: wanted.documentation.then(|| setting.documentation.into()),
        ..Default::default()
    }
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: name.into(), value: Some(value.into()), source, ..Default::default() }
}
