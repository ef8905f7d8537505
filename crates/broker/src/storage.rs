//! Where a cluster keeps what outlives a request: the catalogue, and a folder of files for each replica of a partition.
//!
//! A [`Segment`] is a row of bytes that grows at its end; it knows nothing of batches. What was appended is there
//! for every later read, and a refused append leaves the length as it was. A [`LogFolder`] holds the segments of one replica, and small
//! files beside them. [`Memory`] keeps batches as they came; [`Directory`] writes them as Kafka has them on disk, by way of a [`Disk`],
//! where every call that changes something can be made to fail. All are synchronous: the cluster has no other thread to wait on.
//!
//! What the files mean is in `log.rs`; when they are fsynced too.

mod directory;
mod disk;
mod folder;
mod kept;
mod memory;
mod open_files;
mod telling;

use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use milena_wire::records::BATCH_HEADER_BYTES;

use crate::catalogue::{Catalogue, CatalogueChange};
use crate::ids::{NodeId, PartitionIndex};

pub use directory::{Directory, DirectoryError};
pub use disk::{Disk, DiskEntry, DiskFile, OpenHow, SystemDisk};
pub use memory::{BoundedMemory, Memory};
pub(crate) use telling::TellingDisk;

/// Keeps a cluster's catalogue and the logs of its nodes. It outlives their processes.
pub trait Storage: Send + fmt::Debug {
    /// Told first, once: how many nodes will keep logs here. Whoever keeps all in one place need not care.
    fn lay_out(&mut self, _nodes: usize) {}

    /// The folder of a node's logs; none in memory.
    fn log_dir(&self, _node: NodeId) -> Option<PathBuf> {
        None
    }

    /// The catalogue as it was saved last; none before the first save.
    fn load_catalogue(&mut self) -> Result<Option<Catalogue>, StorageError>;

    /// Replaces the catalogue, wholly or not at all.
    fn save_catalogue(&mut self, catalogue: &Catalogue) -> Result<(), StorageError>;

    /// Adds changes to the catalogue that was saved last, all of them or none. False asks for the whole one instead.
    fn save_changes(&mut self, _changes: &[CatalogueChange]) -> Result<bool, StorageError> {
        Ok(false)
    }

    /// Makes an empty folder for a new replica. What an unfinished deletion left under that name is gone afterwards.
    fn create_log(&mut self, of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError>;

    /// Opens the folder of a replica that the catalogue names.
    fn open_log(&mut self, of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError>;

    /// Removes a replica that the catalogue does not name any more.
    fn remove_log(&mut self, of: Place<'_>) -> Result<(), StorageError>;

    /// Told last, if at all: every log was closed, so the next opening may believe what they noted.
    fn note_clean_stop(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Which replica a folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The node that keeps it.
    pub node: NodeId,
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: PartitionIndex,
}

/// The files of one replica of a partition.
pub trait LogFolder: Send + fmt::Debug {
    /// Whether the files outlive this value: otherwise nobody will ever open what is only needed for that.
    fn is_lasting(&self) -> bool;

    /// Whether every log was closed before the storage was opened this time.
    fn stopped_cleanly(&self) -> bool {
        false
    }

    /// The same folder for another thread, which opens segments by their names. None where segments are kept by whoever made them: those are
    /// [shared](Segment::shared).
    fn for_thread(&self) -> Option<Box<dyn LogFolder>> {
        None
    }

    /// The files there are.
    fn list(&self) -> Result<Vec<FileEntry>, StorageError>;

    /// Makes an empty segment, in place of one that may be there.
    fn create(&mut self, name: &str) -> Result<Box<dyn Segment>, StorageError>;

    /// Opens a segment.
    fn open(&self, name: &str) -> Result<Box<dyn Segment>, StorageError>;

    /// A small file; none if there is none.
    fn read(&self, name: &str) -> Result<Option<Bytes>, StorageError>;

    /// Writes a small file wholly or not at all: a reader sees the old one or the new one, after a crash of the process too. After one of the
    /// machine only with `durably`.
    fn replace(&mut self, name: &str, content: &[u8], durably: bool) -> Result<(), StorageError>;

    /// Gives a file another name; one that has that name is gone.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Removes a file. One that is gone already is no error.
    fn remove(&mut self, name: &str) -> Result<(), StorageError>;

    /// Makes files that were made, renamed and removed so outlive the machine. Their content is [`Segment::sync`]'s.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// The same by another thread, where that is worth it.
    fn begin_sync(&mut self) -> Result<PendingSync, StorageError> {
        self.sync().map(|()| PendingSync::Done)
    }
}

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// The bytes of one segment of a log.
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

    /// Makes what was appended outlive the machine.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// The same by another thread, where that is worth it.
    fn begin_sync(&mut self) -> Result<PendingSync, StorageError> {
        self.sync().map(|()| PendingSync::Done)
    }

    /// The same bytes, as they are now, for another thread. None where that thread opens the file itself; see [`LogFolder::for_thread`].
    fn shared(&self) -> Option<Box<dyn Segment>> {
        None
    }

    /// The file behind it, if there is one.
    fn path(&self) -> Option<&std::path::Path> {
        None
    }
}

/// An fsync that may still be under way.
#[derive(Debug)]
pub enum PendingSync {
    /// It is over.
    Done,
    /// A thread waits for the disk.
    Thread {
        /// The file.
        path: PathBuf,
        /// What the system says.
        thread: std::thread::JoinHandle<io::Result<()>>,
    },
}

impl PendingSync {
    /// What a disk began.
    fn of(thread: Option<std::thread::JoinHandle<io::Result<()>>>, path: &std::path::Path) -> PendingSync {
        match thread {
            None => PendingSync::Done,
            Some(thread) => PendingSync::Thread { path: path.to_path_buf(), thread },
        }
    }

    /// Whether [`PendingSync::finish`] does not wait.
    pub fn is_over(&self) -> bool {
        match self {
            PendingSync::Done => true,
            PendingSync::Thread { thread, .. } => thread.is_finished(),
        }
    }

    /// Waits for the end, and says how it was.
    pub fn finish(self) -> Result<(), StorageError> {
        match self {
            PendingSync::Done => Ok(()),
            PendingSync::Thread { path, thread } => {
                let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("the syncing thread panicked")));
                ended.map_err(|source| StorageError::Io { action: "sync", path, source })
            }
        }
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
    /// An earlier write or fsync failed and could not be undone, so the end of the file is unknown.
    SegmentBroken {
        /// The file.
        path: PathBuf,
    },
    /// The logs in memory hold all that they may.
    MemoryFull {
        /// How much that is.
        bytes_max: u64,
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
            StorageError::MemoryFull { bytes_max } => write!(
                f,
                "the logs in memory hold all of the {bytes_max} bytes that they may (memory_max, --memory-max); delete topics or \
                 records, let topics keep less (retention.bytes, retention.ms, segment.bytes), or allow more"
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
