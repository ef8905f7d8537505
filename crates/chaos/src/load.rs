//! A steady load: three threads that offer records in the three ways there are, one that waits for what becomes of them.
//!
//! Every call and every word of the producer is noted with its moment, to be compared later. Nothing is judged here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use milena::{
    AfterDeadline, Delivery, DeliveryReport, Fate, Outcome, Producer, ProducerConfig, Record, SendError, Topic,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use crate::content::{self, Content, Id};
use crate::ledger::{Call, Entry, Notes, Offer, Word};

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Drawn for each record, so that records of one batch differ.
    pub deadlines: &'static [Duration],
    pub delivery_timeout: Duration,
    pub request_timeout: Duration,
    pub batch_size: usize,
    pub linger: Duration,
    /// Whether most of its records are withdrawn at their deadlines; the others among them are completed.
    pub withdraws: bool,
}

impl Settings {
    /// What settings have in common: small batches, so that several of a partition are on their way when a fault comes, and a
    /// request timeout that is shorter than the freezes, so that an unanswered connection is given up and what was sent on it is sent
    /// again on another.
    pub const STEADY: Self = Self {
        deadlines: &[],
        delivery_timeout: Duration::from_secs(90),
        request_timeout: Duration::from_secs(3),
        batch_size: 8_000,
        linger: Duration::from_millis(5),
        withdraws: false,
    };
}

/// Runs from [`Load::start`] to [`Load::finish`].
pub struct Load {
    producer: Producer,
    board: Arc<Board>,
    watches: UnboundedSender<Watch>,
    halt: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
    waiter: JoinHandle<()>,
    settings: Settings,
}

impl Load {
    /// Starts a producer and its load on these topics. `row` becomes the upper half of every number.
    pub fn start(servers: &str, topics: &[String], row: u32, settings: Settings) -> Result<Self, String> {
        let board = Arc::new(Board::default());
        let (watches, queue) = unbounded_channel();
        let config = ProducerConfig::new(servers)
            .batch_size(settings.batch_size)
            .linger(settings.linger)
            .request_timeout(settings.request_timeout)
            .delivery_timeout(settings.delivery_timeout)
            .on_delivery(hear(Arc::clone(&board), watches.clone()));
        let producer = Producer::new(config).map_err(|error| error.to_string())?;
        let mut handles = Vec::new();
        for topic in topics {
            let topic = producer.topic(topic).map_err(|error| error.to_string())?;
            run(topic.ready(PATIENCE)).map_err(|error| error.to_string())?;
            handles.push(topic);
        }
        let halt = Arc::new(AtomicBool::new(false));
        let waiter = {
            let board = Arc::clone(&board);
            spawn(WAITER, move || run(wait_for_each(queue, board)))?
        };
        let caller = |number: u64, (call, rate): (Call, u32)| Caller {
            call,
            rate,
            next: (u64::from(row) << 32) | (number << 28),
            topics: handles.clone(),
            settings,
            board: Arc::clone(&board),
            watches: watches.clone(),
            halt: Arc::clone(&halt),
        };
        let callers: Result<_, String> = (0..)
            .zip(CALLERS)
            .map(|(number, way)| {
                let caller = caller(number, way);
                spawn(CALLER, move || caller.call_until_halt())
            })
            .collect();
        let callers = callers?;
        Ok(Self { producer, board, watches, halt, callers, waiter, settings })
    }

    /// Waits until so many more records were offered, accepted or not.
    pub fn await_offered(&self, more: u64) -> Result<(), String> {
        self.board.await_more(more, "offered", |counts| counts.offered)
    }

    /// Waits until the callers of so many more records have heard `Written`.
    pub fn await_written(&self, more: u64) -> Result<(), String> {
        self.board.await_more(more, "written", |counts| counts.written)
    }

    /// Ends the calls, waits until every record has its outcome and every unknown one its fate, and closes the producer.
    /// What is still missing when patience ends is missing in the entries.
    pub fn finish(self) -> Result<BTreeMap<Id, Entry>, String> {
        self.halt.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.join().map_err(|_| "a caller panicked")?;
        }
        let longest = self.settings.deadlines.iter().max().copied().unwrap_or_default();
        let patience = longest.max(self.settings.delivery_timeout) + PATIENCE;
        self.board.await_that(patience, |counts| counts.outcomes >= counts.accepted && counts.fates >= counts.unknown);
        run(self.producer.close(PATIENCE));
        self.watches.send(Watch::End).map_err(|_| "the waiting thread is gone")?;
        self.waiter.join().map_err(|_| "the waiting thread panicked")?;
        self.board.take_notes().entries()
    }
}

/// One thread's calls.
struct Caller {
    call: Call,
    /// Calls a second.
    rate: u32,
    next: Id,
    /// With handles of its own: each sticks to partitions of its own.
    topics: Vec<Topic>,
    settings: Settings,
    board: Arc<Board>,
    watches: UnboundedSender<Watch>,
    halt: Arc<AtomicBool>,
}

impl Caller {
    /// Some calls at the beginning of every slot of time. A slot that was missed is not made up for.
    fn call_until_halt(mut self) {
        let mut slot = Instant::now();
        while !self.halt.load(Ordering::Relaxed) {
            for _ in 0..self.rate / SLOTS_PER_SECOND {
                self.call_once();
            }
            slot = Instant::now().max(slot + Duration::from_secs(1) / SLOTS_PER_SECOND);
            std::thread::sleep(slot.saturating_duration_since(Instant::now()));
        }
    }

    fn call_once(&mut self) {
        let id = self.next;
        self.next += 1;
        let content = Content::of(id);
        let deadline = content::deadline(id, self.settings.deadlines);
        let mut record = Record::value(&content.value).deadline(deadline).tag(id);
        if let Some(key) = &content.key {
            record = record.key(key);
        }
        if self.settings.withdraws && content::is_withdrawn(id) {
            record = record.after_deadline(AfterDeadline::Withdraw);
        }
        let at = (id % self.topics.len() as u64) as usize;
        let topic = &self.topics[at];
        let began = Instant::now();
        let accepted = match self.call {
            Call::TrySend => topic.try_send(record).map(Some),
            Call::Send => run(topic.send(record)).map(Some),
            Call::Post => topic.post(record).map(|()| None),
        };
        let returned = Instant::now();
        let (delivery, refused) = match accepted {
            Ok(delivery) => (delivery, None),
            Err(error) => (None, Some(refusal(&error))),
        };
        self.board.note_offer(Offer { id, topic: at, call: self.call, deadline, began, returned, refused });
        if let Some(delivery) = delivery {
            // The waiting thread ends after the callers.
            let _ = self.watches.send(Watch::Delivery(id, delivery));
        }
    }
}

/// What the waiting thread is asked to wait for.
enum Watch {
    Delivery(Id, Delivery),
    Fate(Id, Fate),
    End,
}

/// Waits for all of them at the same time.
async fn wait_for_each(mut queue: UnboundedReceiver<Watch>, board: Arc<Board>) {
    let waits = LocalSet::new();
    let dispatch = async {
        loop {
            match queue.recv().await {
                Some(Watch::Delivery(id, delivery)) => {
                    waits.spawn_local(hear_delivery(id, delivery, Arc::clone(&board)));
                }
                Some(Watch::Fate(id, fate)) => {
                    waits.spawn_local(hear_fate(id, fate, Arc::clone(&board)));
                }
                Some(Watch::End) | None => return,
            }
        }
    };
    waits.run_until(dispatch).await;
}

async fn hear_delivery(id: Id, mut delivery: Delivery, board: Arc<Board>) {
    let outcome = match content::cancelled_after(id) {
        None => delivery.await,
        Some(patience) => match tokio::time::timeout(patience, &mut delivery).await {
            Ok(outcome) => outcome,
            Err(_) => {
                delivery.cancel();
                board.note_cancel(id);
                delivery.await
            }
        },
    };
    board.note_outcome(id, &outcome, Instant::now());
    if let Outcome::Unknown(fate) = outcome {
        hear_fate(id, fate, board).await;
    }
}

async fn hear_fate(id: Id, fate: Fate, board: Arc<Board>) {
    let settlement = fate.await;
    board.note_fate(id, Word::of_settlement(&settlement));
}

/// The handler of posted records.
fn hear(board: Arc<Board>, watches: UnboundedSender<Watch>) -> impl Fn(&DeliveryReport<'_>) + Send + Sync + 'static {
    move |report| {
        board.note_outcome(report.tag(), report.outcome(), Instant::now());
        if let Outcome::Unknown(fate) = report.outcome() {
            // Once the waiting thread has ended nobody asks for fates any more.
            let _ = watches.send(Watch::Fate(report.tag(), fate.clone()));
        }
    }
}

/// The notes, and counts to wait for.
#[derive(Default)]
struct Board {
    state: Mutex<(Notes, Counts)>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    offered: u64,
    accepted: u64,
    outcomes: u64,
    written: u64,
    unknown: u64,
    fates: u64,
}

impl Board {
    fn note_offer(&self, offer: Offer) {
        self.note(|notes, counts| {
            counts.offered += 1;
            counts.accepted += u64::from(offer.refused.is_none());
            notes.offers.push(offer);
        });
    }

    fn note_outcome(&self, id: Id, outcome: &Outcome, at: Instant) {
        let word = Word::of_outcome(outcome);
        self.note(|notes, counts| {
            counts.outcomes += 1;
            counts.written += u64::from(matches!(outcome, Outcome::Written(_)));
            counts.unknown += u64::from(matches!(outcome, Outcome::Unknown(_)));
            notes.outcomes.push((id, word, at));
        });
    }

    fn note_fate(&self, id: Id, word: Word) {
        self.note(|notes, counts| {
            counts.fates += 1;
            notes.fates.push((id, word));
        });
    }

    fn note_cancel(&self, id: Id) {
        self.note(|notes, _| notes.cancelled.push(id));
    }

    fn note(&self, write: impl FnOnce(&mut Notes, &mut Counts)) {
        let (notes, counts) = &mut *self.lock();
        write(notes, counts);
        self.changed.notify_all();
    }

    fn await_more(&self, more: u64, what: &str, count: impl Fn(&Counts) -> u64) -> Result<(), String> {
        let before = self.lock().1;
        let after = self.await_that(PATIENCE, |counts| count(counts) >= count(&before) + more);
        if count(&after) >= count(&before) + more {
            return Ok(());
        }
        let gained = count(&after) - count(&before);
        Err(format!("{gained} instead of {more} more records were {what} within {PATIENCE:?}: {after:?}"))
    }

    /// The counts when they are as asked for, or when patience ends.
    fn await_that(&self, patience: Duration, is_met: impl Fn(&Counts) -> bool) -> Counts {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |(_, counts)| !is_met(counts));
        waited.unwrap_or_else(PoisonError::into_inner).0.1
    }

    fn take_notes(&self) -> Notes {
        std::mem::take(&mut self.lock().0)
    }

    fn lock(&self) -> MutexGuard<'_, (Notes, Counts)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn refusal(error: &SendError<'_>) -> String {
    format!("{:?}", error.reason())
}

pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| error.to_string())
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

const CALLER: &str = "caller";
const WAITER: &str = "waiting-callers";

/// The threads between a deadline and who is told: the producer's own, who waits, and those whose locks the others need,
/// the callers and the test itself.
pub const THREADS: [&str; 5] = ["milena-", CALLER, WAITER, "kafka_", "chaos_"];

/// Those of them that run our own code for one record after the other, when many are told at the same time.
pub const LISTENERS: [&str; 2] = ["milena-reports", WAITER];

/// Three threads, 2,000 calls a second together.
const CALLERS: [(Call, u32); 3] = [(Call::TrySend, 800), (Call::Send, 400), (Call::Post, 800)];

const SLOTS_PER_SECOND: u32 = 200;

/// For what must happen; not a measure of anything.
const PATIENCE: Duration = Duration::from_secs(180);
