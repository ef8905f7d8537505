//! How late callers are released at their deadlines, without load and while several partitions are filled with large
//! records as fast as memory allows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use milena::{Outcome, Producer, ProducerConfig, Record, Topic};
use milena_bench::Sink;
use punctual::{Lateness, Millis, Watchdog};

#[path = "../../client/tests/punctual/mod.rs"]
#[allow(dead_code, reason = "shared with the client's tests")]
mod punctual;

const PARTITIONS: u32 = 8;
const DEADLINE: Duration = Duration::from_millis(300);

/// What the caller of one record saw.
struct Seen {
    due: Instant,
    told: Instant,
    is_written: bool,
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

/// Hands over records for `long`, with this pause between them, and gives what the callers saw, each in a task of its own.
fn run(setup: &Setup, long: Duration, sizes: &[usize], pause: Duration) -> Vec<Seen> {
    let (accepted, deliveries) = mpsc::channel();
    let (seen, all) = mpsc::channel();
    let callers = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<(Instant, milena::Delivery)>();
        std::thread::spawn(move || deliveries.into_iter().try_for_each(|delivery| sender.send(delivery)));
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async move {
            while let Some((due, delivery)) = receiver.recv().await {
                let seen = seen.clone();
                tokio::task::spawn_local(async move {
                    let is_written = matches!(delivery.await, Outcome::Written(_));
                    seen.send(Seen { due, told: Instant::now(), is_written }).expect("the test listens");
                });
            }
        });
        runtime.block_on(tasks);
    });
    let values: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
    let start = Instant::now();
    for number in 0u64.. {
        let value = &values[number as usize % values.len()];
        let key = (number % 101).to_be_bytes();
        let called = Instant::now();
        if called - start > long {
            break;
        }
        match setup.topic.try_send(Record::value(value).key(&key)) {
            Ok(delivery) => accepted.send((called + DEADLINE, delivery)).expect("the callers listen"),
            // The buffer is full: somebody must leave first.
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    drop(accepted);
    callers.join().expect("no panic");
    all.into_iter().collect()
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
            std::thread::yield_now();
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
    std::thread::scope(|scope| {
        scope.spawn(|| load(&busy, sizes, &stop));
        let start = Instant::now();
        let seen = run(&setup, Duration::from_secs(5), &[100], Duration::from_millis(1));
        stop.store(true, Ordering::Relaxed);
        tell("small records beside 10 to 100 kB records at full speed", &watchdog, &setup, start, seen);
    });
}

fn measure(what: &str, produce: &str, sizes: &[usize], pause: Duration) {
    let watchdog = Watchdog::start();
    let setup = setup(produce);
    let start = Instant::now();
    let seen = run(&setup, Duration::from_secs(5), sizes, pause);
    tell(what, &watchdog, &setup, start, seen);
}

fn tell(what: &str, watchdog: &Watchdog, setup: &Setup, start: Instant, seen: Vec<Seen>) {
    let end = Instant::now();
    let mut lateness = Lateness::default();
    let (mut written, mut too_late) = (0, 0);
    for Seen { due, told, is_written } in seen {
        if is_written {
            written += 1;
            continue;
        }
        let late = told.saturating_duration_since(due);
        lateness.note(late);
        if late > punctual::GRACE && late > punctual::GRACE + watchdog.worst_between(due, told) {
            too_late += 1;
        }
    }
    let stall = Millis(watchdog.worst_between(start, end));
    println!(
        "measured: {what}: {}; {too_late} later than 10 ms and the stall then; longest stall {stall}; {written} written, {:?}",
        lateness.summary(),
        setup.producer.stats()
    );
    assert!(lateness.count() >= 100, "{} releases are too few to tell", lateness.count());
}

#[test]
fn lateness_of_releases_with_and_without_load() {
    let large = [10_000, 100_000, 30_000];
    measure("idle, never answered", "never", &[100], Duration::from_millis(5));
    measure("10 to 100 kB records, never answered", "never", &large, Duration::ZERO);
    measure("10 to 100 kB records, answered after 400 ms", "400", &large, Duration::ZERO);
    measure_beside_full_speed(&large);
}
