//! What the types of the public API promise to the compiler.

use std::time::Duration;

use milena::*;

fn is_send_and_sync<T: Send + Sync>() {}
fn is_static<T: Send + Sync + 'static>() {}
fn is_send<T: Send>(_: T) {}

#[test]
fn handles_futures_and_errors_may_go_to_any_thread() {
    is_static::<Producer>();
    is_static::<ProducerConfig>();
    is_static::<Properties>();
    is_static::<Topic>();
    is_static::<Delivery>();
    is_static::<Fate>();
    is_static::<Deliveries>();
    is_static::<DeliveryReport<'static>>();
    is_static::<Outcome>();
    is_static::<Settlement>();
    is_static::<Record<'static>>();
    is_send_and_sync::<Record<'_>>();
    is_send::<Option<Permit<'_>>>(None);
    for_errors::<ConfigError>();
    for_errors::<PropertiesError>();
    for_errors::<ReadyError>();
    for_errors::<ReserveError>();
    for_errors::<SendError<'static>>();
    for_errors::<SendBatchError<'static>>();
    for_errors::<InvalidTopic>();
    for_errors::<DeliveryError>();
    for_errors::<SettlementError>();
    for_errors::<ConnectionError>();
}

fn for_errors<E: std::error::Error + Send + Sync + 'static>() {}

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
    let (_, mut deliveries) = ProducerConfig::new("localhost:1").deliveries(1);
    is_send(deliveries.next());
}

/// A handle in a log line is a line, whatever its producer holds.
#[test]
fn handles_are_shown_in_a_line() {
    let producer = Producer::new(ProducerConfig::new("localhost:1").linger(Duration::from_secs(60))).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    assert_eq!(format!("{orders:?}"), "Topic { name: \"orders\", partitions: 0 }");
    let expected = format!("Producer {{ stats: {:?}, .. }}", producer.stats());
    assert_eq!(format!("{producer:?}"), expected);
}
