//! One Kafka node (broker and controller in one process): its properties, its process, its log.
//!
//! A node keeps its ports and its folder for life, so that it comes back on the same data at the same address.

use crate::cluster::Options;
use crate::error::StartError;
use crate::exchange::Door;
use crate::java::Java;
use crate::jvm::{Jvm, Tether};
use crate::probe::{self, PartitionState};
use crate::proxy::Proxy;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A node of a [`Kafka`](crate::Kafka).
#[derive(Debug)]
pub struct Node {
    /// Kafka's `node.id`, counted from 1.
    id: u32,
    ports: Ports,
    folder: PathBuf,
    /// As the cluster was started.
    options: Options,
    java: Java,
    tether: Tether,
    /// Set while the process is meant to run, frozen or not.
    jvm: Option<Jvm>,
    /// Set by `freeze`; cleared by `thaw` and with the process.
    is_frozen: bool,
    proxy: Proxy,
}

/// What one node listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    controller: u16,
    internal: u16,
    client: u16,
    /// Behind the proxy.
    proxied: u16,
}

impl Node {
    /// Kafka's `node.id`, counted from 1.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Where clients connect, in clear text.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.client))
    }

    /// The other way in, by which answers can be held back.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// How many lines of its log, from its first start on, hold these words.
    pub fn logged(&self, words: &str) -> io::Result<usize> {
        let text = fs::read(self.log())?;
        Ok(String::from_utf8_lossy(&text).lines().filter(|line| line.contains(words)).count())
    }

    /// Whether the process is meant to run: started, and neither killed nor terminated since.
    pub fn is_running(&self) -> bool {
        self.jvm.is_some()
    }

    /// Whether it can answer: running and not frozen.
    pub fn is_awake(&self) -> bool {
        self.is_running() && !self.is_frozen
    }

    /// Ends the process at once (SIGKILL), as a crash does.
    pub fn kill(&mut self) -> io::Result<()> {
        self.is_frozen = false;
        self.jvm.take().map_or(Ok(()), Jvm::kill)
    }

    /// Ends the process in order (SIGTERM) and waits for it.
    pub fn terminate(&mut self) -> io::Result<()> {
        self.jvm.take().map_or(Ok(()), |jvm| jvm.terminate(TERMINATE_PATIENCE))
    }

    /// Stops the process without ending it (SIGSTOP): its sockets stay open and answer nothing.
    pub fn freeze(&mut self) -> io::Result<()> {
        self.jvm.as_ref().ok_or_else(not_running)?.signal("STOP")?;
        self.is_frozen = true;
        Ok(())
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&mut self) -> io::Result<()> {
        self.jvm.as_ref().ok_or_else(not_running)?.signal("CONT")?;
        self.is_frozen = false;
        Ok(())
    }

    /// Starts an ended node again on its data, and waits until it calls itself a live broker. Does nothing while it runs.
    pub fn start(&mut self) -> Result<(), StartError> {
        if self.is_running() {
            return Ok(());
        }
        self.launch()?;
        let id = self.id;
        self.await_brokers(|live| live.contains(&id))
    }

    /// From now on the node's disk is full, but for `room` bytes: what is larger grows no more, what is smaller grows up to there.
    /// The node's own log and that of the metadata count as small. The kernel writes what still fits and refuses the rest
    /// with EFBIG, where a full disk has ENOSPC; Kafka knows both as an IOException, takes the folder out of service, and ends
    /// when none is left. Needs no rights; Linux only, by `prlimit`.
    pub fn fill_disk(&mut self, room: u64) -> io::Result<()> {
        let small = largest_log(&self.folder.join("metadata"))?.max(fs::metadata(self.log())?.len());
        self.jvm.as_ref().ok_or_else(not_running)?.limit_files(Some(small + room))
    }

    /// The disk has room again. A folder that was taken out of service comes back when the node is started again.
    pub fn empty_disk(&mut self) -> io::Result<()> {
        self.jvm.as_ref().ok_or_else(not_running)?.limit_files(None)
    }

    /// Notices when the process has ended by itself, as a node does whose last disk is full; whether it runs.
    pub fn look(&mut self) -> io::Result<bool> {
        if let Some(jvm) = &mut self.jvm
            && jvm.has_ended()?
        {
            self.kill()?;
        }
        Ok(self.is_running())
    }

    /// What this node knows of a topic's partitions, in ascending order; empty when it does not know the topic.
    pub fn partitions(&self, topic: &str) -> io::Result<Vec<PartitionState>> {
        probe::partitions(self.door(), topic, PROBE_PATIENCE)
    }

    /// Where the harness comes in, who may do everything.
    pub(crate) fn door(&self) -> Door {
        let is_guarded = self.options.access.is_guarded();
        let port = if is_guarded { self.ports.internal } else { self.ports.client };
        Door { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), is_guarded }
    }

    pub(crate) fn create(
        id: u32,
        all: &[Ports],
        folder: &Path,
        (java, tether): (&Java, Tether),
        options: &Options,
    ) -> Result<Self, StartError> {
        let folder = folder.join(format!("node{id}"));
        fs::create_dir_all(&folder).map_err(StartError::io("create", &folder))?;
        let ports = all[id as usize - 1];
        let proxied = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.proxied));
        let proxy = Proxy::before(proxied).map_err(StartError::io("listen before", &folder))?;
        let (java, options) = (java.clone(), options.clone());
        let node = Self { id, ports, folder, options, java, tether, jvm: None, is_frozen: false, proxy };
        let properties = node.properties();
        fs::write(&properties, node.properties_text(all)).map_err(StartError::io("write", &properties))?;
        Ok(node)
    }

    /// The storage tool's call that makes this node's folder a part of the cluster.
    pub(crate) fn format_command(&self, cluster_id: &str) -> Command {
        let mut command = self.java.short_lived();
        command
            .args(["kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config"])
            .arg(self.properties());
        command
    }

    pub(crate) fn launch(&mut self) -> Result<(), StartError> {
        let mut command = self.java.command();
        if self.tether == Tether::Owner {
            command = self.java.short_lived();
        }
        command.arg("kafka.Kafka").arg(self.properties());
        let log = self.log();
        let jvm = Jvm::launch(&command, &log, self.tether).map_err(StartError::io("run java with log", &log))?;
        let process = self.folder.join(PROCESS);
        fs::write(&process, jvm.id().to_string()).map_err(StartError::io("write", &process))?;
        self.jvm = Some(jvm);
        Ok(())
    }

    /// Waits until this node's own list of live brokers is as asked for.
    pub(crate) fn await_brokers(&mut self, enough: impl Fn(&[u32]) -> bool) -> Result<(), StartError> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            if probe::live_brokers(self.door(), PROBE_PATIENCE).is_ok_and(|live| enough(&live)) {
                return Ok(());
            }
            let log = self.log();
            let jvm = self.jvm.as_mut().expect("a node is awaited only after its launch");
            if jvm.has_ended().map_err(StartError::io("wait for java with log", &log))? {
                return Err(StartError::Ended { node: self.id, log: self.log_end() });
            }
            if Instant::now() >= deadline {
                return Err(StartError::NotReady { node: self.id, waited: READY_PATIENCE, log: self.log_end() });
            }
            // Another process's readiness can only be asked for.
            std::thread::sleep(PROBE_INTERVAL);
        }
    }

    /// The last lines of the log, for a person who looks for the reason of a failure.
    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn data_folders(&self) -> Vec<String> {
        (1..=self.options.disks).map(|disk| self.folder.join(format!("data{disk}")).display().to_string()).collect()
    }

    fn properties_text(&self, all: &[Ports]) -> String {
        let Ports { controller, internal, client, proxied } = self.ports;
        let voters: Vec<String> =
            all.iter().zip(1..).map(|(ports, id)| format!("{id}@127.0.0.1:{}", ports.controller)).collect();
        let (replicas, in_sync_min) = if all.len() < 3 { (1, 1) } else { (3, 2) };
        let mut text = format!(
            "node.id={id}\n\
             broker.rack=rack{id}\n\
             controller.quorum.voters={voters}\n\
             listeners=CONTROLLER://127.0.0.1:{controller},INTERNAL://127.0.0.1:{internal},\
             PLAIN://127.0.0.1:{client},PROXIED://127.0.0.1:{proxied}\n\
             advertised.listeners=INTERNAL://127.0.0.1:{internal},PLAIN://127.0.0.1:{client},PROXIED://{proxy}\n\
             metadata.log.dir={folder}/metadata\n\
             log.dirs={data}\n",
            id = self.id,
            voters = voters.join(","),
            proxy = self.proxy.address(),
            folder = self.folder.display(),
            data = self.data_folders().join(","),
        );
        text += &self.options.access.properties();
        for key in REPLICA_KEYS {
            text += &format!("{key}={replicas}\n");
        }
        for key in IN_SYNC_KEYS {
            text += &format!("{key}={in_sync_min}\n");
        }
        text += FIXED_PROPERTIES;
        // Of a property that stands there twice, Kafka takes the last.
        self.options.properties.iter().for_each(|(key, value)| text += &format!("{key}={value}\n"));
        text
    }
}

/// Ports that nobody listens on, all found at once so that they differ. Somebody may take one before the broker does;
/// the start is then tried again with others.
pub(crate) fn free_ports(nodes: u32) -> io::Result<Vec<Ports>> {
    let listeners: io::Result<Vec<TcpListener>> =
        (0..nodes * 4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let ports: io::Result<Vec<u16>> = listeners?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect();
    let ports = ports?;
    let of_node = |p: &[u16]| Ports { controller: p[0], internal: p[1], client: p[2], proxied: p[3] };
    Ok(ports.chunks_exact(4).map(of_node).collect())
}

/// In bytes; 0 where there is none. Indexes have their full size from the beginning and are written by way of memory. Files come
/// and go while a node runs.
fn largest_log(folder: &Path) -> io::Result<u64> {
    let mut largest = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        largest = largest.max(match entry.metadata() {
            Ok(about) if about.is_dir() => largest_log(&entry.path())?,
            Ok(about) if entry.path().extension().is_some_and(|extension| extension == "log") => about.len(),
            Ok(_) => 0,
            Err(_) => 0,
        });
    }
    Ok(largest)
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the node is not running")
}

/// The file with the process id of a node that was started, for `standing.rs`.
pub(crate) const PROCESS: &str = "process";

/// A node takes 3 to 5 s on two idle cores, three take 8 s.
const READY_PATIENCE: Duration = Duration::from_secs(180);
const TERMINATE_PATIENCE: Duration = Duration::from_secs(60);
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const LOG_LINES_SHOWN: usize = 30;

const REPLICA_KEYS: [&str; 4] = [
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
];
const IN_SYNC_KEYS: [&str; 3] =
    ["min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"];

/// Small and quick: the log cleaner alone would take 128 MiB. A frozen leader is replaced after the session timeout, and
/// followers come to a new leader at once instead of up to 1.5 s later.
const FIXED_PROPERTIES: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
replica.lag.time.max.ms=3000
replica.fetch.backoff.ms=50
replica.fetch.wait.max.ms=100
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
";
