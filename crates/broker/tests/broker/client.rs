//! A client for tests: requests as frames, answers as messages, time by hand.

use std::time::Duration;

use bytes::Bytes;
use milena_broker::{
    CloseReason, Cluster, ClusterConfig, ConnectionId, Event, Memory, Moment, Node, NodeId, PartitionIndex,
    PartitionLog, Storage,
};
use milena_wire::frame::{decode_response, encode_request};
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::messages::produce::response::PartitionProduceResponse;
use milena_wire::records::{BatchHeader, RecordLayout};
use milena_wire::{ErrorCode, Request, Uuid, crc32c};

/// How often a cluster looks for old segments, once it has records.
pub const RETENTION_CHECK: Duration = Duration::from_secs(300);

/// Wall clock at the start of every test, in milliseconds.
pub const START: u64 = 1_700_000_000_000;

pub fn node() -> Node {
    Node { id: NodeId(1), host: "broker.test".to_owned(), port: 9092 }
}

pub fn config() -> ClusterConfig {
    ClusterConfig::with_node(node())
}

/// Nodes 1 to `count`, with Kafka's timeouts.
pub fn config_of_nodes(count: i32) -> ClusterConfig {
    let node = |id: i32| Node { id: NodeId(id), host: format!("broker{id}.test"), port: 9090 + id as u16 };
    ClusterConfig::with_nodes((1..=count).map(node).collect())
}

pub const P0: PartitionIndex = PartitionIndex(0);

/// A cluster and the hands of a clock.
pub struct Bench {
    pub cluster: Cluster,
    pub now: Moment,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(config())
    }

    pub fn with(config: ClusterConfig) -> Bench {
        Bench::open(config, Box::new(Memory))
    }

    pub fn open(config: ClusterConfig, storage: Box<dyn Storage>) -> Bench {
        let now = Moment { elapsed: Duration::ZERO, wall: Duration::from_millis(START) };
        Bench { cluster: Cluster::open(config, storage, now).expect("the storage opens"), now }
    }

    /// With a topic `orders` of so many partitions.
    pub fn with_orders(partitions: i32) -> Bench {
        let mut bench = Bench::new();
        bench.cluster.create_topic("orders", partitions).expect("the topic is new");
        bench
    }

    /// Three nodes, and a topic `orders` of one partition: node 1 leads, all keep it.
    pub fn of_three() -> Bench {
        Bench::of_three_with(config_of_nodes(3))
    }

    pub fn of_three_with(config: ClusterConfig) -> Bench {
        let mut bench = Bench::with(config);
        bench.cluster.create_topic("orders", 1).expect("the topic is new");
        bench
    }

    pub fn advance(&mut self, by: Duration) {
        self.now.elapsed += by;
        self.now.wall += by;
        self.cluster.handle_timeout(self.now);
        self.cluster.do_chores(self.now);
    }

    pub fn connect(&mut self) -> ConnectionId {
        self.connect_to(1)
    }

    pub fn connect_to(&mut self, node: i32) -> ConnectionId {
        self.cluster.connect(NodeId(node)).expect("there is such a node, and it is not stopped")
    }

    pub fn send<R: Request>(&mut self, connection: ConnectionId, version: i16, request: &R) {
        self.send_numbered(connection, version, 1, request);
    }

    pub fn send_numbered<R: Request>(&mut self, connection: ConnectionId, version: i16, number: i32, request: &R) {
        let frame = encode_request("test", number, version, request).expect("the request fits the version");
        self.cluster.handle_frame(self.now, connection, Bytes::from(frame).slice(4..));
    }

    pub fn event(&mut self) -> Option<Event> {
        self.cluster.poll_event(self.now)
    }

    /// The next event must answer this connection.
    pub fn response<R: Request>(&mut self, connection: ConnectionId, version: i16) -> R::Response {
        match self.event() {
            Some(Event::Response { connection: answered, frame }) if answered == connection => {
                decode_response::<R>(frame.slice(4..), version).expect("the answer reads").1
            }
            other => panic!("no answer to {connection}: {other:?}"),
        }
    }

    pub fn closed(&mut self, connection: ConnectionId) -> CloseReason {
        match self.event() {
            Some(Event::Close { connection: closed, reason }) if closed == connection => reason,
            other => panic!("{connection} is not closed: {other:?}"),
        }
    }

    /// Asks on a connection of its own.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.ask_node(1, version, request)
    }

    pub fn ask_node<R: Request>(&mut self, node: i32, version: i16, request: &R) -> R::Response {
        let connection = self.connect_to(node);
        self.send(connection, version, request);
        let response = self.response::<R>(connection, version);
        self.cluster.disconnect(connection);
        response
    }

    pub fn producer_id(&mut self) -> i64 {
        let response = self.ask(4, &InitProducerIdRequest { transactional_id: None, ..Default::default() });
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        response.producer_id
    }

    /// Sends a batch to partition 0 of `orders`.
    pub fn produce(&mut self, batch: impl Into<Bytes>) -> PartitionProduceResponse {
        let response = self.ask(9, &produce("orders", 0, batch));
        response.responses[0].partition_responses[0].clone()
    }

    /// Sends a batch for partition 0 of `orders` to a node, on a connection of its own, and waits for nothing.
    pub fn send_batch(&mut self, node: i32, batch: impl Into<Bytes>) -> ConnectionId {
        let connection = self.connect_to(node);
        self.send(connection, 12, &produce("orders", 0, batch));
        connection
    }

    /// The answer to [`Bench::send_batch`]: code and base offset.
    pub fn answer_to(&mut self, connection: ConnectionId) -> (ErrorCode, i64) {
        let response = self.response::<ProduceRequest>(connection, 12);
        let partition = &response.responses[0].partition_responses[0];
        (ErrorCode(partition.error_code), partition.base_offset)
    }

    /// Code and base offset of sending a batch for partition 0 of `orders` to a node that answers at once.
    pub fn produced_at(&mut self, node: i32, batch: impl Into<Bytes>) -> (ErrorCode, i64) {
        let connection = self.send_batch(node, batch);
        let answer = self.answer_to(connection);
        self.cluster.disconnect(connection);
        answer
    }

    /// Leader, leader epoch and ISR of partition 0 of `orders`, as the controller has them.
    pub fn leadership(&self) -> (Option<i32>, i32, Vec<i32>) {
        let isr = self.cluster.isr("orders", P0).expect("the topic is there");
        (
            self.cluster.leader("orders", P0).map(|node| node.0),
            self.cluster.leader_epoch("orders", P0).expect("the topic is there"),
            isr.iter().map(|node| node.0).collect(),
        )
    }

    /// Where the log of partition 0 of `orders` ends on each of three nodes.
    pub fn ends(&self) -> [i64; 3] {
        [1, 2, 3].map(|node| {
            let log = self.cluster.log_on(NodeId(node), "orders", P0);
            log.expect("it keeps a replica").next_offset()
        })
    }

    pub fn high_watermark(&self) -> i64 {
        self.cluster.high_watermark("orders", P0).expect("the topic is there")
    }

    /// Code and base offset of sending a batch to partition 0 of `orders`.
    pub fn produced(&mut self, batch: impl Into<Bytes>) -> (ErrorCode, i64) {
        let response = self.produce(batch);
        (ErrorCode(response.error_code), response.base_offset)
    }

    /// Every value in partition 0 of `orders`, by offset from 0.
    pub fn values(&self) -> Vec<String> {
        values_of(self.cluster.log("orders", P0).expect("the topic is there"))
    }

    /// The same as one node has it.
    pub fn values_on(&self, node: i32) -> Vec<String> {
        values_of(self.cluster.log_on(NodeId(node), "orders", P0).expect("it keeps a replica"))
    }

    pub fn topic_id(&self, name: &str) -> Uuid {
        self.cluster.topic(name).expect("the topic is there").id()
    }
}

fn values_of(log: &PartitionLog) -> Vec<String> {
    let entries = log.batches().expect("the log reads");
    let batches = entries.iter().map(|entry| log.read_batch(entry).expect("the batch reads"));
    let records: Vec<_> = batches.flat_map(|batch| batch.records()).map(|record| record.expect("reads")).collect();
    assert!(records.iter().map(|record| record.offset).eq((0..).take(records.len())), "offsets ascend by one");
    let text = |value: Option<Bytes>| String::from_utf8(value.expect("not null").to_vec()).expect("text");
    records.into_iter().map(|record| text(record.value)).collect()
}

pub fn produce(topic: &str, partition: i32, batch: impl Into<Bytes>) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(batch.into()), ..Default::default() };
    ProduceRequest {
        acks: -1,
        timeout_ms: 2_000,
        topic_data: vec![TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() }],
        ..Default::default()
    }
}

/// A batch to be: records of one text value each, at the wall clock of the start.
#[derive(Clone)]
pub struct Batch {
    pub header: BatchHeader,
    values: Vec<String>,
    timestamps: Vec<i64>,
}

impl Batch {
    /// Without a producer id.
    pub fn of(values: &[&str]) -> Batch {
        Batch {
            header: BatchHeader::default(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            timestamps: vec![START as i64; values.len()],
        }
    }

    pub fn stamped(values: &[&str], producer_id: i64, epoch: i16, sequence: i32) -> Batch {
        let mut batch = Batch::of(values);
        batch.header.producer_id = producer_id;
        batch.header.producer_epoch = epoch;
        batch.header.base_sequence = sequence;
        batch
    }

    pub fn at(mut self, timestamps: &[i64]) -> Batch {
        assert_eq!(timestamps.len(), self.values.len(), "one timestamp a record");
        self.timestamps = timestamps.to_vec();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(|_| {})
    }

    /// With a header that says something else than the records do.
    pub fn bytes_with(&self, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
        let base = self.timestamps.first().copied().unwrap_or(-1);
        let mut body = Vec::new();
        for (index, (value, timestamp)) in (0..).zip(self.values.iter().zip(&self.timestamps)) {
            let layout = RecordLayout::new(timestamp - base, index, None, Some(value.len()), &[]).expect("it is small");
            layout.write(Some(value.as_bytes()), &mut body);
        }
        let count = self.values.len() as i32;
        let mut header = BatchHeader {
            last_offset_delta: count - 1,
            base_timestamp: base,
            max_timestamp: self.timestamps.iter().copied().max().unwrap_or(-1),
            record_count: count,
            ..self.header
        };
        change(&mut header);
        let mut bytes = header.seal(body.len(), crc32c::checksum(&body)).to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }
}

impl From<Batch> for Bytes {
    fn from(batch: Batch) -> Bytes {
        Bytes::from(batch.bytes())
    }
}
