//! What "on time" means in a test: the deadline, 10 ms, and the time in which the machine did not let those run who are on
//! the way to the caller. Watchdogs measure the last one, so that a loaded machine fails no test and a lazy producer fails it
//! on every machine.
//!
//! Two kinds of stall: a thread that is on the way (of the deadlines, of reports, of the test) wanted to run and was not let,
//! which the system tells (Linux); or the machine as a whole stood still: a dog overslept its nap by more than it waited for a
//! processor. Only what lies between the deadline and its caller is excused; on a loaded machine somebody always waits
//! for something.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{Read, Seek};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The promise, beside the stall.
pub const GRACE: Duration = Duration::from_millis(10);

/// What a test's own thread may take to be woken and to look at its clock: that is no lateness of the producer's, and a thread
/// that sleeps elsewhere does not see it.
const LISTENING: Duration = Duration::from_millis(2);

/// What came of it, and when the first poll was over: a deadline that counts from the call does not count from later. The
/// call itself may wait for a processor before it begins.
pub async fn begun<T>(future: impl Future<Output = T>) -> (T, Instant) {
    let (mut future, mut begun) = (pin!(future), None);
    let value = poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        begun.get_or_insert_with(Instant::now);
        polled
    });
    (value.await, begun.expect("it was polled"))
}

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
    /// By their ends, so that what lies far from a stretch of time is not looked at.
    stalls: Vec<Stall>,
    /// From the beginning of a stall to its end, at most.
    longest: Duration,
    /// The end of each dog's last nap.
    newest: Vec<Option<Instant>>,
    /// Threads of tests, which the dogs shall look after.
    tests: Vec<u32>,
}

impl Log {
    /// Those that share some time with this stretch.
    fn around(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Stall> {
        let first = self.stalls.partition_point(|stall| stall.ended < from);
        let last_end = to + self.longest;
        let near = self.stalls[first..].iter().take_while(move |stall| stall.ended <= last_end);
        near.filter(move |stall| stall.began <= to)
    }

    /// Nearly always the newest so far.
    fn note(&mut self, stall: Stall) {
        self.longest = self.longest.max(stall.ended - stall.began);
        let newer = self.stalls.iter().rev().take_while(|other| other.ended > stall.ended).count();
        self.stalls.insert(self.stalls.len() - newer, stall);
    }
}

/// Somebody lost so much of the time between these two.
struct Stall {
    who: Who,
    began: Instant,
    ended: Instant,
    lost: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// The machine, as this dog saw it.
    Dog(usize),
    /// A thread of the producer's, or of a test.
    Thread(Role, u32),
}

/// What a thread is on the way from a deadline to its caller. Other tests of the process have threads of the same roles;
/// which of them serves whom is not told, so the worst of each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Deadlines,
    Reports,
    /// Everything else of the producer's: on the way of an answer, not on that of a deadline.
    Driver,
    Test,
}

impl Role {
    fn named(name: &str) -> Option<Self> {
        // Linux keeps fifteen bytes of a thread's name. A process of tests may begin with "milena-" too.
        Some(match name.trim_end() {
            "milena-deadline" => Self::Deadlines,
            "milena-reports" => Self::Reports,
            "milena-driver" => Self::Driver,
            _ => return None,
        })
    }
}

impl Stall {
    /// How much of it may lie between these two.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let overlap = self.ended.min(to).saturating_duration_since(self.began.max(from));
        self.lost.min(overlap)
    }
}

/// A part of a stall that it takes to release all who became due in it: 20,000 a second, each 6 µs without optimisation and with a cold cache.
const CATCHING_UP: u32 = 8;

const NAP: Duration = Duration::from_millis(1);

/// Timers of an idle machine oversleep less.
const STALL_MIN: Duration = Duration::from_micros(200);

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

    /// Forgets what went by until now: nobody will ask for it any more, in any test of the process. For those that run for hours.
    pub fn forget(&self) {
        self.watched.lock().stalls.clear();
    }

    /// How much time somebody lost between these two, at most, be it on whatever way. Waits until every dog has seen the end of
    /// it.
    pub fn worst_between(&self, from: Instant, to: Instant) -> Duration {
        self.lost_between(from, to).into_values().max().unwrap_or_default()
    }

    /// How much of the time between a deadline and this moment those lost who are on the way to the calling thread. They run
    /// one after the other, so their losses add up. Who became due meanwhile leaves when it is over, all at once: a little more
    /// is theirs.
    pub fn excuse_between(&self, from: Instant, to: Instant) -> Duration {
        let (mut machine, mut roles) = (Duration::ZERO, BTreeMap::<Role, Duration>::new());
        let here = this_thread();
        for (who, lost) in self.lost_between(from, to) {
            match who {
                Who::Dog(_) => machine = machine.max(lost),
                Who::Thread(Role::Driver, _) => {}
                Who::Thread(Role::Test, id) if Some(id) != here => {}
                Who::Thread(role, _) => {
                    let worst = roles.entry(role).or_default();
                    *worst = lost.max(*worst);
                }
            }
        }
        let stall = machine + roles.into_values().sum::<Duration>();
        stall + stall / CATCHING_UP
    }

    fn lost_between(&self, from: Instant, to: Instant) -> BTreeMap<Who, Duration> {
        let unseen = |log: &mut Log| log.newest.iter().any(|newest| newest.is_none_or(|newest| newest < to));
        let log = self.watched.woke.wait_while(self.watched.lock(), unseen).unwrap_or_else(PoisonError::into_inner);
        let mut lost: BTreeMap<Who, Duration> = BTreeMap::new();
        for stall in log.around(from, to) {
            *lost.entry(stall.who).or_default() += stall.within(from, to);
        }
        lost
    }

    /// How long after its deadline somebody was told.
    ///
    /// # Panics
    /// If that was not on time.
    #[track_caller]
    pub fn assert_on_time(&self, due: Instant, told: Instant) -> Duration {
        let late = told.saturating_duration_since(due);
        if late > GRACE {
            let stall = self.excuse_between(due, told);
            assert!(
                late <= GRACE + LISTENING + stall,
                "told {late:?} after the deadline; those on the way were not let run for {stall:?} then"
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
        // What a dog waits for a processor is no stall of the machine: it is on nobody's way.
        let mut own = File::open("/proc/thread-self/schedstat").ok().map(|stat| Waits::new(Role::Test, stat));
        loop {
            let began = Instant::now();
            std::thread::sleep(NAP);
            let ended = Instant::now();
            let queued = own.as_mut().and_then(|own| own.grown(ended)).map_or(Duration::ZERO, |(_, queued)| queued);
            let lost = (ended - began).saturating_sub(NAP + queued);
            let mut stalls = Vec::new();
            if lost >= STALL_MIN {
                stalls.push(Stall { who: Who::Dog(dog), began, ended, lost });
            }
            if let Some(threads) = &mut threads {
                let tests = self.lock().tests.clone();
                threads.find(&tests);
                threads.sample(&mut stalls);
            }
            let mut log = self.lock();
            log.newest[dog] = Some(ended);
            stalls.drain(..).for_each(|stall| log.note(stall));
            drop(log);
            self.woke.notify_all();
        }
    }
}

/// Threads that matter, by their ids, and what they have waited for a processor.
#[derive(Default)]
struct Threads {
    known: BTreeMap<u32, Option<Waits>>,
    /// Threads of the process, and of tests among them, at the last look.
    counts: (u64, usize),
}

struct Waits {
    role: Role,
    stat: File,
    waited: Duration,
    seen: Instant,
}

impl Threads {
    /// Looks for new ones, if there may be some.
    fn find(&mut self, tests: &[u32]) {
        let counts = (thread_count(), tests.len());
        if std::mem::replace(&mut self.counts, counts) == counts {
            return;
        }
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
        for task in tasks.flatten() {
            let Some(id) = task.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
            // A thread has its name a moment after it has begun, and a test may be one later.
            if self.known.get(&id).is_some_and(Option::is_some) {
                continue;
            }
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let role = Role::named(&name).or_else(|| tests.contains(&id).then_some(Role::Test));
            let stat = role.and_then(|role| Some((role, File::open(task.path().join("schedstat")).ok()?)));
            self.known.insert(id, stat.map(|(role, stat)| Waits::new(role, stat)));
        }
    }

    fn sample(&mut self, stalls: &mut Vec<Stall>) {
        for (id, held) in &mut self.known {
            let Some(waits) = held else { continue };
            let now = Instant::now();
            let Some((began, lost)) = waits.grown(now) else {
                // The thread has ended; what it waited last is not told any more.
                *held = None;
                continue;
            };
            if lost >= STALL_MIN {
                stalls.push(Stall { who: Who::Thread(waits.role, *id), began, ended: now, lost });
            }
        }
    }
}

impl Waits {
    /// What it waited since it began is not looked at yet.
    fn new(role: Role, stat: File) -> Self {
        Self { role, stat, waited: Duration::ZERO, seen: Instant::now() }
    }

    /// What more was waited, and since when at the earliest; none if the thread has ended. The system counts a wait when it
    /// is over, so it may have begun long before the last look.
    fn grown(&mut self, now: Instant) -> Option<(Instant, Duration)> {
        let waited = read_waited(&self.stat)?;
        let lost = waited.saturating_sub(std::mem::replace(&mut self.waited, waited));
        let seen = std::mem::replace(&mut self.seen, now);
        Some((seen.checked_sub(lost).unwrap_or(seen), lost))
    }
}

/// Linux counts a folder's folders among its links; elsewhere nobody is found anyway.
#[cfg(unix)]
fn thread_count() -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self/task").map_or(0, |tasks| tasks.nlink())
}

#[cfg(not(unix))]
fn thread_count() -> u64 {
    0
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
