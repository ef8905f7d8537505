//! The thread that writes the file of outcomes: whoever reads it slowly, as a pipe may be read, keeps nobody waiting who
//! holds a lock, nor the one who listens for Ctrl-C.
//!
//! Always holds: lines are written in the order in which they were given; once a write has failed, or the writer was let
//! go, nothing more is.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::exit::tell;

/// The thread's other end.
#[derive(Clone, Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Lines came, for the thread.
    given: Condvar,
    /// Lines went, for those who give them.
    taken: Condvar,
    /// As `taken`, for the one who waits for the end.
    through: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    is_writing: bool,
    /// Set by the first write that failed, or by letting go.
    is_broken: bool,
}

impl Writer {
    /// `through` is told whenever all is written.
    pub fn start(mut file: Box<dyn Write + Send>, name: String, through: Arc<Notify>) -> io::Result<Self> {
        let (state, given, taken) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { state, given, taken, through });
        let writer = Self { shared: Arc::clone(&shared) };
        std::thread::Builder::new().name("milena-outcomes".to_owned()).spawn(move || {
            while let Some(lines) = shared.next() {
                let written = file.write_all(&lines).and_then(|()| file.flush());
                shared.wrote(written, &name);
            }
        })?;
        Ok(writer)
    }

    /// Gives whole lines, and takes them out of where they are.
    pub fn give(&self, lines: &mut Vec<u8>) {
        let mut state = self.shared.lock();
        if !state.is_broken {
            state.lines.extend_from_slice(lines);
            self.shared.given.notify_one();
        }
        lines.clear();
    }

    /// Waits until what is not written yet is little.
    pub fn wait_for_room(&self) {
        let is_full = |state: &mut State| state.lines.len() >= WAITING_BYTES_MAX && !state.is_broken;
        drop(self.shared.taken.wait_while(self.shared.lock(), is_full));
    }

    /// Whether all that was given is written, or will never be.
    pub fn is_through(&self) -> bool {
        let state = self.shared.lock();
        state.is_broken || (state.lines.is_empty() && !state.is_writing)
    }

    /// What is not written by now is not waited for any more.
    pub fn let_go(&self) {
        let mut state = self.shared.lock();
        state.is_broken = true;
        state.lines.clear();
        self.shared.taken.notify_all();
        self.shared.given.notify_one();
    }

    pub fn is_broken(&self) -> bool {
        self.shared.lock().is_broken
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: nothing more is written.
    fn next(&self) -> Option<Vec<u8>> {
        let is_idle = |state: &mut State| state.lines.is_empty() && !state.is_broken;
        let mut state = self.given.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        if state.is_broken {
            return None;
        }
        state.is_writing = true;
        self.taken.notify_all();
        Some(std::mem::take(&mut state.lines))
    }

    fn wrote(&self, written: io::Result<()>, name: &str) {
        let mut state = self.lock();
        state.is_writing = false;
        if let Err(error) = written
            && !state.is_broken
        {
            state.is_broken = true;
            state.lines.clear();
            self.taken.notify_all();
            tell(format_args!("--outcomes {name} cannot be written any more: {error}; records are sent on"));
        }
        if state.lines.is_empty() {
            self.through.notify_one();
        }
    }
}

/// More than a write takes at once; beyond it whoever tells outcomes waits.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
