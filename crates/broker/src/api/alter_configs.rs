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
use crate::topics::check_name;

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
        let null = resource.changes.iter().filter(|change| change.operation != DELETE && change.value.is_none());
        let null: Vec<_> = null.map(|change| change.name).collect();
        if !null.is_empty() {
            return Err(ConfigError::Null { name: null.join(", ") }.into());
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
        // Operations first, then the name, then values; whether there is such a topic is asked last, as Kafka does.
        resource.changes.iter().try_for_each(|change| change.operation().map(drop))?;
        if resource.name.is_empty() {
            return Err(Fault::invalid_request("Default topic resources are not allowed."));
        }
        check_name(resource.name)?;
        let known = self.topics.named(resource.name).filter(|_| !resource.replaces);
        let mut config = known.map_or_else(TopicConfig::default, |topic| topic.config.as_ref().clone());
        for change in &resource.changes {
            if change.operation != DELETE {
                self.config.release.check_topic_setting(change.name)?;
            }
            change.apply(&mut config)?;
        }
        config.check()?;
        self.configured_topic(resource.name)?;
        if how.validate_only {
            return Ok(());
        }
        self.give_settings(how.now, resource.name, config)?;
        Ok(())
    }
}

impl Change<'_> {
    /// What is to be done, if there is such an operation and the setting takes it.
    fn operation(&self) -> Result<Operation, Fault> {
        let list = |what: &str| {
            let message = format!("Can't {what} to key {} because its type is not LIST.", self.name);
            let setting = Setting::named(self.name).filter(|setting| setting.is_list());
            setting.ok_or_else(|| Fault::new(ErrorCode::INVALID_CONFIG, message))
        };
        match self.operation {
            SET => Ok(Operation::Set),
            DELETE => Ok(Operation::Delete),
            APPEND => list("APPEND").map(Operation::Append),
            SUBTRACT => list("SUBTRACT").map(Operation::Subtract),
            // Kafka fails by itself here, and has no words for it.
            _ => Err(Fault::new(ErrorCode::UNKNOWN_SERVER_ERROR, "")),
        }
    }

    fn apply(&self, config: &mut TopicConfig) -> Result<(), Fault> {
        let value = self.value.unwrap_or_default();
        let listed = |setting| config.value_of(setting).text;
        match self.operation()? {
            Operation::Set => config.set(self.name, Some(value))?,
            // What Kafka does not know was not set either.
            Operation::Delete if Setting::named(self.name).is_none() => {}
            Operation::Delete => config.set(self.name, None)?,
            Operation::Append(setting) => config.set(self.name, Some(&with_items(&listed(setting), value)))?,
            Operation::Subtract(setting) => config.set(self.name, Some(&without_items(&listed(setting), value)))?,
        }
        Ok(())
    }
}

/// What a change does. Only lists have items more or less.
enum Operation {
    Set,
    Delete,
    Append(&'static Setting),
    Subtract(&'static Setting),
}

fn with_items(list: &str, more: &str) -> String {
    let mut items: Vec<&str> = list.split(',').filter(|item| !item.is_empty()).collect();
    for item in more.split(',').map(str::trim) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(",")
}

fn without_items(list: &str, less: &str) -> String {
    let gone: Vec<&str> = less.split(',').map(str::trim).collect();
    let kept = list.split(',').filter(|item| !item.is_empty() && !gone.contains(item));
    kept.collect::<Vec<_>>().join(",")
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
