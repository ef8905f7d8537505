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
//! Left out: what leads where (`control.rs`), stamps and retries (`back.rs`), the socket.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::messages::produce::response::ProduceResponse;
use milena_wire::{ApiKey, ErrorCode, Uuid};

use super::back::{Effects, Ended, PartitionBack, TopicRef};
use super::batch::{ChunkSource, SealReason};
use super::front::PartitionFront;
use super::outcome::{NotWritten, Undetermined};
use super::produce_request::{self, Entry, Envelope, TOPIC_IDS_FROM, Transmit};
use crate::backoff::{Backoff, Chance};
use crate::connection::{Answer, Connection, ConnectionConfig, ConnectionError};
use crate::ids::{Identity, LaneId, PartitionId, PartitionIndex, ProducerId};
use crate::time::Moment;

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

/// Requests on one connection that are not answered: enough to keep a broker busy, which serves one at a time.
const REQUESTS_IN_FLIGHT_MAX: usize = 5;

/// No batch joins a request of this size: one that is larger delays its first partition without helping the last.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Timers that are due within this time go along: a wake-up costs more than the wait.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// What a lane tells its surroundings.
#[derive(Debug)]
pub enum LaneEvent {
    /// A batch ended; its outcome must be published and its memory given back.
    Ended(PartitionId, Ended),
    /// A partition stopped: what its front holds ends as `NotWritten(PartitionStopped)`.
    Stopped(PartitionId, ErrorCode),
    /// A partition has no producer id; the one that it names must not be used again.
    NeedsIdentity(PartitionId, Option<ProducerId>),
    /// The cluster may have changed.
    NeedsMetadata,
    /// A recalled partition, with nothing of it unanswered.
    Released(PartitionBack),
    /// The broker told its versions; requests can be sent.
    Connected,
    /// There is no connection (any more), for this reason. Its socket must be closed, if it is not: then dial again at
    /// [`Lane::poll_dial`].
    Disconnected(ConnectionError),
}

#[derive(Debug)]
struct Flight {
    attempts: Vec<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    partition: PartitionId,
    topic: TopicRef,
    index: PartitionIndex,
    ordinal: u64,
}

#[derive(Debug)]
enum Link {
    Down { retry_at: Moment },
    Dialing,
    Up(Box<Connection<Flight>>),
}

#[derive(Debug)]
struct LanePartition {
    back: PartitionBack,
    /// When its front should be looked at for the end of a linger.
    linger: Option<Moment>,
    /// When its back wants to be looked at.
    timer: Option<Moment>,
    is_recalled: bool,
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
            last_served: PartitionId(0),
            lingers: BTreeSet::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            is_connected: false,
            failures: 0,
            chance: Chance::new(seed),
            ended: Vec::new(),
            turn: Vec::new(),
        }
    }

    /// The broker, and which of the roads to it this is.
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// Whether the lane leads this partition.
    pub fn leads(&self, partition: PartitionId) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Takes a partition over. Its front should be collected next.
    pub fn adopt(&mut self, back: PartitionBack) {
        let id = back.id();
        back.trouble().led_by(self.id.node);
        if back.needs_identity() {
            self.events.push_back(LaneEvent::NeedsIdentity(id, back.abandoned()));
        }
        self.partitions.insert(id, LanePartition { back, linger: None, timer: None, is_recalled: false });
        self.touch(id);
    }

    /// Gives the partition back with [`LaneEvent::Released`] as soon as nothing of it is unanswered.
    pub fn recall(&mut self, partition: PartitionId) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.is_recalled = true;
            self.release_if_idle(partition);
        }
    }

    fn release_if_idle(&mut self, id: PartitionId) {
        let Some(held) = self.partitions.get(&id) else { return };
        if held.is_recalled && !held.back.is_on_wire() {
            self.arm(id, None, None);
            self.ready.remove(&id);
            let held = self.partitions.remove(&id).expect("the partition was just looked up");
            self.events.push_back(LaneEvent::Released(held.back));
        }
    }

    /// The partition may stamp with this identity.
    pub fn grant(&mut self, partition: PartitionId, identity: Identity) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.back.grant(identity);
            self.touch(partition);
        }
    }

    /// The topic of the partition was deleted and created again.
    pub fn handle_topic_recreated(&mut self, partition: PartitionId, id: Uuid) {
        let mut ended = Vec::new();
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.back.handle_topic_recreated(id, &mut ended);
            self.events.push_back(LaneEvent::NeedsIdentity(partition, held.back.abandoned()));
        }
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
        held.back.pack_next();
        let mut ended = Vec::new();
        held.back.end_dead_pending(&mut ended);
        self.publish(partition, ended);
        let linger = front.linger_ends();
        self.arm_linger(partition, linger);
        self.touch(partition);
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
        let Some(held) = self.partitions.get(&partition) else { return };
        let (linger, timer) = (held.linger, held.back.poll_timeout());
        self.ready.insert(partition);
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

    /// Whether the owner must dial now; once per attempt.
    pub fn poll_dial(&mut self, now: Moment) -> bool {
        let is_due = matches!(self.link, Link::Down { retry_at } if retry_at <= now) && !self.partitions.is_empty();
        if is_due {
            self.link = Link::Dialing;
        }
        is_due
    }

    /// The socket is open.
    pub fn handle_connected(&mut self, now: Moment) {
        assert!(
            matches!(self.link, Link::Dialing),
            "a socket opens after a dial, and attempts on another would be lost"
        );
        self.link = Link::Up(Box::new(Connection::new(self.config.connection.clone(), now)));
    }

    /// The socket could not be opened, or is closed, for this reason.
    pub fn handle_disconnected(&mut self, now: Moment, error: ConnectionError) {
        if matches!(self.link, Link::Down { .. }) {
            return;
        }
        self.is_connected = false;
        self.failures += 1;
        let retry_at = now + self.config.reconnect.after(self.failures, &mut self.chance);
        let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Down { retry_at }) else {
            self.note_trouble(&error);
            self.events.extend([LaneEvent::Disconnected(error), LaneEvent::NeedsMetadata]);
            return;
        };
        let error = connection.explain(error);
        self.note_trouble(&error);
        self.events.push_back(LaneEvent::Disconnected(error));
        for unanswered in connection.close() {
            for attempt in unanswered.purpose.attempts {
                self.lose_attempt(now, &attempt, unanswered.was_all_written);
            }
        }
        self.events.push_back(LaneEvent::NeedsMetadata);
    }

    fn lose_attempt(&mut self, now: Moment, attempt: &Attempt, was_all_written: bool) {
        let Some(held) = self.partitions.get_mut(&attempt.partition) else { return };
        let mut ended = Vec::new();
        let lost = held.back.handle_attempt_lost(now, attempt.ordinal, was_all_written, &mut self.chance, &mut ended);
        self.publish(attempt.partition, ended);
        self.act(attempt.partition, lost);
    }

    /// Records that wait are told what they wait for.
    fn note_trouble(&self, error: &ConnectionError) {
        for held in self.partitions.values() {
            held.back.trouble().note(Some(self.id.node), error.attempt_error());
        }
    }

    /// So many more bytes were handed to the kernel.
    pub fn handle_written(&mut self, bytes: usize) {
        if let Link::Up(connection) = &mut self.link {
            connection.handle_written(bytes);
        }
    }

    /// Where the socket may read to; followed by [`Self::handle_read`].
    pub fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        if let Link::Up(connection) = &mut self.link { Some(connection.read_buffer()) } else { None }
    }

    /// The read buffer has grown.
    pub fn handle_read(&mut self, now: Moment) {
        let Link::Up(connection) = &mut self.link else { return };
        if let Err(error) = connection.handle_read(now) {
            // What was answered before the fault counts.
            self.take_answers(now);
            return self.handle_disconnected(now, error);
        }
        self.take_answers(now);
    }

    fn take_answers(&mut self, now: Moment) {
        while let Link::Up(connection) = &mut self.link {
            if connection.is_ready() && !self.is_connected {
                if let Err(error) = connection.version_of::<ProduceRequest>() {
                    return self.handle_disconnected(now, error);
                }
                self.is_connected = true;
                self.failures = 0;
                self.events.push_back(LaneEvent::Connected);
            }
            let Some(answer) = connection.poll_answer() else { return };
            self.take_answer(now, answer);
        }
    }

    fn take_answer(&mut self, now: Moment, answer: Answer<Flight>) {
        let response = match answer.decode::<ProduceRequest>() {
            Ok(response) => response,
            Err(error) => {
                answer.purpose.attempts.iter().for_each(|attempt| self.lose_attempt(now, attempt, true));
                return self.handle_disconnected(now, error);
            }
        };
        if let Link::Up(connection) = &mut self.link {
            connection.handle_throttle(now, response.throttle_time_ms);
        }
        for attempt in &answer.purpose.attempts {
            self.take_partition_answer(now, attempt, &response, answer.version);
        }
    }

    fn take_partition_answer(&mut self, now: Moment, attempt: &Attempt, response: &ProduceResponse, version: i16) {
        let Some(told) = produce_request::answer_for(response, version, &attempt.topic, attempt.index) else {
            // An answer that leaves a partition out says nothing about it.
            return self.lose_attempt(now, attempt, true);
        };
        let Some(held) = self.partitions.get_mut(&attempt.partition) else { return };
        let mut ended = std::mem::take(&mut self.ended);
        let effects = held.back.handle_answer(now, attempt.ordinal, told, &mut self.chance, &mut ended);
        self.publish(attempt.partition, ended.drain(..));
        self.ended = ended;
        self.act(attempt.partition, effects);
    }

    fn act(&mut self, partition: PartitionId, effects: Effects) {
        if effects.refresh_metadata {
            self.events.push_back(LaneEvent::NeedsMetadata);
        }
        if let Some(code) = effects.stopped {
            self.events.push_back(LaneEvent::Stopped(partition, code));
            self.ask_identity(partition);
        }
        self.touch(partition);
        self.release_if_idle(partition);
    }

    fn ask_identity(&mut self, partition: PartitionId) {
        if let Some(held) = self.partitions.get(&partition)
            && held.back.needs_identity()
        {
            self.events.push_back(LaneEvent::NeedsIdentity(partition, held.back.abandoned()));
        }
    }

    fn publish(&mut self, partition: PartitionId, ended: impl IntoIterator<Item = Ended>) {
        self.events.extend(ended.into_iter().map(|ended| LaneEvent::Ended(partition, ended)));
    }

    /// The next bytes for the socket: batches are claimed here, once every byte before them is handed over.
    pub fn poll_request(&mut self, now: Moment, chunks: &(impl ChunkSource + ?Sized)) -> Option<Transmit> {
        let Link::Up(connection) = &mut self.link else { return None };
        if let Some(frame) = connection.poll_handshake() {
            return Some(Transmit::whole(frame));
        }
        let may_send = connection.is_ready() && !connection.has_unsent();
        if !may_send || connection.in_flight() >= REQUESTS_IN_FLIGHT_MAX {
            return None;
        }
        let version = match connection.version_of::<ProduceRequest>() {
            Ok(version) => version,
            Err(error) => {
                self.handle_disconnected(now, error);
                return None;
            }
        };
        let (attempts, entries) = self.gather(now, chunks);
        if entries.is_empty() {
            return None;
        }
        Some(self.encode(now, version, attempts, entries))
    }

    /// Takes one batch of each partition that has one, in turn.
    fn gather(&mut self, now: Moment, chunks: &(impl ChunkSource + ?Sized)) -> (Vec<Attempt>, Vec<Entry>) {
        let (mut attempts, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut ended, mut turn) = (std::mem::take(&mut self.ended), std::mem::take(&mut self.turn));
        let after = self.ready.range((std::ops::Bound::Excluded(self.last_served), std::ops::Bound::Unbounded));
        turn.extend(after.chain(self.ready.range(..=self.last_served)));
        for id in turn.drain(..) {
            let held = self.partitions.get_mut(&id).expect("ready partitions belong to this lane");
            let next = if held.is_recalled { None } else { held.back.next_bytes(now) };
            let Some(next) = next else {
                self.ready.remove(&id);
                continue;
            };
            if bytes > 0 && bytes + next > REQUEST_BYTES_MAX {
                break;
            }
            let (topic, index) = (held.back.topic().clone(), held.back.index());
            if let Some(batch) = held.back.take_next(now, chunks, &mut ended) {
                bytes += batch.wire_len();
                attempts.push(Attempt { partition: id, topic: topic.clone(), index, ordinal: batch.stamp.ordinal });
                entries.push(Entry { topic, index, header: batch.header, body: Arc::clone(&batch.body) });
            }
            held.back.pack_next();
            self.last_served = id;
            self.publish(id, ended.drain(..));
            // A claim makes room too: a batch whose linger is over meanwhile goes along with the next request.
            self.touch(id);
        }
        (self.ended, self.turn) = (ended, turn);
        (attempts, entries)
    }

    fn encode(&mut self, now: Moment, version: i16, attempts: Vec<Attempt>, mut entries: Vec<Entry>) -> Transmit {
        let Link::Up(connection) = &mut self.link else { unreachable!("only a connected lane encodes") };
        // A broker that knows no topic ids gave none, and speaks no version that needs them; one that is being upgraded may.
        let lacks_ids = entries.iter().any(|entry| entry.topic.id == Uuid::ZERO);
        let version = if lacks_ids { version.min(TOPIC_IDS_FROM - 1) } else { version };
        entries.sort_by(|a, b| (&*a.topic.name, a.topic.id, a.index).cmp(&(&*b.topic.name, b.topic.id, b.index)));
        let envelope = Envelope {
            client_id: connection.client_id(),
            correlation: connection.correlation(),
            version,
            timeout: self.config.produce_timeout,
        };
        let transmit = produce_request::encode(envelope, &entries).expect("topic names came from this broker and fit");
        connection.register(now, ApiKey::PRODUCE, version, transmit.len(), Flight { attempts });
        transmit
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_collect`] must be called.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let link = match &self.link {
            Link::Down { retry_at } if !self.partitions.is_empty() => Some(*retry_at),
            Link::Down { .. } | Link::Dialing => None,
            Link::Up(connection) => connection.poll_timeout(),
        };
        let first = |timers: &BTreeSet<(Moment, PartitionId)>| timers.first().map(|(due, _)| *due);
        [link, first(&self.lingers), first(&self.timers)].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        if let Link::Up(connection) = &mut self.link
            && let Err(error) = connection.handle_timeout(now)
        {
            self.handle_disconnected(now, error);
        }
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
        let had_identity = !held.back.needs_identity();
        held.back.handle_timeout(now, &mut ended);
        let lost_identity = had_identity && held.back.needs_identity();
        let timer = held.back.poll_timeout_after(now);
        self.publish(partition, ended);
        if lost_identity {
            self.ask_identity(partition);
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
