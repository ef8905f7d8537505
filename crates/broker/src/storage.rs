//! Where a cluster keeps what outlives a request: the catalogue, and one file of raw batches per replica of a partition.
//!
//! A [`Segment`] is a row of bytes that grows at its end; it knows nothing of batches. What was appended is there
//! for every later read, and a refused append leaves the length as it was. [`Memory`] keeps batches as they came;
//! [`Directory`] writes them as Kafka has them on disk. Both are synchronous: the cluster has no other thread to wait on.
//!
//! Nothing is fsynced but the catalogue: like Kafka's default, a batch survives the process, not the machine.

mod directory;
mod memory;

use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use milena_wire::records::BATCH_HEADER_BYTES;

use crate::catalogue::Catalogue;
use crate::ids::{NodeId, PartitionIndex};

pub use directory::{Directory, DirectoryError};
pub use memory::Memory;

/// Keeps a cluster's catalogue and the logs of its nodes. It outlives their processes.
pub trait Storage: Send + fmt::Debug {
    /// Told first, once: how many nodes will keep segments here. Whoever keeps all in one place need not care.
    fn lay_out(&mut self, _nodes: usize) {}

    /// The catalogue as it was saved last; none before the first save.
    fn load_catalogue(&mut self) -> Result<Option<Catalogue>, StorageError>;

    /// Replaces the catalogue, wholly or not at all.
    fn save_catalogue(&mut self, catalogue: &Catalogue) -> Result<(), StorageError>;

    /// Makes an empty segment for a new replica. What an unfinished deletion left under that name is gone afterwards.
    fn create_segment(&mut self, of: Place<'_>) -> Result<Box<dyn Segment>, StorageError>;

    /// Opens the segment of a replica that the catalogue names.
    fn open_segment(&mut self, of: Place<'_>) -> Result<Box<dyn Segment>, StorageError>;

    /// Removes a replica that the catalogue does not name any more.
    fn remove_segment(&mut self, of: Place<'_>) -> Result<(), StorageError>;
}

/// Which replica a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The node that keeps it.
    pub node: NodeId,
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionIndex,
}

/// The bytes of one replica of a partition.
pub trait Segment: Send + fmt::Debug {
    /// Bytes held.
    fn len(&self) -> u64;

    /// Whether nothing is held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one batch, given in two pieces so that a stamped header needs no copy of the records.
    fn append(&mut self, header: &[u8], records: &Bytes) -> Result<(), StorageError>;

    /// Adds one batch as another replica has it. Worth its own way where the bytes can be shared.
    fn append_whole(&mut self, batch: Bytes) -> Result<(), StorageError> {
        let records = batch.slice(BATCH_HEADER_BYTES..);
        self.append(&batch[..BATCH_HEADER_BYTES], &records)
    }

    /// Reads `size` bytes from `position`; both lie within [`Segment::len`].
    fn read(&self, position: u64, size: usize) -> Result<Bytes, StorageError>;

    /// Drops everything from `len` on.
    fn truncate(&mut self, len: u64) -> Result<(), StorageError>;

    /// The file behind it, if there is one.
    fn path(&self) -> Option<&std::path::Path> {
        None
    }
}

/// A file operation that went wrong. Clients see KAFKA_STORAGE_ERROR.
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused.
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The catalogue file is not one of ours.
    BadCatalogue {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There are partition folders, but no catalogue that says what they are.
    CatalogueMissing {
        /// The data directory.
        path: PathBuf,
    },
    /// A batch in the middle of a log is damaged: no crash leaves that behind.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the batch starts.
        at: u64,
        /// What is wrong with it.
        why: String,
    },
    /// An earlier write failed and could not be undone, so the end of the file is unknown.
    SegmentBroken {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Io { action, path, source } => write!(f, "{action} {}: {source}", path.display()),
            StorageError::BadCatalogue { path, line, what } => {
                write!(f, "{} line {line}: {what}; restore the file or use another data directory", path.display())
            }
            StorageError::CatalogueMissing { path } => write!(
                f,
                "{} holds partitions but no catalogue file; restore it or use another data directory",
                path.display()
            ),
            StorageError::Damaged { path, at, why } => write!(
                f,
                "{} is damaged at position {at}, with whole batches behind it: {why}; nothing was changed. Restore the file, or \
                 cut it there to lose what follows",
                path.display()
            ),
            StorageError::SegmentBroken { path } => write!(
                f,
                "{} could not be restored after a failed write; restart the broker to recover it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StorageError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
