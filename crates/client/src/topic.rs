//! The handle through which records of one topic are sent, and which partition each goes to.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use milena_core::producer::account::Tight;
use milena_core::producer::completion::Delivery;
use milena_core::producer::front::{AppendError, Appended, Due, Notice, RecordRef, Reply, WhenFull};
use milena_core::time::{Moment, Now};

use crate::error::{ReadyError, SendError, SendRefused};
use crate::partitioner::{Aim, CustomPartitioner, Partitioner, Partitioning};
use crate::producer::Handle;
use crate::record::Record;
use crate::room::{Ahead, Gauge, Target};
use crate::shared::{Relief, Shared, TopicShared};
use crate::slot::PartitionSlot;
use crate::waiting::{Refused, Turn};

mod batch;
mod permit;
mod sticky;
mod thread_number;

pub use self::batch::SendBatchError;
pub use self::permit::Permit;
use self::sticky::Sticky;
pub(crate) use self::sticky::Visits;

/// Sends records to one topic; from [`crate::Producer::topic`].
///
/// Records with a key go to the partition that the Java client chooses (murmur2). Others stick to one partition for a batch
/// or the time of a linger, then move to another by chance, seldom to one that is behind (KIP-794): few, full batches, and
/// no slow partition gets more than others. Each thread that sends does so for itself, up to 32 at a time, and starts at
/// another partition, so that threads do not take turns at one; handles are cheap, and may be shared or cloned as is
/// convenient. [`crate::Partitioner`] has the alternatives, and [`Record::partition`] names one.
///
/// Order: records of one partition are written in the order in which they were accepted. Calls that wait for room are
/// served first come, first served, and calls that do not wait do not overtake them.
///
/// ```
/// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
/// use milena::Record;
///
/// let delivery = orders.send(Record::value("4 tea").key("table 7")).await.map_err(|refused| refused.to_string())?;
/// println!("{:?}", delivery.await);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Topic {
    handle: Arc<Handle>,
    shared: Arc<TopicShared>,
}

/// Its name and how many partitions are known; not what all of them hold.
impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name()).field("partitions", &self.partition_count()).finish()
    }
}

impl Topic {
    pub(crate) fn new(handle: Arc<Handle>, shared: Arc<TopicShared>) -> Self {
        Self { handle, shared }
    }

    /// The topic's name.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// assert_eq!(orders.name(), "orders");
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How many partitions are known; 0 before the first metadata.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// orders.ready(std::time::Duration::from_secs(5)).await?;
    /// assert!(orders.partition_count() > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn partition_count(&self) -> usize {
        self.shared.partitions().len()
    }

    /// Waits until a record could be sent to the topic, at most `deadline`: the cluster answers, the topic's partitions
    /// are known, a broker that leads one of them is connected, and a producer id is there. Gives the number of
    /// partitions; the error says what is missing and why. It is about now, see [`crate::Producer::ready`]. Optional: a
    /// record waits for all of it too. Dropping this future before it resolves changes nothing.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let partitions = orders.ready(std::time::Duration::from_secs(5)).await?;
    /// println!("{partitions} partitions");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self, deadline: Duration) -> Result<usize, ReadyError> {
        self.shared().ready(Some(&self.shared), deadline).await?;
        Ok(self.partition_count())
    }

    /// Accepts the record now or refuses it now; never waits.
    ///
    /// Refuses with `BufferFull` when memory is used up or others wait for it, and with `MetadataPending` before the
    /// topic's partitions are known; the error gives the record back. The outcome comes through the [`Delivery`], at most
    /// the configured deadline after this call.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use milena::SendRefused;
    ///
    /// match orders.try_send("4 tea") {
    ///     Ok(delivery) => println!("{:?}", delivery.await),
    ///     Err(refused) if *refused.reason() == SendRefused::BufferFull => println!("too fast"),
    ///     Err(refused) => println!("{refused}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_send<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery, SendError<'a>> {
        let record = record.into();
        let now = self.shared().clock.now();
        self.accept(now, self.offer(&record, record.at(now.moment)), Reply::Handle, Rights::None, |new| new.delivery())
            .map_err(|refused| SendError::new(&self.shared.name, self.explain(refused, now.moment), record))
    }

    /// Accepts the record, waiting for room and for the topic's partitions if need be, at most until its deadline.
    ///
    /// Dropping this future before it resolves sends nothing; once it has resolved, dropping the `Delivery` cancels
    /// nothing. While it waits it has a place in a queue, and those behind it wait until it is polled: drop it or poll it.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use milena::Record;
    ///
    /// let record = Record::value("4 tea").deadline(Duration::from_secs(1));
    /// let delivery = orders.send(record).await.map_err(|refused| refused.to_string())?;
    /// // It is on its way; the outcome comes within what is left of the second.
    /// let at = delivery.await.into_result()?;
    /// println!("partition {}, offset {:?}", at.partition, at.offset);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery, SendError<'a>> {
        let record = record.into();
        let accepted = self.accept_in_turn(&record, Reply::Handle, |appended| appended.delivery()).await;
        accepted.map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    /// As [`Self::try_send`], without a handle: the outcome is reported with the record's tag to the handler that was set
    /// with [`crate::ProducerConfig::on_delivery`]; without a handler nobody learns it.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// use milena::Record;
    ///
    /// if let Err(refused) = orders.post(Record::value("4 tea").tag(42)) {
    ///     eprintln!("{refused}");
    /// }
    /// # }
    /// ```
    pub fn post<'a>(&self, record: impl Into<Record<'a>>) -> Result<(), SendError<'a>> {
        let record = record.into();
        let now = self.shared().clock.now();
        let reply = self.reply_for(&record);
        self.accept(now, self.offer(&record, record.at(now.moment)), reply, Rights::None, |_| ())
            .map_err(|refused| SendError::new(&self.shared.name, self.explain(refused, now.moment), record))
    }

    /// As [`Self::post`], waiting for room and for the topic's partitions if need be, at most until the record's deadline.
    /// Dropping this future before it resolves sends nothing.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use milena::Record;
    ///
    /// orders.post_wait(Record::value("4 tea").tag(42)).await.map_err(|refused| refused.to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn post_wait<'a>(&self, record: impl Into<Record<'a>>) -> Result<(), SendError<'a>> {
        let record = record.into();
        let reply = self.reply_for(&record);
        let accepted = self.accept_in_turn(&record, reply, |_| ()).await;
        accepted.map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    fn reply_for(&self, record: &Record<'_>) -> Reply {
        if self.shared().reports_posted { Reply::Report(record.tag_number()) } else { Reply::Handle }
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    async fn accept_in_turn<T>(
        &self,
        record: &Record<'_>,
        reply: Reply,
        take: impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, SendRefused> {
        let now = self.shared().clock.now();
        let call = Call::new(now.moment, self.shared().front.deadline).until(record.own_deadline());
        let offer = self.offer(record, call.record(record));
        self.in_turn(call, offer.aim, |now, rights| self.accept(now, offer, reply, rights, &take)).await
    }

    /// Tries at once, then whenever it is this caller's turn, until an attempt does not have to wait or the call is due.
    async fn in_turn<T>(
        &self,
        call: Call,
        aim: Aim<'_>,
        attempt: impl Fn(Now, Rights) -> Result<T, Refused>,
    ) -> Result<T, SendRefused> {
        let shared = self.shared();
        let mut decided = attempt(shared.clock.now(), Rights::None);
        // Partitions come first: who waits for a topic must not hold up those who wait for room.
        // Those who have waited for it stand before whoever comes when it is just known.
        let stands_behind = is_full(&decided) && self.shared.arrivals.has_waiters();
        let arrival = if is_pending(&decided) || stands_behind {
            let mut arrival = Turn::for_arrival(shared, &self.shared.arrivals, call.due);
            let attempt = |now| attempt(now, Rights::Arrival);
            decided = arrival.wait(attempt, is_pending, || self.why_behind()).await;
            Some(arrival)
        } else {
            None
        };
        if !is_full(&decided) {
            return decided.map_err(|refused| self.explain(refused, call.called));
        }
        // The place for room is taken before the other is left, so that nobody gets in between.
        let mut room = Turn::for_room(shared, self.target(aim), call.due);
        drop(arrival);
        let relief = Relief::new();
        let attempt = |now| self.attempt_with_room(now, aim, &relief, &attempt);
        let decided = room.wait(attempt, is_full, || SendRefused::BufferFull).await;
        decided.map_err(|refused| self.explain(refused, call.called))
    }

    fn attempt_with_room<T>(
        &self,
        now: Now,
        aim: Aim<'_>,
        relief: &Relief,
        attempt: &impl Fn(Now, Rights) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let decided = attempt(now, Rights::Room);
        let Err(refused) = &decided else { return decided };
        match (&refused.why, self.aimed_at(aim).ok().flatten()) {
            // The next batch begins with a smaller chunk.
            (SendRefused::PartitionFull, Some(slot)) if slot.relieve_pressure() => attempt(now, Rights::Room),
            (SendRefused::PartitionFull, Some(_)) => decided,
            (SendRefused::PartitionFull | SendRefused::BufferFull, _) => {
                self.shared().relieve_pressure(relief);
                decided
            }
            _ => decided,
        }
    }

    /// What is decided about a record's partition is decided once for each call, however long it waits.
    #[inline]
    fn offer<'r>(&self, record: &'r Record<'_>, taken: RecordRef<'r>) -> Offer<'r> {
        Offer { record: taken, aim: self.aim(record) }
    }

    #[inline]
    fn aim<'r>(&self, record: &'r Record<'_>) -> Aim<'r> {
        let shared = self.shared();
        if let Some(partition) = record.own_partition() {
            return Aim::Place(partition);
        }
        if let Some((hash, key)) = shared.partitioner.hashed(record.key_bytes()) {
            return Aim::Key(hash, key);
        }
        match &shared.partitioner {
            Partitioner::RoundRobin => Aim::Turn(shared.turns.fetch_add(1, Ordering::Relaxed)),
            Partitioner::Custom(custom) => self.ask(custom, record.key_bytes(), record.value_bytes()),
            _ => Aim::Anywhere,
        }
    }

    #[cold]
    fn ask<'r>(&self, custom: &CustomPartitioner, key: Option<&'r [u8]>, value: Option<&'r [u8]>) -> Aim<'r> {
        match self.shared.partitions().len() as i32 {
            0 => Aim::Undecided { key, value },
            partitions => {
                let record = Partitioning { topic: self.name(), key, value, partitions };
                custom.choose(&record).map_or(Aim::Anywhere, Aim::Place)
            }
        }
    }

    /// The partition of a record that cannot go anywhere.
    #[inline]
    fn aimed_at(&self, aim: Aim<'_>) -> Result<Option<&Arc<PartitionSlot>>, SendRefused> {
        let partitions = self.shared.partitions();
        let Some(count) = NonZeroU32::new(partitions.len() as u32) else { return Ok(None) };
        let aim = match (aim, &self.shared().partitioner) {
            (Aim::Undecided { key, value }, Partitioner::Custom(custom)) => self.ask(custom, key, value),
            _ => aim,
        };
        let Some(partition) = aim.place(count) else { return Ok(None) };
        let slot = usize::try_from(partition).ok().and_then(|place| partitions.get(place));
        slot.map(Some).ok_or(SendRefused::NoSuchPartition { partition, count: partitions.len() })
    }

    /// Where records go now that may go anywhere, of so many partitions.
    fn sticky_place(&self, count: usize) -> usize {
        self.sticky().place(count)
    }

    /// Where this thread's records go that may go anywhere.
    #[inline]
    fn sticky(&self) -> &Sticky {
        self.shared.visits.here()
    }

    /// Where this record would be tried first, and what to do there when it does not fit. Nowhere before partitions are
    /// known, and where that is asked anew for each record.
    fn run_of(&self, now: Now, record: &Record<'_>) -> Option<(&Arc<PartitionSlot>, WhenFull)> {
        if matches!(self.shared().partitioner, Partitioner::RoundRobin | Partitioner::Custom(_)) {
            return None;
        }
        let aim = self.aim(record);
        match (self.aimed_at(aim).ok()?, self.shared.partitions()) {
            (Some(slot), _) => Some((slot, WhenFull::OpenNext)),
            (None, []) => None,
            (None, [slot]) => Some((slot, WhenFull::OpenNext)),
            // The way for single records begins a visit, and ends it.
            (None, _) if self.sticky().is_over(now.moment) => None,
            (None, partitions) => Some((&partitions[self.sticky_place(partitions.len())], WhenFull::Refuse)),
        }
    }

    fn somebody_waits(&self) -> bool {
        self.shared.arrivals.has_waiters() || self.shared().pool.room.has_waiters()
    }

    fn target(&self, aim: Aim<'_>) -> Target {
        self.aimed_at(aim).ok().flatten().map(|slot| (slot.id(), Arc::clone(slot.account())))
    }

    #[inline]
    fn accept<T>(
        &self,
        now: Now,
        offer: Offer<'_>,
        reply: Reply,
        rights: Rights,
        take: impl FnOnce(&Appended<'_>) -> T,
    ) -> Result<T, Refused> {
        let mut take = Some(take);
        let mut once = |appended: &Appended<'_>| (take.take().expect("a record is accepted once"))(appended);
        loop {
            match self.accept_now(now, offer, reply, rights, &mut once)? {
                Ok(taken) => return Ok(taken),
                // Its partition is gone, and the topic's others were known before its front was closed.
                Err(AppendError::Closed) if self.shared().closed().is_none() => {}
                Err(error) => return Err(self.refusal(error, offer.aim)),
            }
        }
    }

    #[inline]
    fn accept_now<T>(
        &self,
        now: Now,
        Offer { record, aim }: Offer<'_>,
        reply: Reply,
        rights: Rights,
        once: &mut impl FnMut(&Appended<'_>) -> T,
    ) -> Result<Result<T, AppendError>, Refused> {
        let partitions = self.shared.partitions();
        if partitions.is_empty() {
            return Err(SendRefused::MetadataPending.into());
        }
        let aimed_at = self.aimed_at(aim)?;
        let pool = &self.shared().pool;
        self.check_rights(rights, aimed_at)?;
        Ok(match aimed_at {
            Some(slot) => slot.append(now, &**pool, record, reply, WhenFull::OpenNext, once),
            None => self.append_sticky(now, partitions, record, reply, rights, once),
        })
    }

    /// Whether nobody is overtaken.
    #[inline]
    fn check_rights(&self, rights: Rights, keyed: Option<&Arc<PartitionSlot>>) -> Result<(), Refused> {
        let pool = &self.shared().pool;
        if rights == Rights::None && self.shared.arrivals.has_waiters() {
            return Err(self.refused_behind(Ahead::Room));
        }
        if rights != Rights::Room
            && let Some(ahead) = pool.room.must_wait(keyed.map(|slot| slot.id()), &**pool)
        {
            return Err(self.refused_behind(ahead));
        }
        Ok(())
    }

    #[cold]
    fn refused_behind(&self, ahead: Ahead) -> Refused {
        let why = match (self.shared().closed(), ahead) {
            (Some(why), _) => SendRefused::by_close(why),
            (None, Ahead::Room) => SendRefused::BufferFull,
            (None, Ahead::Partition) => SendRefused::PartitionFull,
        };
        why.into()
    }

    /// Of a caller who stands behind others when its deadline ends.
    fn why_behind(&self) -> SendRefused {
        if self.shared.partitions().is_empty() { SendRefused::MetadataPending } else { SendRefused::BufferFull }
    }

    /// The partition of this visit, or of the next one. A batch that is full ends a visit, instead of leaving a thin batch
    /// behind on its partition. So does a partition that holds its share of the memory, or that somebody waits for.
    #[inline]
    fn append_sticky<T>(
        &self,
        now: Now,
        partitions: &[Arc<PartitionSlot>],
        record: RecordRef<'_>,
        reply: Reply,
        rights: Rights,
        once: &mut impl FnMut(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let (pool, front) = (&self.shared().pool, &self.shared().front);
        let count = partitions.len();
        let sticky = self.sticky();
        let is_new = count > 1 && sticky.is_over(now.moment);
        let first = match is_new && sticky.has_begun() {
            true => sticky.next(partitions, front.batch_size),
            false => sticky.place(count),
        };
        let mut when_full = if count == 1 { WhenFull::OpenNext } else { WhenFull::Refuse };
        // If every partition has somebody who waits for it, only their leaving helps.
        let mut tight = Tight { wanted: usize::MAX, room: 0, free: pool.room(None) };
        let tries = if rights == Rights::Room { count } else { count.min(TRIES_MAX) };
        let mut from = first;
        for step in 0..=tries {
            if step == 1 {
                when_full = WhenFull::OpenNext;
                from = sticky.next(partitions, front.batch_size);
            }
            let place = (from + step) % count;
            let slot = &partitions[place];
            if pool.room.waits_for(slot.id()) {
                continue;
            }
            match slot.append(now, &**pool, record, reply, when_full, &mut *once) {
                Err(AppendError::BatchFull(_)) => {}
                Err(AppendError::ShareFull(_, found)) => tight = tight.looser(found),
                Err(error) => return Err(error),
                Ok(taken) => {
                    if is_new || step > 0 {
                        sticky.begin(place, now.moment, front.linger, front.batch_size);
                    }
                    sticky.count(size_of_record(&record));
                    return Ok(taken);
                }
            }
        }
        Err(AppendError::ShareFull(Notice::Nothing, tight))
    }

    /// What it means that partitions were not known since `called` is found out when nobody waits any more.
    #[cold]
    fn explain(&self, refused: Refused, called: Moment) -> SendRefused {
        match refused.why {
            SendRefused::MetadataPending => self.shared().why_no_partitions(&self.shared, called),
            why => why,
        }
    }

    #[cold]
    fn refusal(&self, error: AppendError, aim: Aim<'_>) -> Refused {
        let why = match error {
            AppendError::TooLarge { size, limit } => SendRefused::RecordTooLarge { size, limit },
            AppendError::Closed => self.shared().closed().map_or(SendRefused::Closed, SendRefused::by_close),
            AppendError::BufferFull(_) | AppendError::BatchFull(_) => SendRefused::BufferFull,
            AppendError::ShareFull(_, tight) => {
                return Refused { why: SendRefused::PartitionFull, tight: Some((self.target(aim), tight)) };
            }
        };
        why.into()
    }
}

/// Partitions that a record without a key tries, for a caller who does not wait; one who waits tries all.
const TRIES_MAX: usize = 64;

/// A record, and what is decided of where it goes.
#[derive(Clone, Copy)]
struct Offer<'r> {
    record: RecordRef<'r>,
    aim: Aim<'r>,
}

/// About as many bytes as it takes in its batch.
#[inline]
fn size_of_record(record: &RecordRef<'_>) -> usize {
    RECORD_AROUND + record.key.map_or(0, <[u8]>::len) + record.value.as_slice().map_or(0, <[u8]>::len)
}

/// Lengths, deltas and attributes of a small record.
const RECORD_AROUND: usize = 8;

/// A call that may wait: when it was made, and until when.
#[derive(Clone, Copy)]
struct Call {
    called: Moment,
    due: Moment,
}

impl Call {
    fn new(called: Moment, deadline: Duration) -> Self {
        Self { called, due: called + deadline }
    }

    /// The same call, with this deadline if there is one.
    fn until(self, deadline: Option<Duration>) -> Self {
        deadline.map_or(self, |deadline| Self::new(self.called, deadline))
    }

    /// A record whose deadline counts from the call, not from the end of its wait.
    fn record<'r>(self, record: &'r Record<'_>) -> RecordRef<'r> {
        let due = match record.own_deadline() {
            Some(deadline) => Due::Own(self.called + deadline),
            None => Due::Waited(self.due),
        };
        RecordRef { due, ..record.at(self.called) }
    }
}

/// Whom a record may overtake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// Nobody who waits.
    None,
    /// Its caller is the first of those who wait for the topic.
    Arrival,
    /// Its caller is the first of those who wait for room.
    Room,
}

fn is_pending<T>(decided: &Result<T, Refused>) -> bool {
    decided.as_ref().is_err_and(Refused::is_pending)
}

fn is_full<T>(decided: &Result<T, Refused>) -> bool {
    decided.as_ref().is_err_and(Refused::is_full)
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use milena_core::blocking::block_on;
    use milena_core::ids::{PartitionId, PartitionIndex};
    use milena_core::producer::front::PartitionFront;
    use milena_core::producer::trouble::Trouble;
    use milena_wire::murmur2;

    use crate::gate::Gate;
    use crate::slot::PartitionSlot;
    use crate::{Producer, ProducerConfig, Record, Topic};

    fn slot(topic: &Topic, number: u32) -> Arc<PartitionSlot> {
        let front = PartitionFront::new(PartitionIndex(number as i32), Trouble::new(), topic.shared().front);
        let (idle, watch) = (Arc::new(Gate::new()), Arc::clone(&topic.shared().watch));
        Arc::new(PartitionSlot::new(PartitionId(number), Arc::clone(&topic.shared.name), front, idle, watch))
    }

    /// A caller may have seen the partitions of before; it was told that the producer was closed.
    #[test]
    fn a_caller_who_finds_its_partition_gone_goes_to_another() {
        let config = ProducerConfig::new("127.0.0.1:1").linger(Duration::from_secs(15));
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        let topic = &orders.shared;
        let slots = [slot(&orders, 0), slot(&orders, 1)];
        topic.add_partitions(slots.clone());
        let two = NonZeroU32::new(2).expect("two");
        let is_of_second = |key: &String| murmur2::partition_for_key(key.as_bytes(), two) == 1;
        let key = (0..).map(|number| number.to_string()).find(is_of_second).expect("keys are spread");
        slots[1].with_front(|front| front.close());
        thread::scope(|scope| {
            let send = scope.spawn(|| orders.try_send(Record::value("v").key(&key)).err().map(|e| e.to_string()));
            // Nothing tells that it has looked; but if it gave up, it would be through.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(50) && !send.is_finished() {
                thread::yield_now();
            }
            topic.keep_partitions(1);
            assert_eq!(send.join().expect("no panic"), None);
        });
        assert!(slots[0].with_front(|front| front.has_open()));
    }

    #[test]
    fn a_permit_whose_partition_is_gone_takes_its_room_to_another() {
        let config = ProducerConfig::new("127.0.0.1:1").linger(Duration::from_secs(15));
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        let slots = [slot(&orders, 0), slot(&orders, 1)];
        orders.shared.add_partitions(slots.clone());
        let two = NonZeroU32::new(2).expect("two");
        let is_of_second = |key: &String| murmur2::partition_for_key(key.as_bytes(), two) == 1;
        let key = (0..).map(|number| number.to_string()).find(is_of_second).expect("keys are spread");
        for record in [Record::value("v").key(&key), Record::value("v")] {
            let permit = block_on(orders.reserve_for(&key, record.size(), Duration::ZERO)).expect("there is room");
            assert!(slots[1].account().held() > 0);
            orders.shared.keep_partitions(1);
            slots[1].with_front(|front| front.close());
            drop(permit.send(record).expect("has its room"));
            assert_eq!(slots[1].account().held(), 0);
            assert!(slots[0].with_front(|front| front.has_open()));
            slots[1].with_front(PartitionFront::open_again);
            orders.shared.add_partitions([Arc::clone(&slots[1])]);
        }
    }

    /// A topic that grew had no partitions for a moment, and records were refused.
    #[test]
    fn a_topic_that_is_known_always_has_partitions() {
        let producer = Producer::new(ProducerConfig::new("127.0.0.1:1")).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        let topic = &orders.shared;
        topic.add_partitions([slot(&orders, 0), slot(&orders, 1)]);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let looks = scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    assert!(!topic.partitions().is_empty());
                }
            });
            (2..500).for_each(|number| topic.add_partitions([slot(&orders, number)]));
            is_over.store(true, Ordering::SeqCst);
            looks.join().expect("no panic");
        });
    }
}
