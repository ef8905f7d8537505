//! One lane and its socket: what the machine asks for is done, what happens is told to it.
//!
//! Always holds: when the task ends, for whatever reason, everything the lane holds is ended.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use milena_core::fault::ConnectionError;
use milena_core::ids::{LaneId, PartitionId};
use milena_core::metadata::Address;
use milena_core::producer::back::PartitionBack;
use milena_core::producer::lane::{Lane, LaneEvent, LaneOrder, LaneReport};
use milena_core::producer::produce_request::Transmit;
use milena_core::time::Moment;
use tokio::sync::mpsc;

use super::Surroundings;
use super::dial::lost;
use super::drain::{Carrier, Parcel, doubt_for};
use super::packers::Packed;
use super::socket::{Outgoing, Socket};
use super::timer::Timer;
use crate::gate::Gate;
use crate::slot::PartitionSlot;

/// What the control task tells a lane.
#[derive(Debug)]
pub(crate) enum ToLane {
    Order(LaneOrder),
    /// Where the broker is now; absent while nobody knows. Whatever connection there is leads to the wrong place.
    Address(Option<Address>),
    /// The broker has left: nothing is led here and nothing will be. The lane ends with its last answer.
    End,
    #[cfg(test)]
    Panic,
}

/// What a lane tells the control task.
#[derive(Debug)]
pub(crate) enum FromLane {
    Report(LaneId, LaneReport),
    /// The task has ended, as it was told to.
    Left,
    /// The task has ended.
    Ended,
}

impl Carrier for ToLane {
    fn into_back(self) -> Option<Box<PartitionBack>> {
        if let Self::Order(LaneOrder::Adopt(back)) = self { Some(back) } else { None }
    }
}

impl Carrier for FromLane {
    fn into_back(self) -> Option<Box<PartitionBack>> {
        if let Self::Report(_, LaneReport::Released(back)) = self { Some(back) } else { None }
    }
}

/// A lane that has more to do goes to the end of the line after this time.
pub(super) const TURN_MAX: Duration = Duration::from_millis(1);

pub(crate) struct LaneTask {
    surroundings: Surroundings,
    lane: Lane,
    address: Option<Address>,
    gate: Arc<Gate<PartitionId>>,
    slots: BTreeMap<PartitionId, Arc<PartitionSlot>>,
    orders: mpsc::UnboundedReceiver<Parcel<ToLane>>,
    control: mpsc::UnboundedSender<Parcel<FromLane>>,
    socket: Socket,
    outgoing: Outgoing,
    /// Partitions whose fronts must be looked at; what one turn leaves, the next one takes.
    notified: Vec<PartitionId>,
    timer: Timer,
    /// Work on bytes that came back, and the way back.
    packed: mpsc::UnboundedReceiver<Packed>,
    to_packed: mpsc::UnboundedSender<Packed>,
    /// It was told to end, and waits for answers.
    is_ending: bool,
}

impl LaneTask {
    pub(crate) fn new(
        surroundings: Surroundings,
        lane: Lane,
        address: Address,
        gate: Arc<Gate<PartitionId>>,
        orders: mpsc::UnboundedReceiver<Parcel<ToLane>>,
        control: mpsc::UnboundedSender<Parcel<FromLane>>,
    ) -> Self {
        let (to_packed, packed) = mpsc::unbounded_channel();
        Self {
            surroundings,
            lane,
            address: Some(address),
            gate,
            slots: BTreeMap::new(),
            orders,
            control,
            socket: Socket::Closed,
            outgoing: Outgoing::default(),
            notified: Vec::new(),
            timer: Timer::new(),
            packed,
            to_packed,
            is_ending: false,
        }
    }

    /// Until the control task is gone, or everything is told to stop.
    pub(crate) async fn run(mut self) {
        let mut stop = self.surroundings.stop.clone();
        let stopped = async move {
            // An error means that the control task is gone, which ends everything too.
            let _ = stop.wait_for(Option::is_some).await;
        };
        let mut stopped = std::pin::pin!(stopped);
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.poll_run(cx)
        })
        .await;
    }

    fn now(&self) -> Moment {
        self.surroundings.shared.clock.moment()
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let yield_at = self.now() + TURN_MAX;
        loop {
            loop {
                match self.orders.poll_recv(cx) {
                    Poll::Ready(Some(order)) => self.obey(order.open()),
                    Poll::Ready(None) if !self.is_ending => return Poll::Ready(()),
                    Poll::Ready(None) | Poll::Pending => break,
                }
                // Partitions come by the thousand; what is left of them waits, the socket does not.
                if self.now() >= yield_at {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
            if self.take_packed(cx).is_break() {
                return Poll::Ready(());
            }
            self.collect_notified(yield_at);
            // Time before the socket: what is due now may be sent now.
            self.pass_time();
            let moved = self.poll_socket(cx);
            let drained = self.drain_events();
            // Last, because claims find work too.
            self.hand_out_work();
            if drained || moved || !self.notified.is_empty() {
                if self.now() < yield_at {
                    continue;
                }
                // The clock's task runs on this thread too, and no deadline waits for a busy lane (rule 16).
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_ending && !self.lane.has_unanswered() {
                return Poll::Ready(());
            }
            let next = self.lane.poll_timeout().into_iter().chain(self.journal_retry_at()).min();
            let next = next.unwrap_or(Moment::NEVER);
            if self.timer.poll_due(next, &self.surroundings.shared.clock, cx).is_ready() {
                continue;
            }
            if self.gate.poll_end_turn(next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn obey(&mut self, order: ToLane) {
        match order {
            ToLane::Order(order) => {
                let adopted = if let LaneOrder::Adopt(back) = &order { Some(back.id()) } else { None };
                let now = self.now();
                self.lane.obey(now, order);
                if let Some(id) = adopted {
                    let slot = self.surroundings.shared.slot(id);
                    self.slots.insert(id, Arc::clone(&slot));
                    slot.move_to(Arc::clone(&self.gate));
                }
            }
            ToLane::Address(address) => {
                let now = self.now();
                match address.is_some() {
                    true => self.lane.redial(now),
                    false => self.lane.handle_disconnected(now, ConnectionError::BrokerUnknown),
                }
                self.address = address;
            }
            ToLane::End => self.is_ending = true,
            #[cfg(test)]
            ToLane::Panic => panic!("this panic is part of a test"),
        }
    }

    /// Takes work that was done; broken off if some never will be.
    fn take_packed(&mut self, cx: &mut Context<'_>) -> ControlFlow<()> {
        while let Poll::Ready(Some(packed)) = self.packed.poll_recv(cx) {
            match packed {
                Packed::Done(done) => self.lane.handle_packed(done.open(), &*self.surroundings.shared.pool),
                Packed::Lost => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    fn hand_out_work(&mut self) {
        let Surroundings { packers, shared, .. } = &self.surroundings;
        while let Some(job) = self.lane.poll_pack() {
            packers.push(job, &self.to_packed, &shared.pool);
        }
    }

    /// Looks at the fronts that have something, one at least, for as long as a turn may take.
    fn collect_notified(&mut self, yield_at: Moment) {
        if self.notified.is_empty() {
            self.gate.begin_turn(&mut self.notified);
        }
        while let Some(partition) = self.notified.pop() {
            self.collect(partition);
            if self.now() >= yield_at {
                return;
            }
        }
    }

    fn collect(&mut self, partition: PartitionId) {
        let now = self.now();
        match self.slots.get(&partition) {
            Some(slot) => {
                slot.with_front(|front| self.lane.collect(partition, front, now));
                // A checksum of a megabyte, while which callers append.
                self.lane.pack(partition);
            }
            // It was led here when the notice was pushed; whoever leads it now must hear it.
            None => self.surroundings.shared.slot(partition).collect_elsewhere(&self.gate),
        }
    }

    /// Whether bytes moved, so that another look makes sense.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Poll::Ready(connected) = self.socket.poll_connected(cx) {
            let now = self.now();
            match connected {
                Ok(()) => self.lane.handle_connected(now),
                Err(why) => self.lane.handle_disconnected(now, why),
            }
            moved = true;
        }
        moved |= self.poll_write(cx);
        moved | self.poll_read(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        loop {
            if self.outgoing.is_idle() {
                let Some(transmit) = self.poll_request() else { return moved };
                self.outgoing.start(transmit);
            }
            match self.outgoing.poll_write(&self.socket, &*self.surroundings.shared.pool, cx) {
                Poll::Pending => return moved,
                Poll::Ready(Ok(written)) if written > 0 => self.lane.handle_written(written),
                Poll::Ready(ended) => {
                    self.disconnect(why_ended(&ended));
                    return true;
                }
            }
            moved = true;
        }
    }

    fn poll_request(&mut self) -> Option<Transmit> {
        let shared = &*self.surroundings.shared;
        match &shared.journal {
            None => self.lane.poll_request(shared.clock.moment(), &*shared.pool),
            Some(journal) => {
                let now = shared.clock.now();
                self.lane.poll_noted_request(now.moment, &*shared.pool, &mut journal.scribe(now))
            }
        }
    }

    /// When a journal that cannot be written is tried again, if anything here waits for it.
    fn journal_retry_at(&self) -> Option<Moment> {
        let journal = self.surroundings.shared.journal.as_ref().filter(|_| self.lane.is_held_back())?;
        let now = self.now();
        // One that is due and was not tried waits for the socket.
        journal.retry_at().filter(|at| *at > now)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(buffer) = self.lane.read_buffer() else { return false };
        match self.socket.poll_read(buffer, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(read)) if read > 0 => {
                let now = self.now();
                self.lane.handle_read(now);
                true
            }
            Poll::Ready(ended) => {
                self.disconnect(why_ended(&ended));
                true
            }
        }
    }

    fn disconnect(&mut self, why: ConnectionError) {
        self.close_socket();
        let now = self.now();
        self.lane.handle_disconnected(now, why);
    }

    fn close_socket(&mut self) {
        self.socket = Socket::Closed;
        self.outgoing.abandon(&*self.surroundings.shared.pool);
    }

    /// Lets the machine do what is due.
    fn pass_time(&mut self) {
        let now = self.now();
        self.lane.handle_timeout(now);
        while let Some(partition) = self.lane.poll_collect(now) {
            self.collect(partition);
        }
        // A connection that was given up is closed before another byte goes out, because a request that was not handed
        // over whole counts as never executed (rule 12); and before the next dial, which must not be closed instead.
        self.drain_events();
        if self.lane.poll_dial(now) {
            match &self.address {
                Some(address) => self.socket = Socket::dial(address, self.surroundings.connect_timeout),
                None => self.lane.handle_disconnected(now, ConnectionError::BrokerUnknown),
            }
        }
    }

    /// Does what the machine asks for; whether that was anything.
    fn drain_events(&mut self) -> bool {
        let mut drained = false;
        while let Some(event) = self.lane.poll_event() {
            self.handle_event(event);
            drained = true;
        }
        drained
    }

    fn handle_event(&mut self, event: LaneEvent) {
        let report = match event {
            LaneEvent::Ended(partition, ended) => {
                let slot = self.slots.get(&partition).expect("a batch ends where its partition is led");
                return self.surroundings.shared.conclude(slot, ended, &self.surroundings.reporter);
            }
            LaneEvent::FenceWanted(partition) => {
                let slot = self.slots.get(&partition).expect("a partition is in doubt where it is led");
                return self.surroundings.shared.append_fence(slot);
            }
            LaneEvent::Disconnected(_) => return self.close_socket(),
            LaneEvent::Report(report) => report,
        };
        if let LaneReport::Released(back) = &report {
            self.slots.remove(&back.id());
        }
        self.tell(FromLane::Report(self.lane.id(), report));
    }

    fn tell(&self, told: FromLane) {
        // Without a control task everything ends; the next turn sees that.
        let _ = self.control.send(Parcel::new(told, &self.surroundings));
    }
}

/// A socket that takes or gives nothing any more was closed by its peer.
fn why_ended(ended: &io::Result<usize>) -> ConnectionError {
    ended.as_ref().map_or_else(lost, |_| ConnectionError::Closed)
}

impl Drop for LaneTask {
    fn drop(&mut self) {
        let why = self.surroundings.last_reason();
        // Closed first: a request that was not written whole is not executed, and leaves no doubt (rule 12).
        self.close_socket();
        let now = self.now();
        self.lane.hang_up(now);
        self.lane.end_all(why, doubt_for(why));
        while let Some(event) = self.lane.poll_event() {
            match event {
                LaneEvent::Ended(partition, ended) => {
                    let Surroundings { shared, reporter, .. } = &self.surroundings;
                    shared.conclude(&shared.slot(partition), ended, reporter);
                }
                LaneEvent::Report(report) => self.tell(FromLane::Report(self.lane.id(), report)),
                LaneEvent::Disconnected(_) | LaneEvent::FenceWanted(_) => {}
            }
        }
        self.tell(if self.is_ending { FromLane::Left } else { FromLane::Ended });
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
