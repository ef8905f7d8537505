//! Processes that share a data directory: one owns it, others are attached.

use std::fs::{self, File};
use std::net::TcpListener;

use crate::process::Folder;

const OWNS: &str = "a broker runs in this process at ";
const ATTACHED: &str = "attached to the broker at ";
const SERVES_ON: &str = "other processes use the broker";

#[test]
fn a_second_process_is_attached_to_the_broker_of_the_first() {
    let folder = Folder::new();
    let mut owner = folder.start("produce orders");
    owner.await_line(OWNS);
    let attached = folder.run("produce orders", b"from the second\n").with_code(0);
    assert!(attached.says(ATTACHED) && !attached.says(OWNS), "{}", attached.stderr);
    let consumed = folder.run("consume orders", b"").with_code(0);
    assert!(consumed.says(ATTACHED), "{}", consumed.stderr);
    assert_eq!(consumed.stdout, b"from the second\n");
    owner.write(b"from the first\n");
    let owner = owner.end().with_code(0);
    assert!(!owner.says(SERVES_ON), "{}", owner.stderr);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"from the second\nfrom the first\n");
}

#[test]
fn the_owner_serves_until_the_attached_are_done_and_says_so() {
    let folder = Folder::new();
    let mut owner = folder.start("produce orders");
    owner.await_line(OWNS);
    let mut attached = folder.start("produce orders");
    attached.await_line(ATTACHED);
    owner.write(b"owner\n");
    owner.close_stdin();
    owner.await_line("1 written");
    owner.await_line(SERVES_ON);
    attached.write(b"attached\n");
    let attached = attached.end().with_code(0);
    assert!(attached.says("1 written, 0 not written, 0 unknown"), "{}", attached.stderr);
    owner.end().with_code(0);
    let consumed = folder.run("consume orders", b"").with_code(0);
    assert!(consumed.says(OWNS), "{}", consumed.stderr);
    assert_eq!(consumed.stdout, b"owner\nattached\n");
}

#[test]
fn ctrl_c_ends_an_owner_that_serves_on() {
    let folder = Folder::new();
    let mut owner = folder.start("produce orders");
    owner.await_line(OWNS);
    let mut attached = folder.start("produce orders");
    attached.await_line(ATTACHED);
    owner.write(b"a\n");
    while folder.run("consume orders", b"").stdout != b"a\n" {}
    owner.interrupt();
    owner.await_line("1 written, 0 not written, 0 unknown");
    owner.await_line(SERVES_ON);
    owner.interrupt();
    owner.end().with_code(0);
    attached.kill();
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"a\n");
}

#[test]
fn a_stale_address_is_ignored() {
    let folder = Folder::new();
    fs::create_dir(folder.data()).expect("is made");
    fs::write(folder.data().join("address"), "127.0.0.1:1\n").expect("is written");
    let produced = folder.run("produce orders", b"a\n").with_code(0);
    assert!(produced.says(OWNS), "{}", produced.stderr);
    assert!(!folder.data().join("address").exists(), "the address outlives its owner");
}

#[test]
fn an_owner_that_ends_while_it_is_attached_to_is_followed() {
    let folder = Folder::new();
    fs::create_dir(folder.data()).expect("is made");
    let lock = File::create(folder.data().join(".lock")).expect("is made");
    lock.lock().expect("nobody else has it");
    let dying = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = dying.local_addr().expect("bound");
    fs::write(folder.data().join("address"), format!("{address}\n")).expect("is written");
    let produce = folder.start("produce orders");
    // It asks the address that it found; nobody answers, and the directory is given free.
    let (asking, _) = dying.accept().expect("it connects");
    lock.unlock().expect("it is ours");
    drop((asking, dying));
    let produced = produce.end().with_code(0);
    assert!(produced.says(OWNS), "{}", produced.stderr);
}

#[test]
fn many_processes_that_start_at_once_find_one_broker_after_the_other() {
    let folder = Folder::new();
    let running: Vec<_> = (0..6)
        .map(|number| {
            let mut running = folder.start("produce orders");
            running.write(format!("{number}\n").as_bytes());
            running.close_stdin();
            running
        })
        .collect();
    for process in running {
        let ended = process.end().with_code(0);
        assert!(ended.says("1 written, 0 not written, 0 unknown"), "{}", ended.stderr);
    }
    let consumed = folder.run("consume orders", b"").with_code(0).stdout;
    let mut lines: Vec<&[u8]> = consumed.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    assert_eq!(lines.concat(), b"0\n1\n2\n3\n4\n5\n");
}
