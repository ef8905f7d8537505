//! Exit codes and the sentences that go with them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::process::Folder;
use crate::round_trip::broker;
use crate::stubborn::Stubborn;

#[test]
fn a_mistake_in_the_arguments_is_2_and_help_is_0() {
    let folder = Folder::new();
    for arguments in ["", "produce", "consume", "produce orders --linger soon", "sing"] {
        let ended = folder.run(arguments, b"").with_code(2);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{arguments}");
    }
    for command in ["produce", "consume", "topics", "broker"] {
        let help = String::from_utf8(folder.run("--help", b"").with_code(0).stdout).expect("is text");
        assert!(help.contains(command), "{help}");
    }
    let version = folder.run("--version", b"").with_code(0).stdout;
    assert_eq!(version, format!("milena {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    assert!(!folder.data().exists());
}

#[test]
fn a_missing_topic_on_a_named_cluster_needs_create() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    let server = format!("--bootstrap-server {address}");
    let refused = folder.run(&format!("produce orders {server}"), b"a\n").with_code(2);
    assert!(refused.says("topic orders does not exist") && refused.says("--create"), "{}", refused.stderr);
    folder.run(&format!("produce orders {server} --create --partitions 2"), b"a\n").with_code(0);
    folder.run(&format!("produce orders {server} --create"), b"b\n").with_code(0);
    let exists = folder.run(&format!("topics create orders {server}"), b"").with_code(1);
    assert!(exists.says("topic orders exists already"), "{}", exists.stderr);
    let consumed = folder.run(&format!("consume orders {server}"), b"").with_code(0).stdout;
    assert_eq!(consumed.len(), 4);
    assert!(!folder.data().exists(), "a named cluster needs no data directory");
}

#[test]
fn partitions_of_a_named_cluster_need_create_and_the_embedded_broker_does_not() {
    let folder = Folder::new();
    folder.run("produce orders --partitions 3", b"a\n").with_code(0);
    let absent = folder.run("consume orders --partition 3", b"").with_code(2);
    assert!(absent.says("it has 3, numbered from 0"), "{}", absent.stderr);
    let refused = folder.run("produce orders --partitions 3 --bootstrap-server 127.0.0.1:1", b"").with_code(2);
    assert!(refused.says("--partitions needs --create"), "{}", refused.stderr);
}

#[test]
fn what_cannot_begin_says_why_in_one_line() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "").expect("is written");
    for (arguments, sentence) in [
        (
            "produce orders --bootstrap-server 127.0.0.1:1".to_owned(),
            "no broker can be reached: 127.0.0.1:1: ".to_owned(),
        ),
        ("produce orders --bootstrap-server nowhere".to_owned(), "not of the form host:port".to_owned()),
        ("produce orders --bootstrap-server x.invalid:1".to_owned(), "the name x.invalid does not resolve".to_owned()),
        ("produce sh/eep".to_owned(), "\"sh/eep\" is no topic name".to_owned()),
        ("consume sh/eep".to_owned(), "is no topic name".to_owned()),
        ("topics delete sh/eep".to_owned(), "is no topic name".to_owned()),
        ("produce orders --data-dir file".to_owned(), "--data-dir file is not a directory".to_owned()),
        ("consume orders --data-dir file".to_owned(), "--data-dir file is not a directory".to_owned()),
        ("consume orders".to_owned(), "there is no data directory ./milena-data".to_owned()),
        ("topics delete orders".to_owned(), "there is no data directory ./milena-data".to_owned()),
        ("broker --memory --listen 127.0.0.1:x".to_owned(), "127.0.0.1:x".to_owned()),
    ] {
        let ended = folder.run(&arguments, b"a\n").with_code(2);
        assert!(ended.says(&sentence), "{arguments}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments}: {}", ended.stderr);
    }
    assert!(!folder.data().exists(), "nothing was begun");
}

#[test]
fn a_port_of_another_protocol_is_no_broker() {
    let folder = Folder::new();
    let page: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let alert: &[u8] = &[21, 3, 3, 0, 2, 2, 10];
    for (answer, sentence) in [(page, "the port speaks HTTP"), (alert, "the port speaks TLS"), (b"220 mail", "220 ")] {
        let peer = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = peer.local_addr().expect("bound");
        let served = std::thread::spawn(move || {
            let (mut stream, _) = peer.accept().expect("it connects");
            let mut first = [0; 4];
            stream.read_exact(&mut first).expect("it asks");
            stream.write_all(answer).expect("it listens");
            // Until the client hangs up, so that the answer is not lost in a reset.
            let _all = stream.read_to_end(&mut Vec::new());
        });
        let ended = folder.run(&format!("consume orders --bootstrap-server {address}"), b"").with_code(2);
        assert!(ended.says(&format!("{address}: ")) && ended.says(sentence), "{}", ended.stderr);
        served.join().expect("it was asked");
    }
}

#[test]
fn a_line_that_no_record_can_hold_is_not_written_and_the_others_are() {
    let folder = Folder::new();
    let long = vec![b'x'; 3_000_000];
    let input = [b"before\n", &long[..], b"\n", &long[..1_048_570], b"\nafter\n"].concat();
    let produced = folder.run("produce orders", &input).with_code(1);
    assert!(produced.says("2 written, 2 not written, 0 unknown"), "{}", produced.stderr);
    assert!(
        produced.says("2 not written: a line is longer than a record may be, 1048576 bytes"),
        "{}",
        produced.stderr
    );
    assert!(produced.says("the first is line 2"), "{}", produced.stderr);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"before\nafter\n");
}

#[test]
fn a_record_that_a_cluster_refuses_is_not_written() {
    let folder = Folder::new();
    let stubborn = Stubborn::refusing();
    let arguments = format!("produce orders --bootstrap-server {}", stubborn.address());
    let produced = folder.run(&arguments, b"a\nb\n").with_code(1);
    assert!(produced.says("0 written, 2 not written, 0 unknown"), "{}", produced.stderr);
    assert!(produced.says("2 not written: the cluster refused its batch with "), "{}", produced.stderr);
}

#[test]
fn a_record_that_is_not_answered_is_unknown_at_its_deadline() {
    let folder = Folder::new();
    let stubborn = Stubborn::silent();
    let arguments =
        format!("produce orders --deadline 1s --close-timeout 0s --bootstrap-server {}", stubborn.address());
    let produced = folder.run(&arguments, b"a\nb\nc\n").with_code(3);
    assert!(produced.says("0 written, 0 not written, 3 unknown"), "{}", produced.stderr);
    assert!(produced.says("3 undetermined: the producer was closed before a conclusive answer"), "{}", produced.stderr);
}

#[test]
fn a_record_that_is_answered_after_its_deadline_and_before_the_end_is_written() {
    let folder = Folder::new();
    let stubborn = Stubborn::late(Duration::from_secs(2));
    let produced =
        folder.run(&format!("produce orders --deadline 1s --bootstrap-server {}", stubborn.address()), b"a\n");
    let produced = produced.with_code(0);
    assert!(produced.says("1 written, 0 not written, 0 unknown"), "{}", produced.stderr);
}

#[test]
fn ctrl_c_sends_what_was_read_and_reports() {
    let folder = Folder::new();
    let mut produce = folder.start("produce orders");
    produce.await_line("a broker runs in this process");
    produce.write(b"a\nb\nhalf a line");
    // The topic may not be made yet when it is looked for first.
    while folder.run("consume orders", b"").stdout != b"a\nb\n" {}
    produce.interrupt();
    produce.await_line("Ctrl-C: what was read has 5s to be sent");
    produce.await_line("the input after 2 records is not sent");
    produce.await_line("2 written, 0 not written, 0 unknown");
    produce.end().with_code(0);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"a\nb\n");
}

#[test]
fn ctrl_c_waits_as_long_as_it_was_told_and_what_is_not_answered_is_unknown() {
    let folder = Folder::new();
    let stubborn = Stubborn::silent();
    let arguments = format!("produce orders --close-timeout 200ms --bootstrap-server {}", stubborn.address());
    let mut produce = folder.start(&arguments);
    produce.write(b"a\n");
    stubborn.await_produce();
    produce.interrupt();
    let produced = produce.end().with_code(3);
    assert!(produced.says("0 written, 0 not written, 1 unknown"), "{}", produced.stderr);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let folder = Folder::new();
    let stubborn = Stubborn::silent();
    let arguments = format!("produce orders --close-timeout 10m --bootstrap-server {}", stubborn.address());
    let mut produce = folder.start(&arguments);
    produce.write(b"a\n");
    stubborn.await_produce();
    produce.interrupt();
    produce.await_line("Ctrl-C: what was read has 600s to be sent");
    produce.interrupt();
    let produced = produce.end().with_code(3);
    assert!(produced.says("0 written, 0 not written, 1 unknown"), "{}", produced.stderr);
}

#[test]
fn at_the_end_of_the_input_records_in_doubt_are_waited_for_and_ctrl_c_ends_that() {
    let folder = Folder::new();
    let stubborn = Stubborn::silent();
    let mut produce = folder.start(&format!("produce orders --deadline 1s -b {}", stubborn.address()));
    produce.write(b"a\n");
    produce.close_stdin();
    produce.await_line("1 record is in doubt: how that ends is waited for, at most 120s");
    produce.interrupt();
    produce.await_line("Ctrl-C: what is in doubt has 5s more; Ctrl-C again ends at once");
    produce.interrupt();
    let produced = produce.end_by_itself().with_code(3);
    assert!(produced.says("0 written, 0 not written, 1 unknown"), "{}", produced.stderr);
}

#[test]
fn ctrl_c_before_an_answer_is_130_and_says_that_nothing_was_done() {
    let folder = Folder::new();
    for (arguments, sentence) in [
        ("produce orders", "interrupted before topic orders was ready: nothing of the input was sent"),
        ("consume orders", "interrupted before topic orders was found: nothing was printed"),
        ("topics create orders", "interrupted before a broker answered: nothing was sent"),
    ] {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("bound");
        let running = folder.start(&format!("{arguments} --bootstrap-server {address}"));
        let _asking = silent.accept().expect("it connects");
        running.interrupt();
        let ended = running.end().with_code(130);
        assert!(ended.says(sentence), "{arguments}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments}: {}", ended.stderr);
    }
}

#[test]
fn nothing_between_two_offsets_is_said_and_is_no_mistake() {
    let folder = Folder::new();
    folder.run("produce orders", b"a\nb\nc\n").with_code(0);
    for places in ["--from 100 --to 200", "--from 2 --to 1"] {
        let ended = folder.run(&format!("consume orders {places}"), b"").with_code(0);
        assert!(ended.says("no record of topic orders lies between --from "), "{places}: {}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
    let some = folder.run("consume orders --from 2 --to 200", b"").with_code(0);
    assert!(!some.says("no record") && some.stdout == b"c\n", "{}", some.stderr);
}
