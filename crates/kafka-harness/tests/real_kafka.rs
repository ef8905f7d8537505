//! The harness against what it starts. Run by `cargo xtask test kafka`; needs Java and Maven.

use kafka_harness::{Access, Kafka, NewTopic, Operation, Options, PartitionState, standing};
use std::io::{BufRead, BufReader, Read, Write};
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

    kafka.node(1).fill_disk(256 << 10).unwrap();
    let filled = Instant::now();
    assert!(!fill(&kafka, "letters", 4 << 20), "a full disk has room");
    while kafka.node(1).look().unwrap() {
        assert!(filled.elapsed() < Duration::from_secs(20), "the node lives on without a disk");
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("measured: a node whose disk became full ended in {:.1} s", filled.elapsed().as_secs_f64());
    kafka.node(1).start().unwrap();
    let after = kafka.dump_records("letters").unwrap();
    assert_eq!(after[..before.len()], before);

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

    assert_only_proxies_are_named(&kafka);
    let killed = Instant::now();
    kafka.node(2).kill().unwrap();
    let moved = |states: &[PartitionState]| states.iter().all(|state| state.leader.is_some_and(|leader| leader != 2));
    let after = kafka.await_partitions("steered", moved).unwrap();
    println!("measured: a killed leader was replaced after {:.1} s", killed.elapsed().as_secs_f64());
    assert!(after[0].leader_epoch > before[0].leader_epoch, "{after:?}");
    let topics = kafka.dump_topics(&["letters", "steered"]).unwrap();
    assert_eq!((topics["letters"].len(), topics["steered"].len()), (3, 0));
    let controller = kafka.active_controller().unwrap();
    kafka.node(controller).freeze().unwrap();
    while kafka.active_controller().is_ok_and(|active| active == controller) {
        assert!(killed.elapsed() < Duration::from_secs(60), "a frozen controller is not replaced");
    }
    kafka.make_whole().unwrap();
    assert!((1..=3).all(|id| kafka.node(id).is_awake()));
    kafka.await_in_sync("steered").unwrap();
    kafka.elect_preferred("steered").unwrap();
    let back = kafka.node(2).partitions("steered").unwrap();
    assert_eq!(back.iter().map(|state| state.leader).collect::<Vec<_>>(), [Some(2), Some(1)]);
}

#[test]
fn clients_may_write_and_not_read_where_access_is_limited() {
    let kafka = Kafka::start(Options { access: Access::WriteOnly, ..Options::default() }).unwrap();
    kafka.create_topic(&NewTopic { name: "letters", replicas: &[&[1]], config: &[] }).unwrap();
    assert!(fill(&kafka, "letters", 3), "clients may not write");
    assert_eq!(kafka.dump_records("letters").unwrap().len(), 3);
    let reading = || {
        const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/java/DumpRecords.java");
        kafka.java().arg(PROGRAM).args([&kafka.bootstrap_servers(), "letters"]).output().expect("java runs")
    };
    let refused = reading();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("Not authorized"), "{said}");
    kafka.grant(&[Operation::Read]).unwrap();
    assert!(reading().status.success());
    kafka.revoke(&[Operation::Read]).unwrap();
    assert!(!reading().status.success());
    kafka.delete_topic("letters").unwrap();
    assert!(kafka.delete_topic("letters").is_err(), "a topic was deleted twice");
}

/// Whichever API and version tells, to who comes by a proxy: of topic `steered`, which node 1 leads in part.
fn assert_only_proxies_are_named(kafka: &Kafka) {
    let proxies: Vec<u16> = kafka.proxies().map(|proxy| proxy.address().port()).collect();
    // Partition 1 is led by node 1: an answer of another to Produce has a hint.
    let follower = kafka.proxies().nth(1).expect("there are three").address();
    for (what, request, names) in [
        ("Metadata v7", [&[0, 3, 0, 7][..], HEADER, &[0xff, 0xff, 0xff, 0xff, 0]].concat(), 3),
        ("Metadata v12", [&[0, 3, 0, 12][..], HEADER, &[0, 0, 0, 0, 0]].concat(), 3),
        ("FindCoordinator v2", [&[0, 10, 0, 2][..], HEADER, &[0, 1, b'g', 0]].concat(), 1),
        ("DescribeCluster v0", [&[0, 60, 0, 0][..], HEADER, &[0, 0, 0]].concat(), 3),
        ("Produce v10", produce_v10("steered", 1), 1),
    ] {
        let told = await_named(follower, &request, names);
        assert!(told.iter().all(|port| proxies.contains(port)), "{what} told of {told:?}, proxies are {proxies:?}");
    }
    assert!(kafka.proxies().all(|proxy| proxy.deeds().is_empty()));
}

/// The same client for all: correlation id 1, no name.
const HEADER: &[u8] = &[0, 0, 0, 1, 0xff, 0xff];

/// A batch without records, which no leader would take.
fn produce_v10(topic: &str, partition: u8) -> Vec<u8> {
    let mut batch = vec![0; 61];
    batch[11] = 49;
    batch[16] = 2;
    let name = [&[topic.len() as u8 + 1], topic.as_bytes()].concat();
    let start = [&[0, 0, 0, 10][..], HEADER, &[0, 0, 0xff, 0xff, 0, 0, 7, 208, 2], &name].concat();
    [&start[..], &[2, 0, 0, 0, partition, batch.len() as u8 + 1], &batch, &[0, 0, 0]].concat()
}

/// The ports that an answer names; asks until there are so many, as long as the cluster does not have its own topics yet.
fn await_named(address: SocketAddr, request: &[u8], count: usize) -> Vec<u16> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        stream.write_all(&[&(request.len() as u32).to_be_bytes(), request].concat()).expect("it takes requests");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("it answers");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).expect("the answer is whole");
        let ports = ports(&answer);
        if ports.len() == count {
            return ports;
        }
        assert!(Instant::now() < deadline, "{} instead of {count} names in {answer:?}", ports.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// In every encoding a port follows its host as four bytes.
fn ports(answer: &[u8]) -> Vec<u16> {
    const HOST: &[u8] = b"127.0.0.1";
    let places = (0..answer.len()).filter(|&at| answer[at..].starts_with(HOST));
    let port = |at: usize| Some(u16::from_be_bytes(*answer.get(at + HOST.len() + 2..)?.first_chunk()?));
    places.filter_map(port).collect()
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

/// Records of a byte up to a kilobyte, so many bytes in all, to a topic that is there; whether all were taken.
fn fill(kafka: &Kafka, topic: &str, bytes: u64) -> bool {
    const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/java/FillBytes.java");
    let servers = kafka.bootstrap_servers();
    let output = kafka.java().arg(PROGRAM).args([&servers, topic, &bytes.to_string()]).output().expect("java runs");
    output.status.success()
}
