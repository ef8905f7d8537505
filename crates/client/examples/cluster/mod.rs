//! Where the examples send to: the cluster named on the command line, or an embedded broker.

use milena::ProducerConfig;
use milena_broker::{Broker, BrokerOptions, StartError};

/// Keeps the embedded broker, if there is one.
pub struct Cluster {
    pub servers: String,
    _broker: Option<Broker>,
}

impl Cluster {
    /// Servers as `host:port`, or a broker in this process.
    pub fn at(servers: Option<String>) -> Result<Self, StartError> {
        if let Some(servers) = servers {
            return Ok(Self { servers, _broker: None });
        }
        let options = BrokerOptions { auto_create_topics: true, default_partitions: 3, ..BrokerOptions::default() };
        let broker = Broker::start(options)?;
        println!("no cluster is named, so there is one in this process, at {}", broker.bootstrap());
        Ok(Self { servers: broker.bootstrap().to_owned(), _broker: Some(broker) })
    }

    /// A topic that an example names is made where the cluster allows that.
    pub fn config(&self) -> ProducerConfig {
        ProducerConfig::new(&self.servers).allow_auto_create_topics(true)
    }
}
