//! How long threads of this process ran, and how long they were ready to run and were not let: what Linux counts for each
//! thread (`/proc/self/task/N/schedstat`), read every millisecond.
//!
//! A thread that only sleeps sees other stalls than one that works, and on a machine where brokers take both cores each
//! waits for a turn of its own. Where the system does not count, nothing is excused.

use std::collections::BTreeMap;
use std::fs;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Watches some threads from its start until it is dropped.
pub struct RunQueue {
    /// The sums over the watched threads since the start, whenever they had grown.
    grown: Arc<Mutex<Vec<(Instant, Times)>>>,
    has_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RunQueue {
    /// Threads count by how their names start, whenever they start themselves.
    pub fn watch(names: &'static [&'static str]) -> Self {
        let grown = Arc::new(Mutex::new(vec![(Instant::now(), Times::default())]));
        let has_ended = Arc::new(AtomicBool::new(false));
        let thread = {
            let (grown, has_ended) = (Arc::clone(&grown), Arc::clone(&has_ended));
            std::thread::spawn(move || Reader::new(names).read_until(&has_ended, &grown))
        };
        Self { grown, has_ended, thread: Some(thread) }
    }

    /// What they spent between these two, all together; rounded up to whole readings.
    pub fn between(&self, from: Instant, to: Instant) -> Times {
        let grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = grown.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let after = grown.partition_point(|(at, _)| *at < to).min(grown.len() - 1);
        grown[after].1.since(grown[before].1)
    }
}

/// A thread's, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub ran: Duration,
    /// In the run queue.
    pub waited: Duration,
}

impl Times {
    fn since(self, before: Self) -> Self {
        Self { ran: self.ran.saturating_sub(before.ran), waited: self.waited.saturating_sub(before.waited) }
    }
}

impl AddAssign for Times {
    fn add_assign(&mut self, more: Self) {
        self.ran += more.ran;
        self.waited += more.waited;
    }
}

impl Drop for RunQueue {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a reading thread does not panic");
        }
    }
}

/// The threads that are watched, by number, with what each had spent at the last reading.
struct Reader {
    names: &'static [&'static str],
    known: BTreeMap<String, Times>,
    sum: Times,
}

impl Reader {
    fn new(names: &'static [&'static str]) -> Self {
        Self { names, known: BTreeMap::new(), sum: Times::default() }
    }

    fn read_until(mut self, has_ended: &AtomicBool, grown: &Mutex<Vec<(Instant, Times)>>) {
        for reading in 0_u32.. {
            if has_ended.load(Ordering::Relaxed) {
                return;
            }
            if reading.is_multiple_of(READINGS_PER_LOOK) {
                self.look_for_threads();
            }
            let before = self.sum;
            self.read();
            if self.sum != before {
                grown.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), self.sum));
            }
            std::thread::sleep(INTERVAL);
        }
    }

    fn look_for_threads(&mut self) {
        let Ok(threads) = fs::read_dir(TASKS) else { return };
        for thread in threads.flatten() {
            let number = thread.file_name().to_string_lossy().into_owned();
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let is_watched = self.names.iter().any(|start| name.starts_with(start));
            if is_watched && !self.known.contains_key(&number) {
                let spent = spent(&number).unwrap_or_default();
                self.known.insert(number, spent);
            }
        }
    }

    /// A thread that has ended is forgotten.
    fn read(&mut self) {
        let sum = &mut self.sum;
        self.known.retain(|number, before| {
            let Some(now) = spent(number) else { return false };
            *sum += now.since(*before);
            *before = now;
            true
        });
    }
}

/// Nanoseconds on a processor, and in the run queue.
fn spent(thread: &str) -> Option<Times> {
    let counts = fs::read_to_string(format!("{TASKS}/{thread}/schedstat")).ok()?;
    let mut counts = counts.split(' ').map(|count| count.parse().ok().map(Duration::from_nanos));
    Some(Times { ran: counts.next()??, waited: counts.next()?? })
}

const TASKS: &str = "/proc/self/task";
const INTERVAL: Duration = Duration::from_millis(1);
const READINGS_PER_LOOK: u32 = 32;
