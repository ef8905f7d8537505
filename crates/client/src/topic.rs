//! The handle through which records of one topic are sent, and which partition each goes to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use milena_core::producer::completion::Delivery;
use milena_core::producer::front::Reply;
use milena_core::time::Now;

use crate::error::{ReadyError, SendError};
use crate::partitioner::Aim;
use crate::producer::Handle;
use crate::record::Record;
use crate::shared::{Shared, TopicShared};

mod accepting;
mod aiming;
mod batch;
mod calls;
mod permit;
mod sticky;
mod thread_number;

use self::accepting::{Attempt, Obstacle, Rights};
pub use self::batch::SendBatchError;
pub use self::permit::Permit;
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
    #[inline]
    pub fn try_send<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery, SendError<'a>> {
        let record = record.into();
        let now = self.shared().clock.now();
        match self.send_now(now, &record) {
            Ok(delivery) => Ok(delivery),
            Err((obstacle, _)) => Err(self.give_back(obstacle, now.moment, record)),
        }
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
        let now = self.shared().clock.now();
        let refused = match self.send_now(now, &record) {
            Ok(delivery) => return Ok(delivery),
            Err(refused) => refused,
        };
        // Boxed, because hardly any record waits, and every call would carry what waiting takes.
        let accepted = Box::pin(self.send_in_turn(now.moment, &record, refused)).await;
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
    #[inline]
    pub fn post<'a>(&self, record: impl Into<Record<'a>>) -> Result<(), SendError<'a>> {
        let record = record.into();
        let now = self.shared().clock.now();
        match self.post_now(now, &record) {
            Ok(()) => Ok(()),
            Err((obstacle, _)) => Err(self.give_back(obstacle, now.moment, record)),
        }
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
        let now = self.shared().clock.now();
        let refused = match self.post_now(now, &record) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let accepted = Box::pin(self.post_in_turn(now.moment, &record, refused)).await;
        accepted.map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    /// Not generic, so that it is compiled with what it calls; as [`Self::post_now`]. What is decided of where the record goes
    /// comes back with what is in its way, because for each call it is decided once.
    fn send_now<'r>(&self, now: Now, record: &'r Record<'_>) -> Result<Delivery, (Obstacle, Aim<'r>)> {
        let offer = self.offer(record, record.at(now.moment));
        let attempt = Attempt { now, offer, reply: Reply::Handle, rights: Rights::None };
        self.accept(&attempt, &|new| new.delivery()).map_err(|obstacle| (obstacle, offer.aim))
    }

    fn post_now<'r>(&self, now: Now, record: &'r Record<'_>) -> Result<(), (Obstacle, Aim<'r>)> {
        let (offer, reply) = (self.offer(record, record.at(now.moment)), self.reply_for(record));
        let attempt = Attempt { now, offer, reply, rights: Rights::None };
        self.accept(&attempt, &|_| ()).map_err(|obstacle| (obstacle, offer.aim))
    }

    fn reply_for(&self, record: &Record<'_>) -> Reply {
        if self.shared().reports_posted { Reply::Report(record.tag_number()) } else { Reply::Handle }
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.handle.shared()
    }
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
    use milena_core::producer::body::ChunkSource;
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

    /// After a full batch the neighbour of the partition that was picked was tried first, so who was behind got its share.
    #[test]
    fn the_partition_that_is_picked_is_the_one_that_takes_the_record() {
        const BATCH: usize = 1000;
        let config = ProducerConfig::new("127.0.0.1:1").linger(Duration::from_secs(15)).batch_size(BATCH);
        let producer = Producer::new(config).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        let slots = [0, 1, 2, 3].map(|number| slot(&orders, number));
        orders.shared.add_partitions(slots.clone());
        let pool = &orders.shared().pool;
        [0, 1, 3].into_iter().for_each(|behind| pool.charge_always(slots[behind].account(), 1000 * BATCH));
        // Each fills a batch.
        (0..40).for_each(|_| drop(orders.try_send(Record::value(&[b'v'; 900])).expect("there is room")));
        let chunks = slots[2].account().held() / 1024;
        assert!((35..=40).contains(&chunks), "{chunks} records of 40 went where next to nothing waits");
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
