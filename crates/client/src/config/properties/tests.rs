//! Properties become settings, or errors that say what to use.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;

use super::*;
use crate::{Compression, Partitioner};

const SERVERS_PAIR: (&str, &str) = ("bootstrap.servers", "a:1");

fn config(pairs: &[(&str, &str)]) -> ProducerConfig {
    let pairs: Properties = pairs.iter().copied().chain([SERVERS_PAIR]).collect();
    ProducerConfig::from_properties(pairs).expect("is read")
}

fn told(pairs: &[(&str, &str)]) -> String {
    let pairs: Properties = [SERVERS_PAIR].iter().chain(pairs).copied().collect();
    ProducerConfig::from_properties(pairs).expect_err("is refused").to_string()
}

fn plain() -> ProducerConfig {
    ProducerConfig::new("a:1")
}

fn shown(config: &ProducerConfig) -> String {
    format!("{config:#?}")
}

/// The first word of each line; Java's default stands behind it.
fn names_of(list: &str) -> BTreeSet<&str> {
    list.lines().filter_map(|line| line.split(' ').next()).collect()
}

/// All spellings of all rows.
fn spellings() -> impl Iterator<Item = &'static Spelling> {
    SETTINGS.iter().flat_map(|setting| setting.spellings)
}

const JAVA: &str = include_str!("names/java-4.3.1.txt");
const LIBRDKAFKA: &str = include_str!("names/librdkafka-2.12.txt");

/// Of Kafka 4.3.1's `ProducerConfig`, and of librdkafka's page of the global, producer and topic properties, with those that
/// only its source has.
#[test]
fn every_property_of_java_and_of_librdkafka_has_an_answer() {
    for name in names_of(JAVA).into_iter().chain(names_of(LIBRDKAFKA)) {
        assert!(answer(name).is_some(), "{name}");
    }
    assert!(names_of(JAVA).len() > 100 && names_of(LIBRDKAFKA).len() > 120);
}

#[test]
fn no_property_has_two_answers_and_none_is_made_up() {
    let mut seen = BTreeSet::new();
    let named = spellings().map(|spelling| (spelling.name, spelling.of));
    for (name, of) in named.chain(OTHERS.iter().map(|other| (other.name, other.of))) {
        assert!(seen.insert(name), "{name} stands twice");
        assert!(!ELSEWHERE.iter().any(|elsewhere| elsewhere.covers(name)), "{name} stands among others too");
        let (java, librdkafka) = (names_of(JAVA).contains(name), names_of(LIBRDKAFKA).contains(name));
        let expected = match (java, librdkafka) {
            (true, true) => Client::Both,
            (true, false) => Client::Java,
            (false, true) => Client::Librdkafka,
            (false, false) => Client::Milena,
        };
        assert_eq!(of, expected, "{name}");
        assert_eq!(of == Client::Milena, name.starts_with("milena."), "{name}");
    }
}

#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    let mut checked = 0;
    for setting in SETTINGS {
        let Some(default) = setting.default else { continue };
        let read = config(&[(setting.spellings[0].name, default)]);
        assert_eq!(shown(&read), shown(&plain()), "{}", setting.ours);
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}

/// What the documentation says of Java's defaults is what its jar says; a test with the jar compares the list.
#[test]
fn java_s_defaults_of_the_table_are_java_s() {
    let mut checked = 0;
    for setting in SETTINGS {
        let Some(spelling) = setting.spellings.iter().find(|spelling| names_of(JAVA).contains(spelling.name)) else {
            continue;
        };
        let line = JAVA.lines().find(|line| line.split(' ').next() == Some(spelling.name)).expect("it is in the list");
        let default = line.split_once(' ').map_or("", |(_, default)| default);
        if spelling.name == "client.id" {
            // Empty, and then numbered by the client.
            assert_eq!(default, "");
            continue;
        }
        // What it stands for may follow in brackets.
        assert_eq!(setting.java.split(" (").next(), Some(default), "{}", spelling.name);
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}

/// By every name, each with a value that is no default.
#[test]
fn every_spelling_reaches_its_setting() {
    let millis = Duration::from_millis;
    let retry = |initial, max| plain().retry_backoff(millis(initial), millis(max));
    let reconnect = |initial, max| plain().reconnect_backoff(millis(initial), millis(max));
    let times = |time| plain().deadline(millis(time)).delivery_timeout(millis(time));
    let expected: &[(&str, &str, ProducerConfig)] = &[
        ("bootstrap.servers", "b:2, c:3", ProducerConfig::new("b:2,c:3")),
        ("metadata.broker.list", "a:1", plain()),
        ("client.id", "shop", plain().client_id("shop")),
        ("linger.ms", "7", plain().linger(millis(7))),
        ("queue.buffering.max.ms", "0.5", plain().linger(Duration::from_micros(500))),
        ("batch.size", "17", plain().batch_size(17)),
        ("buffer.memory", "18", plain().buffer_memory(18)),
        ("queue.buffering.max.kbytes", "19", plain().buffer_memory(19 * 1024)),
        ("milena.partition.memory.share", "0.25", plain().partition_memory_share(0.25)),
        ("max.request.size", "20", plain().max_request_size(20)),
        ("message.max.bytes", "21", plain().max_request_size(21)),
        ("partitioner", "fnv1a", plain().partitioner(Partitioner::Fnv1a)),
        (
            "partitioner.class",
            "org.apache.kafka.clients.producer.RoundRobinPartitioner",
            plain().partitioner(Partitioner::RoundRobin),
        ),
        ("partitioner.ignore.keys", "true", plain().partitioner(Partitioner::Sticky)),
        ("compression.type", "LZ4", plain().compression(Compression::Lz4)),
        ("compression.codec", "snappy", plain().compression(Compression::Snappy)),
        ("compression.gzip.level", "9", plain().compression_level(Compression::Gzip, 9)),
        ("compression.zstd.level", "5", plain().compression_level(Compression::Zstd, 5)),
        // Not the default, as it is for gzip.
        ("compression.zstd.level", "-1", plain().compression_level(Compression::Zstd, -1)),
        ("compression.level", "-1", plain()),
        (
            "milena.topic.compression",
            "photos:none, logs: ZSTD + lz4,",
            plain()
                .topic_compression("photos", Compression::None)
                .topic_compression("logs", [Compression::Zstd, Compression::Lz4]),
        ),
        ("milena.compression.threads", "2", plain().compression_threads(2)),
        ("acks", "1", plain().acks(Acks::Leader).idempotence(false)),
        ("request.required.acks", "0", plain().acks(Acks::None).idempotence(false)),
        ("enable.idempotence", "False", plain().idempotence(false)),
        ("max.in.flight.requests.per.connection", "3", plain().max_in_flight(3)),
        ("max.in.flight", "4", plain().max_in_flight(4)),
        ("delivery.timeout.ms", "50000", times(50_000)),
        ("message.timeout.ms", "60000", times(60_000)),
        ("milena.deadline.ms", "0", plain().deadline(Duration::ZERO)),
        ("milena.delivery.timeout.ms", "70000", plain().delivery_timeout(millis(70_000))),
        ("milena.after.deadline", "Withdraw", plain().after_deadline(AfterDeadline::Withdraw)),
        ("milena.settle.timeout.ms", "80000", plain().settle_timeout(millis(80_000))),
        ("milena.fate.journal", "/var/lib/shop/orders.fates", plain().fate_journal("/var/lib/shop/orders.fates")),
        ("request.timeout.ms", "8000", plain().request_timeout(millis(8000))),
        ("socket.timeout.ms", "9000", plain().request_timeout(millis(9000))),
        ("milena.produce.timeout.ms", "700", plain().produce_timeout(millis(700))),
        ("retry.backoff.ms", "90", retry(90, 1000)),
        ("retry.backoff.max.ms", "900", retry(100, 900)),
        ("reconnect.backoff.ms", "40", reconnect(40, 1000)),
        ("reconnect.backoff.max.ms", "800", reconnect(50, 800)),
        ("socket.connection.setup.timeout.ms", "600", plain().connect_timeout(millis(600))),
        ("metadata.max.age.ms", "5000", plain().metadata_max_age(millis(5000))),
        ("topic.metadata.refresh.interval.ms", "6000", plain().metadata_max_age(millis(6000))),
        ("metadata.recovery.rebootstrap.trigger.ms", "70000", plain().rebootstrap_after(millis(70_000))),
        ("allow.auto.create.topics", "true", plain().allow_auto_create_topics(true)),
        ("milena.producer.id.expiration.ms", "9000000", plain().producer_id_expiration(millis(9_000_000))),
        ("milena.resend.stale", "true", plain().resend_stale(true)),
    ];
    let named: BTreeSet<&str> = expected.iter().map(|(name, ..)| *name).collect();
    assert_eq!(named, spellings().map(|spelling| spelling.name).collect());
    for (name, value, expected) in expected {
        let read = if SERVERS.contains(name) {
            ProducerConfig::from_properties([(*name, *value)]).expect("is read")
        } else {
            config(&[(name, value)])
        };
        assert_eq!(shown(&read), shown(expected), "{name}");
        assert!(
            read.check().is_ok()
                || ["buffer.memory", "queue.buffering.max.kbytes", "max.request.size", "message.max.bytes"]
                    .contains(name),
            "{name}"
        );
    }
}

#[test]
fn what_follows_elsewhere_follows_here() {
    let millis = Duration::from_millis;
    // The value in the example of many a program.
    let short = config(&[("message.timeout.ms", "5000")]);
    assert_eq!((short.request_timeout, short.produce_timeout), (millis(5000), millis(2000)));
    assert!(short.check().is_ok());
    let quick = config(&[("request.timeout.ms", "1000")]);
    assert_eq!(quick.produce_timeout, millis(500));
    assert!(quick.check().is_ok());
    let own = config(&[("request.timeout.ms", "1000"), ("milena.produce.timeout.ms", "2000")]);
    assert!(own.check().is_err(), "what is said is not changed");
    let both = config(&[("acks", "1"), ("enable.idempotence", "true")]);
    assert!(both.idempotence && both.check().is_err(), "what is said is not changed");
    // librdkafka shortens a linger that nobody named.
    let tiny = config(&[("message.timeout.ms", "4")]);
    assert_eq!(tiny.fill_time(), millis(2));
    assert!(tiny.check().is_ok());
    let own = config(&[("message.timeout.ms", "4"), ("linger.ms", "5")]);
    assert!(own.check().is_err(), "what is said is not changed");
    let slow = config(&[("retry.backoff.ms", "3000"), ("reconnect.backoff.max.ms", "10")]);
    assert_eq!((slow.retry_backoff.max, slow.reconnect_backoff.initial), (millis(3000), millis(10)));
    for (name, value) in [("milena.deadline.ms", "1000"), ("milena.delivery.timeout.ms", "90000")] {
        let both = config(&[("delivery.timeout.ms", "60000"), (name, value)]);
        let expected = if name == "milena.deadline.ms" { (1000, 60_000) } else { (60_000, 90_000) };
        assert_eq!(
            (both.deadline, both.delivery_timeout),
            (millis(expected.0), millis(expected.1)),
            "ours is the more precise"
        );
    }
}

#[test]
fn librdkafkas_level_is_that_of_the_codec_that_is_used() {
    let zstd = config(&[("compression.level", "7"), ("compression.codec", "zstd")]);
    let expected = plain().compression(Compression::Zstd).compression_level(Compression::Zstd, 7);
    assert_eq!(shown(&zstd), shown(&expected));
    for (codec, told) in [
        ("lz4", "compression.level is 7: lz4 is written at one level here: leave it out, or use gzip or zstd"),
        ("none", "compression.level is 7: without a codec there is no level: leave it out, or choose gzip or zstd"),
    ] {
        let refused = config(&[("compression.codec", codec), ("compression.level", "7")]).check().err();
        assert_eq!(refused.expect("is refused").to_string(), told);
    }
}

#[test]
fn what_cannot_be_used_says_what_to_use() {
    for (name, value, text) in [
        ("linger.msec", "5", "linger.msec is no property of a producer; the nearest is linger.ms"),
        (
            "flux.capacitor",
            "1",
            "flux.capacitor is no property of a producer: remove it, or look for its name in docs/configuration.md",
        ),
        (
            "sasl.password",
            "secret",
            "sasl.password means nothing here: TLS and SASL are not there yet; use a PLAINTEXT listener of the brokers",
        ),
        (
            "security.protocol",
            "SASL_SSL",
            "security.protocol can only be PLAINTEXT: TLS and SASL are not there yet; use a PLAINTEXT listener of the brokers",
        ),
        (
            "group.id",
            "shop",
            "group.id means nothing here: it is a consumer's property, and this is a producer; remove it",
        ),
        (
            "retries",
            "3",
            "retries can only be 2147483647: a record is tried until its time is over, not for a count: use delivery.timeout.ms",
        ),
        ("linger.ms", "soon", "linger.ms is \"soon\": give a number of milliseconds, as in 5 or 0.5"),
        ("linger.ms", "-1", "linger.ms is \"-1\": give a number of milliseconds, as in 5 or 0.5"),
        (
            "topic.metadata.refresh.interval.ms",
            "-1",
            "topic.metadata.refresh.interval.ms is \"-1\": give a time: -1, never, is not possible, because new partitions \
             would not be found; 1000 at least, as in 300000, the default; 86400000 for once a day",
        ),
        (
            "topic.metadata.refresh.interval.ms",
            "soon",
            "topic.metadata.refresh.interval.ms is \"soon\": give a whole number of milliseconds, as in 250",
        ),
        (
            "milena.topic.compression",
            "photos",
            "milena.topic.compression is \"photos\": give topics and their codecs (none, gzip, snappy, lz4 or zstd), as in \
             photos:none, logs:zstd+lz4, each topic once",
        ),
        (
            "milena.topic.compression",
            "a:lz4,a:zstd",
            "milena.topic.compression is \"a:lz4,a:zstd\": give topics and their codecs (none, gzip, snappy, lz4 or zstd), \
             as in photos:none, logs:zstd+lz4, each topic once",
        ),
        (
            "milena.compression.threads",
            "all",
            "milena.compression.threads is \"all\": give a number of threads, 1 to 64, as in 2",
        ),
        ("linger.ms", "NaN", "linger.ms is \"NaN\": give a number of milliseconds, as in 5 or 0.5"),
        ("batch.size", "1k", "batch.size is \"1k\": give a whole number of bytes, as in 1048576"),
        (
            "queue.buffering.max.kbytes",
            "99999999999999999",
            "queue.buffering.max.kbytes is \"99999999999999999\": give a whole number of kibibytes, as in 32768",
        ),
        ("enable.idempotence", "yes", "enable.idempotence is \"yes\": give true or false"),
        (
            "message.timeout.ms",
            "0",
            "message.timeout.ms is \"0\": give a time: 0, for ever, is not possible; at most 43200000 (12 h)",
        ),
        (
            "interceptor.classes",
            "x",
            "interceptor.classes can only be empty: wrap Topic in a type of your own that does what the interceptor did",
        ),
    ] {
        assert_eq!(told(&[(name, value)]), text);
    }
    let servers = ProducerConfig::from_properties([("bootstrap.servers", "localhost")]).expect_err("has no port");
    assert_eq!(
        servers.to_string(),
        "bootstrap.servers is \"localhost\": give brokers as host:port, separated by commas, as in localhost:9092 or [::1]:9092"
    );
    let none = ProducerConfig::from_properties(Properties::new()).expect_err("has no servers");
    assert_eq!(none.to_string(), "bootstrap.servers is missing: name at least one broker as host:port");
}

#[test]
fn values_that_are_what_is_done_anyway_are_accepted() {
    for other in OTHERS {
        for value in other.allowed {
            assert_eq!(shown(&config(&[(other.name, value)])), shown(&plain()), "{}", other.name);
        }
    }
    assert_eq!(shown(&config(&[("security.protocol", " plaintext ")])), shown(&plain()));
}

#[test]
fn one_setting_by_two_names_has_one_value() {
    assert_eq!(config(&[("linger.ms", "7"), ("queue.buffering.max.ms", "7 ")]).fill_time(), Duration::from_millis(7));
    let text = told(&[("linger.ms", "7"), ("queue.buffering.max.ms", "8")]);
    let expected = [
        "linger.ms and queue.buffering.max.ms are the same setting with two values: keep one",
        "queue.buffering.max.ms and linger.ms are the same setting with two values: keep one",
    ];
    assert_eq!(text, expected.join("\n"));
}

/// Names of rows of their own, because each client has its own words for it.
#[test]
fn one_thing_by_names_of_two_clients_has_one_value() {
    let round_robin = ("partitioner.class", "org.apache.kafka.clients.producer.RoundRobinPartitioner");
    for [one, other] in [
        [("partitioner", "murmur2"), round_robin],
        [("partitioner", "consistent_random"), ("partitioner.ignore.keys", "true")],
        [("partitioner", "random"), ("partitioner.ignore.keys", "false")],
        [("compression.level", "5"), ("compression.gzip.level", "7")],
    ] {
        let twice = |name, other| format!("{name} and {other} are the same setting with two values: keep one");
        let expected = [twice(one.0, other.0), twice(other.0, one.0)].join("\n");
        assert_eq!(told(&[one, other, ("compression.type", "gzip")]), expected);
    }
    let partitioner = |pairs: &[(&str, &str)]| format!("{:?}", config(pairs).partitioner);
    for (pairs, expected) in [
        (&[("partitioner", "fnv1a"), ("partitioner.ignore.keys", "false")][..], Partitioner::Fnv1a),
        (&[("partitioner", "random"), ("partitioner.ignore.keys", "true")], Partitioner::Sticky),
        (&[("partitioner", "fnv1a"), ("partitioner.class", "")], Partitioner::Fnv1a),
        (&[("partitioner.class", "null"), ("partitioner.ignore.keys", "true")], Partitioner::Sticky),
        // Java has no use for it beside a class.
        (&[round_robin, ("partitioner.ignore.keys", "true")], Partitioner::RoundRobin),
        (&[round_robin, ("partitioner.ignore.keys", "false")], Partitioner::RoundRobin),
    ] {
        assert_eq!(partitioner(pairs), format!("{expected:?}"), "{pairs:?}");
    }
    let gzip = [("compression.type", "gzip"), ("compression.level", "7"), ("compression.gzip.level", "7")];
    assert!(config(&gzip).check().is_ok());
    let other = config(&[("compression.type", "lz4"), ("compression.gzip.level", "7"), ("compression.level", "-1")]);
    assert!(other.check().is_ok(), "-1 says nothing");
}

/// They are not on its page.
#[test]
fn what_librdkafka_does_not_document_is_answered_too() {
    assert_eq!(
        told(&[("test.mock.num.brokers", "3")]),
        "test.mock.num.brokers means nothing here: a producer brings no brokers; for tests use milena-broker, which runs in \
         the process"
    );
    assert_eq!(shown(&config(&[("enable.sparse.connections", "true")])), shown(&plain()));
    assert!(told(&[("enable_sasl_queue", "true")]).contains("PLAINTEXT"));
    assert!(
        told(&[("transactional.id", "shop")]).contains("a client that has transactions, as Java's and librdkafka's")
    );
}

#[test]
fn a_name_that_two_clients_use_for_two_things_is_not_guessed() {
    let text = told(&[("request.timeout.ms", "5000"), ("message.max.bytes", "2000000")]);
    assert!(text.starts_with("request.timeout.ms could mean two things here: in Java"), "{text}");
    assert_eq!(
        config(&[("request.timeout.ms", "5000"), ("max.request.size", "2000000")]).request_timeout,
        Duration::from_secs(5)
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let path = std::env::temp_dir().join(format!("milena-{}.properties", std::process::id()));
    std::fs::write(&path, "# A producer.\nbootstrap.servers = a:1,\\\n  b:2\nacks: 3\n\nlinger = 5\n")
        .expect("is written");
    let properties = Properties::from_file(&path).expect("is read");
    std::fs::remove_file(&path).expect("is there");
    assert_eq!(properties.get("bootstrap.servers"), Some("a:1,b:2"));
    let error = ProducerConfig::from_properties(properties.clone().set("batch.size", "x")).expect_err("is refused");
    let file = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "{file}:4: acks is \"3\": give all (or -1), 1 or 0\nbatch.size is \"x\": give a whole number of bytes, as in \
             1048576\n{file}:6: linger is no property of a producer; the nearest is linger.ms"
        )
    );
    let mended = properties.set("acks", "all").remove("linger").set("linger.ms", "5");
    assert!(ProducerConfig::from_properties(mended).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Properties::from_file("/nowhere/producer.properties").expect_err("is not there").to_string();
    assert!(missing.starts_with("/nowhere/producer.properties: No such file"), "{missing}");
    let path = std::env::temp_dir().join(format!("milena-latin-{}.properties", std::process::id()));
    for (bytes, expected) in [
        (b"a=1\nb=\xe9\n".to_vec(), ":2: not UTF-8: save the file as UTF-8"),
        (b"a=1\nb=\\u00\n".to_vec(), ":2: \\u needs four hexadecimal digits"),
        (vec![b'#'; 2_000_000], ": larger than 1 MiB"),
    ] {
        std::fs::write(&path, bytes).expect("is written");
        let text = Properties::from_file(&path).expect_err("is refused").to_string();
        assert!(text.starts_with(&format!("{}{expected}", path.display())), "{text}");
    }
    std::fs::remove_file(&path).expect("is there");
    assert_eq!(
        Properties::parse("a\\ud83d=1").expect_err("is refused").to_string(),
        "line 1: half of a character: a \\ud8xx escape needs its second half"
    );
}

#[test]
fn passwords_are_not_shown() {
    let properties = Properties::from([("sasl.password", "secret")]);
    assert_eq!(format!("{properties:?}"), "{\"sasl.password\"}");
}

#[test]
fn collections_of_pairs_are_properties() {
    let expected = Properties::from([("acks", "all")]);
    assert_eq!(Properties::from(vec![("acks", "all")]), expected);
    assert_eq!(Properties::from(HashMap::from([("acks".to_owned(), "all".to_owned())])), expected);
    assert_eq!(Properties::from(BTreeMap::from([("acks", "all")])), expected);
}
