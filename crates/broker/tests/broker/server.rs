//! The TCP server: sockets, threads, and the end of both.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_broker::{ApiKey, Broker, BrokerOptions, Fault, StartError, Work};
use milena_wire::frame::{decode_response, encode_request};
use milena_wire::messages::create_topics::request::{CreatableTopic, CreateTopicsRequest};
use milena_wire::messages::fetch::request::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ErrorCode, Request};

use crate::client::{Batch, produce};
use crate::restart::Folder;

/// Far longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn start(options: BrokerOptions) -> Broker {
    Broker::start(options).expect("a free port and a free folder")
}

fn in_memory() -> Broker {
    start(BrokerOptions { auto_create_topics: true, ..BrokerOptions::default() })
}

fn in_folder(folder: &Folder) -> BrokerOptions {
    BrokerOptions { data_dir: Some(folder.path().to_path_buf()), auto_create_topics: true, ..BrokerOptions::default() }
}

pub struct Socket(TcpStream);

impl Socket {
    fn connect(broker: &Broker) -> Socket {
        Socket::connect_to(broker.bootstrap())
    }

    pub fn connect_to(address: &str) -> Socket {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        Socket(stream)
    }

    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        let frame = encode_request("test", 1, version, request).expect("the request fits the version");
        self.0.write_all(&frame).expect("the broker reads");
    }

    pub fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer comes");
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).expect("it comes whole");
        decode_response::<R>(Bytes::from(frame), version).expect("it reads").1
    }

    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    fn create_orders(&mut self) {
        let topic =
            CreatableTopic { name: "orders".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let created = self.ask(5, &CreateTopicsRequest { topics: vec![topic], ..Default::default() });
        assert_eq!(created.topics[0].error_code, 0);
    }

    fn produced(&mut self, value: &str) -> (ErrorCode, i64) {
        let response = self.ask(9, &produce("orders", 0, Batch::of(&[value])));
        let partition = &response.responses[0].partition_responses[0];
        (ErrorCode(partition.error_code), partition.base_offset)
    }

    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

fn fetch(max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: 1_000_000, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_wait_ms, min_bytes: 1, max_bytes: 1_000_000, topics: vec![topic], ..Default::default() }
}

fn all_topics() -> MetadataRequest {
    MetadataRequest { topics: None, allow_auto_topic_creation: true, ..Default::default() }
}

#[test]
fn broker_serves_as_soon_as_it_has_started() {
    let before = Instant::now();
    let broker = in_memory();
    let took = before.elapsed();
    let metadata = Socket::connect(&broker).ask(9, &all_topics());
    let node = &metadata.brokers[0];
    assert_eq!(format!("{}:{}", node.host, node.port), broker.bootstrap());
    println!("started in {took:?}");
    assert!(took < Duration::from_secs(5));
}

/// The address of a broker that was killed was gone after a start that said it changed nothing.
#[test]
fn a_start_that_is_refused_leaves_the_address_as_it_was() {
    let folder = Folder::new();
    let address = folder.path().join("address");
    start(in_folder(&folder)).stop();
    assert!(!address.exists());
    std::fs::write(&address, "127.0.0.1:9\n").expect("there is room");
    let catalogue = folder.path().join("catalogue");
    let kept = std::fs::read(&catalogue).expect("it is there");
    std::fs::write(&catalogue, "nonsense\n").expect("there is room");
    assert!(matches!(Broker::start(in_folder(&folder)), Err(StartError::Open(_))));
    assert_eq!(std::fs::read_to_string(&address).expect("it is there"), "127.0.0.1:9\n");
    std::fs::write(&catalogue, kept).expect("there is room");
    let broker = start(in_folder(&folder));
    assert_eq!(std::fs::read_to_string(&address).expect("it is there"), format!("{}\n", broker.bootstrap()));
    broker.stop();
    assert!(!address.exists());
}

#[test]
fn times_that_a_test_wants_shorter_reach_the_cluster() {
    let broker = start(BrokerOptions {
        producer_expiry: Some(Duration::from_millis(50)),
        producer_expiry_check: Duration::from_millis(10),
        ..BrokerOptions::default()
    });
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    let batch = Batch::stamped(&["a"], 7, 0, 0);
    let written = socket.ask(9, &produce("orders", 0, batch));
    assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    // Its record's time is long ago, so the first look after the next request forgets it.
    let begun = Instant::now();
    while broker.producers("orders", 0).is_none_or(|known| !known.is_empty()) {
        socket.ask(9, &all_topics());
        assert!(begun.elapsed() < PATIENCE, "Kafka's ten minutes");
    }
}

#[test]
fn clients_are_told_the_advertised_host_and_a_port_for_each_node() {
    let options = BrokerOptions {
        advertised_host: Some("::1".to_owned()),
        advertised_port: Some(65_534),
        ..BrokerOptions::default()
    };
    assert_eq!(start(options.clone().nodes(2)).bootstrap(), "[::1]:65534,[::1]:65535");
    assert!(matches!(Broker::start(options.nodes(3)), Err(StartError::Listen { .. })), "no port is left");
}

/// A consumer that waits for news, and a request that a fault holds up.
#[test]
fn work_is_what_clients_want_beside_news() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    let mut reader = Socket::connect(&broker);
    reader.send(11, &fetch(60_000));
    broker.faults().add(Fault::delay(PATIENCE).api(ApiKey::METADATA));
    let begun = Instant::now();
    while broker.clients().iter().all(|client| client.api != Some(ApiKey::FETCH)) {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(broker.look(|cluster| cluster.work()), Work { answered: 1, unanswered: 0 });
    socket.send(9, &all_topics());
    while broker.look(|cluster| cluster.work()) != (Work { answered: 2, unanswered: 1 }) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", broker.look(|cluster| cluster.work()));
    }
}

#[test]
fn a_disk_that_refuses_is_told_with_its_cause_and_file() {
    let folder = Folder::new();
    let broker = start(in_folder(&folder));
    let notices = broker.notices().expect("nobody asked before");
    assert!(broker.notices().is_none());
    // A folder in the place of the log's file.
    let log = folder.path().join("orders-0/00000000000000000000.log");
    std::fs::create_dir_all(&log).expect("there is room");
    assert!(broker.create_topic("orders", 1).is_err());
    let told = notices.recv_timeout(PATIENCE).expect("it is told").to_string();
    assert!(told.contains("create ") && told.contains(&log.display().to_string()), "{told}");
    broker.stop();
    assert!(notices.recv().is_err(), "it ends with the broker");
}

#[test]
fn records_are_written_and_read_through_sockets() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    assert_eq!(socket.produced("a"), (ErrorCode::NONE, 0));
    let data = socket.ask(11, &fetch(0)).responses[0].partitions[0].clone();
    assert_eq!(data.high_watermark, 1);
    assert!(data.records.is_some_and(|records| records.ends_with(b"a\0")));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    for value in ["a", "b", "c"] {
        socket.send(9, &produce("orders", 0, Batch::of(&[value])));
    }
    socket.send(11, &fetch(0));
    let offset =
        |socket: &mut Socket| socket.receive::<ProduceRequest>(9).responses[0].partition_responses[0].base_offset;
    assert_eq!([offset(&mut socket), offset(&mut socket), offset(&mut socket)], [0, 1, 2]);
    assert_eq!(socket.receive::<FetchRequest>(11).responses[0].partitions[0].high_watermark, 3);
}

#[test]
fn acks_of_zero_leaves_the_connection_to_the_next_request() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    socket.send(9, &ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&["a"])) });
    assert_eq!(socket.produced("b"), (ErrorCode::NONE, 1));
}

#[test]
fn waiting_fetch_is_answered_when_another_client_writes() {
    let broker = in_memory();
    let mut reader = Socket::connect(&broker);
    let mut writer = Socket::connect(&broker);
    writer.create_orders();
    reader.send(11, &fetch(60_000));
    writer.produced("a");
    assert_eq!(reader.receive::<FetchRequest>(11).responses[0].partitions[0].high_watermark, 1);
}

#[test]
fn waiting_fetch_is_answered_empty_when_its_time_is_over() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    let before = Instant::now();
    let data = socket.ask(11, &fetch(50)).responses[0].partitions[0].clone();
    assert_eq!((data.error_code, data.high_watermark), (0, 0));
    assert!(before.elapsed() >= Duration::from_millis(50));
}

#[test]
fn client_that_leaves_during_its_fetch_is_noticed() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    socket.send(11, &fetch(i32::MAX));
    drop(socket);
    assert!(broker.wait_until_connections(0, Some(PATIENCE)));
}

#[test]
fn owner_waits_until_others_are_gone() {
    let broker = in_memory();
    let first = Socket::connect(&broker);
    let mut second = Socket::connect(&broker);
    second.ask(9, &all_topics());
    assert_eq!(broker.connections(), 2);
    assert!(!broker.wait_until_connections(1, Some(Duration::from_millis(20))));
    drop(first);
    assert!(broker.wait_until_connections(1, Some(PATIENCE)));
    let waiting = std::thread::spawn(move || {
        assert!(broker.wait_until_connections(0, None));
        broker.stop();
    });
    drop(second);
    waiting.join().expect("the broker saw the last one go");
}

#[test]
fn an_idle_broker_stops_and_one_with_a_connection_does_not() {
    let broker = in_memory();
    let mut socket = Socket::connect(&broker);
    socket.ask(9, &all_topics());
    let broker = broker.stop_if_idle().expect_err("somebody is connected");
    socket.ask(9, &all_topics());
    drop(socket);
    assert!(broker.wait_until_connections(0, Some(PATIENCE)));
    let address = broker.bootstrap().to_owned();
    assert!(broker.stop_if_idle().is_ok());
    assert!(std::net::TcpStream::connect(address).is_err(), "a stopped broker listens");
}

#[test]
fn garbage_closes_its_connection_and_no_other() {
    let broker = in_memory();
    let mut witness = Socket::connect(&broker);
    witness.create_orders();
    let hostile: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[255, 255, 255, 255],
        &[6, 64, 0, 1],
        &[0, 0, 0, 4, 0, 3, 0, 9],
        &[0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 255, 255],
    ];
    for bytes in hostile {
        let mut socket = Socket::connect(&broker);
        socket.0.write_all(bytes).expect("the broker listens");
        assert!(socket.is_closed(), "{bytes:?}");
    }
    let mut half = Socket::connect(&broker);
    half.0.write_all(&[0, 0, 1, 0, 1, 2, 3]).expect("the broker listens");
    half.0.shutdown(Shutdown::Write).expect("it was open");
    assert!(half.is_closed());
    assert_eq!(witness.produced("still here"), (ErrorCode::NONE, 0));
}

#[test]
fn stopped_broker_closes_its_connections_and_can_be_started_again_with_its_data() {
    let folder = Folder::new();
    let broker = start(in_folder(&folder));
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    assert_eq!(socket.produced("a"), (ErrorCode::NONE, 0));
    broker.stop();
    assert!(socket.is_closed());
    let broker = start(in_folder(&folder));
    assert!(broker.torn_tails().is_empty());
    assert_eq!(Socket::connect(&broker).produced("b"), (ErrorCode::NONE, 1));
}

#[test]
fn second_broker_on_a_data_directory_learns_where_the_first_serves() {
    let folder = Folder::new();
    let broker = start(in_folder(&folder));
    match Broker::start(in_folder(&folder)) {
        Err(StartError::DataDirInUse { address, .. }) => assert_eq!(address.as_deref(), Some(broker.bootstrap())),
        other => panic!("not refused: {other:?}"),
    }
    broker.stop();
    assert!(!folder.path().join("address").exists());
    start(in_folder(&folder)).stop();
}

#[test]
fn torn_tail_is_reported_by_the_started_broker() {
    let folder = Folder::new();
    let broker = start(in_folder(&folder));
    let mut socket = Socket::connect(&broker);
    socket.create_orders();
    socket.produced("a");
    broker.stop();
    let log = folder.path().join("orders-0").join("00000000000000000000.log");
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).expect("the log is there");
    file.write_all(b"torn").expect("there is room");
    let broker = start(in_folder(&folder));
    assert_eq!(broker.torn_tails()[0].cut_bytes, 4);
    assert_eq!(Socket::connect(&broker).produced("b"), (ErrorCode::NONE, 1));
}

#[test]
fn address_in_use_is_an_error_that_names_it() {
    let broker = in_memory();
    let options = BrokerOptions { listen: broker.bootstrap().to_owned(), ..BrokerOptions::default() };
    let error = Broker::start(options).expect_err("the port is taken").to_string();
    assert!(error.contains(broker.bootstrap()), "{error}");
}
