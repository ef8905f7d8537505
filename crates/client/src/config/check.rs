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
use super::compression::COMPRESSION_THREADS_MAX;
use super::misfit::{Misfit, Relation, Value};
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
            },
            buffer_memory: self.buffer_memory,
            memory_share: Share::new(self.partition_memory_share).expect("it was just checked"),
            connect_timeout: self.connect_timeout,
            partitioner: self.partitioner,
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

    /// All that must hold, in the order in which it is told.
    fn relations(&self) -> Vec<Relation> {
        [self.relations_of_sizes(), self.relations_of_acks(), self.relations_of_times(), self.relations_of_waits()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn relations_of_sizes(&self) -> Vec<Relation> {
        let (given, default) = (&self.given, Self::new(""));
        let least = self.max_request_size.saturating_add(BUFFER_SPARE);
        vec![
            self.range(
                "max_request_size",
                self.max_request_size.into(),
                self.max_request_size >= MAX_REQUEST_SIZE_MIN,
                "it must be at least 1024 bytes",
                default.max_request_size.into(),
            ),
            self.range(
                "batch_size",
                self.batch_size.into(),
                (1..=BATCH_SIZE_MAX).contains(&self.batch_size),
                "it must be 1 to 1073741824 bytes",
                default.batch_size.into(),
            ),
            Relation {
                holds: self.buffer_memory >= least,
                misfit: given.misfit(
                    [("buffer_memory", self.buffer_memory.into()), ("max_request_size", self.max_request_size.into())],
                    "one record of the largest size must find room, and 128 KiB more",
                    format!(
                        "{} or lower {}",
                        given.change("raise", "buffer_memory", least),
                        given.name("max_request_size")
                    ),
                ),
            },
            self.range(
                "partition_memory_share",
                Value::Share(self.partition_memory_share),
                Share::new(self.partition_memory_share).is_some(),
                "it must be above 0 and at most 1, which lets one partition take all of the memory",
                Value::Share(default.partition_memory_share),
            ),
            Relation {
                holds: self.client_id.len() <= CLIENT_ID_BYTES_MAX,
                misfit: given.misfit(
                    [("client_id", Value::Text(format!("of {} bytes", self.client_id.len())))],
                    "it may have at most 32767 bytes",
                    "use a shorter one",
                ),
            },
            self.range(
                "compression_threads",
                self.compression_threads.unwrap_or(1).into(),
                self.compression_threads.is_none_or(|threads| (1..=COMPRESSION_THREADS_MAX).contains(&threads)),
                "it must be 1 to 64",
                Value::Text("as many as the machine runs at a time, 4 at most".to_owned()),
            ),
        ]
    }

    fn relations_of_acks(&self) -> Vec<Relation> {
        let given = &self.given;
        vec![
            Relation {
                holds: self.acks == Acks::All || !self.idempotence,
                misfit: given.misfit(
                    [("idempotence", Value::Flag(self.idempotence)), ("acks", Value::Acks(self.acks))],
                    format!("the first needs {} to be {}", given.name("acks"), given.value(Value::Acks(Acks::All))),
                    format!(
                        "{}, or {} and accept records that are lost or written twice",
                        given.change("set", "acks", Value::Acks(Acks::All)),
                        given.change("set", "idempotence", Value::Flag(false)),
                    ),
                ),
            },
            self.range(
                "max_in_flight",
                (self.in_flight_max() as usize).into(),
                (1..=IN_FLIGHT_MAX).contains(&self.in_flight_max()),
                "it must be 1 to 5: brokers remember the last five batches of a producer, and a connection carries five \
                 requests",
                (if self.idempotence { IN_FLIGHT_MAX as usize } else { 1 }).into(),
            ),
        ]
    }

    /// Each builds on the one before; design and reasons stand at the setters.
    fn relations_of_times(&self) -> Vec<Relation> {
        let (given, default) = (&self.given, Self::new(""));
        let (produce, request, delivery) = (self.produce_timeout, self.request_timeout, self.delivery_timeout);
        let either = |lower, raise| format!("lower {} or raise {}", given.name(lower), given.name(raise));
        vec![
            self.least("produce_timeout", produce, MILLI, default.produce_timeout),
            Relation {
                holds: produce < request,
                misfit: given.misfit(
                    [("produce_timeout", produce.into()), ("request_timeout", request.into())],
                    "the first must be shorter, so that a broker that waits for its followers answers before it is given \
                     up",
                    either("produce_timeout", "request_timeout"),
                ),
            },
            Relation {
                holds: request <= delivery,
                misfit: given.misfit(
                    [("request_timeout", request.into()), ("delivery_timeout", delivery.into())],
                    "the first must not be longer, or a batch is given up before an attempt is",
                    either("request_timeout", "delivery_timeout"),
                ),
            },
            self.room_behind_linger("deadline", self.deadline),
            self.room_behind_linger("delivery_timeout", delivery),
            Relation {
                holds: delivery <= self.horizon(),
                misfit: given.misfit(
                    [
                        ("delivery_timeout", delivery.into()),
                        ("producer_id_expiration", self.producer_id_expiration.into()),
                    ],
                    "the first must be at most half of the second, because later brokers may have forgotten the producer",
                    format!(
                        "{}, or raise {} with the brokers' producer.id.expiration.ms",
                        given.change("lower", "delivery_timeout", self.horizon()),
                        given.name("producer_id_expiration"),
                    ),
                ),
            },
        ]
    }

    /// The time in which a batch fills is part of what its records have: what is left of it is for sending.
    fn room_behind_linger(&self, row: &'static str, whole: Duration) -> Relation {
        let (given, linger) = (&self.given, self.fill_time());
        let most = whole - self.room_within(whole);
        Relation {
            holds: linger <= most,
            misfit: given.misfit(
                [("linger", linger.into()), (row, whole.into())],
                format!(
                    "the time in which a batch fills is part of the second, and must leave {} or half of it for sending",
                    given.name("request_timeout")
                ),
                format!(
                    "{} or {}",
                    given.change("lower", "linger", most),
                    given.change("raise", row, linger.saturating_add(linger.min(self.request_timeout))),
                ),
            ),
        }
    }

    /// A request takes no longer than its timeout, and who sets a short time expects short requests.
    fn room_within(&self, whole: Duration) -> Duration {
        self.request_timeout.min(whole / 2)
    }

    /// One that was not set takes no more than there is.
    pub(super) fn fill_time(&self) -> Duration {
        let half = self.deadline.min(self.delivery_timeout) / 2;
        self.linger.unwrap_or(LINGER.min(half))
    }

    fn relations_of_waits(&self) -> Vec<Relation> {
        let (given, default) = (&self.given, Self::new(""));
        let not_below = |initial, max, backoff: Backoff| Relation {
            holds: backoff.initial <= backoff.max,
            misfit: given.misfit(
                [(initial, backoff.initial.into()), (max, backoff.max.into())],
                "the first must not be longer",
                format!("lower {} or raise {}", given.name(initial), given.name(max)),
            ),
        };
        let (retry, reconnect) = (self.retry_backoff, self.reconnect_backoff);
        vec![
            self.least("retry_backoff, initial", retry.initial, MILLI, default.retry_backoff.initial),
            not_below("retry_backoff, initial", "retry_backoff, max", retry),
            self.least("reconnect_backoff, initial", reconnect.initial, MILLI, default.reconnect_backoff.initial),
            not_below("reconnect_backoff, initial", "reconnect_backoff, max", reconnect),
            self.least("connect_timeout", self.connect_timeout, MILLI, default.connect_timeout),
            self.least("metadata_max_age", self.metadata_max_age, MAX_AGE_MIN, default.metadata_max_age),
            Relation {
                holds: self.rebootstrap_after > self.request_timeout,
                misfit: given.misfit(
                    [
                        ("rebootstrap_after", self.rebootstrap_after.into()),
                        ("request_timeout", self.request_timeout.into()),
                    ],
                    "the first must be longer, so that a slow answer does not cost every connection",
                    format!("raise {} or lower {}", given.name("rebootstrap_after"), given.name("request_timeout")),
                ),
            },
        ]
    }

    fn least(&self, row: &'static str, value: Duration, least: Duration, default: Duration) -> Relation {
        let limit = format!("it must be at least {}", self.given.value(least));
        self.range(row, value.into(), value >= least, limit, default.into())
    }

    fn range(
        &self,
        row: &'static str,
        value: Value,
        holds: bool,
        limit: impl Into<String>,
        default: Value,
    ) -> Relation {
        let fix = format!("give {} another value; its default is {}", self.given.name(row), self.given.value(default));
        Relation { holds, misfit: self.given.misfit([(row, value)], limit, fix) }
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
    /// Threads that compress; none where no topic's batches are compressed.
    pub(crate) packers: usize,
    /// Of the application, to serve connections.
    pub(crate) runtime: Option<Handle>,
    pub(crate) reports: Option<ReportReader>,
}

/// 10,000 records a second of a partition share batches of 50.
const LINGER: Duration = Duration::from_millis(5);

/// Less is a mistake in the unit.
const MILLI: Duration = Duration::from_millis(1);

/// Of a partition; brokers remember five batches, and a lane has five requests under way.
const IN_FLIGHT_MAX: u32 = 5;

/// More often would be a load on the cluster without a use.
const MAX_AGE_MIN: Duration = Duration::from_secs(1);

/// The smallest sensible limit; anything below is a mistake in the unit.
const MAX_REQUEST_SIZE_MIN: usize = 1024;

/// Lengths on the wire are signed 32-bit numbers.
const BATCH_SIZE_MAX: usize = 1 << 30;

/// Its length on the wire is a signed 16-bit number.
const CLIENT_ID_BYTES_MAX: usize = i16::MAX as usize;

/// Chunks around a large record.
const BUFFER_SPARE: usize = 128 * 1024;

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
mod told;

#[cfg(test)]
mod tests {
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
        let packers = |config: ProducerConfig| config.check().expect("fits").packers;
        let lz4 = ProducerConfig::new("a:1").compression(Compression::Lz4);
        assert!((1..=4).contains(&packers(lz4.clone())));
        assert_eq!(packers(lz4.compression_threads(7)), 7);
        assert_eq!(packers(ProducerConfig::new("a:1").compression_threads(7)), 0, "there is nothing to compress");
    }
}
