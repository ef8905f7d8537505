//! Fewer acknowledgements, by rule 29: what is promised then, and what is not.

use std::time::Duration;

use milena::unstable::{Admin, NewTopic};
use milena::{Acks, Because, Outcome, Producer, ProducerConfig, Record, Settlement, Undetermined};
use milena_broker::{Broker, BrokerOptions};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

/// A broker with the topic `orders`, and who looks at its log.
async fn broker() -> (Broker, Admin) {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    let mut admin = Admin::connect(&[broker.bootstrap().to_owned()], "test", SOON).await.expect("connects");
    let topic = NewTopic { name: "orders".to_owned(), partitions: Some(1), replication: None };
    admin.create_topic(&topic).await.expect("is created");
    (broker, admin)
}

async fn end(admin: &mut Admin) -> i64 {
    admin.reader("orders", 0).offsets().await.expect("are told").latest
}

#[test]
fn the_leader_alone_tells_where_a_record_is() {
    run(async {
        let (broker, mut admin) = broker().await;
        let config = ProducerConfig::new(broker.bootstrap()).acks(Acks::Leader).idempotence(false);
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        assert_eq!(orders.ready(SOON).await, Ok(1), "no producer id is waited for");
        for offset in 0..3 {
            let delivery = orders.send(Record::value("v")).await.expect("accepted");
            let Outcome::Written(at) = delivery.await else { panic!("it was acknowledged") };
            assert_eq!(at.offset, Some(offset));
        }
        assert_eq!(end(&mut admin).await, 3);
    });
}

#[test]
fn without_acknowledgements_every_record_is_handed_over_and_nobody_knows_more() {
    run(async {
        let (broker, mut admin) = broker().await;
        let config = ProducerConfig::new(broker.bootstrap()).acks(Acks::None).idempotence(false);
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        for _ in 0..3 {
            let delivery = orders.send(Record::value("v")).await.expect("accepted");
            let Outcome::Unknown(fate) = delivery.await else { panic!("nobody tells") };
            let Settlement::Undetermined(Because { reason, .. }) = fate.await else { panic!("nobody ever tells") };
            assert_eq!(reason, Undetermined::NoAcknowledgementAsked);
        }
        // The broker reads what the kernel has taken, in its own time.
        while end(&mut admin).await < 3 {
            tokio::task::yield_now().await;
        }
    });
}
