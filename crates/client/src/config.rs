//! The configuration of a producer, checked once when the producer is built.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::producer::verdict::Acks;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::deliveries::Deliveries;
use crate::partitioner::Partitioner;
use crate::report::{DeliveryReport, ReportReader};

mod check;
mod compression;
mod misfit;
mod properties;
#[cfg(feature = "serde")]
mod serialized;

pub use self::check::ConfigError;
pub(crate) use self::check::Settings;
#[cfg(feature = "unstable")]
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

    /// How long a batch may fill before it is sent. A ceiling: a full batch goes at once, and while all slots of a
    /// partition are in flight its batch fills on at no cost. Default 5 ms: at 10,000 records a second per partition, 50
    /// records share one batch; half of `deadline` or `delivery_timeout` where that is less. Raising it adds latency to every
    /// record of a quiet partition. It is part of each record's deadline: `request_timeout` or half of the deadline must be
    /// left for sending, or the configuration is refused. A record with a deadline of its own that is shorter than this
    /// ends `NotWritten`, unless its batch goes earlier. `linger.ms`; librdkafka also `queue.buffering.max.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Nobody waits for these, so batches may take their time to fill.
    /// let config = ProducerConfig::new("localhost:9092").linger(Duration::from_millis(100));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = Some(linger);
        self
    }

    /// The bytes at which a batch is full. Default 1 MB, just below what brokers accept (`max.message.bytes`). Chunks are
    /// taken as a batch grows, so a high value costs memory only where it is used. `batch.size`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // The topic takes no batch above 512 KiB (`max.message.bytes`).
    /// let config = ProducerConfig::new("localhost:9092").batch_size(500_000);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// Bytes that records may hold from acceptance to the end of their batch. Default 32 MiB. When it is used up,
    /// `try_send` refuses and `send` waits. Raising it costs that memory while brokers are slow or away. `buffer.memory`; librdkafka's
    /// `queue.buffering.max.kbytes`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // A gigabyte a minute, and brokers that may be away for a few seconds.
    /// let config = ProducerConfig::new("localhost:9092").buffer_memory(256 * 1024 * 1024);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// How much of `buffer_memory` one partition may hold, as a part of what the others leave: above 0, at most 1. Default
    /// 0.5: one partition that makes no progress holds at most half of the memory, two a third each, nine a tenth each, and
    /// as much is left for all others. Callers of a partition that holds its share wait or are refused with
    /// [`crate::SendRefused::PartitionFull`]; those of others are not held up. Raising it gives a single busy partition more
    /// of the memory and leaves less to the others when it stops; 1 lets one take all. An empty partition always has room
    /// for its first record, as long as there is any.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // All records go to one partition: it may have nearly all of the memory.
    /// let config = ProducerConfig::new("localhost:9092").partition_memory_share(0.9);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn partition_memory_share(mut self, share: f64) -> Self {
        self.partition_memory_share = share;
        self
    }

    /// A record that is larger alone in its batch is refused at once. Default 1 MiB, as brokers do (`max.message.bytes`).
    /// `max.request.size`; librdkafka's `message.max.bytes`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // The topic takes 8 MiB (`max.message.bytes`), and single records may need it.
    /// let config = ProducerConfig::new("localhost:9092").max_request_size(8 * 1024 * 1024);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
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

    /// Who must have a record before the broker answers. Default [`Acks::All`], the only one that idempotence goes with and
    /// that survives the loss of a broker. [`Acks::Leader`] saves the wait for the followers, and `Written` then means "on
    /// the leader": lost with it if it fails before they copy. With [`Acks::None`] nobody ever tells: every outcome is
    /// `Unknown`, and its fate `Undetermined`. Both need `idempotence(false)`. `acks`; librdkafka also
    /// `request.required.acks`.
    ///
    /// ```
    /// # use milena::Acks;
    /// # use milena::ProducerConfig;
    /// // Metrics, of which some may be lost with a broker.
    /// let config = ProducerConfig::new("localhost:9092").acks(Acks::Leader).idempotence(false);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Whether brokers recognise what is sent again, so that a record is written once and in order. Default true; costs a
    /// round trip at the start. Without it a batch that went unanswered cannot be asked about: a resend may write it twice,
    /// and with more than one batch in flight change the order. `enable.idempotence`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // The topic is deduplicated downstream anyway.
    /// let config = ProducerConfig::new("localhost:9092").idempotence(false);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.idempotence = idempotence;
        self
    }

    /// Batches of a partition that are sent and not settled; 1 to 5. Default 5 with idempotence, as many as brokers
    /// remember of a producer: over a long way they keep the connection full. Default 1 without, because a batch that is
    /// sent again would come behind its followers. `max.in.flight.requests.per.connection`, which counts requests.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // As other clients without pipelining: for a comparison.
    /// let config = ProducerConfig::new("localhost:9092").max_in_flight(1);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn max_in_flight(mut self, batches: u32) -> Self {
        self.max_in_flight = Some(batches);
        self
    }

    /// How long after `send` every record has its outcome at the latest, whatever brokers and network do; in steps of
    /// 10 ms, from nothing to days. Default 30 s. [`crate::Record::deadline`] sets it for one record. Raising it makes
    /// callers wait longer in an outage; lowering it makes more outcomes `Unknown`. Of Java's `delivery.timeout.ms` and
    /// librdkafka's `message.timeout.ms` the part that callers see; it also covers what Java bounds by `max.block.ms`.
    ///
    /// It stands in no fixed relation to the other times. Shorter than `request_timeout`, it ends before a broker that says
    /// nothing is left for another one, and what was sent is `Unknown` then; its batch goes on until `delivery_timeout`.
    /// Longer than `delivery_timeout`, its batch goes on until it ends. What was sent and is unanswered after half of
    /// `producer_id_expiration` ends in doubt, whatever the deadline.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // A web request has a second; Kafka gets most of it.
    /// let config = ProducerConfig::new("localhost:9092").deadline(Duration::from_millis(900));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a batch is sent again, counted from its first record, to settle the fates of callers who were released.
    /// Default 120 s. A batch somebody still waits for is never given up, so with a longer `deadline` that counts. Raising
    /// it settles more fates after long outages and holds their memory longer. `delivery.timeout.ms`; librdkafka also
    /// `message.timeout.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Callers leave after a second; what was sent by then is pursued for ten minutes.
    /// let config = ProducerConfig::new("localhost:9092").deadline(Duration::from_secs(1)).delivery_timeout(Duration::from_secs(600));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// How long the oldest unanswered request of a connection may wait before the connection is given up. Default 10 s.
    /// Lowering it finds frozen brokers sooner and gives slow ones less time. `request.timeout.ms`; librdkafka's
    /// `socket.timeout.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Brokers nearby answer in milliseconds, so one that is silent for three seconds is given up.
    /// let config = ProducerConfig::new("localhost:9092").request_timeout(Duration::from_secs(3));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a broker may wait for its followers before it answers that it did not see them. Default 2 s: one request
    /// carries many partitions, and a frozen follower of one holds up the others for so long. Raising it makes that worse;
    /// lowering it below what replication takes makes batches go twice, which costs traffic and is not written twice. A field
    /// of the request; Java sends its `request.timeout.ms`, librdkafka's `request.timeout.ms` is this.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Followers far away take longer.
    /// let config = ProducerConfig::new("localhost:9092").produce_timeout(Duration::from_secs(5));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn produce_timeout(mut self, timeout: Duration) -> Self {
        self.produce_timeout = timeout;
        self
    }

    /// How long to wait before a batch, metadata or a producer id is asked for again: `initial` after the first failure,
    /// twice as long after each further one, at most `max`, all of it a fifth longer or shorter by chance (KIP-580).
    /// Default 100 ms to 1 s. Raising it spares a cluster in trouble and makes everything later once it is well.
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // A cluster in trouble is asked less often.
    /// let config = ProducerConfig::new("localhost:9092").retry_backoff(Duration::from_millis(500), Duration::from_secs(5));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn retry_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.retry_backoff = Backoff { initial, max };
        self
    }

    /// How long to wait before a broker that could not be reached is dialed again, as in [`Self::retry_backoff`]. Default
    /// 50 ms to 1 s: brokers restart in seconds, and longer waits would eat the deadlines of their records. Raising it
    /// spares brokers that thousands of clients come back to. `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Thousands of these come back to a broker that restarts.
    /// let config = ProducerConfig::new("localhost:9092").reconnect_backoff(Duration::from_millis(200), Duration::from_secs(10));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn reconnect_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.reconnect_backoff = Backoff { initial, max };
        self
    }

    /// How long one address may take to open a connection, and one name to be looked up. Default 10 s, as Java's
    /// `socket.connection.setup.timeout.ms`. Of a name with several addresses the next one is tried after a quarter of a
    /// second, so a dead one delays nothing for longer. Lowering it finds dead addresses sooner; much below a second a
    /// single lost packet counts as one.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // In one data centre a connection is there at once or not at all.
    /// let config = ProducerConfig::new("localhost:9092").connect_timeout(Duration::from_secs(2));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long brokers, topics and leaders are asked for again though nothing went wrong. Default 300 s: only new
    /// partitions are found by it, everything else is found when it fails. Lowering it finds them sooner and costs a request
    /// per producer each time. `metadata.max.age.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // New partitions are to be used within a minute.
    /// let config = ProducerConfig::new("localhost:9092").metadata_max_age(Duration::from_secs(60));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = age;
        self
    }

    /// After how long without an answer the brokers that are known count as gone: every connection is given up and the
    /// bootstrap servers are asked again, their names looked up anew (KIP-1102). Default 300 s, longer than a broker takes
    /// to restart. Where none of the known brokers can be reached that happens at once (KIP-899). Lowering it leaves
    /// brokers sooner that take connections and do not answer. `metadata.recovery.rebootstrap.trigger.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Whole clusters are exchanged behind the same names.
    /// let config = ProducerConfig::new("localhost:9092").rebootstrap_after(Duration::from_secs(60));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn rebootstrap_after(mut self, time: Duration) -> Self {
        self.rebootstrap_after = time;
        self
    }

    /// Whether a topic that is not there may be created by asking for it, with the brokers' defaults, where they allow that
    /// (`auto.create.topics.enable`). Default false: a name that is misspelled is an error, and no new topic. Kafka's Java
    /// producer always asks for it; its consumer's setting `allow.auto.create.topics` has this name.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // A test against a broker that makes topics as they are named.
    /// let config = ProducerConfig::new("localhost:9092").allow_auto_create_topics(true);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn allow_auto_create_topics(mut self, allow: bool) -> Self {
        self.allow_auto_create_topics = allow;
        self
    }

    /// After how long without a record brokers forget a producer: their setting `producer.id.expiration.ms`, to be told
    /// here. Default 24 h, as theirs. For half of that time they are trusted to recognise what is sent again; later, and for
    /// records with older timestamps, a resend proves nothing and is not made. A value above the brokers' makes records
    /// possible that are written twice. Clients of other make have no such setting.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // The brokers were told `producer.id.expiration.ms=604800000`.
    /// let config = ProducerConfig::new("localhost:9092").producer_id_expiration(Duration::from_secs(7 * 24 * 3600));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn producer_id_expiration(mut self, expiration: Duration) -> Self {
        self.producer_id_expiration = expiration;
        self
    }

    /// Whether a batch of records with timestamps older than half of `producer_id_expiration` is sent again after an
    /// attempt that went unanswered. Default false: brokers count a producer's age by record timestamps, so they may have
    /// forgotten such a batch at once and write it twice. With true fewer fates end `Undetermined(StaleTimestamps)`, and some
    /// such records are in the log twice. Concerns topics with `message.timestamp.type=CreateTime`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // Old events are loaded again, and twice is better than not at all.
    /// let config = ProducerConfig::new("localhost:9092").resend_stale(true);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn resend_stale(mut self, resend: bool) -> Self {
        self.resend_stale = resend;
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
            .field("has_runtime", &self.runtime.is_some())
            .field("has_reader_of_reports", &self.reports.is_some())
            .finish()
    }
}
