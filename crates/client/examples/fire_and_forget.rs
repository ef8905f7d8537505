//! Fire and forget, with reports: nobody waits for a record, and yet none is lost without a word.
//!
//! `cargo run --example fire_and_forget -- HOST:PORT`; without an argument there is a broker in this process.
//!
//! What is worth copying: a tag tells which record a report is about; reports are read apart from sending, so sending is as
//! fast as it goes; whoever reads too slowly slows sending down, and memory stays within `buffer_memory`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use cluster::Cluster;
use milena::{Deliveries, Outcome, Producer, Record, Settlement, Tally};

pub(crate) mod cluster;

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::at(std::env::args().nth(1))?;
    let (tally, lost) = send(&cluster, 100_000)?;
    println!("{tally:?}; to be sent again: {lost:?}");
    Ok(())
}

/// Posts so many measurements; gives the count of their outcomes, and those that are certainly not written.
pub fn send(cluster: &Cluster, count: u64) -> Result<(Tally, BTreeMap<u64, String>), Box<dyn Error>> {
    let (config, deliveries) = cluster.config().deliveries(10_000);
    let producer = Producer::new(config)?;
    let reader = std::thread::spawn(move || read(deliveries));
    let measurements = producer.topic("measurements")?;
    for tag in 0..count {
        let value = format!("{{\"measured\":{tag}}}");
        // Waits only for room; the outcome comes to the reader.
        measurements.blocking_post(Record::from(value).tag(tag)).map_err(|error| error.to_string())?;
    }
    producer.blocking_close(Duration::from_secs(30));
    // The stream ends when the last handle is gone and every report was read.
    drop((producer, measurements));
    reader.join().map_err(|_| "the reader of reports has panicked".into())
}

fn read(mut deliveries: Deliveries) -> (Tally, BTreeMap<u64, String>) {
    let (mut tally, mut lost) = (Tally::default(), BTreeMap::new());
    while let Some(report) = deliveries.blocking_next() {
        let tag = report.tag();
        match report.into_outcome() {
            Outcome::Written(_) => tally.written += 1,
            Outcome::NotWritten(why) => {
                tally.not_written += 1;
                lost.insert(tag, why.to_string());
            }
            // It is known later; after the producer has ended at the latest.
            Outcome::Unknown(fate) => match fate.blocking_wait() {
                Settlement::Written(_) => tally.written += 1,
                Settlement::NotWritten(why) => {
                    tally.not_written += 1;
                    lost.insert(tag, why.to_string());
                }
                Settlement::Undetermined(_) => tally.unknown += 1,
            },
        }
    }
    (tally, lost)
}
