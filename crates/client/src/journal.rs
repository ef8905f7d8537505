//! The file of a fate journal: locked while somebody writes or settles it, appended to before a request is handed over.
//!
//! Always holds: nothing is synced to the disk, because what must survive is the process and not the host; what could not be
//! written whole is cut off before the next line; a file that is replaced is locked before it has the journal's name.
//!
//! Left out: the lines and when the file is made small (`milena_core::producer::journal`).

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milena_core::ids::ProducerId;
use milena_core::producer::ended::Ended;
use milena_core::producer::journal::{Journal, Reading, Scribe, Sending, Unreadable, Upkeep, read};
use milena_core::sync::Mutex;
use milena_core::time::{Moment, Now};

/// Why a fate journal cannot be used.
///
/// ```
/// use milena::{ConfigError, JournalError, Producer, ProducerConfig};
///
/// let config = ProducerConfig::new("localhost:9092").fate_journal("/no/such/folder/orders.fates");
/// assert!(matches!(Producer::new(config), Err(ConfigError::Journal(JournalError::Io { .. }))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be opened, read or written; what the operating system says.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another producer writes it, or somebody settles it.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file does not begin as fate journals do, and is left alone.
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// Another version of this library wrote it.
    Version {
        /// The file.
        path: PathBuf,
        /// Which.
        version: String,
    },
    /// It has lines that are not what was written; only settling goes on past them.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first of them, from 1.
        line: usize,
    },
    /// It is larger than any journal becomes.
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, why } => write!(f, "the fate journal {} cannot be used: {why}", path.display()),
            Self::InUse { path } => write!(
                f,
                "the fate journal {} is in use: its producer is alive, or somebody settles it; end that first, and give \
                 each producer a journal of its own",
                path.display()
            ),
            Self::NotAJournal { path } => {
                write!(f, "{} is not a fate journal: name another file, or one that is not there yet", path.display())
            }
            Self::Version { path, version } => write!(
                f,
                "the fate journal {} is of version {version}, this library writes and reads version 1: settle it with \
                 the milena that wrote it, then move it away",
                path.display()
            ),
            Self::Damaged { path, line } => write!(
                f,
                "line {line} of the fate journal {} is damaged: settle it with milena settle, then move it away",
                path.display()
            ),
            Self::TooLarge { path } => {
                write!(
                    f,
                    "the fate journal {} has more than {JOURNAL_BYTES_MAX} bytes, as none ever has",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for JournalError {}

/// A journal of as many open lines as a producer may have, with room for as many dead ones, is some megabytes.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A journal that cannot be written is tried again after this: a disk that was full has room when somebody made some.
const RETRY: Duration = Duration::from_millis(200);

/// A journal that nobody else has.
#[derive(Debug)]
pub(crate) struct LockedFile {
    path: PathBuf,
    file: File,
}

impl LockedFile {
    /// The journal of this name; made if it is not there and may be.
    pub(crate) fn open(path: &Path, may_create: bool) -> Result<Self, JournalError> {
        let failed = |error: io::Error| JournalError::Io { path: path.to_owned(), why: error.to_string() };
        loop {
            let file = OpenOptions::new().read(true).append(true).create(may_create).open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Its owner may have replaced it between the two calls.
            let named = fs::metadata(path).map_err(failed)?;
            if is_same(&named, &file.metadata().map_err(failed)?) {
                // A link stays one when the file is replaced.
                let path = fs::canonicalize(path).map_err(failed)?;
                return Ok(Self { path, file });
            }
        }
    }

    fn failed(&self, error: &io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), why: error.to_string() }
    }

    /// What it says.
    pub(crate) fn read(&self) -> Result<Reading, JournalError> {
        let mut bytes = Vec::new();
        let taken = (&self.file).take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes);
        let path = || self.path.clone();
        if taken.map_err(|error| self.failed(&error))? as u64 > JOURNAL_BYTES_MAX {
            return Err(JournalError::TooLarge { path: path() });
        }
        read(&bytes).map_err(|why| match why {
            Unreadable::Version(version) => JournalError::Version { path: path(), version },
            _ => JournalError::NotAJournal { path: path() },
        })
    }

    /// Appends behind the bytes that count.
    pub(crate) fn append(&mut self, from: u64, lines: &str) -> io::Result<()> {
        if self.file.metadata()?.len() != from {
            self.file.set_len(from)?;
        }
        self.file.write_all(lines.as_bytes())
    }

    /// Another file in its place, locked as this one is.
    fn replace(&mut self, content: &str) -> io::Result<()> {
        let mut beside = OsString::from(self.path.as_os_str());
        beside.push(".new");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&beside)?;
        file.try_lock().map_err(io::Error::from)?;
        file.set_len(0)?;
        file.write_all(content.as_bytes())?;
        file.set_permissions(self.file.metadata()?.permissions())?;
        fs::rename(&beside, &self.path)?;
        self.file = file;
        Ok(())
    }
}

#[cfg(unix)]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere nobody can tell, and a file that is open is seldom replaced.
#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

/// The journal of a producer.
#[derive(Debug)]
pub(crate) struct FateJournal(Mutex<State>);

#[derive(Debug)]
struct State {
    machine: Journal,
    /// Gone when the producer has ended.
    file: Option<LockedFile>,
    /// Set while it cannot be written; then it is tried again.
    retry_at: Option<Moment>,
    /// As long as it could not be replaced: at what size that is tried again.
    replace_from: u64,
}

impl FateJournal {
    /// Goes on with the journal of this name, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let mut file = LockedFile::open(path, true)?;
        let left = file.read()?;
        if let Some(damage) = left.damages.first() {
            return Err(JournalError::Damaged { path: file.path, line: damage.line });
        }
        let mut machine = Journal::resume(&left);
        // Also to find out now whether that can be done.
        let content = machine.content();
        file.replace(&content).map_err(|error| file.failed(&error))?;
        machine.handle_replaced(content.len() as u64);
        Ok(Self(Mutex::new(State { machine, file: Some(file), retry_at: None, replace_from: 0 })))
    }

    /// This cluster gave this producer id.
    pub(crate) fn note_cluster(&self, producer_id: ProducerId, cluster: &Arc<str>) {
        self.0.lock().machine.note_cluster(producer_id, cluster);
    }

    /// A batch has ended.
    pub(crate) fn handle_ended(&self, now: Moment, ended: &Ended) {
        let mut state = self.0.lock();
        state.machine.handle_ended(ended);
        if state.machine.wants_write() && state.retry_at.is_none() {
            state.write(now);
        }
    }

    /// When it is tried again, while it cannot be written.
    pub(crate) fn retry_at(&self) -> Option<Moment> {
        self.0.lock().retry_at
    }

    /// For a lane that makes a request.
    pub(crate) fn scribe(&self, now: Now) -> impl Scribe + '_ {
        JournalScribe { journal: self, now }
    }

    /// The producer has ended: what it knows is written, and somebody else may have the file.
    pub(crate) fn release(&self, now: Moment) {
        let mut state = self.0.lock();
        state.write(now);
        state.file = None;
    }
}

struct JournalScribe<'a> {
    journal: &'a FateJournal,
    now: Now,
}

impl Scribe for JournalScribe<'_> {
    const IS_ON: bool = true;

    fn may_claim(&mut self) -> bool {
        let mut state = self.journal.0.lock();
        match state.retry_at {
            None => true,
            Some(retry_at) if retry_at > self.now.moment => false,
            Some(_) => state.write(self.now.moment),
        }
    }

    fn note(&mut self, sendings: &[Sending]) -> bool {
        let mut state = self.journal.0.lock();
        state.machine.note(sendings, self.now.wall_millis);
        state.machine.are_written(sendings) || state.write(self.now.moment) && state.machine.are_written(sendings)
    }
}

impl State {
    /// Whether all that was to be written is in the file.
    fn write(&mut self, now: Moment) -> bool {
        let Some(file) = &mut self.file else { return false };
        let from = self.machine.file_bytes();
        if let Some(lines) = self.machine.poll_append() {
            if file.append(from, lines).is_err() {
                self.retry_at = Some(now + RETRY);
                return false;
            }
            self.machine.handle_appended();
        }
        self.retry_at = None;
        self.make_small();
        true
    }

    /// One that cannot be made small grows until it can.
    fn make_small(&mut self) {
        let Some(file) = &mut self.file else { return };
        if self.machine.file_bytes() < self.replace_from {
            return;
        }
        let done = match self.machine.upkeep() {
            Upkeep::Nothing => Ok(()),
            Upkeep::Truncate(bytes) => file.file.set_len(bytes).map(|()| self.machine.handle_truncated(bytes)),
            Upkeep::Replace(content) => {
                file.replace(&content).map(|()| self.machine.handle_replaced(content.len() as u64))
            }
        };
        self.replace_from = done.map_or(self.machine.file_bytes() * 2, |()| 0);
    }
}

#[cfg(all(test, not(milena_model)))]
mod tests;
