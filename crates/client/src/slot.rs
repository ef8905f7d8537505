//! The callers' side of a partition as threads share it: the front behind its lock, and whom to wake.

use std::sync::{Arc, Weak};
use std::task::Waker;

use milena_core::ids::PartitionId;
use milena_core::producer::account::Account;
use milena_core::producer::batch::SealReason;
use milena_core::producer::body::ChunkSource;
use milena_core::producer::completion::BatchCompletion;
use milena_core::producer::front::{AppendError, Appended, Notice, PartitionFront, RecordRef, Reply, WhenFull};
use milena_core::sync::Mutex;
use milena_core::time::Now;

use crate::gate::Gate;

/// Own cache lines: two threads on two partitions must not share one.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct PartitionSlot {
    front: Mutex<PartitionFront>,
    /// Of the front.
    account: Arc<Account>,
    id: PartitionId,
    topic: Arc<str>,
    /// Of the lane that leads the partition; of the control task while none does.
    gate: Mutex<Arc<Gate<PartitionId>>>,
    watch: Arc<Gate<Watch>>,
}

/// Something for the thread of the deadlines.
#[derive(Debug)]
pub(crate) enum Watch {
    /// A batch whose records have deadlines.
    Batch(Arc<PartitionSlot>, Arc<BatchCompletion>),
    /// A caller who waits for room or metadata until its deadline.
    Caller(milena_core::time::Moment, Weak<CallerWaker>),
    /// The driver asks something, or is gone.
    Look,
    /// The thread panics.
    #[cfg(test)]
    Panic,
}

/// Whom to wake for a caller who waits; gone when the caller is.
pub(crate) type CallerWaker = Mutex<Waker>;

impl PartitionSlot {
    pub(crate) fn new(
        id: PartitionId,
        topic: Arc<str>,
        front: PartitionFront,
        gate: Arc<Gate<PartitionId>>,
        watch: Arc<Gate<Watch>>,
    ) -> Self {
        let account = Arc::clone(front.account());
        Self { front: Mutex::new(front), account, id, topic, gate: Mutex::new(gate), watch }
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    /// What the partition holds of the memory.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// A caller waits for this partition to hold less: if most of it lies in the batch that fills, it would wait on itself.
    /// Whether it was sealed.
    pub(crate) fn relieve_pressure(&self) -> bool {
        let held = self.account.held();
        let is_sealed = self.with_front(|front| front.open_bytes() * 2 >= held && front.seal(SealReason::Memory));
        if is_sealed {
            self.collect_now();
        }
        is_sealed
    }

    pub(crate) fn topic_name(&self) -> &Arc<str> {
        &self.topic
    }

    /// Accepts a record under the lock, and tells the driver what it must know after it.
    #[inline(always)]
    pub(crate) fn append<T>(
        self: &Arc<Self>,
        now: Now,
        chunks: &impl ChunkSource,
        record: RecordRef<'_>,
        reply: Reply,
        when_full: WhenFull,
        take: impl FnOnce(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let mut front = self.front.lock();
        match front.append(now, chunks, record, reply, when_full) {
            Ok(appended) => {
                let taken = take(&appended);
                if appended.notice != Notice::Nothing || appended.must_watch {
                    let watched = appended.must_watch.then(|| Arc::clone(appended.completion));
                    let notice = appended.notice;
                    drop(front);
                    self.tell(notice, watched);
                }
                Ok(taken)
            }
            Err(refused) => {
                drop(front);
                self.tell_of(refused);
                Err(refused)
            }
        }
    }

    /// Gives the front a record that is to be a fence, unless something else can be it.
    pub(crate) fn append_fence(self: &Arc<Self>, now: Now, chunks: &impl ChunkSource, record: RecordRef<'_>) {
        let completion = self.with_front(|front| front.append_fence(now, chunks, record));
        self.tell(Notice::Sealed, completion);
    }

    /// Accepts several records under one lock; the driver is told once, after it.
    pub(crate) fn append_run<T>(self: &Arc<Self>, work: impl FnOnce(&mut Run<'_>) -> T) -> T {
        let mut watched = Vec::new();
        let mut front = self.front.lock();
        let mut run = Run { front: &mut front, watched: &mut watched, notice: Notice::Nothing };
        let done = work(&mut run);
        let notice = run.notice;
        drop(front);
        let last = watched.pop();
        watched.into_iter().for_each(|completion| self.tell(Notice::Nothing, Some(completion)));
        if notice != Notice::Nothing || last.is_some() {
            self.tell(notice, last);
        }
        done
    }

    #[cold]
    fn tell_of(self: &Arc<Self>, refused: AppendError) {
        match refused {
            AppendError::BatchFull(notice) | AppendError::BufferFull(notice) | AppendError::ShareFull(notice, _) => {
                self.tell(notice, None);
            }
            AppendError::Closed | AppendError::TooLarge { .. } | AppendError::WithdrawNeedsIdempotence => {}
        }
    }

    #[cold]
    fn tell(self: &Arc<Self>, notice: Notice, watched: Option<Arc<BatchCompletion>>) {
        if let Some(completion) = watched {
            let due = completion.next_due().map_or(milena_core::time::Moment::NEVER, |tick| tick.moment());
            self.watch.push_for(Watch::Batch(Arc::clone(self), completion), due);
        }
        match notice {
            Notice::Nothing => {}
            Notice::LingerStarts(ends) => self.gate().push_for(self.id, ends),
            Notice::Sealed => self.collect_now(),
        }
    }

    fn gate(&self) -> Arc<Gate<PartitionId>> {
        Arc::clone(&self.gate.lock())
    }

    /// The lane that leads the partition must look at the front.
    pub(crate) fn collect_now(&self) {
        self.gate().push_now(self.id);
    }

    /// As [`Self::collect_now`], but not to this gate, whose task no longer leads the partition or does not lead it yet;
    /// whoever takes it over looks anyway.
    pub(crate) fn collect_elsewhere(&self, gate: &Arc<Gate<PartitionId>>) {
        let current = self.gate();
        if !Arc::ptr_eq(&current, gate) {
            current.push_now(self.id);
        }
    }

    /// From now on notices go to this gate; whoever waits behind it looks at the front at once.
    pub(crate) fn move_to(&self, gate: Arc<Gate<PartitionId>>) {
        *self.gate.lock() = gate;
        self.collect_now();
    }

    /// As [`Self::with_front`], unless somebody else is at work there.
    pub(crate) fn try_with_front<T>(&self, work: impl FnOnce(&mut PartitionFront) -> T) -> Option<T> {
        self.front.try_lock().map(|mut front| work(&mut front))
    }

    /// For the driver, and for cold paths of callers.
    pub(crate) fn with_front<T>(&self, work: impl FnOnce(&mut PartitionFront) -> T) -> T {
        work(&mut self.front.lock())
    }
}

/// A front while several records are appended to it.
pub(crate) struct Run<'a> {
    front: &'a mut PartitionFront,
    watched: &'a mut Vec<Arc<BatchCompletion>>,
    notice: Notice,
}

impl Run<'_> {
    /// As [`PartitionSlot::append`]; a refused record left no trace and may be tried elsewhere.
    pub(crate) fn append<T>(
        &mut self,
        now: Now,
        chunks: &impl ChunkSource,
        record: RecordRef<'_>,
        when_full: WhenFull,
        take: impl FnOnce(&Appended<'_>) -> T,
    ) -> Result<T, AppendError> {
        let notice = &mut self.notice;
        match self.front.append(now, chunks, record, Reply::Handle, when_full) {
            Ok(appended) => {
                note(notice, appended.notice);
                if appended.must_watch {
                    self.watched.push(Arc::clone(appended.completion));
                }
                Ok(take(&appended))
            }
            Err(refused) => {
                if let AppendError::BatchFull(new) | AppendError::BufferFull(new) | AppendError::ShareFull(new, _) =
                    refused
                {
                    note(notice, new);
                }
                Err(refused)
            }
        }
    }

    /// Whether a batch sealed, so that its lane should hear of it.
    pub(crate) fn has_sealed(&self) -> bool {
        self.notice == Notice::Sealed
    }
}

/// A sealed batch makes its lane look, and it then sees the one that fills; of two that started to fill the first is early enough.
fn note(noted: &mut Notice, new: Notice) {
    match (*noted, new) {
        (Notice::Sealed, _) | (_, Notice::Nothing) => {}
        (Notice::LingerStarts(_), Notice::LingerStarts(_)) => {}
        _ => *noted = new,
    }
}
