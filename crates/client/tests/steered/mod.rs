//! A cluster behind real sockets that a test steers: answers are kept back, bytes are not read, nodes freeze and die.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milena_broker::{Cluster, ClusterConfig, ConnectionId, Event, Memory, Moment, Node, NodeId, PartitionIndex};
use milena_wire::ApiKey;

/// The cluster; its one topic is `orders`.
pub struct Steered {
    /// Addresses of all nodes.
    pub bootstrap: String,
    shared: Arc<Shared>,
}

struct Shared {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    cluster: Cluster,
    streams: BTreeMap<ConnectionId, TcpStream>,
    /// What is asked and not answered, by connection and correlation id.
    asked: BTreeMap<(ConnectionId, i32), ApiKey>,
    /// Requests of these kinds are carried out, and nobody learns it.
    kept_back: BTreeSet<ApiKey>,
    /// How many answers were.
    keeps: u32,
    /// Requests with these words in them are still on their way.
    held: Option<&'static str>,
    /// Those that are, and where they go.
    on_their_way: Vec<(NodeId, Vec<u8>)>,
    /// Sockets are not read: what clients write stays in the kernel, until that takes no more.
    reads_nothing: bool,
    is_over: bool,
}

impl Steered {
    pub fn start(nodes: i32, partitions: i32) -> Self {
        let listeners: Vec<TcpListener> =
            (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect();
        let node = |(id, address): (i32, &std::net::SocketAddr)| Node {
            id: NodeId(id),
            host: address.ip().to_string(),
            port: address.port(),
        };
        // One replica each: what happens to a node touches the partitions that it leads and no others.
        let config = ClusterConfig {
            default_replication_factor: 1,
            ..ClusterConfig::with_nodes((1..).zip(&addresses).map(node).collect())
        };
        let start = Instant::now();
        let mut cluster = Cluster::open(config, Box::new(Memory), moment(start)).expect("opens");
        cluster.create_topic("orders", partitions).expect("is made");
        let state = State {
            cluster,
            streams: BTreeMap::new(),
            asked: BTreeMap::new(),
            kept_back: BTreeSet::new(),
            keeps: 0,
            held: None,
            on_their_way: Vec::new(),
            reads_nothing: false,
            is_over: false,
        };
        let shared = Arc::new(Shared { start, state: Mutex::new(state), changed: Condvar::new() });
        for (id, listener) in (1..).zip(listeners) {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.accept(NodeId(id), &listener));
        }
        let timers = Arc::clone(&shared);
        std::thread::spawn(move || timers.keep_time());
        let bootstrap = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Self { bootstrap, shared }
    }

    /// From now on requests of this kind are carried out and not answered.
    pub fn keep_back(&self, api: ApiKey) {
        self.shared.lock().kept_back.insert(api);
    }

    /// From now on requests are answered again; what was kept back stays lost.
    pub fn answer_all(&self) {
        self.shared.lock().kept_back.clear();
    }

    /// From now on requests with these words in them are on their way for as long as the network likes, whatever becomes of
    /// their connection.
    pub fn hold(&self, words: &'static str) {
        self.shared.lock().held = Some(words);
    }

    /// Waits until so many requests are on their way.
    pub fn wait_until_held(&self, count: usize) {
        self.wait_until(|state| state.on_their_way.len() >= count);
    }

    /// What is on its way arrives.
    pub fn let_arrive(&self) {
        let late = std::mem::take(&mut self.shared.lock().on_their_way);
        for (node, frame) in late {
            self.steer(|cluster, now| {
                let connection = cluster.connect(node).expect("the node runs");
                cluster.handle_frame(now, connection, frame.into());
            });
        }
    }

    /// From now on nothing is read from any socket, or everything again.
    pub fn read_nothing(&self, reads_nothing: bool) {
        self.shared.lock().reads_nothing = reads_nothing;
        self.shared.changed.notify_all();
    }

    /// Does something to the cluster.
    pub fn steer<T>(&self, work: impl FnOnce(&mut Cluster, Moment) -> T) -> T {
        let mut state = self.shared.lock();
        let done = work(&mut state.cluster, moment(self.shared.start));
        self.shared.deliver(&mut state);
        done
    }

    /// Waits until so many answers were kept back.
    pub fn wait_until_kept_back(&self, count: u32) {
        self.wait_until(|state| state.keeps >= count);
    }

    /// Waits until a partition's log is so long.
    pub fn wait_until_written(&self, partition: i32, records: i64) {
        let long = |state: &State| {
            state.cluster.log("orders", PartitionIndex(partition)).expect("was made").next_offset() >= records
        };
        self.wait_until(long);
    }

    /// How many records a partition has.
    pub fn records(&self, partition: i32) -> i64 {
        self.shared.lock().cluster.log("orders", PartitionIndex(partition)).expect("was made").next_offset()
    }

    fn wait_until(&self, is_so: impl Fn(&State) -> bool) {
        let waited = self.shared.changed.wait_while(self.shared.lock(), |state| !is_so(state));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Steered {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

fn moment(start: Instant) -> Moment {
    Moment { elapsed: start.elapsed(), wall: SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, node: NodeId, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let mut state = self.lock();
            // A stopped node's port is closed; here the connection is.
            let Some(connection) = state.cluster.connect(node) else { continue };
            state.streams.insert(connection, stream.try_clone().expect("a socket has two handles"));
            drop(state);
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                shared.serve(node, connection, stream);
                let mut state = shared.lock();
                state.streams.remove(&connection);
                state.cluster.disconnect(connection);
            });
        }
    }

    /// Until the client hangs up.
    fn serve(&self, node: NodeId, connection: ConnectionId, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).ok()?;
            let waited = self.changed.wait_while(self.lock(), |state| state.reads_nothing && !state.is_over);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame).ok()?;
            let api = ApiKey(i16::from_be_bytes([frame[0], frame[1]]));
            let mut state = self.lock();
            if state.held.is_some_and(|words| frame.windows(words.len()).any(|found| found == words.as_bytes())) {
                state.on_their_way.push((node, frame));
                self.changed.notify_all();
                continue;
            }
            state.asked.insert((connection, correlation(&frame)), api);
            state.cluster.handle_frame(moment(self.start), connection, frame.into());
            self.deliver(&mut state);
        }
    }

    fn deliver(&self, state: &mut State) {
        while let Some(event) = state.cluster.poll_event(moment(self.start)) {
            match event {
                Event::Response { connection, frame } => {
                    let api = state.asked.remove(&(connection, correlation(&frame)));
                    if api.is_some_and(|api| state.kept_back.contains(&api)) {
                        state.keeps += 1;
                    } else if let Some(stream) = state.streams.get_mut(&connection) {
                        // A client that is gone needs no answer.
                        let _ = stream.write_all(&frame);
                    }
                }
                Event::Close { connection, .. } => {
                    if let Some(stream) = state.streams.remove(&connection) {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
            }
        }
        self.changed.notify_all();
    }

    fn keep_time(&self) {
        let mut state = self.lock();
        while !state.is_over {
            state.cluster.handle_timeout(moment(self.start));
            self.deliver(&mut state);
            let due = state.cluster.poll_timeout().unwrap_or(Duration::MAX);
            let wait = due.saturating_sub(self.start.elapsed()).min(Duration::from_millis(50));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The second word of requests, after key and version, and of whole answers, after the length.
fn correlation(frame: &[u8]) -> i32 {
    i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]])
}
