//! Properties that set something: one row for each setting, with all its names.
//!
//! Always holds: a default that stands here is the one of [`ProducerConfig::new`], and the table in `docs/configuration.md`
//! is this one; tests compare them.

use super::Client;
use super::draft::Draft;
use super::value::{self, Parsed};
use crate::config::Compression;

/// A row of the table.
#[allow(dead_code, reason = "the table in the documentation is made of all of it, by a test")]
pub(super) struct Setting {
    /// What [`ProducerConfig`] calls it.
    pub(super) ours: &'static str,
    pub(super) spellings: &'static [Spelling],
    /// As a value of the first spelling; none where it follows from others or there is none.
    pub(super) default: Option<&'static str>,
    pub(super) java: &'static str,
    pub(super) librdkafka: &'static str,
    /// Why the default or the meaning is another one than theirs.
    pub(super) why: &'static str,
}

/// A name of a setting.
pub(super) struct Spelling {
    pub(super) name: &'static str,
    pub(super) of: Client,
    pub(super) apply: fn(&mut Draft, &str) -> Parsed<()>,
    /// Set where librdkafka means something else by this name: what to use beside its own names.
    pub(super) ambiguous_beside_librdkafka: Option<&'static str>,
}

type Apply = fn(&mut Draft, &str) -> Parsed<()>;

const fn java(name: &'static str, apply: Apply) -> Spelling {
    Spelling { name, of: Client::Java, apply, ambiguous_beside_librdkafka: None }
}

const fn librdkafka(name: &'static str, apply: Apply) -> Spelling {
    Spelling { name, of: Client::Librdkafka, apply, ambiguous_beside_librdkafka: None }
}

const fn both(name: &'static str, apply: Apply) -> Spelling {
    Spelling { name, of: Client::Both, apply, ambiguous_beside_librdkafka: None }
}

const fn milena(name: &'static str, apply: Apply) -> Spelling {
    Spelling { name, of: Client::Milena, apply, ambiguous_beside_librdkafka: None }
}

fn servers(draft: &mut Draft, value: &str) -> Parsed<()> {
    value::servers(value).map(|servers| draft.config.bootstrap_servers = servers)
}

/// What is not compressed is so by no codec at all.
fn compression(draft: &mut Draft, value: &str) -> Parsed<()> {
    let codec = value::compression(value)?;
    draft.config.compression = if codec == Compression::None { Vec::new() } else { vec![codec] };
    Ok(())
}

/// Java's and librdkafka's time for a record is both: until when its caller is told, and until when it is tried.
fn delivery_timeout(draft: &mut Draft, value: &str) -> Parsed<()> {
    let time = value::millis(value)?;
    if time.is_zero() {
        return Err("a time: 0, for ever, is not possible; at most 43200000 (12 h)");
    }
    draft.deadline.get_or_insert(time);
    draft.delivery_timeout.get_or_insert(time);
    Ok(())
}

const REQUEST_TIMEOUT: &str = "in Java it is how long the client waits for an answer, in librdkafka how long a broker may wait \
                               for its followers, and librdkafka's names stand beside it; use socket.timeout.ms for the \
                               first and milena.produce.timeout.ms for the second";

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        ours: "bootstrap_servers",
        spellings: &[both("bootstrap.servers", servers), librdkafka("metadata.broker.list", servers)],
        default: None,
        java: "",
        librdkafka: "",
        why: "",
    },
    Setting {
        ours: "client_id",
        spellings: &[both("client.id", |draft, value| {
            draft.config.client_id = value.to_owned();
            Ok(())
        })],
        default: Some("milena"),
        java: "producer-1, producer-2, …",
        librdkafka: "rdkafka",
        why: "brokers' logs, metrics and quotas are to show which client it is; give each service its own",
    },
    Setting {
        ours: "linger",
        spellings: &[
            both("linger.ms", |draft, value| value::fine_millis(value).map(|time| draft.config.linger = Some(time))),
            librdkafka("queue.buffering.max.ms", |draft, value| {
                value::fine_millis(value).map(|time| draft.config.linger = Some(time))
            }),
        ],
        default: Some("5"),
        java: "5",
        librdkafka: "5",
        why: "",
    },
    Setting {
        ours: "batch_size",
        spellings: &[both("batch.size", |draft, value| {
            value::bytes(value).map(|bytes| draft.config.batch_size = bytes)
        })],
        default: Some("1000000"),
        java: "16384",
        librdkafka: "1000000",
        why: "Java takes a batch's memory at once; here it grows with the batch, so a large one costs nothing until it is used",
    },
    Setting {
        ours: "buffer_memory",
        spellings: &[
            java("buffer.memory", |draft, value| value::bytes(value).map(|bytes| draft.config.buffer_memory = bytes)),
            librdkafka("queue.buffering.max.kbytes", |draft, value| {
                value::kibibytes(value).map(|bytes| draft.config.buffer_memory = bytes)
            }),
        ],
        default: Some("33554432"),
        java: "33554432",
        librdkafka: "1048576 KiB",
        why: "what really is held is counted; 1 GiB of unsent records is minutes of work to lose",
    },
    Setting {
        ours: "partition_memory_share",
        spellings: &[milena("milena.partition.memory.share", |draft, value| {
            value::share(value).map(|share| draft.config.partition_memory_share = share)
        })],
        default: Some("0.5"),
        java: "",
        librdkafka: "",
        why: "elsewhere one partition without a leader takes all of the memory, and every other one stands still with it",
    },
    Setting {
        ours: "max_request_size",
        spellings: &[
            java("max.request.size", |draft, value| {
                value::bytes(value).map(|bytes| draft.config.max_request_size = bytes)
            }),
            librdkafka("message.max.bytes", |draft, value| {
                value::bytes(value).map(|bytes| draft.config.max_request_size = bytes)
            }),
        ],
        default: Some("1048576"),
        java: "1048576",
        librdkafka: "1000000",
        why: "it bounds one record alone in its batch, as max.message.bytes of the brokers does; requests carry more",
    },
    Setting {
        ours: "partitioner",
        spellings: &[librdkafka("partitioner", |draft, value| {
            value::partitioner(value).map(|partitioner| draft.partitioner.named = Some(partitioner))
        })],
        default: Some("murmur2_random"),
        java: "",
        librdkafka: "consistent_random",
        why: "equal keys must be in equal partitions whoever writes them, and most clients follow Java",
    },
    Setting {
        ours: "partitioner by its class",
        spellings: &[java("partitioner.class", |draft, value| {
            value::partitioner_class(value).map(|partitioner| draft.partitioner.class = partitioner)
        })],
        default: None,
        java: "",
        librdkafka: "",
        why: "",
    },
    Setting {
        ours: "partitioner without keys",
        spellings: &[java("partitioner.ignore.keys", |draft, value| {
            value::boolean(value).map(|ignores| draft.partitioner.ignores_keys = Some(ignores))
        })],
        default: Some("false"),
        java: "false",
        librdkafka: "",
        why: "without effect beside partitioner.class, as in Java; beside partitioner it must say the same",
    },
    Setting {
        ours: "compression",
        spellings: &[both("compression.type", compression), librdkafka("compression.codec", compression)],
        default: Some("none"),
        java: "none",
        librdkafka: "none",
        why: "",
    },
    Setting {
        ours: "compression_level of gzip",
        spellings: &[java("compression.gzip.level", |draft, value| draft.level(Compression::Gzip, value))],
        default: Some("-1"),
        java: "-1 (6)",
        librdkafka: "",
        why: "",
    },
    Setting {
        ours: "compression_level of zstd",
        spellings: &[java("compression.zstd.level", |draft, value| {
            draft.config.compression_level.insert(Compression::Zstd, value::zstd_level(value)?);
            Ok(())
        })],
        default: None,
        java: "3",
        librdkafka: "",
        why: "unset it is 3 too; without the feature zstd there is one level",
    },
    Setting {
        ours: "compression_level",
        spellings: &[librdkafka("compression.level", |draft, value| {
            value::level(value).map(|level| draft.level_of_all = level)
        })],
        default: Some("-1"),
        java: "",
        librdkafka: "-1",
        why: "it is that of the codec of compression.type; lz4 and snappy have one level here",
    },
    Setting {
        ours: "topic_compression",
        spellings: &[milena("milena.topic.compression", |draft, value| {
            value::topic_compression(value).map(|of_topics| draft.config.topic_compression = of_topics)
        })],
        default: None,
        java: "",
        librdkafka: "compression.codec of a topic",
        why: "topics and their codecs, as in photos:none, logs:zstd+lz4; there are no properties of single topics here",
    },
    Setting {
        ours: "compression_threads",
        spellings: &[milena("milena.compression.threads", |draft, value| {
            value::threads(value).map(|threads| draft.config.compression_threads = Some(threads))
        })],
        default: None,
        java: "",
        librdkafka: "",
        why: "as many as the machine runs at a time, 4 at most; elsewhere the thread that sends or that writes compresses",
    },
    Setting {
        ours: "acks",
        spellings: &[
            both("acks", |draft, value| value::acks(value).map(|acks| draft.config.acks = acks)),
            librdkafka("request.required.acks", |draft, value| value::acks(value).map(|acks| draft.config.acks = acks)),
        ],
        default: Some("all"),
        java: "all",
        librdkafka: "-1 (all)",
        why: "",
    },
    Setting {
        ours: "idempotence",
        spellings: &[both("enable.idempotence", |draft, value| {
            value::boolean(value).map(|idempotence| draft.config.idempotence = idempotence)
        })],
        default: Some("true"),
        java: "true",
        librdkafka: "false",
        why: "without it a batch that went unanswered may be written twice, or out of order",
    },
    Setting {
        ours: "max_in_flight",
        spellings: &[
            both("max.in.flight.requests.per.connection", |draft, value| {
                value::count(value).map(|batches| draft.config.max_in_flight = Some(batches))
            }),
            librdkafka("max.in.flight", |draft, value| {
                value::count(value).map(|batches| draft.config.max_in_flight = Some(batches))
            }),
        ],
        default: None,
        java: "5",
        librdkafka: "1000000",
        why: "5, or 1 without idempotence, so that order is kept either way; it counts batches of a partition, and brokers \
              remember five",
    },
    Setting {
        ours: "deadline, delivery_timeout",
        spellings: &[both("delivery.timeout.ms", delivery_timeout), librdkafka("message.timeout.ms", delivery_timeout)],
        default: None,
        java: "120000",
        librdkafka: "300000",
        why: "theirs is one time, here it sets both: until when a caller is told, and until when its record is tried; \
              max.block.ms is part of it, because a deadline counts from the call",
    },
    Setting {
        ours: "deadline",
        spellings: &[milena("milena.deadline.ms", |draft, value| {
            draft.deadline = Some(value::millis(value)?);
            Ok(())
        })],
        default: Some("30000"),
        java: "",
        librdkafka: "",
        why: "a caller rarely waits for two minutes; what is unknown then is pursued all the same, and told by the fate",
    },
    Setting {
        ours: "delivery_timeout",
        spellings: &[milena("milena.delivery.timeout.ms", |draft, value| {
            draft.delivery_timeout = Some(value::millis(value)?);
            Ok(())
        })],
        default: Some("120000"),
        java: "",
        librdkafka: "",
        why: "",
    },
    Setting {
        ours: "after_deadline",
        spellings: &[milena("milena.after.deadline", |draft, value| {
            value::after_deadline(value).map(|policy| draft.config.after_deadline = policy)
        })],
        default: Some("complete"),
        java: "",
        librdkafka: "",
        why: "complete sends what is not answered again until it is; withdraw sends it no more and looks whether it was \
              written; the others stop sending and call it failed, also where it is in the log",
    },
    Setting {
        ours: "settle_timeout",
        spellings: &[milena("milena.settle.timeout.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.settle_timeout = time)
        })],
        default: Some("300000"),
        java: "",
        librdkafka: "",
        why: "the others do not look after what they gave up",
    },
    Setting {
        ours: "fate_journal",
        spellings: &[milena("milena.fate.journal", |draft, value| {
            value::file(value).map(|path| draft.config.fate_journal = Some(path))
        })],
        default: None,
        java: "",
        librdkafka: "",
        why: "a file from which milena settle tells what became of what a process had sent when it was killed; with the               others nobody ever knows",
    },
    Setting {
        ours: "request_timeout",
        spellings: &[
            Spelling {
                name: "request.timeout.ms",
                of: Client::Both,
                apply: |draft, value| value::millis(value).map(|time| draft.config.request_timeout = time),
                ambiguous_beside_librdkafka: Some(REQUEST_TIMEOUT),
            },
            librdkafka("socket.timeout.ms", |draft, value| {
                value::millis(value).map(|time| draft.config.request_timeout = time)
            }),
        ],
        default: Some("10000"),
        java: "30000",
        librdkafka: "60000 (socket.timeout.ms)",
        why: "a frozen broker is found sooner; its timer starts when a request is the oldest unanswered one, so a full \
              pipeline does not use it up",
    },
    Setting {
        ours: "produce_timeout",
        spellings: &[milena("milena.produce.timeout.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.produce_timeout = time)
        })],
        default: Some("2000"),
        java: "request.timeout.ms",
        librdkafka: "30000 (request.timeout.ms)",
        why: "one request carries many partitions, and one frozen follower must not hold up the others for half a minute",
    },
    Setting {
        ours: "retry_backoff, initial",
        spellings: &[both("retry.backoff.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.retry_backoff.initial = time)
        })],
        default: Some("100"),
        java: "100",
        librdkafka: "100",
        why: "",
    },
    Setting {
        ours: "retry_backoff, max",
        spellings: &[both("retry.backoff.max.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.retry_backoff.max = time)
        })],
        default: Some("1000"),
        java: "1000",
        librdkafka: "1000",
        why: "",
    },
    Setting {
        ours: "reconnect_backoff, initial",
        spellings: &[both("reconnect.backoff.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.reconnect_backoff.initial = time)
        })],
        default: Some("50"),
        java: "50",
        librdkafka: "100",
        why: "Java's; a restarted broker is found the sooner, and the wait doubles with each failure",
    },
    Setting {
        ours: "reconnect_backoff, max",
        spellings: &[both("reconnect.backoff.max.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.reconnect_backoff.max = time)
        })],
        default: Some("1000"),
        java: "1000",
        librdkafka: "10000",
        why: "brokers restart in seconds; ten more would eat the deadlines of their records",
    },
    Setting {
        ours: "connect_timeout",
        spellings: &[both("socket.connection.setup.timeout.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.connect_timeout = time)
        })],
        default: Some("10000"),
        java: "10000",
        librdkafka: "30000",
        why: "Java's, but for one that does not grow; a dead address is to cost no more than request_timeout of a deadline",
    },
    Setting {
        ours: "metadata_max_age",
        spellings: &[
            both("metadata.max.age.ms", |draft, value| {
                value::refresh(value).map(|age| draft.config.metadata_max_age = age)
            }),
            librdkafka("topic.metadata.refresh.interval.ms", |draft, value| {
                value::refresh(value).map(|age| draft.config.metadata_max_age = age)
            }),
        ],
        default: Some("300000"),
        java: "300000",
        librdkafka: "900000; 300000 (topic.metadata.refresh.interval.ms)",
        why: "one time for what are two in librdkafka: when it asks for metadata again, which this is, and when it no longer \
              believes what it has, which here is whenever a broker contradicts",
    },
    Setting {
        ours: "rebootstrap_after",
        spellings: &[both("metadata.recovery.rebootstrap.trigger.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.rebootstrap_after = time)
        })],
        default: Some("300000"),
        java: "300000",
        librdkafka: "300000",
        why: "",
    },
    Setting {
        ours: "allow_auto_create_topics",
        spellings: &[librdkafka("allow.auto.create.topics", |draft, value| {
            value::boolean(value).map(|allow| draft.config.allow_auto_create_topics = allow)
        })],
        default: Some("false"),
        java: "always asks",
        librdkafka: "true for producers",
        why: "a name that is misspelled is an error, not a new topic",
    },
    Setting {
        ours: "producer_id_expiration",
        spellings: &[milena("milena.producer.id.expiration.ms", |draft, value| {
            value::millis(value).map(|time| draft.config.producer_id_expiration = time)
        })],
        default: Some("86400000"),
        java: "",
        librdkafka: "",
        why: "the brokers' producer.id.expiration.ms, which bounds what sending again can prove",
    },
    Setting {
        ours: "resend_stale",
        spellings: &[milena("milena.resend.stale", |draft, value| {
            value::boolean(value).map(|resend| draft.config.resend_stale = resend)
        })],
        default: Some("false"),
        java: "always",
        librdkafka: "always",
        why: "brokers forget a producer by the timestamps of its records, so sending old ones again may write them twice",
    },
];
