//! What goes in comes out again.

use std::time::{Duration, Instant};

use milena::{Outcome, Producer, ProducerConfig, Record};

use crate::process::{Folder, PATIENCE, Running, json_lines};

#[test]
fn every_byte_of_a_line_comes_back_and_each_line_gets_an_lf() {
    let folder = Folder::new();
    let input = b"plain\ncarriage\r\n\n\n\xff\xfe\x00not utf-8\n \t\nlast without lf";
    let produced = folder.run("produce orders", input).with_code(0);
    assert!(produced.says("7 written, 0 not written, 0 unknown"), "{}", produced.stderr);
    assert!(produced.stdout.is_empty());
    let consumed = folder.run("consume orders --from start --to end", b"").with_code(0);
    assert_eq!(consumed.stdout, [&input[..], b"\n"].concat());
}

#[test]
fn the_embedded_broker_is_announced_in_one_line_and_the_summary_tells_all() {
    let folder = Folder::new();
    let produced = folder.run("produce orders", b"a\nb\n").with_code(0);
    let lines: Vec<&str> = produced.stderr.lines().collect();
    assert!(lines[0].contains("a broker runs in this process") && lines[0].contains("./milena-data"), "{lines:?}");
    assert!(lines[1].starts_with("milena: 2 records, 2 B in "), "{lines:?}");
    assert_eq!(lines[2], "2 written, 0 not written, 0 unknown");
    assert!(lines[3].starts_with("latency p50 ") && lines[3].contains(", p99 ") && lines[3].contains(", max "));
    assert!(lines[4].starts_with("1 batch, 2 records each on average, ") && lines[4].ends_with(" % full"));
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(folder.data().is_dir());
}

#[test]
fn a_second_produce_appends() {
    let folder = Folder::new();
    folder.run("produce orders", b"one\n").with_code(0);
    folder.run("produce orders", b"two\n").with_code(0);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"one\ntwo\n");
}

#[test]
fn no_input_is_no_record() {
    let folder = Folder::new();
    let produced = folder.run("produce orders", b"").with_code(0);
    assert!(produced.says("0 records"), "{}", produced.stderr);
    assert!(folder.run("consume orders", b"").with_code(0).stdout.is_empty());
}

#[test]
fn more_than_fits_into_memory_arrives_in_order() {
    let folder = Folder::new();
    let mut input = Vec::new();
    let mut number = 0u64;
    while input.len() < 50_000_000 {
        input.extend_from_slice(format!("{number} {}\n", "x".repeat((number % 97) as usize)).as_bytes());
        number += 1;
    }
    let produced = folder.run("produce orders", &input).with_code(0);
    assert!(produced.says(&format!("{number} written")), "{}", produced.stderr);
    let consumed = folder.run("consume orders", b"").with_code(0).stdout;
    assert!(consumed == input, "{} bytes came back of {}", consumed.len(), input.len());
}

#[test]
fn a_part_is_chosen_by_offsets_and_by_partition() {
    let folder = Folder::new();
    folder.run("topics create orders --partitions 3", b"").with_code(0);
    folder.run("produce orders", b"0\n1\n2\n3\n4\n").with_code(0);
    // One batch: all records stick to one partition.
    let of = |partition: u32| folder.run(&format!("consume orders --partition {partition}"), b"").with_code(0).stdout;
    let all: Vec<Vec<u8>> = (0..3).map(of).collect();
    let full = all.iter().position(|lines| !lines.is_empty()).expect("they are somewhere");
    assert_eq!(all.concat(), b"0\n1\n2\n3\n4\n");
    let consume =
        |range: &str| folder.run(&format!("consume orders --partition {full} {range}"), b"").with_code(0).stdout;
    assert_eq!(consume("--from 1 --to 3"), b"1\n2\n");
    assert_eq!(consume("--from 3"), b"3\n4\n");
    assert_eq!(consume("--to 99"), b"0\n1\n2\n3\n4\n");
    assert_eq!(consume("--from end"), b"");
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"0\n1\n2\n3\n4\n");
    let none = folder.run("consume orders --partition 3", b"").with_code(2);
    assert!(none.says("topic orders has no partition 3; it has 3"), "{}", none.stderr);
}

#[test]
fn a_deleted_topic_is_gone_and_begins_anew() {
    let folder = Folder::new();
    folder.run("produce orders", b"old\n").with_code(0);
    folder.run("topics delete orders", b"").with_code(0);
    let gone = folder.run("consume orders", b"").with_code(2);
    assert!(gone.says("topic orders does not exist"), "{}", gone.stderr);
    let again = folder.run("topics delete orders", b"").with_code(2);
    assert!(again.says("topic orders does not exist"), "{}", again.stderr);
    folder.run("produce orders", b"new\n").with_code(0);
    assert_eq!(folder.run("consume orders", b"").with_code(0).stdout, b"new\n");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let folder = Folder::new();
    folder.run("produce orders", &b"a line of some length\n".repeat(200_000)).with_code(0);
    let mut consume = std::process::Command::new(env!("CARGO_BIN_EXE_milena"))
        .args(["consume", "orders"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let mut out = consume.stdout.take().expect("is piped");
    std::io::Read::read_exact(&mut out, &mut [0; 100]).expect("some lines come");
    drop(out);
    let ended = consume.wait_with_output().expect("it is ours");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// The reader has taken a hundred bytes, so the command stands in the middle of a write.
#[test]
fn what_an_interrupted_consume_has_printed_is_whole() {
    let folder = Folder::new();
    folder.run("produce orders", &b"a line of some length\n".repeat(50_000)).with_code(0);
    let mut consume = std::process::Command::new(env!("CARGO_BIN_EXE_milena"))
        .args(["consume", "orders", "--json"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let mut printed = vec![0; 100];
    let mut out = consume.stdout.take().expect("is piped");
    std::io::Read::read_exact(&mut out, &mut printed).expect("some lines come");
    let sent = std::process::Command::new("kill").args(["-INT", &consume.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    // It waits for its reader, and only that it does not end shows it.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert!(consume.try_wait().expect("it is ours").is_none(), "it ended in the middle of a line");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::io::Read::read_to_end(&mut out, &mut printed).expect("a pipe can be read");
    let ended = consume.wait_with_output().expect("it is ours");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    let lines = json_lines(&printed).len();
    assert!((1..50_000).contains(&lines), "{lines} lines");
}

#[test]
fn a_broker_of_its_own_serves_others_and_keeps_its_data() {
    let folder = Folder::new();
    let (broker, address) = broker(&folder, "--data-dir kept");
    folder.run(&format!("topics create orders --bootstrap-server {address}"), b"").with_code(0);
    folder.run(&format!("produce orders --bootstrap-server {address}"), b"a\n").with_code(0);
    assert_eq!(folder.run(&format!("consume orders --bootstrap-server {address}"), b"").with_code(0).stdout, b"a\n");
    broker.interrupt();
    broker.end().with_code(0);
    assert_eq!(folder.run("consume orders --data-dir kept", b"").with_code(0).stdout, b"a\n");
    assert!(!folder.data().exists());
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let folder = Folder::new();
    folder.run("produce orders", b"whole\n").with_code(0);
    let log = folder.data().join("orders-0").join("00000000000000000000.log");
    let mut file = std::fs::OpenOptions::new().append(true).open(log).expect("the log is there");
    std::io::Write::write_all(&mut file, &[0; 17]).expect("is written");
    let consumed = folder.run("consume orders", b"").with_code(0);
    assert!(consumed.says("17 bytes that a crash left unfinished were cut off"), "{}", consumed.stderr);
    assert_eq!(consumed.stdout, b"whole\n");
    assert!(!folder.run("consume orders", b"").with_code(0).says("cut off"));
}

#[test]
fn a_record_without_a_value_is_an_empty_line() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    let server = format!("--bootstrap-server {address}");
    folder.run(&format!("topics create orders {server}"), b"").with_code(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let producer = Producer::new(ProducerConfig::new(&address)).expect("is built");
        let orders = producer.topic("orders").expect("is a name");
        for record in [Record::value("a"), Record::tombstone().key("k"), Record::value("b").key("k")] {
            let delivery = orders.send(record).await.expect("is accepted");
            assert!(matches!(delivery.await, Outcome::Written(_)));
        }
        producer.close(PATIENCE).await;
    });
    assert_eq!(folder.run(&format!("consume orders {server}"), b"").with_code(0).stdout, b"a\n\nb\n");
}

#[test]
fn several_brokers_are_a_cluster() {
    let folder = Folder::new();
    let mut brokers = folder.start("broker --listen 127.0.0.1:0 --nodes 3 --data-dir kept");
    let line = brokers.await_line("3 brokers run at ");
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("it is told");
    let server = format!("--bootstrap-server {}", address.trim_end_matches(','));
    assert_eq!(address.matches("127.0.0.1:").count(), 3, "{line}");
    folder.run(&format!("topics create orders --partitions 6 {server}"), b"").with_code(0);
    let input: String = (0..1_000).map(|number| format!("{number}\n")).collect();
    folder.run(&format!("produce orders {server}"), input.as_bytes()).with_code(0);
    let output = folder.run(&format!("consume orders {server}"), b"").with_code(0).stdout;
    let mut numbers: Vec<u32> =
        String::from_utf8(output).expect("digits").lines().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1_000));
    brokers.interrupt();
    brokers.end().with_code(0);
}

/// A broker on a free port, and its address.
pub fn broker(folder: &Folder, options: &str) -> (Running, String) {
    let mut broker = folder.start(&format!("broker --listen 127.0.0.1:0 {options}"));
    let line = broker.await_line("a broker runs at ");
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("it is told");
    let address = address.trim_end_matches([',', ';']).to_owned();
    (broker, address)
}
