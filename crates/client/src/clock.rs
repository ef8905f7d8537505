//! The one clock of a producer: monotonic moments since it was built, and the wall clock for record timestamps.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milena_core::time::{Moment, Now};

#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Wall-clock milliseconds at the start, kept current by the driver, so that callers read one clock only.
    wall_at_start: AtomicI64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let clock = Self { start: Instant::now(), wall_at_start: AtomicI64::new(0) };
        clock.follow_wall();
        clock
    }

    #[inline]
    pub(crate) fn moment(&self) -> Moment {
        Moment::from_micros(self.start.elapsed().as_micros() as u64)
    }

    #[inline]
    pub(crate) fn now(&self) -> Now {
        let moment = self.moment();
        let since_start = (moment.as_micros() / 1000) as i64;
        Now { moment, wall_millis: self.wall_at_start.load(Ordering::Relaxed) + since_start }
    }

    /// Takes a step of the wall clock over; called by the driver now and then.
    pub(crate) fn follow_wall(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at_start = wall.as_millis() as i64 - self.start.elapsed().as_millis() as i64;
        self.wall_at_start.store(at_start, Ordering::Relaxed);
    }

    /// For the timers of the runtime.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.start.checked_add(Duration::from_micros(moment.as_micros()))
    }
}
