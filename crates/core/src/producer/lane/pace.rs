//! Partitions that hold up others (rule 27): a broker serves one request per connection at a time, so one frozen follower of
//! one partition holds up its neighbours in the same request and in those behind it.
//!
//! ```text
//! fast lane: the oldest request takes too long ─▶ another connection, where everything is asked again and the broker may
//!            wait for followers a moment only ─▶ the slow ones are told apart by their answers, and leave
//! slow lane: a partition that is prompt for a while may go back
//! ```
//!
//! What is asked again may be committed meanwhile, and then it is answered at once: of those in the request that took too
//! long, only a batch that is sent for the first time tells.
//!
//! Always holds: a connection is left for this reason only if the broker recognises what is asked again, and not twice
//! within the time that it may wait for followers nor before something was answered there, so an overloaded or distant
//! broker is not asked for everything again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Attempt, Flight, Lane, LaneReport, Link};
use crate::fault::ConnectionError;
use crate::ids::PartitionId;
use crate::time::Moment;

/// A partition that takes longer to commit is slow, and so is one that takes a quarter of what the broker may wait.
const SLOW_AFTER_MAX: Duration = Duration::from_millis(500);

/// So many answers in a row that come sooner make a slow partition prompt again.
const PROMPT_ANSWERS: u32 = 8;

/// How far slow partitions are told from the others.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the oldest request takes too long.
    late_at: Option<Moment>,
    /// Those of which it is not known yet whether they are slow, and whether they were in the request that took too long.
    /// While there are any, the broker waits for followers a moment only.
    unsorted: BTreeMap<PartitionId, bool>,
    /// The connection is not left again before, and nobody is sorted after.
    not_before: Moment,
    /// Nothing was answered since the connection was left for another one. Then it is the way to the broker that is slow, or
    /// the broker itself, and yet another connection would only begin from the start.
    is_unanswered: bool,
}

impl Pace {
    pub(super) fn due(&self) -> Option<Moment> {
        self.late_at
    }

    pub(super) fn forget_oldest(&mut self) {
        self.late_at = None;
    }

    fn is_sorting(&self, now: Moment) -> bool {
        !self.unsorted.is_empty() && now < self.not_before
    }

    /// The partition has gone.
    pub(super) fn forget(&mut self, id: PartitionId) {
        self.unsorted.remove(&id);
    }
}

impl Lane {
    pub(super) fn slow_after(&self) -> Duration {
        SLOW_AFTER_MAX.min(self.config.produce_timeout / 4)
    }

    /// How long the broker may wait for its followers.
    pub(super) fn patience(&self, now: Moment) -> Duration {
        if self.pace.is_sorting(now) { self.slow_after() / 2 } else { self.config.produce_timeout }
    }

    /// Another request is the oldest unanswered one now.
    pub(super) fn watch_oldest(&mut self, now: Moment) {
        self.suspect(now);
        let Link::Up(connection) = &self.link else { return };
        let late_at = connection.waits_since().map(|since| since + self.slow_after());
        self.pace.late_at = late_at.filter(|due| *due > now && !self.id.is_slow);
    }

    /// The oldest request takes too long, if that time is over.
    pub(super) fn pass_pace(&mut self, now: Moment) {
        if self.pace.late_at.is_some_and(|due| due <= now) {
            self.pace.late_at = None;
            self.leave_if_held_up(now);
        }
    }

    /// Whether it left.
    pub(super) fn leave_if_held_up(&mut self, now: Moment) -> bool {
        let Link::Up(connection) = &self.link else { return false };
        // A question waits for nobody: that it takes long says nothing about a partition.
        if connection.purposes().next().is_some_and(|oldest| !oldest.questions().is_empty()) {
            return false;
        }
        let is_late = connection.waits_since().is_some_and(|since| since + self.slow_after() <= now);
        let may_leave =
            !self.id.is_slow && self.pace.not_before <= now && !self.pace.is_unanswered && !self.keeps_slow();
        let leaves =
            is_late && may_leave && connection.is_ready() && self.holds_up_somebody(now) && self.can_ask_again();
        if leaves {
            self.leave(now);
        }
        leaves
    }

    fn asked(&self) -> impl Iterator<Item = &Attempt> {
        let connection = if let Link::Up(connection) = &self.link { Some(connection) } else { None };
        connection.into_iter().flat_map(|connection| connection.purposes()).flat_map(Flight::attempts)
    }

    /// Whether one partition's answer is waited for by another.
    fn holds_up_somebody(&self, now: Moment) -> bool {
        let Some(first) = self.asked().next().map(|attempt| attempt.partition) else { return false };
        let is_ready = |id: &PartitionId| {
            let held = self.partitions.get(id).filter(|held| !held.is_recalled);
            *id != first && held.is_some_and(|held| held.back.next_bytes(now).is_some())
        };
        self.asked().any(|attempt| attempt.partition != first) || self.ready.iter().any(is_ready)
    }

    /// Asking again costs those nothing that are recognised when they come again.
    fn can_ask_again(&self) -> bool {
        let mut asked = self.asked().filter_map(|attempt| self.partitions.get(&attempt.partition));
        asked.all(|held| held.back.is_recognised())
    }

    fn leave(&mut self, now: Moment) {
        let mut unsorted: BTreeMap<PartitionId, bool> =
            self.asked().map(|attempt| (attempt.partition, false)).collect();
        if let Link::Up(connection) = &self.link {
            let oldest = connection.purposes().next().into_iter().flat_map(Flight::attempts);
            unsorted.extend(oldest.map(|attempt| (attempt.partition, true)));
        }
        self.handle_disconnected(now, ConnectionError::HeldUp);
        self.failures = 0;
        self.link = Link::Down { retry_at: now };
        let not_before = now + self.config.produce_timeout;
        self.pace = Pace { late_at: None, unsorted, not_before, is_unanswered: true };
        // The broker is well, so there is nothing to wait for.
        let partitions: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in partitions {
            self.tell_back(id, |back, _| back.retry_at_once(now));
        }
    }

    /// What was asked for a partition before it was known to be slow would take the broker's whole patience again.
    pub(super) fn leave_what_is_asked_for_slow_ones(&mut self, now: Moment) {
        let is_slow = |attempt: &Attempt| self.partitions.get(&attempt.partition).is_some_and(|held| held.is_slow);
        let has_others = self.partitions.values().any(|held| !held.is_recalled);
        if has_others && self.asked().any(is_slow) && self.can_ask_again() {
            self.leave(now);
        }
    }

    /// Takes note of how soon a partition's answer came.
    pub(super) fn take_pace(&mut self, attempt: &Attempt, is_slow: bool, is_late: bool) {
        self.pace.is_unanswered = false;
        let id = attempt.partition;
        let may_leave = self.partitions.len() > 1 && !self.keeps_slow();
        if is_slow || attempt.key.number == 1 || self.pace.unsorted.get(&id) == Some(&false) {
            self.pace.forget(id);
        }
        let Some(held) = self.partitions.get_mut(&id).filter(|held| !held.is_recalled) else { return };
        if self.id.is_slow {
            held.prompt_answers = if is_slow || is_late { 0 } else { held.prompt_answers + 1 };
            if held.prompt_answers > 0 && held.prompt_answers.is_multiple_of(PROMPT_ANSWERS) {
                self.report(LaneReport::Prompt(id));
            }
        } else if is_slow && may_leave {
            (held.is_recalled, held.is_slow) = (true, true);
            self.report(LaneReport::Slow(id));
            self.release_if_idle(id);
        }
    }

    #[cfg(not(feature = "plants"))]
    fn keeps_slow(&self) -> bool {
        false
    }

    /// Rule 27 broken.
    #[cfg(feature = "plants")]
    fn keeps_slow(&self) -> bool {
        self.config.connection.plant == crate::plant::Plant::SlowStays
    }
}
