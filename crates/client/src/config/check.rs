//! Whether settings fit together, and what becomes of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::connection::ConnectionConfig;
use milena_core::metadata::Address;
use milena_core::producer::account::Share;
use milena_core::producer::back::BackConfig;
use milena_core::producer::control::ControlConfig;
use milena_core::producer::front::FrontConfig;
use milena_core::producer::lane::LaneConfig;
use milena_core::producer::verdict::Acks;
use tokio::runtime::Handle;

use super::ProducerConfig;
use crate::partitioner::Partitioner;
use crate::report::ReportReader;

impl ProducerConfig {
    pub(crate) fn check(self) -> Result<Settings, ConfigError> {
        let bootstrap: Result<Vec<Address>, ConfigError> =
            self.bootstrap_servers.iter().map(|server| parse_address(server)).collect();
        let bootstrap = bootstrap?;
        if bootstrap.is_empty() {
            return Err(ConfigError::NoBootstrapServers);
        }
        self.check_sizes()?;
        self.check_acks()?;
        self.check_times()?;
        let compression = self.check_compression()?;
        let connection = ConnectionConfig::new(Arc::from(self.client_id.as_str()), self.request_timeout);
        let back = BackConfig {
            encodings: compression.encodings,
            acks: self.acks,
            is_idempotent: self.idempotence,
            in_flight_max: self.in_flight_max().into(),
            horizon: self.horizon(),
            resends_stale: self.resend_stale,
            ..BackConfig::new(self.delivery_timeout, self.retry_backoff)
        };
        Ok(Settings {
            control: ControlConfig {
                bootstrap,
                connection: connection.clone(),
                back,
                encodings_of: compression.of_topics.clone(),
                retry: self.retry_backoff,
                metadata_max_age: self.metadata_max_age,
                rebootstrap_after: self.rebootstrap_after,
                allow_auto_create_topics: self.allow_auto_create_topics,
            },
            lane: LaneConfig { connection, produce_timeout: self.produce_timeout, reconnect: self.reconnect_backoff },
            front: FrontConfig {
                batch_size: self.batch_size,
                max_request_size: self.max_request_size,
                linger: self.linger,
                deadline: self.deadline,
            },
            buffer_memory: self.buffer_memory,
            memory_share: Share::new(self.partition_memory_share).expect("it was just checked"),
            connect_timeout: self.connect_timeout,
            partitioner: self.partitioner,
            compresses: !compression.is_none(),
            runtime: self.runtime,
            reports: self.reports,
        })
    }

    fn in_flight_max(&self) -> u32 {
        self.max_in_flight.unwrap_or(if self.idempotence { IN_FLIGHT_MAX } else { 1 })
    }

    /// For how long brokers certainly remember (rule 17).
    fn horizon(&self) -> Duration {
        self.producer_id_expiration / 2
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        relation(self.max_request_size >= MAX_REQUEST_SIZE_MIN, "max_request_size must be at least 1024 bytes")?;
        relation(self.batch_size >= 1, "batch_size must be at least 1")?;
        relation(self.batch_size <= BATCH_SIZE_MAX, "batch_size must be at most 1 GiB")?;
        relation(
            self.buffer_memory >= self.max_request_size.saturating_add(BUFFER_SPARE),
            "buffer_memory (buffer.memory) must hold at least one record of max_request_size (max.request.size) and 128 KiB \
             more: raise the first or lower the second",
        )?;
        relation(
            Share::new(self.partition_memory_share).is_some(),
            "partition_memory_share must be above 0 and at most 1, which lets one partition take all of buffer_memory",
        )?;
        relation(self.client_id.len() <= i16::MAX as usize, "client_id must be at most 32767 bytes")
    }

    fn check_acks(&self) -> Result<(), ConfigError> {
        relation(
            self.acks == Acks::All || !self.idempotence,
            "idempotence (enable.idempotence) needs acks(Acks::All): use that, or set idempotence(false) and accept records that are lost or \
             written twice",
        )?;
        relation(
            (1..=IN_FLIGHT_MAX).contains(&self.in_flight_max()),
            "max_in_flight (max.in.flight.requests.per.connection) must be 1 to 5: brokers remember the last five batches of a producer, and a connection carries \
             five requests",
        )
    }

    /// Each builds on the one before; design and reasons stand at the setters.
    fn check_times(&self) -> Result<(), ConfigError> {
        let milli = Duration::from_millis(1);
        relation(self.produce_timeout >= milli, "produce_timeout must be at least 1 ms")?;
        relation(
            self.produce_timeout < self.request_timeout,
            "produce_timeout (milena.produce.timeout.ms) must be shorter than request_timeout (request.timeout.ms), so that a broker that waits for its followers answers \
             before it is given up: lower produce_timeout or raise request_timeout",
        )?;
        relation(
            self.request_timeout <= self.delivery_timeout,
            "request_timeout (request.timeout.ms) must not be longer than delivery_timeout (delivery.timeout.ms), or a batch is given up before an attempt is: lower \
             request_timeout or raise delivery_timeout",
        )?;
        relation(
            self.delivery_timeout <= self.horizon(),
            "delivery_timeout (delivery.timeout.ms) must be at most half of producer_id_expiration (24 h, 12 h by default), because later brokers \
             may have forgotten the producer: lower delivery_timeout, or raise producer_id_expiration with the brokers' \
             producer.id.expiration.ms",
        )?;
        let rises = |backoff: Backoff| backoff.initial >= milli && backoff.initial <= backoff.max;
        relation(rises(self.retry_backoff), "retry_backoff must begin with at least 1 ms and not end below its begin")?;
        relation(
            rises(self.reconnect_backoff),
            "reconnect_backoff must begin with at least 1 ms and not end below its begin",
        )?;
        relation(self.connect_timeout >= milli, "connect_timeout must be at least 1 ms; a second is short")?;
        relation(self.metadata_max_age >= MAX_AGE_MIN, "metadata_max_age must be at least 1 s")?;
        relation(
            self.rebootstrap_after > self.request_timeout,
            "rebootstrap_after (metadata.recovery.rebootstrap.trigger.ms) must be longer than request_timeout, so that a slow answer does not cost every connection: \
             raise rebootstrap_after or lower request_timeout",
        )
    }
}

pub(super) fn relation(holds: bool, what: &'static str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Relation(what)) }
}

/// The checked configuration, split by who needs it.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) control: ControlConfig,
    pub(crate) lane: LaneConfig,
    pub(crate) front: FrontConfig,
    pub(crate) buffer_memory: usize,
    pub(crate) memory_share: Share,
    pub(crate) connect_timeout: Duration,
    pub(crate) partitioner: Partitioner,
    /// Whether batches of any topic are compressed.
    pub(crate) compresses: bool,
    /// Of the application, to serve connections.
    pub(crate) runtime: Option<Handle>,
    pub(crate) reports: Option<ReportReader>,
}

/// Of a partition; brokers remember five batches, and a lane has five requests under way.
const IN_FLIGHT_MAX: u32 = 5;

/// More often would be a load on the cluster without a use.
const MAX_AGE_MIN: Duration = Duration::from_secs(1);

/// The smallest sensible limit; anything below is a mistake in the unit.
const MAX_REQUEST_SIZE_MIN: usize = 1024;

/// Lengths on the wire are signed 32-bit numbers.
const BATCH_SIZE_MAX: usize = 1 << 30;

/// Chunks around a large record.
const BUFFER_SPARE: usize = 128 * 1024;

/// Why a producer cannot be built.
///
/// ```
/// use std::time::Duration;
/// use milena::{ConfigError, Producer, ProducerConfig};
///
/// let config = ProducerConfig::new("localhost:9092").request_timeout(Duration::from_secs(1));
/// let error = Producer::new(config).unwrap_err();
/// assert!(matches!(error, ConfigError::Relation(_)));
/// assert!(error.to_string().ends_with("lower produce_timeout or raise request_timeout"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of bootstrap servers is empty.
    NoBootstrapServers,
    /// Not of the form `host:port`.
    InvalidAddress(String),
    /// Two settings do not fit together; the text says how to fix it.
    Relation(&'static str),
    /// The runtime that was given lacks what connections need; the text says how to build one that has it.
    RuntimeLacks(&'static str),
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
            Self::RuntimeLacks(fix) => f.write_str(fix),
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
        for (config, fix) in [
            (config().request_timeout(second), "lower produce_timeout or raise request_timeout"),
            (config().produce_timeout(second * 10), "lower produce_timeout or raise request_timeout"),
            (config().produce_timeout(Duration::ZERO), "produce_timeout must be at least"),
            (config().request_timeout(second * 121), "lower request_timeout or raise delivery_timeout"),
            (config().delivery_timeout(second * 86_400), "producer.id.expiration.ms"),
            (config().producer_id_expiration(second * 200), "producer.id.expiration.ms"),
            (config().acks(Acks::Leader), "set idempotence(false)"),
            (config().acks(Acks::None), "set idempotence(false)"),
            (config().max_in_flight(0), "must be 1 to 5"),
            (config().max_in_flight(6), "must be 1 to 5"),
            (config().idempotence(false).max_in_flight(6), "must be 1 to 5"),
            (config().retry_backoff(second * 2, second), "retry_backoff must begin"),
            (config().retry_backoff(Duration::ZERO, second), "retry_backoff must begin"),
            (config().reconnect_backoff(second * 2, second), "reconnect_backoff must begin"),
            (config().connect_timeout(Duration::ZERO), "connect_timeout"),
            (config().metadata_max_age(Duration::ZERO), "metadata_max_age"),
            (config().rebootstrap_after(second * 10), "raise rebootstrap_after or lower request_timeout"),
            (config().buffer_memory(1024), "buffer_memory"),
            (config().max_request_size(1), "max_request_size"),
            (config().partition_memory_share(0.0), "partition_memory_share"),
            (config().partition_memory_share(1.5), "partition_memory_share"),
            (config().batch_size(0), "batch_size"),
        ] {
            let text = error(config).to_string();
            assert!(text.contains(fix), "{fix}: {text}");
        }
    }

    #[test]
    fn settings_reach_who_needs_them() {
        let millis = Duration::from_millis;
        let config = ProducerConfig::new("a:1")
            .acks(Acks::Leader)
            .idempotence(false)
            .produce_timeout(millis(700))
            .retry_backoff(millis(11), millis(12))
            .reconnect_backoff(millis(13), millis(14))
            .connect_timeout(millis(15))
            .metadata_max_age(millis(16_000))
            .rebootstrap_after(millis(17_000))
            .allow_auto_create_topics(true)
            .producer_id_expiration(millis(1_000_000))
            .resend_stale(true);
        let Settings { control, lane, connect_timeout, .. } = config.clone().check().expect("fits");
        let back = control.back;
        assert_eq!((back.acks, back.is_idempotent, back.in_flight_max), (Acks::Leader, false, 1));
        assert_eq!((back.horizon, back.resends_stale), (millis(500_000), true));
        for retry in [back.retry, control.retry] {
            assert_eq!((retry.initial, retry.max), (millis(11), millis(12)));
        }
        assert_eq!((lane.produce_timeout, control.metadata_max_age), (millis(700), millis(16_000)));
        assert_eq!((control.allow_auto_create_topics, control.rebootstrap_after), (true, millis(17_000)));
        assert_eq!((lane.reconnect.initial, lane.reconnect.max), (millis(13), millis(14)));
        assert_eq!(connect_timeout, millis(15));
        let in_flight = |config: ProducerConfig| config.check().expect("fits").control.back.in_flight_max;
        assert_eq!(in_flight(config.max_in_flight(4)), 4);
        assert_eq!(in_flight(ProducerConfig::new("a:1")), 5);
    }
}
