//! The broker's thread: a task for each node accepts, one keeps time, one takes the owner's orders, one per connection moves frames.
//! What takes long is given to another thread (`server/helper.rs`).
//!
//! All tasks share the cluster and run on one thread, so it is borrowed between two awaits and never across one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use super::door::Door;
use super::helper::Helper;
use super::session::{Mailbox, Session};
use super::{Clock, Order, Shared};
use crate::cluster::Cluster;
use crate::connection::Event;
use crate::ids::{ConnectionId, NodeId};
use crate::nodes::{Node, Process, Stop};
use crate::notice::Teller;
use crate::steer_error::SteerError;

/// Everything the thread needs, before it runs.
pub(super) struct Serving {
    pub(super) cluster: Cluster,
    pub(super) clock: Clock,
    pub(super) listeners: Vec<(Node, StdListener)>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    /// The other end of these.
    pub(super) orders_back: mpsc::UnboundedSender<Order>,
    pub(super) shared: Arc<Shared>,
    pub(super) teller: Teller,
    #[cfg(feature = "admin")]
    pub(super) admin: Option<super::admin::Admin>,
}

impl Serving {
    /// Serves until the owner says stop. Then all tasks are dropped, and with them sockets and storage.
    pub(super) fn run(self, runtime: &Runtime) {
        #[cfg(feature = "admin")]
        let Serving { cluster, clock, listeners, orders, orders_back, shared, teller, admin } = self;
        #[cfg(not(feature = "admin"))]
        let Serving { cluster, clock, listeners, orders, orders_back, shared, teller } = self;
        let tasks = LocalSet::new();
        let helper = Rc::new(Helper::new(orders_back));
        let helped = Rc::clone(&helper);
        let serve = async {
            // The listeners are ours and nonblocking; only a runtime without I/O could refuse them.
            let door = |(node, listener): (Node, _)| {
                Rc::new(Door::open(node.id, listener).expect("the runtime has I/O enabled"))
            };
            let server = Rc::new(Server {
                cluster: RefCell::new(cluster),
                clock,
                doors: listeners.into_iter().map(door).collect(),
                mailboxes: RefCell::new(BTreeMap::new()),
                helper: helped,
                armed: Cell::new(None),
                rearm: Notify::new(),
                fault_news: Cell::new(0),
                #[cfg(feature = "admin")]
                fault_told: Notify::new(),
                shared: Arc::clone(&shared),
                teller,
            });
            for door in &server.doors {
                tokio::task::spawn_local(accept(Rc::clone(door), Rc::clone(&server)));
            }
            #[cfg(feature = "admin")]
            if let Some(admin) = admin {
                tokio::task::spawn_local(admin.serve(Rc::clone(&server)));
            }
            tokio::task::spawn_local(keep_time(Rc::clone(&server)));
            tokio::task::spawn_local(take_orders(orders, Rc::clone(&server)));
            shared.stop.notified().await;
            // What could not be closed is read again by the next start, as after a crash.
            let _read_again = server.cluster.borrow_mut().close_logs();
        };
        runtime.block_on(tasks.run_until(serve));
        // Before its owner may use the data directory again.
        drop(tasks);
        helper.end();
    }
}

/// What all tasks share.
pub(super) struct Server {
    pub(super) cluster: RefCell<Cluster>,
    pub(super) clock: Clock,
    doors: Vec<Rc<Door>>,
    pub(super) mailboxes: RefCell<BTreeMap<ConnectionId, Rc<Mailbox>>>,
    /// When the timekeeper wakes next.
    armed: Cell<Option<Duration>>,
    /// Tells the timekeeper that this is too late.
    rearm: Notify,
    /// How often faults have hit or were removed, as others were told.
    fault_news: Cell<u64>,
    /// Tells the admin port's visitors that there is more.
    #[cfg(feature = "admin")]
    pub(super) fault_told: Notify,
    pub(super) shared: Arc<Shared>,
    helper: Rc<Helper>,
    teller: Teller,
}

impl Server {
    /// Changes the cluster, then hands out what came of it.
    pub(super) fn drive<T>(&self, change: impl FnOnce(&mut Cluster, crate::Moment) -> T) -> T {
        let now = self.clock.now();
        let cluster = &mut *self.cluster.borrow_mut();
        let result = change(cluster, now);
        while let Some(event) = cluster.poll_event(now) {
            self.post(event);
        }
        while let Some(chore) = cluster.poll_chore() {
            if let Some(chore) = self.helper.take(chore) {
                cluster.handle_chore(now, chore.run());
            }
        }
        while let Some(notice) = cluster.poll_notice() {
            self.teller.tell(notice);
        }
        let news = cluster.faults.news();
        if self.fault_news.replace(news) != news {
            self.shared.tell_fault_news(news);
            #[cfg(feature = "admin")]
            self.fault_told.notify_waiters();
        }
        let due = cluster.poll_timeout();
        let too_late = due.is_some_and(|due| self.armed.get().is_none_or(|armed| due < armed));
        if too_late {
            self.rearm.notify_one();
        }
        result
    }

    /// As the owner wants it. Nodes that were frozen or throttled may go on: everybody looks again.
    pub(super) fn steer<T>(&self, change: impl FnOnce(&mut Cluster, crate::Moment) -> T) -> T {
        let result = self.drive(change);
        self.mailboxes.borrow().values().for_each(|mailbox| mailbox.arrived.notify_one());
        result
    }

    /// Ends a node's process, and its listener.
    pub(super) fn stop_node(&self, node: NodeId, how: Stop) -> Result<(), SteerError> {
        self.steer(|cluster, now| cluster.stop(now, node, how))?;
        if let Some(door) = self.door(node) {
            door.close();
        }
        Ok(())
    }

    /// Begins a stopped node's process anew, on its old port.
    pub(super) fn start_node(&self, node: NodeId) -> Result<(), SteerError> {
        let is_stopped = self.cluster.borrow().process(node) == Some(Process::Stopped);
        if let Some(door) = self.door(node).filter(|_| is_stopped) {
            door.reopen().map_err(|source| SteerError::Listen { node, source })?;
        }
        self.steer(|cluster, now| cluster.start(now, node))
    }

    /// Where a node is reached.
    fn door(&self, node: NodeId) -> Option<&Door> {
        self.doors.iter().find(|door| door.node == node).map(|door| &**door)
    }

    fn post(&self, event: Event) {
        let (Event::Response { connection, .. } | Event::Close { connection, .. }) = &event;
        if let Some(mailbox) = self.mailboxes.borrow().get(connection) {
            mailbox.events.borrow_mut().push_back(event);
            mailbox.arrived.notify_one();
        }
    }
}

async fn accept(door: Rc<Door>, server: Rc<Server>) {
    loop {
        match door.accept().await {
            Ok(stream) => {
                if let Some(session) = Session::begin(&server, door.node) {
                    tokio::task::spawn_local(session.serve(stream));
                }
            }
            // Out of file descriptors, or a client that left at once: others are still served.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn take_orders(mut orders: mpsc::UnboundedReceiver<Order>, server: Rc<Server>) {
    while let Some(order) = orders.recv().await {
        order(&server);
    }
    // The owner is about to stop the thread; a task that ends earlier would be no less right.
}

async fn keep_time(server: Rc<Server>) {
    loop {
        let due = server.cluster.borrow().poll_timeout();
        server.armed.set(due);
        match due {
            None => server.rearm.notified().await,
            Some(due) => {
                let wait = due.saturating_sub(server.clock.now().elapsed);
                either(tokio::time::sleep(wait), server.rearm.notified()).await;
            }
        }
        server.drive(|cluster, now| cluster.handle_timeout(now));
    }
}

pub(super) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Whichever ends first; the other is dropped. The left one is asked first.
pub(super) async fn either<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| match left.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Either::Left(output)),
        Poll::Pending => right.as_mut().poll(context).map(Either::Right),
    })
    .await
}

/// Long enough for file descriptors to come free, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
