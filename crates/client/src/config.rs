//! The configuration of a producer, checked once when the producer is built.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::producer::back::SETTLE_TIMEOUT;
use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::deliveries::Deliveries;
use crate::partitioner::Partitioner;
use crate::record::Record;
use crate::report::{DeliveryReport, ReportReader};

mod batches;
mod check;
mod cluster;
mod compression;
mod misfit;
mod promises;
mod properties;
#[cfg(feature = "serde")]
mod serialized;

pub use self::check::ConfigError;
pub(crate) use self::check::Settings;
pub(crate) use self::check::parse_address;
pub use self::compression::Compression;
use self::misfit::Given;
pub use self::misfit::Misfit;
#[cfg(feature = "unstable")]
pub use self::properties::Access;
pub use self::properties::{Properties, PropertiesError, PropertyFault, PropertyPlace, PropertyRefused};

/// How a [`crate::Producer`] behaves. Every setter names its default, the reason for it and what raising it costs, and
/// what Java's client and librdkafka call it.
///
/// ```
/// use std::time::Duration;
/// let config = milena::ProducerConfig::new("localhost:9092").linger(Duration::from_millis(20));
/// ```
///
/// Times build on each other: `produce_timeout` < `request_timeout` ≤ `delivery_timeout` ≤ half of
/// `producer_id_expiration`. `deadline` is free, from nothing to days, but for `linger`, which is part of it and of
/// `delivery_timeout`, and must leave `request_timeout` or half of each for sending. [`crate::Producer::new`] checks that
/// once, and the error says what to change.
#[derive(Clone)]
pub struct ProducerConfig {
    bootstrap_servers: Vec<String>,
    client_id: String,
    /// Absent where it follows from the deadline.
    linger: Option<Duration>,
    batch_size: usize,
    buffer_memory: usize,
    partition_memory_share: f64,
    max_request_size: usize,
    partitioner: Partitioner,
    compression: Vec<Compression>,
    compression_level: BTreeMap<Compression, i32>,
    topic_compression: BTreeMap<String, Vec<Compression>>,
    compression_threads: Option<usize>,
    acks: Acks,
    idempotence: bool,
    max_in_flight: Option<u32>,
    deadline: Duration,
    delivery_timeout: Duration,
    after_deadline: AfterDeadline,
    settle_timeout: Duration,
    fence: Option<Record<'static>>,
    fate_journal: Option<PathBuf>,
    request_timeout: Duration,
    produce_timeout: Duration,
    retry_backoff: Backoff,
    reconnect_backoff: Backoff,
    connect_timeout: Duration,
    metadata_max_age: Duration,
    rebootstrap_after: Duration,
    allow_auto_create_topics: bool,
    producer_id_expiration: Duration,
    resend_stale: bool,
    runtime: Option<Handle>,
    reports: Option<ReportReader>,
    /// For what errors call the settings.
    given: Given,
}

#[cfg(feature = "unstable")]
impl ProducerConfig {
    pub(crate) fn limits(&self) -> crate::unstable::Limits {
        crate::unstable::Limits {
            deadline: self.deadline,
            delivery_timeout: self.delivery_timeout,
            batch_size: self.batch_size,
            max_request_size: self.max_request_size,
        }
    }
}

impl ProducerConfig {
    /// Brokers to ask first, as `host:port`, separated by commas. Any broker of the cluster will do; name two or three so
    /// that one may be down. `bootstrap.servers`; librdkafka also `metadata.broker.list`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// let config = ProducerConfig::new("kafka-1:9092, kafka-2:9092, [::1]:9092");
    /// # let _ = config;
    /// ```
    pub fn new(bootstrap_servers: impl AsRef<str>) -> Self {
        Self {
            bootstrap_servers: split_servers(bootstrap_servers.as_ref()),
            client_id: "milena".to_owned(),
            linger: None,
            batch_size: 1_000_000,
            buffer_memory: 32 * 1024 * 1024,
            partition_memory_share: 0.5,
            max_request_size: 1024 * 1024,
            partitioner: Partitioner::default(),
            compression: Vec::new(),
            compression_level: BTreeMap::new(),
            topic_compression: BTreeMap::new(),
            compression_threads: None,
            acks: Acks::All,
            idempotence: true,
            max_in_flight: None,
            deadline: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            after_deadline: AfterDeadline::Complete,
            settle_timeout: SETTLE_TIMEOUT,
            fence: None,
            fate_journal: None,
            request_timeout: Duration::from_secs(10),
            produce_timeout: Duration::from_secs(2),
            retry_backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) },
            reconnect_backoff: Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) },
            connect_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            rebootstrap_after: Duration::from_secs(300),
            allow_auto_create_topics: false,
            producer_id_expiration: Duration::from_secs(24 * 3600),
            resend_stale: false,
            runtime: None,
            reports: None,
            given: Given::default(),
        }
    }

    /// Other brokers to ask first than those that [`Self::new`] was given, in the same form: for a configuration that was
    /// read from a file.
    ///
    /// ```
    /// # use milena::{ProducerConfig, Properties};
    /// // What is shared is in a file, and where to is said by who starts the program.
    /// let shared = Properties::parse("bootstrap.servers = localhost:9092\nlinger.ms = 20")?;
    /// let config = ProducerConfig::from_properties(shared)?.bootstrap_servers("kafka-1:9092");
    /// # let _ = config;
    /// # Ok::<(), milena::PropertiesError>(())
    /// ```
    #[must_use]
    pub fn bootstrap_servers(mut self, servers: impl AsRef<str>) -> Self {
        self.bootstrap_servers = split_servers(servers.as_ref());
        self
    }

    /// The name in the broker's logs, metrics and quotas. Default `milena`. `client.id`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // Quotas and broker logs then tell the services apart.
    /// let config = ProducerConfig::new("localhost:9092").client_id("checkout");
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// How the partition of a record is chosen that names none itself. Default [`Partitioner::Murmur2Random`], as the Java
    /// client: records with a key by murmur2, others where there is least to do. Programs on librdkafka that write keyed
    /// records to the same topics use [`Partitioner::ConsistentRandom`] unless they are told otherwise, and equal keys must
    /// meet. `partitioner`; Java's `partitioner.class`.
    ///
    /// ```
    /// use milena::{Partitioner, ProducerConfig};
    /// let config = ProducerConfig::new("localhost:9092").partitioner(Partitioner::ConsistentRandom);
    /// ```
    #[must_use]
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// Where the producer's connections are served. Default: on a thread of the producer's own, so that nothing the
    /// application does delays them. A runtime of the application, of either kind and with I/O and time enabled, saves that
    /// thread; sending then takes its turn among the other tasks there, and stands still while they block. Deadlines do not:
    /// they have a thread of their own either way.
    ///
    /// A current-thread runtime serves them only while somebody runs it. When the runtime is shut down, the producer ends as
    /// if its driver had died: what was not sent is `NotWritten(DriverLost)`, what was sent and not answered is `Unknown`,
    /// and its fate `Undetermined(DriverLost)`; close the producer before. One without I/O or time is refused when the
    /// producer is built, with [`ConfigError::RuntimeLacks`]; tokio tells what is missing by a panic only, so the
    /// application's panic hook hears of it too.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use milena::{Producer, ProducerConfig};
    ///
    /// let here = tokio::runtime::Handle::current();
    /// let producer = Producer::new(ProducerConfig::new("localhost:9092").runtime(here))?;
    /// # let _ = producer;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Called once for every record that was posted ([`crate::Topic::post`]), with its tag and outcome. The handler runs
    /// on a thread of its own, so a slow one delays no deadline; but memory is given back only after the reports of its
    /// batch, so it slows down who posts. It must not wait for room in
    /// this producer. A handler that panics loses its own report and no other.
    ///
    /// ```
    /// use milena::{Outcome, ProducerConfig};
    ///
    /// let config = ProducerConfig::new("localhost:9092").on_delivery(|report| match report.outcome() {
    ///     Outcome::Written(_) => {}
    ///     Outcome::NotWritten(why) => eprintln!("record {}: {why}", report.tag()),
    ///     Outcome::Unknown(_) => eprintln!("record {} is in doubt", report.tag()),
    /// });
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn on_delivery(mut self, handler: impl Fn(&DeliveryReport<'_>) + Send + Sync + 'static) -> Self {
        self.reports = Some(ReportReader::Handler(Arc::new(handler)));
        self
    }

    /// The outcomes of posted records as a stream, instead of a handler; the last of the two that is set holds. At most
    /// `capacity` reports wait in the stream (at least one does); the batches of further ones hold their part of
    /// `buffer_memory` until they are read, so a slow reader slows down who posts, and loses nothing. Raising it lets the reader
    /// fall behind for longer and costs some 100 bytes each.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use milena::{Producer, ProducerConfig, Record};
    ///
    /// let (config, mut deliveries) = ProducerConfig::new("localhost:9092").deliveries(10_000);
    /// let producer = Producer::new(config)?;
    /// producer.topic("orders")?.post_wait(Record::value("4 tea").tag(42)).await.map_err(|error| error.to_string())?;
    /// let report = deliveries.next().await.ok_or("the producer has ended")?;
    /// println!("{}: {:?}", report.tag(), report.outcome());
    /// # Ok(())
    /// # }
    /// ```
    pub fn deliveries(mut self, capacity: usize) -> (Self, Deliveries) {
        let (sender, reports) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
        self.reports = Some(ReportReader::Stream(sender));
        (self, Deliveries::new(reports))
    }
}

fn split_servers(servers: &str) -> Vec<String> {
    servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect()
}

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("linger", &self.fill_time())
            .field("batch_size", &self.batch_size)
            .field("buffer_memory", &self.buffer_memory)
            .field("partition_memory_share", &self.partition_memory_share)
            .field("max_request_size", &self.max_request_size)
            .field("partitioner", &self.partitioner)
            .field("compression", &self.compression)
            .field("compression_level", &self.compression_level)
            .field("topic_compression", &self.topic_compression)
            .field("compression_threads", &self.compression_threads)
            .field("acks", &self.acks)
            .field("idempotence", &self.idempotence)
            .field("max_in_flight", &self.max_in_flight)
            .field("deadline", &self.deadline)
            .field("delivery_timeout", &self.delivery_timeout)
            .field("after_deadline", &self.after_deadline)
            .field("settle_timeout", &self.settle_timeout)
            .field("fate_journal", &self.fate_journal)
            .field("request_timeout", &self.request_timeout)
            .field("produce_timeout", &self.produce_timeout)
            .field("retry_backoff", &self.retry_backoff)
            .field("reconnect_backoff", &self.reconnect_backoff)
            .field("connect_timeout", &self.connect_timeout)
            .field("metadata_max_age", &self.metadata_max_age)
            .field("rebootstrap_after", &self.rebootstrap_after)
            .field("allow_auto_create_topics", &self.allow_auto_create_topics)
            .field("producer_id_expiration", &self.producer_id_expiration)
            .field("resend_stale", &self.resend_stale)
            .field("has_fence", &self.fence.is_some())
            .field("has_runtime", &self.runtime.is_some())
            .field("has_reader_of_reports", &self.reports.is_some())
            .finish()
    }
}
