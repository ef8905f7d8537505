//! The file, by itself.

use std::path::PathBuf;

use milena_core::producer::journal::DEAD_BYTES_MAX;

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("milena-journal-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, content: &str) -> PathBuf {
        let path = self.0.join("orders.fates");
        fs::write(&path, content).expect("is written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_journal_is_made_and_nobody_else_has_it_until_it_is_let_go() {
    let folder = Folder::new("made");
    let path = folder.0.join("orders.fates");
    let journal = FateJournal::open(&path).expect("is made");
    let in_use = JournalError::InUse { path: path.clone() };
    assert_eq!(FateJournal::open(&path).expect_err("is in use"), in_use);
    journal.release(Moment::START);
    drop(LockedFile::open(&path, false).expect("nobody has it"));
    assert_eq!(fs::read_to_string(&path).expect("is there"), "milena-fate-journal 1 1\n");
    assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_no_journal_is_left_as_it_was() {
    let folder = Folder::new("other");
    for (content, says) in [
        ("orders of today\n", "is not a fate journal: name another file"),
        ("milena-fate-journal 9 0\n", "is of version 9, this library writes and reads version 1"),
        ("milena-fate-journal 1 0\nsent 1\n", "line 2 of the fate journal"),
    ] {
        let path = folder.file(content);
        let error = FateJournal::open(&path).expect_err(content).to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("is there"), content);
    }
    let nowhere = folder.0.join("no/such/folder");
    assert!(matches!(FateJournal::open(&nowhere), Err(JournalError::Io { .. })));
    let path = folder.file("");
    fs::File::options().write(true).open(&path).expect("opens").set_len(JOURNAL_BYTES_MAX + 1).expect("grows");
    assert!(matches!(FateJournal::open(&path), Err(JournalError::TooLarge { .. })));
}

#[test]
fn what_was_written_in_part_is_cut_off_before_the_next_line() {
    let folder = Folder::new("part");
    let path = folder.file("milena-fate-journal 1 0\nsent 1 half of a li");
    let mut file = LockedFile::open(&path, false).expect("a journal");
    let whole = file.read().expect("a journal").whole_bytes as u64;
    file.append(whole, "next\n").expect("is written");
    assert_eq!(fs::read_to_string(&path).expect("is there"), "milena-fate-journal 1 0\nnext\n");
}

/// Whoever looks for the journal while it is replaced must not get the lock of the old file.
#[test]
fn a_journal_that_is_replaced_is_never_without_its_lock() {
    let folder = Folder::new("replaced");
    let path = folder.file("");
    let mut file = LockedFile::open(&path, false).expect("a journal");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) || looks == 0 {
                assert!(matches!(LockedFile::open(&path, false), Err(JournalError::InUse { .. })));
                looks += 1;
            }
        });
        let content = "x".repeat(DEAD_BYTES_MAX / 16);
        for _ in 0..300 {
            file.replace(&content).expect("is replaced");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        looking.join().expect("it never got it");
    });
}

/// As a disk that is full: nothing new is sent, and what waits is told why; with room there it goes on, and nothing is lost.
#[test]
fn while_the_journal_cannot_be_written_nothing_new_is_sent() {
    use crate::{AttemptError, NotWritten, Outcome, Producer, ProducerConfig, Record};
    let folder = Folder::new("full");
    let path = folder.0.join("orders.fates");
    let broker = milena_broker::Broker::start(milena_broker::BrokerOptions::default()).expect("starts");
    broker.create_topic("orders", 1).expect("is made");
    let soon = Duration::from_secs(60);
    let config = ProducerConfig::new(broker.bootstrap()).deadline(soon).fate_journal(&path);
    let producer = Producer::new(config).expect("is built");
    let orders = producer.topic("orders").expect("a name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let run = |delivery: crate::Delivery| runtime.block_on(delivery);
    runtime.block_on(orders.ready(soon)).expect("is there");
    let write = |value| orders.try_send(Record::value(value)).expect("there is room");
    assert!(matches!(run(write("before")), Outcome::Written(_)));
    let journal = || producer.handle.shared().journal.as_ref().expect("it has one").0.lock();
    // A file that can be read only.
    let good = std::mem::replace(
        &mut journal().file.as_mut().expect("it is open").file,
        File::open(&path).expect("it is there"),
    );
    let first = write("first");
    let until = std::time::Instant::now() + soon;
    while journal().retry_at.is_none() {
        assert!(std::time::Instant::now() < until, "nobody tries to write it");
        std::thread::yield_now();
    }
    let held = orders.try_send(Record::value("held").deadline(Duration::from_millis(50))).expect("there is room");
    let Outcome::NotWritten(why) = run(held) else { panic!("it cannot have been sent") };
    assert_eq!((why.reason, why.cause.last_error), (NotWritten::DeadlinePassed, Some(AttemptError::JournalFailed)));
    assert_eq!(broker.log("orders", 0).expect("is there").records.len(), 1);
    journal().file.as_mut().expect("it is open").file = good;
    assert!(matches!(run(first), Outcome::Written(_)), "it is tried again");
    assert!(matches!(run(write("after")), Outcome::Written(_)));
}
