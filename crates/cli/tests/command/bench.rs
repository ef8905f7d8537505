//! `milena bench produce`.

use std::fs;

use serde_json::{Value, json};

use crate::process::Folder;
use crate::round_trip::broker;
use crate::stubborn::Stubborn;

fn bench(folder: &Folder, options: &str, code: i32) -> Value {
    let mut lines = folder.run(&format!("bench produce {options}"), b"").with_code(code).json();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn a_benchmark_prints_the_line_of_the_comparison_and_writes_what_it_says() {
    let folder = Folder::new();
    let (_broker, address) = broker(&folder, "--memory");
    let options = "--partitions 3 --records 5000 --warmup-records 500 --size 80 --key-bytes 8 --compression lz4 --acks all \
                   --idempotent true --linger-ms 0.5 --batch-bytes 20000 --buffer-mb 8 --create";
    let line = bench(&folder, &format!("--bootstrap {address} --topic load {options}"), 0);
    let names: Vec<&str> = line.as_object().expect("is an object").keys().map(String::as_str).collect();
    let mut expected = [
        "client",
        "version",
        "records",
        "acked",
        "failed",
        "wall_s",
        "cpu_user_s",
        "cpu_sys_s",
        "rec_per_s",
        "cpu_us_per_rec",
        "peak_rss_kb",
        "base_rss_kb",
        "t_start",
        "t_end",
        "lat_us",
        "runtime",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!((&line["client"], &line["records"]), (&json!("milena"), &json!(5000)));
    assert_eq!((&line["acked"], &line["failed"]), (&json!(5000), &json!(0)));
    assert!(line["wall_s"].as_f64() > Some(0.0) && line["t_end"].as_f64() >= line["t_start"].as_f64(), "{line}");
    let latency = |name: &str| line["lat_us"][name].as_u64().expect("is a number");
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("p999"), "{line}");
    assert!(latency("p999") <= latency("max") && latency("max") > 0, "{line}");
    if cfg!(target_os = "linux") {
        assert!(line["cpu_us_per_rec"].as_f64() > Some(0.0) && line["base_rss_kb"].as_u64() > Some(0), "{line}");
    }
    let written =
        folder.run_with(&format!("consume load -b {address}"), &["-f", "%p %K %V\\n"], b"").with_code(0).stdout;
    let written = String::from_utf8(written).expect("is text");
    assert_eq!(written.lines().count(), 5500);
    for partition in 0..3 {
        let here = written.lines().filter(|line| *line == format!("{partition} 8 80")).count();
        assert!(here > 1000, "{here} records in partition {partition}");
    }
}

#[test]
fn at_a_rate_records_are_due_one_after_the_other() {
    let folder = Folder::new();
    fs::write(folder.path().join("payload"), "0123456789".repeat(10)).expect("is written");
    let line = bench(&folder, "--records 300 --rate 1000 --size 10 --payload payload --partitions 1", 0);
    assert_eq!(line["acked"], json!(300));
    // The last one is due after 299 ms, and no clock makes that shorter.
    assert!(line["wall_s"].as_f64() >= Some(0.299), "{line}");
    assert!(line["runtime"].as_str().is_some_and(|text| text.contains("embedded broker")), "{line}");
    assert_eq!(folder.run("consume bench -c 1", b"").with_code(0).stdout, b"0123456789\n");
}

#[test]
fn settings_by_other_names_count_unless_an_option_says_otherwise() {
    let folder = Folder::new();
    // Runs of a batch: records of 100 bytes and what stands around them.
    let runs = |topic: &str, options: &str| -> Vec<usize> {
        bench(&folder, &format!("--topic {topic} --partitions 3 --records 30 {options}"), 0);
        let of = |partition: i32| folder.run(&format!("consume {topic} -p {partition}"), b"").with_code(0).stdout;
        (0..3).map(|partition| of(partition).iter().filter(|byte| **byte == b'\n').count()).collect()
    };
    std::fs::write(folder.path().join("lines"), "x".repeat(100)).expect("is written");
    assert_eq!(runs("one", "--payload lines"), [30, 0, 0]);
    assert_eq!(runs("two", "--payload lines -X batch.size=1160"), [10, 10, 10]);
    assert_eq!(runs("three", "--payload lines -X batch.size=1160 --batch-bytes 1740"), [15, 15, 0]);
    let refused = folder.run("bench produce -X buffer.memory=1", b"").with_code(2);
    assert!(refused.says("raise buffer.memory to 1179648"), "{}", refused.stderr);
    let refused = folder.run("bench produce -X acks=1 --idempotence true", b"").with_code(2);
    assert!(refused.says("idempotence"), "{}", refused.stderr);
}

#[test]
fn a_benchmark_that_fails_says_so() {
    let folder = Folder::new();
    let refusing = Stubborn::refusing();
    let server = format!("--topic orders --partitions 1 --bootstrap {}", refusing.address());
    let line = bench(&folder, &format!("--records 10 {server}"), 1);
    assert_eq!((&line["acked"], &line["failed"], &line["cpu_us_per_rec"]), (&json!(0), &json!(10), &Value::Null));
    let warm_up = folder.run(&format!("bench produce --records 10 --warmup-records 1 {server}"), b"").with_code(1);
    assert!(warm_up.says("a record of the warm-up was not written") && warm_up.stdout.is_empty(), "{}", warm_up.stderr);
    let many = folder.run(&format!("bench produce --records 10 {server} --partitions 2"), b"");
    assert_eq!(many.code, Some(2), "{}", many.stderr);
    let silent = Stubborn::silent();
    let server = format!("--topic orders --partitions 1 --bootstrap {}", silent.address());
    let unknown = bench(&folder, &format!("--records 10 -X milena.deadline.ms=1000 {server}"), 3);
    assert_eq!((&unknown["acked"], &unknown["failed"]), (&json!(0), &json!(10)));
    folder.run("topics create small --partitions 2", b"").with_code(0);
    let few = folder.run("bench produce --topic small", b"").with_code(2);
    assert!(few.says("topic small has 2 partitions, fewer than --partitions 12"), "{}", few.stderr);
    fs::write(folder.path().join("short"), "short").expect("is written");
    let short = folder.run("bench produce --payload short", b"").with_code(2);
    assert!(short.says("the payload has 5 bytes, fewer than --size 100"), "{}", short.stderr);
    let missing = folder.run("bench produce --payload nowhere", b"").with_code(2);
    assert!(missing.says("--payload nowhere cannot be read"), "{}", missing.stderr);
    let mixed = folder.run("bench produce --acks 1 --idempotence true", b"").with_code(2);
    assert!(mixed.says("idempotence"), "{}", mixed.stderr);
}

#[test]
fn ctrl_c_ends_a_benchmark_whatever_it_waits_for() {
    let folder = Folder::new();
    let silent = Stubborn::silent();
    let server = format!("--topic orders --partitions 1 --bootstrap {}", silent.address());
    for options in [format!("--records 10 {server}"), format!("--records 1000000 --rate 1000 --size 10 {server}")] {
        let bench = folder.start(&format!("bench produce {options}"));
        silent.await_produce();
        bench.interrupt();
        let ended = bench.end().with_code(130);
        assert!(ended.says("interrupted before the end: nothing is measured") && ended.stdout.is_empty());
    }
    // With a broker in the process, which waits until nobody is connected.
    let mut bench = folder.start("bench produce --records 10000000 --rate 1000");
    bench.await_line("a broker runs in this process");
    while folder.run("consume bench -c 1", b"").stdout.is_empty() {}
    bench.interrupt();
    bench.end().with_code(130);
}
