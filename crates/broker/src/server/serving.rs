//! The broker's thread: one task accepts, one keeps time, one per connection moves frames.
//!
//! All tasks share the cluster and run on one thread, so it is borrowed between two awaits and never across one. A connection's task reads a
//! frame, hands it in, writes the answer, and only then reads the next: the mute. While its fetch waits it still reads a
//! little ahead, up to [`READ_AHEAD_MAX`], to see whether the client is gone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::frame::{FRAME_BYTES_MAX, FrameSplitter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::{Clock, Shared};
use crate::cluster::Cluster;
use crate::connection::Event;
use crate::ids::{ConnectionId, NodeId};

/// Everything the thread needs, before it runs.
pub(super) struct Serving {
    pub(super) cluster: Cluster,
    pub(super) clock: Clock,
    pub(super) node: NodeId,
    pub(super) listener: StdListener,
    pub(super) shared: Arc<Shared>,
}

impl Serving {
    /// Serves until the owner says stop. Then all tasks are dropped, and with them sockets and storage.
    pub(super) fn run(self, runtime: &Runtime) {
        let Serving { cluster, clock, node, listener, shared } = self;
        let server = Rc::new(Server {
            cluster: RefCell::new(cluster),
            clock,
            node,
            mailboxes: RefCell::new(BTreeMap::new()),
            armed: Cell::new(None),
            rearm: Notify::new(),
            shared: Arc::clone(&shared),
        });
        let tasks = LocalSet::new();
        let serve = async {
            // The listener is ours and nonblocking; only a runtime without I/O could refuse it.
            let listener = TcpListener::from_std(listener).expect("the runtime has I/O enabled");
            tokio::task::spawn_local(keep_time(Rc::clone(&server)));
            either(shared.stop.notified(), accept(listener, server)).await;
        };
        runtime.block_on(tasks.run_until(serve));
    }
}

/// What all tasks share.
struct Server {
    cluster: RefCell<Cluster>,
    clock: Clock,
    node: NodeId,
    mailboxes: RefCell<BTreeMap<ConnectionId, Rc<Mailbox>>>,
    /// When the timekeeper wakes next.
    armed: Cell<Option<Duration>>,
    /// Tells the timekeeper that this is too late.
    rearm: Notify,
    shared: Arc<Shared>,
}

/// What the cluster has for a connection: one thing at most, because it is muted until that is written.
#[derive(Default)]
struct Mailbox {
    event: RefCell<Option<Event>>,
    arrived: Notify,
}

impl Server {
    /// Changes the cluster, then hands out what came of it.
    fn drive<T>(&self, change: impl FnOnce(&mut Cluster, crate::Moment) -> T) -> T {
        let now = self.clock.now();
        let cluster = &mut *self.cluster.borrow_mut();
        let result = change(cluster, now);
        while let Some(event) = cluster.poll_event(now) {
            self.post(event);
        }
        let due = cluster.poll_timeout();
        let too_late = due.is_some_and(|due| self.armed.get().is_none_or(|armed| due < armed));
        if too_late {
            self.rearm.notify_one();
        }
        result
    }

    fn post(&self, event: Event) {
        let (Event::Response { connection, .. } | Event::Close { connection, .. }) = &event;
        if let Some(mailbox) = self.mailboxes.borrow().get(connection) {
            mailbox.event.replace(Some(event));
            mailbox.arrived.notify_one();
        }
    }
}

async fn accept(listener: TcpListener, server: Rc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(session) = Session::begin(&server) {
                    tokio::task::spawn_local(session.serve(stream));
                }
            }
            // Out of file descriptors, or a client that left at once: others are still served.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
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

/// One connection, from accept to close. Dropping it tells the cluster and the owner.
struct Session {
    server: Rc<Server>,
    id: ConnectionId,
    mailbox: Rc<Mailbox>,
}

/// Why a session ends; the client sees a closed connection in each case.
struct Ended;

impl Session {
    /// None: an idle server that stops lets nobody in.
    fn begin(server: &Rc<Server>) -> Option<Session> {
        {
            let mut connections = server.shared.connections();
            if connections.refused {
                return None;
            }
            connections.open += 1;
        }
        let id = server.drive(|cluster, _| cluster.connect(server.node)).expect("a server's node is in its cluster");
        let mailbox = Rc::new(Mailbox::default());
        server.mailboxes.borrow_mut().insert(id, Rc::clone(&mailbox));
        Some(Session { server: Rc::clone(server), id, mailbox })
    }

    async fn serve(self, mut stream: TcpStream) {
        // Answers are written whole, so waiting for more to send only costs time.
        let _slower_but_works = stream.set_nodelay(true);
        let mut splitter = FrameSplitter::new(FRAME_BYTES_MAX);
        while let Ok(frame) = next_frame(&mut stream, &mut splitter).await {
            let Ok(answer) = self.answer(frame, &mut stream, &mut splitter).await else {
                return;
            };
            if let Some(answer) = answer
                && stream.write_all(&answer).await.is_err()
            {
                return;
            }
        }
    }

    /// The answer to a request, if it gets one.
    async fn answer(
        &self,
        frame: Bytes,
        stream: &mut TcpStream,
        splitter: &mut FrameSplitter,
    ) -> Result<Option<Bytes>, Ended> {
        self.server.drive(|cluster, now| cluster.handle_frame(now, self.id, frame));
        loop {
            if let Some(event) = self.mailbox.event.take() {
                return match event {
                    Event::Response { frame, .. } => Ok(Some(frame)),
                    Event::Close { .. } => Err(Ended),
                };
            }
            if !self.server.cluster.borrow().is_muted(self.id) {
                return Ok(None);
            }
            self.wait(stream, splitter).await?;
        }
    }

    /// Until something is in the mailbox, or the client is gone.
    async fn wait(&self, stream: &mut TcpStream, splitter: &mut FrameSplitter) -> Result<(), Ended> {
        let ahead = splitter.read_buffer();
        if ahead.len() >= READ_AHEAD_MAX {
            self.mailbox.arrived.notified().await;
            return Ok(());
        }
        match either(self.mailbox.arrived.notified(), stream.read_buf(ahead)).await {
            Either::Left(()) | Either::Right(Ok(1..)) => Ok(()),
            Either::Right(Ok(0) | Err(_)) => Err(Ended),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.mailboxes.borrow_mut().remove(&self.id);
        self.server.cluster.borrow_mut().disconnect(self.id);
        self.server.shared.connections().open -= 1;
        self.server.shared.changed.notify_all();
    }
}

async fn next_frame(stream: &mut TcpStream, splitter: &mut FrameSplitter) -> Result<Bytes, Ended> {
    loop {
        match splitter.next_frame() {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(_) => return Err(Ended),
        }
        match stream.read_buf(splitter.read_buffer()).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(Ended),
        }
    }
}

enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Whichever ends first; the other is dropped. The left one is asked first.
async fn either<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| match left.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Either::Left(output)),
        Poll::Pending => right.as_mut().poll(context).map(Either::Right),
    })
    .await
}

/// Enough for a client's small pipelined requests; whoever sends more waits in the socket.
const READ_AHEAD_MAX: usize = 64 * 1024;
/// Long enough for file descriptors to come free, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
