//! How followers copy, when they are in sync, and what is committed.
//!
//! A healthy follower copies in the same moment; a lagging one so much later; one whose node is frozen, stopped or uninformed not at all. The
//! high watermark is the smallest log end in the ISR and never falls while a node leads. A follower that lacked something for
//! longer than `replica.lag.time.max.ms` leaves the ISR; one that has reached the high watermark joins it. Only a leader that
//! works, and under the current epoch, does any of this.

use std::collections::VecDeque;
use std::time::Duration;

use milena_wire::ErrorCode;

use crate::ids::NodeId;
use crate::leadership::Leadership;
use crate::log::Appending;
use crate::nodes::Nodes;
use crate::partition::Partition;
use crate::replica::Replica;

/// What replication goes by, beside the partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replication<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) now: Duration,
    /// How followers append.
    pub(crate) appending: Appending<'a>,
    /// `replica.lag.time.max.ms`.
    pub(crate) lag_max: Duration,
    /// `min.insync.replicas`, where the high watermark waits for that many; otherwise 1.
    pub(crate) commit_min: usize,
    /// Whether the leader gets a new epoch when a follower falls out of sync.
    pub(crate) renews_epoch_on_shrink: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replicated {
    /// The ISR is another one.
    pub(crate) isr_changed: bool,
    /// When to look again.
    pub(crate) look_at: Option<Duration>,
}

impl Partition {
    /// Everything that can happen now without a client.
    pub(crate) fn replicate(&mut self, context: &Replication<'_>) -> Replicated {
        if self.replicas.len() == 1 {
            self.replicas[0].commit_alone();
            return Replicated::default();
        }
        let Some(mut leader) = self.take_working_leader(context.nodes) else {
            self.commit_uninformed(context.commit_min);
            return Replicated::default();
        };
        let mut look_at = None;
        for follower in &mut self.replicas {
            let copies = context.nodes.state(follower.node).works() && follower.known.epoch == leader.known.epoch;
            let again = if copies { follower.follow(&leader, &self.appends, context) } else { None };
            follower.note_behind(&leader, &self.appends, context);
            look_at = earliest(look_at, again);
        }
        let (isr, check_at) = self.isr_of(&leader, context);
        if let Some(lag) = context.nodes.longest_lag() {
            self.appends.forget(context.now.checked_sub(lag));
        } else {
            self.appends = Appends::default();
        }
        let isr_changed = isr != self.leadership.isr;
        if isr_changed {
            let mut next = Leadership { isr, ..self.leadership.clone() };
            if context.renews_epoch_on_shrink {
                next = self.leadership.renewed_on_shrink(next);
            }
            if next.epoch != self.leadership.epoch {
                // Followers of the former epoch have to agree with the leader anew.
                look_at = Some(context.now);
            }
            leader.learn(&next);
            self.replicas.insert(self.leading, leader);
            self.decide(context.now, next, context.nodes);
        } else {
            self.replicas.insert(self.leading, leader);
        }
        self.commit(context.commit_min);
        Replicated { isr_changed, look_at: earliest(look_at, check_at) }
    }

    /// Takes the leader's replica out, if it works and knows that it leads.
    fn take_working_leader(&mut self, nodes: &Nodes) -> Option<Replica> {
        let leader = &self.replicas[self.leading];
        let leads = leader.leads() && leader.known.epoch == self.leadership.epoch;
        (leads && nodes.state(leader.node).works()).then(|| self.replicas.remove(self.leading))
    }

    /// Who is in sync now, and when that has to be looked at again. The leader's replica is not among the others here.
    fn isr_of(&self, leader: &Replica, context: &Replication<'_>) -> (Vec<NodeId>, Option<Duration>) {
        let mut check_at = None;
        let mut in_sync = |follower: &Replica| {
            let state = context.nodes.state(follower.node);
            let falls_out = follower.behind_since.map(|since| {
                // A node that copies nothing was last caught up when it stopped to.
                let since = state.away_since.map_or(since, |away| away.min(since));
                since.saturating_add(context.lag_max)
            });
            let is_late = falls_out.is_some_and(|at| at <= context.now);
            let stays = self.leadership.isr.contains(&follower.node);
            let joins = state.works()
                && !state.is_fenced
                && follower.agreed_epoch == Some(leader.known.epoch)
                && follower.end() >= leader.high_watermark.max(leader.epoch_start);
            let is_in = !is_late && (stays || joins);
            if is_in {
                check_at = earliest(check_at, falls_out);
            }
            is_in
        };
        let mut isr: Vec<NodeId> = Vec::with_capacity(self.replicas.len() + 1);
        isr.extend(self.replicas.iter().filter(|follower| in_sync(follower)).map(|follower| follower.node));
        // In the order of the assignment.
        let before = self.replicas[..self.leading].iter().filter(|follower| isr.contains(&follower.node)).count();
        isr.insert(before, leader.node);
        (isr, check_at)
    }

    /// The high watermark of the leader, and of the followers that hear of it. A leader that does not know the end of a replica in sync, because it
    /// has not asked under this epoch yet, waits for it.
    fn commit(&mut self, commit_min: usize) {
        let leader = &self.replicas[self.leading];
        if leader.known.isr.len() >= commit_min
            && let Some(high_watermark) = self.smallest_end(leader)
        {
            let leader = &mut self.replicas[self.leading];
            leader.high_watermark = leader.high_watermark.max(high_watermark);
        }
        let (epoch, high_watermark) = (self.leadership.epoch, self.replicas[self.leading].high_watermark);
        for follower in self.replicas.iter_mut().filter(|follower| follower.agreed_epoch == Some(epoch)) {
            follower.high_watermark = high_watermark.min(follower.end());
        }
    }

    fn smallest_end(&self, leader: &Replica) -> Option<i64> {
        let end = |node: &NodeId| {
            let member = self.replica(*node).expect("only replicas are in sync");
            (member.agreed_epoch == Some(leader.known.epoch)).then(|| member.end())
        };
        leader.known.isr.iter().map(end).min().flatten()
    }

    /// A leader of an epoch that is over commits what it appends only where it believes to be the last one in sync, and one is enough.
    fn commit_uninformed(&mut self, commit_min: usize) {
        for replica in &mut self.replicas {
            if commit_min <= 1 && replica.leads() && replica.known.isr == [replica.node] {
                replica.commit_alone();
            }
        }
    }

    /// What a request that waits for all replicas in sync can be told; none while it has to wait on.
    pub(crate) fn committed(&self, node: NodeId, end_offset: i64, min_isr: usize) -> Option<ErrorCode> {
        match self.led_on(node) {
            Err(code) => Some(code),
            Ok(leader) if leader.high_watermark < end_offset => None,
            Ok(leader) if leader.known.isr.len() < min_isr => Some(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
            Ok(_) => Some(ErrorCode::NONE),
        }
    }
}

impl Replica {
    fn commit_alone(&mut self) {
        if self.leads() {
            self.high_watermark = self.end();
        }
    }

    /// Copies what is due; says when more will be.
    fn follow(&mut self, leader: &Replica, appends: &Appends, context: &Replication<'_>) -> Option<Duration> {
        let lag = context.nodes.state(self.node).lag;
        if lag == Some(Duration::MAX) {
            return None;
        }
        // A disk that fails copies nothing now; the next append tries again.
        if self.agreed_epoch != Some(leader.known.epoch) {
            self.agree_with(leader).ok()?;
        }
        let end = match lag {
            None => leader.end(),
            Some(lag) => appends.end_at(context.now.checked_sub(lag), leader.end()),
        };
        self.copy(leader, end, &context.appending).ok()?;
        let next = appends.first_after(self.end())?;
        lag.map(|lag| next.saturating_add(lag))
    }

    fn note_behind(&mut self, leader: &Replica, appends: &Appends, context: &Replication<'_>) {
        let has_all = self.agreed_epoch == Some(leader.known.epoch) && self.end() >= leader.end();
        self.behind_since = match (has_all, appends.first_after(self.end())) {
            (true, _) => None,
            (false, Some(first)) => Some(first),
            (false, None) => Some(self.behind_since.unwrap_or(context.now)),
        };
    }
}

/// When the newest batches were appended, for followers that copy late. Empty while nobody lags.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    /// Where the log ended before the first of them.
    before: i64,
    /// When, and where the log ended then.
    ends: VecDeque<(Duration, i64)>,
}

impl Appends {
    pub(crate) fn note(&mut self, now: Duration, base: i64, end: i64) {
        if self.ends.is_empty() {
            self.before = base;
        }
        self.ends.push_back((now, end));
    }

    /// Where the log ended at a time, as far back as it is remembered. None is before the clock began.
    fn end_at(&self, time: Option<Duration>, now: i64) -> i64 {
        let earlier = self.ends.partition_point(|(at, _)| Some(*at) <= time);
        match earlier.checked_sub(1) {
            Some(last) => self.ends[last].1,
            None if self.ends.is_empty() => now,
            None => self.before,
        }
    }

    /// When the first batch after an offset was appended; none if that is forgotten.
    fn first_after(&self, offset: i64) -> Option<Duration> {
        if offset < self.before {
            return None;
        }
        let first = self.ends.partition_point(|(_, end)| *end <= offset);
        self.ends.get(first).map(|(at, _)| *at)
    }

    /// Nobody asks any more about what was before a time.
    fn forget(&mut self, time: Option<Duration>) {
        while self.ends.front().is_some_and(|(at, _)| Some(*at) <= time) {
            if let Some((_, end)) = self.ends.pop_front() {
                self.before = end;
            }
        }
    }

    /// The log ends here now: another leader's may be shorter.
    pub(crate) fn cut(&mut self, end: i64) {
        while self.ends.back().is_some_and(|(_, last)| *last > end) {
            self.ends.pop_back();
        }
    }
}

fn earliest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
