//! A replica's folder on a disk, and the files in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk::{Disk, DiskFile, OpenHow};
use super::open_files::{FileId, OpenFiles};
use super::{FileEntry, LogFolder, PendingSync, Segment, StorageError};

/// A folder that exists.
#[derive(Clone, Debug)]
pub(super) struct DiskFolder {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Arc<OpenFiles>,
    pub(super) path: PathBuf,
    pub(super) stopped_cleanly: bool,
}

impl DiskFolder {
    fn segment(&self, name: &str, how: OpenHow) -> Result<Box<dyn Segment>, StorageError> {
        let path = self.path.join(name);
        let action = if how == OpenHow::Empty { "create" } else { "open" };
        let file = self.disk.open(&path, how).map_err(io_error(action, &path))?;
        FileSegment::boxed(file, path, Arc::clone(&self.files))
    }
}

impl LogFolder for DiskFolder {
    fn is_lasting(&self) -> bool {
        true
    }

    fn stopped_cleanly(&self) -> bool {
        self.stopped_cleanly
    }

    fn for_thread(&self) -> Option<Box<dyn LogFolder>> {
        Some(Box::new(self.clone()))
    }

    fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        let entries = self.disk.list(&self.path).map_err(io_error("list", &self.path))?;
        let files = entries.into_iter().filter(|entry| !entry.is_dir);
        Ok(files.map(|entry| FileEntry { name: entry.name, bytes: entry.bytes }).collect())
    }

    fn create(&mut self, name: &str) -> Result<Box<dyn Segment>, StorageError> {
        self.segment(name, OpenHow::Empty)
    }

    fn open(&self, name: &str) -> Result<Box<dyn Segment>, StorageError> {
        self.segment(name, OpenHow::Existing)
    }

    fn read(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        read_file(&*self.disk, &self.path.join(name)).map(|content| content.map(Bytes::from))
    }

    fn replace(&mut self, name: &str, content: &[u8], durably: bool) -> Result<(), StorageError> {
        replace(&*self.disk, &self.path.join(name), content, durably)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), StorageError> {
        let from = self.path.join(from);
        self.disk.rename(&from, &self.path.join(to)).map_err(io_error("rename", &from))
    }

    fn remove(&mut self, name: &str) -> Result<(), StorageError> {
        let path = self.path.join(name);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.disk.sync_dir(&self.path).map_err(io_error("sync", &self.path))
    }

    fn begin_sync(&mut self) -> Result<PendingSync, StorageError> {
        let begun = self.disk.begin_sync_dir(&self.path).map_err(io_error("sync", &self.path))?;
        Ok(PendingSync::of(begun, &self.path))
    }
}

/// One file of batches. The position of the next write is kept here, because a failed one leaves any length behind.
#[derive(Debug)]
struct FileSegment {
    files: Arc<OpenFiles>,
    file: FileId,
    path: PathBuf,
    len: u64,
    /// Set when a failed append could not be cut off again, and when an fsync failed, because nobody knows then what the disk has; nothing is
    /// written from then on.
    broken: bool,
}

impl FileSegment {
    fn boxed(file: Box<dyn DiskFile>, path: PathBuf, files: Arc<OpenFiles>) -> Result<Box<dyn Segment>, StorageError> {
        let len = file.len().map_err(io_error("read", &path))?;
        let file = files.keep(file);
        Ok(Box::new(FileSegment { files, file, path, len, broken: false }))
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.broken { Err(StorageError::SegmentBroken { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Does something with the file, which is opened for that if need be.
    fn using<T>(&self, act: impl FnOnce(&mut dyn DiskFile) -> T) -> Result<T, StorageError> {
        let mut file = self.files.take(self.file, &self.path).map_err(io_error("open", &self.path))?;
        let done = act(&mut *file);
        self.files.give_back(self.file, file);
        Ok(done)
    }

    fn note_sync<T>(&mut self, synced: io::Result<T>) -> Result<T, StorageError> {
        self.broken |= synced.is_err();
        synced.map_err(io_error("sync", &self.path))
    }
}

impl Drop for FileSegment {
    fn drop(&mut self) {
        self.files.forget(self.file);
    }
}

impl Segment for FileSegment {
    fn len(&self) -> u64 {
        self.len
    }

    fn append(&mut self, header: &[u8], records: &Bytes) -> Result<(), StorageError> {
        self.check()?;
        let (len, mut broken) = (self.len, false);
        let written = self.using(|file| {
            let written = file.write(len, [header, records]);
            broken = written.is_err() && file.set_len(len).is_err();
            written
        })?;
        self.broken = broken;
        written.map_err(io_error("write", &self.path))?;
        self.len += (header.len() + records.len()) as u64;
        Ok(())
    }

    fn read(&self, position: u64, size: usize) -> Result<Bytes, StorageError> {
        // A header that was damaged on the disk may ask for gigabytes.
        if position.checked_add(size as u64).is_none_or(|end| end > self.len) {
            return Err(io_error("read", &self.path)(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut bytes = BytesMut::zeroed(size);
        self.using(|file| file.read(position, &mut bytes))?.map_err(io_error("read", &self.path))?;
        Ok(bytes.freeze())
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        self.using(|file| file.set_len(len))?.map_err(io_error("truncate", &self.path))?;
        self.len = len;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.check()?;
        let synced = self.using(|file| file.sync())?;
        self.note_sync(synced)
    }

    fn begin_sync(&mut self) -> Result<PendingSync, StorageError> {
        self.check()?;
        let begun = self.using(|file| file.begin_sync())?;
        Ok(PendingSync::of(self.note_sync(begun)?, &self.path))
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// A whole file; none if there is none.
pub(super) fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match disk.open(path, OpenHow::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let read = || {
        let mut content = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read(0, &mut content)?;
        Ok(Some(content))
    };
    read().map_err(io_error("read", path))
}

/// Writes aside, then renames. The name itself outlives the machine once the folder is synced.
pub(super) fn replace(disk: &dyn Disk, path: &Path, content: &[u8], durably: bool) -> Result<(), StorageError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    let mut file = disk.open(&aside, OpenHow::Empty).map_err(io_error("create", &aside))?;
    file.write(0, [content, &[]]).map_err(io_error("write", &aside))?;
    if durably {
        file.sync().map_err(io_error("sync", &aside))?;
    }
    drop(file);
    disk.rename(&aside, path).map_err(io_error("rename", &aside))
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

/// What a file is called until it is whole.
pub(super) const ASIDE: &str = ".new";

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::super::disk::{SystemDisk, SystemFile};
    use super::*;

    #[test]
    fn segment_whose_failed_write_cannot_be_undone_takes_no_more() {
        let path = std::env::temp_dir().join(format!("milena-broker-segment-{}", std::process::id()));
        fs::write(&path, b"kept").expect("there is room");
        // A handle that may only be read refuses the write, and the cut after it.
        let file = SystemFile(File::open(&path).expect("it was written"));
        let files = Arc::new(OpenFiles::of(Arc::new(SystemDisk)));
        let mut segment = FileSegment::boxed(Box::new(file), path.clone(), files).expect("it has a length");
        let records = Bytes::from_static(b"records");
        assert!(matches!(segment.append(b"header", &records), Err(StorageError::Io { action: "write", .. })));
        assert!(matches!(segment.append(b"header", &records), Err(StorageError::SegmentBroken { .. })));
        assert_eq!(segment.len(), 4);
        assert_eq!(segment.read(0, 4).expect("reading goes on"), &b"kept"[..]);
        fs::remove_file(path).expect("it was written");
    }
}
