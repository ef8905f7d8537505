//! What "on time" means in a test: the deadline, 10 ms, and the time in which the machine let nobody run. A watchdog
//! measures the last one, so that a loaded machine fails no test and a lazy producer fails it on every machine.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The promise, beside the stall.
pub const GRACE: Duration = Duration::from_millis(10);

/// Threads that sleep a millisecond at a time and note by how much they overslept.
pub struct Watchdog {
    watched: Arc<Watched>,
}

#[derive(Default)]
struct Watched {
    naps: Mutex<Naps>,
    woke: Condvar,
}

#[derive(Default)]
struct Naps {
    /// When a nap began and ended, if it was too long to be a nap.
    long: Vec<(Instant, Instant)>,
    /// The end of each dog's last nap.
    newest: Vec<Option<Instant>>,
    is_over: bool,
}

const NAP: Duration = Duration::from_millis(1);

/// Timers of an idle machine oversleep less.
const OVERSLEPT_MIN: Duration = Duration::from_micros(200);

impl Watchdog {
    /// One for each core: a core that is taken away stalls who runs there and nobody else.
    pub fn start() -> Self {
        let dogs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
        let watched = Arc::new(Watched::default());
        watched.lock().newest = vec![None; dogs];
        for dog in 0..dogs {
            let watched = Arc::clone(&watched);
            std::thread::spawn(move || watched.nap(dog));
        }
        Self { watched }
    }

    /// The longest stall that touched the time between these two. Waits until every dog has seen the end of it.
    pub fn worst_between(&self, from: Instant, to: Instant) -> Duration {
        let unseen = |naps: &mut Naps| naps.newest.iter().any(|newest| newest.is_none_or(|newest| newest < to));
        let naps = self.watched.woke.wait_while(self.watched.lock(), unseen).unwrap_or_else(PoisonError::into_inner);
        let touching = naps.long.iter().filter(|(began, ended)| *began <= to && *ended >= from);
        touching.map(|(began, ended)| *ended - *began - NAP).max().unwrap_or(Duration::ZERO)
    }

    /// How long after its deadline somebody was told.
    ///
    /// # Panics
    /// If that was not on time.
    #[track_caller]
    pub fn assert_on_time(&self, due: Instant, told: Instant) -> Duration {
        let late = told.saturating_duration_since(due);
        let stall = self.worst_between(due, told);
        assert!(late <= GRACE + stall, "told {late:?} after the deadline; the machine stalled for {stall:?} then");
        late
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watched.lock().is_over = true;
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Naps> {
        self.naps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nap(&self, dog: usize) {
        loop {
            let began = Instant::now();
            std::thread::sleep(NAP);
            let ended = Instant::now();
            let mut naps = self.lock();
            if naps.is_over {
                return;
            }
            naps.newest[dog] = Some(ended);
            if ended - began > NAP + OVERSLEPT_MIN {
                naps.long.push((began, ended));
            }
            drop(naps);
            self.woke.notify_all();
        }
    }
}

/// How late many were told, for a `measured:` line.
#[derive(Default)]
pub struct Lateness(Vec<Duration>);

impl Lateness {
    pub fn note(&mut self, late: Duration) {
        self.0.push(late);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn at(&mut self, quantile: f64) -> Duration {
        self.0.sort_unstable();
        let place = (self.0.len() as f64 * quantile) as usize;
        self.0.get(place.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub fn summary(&mut self) -> String {
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|quantile| Millis(self.at(quantile)));
        format!("{} releases, late by p50 {p50}, p99 {p99}, p99.9 {p999}, at most {max}", self.count())
    }
}

/// Milliseconds with two digits.
pub struct Millis(pub Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0.as_secs_f64() * 1000.0)
    }
}
