//! Properties that set nothing: those of which only some values are what this client does, and those that mean nothing here.
//!
//! Always holds: every property of Java's producer and of librdkafka's global, producer and topic configuration, with those
//! that its page leaves out, that is not in `settings.rs` is here, with what to use instead; a test compares with their lists.

use super::Client;

/// A row of the table.
pub(super) struct Other {
    pub(super) name: &'static str,
    pub(super) of: Client,
    /// Values that are what this client does; with none the property is refused whatever its value.
    pub(super) allowed: &'static [&'static str],
    /// Why, or what to use instead.
    pub(super) advice: &'static str,
}

/// Properties that are answered alike, by name or by the begin of it.
pub(super) struct Elsewhere {
    names: &'static [&'static str],
    prefixes: &'static [&'static str],
    pub(super) advice: &'static str,
}

impl Elsewhere {
    pub(super) fn covers(&self, name: &str) -> bool {
        self.names.contains(&name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// For the documentation.
    #[cfg(all(test, not(milena_model)))]
    pub(super) fn covered(&self) -> impl Iterator<Item = String> {
        let names = self.names.iter().map(|name| format!("`{name}`"));
        self.prefixes.iter().map(|prefix| format!("`{prefix}*`")).chain(names)
    }
}

const fn only(name: &'static str, of: Client, allowed: &'static [&'static str], advice: &'static str) -> Other {
    Other { name, of, allowed, advice }
}

const fn refused(name: &'static str, of: Client, advice: &'static str) -> Other {
    Other { name, of, allowed: &[], advice }
}

use Client::{Both, Java, Librdkafka};

const BYTES: &[&str] = &[
    "org.apache.kafka.common.serialization.ByteArraySerializer",
    "org.apache.kafka.common.serialization.ByteBufferSerializer",
    "org.apache.kafka.common.serialization.BytesSerializer",
    "org.apache.kafka.common.serialization.StringSerializer",
];
const SERIALIZER: &str = "records carry bytes, and text as UTF-8; serialize before Record::value and remove it";
const RETRIES: &[&str] = &["2147483647"];
const BY_TIME: &str = "a record is tried until its time is over, not for a count: use delivery.timeout.ms";
pub(super) const PLAINTEXT: &str = "TLS and SASL are not there yet; use a PLAINTEXT listener of the brokers";
const COMPRESSION: &str = "lz4 is written at one level, Java's default; use zstd for what is to be smaller";
const ADAPTIVE: &str = "partitions with more waiting batches are chosen less often, and none is left out";
const RESET: &str = "the operating system's default is used";
const STATS: &str = "metrics are pulled: use Producer::stats, and remove it";
const NO_LOG: &str = "the library writes no log; errors and outcomes say what went wrong";
const CALLBACK: &str = "it is a function of the C interface, not a property";
const OLD_BROKERS: &str = "every broker since 0.10 tells its versions, and is asked; remove it";
const WHOLE: &str = "errors come as values; see ReadyError, SendError and the cause of an outcome";
const TRANSACTIONS: &str = "transactions are not there yet; without them enable.idempotence writes each partition's records once \
                            and in order, so remove it if that is enough; records that count together or not at all need a \
                            client that has transactions, as Java's and librdkafka's";
const REPORTS: &str = "use ProducerConfig::on_delivery or ProducerConfig::deliveries";
const SOFTWARE: &str = "brokers are told the name and the version of this crate; use client.id to tell programs apart";
const MOCK: &str = "a producer brings no brokers; for tests use milena-broker, which runs in the process";
const GONE: &str = "librdkafka itself no longer uses it; remove it";

pub(super) const OTHERS: &[Other] = &[
    only("key.serializer", Java, BYTES, SERIALIZER),
    only("value.serializer", Java, BYTES, SERIALIZER),
    only("retries", Both, RETRIES, BY_TIME),
    only("message.send.max.retries", Librdkafka, RETRIES, BY_TIME),
    refused(
        "max.block.ms",
        Java,
        "a deadline counts from the call and covers the wait for room and metadata: use \
                                   delivery.timeout.ms or milena.deadline.ms",
    ),
    only("compression.lz4.level", Java, &["9"], COMPRESSION),
    only("partitioner.adaptive.partitioning.enable", Java, &["true"], ADAPTIVE),
    only("partitioner.availability.timeout.ms", Java, &["0"], ADAPTIVE),
    refused("partitioner_cb", Librdkafka, "use Partitioner::custom"),
    refused(
        "sticky.partitioning.linger.ms",
        Librdkafka,
        "records without a key stay at a partition for linger.ms, 5 ms at least",
    ),
    only("security.protocol", Both, &["PLAINTEXT"], PLAINTEXT),
    refused("security.providers", Java, PLAINTEXT),
    only(
        "client.dns.lookup",
        Both,
        &["use_all_dns_ips"],
        "all addresses of a name are tried; canonical names are Kerberos's",
    ),
    refused("client.rack", Librdkafka, "producers write to leaders, wherever they are; remove it"),
    refused(
        "socket.connection.setup.timeout.max.ms",
        Java,
        "the time for a connection does not grow: use \
                                                             socket.connection.setup.timeout.ms",
    ),
    only("connections.max.idle.ms", Both, &["-1"], "connections stay open; one that a broker closes is opened again"),
    refused("metadata.max.idle.ms", Java, "a topic stays known for as long as the producer; remove it"),
    only(
        "metadata.recovery.strategy",
        Both,
        &["rebootstrap"],
        "a client that gives up on a new set of brokers helps nobody",
    ),
    only("send.buffer.bytes", Java, &["-1"], RESET),
    only("receive.buffer.bytes", Java, &["-1"], RESET),
    only("socket.send.buffer.bytes", Librdkafka, &["0"], RESET),
    only("socket.receive.buffer.bytes", Librdkafka, &["0"], RESET),
    only("socket.keepalive.enable", Librdkafka, &["false"], "a connection that is gone is found by request_timeout"),
    only(
        "socket.nagle.disable",
        Librdkafka,
        &["true"],
        "requests are written whole, so waiting for more bytes only delays",
    ),
    only("socket.max.fails", Librdkafka, &["1"], "a connection with an unanswered request is given up at once"),
    refused("socket.blocking.max.ms", Librdkafka, GONE),
    refused("broker.address.ttl", Librdkafka, "a name is looked up anew for each connection; remove it"),
    only("broker.address.family", Librdkafka, &["any"], "both families are tried, a quarter of a second apart"),
    refused("reconnect.backoff.jitter.ms", Librdkafka, GONE),
    refused("message.copy.max.bytes", Librdkafka, "the call decides: Record::shared links values from 8 KiB on"),
    refused(
        "receive.message.max.bytes",
        Librdkafka,
        "answers to a producer are small; those above 128 MiB end their connection",
    ),
    refused("batch.num.messages", Librdkafka, "a batch is bounded by bytes: use batch.size"),
    refused("queue.buffering.max.messages", Librdkafka, "memory is bounded by bytes: use queue.buffering.max.kbytes"),
    only(
        "queue.buffering.backpressure.threshold",
        Librdkafka,
        &["1"],
        "a request is made when the one before is written",
    ),
    only("queuing.strategy", Librdkafka, &["fifo"], "records of a partition are written in the order of acceptance"),
    refused("msg_order_cmp", Librdkafka, "records of a partition are written in the order of acceptance"),
    only(
        "enable.gapless.guarantee",
        Librdkafka,
        &["false"],
        "what is written in what order is told by each outcome; stop at \
                                                              the first that is not Written",
    ),
    refused(
        "delivery.report.only.error",
        Librdkafka,
        "every posted record is reported; pass over those that are Written",
    ),
    refused("produce.offset.report", Librdkafka, GONE),
    refused("dr_cb", Librdkafka, REPORTS),
    refused("dr_msg_cb", Librdkafka, REPORTS),
    refused("transactional.id", Both, TRANSACTIONS),
    refused("transaction.timeout.ms", Both, TRANSACTIONS),
    only("transaction.two.phase.commit.enable", Java, &["false"], TRANSACTIONS),
    only("enable.metrics.push", Both, &["false"], "metrics are not pushed to brokers; set it to false, or remove it"),
    only("interceptor.classes", Java, &[""], "wrap Topic in a type of your own that does what the interceptor did"),
    only("config.providers", Java, &[""], "put the values in before: Properties::set"),
    only("metric.reporters", Java, &[""], STATS),
    refused("metrics.num.samples", Java, STATS),
    refused("metrics.recording.level", Java, STATS),
    refused("metrics.sample.window.ms", Java, STATS),
    only("statistics.interval.ms", Librdkafka, &["0"], STATS),
    refused("stats_cb", Librdkafka, STATS),
    refused("topic.metadata.refresh.fast.interval.ms", Librdkafka, "metadata is asked for again by retry.backoff.ms"),
    refused("topic.metadata.refresh.fast.cnt", Librdkafka, GONE),
    only("topic.metadata.refresh.sparse", Librdkafka, &["true"], "only topics that are written to are asked for"),
    refused(
        "topic.metadata.propagation.max.ms",
        Librdkafka,
        "send waits for a topic that is not there yet until the record's \
                                                              deadline",
    ),
    refused("topic.blacklist", Librdkafka, "only topics that are written to are asked for; remove it"),
    refused("client.software.name", Librdkafka, SOFTWARE),
    refused("client.software.version", Librdkafka, SOFTWARE),
    refused("metadata.request.timeout.ms", Librdkafka, GONE),
    only(
        "enable.sparse.connections",
        Librdkafka,
        &["true"],
        "only brokers are connected to that are asked or written to",
    ),
    refused("test.mock.num.brokers", Librdkafka, MOCK),
    refused("test.mock.broker.rtt", Librdkafka, MOCK),
    refused("ut_handle_ProduceResponse", Librdkafka, CALLBACK),
    refused("builtin.features", Librdkafka, "what is built in is said by the crate's features"),
    refused("debug", Librdkafka, NO_LOG),
    refused("log_level", Librdkafka, NO_LOG),
    refused("log.queue", Librdkafka, NO_LOG),
    refused("log.thread.name", Librdkafka, NO_LOG),
    refused("log.connection.close", Librdkafka, NO_LOG),
    refused("log_cb", Librdkafka, NO_LOG),
    refused("error_cb", Librdkafka, WHOLE),
    refused("enabled_events", Librdkafka, WHOLE),
    refused("background_event_cb", Librdkafka, WHOLE),
    refused("throttle_cb", Librdkafka, "a throttled connection waits as it was told to, and deadlines hold; remove it"),
    refused("socket_cb", Librdkafka, CALLBACK),
    refused("connect_cb", Librdkafka, CALLBACK),
    refused("closesocket_cb", Librdkafka, CALLBACK),
    refused("open_cb", Librdkafka, CALLBACK),
    refused("resolve_cb", Librdkafka, CALLBACK),
    refused("opaque", Librdkafka, "use Record::tag, which comes back in the report"),
    refused(
        "default_topic_conf",
        Librdkafka,
        "all topics of a producer have the same settings, but for milena.topic.compression",
    ),
    refused("interceptors", Librdkafka, "wrap Topic in a type of your own that does what the interceptor did"),
    refused("plugin.library.paths", Librdkafka, "there are no plugins"),
    refused("enable.random.seed", Librdkafka, "the C library's chance is not used; remove it"),
    refused(
        "internal.termination.signal",
        Librdkafka,
        "no thread sits in a system call when a producer ends; remove it",
    ),
    only("api.version.request", Librdkafka, &["true"], OLD_BROKERS),
    refused("api.version.request.timeout.ms", Librdkafka, "the time for any request holds: use socket.timeout.ms"),
    refused("api.version.fallback.ms", Librdkafka, OLD_BROKERS),
    refused("broker.version.fallback", Librdkafka, OLD_BROKERS),
];

pub(super) const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        names: &[
            "ssl_key",
            "ssl_certificate",
            "ssl_ca",
            "ssl_engine_callback_data",
            "enable.ssl.certificate.verification",
            "enable.sasl.oauthbearer.unsecure.jwt",
            "enable_sasl_queue",
            "oauthbearer_token_refresh_cb",
        ],
        prefixes: &["ssl.", "sasl.", "https.ca."],
        advice: PLAINTEXT,
    },
    Elsewhere {
        names: &[
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "auto.offset.reset",
            "check.crcs",
            "consume.callback.max.messages",
            "consume_cb",
            "coordinator.query.interval.ms",
            "default.api.timeout.ms",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "enable.partition.eof",
            "exclude.internal.topics",
            "heartbeat.interval.ms",
            "isolation.level",
            "key.deserializer",
            "max.partition.fetch.bytes",
            "max.poll.interval.ms",
            "max.poll.records",
            "offset.store.method",
            "offset.store.path",
            "offset.store.sync.interval.ms",
            "offset_commit_cb",
            "partition.assignment.strategy",
            "rebalance_cb",
            "session.timeout.ms",
            "value.deserializer",
        ],
        prefixes: &["fetch.", "group.", "queued.", "share."],
        advice: "it is a consumer's property, and this is a producer; remove it",
    },
];
