//! What the types of the public API promise to the compiler.

use std::collections::BTreeSet;
use std::time::Duration;

use milena::*;

fn is_send<T: Send>(_: T) {}

/// Gives the names of types that compile only if all threads may have them, whatever they borrow.
macro_rules! may_go_to_any_thread {
    ($($type:ty,)*) => {{
        fn check<T: Send + Sync + 'static>() {}
        $(check::<$type>();)*
        [$(stringify!($type)),*].map(|name| name.split('<').next().expect("a name"))
    }};
}

/// What the crate exports: types only, all from its root.
fn exported() -> BTreeSet<&'static str> {
    let source = include_str!("../src/lib.rs");
    let uses = source.split("\npub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let names = uses.flat_map(|path| match path.split_once('{') {
        Some((_, names)) => names.trim_end_matches('}').split(',').map(str::trim).collect(),
        None => path.rsplit("::").take(1).collect::<Vec<_>>(),
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// A new one that is not asserted here fails.
#[test]
fn every_type_may_go_to_any_thread() {
    let asserted = may_go_to_any_thread![
        Acks,
        AddressFault,
        AfterDeadline,
        AttemptError,
        BatchFate,
        Because<NotWritten>,
        Cause,
        Compression,
        ConfigError,
        ConnectionError,
        CustomPartitioner,
        Deliveries,
        Delivery,
        DeliveryError,
        DeliveryReport<'static>,
        DialError,
        FailedDial,
        Fate,
        InvalidTopic,
        JournalDamage,
        JournalError,
        KafkaError,
        Misfit,
        NotWritten,
        Outcome,
        Partitioner,
        Partitioning<'static>,
        Permit<'static>,
        Producer,
        ProducerConfig,
        ProducerStats,
        Properties,
        PropertiesError,
        PropertyFault,
        PropertyPlace,
        PropertyRefused,
        ReadyError,
        Record<'static>,
        ReserveError,
        SendBatchError<'static>,
        SendError<'static>,
        SendRefused,
        Settle,
        SettleError,
        SettledBatch,
        SettledJournal,
        Settlement,
        SettlementError,
        Tally,
        Topic,
        Undetermined,
        Written,
    ];
    assert_eq!(BTreeSet::from(asserted), exported());
}

/// Clippy warns of every function whose error has 128 bytes or more, and an application has many that pass these on.
#[test]
fn errors_are_small() {
    use std::mem::size_of;
    for size in [
        size_of::<ConfigError>(),
        size_of::<DeliveryError>(),
        size_of::<InvalidTopic>(),
        size_of::<PropertiesError>(),
        size_of::<ReadyError>(),
        size_of::<ReserveError>(),
        size_of::<SendBatchError<'_>>(),
        size_of::<SendError<'_>>(),
        size_of::<SettleError>(),
        size_of::<SettlementError>(),
    ] {
        assert!(size < 128, "{size} bytes");
    }
    assert_eq!(size_of::<SendError<'_>>(), size_of::<usize>());
}

#[test]
fn errors_are_errors() {
    fn check<E: std::error::Error + Send + Sync + 'static>() {}
    check::<ConfigError>();
    check::<PropertiesError>();
    check::<ReadyError>();
    check::<ReserveError>();
    check::<SendError<'static>>();
    check::<SendBatchError<'static>>();
    check::<InvalidTopic>();
    check::<DeliveryError>();
    check::<SettlementError>();
    check::<ConnectionError>();
}

/// A future that holds a lock or a raw handle over an await could not be spawned.
#[test]
fn futures_may_be_spawned() {
    let producer = Producer::new(ProducerConfig::new("localhost:1")).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    is_send(producer.ready(Duration::ZERO));
    is_send(producer.flush(Duration::ZERO));
    is_send(producer.close(Duration::ZERO));
    is_send(orders.ready(Duration::ZERO));
    is_send(orders.send("v"));
    is_send(orders.send(Record::value("v").key("k")));
    is_send(orders.post_wait("v"));
    is_send(orders.send_batch(["v"]));
    is_send(orders.reserve(1, Duration::ZERO));
    is_send(orders.reserve_for("k", 1, Duration::ZERO));
    is_send(async {
        let permit = orders.reserve(1, Duration::ZERO).await;
        let borrowed = &permit;
        orders.ready(Duration::ZERO).await.map(|_| borrowed.is_ok())
    });
    let (_, mut deliveries) = ProducerConfig::new("localhost:1").deliveries(1);
    is_send(deliveries.next());
}

/// A handle in a log line is a line, whatever its producer holds.
#[test]
fn handles_are_shown_in_a_line() {
    let producer = Producer::new(ProducerConfig::new("localhost:1").linger(Duration::from_secs(15))).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    assert_eq!(format!("{orders:?}"), "Topic { name: \"orders\", partitions: 0 }");
    let expected = format!("Producer {{ stats: {:?}, .. }}", producer.stats());
    assert_eq!(format!("{producer:?}"), expected);
}
