//! The files of segments that are open: the last so many that were used.
//!
//! Each log has a segment that grows, and systems allow a process a thousand files or fewer, sockets included. So a file that was not used for
//! long is closed, and opened by its name when it is needed again: as long as anybody has a segment, its file keeps its name, or the segment
//! is worth nothing any more.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, OpenHow};

#[derive(Debug)]
pub(super) struct OpenFiles {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

/// A file that may be closed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

#[derive(Debug, Default)]
struct State {
    files_made: u64,
    uses: u64,
    /// Each with the number of its last use.
    open: BTreeMap<FileId, (u64, Box<dyn DiskFile>)>,
}

impl OpenFiles {
    pub(super) fn of(disk: Arc<dyn Disk>) -> OpenFiles {
        OpenFiles { disk, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is whole, whoever panicked beside it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a file that was just opened.
    pub(super) fn keep(&self, file: Box<dyn DiskFile>) -> FileId {
        let mut state = self.state();
        state.files_made += 1;
        let id = FileId(state.files_made);
        let _closed_unlocked = state.put(id, file);
        id
    }

    /// The file, for one use: it is not there for anybody else until it is given back.
    pub(super) fn take(&self, id: FileId, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let open = self.state().open.remove(&id);
        match open {
            Some((_, file)) => Ok(file),
            None => self.disk.open(path, OpenHow::Existing),
        }
    }

    pub(super) fn give_back(&self, id: FileId, file: Box<dyn DiskFile>) {
        let closed = self.state().put(id, file);
        drop(closed);
    }

    /// Nobody needs it any more.
    pub(super) fn forget(&self, id: FileId) {
        let closed = self.state().open.remove(&id);
        drop(closed);
    }
}

impl State {
    /// Gives the file that has to be closed for that.
    fn put(&mut self, id: FileId, file: Box<dyn DiskFile>) -> Option<Box<dyn DiskFile>> {
        self.uses += 1;
        self.open.insert(id, (self.uses, file));
        if self.open.len() <= OPEN_MAX {
            return None;
        }
        let oldest = self.open.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id)?;
        self.open.remove(&oldest).map(|(_, file)| file)
    }
}

/// Half of what macOS allows a process unless it is told otherwise; the rest is for connections. To open a file again costs as much as a few writes.
const OPEN_MAX: usize = 128;
