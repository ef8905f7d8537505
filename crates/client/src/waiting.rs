//! A caller who waits for a topic or for room, until its deadline.
//!
//! Always holds: the thread of the deadlines wakes it at its deadline, whoever else does not.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use milena_core::producer::account::Tight;
use milena_core::time::{Moment, Now};

use crate::error::SendRefused;
use crate::room::{self, Target};
use crate::shared::Shared;
use crate::slot::{CallerWaker, Watch};
use crate::turns::{self, TurnQueue};

/// Why a record was not accepted, and what a caller who waits must know.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) why: SendRefused,
    /// Set when a share of the memory is used up: of this partition, or of every one.
    pub(crate) tight: Option<(Target, Tight)>,
}

impl Refused {
    /// The topic's partitions are not known.
    pub(crate) fn is_pending(&self) -> bool {
        self.why == SendRefused::MetadataPending
    }

    /// There is no room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.why, SendRefused::BufferFull | SendRefused::PartitionFull)
    }
}

impl From<SendRefused> for Refused {
    fn from(why: SendRefused) -> Self {
        Self { why, tight: None }
    }
}

/// A caller's place in a queue.
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    seat: Seat<'a>,
    alarm: Alarm<'a>,
}

/// Wakes a caller at its deadline, whoever else does not.
pub(crate) struct Alarm<'a> {
    shared: &'a Shared,
    due: Moment,
    /// What the thread of the deadlines knows of this caller.
    watched: Option<Arc<CallerWaker>>,
}

enum Seat<'a> {
    Arrival(&'a TurnQueue, turns::Ticket),
    Room(room::Ticket),
}

impl<'a> Turn<'a> {
    /// A place among those who wait for a topic.
    pub(crate) fn for_arrival(shared: &'a Shared, queue: &'a TurnQueue, due: Moment) -> Self {
        Self { shared, seat: Seat::Arrival(queue, queue.enqueue()), alarm: Alarm::new(shared, due) }
    }

    /// A place among those who wait for room.
    pub(crate) fn for_room(shared: &'a Shared, target: Target, due: Moment) -> Self {
        Self { shared, seat: Seat::Room(shared.pool.room.enqueue(target)), alarm: Alarm::new(shared, due) }
    }

    /// Tries whenever it is this caller's turn and something has changed, until an attempt does not have to wait. At the
    /// deadline the attempt's own refusal is the answer; without a turn, `refusal` is.
    pub(crate) async fn wait<T>(
        &mut self,
        attempt: impl Fn(Now) -> Result<T, Refused>,
        must_wait: impl Fn(&Result<T, Refused>) -> bool,
        refusal: impl Fn() -> SendRefused,
    ) -> Result<T, Refused> {
        poll_fn(|cx| {
            loop {
                let has_turn = self.has_turn(cx.waker());
                let now = self.shared.clock.now();
                let is_late = self.alarm.due <= now.moment;
                if let Some(why) = self.shared.closed() {
                    return Poll::Ready(Err(SendRefused::by_close(why).into()));
                }
                if !has_turn && is_late {
                    let is_held_up = self.is_held_up_by_share();
                    let why = if is_held_up { SendRefused::PartitionFull } else { refusal() };
                    return Poll::Ready(Err(why.into()));
                }
                if has_turn {
                    let decided = attempt(now);
                    if is_late || !must_wait(&decided) {
                        return Poll::Ready(decided);
                    }
                    if decided.is_err_and(|refused| self.passes_on(refused)) {
                        continue;
                    }
                }
                self.alarm.set(cx);
                return Poll::Pending;
            }
        })
        .await
    }

    fn has_turn(&self, waker: &Waker) -> bool {
        match &self.seat {
            Seat::Arrival(queue, ticket) => queue.is_first(*ticket, waker),
            Seat::Room(ticket) => self.shared.pool.room.has_turn(*ticket, waker, &*self.shared.pool),
        }
    }

    fn is_held_up_by_share(&self) -> bool {
        match &self.seat {
            Seat::Arrival(..) => false,
            Seat::Room(ticket) => self.shared.pool.room.is_held_up_by_share(*ticket),
        }
    }

    /// Lets others pass if a share is what refused the record; whether it can be tried again at once.
    fn passes_on(&self, refused: Refused) -> bool {
        match (&self.seat, refused.tight) {
            (Seat::Room(ticket), Some((target, tight))) => {
                self.shared.pool.room.found_tight(*ticket, target, tight, &*self.shared.pool)
            }
            _ => false,
        }
    }
}

impl<'a> Alarm<'a> {
    /// Not set yet.
    pub(crate) fn new(shared: &'a Shared, due: Moment) -> Self {
        Self { shared, due, watched: None }
    }

    /// From now on this task is woken at the deadline.
    pub(crate) fn set(&mut self, cx: &mut Context<'_>) {
        let Some(watched) = &self.watched else {
            let watched = Arc::new(CallerWaker::new(cx.waker().clone()));
            self.shared.watch.push_for(Watch::Caller(self.due, Arc::downgrade(&watched)), self.due);
            self.watched = Some(watched);
            return;
        };
        let mut known = watched.lock();
        if known.will_wake(cx.waker()) {
            return;
        }
        let old = std::mem::replace(&mut *known, cx.waker().clone());
        drop(known);
        drop(old);
        // The clock may have woken the old one in between; it does so only once.
        if self.due <= self.shared.clock.moment() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        match &self.seat {
            Seat::Arrival(queue, ticket) => queue.leave(*ticket),
            Seat::Room(ticket) => self.shared.pool.room.leave(*ticket, &*self.shared.pool),
        }
    }
}
