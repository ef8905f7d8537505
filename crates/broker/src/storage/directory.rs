//! Storage in a folder: raw batches as on Kafka's disk, a catalogue, a lock, and the address while serving.
//!
//! `DIR/.lock` is locked by the one process that writes. `DIR/catalogue` is in `storage/kept.rs`.
//! `DIR/TOPIC-N/` holds the files of partition N, in a cluster of several nodes `DIR/node-ID/TOPIC-N/` those of one node; what they are is in
//! `log/files.rs`. `DIR/clean-stop` is there between a clean stop and the next start. `DIR/address` says where the owner's first node serves;
//! without the lock it means nothing.
//! The catalogue is the truth about topics: it is saved after a topic's files are made and before they are removed, so a folder
//! that it does not name is what a crash left of a creation or a deletion.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{error, fmt};

use super::disk::{Disk, OpenHow, SystemDisk};
use super::folder::{ASIDE, DiskFolder, io_error, replace};
use super::kept::KeptCatalogue;
use super::open_files::OpenFiles;
use super::{LogFolder, Place, Storage, StorageError};
use crate::catalogue::{Catalogue, CatalogueChange};
use crate::ids::{NodeId, PartitionIndex};
use crate::log::is_log_file;

/// A data directory, owned: the lock is held until this is dropped.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Whether each node has a folder of its own: in clusters of more than one.
    has_node_folders: bool,
    /// Whether the broker before this one closed every log.
    stopped_cleanly: bool,
    catalogue: KeptCatalogue,
    files: Arc<OpenFiles>,
    /// Closing it releases the lock. None on a disk that is not the machine's.
    lock: Option<File>,
    /// What the last owner left as its address; put back if the logs cannot be opened.
    former_address: Option<String>,
    /// Whether the logs were opened.
    is_opened: bool,
}

/// Why a data directory cannot be owned.
#[derive(Debug)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another broker owns it.
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Where that broker serves; none while it is still starting.
        address: Option<String>,
    },
    /// It cannot be made, or its lock cannot be taken.
    Storage(StorageError),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::InUse { path, address: Some(address) } => write!(
                f,
                "data directory {} is in use by a broker at {address}; connect to it or use another directory",
                path.display()
            ),
            DirectoryError::InUse { path, address: None } => write!(
                f,
                "data directory {} is in use by a broker that does not serve yet; try again or use another directory",
                path.display()
            ),
            DirectoryError::Storage(error) => error.fmt(f),
        }
    }
}

impl error::Error for DirectoryError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            DirectoryError::InUse { .. } => None,
            DirectoryError::Storage(error) => Some(error),
        }
    }
}

/// Waits a moment for an owner that says no address: it begins or ends, or it is none. A process that this one starts has the lock of every
/// directory that is open here, between its fork and its exec.
fn take(lock: &File, root: &Path) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if read_address(root).is_none() && begun.elapsed() < OWNERLESS_MAX => {
                std::thread::sleep(OWNERLESS_MAX / 50);
            }
            end => return end,
        }
    }
}

/// How long a lock may be held by nobody who can be named.
const OWNERLESS_MAX: Duration = Duration::from_millis(250);

impl Directory {
    /// Makes the folder if need be and takes its lock.
    pub fn open(root: &Path) -> Result<Directory, DirectoryError> {
        Directory::open_by(Arc::new(SystemDisk), root)
    }

    /// The same with somebody between it and the machine's disk.
    pub(crate) fn open_by(disk: Arc<dyn Disk>, root: &Path) -> Result<Directory, DirectoryError> {
        let lock = lock_file(root).map_err(DirectoryError::Storage)?;
        match take(&lock, root) {
            Ok(()) => {
                let former_address = read_address(root);
                remove_address(root);
                let mut directory = Directory::on(disk, root);
                (directory.lock, directory.former_address) = (Some(lock), former_address);
                Ok(directory)
            }
            Err(TryLockError::WouldBlock) => {
                Err(DirectoryError::InUse { path: root.to_path_buf(), address: read_address(root) })
            }
            Err(TryLockError::Error(source)) => {
                Err(DirectoryError::Storage(StorageError::Io { action: "lock", path: root.join(LOCK_FILE), source }))
            }
        }
    }

    /// A folder on another disk than the machine's, without a lock: for tests that want the disk to fail.
    pub fn on(disk: Arc<dyn Disk>, root: &Path) -> Directory {
        Directory {
            root: root.to_path_buf(),
            files: Arc::new(OpenFiles::of(Arc::clone(&disk))),
            catalogue: KeptCatalogue::in_folder(Arc::clone(&disk), root.to_path_buf()),
            disk,
            has_node_folders: false,
            stopped_cleanly: false,
            lock: None,
            former_address: None,
            is_opened: false,
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Says where the owner serves.
    pub fn publish_address(&self, address: &str) -> Result<(), StorageError> {
        replace(&*self.disk, &self.root.join(ADDRESS_FILE), format!("{address}\n").as_bytes(), false)
    }

    fn folder(&self, of: Place<'_>) -> PathBuf {
        self.home(of.node).join(format!("{}-{}", of.topic, of.partition))
    }

    /// Where a node keeps its partitions.
    fn home(&self, node: NodeId) -> PathBuf {
        if self.has_node_folders { self.root.join(format!("{NODE_FOLDER}{node}")) } else { self.root.clone() }
    }

    /// The names of the folders in a folder; none where there is no such folder.
    fn folder_names(&self, folder: &Path) -> Result<Vec<String>, StorageError> {
        match self.disk.list(folder) {
            Ok(entries) => Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(io_error("list", folder)(error)),
        }
    }

    /// The nodes that have partitions here; any one where they do not have folders of their own.
    fn nodes(&self) -> Result<Vec<NodeId>, StorageError> {
        if !self.has_node_folders {
            return Ok(vec![NodeId(0)]);
        }
        let names = self.folder_names(&self.root)?;
        let mut nodes: Vec<_> = names.iter().filter_map(|name| name.strip_prefix(NODE_FOLDER)?.parse().ok()).collect();
        nodes.sort_unstable();
        Ok(nodes.into_iter().map(NodeId).collect())
    }

    /// Folders that look like a node's partitions: a name with `-N` at its end, and a file of a log inside.
    fn partition_folders(&self, node: NodeId) -> Result<Vec<(String, PartitionIndex)>, StorageError> {
        let home = self.home(node);
        let mut found = Vec::new();
        for name in self.folder_names(&home)? {
            let Some((topic, index)) = name.rsplit_once('-') else { continue };
            let Ok(index) = index.parse::<i32>() else { continue };
            if format!("{topic}-{index}") == name && !self.files_in(&home.join(&name))?.is_empty() {
                found.push((topic.to_owned(), PartitionIndex(index)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The files in a folder that this broker writes, the batches last: as long as any are there, the rest is too.
    fn files_in(&self, folder: &Path) -> Result<Vec<String>, StorageError> {
        let entries = self.disk.list(folder).map_err(io_error("list", folder))?;
        let files = entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name);
        let mut ours: Vec<_> = files.filter(|name| is_log_file(name.strip_suffix(ASIDE).unwrap_or(name))).collect();
        ours.sort_by_key(|name| (name.ends_with(".log"), name.clone()));
        Ok(ours)
    }

    /// Removes what this broker wrote. Where somebody else put something beside it, the folder stays with that.
    fn empty(&self, folder: &Path) -> Result<(), StorageError> {
        for name in self.files_in(folder)? {
            let path = folder.join(name);
            self.disk.remove_file(&path).map_err(io_error("remove", &path))?;
        }
        Ok(())
    }

    /// Finishes what a crash left undone. Only files that this broker writes are removed.
    fn remove_unnamed(&mut self, catalogue: Option<&Catalogue>) -> Result<(), StorageError> {
        for node in self.nodes()? {
            let folders = self.partition_folders(node)?;
            if catalogue.is_none() && !folders.is_empty() {
                return Err(StorageError::CatalogueMissing { path: self.root.clone() });
            }
            for (topic, partition) in folders {
                let entry = catalogue.and_then(|catalogue| catalogue.topics.get(&topic));
                let named = entry.is_some_and(|entry| entry.has_replica(partition, node));
                if !named {
                    self.remove_log(Place { node, topic: &topic, partition })?;
                }
            }
        }
        Ok(())
    }

    /// From here on a crash leaves no sign of a clean stop.
    fn take_clean_stop(&mut self) -> Result<(), StorageError> {
        let path = self.root.join(CLEAN_STOP_FILE);
        match self.disk.remove_file(&path) {
            Ok(()) => self.stopped_cleanly = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.stopped_cleanly = false,
            Err(error) => return Err(io_error("remove", &path)(error)),
        }
        Ok(())
    }

    fn sync_root(&self) -> Result<(), StorageError> {
        self.disk.sync_dir(&self.root).map_err(io_error("sync", &self.root))
    }

    fn boxed(&self, path: PathBuf) -> Box<dyn LogFolder> {
        let (disk, files) = (Arc::clone(&self.disk), Arc::clone(&self.files));
        Box::new(DiskFolder { disk, files, path, stopped_cleanly: self.stopped_cleanly })
    }
}

impl Storage for Directory {
    fn log_dir(&self, node: NodeId) -> Option<PathBuf> {
        Some(self.home(node))
    }

    fn lay_out(&mut self, nodes: usize) {
        self.has_node_folders = nodes > 1;
    }

    fn load_catalogue(&mut self) -> Result<Option<Catalogue>, StorageError> {
        let catalogue = self.catalogue.load()?;
        self.remove_unnamed(catalogue.as_ref())?;
        self.take_clean_stop()?;
        Ok(catalogue)
    }

    fn save_catalogue(&mut self, catalogue: &Catalogue) -> Result<(), StorageError> {
        // An opening ends with it.
        self.is_opened = true;
        self.catalogue.save(catalogue)
    }

    fn save_changes(&mut self, changes: &[CatalogueChange]) -> Result<bool, StorageError> {
        self.catalogue.add(changes)
    }

    fn create_log(&mut self, of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError> {
        let folder = self.folder(of);
        self.disk.create_dir(&folder).map_err(io_error("create", &folder))?;
        self.empty(&folder)?;
        Ok(self.boxed(folder))
    }

    /// A folder that is missing is made, as Kafka does: a machine that lost power may have forgotten one in which nothing was fsynced.
    fn open_log(&mut self, of: Place<'_>) -> Result<Box<dyn LogFolder>, StorageError> {
        let folder = self.folder(of);
        self.disk.create_dir(&folder).map_err(io_error("create", &folder))?;
        Ok(self.boxed(folder))
    }

    fn remove_log(&mut self, of: Place<'_>) -> Result<(), StorageError> {
        let folder = self.folder(of);
        self.empty(&folder)?;
        match self.disk.remove_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(io_error("remove", &folder)(error)),
            _ => Ok(()),
        }
    }

    fn note_clean_stop(&mut self) -> Result<(), StorageError> {
        let path = self.root.join(CLEAN_STOP_FILE);
        self.disk.open(&path, OpenHow::Empty).map_err(io_error("create", &path))?;
        self.sync_root()
    }
}

impl Drop for Directory {
    /// The address goes before the lock does, so nobody finds an address of the past under a held lock. Who could not open the logs leaves what
    /// was there.
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        match self.former_address.take().filter(|_| !self.is_opened) {
            Some(former) => {
                let _means_nothing_without_the_lock = self.publish_address(&former);
            }
            None => remove_address(&self.root),
        }
    }
}

fn lock_file(root: &Path) -> Result<File, StorageError> {
    fs::create_dir_all(root).map_err(io_error("create", root))?;
    let path = root.join(LOCK_FILE);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    file.map_err(io_error("open", &path))
}

fn read_address(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(ADDRESS_FILE)).ok()?;
    let address = text.trim();
    (!address.is_empty()).then(|| address.to_owned())
}

/// An address that cannot be removed is stale, and those are ignored: the lock is free.
fn remove_address(root: &Path) {
    let _gone_or_stale = fs::remove_file(root.join(ADDRESS_FILE));
}

const LOCK_FILE: &str = ".lock";
const CLEAN_STOP_FILE: &str = "clean-stop";
const NODE_FOLDER: &str = "node-";
const ADDRESS_FILE: &str = "address";
