//! What becomes of settings that fit together.
//!
//! Left out: what must hold; see `check/relations.rs`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use milena_core::connection::ConnectionConfig;
use milena_core::metadata::Address;
use milena_core::producer::account::Share;
use milena_core::producer::back::BackConfig;
use milena_core::producer::control::ControlConfig;
use milena_core::producer::front::{AfterDeadline, FrontConfig};
use milena_core::producer::lane::LaneConfig;
use tokio::runtime::Handle;

use self::relations::IN_FLIGHT_MAX;
use super::ProducerConfig;
use super::misfit::{Misfit, Relation};
use crate::journal::JournalError;
use crate::partitioner::Partitioner;
use crate::record::Record;
use crate::report::ReportReader;

mod relations;

impl ProducerConfig {
    pub(crate) fn check(self) -> Result<Settings, ConfigError> {
        let bootstrap: Result<Vec<Address>, ConfigError> =
            self.bootstrap_servers.iter().map(|server| parse_address(server)).collect();
        let bootstrap = bootstrap?;
        if bootstrap.is_empty() {
            return Err(ConfigError::NoBootstrapServers);
        }
        check(self.relations())?;
        let compression = self.check_compression()?;
        let connection = ConnectionConfig::new(Arc::from(self.client_id.as_str()), self.request_timeout);
        let packers = if compression.is_none() { 0 } else { self.packers() };
        let back = BackConfig {
            encodings: compression.encodings,
            acks: self.acks,
            is_idempotent: self.idempotence,
            in_flight_max: self.in_flight_max().into(),
            horizon: self.horizon(),
            resends_stale: self.resend_stale,
            withdraws: self.after_deadline == AfterDeadline::Withdraw,
            settle_timeout: self.settle_timeout,
            has_fence: self.fence.is_some(),
            has_journal: self.fate_journal.is_some(),
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
                linger: self.fill_time(),
                deadline: self.deadline,
                after_deadline: self.after_deadline,
                may_withdraw: self.idempotence,
            },
            buffer_memory: self.buffer_memory,
            memory_share: Share::new(self.partition_memory_share).expect("it was just checked"),
            connect_timeout: self.connect_timeout,
            partitioner: self.partitioner,
            fence: self.fence,
            journal: self.fate_journal,
            packers,
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
}

/// The first that does not hold.
pub(super) fn check(relations: impl IntoIterator<Item = Relation>) -> Result<(), ConfigError> {
    let broken = relations.into_iter().find(|relation| !relation.holds);
    broken.map_or(Ok(()), |relation| Err(ConfigError::Relation(relation.misfit)))
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
    /// To be sent where nothing else is and something is in doubt.
    pub(crate) fence: Option<Record<'static>>,
    /// Where what is sent is noted before.
    pub(crate) journal: Option<PathBuf>,
    /// Threads that compress; none where no topic's batches are compressed.
    pub(crate) packers: usize,
    /// Of the application, to serve connections.
    pub(crate) runtime: Option<Handle>,
    pub(crate) reports: Option<ReportReader>,
}

/// Why a producer cannot be built.
///
/// ```
/// use std::time::Duration;
/// use milena::{ConfigError, Producer, ProducerConfig};
///
/// let config = ProducerConfig::new("localhost:9092").linger(Duration::from_secs(60));
/// let error = Producer::new(config).unwrap_err();
/// assert!(matches!(error, ConfigError::Relation(_)));
/// assert_eq!(
///     error.to_string(),
///     "linger (linger.ms) is 60s and deadline (milena.deadline.ms) is 30s: the time in which a batch fills is part of the \
///      second, and must leave request_timeout or half of it for sending: lower linger to 20s or raise deadline to 70s",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of bootstrap servers is empty.
    NoBootstrapServers,
    /// Not of the form `host:port`.
    InvalidAddress(String),
    /// A setting, or two together, cannot be as they are; the text says how to fix it.
    Relation(Misfit),
    /// The runtime that was given lacks what connections need; the text says how to build one that has it.
    RuntimeLacks(&'static str),
    /// The operating system gave no thread for the driver.
    NoThread(String),
    /// The fate journal cannot be used.
    Journal(JournalError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBootstrapServers => f.write_str(
                "bootstrap_servers (bootstrap.servers) is empty: it must name at least one broker: give it as host:port, as \
                 in localhost:9092",
            ),
            Self::InvalidAddress(address) => write!(
                f,
                "bootstrap_servers (bootstrap.servers) has {address:?}, which is not of the form host:port: write it as in \
                 localhost:9092 or [::1]:9092"
            ),
            Self::Relation(misfit) => misfit.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::RuntimeLacks(fix) => f.write_str(fix),
            Self::NoThread(why) => write!(
                f,
                "the producer's thread could not be started: {why}: raise the limit on threads (ulimit -u, or the \
                 container's), or end some"
            ),
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
mod advised;
#[cfg(test)]
mod told;

#[cfg(test)]
mod tests {
    use milena_core::producer::verdict::Acks;

    use super::*;
    use crate::config::Compression;

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
            .resend_stale(true)
            .settle_timeout(millis(18_000));
        let Settings { control, lane, connect_timeout, .. } = config.clone().check().expect("fits");
        let back = control.back;
        assert_eq!((back.acks, back.is_idempotent, back.in_flight_max), (Acks::Leader, false, 1));
        assert_eq!((back.horizon, back.resends_stale), (millis(500_000), true));
        assert_eq!((back.withdraws, back.settle_timeout), (false, millis(18_000)));
        let withdrawing = ProducerConfig::new("a:1").after_deadline(AfterDeadline::Withdraw).check().expect("fits");
        assert!(withdrawing.control.back.withdraws);
        assert_eq!(withdrawing.front.after_deadline, AfterDeadline::Withdraw);
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
        let packers = |config: ProducerConfig| config.check().expect("fits").packers;
        let lz4 = ProducerConfig::new("a:1").compression(Compression::Lz4);
        assert!((1..=4).contains(&packers(lz4.clone())));
        assert_eq!(packers(lz4.compression_threads(7)), 7);
        assert_eq!(packers(ProducerConfig::new("a:1").compression_threads(7)), 0, "there is nothing to compress");
    }
}
