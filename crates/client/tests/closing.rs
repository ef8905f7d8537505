//! However a producer ends, every record has its outcome, once, and the counts say so.

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use milena::{
    AttemptError, Because, NotWritten, Outcome, Producer, ProducerConfig, Record, SendRefused, Settlement, Tally,
    Undetermined,
};
use milena_broker::{PartitionIndex, ProduceFault};
use milena_wire::{ApiKey, ErrorCode};
use punctual::Watchdog;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod punctual;
#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

/// What the handler was told of a posted record.
type Reported = (u64, String);

fn reporting(
    broker: &Steered,
    config: impl FnOnce(ProducerConfig) -> ProducerConfig,
) -> (Producer, mpsc::Receiver<Reported>) {
    let (sender, reports) = mpsc::channel();
    let handler = move |report: &milena::DeliveryReport<'_>| {
        let told = match report.outcome() {
            Outcome::Written(_) => "written".to_owned(),
            Outcome::NotWritten(why) => format!("{:?}", why.reason),
            Outcome::Unknown(_) => "unknown".to_owned(),
        };
        sender.send((report.tag(), told)).expect("the test listens");
    };
    let producer =
        Producer::new(config(ProducerConfig::new(&broker.bootstrap)).on_delivery(handler)).expect("is built");
    (producer, reports)
}

/// Until the producer is gone.
fn all(reports: mpsc::Receiver<Reported>) -> Vec<(u64, String)> {
    let mut all: Vec<_> = reports.into_iter().collect();
    all.sort();
    all
}

fn told(expected: &[(u64, &str)]) -> Vec<Reported> {
    expected.iter().map(|(tag, told)| (*tag, (*told).to_owned())).collect()
}

/// One batch is sent and not answered, one waits behind it, one fills; a caller waits for a topic.
#[test]
fn close_tells_everybody_whatever_their_records_wait_for() {
    let broker = Steered::start(1, 1);
    let (producer, reports) = reporting(&broker, |config| config.batch_size(20_000));
    let orders = producer.topic("orders").expect("a name");
    let unknown = producer.topic("unknown").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        broker.keep_back(ApiKey::PRODUCE);
        let big = [7; 15_000];
        let sent = orders.try_send(Record::value(&big)).expect("accepted");
        orders.post(Record::value("sent too").tag(1)).expect("accepted");
        producer.flush(Duration::ZERO).await;
        broker.wait_until_kept_back(1);
        let waiting = orders.try_send(Record::value(&big)).expect("accepted");
        orders.post(Record::value("waits too").tag(2)).expect("accepted");
        let filling = orders.try_send(Record::value(&big)).expect("accepted, in the next batch");
        orders.post(Record::value("fills too").tag(3)).expect("accepted");
        let mut caller = pin!(unknown.send(Record::value("nowhere")));
        assert!(caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let tally = producer.close(Duration::from_millis(50)).await;
        assert_eq!(tally, Tally { written: 0, not_written: 4, unknown: 2 });
        let refused = caller.await.expect_err("nobody takes it any more");
        assert_eq!(refused.reason(), &SendRefused::Closed);
        for delivery in [waiting, filling] {
            assert!(matches!(delivery.await, Outcome::NotWritten(Because { reason: NotWritten::Closed, .. })));
        }
        let Outcome::Unknown(fate) = sent.await else { panic!("it was sent") };
        let Settlement::Undetermined(why) = fate.await else { panic!("nobody answered") };
        assert_eq!((why.reason, why.cause.attempts), (Undetermined::ClosedBeforeProof, 1));
    });
    drop((producer, orders, unknown));
    assert_eq!(all(reports), told(&[(1, "unknown"), (2, "Closed"), (3, "Closed")]));
}

/// It ended `NotWritten(Closed)`, and nobody learned that the cluster had refused it all the time.
#[test]
fn a_record_that_was_refused_until_the_close_says_so() {
    let broker = Steered::start(1, 1);
    // After the first refusal nothing is on its way.
    let minute = Duration::from_secs(60);
    let (producer, reports) = reporting(&broker, |config| config.retry_backoff(minute, minute));
    let orders = producer.topic("orders").expect("a name");
    let code = ErrorCode::NOT_ENOUGH_REPLICAS;
    broker.steer(|cluster, _| {
        cluster.plant("orders", PartitionIndex(0), ProduceFault { code, appended: false, times: u32::MAX });
    });
    run(async {
        orders.ready(SOON).await.expect("is there");
        let delivery = orders.try_send(Record::value("v")).expect("accepted");
        let tally = producer.close(Duration::from_secs(1)).await;
        assert_eq!(tally, Tally { not_written: 1, ..Tally::default() });
        let Outcome::NotWritten(why) = delivery.await else { panic!("every attempt was refused") };
        assert_eq!(why.reason, NotWritten::Closed);
        assert!(why.cause.attempts >= 1, "{why}");
        assert_eq!((why.cause.node, why.cause.last_error), (Some(1), Some(AttemptError::Kafka(code.into()))));
        assert!(why.to_string().contains("node 1 last answered NOT_ENOUGH_REPLICAS"), "{why}");
    });
    drop((producer, orders));
    assert_eq!(all(reports), []);
    assert_eq!(broker.records(0), 0);
}

/// Those who were released before are counted as what they were told.
#[test]
fn close_counts_those_who_left_at_their_deadlines_too() {
    let broker = Steered::start(1, 1);
    let (producer, reports) = reporting(&broker, |config| config);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        broker.keep_back(ApiKey::PRODUCE);
        let deadline = Duration::from_millis(100);
        let first = orders.try_send(Record::value("v").deadline(deadline)).expect("accepted");
        orders.post(Record::value("v").tag(1)).expect("accepted");
        broker.wait_until_kept_back(1);
        let second = orders.try_send(Record::value("v").deadline(deadline)).expect("accepted");
        orders.post(Record::value("v").tag(2)).expect("accepted");
        assert!(matches!(first.await, Outcome::Unknown(_)));
        assert!(matches!(second.await, Outcome::NotWritten(Because { reason: NotWritten::DeadlinePassed, .. })));
        let tally = producer.close(Duration::ZERO).await;
        assert_eq!(tally, Tally { written: 0, not_written: 2, unknown: 2 });
    });
    drop((producer, orders));
    assert_eq!(all(reports), told(&[(1, "unknown"), (2, "Closed")]));
}

/// The last handle goes; everybody is still told by their deadlines, and then the producer ends.
#[test]
fn without_handles_every_record_is_told_by_its_deadline() {
    let watchdog = Watchdog::start();
    let broker = Steered::start(1, 1);
    let (producer, reports) = reporting(&broker, |config| config);
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    broker.keep_back(ApiKey::PRODUCE);
    let deadlines = [300, 100].map(Duration::from_millis);
    orders.post(Record::value("sent").deadline(deadlines[0]).tag(1)).expect("accepted");
    let due_of_sent = Instant::now() + deadlines[0];
    broker.wait_until_kept_back(1);
    orders.post(Record::value("waits").deadline(deadlines[1]).tag(2)).expect("accepted");
    let due_of_waiting = Instant::now() + deadlines[1];
    // The producer's threads end with its last record, and what they waited is told only while they live.
    orders.post(Record::value("waits on").deadline(Duration::from_millis(600)).tag(3)).expect("accepted");
    drop((producer, orders));
    assert_eq!(reports.recv(), Ok((2, "DeadlinePassed".to_owned())));
    watchdog.assert_on_time(due_of_waiting, Instant::now());
    assert_eq!(reports.recv(), Ok((1, "unknown".to_owned())));
    watchdog.assert_on_time(due_of_sent, Instant::now());
    assert_eq!(reports.recv(), Ok((3, "DeadlinePassed".to_owned())));
    assert!(reports.recv().is_err(), "the producer has ended");
}
