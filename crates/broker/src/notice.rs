//! What no client can be told, and whoever runs the broker should know.
//!
//! Each is told once, or once in a while: a disk that is full refuses thousands of writes a second. The cluster decides without any of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::storage::StorageError;

/// Something to tell whoever runs a broker; see [`Broker::notices`](crate::Broker::notices).
///
/// ```
/// use milena_broker::{Coordinated, Notice};
///
/// let notice = Notice::CoordinatorWanted { of: Coordinated::Group, name: "billing".into() };
/// assert!(notice.to_string().starts_with("a client asked for the coordinator of group \"billing\""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The disk refused something, or the memory that logs may have is full. Clients are told KAFKA_STORAGE_ERROR where they are concerned.
    StorageFailed {
        /// What was tried, on which file, and what the system said.
        error: String,
        /// How often the same was refused since it was told last.
        untold: u64,
    },
    /// A client asked for a coordinator, and there is none. Told once for each kind.
    CoordinatorWanted {
        /// Of what.
        of: Coordinated,
        /// Its name.
        name: String,
    },
}

/// What has a coordinator in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Coordinated {
    /// A consumer group.
    Group,
    /// Transactions of one id.
    Transaction,
    /// A share group.
    ShareGroup,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::StorageFailed { error, untold: 0 } => f.write_str(error),
            Notice::StorageFailed { error, untold } => write!(f, "{error} ({untold} more like it since the last time)"),
            Notice::CoordinatorWanted { of, name } => {
                let (what, instead) = match of {
                    Coordinated::Group => ("group", "consumers read by partition (assign)"),
                    Coordinated::Transaction => ("transactional id", "idempotent producers work without"),
                    Coordinated::ShareGroup => ("share group", "consumers read by partition (assign)"),
                };
                write!(f, "a client asked for the coordinator of {what} {name:?}, and this broker has none; {instead}")
            }
        }
    }
}

/// Tells the owner, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    notices: SyncSender<Notice>,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl Teller {
    /// With the end that the owner reads.
    pub(crate) fn new() -> (Teller, Receiver<Notice>) {
        let (notices, taken) = sync_channel(UNREAD_MAX);
        (Teller { notices, told: Arc::default() }, taken)
    }

    /// Drops what nobody reads.
    pub(crate) fn tell(&self, notice: Notice) {
        let _nobody_reads = self.notices.try_send(notice);
    }

    /// Something failed, for a reason that many calls may have.
    pub(crate) fn tell_failure(&self, error: &StorageError) {
        let cause = match error {
            StorageError::Io { action, source, .. } => format!("{action}: {source}"),
            other => other.to_string(),
        };
        if let Some(untold) = self.untold(cause, Instant::now()) {
            self.tell(Notice::StorageFailed { error: error.to_string(), untold });
        }
    }

    /// What a disk said, if it is a failure: some files need not be there.
    pub(crate) fn tell_io<T>(&self, action: &'static str, path: &Path, result: &io::Result<T>) {
        let is_expected = |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty);
        if let Err(error) = result
            && !is_expected(error.kind())
        {
            let source = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
            self.tell_failure(&StorageError::Io { action, path: path.to_path_buf(), source });
        }
    }

    /// How often it was not told; none if it is not to be told now either.
    fn untold(&self, cause: String, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = told.len() >= CAUSES_MAX;
        match told.get_mut(&cause) {
            Some(told) if now.saturating_duration_since(told.at) < QUIET_TIME => {
                told.untold += 1;
                None
            }
            Some(told) => Some(std::mem::replace(told, Told { at: now, untold: 0 }).untold),
            None if is_full => None,
            None => {
                told.insert(cause, Told { at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

/// As often as somebody wants to read that a disk is still full.
const QUIET_TIME: Duration = Duration::from_secs(60);
/// More than a disk has reasons.
const CAUSES_MAX: usize = 100;
/// Who reads none shall not keep them.
const UNREAD_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_is_told_once_in_a_while_and_others_at_once() {
        let (teller, notices) = Teller::new();
        let full: io::Result<()> = Err(io::ErrorKind::StorageFull.into());
        let torn: io::Result<()> = Err(io::ErrorKind::FileTooLarge.into());
        let missing: io::Result<()> = Err(io::ErrorKind::NotFound.into());
        for file in ["/data/a", "/data/b", "/data/c"] {
            for result in [&full, &torn, &missing, &Ok(())] {
                teller.tell_io("write", Path::new(file), result);
            }
        }
        let told: Vec<String> = notices.try_iter().map(|notice| notice.to_string()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|line| line.starts_with("write /data/a: ")), "{told:?}");
        let later = Instant::now() + QUIET_TIME;
        assert_eq!(teller.untold("write: no storage space".to_owned(), later), Some(2), "{told:?}");
    }
}
