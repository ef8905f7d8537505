//! A broker whose answers to Produce can be kept back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use milena_broker::{Cluster, ClusterConfig, Event, Memory, Moment, Node, NodeId, PartitionIndex};

/// A broker whose answers to Produce can be kept back: requests are carried out, nobody learns it.
pub struct TightLipped {
    pub address: String,
    cluster: Arc<Mutex<Cluster>>,
    pub keeps_back: Arc<AtomicBool>,
}

impl TightLipped {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let node = Node { id: NodeId(1), host: address.ip().to_string(), port: address.port() };
        let start = Instant::now();
        let cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(Memory), moment(start)).expect("opens");
        let cluster = Arc::new(Mutex::new(cluster));
        cluster.lock().expect("no panic").create_topic("orders", 1).expect("is made");
        let keeps_back = Arc::new(AtomicBool::new(false));
        let (served, kept) = (Arc::clone(&cluster), Arc::clone(&keeps_back));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (cluster, keeps_back) = (Arc::clone(&served), Arc::clone(&kept));
                std::thread::spawn(move || serve(stream, start, &cluster, &keeps_back));
            }
        });
        Self { address: address.to_string(), cluster, keeps_back }
    }

    pub fn records(&self) -> i64 {
        let cluster = self.cluster.lock().expect("no panic");
        cluster.log("orders", PartitionIndex(0)).expect("was made").next_offset()
    }
}

fn moment(start: Instant) -> Moment {
    Moment { elapsed: start.elapsed(), wall: SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") }
}

/// Until the client hangs up.
fn serve(mut stream: TcpStream, start: Instant, cluster: &Mutex<Cluster>, keeps_back: &AtomicBool) -> Option<()> {
    let connection = cluster.lock().expect("no panic").connect(NodeId(1))?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).ok()?;
        let is_produce = frame[..2] == [0, 0];
        let mut cluster = cluster.lock().expect("no panic");
        cluster.handle_frame(moment(start), connection, frame.into());
        while let Some(event) = cluster.poll_event(moment(start)) {
            match event {
                Event::Response { frame, .. } if !(is_produce && keeps_back.load(Ordering::SeqCst)) => {
                    stream.write_all(&frame).ok()?;
                }
                Event::Response { .. } => {}
                Event::Close { .. } => return None,
            }
        }
    }
}
