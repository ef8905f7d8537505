//! Room that is taken before the record is there.
//!
//! Always holds: what a permit reserves is charged to a partition until it is used or dropped, so a record that fits it is
//! never refused for want of memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena_core::producer::account::{Account, Full, Tight};
use milena_core::producer::body::{CHUNK_BYTES_MAX, Chunk, ChunkSource};
use milena_core::producer::completion::Delivery;
use milena_core::producer::front::{AppendError, Appended, LINK_BYTES_MIN, Notice, RecordRef, Reply, Value, WhenFull};

use super::Topic;
use super::accepting::{Obstacle, Rights, TRIES_MAX};
use super::aiming::{NoSuchPartition, Offer};
use super::calls::Call;
use crate::error::{ReserveError, SendError, SendRefused};
use crate::partitioner::Aim;
use crate::pool::ChunkPool;
use crate::record::Record;
use crate::room::Gauge;
use crate::slot::PartitionSlot;
use crate::waiting::Refused;

/// Room for one record, from [`Topic::reserve`]. Dropping it gives the room back.
///
/// It holds its part of `buffer_memory` until then, so take one when the record is about to come, not long before. It may go
/// to another thread, and be borrowed across an `await`: it is `Send` and `Sync`.
///
/// ```
/// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let permit = orders.reserve(1000, Duration::from_secs(5)).await?;
/// let order = read_order();
/// let delivery = permit.send(&order).map_err(|refused| refused.to_string())?;
/// # fn read_order() -> String { "4 tea".to_owned() }
/// # let _ = delivery;
/// # Ok(())
/// # }
/// ```
#[must_use = "a dropped permit gives its room back"]
pub struct Permit<'t> {
    topic: &'t Topic,
    slot: Arc<PartitionSlot>,
    /// The largest record that it is for.
    size: usize,
    /// What is charged to the slot's account and not used. Changed only by the call that uses the permit up; atomic because a
    /// future that borrows a permit could not be spawned otherwise.
    charged: AtomicUsize,
}

impl Topic {
    /// Waits for room for one record of at most `size` bytes ([`Record::size`]), and for the topic's partitions, at most until
    /// `deadline`: for those who read from somewhere else and must not read what they cannot send on. The record's own
    /// deadline begins with [`Permit::send`].
    ///
    /// A record without a key is then accepted whatever others do. One with a key may still find that its partition holds its
    /// share of the memory; [`Self::reserve_for`] waits for that as well.
    ///
    /// Dropping this future before it resolves reserves nothing. While it waits it has a place in a queue, and those behind it
    /// wait until it is polled: drop it or poll it.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// // Only what can be sent on is taken from the socket.
    /// let permit = orders.reserve(16 * 1024, Duration::from_secs(5)).await?;
    /// let order = read_at_most(16 * 1000);
    /// permit.post(&order).map_err(|refused| refused.to_string())?;
    /// # fn read_at_most(_: usize) -> Vec<u8> { Vec::new() }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reserve(&self, size: usize, deadline: Duration) -> Result<Permit<'_>, ReserveError> {
        self.reserve_in_turn(Aim::Anywhere, size, deadline).await
    }

    /// As [`Self::reserve`], for a record with this key.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use milena::Record;
    ///
    /// let permit = orders.reserve_for("table 7", 1000, Duration::from_secs(5)).await?;
    /// let delivery = permit.send(("table 7", "4 tea")).map_err(|refused| refused.to_string())?;
    /// # let _ = (delivery, Record::value(""));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reserve_for(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        size: usize,
        deadline: Duration,
    ) -> Result<Permit<'_>, ReserveError> {
        // What is decided for each record anew is not known yet.
        let hashed = self.shared().partitioner.hashed(Some(key.as_ref()));
        let aim = hashed.map_or(Aim::Anywhere, |(hash, key)| Aim::Key(hash, key));
        self.reserve_in_turn(aim, size, deadline).await
    }

    async fn reserve_in_turn(&self, aim: Aim<'_>, size: usize, deadline: Duration) -> Result<Permit<'_>, ReserveError> {
        let limit = self.shared().front.max_request_size;
        let reserved = if size > limit {
            Err(SendRefused::RecordTooLarge { size, limit })
        } else {
            let call = Call::new(self.shared().clock.moment(), deadline);
            match self.try_reserve(aim, size, Rights::None) {
                Ok(permit) => Ok(permit),
                Err(refused) => self.in_turn(call, aim, refused, |_, rights| self.try_reserve(aim, size, rights)).await,
            }
        };
        reserved.map_err(|reason| ReserveError::new(&self.shared.name, reason))
    }

    fn try_reserve(&self, aim: Aim<'_>, size: usize, rights: Rights) -> Result<Permit<'_>, Refused> {
        let refused = |obstacle| self.refused(obstacle, aim);
        let partitions = self.shared.partitions();
        if partitions.is_empty() {
            return Err(refused(Obstacle::Pending));
        }
        let aimed_at = self.aimed_at(aim, partitions).map_err(|none| refused(Obstacle::NoSuchPartition(none)))?;
        if let Some(ahead) = self.ahead(rights, aimed_at) {
            return Err(refused(Obstacle::Behind(ahead)));
        }
        if let Some(why) = self.shared().closed() {
            return Err(SendRefused::by_close(why).into());
        }
        let needs = needs(size);
        let charged = match aimed_at {
            Some(slot) => self.shared().pool.charge(slot.account(), needs).map(|()| slot),
            None => self.charge_any(needs, rights),
        };
        let error = match charged {
            Ok(slot) => {
                return Ok(Permit { topic: self, slot: Arc::clone(slot), size, charged: AtomicUsize::new(needs) });
            }
            Err(Full::Buffer) => AppendError::BufferFull(Notice::Nothing),
            Err(Full::Share(tight)) => AppendError::ShareFull(Notice::Nothing, tight),
        };
        Err(refused(Obstacle::Refused(error)))
    }

    /// The partition that records without a key go to now, or the next one that may hold so much.
    fn charge_any(&self, needs: usize, rights: Rights) -> Result<&Arc<PartitionSlot>, Full> {
        let (pool, partitions) = (&self.shared().pool, self.shared.partitions());
        let count = partitions.len();
        let tries = if rights == Rights::Room { count } else { count.min(TRIES_MAX) };
        let mut tight = Tight { wanted: usize::MAX, room: 0, free: pool.room(None) };
        for step in 0..tries {
            let slot = &partitions[(self.sticky_place(count) + step) % count];
            if pool.room.waits_for(slot.id()) {
                continue;
            }
            match pool.charge(slot.account(), needs) {
                Ok(()) => return Ok(slot),
                Err(Full::Buffer) => return Err(Full::Buffer),
                Err(Full::Share(found)) => tight = tight.looser(found),
            }
        }
        Err(Full::Share(tight))
    }
}

impl Permit<'_> {
    /// Accepts the record now. It is refused only if it is larger than what was reserved, if its key leads to a partition that
    /// holds its share of the memory (not after [`Topic::reserve_for`] with that key), or if the producer was closed.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let permit = orders.reserve(1000, Duration::from_secs(5)).await?;
    /// let delivery = permit.send("4 tea").map_err(|refused| refused.to_string())?;
    /// println!("{:?}", delivery.await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send<'a>(mut self, record: impl Into<Record<'a>>) -> Result<Delivery, SendError<'a>> {
        let record = record.into();
        let accepted = self.accept(&record, Reply::Handle, |appended| appended.delivery());
        accepted.map_err(|why| SendError::new(&self.topic.shared.name, why, record))
    }

    /// As [`Self::send`], without a handle: the outcome is reported with the record's tag, see [`Topic::post`].
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use milena::Record;
    ///
    /// let permit = orders.reserve(1000, Duration::from_secs(5)).await?;
    /// permit.post(Record::value("4 tea").tag(42)).map_err(|refused| refused.to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn post<'a>(mut self, record: impl Into<Record<'a>>) -> Result<(), SendError<'a>> {
        let record = record.into();
        let reply = self.topic.reply_for(&record);
        self.accept(&record, reply, |_| ()).map_err(|why| SendError::new(&self.topic.shared.name, why, record))
    }

    fn accept<T>(
        &mut self,
        record: &Record<'_>,
        reply: Reply,
        take: impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, SendRefused> {
        let size = record.size();
        if size > self.size {
            return Err(SendRefused::LargerThanReserved { size, reserved: self.size });
        }
        let topic = self.topic;
        let now = topic.shared().clock.now();
        let Offer { record, aim } = topic.offer(record, record.at(now.moment));
        let record = self.fitting(record, size);
        let aimed_at = |partitions| topic.aimed_at(aim, partitions).map_err(NoSuchPartition::refused);
        if let Some(slot) = aimed_at(topic.shared.partitions())? {
            self.move_to(slot)?;
        }
        loop {
            let slot = Arc::clone(&self.slot);
            let chunks = Reserved { permit: self, pool: &topic.shared().pool };
            let error = match slot.append(now, &chunks, record, reply, WhenFull::OpenNext, &take) {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            match (error, topic.shared().closed()) {
                (AppendError::TooLarge { size, limit }, _) => return Err(SendRefused::RecordTooLarge { size, limit }),
                (AppendError::WithdrawNeedsIdempotence, _) => return Err(SendRefused::WithdrawNeedsIdempotence),
                (AppendError::Closed, Some(why)) => return Err(SendRefused::by_close(why)),
                // Its partition is gone, and the topic's others were known before its front was closed.
                (AppendError::Closed, None) => {
                    let partitions = topic.shared.partitions();
                    let anywhere = || &partitions[topic.sticky_place(partitions.len())];
                    self.move_to(aimed_at(partitions)?.unwrap_or_else(anywhere))?;
                }
                (AppendError::BufferFull(_) | AppendError::BatchFull(_) | AppendError::ShareFull(..), _) => {
                    unreachable!("what a permit reserves is enough for its record")
                }
            }
        }
    }

    fn charged(&self) -> usize {
        self.charged.load(Ordering::Relaxed)
    }

    /// The room goes along, unless that partition holds too much or somebody waits for it.
    fn move_to(&mut self, slot: &Arc<PartitionSlot>) -> Result<(), SendRefused> {
        if slot.id() == self.slot.id() {
            return Ok(());
        }
        let pool = &self.topic.shared().pool;
        if pool.room.waits_for(slot.id()) || !pool.move_charge(self.slot.account(), slot.account(), self.charged()) {
            return Err(SendRefused::PartitionFull);
        }
        self.slot = Arc::clone(slot);
        Ok(())
    }

    /// A link needs memory of its own around it; where that was not reserved the value is copied.
    fn fitting<'r>(&self, record: RecordRef<'r>, size: usize) -> RecordRef<'r> {
        match record.value {
            Value::Shared(value) if value.len() >= LINK_BYTES_MIN => {
                let around = size - value.len();
                let linked =
                    around <= CHUNK_BYTES_MAX && value.len() + 2 * ChunkPool::class_of(around) <= self.charged();
                if linked { record } else { RecordRef { value: Value::Borrowed(value), ..record } }
            }
            _ => record,
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("topic", &self.topic.name()).field("size", &self.size).finish()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.topic.shared().pool.release(self.slot.account(), self.charged());
    }
}

/// What is charged for a record of this size: a chunk of its own, or two small ones around a linked value.
fn needs(size: usize) -> usize {
    let copied = if size <= CHUNK_BYTES_MAX { ChunkPool::class_of(size) } else { size };
    if size < LINK_BYTES_MIN { copied } else { copied.max(size + 2 * ChunkPool::class_of(1)) }
}

/// Memory that was charged before.
struct Reserved<'p> {
    permit: &'p Permit<'p>,
    pool: &'p ChunkPool,
}

impl Reserved<'_> {
    fn use_up(&self, bytes: usize) -> bool {
        let left = self.permit.charged().checked_sub(bytes);
        left.inspect(|left| self.permit.charged.store(*left, Ordering::Relaxed)).is_some()
    }
}

impl ChunkSource for Reserved<'_> {
    /// A batch asks for more than its record needs when it has grown. Nobody who waits has to stand back for that.
    fn take(&self, account: &Account, bytes: usize) -> Result<Vec<u8>, Full> {
        let class = ChunkPool::class_of(bytes);
        if self.use_up(class) {
            return Ok(self.pool.charged_chunk(class));
        }
        if !self.pool.room.has_waiters()
            && let Ok(chunk) = self.pool.take(account, bytes)
        {
            return Ok(chunk);
        }
        let own = ChunkPool::class_of(self.permit.size.min(CHUNK_BYTES_MAX));
        assert!(self.use_up(own), "a record that takes a chunk has one of its size reserved");
        Ok(self.pool.charged_chunk(own))
    }

    fn charge(&self, account: &Account, bytes: usize) -> Result<(), Full> {
        if self.use_up(bytes) { Ok(()) } else { self.pool.charge(account, bytes) }
    }

    fn charge_always(&self, account: &Account, bytes: usize) {
        self.pool.charge_always(account, bytes);
    }

    fn give(&self, account: &Account, chunk: Chunk) {
        self.pool.give(account, chunk);
    }

    fn give_all(&self, account: &Account, chunks: Vec<Chunk>) {
        self.pool.give_all(account, chunks);
    }
}
