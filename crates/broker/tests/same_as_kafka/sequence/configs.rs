//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources, and the quotas of clients.

use milena_wire::ApiKey;
use milena_wire::messages::alter_client_quotas::request as alter_quotas;
use milena_wire::messages::alter_configs::request as alter_all;
use milena_wire::messages::describe_client_quotas::request as describe_quotas;
use milena_wire::messages::describe_configs::request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_wire::messages::incremental_alter_configs::request as alter_some;
use milena_wire::messages::list_config_resources::request::ListConfigResourcesRequest;

use super::{Author, Then};

/// A setting and a value for it, good or bad.
type Setting = (&'static str, Option<&'static str>);

/// Those that are good.
const GOOD: [Setting; 12] = [
    ("max.message.bytes", Some("2000")),
    ("max.message.bytes", Some("1048588")),
    ("message.timestamp.type", Some("LogAppendTime")),
    ("message.timestamp.type", Some("CreateTime")),
    ("message.timestamp.after.max.ms", Some("9000000")),
    ("message.timestamp.before.max.ms", Some("100000000")),
    ("retention.ms", Some("-1")),
    ("retention.bytes", Some("1000000000")),
    ("segment.ms", Some("604800000")),
    ("min.insync.replicas", Some("1")),
    ("flush.messages", Some("1")),
    ("cleanup.policy", Some("delete")),
];

/// Those that are not. Kafka looks at settings in the order of a hash table, so no request has two of them.
const BAD: [Setting; 10] = [
    ("max.message.bytes", Some("-1")),
    ("max.message.bytes", Some("many")),
    ("message.timestamp.type", Some("Never")),
    ("min.insync.replicas", Some("0")),
    ("segment.bytes", Some("13")),
    ("min.cleanable.dirty.ratio", Some("1.5")),
    ("unclean.leader.election.enable", Some("perhaps")),
    ("cleanup.policy", Some("keep")),
    ("no.such.config", Some("1")),
    ("retention.ms", None),
];

impl Author<'_> {
    pub(super) fn configs(&mut self) {
        match self.chance.below(6) {
            0 | 1 => self.describe_configs(),
            2 | 3 => self.alter_some_configs(),
            4 => self.alter_all_configs(),
            _ => self.list_config_resources(),
        }
    }

    fn describe_configs(&mut self) {
        let version = self.version(ApiKey::DESCRIBE_CONFIGS);
        if self.chance.one_in(3) {
            return self.describe_broker(version);
        }
        let mut resources = Vec::new();
        for _ in 0..self.chance.pick(&[1, 1, 2]) {
            let (resource_type, resource_name) = self.resource();
            let some = vec!["retention.ms".into(), "max.message.bytes".into(), "no.such.config".into()];
            let configuration_keys = self.chance.pick(&[None, Some(some), Some(Vec::new())]);
            resources.push(DescribeConfigsResource {
                resource_type,
                resource_name: resource_name.as_str().into(),
                configuration_keys,
                ..Default::default()
            });
        }
        let request = DescribeConfigsRequest {
            resources,
            include_synonyms: self.chance.one_in(2),
            include_documentation: version >= 3 && self.chance.one_in(4),
            ..Default::default()
        };
        self.ask("settings", version, request);
    }

    /// Some settings of the broker by name: a Kafka has hundreds that mean nothing elsewhere.
    fn describe_broker(&mut self, version: i16) {
        let name = self.chance.weighted(&[(8, "1"), (1, "2"), (1, ""), (1, "one")]);
        let mut some: Vec<_> = (0..3).map(|_| self.chance.pick(&OF_BROKERS)).collect();
        if name.is_empty() {
            // Of the settings of the whole cluster, Kafka has that one from the beginning (KIP-966).
            some.retain(|setting| *setting != "min.insync.replicas");
            some.push("num.partitions");
        }
        let some = some.into_iter().map(Into::into).collect();
        let resource = DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: name.into(),
            configuration_keys: Some(some),
            ..Default::default()
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: self.chance.one_in(4),
            include_documentation: version >= 3 && self.chance.one_in(4),
            ..Default::default()
        };
        self.ask("settings of the broker", version, request);
    }

    /// Mostly a topic that is there.
    fn resource(&mut self) -> (i8, String) {
        let there = self.place().map(|(topic, _)| self.topics[topic].name.clone());
        match (self.chance.below(12), there) {
            (0, _) | (_, None) => (TOPIC, self.missing_name()),
            (1, Some(name)) => (self.chance.pick(&[0, 1, 3, 77]), name),
            (_, Some(name)) => (TOPIC, name),
        }
    }

    fn alter_some_configs(&mut self) {
        let version = self.version(ApiKey::INCREMENTAL_ALTER_CONFIGS);
        let (resource_type, name) = self.resource();
        let mut configs = Vec::new();
        for _ in 0..self.chance.pick(&[1, 1, 2, 3]) {
            let (setting, value) = self.chance.pick(&GOOD);
            let config_operation = self.chance.weighted(&[(3, 0), (1, 1)]);
            let is_repeated = configs.iter().any(|known: &alter_some::AlterableConfig| &*known.name == setting);
            if !is_repeated || self.chance.one_in(6) {
                configs.push(alter_some::AlterableConfig {
                    name: setting.into(),
                    config_operation,
                    value: value.map(Into::into),
                    ..Default::default()
                });
            }
        }
        if self.chance.one_in(3) {
            let (setting, value) = self.chance.pick(&BAD);
            let config_operation = self.chance.weighted(&[(8, 0), (1, 1)]);
            let value = value.map(Into::into);
            configs.retain(|known| &*known.name != setting);
            configs.push(alter_some::AlterableConfig {
                name: setting.into(),
                config_operation,
                value,
                ..Default::default()
            });
        } else if self.chance.one_in(4) {
            configs.truncate(1);
            configs.iter_mut().for_each(|config| config.config_operation = self.chance.pick(&[2, 3, 9]));
        }
        let resource_name = name.as_str().into();
        let resource = alter_some::AlterConfigsResource { resource_type, resource_name, configs, ..Default::default() };
        let request = alter_some::IncrementalAlterConfigsRequest {
            resources: vec![resource],
            validate_only: self.chance.one_in(4),
            ..Default::default()
        };
        self.gives_settings(&name);
        self.ask("some settings", version, request).then = Then::Altered(name);
    }

    fn alter_all_configs(&mut self) {
        let version = self.version(ApiKey::ALTER_CONFIGS);
        let (resource_type, name) = self.resource();
        let mut configs = Vec::new();
        for _ in 0..self.chance.below(3) {
            let is_bad = configs.is_empty() && self.chance.one_in(3);
            let (setting, value) = if is_bad { self.chance.pick(&BAD) } else { self.chance.pick(&GOOD) };
            configs.push(alter_all::AlterableConfig {
                name: setting.into(),
                value: value.map(Into::into),
                ..Default::default()
            });
        }
        let resource_name = name.as_str().into();
        let resource = alter_all::AlterConfigsResource { resource_type, resource_name, configs, ..Default::default() };
        let request = alter_all::AlterConfigsRequest {
            resources: vec![resource],
            validate_only: self.chance.one_in(4),
            ..Default::default()
        };
        self.gives_settings(&name);
        self.ask("all settings", version, request).then = Then::Altered(name);
    }

    fn list_config_resources(&mut self) {
        let version = self.version(ApiKey::LIST_CONFIG_RESOURCES);
        let mut request = ListConfigResourcesRequest::default();
        if version >= 1 {
            // Topics come and go meanwhile; who is alone asks for them.
            let kinds: &[i8] = if self.is_alone { &[TOPIC, 4, 8, 16, 32, 99] } else { &[4, 8, 16, 32, 99] };
            request.resource_types = vec![self.chance.pick(kinds)];
            if self.is_alone && self.chance.one_in(3) {
                request.resource_types.clear();
            }
        }
        self.ask("what has settings", version, request);
    }

    pub(super) fn quotas(&mut self) {
        let user = format!("{}-user", self.origin.prefix);
        if self.chance.one_in(2) {
            let version = self.version(ApiKey::DESCRIBE_CLIENT_QUOTAS);
            let component = |entity_type: &str, match_type, name: Option<&str>| describe_quotas::ComponentData {
                entity_type: entity_type.into(),
                match_type,
                match_: name.map(Into::into),
                ..Default::default()
            };
            let exact = component("user", 0, Some(&user));
            let components = match self.chance.below(6) {
                0 => vec![exact, component("client-id", 0, Some(&user))],
                1 => vec![component("no-such-kind", 0, Some(&user))],
                2 => vec![exact, component("user", 0, Some(&user))],
                3 => vec![component("user", 9, Some(&user))],
                _ => vec![exact],
            };
            let request = describe_quotas::DescribeClientQuotasRequest {
                components,
                strict: self.chance.one_in(2),
                ..Default::default()
            };
            self.ask("quotas", version, request);
            return;
        }
        let version = self.version(ApiKey::ALTER_CLIENT_QUOTAS);
        let entity = |kind: &str, name: Option<&str>| alter_quotas::EntityData {
            entity_type: kind.into(),
            entity_name: name.map(Into::into),
            ..Default::default()
        };
        let entity = match self.chance.below(8) {
            0 => vec![entity("no-such-kind", Some(&user))],
            1 => vec![entity("user", Some(""))],
            2 => vec![entity("user", Some(&user)), entity("client-id", Some(&user))],
            3 => Vec::new(),
            _ => vec![entity("user", Some(&user))],
        };
        // Not controller_mutation_rate, which Kafka keeps and milena-broker refuses: what is told afterwards would differ, too.
        let keys = ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "no_rate"];
        let op = alter_quotas::OpData {
            key: self.chance.pick(&keys).into(),
            value: self.chance.pick(&[1e9, 5e9, 0.5, 0.0, -1.0]),
            remove: self.chance.one_in(4),
            ..Default::default()
        };
        let entry = alter_quotas::EntryData { entity, ops: vec![op], ..Default::default() };
        let request = alter_quotas::AlterClientQuotasRequest {
            entries: vec![entry],
            validate_only: self.chance.one_in(4),
            ..Default::default()
        };
        self.ask("other quotas", version, request).then = Then::Quotas;
    }
}

/// The kind of resource that topics are.
const TOPIC: i8 = 2;
/// The kind of resource that brokers are.
const BROKER: i8 = 4;
/// What clients and tests ask a broker for.
const OF_BROKERS: [&str; 18] = [
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "compression.type",
    "default.replication.factor",
    "fetch.max.bytes",
    "log.cleanup.policy",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.segment.bytes",
    "max.incremental.fetch.session.cache.slots",
    "message.max.bytes",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
    "producer.id.expiration.ms",
    "unclean.leader.election.enable",
    "no.such.config",
];
