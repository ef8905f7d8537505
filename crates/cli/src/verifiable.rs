//! `milena verifiable-producer`: increasing numbers into a topic, and a line of JSON for what became of each, as Kafka's system
//! tests read them.
//!
//! Ends when all is sent, by Ctrl-C, or by SIGTERM: then nothing more is sent, what is on its way gets its outcome, and the
//! two final events are told. A second signal ends it with those at once.

mod events;
mod tally;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use milena::unstable::{self, Limits, NewTopic, Uuid};
use milena::{Producer, Record, SendRefused, Topic};
use tokio::sync::oneshot;

use self::events::ToolData;
use self::tally::{Names, Tally};
use crate::arguments::{Chosen, VerifiableProducer};
use crate::exit::{Exit, Failure, interrupted, tell};
use crate::interrupts::{Interrupted, Interrupts};
use crate::outcomes::Run;
use crate::place::{CLIENT_ID, Missing, Place};
use crate::settings;

pub async fn run(options: &VerifiableProducer, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    unstable::check_topic(&options.topic).map_err(Failure::to_start)?;
    let properties = options.settings.read()?;
    let choice = settings::place(&properties, &options.place);
    let creates = properties.get("allow.auto.create.topics").is_none();
    let chosen = Chosen { acks: Some(options.acks), deadline: options.deadline, ..Chosen::default() };
    let Ok(place) = interrupts.unless_pressed(Place::open(&choice, Missing::Make)).await else {
        return Ok(interrupted("before a broker was there: nothing was sent"));
    };
    let place = place?;
    let begin = async {
        let tally = Arc::new(Tally::new(Names::new(options)));
        let (mut config, limits) = settings::producer(properties, &place.bootstrap(), &chosen)?;
        if creates {
            // As Java's producer asks.
            config = config.allow_auto_create_topics(true);
        }
        let reports = Arc::clone(&tally);
        let config = config.on_delivery(move |report: &milena::DeliveryReport<'_>| reports.take(report));
        let producer = Producer::new(config).map_err(settings::refused)?;
        let topic = producer.topic(&options.topic).map_err(Failure::to_start)?;
        begin(&place, options, &tally).await;
        Ok(Work { producer, topic, tally, limits })
    };
    let end = match interrupts.unless_pressed(begin).await {
        Ok(Ok(work)) => work.run(options, interrupts).await,
        Ok(Err(failure)) => Err(failure),
        Err(Interrupted) => Ok(interrupted("before it began: nothing was sent")),
    };
    place.leave(interrupts).await;
    end
}

/// The first event, with what an audit has to know of the time before. A cluster that does not answer is no reason not to
/// begin: that shows in the records, as in Kafka's own.
async fn begin(place: &Place, options: &VerifiableProducer, tally: &Tally) {
    let Some((id, from_offsets)) = look_up(place, &options.topic).await else {
        tally.events.startup_complete(None);
        return;
    };
    let run = Run { topic: &options.topic, topic_id: id.as_deref(), from_offsets: &from_offsets };
    tally.events.startup_complete(Some(&run));
}

/// The topic's id and where its partitions end. None: there is no such topic yet, or nobody says.
async fn look_up(place: &Place, name: &str) -> Option<(Option<String>, Vec<i64>)> {
    let mut admin = place.admin(CLIENT_ID, LOOK_UP_TIME).await.ok()?;
    let mut found = admin.topic(name).await.ok()?;
    if found.is_none() && place.is_embedded() {
        let new = NewTopic { name: name.to_owned(), partitions: None, replication: None };
        found = admin.create_topic(&new).await.ok();
    }
    let found = found?;
    let offsets = admin.end_offsets(name, found.leaders.len()).await.ok()?;
    Some(((found.id != Uuid::ZERO).then(|| found.id.to_string()), offsets))
}

struct Work {
    producer: Producer,
    topic: Topic,
    tally: Arc<Tally>,
    limits: Limits,
}

impl Work {
    async fn run(self, options: &VerifiableProducer, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
        let Self { producer, topic, tally, limits } = self;
        let begun = Instant::now();
        let (sender, ended) = Sender::start(topic, Arc::clone(&tally), options)
            .map_err(|error| Failure::to_start(format!("the thread that sends cannot be started: {error}")))?;
        let within = options.close_timeout.unwrap_or(limits.delivery_timeout);
        // Taken out when it has come.
        let mut ended = Some(ended);
        let all = async {
            settling(&tally, end_of(&mut ended)).await;
            // Each record has its outcome at its own deadline.
            settling(&tally, producer.flush(limits.deadline + SLACK)).await;
            settling(&tally, producer.close(within)).await;
        };
        if interrupts.unless_pressed(all).await == Err(Interrupted) {
            sender.stop();
            tell(format_args!("what was sent has {within:?} to be answered; a second signal ends at once"));
            let closed = settling(&tally, producer.close(within));
            if interrupts.unless_pressed(closed).await.is_err() {
                let _what_is_open_stays_so = tokio::time::timeout(LAST_WORDS, producer.close(Duration::ZERO)).await;
            }
        }
        // A closed producer takes nothing more, so the thread ends, and what it has sent is counted.
        let _within_a_moment = tokio::time::timeout(LAST_WORDS, end_of(&mut ended)).await;
        reported(&tally).await;
        tally.settle();
        Ok(tell_end(&tally, options, begun.elapsed()))
    }
}

/// The two events with which Kafka's ends, in its order.
fn tell_end(tally: &Tally, options: &VerifiableProducer, elapsed: Duration) -> Exit {
    let (sent, counts) = (tally.sent(), tally.counts());
    tally.events.shutdown_complete();
    tally.events.tool_data(&ToolData {
        sent,
        acked: counts.written,
        target_throughput: options.throughput.map_or(-1, |rate| rate as i64),
        avg_throughput: counts.written as f64 / elapsed.as_secs_f64().max(0.001),
        not_written: counts.not_written,
        unknown: sent.saturating_sub(counts.written + counts.not_written),
    });
    if tally.events.is_broken() {
        tell("stdout cannot be written, so not every event is told");
        return Exit::Failed;
    }
    Exit::Done
}

/// Waits, and tells meanwhile how doubts are settled.
async fn settling<T>(tally: &Tally, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(SETTLE_INTERVAL, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => tally.settle(),
        }
    }
}

/// Waits for the end of the thread that sends, once.
async fn end_of(ended: &mut Option<oneshot::Receiver<()>>) {
    if let Some(receiver) = ended {
        let _told_or_gone = receiver.await;
        *ended = None;
    }
}

/// Waits for the reports of what the producer has decided, as long as they come.
async fn reported(tally: &Tally) {
    while !tally.is_complete() {
        let before = tally.counts().reported;
        let has_stalled = tokio::time::timeout(STALLED, tally.changed.notified()).await.is_err();
        if has_stalled && tally.counts().reported == before {
            return;
        }
    }
}

/// The thread that sends, from outside.
struct Sender {
    stop: Arc<AtomicBool>,
    thread: std::thread::Thread,
}

impl Sender {
    fn start(
        topic: Topic,
        tally: Arc<Tally>,
        options: &VerifiableProducer,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (tell_end, ended) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (is_stopped, options) = (Arc::clone(&stop), options.clone());
        let thread = std::thread::Builder::new().name("milena-sender".to_owned()).spawn(move || {
            send_all(&topic, &tally, &options, &is_stopped);
            let _nobody_waits = tell_end.send(());
        })?;
        Ok((Self { stop, thread: thread.thread().clone() }, ended))
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn send_all(topic: &Topic, tally: &Tally, options: &VerifiableProducer, stop: &AtomicBool) {
    let (names, begun) = (Names::new(options), Instant::now());
    let mut number = 0;
    while options.messages_max.is_none_or(|max| number < max) && !tally.events.is_broken() {
        while !stop.load(Ordering::Relaxed) && !is_due(number, options.throughput, begun.elapsed()) {
            std::thread::park_timeout(TICK);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (key, value) = (names.key(number), names.value(number));
        let mut record = Record::value(&value).tag(number);
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(time) = options.create_time {
            record = record.timestamp(time.saturating_add(begun.elapsed().as_millis() as i64));
        }
        let posted = match topic.post(record) {
            Err(error) if error.is_retriable() => topic.blocking_post(error.into_record()),
            posted => posted,
        };
        match posted {
            Ok(()) => tally.accept(),
            Err(error) if matches!(error.reason(), SendRefused::Closed) => return,
            Err(error) => tally.refuse(number, error.reason(), error.to_string()),
        }
        number += 1;
    }
}

/// Whether the next record may go at this rate, after so many.
fn is_due(sent: u64, throughput: Option<u64>, elapsed: Duration) -> bool {
    throughput.is_none_or(|rate| {
        u128::from(sent) * 1_000_000 < u128::from(rate) * elapsed.as_micros() + u128::from(rate.min(1))
    })
}

/// For finding out where the topic ends, before the first record.
const LOOK_UP_TIME: Duration = Duration::from_secs(5);
/// Beyond a deadline: its last tick.
const SLACK: Duration = Duration::from_secs(2);
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);
/// Without a report for so long there will be none.
const STALLED: Duration = Duration::from_secs(1);
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_their_rate() {
        let at = Duration::from_millis;
        for (sent, throughput, elapsed, expected) in [
            (1_000_000, None, at(0), true),
            (0, Some(0), at(60_000), false),
            (0, Some(100), at(0), true),
            (1, Some(100), at(9), false),
            (1, Some(100), at(11), true),
            (101, Some(100), at(1_000), false),
            (99, Some(100), at(1_000), true),
        ] {
            assert_eq!(is_due(sent, throughput, elapsed), expected, "{sent} {throughput:?} {elapsed:?}");
        }
    }
}
