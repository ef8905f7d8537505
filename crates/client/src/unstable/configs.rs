//! A topic's settings, as DescribeConfigs tells them.

use milena_core::connection::ConnectionError;
use milena_wire::ErrorCode;
use milena_wire::messages::describe_configs::request::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_wire::messages::describe_configs::response::DescribeConfigsResult;

use super::Admin;
use super::error::{ClusterError, Setback};
use super::link::LinkError;

/// A setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Kafka's name.
    pub name: String,
    /// None: it is secret, or has no value.
    pub value: Option<String>,
    /// Set on the topic itself, and not a default of the broker or of the cluster.
    pub is_own: bool,
}

impl Admin {
    /// A topic's settings by name, defaults included. None: the brokers serve no DescribeConfigs.
    pub async fn configs(&mut self, topic: &str) -> Result<Option<Vec<TopicConfig>>, ClusterError> {
        let until = self.cluster.until();
        loop {
            let address = self.cluster.controller();
            let setback = match self.cluster.ask(&address, i16::MAX, |_| request(topic), until).await {
                Ok(response) => match response.results.into_iter().next() {
                    Some(told) if told.error_code == 0 => return Ok(Some(configs(told))),
                    Some(told) => match ErrorCode(told.error_code) {
                        code if code.is_retriable() => Setback::Code(code),
                        code => {
                            let message = told.error_message;
                            return Err(ClusterError::Refused { topic: topic.into(), code, message });
                        }
                    },
                    None => Setback::NothingNew,
                },
                Err(LinkError::Broken(ConnectionError::ApiMissing { .. })) => return Ok(None),
                Err(error) if error.is_passing() => Setback::Link(error),
                Err(error) => return Err(ClusterError::Broken { address, error }),
            };
            self.cluster.refresh(setback, until).await?;
        }
    }
}

fn request(topic: &str) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configuration_keys: None,
        ..DescribeConfigsResource::default()
    };
    DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() }
}

fn configs(told: DescribeConfigsResult) -> Vec<TopicConfig> {
    let mut configs: Vec<TopicConfig> = told
        .configs
        .into_iter()
        .map(|config| TopicConfig {
            name: config.name.into(),
            value: config.value.filter(|_| !config.is_sensitive).map(String::from),
            is_own: config.config_source == OF_THE_TOPIC,
        })
        .collect();
    configs.sort_by(|one, other| one.name.cmp(&other.name));
    configs
}

/// `ConfigResource.Type.TOPIC` of Kafka.
const TOPIC: i8 = 2;
/// `ConfigSource.DYNAMIC_TOPIC_CONFIG` of Kafka.
const OF_THE_TOPIC: i8 = 1;
