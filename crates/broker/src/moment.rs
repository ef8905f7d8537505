//! Time as an argument: one point in time, given by whoever drives the cluster.
//!
//! A [`Moment`] carries two clocks because Kafka uses two. Waiting is measured on a monotonic one; record
//! timestamps and the expiry of producer state are measured in wall clock milliseconds. Both come from the
//! driver: the TCP server reads the machine's clocks, a simulation makes them up. Nothing in this crate but
//! the server asks a clock.

use std::time::Duration;

/// A point in time, on the monotonic clock and on the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Time since the driver's own zero; never runs backwards.
    pub elapsed: Duration,
    /// Time since the Unix epoch; what record timestamps and producer expiry are compared with.
    pub wall: Duration,
}

impl Moment {
    /// The wall clock as a record timestamp: milliseconds since the Unix epoch.
    pub fn timestamp(self) -> i64 {
        i64::try_from(self.wall.as_millis()).unwrap_or(i64::MAX)
    }

    /// The same point as seen `age` earlier on both clocks.
    pub(crate) fn before(self, age: Duration) -> Moment {
        Moment { elapsed: self.elapsed.saturating_sub(age), wall: self.wall.saturating_sub(age) }
    }
}
