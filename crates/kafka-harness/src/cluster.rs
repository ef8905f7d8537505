//! A cluster that lives as long as the value that holds it.

use crate::access::{self, Access, Change, Operation};
use crate::artifacts;
use crate::dump::{self, DumpedRecord};
use crate::election;
use crate::error::StartError;
use crate::exchange::Door;
use crate::folders::{self, RunFolder};
use crate::java::Java;
use crate::jvm::Tether;
use crate::node::{Node, free_ports};
use crate::probe::{self, PartitionState};
use crate::proxy::{Proxy, TopicRef};
use crate::topic::{self, NewTopic};
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The versions that tests run with, the newest first: the last ones of 4.3, 4.0 and 3.9.
pub const VERSIONS: [&str; 3] = ["4.3.1", "4.0.1", "3.9.2"];

/// Which Kafka to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// A version that Maven has; everything is tested with those of [`VERSIONS`].
    pub version: String,
    /// How many nodes; each is a broker and a controller. From three on, topics have three replicas by default, of which
    /// two must be in sync.
    pub nodes: u32,
    /// What clients may do.
    pub access: Access,
    /// Over how many folders a node's partitions are spread; the log of the metadata has one of its own. With two, a node
    /// goes on without one of them.
    pub disks: u32,
    /// Whether the data is where it is lost with the machine, though not with a killed process; on a machine that has no such place, it is
    /// on the disk. For tests that wait for many small writes.
    pub in_memory: bool,
    /// Properties beside the harness's own, or in place of them.
    pub properties: &'static [(&'static str, &'static str)],
}

impl Default for Options {
    /// One node of the newest version, where everybody may do everything.
    fn default() -> Self {
        let version = VERSIONS[0].to_owned();
        Self { version, nodes: 1, access: Access::Open, disks: 1, in_memory: false, properties: &[] }
    }
}

/// A running Kafka: ready when it exists, gone with its data when dropped, and killed when this process dies.
///
/// Topics are never created by being asked for. The data is below the target folder, or in memory.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    java: Java,
    /// After the nodes: removed when they are dead.
    folder: RunFolder,
}

impl Kafka {
    /// Fetches the jars if need be, formats, starts, and waits until every node lists all nodes as live brokers.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let java = Java::of_version(artifacts::jars(&options.version)?);
        let mut attempt = 1;
        loop {
            let home = if options.in_memory { folders::memory() } else { folders::home() };
            let folder = RunFolder::create(&home).map_err(StartError::io("create a folder in", &home))?;
            match start_nodes(&options, folder.path(), &java, Tether::Owner) {
                Ok(nodes) => {
                    let kafka = Self { nodes, java, folder };
                    kafka.grant_at_first(options.access)?;
                    return Ok(kafka);
                }
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where its data is, for what else shall go with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The addresses of all nodes, joined by commas, as clients want them.
    pub fn bootstrap_servers(&self) -> String {
        bootstrap_servers(&self.nodes)
    }

    /// The same nodes by way of their proxies; clients that start here never learn of the straight way.
    pub fn proxied_servers(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.proxy().address().to_string()).collect();
        addresses.join(",")
    }

    /// Grants clients without a name these operations on every topic, where access is limited.
    pub fn grant(&self, operations: &[Operation]) -> io::Result<()> {
        self.change_access(Change::Grant, operations)
    }

    /// Takes back what was [granted](Self::grant).
    pub fn revoke(&self, operations: &[Operation]) -> io::Result<()> {
        self.change_access(Change::Revoke, operations)
    }

    /// One request an operation, so that each has its own answer.
    fn change_access(&self, change: Change, operations: &[Operation]) -> io::Result<()> {
        let awake = self.awake().next().ok_or_else(nobody_awake)?;
        operations.iter().try_for_each(|&operation| access::change(awake.door(), change, operation, REQUEST_PATIENCE))
    }

    fn grant_at_first(&self, access: Access) -> Result<(), StartError> {
        match access.granted() {
            [] => Ok(()),
            operations => self.grant(operations).map_err(StartError::io("grant access in", self.folder.path())),
        }
    }

    /// The controller that leads the cluster, by its `node.id`.
    pub fn active_controller(&self) -> io::Result<u32> {
        let awake = self.awake().next().ok_or_else(nobody_awake)?;
        probe::active_controller(awake.door(), REQUEST_PATIENCE)
    }

    /// All names that a topic has in requests, for rules of a [`Proxy`].
    pub fn names_of(&self, topic: &str) -> io::Result<Vec<TopicRef>> {
        let awake = self.awake().next().ok_or_else(nobody_awake)?;
        let id = probe::topic_id(awake.door(), topic, REQUEST_PATIENCE)?;
        Ok(vec![TopicRef::Name(topic.to_owned()), TopicRef::Id(id)])
    }

    /// What stands before each node, in the order of their ids.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.nodes.iter().map(Node::proxy)
    }

    /// A node by its `node.id`, counted from 1.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&mut self, id: u32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("a node of this cluster is asked for")
    }

    /// Thaws and starts what is frozen or ended, and waits until every node lists every node as a live broker.
    pub fn make_whole(&mut self) -> Result<(), StartError> {
        for node in &mut self.nodes {
            node.look().map_err(StartError::io("wait for a node of", self.folder.path()))?;
            if node.is_running() && !node.is_awake() {
                node.thaw().map_err(StartError::io("thaw a node of", self.folder.path()))?;
            }
            node.start()?;
        }
        await_everybody(&mut self.nodes)
    }

    /// A call of Java with Kafka's classpath, not yet started: add a class, or the path of a single-file program, then its
    /// arguments.
    pub fn java(&self) -> Command {
        self.java.command()
    }

    /// Creates a topic and waits until every node knows a leader of each of its partitions.
    pub fn create_topic(&self, topic: &NewTopic<'_>) -> io::Result<()> {
        let awake = self.awake().next().ok_or_else(nobody_awake)?;
        topic.create(awake.door(), REQUEST_PATIENCE)?;
        let count = topic.replicas.len();
        self.await_partitions(topic.name, |states| {
            states.len() == count && states.iter().all(|state| state.leader.is_some())
        })?;
        Ok(())
    }

    /// Deletes a topic; its data goes after a while.
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        let awake = self.awake().next().ok_or_else(nobody_awake)?;
        topic::delete(awake.door(), topic, REQUEST_PATIENCE)
    }

    /// Waits until every node that is awake tells `enough` of a topic's partitions; gives what the first one tells. A
    /// node that was frozen tells old news at first, so one node's word would not do.
    pub fn await_partitions(
        &self,
        topic: &str,
        enough: impl Fn(&[PartitionState]) -> bool,
    ) -> io::Result<Vec<PartitionState>> {
        let deadline = Instant::now() + PARTITIONS_PATIENCE;
        loop {
            let told: io::Result<Vec<_>> = self.awake().map(|node| node.partitions(topic)).collect();
            match told {
                Ok(told) if !told.is_empty() && told.iter().all(|states| enough(states)) => {
                    return Ok(told.into_iter().next().unwrap_or_default());
                }
                told if Instant::now() >= deadline => {
                    let waited = format!("topic {topic} not as awaited after {PARTITIONS_PATIENCE:?}: {told:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, waited));
                }
                // Another process's state can only be asked for.
                _ => std::thread::sleep(PARTITIONS_INTERVAL),
            }
        }
    }

    /// Waits until all replicas of a topic's partitions are in sync.
    pub fn await_in_sync(&self, topic: &str) -> io::Result<Vec<PartitionState>> {
        self.await_partitions(topic, |states| {
            !states.is_empty() && states.iter().all(|state| state.in_sync.len() == state.replicas.len())
        })
    }

    /// Moves each partition of a topic to the first of its replicas, and waits until every node knows. The replicas must
    /// be in sync.
    pub fn elect_preferred(&self, topic: &str) -> io::Result<()> {
        let states = self.await_in_sync(topic)?;
        let partitions: Vec<i32> = states.iter().map(|state| state.partition).collect();
        let awake = self.awake().next().ok_or_else(nobody_awake)?;
        election::elect_preferred(awake.door(), topic, &partitions, REQUEST_PATIENCE)?;
        let is_preferred = |state: &PartitionState| state.leader.as_ref() == state.replicas.first();
        self.await_partitions(topic, |states| !states.is_empty() && states.iter().all(is_preferred))?;
        Ok(())
    }

    /// Every record of a topic as Java's own consumer reads it, from the beginning to the end at this moment; in order
    /// within a partition.
    pub fn dump_records(&self, topic: &str) -> io::Result<Vec<DumpedRecord>> {
        let mut topics = self.dump_topics(&[topic])?;
        topics.remove(topic).ok_or_else(|| not_a_record("nothing"))
    }

    /// [`Self::dump_records`] of several topics, by one reader.
    pub fn dump_topics(&self, topics: &[&str]) -> io::Result<BTreeMap<String, Vec<DumpedRecord>>> {
        let mut reader = self.java.short_lived();
        let doors: Vec<Door> = self.nodes.iter().map(Node::door).collect();
        if doors.iter().any(|door| door.is_guarded) {
            reader.env("KAFKA_HARNESS_JAAS", access::client_jaas());
        }
        let servers: Vec<String> = doors.iter().map(|door| door.address.to_string()).collect();
        let output = reader.arg(dump::program()).arg(servers.join(",")).args(topics).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("DumpRecords: {}", String::from_utf8_lossy(&output.stderr))));
        }
        dump::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|line| not_a_record(&line))
    }

    fn awake(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_awake())
    }
}

impl Drop for Kafka {
    /// The broker's log goes with its folder, so a failing test shows its end.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("---- the log of Kafka node {} ends:\n{}", node.id(), node.log_end());
            }
        }
    }
}

/// Formats and starts the nodes of a new cluster, and waits until each lists all.
pub(crate) fn start_nodes(
    options: &Options,
    folder: &Path,
    java: &Java,
    tether: Tether,
) -> Result<Vec<Node>, StartError> {
    let count = options.nodes;
    let ports = free_ports(count).map_err(StartError::io("find free ports for", folder))?;
    let nodes: Result<Vec<Node>, StartError> =
        (1..=count).map(|id| Node::create(id, &ports, folder, (java, tether), options)).collect();
    let mut nodes = nodes?;
    format(&nodes, &cluster_id())?;
    for node in &mut nodes {
        node.launch()?;
    }
    await_everybody(&mut nodes)?;
    Ok(nodes)
}

/// Waits until every node lists every node as a live broker.
fn await_everybody(nodes: &mut [Node]) -> Result<(), StartError> {
    let everybody: Vec<u32> = nodes.iter().map(Node::id).collect();
    nodes.iter_mut().try_for_each(|node| node.await_brokers(|live| live == everybody))
}

pub(crate) fn bootstrap_servers(nodes: &[Node]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    addresses.join(",")
}

/// All nodes at the same time: each takes a second or more, most of it Java's own start.
fn format(nodes: &[Node], cluster_id: &str) -> Result<(), StartError> {
    let java = Path::new("java");
    let mut tools = Vec::new();
    for node in nodes {
        let mut tool = node.format_command(cluster_id);
        tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        tools.push(tool.spawn().map_err(StartError::io("run", java))?);
    }
    for tool in tools {
        let output = tool.wait_with_output().map_err(StartError::io("wait for", java))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            return Err(StartError::Format { said: String::from_utf8_lossy(&said).into_owned() });
        }
    }
    Ok(())
}

/// A random UUID in Kafka's writing: 22 characters of base64url. Only letters and digits are drawn, since a leading `-`
/// would be an option; the last character carries two bits only.
fn cluster_id() -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let drawn = (0..21).map(|_| {
        let random = RandomState::new().build_hasher().finish();
        char::from(ALPHABET[(random % 62) as usize])
    });
    drawn.chain(['A']).collect()
}

fn not_a_record(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("DumpRecords printed {line:?}"))
}

fn nobody_awake() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "no node is awake")
}

const REQUEST_PATIENCE: Duration = Duration::from_secs(20);

/// A dead leader is replaced within 8 s; a restarted follower is in sync after a few.
const PARTITIONS_PATIENCE: Duration = Duration::from_secs(180);
const PARTITIONS_INTERVAL: Duration = Duration::from_millis(20);

/// Ports are taken by somebody else once in a great while; three times in a row means something else.
const PORT_ATTEMPTS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_differ_and_fit_sixteen_bytes() {
        let (one, other) = (cluster_id(), cluster_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 22);
        assert!(one.ends_with('A') && one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
