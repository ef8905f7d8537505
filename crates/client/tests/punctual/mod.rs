//! What "on time" means in a test: the deadline, 10 ms, and the time in which the machine let nobody run. Watchdogs
//! measure the last one, so that a loaded machine fails no test and a lazy producer fails it on every machine.
//!
//! Two kinds of stall: a dog overslept its nap; or, where the system tells it (Linux), a thread that matters wanted to run
//! and was not let: the producer's, and the test's own.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The promise, beside the stall.
pub const GRACE: Duration = Duration::from_millis(10);

/// What a test's own thread may take to be woken and to look at its clock: that is no lateness of the producer's, and a thread
/// that sleeps elsewhere does not see it.
const LISTENING: Duration = Duration::from_millis(2);

/// Threads that sleep a millisecond at a time and note what went by meanwhile. One set for all tests of a process.
pub struct Watchdog {
    watched: Arc<Watched>,
}

#[derive(Default)]
struct Watched {
    log: Mutex<Log>,
    woke: Condvar,
}

#[derive(Default)]
struct Log {
    stalls: Vec<Stall>,
    /// The end of each dog's last nap.
    newest: Vec<Option<Instant>>,
    /// Threads of tests, which the dogs shall look after.
    tests: Vec<u32>,
}

/// Somebody lost so much of the time between these two.
struct Stall {
    who: u32,
    began: Instant,
    ended: Instant,
    lost: Duration,
}

const NAP: Duration = Duration::from_millis(1);

/// Timers of an idle machine oversleep less.
const STALL_MIN: Duration = Duration::from_micros(200);

/// Naps between two looks for new threads.
const LOOK_EVERY: u32 = 20;

static DOGS: OnceLock<Arc<Watched>> = OnceLock::new();

impl Watchdog {
    /// Also looks after the calling thread.
    pub fn start() -> Self {
        let watched = DOGS.get_or_init(|| {
            // One for each core: a core that is taken away stalls who runs there and nobody else.
            let dogs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
            let watched = Arc::new(Watched::default());
            watched.lock().newest = vec![None; dogs];
            for dog in 0..dogs {
                let watched = Arc::clone(&watched);
                std::thread::spawn(move || watched.nap(dog));
            }
            watched
        });
        watched.lock().tests.extend(this_thread());
        Self { watched: Arc::clone(watched) }
    }

    /// How much time somebody lost between these two, at most. Waits until every dog has seen the end of it.
    pub fn worst_between(&self, from: Instant, to: Instant) -> Duration {
        let unseen = |log: &mut Log| log.newest.iter().any(|newest| newest.is_none_or(|newest| newest < to));
        let log = self.watched.woke.wait_while(self.watched.lock(), unseen).unwrap_or_else(PoisonError::into_inner);
        let mut lost: BTreeMap<u32, Duration> = BTreeMap::new();
        for stall in log.stalls.iter().filter(|stall| stall.began <= to && stall.ended >= from) {
            *lost.entry(stall.who).or_default() += stall.lost;
        }
        lost.into_values().max().unwrap_or_default()
    }

    /// How long after its deadline somebody was told.
    ///
    /// # Panics
    /// If that was not on time.
    #[track_caller]
    pub fn assert_on_time(&self, due: Instant, told: Instant) -> Duration {
        let late = told.saturating_duration_since(due);
        if late > GRACE {
            let stall = self.worst_between(due, told);
            assert!(
                late <= GRACE + LISTENING + stall,
                "told {late:?} after the deadline; the machine stalled for {stall:?} then"
            );
        }
        late
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nap(&self, dog: usize) {
        // One of them looks at the threads.
        let mut threads = (dog == 0).then(Threads::default);
        for naps in 0.. {
            let began = Instant::now();
            std::thread::sleep(NAP);
            let ended = Instant::now();
            let lost = (ended - began).saturating_sub(NAP);
            let mut stalls = Vec::new();
            if lost >= STALL_MIN {
                stalls.push(Stall { who: dog as u32, began, ended, lost });
            }
            if let Some(threads) = &mut threads {
                if naps % LOOK_EVERY == 0 {
                    let tests = self.lock().tests.clone();
                    threads.find(&tests);
                }
                threads.sample(&mut stalls);
            }
            let mut log = self.lock();
            log.newest[dog] = Some(ended);
            log.stalls.append(&mut stalls);
            drop(log);
            self.woke.notify_all();
        }
    }
}

/// Threads that matter, by their ids, and what they have waited for a processor.
#[derive(Default)]
struct Threads {
    known: BTreeMap<u32, Option<Waits>>,
}

struct Waits {
    stat: File,
    waited: Duration,
    seen: Instant,
}

impl Threads {
    fn find(&mut self, tests: &[u32]) {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
        for task in tasks.flatten() {
            let Some(id) = task.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
            if self.known.contains_key(&id) {
                continue;
            }
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let matters = name.starts_with("milena-") || tests.contains(&id);
            let stat = File::open(task.path().join("schedstat")).ok().filter(|_| matters);
            self.known.insert(id, stat.and_then(Waits::new));
        }
    }

    fn sample(&mut self, stalls: &mut Vec<Stall>) {
        for (id, held) in &mut self.known {
            let Some(waits) = held else { continue };
            let Some(waited) = read_waited(&waits.stat) else {
                // The thread has ended.
                *held = None;
                continue;
            };
            let (now, lost) = (Instant::now(), waited.saturating_sub(waits.waited));
            if lost >= STALL_MIN {
                stalls.push(Stall { who: *id, began: waits.seen, ended: now, lost });
            }
            (waits.waited, waits.seen) = (waited, now);
        }
    }
}

impl Waits {
    fn new(stat: File) -> Option<Self> {
        let waited = read_waited(&stat)?;
        Some(Self { stat, waited, seen: Instant::now() })
    }
}

/// The second number: nanoseconds in which the thread could have run and did not.
fn read_waited(mut stat: &File) -> Option<Duration> {
    let mut text = [0; 96];
    stat.rewind().ok()?;
    let length = stat.read(&mut text).ok()?;
    let nanos = std::str::from_utf8(&text[..length]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn this_thread() -> Option<u32> {
    fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
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
