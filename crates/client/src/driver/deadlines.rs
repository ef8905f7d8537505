//! The thread of the deadlines: releases records at theirs and wakes callers at theirs. It has no runtime, no socket and
//! no machine, so that nothing the driver does stands between a deadline and its caller (rule 16).
//!
//! Always holds: who is due is released before anything else is done, and before more of it: new batches and what releases
//! leave to do are taken a few at a time; no lock is waited for that is held while bytes are copied or freed; what a
//! release leaves to do with memory is done by the driver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use milena_core::producer::batch::SealReason;
use milena_core::producer::completion::BatchCompletion;
use milena_core::producer::expiry::{Expired, Expiry, Watched};
use milena_core::time::Moment;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::callers::Callers;
use crate::gate::Gate;
use crate::report::{Holds, ReportSlice, Reporter};
use crate::shared::Shared;
use crate::slot::{PartitionSlot, Watch};

/// A question of the control task: which batches have not ended?
type AskLive = oneshot::Sender<Vec<Arc<BatchCompletion>>>;

/// What releases leave to do with memory, one after the other.
pub(crate) type Leavings = mpsc::UnboundedReceiver<Leaving>;

/// Memory that the thread of the deadlines does not give back itself.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// A partition with batches that nobody wants.
    Dead(Arc<PartitionSlot>),
    /// Batches that have ended. An allocator's lock may be held by a thread that is not let run; of those of other threads,
    /// the driver waits for them.
    Ended(Vec<Watched<Arc<PartitionSlot>>>),
}

/// Between two looks at the wall clock, while anything is going on.
const WALL_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// A front's lock that is taken is tried again after this time: its holder copies a record, or has been preempted.
const SEAL_AGAIN: Duration = Duration::from_millis(1);

/// Between two looks at who is due; each of them takes about a microsecond.
const AT_ONCE: usize = 64;

/// What the thread does.
pub(crate) struct Deadlines {
    shared: Arc<Shared>,
    reporter: Reporter,
    questions: mpsc::UnboundedReceiver<AskLive>,
    /// For the driver.
    leavings: mpsc::UnboundedSender<Leaving>,
    expiry: Expiry<Arc<PartitionSlot>>,
    callers: Callers,
    arrivals: Vec<Watch>,
    /// Released, with something left to do.
    released: VecDeque<Expired<Arc<PartitionSlot>>>,
    /// Released, but their front's lock was taken.
    unsealed: Vec<Expired<Arc<PartitionSlot>>>,
    wall_clock_due: Moment,
}

/// The driver's end. The thread ends when this is gone.
pub(crate) struct DeadlinesHandle {
    /// Taken at the end.
    questions: Option<mpsc::UnboundedSender<AskLive>>,
    watch: Arc<Gate<Watch>>,
}

impl Deadlines {
    /// The thread's work, the driver's end, and what it leaves to the driver. That ends when the thread does, however it ends.
    pub(crate) fn new(shared: Arc<Shared>, reporter: Reporter) -> (Self, DeadlinesHandle, Leavings) {
        let (asker, questions) = mpsc::unbounded_channel();
        let (leavings, swept) = mpsc::unbounded_channel();
        let handle = DeadlinesHandle { questions: Some(asker), watch: Arc::clone(&shared.watch) };
        let deadlines = Self {
            shared,
            reporter,
            questions,
            leavings,
            expiry: Expiry::new(),
            callers: Callers::new(),
            arrivals: Vec::new(),
            released: VecDeque::new(),
            unsealed: Vec::new(),
            wall_clock_due: Moment::START,
        };
        (deadlines, handle, swept)
    }

    /// Until the driver's end is gone.
    pub(crate) fn run(mut self) {
        let waker = Waker::from(Arc::new(Unparker(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            self.turn();
            match self.questions.try_recv() {
                Ok(reply) => {
                    // What was pushed before the question belongs to the answer.
                    self.turn();
                    let live = self.expiry.live().map(|(_, completion)| Arc::clone(completion));
                    // Whoever asked and left needs no answer.
                    let _ = reply.send(live.collect());
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            let next = self.next_due();
            if self.shared.watch.poll_end_turn(next, &mut cx).is_pending() {
                park_until(self.shared.clock.instant(next).filter(|_| next != Moment::NEVER));
            }
        }
    }

    fn next_due(&self) -> Moment {
        let again = (!self.unsealed.is_empty()).then(|| self.shared.clock.moment() + SEAL_AGAIN);
        let due = self.expiry.poll_timeout().into_iter().chain(self.callers.next_due()).chain(again).min();
        due.unwrap_or(Moment::NEVER)
    }

    fn turn(&mut self) {
        self.release_due();
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.shared.watch.begin_turn(&mut arrivals);
        for (number, arrival) in arrivals.drain(..).enumerate() {
            if number % AT_ONCE == 0 {
                self.release_due();
            }
            self.take_arrival(arrival);
        }
        self.arrivals = arrivals;
        let now = self.release_due();
        // Everybody who is due has left. The rest is housekeeping, oldest first: reports come in this order.
        for expired in std::mem::take(&mut self.unsealed) {
            self.finish(expired);
        }
        let mut finished = 0;
        while let Some(expired) = self.released.pop_front() {
            self.finish(expired);
            finished += 1;
            if finished % AT_ONCE == 0 {
                self.release_due();
            }
        }
        let ended = self.expiry.take_ended();
        if !ended.is_empty() {
            // Without a driver they are dropped here.
            let _ = self.leavings.send(Leaving::Ended(ended));
        }
        if self.wall_clock_due <= now {
            self.shared.clock.follow_wall();
            self.wall_clock_due = now + WALL_CLOCK_EVERY;
        }
    }

    fn take_arrival(&mut self, arrival: Watch) {
        match arrival {
            Watch::Batch(slot, completion) => self.expiry.register(slot, completion),
            Watch::Caller(due, waker) => self.callers.insert(due, waker),
            Watch::Look => {}
            #[cfg(test)]
            Watch::Panic => panic!("this panic is part of a test"),
        }
    }

    /// Whoever is due now leaves; what that leaves to do is kept.
    fn release_due(&mut self) -> Moment {
        let now = self.shared.clock.moment();
        if self.expiry.poll_timeout().is_some_and(|due| due <= now) {
            self.released.extend(self.expiry.expire(now));
        }
        self.callers.wake_due(now);
        now
    }

    fn finish(&mut self, mut expired: Expired<Arc<PartitionSlot>>) {
        if expired.needs_seal {
            let seal =
                expired.place.try_with_front(|front| front.seal_batch(&expired.completion, SealReason::Deadline));
            match seal {
                None => return self.unsealed.push(expired),
                Some(true) => expired.place.collect_now(),
                // Somebody else was faster.
                Some(false) => {}
            }
            expired.sealed();
        }
        let Expired { place: slot, completion, posted, is_dead, .. } = expired;
        if is_dead {
            // Without a driver everything has ended.
            let _ = self.leavings.send(Leaving::Dead(Arc::clone(&slot)));
        }
        if !posted.is_empty() {
            self.reporter.report(ReportSlice { slot, completion, posted, holds: Holds::Slice });
        }
    }
}

impl DeadlinesHandle {
    /// Every batch that has not ended; none if the thread is lost.
    pub(super) fn live(&self) -> impl Future<Output = Vec<Arc<BatchCompletion>>> + Send + 'static {
        let (reply, live) = oneshot::channel();
        let questions = self.questions.as_ref().expect("nobody asks after the end");
        // Without the thread the producer ends, and nothing is live any more.
        let _ = questions.send(reply);
        self.watch.push_now(Watch::Look);
        async move { live.await.unwrap_or_default() }
    }

    /// The thread ends, and whoever asked is told that nothing is live. A question that it did not see goes with the channel.
    pub(super) fn let_go(&mut self) {
        self.questions = None;
        self.watch.push_now(Watch::Look);
    }
}

impl Drop for DeadlinesHandle {
    fn drop(&mut self) {
        self.let_go();
    }
}

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Or until somebody unparks this thread. A park fires some 60 µs late on an idle machine.
fn park_until(due: Option<Instant>) {
    match due {
        Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
        None => thread::park(),
    }
}
