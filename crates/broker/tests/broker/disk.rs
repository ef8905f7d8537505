//! A disk in memory that fails, stops, and loses power at any call that changes something.
//!
//! It knows what a real one has at each moment: the content of a file as of its last fsync, the names in a folder as of the folder's. Losing power
//! leaves that, and by chance some of what came later: whole folders of names, single sectors of files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use milena_broker::{Disk, DiskEntry, DiskFile, OpenHow};

/// Clones share the disk.
#[derive(Clone, Debug, Default)]
pub struct TestDisk(Arc<Mutex<State>>);

/// What happens at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing; later ones work.
    Fails,
    /// It does half of what it should, as a process does that is killed; later ones fail.
    Stops,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    /// As of the last fsync of each folder.
    lasting: Names,
    /// Calls that change something, so far.
    calls: u64,
    written: u64,
    /// Files that somebody has open, and the most that were at once.
    open: (usize, usize),
    fault: Option<(u64, Fault)>,
    is_full: bool,
    has_stopped: bool,
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    /// As of the last fsync.
    lasting: Vec<u8>,
}

/// How a call goes on.
enum Go {
    On,
    Half,
}

impl TestDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics beside it")
    }

    /// How many calls have changed something.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many bytes were written to files.
    pub fn written(&self) -> u64 {
        self.state().written
    }

    /// How many files were open at once at most.
    pub fn most_open(&self) -> usize {
        self.state().open.1
    }

    /// Whether the planted fault has ended the process.
    pub fn has_stopped(&self) -> bool {
        self.state().has_stopped
    }

    /// Plants one fault, at the call with this number, counted from 0.
    pub fn plant(&self, at: u64, fault: Fault) {
        self.state().fault = Some((at, fault));
    }

    /// Whether writes find no room.
    pub fn fill(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// The files there are.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().names.files.keys().cloned().collect()
    }

    /// Changes what is in a file, as nobody should.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.inode(path).expect("it is there");
        change(&mut state.inodes[inode].content);
    }

    /// Another disk with the same on it.
    pub fn copy(&self) -> TestDisk {
        let state = self.state();
        let inodes = state.inodes.iter().map(|it| Inode { content: it.content.clone(), lasting: it.lasting.clone() });
        let (names, lasting) = (state.names.clone(), state.lasting.clone());
        TestDisk(Arc::new(Mutex::new(State { inodes: inodes.collect(), names, lasting, ..State::default() })))
    }

    /// The process is gone, and another one begins: it finds what was written.
    pub fn restart(&self) {
        let mut state = self.state();
        state.fault = None;
        state.has_stopped = false;
    }

    /// The power is gone, and comes back. The dice say what else than the fsynced is found.
    pub fn lose_power(&self, mut dice: impl FnMut(u64) -> u64) {
        self.restart();
        let mut state = self.state();
        let folders: BTreeSet<PathBuf> = state.names.folders.union(&state.lasting.folders).cloned().collect();
        for folder in folders.iter().map(PathBuf::as_path).chain([Path::new("/")]) {
            if dice(2) == 0 {
                let State { names, lasting, .. } = &mut *state;
                copy_names(lasting, names, folder);
            }
        }
        state.lasting = state.names.clone();
        for inode in &mut state.inodes {
            inode.forget(&mut dice);
        }
    }
}

impl Inode {
    /// Some sectors that were not fsynced are there, others are zeros, and the end is anywhere.
    fn forget(&mut self, dice: &mut impl FnMut(u64) -> u64) {
        let (old, new) = (self.lasting.len(), self.content.len());
        let len = match dice(3) {
            0 => old,
            1 => new,
            _ => old.min(new) + dice(old.abs_diff(new) as u64 + 1) as usize,
        };
        let mut found = self.lasting.clone();
        found.resize(len, 0);
        for (at, sector) in found.chunks_mut(SECTOR).enumerate() {
            let now = self.content.get(at * SECTOR..).unwrap_or_default();
            let keeps = dice(2) == 0;
            for (byte, new) in sector.iter_mut().zip(now).filter(|_| keeps) {
                *byte = *new;
            }
        }
        self.content.clone_from(&found);
        self.lasting = found;
    }
}

fn copy_names(from: &Names, to: &mut Names, folder: &Path) {
    let is_in = |path: &PathBuf| path.parent() == Some(folder);
    to.files.retain(|path, _| !is_in(path));
    to.files.extend(from.files.iter().filter(|(path, _)| is_in(path)).map(|(path, inode)| (path.clone(), *inode)));
    to.folders.retain(|path| !is_in(path));
    to.folders.extend(from.folders.iter().filter(|path| is_in(path)).cloned());
}

impl State {
    /// Counts a call that changes something.
    fn change(&mut self) -> io::Result<Go> {
        if self.has_stopped {
            return Err(io::Error::other("the process is gone"));
        }
        let at = self.calls;
        self.calls += 1;
        match self.fault {
            Some((when, Fault::Fails)) if when == at => Err(io::Error::other("planted")),
            Some((when, Fault::Stops)) if when == at => {
                self.has_stopped = true;
                Ok(Go::Half)
            }
            _ => Ok(Go::On),
        }
    }

    /// For calls that are done wholly or not at all.
    fn change_wholly(&mut self) -> io::Result<()> {
        match self.change()? {
            Go::On => Ok(()),
            Go::Half => Err(io::Error::other("the process is gone")),
        }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.files.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for TestDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change_wholly()?;
        state.names.folders.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let state = self.state();
        if !state.names.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |path: &PathBuf| path.file_name().expect("it has one").to_str().expect("it is text").to_owned();
        let is_in = |found: &&PathBuf| found.parent() == Some(path);
        let folders = state.names.folders.iter().filter(is_in);
        let folders = folders.map(|path| DiskEntry { name: name(path), bytes: 0, is_dir: true });
        let files = state.names.files.iter().filter(|(path, _)| is_in(path));
        let bytes = |inode: usize| state.inodes[inode].content.len() as u64;
        let files = files.map(|(path, inode)| DiskEntry { name: name(path), bytes: bytes(*inode), is_dir: false });
        Ok(folders.chain(files).collect())
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let inode = match how {
            OpenHow::Existing => state.inode(path)?,
            OpenHow::Empty => {
                state.change_wholly()?;
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.files.insert(path.to_path_buf(), inode);
                inode
            }
        };
        let open = state.open.0 + 1;
        state.open = (open, state.open.1.max(open));
        Ok(Box::new(TestFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        state.change_wholly()?;
        state.names.files.remove(from);
        state.names.files.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        state.change_wholly()?;
        state.names.files.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change_wholly()?;
        state.names.folders.remove(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change_wholly()?;
        let State { names, lasting, .. } = &mut *state;
        copy_names(names, lasting, path);
        Ok(())
    }
}

#[derive(Debug)]
struct TestFile {
    disk: TestDisk,
    inode: usize,
}

impl Drop for TestFile {
    fn drop(&mut self) {
        self.disk.state().open.0 -= 1;
    }
}

impl DiskFile for TestFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].content.len() as u64)
    }

    fn write(&mut self, position: u64, pieces: [&[u8]; 2]) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let go = state.change()?;
        let all = pieces.concat();
        let written = match go {
            Go::On => &all[..],
            Go::Half => &all[..all.len() / 2],
        };
        state.written += written.len() as u64;
        let content = &mut state.inodes[self.inode].content;
        let end = position as usize + written.len();
        content.resize(content.len().max(end), 0);
        content[position as usize..end].copy_from_slice(written);
        match go {
            Go::On => Ok(()),
            Go::Half => Err(io::Error::other("the process is gone")),
        }
    }

    fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let content = &state.inodes[self.inode].content;
        let range = position as usize..position as usize + bytes.len();
        bytes.copy_from_slice(content.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change_wholly()?;
        state.inodes[self.inode].content.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change_wholly()?;
        let inode = &mut state.inodes[self.inode];
        inode.lasting.clone_from(&inode.content);
        Ok(())
    }
}

const SECTOR: usize = 512;
