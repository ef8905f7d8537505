//! What a configuration that cannot be is told: every value of [`ConfigError`], and every relation, in the words of whoever
//! wrote it.

use std::collections::BTreeSet;

use milena_core::producer::verdict::Acks;

use super::*;
use crate::Compression;

fn config() -> ProducerConfig {
    ProducerConfig::new("a:1")
}

/// The name with its property, the value, the limit and the fix.
fn relations() -> Vec<(ProducerConfig, &'static str)> {
    let (second, nothing) = (Duration::from_secs(1), Duration::ZERO);
    vec![
        (
            config().max_request_size(1),
            "max_request_size (max.request.size) is 1: it must be 1024 to 2147418111 bytes, because the length of a request is \
             a signed 32-bit number; brokers take 100 MiB unless their socket.request.max.bytes says otherwise: give \
             max_request_size another value; its default is 1048576",
        ),
        (
            config().batch_size(0),
            "batch_size (batch.size) is 0: it must be 1 to 1073741824 bytes: give batch_size another value; its default is \
             1000000",
        ),
        (
            config().buffer_memory(1024),
            "buffer_memory (buffer.memory) is 1024 and max_request_size (max.request.size) is 1048576: one record of the \
             largest size must find room, and 128 KiB more: raise buffer_memory to 1179648",
        ),
        (
            config().partition_memory_share(1.5),
            "partition_memory_share (milena.partition.memory.share) is 1.5: it must be above 0 and at most 1, which lets one \
             partition take all of the memory: give partition_memory_share another value; its default is 0.5",
        ),
        (
            config().client_id("x".repeat(40_000)),
            "client_id (client.id) is of 40000 bytes: it may have at most 32767 bytes: use a shorter one",
        ),
        (
            config().compression_threads(65),
            "compression_threads (milena.compression.threads) is 65: it must be 1 to 64: give another number, or leave it out \
             for as many as the machine runs at a time, 4 at most",
        ),
        (
            config().acks(Acks::Leader),
            "idempotence (enable.idempotence) is true and acks (acks) is Acks::Leader: the first needs acks to be Acks::All: \
             set acks to Acks::All or set idempotence to false and accept records that are lost or written twice",
        ),
        (
            config().after_deadline(AfterDeadline::Withdraw).idempotence(false),
            "after_deadline (milena.after.deadline) is AfterDeadline::Withdraw and idempotence (enable.idempotence) is false: \
             the first needs idempotence to be true, because only stamps keep late copies out of the log: set idempotence to \
             true or set after_deadline to AfterDeadline::Complete",
        ),
        (
            config().fence_with("fence").idempotence(false),
            "fence_with is set and idempotence (enable.idempotence) is false: the first needs idempotence to be true, \
             because only stamps keep late copies out of the log: set idempotence to true",
        ),
        (
            config().fate_journal("orders.fates").idempotence(false),
            "fate_journal (milena.fate.journal) is set and idempotence (enable.idempotence) is false: the first needs \
             idempotence to be true, because only stamps keep late copies out of the log: set idempotence to true",
        ),
        (
            config().fence_with(crate::Record::shared(vec![0; 2000].into())).max_request_size(2048),
            "fence_with is of 2097 bytes and max_request_size (max.request.size) is 2048: the first must not be larger: \
             raise max_request_size to 2097 or use a smaller record",
        ),
        (
            config().max_in_flight(6),
            "max_in_flight (max.in.flight.requests.per.connection) is 6: it must be 1 to 5: brokers remember the last five \
             batches of a producer, and a connection carries five requests: give max_in_flight another value; its default \
             is 5",
        ),
        (
            config().produce_timeout(nothing),
            "produce_timeout (milena.produce.timeout.ms) is 0ns: it must be at least 1ms: give produce_timeout another \
             value; its default is 2s",
        ),
        (
            config().request_timeout(second),
            "produce_timeout (milena.produce.timeout.ms) is 2s and request_timeout (request.timeout.ms) is 1s: the first \
             must be shorter, so that a broker that waits for its followers answers before it is given up: lower \
             produce_timeout to 999ms or raise request_timeout to 2.001s",
        ),
        (
            config().request_timeout(second * 121),
            "request_timeout (request.timeout.ms) is 121s and delivery_timeout (milena.delivery.timeout.ms) is 120s: the \
             first must not be longer, or a batch is given up before an attempt is: lower request_timeout to 120s \
             or raise delivery_timeout to 121s",
        ),
        (
            config().linger(second * 60),
            "linger (linger.ms) is 60s and deadline (milena.deadline.ms) is 30s: the time in which a batch fills is part of \
             the second, and must leave request_timeout or half of it for sending: lower linger to 20s or raise deadline to \
             70s",
        ),
        (
            config().linger(second * 115).deadline(second * 600),
            "linger (linger.ms) is 115s and delivery_timeout (milena.delivery.timeout.ms) is 120s: the time in which a batch \
             fills is part of the second, and must leave request_timeout or half of it for sending: lower linger to 110s or \
             raise delivery_timeout to 125s",
        ),
        (
            config().delivery_timeout(second * 86_400),
            "delivery_timeout (milena.delivery.timeout.ms) is 86400s and producer_id_expiration \
             (milena.producer.id.expiration.ms) is 86400s: the first must be at most half of the second, because later \
             brokers may have forgotten the producer: lower delivery_timeout to 43200s or raise producer_id_expiration to \
             172800s with the brokers' producer.id.expiration.ms",
        ),
        (
            config().retry_backoff(nothing, second),
            "retry_backoff, initial (retry.backoff.ms) is 0ns: it must be at least 1ms: give retry_backoff, initial another \
             value; its default is 100ms",
        ),
        (
            config().retry_backoff(second * 2, second),
            "retry_backoff, initial (retry.backoff.ms) is 2s and retry_backoff, max (retry.backoff.max.ms) is 1s: the first \
             must not be longer: lower retry_backoff, initial to 1s or raise retry_backoff, max to 2s",
        ),
        (
            config().reconnect_backoff(nothing, second),
            "reconnect_backoff, initial (reconnect.backoff.ms) is 0ns: it must be at least 1ms: give reconnect_backoff, \
             initial another value; its default is 50ms",
        ),
        (
            config().reconnect_backoff(second * 2, second),
            "reconnect_backoff, initial (reconnect.backoff.ms) is 2s and reconnect_backoff, max (reconnect.backoff.max.ms) \
             is 1s: the first must not be longer: lower reconnect_backoff, initial to 1s or raise reconnect_backoff, max \
             to 2s",
        ),
        (
            config().settle_timeout(nothing),
            "settle_timeout (milena.settle.timeout.ms) is 0ns: it must be at least 1ms: give settle_timeout another value; \
             its default is 300s",
        ),
        (
            config().connect_timeout(nothing),
            "connect_timeout (socket.connection.setup.timeout.ms) is 0ns: it must be at least 1ms: give connect_timeout \
             another value; its default is 10s",
        ),
        (
            config().metadata_max_age(second / 2),
            "metadata_max_age (metadata.max.age.ms) is 500ms: it must be at least 1s: give metadata_max_age another value; \
             its default is 300s",
        ),
        (
            config().rebootstrap_after(second * 10),
            "rebootstrap_after (metadata.recovery.rebootstrap.trigger.ms) is 10s and request_timeout (request.timeout.ms) is \
             10s: the first must be longer, so that a slow answer does not cost every connection: raise rebootstrap_after \
             to 10.001s or lower request_timeout to 9.999s",
        ),
    ]
}

fn told(config: ProducerConfig) -> String {
    config.check().err().expect("is refused").to_string()
}

#[test]
fn every_relation_tells_names_values_the_limit_and_the_fix() {
    let mut broken = BTreeSet::new();
    for (config, text) in relations() {
        broken.extend(config.relations().iter().position(|relation| !relation.holds));
        assert_eq!(told(config), text);
    }
    assert_eq!(broken, (0..config().relations().len()).collect(), "one that is never broken here is not tested");
}

#[test]
fn what_is_said_of_codecs_tells_it_too() {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let zstd = match cfg!(feature = "zstd") {
        true => "it must be -131072 to 22: give another level, or leave it out for 3",
        false => "levels of zstd need the feature zstd of this crate: enable it, or leave the level out",
    };
    let twice = "a codec is named twice: name each once, the preferred one first";
    let behind = "what stands behind None is never used: put None last or leave it out";
    let gzip = "it must be 1 to 9: give another level, or leave it out for 6";
    let no_level = "leave it out, or use gzip or zstd";
    for (config, text) in [
        (config().compression([Lz4, Lz4]), format!("compression (compression.type) is [Lz4, Lz4]: {twice}")),
        (
            config().compression([Lz4, None, Gzip]),
            format!("compression (compression.type) is [Lz4, None, Gzip]: {behind}"),
        ),
        (
            config().topic_compression("t", [None, Gzip]),
            format!("topic_compression (milena.topic.compression) is [None, Gzip]: {behind}"),
        ),
        (
            config().topic_compression("no topic", Gzip),
            "topic_compression (milena.topic.compression) is that of \"no topic\": no topic can have this name: use 1 to 249 \
             of a-z A-Z 0-9 . _ -, and neither . nor .."
                .to_owned(),
        ),
        (
            config().compression_level(Gzip, 10),
            format!("compression_level of gzip (compression.gzip.level) is 10: {gzip}"),
        ),
        (
            config().compression(Gzip).compression_level(Gzip, 0),
            format!("compression_level of gzip (compression.gzip.level) is 0: {gzip}"),
        ),
        (
            config().compression_level(Zstd, 23),
            format!("compression_level of zstd (compression.zstd.level) is 23: {zstd}"),
        ),
        (
            config().compression_level(Lz4, 9),
            format!("compression_level of lz4 is 9: lz4 is written at one level here: {no_level}"),
        ),
        (
            config().compression_level(Snappy, 1),
            format!("compression_level of snappy is 1: snappy has no levels: {no_level}"),
        ),
        (
            config().compression_level(None, 1),
            "compression_level of none is 1: without a codec there is no level: leave it out, or choose gzip or zstd"
                .to_owned(),
        ),
    ] {
        assert_eq!(told(config), text);
    }
}

/// One that is added does not compile here before it stands in the table.
#[test]
fn every_other_error_tells_it_too() {
    let mut seen = BTreeSet::new();
    let runtime = "the runtime has no timers: build it with enable_time() or enable_all()";
    let bare = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let lacking = crate::Producer::new(config().runtime(bare.handle().clone())).expect_err("it has no timers");
    for (error, text) in [
        (
            ProducerConfig::new(" , ").check().err().expect("is refused"),
            "bootstrap_servers (bootstrap.servers) is empty: it must name at least one broker: give it as host:port, as in \
             localhost:9092",
        ),
        (
            ProducerConfig::new("a:1,b").check().err().expect("is refused"),
            "bootstrap_servers (bootstrap.servers) has \"b\", which is not of the form host:port: write it as in \
             localhost:9092 or [::1]:9092",
        ),
        (
            config().batch_size(0).check().err().expect("is refused"),
            "batch_size (batch.size) is 0: it must be 1 to 1073741824 bytes: give batch_size another value; its default is \
             1000000",
        ),
        (lacking, runtime),
        (
            ConfigError::NoThread("resource temporarily unavailable".to_owned()),
            "the producer's thread could not be started: resource temporarily unavailable: raise the limit on threads \
             (ulimit -u, or the container's), or end some",
        ),
        (
            ConfigError::Journal(crate::JournalError::InUse { path: "/var/lib/shop/orders.fates".into() }),
            "the fate journal /var/lib/shop/orders.fates is in use: its producer is alive, or somebody settles it; end that \
             first, and give each producer a journal of its own",
        ),
    ] {
        seen.insert(match &error {
            ConfigError::NoBootstrapServers => 0,
            ConfigError::InvalidAddress(_) => 1,
            ConfigError::Relation(_) => 2,
            ConfigError::RuntimeLacks(_) => 3,
            ConfigError::NoThread(_) => 4,
            ConfigError::Journal(_) => 5,
        });
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(seen, (0..6).collect());
}

/// Properties are answered in properties, by the names and in the units that they were given in.
#[test]
fn who_wrote_properties_is_answered_in_properties() {
    for (pairs, text) in [
        (
            &[("acks", "1"), ("enable.idempotence", "true")][..],
            "enable.idempotence is true and acks is 1: the first needs acks to be all: set acks to all or set \
             enable.idempotence to false and accept records that are lost or written twice",
        ),
        (
            &[("request.required.acks", "0"), ("enable.idempotence", "true")],
            "enable.idempotence is true and request.required.acks is 0: the first needs request.required.acks to be all: \
             set request.required.acks to all or set enable.idempotence to false and accept records that are lost or \
             written twice",
        ),
        (
            &[("milena.after.deadline", "withdraw"), ("acks", "1")],
            "milena.after.deadline is withdraw and acks is 1: the first needs acks to be all, because only stamps keep late \
             copies out of the log: set acks to all or set milena.after.deadline to complete",
        ),
        (
            &[("milena.after.deadline", "withdraw"), ("enable.idempotence", "false")],
            "milena.after.deadline is withdraw and enable.idempotence is false: the first needs enable.idempotence to be \
             true, because only stamps keep late copies out of the log: set enable.idempotence to true or set \
             milena.after.deadline to complete",
        ),
        (
            &[("linger.ms", "60000")],
            "linger.ms is 60000 and milena.deadline.ms is 30000: the time in which a batch fills is part of the second, and \
             must leave request.timeout.ms or half of it for sending: lower linger.ms to 20000 or raise milena.deadline.ms \
             to 70000",
        ),
        (
            &[("queue.buffering.max.ms", "1500.5"), ("message.timeout.ms", "2000"), ("socket.timeout.ms", "2000")],
            "queue.buffering.max.ms is 1500.5 and message.timeout.ms is 2000: the time in which a batch fills is part of \
             the second, and must leave socket.timeout.ms or half of it for sending: lower queue.buffering.max.ms to 1000 \
             or raise message.timeout.ms to 3001",
        ),
        (
            &[("compression.level", "12"), ("compression.codec", "gzip")],
            "compression.level is 12: it must be 1 to 9: give another level, or leave it out for 6",
        ),
        (
            &[("retry.backoff.ms", "0")],
            "retry.backoff.ms is 0: it must be at least 1: give retry.backoff.ms another value; its default is 100",
        ),
        (
            &[("topic.metadata.refresh.interval.ms", "10")],
            "topic.metadata.refresh.interval.ms is 10: it must be at least 1000: give topic.metadata.refresh.interval.ms \
             another value; its default is 300000",
        ),
    ] {
        let servers = [("bootstrap.servers", "a:1")];
        let config =
            ProducerConfig::from_properties(crate::Properties::from_iter(servers.iter().chain(pairs).copied()));
        assert_eq!(told(config.expect("is read")), text);
    }
}
