//! Faults: what a cluster does to requests that fit, instead of or beside serving them.
//!
//! A fault is a value: which requests it fits, what becomes of them, how often and how long. The table of a cluster decides, in the
//! order in which faults were added, and counts; nothing here depends on a clock or on chance, so a run can be replayed.
//! A request meets of each kind (throttling, delaying, ending, refusing) the first fault that fits; refusing is decided for each of its
//! partitions alone, and the other partitions are served as ever.
//!
//! Leaves out how an answer says an error (`api/refusal.rs`), and how a connection ends (`cluster.rs`).

mod serving;
mod strike;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use milena_wire::{ApiKey, ErrorCode};

use crate::ids::{NodeId, PartitionIndex};
use crate::moment::Moment;

pub(crate) use strike::{Aftermath, Delay, Ending, Held, Refused, Request, Strike};

/// What becomes of a request that a fault fits.
///
/// ```
/// use milena_broker::{Effect, Fault};
///
/// assert_eq!(Fault::lose_answer().effect, Effect::LoseAnswer);
/// assert_eq!(Fault::new(Effect::Cut(4)), Fault::cut(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It is not executed, and answered with this code. A Produce request with acks=0 has its connection closed, as Kafka does.
    Refuse(ErrorCode),
    /// It is executed, and answered with this code all the same. Offsets in the answer stay.
    RefuseAfter(ErrorCode),
    /// It is not executed, and its connection is closed.
    CloseBefore,
    /// It is executed, and its connection is closed instead of an answer.
    CloseAfter,
    /// It is executed and never answered. The connection stays open, and nothing that the client sends on it is served any more.
    LoseAnswer,
    /// It is executed, and answered so much later, or as soon as the fault is removed. Meanwhile the connection is muted, also after a Produce
    /// request with acks=0, which has no answer.
    Delay(Duration),
    /// It is executed, this many bytes of the answer (its length included) are sent, and the connection is closed.
    Cut(usize),
    /// It is executed, and answered at once with this `throttle_time_ms`; the connection is muted so long afterwards (KIP-219).
    Throttle(Duration),
}

/// What happens to which requests, how often and how long. Made by what happens, then narrowed: without more it fits every request, for ever.
///
/// ```
/// use std::time::Duration;
/// use milena_broker::{ApiKey, ErrorCode, Fault};
///
/// // The next two Produce attempts on partition 0 of orders are refused.
/// let refused = Fault::refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER).api(ApiKey::PRODUCE).partition("orders", 0).times(2);
/// // For ten seconds node 2 answers late.
/// let late = Fault::delay(Duration::from_millis(300)).node(2).lasting(Duration::from_secs(10));
/// assert_ne!(refused, late);
/// // What is executed, and looks as if it was not; every other end of a request.
/// let doubtful = Fault::refuse_after(ErrorCode::REQUEST_TIMED_OUT).topic("orders").client("shop").skip(3).once();
/// let ends = [Fault::close_before(), Fault::close_after(), Fault::throttle(Duration::from_secs(1))];
/// assert!(!ends.contains(&doubtful));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// To requests of this API; none for all.
    pub api: Option<ApiKey>,
    /// To requests that come to this node; none for all.
    pub node: Option<NodeId>,
    /// To requests whose header has this client id; none for all.
    pub client: Option<String>,
    /// To requests that are about this topic; none for all. Requests that name no topic, such as ApiVersions, do not fit then.
    pub topic: Option<String>,
    /// To requests that are about this partition of the topic; none for all. Requests that name topics only, such as Metadata, fit by the topic.
    pub partition: Option<PartitionIndex>,
    /// How many requests that fit are spared first.
    pub skip: u32,
    /// How many requests are hit; none for all.
    pub times: Option<u32>,
    /// How long it is in force, from when it is added; none for ever.
    pub lasting: Option<Duration>,
}

impl Fault {
    /// Of any effect.
    pub fn new(effect: Effect) -> Fault {
        Fault {
            effect,
            api: None,
            node: None,
            client: None,
            topic: None,
            partition: None,
            skip: 0,
            times: None,
            lasting: None,
        }
    }

    /// [`Effect::Refuse`].
    pub fn refuse(code: ErrorCode) -> Fault {
        Fault::new(Effect::Refuse(code))
    }

    /// [`Effect::RefuseAfter`].
    pub fn refuse_after(code: ErrorCode) -> Fault {
        Fault::new(Effect::RefuseAfter(code))
    }

    /// [`Effect::CloseBefore`].
    pub fn close_before() -> Fault {
        Fault::new(Effect::CloseBefore)
    }

    /// [`Effect::CloseAfter`].
    pub fn close_after() -> Fault {
        Fault::new(Effect::CloseAfter)
    }

    /// [`Effect::LoseAnswer`].
    pub fn lose_answer() -> Fault {
        Fault::new(Effect::LoseAnswer)
    }

    /// [`Effect::Delay`].
    pub fn delay(time: Duration) -> Fault {
        Fault::new(Effect::Delay(time))
    }

    /// [`Effect::Cut`].
    pub fn cut(bytes: usize) -> Fault {
        Fault::new(Effect::Cut(bytes))
    }

    /// [`Effect::Throttle`].
    pub fn throttle(time: Duration) -> Fault {
        Fault::new(Effect::Throttle(time))
    }

    /// Only requests of this API.
    pub fn api(self, api: ApiKey) -> Fault {
        Fault { api: Some(api), ..self }
    }

    /// Only requests that come to this node.
    pub fn node(self, node: impl Into<NodeId>) -> Fault {
        Fault { node: Some(node.into()), ..self }
    }

    /// Only requests of this client, by the `client.id` that it was configured with.
    pub fn client(self, id: impl Into<String>) -> Fault {
        Fault { client: Some(id.into()), ..self }
    }

    /// Only what is about this topic.
    pub fn topic(self, topic: impl Into<String>) -> Fault {
        Fault { topic: Some(topic.into()), ..self }
    }

    /// Only what is about this partition of this topic.
    pub fn partition(self, topic: impl Into<String>, partition: impl Into<PartitionIndex>) -> Fault {
        Fault { topic: Some(topic.into()), partition: Some(partition.into()), ..self }
    }

    /// Spares so many requests that fit before the first hit.
    pub fn skip(self, requests: u32) -> Fault {
        Fault { skip: requests, ..self }
    }

    /// The next request that fits, and no other.
    pub fn once(self) -> Fault {
        self.times(1)
    }

    /// So many requests.
    pub fn times(self, requests: u32) -> Fault {
        Fault { times: Some(requests), ..self }
    }

    /// Only so long, from when it is added.
    pub fn lasting(self, time: Duration) -> Fault {
        Fault { lasting: Some(time), ..self }
    }
}

/// A fault that was added; never reused within a cluster's life.
///
/// ```
/// assert_eq!(milena_broker::FaultId(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub u64);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fault that was added, and what came of it so far.
///
/// ```
/// use milena_broker::{Broker, BrokerOptions, Fault};
///
/// let broker = Broker::start(BrokerOptions::default())?;
/// let id = broker.faults().add(Fault::close_before().times(2));
/// let entry = broker.faults().get(id).expect("it was just added");
/// assert_eq!((entry.id, entry.hits, entry.is_over), (id, 0, false));
/// # Ok::<(), milena_broker::StartError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultEntry {
    /// Its id.
    pub id: FaultId,
    /// What was asked for.
    pub fault: Fault,
    /// How many requests it has hit.
    pub hits: u64,
    /// How many requests fitted and were spared.
    pub spared: u64,
    /// Whether it will hit no more: its number or its time is used up.
    pub is_over: bool,
    /// When its time is over, on the monotonic clock.
    until: Option<Duration>,
}

impl FaultEntry {
    fn is_in_force(&self, now: Duration) -> bool {
        !self.is_over && self.until.is_none_or(|until| now < until)
    }

    /// A request fits. Says whether it is hit.
    fn take(&mut self) -> bool {
        if self.spared < u64::from(self.fault.skip) {
            self.spared += 1;
            return false;
        }
        self.hits += 1;
        self.is_over = self.fault.times.is_some_and(|times| self.hits >= u64::from(times));
        true
    }
}

/// All faults of a cluster, in the order in which they were added. Those that are over are remembered for their counts, the
/// last [`OVER_MAX`] of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    entries: BTreeMap<FaultId, FaultEntry>,
    added: u64,
    /// Of all, also of those that are gone.
    hits: u64,
    /// Hits and removals.
    news: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, now: Moment, fault: Fault) -> FaultId {
        self.added += 1;
        let id = FaultId(self.added);
        let until = fault.lasting.map(|time| now.elapsed.saturating_add(time));
        let is_over = fault.times == Some(0);
        self.entries.insert(id, FaultEntry { id, fault, hits: 0, spared: 0, is_over, until });
        self.forget_the_oldest(now);
        id
    }

    pub(crate) fn remove(&mut self, now: Moment, id: FaultId) -> Option<FaultEntry> {
        let entry = self.entry(now, id)?;
        self.entries.remove(&id);
        self.news += 1;
        Some(entry)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.news += 1;
    }

    pub(crate) fn entry(&self, now: Moment, id: FaultId) -> Option<FaultEntry> {
        self.entries.get(&id).map(|entry| entry.as_of(now))
    }

    pub(crate) fn entries(&self, now: Moment) -> impl Iterator<Item = FaultEntry> {
        self.entries.values().map(move |entry| entry.as_of(now))
    }

    /// Rises with every hit.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }

    /// Rises with every hit and every removal: what somebody waits for who waits for hits.
    pub(crate) fn news(&self) -> u64 {
        self.news
    }

    fn forget_the_oldest(&mut self, now: Moment) {
        let over = |entry: &&FaultEntry| !entry.is_in_force(now.elapsed);
        if self.entries.values().filter(over).count() > OVER_MAX
            && let Some(id) = self.entries.values().find(over).map(|entry| entry.id)
        {
            self.entries.remove(&id);
        }
    }
}

impl FaultEntry {
    fn as_of(&self, now: Moment) -> FaultEntry {
        FaultEntry { is_over: !self.is_in_force(now.elapsed), ..self.clone() }
    }
}

/// More than a test looks back at.
const OVER_MAX: usize = 1000;
