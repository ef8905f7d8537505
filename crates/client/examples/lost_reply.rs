//! A lost reply, by the clock: a broker writes a record, its answer never comes, and the caller learns the truth all the same.
//!
//! `cargo run --example lost_reply`; the broker is in this process, because it must misbehave when it is told to.
//!
//! What is worth copying: an unknown outcome is neither a failure nor a success. Its fate is awaited apart from the caller, who
//! was answered in time, and decides whether the record is to be sent again.

use std::error::Error;
use std::time::{Duration, Instant};

use milena::{AfterDeadline, Outcome, Producer, ProducerConfig, Record, Settlement};
use milena_broker::{ApiKey, Broker, BrokerOptions, Fault};

/// What the caller has.
const BUDGET: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (what, fault) in [
        ("the broker writes the record, and its answer is lost", Fault::lose_answer()),
        ("the request is lost, and the broker never sees the record", Fault::close_before()),
    ] {
        for policy in [AfterDeadline::Complete, AfterDeadline::Withdraw] {
            println!("\n{what}; after the deadline: {policy:?}");
            let begun = Instant::now();
            let tell = |line: String| println!("{:>6} ms  {line}", begun.elapsed().as_millis());
            let (_, log) = runtime.block_on(lose(fault.clone(), policy, tell))?;
            println!("           the log: {log:?}");
        }
    }
    Ok(())
}

/// What becomes of a record whose answer is lost, and what is in the log in the end.
pub async fn lose(
    fault: Fault,
    policy: AfterDeadline,
    tell: impl Fn(String),
) -> Result<(Settlement, Vec<String>), Box<dyn Error>> {
    let broker = Broker::start(BrokerOptions::default())?;
    broker.create_topic("orders", 1)?;
    // A connection that says nothing is left after `request_timeout`; the default is 10 s, and an example is short.
    let config = ProducerConfig::new(broker.bootstrap())
        .deadline(BUDGET)
        .after_deadline(policy)
        .produce_timeout(BUDGET)
        .request_timeout(BUDGET + Duration::from_millis(200));
    let producer = Producer::new(config)?;
    let orders = producer.topic("orders")?;
    orders.ready(Duration::from_secs(10)).await?;
    let before = orders.send(Record::value("1 soup").deadline(PATIENCE)).await.map_err(|error| error.to_string())?;
    before.await.into_result()?;

    let fault = broker.faults().add(fault.api(ApiKey::PRODUCE));
    tell("\"4 tea\" is sent".to_owned());
    let delivery = orders.send("4 tea").await.map_err(|error| error.to_string())?;
    let fate = match delivery.await {
        Outcome::Unknown(fate) => fate,
        other => return Err(format!("it cannot be known: {other:?}").into()),
    };
    tell(format!("the caller is told: unknown ({})", fate.cause()));
    broker.faults().remove(fault);

    // Life goes on: the next record of the partition keeps late copies of the first one out.
    let next = orders.send(Record::value("1 juice").deadline(PATIENCE)).await.map_err(|error| error.to_string())?;
    let at = next.await.into_result()?;
    tell(format!("\"1 juice\" is written at offset {:?}", at.offset));
    let settlement = fate.await;
    tell(match settlement {
        Settlement::Written(at) => {
            format!("\"4 tea\" had been written, at offset {:?}: not to be sent again", at.offset)
        }
        Settlement::NotWritten(why) => format!("\"4 tea\" is {why}: safe to send again"),
        Settlement::Undetermined(why) => format!("\"4 tea\" stays in doubt: {why}"),
    });
    let records = broker.log("orders", 0)?.records.into_iter();
    let text = |value: Option<bytes::Bytes>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    Ok((settlement, records.map(|record| text(record.value)).collect()))
}

/// Of records that are not what this is about.
const PATIENCE: Duration = Duration::from_secs(30);
