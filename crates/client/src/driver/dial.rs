//! Opening a connection: the host's name looked up, its addresses tried in turn.
//!
//! Always holds: an address that says nothing holds up the next one for a quarter of a second only, while it keeps its own
//! time; the first connection that opens is taken and the others are dropped (as RFC 8305 has it). Java's client waits for
//! each to fail (KIP-601, KIP-602), so that there one dead address takes ten seconds of a deadline.
//!
//! Names are looked up by the operating system on a thread of the runtime's own pool: a slow DNS server holds up this
//! connection and nothing else.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use milena_core::fault::{ConnectionError, DialError, FailedDial};
use milena_core::metadata::Address;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Opens a connection to any address of the host; the lookup of the name may take `timeout`, and each address too.
pub(crate) async fn connect(address: &Address, timeout: Duration) -> Result<TcpStream, ConnectionError> {
    let addresses = look_up(address, timeout).await?;
    let stream = Race::new(addresses, timeout)
        .await
        .map_err(|tried| ConnectionError::NotConnected { host: Arc::clone(&address.host), tried: tried.into() })?;
    // A request is written whole; waiting for more bytes would only delay it.
    stream.set_nodelay(true).map_err(|error| lost(&error))?;
    Ok(stream)
}

/// An error of an open connection.
pub(crate) fn lost(error: &io::Error) -> ConnectionError {
    ConnectionError::Lost { why: error.to_string().into() }
}

async fn look_up(address: &Address, timeout: Duration) -> Result<Vec<SocketAddr>, ConnectionError> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let host = || Arc::clone(&address.host);
    let lookup = tokio::net::lookup_host((&*address.host, address.port));
    let found: Vec<SocketAddr> = match tokio::time::timeout(timeout, lookup).await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => {
            return Err(ConnectionError::NameNotResolved { host: host(), why: error.to_string().into() });
        }
        Err(_) => return Err(ConnectionError::NameLookupTimedOut { host: host(), after: timeout }),
    };
    if found.is_empty() {
        return Err(ConnectionError::NameNotResolved { host: host(), why: "it has no address".into() });
    }
    Ok(found)
}

type Dial = Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + Send>>;

/// Tries addresses in their order; ends with the first connection, or with the reason of each.
struct Race {
    /// The last one is the next.
    waiting: Vec<SocketAddr>,
    running: Vec<(usize, SocketAddr, Dial)>,
    /// By the place in the order.
    failed: Vec<(usize, FailedDial)>,
    started: usize,
    timeout: Duration,
    /// When the next one starts though none has failed.
    patience: Pin<Box<Sleep>>,
}

impl Race {
    fn new(mut addresses: Vec<SocketAddr>, timeout: Duration) -> Self {
        addresses.reverse();
        let patience = Box::pin(tokio::time::sleep(PATIENCE));
        let mut race =
            Self { waiting: addresses, running: Vec::new(), failed: Vec::new(), started: 0, timeout, patience };
        race.start_next();
        race
    }

    fn start_next(&mut self) -> bool {
        let Some(to) = self.waiting.pop() else { return false };
        self.running.push((self.started, to, Box::pin(dial(to, self.timeout))));
        self.started += 1;
        self.patience.as_mut().reset(Instant::now() + PATIENCE);
        true
    }

    /// The connection that is open, if one is; those that failed are sorted out.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<TcpStream> {
        let mut place = 0;
        while let Some((number, to, dial)) = self.running.get_mut(place) {
            let (number, to) = (*number, *to);
            match dial.as_mut().poll(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(stream)) => return Some(stream),
                Poll::Ready(Err(why)) => {
                    self.failed.push((number, FailedDial { to, why }));
                    drop(self.running.remove(place));
                }
            }
        }
        None
    }
}

impl Future for Race {
    type Output = Result<TcpStream, Vec<FailedDial>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let failed_before = self.failed.len();
            if let Some(stream) = self.poll_running(cx) {
                return Poll::Ready(Ok(stream));
            }
            let is_next_due = self.failed.len() > failed_before || self.patience.as_mut().poll(cx).is_ready();
            if is_next_due && self.start_next() {
                continue;
            }
            if !self.running.is_empty() {
                return Poll::Pending;
            }
            let mut failed = std::mem::take(&mut self.failed);
            failed.sort_by_key(|(number, _)| *number);
            return Poll::Ready(Err(failed.into_iter().map(|(_, failed)| failed).collect()));
        }
    }
}

async fn dial(to: SocketAddr, timeout: Duration) -> Result<TcpStream, DialError> {
    match tokio::time::timeout(timeout, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(DialError::Refused),
        Ok(Err(error)) => Err(DialError::Failed { why: error.to_string().into() }),
        Err(_) => Err(DialError::TimedOut { after: timeout }),
    }
}

/// Between the starts of two attempts, while none has failed; RFC 8305's "connection attempt delay".
const PATIENCE: Duration = Duration::from_millis(250);

/// What more addresses a name has is left out: a broker has a few, a load balancer's are equally good.
const ADDRESSES_MAX: usize = 16;

#[cfg(all(test, not(milena_model)))]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    const SOON: Duration = Duration::from_secs(10);

    /// An address that refuses connections: it is taken as long as the socket is there, and nobody listens.
    fn closed() -> (SocketAddr, TcpSocket) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        (socket.local_addr().expect("bound"), socket)
    }

    /// An address that says nothing to a dial: nobody accepts, and the queue for those who wait is full.
    struct Silent {
        address: SocketAddr,
        _listener: TcpListener,
        _queue: Vec<TcpStream>,
    }

    impl Silent {
        async fn open() -> Self {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
            let listener = socket.listen(1).expect("listens");
            let address = listener.local_addr().expect("bound");
            let mut queue = Vec::new();
            while let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
                queue.push(stream);
            }
            Self { address, _listener: listener, _queue: queue }
        }
    }

    #[test]
    fn the_first_connection_that_opens_is_taken_whatever_was_tried_before() {
        run(async {
            let silent = Silent::open().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let open = listener.local_addr().expect("bound");
            let (refused, _taken) = closed();
            let addresses = vec![refused, silent.address, open];
            let stream = Race::new(addresses, Duration::from_secs(3600)).await.expect("one is open");
            assert_eq!(stream.peer_addr().expect("connected"), open);
        });
    }

    #[test]
    fn each_address_that_failed_is_told_in_order_with_its_reason() {
        run(async {
            let silent = Silent::open().await;
            let (refused, _taken) = closed();
            let after = Duration::from_millis(50);
            let tried = Race::new(vec![silent.address, refused], after).await.expect_err("none is open");
            let timed_out = FailedDial { to: silent.address, why: DialError::TimedOut { after } };
            assert_eq!(tried, [timed_out, FailedDial { to: refused, why: DialError::Refused }]);
        });
    }

    #[test]
    fn a_name_without_addresses_and_a_port_without_a_listener_are_told_apart() {
        run(async {
            let address = Address { host: "x.invalid".into(), port: 9092 };
            let error = connect(&address, SOON).await.expect_err("the name is reserved for this");
            assert!(
                matches!(&error, ConnectionError::NameNotResolved { host, .. } if &**host == "x.invalid"),
                "{error:?}"
            );
            let (to, _taken) = closed();
            let address = Address { host: to.ip().to_string().into(), port: to.port() };
            let error = connect(&address, SOON).await.expect_err("nobody listens");
            let tried = [FailedDial { to, why: DialError::Refused }];
            assert_eq!(error, ConnectionError::NotConnected { host: "127.0.0.1".into(), tried: tried.into() });
        });
    }
}
