//! A Kafka that stays up after its starter has ended, for work by hand. There is at most one per folder.

use crate::artifacts;
use crate::cluster::{self, Options};
use crate::error::StartError;
use crate::folders;
use crate::java::Java;
use crate::jvm::{Tether, signal};
use crate::node::PROCESS;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What [`up`] found or did.
#[derive(Debug)]
pub struct Standing {
    /// The addresses of all nodes, joined by commas.
    pub bootstrap_servers: String,
    /// Whether it was there already.
    pub was_up: bool,
}

/// The usual folder for data and logs, below the target folder.
pub fn folder() -> PathBuf {
    folders::home().join("standing")
}

/// Starts a Kafka that stays up until [`down`], or finds the one that is up in this folder.
pub fn up(folder: &Path, options: Options) -> Result<Standing, StartError> {
    let java = Java::of_version(artifacts::jars(&options.version)?);
    let addresses = folder.join("bootstrap-servers");
    if let Ok(bootstrap_servers) = fs::read_to_string(&addresses)
        && !processes(folder).is_empty()
    {
        return Ok(Standing { bootstrap_servers, was_up: true });
    }
    // Left-overs of one that was interrupted while it started, or ended with the machine.
    down(folder)?;
    fs::create_dir_all(folder).map_err(StartError::io("create", folder))?;
    let nodes = match cluster::start_nodes(&options, folder, &java, Tether::None) {
        Ok(nodes) => nodes,
        Err(error) => {
            down(folder)?;
            return Err(error);
        }
    };
    let bootstrap_servers = cluster::bootstrap_servers(&nodes);
    fs::write(&addresses, &bootstrap_servers).map_err(StartError::io("write", &addresses))?;
    Ok(Standing { bootstrap_servers, was_up: false })
}

/// Kills the standing Kafka and deletes its data; says whether there was one.
pub fn down(folder: &Path) -> Result<bool, StartError> {
    if !folder.exists() {
        return Ok(false);
    }
    for process in processes(folder) {
        signal(process, "KILL").map_err(StartError::io("kill a process of", folder))?;
        await_end(process, folder)?;
    }
    fs::remove_dir_all(folder).map_err(StartError::io("remove", folder))?;
    Ok(true)
}

/// The processes that were started for `folder` and are alive.
fn processes(folder: &Path) -> Vec<u32> {
    let Ok(nodes) = fs::read_dir(folder) else { return Vec::new() };
    let noted = nodes.flatten().filter_map(|node| fs::read_to_string(node.path().join(PROCESS)).ok()?.parse().ok());
    noted.filter(|&process| runs_in(process, folder)).collect()
}

/// Whether the process is still the one that was noted and not another with its number: its command line names the folder.
fn runs_in(process: u32, folder: &Path) -> bool {
    let command_line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command_line).contains(&*folder.to_string_lossy())
}

/// Not always our child, so its end can only be asked for.
fn await_end(process: u32, folder: &Path) -> Result<(), StartError> {
    let deadline = Instant::now() + END_PATIENCE;
    while !has_ended(process) {
        if Instant::now() >= deadline {
            let source = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("process {process} lives"));
            return Err(StartError::Io { verb: "end Kafka in", path: folder.to_owned(), source });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether all threads are gone, and with them the sockets. Nobody may have asked a dead process for its result yet; it
/// then stays as a zombie, as its first thread also does while others are still ending.
fn has_ended(process: u32) -> bool {
    let Ok(state) = fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    let is_zombie = state.rsplit(") ").next().is_some_and(|after_name| after_name.starts_with('Z'));
    let threads = fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
    is_zombie && threads <= 1
}

/// A killed process goes as soon as the kernel has freed its memory.
const END_PATIENCE: Duration = Duration::from_secs(20);
