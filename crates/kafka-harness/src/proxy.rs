//! A connection to a node that goes through our hands: answers can be held back and lost.
//!
//! Knows no protocol. What is appended while answers are held is known to the node and to nobody else; [`Proxy::cut`] then
//! makes sure that it stays so.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Stands before one node from its start until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holds_answers: bool,
    /// Counts the cuts; a connection belongs to the time between two of them.
    cuts: u64,
    has_ended: bool,
    /// Both ends of every connection since the last cut.
    streams: Vec<TcpStream>,
}

impl Proxy {
    /// Listens on a port of its own.
    pub(crate) fn before(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { target, state: Mutex::default(), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || serving.serve(&listener));
        Ok(Self { address, shared })
    }

    /// Where clients connect, and what the node tells them.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests still reach the node; from now on no answer reaches a client.
    pub fn hold_answers(&self) {
        self.shared.lock().holds_answers = true;
    }

    /// Closes every connection. What was held is lost; new connections pass everything.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.cuts += 1;
        state.holds_answers = false;
        for stream in state.streams.drain(..) {
            // The other side may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.cut();
        // Lets the listening thread look; if it is gone already, all the better.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lock().has_ended {
                return;
            }
            // A node that is down refuses; so do we, by closing.
            let Ok(client) = client else { continue };
            let Ok(node) = TcpStream::connect(self.target) else { continue };
            if let Err(error) = self.join(client, node) {
                eprintln!("proxy before {}: {error}", self.target);
            }
        }
    }

    /// A thread for each direction.
    fn join(self: &Arc<Self>, mut client: TcpStream, mut node: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        node.set_nodelay(true)?;
        let (to_client, mut to_node) = (client.try_clone()?, node.try_clone()?);
        let mut state = self.lock();
        state.streams.extend([client.try_clone()?, node.try_clone()?]);
        let cuts = state.cuts;
        drop(state);
        std::thread::spawn(move || {
            let _ = io::copy(&mut client, &mut to_node);
            let _ = to_node.shutdown(Shutdown::Both);
        });
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let _ = shared.pass_answers(&mut node, &to_client, cuts);
            // A node that died while answers are held looks like one that is slow.
            shared.wait_while_held(cuts);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    fn pass_answers(&self, node: &mut TcpStream, mut client: &TcpStream, cuts: u64) -> io::Result<()> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = node.read(&mut bytes)?;
            if length == 0 || self.wait_while_held(cuts) {
                return Ok(());
            }
            client.write_all(&bytes[..length])?;
        }
    }

    /// Whether the connection was cut meanwhile.
    fn wait_while_held(&self, cuts: u64) -> bool {
        let is_held = |state: &mut State| state.holds_answers && state.cuts == cuts;
        let state = self.changed.wait_while(self.lock(), is_held).unwrap_or_else(PoisonError::into_inner);
        state.cuts != cuts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that answers every byte with the same, until its client closes.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    #[test]
    fn what_is_held_is_lost_at_the_cut_and_later_answers_pass() {
        let proxy = Proxy::before(echo()).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        let mut answer = [0];
        stream.write_all(b"a").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"a");

        proxy.hold_answers();
        stream.write_all(b"b").unwrap();
        proxy.cut();
        assert!(stream.read_exact(&mut answer).is_err(), "a lost answer came: {answer:?}");

        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.write_all(b"c").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"c");
    }
}
