//! What callers and driver share: the clock, the memory, the slots of all partitions, the way to the driver.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use milena_core::ids::PartitionId;
use milena_core::producer::batch::SealReason;
use milena_core::producer::completion::BatchEnd;
use milena_core::producer::control::TopicStanding;
use milena_core::producer::ended::EndedSize;
use milena_core::producer::front::{FrontConfig, PartitionFront};
use milena_core::producer::outcome::{NotWritten, Tally};
use milena_core::sync::Mutex;
use milena_core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::config::Settings;
use crate::gate::Gate;
use crate::journal::FateJournal;
use crate::outlook::Outlook;
use crate::partitioner::Partitioner;
use crate::pool::ChunkPool;
use crate::record::Record;
use crate::report::{Holds, ReportSlice, Reporter};
use crate::slot::{PartitionSlot, Watch};
use crate::topic::Visits;
use crate::turns::TurnQueue;

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    WantTopic(Arc<TopicShared>),
    /// Somebody asks whether the producer is ready: the cluster is asked unless it just said something.
    Refresh,
    Flush {
        deadline: Duration,
        reply: oneshot::Sender<Tally>,
    },
    Close {
        deadline: Duration,
        reply: oneshot::Sender<Tally>,
    },
    /// The last handle is gone: deliver until each deadline, then end.
    Finish,
    /// The driver panics.
    #[cfg(test)]
    Panic,
    /// Every lane panics.
    #[cfg(test)]
    PanicInLanes,
    /// The driver does nothing until the other end is gone.
    #[cfg(test)]
    Block(std::sync::mpsc::Receiver<()>),
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) pool: Arc<ChunkPool>,
    pub(crate) front: FrontConfig,
    pub(crate) partitioner: Partitioner,
    /// What is sent is noted here before.
    pub(crate) journal: Option<FateJournal>,
    /// To be sent where nothing else is and something is in doubt.
    pub(crate) fence: Option<Record<'static>>,
    /// Of round robin.
    pub(crate) turns: AtomicU32,
    pub(crate) watch: Arc<Gate<Watch>>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) counters: Counters,
    pub(crate) reports_posted: bool,
    /// Of the application, if it serves the producer.
    pub(crate) runtime: Option<Handle>,
    /// Whether a topic that is missing was asked for in a way that may create it.
    pub(crate) asks_for_creation: bool,
    slots: Mutex<Vec<Arc<PartitionSlot>>>,
    topics: Mutex<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    closed: Mutex<Option<NotWritten>>,
    /// Who can be reached, and why not.
    pub(crate) outlook: Outlook,
}

#[derive(Debug)]
pub(crate) struct Counters {
    batches: AtomicU64,
    records: AtomicU64,
    batch_bytes: AtomicU64,
    raw_bytes: AtomicU64,
    attempts: AtomicU64,
}

/// What a producer has done so far. A batch counts when it ends, if it was sent.
///
/// ```
/// # fn example(producer: milena::Producer) {
/// let stats = producer.stats();
/// println!("{} batches went twice", stats.attempts - stats.batches);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Batches sent.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those records as they went over the wire, batch headers not counted.
    pub batch_bytes: u64,
    /// Bytes of those records before they were compressed; as many as `batch_bytes` without compression.
    pub raw_bytes: u64,
    /// Attempts; more than `batches` where some were sent again.
    pub attempts: u64,
}

impl Shared {
    pub(crate) fn new(
        settings: &Settings,
        journal: Option<FateJournal>,
        pool: Arc<ChunkPool>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            clock: Clock::new(),
            pool,
            front: settings.front,
            partitioner: settings.partitioner.clone(),
            journal,
            fence: settings.fence.clone(),
            turns: AtomicU32::new(0),
            watch: Arc::new(Gate::new()),
            commands,
            counters: Counters {
                batches: zero(),
                records: zero(),
                batch_bytes: zero(),
                raw_bytes: zero(),
                attempts: zero(),
            },
            reports_posted: settings.reports.is_some(),
            runtime: settings.runtime.clone(),
            asks_for_creation: settings.control.allow_auto_create_topics,
            slots: Mutex::new(Vec::new()),
            topics: Mutex::new(BTreeMap::new()),
            closed: Mutex::new(None),
            outlook: Outlook::new(&settings.control.bootstrap),
        }
    }

    /// The topic of this name; the driver is told of a new one.
    pub(crate) fn topic(&self, name: &str) -> Arc<TopicShared> {
        let mut topics = self.topics.lock();
        if let Some(known) = topics.get(name) {
            return Arc::clone(known);
        }
        let topic = Arc::new(TopicShared::new(name));
        topics.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        // A driver that has ended needs no topics; appends see that it is closed.
        let _ = self.commands.send(Command::WantTopic(Arc::clone(&topic)));
        topic
    }

    /// Whoever waits for a topic must look again.
    fn wake_arrivals(&self) {
        let topics: Vec<_> = self.topics.lock().values().cloned().collect();
        topics.iter().for_each(|topic| topic.arrivals.wake_all());
    }

    /// Partitions are numbered in the order in which their slots are added.
    pub(crate) fn add_slot(&self, slot: Arc<PartitionSlot>) {
        let mut slots = self.slots.lock();
        assert_eq!(slots.len(), slot.id().0 as usize, "slots are added in the order of their ids");
        // One that appears while the producer closes must not accept anything.
        if self.closed.lock().is_some() {
            slot.with_front(|front| front.close());
        }
        slots.push(slot);
    }

    /// One that was gone is back, if it was there before.
    pub(crate) fn open_slot_again(&self, id: PartitionId) -> Option<Arc<PartitionSlot>> {
        let slots = self.slots.lock();
        let slot = slots.get(id.0 as usize)?;
        if self.closed.lock().is_none() {
            slot.with_front(PartitionFront::open_again);
        }
        Some(Arc::clone(slot))
    }

    pub(crate) fn slot(&self, id: PartitionId) -> Arc<PartitionSlot> {
        Arc::clone(&self.slots.lock()[id.0 as usize])
    }

    pub(crate) fn slots(&self) -> Vec<Arc<PartitionSlot>> {
        self.slots.lock().clone()
    }

    /// Every batch that fills is sealed, and its lane told.
    pub(crate) fn seal_all(&self, reason: SealReason) {
        for slot in self.slots() {
            if slot.with_front(|front| front.seal(reason)) {
                slot.collect_now();
            }
        }
    }

    /// A caller waits for room: if most memory lies in batches that still fill, it would wait on itself and others. Looks
    /// at every partition, so the caller keeps in mind when that was last of use.
    pub(crate) fn relieve_pressure(&self, relief: &Relief) {
        let held = self.pool.held();
        if held > relief.0.load(Ordering::Relaxed) {
            return;
        }
        let open: usize = self.slots().iter().map(|slot| slot.with_front(|front| front.open_bytes())).sum();
        relief.0.store(open * 2, Ordering::Relaxed);
        if open * 2 >= held {
            self.seal_all(SealReason::Memory);
        }
    }

    /// Why nothing is accepted any more, if so.
    pub(crate) fn closed(&self) -> Option<NotWritten> {
        *self.closed.lock()
    }

    /// Nothing is accepted from now on; what was accepted goes on. The first reason stands.
    pub(crate) fn stop_accepting(&self, why: NotWritten) {
        self.closed.lock().get_or_insert(why);
        for slot in self.slots() {
            slot.with_front(|front| front.close());
        }
        self.pool.room.wake_all();
        self.wake_arrivals();
        self.outlook.wake_all();
    }

    /// Ends all that waits in the fronts; the lanes end what they hold.
    pub(crate) fn end_fronts(&self, why: NotWritten, reporter: &Reporter) {
        self.slots().iter().for_each(|slot| self.end_front(slot, why, reporter));
    }

    pub(crate) fn end_front(&self, slot: &Arc<PartitionSlot>, why: NotWritten, reporter: &Reporter) {
        let drained: Vec<_> = slot.with_front(|front| front.drain().collect());
        for batch in drained {
            self.conclude(slot, milena_core::producer::back::Ended::Sealed(batch, BatchEnd::NotWritten(why)), reporter);
        }
    }

    /// Something of the partition is in doubt, and nothing is sent there that could settle it.
    pub(crate) fn append_fence(&self, slot: &Arc<PartitionSlot>) {
        if let Some(fence) = &self.fence {
            slot.append_fence(self.clock.now(), &*self.pool, fence.as_fence());
        }
    }

    /// Publishes a batch's end, counts it, and passes its reports and memory on.
    pub(crate) fn conclude(
        &self,
        slot: &Arc<PartitionSlot>,
        ended: milena_core::producer::back::Ended,
        reporter: &Reporter,
    ) {
        if let Some(journal) = &self.journal {
            journal.handle_ended(self.clock.moment(), &ended);
        }
        // Counted first: whoever learns the outcome finds it counted.
        self.counters.count(ended.size());
        let concluded = ended.conclude();
        reporter.report(ReportSlice {
            slot: Arc::clone(slot),
            completion: concluded.completion,
            posted: concluded.posted,
            holds: Holds::Batch(concluded.memory),
        });
    }
}

/// What a caller who waits for room knows of the batches that fill: only when so little is held do they hold half of it.
#[derive(Debug)]
pub(crate) struct Relief(AtomicUsize);

impl Relief {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl Counters {
    fn count(&self, size: EndedSize) {
        if size.attempts > 0 {
            self.batches.fetch_add(1, Ordering::Relaxed);
            self.records.fetch_add(u64::from(size.records), Ordering::Relaxed);
            self.batch_bytes.fetch_add(size.bytes as u64, Ordering::Relaxed);
            self.raw_bytes.fetch_add(size.raw_bytes as u64, Ordering::Relaxed);
            self.attempts.fetch_add(u64::from(size.attempts), Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> ProducerStats {
        ProducerStats {
            batches: self.batches.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            batch_bytes: self.batch_bytes.load(Ordering::Relaxed),
            raw_bytes: self.raw_bytes.load(Ordering::Relaxed),
            attempts: self.attempts.load(Ordering::Relaxed),
        }
    }
}

/// A topic as its handles share it.
#[derive(Debug)]
pub(crate) struct TopicShared {
    pub(crate) name: Arc<str>,
    table: PartitionTable,
    /// How many of them it has: a topic that was created anew may have fewer.
    count: AtomicUsize,
    /// What is known of it, as the driver told it last.
    standing: Mutex<TopicStanding>,
    /// Those who wait for the first metadata.
    pub(crate) arrivals: TurnQueue,
    /// Where records go that may go anywhere.
    pub(crate) visits: Visits,
}

/// The partitions that a topic ever had. It seldom gets more, and never fewer, so a reader walks a short chain of
/// growths instead of taking a lock per record.
#[derive(Debug, Default)]
struct PartitionTable {
    slots: OnceLock<Arc<[Arc<PartitionSlot>]>>,
    grown: OnceLock<Box<PartitionTable>>,
}

impl PartitionTable {
    #[inline]
    fn last(&self) -> &Self {
        let mut table = self;
        while let Some(grown) = table.grown.get() {
            table = grown;
        }
        table
    }

    /// Whole before anybody can reach it: a topic that is known must not seem to have no partitions for a moment.
    fn grow(&self, all: Vec<Arc<PartitionSlot>>) {
        let last = self.last();
        let is_alone = match last.slots.get() {
            None => last.slots.set(all.into()).is_ok(),
            // They were here before.
            Some(known) if all.len() <= known.len() => true,
            Some(_) => {
                last.grown.set(Box::new(Self { slots: OnceLock::from(Arc::from(all)), grown: OnceLock::new() })).is_ok()
            }
        };
        assert!(is_alone, "only the driver adds partitions, one growth after the other");
    }
}

impl TopicShared {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            table: PartitionTable::default(),
            count: AtomicUsize::new(0),
            standing: Mutex::new(TopicStanding::Pending),
            arrivals: TurnQueue::new(),
            visits: Visits::default(),
        }
    }

    /// The partitions known now; none before the first metadata.
    #[inline]
    pub(crate) fn partitions(&self) -> &[Arc<PartitionSlot>] {
        // Read before the table, which has at least so many.
        let count = self.count.load(Ordering::SeqCst);
        self.table.last().slots.get().map_or(&[], |slots| &slots[..count])
    }

    /// Called by the driver alone.
    pub(crate) fn add_partitions(&self, new: impl IntoIterator<Item = Arc<PartitionSlot>>) {
        let present: Vec<_> = self.partitions().iter().cloned().chain(new).collect();
        let count = present.len();
        self.table.grow(present);
        self.count.store(count, Ordering::SeqCst);
        self.arrivals.wake_all();
    }

    /// Called by the driver alone: the topic was created anew, with no more than so many.
    pub(crate) fn keep_partitions(&self, count: usize) {
        self.count.fetch_min(count, Ordering::SeqCst);
    }

    /// Called by the driver alone.
    pub(crate) fn set_standing(&self, standing: TopicStanding) {
        *self.standing.lock() = standing;
    }

    pub(crate) fn standing(&self) -> TopicStanding {
        self.standing.lock().clone()
    }
}
