//! Calls that wait on the caller's own thread: without a runtime, and inside one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use milena::{Because, NotWritten, Outcome, Producer, ProducerConfig, ReadyError, Record, SendRefused, Settlement};
use milena_wire::ApiKey;
use steered::Steered;
use tokio::runtime::{Builder, Runtime};

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

const SOON: Duration = Duration::from_secs(10);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Everything that waits, and its answer.
fn use_all(producer: &Producer, first_offset: i64) {
    producer.blocking_ready(SOON).expect("the cluster answers");
    let orders = producer.topic("orders").expect("a name");
    assert_eq!(orders.blocking_ready(SOON), Ok(1));
    let offset = |outcome| match outcome {
        Outcome::Written(at) => at.offset.expect("told"),
        other => panic!("{other:?}"),
    };
    assert_eq!(offset(orders.blocking_send("one").expect("accepted").blocking_wait()), first_offset);
    let two = orders.blocking_send_batch(["two", "three"]).expect("accepted");
    assert_eq!(two.into_iter().map(|delivery| offset(delivery.blocking_wait())).max(), Some(first_offset + 2));
    let permit = orders.blocking_reserve(100, SOON).expect("there is room");
    assert_eq!(offset(permit.send("four").expect("has its room").blocking_wait()), first_offset + 3);
    let permit = orders.blocking_reserve_for("key", 100, SOON).expect("there is room");
    assert_eq!(offset(permit.send(("key", "five")).expect("has its room").blocking_wait()), first_offset + 4);
    orders.blocking_post("six").expect("accepted");
    let tally = producer.blocking_flush(SOON);
    // None if it was written before the call.
    assert!(tally.written <= 1 && tally.records() == tally.written, "{tally:?}");
}

#[test]
fn a_thread_without_a_runtime_has_every_call() {
    let broker = Steered::start(1, 1);
    let producer = Producer::new(ProducerConfig::new(&broker.bootstrap)).expect("is built");
    use_all(&producer, 0);
    assert_eq!(producer.blocking_close(SOON).records(), 0);
    assert_eq!(producer.blocking_ready(SOON), Err(ReadyError::Closed));
    let orders = producer.topic("orders").expect("a name");
    assert_eq!(orders.blocking_send("late").expect_err("is closed").reason(), &SendRefused::Closed);
    assert_eq!(orders.blocking_reserve(1, SOON).expect_err("is closed").reason(), &SendRefused::Closed);
    assert_eq!(orders.blocking_reserve_for("key", 1, SOON).expect_err("is closed").reason(), &SendRefused::Closed);
}

/// The producer has a thread of its own, so nobody waits for the runtime that is held up.
#[test]
fn inside_a_runtime_they_work() {
    let broker = Steered::start(1, 1);
    let producer = Producer::new(ProducerConfig::new(&broker.bootstrap)).expect("is built");
    for (place, runtime) in [current_thread(), multi_thread()].into_iter().enumerate() {
        runtime.block_on(async { use_all(&producer, 6 * place as i64) });
    }
}

/// They would hold up the very task that they wait for.
#[test]
fn inside_the_runtime_that_serves_the_producer_they_panic_and_say_why() {
    let broker = Steered::start(1, 1);
    for runtime in [current_thread(), multi_thread()] {
        let config = ProducerConfig::new(&broker.bootstrap).runtime(runtime.handle().clone());
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        runtime.block_on(async {
            let calls: [&dyn Fn(); 4] = [
                &|| drop(producer.blocking_ready(SOON)),
                &|| drop(orders.blocking_send("v")),
                &|| assert_eq!(producer.blocking_flush(SOON).records(), 0),
                &|| assert_eq!(producer.blocking_close(SOON).records(), 0),
            ];
            for call in calls {
                let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it would wait for ever");
                let said = panic.downcast_ref::<String>().cloned();
                let said =
                    said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).expect("a text");
                assert!(said.contains("runtime"), "{said}");
            }
        });
    }
}

#[test]
fn threads_beside_the_runtime_that_serves_the_producer_may_wait() {
    let broker = Steered::start(1, 1);
    let runtime = multi_thread();
    let config = ProducerConfig::new(&broker.bootstrap).runtime(runtime.handle().clone());
    let producer = Producer::new(config).expect("is built");
    use_all(&producer, 0);
    runtime.block_on(async {
        let producer = producer.clone();
        tokio::task::spawn_blocking(move || use_all(&producer, 6)).await.expect("no panic");
    });
}

/// Even on the runtime that would have to send it, an outcome is told at the deadline: those have a thread of their own.
#[test]
fn an_outcome_is_waited_for_at_most_until_its_deadline() {
    let broker = Steered::start(1, 1);
    let runtime = current_thread();
    let config = ProducerConfig::new(&broker.bootstrap).runtime(runtime.handle().clone());
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    runtime.block_on(async {
        orders.ready(SOON).await.expect("is there");
        let delivery = orders.try_send(Record::value("v").deadline(Duration::from_millis(50))).expect("accepted");
        let outcome = delivery.blocking_wait();
        assert!(
            matches!(outcome, Outcome::NotWritten(Because { reason: NotWritten::DeadlinePassed, .. })),
            "{outcome:?}"
        );
    });
}

#[test]
fn a_fate_can_be_waited_for() {
    let broker = Steered::start(1, 1);
    let config = ProducerConfig::new(&broker.bootstrap).request_timeout(Duration::from_millis(2100));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    orders.blocking_ready(SOON).expect("is there");
    broker.keep_back(ApiKey::PRODUCE);
    let delivery = orders.blocking_send(Record::value("v").deadline(Duration::from_millis(200))).expect("accepted");
    let error = delivery.blocking_wait().into_result().expect_err("nobody answers");
    assert!(!error.is_safe_to_resend());
    assert!(
        error.to_string().starts_with("unknown: sent, and no conclusive answer before its deadline (1 attempt"),
        "{error}"
    );
    broker.answer_all();
    let fate = error.into_fate().expect("it is in doubt");
    let settled = fate.blocking_wait();
    assert!(matches!(settled, Settlement::Written(at) if at.offset == Some(0)), "{settled:?}");
}
