//! `milena produce`: each line of the input becomes a record, and each record an outcome.
//!
//! Ends in this order: the input (or the first Ctrl-C), the producer, the reports, the summary, and, for the owner of the
//! embedded broker, the attached processes. A second Ctrl-C ends it where it is; what has no outcome then is unknown.
//! Without one, every report is waited for, however slowly they are read.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use milena::unstable::{self, Admin, AdminError, Limits, NewTopic, ReadError, Uuid};
use milena::{Producer, Properties, Topic};
use tokio::sync::Notify;

use crate::arguments::{Produce, Where};
use crate::dress::Tags;
use crate::exit::{Exit, Failure, interrupted, tell};
use crate::input;
use crate::intake::{self, Counts, Ended, Intake};
use crate::interrupts::{Interrupted, Interrupts};
use crate::outcomes::{Outcomes, Run};
use crate::place::{CLIENT_ID, Missing, Place};
use crate::progress::{self, Progress};
use crate::results::{Count, Results};
use crate::settings;

pub async fn run(options: &Produce, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    unstable::check_topic(&options.topic).map_err(Failure::to_start)?;
    for path in &options.files {
        input::open(path).map_err(Failure::to_start)?;
    }
    let properties = options.settings.read()?;
    let choice = settings::place(&properties, &options.place);
    if let (Where::Embedded(_), Where::Named(_), Some(_), false) =
        (&options.place, &choice, options.partitions, options.create)
    {
        return Err(Failure::to_start("with bootstrap.servers, --partitions needs --create"));
    }
    let Ok(place) = interrupts.unless_pressed(Place::open(&choice, Missing::Make)).await else {
        return Ok(interrupted("before a broker was there: nothing was sent"));
    };
    let place = place?;
    let end = work(&place, options, properties, interrupts).await;
    if !matches!(end, Ok(End { is_abandoned: true, .. })) {
        place.leave(interrupts).await;
    }
    end.map(|end| end.exit)
}

async fn work(
    place: &Place,
    options: &Produce,
    properties: Properties,
    interrupts: &mut Interrupts,
) -> Result<End, Failure> {
    match interrupts.unless_pressed(Work::begin(place, options, properties)).await {
        Ok(work) => work?.run(options, interrupts).await,
        Err(Interrupted) => {
            let exit =
                interrupted(format_args!("before topic {} was ready: nothing of the input was sent", options.topic));
            Ok(End { exit, is_abandoned: false })
        }
    }
}

/// A cluster of somebody else's gets a new topic only by `--create`.
async fn ensure_topic(admin: &mut Admin, place: &Place, options: &Produce) -> Result<(), Failure> {
    if admin.topic(&options.topic).await.map_err(Failure::to_start)?.is_some() {
        return Ok(());
    }
    let name = options.topic.clone();
    if !place.is_embedded() && !options.create {
        return Err(Failure::to_start(format!(
            "topic {name} does not exist; make it with --create (and --partitions N)"
        )));
    }
    match admin.create_topic(&NewTopic { name, partitions: options.partitions, replication: None }).await {
        // Somebody else was faster.
        Ok(_) | Err(AdminError::TopicExists { .. }) => Ok(()),
        Err(error) => Err(Failure::to_start(error)),
    }
}

/// What an audit has to know of the time before the first record. A partition without a leader is no reason not to send to
/// the others.
async fn begin_outcomes(admin: &mut Admin, topic: &str, results: &Results) {
    let look_up = async {
        let found = admin.topic(topic).await?;
        let Some(found) = found else { return Err(ReadError::Recreated { topic: topic.into() }) };
        Ok((found.id, admin.end_offsets(topic, found.leaders.len()).await?))
    };
    let why = match tokio::time::timeout(LOOK_UP_TIME, look_up).await {
        Ok(Ok((id, from_offsets))) => {
            let id = (id != Uuid::ZERO).then(|| id.to_string());
            return results.begin(&Run { topic, topic_id: id.as_deref(), from_offsets: &from_offsets });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not all leaders have answered within {LOOK_UP_TIME:?}"),
    };
    tell(format_args!("the outcomes do not tell where the partitions ended before, so an audit proves less: {why}"));
}

struct Work {
    producer: Producer,
    topic: Topic,
    results: Arc<Results>,
    limits: Limits,
    tags: Option<Tags>,
}

/// How the records ended.
struct End {
    exit: Exit,
    /// By a second Ctrl-C: nothing is waited for any more.
    is_abandoned: bool,
}

/// What is seen of the end, and whether it was asked for.
struct Ending<'a> {
    progress: &'a mut Progress,
    counts: &'a Counts,
    /// Ctrl-C was pressed once.
    is_pressed: bool,
}

impl Ending<'_> {
    fn press(&mut self, what: impl fmt::Display) {
        self.is_pressed = true;
        self.progress.end();
        tell(format_args!("Ctrl-C: {what}; Ctrl-C again ends at once"));
    }
}

impl Work {
    async fn begin(place: &Place, options: &Produce, properties: Properties) -> Result<Self, Failure> {
        let (config, limits) = settings::producer(properties, &place.bootstrap(), &options.chosen)?;
        let tags = options.dress.tag.as_deref().map(Tags::new);
        let run = tags.as_ref().map(|tags| tags.run().to_owned());
        let changed = Arc::new(Notify::new());
        let outcomes = options.outcomes.as_deref();
        let outcomes =
            outcomes.map(|path| Outcomes::create(path, &options.topic, run, Arc::clone(&changed))).transpose();
        let results = Arc::new(Results::new(outcomes.map_err(Failure::to_start)?, changed));
        let handler = {
            let results = Arc::clone(&results);
            move |report: &milena::DeliveryReport<'_>| results.take(report)
        };
        let config = config.on_delivery(handler);
        let producer = Producer::new(config).map_err(settings::refused)?;
        // Settings that make no sense are told before a topic is made.
        let mut admin = place.admin(CLIENT_ID, START_TIME).await?;
        ensure_topic(&mut admin, place, options).await?;
        if results.has_outcomes() {
            begin_outcomes(&mut admin, &options.topic, &results).await;
        }
        drop(admin);
        let topic = producer.topic(&options.topic).map_err(Failure::to_start)?;
        topic.ready(START_TIME).await.map_err(Failure::to_start)?;
        let partitions = topic.partition_count();
        if let Some(partition) = options.dress.partition.filter(|partition| *partition as usize >= partitions) {
            return Err(Failure::to_start(format!(
                "topic {} has no partition {partition}; it has {partitions}, numbered from 0",
                options.topic
            )));
        }
        Ok(Self { producer, topic, results, limits, tags })
    }

    async fn run(&self, options: &Produce, interrupts: &mut Interrupts) -> Result<End, Failure> {
        let total = match &options.files[..] {
            [] => progress::bytes_on_stdin(),
            files => files.iter().map(|file| Some(file.metadata().ok()?.len())).sum(),
        };
        let mut progress = Progress::on_terminal(total, options.files.is_empty());
        let work = intake::Work {
            topic: self.topic.clone(),
            results: Arc::clone(&self.results),
            files: options.files.clone(),
            reading: options.reading.clone(),
            dress: options.dress.clone(),
            tags: self.tags.clone(),
            record_bytes_max: self.limits.max_request_size,
        };
        let Intake { counts, ended } = Intake::start(work).map_err(|error| {
            Failure::to_start(format!("the thread that reads the input cannot be started: {error}"))
        })?;
        let all = async {
            let ended = self.showing(&progress, &counts, ended).await.unwrap_or(Ended::Closed);
            // Each record has its outcome at its own deadline.
            let tally = self.showing(&progress, &counts, self.producer.flush(self.limits.deadline + SLACK)).await;
            (ended, tally.unknown)
        };
        let (ended, within) = match interrupts.unless_pressed(all).await {
            Ok((ended, in_doubt)) => {
                let within = options.close_timeout.unwrap_or(self.limits.delivery_timeout);
                if in_doubt > 0 && !within.is_zero() {
                    progress.end();
                    tell(format_args!(
                        "{} in doubt: how that ends is waited for, at most {within:?}; --close-timeout or Ctrl-C \
                         ends that before",
                        Count(in_doubt, ["record is", "records are"])
                    ));
                }
                (Ok(ended), within)
            }
            Err(Interrupted) => {
                let within = options.close_timeout.unwrap_or(CLOSE_TIME);
                progress.end();
                tell(format_args!("Ctrl-C: what was read has {within:?} to be sent; Ctrl-C again ends at once"));
                (Err(Interrupted), within)
            }
        };
        let ending = Ending { progress: &mut progress, counts: &counts, is_pressed: ended.is_err() };
        let is_abandoned = self.end(ending, within, options, interrupts).await;
        progress.end();
        Ok(End { exit: self.tell_end(&counts, ended), is_abandoned })
    }

    /// Ends the producer and hands out the outcomes. Gives whether a second Ctrl-C ended that.
    async fn end(
        &self,
        mut ending: Ending<'_>,
        mut within: Duration,
        options: &Produce,
        interrupts: &mut Interrupts,
    ) -> bool {
        let mut is_abandoned = loop {
            let close = self.showing(ending.progress, ending.counts, self.producer.close(within));
            match interrupts.unless_pressed(close).await {
                Ok(_) => break false,
                Err(Interrupted) if ending.is_pressed => break true,
                Err(Interrupted) => {
                    // The first close to be through ends the producer.
                    within = options.close_timeout.unwrap_or(CLOSE_TIME);
                    ending.press(format_args!("what is in doubt has {within:?} more"));
                }
            }
        };
        ending.counts.settle();
        let accepted = ending.counts.accepted();
        while !is_abandoned {
            // All is decided; a reader of the outcomes may be slow, and gets them all.
            let told = async {
                self.results.reported(accepted).await;
                self.results.finish(accepted);
                self.results.told().await;
            };
            match interrupts.unless_pressed(self.showing(ending.progress, ending.counts, told)).await {
                Ok(()) => return false,
                Err(Interrupted) if ending.is_pressed => is_abandoned = true,
                Err(Interrupted) => ending.press("the outcomes are still being written"),
            }
        }
        self.results.finish(accepted);
        if tokio::time::timeout(LAST_WORDS, self.results.told()).await.is_err() {
            tell("the last outcomes were not read, so they are not told");
            self.results.let_go();
        }
        true
    }

    fn tell_end(&self, counts: &Counts, ended: Result<Ended, Interrupted>) -> Exit {
        let accepted = Count(counts.accepted(), ["record", "records"]);
        match &ended {
            Ok(Ended::AtEnd) => {}
            Ok(Ended::Unreadable(why)) => tell(format_args!("after {accepted}: {why}")),
            Ok(Ended::Closed) => tell(format_args!("the producer took no more than {accepted} of the input")),
            Err(Interrupted) => tell(format_args!("the input after {accepted} is not sent")),
        }
        let summary = self.results.summary(counts.bytes(), self.producer.stats(), self.limits.batch_size);
        tell(&summary);
        match (summary.exit(), ended) {
            (Exit::Done, Ok(Ended::Unreadable(_) | Ended::Closed)) => Exit::Failed,
            (Exit::Done, Err(Interrupted)) if summary.records() == 0 => Exit::Interrupted,
            (exit, _) => exit,
        }
    }

    /// Waits, and shows how it goes.
    async fn showing<T>(&self, progress: &Progress, counts: &Counts, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(progress::INTERVAL, work.as_mut()).await {
                Ok(done) => return done,
                Err(_) => {
                    // In this order: what is written was read before.
                    let written = self.results.written();
                    progress.show(counts.consumed(), written);
                    self.results.tell();
                }
            }
        }
    }
}

/// For finding brokers and topic, before the first record has a deadline.
const START_TIME: Duration = Duration::from_secs(30);

/// For finding out where the partitions end.
const LOOK_UP_TIME: Duration = Duration::from_secs(5);

/// What Ctrl-C leaves to what was read, if nothing else is said.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// For a reader of the outcomes, when all else is abandoned.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Beyond a deadline: its last tick.
const SLACK: Duration = Duration::from_secs(2);
