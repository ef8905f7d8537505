//! A broker that answers everything but Produce as it should.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milena::unstable::ErrorCode;
use milena_broker::{Cluster, ClusterConfig, Event, Memory, Moment, Node, NodeId, PartitionIndex, ProduceFault};

use crate::process::PATIENCE;

/// One node with the topic `orders`.
pub struct Stubborn {
    address: SocketAddr,
    produced: Receiver<()>,
}

impl Stubborn {
    /// It never answers a Produce request.
    pub fn silent() -> Self {
        Self::start(Manner::Silent)
    }

    /// It gives nobody the permission to write.
    pub fn refusing() -> Self {
        Self::start(Manner::Refusing)
    }

    /// It answers Produce requests so much later.
    pub fn late(delay: Duration) -> Self {
        Self::start(Manner::Late(delay))
    }

    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let node = Node { id: NodeId(1), host: address.ip().to_string(), port: address.port() };
        let start = Instant::now();
        let cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(Memory), moment(start)).expect("opens");
        let cluster = Arc::new(Mutex::new(cluster));
        cluster.lock().expect("no panic").create_topic("orders", 1).expect("is made");
        let (tell, produced) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = Session { stream, start, cluster: Arc::clone(&cluster), manner, tell: tell.clone() };
                std::thread::spawn(move || session.serve());
            }
        });
        Self { address, produced }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Until a Produce request has come.
    pub fn await_produce(&self) {
        self.produced.recv_timeout(PATIENCE).expect("records are sent");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Silent,
    Refusing,
    Late(Duration),
}

struct Session {
    stream: TcpStream,
    start: Instant,
    cluster: Arc<Mutex<Cluster>>,
    manner: Manner,
    tell: Sender<()>,
}

impl Session {
    /// Until the client hangs up.
    fn serve(mut self) -> Option<()> {
        let connection = self.cluster.lock().expect("no panic").connect(NodeId(1))?;
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).ok()?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame).ok()?;
            let is_produce = frame[..2] == [0, 0];
            if is_produce {
                let _nobody_waits = self.tell.send(());
                match self.manner {
                    Manner::Silent => continue,
                    Manner::Late(delay) => std::thread::sleep(delay),
                    Manner::Refusing => {}
                }
            }
            let mut cluster = self.cluster.lock().expect("no panic");
            if is_produce && self.manner == Manner::Refusing {
                let refuse = ProduceFault { code: ErrorCode::TOPIC_AUTHORIZATION_FAILED, appended: false, times: 1 };
                assert!(cluster.plant("orders", PartitionIndex(0), refuse));
            }
            let now = moment(self.start);
            cluster.handle_frame(now, connection, frame.into());
            while let Some(event) = cluster.poll_event(now) {
                match event {
                    Event::Response { frame, .. } => self.stream.write_all(&frame).ok()?,
                    Event::Close { .. } => return None,
                }
            }
        }
    }
}

fn moment(start: Instant) -> Moment {
    Moment { elapsed: start.elapsed(), wall: SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") }
}
