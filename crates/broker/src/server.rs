//! The TCP server: a cluster on a thread of its own, with a listener for each node.
//!
//! When [`Broker::start`] returns, the addresses accept connections. When [`Broker::stop`] returns, every connection is closed, everything
//! written is on the disk, the data directory is free and its address file is gone. Between the two, what clients wrote is on its way to the disk before they are
//! told so; see `storage.rs` for what that survives.
//!
//! The serving itself is in `server/serving.rs`, what the owner may do to nodes in `server/steering.rs`, the same for programs in other
//! languages in `server/admin.rs`.

#[cfg(feature = "admin")]
mod admin;
mod door;
mod faults;
mod helper;
mod options;
mod serving;
mod session;
mod steering;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc};

use crate::cluster::Cluster;
use crate::cluster_config::{ClusterConfig, OpenError};
use crate::ids::NodeId;
use crate::log::TornTail;
use crate::moment::Moment;
use crate::nodes::Node;
use crate::notice::{Notice, Teller};
use crate::storage::{
    BoundedMemory, Directory, DirectoryError, Memory, Storage, StorageError, SystemDisk, TellingDisk,
};

pub use faults::Faults;
pub use options::BrokerOptions;

/// A running broker. Dropping it stops it.
///
/// ```
/// use std::time::Duration;
/// use milena_broker::{Broker, BrokerOptions};
///
/// let broker = Broker::start(BrokerOptions::default())?;
/// println!("give this to any Kafka client: {}", broker.bootstrap());
/// assert_eq!((broker.connections(), broker.torn_tails().len()), (0, 0));
/// assert!(broker.wait_until_connections(0, Some(Duration::from_secs(1))));
/// broker.stop_if_idle().expect("nobody is connected"); // or broker.stop(), whoever is
/// # Broker::start(BrokerOptions::default())?.stop();
/// # Ok::<(), milena_broker::StartError>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    #[cfg(feature = "admin")]
    admin: Option<SocketAddr>,
    torn_tails: Vec<TornTail>,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    /// Gone once the broker is stopped.
    thread: Option<JoinHandle<()>>,
}

/// Why a broker does not start.
///
/// ```
/// use milena_broker::{Broker, BrokerOptions, StartError};
///
/// let taken = Broker::start(BrokerOptions::default())?;
/// let options = BrokerOptions { listen: taken.bootstrap().to_owned(), ..BrokerOptions::default() };
/// assert!(matches!(Broker::start(options), Err(StartError::Listen { .. })));
/// # Ok::<(), StartError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    Listen {
        /// The address.
        listen: String,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory belongs to another broker.
    DataDirInUse {
        /// The folder.
        path: PathBuf,
        /// Where that broker serves; none while it is still starting.
        address: Option<String>,
    },
    /// The data directory cannot be used.
    DataDir(StorageError),
    /// What the data directory holds cannot be opened.
    Open(OpenError),
    /// The thread or its runtime cannot be made.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen { listen, source } => write!(f, "listen on {listen}: {source}; use another address"),
            StartError::DataDirInUse { path, address } => {
                DirectoryError::InUse { path: path.clone(), address: address.clone() }.fmt(f)
            }
            StartError::DataDir(error) => error.fmt(f),
            StartError::Open(error) => error.fmt(f),
            StartError::Thread(source) => write!(f, "start the broker's thread: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Listen { source, .. } | StartError::Thread(source) => Some(source),
            StartError::DataDirInUse { .. } => None,
            StartError::DataDir(error) => Some(error),
            StartError::Open(error) => Some(error),
        }
    }
}

impl From<DirectoryError> for StartError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::InUse { path, address } => StartError::DataDirInUse { path, address },
            DirectoryError::Storage(error) => StartError::DataDir(error),
        }
    }
}

impl Broker {
    /// Opens the data directory, listens, and serves from a thread of its own.
    pub fn start(options: BrokerOptions) -> Result<Broker, StartError> {
        let (teller, notices) = Teller::new();
        let disk = Arc::new(TellingDisk { disk: Arc::new(SystemDisk), teller: teller.clone() });
        let directory = options.data_dir.as_deref().map(|root| Directory::open_by(disk, root)).transpose()?;
        let listeners = listen(&options)?;
        let nodes: Vec<Node> = listeners.iter().map(|(node, _)| node.clone()).collect();
        let bootstrap = nodes.iter().map(address).collect::<Vec<_>>().join(",");
        if let (Some(directory), Some(first)) = (&directory, nodes.first()) {
            // Who finds the address early waits in the listener's queue until the logs are open.
            directory.publish_address(&address(first)).map_err(StartError::DataDir)?;
        }
        #[cfg(feature = "admin")]
        let (admin, admin_address) = match &options.admin {
            Some(listen) => {
                let error = |source| StartError::Listen { listen: listen.clone(), source };
                let admin = admin::Admin::listen(listen, &bootstrap).map_err(error)?;
                let address = admin.address().map_err(error)?;
                (Some(admin), Some(address))
            }
            None => (None, None),
        };
        let clock = Clock::start();
        let by_release = ClusterConfig::with_nodes(nodes.clone()).behave_as(options.release);
        let config = ClusterConfig {
            auto_create_topics: options.auto_create_topics,
            racks: nodes.iter().map(|node| node.id).zip(options.racks).collect(),
            default_partitions: options.default_partitions,
            flush: options.flush,
            retention_check: options.retention_check,
            cleaner_backoff: options.cleaner_backoff,
            session_timeout: options.session_timeout,
            replica_lag_time_max: options.replica_lag_time_max,
            producer_expiry: options.producer_expiry.unwrap_or(by_release.producer_expiry),
            producer_expiry_check: options.producer_expiry_check,
            seed: RandomState::new().build_hasher().finish(),
            ..by_release
        };
        let storage: Box<dyn Storage> = match (directory, options.memory_max) {
            (Some(directory), _) => Box::new(directory),
            (None, Some(bytes)) => Box::new(BoundedMemory::telling(bytes, teller.clone())),
            (None, None) => Box::new(Memory),
        };
        let cluster = Cluster::open(config, storage, clock.now()).map_err(StartError::Open)?;
        let torn_tails = cluster.torn_tails().to_vec();
        let shared = Arc::new(Shared { notices: Mutex::new(Some(notices)), ..Shared::default() });
        let (orders, taken) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let serving = serving::Serving {
            cluster,
            clock,
            listeners,
            orders: taken,
            orders_back: orders.clone(),
            shared: Arc::clone(&shared),
            teller,
            #[cfg(feature = "admin")]
            admin,
        };
        let runtime = runtime.map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || serving.run(&runtime))
            .map_err(StartError::Thread)?;
        Ok(Broker {
            bootstrap,
            #[cfg(feature = "admin")]
            admin: admin_address,
            torn_tails,
            shared,
            orders,
            thread: Some(thread),
        })
    }

    /// Where the admin port listens, if it does. `http://` before it is the page for people.
    ///
    /// ```
    /// use milena_broker::{Broker, BrokerOptions};
    ///
    /// let options = BrokerOptions { admin: Some("127.0.0.1:0".to_owned()), ..BrokerOptions::default() };
    /// let broker = Broker::start(options)?;
    /// println!("http://{}", broker.admin().expect("it was asked for"));
    /// # Ok::<(), milena_broker::StartError>(())
    /// ```
    #[cfg(feature = "admin")]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Where clients connect: host and port of each node, with commas between them.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What was cut off the logs when they were opened.
    pub fn torn_tails(&self) -> &[TornTail] {
        &self.torn_tails
    }

    /// What no client can be told: a disk that refuses, a client that wants what is not there. It ends with the broker. Everything is given to
    /// the first that asks, who may wait on a thread of its own; none afterwards. What nobody reads is dropped after the first hundred.
    ///
    /// ```
    /// use milena_broker::{Broker, BrokerOptions};
    ///
    /// let broker = Broker::start(BrokerOptions::default())?;
    /// let notices = broker.notices().expect("nobody asked before");
    /// let telling = std::thread::spawn(move || notices.iter().for_each(|notice| eprintln!("{notice}")));
    /// broker.stop();
    /// telling.join().expect("it ends with the broker");
    /// # Ok::<(), milena_broker::StartError>(())
    /// ```
    pub fn notices(&self) -> Option<Receiver<Notice>> {
        self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.connections().open
    }

    /// Blocks until at most so many connections are open, or the time is over; says which. A broker whose thread has ended has none.
    pub fn wait_until_connections(&self, at_most: usize, timeout: Option<Duration>) -> bool {
        let connections = self.shared.connections();
        let too_many = |connections: &mut Connections| connections.open > at_most;
        match timeout {
            None => {
                let waited = self.shared.changed.wait_while(connections, too_many);
                waited.unwrap_or_else(PoisonError::into_inner).open <= at_most
            }
            Some(timeout) => {
                let waited = self.shared.changed.wait_timeout_while(connections, timeout, too_many);
                waited.unwrap_or_else(PoisonError::into_inner).0.open <= at_most
            }
        }
    }

    /// Closes every connection and gives the data directory free.
    pub fn stop(mut self) {
        self.end();
    }

    /// Stops if no connection is open, else gives the broker back. Whoever connects at the same moment is either counted, so that
    /// nothing is stopped, or finds the connection closed before its first answer.
    pub fn stop_if_idle(mut self) -> Result<(), Broker> {
        let idle = {
            let mut connections = self.shared.connections();
            connections.refused = connections.open == 0;
            connections.refused
        };
        if !idle {
            return Err(self);
        }
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        self.shared.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _panicked_and_said_so_itself = thread.join();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Something to do on the broker's thread.
type Order = Box<dyn FnOnce(&Rc<serving::Server>) + Send>;

/// What the broker's thread and its owner both look at.
#[derive(Debug, Default)]
struct Shared {
    /// Set once by the owner; the thread ends.
    stop: Notify,
    connections: Mutex<Connections>,
    changed: Condvar,
    /// How often faults have hit or were removed, as of the last request.
    fault_news: Mutex<u64>,
    fault_told: Condvar,
    /// Until the owner takes it.
    notices: Mutex<Option<Receiver<Notice>>>,
}

#[derive(Debug, Default)]
struct Connections {
    open: usize,
    /// Set when an idle broker stops: nobody gets in any more.
    refused: bool,
}

impl Shared {
    /// A count is whole whoever panicked beside it.
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_fault_news(&self, news: u64) {
        let mut told = self.fault_news.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != news {
            *told = news;
            self.fault_told.notify_all();
        }
    }

    /// Blocks until there is more news of faults than that; false if the time is over first.
    fn wait_for_news(&self, than: u64, until: Option<Instant>) -> bool {
        let news = self.fault_news.lock().unwrap_or_else(PoisonError::into_inner);
        let no_more = |news: &mut u64| *news <= than;
        match until {
            None => *self.fault_told.wait_while(news, no_more).unwrap_or_else(PoisonError::into_inner) > than,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                let waited = self.fault_told.wait_timeout_while(news, left, no_more);
                *waited.unwrap_or_else(PoisonError::into_inner).0 > than
            }
        }
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    fn now(self) -> Moment {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { elapsed: self.start.elapsed(), wall }
    }
}

fn listen(options: &BrokerOptions) -> Result<Vec<(Node, TcpListener)>, StartError> {
    let error = |source| StartError::Listen { listen: options.listen.clone(), source };
    let mut listeners = Vec::new();
    for index in 0..options.nodes {
        let listener = listen_for(&options.listen, index).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let host = options.advertised_host.clone().unwrap_or_else(|| reachable(address).to_string());
        let port = match options.advertised_port {
            None => address.port(),
            Some(first) => first.checked_add(index).ok_or_else(|| error(no_port_left()))?,
        };
        let id = NodeId(FIRST_NODE + i32::from(index));
        listeners.push((Node { id, host, port }, listener));
    }
    Ok(listeners)
}

/// The port that is named is the first node's. Port 0 is a free one for each.
fn listen_for(listen: &str, index: u16) -> io::Result<TcpListener> {
    if index == 0 {
        return TcpListener::bind(listen);
    }
    let shifted = |mut address: SocketAddr| {
        if address.port() != 0 {
            address.set_port(address.port().checked_add(index).ok_or_else(no_port_left)?);
        }
        Ok(address)
    };
    let addresses = listen.to_socket_addrs()?.map(shifted).collect::<io::Result<Vec<_>>>()?;
    TcpListener::bind(&*addresses)
}

fn no_port_left() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no port is left for each node")
}

/// An address that says "all of mine" can be listened on but not connected to.
fn reachable(address: SocketAddr) -> IpAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

fn address(node: &Node) -> String {
    let Node { host, port, .. } = node;
    // An IPv6 address needs brackets before a port.
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

const FIRST_NODE: i32 = 1;
const THREAD_NAME: &str = "milena-broker";
