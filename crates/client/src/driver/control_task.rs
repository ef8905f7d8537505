//! The control machine with its socket, the lanes' tasks, and the commands of the handles.
//!
//! Always holds: partitions travel between lanes only through here; whatever ends this task ends the producer.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use milena_core::fault::ConnectionError;
use milena_core::ids::{LaneId, PartitionId, TopicIndex};
use milena_core::producer::batch::SealReason;
use milena_core::producer::completion::BatchCompletion;
use milena_core::producer::control::{Control, ControlEvent, NewPartition};
use milena_core::producer::front::PartitionFront;
use milena_core::producer::lane::{Lane, LaneOrder, LaneReport};
use milena_core::producer::outcome::{NotWritten, Tally};
use milena_core::producer::produce_request::Transmit;
use milena_core::time::Moment;
use tokio::sync::{mpsc, oneshot, watch};

use super::deadlines::DeadlinesHandle;
use super::dial::lost;
use super::drain::{Parcel, doubt_for, end_back};
use super::lane_task::{FromLane, LaneTask, TURN_MAX, ToLane};
use super::socket::{Outgoing, Socket};
use super::timer::Timer;
use super::{Driver, Surroundings, sweep_task};
use crate::config::Settings;
use crate::gate::Gate;
use crate::shared::{Command, TopicShared};
use crate::slot::PartitionSlot;

struct LaneHandle {
    orders: mpsc::UnboundedSender<Parcel<ToLane>>,
}

/// What became of the machine's events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    Nothing,
    All,
    /// The turn is over; there may be more.
    NotAll,
}

struct ControlTask {
    surroundings: Surroundings,
    settings: Settings,
    control: Control,
    commands: mpsc::UnboundedReceiver<Command>,
    lanes: BTreeMap<LaneId, LaneHandle>,
    from_lanes: mpsc::UnboundedReceiver<Parcel<FromLane>>,
    to_control: mpsc::UnboundedSender<Parcel<FromLane>>,
    deadlines: DeadlinesHandle,
    /// Of partitions that no lane leads; their notices are read and forgotten.
    idle: Arc<Gate<PartitionId>>,
    forgotten: Vec<PartitionId>,
    topics: Vec<Arc<TopicShared>>,
    /// Partitions of topics that have more.
    arriving: BTreeMap<TopicIndex, Vec<Arc<PartitionSlot>>>,
    socket: Socket,
    outgoing: Outgoing,
    timer: Timer,
    /// Answers to flushes and closes; awaited before the runtime ends.
    answers: Vec<tokio::task::JoinHandle<()>>,
    /// Closes, or the end of the last handle, that are being carried out; the first to be through ends the producer.
    closings: Vec<oneshot::Receiver<()>>,
    /// Lanes that were told to end and have not yet.
    lanes_leaving: usize,
    /// Lanes that have ended though nobody told them to.
    lanes_lost: usize,
}

/// Runs the producer until it is closed, its last handle is gone and all is delivered, or a task was lost.
pub(super) async fn run(driver: Driver) {
    let Driver { surroundings, settings, commands, stop, deadlines, leavings } = driver;
    let (to_control, from_lanes) = mpsc::unbounded_channel();
    let mut sweep = tokio::spawn(sweep_task::run(surroundings.clone(), leavings));
    let mut task = ControlTask {
        control: Control::new(settings.control.clone(), seed()),
        surroundings: surroundings.clone(),
        settings,
        commands,
        lanes: BTreeMap::new(),
        from_lanes,
        to_control,
        deadlines,
        idle: Arc::new(Gate::new()),
        forgotten: Vec::new(),
        topics: Vec::new(),
        arriving: BTreeMap::new(),
        socket: Socket::Closed,
        outgoing: Outgoing::default(),
        timer: Timer::new(),
        answers: Vec::new(),
        closings: Vec::new(),
        lanes_leaving: 0,
        lanes_lost: 0,
    };
    let why = poll_fn(|cx| {
        // It ends before this one only if it, or the thread of the deadlines, panicked.
        if std::pin::Pin::new(&mut sweep).poll(cx).is_ready() {
            return Poll::Ready(NotWritten::DriverLost);
        }
        task.poll_run(cx)
    })
    .await;
    task.end(why, stop).await;
}

/// Only spreads retries; each producer of a process must differ.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl ControlTask {
    fn now(&self) -> Moment {
        self.surroundings.shared.clock.moment()
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<NotWritten> {
        let yield_at = self.now() + TURN_MAX;
        loop {
            if self.take_lane_events(cx, yield_at).is_ready() {
                return Poll::Ready(NotWritten::DriverLost);
            }
            while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
                self.obey(command);
            }
            // After the commands: one of them may have begun it, and it must be polled to be heard.
            if self.closings.iter_mut().any(|closing| std::pin::Pin::new(closing).poll(cx).is_ready()) {
                return Poll::Ready(NotWritten::Closed);
            }
            self.idle.begin_turn(&mut self.forgotten);
            self.forgotten.clear();
            // Time before the socket: what is due now may be asked now.
            let now = self.now();
            self.control.handle_timeout(now);
            // A connection that was given up is closed before another byte goes out on it, so all events come first.
            let before = self.drain_events(yield_at);
            let moved = before != Drained::NotAll && self.poll_socket(cx);
            let after = self.drain_events(yield_at);
            if moved || (before, after) != (Drained::Nothing, Drained::Nothing) {
                if self.now() < yield_at {
                    continue;
                }
                // Partitions come and move by the thousand; the clock's task runs on this thread too (rule 16).
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.tell_outlook();
            let next = self.control.poll_timeout().unwrap_or(Moment::NEVER);
            if self.timer.poll_due(next, &self.surroundings.shared.clock, cx).is_ready() {
                continue;
            }
            if self.idle.poll_end_turn(next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ready when a lane has ended though nobody told it to: it panicked.
    fn take_lane_events(&mut self, cx: &mut Context<'_>, yield_at: Moment) -> Poll<()> {
        while let Poll::Ready(Some(told)) = self.from_lanes.poll_recv(cx) {
            match told.open() {
                FromLane::Report(lane, report) => {
                    if let LaneReport::Released(back) = &report {
                        self.surroundings.shared.slot(back.id()).move_to(Arc::clone(&self.idle));
                    }
                    let now = self.now();
                    self.control.handle_report(now, lane, report);
                    if now >= yield_at {
                        // The rest is looked at in the next turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                FromLane::Left => self.lanes_leaving -= 1,
                FromLane::Ended => {
                    self.lanes_lost += 1;
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::WantTopic(topic) => {
                let index = self.control.want_topic(&topic.name);
                assert_eq!(index.0 as usize, self.topics.len(), "each topic is wanted once");
                self.topics.push(topic);
            }
            Command::Refresh => {
                self.surroundings.shared.outlook.take_question();
                let now = self.now();
                self.control.begin_readiness(now);
            }
            Command::Flush { deadline, reply } => self.flush(deadline, reply),
            Command::Close { deadline, reply } => self.close(deadline, reply),
            Command::Finish => self.finish(),
            #[cfg(test)]
            Command::Panic => panic!("this panic is part of a test"),
            #[cfg(test)]
            Command::Block(until) => drop(until.recv()),
            #[cfg(test)]
            Command::PanicInLanes => self.lanes.keys().for_each(|id| self.tell_lane(*id, ToLane::Panic)),
        }
    }

    /// Keeps the task's handle; those that are through are let go.
    fn answer_by(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.answers.retain(|answer| !answer.is_finished());
        self.answers.push(tokio::spawn(work));
    }

    fn flush(&mut self, deadline: std::time::Duration, reply: oneshot::Sender<Tally>) {
        let sealed = self.seal_live();
        self.answer_by(async move {
            let batches = sealed.await;
            let concluded = wait_for_all(&batches, BatchCompletion::poll_concluded);
            // At the deadline what has no outcome yet is not counted.
            let _ = tokio::time::timeout(deadline, concluded).await;
            let _ = reply.send(tally(&batches));
        });
    }

    fn close(&mut self, deadline: std::time::Duration, reply: oneshot::Sender<Tally>) {
        self.surroundings.shared.stop_accepting(NotWritten::Closed);
        let (done, closing) = oneshot::channel();
        let sealed = self.seal_live();
        self.answer_by(async move {
            let batches = sealed.await;
            let ended = wait_for_all(&batches, BatchCompletion::poll_ended);
            let _ = tokio::time::timeout(deadline, ended).await;
            let _ = done.send(());
            // What is left gets its outcome when the tasks stop.
            wait_for_all(&batches, BatchCompletion::poll_ended).await;
            let _ = reply.send(tally(&batches));
        });
        self.closings.push(closing);
    }

    /// No handle is left: every record still gets its outcome by its deadline.
    fn finish(&mut self) {
        if !self.closings.is_empty() {
            return;
        }
        self.surroundings.shared.stop_accepting(NotWritten::Closed);
        let (done, closing) = oneshot::channel();
        let sealed = self.seal_live();
        self.answer_by(async move {
            let batches = sealed.await;
            wait_for_all(&batches, BatchCompletion::poll_concluded).await;
            let _ = done.send(());
        });
        self.closings.push(closing);
    }

    /// Every batch that has not ended, all sealed. They are looked up before they are sealed: one that is sent and
    /// answered at once must be among them.
    fn seal_live(&self) -> impl Future<Output = Vec<Arc<BatchCompletion>>> + Send + 'static {
        let live = self.deadlines.live();
        let shared = Arc::clone(&self.surroundings.shared);
        async move {
            let batches = live.await;
            shared.seal_all(SealReason::Flush);
            batches
        }
    }

    /// Whether bytes moved, so that another look makes sense.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Poll::Ready(connected) = self.socket.poll_connected(cx) {
            let now = self.now();
            match connected {
                Ok(()) => self.control.handle_connected(now),
                Err(why) => self.control.handle_disconnected(now, why),
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
                let now = self.now();
                let Some(frame) = self.control.poll_transmit(now) else { return moved };
                self.outgoing.start(Transmit::whole(frame));
            }
            match self.outgoing.poll_write(&self.socket, &*self.surroundings.shared.pool, cx) {
                Poll::Pending => return moved,
                Poll::Ready(Ok(written)) if written > 0 => self.control.handle_written(written),
                Poll::Ready(Ok(_)) => self.disconnect(ConnectionError::Closed),
                Poll::Ready(Err(error)) => self.disconnect(lost(&error)),
            }
            moved = true;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(buffer) = self.control.read_buffer() else { return false };
        match self.socket.poll_read(buffer, cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) => self.disconnect(ConnectionError::Closed),
            Poll::Ready(Ok(_)) => {
                let now = self.now();
                self.control.handle_read(now);
            }
            Poll::Ready(Err(error)) => self.disconnect(lost(&error)),
        }
        true
    }

    fn disconnect(&mut self, why: ConnectionError) {
        self.close_socket();
        let now = self.now();
        self.control.handle_disconnected(now, why);
    }

    fn close_socket(&mut self) {
        self.socket = Socket::Closed;
        self.outgoing.abandon(&*self.surroundings.shared.pool);
    }

    /// Does what the machine asks for, for as long as a turn may take.
    fn drain_events(&mut self, yield_at: Moment) -> Drained {
        let mut drained = Drained::Nothing;
        while let Some(event) = self.control.poll_event() {
            self.handle_event(event);
            if self.now() >= yield_at {
                return Drained::NotAll;
            }
            drained = Drained::All;
        }
        drained
    }

    fn handle_event(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Dial(address) => self.socket = Socket::dial(&address, self.surroundings.connect_timeout),
            ControlEvent::HangUp => self.close_socket(),
            ControlEvent::Reached => {}
            ControlEvent::PartitionsAppeared { topic, partitions, are_last } => {
                self.add_partitions(topic, &partitions, are_last);
            }
            ControlEvent::TopicShrunk { topic, count } => self.keep_partitions(topic, count),
            ControlEvent::PartitionGone(partition) => {
                let Surroundings { shared, reporter, .. } = &self.surroundings;
                let slot = shared.slot(partition);
                slot.with_front(|front| front.close());
                shared.end_front(&slot, NotWritten::PartitionGone, reporter);
            }
            // Whoever waits for it goes on waiting; why, its standing says.
            ControlEvent::TopicMissing(..) => {}
            ControlEvent::LaneNeeded(lane, address) => self.open_lane(lane, address),
            ControlEvent::LaneLost(lane) => self.tell_lane(lane, ToLane::Address(None)),
            ControlEvent::LaneEnded(lane) => {
                self.tell_lane(lane, ToLane::End);
                self.lanes.remove(&lane);
                self.lanes_leaving += 1;
            }
            ControlEvent::Order(lane, order) => {
                self.note_cluster(&order);
                self.tell_lane(lane, ToLane::Order(order));
            }
            ControlEvent::Ended(partition, ended) => {
                let shared = &self.surroundings.shared;
                shared.conclude(&shared.slot(partition), ended, &self.surroundings.reporter);
            }
        }
    }

    /// A producer id belongs to the cluster that gave it.
    fn note_cluster(&self, order: &LaneOrder) {
        let journal = self.surroundings.shared.journal.as_ref();
        if let (Some(journal), LaneOrder::Grant(_, identity)) = (journal, order)
            && let Some(cluster) = self.control.cluster_id()
        {
            journal.note_cluster(identity.producer_id, cluster);
        }
    }

    /// Callers who wait until the producer is ready, or are refused for want of metadata, learn what is known.
    fn tell_outlook(&mut self) {
        let mut has_news = false;
        while let Some((topic, standing)) = self.control.poll_topic_standing() {
            self.topics[topic.0 as usize].set_standing(standing);
            has_news = true;
        }
        let outlook = &self.surroundings.shared.outlook;
        match self.control.poll_standing() {
            Some(standing) => outlook.tell(Arc::new(standing)),
            None if has_news => outlook.wake_all(),
            None => {}
        }
    }

    fn add_partitions(&mut self, index: TopicIndex, partitions: &[NewPartition], are_last: bool) {
        let topic = &self.topics[index.0 as usize];
        let shared = &self.surroundings.shared;
        let slots: Vec<Arc<PartitionSlot>> = partitions
            .iter()
            .map(|partition| {
                if let Some(slot) = shared.open_slot_again(partition.id) {
                    return slot;
                }
                let front = PartitionFront::new(partition.index, Arc::clone(&partition.trouble), self.settings.front);
                let (name, idle) = (Arc::clone(&topic.name), Arc::clone(&self.idle));
                let slot = Arc::new(PartitionSlot::new(partition.id, name, front, idle, Arc::clone(&shared.watch)));
                shared.add_slot(Arc::clone(&slot));
                slot
            })
            .collect();
        self.arriving.entry(index).or_default().extend(slots);
        if are_last {
            topic.add_partitions(self.arriving.remove(&index).expect("the last ones were just added"));
        }
    }

    /// Of those known to callers and those that were to become known. Before any front is closed, so that whoever finds one
    /// closed finds another partition.
    fn keep_partitions(&mut self, index: TopicIndex, count: usize) {
        let topic = &self.topics[index.0 as usize];
        let known = topic.partitions().len();
        topic.keep_partitions(count);
        if let Some(arriving) = self.arriving.get_mut(&index) {
            arriving.truncate(count.saturating_sub(known));
        }
    }

    fn open_lane(&mut self, id: LaneId, address: milena_core::metadata::Address) {
        if self.lanes.contains_key(&id) {
            return self.tell_lane(id, ToLane::Address(Some(address)));
        }
        let (orders, order_queue) = mpsc::unbounded_channel();
        let lane = Lane::new(id, self.settings.lane.clone(), seed());
        let gate = Arc::new(Gate::new());
        let task = LaneTask::new(self.surroundings.clone(), lane, address, gate, order_queue, self.to_control.clone());
        tokio::spawn(task.run());
        self.lanes.insert(id, LaneHandle { orders });
    }

    fn tell_lane(&self, id: LaneId, order: ToLane) {
        let lane = self.lanes.get(&id).expect("a lane is needed before it is told anything");
        // If the lane was lost, its last word, which ends the producer, is on its way.
        let _ = lane.orders.send(Parcel::new(order, &self.surroundings));
    }

    /// Stops every task; each ends what it holds, for this reason.
    async fn end(mut self, why: NotWritten, stop: watch::Sender<Option<NotWritten>>) {
        self.surroundings.shared.stop_accepting(why);
        stop.send_replace(Some(why));
        self.end_held(why);
        let mut running = self.lanes.len() + self.lanes_leaving - self.lanes_lost;
        while running > 0 {
            let Some(told) = self.from_lanes.recv().await else { break };
            match told.message() {
                FromLane::Ended | FromLane::Left => running -= 1,
                // A partition in it ends with the message.
                FromLane::Report(..) => {}
            }
        }
        // They wait for batches to end, and all have ended now; or for the thread of the deadlines to tell which there are.
        self.deadlines.let_go();
        for answer in std::mem::take(&mut self.answers) {
            // One that panicked has no answer to give.
            let _ = answer.await;
        }
    }

    /// Ends what waits in the fronts and what is here or on its way here.
    fn end_held(&mut self, why: NotWritten) {
        let Surroundings { shared, reporter, .. } = self.surroundings.clone();
        shared.end_fronts(why, &reporter);
        self.control.end_all(why, doubt_for(why));
        while let Some(event) = self.control.poll_event() {
            match event {
                ControlEvent::Ended(partition, ended) => shared.conclude(&shared.slot(partition), ended, &reporter),
                ControlEvent::Order(_, LaneOrder::Adopt(back)) => end_back(*back, why, &shared, &reporter),
                _ => {}
            }
        }
    }
}

impl Drop for ControlTask {
    /// After an orderly end there is nothing left to do; after a panic this is the end.
    fn drop(&mut self) {
        let shared = Arc::clone(&self.surroundings.shared);
        shared.stop_accepting(NotWritten::DriverLost);
        let why = shared.closed().unwrap_or(NotWritten::DriverLost);
        self.end_held(why);
        // What a lane that is lost still ends is not told to the file: nobody who settles it takes harm.
        if let Some(journal) = &shared.journal {
            journal.release(shared.clock.moment());
        }
    }
}

async fn wait_for_all(batches: &[Arc<BatchCompletion>], poll: impl Fn(&BatchCompletion, &mut Context<'_>) -> Poll<()>) {
    for batch in batches {
        poll_fn(|cx| poll(batch, cx)).await;
    }
}

fn tally(batches: &[Arc<BatchCompletion>]) -> Tally {
    let mut sum = Tally::default();
    batches.iter().for_each(|batch| sum += batch.tally());
    sum
}
