//! One road to one broker: a connection and the partitions that it leads.
//!
//! ```text
//! Down(retry at) ─▶ Dialing ─▶ Up(connection) ─ lost ─▶ Down
//! ```
//!
//! Always holds: a request is made only when every byte before it was handed to the kernel, so a batch is claimed as late
//! as possible and there is no queue between stamp and socket; a partition's attempts travel on one connection, in
//! order; a partition leaves only with nothing of it unanswered.
//!
//! A turn of its owner: `handle_timeout`, `poll_collect`, `poll_event`, `poll_dial`, then the socket (`poll_request`,
//! `handle_written`, `handle_read`), then `poll_event` again. Time comes before the socket, because what has become due is
//! found by the next `poll_request` and nothing wakes the lane for it a second time. Events come before the socket,
//! because a connection that was given up must be closed before another byte goes out: a request that was not written
//! whole counts as never executed (rule 12).
//!
//! A partition that is slow leaves the fast lane of its broker (rule 27): a broker serves one request per connection at a
//! time, so one frozen follower would hold up every partition of the connection.
//!
//! The connection is in `lane/link.rs`, making requests in `lane/requests.rs`, taking answers in `lane/answers.rs`, telling
//! slow partitions from the others in `lane/pace.rs`, work on bytes that others do in `lane/packing.rs`. Left out: what
//! leads where (`control.rs`), stamps and retries (`back.rs`), the socket.

mod answers;
mod link;
mod orders;
mod pace;
mod packing;
mod questions;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::back::{Ended, PartitionBack};
use super::batch::SealReason;
use super::front::PartitionFront;
use super::outcome::{AttemptError, NotWritten, Undetermined};
use crate::backoff::{Backoff, Chance};
use crate::connection::ConnectionConfig;
use crate::ids::{Identity, LaneId, PartitionId};
use crate::time::Moment;

pub use super::back::AttemptKey;
pub use super::produce_request::LeaderHint;
#[cfg(feature = "plants")]
pub use answers::Covered;
pub use answers::StrayAnswer;
use link::{Attempt, Flight, Link};
pub use orders::{LaneEvent, LaneOrder, LaneReport, Recall};
use pace::Pace;
use packing::Work;

/// What a lane needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// For its connections.
    pub connection: ConnectionConfig,
    /// How long a broker may wait for its followers before it answers REQUEST_TIMED_OUT (rule 27).
    pub produce_timeout: Duration,
    /// Between attempts to connect.
    pub reconnect: Backoff,
}

/// Timers that are due within this time go along: a wake-up costs more than the wait.
const TIMER_SLACK: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct LanePartition {
    back: PartitionBack,
    /// When its front should be looked at for the end of a linger.
    linger: Option<Moment>,
    /// When its back wants to be looked at.
    timer: Option<Moment>,
    /// It takes no more batches along, and leaves once nothing of it is unanswered.
    is_recalled: bool,
    /// It leaves for the slow lane.
    is_slow: bool,
    /// An identity was asked for, and none came yet.
    wants_identity: bool,
    /// Answers in a row that came soon; counted on the slow lane.
    prompt_answers: u32,
}

/// The machine.
#[derive(Debug)]
pub struct Lane {
    config: LaneConfig,
    id: LaneId,
    link: Link,
    partitions: BTreeMap<PartitionId, LanePartition>,
    /// Those that may have something to send.
    ready: BTreeSet<PartitionId>,
    /// Those that may have something to ask.
    curious: BTreeSet<PartitionId>,
    /// The partition after which the next request starts to look, so that each gets its turn.
    last_served: PartitionId,
    lingers: BTreeSet<(Moment, PartitionId)>,
    timers: BTreeSet<(Moment, PartitionId)>,
    events: VecDeque<LaneEvent>,
    /// Set when the broker told its versions; cleared when its connection ends.
    is_connected: bool,
    /// Connections that failed in a row.
    failures: u32,
    chance: Chance,
    /// Empty between calls; kept for their memory.
    ended: Vec<Ended>,
    turn: Vec<PartitionId>,
    /// When an unanswered request makes it likely that the broker is gone; metadata is asked for then.
    suspects_at: Option<Moment>,
    pace: Pace,
    /// When the broker reads again.
    throttle_ends: Option<Moment>,
    /// Some partitions got no stamp because nobody could be told of it; all are looked at again once somebody can.
    is_held_back: bool,
    work: Work,
    #[cfg(feature = "plants")]
    covered: Vec<Covered>,
}

impl Lane {
    /// A lane without partitions; it dials at once.
    pub fn new(id: LaneId, config: LaneConfig, seed: u64) -> Self {
        Self {
            config,
            id,
            link: Link::Down { retry_at: Moment::START },
            partitions: BTreeMap::new(),
            ready: BTreeSet::new(),
            curious: BTreeSet::new(),
            last_served: PartitionId(0),
            lingers: BTreeSet::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            is_connected: false,
            failures: 0,
            chance: Chance::new(seed),
            ended: Vec::new(),
            turn: Vec::new(),
            suspects_at: None,
            pace: Pace::default(),
            throttle_ends: None,
            is_held_back: false,
            work: Work::default(),
            #[cfg(feature = "plants")]
            covered: Vec::new(),
        }
    }

    /// The broker, and which of the roads to it this is.
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// Whether something waits because nobody could be told of it.
    pub fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Whether the lane leads this partition.
    pub fn leads(&self, partition: PartitionId) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Does what control asks for. The front of an adopted partition should be collected next.
    pub fn obey(&mut self, now: Moment, order: LaneOrder) {
        match order {
            LaneOrder::Adopt(back) => self.adopt(*back),
            LaneOrder::Recall(partition, recall) => self.recall(now, partition, recall),
            LaneOrder::Grant(partition, identity) => self.grant(partition, identity),
            LaneOrder::TopicRecreated(partition, id) => {
                self.tell_back(partition, |back, ended| back.handle_topic_recreated(id, ended));
            }
            LaneOrder::ClusterChanged(partition) => self.tell_back(partition, PartitionBack::handle_cluster_changed),
            LaneOrder::Abandon(partition, producer_id) => {
                self.tell_back(partition, |back, ended| back.abandon(producer_id, ended));
            }
            // It has left again; control knows better by the time when this comes back.
            LaneOrder::Stray(partition, stray) if !self.leads(partition) => {
                self.report(LaneReport::Stray(partition, stray));
            }
            LaneOrder::Stray(partition, stray) => {
                self.tell_back(partition, |back, ended| stray.tell(now, back, ended));
            }
        }
    }

    fn adopt(&mut self, mut back: PartitionBack) {
        let id = back.id();
        back.meet_broker(self.work.produce_version);
        back.trouble().led_by(self.id.node);
        let held = LanePartition {
            back,
            linger: None,
            timer: None,
            is_recalled: false,
            is_slow: false,
            wants_identity: false,
            prompt_answers: 0,
        };
        self.partitions.insert(id, held);
        self.touch(id);
    }

    fn recall(&mut self, now: Moment, partition: PartitionId, recall: Recall) {
        let is_now = recall == Recall::AtOnce && !self.is_planted();
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        held.is_recalled = true;
        let mut ended = Vec::new();
        if is_now && held.back.may_leave_answers() {
            held.back.leave_leader(now, &mut ended);
        }
        self.publish(partition, ended);
        self.release_if_idle(partition);
    }

    #[cfg(not(feature = "plants"))]
    fn is_planted(&self) -> bool {
        false
    }

    /// Rule 7 broken.
    #[cfg(feature = "plants")]
    fn is_planted(&self) -> bool {
        self.config.connection.plant == crate::plant::Plant::OldLeaderHoldsPartition
    }

    fn release_if_idle(&mut self, id: PartitionId) {
        let Some(held) = self.partitions.get(&id) else { return };
        if held.is_recalled && !held.back.is_on_wire() {
            self.arm(id, None, None);
            self.ready.remove(&id);
            self.curious.remove(&id);
            self.pace.forget(id);
            let mut held = self.partitions.remove(&id).expect("the partition was just looked up");
            held.back.forget_work();
            held.back.forget_questions();
            self.work.forget(id);
            self.report(LaneReport::Released(Box::new(held.back)));
        }
    }

    fn grant(&mut self, partition: PartitionId, identity: Identity) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.wants_identity = false;
            held.back.grant(identity);
            self.touch(partition);
        }
    }

    fn tell_back(&mut self, partition: PartitionId, tell: impl FnOnce(&mut PartitionBack, &mut Vec<Ended>)) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        let mut ended = Vec::new();
        tell(&mut held.back, &mut ended);
        self.publish(partition, ended);
        self.touch(partition);
        self.release_if_idle(partition);
    }

    /// Looks at a partition's front: takes what is sealed, seals what has lingered long enough and could be sent now,
    /// and ends what nobody wants any more. To be called for every partition a gate or [`Self::poll_collect`] names.
    pub fn collect(&mut self, partition: PartitionId, front: &mut PartitionFront, now: Moment) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        held.back_takes(front);
        let ends = front.linger_ends();
        if ends.is_some_and(|ends| ends <= now + TIMER_SLACK) && held.back.has_room(now) && !held.is_recalled {
            front.seal(SealReason::Linger);
            held.back_takes(front);
        }
        let mut ended = Vec::new();
        held.back.end_dead_pending(&mut ended);
        self.publish(partition, ended);
        let linger = front.linger_ends();
        self.arm_linger(partition, linger);
        self.touch(partition);
    }

    /// Sums the partition's next batch ahead of its claim; to be called after [`Self::collect`], without the front's lock.
    pub fn pack(&mut self, partition: PartitionId) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.back.pack_next();
        }
    }

    /// A partition whose front must be collected now: its linger is over, and it has room.
    pub fn poll_collect(&mut self, now: Moment) -> Option<PartitionId> {
        let limit = now + TIMER_SLACK;
        // One that has no room stays in the list of due ones until an answer makes room; see `touch`.
        while let Some((due, partition)) = self.lingers.first().copied() {
            if due > limit {
                return None;
            }
            self.arm_linger(partition, None);
            let held = self.partitions.get_mut(&partition).expect("timers belong to partitions of this lane");
            if held.back.has_room(now) && !held.is_recalled {
                return Some(partition);
            }
            held.linger = Some(due);
        }
        None
    }

    /// The lane may have to look at this partition again.
    fn touch(&mut self, partition: PartitionId) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        let (linger, timer, is_packing) = (held.linger, held.back.poll_timeout(), held.back.is_packing());
        let asks = held.back.asks_at().is_some();
        if held.back.needs_identity() && !std::mem::replace(&mut held.wants_identity, true) {
            // What went wrong before tells more, and it may still have to be told to records that end now.
            if held.back.trouble().last().1.is_none() {
                held.back.trouble().note(None, AttemptError::NoProducerId);
            }
            let abandoned = held.back.abandoned();
            self.report(LaneReport::NeedsIdentity(partition, abandoned));
        }
        self.ready.insert(partition);
        if asks {
            self.curious.insert(partition);
        }
        if is_packing {
            self.work.open.insert(partition);
        }
        if let Some(due) = linger {
            self.lingers.insert((due, partition));
        }
        self.arm_timer(partition, timer);
    }

    fn arm(&mut self, partition: PartitionId, linger: Option<Moment>, timer: Option<Moment>) {
        self.arm_linger(partition, linger);
        self.arm_timer(partition, timer);
    }

    fn arm_linger(&mut self, partition: PartitionId, due: Option<Moment>) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if let Some(old) = std::mem::replace(&mut held.linger, due) {
            self.lingers.remove(&(old, partition));
        }
        self.lingers.extend(due.map(|due| (due, partition)));
    }

    fn arm_timer(&mut self, partition: PartitionId, due: Option<Moment>) {
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if let Some(old) = std::mem::replace(&mut held.timer, due) {
            self.timers.remove(&(old, partition));
        }
        self.timers.extend(due.map(|due| (due, partition)));
    }

    fn report(&mut self, report: LaneReport) {
        self.events.push_back(LaneEvent::Report(report));
    }

    fn publish(&mut self, partition: PartitionId, ended: impl IntoIterator<Item = Ended>) {
        self.events.extend(ended.into_iter().map(|ended| LaneEvent::Ended(partition, ended)));
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_collect`] must be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let link = match &self.link {
            Link::Down { retry_at } if !self.partitions.is_empty() => Some(*retry_at),
            Link::Down { .. } | Link::Dialing => None,
            Link::Up(connection) => connection.poll_timeout(),
        };
        let first = |timers: &BTreeSet<(Moment, PartitionId)>| timers.first().map(|(due, _)| *due);
        let own = [link, self.suspects_at, self.pace.due(), self.throttle_ends];
        own.into_iter().chain([first(&self.lingers), first(&self.timers)]).flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        if let Link::Up(connection) = &mut self.link
            && let Err(error) = connection.handle_timeout(now)
        {
            self.handle_disconnected(now, error);
        }
        self.throttle_ends = self.throttle_ends.filter(|ends| *ends > now);
        self.suspect(now);
        self.pass_pace(now);
        while let Some((due, partition)) = self.timers.first().copied() {
            if due > now {
                break;
            }
            self.look_at(partition, now);
        }
    }

    /// Ends what is past its time on this partition.
    pub fn look_at(&mut self, partition: PartitionId, now: Moment) {
        let mut ended = Vec::new();
        self.arm_timer(partition, None);
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        held.back.handle_timeout(now, &mut ended);
        let wants_fence = held.back.ask_for_fence(now);
        let timer = held.back.poll_timeout_after(now);
        self.publish(partition, ended);
        if wants_fence {
            self.events.push_back(LaneEvent::FenceWanted(partition));
        }
        self.touch(partition);
        self.arm_timer(partition, timer);
    }

    /// What the surroundings must do.
    pub fn poll_event(&mut self) -> Option<LaneEvent> {
        self.events.pop_front()
    }

    /// Ends everything the lane holds: the producer is closed, or its driver is lost.
    pub fn end_all(&mut self, unclaimed: NotWritten, doubt: Undetermined) {
        for (partition, held) in &mut self.partitions {
            let mut ended = Vec::new();
            held.back.end_all(unclaimed, doubt, &mut ended);
            self.events.extend(ended.into_iter().map(|ended| LaneEvent::Ended(*partition, ended)));
        }
    }
}

impl LanePartition {
    fn back_takes(&mut self, front: &mut PartitionFront) {
        front.take_sealed().for_each(|batch| self.back.add_sealed(batch));
    }
}

#[cfg(all(test, not(milena_model)))]
mod chaos;
#[cfg(all(test, not(milena_model)))]
mod rig;
#[cfg(all(test, not(milena_model)))]
mod tests;
