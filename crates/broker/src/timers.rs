//! What is due later, beside requests that wait: fencing, learning, copies and checks of followers, the end of a mute.
//!
//! A timer is a reminder, not an order: whoever handles it looks again whether there is something to do. So a timer that is set
//! twice or too early does no harm, and none has to be taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_wire::Uuid;

use crate::ids::{ConnectionId, NodeId, PartitionIndex};

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Whether a node has been silent too long.
    Fence(NodeId),
    /// Whether a node that woke has learned what happened.
    Learn(NodeId),
    /// Whether followers have something to copy, or are too far behind.
    Replicate(Uuid, PartitionIndex),
    /// Whether a log is to be fsynced.
    Flush(Uuid, PartitionIndex),
    /// Whether logs have what is too old or too much.
    Retain,
    /// Whether logs have enough that was written again.
    Compact,
    /// Whether files have waited long enough to be removed.
    Remove,
    /// Whether a throttled connection may be read again.
    Unmute(ConnectionId),
    /// Whether an answer that a fault holds back goes out.
    Answer(ConnectionId),
}

/// All reminders, by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Duration, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Duration, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }
}
