//! What can go wrong on the way to a running Kafka.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why Kafka did not start. The text holds what a person needs to mend it, the end of the broker's log included.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Maven did not bring the jars.
    Fetch {
        /// The Kafka version that was asked for.
        version: String,
        /// What Maven printed.
        said: String,
    },
    /// Kafka's storage tool did not format a node's folder.
    Format {
        /// What the tool printed.
        said: String,
    },
    /// A node's process ended while its start was awaited.
    Ended {
        /// The node, counted from 1.
        node: u32,
        /// The last lines of its log.
        log: String,
    },
    /// A node runs, but does not answer as a live member of the cluster.
    NotReady {
        /// The node, counted from 1.
        node: u32,
        /// How long it had.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// A file, folder or program could not be used.
    Io {
        /// What was tried, as a verb.
        verb: &'static str,
        /// On which file, folder or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    /// For `map_err`: what was tried on which path.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_owned(), source }
    }

    /// Whether another process took one of our ports between finding it and binding it; other ports will do.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { log, .. } if log.contains("Address already in use"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch { version, said } => write!(f, "Maven did not bring Kafka {version}:\n{said}"),
            Self::Format { said } => write!(f, "Kafka's storage tool did not format the data folder:\n{said}"),
            Self::Ended { node, log } => write!(f, "Kafka node {node} ended during its start; its log ends:\n{log}"),
            Self::NotReady { node, waited, log } => {
                write!(f, "Kafka node {node} was not ready after {} s; its log ends:\n{log}", waited.as_secs())
            }
            Self::Io { verb, path, source } => write!(f, "cannot {verb} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
