//! What a data directory asks of the operating system: the one thin place where files are touched.
//!
//! Every call that changes something is one method here, so a test can put a disk of its own underneath that fails, cuts or forgets at any
//! of them. [`SystemDisk`] is the machine's.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::JoinHandle;

/// Folders and files.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a folder and those above it, where they are missing.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// What is in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Opens a file to read and write it.
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder outlive the machine.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The same by a thread; none if it is over already.
    fn begin_sync_dir(&self, path: &Path) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        self.sync_dir(path).map(|()| None)
    }
}

/// An open file. Nothing here remembers a position.
pub trait DiskFile: Send + fmt::Debug {
    /// Its length.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Writes the pieces one after the other, from `position` on. After an error any part of them may be there.
    fn write(&mut self, position: u64, pieces: [&[u8]; 2]) -> io::Result<()>;

    /// Fills `bytes` from `position` on.
    fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Cuts it, or lengthens it with zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Makes what was written outlive the machine.
    fn sync(&mut self) -> io::Result<()>;

    /// The same by a thread; none if it is over already.
    fn begin_sync(&mut self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        self.sync().map(|()| None)
    }
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// Its name.
    pub name: String,
    /// Its length; 0 for a folder.
    pub bytes: u64,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenHow {
    /// It must be there.
    Existing,
    /// It is made, or emptied.
    Empty,
}

/// The machine's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Whatever has no text for a name is not ours.
            if let Ok(name) = entry.file_name().into_string() {
                let metadata = entry.metadata()?;
                let is_dir = metadata.is_dir();
                entries.push(DiskEntry { name, bytes: if is_dir { 0 } else { metadata.len() }, is_dir });
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>> {
        let is_new = how == OpenHow::Empty;
        let file = OpenOptions::new().read(true).write(true).create(is_new).truncate(is_new).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    /// Only Unix opens folders; elsewhere names are the file system's business.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn begin_sync_dir(&self, path: &Path) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        let path = path.to_path_buf();
        let thread = std::thread::Builder::new().name(SYNC_THREAD.to_owned());
        thread.spawn(move || SystemDisk.sync_dir(&path)).map(Some)
    }
}

#[derive(Debug)]
pub(super) struct SystemFile(pub(super) File);

impl DiskFile for SystemFile {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn write(&mut self, position: u64, [first, second]: [&[u8]; 2]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(position))?;
        let written = self.0.write_vectored(&[IoSlice::new(first), IoSlice::new(second)])?;
        match written.checked_sub(first.len()) {
            Some(of_second) => self.0.write_all(&second[of_second..]),
            None => {
                self.0.write_all(&first[written..])?;
                self.0.write_all(second)
            }
        }
    }

    fn read(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(bytes)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn begin_sync(&mut self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        let file = self.0.try_clone()?;
        let thread = std::thread::Builder::new().name(SYNC_THREAD.to_owned());
        thread.spawn(move || file.sync_data()).map(Some)
    }
}

const SYNC_THREAD: &str = "milena-sync";
