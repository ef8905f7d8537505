//! A broker's process that is killed again and again under load: what it acknowledged under fsync is there, and it starts again each time.
//!
//! By itself, because a process that is being spawned holds the locks of other tests' data directories for a moment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use milena_broker::{
    Broker, BrokerOptions, Cluster, ClusterConfig, Directory, FlushPolicy, Moment, Node, NodeId, PartitionIndex,
    TopicConfig,
};
use milena_wire::frame::{decode_response, encode_request};
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::records::{BatchHeader, RecordLayout};
use milena_wire::{ErrorCode, crc32c};

/// What the process that is killed finds in its environment: the data directory.
const TO_KILL: &str = "MILENA_BROKER_TO_KILL";
const ADDRESS: &str = "address ";
const LIVES: u64 = 200;

#[test]
fn broker_that_is_killed_200_times_keeps_what_it_acknowledged() {
    if let Some(folder) = std::env::var_os(TO_KILL) {
        serve_until_killed(Path::new(&folder));
    }
    let folder = Folder::new();
    let mut acknowledged = Vec::new();
    let mut unanswered = 0;
    for life in 0..LIVES {
        let (mut child, address) = begin(&folder.0);
        let batches = (0..1 + life % 7).map(|number| value(life, number));
        let batches: Vec<_> = batches.collect();
        let told = write_and_kill(&mut child, &address, life, &batches);
        unanswered += batches.len() - told.len();
        acknowledged.extend(told);
        if life % 20 == 19 {
            check(&folder, &acknowledged);
        }
    }
    assert!(acknowledged.len() > 200, "too few acknowledgements to mean anything: {}", acknowledged.len());
    assert!(unanswered > 50, "too few kills in the middle to mean anything: {unanswered}");
}

/// In the other process. Small segments, and old ones go all the time.
fn serve_until_killed(folder: &Path) -> ! {
    let broker = Broker::start(BrokerOptions {
        data_dir: Some(folder.to_path_buf()),
        flush: FlushPolicy::EveryBatch,
        retention_check: Duration::from_millis(3),
        ..BrokerOptions::default()
    });
    let broker = broker.expect("what a killed broker left can be opened");
    if broker.create_topic("orders", 1).is_ok() {
        let settings = TopicConfig {
            segment_bytes_for_tests: Some(8_000),
            retention_bytes: 100_000,
            retention_ms: -1,
            index_interval: 1_000,
            ..TopicConfig::default()
        };
        broker.alter_topic("orders", settings).expect("there is room");
    }
    println!("{ADDRESS}{}", broker.bootstrap());
    loop {
        std::thread::park();
    }
}

fn begin(folder: &Path) -> (Child, String) {
    let name = "broker_that_is_killed_200_times_keeps_what_it_acknowledged";
    let mut command = Command::new(std::env::current_exe().expect("it runs"));
    command.args(["--exact", name, "--nocapture"]).env(TO_KILL, folder).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs already");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut said = Vec::new();
    for line in lines.map_while(Result::ok) {
        // The name of the test stands before what it prints.
        if let Some((_, address)) = line.split_once(ADDRESS) {
            return (child, address.to_owned());
        }
        said.push(line);
    }
    let status = child.wait().expect("it runs");
    panic!("the broker does not start, {status}: {}", said.join("\n"));
}

/// Sends all batches, reads some of the answers, kills, and reads what else was answered.
fn write_and_kill(child: &mut Child, address: &str, life: u64, batches: &[String]) -> Vec<(i64, String)> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    for (sequence, text) in (0..).zip(batches) {
        let request = produce(text, life as i64 + 1, sequence);
        stream.write_all(&encode_request("killer", sequence, 9, &request).expect("it fits")).expect("it reads");
    }
    let mut told = Vec::new();
    let before = (life / 7) as usize % (batches.len() + 1);
    while told.len() < before {
        told.push(answer(&mut stream).expect("it answers"));
    }
    child.kill().expect("it runs");
    while let Some(offset) = answer(&mut stream) {
        told.push(offset);
    }
    child.wait().expect("it was killed");
    told.into_iter().zip(batches.iter().cloned()).collect()
}

fn answer(stream: &mut TcpStream) -> Option<i64> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).ok()?;
    let response = decode_response::<ProduceRequest>(Bytes::from(answer), 9).expect("the answer reads").1;
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(ErrorCode(partition.error_code), ErrorCode::NONE);
    Some(partition.base_offset)
}

/// Opens what the last broker left, as the next one would.
fn check(folder: &Folder, acknowledged: &[(i64, String)]) {
    let storage = Directory::open(&folder.0).expect("its owner was killed");
    let node = Node { id: NodeId(1), host: "killed".to_owned(), port: 1 };
    let cluster = Cluster::open(ClusterConfig::with_node(node), Box::new(storage), Moment::default());
    let cluster = cluster.expect("what a killed broker left can be opened");
    let log = cluster.log("orders", PartitionIndex(0)).expect("it was made");
    let mut found = BTreeMap::new();
    for entry in log.batches().expect("the log reads") {
        for record in log.read_batch(&entry).expect("the batch reads").records() {
            let record = record.expect("reads");
            let text = String::from_utf8(record.value.expect("not null").to_vec()).expect("text");
            found.insert(record.offset, text);
        }
    }
    for (offset, value) in acknowledged.iter().filter(|(offset, _)| *offset >= log.start_offset()) {
        assert_eq!(found.get(offset), Some(value), "offset {offset}");
    }
    let newest = acknowledged.last().expect("some are").0;
    let (end, bytes) = (log.next_offset(), log.bytes());
    assert!(newest < end, "{newest} is behind the end, {end}");
    assert!(bytes >= 90_000.min(newest as u64 * 1_000), "{bytes} bytes are left of {end} records");
}

fn value(life: u64, number: u64) -> String {
    format!("{life} {number} {:0>1000}", 0)
}

fn produce(value: &str, producer_id: i64, base_sequence: i32) -> ProduceRequest {
    let mut body = Vec::new();
    let layout = RecordLayout::new(0, 0, None, Some(value.len()), &[]).expect("it is small");
    layout.write(Some(value.as_bytes()), &mut body);
    let header =
        BatchHeader { producer_id, producer_epoch: 0, base_sequence, record_count: 1, ..BatchHeader::default() };
    let mut batch = header.seal(body.len(), crc32c::checksum(&body)).to_vec();
    batch.extend_from_slice(&body);
    let data = PartitionProduceData { index: 0, records: Some(batch.into()), ..Default::default() };
    let topic = TopicProduceData { name: "orders".into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 2_000, topic_data: vec![topic], ..Default::default() }
}

/// Gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        Folder(std::env::temp_dir().join(format!("milena-broker-killed-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _never_made = std::fs::remove_dir_all(&self.0);
    }
}
