//! Reads orders line by line, sends them, and tells what became of each.

use std::error::Error;
use std::time::Duration;

use milena::{Outcome, Producer, ProducerConfig, Record, Settlement, Topic};

fn main() -> Result<(), Box<dyn Error>> {
    let servers = std::env::args().nth(1).ok_or("name a broker: HOST:PORT")?;
    let producer = Producer::new(ProducerConfig::new(servers).deadline(Duration::from_secs(1)))?;
    let orders = producer.topic("orders")?;
    orders.blocking_ready(Duration::from_secs(5))?;
    for line in std::io::stdin().lines() {
        place(&orders, &line?, |what| println!("{what}"));
    }
    producer.blocking_close(Duration::from_secs(5));
    Ok(())
}

/// Sends an order, and tells what became of it.
pub fn place(orders: &Topic, order: &str, tell: impl Fn(String)) {
    let delivery = match orders.blocking_send(Record::value(order).key("table 7")) {
        Ok(delivery) => delivery,
        Err(refused) => return tell(format!("not accepted: {refused}")),
    };
    match delivery.blocking_wait() {
        Outcome::Written(at) => tell(format!("written to partition {}, offset {:?}", at.partition, at.offset)),
        Outcome::NotWritten(why) => tell(format!("{why}; safe to send again")),
        Outcome::Unknown(fate) => {
            tell("sent, and not answered in time".to_owned());
            match fate.blocking_wait() {
                Settlement::Written(at) => tell(format!("now written to partition {}", at.partition)),
                Settlement::NotWritten(why) => tell(format!("now {why}; safe to send again")),
                Settlement::Undetermined(why) => tell(format!("in doubt for good: {why}")),
            }
        }
    }
}
