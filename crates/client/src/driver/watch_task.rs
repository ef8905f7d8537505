//! The task of the clock: releases records at their deadlines and wakes callers at theirs.
//!
//! Always holds: nothing here waits for a lane, a socket or a handler (rule 16).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use milena_core::producer::batch::SealReason;
use milena_core::producer::completion::BatchCompletion;
use milena_core::producer::expiry::{Expired, Expiry};
use milena_core::time::Moment;
use tokio::sync::{mpsc, oneshot};

use super::Surroundings;
use super::callers::Callers;
use super::timer::Timer;
use crate::report::ReportSlice;
use crate::slot::{PartitionSlot, Watch};

/// A question of the control task.
pub(crate) type AskLive = oneshot::Sender<Vec<Arc<BatchCompletion>>>;

/// Between two looks at the wall clock, while anything is going on.
const WALL_CLOCK_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct WatchTask {
    surroundings: Surroundings,
    questions: mpsc::UnboundedReceiver<AskLive>,
    expiry: Expiry<Arc<PartitionSlot>>,
    callers: Callers,
    arrivals: Vec<Watch>,
    wall_clock_due: Moment,
    timer: Timer,
}

impl WatchTask {
    pub(crate) fn new(surroundings: Surroundings, questions: mpsc::UnboundedReceiver<AskLive>) -> Self {
        Self {
            surroundings,
            questions,
            expiry: Expiry::new(),
            callers: Callers::new(),
            arrivals: Vec::new(),
            wall_clock_due: Moment::START,
            timer: Timer::new(),
        }
    }

    /// Until the control task is gone.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll_run(cx)).await
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.turn();
            match self.questions.poll_recv(cx) {
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(reply)) => {
                    // What was pushed before the question belongs to the answer.
                    self.turn();
                    let live = self.expiry.live().map(|(_, completion)| Arc::clone(completion));
                    // Whoever asked and left needs no answer.
                    let _ = reply.send(live.collect());
                    continue;
                }
                Poll::Pending => {}
            }
            let next = self.next_due();
            if self.timer.poll_due(next, &self.surroundings.shared.clock, cx).is_ready() {
                continue;
            }
            if self.surroundings.shared.watch.poll_end_turn(next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn next_due(&self) -> Moment {
        self.expiry.poll_timeout().into_iter().chain(self.callers.next_due()).min().unwrap_or(Moment::NEVER)
    }

    fn turn(&mut self) {
        let shared = Arc::clone(&self.surroundings.shared);
        shared.watch.begin_turn(&mut self.arrivals);
        for arrival in self.arrivals.drain(..) {
            match arrival {
                Watch::Batch(slot, completion) => self.expiry.register(slot, completion),
                Watch::Caller(due, waker) => self.callers.insert(due, waker),
            }
        }
        let now = shared.clock.moment();
        if self.wall_clock_due <= now {
            shared.clock.follow_wall();
            self.wall_clock_due = now + WALL_CLOCK_EVERY;
        }
        self.callers.wake_due(now);
        for expired in self.expiry.expire(now, seal) {
            self.report(expired);
        }
    }

    fn report(&self, expired: Expired<Arc<PartitionSlot>>) {
        let Expired { place: slot, completion, posted, is_dead } = expired;
        if is_dead {
            self.end_dead(&slot);
        }
        self.surroundings.reporter.report(ReportSlice { slot, completion, posted, memory: None });
    }

    /// Memory of batches that nobody wants goes back now; those that a lane has taken, it ends itself.
    fn end_dead(&self, slot: &Arc<PartitionSlot>) {
        use milena_core::producer::back::Ended;
        use milena_core::producer::completion::BatchEnd;
        use milena_core::producer::outcome::NotWritten;
        for batch in slot.with_front(|front| front.take_dead()) {
            let ended = Ended::Sealed(batch, BatchEnd::NotWritten(NotWritten::DeadlinePassed));
            self.surroundings.shared.conclude(slot, ended, &self.surroundings.reporter);
        }
        slot.collect_now();
    }
}

fn seal(slot: &Arc<PartitionSlot>, completion: &Arc<BatchCompletion>) {
    if slot.with_front(|front| front.seal_batch(completion, SealReason::Deadline)) {
        slot.collect_now();
    }
}
