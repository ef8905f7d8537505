//! One record with a budget of one second, as a service with its own deadline would send it.
//!
//! `cargo run --example one_second -- localhost:9092 orders`

use std::error::Error;
use std::time::Duration;

use milena::{Outcome, Producer, ProducerConfig, Record};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "orders".to_owned());
    // Any executor will do; the producer has a thread of its own.
    tokio::runtime::Builder::new_current_thread().build()?.block_on(send(&servers, &topic))
}

async fn send(servers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let budget = Duration::from_secs(1);
    let producer = Producer::new(ProducerConfig::new(servers).deadline(budget))?;
    // At start-up, where there is more time: an error here names the addresses and what is wrong with each.
    producer.ready(Duration::from_secs(5)).await?;
    let orders = producer.topic(topic)?;
    let delivery = orders.send(Record::value("4 tea, 1 coffee").key("table 7")).await.map_err(|e| e.to_string())?;
    match delivery.await {
        Outcome::Written(at) => println!("written: partition {}, offset {:?}", at.partition, at.offset),
        Outcome::NotWritten(why) => println!("{why}; it is safe to send it again"),
        Outcome::Unknown(fate) => {
            println!("sent, but not answered within {budget:?}: the request is answered now, the truth follows");
            println!("{:?}", fate.await);
        }
    }
    producer.close(Duration::from_secs(5)).await;
    Ok(())
}
