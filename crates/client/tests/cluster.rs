//! The producer against a cluster of three nodes: leaders that move, freeze, die and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use milena::unstable::{Admin, NewTopic};
use milena::{Delivery, Outcome, Producer, ProducerConfig, Record, Topic};
use milena_broker::{Broker, BrokerOptions, NodeId, PartitionIndex, Stop};
use punctual::Watchdog;

#[allow(dead_code)]
mod punctual;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

/// Three nodes that are quick to replace a silent one, and a topic `orders` on all of them.
fn cluster(partitions: i32, replication: i16) -> Broker {
    let options = BrokerOptions {
        session_timeout: Duration::from_millis(500),
        replica_lag_time_max: Duration::from_secs(60),
        ..BrokerOptions::default().nodes(3)
    };
    let broker = Broker::start(options).expect("starts");
    run(async {
        let servers: Vec<String> = broker.bootstrap().split(',').map(str::to_owned).collect();
        let mut admin = Admin::connect(&servers, "test", SOON).await.expect("connects");
        let topic =
            NewTopic { name: "orders".to_owned(), partitions: Some(partitions), replication: Some(replication) };
        admin.create_topic(&topic).await.expect("is created");
    });
    broker
}

fn producer(broker: &Broker) -> Producer {
    Producer::new(ProducerConfig::new(broker.bootstrap()).deadline(Duration::from_secs(20))).expect("is built")
}

fn leader(broker: &Broker, partition: i32) -> NodeId {
    broker.leader("orders", PartitionIndex(partition)).expect("there is one")
}

fn another(node: NodeId) -> NodeId {
    NodeId(node.0 % 3 + 1)
}

async fn send_number(orders: &Topic, number: u32) -> Delivery {
    let value = number.to_be_bytes();
    orders.send(Record::value(&value).key("one partition")).await.expect("accepted")
}

/// Sends so many numbered records, a few at a time, and calls `between` after each few.
async fn send_numbered(orders: &Topic, count: u32, mut between: impl FnMut(u32)) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(send_number(orders, number).await);
        if number % 20 == 19 {
            orders.ready(SOON).await.expect("the topic stays known");
            between(number);
        }
    }
    deliveries
}

/// Every record is written, once, at the offset that its caller was told, in the order of acceptance.
async fn assert_all_written(broker: &Broker, deliveries: Vec<Delivery>) {
    let mut told = Vec::new();
    for delivery in deliveries {
        match delivery.await {
            Outcome::Written(at) => told.push((at.partition, at.offset.expect("is told"))),
            other => panic!("{other:?}"),
        }
    }
    let partition = told[0].0;
    let offsets: BTreeSet<i64> = told.iter().map(|(_, offset)| *offset).collect();
    assert!(told.windows(2).all(|pair| pair[0].1 < pair[1].1), "in the order of acceptance");
    let servers: Vec<String> = broker.bootstrap().split(',').map(str::to_owned).collect();
    let mut admin = Admin::connect(&servers, "test", SOON).await.expect("connects");
    let mut reader = admin.reader("orders", partition);
    let end = reader.offsets().await.expect("are told").latest;
    reader.seek(0);
    let mut found = Vec::new();
    while reader.position() < end {
        for batch in reader.read(end).await.expect("is read") {
            for record in batch.records() {
                let record = record.expect("is whole");
                let value = record.value.expect("was sent with one");
                found.push((record.offset, u32::from_be_bytes(value[..].try_into().expect("four bytes"))));
            }
        }
    }
    assert_eq!(found.len(), told.len(), "no loss and no duplicate");
    assert!(found.iter().map(|(offset, _)| *offset).eq(offsets));
    assert!(found.iter().map(|(_, number)| *number).eq(0..told.len() as u32));
}

#[test]
fn leaders_that_move_under_load_lose_duplicate_and_reorder_nothing() {
    let broker = cluster(1, 3);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let mut moves = 0;
        let deliveries = send_numbered(&orders, 400, |_| {
            let to = another(leader(&broker, 0));
            moves += u32::from(broker.move_leader("orders", PartitionIndex(0), to).is_ok());
        });
        let deliveries = deliveries.await;
        assert!(moves >= 10, "{moves}");
        assert_all_written(&broker, deliveries).await;
    });
}

/// Rule 7: what a frozen leader was sent and never answered goes to the new one while it is still frozen, and the copies
/// that it executes when it wakes are in no log.
#[test]
fn a_frozen_leader_does_not_hold_its_partition_and_what_it_does_later_changes_nothing() {
    let broker = cluster(1, 3);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let mut deliveries = send_numbered(&orders, 40, |_| {}).await;
        let frozen = leader(&broker, 0);
        broker.freeze(frozen).expect("it runs");
        let start = Instant::now();
        for number in 40..80u32 {
            deliveries.push(send_number(&orders, number).await);
        }
        let last = deliveries.pop().expect("there are some");
        let at = match last.await {
            Outcome::Written(at) => at,
            other => panic!("{other:?} after {:?}", start.elapsed()),
        };
        assert_ne!(leader(&broker, 0), frozen, "it is still frozen");
        assert_eq!(at.offset, Some(79));
        broker.thaw(frozen).expect("it is frozen");
        broker.lag(frozen, None).expect("it is there");
        let after = send_number(&orders, 80).await.await;
        assert!(matches!(after, Outcome::Written(at) if at.offset == Some(80)), "{after:?}");
    });
}

#[test]
fn a_killed_leader_that_comes_back_has_lost_nothing_that_was_acknowledged() {
    let broker = cluster(1, 3);
    let producer = producer(&broker);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let mut down = None;
        let deliveries = send_numbered(&orders, 200, |number| match (number / 20 % 4, down) {
            (0, None) => {
                let node = leader(&broker, 0);
                broker.stop_node(node, Stop::Kill).expect("it has a process");
                down = Some(node);
            }
            (2, Some(node)) => {
                broker.start_node(node).expect("its port is free");
                down = None;
            }
            _ => {}
        });
        let deliveries = deliveries.await;
        assert_all_written(&broker, deliveries).await;
    });
}

/// How long a broker may wait for its followers.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Rule 27: partitions that wait for a late follower leave the others of the same leader alone.
#[test]
fn partitions_whose_followers_are_late_do_not_hold_up_their_neighbours() {
    let broker = cluster(6, 2);
    let config = ProducerConfig::new(broker.bootstrap()).deadline(Duration::from_secs(20));
    let producer = Producer::new(config.produce_timeout(TIMEOUT)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let mut keys = BTreeMap::new();
        for number in 0..200 {
            let key = format!("key {number}");
            let outcome = orders.send(Record::value("x").key(&key)).await.expect("accepted").await;
            let Outcome::Written(at) = outcome else { panic!("{outcome:?}") };
            keys.entry(at.partition).or_insert(key);
        }
        // Partition 0 is on nodes 1 and 2, another one on 1 and 3; node 1 shall lead both.
        let replicas = |partition: i32| broker.isr("orders", PartitionIndex(partition)).expect("is there");
        let (late, shared) = (0, replicas(0)[0]);
        let neighbour = (1..6).find(|other| replicas(*other).contains(&shared) && replicas(*other) != replicas(0));
        let prompt = neighbour.expect("replicas are spread");
        let _leads_already = broker.move_leader("orders", PartitionIndex(late), shared);
        let _leads_already = broker.move_leader("orders", PartitionIndex(prompt), shared);
        let follower = replicas(late).into_iter().find(|node| *node != shared).expect("two replicas");
        broker.lag(follower, Some(Duration::from_secs(3600))).expect("it is there");
        let held_up = orders.send(Record::value("late").key(&keys[&late])).await.expect("accepted");
        let watchdog = Watchdog::start();
        let mut held_up_rounds = 0;
        for _ in 0..20 {
            drop(orders.try_send(Record::value("more").key(&keys[&late])).expect("accepted"));
            let sent = Instant::now();
            let outcome = orders.send(Record::value("prompt").key(&keys[&prompt])).await.expect("accepted").await;
            assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
            let told = Instant::now();
            let waited = (told - sent).saturating_sub(watchdog.worst_between(sent, told));
            held_up_rounds += u32::from(waited > TIMEOUT / 2);
        }
        // Each of them would wait a produce timeout if it went behind the late ones.
        assert!(held_up_rounds <= 2, "{held_up_rounds} of 20 rounds waited for the neighbour's follower");
        assert!(held_up.try_outcome().is_none(), "its follower is as late as ever");
        broker.lag(follower, None).expect("it is there");
        assert!(matches!(held_up.await, Outcome::Written(_)));
    });
}
