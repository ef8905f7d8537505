//! A producer on a runtime of the application's.

use std::sync::atomic::Ordering;
use std::time::Duration;

use milena::unstable::{Admin, NewTopic};
use milena::{
    Because, NotWritten, Outcome, Producer, ProducerConfig, ReadyError, Record, SendRefused, Settlement, Undetermined,
};
use milena_broker::{Broker, BrokerOptions};
use tight_lipped::TightLipped;
use tokio::runtime::{Builder, Runtime};

mod tight_lipped;

const SOON: Duration = Duration::from_secs(10);

/// An executor that serves no producer.
fn elsewhere<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

fn elsewhere_with_io<T>(future: impl Future<Output = T>) -> T {
    current_thread().block_on(future)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn producer(broker: &TightLipped, runtime: &Runtime) -> Producer {
    let config = ProducerConfig::new(&broker.address).runtime(runtime.handle().clone());
    Producer::new(config).expect("is built")
}

fn reason(outcome: Outcome) -> NotWritten {
    let Outcome::NotWritten(Because { reason, .. }) = outcome else { panic!("{outcome:?}") };
    reason
}

#[test]
fn records_are_sent_on_either_kind() {
    for runtime in [current_thread(), multi_thread()] {
        let broker = TightLipped::start();
        let producer = producer(&broker, &runtime);
        runtime.block_on(async {
            let orders = producer.topic("orders").expect("a name");
            for offset in 0..3 {
                let delivery = orders.send(Record::value("v")).await.expect("accepted");
                let Outcome::Written(at) = delivery.await else { panic!("it was answered") };
                assert_eq!(at.offset, Some(offset));
            }
            producer.close(SOON).await;
        });
    }
}

#[test]
fn when_the_runtime_is_shut_down_every_record_has_its_outcome() {
    for runtime in [current_thread(), multi_thread()] {
        let broker = TightLipped::start();
        let producer = producer(&broker, &runtime);
        let orders = producer.topic("orders").expect("a name");
        let (sent, sealed, filling) = runtime.block_on(async {
            orders.ready(SOON).await.expect("is there");
            broker.keeps_back.store(true, Ordering::SeqCst);
            let sent = orders.try_send(Record::value("sent")).expect("accepted");
            while broker.records() == 0 {
                tokio::task::yield_now().await;
            }
            // The first batch of a producer flies alone.
            let sealed = orders.try_send(Record::value("sealed")).expect("accepted");
            producer.flush(Duration::ZERO).await;
            (sent, sealed, orders.try_send(Record::value("filling")).expect("accepted"))
        });
        drop(runtime);
        elsewhere(async {
            assert_eq!(reason(sealed.await), NotWritten::DriverLost);
            assert_eq!(reason(filling.await), NotWritten::DriverLost);
            let Outcome::Unknown(fate) = sent.await else { panic!("it was sent and not answered") };
            let Settlement::Undetermined(Because { reason, .. }) = fate.await else { panic!("nobody asks any more") };
            assert_eq!(reason, Undetermined::DriverLost);
            let refused = orders.send(Record::value("late")).await.expect_err("nobody delivers it");
            assert_eq!(refused.reason(), &SendRefused::DriverLost);
            assert_eq!(producer.ready(SOON).await, Err(ReadyError::DriverLost));
            assert_eq!(producer.close(SOON).await.records(), 0);
        });
    }
}

/// Two workers serve lanes and control at the same time, and all of it is dropped at any moment.
#[test]
fn a_runtime_that_is_shut_down_at_any_moment_leaves_no_record_without_an_outcome() {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    elsewhere_with_io(async {
        let mut admin = Admin::connect(&[broker.bootstrap().to_owned()], "test", SOON).await.expect("connects");
        let topic = NewTopic { name: "orders".to_owned(), partitions: Some(8), replication: None };
        admin.create_topic(&topic).await.expect("is created");
    });
    let (mut written, mut lost) = (0, 0);
    for round in 0..100 {
        let runtime = multi_thread();
        let config = ProducerConfig::new(broker.bootstrap()).linger(Duration::ZERO).runtime(runtime.handle().clone());
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        if round % 4 > 0 {
            elsewhere(orders.ready(SOON)).expect("is there");
        }
        let sent = (0..round * 7 % 60).map(|_| elsewhere(orders.send(Record::value("v"))).expect("accepted"));
        let mut sent: Vec<_> = sent.collect();
        if round % 10 == 1 {
            // However busy the machine is, some rounds write.
            let first = sent.remove(0);
            assert!(matches!(elsewhere(first), Outcome::Written(_)), "round {round}");
            written += 1;
        }
        runtime.shutdown_background();
        for delivery in sent {
            match elsewhere(async { tokio::time::timeout(SOON, delivery).await }) {
                Ok(Outcome::Written(_)) => written += 1,
                Ok(Outcome::NotWritten(Because { reason: NotWritten::DriverLost, .. }) | Outcome::Unknown(_)) => {
                    lost += 1
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
    }
    assert!(written > 0 && lost > 0, "{written} were written, {lost} were not");
}

/// Its workers panicked, and the producer was lost with its first connection.
#[test]
fn a_runtime_that_cannot_serve_connections_is_refused() {
    let refused = |build: &dyn Fn(&mut Builder)| {
        [Builder::new_current_thread(), Builder::new_multi_thread()].map(|mut builder| {
            build(&mut builder);
            let runtime = builder.build().expect("a runtime");
            let config = ProducerConfig::new("127.0.0.1:1").runtime(runtime.handle().clone());
            Producer::new(config).map(drop).map_err(|error| error.to_string())
        })
    };
    let told = |fix: &str| [(); 2].map(|()| Err(fix.to_owned()));
    let no_timers = told("the runtime has no timers: build it with enable_time() or enable_all()");
    assert_eq!(refused(&|_| ()), no_timers);
    assert_eq!(refused(&|builder| _ = builder.enable_io()), no_timers);
    let no_io = told("the runtime has no I/O: build it with enable_io() or enable_all()");
    assert_eq!(refused(&|builder| _ = builder.enable_time()), no_io);
    assert_eq!(refused(&|builder| _ = builder.enable_all()), [Ok(()), Ok(())]);
}

#[test]
fn a_runtime_that_was_shut_down_before_serves_nobody_and_says_so() {
    let broker = TightLipped::start();
    for runtime in [current_thread(), multi_thread()] {
        let handle = runtime.handle().clone();
        drop(runtime);
        let config = ProducerConfig::new(&broker.address).runtime(handle);
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        let refused = orders.try_send(Record::value("v")).expect_err("nobody delivers it");
        assert_eq!(refused.reason(), &SendRefused::DriverLost);
    }
}

/// Nobody runs the runtime any more, so nothing is sent; the deadline is told all the same.
#[test]
fn a_runtime_that_stands_still_delays_no_outcome() {
    let broker = TightLipped::start();
    let runtime = current_thread();
    let config = ProducerConfig::new(&broker.address).deadline(Duration::from_millis(100));
    let producer = Producer::new(config.runtime(runtime.handle().clone())).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    runtime.block_on(orders.ready(SOON)).expect("is there");
    let delivery = orders.try_send(Record::value("v")).expect("accepted");
    assert_eq!(reason(elsewhere(delivery)), NotWritten::DeadlinePassed);
}
