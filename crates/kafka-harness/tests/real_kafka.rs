//! The harness against what it starts. Run by `cargo xtask test kafka`; needs Java and Maven.

use kafka_harness::{Kafka, NewTopic, Options, PartitionState, standing};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_node_starts_survives_every_signal_and_leaves_nothing_behind() {
    let started = Instant::now();
    let mut kafka = Kafka::start(Options::default()).unwrap();
    println!("measured: one node started in {:.1} s", started.elapsed().as_secs_f64());
    let address = kafka.node(1).address();
    assert_eq!(kafka.bootstrap_servers(), address.to_string());

    create_and_fill(&kafka, "letters");
    let before = kafka.dump_records("letters").unwrap();
    let values: Vec<Option<&[u8]>> = before.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(b"a".as_slice()), Some(b""), None]);
    assert_eq!(before[0].key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(before[0].headers, [(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), None)]);
    assert_eq!((before[2].key.as_deref(), before[2].headers.len(), before[2].timestamp), (None, 0, 1_700_000_000_002));

    let restarted = Instant::now();
    kafka.node(1).kill().unwrap();
    assert!(TcpStream::connect(address).is_err(), "a killed node listens");
    kafka.node(1).start().unwrap();
    println!("measured: one node killed and started again in {:.1} s", restarted.elapsed().as_secs_f64());
    assert_eq!(kafka.dump_records("letters").unwrap(), before);

    kafka.node(1).freeze().unwrap();
    kafka.node(1).thaw().unwrap();
    let terminated = Instant::now();
    kafka.node(1).terminate().unwrap();
    println!("measured: one node terminated in {:.1} s", terminated.elapsed().as_secs_f64());
    assert!(kafka.node(1).freeze().is_err(), "an ended node is frozen");
    kafka.node(1).start().unwrap();
    assert_eq!(kafka.dump_records("letters").unwrap(), before);

    assert!(kafka.dump_records("missing").is_err(), "a topic was created by being asked for");
    kafka.node(1).freeze().unwrap();
    drop(kafka);
    assert!(TcpStream::connect(address).is_err(), "a dropped Kafka listens");
}

#[test]
fn three_nodes_form_one_cluster_and_a_dead_leader_is_replaced() {
    let started = Instant::now();
    let mut kafka = Kafka::start(Options { nodes: 3, ..Options::default() }).unwrap();
    println!("measured: three nodes started in {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(kafka.bootstrap_servers().split(',').count(), 3);
    create_and_fill(&kafka, "letters");
    let steered = NewTopic { name: "steered", replicas: &[&[2, 3, 1], &[1, 2, 3]], config: &[] };
    kafka.create_topic(&steered).unwrap();
    assert!(kafka.create_topic(&steered).is_err(), "a topic was created twice");
    let before = kafka.await_in_sync("steered").unwrap();
    assert_eq!(before.iter().map(|state| state.leader).collect::<Vec<_>>(), [Some(2), Some(1)]);
    assert_eq!((&before[0].replicas, &before[1].replicas), (&vec![2, 3, 1], &vec![1, 2, 3]));

    let killed = Instant::now();
    kafka.node(2).kill().unwrap();
    let moved = |states: &[PartitionState]| states.iter().all(|state| state.leader.is_some_and(|leader| leader != 2));
    let after = kafka.await_partitions("steered", moved).unwrap();
    println!("measured: a killed leader was replaced after {:.1} s", killed.elapsed().as_secs_f64());
    assert!(after[0].leader_epoch > before[0].leader_epoch, "{after:?}");
    let topics = kafka.dump_topics(&["letters", "steered"]).unwrap();
    assert_eq!((topics["letters"].len(), topics["steered"].len()), (3, 0));
    kafka.node(1).freeze().unwrap();
    kafka.make_whole().unwrap();
    assert!((1..=3).all(|id| kafka.node(id).is_awake()));
    kafka.await_in_sync("steered").unwrap();
    kafka.elect_preferred("steered").unwrap();
    let back = kafka.node(2).partitions("steered").unwrap();
    assert_eq!(back.iter().map(|state| state.leader).collect::<Vec<_>>(), [Some(2), Some(1)]);
}

#[test]
fn a_killed_test_runner_takes_its_kafka_along() {
    const RUNNER: &str = "KAFKA_HARNESS_TEST_RUNNER";
    if std::env::var_os(RUNNER).is_some() {
        let kafka = Kafka::start(Options::default()).unwrap();
        println!("\nlistening at {}", kafka.bootstrap_servers());
        loop {
            std::thread::park();
        }
    }
    let mut runner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "a_killed_test_runner_takes_its_kafka_along"])
        .env(RUNNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(runner.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("listening at ")?.to_owned()));
    let address: SocketAddr = told.expect("the runner tells its address").parse().unwrap();
    TcpStream::connect(address).unwrap();
    runner.kill().unwrap();
    runner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "Kafka outlives its test runner");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_standing_kafka_is_found_again_and_goes_down_once() {
    let folder = standing::folder().with_file_name(format!("standing-test-{}", std::process::id()));
    let up = standing::up(&folder, Options::default()).unwrap();
    assert!(!up.was_up);
    let again = standing::up(&folder, Options::default()).unwrap();
    assert!(again.was_up);
    assert_eq!(again.bootstrap_servers, up.bootstrap_servers);
    TcpStream::connect(&up.bootstrap_servers).unwrap();
    assert!(standing::down(&folder).unwrap());
    assert!(!folder.exists());
    assert!(TcpStream::connect(&up.bootstrap_servers).is_err(), "a Kafka that went down listens");
    assert!(!standing::down(&folder).unwrap());
}

/// Three records by Java's own producer and admin client: a full one, one with an empty value, one of nulls.
fn create_and_fill(kafka: &Kafka, topic: &str) {
    const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/java/FillTopic.java");
    let output = kafka.java().arg(PROGRAM).args([&kafka.bootstrap_servers(), topic]).output().expect("java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
