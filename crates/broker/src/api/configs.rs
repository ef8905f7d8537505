//! What the config APIs have in common: kinds of resources, and what a broker's own settings are.
//!
//! Topics have settings that can be changed. Brokers list theirs, and none of them changes while they run. There are no loggers, no
//! client metrics and no groups.

use crate::cluster::Cluster;
use crate::cluster_config::ClusterConfig;
use crate::ids::NodeId;
use crate::nodes::NodeState;
use crate::topics::{Topic, check_name};

use super::fault::Fault;

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
/// Kinds that Kafka knows, too: broker loggers, client metrics, groups.
pub(super) const KNOWN_ELSEWHERE: [i8; 3] = [8, 16, 32];

/// Kafka's numbers for where a value comes from.
pub(super) const FROM_TOPIC: i8 = 1;
pub(super) const FROM_STATIC_BROKER: i8 = 4;
pub(super) const FROM_DEFAULT: i8 = 5;

/// A broker's setting.
#[derive(Clone, Debug)]
pub(super) struct BrokerSetting {
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
    pub(super) default: Option<String>,
    pub(super) type_number: i8,
    pub(super) documentation: &'static str,
}

impl Cluster {
    /// The topic of a config resource.
    pub(super) fn configured_topic(&self, name: &str) -> Result<&Topic, Fault> {
        check_name(name)?;
        self.topics.named(name).ok_or_else(|| Fault::unknown_topic(name))
    }

    /// Every setting that this node acts on, in the order of names.
    pub(super) fn broker_settings(&self, node: NodeId) -> Vec<BrokerSetting> {
        let mut settings = own_settings(&self.config, self.nodes.state(node));
        let release = self.config.release;
        settings.extend(release.topic_settings().filter_map(|setting| {
            let name = setting.broker_name?;
            let value = Some(release.default_of(setting).to_owned());
            let (type_number, documentation) = (setting.type_number(), setting.documentation);
            Some(BrokerSetting { name, default: value.clone(), value, type_number, documentation })
        }));
        settings.sort_by_key(|setting| setting.name);
        settings
    }
}

/// The node that a resource names; none for the default of all.
pub(super) fn broker_named(name: &str) -> Result<Option<NodeId>, Fault> {
    match name {
        "" => Ok(None),
        id => match id.parse() {
            Ok(id) => Ok(Some(NodeId(id))),
            Err(_) => Err(Fault::invalid_request(format!("Broker id must be an integer, but it is: {id}"))),
        },
    }
}

fn own_settings(config: &ClusterConfig, state: &NodeState) -> Vec<BrokerSetting> {
    let setting = |name, value: String, default: Option<&str>, type_number, documentation| BrokerSetting {
        name,
        value: Some(value),
        default: default.map(str::to_owned),
        type_number,
        documentation,
    };
    let millis = |duration: std::time::Duration| duration.as_millis().to_string();
    let node = &state.node;
    let listener = format!("PLAINTEXT://{}:{}", node.host, node.port);
    vec![
        setting("advertised.listeners", listener.clone(), None, LIST, "Where clients are told to connect."),
        setting(
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            Some("true"),
            BOOLEAN,
            "Whether asking for a missing topic makes it.",
        ),
        setting("broker.id", node.id.to_string(), Some("-1"), INT, "The node's id, as it was called once."),
        BrokerSetting {
            value: config.racks.get(&node.id).cloned(),
            ..setting("broker.rack", String::new(), None, STRING, "The rack, or zone, that the node stands in.")
        },
        setting(
            "broker.session.timeout.ms",
            millis(config.session_timeout),
            Some("9000"),
            INT,
            "How long a node may say nothing before it is fenced.",
        ),
        setting(
            "default.replication.factor",
            config.default_replication_factor.to_string(),
            Some("1"),
            INT,
            "How many replicas a topic has whose creator does not say.",
        ),
        setting(
            "fetch.max.bytes",
            "57671680".to_owned(),
            Some("57671680"),
            INT,
            "The most that one Fetch answer takes.",
        ),
        setting("listeners", listener, Some("PLAINTEXT://:9092"), LIST, "Where the node listens."),
        setting(
            "max.incremental.fetch.session.cache.slots",
            config.fetch_sessions_max.to_string(),
            Some("1000"),
            INT,
            "How many fetch sessions a node keeps.",
        ),
        setting("node.id", node.id.to_string(), None, INT, "The node's id."),
        setting(
            "num.partitions",
            config.default_partitions.to_string(),
            Some("1"),
            INT,
            "How many partitions a topic has whose creator does not say.",
        ),
        setting("process.roles", "broker".to_owned(), None, LIST, "What the process does."),
        setting(
            "producer.id.expiration.check.interval.ms",
            millis(config.producer_expiry_check),
            Some("600000"),
            INT,
            "How often expired producers are looked for.",
        ),
        setting(
            "producer.id.expiration.ms",
            millis(config.producer_expiry),
            Some("86400000"),
            INT,
            "How long after its last record's timestamp a producer is remembered.",
        ),
        setting(
            "replica.lag.time.max.ms",
            millis(config.replica_lag_time_max),
            Some("30000"),
            LONG,
            "How long a follower may lack something before it is out of sync.",
        ),
    ]
}

const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;
