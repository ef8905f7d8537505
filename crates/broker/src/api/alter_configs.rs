//! IncrementalAlterConfigs, and AlterConfigs, which it replaces: topics get other settings, each topic wholly or not at all.
//!
//! What a setting changes, it changes at once: batches are judged by it, the high watermark and elections follow. Settings of brokers
//! do not change while they run.

use std::collections::{BTreeMap, BTreeSet};

use milena_wire::ErrorCode;
use milena_wire::messages::alter_configs::request as legacy;
use milena_wire::messages::alter_configs::response::{
    AlterConfigsResourceResponse as LegacyResourceResponse, AlterConfigsResponse,
};
use milena_wire::messages::incremental_alter_configs::request::{AlterConfigsResource, IncrementalAlterConfigsRequest};
use milena_wire::messages::incremental_alter_configs::response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use super::configs::{BROKER, KNOWN_ELSEWHERE, TOPIC, broker_named};
use super::fault::{Fault, code_and_text};
use crate::cluster::Cluster;
use crate::ids::NodeId;
use crate::moment::Moment;
use crate::topic_config::{ConfigError, Setting, TopicConfig};

/// Where and when a request came, and whether it is meant.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) now: Moment,
    pub(super) node: NodeId,
    pub(super) validate_only: bool,
}

/// One resource of either request.
struct Resource<'a> {
    kind: i8,
    name: &'a str,
    /// Whether settings that are not named lose their values.
    replaces: bool,
    changes: Vec<Change<'a>>,
}

struct Change<'a> {
    name: &'a str,
    operation: i8,
    value: Option<&'a str>,
}

impl<'a> Resource<'a> {
    fn incremental(resource: &'a AlterConfigsResource) -> Resource<'a> {
        let change = |config: &'a milena_wire::messages::incremental_alter_configs::request::AlterableConfig| Change {
            name: &config.name,
            operation: config.config_operation,
            value: config.value.as_deref(),
        };
        Resource {
            kind: resource.resource_type,
            name: &resource.resource_name,
            replaces: false,
            changes: resource.configs.iter().map(change).collect(),
        }
    }

    fn replacing(resource: &'a legacy::AlterConfigsResource) -> Resource<'a> {
        let change = |config: &'a legacy::AlterableConfig| Change {
            name: &config.name,
            operation: SET,
            value: config.value.as_deref(),
        };
        Resource {
            kind: resource.resource_type,
            name: &resource.resource_name,
            replaces: true,
            changes: resource.configs.iter().map(change).collect(),
        }
    }
}

impl Cluster {
    pub(super) fn incremental_alter_configs(
        &mut self,
        how: How,
        request: &IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let resources: Vec<_> = request.resources.iter().map(Resource::incremental).collect();
        let outcomes = self.alter_resources(how, &resources);
        let response = |(resource, outcome): (&Resource<'_>, _)| {
            let (error_code, error_message) = code_and_text(outcome);
            AlterConfigsResourceResponse {
                error_code,
                error_message,
                resource_type: resource.kind,
                resource_name: resource.name.into(),
                ..Default::default()
            }
        };
        let responses = resources.iter().zip(outcomes).map(response).collect();
        IncrementalAlterConfigsResponse { responses, ..Default::default() }
    }

    pub(super) fn alter_configs(&mut self, how: How, request: &legacy::AlterConfigsRequest) -> AlterConfigsResponse {
        let resources: Vec<_> = request.resources.iter().map(Resource::replacing).collect();
        let outcomes = self.alter_resources(how, &resources);
        let response = |(resource, outcome): (&Resource<'_>, _)| {
            let (error_code, error_message) = code_and_text(outcome);
            LegacyResourceResponse {
                error_code,
                error_message,
                resource_type: resource.kind,
                resource_name: resource.name.into(),
                ..Default::default()
            }
        };
        let responses = resources.iter().zip(outcomes).map(response).collect();
        AlterConfigsResponse { responses, ..Default::default() }
    }

    fn alter_resources(&mut self, how: How, resources: &[Resource<'_>]) -> Vec<Result<(), Fault>> {
        let mut times = BTreeMap::new();
        for resource in resources {
            *times.entry((resource.kind, resource.name)).or_insert(0) += 1;
        }
        let alter = |resource: &Resource<'_>| match times[&(resource.kind, resource.name)] {
            1 => self.alter_resource(how, resource),
            _ => Err(Fault::invalid_request("Each resource must appear at most once.")),
        };
        resources.iter().map(alter).collect()
    }

    fn alter_resource(&mut self, how: How, resource: &Resource<'_>) -> Result<(), Fault> {
        let mut seen = BTreeSet::new();
        if !resource.changes.iter().all(|change| seen.insert(change.name)) {
            return Err(Fault::invalid_request("Error due to duplicate config keys"));
        }
        match resource.kind {
            TOPIC => self.alter_topic_configs(how, resource),
            BROKER => refuse_for_broker(how.node, resource),
            elsewhere if KNOWN_ELSEWHERE.contains(&elsewhere) => Err(Fault::invalid_request(
                "this broker has no loggers, client metrics and groups; only settings of topics can be altered",
            )),
            other => Err(Fault::invalid_request(format!("Unknown resource type {other}"))),
        }
    }

    fn alter_topic_configs(&mut self, how: How, resource: &Resource<'_>) -> Result<(), Fault> {
        if resource.name.is_empty() {
            return Err(Fault::invalid_request("Default topic resources are not allowed."));
        }
        if let Some(change) =
            resource.changes.iter().find(|change| change.operation != DELETE && change.value.is_none())
        {
            return Err(ConfigError::Null { name: change.name.to_owned() }.into());
        }
        let topic = self.configured_topic(resource.name)?;
        let mut config = if resource.replaces { TopicConfig::default() } else { topic.config.clone() };
        for change in &resource.changes {
            if change.operation != DELETE {
                self.config.release.check_topic_setting(change.name)?;
            }
            change.apply(&mut config)?;
        }
        config.check()?;
        if how.validate_only {
            return Ok(());
        }
        self.alter_topic(how.now, resource.name, config)?;
        Ok(())
    }
}

impl Change<'_> {
    fn apply(&self, config: &mut TopicConfig) -> Result<(), Fault> {
        let value = self.value.unwrap_or_default();
        match self.operation {
            SET => config.set(self.name, Some(value))?,
            // What Kafka does not know was not set either.
            DELETE if Setting::named(self.name).is_none() => {}
            DELETE => config.set(self.name, None)?,
            APPEND | SUBTRACT => {
                let listed = self.with_items(config, value)?;
                config.set(self.name, Some(&listed))?;
            }
            other => {
                let message =
                    format!("there is no operation {other}; use 0 to set, 1 to delete, 2 to append, 3 to subtract");
                return Err(Fault::new(ErrorCode::UNKNOWN_SERVER_ERROR, message));
            }
        }
        Ok(())
    }

    /// The list with some items more or less.
    fn with_items(&self, config: &TopicConfig, value: &str) -> Result<String, Fault> {
        let setting = Setting::named(self.name).filter(|setting| setting.is_list()).ok_or_else(|| {
            let what = if self.operation == APPEND { "APPEND" } else { "SUBTRACT" };
            let message = format!("Can't {what} to key {} because its type is not LIST.", self.name);
            Fault::new(ErrorCode::INVALID_CONFIG, message)
        })?;
        let before = config.value_of(setting).text;
        let mut items: Vec<&str> = before.split(',').filter(|item| !item.is_empty()).collect();
        for item in value.split(',').map(str::trim) {
            match self.operation {
                APPEND if !items.contains(&item) => items.push(item),
                APPEND => {}
                _ => items.retain(|kept| *kept != item),
            }
        }
        Ok(items.join(","))
    }
}

fn refuse_for_broker(node: NodeId, resource: &Resource<'_>) -> Result<(), Fault> {
    // What was never set is deleted already: Kafka's tools clear throttles that way.
    let set: Vec<_> = resource.changes.iter().filter(|change| change.operation != DELETE).collect();
    match broker_named(resource.name)? {
        Some(asked) if asked != node => {
            Err(Fault::invalid_request(format!("Unexpected broker id, expected {node}, but received {asked}")))
        }
        _ if set.is_empty() => Ok(()),
        _ => {
            let names: Vec<_> = set.iter().map(|change| change.name).collect();
            Err(Fault::invalid_request(format!("Cannot update these configs dynamically: [{}]", names.join(", "))))
        }
    }
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
