//! A process is killed while its orders are on their way; the next one tells which of them were written.
//!
//! `cargo run --example settle_after_a_crash`; the broker is in this process, the shop in another one, which is killed.
//!
//! What is worth copying: every producer has a journal of its own, and whoever starts settles what the last one left before a
//! producer is built. Orders are numbered in the order in which they were sent, so a count of records is enough to know which.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use milena::{BatchFate, Producer, ProducerConfig, Settle, SettledJournal};
use milena_broker::{ApiKey, Broker, BrokerOptions, Fault};

fn main() -> Result<(), Box<dyn Error>> {
    if let [_, bootstrap, journal] = &std::env::args().collect::<Vec<_>>()[..] {
        return shop(bootstrap, Path::new(journal));
    }
    let journal = std::env::temp_dir().join(format!("settle-after-a-crash-{}.fates", std::process::id()));
    let broker = Broker::start(BrokerOptions::default())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(broker.bootstrap()).arg(&journal);
    crash(&broker, command)?;
    let settled = settle(broker.bootstrap(), &journal)?;
    for batch in &settled.batches {
        println!("{} order(s) of the batch with sequence {}: {}", batch.count, batch.sequence, batch.fate);
    }
    let records = broker.log("orders", 0)?.records;
    let told = records.iter().filter_map(|record| record.value.as_deref()).map(String::from_utf8_lossy);
    println!("the log: {:?}", told.collect::<Vec<_>>());
    std::fs::remove_file(journal)?;
    Ok(())
}

/// The process that is killed: it sends an order, waits for it, and then sends two more.
pub fn shop(bootstrap: &str, journal: &Path) -> Result<(), Box<dyn Error>> {
    let producer = Producer::new(ProducerConfig::new(bootstrap).fate_journal(journal))?;
    let orders = producer.topic("orders")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        orders.ready(Duration::from_secs(30)).await?;
        for order in ["1 soup", "4 tea", "1 juice"] {
            let outcome = orders.send(order).await?.await;
            println!("{order}: {outcome:?}");
        }
        Ok(())
    })
}

/// The second order is written and its answer lost. By then the shop is killed.
pub fn crash(broker: &Broker, mut shop: Command) -> Result<(), Box<dyn Error>> {
    broker.create_topic("orders", 1)?;
    let lost = broker.faults().add(Fault::lose_answer().api(ApiKey::PRODUCE).skip(1));
    let mut shop = shop.stdout(Stdio::null()).spawn()?;
    let is_sent = broker.faults().wait_for_hits(lost, 1, Duration::from_secs(60));
    shop.kill()?;
    shop.wait()?;
    broker.faults().remove(lost);
    if is_sent { Ok(()) } else { Err("the shop has sent nothing".into()) }
}

/// What the next process does first. Readers skip the fence.
pub fn settle(bootstrap: &str, journal: &Path) -> Result<SettledJournal, Box<dyn Error>> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let settled = runtime.block_on(Settle::new(bootstrap, journal).fence_with("fence").run())?;
    for batch in &settled.batches {
        match batch.fate {
            // Safe to send again, under a new number.
            BatchFate::NotWritten => println!("to be sent again: {} order(s)", batch.count),
            BatchFate::Written { .. } => {}
            _ => println!("to be looked at: {} order(s) of topic {}", batch.count, batch.topic),
        }
    }
    println!("settled {} batch(es) in {:?}", settled.batches.len(), begun.elapsed());
    Ok(settled)
}
