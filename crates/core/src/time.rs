//! Time as the machines see it: given from outside, monotonic, in whole microseconds.
//!
//! A [`Moment`] fits into one atomic word, so a sleeping driver can publish when it will wake (see the client's gate),
//! and a simulation prints the same numbers in every run, which `std::time::Instant` allows neither.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A point on the monotonic clock of one client: microseconds since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// When the client was built.
    pub const START: Self = Self(0);
    /// Never: later than every real moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment this many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time passed since an earlier moment; zero if it was not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at [`Moment::NEVER`], so that a deadline of `Duration::MAX` means none.
    fn add(self, rest: Duration) -> Self {
        let micros = u64::try_from(rest.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// What the clock says to one call: the monotonic moment, and the wall clock for record timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines, linger and retries.
    pub moment: Moment,
    /// Milliseconds since the Unix epoch, for `CreateTime` timestamps.
    pub wall_millis: i64,
}

/// The grain of deadlines: records whose deadlines end in the same tick are released together. 5 ms, so that of the 10 ms
/// that are promised as much is left for the timer and the thread behind it; a thousand callers a second still share
/// their releases five by five.
pub const TICK: Duration = Duration::from_millis(5);

/// A deadline rounded up to the next tick, so that nobody is released early and nobody more than one tick late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The earliest there is.
    pub const FIRST: Self = Self(0);

    /// The first tick that is not before `moment`.
    pub const fn not_before(moment: Moment) -> Self {
        Self(moment.0.div_ceil(TICK.as_micros() as u64))
    }

    /// When this tick ends.
    pub const fn moment(self) -> Moment {
        Moment(self.0.saturating_mul(TICK.as_micros() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_never_ends_before_its_deadline_and_less_than_a_tick_after() {
        for micros in [0, 1, 4_999, 5_000, 5_001, 123_456_789] {
            let due = Moment::from_micros(micros);
            let end = Tick::not_before(due).moment();
            assert!(end >= due && end.since(due) < TICK, "{due} {end}");
        }
    }

    #[test]
    fn an_endless_deadline_saturates() {
        assert_eq!(Moment::from_micros(5) + Duration::MAX, Moment::NEVER);
        assert!(Tick::not_before(Moment::NEVER).moment() > Moment::from_micros(u64::MAX / 2));
    }
}
