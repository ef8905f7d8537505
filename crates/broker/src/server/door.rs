//! Where one node is reached: a socket that listens while the node's process is there, and refuses while it is stopped.
//!
//! A stopped node keeps its port: bound and not listening, so that clients are refused as by a dead process, and nobody
//! else takes the port meanwhile.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::task::Poll;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::serving::{Either, either};
use crate::ids::NodeId;

pub(super) struct Door {
    pub(super) node: NodeId,
    address: SocketAddr,
    state: RefCell<State>,
    /// Who accepts has to look again.
    changed: Notify,
}

enum State {
    Open(TcpListener),
    /// Without a socket if the port could not be kept; it is asked for again when the node starts.
    Closed(Option<TcpSocket>),
}

impl Door {
    /// Within a runtime that has I/O. The listener is nonblocking.
    pub(super) fn open(node: NodeId, listener: StdListener) -> io::Result<Door> {
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Door { node, address, state: RefCell::new(State::Open(listener)), changed: Notify::new() })
    }

    /// Connections that nobody has accepted are reset; new ones are refused.
    pub(super) fn close(&self) {
        // The listener goes first: two sockets cannot have the port.
        self.state.replace(State::Closed(None));
        self.state.replace(State::Closed(reserve(self.address).ok()));
    }

    /// Listens again, if it does not.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let reserved = match &mut *state {
            State::Open(_) => return Ok(()),
            State::Closed(reserved) => reserved.take(),
        };
        let socket = reserved.map_or_else(|| reserve(self.address), Ok)?;
        *state = State::Open(socket.listen(BACKLOG)?);
        self.changed.notify_one();
        Ok(())
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            let accepted = poll_fn(|context| match &*self.state.borrow() {
                State::Open(listener) => listener.poll_accept(context),
                State::Closed(_) => Poll::Pending,
            });
            // A listener that is gone wakes nobody.
            if let Either::Right(accepted) = either(self.changed.notified(), accepted).await {
                return accepted.map(|(stream, _)| stream);
            }
        }
    }
}

fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections that were just closed still have the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What the standard library asks for.
const BACKLOG: u32 = 128;
