//! The handle of a producer, and the life of its driver thread.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use milena_core::producer::outcome::Tally;
use tokio::sync::{mpsc, oneshot};

use crate::config::{ConfigError, ProducerConfig};
use crate::driver::packers::Packers;
use crate::driver::{Driver, check_runtime};
use crate::error::{InvalidTopic, ReadyError};
use crate::journal::FateJournal;
use crate::pool::ChunkPool;
use crate::report::Reporter;
use crate::shared::{Command, ProducerStats, Shared};
use crate::topic::Topic;

/// Sends records to one cluster. Clones are handles of the same producer.
///
/// A producer has a thread of its own, unless [`ProducerConfig::runtime`] says otherwise: a blocked or busy runtime of the
/// application delays no record and no outcome.
/// When the last handle is dropped ([`Topic`]s are handles too), what was accepted is still delivered until each
/// deadline; use [`Producer::close`] to wait for it.
///
/// ```
/// use milena::{Producer, ProducerConfig};
///
/// let producer = Producer::new(ProducerConfig::new("localhost:9092"))?;
/// let orders = producer.topic("orders")?;
/// let sent_elsewhere = std::thread::spawn({
///     let producer = producer.clone();
///     move || producer.topic("payments").map(|payments| payments.name().to_owned())
/// });
/// # let _ = (orders, sent_elsewhere);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Producer {
    pub(crate) handle: Arc<Handle>,
}

/// Shared by all handles of a producer.
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

/// What it has done, and not what all of its partitions hold.
impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The driver may be gone already: then there is nothing to finish.
        let _ = self.shared.commands.send(Command::Finish);
    }
}

impl Producer {
    /// Checks the configuration and starts the driver, which connects by itself. Does not wait; see [`Self::ready`].
    ///
    /// ```
    /// use milena::{Producer, ProducerConfig};
    ///
    /// // No broker has to be there yet: it is looked for until there is one.
    /// let producer = Producer::new(ProducerConfig::new("localhost:9092"))?;
    /// # let _ = producer;
    /// # Ok::<(), milena::ConfigError>(())
    /// ```
    pub fn new(config: ProducerConfig) -> Result<Self, ConfigError> {
        let settings = config.check()?;
        settings.runtime.as_ref().map_or(Ok(()), check_runtime)?;
        let pool = Arc::new(ChunkPool::new(settings.buffer_memory, settings.memory_share));
        let (commands, command_queue) = mpsc::unbounded_channel();
        let journal = settings.journal.as_deref().map(FateJournal::open).transpose().map_err(ConfigError::Journal)?;
        let shared = Arc::new(Shared::new(&settings, journal, Arc::clone(&pool), commands));
        let (reporter, report_work) = Reporter::new(pool, settings.reports.clone());
        if let Some(work) = report_work {
            spawn("milena-reports", move || work.run())?;
        }
        let runtime = settings.runtime.clone();
        let packers = Packers::start(settings.packers)?;
        let (driver, deadlines) = Driver::new(Arc::clone(&shared), settings, reporter, packers, command_queue);
        spawn("milena-deadlines", move || deadlines.run())?;
        match runtime {
            // It ends by itself, or with its runtime.
            Some(runtime) => drop(runtime.spawn(driver.run())),
            None => spawn("milena-driver", move || driver.run_here())?,
        }
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Waits until the cluster answers, at most `deadline`; the error says which addresses were tried and why each
    /// failed. It is about now: a cluster that was reached and is gone is not ready. An answer that is less than a second
    /// old counts, otherwise the cluster is asked; where the time is over before it could answer, a connection over which
    /// nothing has waited for long counts too. The error comes at most 10 ms after `deadline`, and a record that is refused
    /// then is told the same. Optional: sending needs no call of this. Dropping this future before it resolves changes
    /// nothing.
    ///
    /// ```
    /// # async fn example(producer: milena::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// if let Err(why) = producer.ready(Duration::from_secs(5)).await {
    ///     eprintln!("not yet: {why}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self, deadline: Duration) -> Result<(), ReadyError> {
        self.handle.shared().ready(None, deadline).await
    }

    /// A handle to send to this topic. Asking again for the same topic gives a handle to the same partitions. A topic that is
    /// not there is not created, unless [`ProducerConfig::allow_auto_create_topics`] says so.
    ///
    /// ```
    /// # fn example(producer: milena::Producer) -> Result<(), milena::InvalidTopic> {
    /// let orders = producer.topic("orders")?;
    /// assert!(producer.topic("no such name").is_err());
    /// # let _ = orders;
    /// # Ok(())
    /// # }
    /// ```
    pub fn topic(&self, name: &str) -> Result<Topic, InvalidTopic> {
        check_topic_name(name)?;
        let topic = self.handle.shared().topic(name);
        Ok(Topic::new(Arc::clone(&self.handle), topic))
    }

    /// Sends what is accepted without waiting for linger, and waits until every record accepted so far has its outcome,
    /// at most `deadline`. Gives how many records of the batches that were open then have which outcome; records that
    /// have none at the deadline are not counted. Dropping this future before it resolves changes nothing.
    ///
    /// ```
    /// # async fn example(producer: milena::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let tally = producer.flush(Duration::from_secs(5)).await;
    /// println!("{} written, {} not, {} in doubt", tally.written, tally.not_written, tally.unknown);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush(&self, deadline: Duration) -> Tally {
        self.ask(|reply| Command::Flush { deadline, reply }).await
    }

    /// Accepts nothing more, sends what is accepted, and ends the producer at the latest after `deadline`. Every record
    /// has its outcome then: what was not sent is `NotWritten(Closed)`, what was sent and not answered is `Unknown`, and
    /// its fate `Undetermined(ClosedBeforeProof)`. Gives the counts of the records whose batches had not ended when it
    /// was called. Dropping this future before it resolves lets the close go on.
    ///
    /// ```
    /// # async fn example(producer: milena::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let tally = producer.close(Duration::from_secs(5)).await;
    /// if tally.unknown > 0 {
    ///     eprintln!("{} records are in doubt", tally.unknown);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self, deadline: Duration) -> Tally {
        let tally = self.ask(|reply| Command::Close { deadline, reply }).await;
        let shared = self.handle.shared();
        if shared.journal.is_some() {
            // Whoever settles what is left may have the journal then.
            shared.commands.closed().await;
        }
        tally
    }

    /// What the producer has done so far.
    ///
    /// ```
    /// # fn example(producer: milena::Producer) {
    /// let stats = producer.stats();
    /// println!("{} records in {} batches", stats.records, stats.batches);
    /// # }
    /// ```
    pub fn stats(&self) -> ProducerStats {
        self.handle.shared().counters.read()
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Tally>) -> Command) -> Tally {
        let (reply, mut answer) = oneshot::channel();
        let commands = &self.handle.shared().commands;
        if commands.send(command(reply)).is_err() {
            return Tally::default();
        }
        // What is sent in the moment in which the driver ends may lie in the channel until the last handle is gone (tokio
        // 1.54), and the question with it: that nobody answers shows by the end of the driver.
        let mut is_gone = pin!(commands.closed());
        poll_fn(|cx| {
            let told = Pin::new(&mut answer).poll(cx);
            if told.is_pending() && is_gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(answer.try_recv().unwrap_or_default());
            }
            // The driver ends only after it has given every record its outcome; then there is nothing to count.
            told.map(Result::unwrap_or_default)
        })
        .await
    }
}

pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ConfigError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| ConfigError::NoThread(error.to_string()))
}

/// The names that Kafka's brokers accept.
pub(crate) fn check_topic_name(name: &str) -> Result<(), InvalidTopic> {
    let is_legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let is_valid = (1..=249).contains(&name.len()) && name.bytes().all(is_legal) && name != "." && name != "..";
    if is_valid { Ok(()) } else { Err(InvalidTopic(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One `close` in some thousand that met the end of a lost driver waited for ever.
    #[test]
    fn a_question_that_the_end_of_the_driver_swallows_is_answered() {
        let settings = ProducerConfig::new("a:1").check().expect("fits");
        let pool = Arc::new(ChunkPool::new(settings.buffer_memory, settings.memory_share));
        let (commands, mut driver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(&settings, None, pool, commands));
        let producer = Producer { handle: Arc::new(Handle { shared }) };
        let mut close = pin!(producer.close(Duration::from_secs(1)));
        let mut poll = || close.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(poll().is_pending());
        let Ok(Command::Close { reply, .. }) = driver.try_recv() else { panic!("it was asked to close") };
        drop(driver);
        assert_eq!(poll(), Poll::Ready(Tally::default()));
        drop(reply);
    }

    #[test]
    fn topic_names_are_those_that_brokers_accept() {
        for name in ["a", "orders.eu-1_x", &"x".repeat(249)] {
            assert!(check_topic_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(check_topic_name(name).is_err(), "{name}");
        }
    }
}
