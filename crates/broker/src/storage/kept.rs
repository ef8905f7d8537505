//! The catalogue's file on a disk: begun anew by a rename, grown by a write and an fsync for each change.
//!
//! What the file says is in `catalogue/journal.rs`. A change that fails is taken out again, because the cluster goes on without it; if even that
//! fails, nothing more is added, and the next change begins the file anew.

use std::path::PathBuf;
use std::sync::Arc;

use super::StorageError;
use super::disk::{Disk, DiskFile, OpenHow};
use super::folder::{io_error, read_file, replace};
use crate::catalogue::{Catalogue, CatalogueChange, Journal, block};

#[derive(Debug)]
pub(super) struct KeptCatalogue {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    path: PathBuf,
    /// Set once the file was begun by this process; none after a failure that could not be undone.
    open: Option<Open>,
}

/// A file that may grow.
#[derive(Debug)]
struct Open {
    file: Box<dyn DiskFile>,
    bytes: u64,
    /// How long it was when it was begun.
    begun_bytes: u64,
}

impl KeptCatalogue {
    pub(super) fn in_folder(disk: Arc<dyn Disk>, folder: PathBuf) -> KeptCatalogue {
        KeptCatalogue { disk, path: folder.join(CATALOGUE_FILE), folder, open: None }
    }

    /// None if there is no file. What a crash left of a change is not read, and gone once the file is begun anew.
    pub(super) fn load(&self) -> Result<Option<Catalogue>, StorageError> {
        let Some(content) = read_file(&*self.disk, &self.path)? else { return Ok(None) };
        let bad = |bad: crate::catalogue::BadLine| StorageError::BadCatalogue {
            path: self.path.clone(),
            line: bad.line,
            what: bad.what,
        };
        Journal::read(&content).map(|journal| Some(journal.catalogue)).map_err(bad)
    }

    /// Begins the file anew. The name is synced too: whoever is told of a topic finds it again, with all that was acknowledged in it. If that
    /// fails, the former file is put back, because the cluster goes on with that.
    pub(super) fn save(&mut self, catalogue: &Catalogue) -> Result<(), StorageError> {
        self.open = None;
        let former = read_file(&*self.disk, &self.path)?;
        let text = catalogue.file();
        replace(&*self.disk, &self.path, text.as_bytes(), true)?;
        if let Err(error) = self.disk.sync_dir(&self.folder).map_err(io_error("sync", &self.folder)) {
            if let Some(former) = former {
                let _nothing_works = replace(&*self.disk, &self.path, &former, true);
            }
            return Err(error);
        }
        let bytes = text.len() as u64;
        // Where it cannot be opened the next change begins it anew, too.
        let file = self.disk.open(&self.path, OpenHow::Existing).ok();
        self.open = file.map(|file| Open { file, bytes, begun_bytes: bytes });
        Ok(())
    }

    /// Adds changes to the file; false where it has to be begun anew for that.
    pub(super) fn add(&mut self, changes: &[CatalogueChange]) -> Result<bool, StorageError> {
        let Some(mut open) = self.open.take().filter(Open::has_room) else { return Ok(false) };
        let text = block(changes);
        let written = open.file.write(open.bytes, [text.as_bytes(), &[]]).map_err(io_error("write", &self.path));
        let kept = written.and_then(|()| open.file.sync().map_err(io_error("sync", &self.path)));
        match kept {
            Ok(()) => open.bytes += text.len() as u64,
            Err(error) => {
                let undone = open.file.set_len(open.bytes).and_then(|()| open.file.sync());
                self.open = undone.is_ok().then_some(open);
                return Err(error);
            }
        }
        self.open = Some(open);
        Ok(true)
    }
}

impl Open {
    /// Changes may take as much as what they change, so that begun anew costs each of them about as much again.
    fn has_room(&self) -> bool {
        self.bytes - self.begun_bytes <= self.begun_bytes.max(ROOM_BYTES_MIN)
    }
}

const CATALOGUE_FILE: &str = "catalogue";
/// A file of a few topics is not begun anew for each of them.
const ROOM_BYTES_MIN: u64 = 4_096;
