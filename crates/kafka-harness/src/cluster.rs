//! A cluster that lives as long as the value that holds it.

use crate::artifacts;
use crate::dump::{self, DumpedRecord};
use crate::error::StartError;
use crate::folders::{self, RunFolder};
use crate::java::Java;
use crate::jvm::Tether;
use crate::node::{Node, free_ports};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Which Kafka to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// A version that Maven has.
    pub version: String,
    /// How many nodes; each is a broker and a controller. From three on, topics have three replicas by default, of which
    /// two must be in sync.
    pub nodes: u32,
}

impl Default for Options {
    /// One node of the version that everything here is tested with.
    fn default() -> Self {
        Self { version: "4.3.1".to_owned(), nodes: 1 }
    }
}

/// A running Kafka: ready when it exists, gone with its data when dropped, and killed when this process dies.
///
/// Topics are never created by being asked for. The data is below the target folder.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    java: Java,
    /// After the nodes: dropped when they are dead.
    _folder: RunFolder,
}

impl Kafka {
    /// Fetches the jars if need be, formats, starts, and waits until every node lists all nodes as live brokers.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let java = Java::of_version(artifacts::jars(&options.version)?);
        let mut attempt = 1;
        loop {
            let home = folders::home();
            let folder = RunFolder::create(&home).map_err(StartError::io("create a folder in", &home))?;
            match start_nodes(options.nodes, folder.path(), &java, Tether::Owner) {
                Ok(nodes) => return Ok(Self { nodes, java, _folder: folder }),
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The addresses of all nodes, joined by commas, as clients want them.
    pub fn bootstrap_servers(&self) -> String {
        bootstrap_servers(&self.nodes)
    }

    /// A node by its `node.id`, counted from 1.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&mut self, id: u32) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("a node of this cluster is asked for")
    }

    /// A call of Java with Kafka's classpath, not yet started: add a class, or the path of a single-file program, then its
    /// arguments.
    pub fn java(&self) -> Command {
        self.java.command()
    }

    /// Every record of a topic as Java's own consumer reads it, from the beginning to the end at this moment; in order
    /// within a partition.
    pub fn dump_records(&self, topic: &str) -> io::Result<Vec<DumpedRecord>> {
        let output = self.java().arg(dump::program()).args([&self.bootstrap_servers(), topic]).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("DumpRecords: {}", String::from_utf8_lossy(&output.stderr))));
        }
        let records = String::from_utf8_lossy(&output.stdout);
        let parsed = records.lines().map(|line| DumpedRecord::parse(line).ok_or_else(|| not_a_record(line)));
        parsed.collect()
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
pub(crate) fn start_nodes(count: u32, folder: &Path, java: &Java, tether: Tether) -> Result<Vec<Node>, StartError> {
    let ports = free_ports(count).map_err(StartError::io("find free ports for", folder))?;
    let nodes: Result<Vec<Node>, StartError> =
        (1..=count).map(|id| Node::create(id, &ports, folder, java, tether)).collect();
    let mut nodes = nodes?;
    format(&nodes, &cluster_id())?;
    for node in &mut nodes {
        node.launch()?;
    }
    let everybody: Vec<i32> = nodes.iter().map(Node::broker_id).collect();
    for node in &mut nodes {
        node.await_brokers(|live| live == everybody)?;
    }
    Ok(nodes)
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
