//! One connection, from accept to close: reads a frame, hands it in, writes the answer, and only then reads the next.
//!
//! That is Kafka's mute: while a request waits for followers, or its client is throttled, nothing is read, and a client that leaves is not
//! noticed. Only while a fetch waits for data is a little read ahead, up to [`READ_AHEAD_MAX`], to see whether the client is gone. While
//! the node is frozen nothing is read or written at all: what arrives waits in the system's buffers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use milena_wire::frame::{FRAME_BYTES_MAX, FrameSplitter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::serving::{Either, Server, either};
use crate::connection::Event;
use crate::ids::{ConnectionId, NodeId};
use crate::nodes::Process;

/// What the cluster has for a connection. One answer at most, because the connection is muted until it is written, and then the end.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) events: RefCell<VecDeque<Event>>,
    /// Something is here, or the node goes on.
    pub(super) arrived: Notify,
}

/// Dropping it tells the cluster and the owner.
pub(super) struct Session {
    server: Rc<Server>,
    id: ConnectionId,
    node: NodeId,
    mailbox: Rc<Mailbox>,
}

/// Why a session ends; the client sees a closed connection in each case.
struct Ended;

/// Whose move it is.
enum Move {
    /// The node is frozen.
    Nobodys,
    /// The cluster has something to tell.
    Event(Event),
    /// A request waits for followers.
    Cluster,
    /// A fetch waits for data.
    ClusterUnlessGone,
    /// A fault lost an answer: what the client sends is thrown away until it leaves.
    ClientIsLost,
    /// The client is throttled, or a fault holds its answer back, for so long.
    Later(std::time::Duration),
    Client,
}

impl Session {
    /// None: an idle server that stops lets nobody in, and a stopped node neither.
    pub(super) fn begin(server: &Rc<Server>, node: NodeId) -> Option<Session> {
        let id = {
            let mut connections = server.shared.connections();
            if connections.refused {
                return None;
            }
            let id = server.drive(|cluster, _| cluster.connect(node))?;
            connections.open += 1;
            id
        };
        let mailbox = Rc::new(Mailbox::default());
        server.mailboxes.borrow_mut().insert(id, Rc::clone(&mailbox));
        Some(Session { server: Rc::clone(server), id, node, mailbox })
    }

    pub(super) async fn serve(self, mut stream: TcpStream) {
        // Answers are written whole, so waiting for more to send only costs time.
        let _slower_but_works = stream.set_nodelay(true);
        let mut splitter = FrameSplitter::new(FRAME_BYTES_MAX);
        while self.step(&mut stream, &mut splitter).await.is_ok() {}
    }

    async fn step(&self, stream: &mut TcpStream, splitter: &mut FrameSplitter) -> Result<(), Ended> {
        match self.next_move() {
            Move::Nobodys | Move::Cluster => self.mailbox.arrived.notified().await,
            Move::Event(Event::Response { frame, .. }) => stream.write_all(&frame).await.map_err(|_| Ended)?,
            Move::Event(Event::Close { .. }) => return Err(Ended),
            Move::ClusterUnlessGone if splitter.read_buffer().len() >= READ_AHEAD_MAX => {
                self.mailbox.arrived.notified().await;
            }
            Move::ClusterUnlessGone => self.read(stream, splitter).await?,
            Move::ClientIsLost => {
                splitter.read_buffer().clear();
                self.read(stream, splitter).await?;
            }
            Move::Later(wait) => {
                either(tokio::time::sleep(wait), self.mailbox.arrived.notified()).await;
                self.server.drive(|cluster, now| cluster.handle_timeout(now));
            }
            Move::Client => match splitter.next_frame().map_err(|_| Ended)? {
                Some(frame) => self.server.drive(|cluster, now| cluster.handle_frame(now, self.id, frame)),
                None => self.read(stream, splitter).await?,
            },
        }
        Ok(())
    }

    fn next_move(&self) -> Move {
        let cluster = self.server.cluster.borrow();
        if cluster.process(self.node) == Some(Process::Frozen) {
            return Move::Nobodys;
        }
        if let Some(event) = self.mailbox.events.borrow_mut().pop_front() {
            return Move::Event(event);
        }
        if cluster.is_lost(self.id) {
            return Move::ClientIsLost;
        }
        // What is held may end without an answer: then nobody says so.
        match cluster.throttled_until(self.id).or_else(|| cluster.held_until(self.id)) {
            Some(until) => Move::Later(until.saturating_sub(self.server.clock.now().elapsed)),
            None if cluster.waits_for_data(self.id) => Move::ClusterUnlessGone,
            None if cluster.is_muted(self.id) => Move::Cluster,
            None => Move::Client,
        }
    }

    /// Until bytes have come, or something is in the mailbox.
    async fn read(&self, stream: &mut TcpStream, splitter: &mut FrameSplitter) -> Result<(), Ended> {
        match either(self.mailbox.arrived.notified(), stream.read_buf(splitter.read_buffer())).await {
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

/// Enough for a client's small pipelined requests; whoever sends more waits in the socket.
const READ_AHEAD_MAX: usize = 64 * 1024;
