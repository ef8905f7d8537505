//! `milena broker` as whoever runs it sees it: how it ends, what it says, what it refuses.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{Folder, PATIENCE, Running};
#[cfg(target_os = "linux")]
use crate::process::{HANG_UP, signals};
use crate::round_trip::broker;
use crate::steering::Steered;

const ENDS_SOON: &str = "had nothing unanswered for 1 s, in 5 s at the latest; Ctrl-C again ends it at once";

/// A connection that the broker has counted: they are taken in their order, and a later one was answered.
fn connected(folder: &Folder, address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("it listens");
    folder.run(&format!("topics list --bootstrap-server {address}"), b"").with_code(0);
    client
}

/// SIGTERM ended the broker as a crash does: nothing moved, and the next start read the logs.
#[test]
fn signals_that_ask_for_an_end_are_a_clean_stop_that_no_client_holds_up() {
    for signal in ["INT", "TERM", "HUP"] {
        #[cfg(target_os = "linux")]
        if signal == "HUP" && signals("self", "SigIgn") & HANG_UP != 0 {
            println!("these tests were started by nohup, and so would the broker be");
            continue;
        }
        let folder = Folder::new();
        let (mut running, address) = broker(&folder, "--topic orders");
        assert!(folder.data().join("address").exists());
        let mut client = connected(&folder, &address);
        running.signal(signal);
        running.await_line(ENDS_SOON);
        running.end_by_itself().with_code(0);
        assert!(folder.data().join("clean-stop").exists(), "{signal}");
        assert!(!folder.data().join("address").exists(), "{signal}");
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_second_signal_ends_a_broker_at_once() {
    let mut broker = Steered::start(&["--topic", "orders"]);
    // Whose answer never comes would be served for five seconds.
    let fault = json!({ "effect": "delay", "time_ms": 60_000, "api": "Metadata" });
    broker.ask("POST", "/faults", &fault);
    let folder = Folder::new();
    let _asking = folder.start(&format!("topics list -b {}", broker.bootstrap));
    broker.ask("GET", "/faults/1?hits=1&timeout_ms=60000", &Value::Null);
    let begun = Instant::now();
    broker.signal("TERM");
    broker.signal("INT");
    while broker.is_running() && begun.elapsed() < PATIENCE {
        // Both may arrive as one.
        broker.signal("INT");
    }
    assert_eq!(broker.await_end(), Some(0));
}

#[test]
fn what_is_unanswered_at_the_signal_is_answered() {
    let mut broker = Steered::start(&["--topic", "orders"]);
    let fault = json!({ "effect": "delay", "time_ms": 2_000, "api": "Produce", "times": 1 });
    broker.ask("POST", "/faults", &fault);
    let folder = Folder::new();
    let mut produce = folder.start(&format!("produce orders -b {}", broker.bootstrap));
    produce.write(b"a\n");
    produce.close_stdin();
    broker.ask("GET", "/faults/1?hits=1&timeout_ms=60000", &Value::Null);
    broker.signal("TERM");
    produce.end_by_itself().with_code(0);
    assert_eq!(broker.await_end(), Some(0));
}

/// Started by nohup, it outlives its terminal.
#[cfg(target_os = "linux")]
#[test]
fn hangups_that_were_ignored_stay_so() {
    let folder = Folder::new();
    let mut running = folder.start_after("trap '' HUP", "broker --memory --listen 127.0.0.1:0 --json");
    running.await_line("a broker runs at");
    running.signal("HUP");
    running.signal("TERM");
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t").map(str::to_owned));
    assert!(ignored.is_none_or(|mask| mask.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f'])), "{status}");
    running.end_by_itself().with_code(0);
}

/// A shell's limit of file sizes ended the broker without a word, by SIGXFSZ.
#[test]
fn a_file_that_may_not_grow_is_told_once_and_the_broker_goes_on() {
    let folder = Folder::new();
    // Blocks of 512 bytes.
    let mut running = folder.start_after("ulimit -f 200", "broker --listen 127.0.0.1:0 --topic orders");
    let line = running.await_line("a broker runs at ");
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("it is told");
    let address = address.trim_end_matches([',', ';']).to_owned();
    folder.run(&format!("produce orders -b {address}"), b"first\n").with_code(0);
    let mut produce = folder.start(&format!("produce orders -b {address}"));
    produce.write(("x".repeat(999) + "\n").repeat(300).as_bytes());
    produce.close_stdin();
    let told = running.await_line("File too large");
    assert!(told.contains("write ") && told.contains("orders-0/00000000000000000000.log"), "{told}");
    produce.kill();
    let read = folder.run(&format!("consume orders -b {address} --from start --to end"), b"").with_code(0);
    assert!(read.stdout.starts_with(b"first\n"));
    running.signal("TERM");
    let ended = running.end_by_itself().with_code(0);
    let lines = ended.stderr.lines().filter(|line| line.contains("milena: write ")).count();
    assert_eq!(lines, 1, "thousands of writes, one line: {}", ended.stderr);
}

#[test]
fn memory_that_is_full_is_told() {
    let folder = Folder::new();
    let (mut running, address) = broker(&folder, "--memory --memory-max 100kB --topic orders");
    let mut produce = folder.start(&format!("produce orders -b {address}"));
    produce.write(("x".repeat(999) + "\n").repeat(300).as_bytes());
    produce.close_stdin();
    running.await_line("the logs in memory hold all of the 100000 bytes that they may");
    produce.kill();
    running.signal("TERM");
    running.end_by_itself().with_code(0);
}

/// A consumer with a group waited for ever for a coordinator, and nobody said that there is none.
#[test]
fn who_asks_for_a_coordinator_is_told_of_once() {
    let folder = Folder::new();
    let (mut running, address) = broker(&folder, "--memory");
    let mut client = TcpStream::connect(&address).expect("it listens");
    for _ in 0..3 {
        // FindCoordinator 0, correlation id 7, no client id, the group "billing".
        client.write_all(b"\0\0\0\x13\0\x0a\0\0\0\0\0\x07\xff\xff\0\x07billing").expect("it reads");
        let mut answer = [0; 10];
        client.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer[4..], b"\0\0\0\x07\0\x0f", "COORDINATOR_NOT_AVAILABLE, as Kafka says while it has none");
        let mut rest = [0; 10];
        client.read_exact(&mut rest).expect("it answers");
    }
    running.await_line("a client asked for the coordinator of group \"billing\", and this broker has none");
    drop(client);
    running.signal("TERM");
    let ended = running.end_by_itself().with_code(0);
    assert_eq!(ended.stderr.matches("coordinator").count(), 1, "{}", ended.stderr);
}

#[test]
fn clients_are_told_the_advertised_host_or_whoever_starts_it_that_there_is_none() {
    let folder = Folder::new();
    let everywhere = "broker --memory --listen 0.0.0.0:0 --json --exit-with-stdin --nodes 2";
    let ended = folder.run(&format!("{everywhere} --advertised-host kafka.test:19092"), b"").with_code(0);
    assert_eq!(ended.json()[0]["bootstrap"], "kafka.test:19092,kafka.test:19093");
    assert!(!ended.says("--advertised-host"), "{}", ended.stderr);
    let ended = folder.run(everywhere, b"").with_code(0);
    assert!(
        ended.says("tells clients to connect to 127.0.0.1:") && ended.says("--advertised-host HOST"),
        "{}",
        ended.stderr
    );
    let ended = folder.run("broker --memory --listen 127.0.0.1:0 --exit-with-stdin", b"").with_code(0);
    assert!(!ended.says("--advertised-host"), "{}", ended.stderr);
}

#[test]
fn options_that_have_no_effect_are_refused() {
    let folder = Folder::new();
    for (options, why) in [
        ("--memory --fsync batch", "--memory"),
        ("--memory --topic a:2 --topic a:3", "--topic a is given more than once"),
        ("--memory-max 1MB", "--memory"),
        ("--memory-max 1MB --data-dir data", "--memory"),
        ("--memory --default-partitions 10001", "10000"),
        ("--memory --nodes 2 --racks a,b,c", "--racks names 3 racks, and there are 2 brokers"),
        ("--memory --advertised-host http://x", "kafka.test:19092"),
        ("--memory --memory-max lots", "512MB"),
    ] {
        let ended = folder.run(&format!("broker --listen 127.0.0.1:0 {options}"), b"").with_code(2);
        assert!(ended.says(why), "{options}: {}", ended.stderr);
    }
}

/// It took 30 s, Kafka's default, and nothing but Rust could change it.
#[test]
fn followers_fall_out_of_sync_as_fast_as_a_test_wants() {
    let folder = Folder::new();
    let options = ["--nodes", "2", "--replica-lag-time-max", "200ms", "--default-partitions", "3", "--topic", "orders"];
    let broker = Steered::start(&options);
    broker.ask("POST", "/nodes/2/lag", &json!({ "never": true }));
    broker.run(&folder, "produce orders -p 0 --acks 1", b"a\n").with_code(0);
    let begun = Instant::now();
    loop {
        let (_, topic) = broker.ask("GET", "/topics/orders", &Value::Null);
        let partitions = topic["partitions"].as_array().expect("a list");
        assert_eq!(partitions.len(), 3);
        if partitions[0]["isr"] == json!([1]) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{topic}");
    }
}

/// A broker that had 4 GB kept it after its logs were gone.
#[cfg(target_os = "linux")]
#[test]
fn memory_of_logs_that_are_gone_goes_back_to_the_system() {
    let resident = |running: &Running| {
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory").to_owned();
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_000
    };
    let folder = Folder::new();
    let (running, address) = broker(&folder, "--memory --topic orders");
    let bench = "bench produce --topic orders --partitions 1 --records 200000 --size 1000";
    folder.run(&format!("{bench} -b {address}"), b"").with_code(0);
    let full = resident(&running);
    assert!(full > 200, "it holds 200 MB: {full}");
    folder.run(&format!("topics delete orders -b {address}"), b"").with_code(0);
    let empty = resident(&running);
    assert!(empty < 100, "of {full} MB {empty} are left");
}
