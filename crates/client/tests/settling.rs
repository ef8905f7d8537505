//! A process is killed with batches on their way, and another one tells from its journal what became of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use milena::{
    AfterDeadline, BatchFate, JournalError, Producer, ProducerConfig, Record, Settle, SettleError, SettledJournal,
    Undetermined,
};
use milena_broker::{Broker, BrokerOptions, Fault, FaultId};
use milena_wire::ApiKey;
use steered::Steered;

#[allow(dead_code, reason = "shared with other tests")]
mod steered;

const SOON: Duration = Duration::from_secs(60);
/// What the process that is killed is told by.
const BOOTSTRAP: &str = "MILENA_TEST_SETTLING_BOOTSTRAP";
const JOURNAL: &str = "MILENA_TEST_SETTLING_JOURNAL";

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("settling-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the target folder can be written");
        Self(path)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("orders.fates")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Not a test of its own: the process that the others kill. It writes one record, says so in a file, and then sends another.
#[test]
fn the_process_that_is_killed() {
    let (Ok(bootstrap), Ok(journal)) = (std::env::var(BOOTSTRAP), std::env::var(JOURNAL)) else { return };
    let config = ProducerConfig::new(bootstrap).deadline(SOON).fate_journal(&journal);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let written = run(orders.try_send_when_ready("before"));
    std::fs::write(format!("{journal}.written"), format!("{written:?}")).expect("is written");
    while !Path::new(&format!("{journal}.go")).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let late = orders.try_send(Record::value("late")).expect("there is room");
    run(late);
}

/// What the process does first.
trait FirstRecord {
    async fn try_send_when_ready(&self, value: &'static str) -> Option<i64>;
}

impl FirstRecord for milena::Topic {
    async fn try_send_when_ready(&self, value: &'static str) -> Option<i64> {
        self.ready(SOON).await.expect("is there");
        match self.try_send(value).expect("there is room").await {
            milena::Outcome::Written(at) => at.offset,
            other => panic!("{other:?}"),
        }
    }
}

/// The process, with one record written.
struct Process {
    child: Child,
    journal: PathBuf,
}

impl Process {
    fn start(bootstrap: &str, journal: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env(BOOTSTRAP, bootstrap)
            .env(JOURNAL, journal)
            .stdout(Stdio::null())
            .spawn()
            .expect("this program can be started");
        let mut process = Self { child, journal: journal.to_owned() };
        process.wait_for("written");
        process
    }

    fn beside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}.{name}", self.journal.display()))
    }

    fn wait_for(&mut self, name: &str) {
        let until = Instant::now() + SOON;
        while !self.beside(name).exists() {
            assert!(self.child.try_wait().expect("it is ours").is_none(), "it has ended");
            assert!(Instant::now() < until, "it does nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its second record goes out.
    fn send(&self) {
        std::fs::write(self.beside("go"), "").expect("is written");
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _has_ended = self.child.wait();
    }
}

fn settle(bootstrap: &str, journal: &Path) -> Settle {
    Settle::new(bootstrap, journal).timeout(SOON)
}

#[track_caller]
fn fates(settled: Result<SettledJournal, SettleError>) -> Vec<BatchFate> {
    let settled = settled.expect("is settled");
    assert_eq!((settled.damages.len(), &settled.unrecorded), (0, &None));
    settled.batches.iter().map(|batch| batch.fate).collect()
}

/// A broker, and a process that was killed before it heard of its second record.
struct Crash {
    broker: Broker,
    folder: Folder,
}

impl Crash {
    fn new(name: &str, is_executed: bool) -> Self {
        let folder = Folder::new(name);
        let broker = Broker::start(BrokerOptions::default()).expect("starts");
        broker.create_topic("orders", 1).expect("is made");
        let process = Process::start(broker.bootstrap(), &folder.journal());
        let fault = lose(&broker, is_executed);
        process.send();
        assert!(broker.faults().wait_for_hits(fault, 1, SOON));
        process.kill();
        broker.faults().remove(fault);
        Self { broker, folder }
    }

    fn settle(&self) -> Settle {
        settle(self.broker.bootstrap(), &self.folder.journal())
    }

    fn log(&self) -> Vec<String> {
        let records = self.broker.log("orders", 0).expect("is there").records.into_iter();
        records.map(|record| String::from_utf8_lossy(&record.value.expect("no tombstone")).into_owned()).collect()
    }
}

fn lose(broker: &Broker, is_executed: bool) -> FaultId {
    let fault = if is_executed { Fault::lose_answer() } else { Fault::close_before() };
    broker.faults().add(fault.api(ApiKey::PRODUCE))
}

const NO_FENCE: BatchFate = BatchFate::Undetermined(Undetermined::NoFence);

#[test]
fn what_was_written_before_the_crash_is_found_without_a_fence_and_also_when_nobody_answers_any_more() {
    let crash = Crash::new("found", true);
    let settled = run(crash.settle().run()).expect("is settled");
    let batch = &settled.batches[0];
    assert_eq!((&*batch.topic, batch.partition, batch.epoch, batch.sequence, batch.count), ("orders", 0, 0, 1, 1));
    assert_eq!((batch.base, batch.fate, batch.trouble.as_deref()), (Some(0), BatchFate::Written { offset: 1 }, None));
    assert!(settled.is_settled() && batch.opened_at <= batch.sent_at);
    assert_eq!(crash.log(), ["before", "late"]);
    let (again, bootstrap) = (crash.settle(), crash.broker.bootstrap().to_owned());
    crash.broker.stop();
    assert_eq!(run(again.run()), Ok(settled), "what was proven is in the journal");
    let elsewhere = crash.folder.0.join("nowhere");
    assert!(matches!(run(settle(&bootstrap, &elsewhere).run()), Err(SettleError::Journal(JournalError::Io { .. }))));
}

/// The request is held by the network when the process is killed: only a fence keeps it out, and settling once more says the same.
#[test]
fn a_request_that_comes_late_is_kept_out_by_the_fence_of_whoever_settles() {
    let folder = Folder::new("late");
    let broker = Steered::start(1, 1);
    let process = Process::start(&broker.bootstrap, &folder.journal());
    broker.hold("late");
    process.send();
    broker.wait_until_held(1);
    process.kill();
    let settle = || settle(&broker.bootstrap, &folder.journal());
    assert_eq!(fates(run(settle().run())), [NO_FENCE]);
    let copy = folder.0.join("copy");
    std::fs::copy(folder.journal(), &copy).expect("is copied");
    assert_eq!(fates(run(settle().fence_with("fence").run())), [BatchFate::NotWritten]);
    broker.let_arrive();
    assert_eq!(broker.records(0), 2, "the late copy is not in the log");
    assert_eq!(fates(run(settle().fence_with("fence").run())), [BatchFate::NotWritten]);
    assert_eq!(fates(run(settle().run())), [BatchFate::NotWritten]);
    // As if the first run had ended before it could note what it found.
    let settled = run(Settle::new(&broker.bootstrap, &copy).fence_with("fence").run());
    assert_eq!(fates(settled), [BatchFate::NotWritten]);
    assert_eq!(broker.records(0), 2, "there is one fence");
}

/// What the test above shows is the fence's work.
#[test]
fn a_request_that_comes_late_is_written_where_nothing_keeps_it_out_and_found_later() {
    let folder = Folder::new("unfenced");
    let broker = Steered::start(1, 1);
    let process = Process::start(&broker.bootstrap, &folder.journal());
    broker.hold("late");
    process.send();
    broker.wait_until_held(1);
    process.kill();
    let settle = || settle(&broker.bootstrap, &folder.journal());
    assert_eq!(fates(run(settle().run())), [NO_FENCE]);
    broker.let_arrive();
    assert_eq!(fates(run(settle().run())), [BatchFate::Written { offset: 1 }]);
}

#[test]
fn the_journal_of_a_process_that_is_alive_is_left_alone() {
    let folder = Folder::new("alive");
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    broker.create_topic("orders", 1).expect("is made");
    let process = Process::start(broker.bootstrap(), &folder.journal());
    let in_use = JournalError::InUse { path: folder.journal() };
    let settled = run(settle(broker.bootstrap(), &folder.journal()).fence_with("fence").run());
    assert_eq!(settled, Err(SettleError::Journal(in_use.clone())));
    let config = ProducerConfig::new(broker.bootstrap()).fate_journal(folder.journal());
    assert_eq!(Producer::new(config).expect_err("is in use"), milena::ConfigError::Journal(in_use));
    process.kill();
    assert_eq!(fates(run(settle(broker.bootstrap(), &folder.journal()).run())), [], "its record was answered");
}

#[test]
fn a_topic_that_was_made_anew_says_nothing_of_the_old_one() {
    let crash = Crash::new("anew", true);
    crash.broker.delete_topic("orders").expect("is there");
    crash.broker.create_topic("orders", 1).expect("is made");
    let gone = [BatchFate::Undetermined(Undetermined::TopicRecreated)];
    assert_eq!(fates(run(crash.settle().fence_with("fence").run())), gone);
    assert_eq!(crash.log(), [] as [&str; 0], "no fence is written to another topic");
}

#[test]
fn past_the_horizon_what_is_found_is_written_and_absence_proves_nothing() {
    let expired = [BatchFate::Undetermined(Undetermined::ProducerStateExpired)];
    let absent = Crash::new("absent", false);
    let old = |crash: &Crash| crash.settle().fence_with("fence").producer_id_expiration(Duration::ZERO);
    assert_eq!(fates(run(old(&absent).run())), expired);
    assert_eq!(fates(run(absent.settle().fence_with("fence").run())), [BatchFate::NotWritten]);
    let present = Crash::new("present", true);
    assert_eq!(fates(run(old(&present).run())), [BatchFate::Written { offset: 1 }]);
}

/// What the next producer of the same name finds stays there, and its own is struck out.
#[test]
fn a_restarted_process_keeps_what_is_in_doubt_and_closes_without_leaving_anything_of_its_own() {
    let crash = Crash::new("restarted", true);
    let config = ProducerConfig::new(crash.broker.bootstrap()).fate_journal(crash.folder.journal());
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    assert_eq!(run(orders.try_send_when_ready("after")), Some(2));
    run(producer.close(SOON));
    // Topics are handles too, and the journal is free all the same.
    assert_eq!(fates(run(crash.settle().run())), [BatchFate::Written { offset: 1 }]);
    drop(orders);
}

/// Its fate is told to be undetermined, and whoever settles the journal can find out more.
#[test]
fn what_a_producer_leaves_in_doubt_when_it_is_closed_can_be_settled() {
    let folder = Folder::new("closed");
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    broker.create_topic("orders", 1).expect("is made");
    let config =
        ProducerConfig::new(broker.bootstrap()).after_deadline(AfterDeadline::Withdraw).fate_journal(folder.journal());
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    run(orders.ready(SOON)).expect("is there");
    let fault = lose(&broker, true);
    let late = orders.try_send("late").expect("there is room");
    assert!(broker.faults().wait_for_hits(fault, 1, SOON));
    run(producer.close(Duration::ZERO));
    broker.faults().remove(fault);
    assert!(matches!(run(late), milena::Outcome::Unknown(_)));
    let settled = run(settle(broker.bootstrap(), &folder.journal()).run()).expect("is settled");
    assert_eq!((settled.batches[0].base, settled.batches[0].fate), (Some(-1), BatchFate::Written { offset: 0 }));
}
