//! The TCP server with several nodes: what sockets see of nodes that freeze, stop and start.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use milena_broker::{Broker, BrokerOptions, Fault, NodeId, Process, Stop, TopicConfig};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{ApiKey, ErrorCode};

use crate::client::{Batch, P0, produce};
use crate::restart::Folder;
use crate::server::{PATIENCE, Socket, start};

/// Three nodes with Kafka's timeouts, and a topic `orders` of one partition, led by node 1.
fn three() -> Broker {
    three_with(BrokerOptions::default())
}

/// The same, but a silent node is noticed soon.
fn three_that_notice() -> Broker {
    three_with(BrokerOptions { session_timeout: Duration::from_millis(200), ..BrokerOptions::default() })
}

fn three_with(options: BrokerOptions) -> Broker {
    let broker = start(options.nodes(3));
    broker.create_topic("orders", 1).expect("the topic is new");
    broker
}

fn address(broker: &Broker, node: usize) -> &str {
    broker.bootstrap().split(',').nth(node - 1).expect("each node has one")
}

fn to(broker: &Broker, node: usize) -> Socket {
    Socket::connect_to(address(broker, node))
}

fn received(socket: &mut Socket) -> (ErrorCode, i64) {
    let response = socket.receive::<ProduceRequest>(9);
    let partition = &response.responses[0].partition_responses[0];
    (ErrorCode(partition.error_code), partition.base_offset)
}

fn produced(socket: &mut Socket, value: &str) -> (ErrorCode, i64) {
    socket.send(9, &produce("orders", 0, Batch::of(&[value])));
    received(socket)
}

fn wait_for_leader(broker: &Broker, node: i32) {
    let until = Instant::now() + PATIENCE;
    while broker.leader("orders", P0) != Some(NodeId(node)) {
        assert!(Instant::now() < until, "node {node} does not lead");
        std::thread::yield_now();
    }
}

fn values(broker: &Broker) -> i64 {
    broker.look(|cluster| cluster.log("orders", P0).expect("it was made").next_offset())
}

#[test]
fn each_node_has_an_address_and_all_tell_the_same() {
    let broker = three();
    for node in 1..=3 {
        let metadata = to(&broker, node).ask(9, &MetadataRequest { topics: None, ..Default::default() });
        let addresses: Vec<_> = metadata.brokers.iter().map(|node| format!("{}:{}", node.host, node.port)).collect();
        assert_eq!(addresses.join(","), broker.bootstrap());
    }
    assert_eq!(produced(&mut to(&broker, 1), "a"), (ErrorCode::NONE, 0));
    assert_eq!(produced(&mut to(&broker, 2), "b"), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(broker.isr("orders", P0), Some(vec![NodeId(1), NodeId(2), NodeId(3)]));
    assert_eq!(broker.high_watermark("orders", P0), Some(1));
}

#[test]
fn ports_are_the_next_in_a_row_from_one_that_is_named() {
    // Somebody else may take one of the three meanwhile; then the next try has others.
    for _ in 0..20 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let first = free.local_addr().expect("it is bound").port();
        drop(free);
        let listen = format!("127.0.0.1:{first}");
        let Ok(broker) = Broker::start(BrokerOptions { listen, ..BrokerOptions::default() }.nodes(3)) else { continue };
        let expected: Vec<_> = (first..first + 3).map(|port| format!("127.0.0.1:{port}")).collect();
        assert_eq!(broker.bootstrap(), expected.join(","));
        return;
    }
    panic!("no three ports in a row are free");
}

#[test]
fn frozen_node_is_silent_replaced_and_wakes_with_what_was_sent() {
    let broker = three_that_notice();
    let mut quiet = to(&broker, 1);
    assert_eq!(produced(&mut quiet, "a"), (ErrorCode::NONE, 0));
    broker.freeze(NodeId(1)).expect("it runs");
    quiet.send(9, &produce("orders", 0, Batch::of(&["lost"])));
    let mut late = to(&broker, 1);
    late.send(9, &produce("orders", 0, Batch::of(&["lost too"])));
    wait_for_leader(&broker, 2);
    assert_eq!(produced(&mut to(&broker, 2), "b"), (ErrorCode::NONE, 1));
    assert_eq!(broker.look(|cluster| cluster.log_on(NodeId(1), "orders", P0).expect("kept").next_offset()), 1);
    broker.thaw(NodeId(1)).expect("it is frozen");
    for socket in [&mut quiet, &mut late] {
        let (code, base_offset) = received(socket);
        assert_eq!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        // Appended by a leader of the past, or read after it had caught up: the thread may have been held up.
        assert!(matches!(base_offset, -1 | 1 | 2), "{base_offset}");
    }
    assert_eq!((values(&broker), broker.leader_epoch("orders", P0)), (2, Some(1)));
}

#[test]
fn what_was_sent_to_a_frozen_node_is_executed_after_its_client_is_gone() {
    let broker = three();
    broker.freeze(NodeId(1)).expect("it runs");
    let mut gone = to(&broker, 1);
    for value in ["a", "b"] {
        gone.send(9, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&[value])) });
    }
    drop(gone);
    assert_eq!(values(&broker), 0);
    broker.thaw(NodeId(1)).expect("it is frozen");
    let until = Instant::now() + PATIENCE;
    while values(&broker) == 0 {
        assert!(Instant::now() < until, "what was sent is not executed");
        std::thread::yield_now();
    }
}

#[test]
fn stopped_node_closes_refuses_and_is_back_on_its_port() {
    let broker = three();
    let mut socket = to(&broker, 1);
    assert_eq!(produced(&mut socket, "a"), (ErrorCode::NONE, 0));
    broker.stop_node(NodeId(1), Stop::Clean).expect("it has a process");
    assert!(socket.is_closed());
    let refused = TcpStream::connect(address(&broker, 1)).expect_err("a stopped node listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(broker.leader("orders", P0), Some(NodeId(2)));
    assert_eq!(produced(&mut to(&broker, 2), "b"), (ErrorCode::NONE, 1));
    assert!(broker.stop_node(NodeId(1), Stop::Kill).is_err(), "it is stopped already");
    for _ in 0..3 {
        broker.start_node(NodeId(1)).expect("its port is kept");
        assert!(broker.start_node(NodeId(1)).is_err(), "it runs");
        assert_eq!(produced(&mut to(&broker, 1), "x"), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
        broker.stop_node(NodeId(1), Stop::Kill).expect("it has a process");
    }
    assert_eq!(broker.look(|cluster| cluster.process(NodeId(1))), Some(Process::Stopped));
}

#[test]
fn killed_leader_is_replaced_after_the_session_timeout() {
    let broker = three_that_notice();
    assert_eq!(produced(&mut to(&broker, 1), "a"), (ErrorCode::NONE, 0));
    broker.stop_node(NodeId(1), Stop::Kill).expect("it has a process");
    wait_for_leader(&broker, 2);
    assert_eq!(produced(&mut to(&broker, 2), "b"), (ErrorCode::NONE, 1));
}

#[test]
fn request_that_waits_for_followers_mutes_its_connection_only() {
    let broker = three();
    broker.lag(NodeId(3), Some(Duration::MAX)).expect("it is there");
    let mut slow = to(&broker, 1);
    slow.send(9, &produce("orders", 0, Batch::of(&["a"])));
    slow.send(9, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&["b"])) });
    let mut quick = to(&broker, 1);
    quick.send(9, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&["c"])) });
    received(&mut quick);
    assert!(values(&broker) <= 2, "the second request of the slow connection is not read");
    broker.lag(NodeId(3), None).expect("it is there");
    assert_eq!(received(&mut slow).0, ErrorCode::NONE);
    assert_eq!(received(&mut slow).0, ErrorCode::NONE);
    assert_eq!((values(&broker), broker.high_watermark("orders", P0)), (3, Some(3)));
}

#[test]
fn settings_are_changed_while_it_runs() {
    let broker = three();
    broker.stop_node(NodeId(2), Stop::Clean).expect("it has a process");
    broker.stop_node(NodeId(3), Stop::Clean).expect("it has a process");
    let strict = TopicConfig { min_insync_replicas: 2, ..TopicConfig::default() };
    broker.alter_topic("orders", strict).expect("memory saves");
    assert_eq!(produced(&mut to(&broker, 1), "a"), (ErrorCode::NOT_ENOUGH_REPLICAS, -1));
}

#[test]
fn moved_leader_answers_and_the_old_one_does_not() {
    let broker = three();
    broker.move_leader("orders", P0, NodeId(3)).expect("it may lead");
    assert_eq!(produced(&mut to(&broker, 1), "a"), (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    assert_eq!(produced(&mut to(&broker, 3), "a"), (ErrorCode::NONE, 0));
}

#[test]
fn throttled_connection_is_answered_and_then_read_later() {
    let broker = three();
    let time = Duration::from_millis(60);
    broker.faults().add(Fault::throttle(time).api(ApiKey::PRODUCE).times(2));
    let mut socket = to(&broker, 1);
    let before = Instant::now();
    // The first has no answer, and mutes all the same.
    socket.send(9, &ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&["a"])) });
    for value in ["b", "c"] {
        socket.send(9, &produce("orders", 0, Batch::of(&[value])));
    }
    assert_eq!(received(&mut socket), (ErrorCode::NONE, 1));
    assert!(before.elapsed() >= time);
    assert_eq!(received(&mut socket), (ErrorCode::NONE, 2));
    assert!(before.elapsed() >= 2 * time);
}

#[test]
fn data_directory_has_a_folder_for_each_node_and_the_address_of_the_first() {
    let folder = Folder::new();
    let options = BrokerOptions { data_dir: Some(folder.path().to_path_buf()), ..BrokerOptions::default() }.nodes(3);
    let broker = start(options.clone());
    broker.create_topic("orders", 1).expect("the topic is new");
    assert_eq!(produced(&mut to(&broker, 1), "a"), (ErrorCode::NONE, 0));
    let published = std::fs::read_to_string(folder.path().join("address")).expect("it is published");
    assert_eq!(published.trim(), address(&broker, 1));
    assert!((1..=3).all(|node| folder.path().join(format!("node-{node}/orders-0")).is_dir()));
    broker.stop();
    let error = Broker::start(options.clone().nodes(1)).expect_err("it is the data of three").to_string();
    assert!(error.contains("start 3"), "{error}");
    let broker = start(options);
    assert_eq!(produced(&mut to(&broker, 1), "b"), (ErrorCode::NONE, 1));
}

#[test]
fn nodes_stand_in_racks_and_missing_topics_are_made_when_asked_for() {
    let broker = three_with(BrokerOptions { racks: vec!["a".to_owned(), "b".to_owned()], ..BrokerOptions::default() });
    let missing = MetadataRequestTopic { name: Some("missing".into()), ..Default::default() };
    let request = |allow_auto_topic_creation| MetadataRequest {
        topics: Some(vec![missing.clone()]),
        allow_auto_topic_creation,
        ..Default::default()
    };
    let mut socket = to(&broker, 2);
    let metadata = socket.ask(9, &request(false));
    let racks: Vec<_> = metadata.brokers.iter().map(|node| node.rack.as_deref()).collect();
    assert_eq!(racks, [Some("a"), Some("b"), None]);
    assert_eq!(ErrorCode(metadata.topics[0].error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    socket.ask(9, &request(true));
    assert!(broker.look(|cluster| cluster.topic("missing").is_some()), "as with Kafka, by itself");
}
