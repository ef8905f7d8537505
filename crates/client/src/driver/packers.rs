//! Threads that compress batches for every lane of a producer, so that neither who appends nor who writes sockets does.
//!
//! Always holds: what a lane hands over comes back, or the lane hears that it never will; memory goes back whoever is gone
//! by then.
//!
//! Left out: which batch is compressed when; see `core/producer/lane/packing.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use milena_core::producer::packing::{PackDone, PackJob};
use milena_wire::records::Packer;
use tokio::sync::mpsc;

use crate::config::ConfigError;
use crate::pool::ChunkPool;

/// The way to the threads. They end when the last of these is gone.
#[derive(Clone, Debug)]
pub(crate) struct Packers {
    _owner: Arc<Owner>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Work>,
    is_closed: bool,
}

#[derive(Debug)]
struct Owner(Arc<Queue>);

/// What a lane hands over.
struct Work {
    /// Taken when it begins.
    job: Option<PackJob>,
    /// Set when its result is on the way.
    is_done: bool,
    lane: mpsc::UnboundedSender<Packed>,
    pool: Arc<ChunkPool>,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Packed {
    Done(DoneWork),
    /// A thread has panicked.
    Lost,
}

/// Dropped unopened it gives its memory back: the lane is gone.
pub(crate) struct DoneWork {
    done: Option<PackDone>,
    pool: Arc<ChunkPool>,
}

impl Packers {
    /// Without a thread: for producers that compress nothing.
    pub(crate) fn none() -> Self {
        let queue = Arc::new(Queue::default());
        Self { _owner: Arc::new(Owner(Arc::clone(&queue))), queue }
    }

    pub(crate) fn start(threads: usize) -> Result<Self, ConfigError> {
        let packers = Self::none();
        for _ in 0..threads {
            let queue = Arc::clone(&packers.queue);
            crate::producer::spawn("milena-packer", move || queue.work())?;
        }
        Ok(packers)
    }

    pub(crate) fn push(&self, job: PackJob, lane: &mpsc::UnboundedSender<Packed>, pool: &Arc<ChunkPool>) {
        let work = Work { job: Some(job), is_done: false, lane: lane.clone(), pool: Arc::clone(pool) };
        self.queue.state().waiting.push_back(work);
        self.queue.changed.notify_one();
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is done under the lock that could leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the last way here is gone.
    fn work(&self) {
        let mut packer = Packer::new();
        while let Some(work) = self.next() {
            work.run(&mut packer);
        }
    }

    fn next(&self) -> Option<Work> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let mut state = self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.is_closed { None } else { state.waiting.pop_front() }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.changed.notify_all();
        drop(waiting);
    }
}

impl Work {
    fn run(mut self, packer: &mut Packer) {
        let Some(job) = self.job.take() else { return };
        let done = DoneWork { done: Some(job.run(packer)), pool: Arc::clone(&self.pool) };
        self.is_done = true;
        // A lane that is gone wants no result.
        let _ = self.lane.send(Packed::Done(done));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            job.give_back(&*self.pool);
        }
        if !self.is_done {
            let _ = self.lane.send(Packed::Lost);
        }
    }
}

impl DoneWork {
    pub(crate) fn open(mut self) -> PackDone {
        self.done.take().expect("it is opened once")
    }
}

impl Drop for DoneWork {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done.give_back(&*self.pool);
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.job).finish()
    }
}

impl fmt::Debug for DoneWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DoneWork").field(&self.done).finish()
    }
}
