//! What stands between clients and a node: bytes pass, but where a rule says otherwise.
//!
//! Knows the frames of Kafka's protocol, the headers of requests and the batches of Produce requests; answers belong to the
//! requests of their correlation ids. Never changes a byte: a node advertises the proxy's address on the listener that the proxy leads to
//! (`advertised.listeners`), so its own answers name proxies wherever a version of any API names nodes.
//!
//! A connection to the node outlives its client as long as there is something to deliver, so a request can come after its
//! client has given up, connected again and sent it again.

mod connection;
mod line;
mod request;
mod rule;

pub use request::{Batch, INIT_PRODUCER_ID, METADATA, PRODUCE, Request, TopicRef};
pub use rule::{Bytes, End, Fault, Pause, Rule, RuleId, Sender, Target, Then, Way};

use connection::Connection;
use rule::{Blow, Rules};
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Stands before one node from its start until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What a rule did to one frame.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The rule.
    pub rule: RuleId,
    /// Connections are counted from 0.
    pub connection: u64,
    /// Whether to the request or to its answer.
    pub way: Way,
    /// The request, or the one that was answered.
    pub request: Request,
    /// When it was done.
    pub at: Instant,
    /// Bytes that passed before.
    pub passed: usize,
    /// Bytes of the frame.
    pub length: usize,
    /// How it ended; `None` while the frame is held.
    pub end: Option<Ended>,
}

/// The end of a [`Deed`].
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What became of the rest of the frame.
    pub ending: Ending,
    /// How long it was held.
    pub after: Duration,
    /// Whether who sent it had closed its connection by then: a request whose client has given up, if it is delivered.
    pub sender_left: bool,
}

/// What became of the rest of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// It was passed on to who it was for.
    Delivered,
    /// It was to be passed on, and nobody was there any more.
    Unheard,
    /// It was lost with the connections.
    Cut,
}

impl Proxy {
    /// Listens on a port of its own.
    pub(crate) fn before(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // Inherited by every connection; who is not heard shall soon notice.
        SockRef::from(&listener).set_recv_buffer_size(RECEIVE_BUFFER)?;
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

    /// From where chance is drawn, from now on.
    pub fn seed(&self, seed: u64) {
        self.shared.lock().rules.seed(seed);
    }

    /// From now on this rule stands behind those that there are.
    pub fn add(&self, rule: Rule) -> RuleId {
        self.shared.lock().rules.add(rule)
    }

    /// The rule strikes no more; what it holds stays held.
    pub fn remove(&self, rule: RuleId) {
        self.shared.lock().rules.remove(rule);
    }

    /// No rule strikes any more, and everything that is held goes on as it was to go on.
    pub fn clear(&self) {
        self.shared.lock().rules.clear();
        self.shared.release();
    }

    /// Everything that is held goes on as it was to go on; rules that hold until now are removed.
    pub fn release(&self) {
        self.shared.lock().rules.remove_unreleased();
        self.shared.release();
    }

    /// Requests still reach the node; from now on no answer reaches a client.
    pub fn hold_answers(&self) {
        let fault = Fault::frozen(Way::Answer, Bytes::First(0), Pause::UntilReleased, Sender::Heard);
        self.add(Rule::always(Target::anything(), fault));
    }

    /// Removes all rules and closes every connection. What was held is lost; new connections pass everything.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.rules.clear();
        let connections = std::mem::take(&mut state.connections);
        drop(state);
        connections.iter().for_each(|connection| connection.cut());
        self.shared.changed.notify_all();
    }

    /// Waits until no connection is left: when all clients have closed theirs, until the node has taken in and answered what
    /// they sent, however late it came. Whether that was so within `patience`.
    pub fn await_quiet(&self, patience: Duration) -> bool {
        let busy = |state: &mut State| !state.connections.is_empty();
        let (state, changed) = (self.shared.lock(), &self.shared.changed);
        let waited = changed.wait_timeout_while(state, patience, busy).unwrap_or_else(PoisonError::into_inner);
        waited.0.connections.is_empty()
    }

    /// What rules have done so far, in the order in which they did.
    pub fn deeds(&self) -> Vec<Deed> {
        self.shared.lock().deeds.clone()
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

/// What the threads of a proxy share.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    /// A connection is over.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    deeds: Vec<Deed>,
    /// Those that are not over.
    connections: Vec<Arc<Connection>>,
    accepted: u64,
    has_ended: bool,
}

impl Shared {
    fn serve(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.lock().has_ended {
                return;
            }
            let Ok(client) = client else { continue };
            let joining = Arc::clone(&self);
            // A frozen node may keep us waiting, and others shall not wait for it.
            std::thread::spawn(move || {
                // A node that is down refuses; so do we, by closing.
                let Ok(node) = TcpStream::connect(joining.target) else { return };
                if let Err(error) = joining.join(client, node) {
                    eprintln!("proxy before {}: {error}", joining.target);
                }
            });
        }
    }

    fn join(self: &Arc<Self>, client: TcpStream, node: TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        if state.has_ended {
            return Ok(());
        }
        let connection = Arc::new(Connection::new(state.accepted, client, node)?);
        state.accepted += 1;
        state.connections.push(Arc::clone(&connection));
        drop(state);
        connection.serve(self);
        Ok(())
    }

    fn forget(&self, connection: &Connection) {
        self.lock().connections.retain(|other| other.number != connection.number);
        self.changed.notify_all();
    }

    fn release(&self) {
        let connections = self.lock().connections.clone();
        connections.iter().for_each(|connection| connection.release());
    }

    fn strike(&self, way: Way, request: &Request, length: usize) -> Option<Blow> {
        self.lock().rules.strike(way, request, length)
    }

    /// The deed's place in the log.
    fn note(&self, connection: u64, way: Way, request: &Request, blow: Blow, length: usize) -> usize {
        let Blow { rule, passes, .. } = blow;
        let request = request.clone();
        let deed = Deed { rule, connection, way, request, at: Instant::now(), passed: passes, length, end: None };
        let mut state = self.lock();
        state.deeds.push(deed);
        state.deeds.len() - 1
    }

    fn note_end(&self, deed: usize, ending: Ending, sender_left: bool) {
        let deed = &mut self.lock().deeds[deed];
        deed.end = Some(Ended { ending, after: deed.at.elapsed(), sender_left });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel doubles it. On loopback a segment has as much.
const RECEIVE_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests;
