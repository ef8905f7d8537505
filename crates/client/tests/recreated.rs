//! A topic that is deleted and created again, with fewer partitions or more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use milena::{
    Delivery, NotWritten, Outcome, Producer, ProducerConfig, Record, SendRefused, Settlement, Topic, Undetermined,
};
use milena_wire::ApiKey;
use milena_wire::murmur2;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

fn create_again(broker: &Steered, partitions: i32) {
    broker.steer(|cluster, now| {
        cluster.delete_topic(now, "orders").expect("memory does not fail");
        cluster.create_topic("orders", partitions).expect("is made");
    });
}

/// What a cluster knows of a topic comes with the next answer.
fn wait_for_partitions(orders: &Topic, count: usize) {
    run(async {
        while orders.partition_count() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A key of the last of so many partitions.
fn key_of_last(partitions: u32) -> String {
    let count = std::num::NonZeroU32::new(partitions).expect("at least one");
    let is_of_last = |key: &String| murmur2::partition_for_key(key.as_bytes(), count) + 1 == partitions as i32;
    (0..).map(|number| format!("key {number}")).find(is_of_last).expect("keys are spread")
}

fn written(delivery: Delivery) -> i32 {
    match run(delivery) {
        Outcome::Written(at) => at.partition,
        other => panic!("{other:?}"),
    }
}

/// The surplus partitions stayed: keys chose them, and their records waited for a leader until their deadlines.
#[test]
fn a_topic_that_comes_back_with_fewer_partitions_has_no_others() {
    let broker = Steered::start(1, 4);
    let config = ProducerConfig::new(&broker.bootstrap)
        .linger(Duration::from_secs(30))
        .metadata_max_age(Duration::from_secs(1))
        .deadline(Duration::from_secs(60));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let key = key_of_last(4);
    broker.keep_back(ApiKey::PRODUCE);
    let sent = orders.try_send(Record::value("sent").key(&key)).expect("accepted");
    run(producer.flush(Duration::ZERO));
    broker.wait_until_kept_back(1);
    let sealed = orders.try_send(Record::value("sealed").key(&key)).expect("accepted");
    run(producer.flush(Duration::ZERO));
    let filling = orders.try_send(Record::value("filling").key(&key)).expect("accepted");
    create_again(&broker, 1);
    for delivery in [sealed, filling] {
        let Outcome::NotWritten(why) = run(delivery) else { panic!("it was never sent") };
        assert_eq!((why.reason, why.cause.attempts), (NotWritten::PartitionGone, 0));
        assert!(why.to_string().contains("created again with fewer partitions"), "{why}");
    }
    let Outcome::Unknown(fate) = run(sent) else { panic!("it was sent and not answered") };
    let Settlement::Undetermined(why) = run(fate) else { panic!("the old topic is gone") };
    assert_eq!((why.reason, why.cause.attempts), (Undetermined::TopicRecreated, 1));
    assert_eq!(orders.partition_count(), 1);
    broker.answer_all();
    let again = [Record::value("again").key(&key), Record::value("without a key")];
    for record in again {
        let delivery = orders.try_send(record).expect("accepted");
        run(producer.flush(SOON));
        assert_eq!(written(delivery), 0);
    }
    assert_eq!(broker.records(0), 2);
    create_again(&broker, 5);
    wait_for_partitions(&orders, 5);
    let delivery = orders.try_send(Record::value("v").key(&key_of_last(5))).expect("accepted");
    run(producer.flush(SOON));
    assert_eq!((written(delivery), broker.records(4)), (4, 1));
}

/// A caller may hold the partitions of before when they are replaced.
#[test]
fn whoever_sends_while_partitions_come_and_go_is_never_told_that_the_producer_is_closed() {
    let broker = Steered::start(1, 8);
    let config = ProducerConfig::new(&broker.bootstrap).linger(Duration::ZERO).deadline(SOON);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let is_over = AtomicBool::new(false);
    let send = |number: u64| -> Vec<Delivery> {
        let keys: Vec<String> = (0..64).map(|key| format!("{number} {key}")).collect();
        let (orders, mut sent) = (orders.clone(), Vec::new());
        while !is_over.load(Ordering::SeqCst) {
            for key in &keys {
                match orders.try_send(Record::value("v").key(key)) {
                    Ok(delivery) => sent.push(delivery),
                    Err(refused) if *refused.reason() == SendRefused::BufferFull => {}
                    Err(refused) if *refused.reason() == SendRefused::PartitionFull => {}
                    Err(refused) => panic!("{refused}"),
                }
            }
            sent.retain(|delivery| delivery.try_outcome().is_none_or(|outcome| !is_expected(&outcome)));
            thread::yield_now();
        }
        sent
    };
    thread::scope(|scope| {
        let senders = [0, 1].map(|number| scope.spawn(move || send(number)));
        for count in [1, 8, 2, 5, 1, 8] {
            create_again(&broker, count);
            wait_for_partitions(&orders, count as usize);
        }
        is_over.store(true, Ordering::SeqCst);
        for sender in senders {
            for delivery in sender.join().expect("no panic") {
                let outcome = run(delivery);
                assert!(is_expected(&outcome), "{outcome:?}");
            }
        }
    });
}

fn is_expected(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Written(_) => true,
        Outcome::NotWritten(why) => matches!(why.reason, NotWritten::PartitionGone | NotWritten::Refused(_)),
        // It may have been written to a topic that is gone.
        Outcome::Unknown(_) => true,
    }
}
