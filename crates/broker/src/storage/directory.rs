//! Storage in a folder: raw batches as on Kafka's disk, a catalogue, a lock, and the address while serving.
//!
//! `DIR/.lock` is locked by the one process that writes. `DIR/catalogue` is replaced by rename, so it is always whole.
//! `DIR/TOPIC-N/00000000000000000000.log` holds the batches of partition N; in a cluster of several nodes,
//! `DIR/node-ID/TOPIC-N/00000000000000000000.log` those of one node. `DIR/address` says where the owner's first node serves;
//! without the lock it means nothing.
//! The catalogue is the truth about topics: it is saved after a topic's files are made and before they are removed, so a folder
//! that it does not name is what a crash left of a creation or a deletion.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::{error, fmt};

use bytes::{Bytes, BytesMut};

use super::{Place, Segment, Storage, StorageError};
use crate::catalogue::Catalogue;
use crate::ids::{NodeId, PartitionIndex};

/// A data directory, owned: the lock is held until this is dropped.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Whether each node has a folder of its own: in clusters of more than one.
    has_node_folders: bool,
    /// Never read; closing it releases the lock.
    _lock: File,
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

impl Directory {
    /// Makes the folder if need be and takes its lock.
    pub fn open(root: &Path) -> Result<Directory, DirectoryError> {
        let lock = lock_file(root).map_err(DirectoryError::Storage)?;
        match lock.try_lock() {
            Ok(()) => {
                remove_address(root);
                Ok(Directory { root: root.to_path_buf(), has_node_folders: false, _lock: lock })
            }
            Err(TryLockError::WouldBlock) => {
                Err(DirectoryError::InUse { path: root.to_path_buf(), address: read_address(root) })
            }
            Err(TryLockError::Error(source)) => {
                Err(DirectoryError::Storage(StorageError::Io { action: "lock", path: root.join(LOCK_FILE), source }))
            }
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Says where the owner serves.
    pub fn publish_address(&self, address: &str) -> Result<(), StorageError> {
        replace(&self.root.join(ADDRESS_FILE), format!("{address}\n").as_bytes(), File::flush)
    }

    fn segment_file(&self, of: Place<'_>) -> PathBuf {
        self.home(of.node).join(format!("{}-{}", of.topic, of.partition)).join(SEGMENT_FILE)
    }

    /// Where a node keeps its partitions.
    fn home(&self, node: NodeId) -> PathBuf {
        if self.has_node_folders { self.root.join(format!("{NODE_FOLDER}{node}")) } else { self.root.clone() }
    }

    /// The nodes that have partitions here; any one where they do not have folders of their own.
    fn nodes(&self) -> Result<Vec<NodeId>, StorageError> {
        if !self.has_node_folders {
            return Ok(vec![NodeId(0)]);
        }
        let names = folder_names(&self.root)?;
        let mut nodes: Vec<_> = names.iter().filter_map(|name| name.strip_prefix(NODE_FOLDER)?.parse().ok()).collect();
        nodes.sort_unstable();
        Ok(nodes.into_iter().map(NodeId).collect())
    }

    /// Folders that look like a node's partitions: a name with `-N` at its end, and a segment file inside.
    fn partition_folders(&self, node: NodeId) -> Result<Vec<(String, PartitionIndex)>, StorageError> {
        let home = self.home(node);
        let mut found = Vec::new();
        for name in folder_names(&home)? {
            let Some((topic, index)) = name.rsplit_once('-') else { continue };
            let Ok(index) = index.parse::<i32>() else { continue };
            let ours = format!("{topic}-{index}") == name && home.join(&name).join(SEGMENT_FILE).is_file();
            if ours {
                found.push((topic.to_owned(), PartitionIndex(index)));
            }
        }
        found.sort();
        Ok(found)
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
                    self.remove_segment(Place { node, topic: &topic, partition })?;
                }
            }
        }
        Ok(())
    }
}

impl Storage for Directory {
    fn lay_out(&mut self, nodes: usize) {
        self.has_node_folders = nodes > 1;
    }

    fn load_catalogue(&mut self) -> Result<Option<Catalogue>, StorageError> {
        let path = self.root.join(CATALOGUE_FILE);
        let catalogue = match fs::read_to_string(&path) {
            Ok(text) => {
                let parsed = Catalogue::parse(&text);
                Some(parsed.map_err(|bad| StorageError::BadCatalogue { path, line: bad.line, what: bad.what })?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        self.remove_unnamed(catalogue.as_ref())?;
        Ok(catalogue)
    }

    fn save_catalogue(&mut self, catalogue: &Catalogue) -> Result<(), StorageError> {
        replace(&self.root.join(CATALOGUE_FILE), catalogue.to_string().as_bytes(), |file| file.sync_all())
    }

    fn create_segment(&mut self, of: Place<'_>) -> Result<Box<dyn Segment>, StorageError> {
        let path = self.segment_file(of);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        FileSegment::boxed(file.map_err(io_error("create", &path))?, path)
    }

    fn open_segment(&mut self, of: Place<'_>) -> Result<Box<dyn Segment>, StorageError> {
        let path = self.segment_file(of);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io_error("open", &path))?;
        FileSegment::boxed(file, path)
    }

    fn remove_segment(&mut self, of: Place<'_>) -> Result<(), StorageError> {
        let path = self.segment_file(of);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
        match path.parent() {
            Some(folder) => fs::remove_dir(folder).map_err(io_error("remove", folder)),
            None => Ok(()),
        }
    }
}

impl Drop for Directory {
    /// The address goes before the lock does, so nobody finds an address of the past under a held lock.
    fn drop(&mut self) {
        remove_address(&self.root);
    }
}

/// One file of batches. The position of the next write is kept here, because a failed one moves the file's own.
#[derive(Debug)]
struct FileSegment {
    file: File,
    path: PathBuf,
    len: u64,
    /// Set when a failed append could not be cut off again; nothing is written from then on.
    broken: bool,
}

impl FileSegment {
    fn boxed(file: File, path: PathBuf) -> Result<Box<dyn Segment>, StorageError> {
        let len = file.metadata().map_err(io_error("read", &path))?.len();
        Ok(Box::new(FileSegment { file, path, len, broken: false }))
    }

    fn write(&self, header: &[u8], records: &[u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.len))?;
        let written = file.write_vectored(&[IoSlice::new(header), IoSlice::new(records)])?;
        match written.checked_sub(header.len()) {
            Some(of_records) => file.write_all(&records[of_records..]),
            None => {
                file.write_all(&header[written..])?;
                file.write_all(records)
            }
        }
    }
}

impl Segment for FileSegment {
    fn len(&self) -> u64 {
        self.len
    }

    fn append(&mut self, header: &[u8], records: &Bytes) -> Result<(), StorageError> {
        if self.broken {
            return Err(StorageError::SegmentBroken { path: self.path.clone() });
        }
        if let Err(error) = self.write(header, records) {
            self.broken = self.file.set_len(self.len).is_err();
            return Err(io_error("write", &self.path)(error));
        }
        self.len += (header.len() + records.len()) as u64;
        Ok(())
    }

    fn read(&self, position: u64, size: usize) -> Result<Bytes, StorageError> {
        let mut file = &self.file;
        let mut bytes = BytesMut::zeroed(size);
        file.seek(SeekFrom::Start(position))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(io_error("read", &self.path))?;
        Ok(bytes.freeze())
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        self.file.set_len(len).map_err(io_error("truncate", &self.path))?;
        self.len = len;
        Ok(())
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

fn folder_names(folder: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error("list", folder))? {
        let entry = entry.map_err(io_error("list", folder))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
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

/// Writes aside, then renames: a reader sees the old file or the new one; `settle` decides whether a crash of the machine does too.
fn replace(path: &Path, content: &[u8], settle: fn(&mut File) -> io::Result<()>) -> Result<(), StorageError> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside).map_err(io_error("create", &aside))?;
    file.write_all(content).map_err(io_error("write", &aside))?;
    settle(&mut file).map_err(io_error("sync", &aside))?;
    fs::rename(&aside, path).map_err(io_error("rename", &aside))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

const LOCK_FILE: &str = ".lock";
const CATALOGUE_FILE: &str = "catalogue";
const NODE_FOLDER: &str = "node-";
const ADDRESS_FILE: &str = "address";
/// Kafka names a segment by its first offset; there is one, from 0.
const SEGMENT_FILE: &str = "00000000000000000000.log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_whose_failed_write_cannot_be_undone_takes_no_more() {
        let path = std::env::temp_dir().join(format!("milena-broker-segment-{}", std::process::id()));
        fs::write(&path, b"kept").expect("there is room");
        // A handle that may only be read refuses the write, and the cut after it.
        let file = File::open(&path).expect("it was written");
        let mut segment = FileSegment::boxed(file, path.clone()).expect("it has a length");
        let records = Bytes::from_static(b"records");
        assert!(matches!(segment.append(b"header", &records), Err(StorageError::Io { action: "write", .. })));
        assert!(matches!(segment.append(b"header", &records), Err(StorageError::SegmentBroken { .. })));
        assert_eq!(segment.len(), 4);
        assert_eq!(segment.read(0, 4).expect("reading goes on"), &b"kept"[..]);
        fs::remove_file(path).expect("it was written");
    }
}
