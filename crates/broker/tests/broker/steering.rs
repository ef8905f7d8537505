//! Steering a running broker from another thread: faults over sockets, and the truth as values.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use milena_broker::{
    ApiKey, Broker, BrokerOptions, Epoch, ErrorCode, Fault, NodeId, ProducerId, RecordStamp, Sequence, SnapshotError,
    Window,
};
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::produce::request::ProduceRequest;

use crate::client::{Batch, produce};
use crate::server::{PATIENCE, Socket, start};

fn with_orders() -> Broker {
    let broker = start(BrokerOptions::default());
    broker.create_topic("orders", 1).expect("it is new");
    broker
}

fn produced(broker: &Broker, batch: Batch) -> (ErrorCode, i64) {
    let response = Socket::connect_to(broker.bootstrap()).ask(9, &produce("orders", 0, batch));
    let partition = &response.responses[0].partition_responses[0];
    (ErrorCode(partition.error_code), partition.base_offset)
}

#[test]
fn lost_answer_keeps_the_socket_open_and_what_follows_unserved() {
    let broker = with_orders();
    let lost = broker.faults().add(Fault::lose_answer().api(ApiKey::PRODUCE).once());
    let mut socket = Socket::connect_to(broker.bootstrap());
    socket.send(9, &produce("orders", 0, Batch::of(&["a"])));
    assert!(broker.faults().wait_for_hits(lost, 1, PATIENCE));
    // More than is ever read ahead: it is thrown away, so the client is not held up.
    for _ in 0..40 {
        socket.send(9, &produce("orders", 0, Batch::of(&["x".repeat(100_000).as_str()])));
    }
    assert_eq!(produced(&broker, Batch::of(&["b"])), (ErrorCode::NONE, 1));
    let entry = broker.faults().get(lost).expect("it is remembered");
    assert_eq!((entry.hits, entry.is_over), (1, true));
    drop(socket);
    assert!(broker.wait_until_connections(0, Some(PATIENCE)), "it is noticed that the client left");
}

#[test]
fn cut_answer_reaches_the_socket_and_then_its_end() {
    let broker = with_orders();
    broker.faults().add(Fault::cut(6).api(ApiKey::METADATA));
    let mut stream = TcpStream::connect(broker.bootstrap()).expect("the broker listens");
    let request = MetadataRequest { topics: None, ..Default::default() };
    let frame = milena_wire::frame::encode_request("test", 1, 12, &request).expect("it fits");
    std::io::Write::write_all(&mut stream, &frame).expect("the broker reads");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("it is closed in order");
    assert_eq!(all.len(), 6);
}

#[test]
fn late_answers_come_late() {
    let broker = with_orders();
    let time = Duration::from_millis(60);
    broker.faults().add(Fault::delay(time).api(ApiKey::PRODUCE).times(1));
    let before = std::time::Instant::now();
    assert_eq!(produced(&broker, Batch::of(&["a"])), (ErrorCode::NONE, 0));
    assert!(before.elapsed() >= time);
}

/// A session that waited for an answer to be handed out slept for ever where there was none.
#[test]
fn connection_is_served_again_after_a_delay_without_an_answer() {
    let broker = with_orders();
    let delay = broker.faults().add(Fault::delay(Duration::from_millis(60)).api(ApiKey::PRODUCE).once());
    let mut socket = Socket::connect_to(broker.bootstrap());
    let before = std::time::Instant::now();
    socket.send(9, &ProduceRequest { acks: 0, ..produce("orders", 0, Batch::of(&["a"])) });
    socket.ask(9, &produce("orders", 0, Batch::of(&["b"])));
    assert!(before.elapsed() >= Duration::from_millis(60));
    assert_eq!((broker.faults().hits(delay), broker.log("orders", 0).expect("it is there").records.len()), (1, 2));
    broker.faults().add(Fault::delay(Duration::from_millis(1)).once());
    let lost = broker.faults().add(Fault::lose_answer().once());
    socket.send(9, &produce("orders", 0, Batch::of(&["c"])));
    assert!(broker.faults().wait_for_hits(lost, 1, PATIENCE));
    drop(socket);
    assert!(broker.wait_until_connections(0, Some(PATIENCE)), "it is noticed that the client left");
}

#[test]
fn removing_a_fault_reaches_those_who_wait() {
    let broker = with_orders();
    let hour = Duration::from_secs(3600);
    let held = broker.faults().add(Fault::delay(hour).api(ApiKey::PRODUCE));
    let never = broker.faults().add(Fault::close_before().client("nobody"));
    let once = broker.faults().add(Fault::throttle(Duration::ZERO).api(ApiKey::PRODUCE).once());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| produced(&broker, Batch::of(&["a"])));
        let twice = scope.spawn(|| broker.faults().wait_for_hits(once, 2, hour));
        let waiting = scope.spawn(|| broker.faults().wait_for_hits(never, 1, hour));
        assert!(broker.faults().wait_for_hits(held, 1, PATIENCE));
        assert!(!twice.join().expect("it ends"), "it is used up");
        broker.faults().remove(held);
        assert_eq!(writer.join().expect("it ends"), (ErrorCode::NONE, 0));
        broker.faults().clear();
        assert!(!waiting.join().expect("it ends"), "it is removed");
    });
}

#[test]
fn waiting_for_hits_ends_with_its_time_and_faults_can_be_listed_and_cleared() {
    let broker = with_orders();
    let fault = Fault::refuse(ErrorCode::NOT_ENOUGH_REPLICAS).api(ApiKey::PRODUCE);
    let id = broker.faults().add(fault.clone());
    assert!(!broker.faults().wait_for_hits(id, 1, Duration::from_millis(5)));
    assert_eq!(produced(&broker, Batch::of(&["a"])).0, ErrorCode::NOT_ENOUGH_REPLICAS);
    let listed: Vec<_> = broker.faults().list().into_iter().map(|entry| (entry.id, entry.fault, entry.hits)).collect();
    assert_eq!(listed, [(id, fault, 1)]);
    broker.faults().clear();
    assert_eq!((broker.faults().list().len(), broker.faults().hits(id)), (0, 0));
    assert_eq!(produced(&broker, Batch::of(&["a"])), (ErrorCode::NONE, 0));
}

#[test]
fn log_tells_every_record_and_who_wrote_it() {
    let broker = start(BrokerOptions::default().nodes(2));
    broker.create_topic("orders", 1).expect("it is new");
    let node = broker.leader("orders", 0).expect("somebody leads");
    let address = broker.bootstrap().split(',').nth(node.0 as usize - 1).expect("each node has one");
    let mut socket = Socket::connect_to(address);
    socket.ask(9, &produce("orders", 0, Batch::of(&["a", "b"])));
    socket.ask(9, &produce("orders", 0, Batch::stamped(&["c", "d"], 77, 3, 0)));
    broker.lag(if node == NodeId(1) { 2 } else { 1 }, Some(Duration::MAX)).expect("it is there");
    socket.ask(9, &ProduceRequest { acks: 1, ..produce("orders", 0, Batch::of(&["e"])) });
    let log = broker.log("orders", 0).expect("it can be read");
    assert_eq!((log.leader, log.start_offset, log.high_watermark, log.end_offset), (Some(node), 0, 4, 5));
    let told: Vec<_> =
        log.records.iter().map(|record| (record.offset, record.batch, record.value.as_deref())).collect();
    let value = |text: &'static str| Some(text.as_bytes());
    assert_eq!(
        told,
        [(0, 0, value("a")), (1, 0, value("b")), (2, 2, value("c")), (3, 2, value("d")), (4, 4, value("e"))]
    );
    let stamps: Vec<_> = log.records.iter().map(|record| record.stamp).collect();
    let stamp =
        |sequence| Some(RecordStamp { producer_id: ProducerId(77), epoch: Epoch(3), sequence: Sequence(sequence) });
    assert_eq!(stamps, [None, None, stamp(0), stamp(1), None]);
    let some =
        broker.log_window("orders", 0, Window { from: 1, records_max: 2, ..Window::ALL }).expect("it can be read");
    assert_eq!(some.records, log.records[1..3]);
    let producers = broker.producers("orders", 0).expect("it is there");
    assert_eq!(producers.iter().map(|(id, entry)| (id.0, entry.epoch().0)).collect::<Vec<_>>(), [(77, 3)]);
    let missing = broker.log("orders", 1).expect_err("there is one partition");
    assert!(matches!(missing, SnapshotError::NoSuchPartition { .. }), "{missing}");
    assert_eq!(broker.producers("nothing", 0), None);
    assert_eq!(broker.clients().iter().map(|client| client.requests).collect::<Vec<_>>(), [3]);
}
