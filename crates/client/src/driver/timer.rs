//! A timer that fires on time: armed a millisecond early at first, because a plain sleep fires 1.08 ms late on average
//! (measured); where that was too early, armed again for the moment itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use milena_core::time::Moment;
use tokio::time::{Instant, Sleep};

use crate::clock::Clock;

#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// What the sleep is armed for; none before the first time.
    armed: Option<Moment>,
    /// It has fired for `armed`, ahead of it.
    was_early: bool,
}

const EARLY: Duration = Duration::from_millis(1);

impl Timer {
    pub(crate) fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), armed: None, was_early: false }
    }

    /// Ready about a millisecond before `due`, and when asked for the same moment again, at `due`.
    pub(crate) fn poll_due(&mut self, due: Moment, clock: &Clock, cx: &mut Context<'_>) -> Poll<()> {
        let Some(instant) = clock.instant(due).filter(|_| due != Moment::NEVER) else { return Poll::Pending };
        if self.armed != Some(due) {
            self.armed = Some(due);
            self.was_early = false;
            self.sleep.as_mut().reset(Instant::from_std(instant.checked_sub(EARLY).unwrap_or(instant)));
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if std::mem::replace(&mut self.was_early, true) {
            self.armed = None;
        } else {
            self.sleep.as_mut().reset(Instant::from_std(instant));
        }
        Poll::Ready(())
    }
}
