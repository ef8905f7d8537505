//! Callers who wait: for a topic, for room, until their deadlines.

use std::pin::pin;

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use milena::{Because, NotWritten, Outcome, Producer, ProducerConfig, Record};
use tight_lipped::TightLipped;

#[allow(dead_code, reason = "shared with tests that keep answers back")]
mod tight_lipped;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// The one who came when the partitions were just known found nobody waiting for room and went first.
#[test]
fn who_waits_for_a_topic_is_not_overtaken_when_it_arrives() {
    let broker = TightLipped::start();
    let producer = Producer::new(ProducerConfig::new(&broker.address)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let mut first = pin!(orders.send(Record::value("first")));
    assert!(poll_once(first.as_mut(), Waker::noop()).is_pending(), "no partitions are known yet");
    run(orders.ready(SOON)).expect("is there");
    let mut second = pin!(orders.send(Record::value("second")));
    assert!(poll_once(second.as_mut(), Waker::noop()).is_pending(), "the first is served first");
    let (first, second) = run(async { (first.await.expect("accepted"), second.await.expect("accepted")) });
    let offset = |outcome| match outcome {
        Outcome::Written(at) => at.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(offset(run(first)), Some(0));
    assert_eq!(offset(run(second)), Some(1));
}

/// The deadline counted from the end of the wait, so that an outcome could take twice as long as promised.
#[test]
fn a_deadline_counts_from_the_call_and_not_from_the_end_of_the_wait() {
    let broker = TightLipped::start();
    let deadline = Duration::from_millis(400);
    let config = ProducerConfig::new(&broker.address).deadline(deadline).linger(deadline / 2);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let start = Instant::now();
    let mut send = pin!(orders.send(Record::value("v")));
    assert!(poll_once(send.as_mut(), Waker::noop()).is_pending(), "no partitions are known yet");
    run(async {
        orders.ready(SOON).await.expect("is there");
        // Nobody polls the call for most of its deadline.
        tokio::time::sleep_until((start + deadline * 3 / 4).into()).await;
        let delivery = send.await.expect("accepted");
        let accepted = Instant::now();
        assert!(matches!(delivery.await, Outcome::NotWritten(Because { reason: NotWritten::DeadlinePassed, .. })));
        assert!(accepted.elapsed() < deadline, "{:?} after the end of the wait", accepted.elapsed());
    });
}

struct Sleeper;

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {}
}

/// The driver's clock kept the waker, and with it the task, until the deadline: seconds of calls under pressure.
#[test]
fn a_call_that_was_served_leaves_no_waker_behind() {
    let broker = TightLipped::start();
    let producer = Producer::new(ProducerConfig::new(&broker.address)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let sleeper = Arc::new(Sleeper);
    let waker = Waker::from(Arc::clone(&sleeper));
    {
        let mut send = pin!(orders.send(Record::value("v")));
        assert!(poll_once(send.as_mut(), &waker).is_pending(), "no partitions are known yet");
        run(orders.ready(SOON)).expect("is there");
        assert!(poll_once(send.as_mut(), &waker).is_ready());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&sleeper), 1);
}
