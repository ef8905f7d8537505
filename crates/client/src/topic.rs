//! The handle through which records of one topic are sent, and which partition each goes to.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use milena_core::producer::completion::Delivery;
use milena_core::producer::front::{AppendError, Appended, Due, RecordRef, Reply, WhenFull};
use milena_core::producer::outcome::NotWritten;
use milena_core::time::{Moment, Now};
use milena_wire::{ErrorCode, murmur2};

use crate::error::{ReadyError, SendError, SendRefused};
use crate::producer::Handle;
use crate::record::Record;
use crate::shared::{Shared, TopicShared};
use crate::slot::{CallerWaker, PartitionSlot, Watch};
use crate::turns::{Ticket, TurnQueue};

/// Sends records to one topic; from [`crate::Producer::topic`].
///
/// Records with a key go to the partition that the Java client chooses (murmur2). Others stick to one partition until
/// its batch is full or was sent, then move to the next (KIP-480): few, full batches. Each clone of a handle starts at
/// another partition, so give every thread its own.
///
/// Order: records of one partition are written in the order in which they were accepted. Calls that wait for room are
/// served first come, first served, and calls that do not wait do not overtake them.
#[derive(Debug)]
pub struct Topic {
    handle: Arc<Handle>,
    shared: Arc<TopicShared>,
    /// Where records without a key go now.
    sticky: AtomicU32,
    /// Whether a record went there since the last move.
    sticky_used: AtomicBool,
}

impl Clone for Topic {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.handle), Arc::clone(&self.shared))
    }
}

impl Topic {
    pub(crate) fn new(handle: Arc<Handle>, shared: Arc<TopicShared>) -> Self {
        let sticky = AtomicU32::new(handle.next_sticky());
        Self { handle, shared, sticky, sticky_used: AtomicBool::new(false) }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How many partitions are known; 0 before the first metadata.
    pub fn partition_count(&self) -> usize {
        self.shared.partitions().len()
    }

    /// Waits until a record could be sent to the topic, at most `deadline`: the cluster answers, the topic's partitions
    /// are known, a broker that leads one of them is connected, and a producer id is there. Gives the number of
    /// partitions; the error says what is missing and why. It is about now, see [`crate::Producer::ready`]. Optional: a
    /// record waits for all of it too. Dropping this future before it resolves changes nothing.
    pub async fn ready(&self, deadline: Duration) -> Result<usize, ReadyError> {
        self.handle.ready(Some(Arc::clone(&self.shared)), deadline).await?;
        Ok(self.partition_count())
    }

    /// Accepts the record now or refuses it now; never waits.
    ///
    /// Refuses with `BufferFull` when memory is used up or others wait for it, and with `MetadataPending` before the
    /// topic's partitions are known; the error gives the record back. The outcome comes through the [`Delivery`], at most
    /// the configured deadline after this call.
    #[allow(
        clippy::result_large_err,
        reason = "the error gives the record back; a box would cost an allocation each time"
    )]
    pub fn try_send<'a>(&self, record: Record<'a>) -> Result<Delivery, SendError<'a>> {
        let now = self.shared().clock.now();
        self.accept(now, record.as_ref(), Reply::Handle, Rights::None, |appended| appended.delivery())
            .map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    /// Accepts the record, waiting for room and for the topic's partitions if need be, at most until its deadline.
    ///
    /// Dropping this future before it resolves sends nothing; once it has resolved, dropping the `Delivery` cancels
    /// nothing. While it waits it has a place in a queue, and those behind it wait until it is polled: drop it or poll it.
    pub async fn send<'a>(&self, record: Record<'a>) -> Result<Delivery, SendError<'a>> {
        let accepted = self.accept_in_turn(&record, Reply::Handle, |appended| appended.delivery()).await;
        accepted.map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    /// As [`Self::try_send`], without a handle: the outcome is reported with the record's tag to the handler that was set
    /// with [`crate::ProducerConfig::on_delivery`]; without a handler nobody learns it.
    #[allow(
        clippy::result_large_err,
        reason = "the error gives the record back; a box would cost an allocation each time"
    )]
    pub fn post<'a>(&self, record: Record<'a>) -> Result<(), SendError<'a>> {
        let now = self.shared().clock.now();
        let reply = self.reply_for(&record);
        self.accept(now, record.as_ref(), reply, Rights::None, |_| ())
            .map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    /// As [`Self::post`], waiting for room and for the topic's partitions if need be, at most until the record's deadline.
    /// Dropping this future before it resolves sends nothing.
    pub async fn post_wait<'a>(&self, record: Record<'a>) -> Result<(), SendError<'a>> {
        let reply = self.reply_for(&record);
        let accepted = self.accept_in_turn(&record, reply, |_| ()).await;
        accepted.map_err(|reason| SendError::new(&self.shared.name, reason, record))
    }

    fn reply_for(&self, record: &Record<'_>) -> Reply {
        if self.shared().reports_posted { Reply::Report(record.tag_number()) } else { Reply::Handle }
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    async fn accept_in_turn<T>(
        &self,
        record: &Record<'_>,
        reply: Reply,
        take: impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, SendRefused> {
        let shared = self.shared();
        let now = shared.clock.now();
        let due = now.moment + shared.front.deadline;
        // A deadline counts from this call, not from the end of the wait.
        let record = RecordRef { due: Due::Waited(due), ..record.as_ref() };
        let mut decided = self.accept(now, record, reply, Rights::None, &take);
        // Partitions come first: who waits for a topic must not hold up those who wait for room.
        // Those who have waited for it stand before whoever comes when it is just known.
        let stands_behind = is_full(&decided) && self.shared.arrivals.has_waiters();
        let arrival = if is_pending(&decided) || stands_behind {
            let mut arrival = Turn::join(shared, &self.shared.arrivals, due);
            decided = arrival.wait(|now| self.accept(now, record, reply, Rights::Arrival, &take), is_pending).await;
            Some(arrival)
        } else {
            None
        };
        if !is_full(&decided) {
            return decided;
        }
        // The place for room is taken before the other is left, so that nobody gets in between.
        let mut room = Turn::join(shared, &shared.pool.room, due);
        drop(arrival);
        room.wait(|now| self.accept_with_room(now, record, reply, &take), is_full).await
    }

    fn accept_with_room<T>(
        &self,
        now: Now,
        record: RecordRef<'_>,
        reply: Reply,
        take: impl Fn(&Appended<'_>) -> T,
    ) -> Result<T, SendRefused> {
        let decided = self.accept(now, record, reply, Rights::Room, take);
        if is_full(&decided) {
            self.shared().relieve_pressure();
        }
        decided
    }

    #[inline]
    fn accept<T>(
        &self,
        now: Now,
        record: RecordRef<'_>,
        reply: Reply,
        rights: Rights,
        take: impl FnOnce(&Appended<'_>) -> T,
    ) -> Result<T, SendRefused> {
        let partitions = self.shared.partitions();
        let Some(count) = NonZeroU32::new(partitions.len() as u32) else { return Err(self.why_pending()) };
        let must_queue = match rights {
            Rights::None => self.shared().pool.room.has_waiters() || self.shared.arrivals.has_waiters(),
            Rights::Arrival => self.shared().pool.room.has_waiters(),
            Rights::Room => false,
        };
        if must_queue {
            return Err(self.shared().closed().map_or(SendRefused::BufferFull, refused_by_close));
        }
        let appended = match record.key {
            Some(key) => {
                let slot = &partitions[murmur2::partition_for_key(key, count) as usize];
                slot.append(now, &self.shared().pool, record, reply, WhenFull::OpenNext, take)
            }
            None => self.append_sticky(now, partitions, record, reply, take),
        };
        appended.map_err(|error| self.refusal(error))
    }

    /// A batch that is full or was sent lets the next record move to the next partition, instead of leaving a thin
    /// batch behind on this one.
    #[inline]
    fn append_sticky<T>(
        &self,
        now: Now,
        partitions: &[Arc<PartitionSlot>],
        record: RecordRef<'_>,
        reply: Reply,
        take: impl FnOnce(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let pool = &self.shared().pool;
        let count = partitions.len() as u32;
        let place = self.sticky.load(Ordering::Relaxed) % count;
        if count == 1 {
            return partitions[0].append(now, pool, record, reply, WhenFull::OpenNext, take);
        }
        let when_full = if self.sticky_used.load(Ordering::Relaxed) { WhenFull::OnlyOpen } else { WhenFull::Refuse };
        let mut take = Some(take);
        let once = |appended: &Appended<'_>| (take.take().expect("a record is accepted once"))(appended);
        match partitions[place as usize].append(now, pool, record, reply, when_full, once) {
            Err(AppendError::BatchFull(_)) => {}
            Err(error) => return Err(error),
            Ok(taken) => {
                if when_full == WhenFull::Refuse {
                    self.sticky_used.store(true, Ordering::Relaxed);
                }
                return Ok(taken);
            }
        }
        let next = (place + 1) % count;
        self.sticky.store(next, Ordering::Relaxed);
        let take = take.take().expect("the record was not accepted yet");
        partitions[next as usize].append(now, pool, record, reply, WhenFull::OpenNext, take)
    }

    fn why_pending(&self) -> SendRefused {
        if let Some(why) = self.shared().closed() {
            return refused_by_close(why);
        }
        match self.shared.missing() {
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => SendRefused::TopicMissing,
            Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED) => SendRefused::TopicNotAuthorized,
            Some(code) => SendRefused::TopicRefused(code.into()),
            None => match self.shared().faults() {
                faults if faults.is_empty() => SendRefused::MetadataPending,
                faults => SendRefused::Unreachable { faults },
            },
        }
    }

    #[cold]
    fn refusal(&self, error: AppendError) -> SendRefused {
        match error {
            AppendError::TooLarge { size, limit } => SendRefused::RecordTooLarge { size, limit },
            AppendError::Closed => self.shared().closed().map_or(SendRefused::Closed, refused_by_close),
            AppendError::BufferFull(_) | AppendError::BatchFull(_) => SendRefused::BufferFull,
        }
    }
}

fn refused_by_close(why: NotWritten) -> SendRefused {
    if why == NotWritten::DriverLost { SendRefused::DriverLost } else { SendRefused::Closed }
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

fn is_pending<T>(decided: &Result<T, SendRefused>) -> bool {
    matches!(decided, Err(refused) if refused.is_about_metadata())
}

fn is_full<T>(decided: &Result<T, SendRefused>) -> bool {
    matches!(decided, Err(SendRefused::BufferFull))
}

/// A caller's place in a queue, until its deadline.
struct Turn<'a> {
    shared: &'a Shared,
    queue: &'a TurnQueue,
    ticket: Ticket,
    due: Moment,
    /// What the driver's clock knows of this caller.
    watched: Option<Arc<CallerWaker>>,
}

impl<'a> Turn<'a> {
    fn join(shared: &'a Shared, queue: &'a TurnQueue, due: Moment) -> Self {
        Self { shared, queue, ticket: queue.enqueue(), due, watched: None }
    }

    /// Tries whenever it is this caller's turn and something has changed, until an attempt does not have to wait. At the
    /// deadline the attempt's own refusal is the answer.
    async fn wait<T>(
        &mut self,
        attempt: impl Fn(Now) -> Result<T, SendRefused>,
        must_wait: impl Fn(&Result<T, SendRefused>) -> bool,
    ) -> Result<T, SendRefused> {
        poll_fn(|cx| {
            let is_first = self.queue.is_first(self.ticket, cx.waker());
            let now = self.shared.clock.now();
            let is_late = self.due <= now.moment;
            if let Some(why) = self.shared.closed() {
                return Poll::Ready(Err(refused_by_close(why)));
            }
            if is_first {
                let decided = attempt(now);
                if is_late || !must_wait(&decided) {
                    return Poll::Ready(decided);
                }
            } else if is_late {
                return Poll::Ready(Err(SendRefused::BufferFull));
            }
            self.watch_deadline(cx);
            Poll::Pending
        })
        .await
    }

    fn watch_deadline(&mut self, cx: &mut Context<'_>) {
        let Some(watched) = &self.watched else {
            let watched = Arc::new(CallerWaker::new(cx.waker().clone()));
            self.shared.watch.push_for(Watch::Caller(self.due, Arc::downgrade(&watched)), self.due);
            self.watched = Some(watched);
            return;
        };
        let mut known = watched.lock();
        if known.will_wake(cx.waker()) {
            return;
        }
        let old = std::mem::replace(&mut *known, cx.waker().clone());
        drop(known);
        drop(old);
        // The clock may have woken the old one in between; it does so only once.
        if self.due <= self.shared.clock.moment() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.leave(self.ticket);
    }
}
