//! Wherever a record is when its deadline ends, its caller is told then, with the right outcome and its cause.

use std::net::{TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use milena::{
    AttemptError, Cause, ConnectionError, Delivery, Fate, NotWritten, Outcome, Producer, ProducerConfig, Record,
    SendRefused, Settlement, Topic,
};
use milena_broker::{Fault, NodeId, PartitionIndex, ProduceFault, Stop};
use milena_wire::{ApiKey, ErrorCode};
use punctual::{Lateness, Watchdog};
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod punctual;
#[allow(dead_code, reason = "shared with other tests")]
mod steered;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_millis(250);
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A producer with a short deadline at a broker that does as it is told.
struct Stage {
    watchdog: Watchdog,
    broker: Steered,
    producer: Producer,
    orders: Topic,
    /// Of its producer.
    deadline: Duration,
}

fn config(bootstrap: &str) -> ProducerConfig {
    ProducerConfig::new(bootstrap).deadline(DEADLINE).request_timeout(Duration::from_millis(2100))
}

impl Stage {
    fn new() -> Self {
        Self::with(Steered::start(1, 1), |config| config)
    }

    fn with(broker: Steered, configure: impl FnOnce(ProducerConfig) -> ProducerConfig) -> Self {
        let producer = Producer::new(configure(config(&broker.bootstrap))).expect("is built");
        let orders = producer.topic("orders").expect("a name");
        Self { watchdog: Watchdog::start(), broker, producer, orders, deadline: DEADLINE }
    }

    /// Batches fill for longer than the test takes; records have deadlines of their own.
    fn lingering() -> Self {
        Self::with(Steered::start(1, 1), |config| {
            config.linger(FOR_EVER).deadline(2 * FOR_EVER).delivery_timeout(2 * FOR_EVER)
        })
    }

    fn ready(self) -> Self {
        run(self.orders.ready(SOON)).expect("is there");
        self
    }

    /// A record that is refused at its deadline.
    fn refused(&self, value: &[u8]) -> SendRefused {
        let called = Instant::now();
        let (answer, begun) = run(punctual::begun(self.orders.send(Record::value(value))));
        let told = Instant::now();
        let refused = answer.expect_err("there is no place for it");
        self.watchdog.assert_on_time(begun + self.deadline, told);
        assert!(called.elapsed() >= self.deadline, "{:?}", called.elapsed());
        refused.reason().clone()
    }

    /// A record that is accepted now.
    fn accepted(&self, value: &[u8]) -> Sent<'_> {
        let called = Instant::now();
        let delivery = self.orders.try_send(Record::value(value)).expect("accepted");
        Sent { stage: self, called, accepted: Instant::now(), delivery }
    }
}

struct Sent<'a> {
    stage: &'a Stage,
    called: Instant,
    accepted: Instant,
    delivery: Delivery,
}

impl Sent<'_> {
    fn outcome(self) -> Outcome {
        let outcome = run(self.delivery);
        self.stage.watchdog.assert_on_time(self.accepted + self.stage.deadline, Instant::now());
        assert!(self.called.elapsed() >= self.stage.deadline, "{outcome:?} after {:?}", self.called.elapsed());
        outcome
    }

    #[track_caller]
    fn not_written(self) -> Cause {
        let Outcome::NotWritten(why) = self.outcome() else { panic!("it was not claimed") };
        assert_eq!(why.reason, NotWritten::DeadlinePassed);
        why.cause
    }

    #[track_caller]
    fn unknown(self) -> Fate {
        let Outcome::Unknown(fate) = self.outcome() else { panic!("it was claimed and not answered") };
        fate
    }
}

fn written(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Written(at) => at.offset.expect("told"),
        other => panic!("{other:?}"),
    }
}

fn offset_of(settlement: Settlement) -> i64 {
    match settlement {
        Settlement::Written(at) => at.offset.expect("told"),
        other => panic!("{other:?}"),
    }
}

/// Never sent, for want of this at node 1.
fn unsent(last_error: Option<AttemptError>) -> Cause {
    Cause { attempts: 0, node: Some(1), last_error }
}

#[test]
fn while_its_topic_is_not_known() {
    let stage = Stage::with(Steered::start(1, 1), |config| config);
    stage.broker.keep_back(ApiKey::METADATA);
    // A producer of its own: the first one may have been faster.
    let producer = Producer::new(config(&stage.broker.bootstrap)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let stage = Stage { producer, orders, ..stage };
    let SendRefused::Unreachable { faults } = stage.refused(b"v") else { panic!("nobody has answered") };
    assert!(matches!(faults[0].error, ConnectionError::TimedOut { api: "Metadata", .. }), "{}", faults[0]);
}

#[test]
fn while_no_name_of_a_broker_is_found() {
    let producer = Producer::new(config("no-such-host.invalid:9092")).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let stage = Stage { producer, orders, ..Stage::new() };
    let SendRefused::Unreachable { faults } = stage.refused(b"v") else { panic!("nobody can answer") };
    // Whether the lookup has failed by then, or still goes on, is up to the machine's resolver.
    let is_told = |error: &ConnectionError| {
        matches!(error, ConnectionError::NameNotResolved { .. } | ConnectionError::NotYet { .. })
    };
    assert!(is_told(&faults[0].error), "{}", faults[0]);
}

/// The kernel opens the connection, and nobody is there.
#[test]
fn while_a_connection_is_half_open() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let silent = thread::spawn(move || listener.accept().expect("one dials").0);
    let producer = Producer::new(config(&address)).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let stage = Stage { producer, orders, ..Stage::new() };
    let SendRefused::Unreachable { faults } = stage.refused(b"v") else { panic!("nobody has answered") };
    assert_eq!((faults.len(), &faults[0].address), (1, &address));
    assert!(matches!(faults[0].error, ConnectionError::TimedOut { api: "ApiVersions", .. }), "{}", faults[0]);
    let _held: TcpStream = silent.join().expect("no panic");
}

#[test]
fn while_no_producer_id_is_given() {
    let broker = Steered::start(1, 1);
    broker.keep_back(ApiKey::INIT_PRODUCER_ID);
    let stage = Stage::with(broker, |config| config);
    run(async {
        while stage.orders.partition_count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let cause = stage.accepted(b"v").not_written();
    assert_eq!((cause.attempts, cause.last_error), (0, Some(AttemptError::NoProducerId)));
}

#[test]
fn while_its_batch_fills() {
    let stage = Stage::lingering().ready();
    let delivery = stage.orders.try_send(Record::value("v").deadline(DEADLINE)).expect("accepted");
    let accepted = Instant::now();
    let Outcome::NotWritten(why) = run(delivery) else { panic!("its batch lingers") };
    stage.watchdog.assert_on_time(accepted + DEADLINE, Instant::now());
    assert_eq!((why.reason, why.cause), (NotWritten::DeadlinePassed, unsent(None)));
    assert_eq!(stage.broker.records(0), 0);
}

/// The first batch of a producer id flies alone; what comes behind it is not claimed before it is acknowledged.
#[test]
fn while_its_partition_has_no_slot_free() {
    let stage = Stage::new().ready();
    stage.broker.keep_back(ApiKey::PRODUCE);
    let first = stage.accepted(b"first");
    stage.broker.wait_until_kept_back(1);
    let second = stage.accepted(b"second");
    let fate = first.unknown();
    assert_eq!(fate.cause(), Cause { attempts: 1, node: Some(1), last_error: None });
    assert_eq!(second.not_written(), unsent(None));
    stage.broker.answer_all();
    assert_eq!(offset_of(run(fate)), 0);
    assert_eq!(run(stage.producer.close(SOON)).records(), 0);
    assert_eq!(stage.broker.records(0), 1, "what was told not to be written is not");
}

#[test]
fn while_the_broker_asks_for_patience() {
    let stage = Stage::new().ready();
    let throttled = Fault::throttle(Duration::from_secs(2)).api(ApiKey::PRODUCE).once();
    stage.broker.steer(|cluster, now| cluster.add_fault(now, throttled));
    assert_eq!(written(run(stage.accepted(b"first").delivery)), 0);
    assert_eq!(stage.accepted(b"second").not_written(), unsent(None));
    assert_eq!(stage.broker.records(0), 1);
}

/// More than the kernel takes: the request is never written whole, so it is not executed once its connection is gone.
#[test]
fn while_the_socket_takes_no_more_bytes() {
    // Before it ends, the batch must have been made, which takes a while without optimisation.
    let deadline = Duration::from_millis(1500);
    let big = |config: ProducerConfig| {
        config
            .deadline(deadline)
            .max_request_size(17 << 20)
            .batch_size(16 << 20)
            .buffer_memory(128 << 20)
            .delivery_timeout(Duration::from_secs(3))
    };
    let stage = Stage { deadline, ..Stage::with(Steered::start(1, 1), big).ready() };
    stage.broker.read_nothing(true);
    let fate = stage.accepted(&vec![7; 16 << 20]).unknown();
    assert_eq!(fate.cause(), Cause { attempts: 1, node: Some(1), last_error: None });
    let Settlement::NotWritten(why) = run(fate) else { panic!("no attempt was written whole") };
    assert_eq!(why.cause.last_error, Some(AttemptError::RequestTimedOut), "{why}");
    assert_eq!(stage.broker.records(0), 0);
}

#[test]
fn while_it_is_tried_again_and_again() {
    let stage = Stage::new().ready();
    let code = ErrorCode::NOT_ENOUGH_REPLICAS;
    let fault = ProduceFault { code, appended: false, times: u32::MAX };
    stage.broker.steer(|cluster, _| cluster.plant("orders", PartitionIndex(0), fault));
    let fate = stage.accepted(b"v").unknown();
    let cause = fate.cause();
    assert!(cause.attempts >= 2, "{cause}");
    assert_eq!((cause.node, cause.last_error), (Some(1), Some(AttemptError::Kafka(code.into()))));
}

/// SIGSTOP: the connection is open, and nobody is there any more.
#[test]
fn while_its_broker_is_frozen() {
    let stage = Stage::new().ready();
    assert_eq!(written(run(stage.accepted(b"first").delivery)), 0);
    stage.broker.steer(|cluster, now| cluster.freeze(now, NodeId(1))).expect("it runs");
    let fate = stage.accepted(b"second").unknown();
    assert_eq!(fate.cause(), Cause { attempts: 1, node: Some(1), last_error: None });
    stage.broker.steer(|cluster, now| cluster.thaw(now, NodeId(1))).expect("it is frozen");
    assert_eq!(offset_of(run(fate)), 1);
    assert_eq!(stage.broker.records(0), 2, "once");
}

/// SIGKILL: connections close, and no other node has the partition.
#[test]
fn while_its_broker_is_gone() {
    let stage = Stage::with(Steered::start(2, 2), |config| config).ready();
    let partition_of_2 = Record::value("v").key("a");
    let at = run(async { stage.orders.send(partition_of_2.clone()).await.expect("accepted").await });
    let Outcome::Written(at) = at else { panic!("{at:?}") };
    let leader = NodeId(at.partition + 1);
    stage.broker.steer(|cluster, now| cluster.stop(now, leader, Stop::Kill)).expect("it has a process");
    let called = Instant::now();
    let delivery = stage.orders.try_send(partition_of_2).expect("accepted");
    let sent = Sent { stage: &stage, called, accepted: Instant::now(), delivery };
    let (reason, cause) = match sent.outcome() {
        Outcome::NotWritten(why) => (Some(why.reason), why.cause),
        // The connection was not known to be lost when the batch was claimed.
        Outcome::Unknown(fate) => (None, fate.cause()),
        Outcome::Written(at) => panic!("{at:?}"),
    };
    assert!(reason.is_none_or(|reason| reason == NotWritten::DeadlinePassed));
    assert!(cause.last_error.is_some(), "{cause}");
}

#[test]
fn while_there_is_no_room() {
    let small = |config: ProducerConfig| {
        config.max_request_size(100_000).batch_size(90_000).buffer_memory(260_000).partition_memory_share(1.0)
    };
    let stage = Stage::with(Steered::start(1, 1), small).ready();
    stage.broker.keep_back(ApiKey::PRODUCE);
    let value = vec![7; 80_000];
    let mut held = Vec::new();
    while let Ok(delivery) = stage.orders.try_send(Record::value(&value).deadline(SOON)) {
        held.push(delivery);
    }
    assert!(held.len() >= 2, "{}", held.len());
    assert_eq!(stage.refused(&value), SendRefused::BufferFull);
}

/// Each record of one batch has the deadline that its caller gave it. The batch is not claimed before the one before it is
/// acknowledged; what is left of it then is sent.
#[test]
fn deadlines_of_one_batch_differ() {
    let stage = Stage::with(Steered::start(1, 1), |config| config.deadline(SOON)).ready();
    stage.broker.keep_back(ApiKey::PRODUCE);
    let first = stage.orders.try_send(Record::value("first")).expect("accepted");
    stage.broker.wait_until_kept_back(1);
    let called = Instant::now();
    let accepted = |deadline| stage.orders.try_send(Record::value("v").deadline(deadline)).expect("accepted");
    let kept = accepted(Duration::from_secs(3 * 86_400));
    let mut sent: Vec<_> = [900, 100, 0, 400, 101, 700, 399, 250]
        .map(Duration::from_millis)
        .map(|deadline| (deadline, accepted(deadline), Instant::now()))
        .into();
    sent.sort_by_key(|(deadline, ..)| *deadline);
    for (deadline, delivery, accepted) in sent {
        let Outcome::NotWritten(why) = run(delivery) else { panic!("its batch waits") };
        assert_eq!(why.reason, NotWritten::DeadlinePassed);
        stage.watchdog.assert_on_time(accepted + deadline, Instant::now());
        assert!(called.elapsed() >= deadline);
    }
    assert!(kept.try_outcome().is_none(), "it has three days");
    stage.broker.answer_all();
    assert_eq!([written(run(first)), written(run(kept))], [0, 1]);
    assert_eq!(stage.broker.records(0), 2);
}

#[test]
fn a_deadline_of_nothing_waits_for_nothing() {
    let stage = Stage::lingering().ready();
    let delivery = stage.orders.try_send(Record::value("v").deadline(Duration::ZERO)).expect("accepted");
    let accepted = Instant::now();
    let Outcome::NotWritten(why) = run(delivery) else { panic!("its batch lingers") };
    stage.watchdog.assert_on_time(accepted, Instant::now());
    assert_eq!((why.reason, why.cause), (NotWritten::DeadlinePassed, unsent(None)));
    let stage = Stage::with(Steered::start(1, 1), |config| config.deadline(Duration::ZERO));
    let unknown = stage.producer.topic("unknown").expect("a name");
    let mut send = pin!(unknown.send(Record::value("v")));
    let polled = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_ready(), "there is nothing to wait for");
}

/// The caller of one record, seen when its waker is called: what its executor does then is not the producer's.
struct Caller {
    /// Not told before.
    due: Instant,
    /// What is later than this is late: the call may have waited for a processor.
    due_at_last: Instant,
    told: OnceLock<Instant>,
    all: Arc<Everybody>,
}

/// Told once, when the last caller is: a wake-up for each would be the test's load, not the producer's.
struct Everybody {
    waiting: AtomicUsize,
    test: Thread,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        if self.told.set(Instant::now()).is_ok() && self.all.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.all.test.unpark();
        }
    }
}

/// Nobody who is released is told early, and everybody on time.
#[test]
fn many_callers_are_told_at_their_own_deadlines() {
    let stage = Stage::with(Steered::start(1, 4), |config| config).ready();
    stage.broker.keep_back(ApiKey::PRODUCE);
    let start = Instant::now();
    let callers = 20_000;
    let all = Arc::new(Everybody { waiting: AtomicUsize::new(callers), test: thread::current() });
    let mut waiting = Vec::new();
    for number in 0..callers as u64 {
        let deadline = Duration::from_millis(200 + number * 7919 % 1000);
        let due = Instant::now() + deadline;
        let mut delivery = stage.orders.try_send(Record::value("v").deadline(deadline)).expect("accepted");
        let due_at_last = Instant::now() + deadline;
        let caller = Arc::new(Caller { due, due_at_last, told: OnceLock::new(), all: Arc::clone(&all) });
        let waker = Waker::from(Arc::clone(&caller));
        assert!(Pin::new(&mut delivery).poll(&mut Context::from_waker(&waker)).is_pending());
        waiting.push((delivery, caller));
    }
    while all.waiting.load(Ordering::SeqCst) > 0 {
        thread::park();
    }
    let mut lateness = Lateness::default();
    for (delivery, caller) in waiting {
        let told = caller.told.get().expect("everybody was told");
        assert!(*told >= caller.due, "told early");
        assert!(!matches!(delivery.try_outcome(), None | Some(Outcome::Written(_))));
        lateness.note(stage.watchdog.assert_on_time(caller.due_at_last, *told));
    }
    let stall = punctual::Millis(stage.watchdog.worst_between(start, Instant::now()));
    println!(
        "measured: callers with deadlines of their own: {}; somebody was not let run for {stall} in all",
        lateness.summary()
    );
}
