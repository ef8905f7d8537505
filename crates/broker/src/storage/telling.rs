//! A disk that tells what another one refuses. Whoever asked for it hears of it, too; some of them only try again later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::disk::{Disk, DiskEntry, DiskFile, OpenHow};
use crate::notice::Teller;

#[derive(Debug)]
pub(crate) struct TellingDisk {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) teller: Teller,
}

impl TellingDisk {
    fn told<T>(&self, action: &'static str, path: &Path, result: io::Result<T>) -> io::Result<T> {
        self.teller.tell_io(action, path, &result);
        result
    }
}

impl Disk for TellingDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.told("create", path, self.disk.create_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        self.told("list", path, self.disk.list(path))
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>> {
        let action = if how == OpenHow::Empty { "create" } else { "open" };
        let file = self.told(action, path, self.disk.open(path, how))?;
        Ok(Box::new(TellingFile { file, path: path.to_path_buf(), teller: self.teller.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.told("rename", from, self.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.told("remove", path, self.disk.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.told("remove", path, self.disk.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.told("sync", path, self.disk.sync_dir(path))
    }

    fn begin_sync_dir(&self, path: &Path) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        let begun = self.told("sync", path, self.disk.begin_sync_dir(path))?;
        begun.map(|thread| when_over(thread, path.to_path_buf(), self.teller.clone())).transpose()
    }
}

#[derive(Debug)]
struct TellingFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    teller: Teller,
}

impl TellingFile {
    fn told<T>(&self, action: &'static str, result: io::Result<T>) -> io::Result<T> {
        self.teller.tell_io(action, &self.path, &result);
        result
    }
}

impl DiskFile for TellingFile {
    fn len(&self) -> io::Result<u64> {
        self.told("read", self.file.len())
    }

    fn write(&mut self, position: u64, pieces: [&[u8]; 2]) -> io::Result<()> {
        let written = self.file.write(position, pieces);
        self.told("write", written)
    }

    fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.told("read", self.file.read(position, bytes))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let cut = self.file.set_len(len);
        self.told("truncate", cut)
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync();
        self.told("sync", synced)
    }

    fn begin_sync(&mut self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        let begun = self.file.begin_sync();
        let begun = self.told("sync", begun)?;
        begun.map(|thread| when_over(thread, self.path.clone(), self.teller.clone())).transpose()
    }
}

/// Waits for it on a thread of its own: it takes the disk's time, which is longer.
fn when_over(
    thread: JoinHandle<io::Result<()>>,
    path: PathBuf,
    teller: Teller,
) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
        let synced = thread.join().unwrap_or_else(|_| Err(io::Error::other("the syncing thread panicked")));
        teller.tell_io("sync", &path, &synced);
        synced
    })
}

const THREAD_NAME: &str = "milena-sync-end";
