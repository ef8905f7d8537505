//! A request has a second, whatever Kafka does, and nothing of it happens later: what is not written by then is withdrawn.
//!
//! `cargo run --example request_budget`; the broker is in this process, and freezes for a while.
//!
//! What is worth copying: what is left of the request's budget is the record's deadline. Each outcome has its own answer. What is
//! unknown is settled apart from the request, and booked when it is known; `Withdraw` makes "not written" stay true.

use std::error::Error;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use milena::{AfterDeadline, DeliveryError, Producer, ProducerConfig, Record, Settlement, Topic};
use milena_broker::{Broker, BrokerOptions};

/// Of a request, from its arrival to its answer.
const BUDGET: Duration = Duration::from_secs(1);

/// Of it, for what is not Kafka: reading the request, writing the answer.
const REST: Duration = Duration::from_millis(50);

/// What the one who asked is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the log.
    Done,
    /// It is not, and will not be: to ask again is safe.
    TryAgain,
    /// Not known yet: it is booked once it is, and not to be asked for again before.
    Pending,
}

fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start(BrokerOptions::default())?;
    broker.create_topic("payments", 1)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let producer = Producer::new(config(broker.bootstrap()))?;
        let payments = producer.topic("payments")?;
        payments.ready(Duration::from_secs(10)).await?;
        let (book, booked) = std::sync::mpsc::channel();
        for (payment, is_frozen) in [("EUR 12.50", false), ("EUR 3.20", true), ("EUR 7.10", false)] {
            if is_frozen {
                broker.freeze(1)?;
            }
            let arrived = Instant::now();
            let answer = pay(&payments, payment, arrived, &book).await;
            println!("{payment}: {answer:?} after {} ms", arrived.elapsed().as_millis());
            if is_frozen {
                broker.thaw(1)?;
            }
        }
        let (payment, settlement) = booked.recv()?;
        println!("{payment}: {settlement:?}");
        producer.close(Duration::from_secs(5)).await;
        Ok(())
    })
}

/// Brokers that say nothing for longer than the budget are left, and what they were asked is then found out about.
pub fn config(bootstrap: &str) -> ProducerConfig {
    ProducerConfig::new(bootstrap)
        .deadline(BUDGET - REST)
        .after_deadline(AfterDeadline::Withdraw)
        .produce_timeout(BUDGET)
        .request_timeout(BUDGET + BUDGET)
        .fence_with("nothing was paid: this record ends a doubt")
}

/// Never takes longer than the budget.
pub async fn pay(
    payments: &Topic,
    payment: &'static str,
    arrived: Instant,
    book: &Sender<(&'static str, Settlement)>,
) -> Answer {
    let left = (BUDGET - REST).saturating_sub(arrived.elapsed());
    let delivery = match payments.send(Record::value(payment).deadline(left)).await {
        Ok(delivery) => delivery,
        // No room, or no broker, within the budget: nothing was sent.
        Err(_) => return Answer::TryAgain,
    };
    match delivery.await.into_result() {
        Ok(_) => Answer::Done,
        Err(DeliveryError::NotWritten(_)) => Answer::TryAgain,
        Err(DeliveryError::Unknown(fate)) => {
            let book = book.clone();
            tokio::spawn(async move {
                // Nobody may be there any more to whom it matters.
                let _ = book.send((payment, fate.await));
            });
            Answer::Pending
        }
    }
}
