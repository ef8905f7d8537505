//! From one log into another, in order, fast, and without a gap: a step is taken only when all before it are written.
//!
//! `cargo run --example ordered_pipeline -- HOST:PORT`; without an argument there is a broker in this process.
//!
//! What is worth copying: records are sent in windows and not one by one, so that a round trip is paid once for many; the
//! position in the source moves over what is proven written and no further; an unknown outcome is waited for, not guessed.

use std::error::Error;
use std::time::Duration;

use cluster::Cluster;
use milena::{Delivery, DeliveryError, Producer, Record, SettlementError, Topic};

pub(crate) mod cluster;

/// Records on their way at most.
const WINDOW: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::at(std::env::args().nth(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let producer = Producer::new(cluster.config())?;
        let events = producer.topic("events")?;
        let source: Vec<String> = (0..2_000).map(|number| format!("event {number}")).collect();
        let written = copy(&source, 0, &events).await?;
        println!("{written} of {} events are written, in order", source.len());
        producer.close(Duration::from_secs(5)).await;
        Ok(())
    })
}

/// Copies from this position on; gives the position behind the last event that is proven written with all before it. A
/// restart begins there.
pub async fn copy(source: &[String], from: usize, events: &Topic) -> Result<usize, Box<dyn Error>> {
    let mut position = from;
    while position < source.len() {
        let window = &source[position..source.len().min(position + WINDOW)];
        // One key, so one partition, so one order.
        let records = window.iter().map(|event| Record::value(event).key("one order"));
        let (deliveries, refused) = match events.send_batch(records).await {
            Ok(deliveries) => (deliveries, None),
            Err(error) => {
                let (accepted, refused, _) = error.into_parts();
                (accepted, Some((refused.is_retriable(), refused.to_string())))
            }
        };
        let sent = deliveries.len();
        let written = written_without_gap(deliveries).await;
        position += written;
        if written < sent {
            // What stands behind the gap may be written already. To begin at the gap again keeps everything, and may
            // write those twice; to stop leaves the decision to somebody who knows what the events mean.
            return Err(format!("stopped at event {position}: it is not written").into());
        }
        match refused {
            None => {}
            Some((true, why)) => {
                eprintln!("a pause at event {position}: {why}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Some((false, why)) => return Err(format!("stopped at event {position}: {why}").into()),
        }
    }
    Ok(position)
}

/// How many of these are written, up to the first that is not.
async fn written_without_gap(deliveries: Vec<Delivery>) -> usize {
    let mut written = 0;
    for delivery in deliveries {
        match delivery.await.into_result() {
            Ok(_) => written += 1,
            Err(DeliveryError::NotWritten(why)) => {
                eprintln!("{why}");
                break;
            }
            // Its deadline is over, and its batch still on its way: the fate ends with certainty, or says why it cannot.
            Err(DeliveryError::Unknown(fate)) => match fate.await.into_result() {
                Ok(_) => written += 1,
                Err(why @ (SettlementError::NotWritten(_) | SettlementError::Undetermined(_))) => {
                    eprintln!("{why}");
                    break;
                }
            },
        }
    }
    written
}
