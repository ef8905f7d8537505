//! The configuration of a producer, checked once when the producer is built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::connection::ConnectionConfig;
use milena_core::metadata::Address;
use milena_core::producer::back::BackConfig;
use milena_core::producer::control::ControlConfig;
use milena_core::producer::front::FrontConfig;
use milena_core::producer::lane::LaneConfig;

use crate::report::DeliveryReport;

pub(crate) type Handler = Arc<dyn Fn(&DeliveryReport<'_>) + Send + Sync>;

/// How a [`crate::Producer`] behaves. Every setter names its default and what raising it costs.
///
/// ```
/// use std::time::Duration;
/// let config = milena::ProducerConfig::new("localhost:9092").linger(Duration::from_millis(20));
/// ```
#[derive(Clone)]
pub struct ProducerConfig {
    bootstrap_servers: Vec<String>,
    client_id: String,
    linger: Duration,
    batch_size: usize,
    buffer_memory: usize,
    max_request_size: usize,
    deadline: Duration,
    delivery_timeout: Duration,
    request_timeout: Duration,
    produce_timeout: Duration,
    retry_backoff: Backoff,
    reconnect_backoff: Backoff,
    connect_timeout: Duration,
    metadata_max_age: Duration,
    handler: Option<Handler>,
}

impl ProducerConfig {
    /// Brokers to ask first, as `host:port`, separated by commas. Any broker of the cluster will do; name two or three so
    /// that one may be down.
    pub fn new(bootstrap_servers: impl AsRef<str>) -> Self {
        let servers = bootstrap_servers.as_ref().split(',').map(str::trim).filter(|server| !server.is_empty());
        Self {
            bootstrap_servers: servers.map(str::to_owned).collect(),
            client_id: "milena".to_owned(),
            linger: Duration::from_millis(5),
            batch_size: 1_000_000,
            buffer_memory: 32 * 1024 * 1024,
            max_request_size: 1024 * 1024,
            deadline: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(10),
            produce_timeout: Duration::from_secs(2),
            retry_backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) },
            reconnect_backoff: Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) },
            connect_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            handler: None,
        }
    }

    /// The name in the broker's logs, metrics and quotas. Default `milena`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// How long a batch may fill before it is sent. A ceiling: a full batch goes at once, and while all slots of a
    /// partition are in flight its batch fills on at no cost. Default 5 ms: at 10,000 records a second per partition, 50
    /// records share one batch. Raising it adds latency to every record of a quiet partition.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The bytes at which a batch is full. Default 1 MB, just below what brokers accept (`max.message.bytes`). Chunks are
    /// taken as a batch grows, so a high value costs memory only where it is used.
    #[must_use]
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// Bytes that records may hold from acceptance to the end of their batch. Default 32 MiB. When it is used up,
    /// `try_send` refuses and `send` waits. Raising it costs that memory while brokers are slow or away.
    #[must_use]
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// A record that is larger alone in its batch is refused at once. Default 1 MiB, as brokers do (`max.message.bytes`).
    #[must_use]
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
        self
    }

    /// How long after `send` every record has its outcome at the latest, whatever brokers and network do; in steps of
    /// 10 ms. Default 30 s. Raising it makes callers wait longer in an outage; lowering it makes more outcomes `Unknown`.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a batch whose callers were released is sent again to settle their fates. Default 120 s. Raising it
    /// settles more fates after long outages and holds their memory longer.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// How long the oldest unanswered request of a connection may wait before the connection is given up. Default 10 s.
    /// Lowering it finds frozen brokers sooner and gives slow ones less time.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long one address may take to open a connection, and one name to be looked up. Default 10 s, as Java's
    /// `socket.connection.setup.timeout.ms`. Of a name with several addresses the next one is tried after a quarter of a
    /// second, so a dead one delays nothing for longer. Lowering it finds dead addresses sooner; much below a second a
    /// single lost packet counts as one.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Called once for every record that was posted ([`crate::Topic::post`]), with its tag and outcome. The handler runs
    /// on a thread of its own, so a slow one delays no deadline; but memory is given back only after the reports of its
    /// batch, so it slows down who posts. It must not wait for room in
    /// this producer. A handler that panics loses its own report and no other.
    #[must_use]
    pub fn on_delivery(mut self, handler: impl Fn(&DeliveryReport<'_>) + Send + Sync + 'static) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }

    pub(crate) fn check(self) -> Result<Settings, ConfigError> {
        let bootstrap: Result<Vec<Address>, ConfigError> =
            self.bootstrap_servers.iter().map(|server| parse_address(server)).collect();
        let bootstrap = bootstrap?;
        if bootstrap.is_empty() {
            return Err(ConfigError::NoBootstrapServers);
        }
        self.check_relations()?;
        let connection = ConnectionConfig::new(Arc::from(self.client_id.as_str()), self.request_timeout);
        Ok(Settings {
            control: ControlConfig {
                bootstrap,
                connection: connection.clone(),
                back: BackConfig::new(self.delivery_timeout, self.retry_backoff),
                retry: self.retry_backoff,
                metadata_max_age: self.metadata_max_age,
            },
            lane: LaneConfig { connection, produce_timeout: self.produce_timeout, reconnect: self.reconnect_backoff },
            front: FrontConfig {
                batch_size: self.batch_size,
                max_request_size: self.max_request_size,
                linger: self.linger,
                deadline: self.deadline,
            },
            buffer_memory: self.buffer_memory,
            connect_timeout: self.connect_timeout,
            handler: self.handler,
        })
    }

    /// produce timeout < request_timeout ≤ deadline's worth of attempts ≤ delivery_timeout, and room for at least one
    /// record; each with the fix in the text.
    fn check_relations(&self) -> Result<(), ConfigError> {
        let relation = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(ConfigError::Relation(what)) };
        relation(
            self.produce_timeout < self.request_timeout,
            "request_timeout must be longer than the 2 s that brokers may wait for their followers",
        )?;
        relation(
            self.deadline <= self.delivery_timeout,
            "delivery_timeout must not be shorter than deadline: raise delivery_timeout or lower deadline",
        )?;
        relation(
            self.delivery_timeout <= Duration::from_secs(12 * 3600),
            "delivery_timeout must be at most 12 h, half of what brokers remember of a producer (producer.id.expiration.ms)",
        )?;
        relation(self.max_request_size >= MAX_REQUEST_SIZE_MIN, "max_request_size must be at least 1024 bytes")?;
        relation(self.batch_size >= 1, "batch_size must be at least 1")?;
        relation(self.batch_size <= BATCH_SIZE_MAX, "batch_size must be at most 1 GiB")?;
        relation(
            self.buffer_memory >= self.max_request_size.saturating_add(BUFFER_SPARE),
            "buffer_memory must hold at least one record of max_request_size and 128 KiB more",
        )?;
        relation(self.client_id.len() <= i16::MAX as usize, "client_id must be at most 32767 bytes")
    }
}

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("linger", &self.linger)
            .field("batch_size", &self.batch_size)
            .field("buffer_memory", &self.buffer_memory)
            .field("max_request_size", &self.max_request_size)
            .field("deadline", &self.deadline)
            .field("delivery_timeout", &self.delivery_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("has_handler", &self.handler.is_some())
            .finish_non_exhaustive()
    }
}

/// The checked configuration, split by who needs it.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) control: ControlConfig,
    pub(crate) lane: LaneConfig,
    pub(crate) front: FrontConfig,
    pub(crate) buffer_memory: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) handler: Option<Handler>,
}

/// The smallest sensible limit; anything below is a mistake in the unit.
const MAX_REQUEST_SIZE_MIN: usize = 1024;

/// Lengths on the wire are signed 32-bit numbers.
const BATCH_SIZE_MAX: usize = 1 << 30;

/// Chunks around a large record.
const BUFFER_SPARE: usize = 128 * 1024;

/// Why a producer cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of bootstrap servers is empty.
    NoBootstrapServers,
    /// Not of the form `host:port`.
    InvalidAddress(String),
    /// Two settings do not fit together; the text says how to fix it.
    Relation(&'static str),
    /// The operating system gave no thread for the driver.
    NoThread(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBootstrapServers => f.write_str("no bootstrap server is given: name at least one as host:port"),
            Self::InvalidAddress(address) => {
                write!(
                    f,
                    "bootstrap server {address:?} is not of the form host:port, as in localhost:9092 or [::1]:9092"
                )
            }
            Self::Relation(fix) => f.write_str(fix),
            Self::NoThread(why) => write!(f, "the producer's thread could not be started: {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}

pub(crate) fn parse_address(server: &str) -> Result<Address, ConfigError> {
    let invalid = || ConfigError::InvalidAddress(server.to_owned());
    let (host, port) = server.rsplit_once(':').ok_or_else(invalid)?;
    let port = port.parse().map_err(|_| invalid())?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(invalid)?,
        None if host.contains(':') => return Err(invalid()),
        None => host,
    };
    if host.is_empty() || port == 0 {
        return Err(invalid());
    }
    Ok(Address { host: Arc::from(host), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(config: ProducerConfig) -> ConfigError {
        config.check().err().expect("refused")
    }

    #[test]
    fn the_defaults_fit_together() {
        assert!(ProducerConfig::new("localhost:9092, [::1]:9093").check().is_ok());
    }

    #[test]
    fn addresses_that_are_none_are_named() {
        assert_eq!(error(ProducerConfig::new(" , ")), ConfigError::NoBootstrapServers);
        for address in ["localhost", "localhost:", "localhost:x", ":9092", "::1:9092", "[::1:9092", "a:0", "a:70000"] {
            assert_eq!(error(ProducerConfig::new(address)), ConfigError::InvalidAddress(address.to_owned()));
        }
    }

    #[test]
    fn relations_are_checked_and_say_how_to_fix_them() {
        let config = || ProducerConfig::new("a:1");
        let second = Duration::from_secs(1);
        for (config, word) in [
            (config().request_timeout(second), "request_timeout"),
            (config().delivery_timeout(second), "delivery_timeout"),
            (config().delivery_timeout(second * 86_400), "12 h"),
            (config().buffer_memory(1024), "buffer_memory"),
            (config().max_request_size(1), "max_request_size"),
            (config().batch_size(0), "batch_size"),
        ] {
            let text = error(config).to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
