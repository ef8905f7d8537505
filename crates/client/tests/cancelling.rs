//! A record is cancelled at any moment: what its caller is told then is true for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::unstable::Admin;
use milena::{Because, NotWritten, Outcome, Producer, ProducerConfig, Record, Settlement};
use milena_wire::ApiKey;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

fn is_cancelled(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotWritten(Because { reason: NotWritten::Cancelled, .. }))
}

/// The offset of every value.
fn log(broker: &Steered) -> BTreeMap<Vec<u8>, i64> {
    run(async {
        let servers: Vec<String> = broker.bootstrap.split(',').map(str::to_owned).collect();
        let mut admin = Admin::connect(&servers, "test", SOON).await.expect("connects");
        let mut reader = admin.reader("orders", 0);
        let end = reader.offsets().await.expect("are told").latest;
        reader.seek(0);
        let mut found = BTreeMap::new();
        while reader.position() < end {
            for batch in reader.read(end).await.expect("is read") {
                for record in batch.records() {
                    let record = record.expect("is whole");
                    let value = record.value.expect("no tombstone").to_vec();
                    assert!(found.insert(value, record.offset).is_none(), "written twice");
                }
            }
        }
        found
    })
}

#[test]
fn before_the_claim_it_is_not_sent_and_after_it_its_fate_goes_on() {
    let broker = Steered::start(1, 1);
    let config = ProducerConfig::new(&broker.bootstrap).request_timeout(Duration::from_millis(2100));
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(async {
        orders.ready(SOON).await.expect("is there");
        broker.keep_back(ApiKey::PRODUCE);
        let sent = orders.try_send(Record::value("sent")).expect("accepted");
        broker.wait_until_kept_back(1);
        let pending = orders.try_send(Record::value("pending")).expect("accepted");
        producer.flush(Duration::ZERO).await;
        let filling = orders.try_send(Record::value("filling")).expect("accepted");
        for delivery in [&sent, &pending, &filling] {
            delivery.cancel();
            delivery.cancel();
        }
        assert!(is_cancelled(&pending.await) && is_cancelled(&filling.await));
        let Outcome::Unknown(fate) = sent.await else { panic!("it was claimed") };
        assert_eq!(fate.cause().attempts, 1);
        assert!(fate.try_settlement().is_none());
        broker.answer_all();
        assert!(matches!(fate.await, Settlement::Written(at) if at.offset == Some(0)));
        let late = orders.try_send(Record::value("late")).expect("accepted");
        producer.flush(SOON).await;
        late.cancel();
        assert!(matches!(late.await, Outcome::Written(at) if at.offset == Some(1)), "its outcome was given before");
    });
    assert_eq!(log(&broker), BTreeMap::from([(b"sent".to_vec(), 0), (b"late".to_vec(), 1)]));
}

/// Records are cancelled while their batches fill, are claimed, sent and answered; the log knows the truth.
#[test]
fn at_any_moment_what_is_told_is_true() {
    let broker = Steered::start(1, 1);
    let config = ProducerConfig::new(&broker.bootstrap).linger(Duration::from_micros(300)).batch_size(1_000);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let (accepted, deliveries) = std::sync::mpsc::channel();
    let canceller = std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (number, delivery) in deliveries {
            let delivery: milena::Delivery = delivery;
            if number % 3 != 0 {
                delivery.cancel();
            }
            kept.push((number, delivery));
        }
        kept
    });
    for number in 0..20_000u32 {
        let value = number.to_be_bytes();
        let delivery = run(orders.send(Record::value(&value))).expect("accepted");
        accepted.send((number, delivery)).expect("somebody cancels");
    }
    drop(accepted);
    let kept = canceller.join().expect("no panic");
    run(producer.close(SOON));
    let log = log(&broker);
    let (mut cancelled, mut in_doubt, mut written) = (0, 0, 0);
    for (number, delivery) in kept {
        let found = log.get(&number.to_be_bytes()[..]).copied();
        match run(delivery) {
            Outcome::Written(at) => {
                written += 1;
                assert_eq!(at.offset, found, "record {number}");
            }
            outcome @ Outcome::NotWritten(_) => {
                cancelled += 1;
                assert!(is_cancelled(&outcome) && number % 3 != 0, "record {number}: {outcome:?}");
                assert_eq!(found, None, "record {number} was told not to be written");
            }
            Outcome::Unknown(fate) => {
                in_doubt += 1;
                let settlement = run(fate);
                assert!(
                    matches!(settlement, Settlement::Written(at) if at.offset == found),
                    "{number}: {settlement:?}"
                );
            }
        }
    }
    println!(
        "measured: cancelled at any moment: {cancelled} withdrawn, {in_doubt} in doubt and settled, {written} written"
    );
    assert!(cancelled > 100 && written > 100, "{cancelled} {in_doubt} {written}");
}
