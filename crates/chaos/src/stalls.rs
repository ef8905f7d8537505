//! How long those who are on the way from a deadline to its caller were kept from running: the measure of what is late and
//! what is only a busy machine.

use std::time::Instant;

use crate::audit::Stall;
use crate::load;
use crate::punctual::Watchdog;
use crate::run_queue::{RunQueue, Times};

/// Watches from its start until it is dropped.
pub struct Stalls {
    watchdog: Watchdog,
    threads: RunQueue,
    listeners: RunQueue,
}

impl Stalls {
    pub fn watch() -> Self {
        let (threads, listeners) = (RunQueue::watch(&load::THREADS), RunQueue::watch(&load::LISTENERS));
        Self { watchdog: Watchdog::start(), threads, listeners }
    }

    /// Begins anew, so that a long campaign neither keeps nor looks through all of its past.
    pub fn begin_anew(&mut self) {
        self.watchdog.forget();
        *self = Self::watch();
    }

    pub fn between(&self, from: Instant, to: Instant) -> Stall {
        let Times { ran, waited } = self.threads.between(from, to);
        Stall { excused: self.watchdog.worst_between(from, to) + waited + self.listeners.between(from, to).ran, ran }
    }
}
