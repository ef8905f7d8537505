//! A plain program: threads, no runtime, no `async`.
//!
//! `cargo run --example without_runtime -- HOST:PORT`; without an argument there is a broker in this process.
//!
//! What is worth copying: handles are cheap to clone for each thread; `blocking_send` waits for room only, so a thread sends on
//! and reads the outcomes behind it.

use std::error::Error;
use std::thread;
use std::time::Duration;

use cluster::Cluster;
use milena::{Outcome, Producer, Tally, Topic};

pub(crate) mod cluster;

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::at(std::env::args().nth(1))?;
    println!("{:?}", send(&cluster, 4, 1_000)?);
    Ok(())
}

/// So many threads send so many lines each; gives the count of all outcomes.
pub fn send(cluster: &Cluster, threads: u32, lines: u32) -> Result<Tally, Box<dyn Error>> {
    let producer = Producer::new(cluster.config().deadline(Duration::from_secs(10)))?;
    producer.blocking_ready(Duration::from_secs(10))?;
    let topic = producer.topic("lines")?;
    let senders: Vec<_> = (0..threads)
        .map(|number| {
            let topic = topic.clone();
            thread::spawn(move || send_lines(&topic, number, lines))
        })
        .collect();
    let mut tally = Tally::default();
    for sender in senders {
        tally += sender.join().map_err(|_| "a thread has panicked")??;
    }
    producer.blocking_close(Duration::from_secs(5));
    Ok(tally)
}

fn send_lines(topic: &Topic, thread: u32, lines: u32) -> Result<Tally, String> {
    let mut deliveries = Vec::new();
    for line in 0..lines {
        let sent = topic.blocking_send(format!("line {line} of thread {thread}"));
        deliveries.push(sent.map_err(|refused| refused.to_string())?);
    }
    let mut tally = Tally::default();
    for delivery in deliveries {
        match delivery.blocking_wait() {
            Outcome::Written(_) => tally.written += 1,
            Outcome::NotWritten(_) => tally.not_written += 1,
            Outcome::Unknown(_) => tally.unknown += 1,
        }
    }
    Ok(tally)
}
