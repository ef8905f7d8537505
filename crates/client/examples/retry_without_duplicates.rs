//! Sends until it is written, and never twice: a retry of the application's own that knows when it may.
//!
//! `cargo run --example retry_without_duplicates`; the broker is in this process, and loses requests and answers.
//!
//! What is worth copying: "not written" is sent again, "unknown" never is before its fate is known. The producer itself sends
//! again for as long as the deadline lasts; this loop is for what comes after it.

use std::error::Error;
use std::time::Duration;

use milena::{AfterDeadline, Outcome, Producer, ProducerConfig, Settlement, Topic, Written};
use milena_broker::{ApiKey, Broker, BrokerOptions, Fault};

fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start(BrokerOptions::default())?;
    broker.create_topic("orders", 1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let producer = Producer::new(config(broker.bootstrap()))?;
        let orders = producer.topic("orders")?;
        orders.ready(Duration::from_secs(10)).await?;
        for (order, fault) in [
            ("1 soup", None),
            ("4 tea", Some(Fault::lose_answer())),
            ("1 juice", Some(Fault::close_before().lasting(Duration::from_millis(800)))),
        ] {
            let fault = fault.map(|fault| broker.faults().add(fault.api(ApiKey::PRODUCE).times(FAULTS)));
            let (at, sent) = write_once(&orders, order, 5).await?;
            println!("{order}: written at offset {:?}, sent {sent} times by this program", at.offset);
            fault.map(|fault| broker.faults().remove(fault));
        }
        producer.close(Duration::from_secs(5)).await;
        let records = broker.log("orders", 0)?.records;
        let told = records.iter().filter_map(|record| record.value.as_deref()).map(String::from_utf8_lossy);
        println!("the log: {:?}", told.collect::<Vec<_>>());
        Ok(())
    })
}

/// As many as a record's time is long enough for.
const FAULTS: u32 = 3;

/// A doubt is to be settled soon, so nothing is sent after the deadline, and a fence is there where no other record is.
pub fn config(bootstrap: &str) -> ProducerConfig {
    ProducerConfig::new(bootstrap)
        .deadline(Duration::from_millis(500))
        .after_deadline(AfterDeadline::Withdraw)
        .fence_with(FENCE)
        .produce_timeout(Duration::from_millis(500))
        .request_timeout(Duration::from_millis(600))
}

/// Readers skip it.
pub const FENCE: &str = "fence";

/// Where it is, and how often it was given to the producer. An error where it cannot be known, or not be written.
pub async fn write_once(orders: &Topic, order: &str, times_max: u32) -> Result<(Written, u32), Box<dyn Error>> {
    let mut last = None;
    for sent in 1..=times_max {
        let delivery = match orders.send(order).await {
            Ok(delivery) => delivery,
            Err(refused) if refused.is_retriable() => {
                last = Some(refused.to_string());
                continue;
            }
            Err(refused) => return Err(refused.to_string().into()),
        };
        let settlement = match delivery.await {
            Outcome::Written(at) => return Ok((at, sent)),
            Outcome::NotWritten(why) => Settlement::NotWritten(why),
            // To send it now might write it twice.
            Outcome::Unknown(fate) => fate.await,
        };
        match settlement {
            Settlement::Written(at) => return Ok((at, sent)),
            Settlement::NotWritten(why) => last = Some(why.to_string()),
            // Whoever must not write it twice has to look for it; the reason says where.
            Settlement::Undetermined(why) => return Err(why.to_string().into()),
        }
    }
    Err(last.unwrap_or_else(|| "it was never sent".to_owned()).into())
}
