//! Callers who wait for memory: first come, first served, within what can be served.
//!
//! ```text
//! a line per partition      3 ─ 7 ─ 9      the heads of all lines, by their tickets:
//! and one for records       2 ─ 8          the first whose partition may hold more has the turn
//! that go anywhere          5 ─ 6
//! ```
//!
//! Always holds: nobody overtakes in a line; a head that its partition's share holds up holds up its own line and no
//! other; of the other heads the one that came first has the turn, and nobody else tries; a wake-up between a failed try
//! and the wait is not missed, because the waker is stored before the try.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Waker;

use milena_core::ids::PartitionId;
use milena_core::producer::account::{Account, Tight};
use milena_core::sync::Mutex;
use milena_core::sync::atomic::{AtomicUsize, Ordering, fence};

/// A caller's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// Who stands before a caller that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// Somebody who waits for room of any kind.
    Room,
    /// Somebody whose partition holds its share.
    Partition,
}

/// Where a record must go; `None` lets it go anywhere.
pub(crate) type Target = Option<(PartitionId, Arc<Account>)>;

/// How many bytes may be taken, now: for the partition of this account, or of all.
pub(crate) trait Gauge {
    fn room(&self, account: Option<&Account>) -> usize;
}

#[derive(Debug)]
pub(crate) struct RoomQueue {
    inner: Mutex<Inner>,
    /// Entries of the queue; read by callers that do not wait.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    waiters: BTreeMap<Ticket, Waiter>,
    lines: BTreeMap<Option<PartitionId>, BTreeSet<Ticket>>,
    /// Heads of lines that nothing held up when they last tried.
    free: BTreeSet<Ticket>,
    /// Heads of lines whose partition's share was used up. Few, as only partitions that make no progress are full.
    held_up: BTreeSet<Ticket>,
    tickets_given: u64,
}

#[derive(Debug)]
struct Waiter {
    waker: Option<Waker>,
    target: Target,
    /// The room that it needs, if its last try found its partition's share used up; until then it lets others pass.
    needs: Option<usize>,
}

impl RoomQueue {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner::default()), waiting: AtomicUsize::new(0) }
    }

    /// Whether somebody waits.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whom a caller that does not wait would overtake if it took memory for this partition, or for any.
    #[inline]
    pub(crate) fn must_wait(&self, target: Option<PartitionId>, gauge: &impl Gauge) -> Option<Ahead> {
        if self.has_waiters() { self.inner.lock().ahead_of(target, gauge) } else { None }
    }

    /// Whether somebody waits for this very partition.
    #[inline]
    pub(crate) fn waits_for(&self, partition: PartitionId) -> bool {
        self.has_waiters() && self.inner.lock().lines.contains_key(&Some(partition))
    }

    /// Joins at the end.
    pub(crate) fn enqueue(&self, target: Target) -> Ticket {
        let mut inner = self.inner.lock();
        inner.tickets_given += 1;
        let ticket = Ticket(inner.tickets_given);
        inner.join(ticket, Waiter { waker: None, target, needs: None });
        self.waiting.store(inner.waiters.len(), Ordering::SeqCst);
        ticket
    }

    /// Whether it is this one's turn; then it must try, and is woken when another try makes sense.
    pub(crate) fn has_turn(&self, ticket: Ticket, waker: &Waker, gauge: &impl Gauge) -> bool {
        let mut inner = self.inner.lock();
        inner.waiter(ticket).waker = Some(waker.clone());
        // What is measured and tried next must see everything from before a wake-up that missed this waker.
        fence(Ordering::SeqCst);
        inner.turn(gauge) == Some(ticket)
    }

    /// The one who had the turn found this partition too full for its share, where it must go, or all of them. Whether it
    /// has the turn again; else somebody else has it and is woken.
    pub(crate) fn found_tight(&self, ticket: Ticket, target: Target, tight: Tight, gauge: &impl Gauge) -> bool {
        let mut inner = self.inner.lock();
        let mut waiter = inner.part(ticket);
        let missing = tight.wanted.saturating_sub(tight.room);
        waiter.needs = Some(if target.is_some() { tight.wanted } else { tight.free.saturating_add(missing) });
        waiter.target = target;
        inner.join(ticket, waiter);
        fence(Ordering::SeqCst);
        let turn = inner.turn(gauge);
        let next = turn.filter(|turn| *turn != ticket).and_then(|turn| inner.waiter(turn).waker.take());
        drop(inner);
        if let Some(waker) = next {
            waker.wake();
        }
        turn == Some(ticket)
    }

    /// Whether its partition's share is what holds it up.
    pub(crate) fn is_held_up_by_share(&self, ticket: Ticket) -> bool {
        self.inner.lock().waiter(ticket).needs.is_some()
    }

    /// Leaves the queue, served or not; the next one may try.
    pub(crate) fn leave(&self, ticket: Ticket, gauge: &impl Gauge) {
        let mut inner = self.inner.lock();
        let left = inner.part(ticket);
        drop(left);
        // Records that go anywhere pass partitions by that somebody waits for; there may be one less now.
        let anywhere = inner.lines.get(&None).and_then(|line| line.first().copied());
        if let Some(first) = anywhere {
            inner.waiter(first).needs = None;
            inner.file_head(None);
        }
        self.waiting.store(inner.waiters.len(), Ordering::SeqCst);
        let next = inner.turn(gauge).and_then(|turn| inner.waiter(turn).waker.take());
        drop(inner);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// There may be more room.
    pub(crate) fn wake_next(&self, gauge: &impl Gauge) {
        if !self.has_waiters() {
            return;
        }
        let mut inner = self.inner.lock();
        let next = inner.turn(gauge).and_then(|turn| inner.waiter(turn).waker.take());
        drop(inner);
        if let Some(waker) = next {
            waker.wake();
        }
    }

    /// What everybody must know has changed.
    pub(crate) fn wake_all(&self) {
        let woken: Vec<Waker> =
            self.inner.lock().waiters.values_mut().filter_map(|waiter| waiter.waker.take()).collect();
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Inner {
    fn waiter(&mut self, ticket: Ticket) -> &mut Waiter {
        self.waiters.get_mut(&ticket).expect("a ticket stays in the queue until its owner leaves")
    }

    fn join(&mut self, ticket: Ticket, waiter: Waiter) {
        let line = waiter.line();
        self.unfile_head(line);
        self.lines.entry(line).or_default().insert(ticket);
        self.waiters.insert(ticket, waiter);
        self.file_head(line);
    }

    fn part(&mut self, ticket: Ticket) -> Waiter {
        let line = self.waiter(ticket).line();
        self.unfile_head(line);
        let waiter = self.waiters.remove(&ticket).expect("it was just looked up");
        let tickets = self.lines.get_mut(&line).expect("whoever waits stands in a line");
        tickets.remove(&ticket);
        if tickets.is_empty() {
            self.lines.remove(&line);
        }
        self.file_head(line);
        waiter
    }

    fn head(&self, line: Option<PartitionId>) -> Option<Ticket> {
        self.lines.get(&line)?.first().copied()
    }

    fn unfile_head(&mut self, line: Option<PartitionId>) {
        if let Some(head) = self.head(line) {
            self.free.remove(&head);
            self.held_up.remove(&head);
        }
    }

    fn file_head(&mut self, line: Option<PartitionId>) {
        self.unfile_head(line);
        let Some(head) = self.head(line) else { return };
        let heads = if self.waiters[&head].needs.is_some() { &mut self.held_up } else { &mut self.free };
        heads.insert(head);
    }

    /// Work proportional to the lines that are held up, not to those who stand in them, nor to the other lines.
    fn turn(&self, gauge: &impl Gauge) -> Option<Ticket> {
        let first = self.free.first().copied();
        let before = self.held_up.iter().take_while(|head| first.is_none_or(|first| **head < first));
        before.copied().find(|head| !self.waiters[head].is_held_up(gauge)).or(first)
    }

    fn ahead_of(&self, target: Option<PartitionId>, gauge: &impl Gauge) -> Option<Ahead> {
        if self.turn(gauge).is_some() {
            return Some(Ahead::Room);
        }
        self.lines.contains_key(&target).then_some(Ahead::Partition)
    }
}

impl Waiter {
    fn line(&self) -> Option<PartitionId> {
        self.target.as_ref().map(|(partition, _)| *partition)
    }

    fn is_held_up(&self, gauge: &impl Gauge) -> bool {
        let account = self.target.as_ref().map(|(_, account)| &**account);
        self.needs.is_some_and(|needs| gauge.room(account) < needs)
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// So much room for each partition that holds nothing yet, and so much of all.
    struct Rooms {
        shares: Cell<usize>,
        free: Cell<usize>,
    }

    impl Gauge for Rooms {
        fn room(&self, account: Option<&Account>) -> usize {
            account.map_or(self.free.get(), |account| self.shares.get().saturating_sub(account.held()))
        }
    }

    fn rooms() -> Rooms {
        Rooms { shares: Cell::new(10), free: Cell::new(100) }
    }

    fn target(partition: u32) -> (Target, Arc<Account>) {
        let account = Arc::new(Account::default());
        (Some((PartitionId(partition), Arc::clone(&account))), account)
    }

    const TIGHT: Tight = Tight { wanted: 12, room: 10, free: 100 };

    #[test]
    fn the_first_has_the_turn_until_it_leaves_whatever_it_waits_for() {
        let (queue, rooms) = (RoomQueue::new(), rooms());
        let tickets = [target(1).0, None, target(2).0].map(|target| queue.enqueue(target));
        let turns = || tickets.map(|ticket| queue.has_turn(ticket, Waker::noop(), &rooms));
        assert_eq!(turns(), [true, false, false]);
        queue.leave(tickets[0], &rooms);
        assert!(queue.has_turn(tickets[1], Waker::noop(), &rooms));
        queue.leave(tickets[1], &rooms);
        assert!(queue.has_turn(tickets[2], Waker::noop(), &rooms));
    }

    #[test]
    fn whoever_waits_for_a_full_partition_holds_up_its_own_line_only() {
        let (queue, rooms) = (RoomQueue::new(), rooms());
        let (dead, account) = target(1);
        let [first, second] = [dead.clone(), dead.clone()].map(|target| queue.enqueue(target));
        let other = queue.enqueue(target(2).0);
        assert!(!queue.found_tight(first, dead, TIGHT, &rooms));
        assert!(queue.has_turn(other, Waker::noop(), &rooms) && !queue.has_turn(second, Waker::noop(), &rooms));
        assert!(queue.is_held_up_by_share(first) && !queue.is_held_up_by_share(other));
        queue.leave(other, &rooms);
        assert_eq!(queue.must_wait(Some(PartitionId(2)), &rooms), None, "nobody is overtaken");
        assert_eq!(queue.must_wait(Some(PartitionId(1)), &rooms), Some(Ahead::Partition), "those of its line are");
        assert!(queue.must_wait(None, &rooms).is_none() && queue.waits_for(PartitionId(1)));
        rooms.shares.set(11);
        assert!(!queue.has_turn(first, Waker::noop(), &rooms), "more room than it found, and less than it needs");
        rooms.shares.set(12);
        assert!(queue.has_turn(first, Waker::noop(), &rooms));
        assert_eq!(queue.must_wait(Some(PartitionId(2)), &rooms), Some(Ahead::Room), "now it would be");
        account.add(1);
        assert!(!queue.has_turn(first, Waker::noop(), &rooms));
    }

    /// Room that came between the try and the word of it is not overlooked.
    #[test]
    fn whoever_found_too_little_tries_again_if_there_is_more_by_now() {
        let (queue, rooms) = (RoomQueue::new(), rooms());
        let (full, _) = target(1);
        let ticket = queue.enqueue(full.clone());
        rooms.shares.set(12);
        assert!(queue.found_tight(ticket, full, TIGHT, &rooms));
    }

    #[test]
    fn one_that_may_go_anywhere_waits_for_room_of_any_kind_or_for_somebody_to_leave() {
        let (queue, rooms) = (RoomQueue::new(), rooms());
        let (full, _) = target(1);
        let (keyed, anywhere) = (queue.enqueue(full.clone()), queue.enqueue(None));
        assert!(!queue.found_tight(keyed, full, TIGHT, &rooms));
        assert!(!queue.found_tight(anywhere, None, TIGHT, &rooms));
        rooms.free.set(102);
        assert!(queue.has_turn(anywhere, Waker::noop(), &rooms));
        rooms.free.set(100);
        assert!(!queue.has_turn(anywhere, Waker::noop(), &rooms));
        queue.leave(keyed, &rooms);
        assert!(queue.has_turn(anywhere, Waker::noop(), &rooms), "its partition is nobody's now");
    }
}
