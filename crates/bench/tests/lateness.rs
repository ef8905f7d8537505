//! How late callers are released at their deadlines, without load and while several partitions are filled with large
//! records as fast as memory allows.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use milena::{Delivery, Outcome, Producer, ProducerConfig, Record, Topic};
use milena_bench::Sink;
use punctual::{Lateness, Millis, Watchdog};

#[path = "../../client/tests/punctual/mod.rs"]
#[allow(dead_code, reason = "shared with the client's tests")]
mod punctual;

const PARTITIONS: u32 = 8;
const DEADLINE: Duration = Duration::from_millis(300);

/// What the kernel, or whoever has the machine below it, takes from a thread that counts as running is seen by no watchdog: one
/// in so many may be late by it.
const UNSEEN_ONE_IN: usize = 500;

/// Not even those may be so late.
const FAR: Duration = Duration::from_millis(25);

/// One measurement at a time: each other's load is not what is measured.
static TURN: Mutex<()> = Mutex::new(());

/// The caller of one record, seen when its waker is called: what its executor does then is not the producer's.
struct Caller {
    due: Instant,
    told: OnceLock<Instant>,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.told.get_or_init(Instant::now);
    }
}

struct Setup {
    topic: Topic,
    producer: Producer,
    _sink: Sink,
}

fn setup(produce: &str) -> Setup {
    let sink = Sink::start_with(env!("CARGO_BIN_EXE_sink"), PARTITIONS, Some(produce));
    let config = ProducerConfig::new(sink.address())
        .deadline(DEADLINE)
        .request_timeout(Duration::from_millis(2100))
        .delivery_timeout(Duration::from_secs(3))
        .buffer_memory(256 << 20);
    let producer = Producer::new(config).expect("the configuration is sound");
    let topic = producer.topic("lateness").expect("a topic name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(topic.ready(Duration::from_secs(10))).expect("the sink answers");
    Setup { topic, producer, _sink: sink }
}

/// Hands over records for `long`, with this pause between them, and gives those callers that were not told "written".
fn run(setup: &Setup, long: Duration, sizes: &[usize], pause: Duration) -> Vec<Arc<Caller>> {
    let values: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
    let mut waiting: Vec<(Delivery, Arc<Caller>)> = Vec::new();
    let start = Instant::now();
    for number in 0u64.. {
        let value = &values[number as usize % values.len()];
        let key = (number % 101).to_be_bytes();
        if start.elapsed() > long {
            break;
        }
        match setup.topic.try_send(Record::value(value).key(&key)) {
            Ok(mut delivery) => {
                // Read after the call, which may have waited for a processor before it began.
                let caller = Arc::new(Caller { due: Instant::now() + DEADLINE, told: OnceLock::new() });
                let waker = Waker::from(Arc::clone(&caller));
                if Pin::new(&mut delivery).poll(&mut Context::from_waker(&waker)).is_pending() {
                    waiting.push((delivery, caller));
                }
            }
            // The buffer is full: somebody must leave first.
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    for (_, caller) in &waiting {
        // Waking the test for each would be its load, not the producer's; the last one is told soon.
        while caller.told.get().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let is_written = |delivery: &Delivery| matches!(delivery.try_outcome(), Some(Outcome::Written(_)));
    waiting.into_iter().filter(|(delivery, _)| !is_written(delivery)).map(|(_, caller)| caller).collect()
}

/// Posts records of these sizes as fast as memory allows, until told to stop.
fn load(topic: &Topic, sizes: &[usize], stop: &AtomicBool) {
    let values: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
    for number in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let key = (number % 101).to_be_bytes();
        if topic.post(Record::value(&values[number as usize % values.len()]).key(&key)).is_err() {
            thread::yield_now();
        }
    }
}

/// Small records into partitions whose leader is silent, while another broker takes what it can get from the same producer.
fn measure_beside_full_speed(sizes: &[usize]) {
    let watchdog = Watchdog::start();
    let mut setup = setup("0");
    let busy = setup.topic.clone();
    setup.topic = setup.producer.topic("silent").expect("a topic name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(setup.topic.ready(Duration::from_secs(10))).expect("the sink answers");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| load(&busy, sizes, &stop));
        let start = Instant::now();
        let seen = run(&setup, Duration::from_secs(5), &[100], Duration::from_millis(1));
        stop.store(true, Ordering::Relaxed);
        tell("small records beside 10 to 100 kB records at full speed", &watchdog, &setup, start, &seen);
    });
}

/// As many partitions as one topic may well have.
const MANY: u64 = 10_000;

/// Small records into partitions whose leader is silent, while `beside` does something with the same producer.
fn measure_beside(what: &str, beside: impl FnOnce(&Producer, &AtomicBool) + Send) {
    let watchdog = Watchdog::start();
    let mut setup = setup("0");
    setup.topic = setup.producer.topic("silent").expect("a topic name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(setup.topic.ready(Duration::from_secs(10))).expect("the sink answers");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| beside(&setup.producer, &stop));
        let start = Instant::now();
        let seen = run(&setup, Duration::from_secs(3), &[100], Duration::from_millis(1));
        stop.store(true, Ordering::Relaxed);
        tell(what, &watchdog, &setup, start, &seen);
    });
}

/// Topics of many partitions come, four a second.
fn many_appear(producer: &Producer, stop: &AtomicBool) {
    for number in 0.. {
        thread::sleep(Duration::from_millis(250));
        let topic = producer.topic(&format!("{number}-{MANY}")).expect("a topic name");
        while topic.partition_count() == 0 {
            if stop.load(Ordering::Relaxed) {
                return println!("{number} topics of {MANY} partitions appeared");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A record for each of many partitions, again and again; all of one round are due at the same time.
fn many_are_due(name: &str, producer: &Producer, stop: &AtomicBool) {
    let topic = producer.topic(&format!("{name}-{MANY}")).expect("a topic name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(topic.ready(Duration::from_secs(10))).expect("the sink answers");
    let (mut rounds, mut refused) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        for key in 0..2 * MANY {
            let key = key.to_be_bytes();
            refused += u64::from(topic.try_send(Record::value("v").key(&key)).is_err());
        }
        rounds += 1;
        thread::sleep(Duration::from_millis(100));
    }
    println!("{rounds} rounds of {} records, of which {refused} were refused", 2 * MANY);
}

#[test]
fn lateness_of_releases_beside_many_partitions() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    measure_beside("small records while topics of 10,000 partitions appear", many_appear);
    measure_beside("small records beside 10,000 partitions that are answered", |producer, stop| {
        many_are_due("prompt", producer, stop);
    });
    measure_beside("small records beside 10,000 partitions that are never answered", |producer, stop| {
        many_are_due("silent", producer, stop);
    });
}

fn measure(what: &str, produce: &str, sizes: &[usize], pause: Duration) {
    let watchdog = Watchdog::start();
    let setup = setup(produce);
    let start = Instant::now();
    let seen = run(&setup, Duration::from_secs(5), sizes, pause);
    tell(what, &watchdog, &setup, start, &seen);
}

fn tell(what: &str, watchdog: &Watchdog, setup: &Setup, start: Instant, seen: &[Arc<Caller>]) {
    let end = Instant::now();
    let mut lateness = Lateness::default();
    let (mut too_late, mut far_too_late) = (0, 0);
    for caller in seen {
        let told = *caller.told.get().expect("all were told");
        let late = told.saturating_duration_since(caller.due);
        lateness.note(late);
        if late > punctual::GRACE {
            let excuse = watchdog.excuse_between(caller.due, told);
            too_late += usize::from(late > punctual::GRACE + excuse);
            far_too_late += usize::from(late > FAR + excuse);
        }
    }
    let stall = Millis(watchdog.worst_between(start, end));
    println!(
        "measured: {what}: {}; {too_late} later than 10 ms and the stall then; somebody was not let run for {stall} in all; {} batches sent",
        lateness.summary(),
        setup.producer.stats().batches
    );
    assert!(lateness.count() >= 100, "{} releases are too few to tell", lateness.count());
    assert!(too_late <= seen.len().div_ceil(UNSEEN_ONE_IN), "{what}: {too_late} of {} too late", seen.len());
    assert_eq!(far_too_late, 0, "{what}");
}

#[test]
fn lateness_of_releases_with_and_without_load() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let large = [10_000, 100_000, 30_000];
    measure("idle, never answered", "never", &[100], Duration::from_millis(5));
    measure("10 to 100 kB records, never answered", "never", &large, Duration::ZERO);
    measure("10 to 100 kB records, answered after 400 ms", "400", &large, Duration::ZERO);
    measure_beside_full_speed(&large);
}
