//! The examples do what they say, on an embedded broker; and what becomes of them when the cluster does not answer.

#![allow(clippy::duplicate_mod, reason = "each example has its own copy of what they share")]

use std::time::{Duration, Instant};

use milena::{AfterDeadline, Producer, ProducerConfig, Settlement};
use milena_broker::{ApiKey, Broker, BrokerOptions, Fault, NodeId};
use steered::Steered;

#[path = "../examples/fire_and_forget.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod fire_and_forget;
#[path = "../examples/lost_reply.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod lost_reply;
#[path = "../examples/ordered_pipeline.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod ordered_pipeline;
#[path = "../examples/request_budget.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod request_budget;
#[path = "../examples/retry_without_duplicates.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod retry_without_duplicates;
#[path = "../examples/settle_after_a_crash.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod settle_after_a_crash;
#[allow(dead_code, reason = "shared with other tests")]
mod steered;
#[path = "../examples/tutorial.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod tutorial;
#[path = "../examples/web_service.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod web_service;
#[path = "../examples/without_runtime.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod without_runtime;

const SOON: Duration = Duration::from_secs(10);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn broker() -> Broker {
    Broker::start(BrokerOptions { auto_create_topics: true, ..BrokerOptions::default() }).expect("starts")
}

fn producer(broker: &Broker) -> Producer {
    Producer::new(ProducerConfig::new(broker.bootstrap()).allow_auto_create_topics(true)).expect("is built")
}

#[test]
fn the_web_service_answers_with_the_status_of_the_outcome() {
    let broker = broker();
    runtime().block_on(async {
        let orders = producer(&broker).topic("orders").expect("a name");
        orders.ready(SOON).await.expect("is there");
        assert_eq!(web_service::demonstrate(orders).await.expect("answers"), [201, 201, 201, 404]);
    });
}

/// Frozen brokers, memory that is used up: the budget is kept, and what was sent is not called a failure.
#[test]
fn the_web_service_keeps_its_budget_when_brokers_do_not_answer() {
    let broker = Steered::start(1, 1);
    let config = ProducerConfig::new(&broker.bootstrap)
        .deadline(Duration::from_secs(1))
        .max_request_size(10_000)
        .buffer_memory(200_000);
    let producer = Producer::new(config).expect("is built");
    runtime().block_on(async {
        let orders = producer.topic("orders").expect("a name");
        orders.ready(SOON).await.expect("is there");
        broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
        let (status, _) = web_service::place(&orders, b"sent").await;
        assert_eq!(status, "202 Accepted");
        let begun = Instant::now();
        let large = [7; 9_000];
        let answers: Vec<_> = (0..30)
            .map(|_| orders.clone())
            .map(|orders| tokio::spawn(async move { web_service::place(&orders, &large).await.0 }))
            .collect();
        let mut statuses = Vec::new();
        for answer in answers {
            statuses.push(answer.await.expect("no panic"));
        }
        assert!(
            statuses.iter().all(|status| *status == "503 Service Unavailable" || *status == "202 Accepted"),
            "{statuses:?}"
        );
        assert!(statuses.contains(&"503 Service Unavailable"));
        assert!(begun.elapsed() < SOON, "the budget of each is a second");
        assert_eq!(web_service::place(&orders, &[7; 20_000]).await.0, "413 Content Too Large");
    });
}

#[test]
fn the_pipeline_copies_all_in_order() {
    let broker = broker();
    runtime().block_on(async {
        let events = producer(&broker).topic("events").expect("a name");
        let source: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
        assert_eq!(ordered_pipeline::copy(&source, 0, &events).await.expect("goes through"), 2_000);
        assert_eq!(ordered_pipeline::copy(&source, 1_990, &events).await.expect("goes on"), 2_000);
    });
}

#[test]
fn the_pipeline_stops_where_something_is_not_accepted() {
    let broker = broker();
    let runtime = runtime();
    let producer = producer(&broker);
    let events = producer.topic("events").expect("a name");
    runtime.block_on(async {
        let source = vec!["event".to_owned(); 10];
        ordered_pipeline::copy(&source, 0, &events).await.expect("goes through");
        broker.stop();
        producer.close(Duration::ZERO).await;
        let stopped = ordered_pipeline::copy(&source, 3, &events).await.expect_err("nobody takes it");
        assert!(stopped.to_string().starts_with("stopped at event 3: the producer is closed"), "{stopped}");
    });
}

#[test]
fn every_posted_measurement_is_counted() {
    let cluster = fire_and_forget::cluster::Cluster::at(None).expect("starts");
    let (tally, lost) = fire_and_forget::send(&cluster, 20_000).expect("goes through");
    assert_eq!((tally.written, tally.not_written, tally.unknown, lost.len()), (20_000, 0, 0, 0));
}

#[test]
fn threads_without_a_runtime_have_all_their_outcomes() {
    let cluster = without_runtime::cluster::Cluster::at(None).expect("starts");
    let tally = without_runtime::send(&cluster, 4, 500).expect("goes through");
    assert_eq!((tally.written, tally.records()), (2_000, 2_000));
}

/// What `docs/tutorial.md` shows: written, in doubt and then written, refused with the reason.
#[test]
fn the_tutorials_program_tells_what_became_of_each_order() {
    let broker = Steered::start(1, 1);
    let config = ProducerConfig::new(&broker.bootstrap).deadline(Duration::from_millis(300));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    orders.blocking_ready(SOON).expect("is there");
    let (tell, told) = std::sync::mpsc::channel();
    let place = |order: &str| tutorial::place(&orders, order, |what| tell.send(what).expect("is heard"));
    let next = || told.recv_timeout(SOON).expect("is told");
    place("1 soup");
    assert_eq!(next(), "written to partition 0, offset Some(0)");
    broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
    std::thread::scope(|scope| {
        scope.spawn(|| place("1 juice"));
        assert_eq!(next(), "sent, and not answered in time");
        broker.steer(|cluster, now| cluster.thaw(now, NodeId(1))).expect("it is frozen");
        assert_eq!(next(), "now written to partition 0");
    });
    producer.blocking_close(SOON);
    place("1 pie");
    assert!(next().starts_with("not accepted: the producer is closed"));
}

/// Written once or not at all, whatever was lost, and the caller learns which.
#[test]
fn a_lost_reply_ends_with_the_truth() {
    let lose = |fault, policy| {
        let lines = std::cell::RefCell::new(Vec::new());
        let lost = lost_reply::lose(fault, policy, |line| lines.borrow_mut().push(line));
        let (settlement, log) = runtime().block_on(lost).expect("goes through");
        assert!(lines.take()[1].starts_with("the caller is told: unknown"));
        (settlement, log)
    };
    let with_tea = ["1 soup", "4 tea", "1 juice"];
    for (fault, policy) in [
        (Fault::lose_answer(), AfterDeadline::Complete),
        (Fault::lose_answer(), AfterDeadline::Withdraw),
        (Fault::close_before(), AfterDeadline::Complete),
    ] {
        let (settlement, log) = lose(fault, policy);
        let Settlement::Written(at) = settlement else { panic!("{settlement:?}") };
        assert_eq!((at.offset, log), (Some(1), with_tea.map(str::to_owned).to_vec()), "{policy:?}");
    }
    let (settlement, log) = lose(Fault::close_before(), AfterDeadline::Withdraw);
    assert!(matches!(settlement, Settlement::NotWritten(_)), "{settlement:?}");
    assert_eq!(log, ["1 soup", "1 juice"]);
}

/// A frozen broker takes what it was sent when it wakes, or never: either way the answer came in time and the booking is true.
#[test]
fn a_request_keeps_its_budget_and_books_what_became_of_it() {
    use request_budget::Answer;
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    broker.create_topic("payments", 1).expect("is made");
    runtime().block_on(async {
        let producer = Producer::new(request_budget::config(broker.bootstrap())).expect("is built");
        let payments = producer.topic("payments").expect("a name");
        payments.ready(SOON).await.expect("is there");
        let (book, booked) = std::sync::mpsc::channel();
        assert_eq!(request_budget::pay(&payments, "EUR 1", Instant::now(), &book).await, Answer::Done);
        broker.freeze(1).expect("it runs");
        assert_eq!(request_budget::pay(&payments, "EUR 2", Instant::now(), &book).await, Answer::Pending);
        assert_eq!(
            request_budget::pay(&payments, "EUR 3", Instant::now(), &book).await,
            Answer::TryAgain,
            "not even sent"
        );
        broker.thaw(1).expect("it is frozen");
        let (payment, settlement) =
            tokio::task::spawn_blocking(move || booked.recv_timeout(SOON).expect("is settled")).await.expect("waits");
        let log = broker.log("payments", 0).expect("is there").records;
        let is_there = log.iter().any(|record| record.value.as_deref() == Some(b"EUR 2"));
        assert_eq!(payment, "EUR 2");
        assert_eq!(matches!(settlement, Settlement::Written(_)), is_there, "{settlement:?}");
        assert!(!matches!(settlement, Settlement::Undetermined(_)), "{settlement:?}");
        assert!(log.iter().all(|record| record.value.as_deref() != Some(b"EUR 3")));
    });
}

#[test]
fn a_retry_writes_each_order_once() {
    use retry_without_duplicates::FENCE;
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    broker.create_topic("orders", 1).expect("is made");
    runtime().block_on(async {
        let producer = Producer::new(retry_without_duplicates::config(broker.bootstrap())).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        orders.ready(SOON).await.expect("is there");
        // Longer than the deadline, so that the producer gives up and the loop goes on.
        for (order, fault) in [
            ("answered", None),
            ("answer lost", Some(Fault::lose_answer())),
            ("request lost", Some(Fault::close_before())),
        ] {
            let lasting = |fault: Fault| fault.api(ApiKey::PRODUCE).lasting(Duration::from_millis(900));
            fault.map(|fault| broker.faults().add(lasting(fault)));
            retry_without_duplicates::write_once(&orders, order, 10).await.expect("is written");
        }
        let records = broker.log("orders", 0).expect("is there").records;
        let mut values: Vec<_> = records.iter().filter_map(|record| record.value.as_deref()).collect();
        values.retain(|value| *value != FENCE.as_bytes());
        assert_eq!(values, [&b"answered"[..], b"answer lost", b"request lost"]);
    });
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn the_shop_that_is_killed() {
    if let (Ok(bootstrap), Ok(journal)) = (std::env::var("MILENA_TEST_SHOP"), std::env::var("MILENA_TEST_SHOP_JOURNAL"))
    {
        settle_after_a_crash::shop(&bootstrap, journal.as_ref()).expect("it is killed before it ends");
    }
}

#[test]
fn what_a_killed_shop_had_sent_is_told_by_the_next_one() {
    let journal = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shop-{}.fates", std::process::id()));
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    let mut shop = std::process::Command::new(std::env::current_exe().expect("it runs"));
    shop.args(["--exact", "the_shop_that_is_killed", "--nocapture"])
        .env("MILENA_TEST_SHOP", broker.bootstrap())
        .env("MILENA_TEST_SHOP_JOURNAL", &journal);
    settle_after_a_crash::crash(&broker, shop).expect("it is killed");
    let settled = settle_after_a_crash::settle(broker.bootstrap(), &journal).expect("is settled");
    let fates: Vec<_> = settled.batches.iter().map(|batch| batch.fate).collect();
    assert_eq!(fates, [milena::BatchFate::Written { offset: 1 }]);
    std::fs::remove_file(journal).expect("is there");
}
