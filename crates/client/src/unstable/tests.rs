//! Reader and admin against a peer that follows a script.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use milena_wire::frame::{self, RequestHeader};
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::messages::create_topics::response::{CreatableTopicResult, CreateTopicsResponse};
use milena_wire::messages::fetch::request::FetchRequest;
use milena_wire::messages::fetch::response::{FetchResponse, FetchableTopicResponse, PartitionData};
use milena_wire::messages::metadata::response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_wire::records::{
    Attributes, BATCH_HEADER_BYTES, BatchHeader, Codec, Compression, Encoding, Packer, RecordLayout,
};
use milena_wire::{ApiKey, crc32c};

use super::*;

/// What the peer does with a request.
enum Deed {
    Fetch(PartitionData),
    /// Kafka's code for CreateTopics.
    Create(ErrorCode),
    /// Bytes that are no answer.
    Garbage,
    HangUp,
}

/// Follows the script request by request, then repeats its last deed. Metadata is answered beside the script.
struct Peer {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    deeds: Vec<fn() -> Deed>,
    fetched: Vec<(i16, FetchRequest)>,
    creates: usize,
    metadata: usize,
    /// The first byte of the topic id, by how often metadata was asked for; the last is repeated.
    topic_ids: Vec<u8>,
    fetch_max: i16,
    address: (Box<str>, i32),
}

impl Peer {
    fn follow(deeds: &[fn() -> Deed]) -> Self {
        Self::with(deeds, vec![1], 17)
    }

    fn with(deeds: &[fn() -> Deed], topic_ids: Vec<u8>, fetch_max: i16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen {
            deeds: deeds.to_vec(),
            fetched: Vec::new(),
            creates: 0,
            metadata: 0,
            topic_ids,
            fetch_max,
            address: (address.ip().to_string().into(), address.port().into()),
        }));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { address: address.to_string(), seen }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    async fn admin(&self, deadline: Duration) -> Admin {
        Admin::connect(std::slice::from_ref(&self.address), "test", deadline).await.unwrap()
    }
}

/// Until the client hangs up or the script says so.
fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).ok()?;
        let answer = seen.lock().unwrap().answer(request.into())?;
        stream.write_all(&answer).ok()?;
    }
}

impl Seen {
    fn answer(&mut self, request: Bytes) -> Option<Vec<u8>> {
        let mut r = milena_wire::Reader::new(request);
        let RequestHeader { api_key, api_version, correlation_id, .. } = RequestHeader::read(&mut r).unwrap();
        let answered = match api_key {
            ApiKey::API_VERSIONS => frame::encode_response(correlation_id, api_version, &self.versions()),
            ApiKey::METADATA => frame::encode_response(correlation_id, api_version, &self.metadata()),
            ApiKey::FETCH => {
                let asked: FetchRequest = frame::decode_request(r, api_version).unwrap();
                let deed = self.deeds[self.fetched.len().min(self.deeds.len() - 1)]();
                self.fetched.push((api_version, asked.clone()));
                match deed {
                    Deed::Fetch(data) => {
                        let answer = fetched(&asked, data);
                        frame::encode_response(correlation_id, api_version, &answer)
                    }
                    Deed::Garbage => return Some(b"HTTP/1.1 200 OK".to_vec()),
                    Deed::HangUp | Deed::Create(_) => return None,
                }
            }
            ApiKey::CREATE_TOPICS => {
                let deed = self.deeds[self.creates.min(self.deeds.len() - 1)]();
                self.creates += 1;
                let Deed::Create(code) = deed else { return None };
                let result = CreatableTopicResult { error_code: code.0, ..Default::default() };
                let answer = CreateTopicsResponse { topics: vec![result], ..Default::default() };
                frame::encode_response(correlation_id, api_version, &answer)
            }
            other => panic!("{other} is not asked here"),
        };
        Some(answered.unwrap())
    }

    fn versions(&self) -> ApiVersionsResponse {
        let of = |key: ApiKey, max_version| ApiVersion { api_key: key.0, max_version, ..Default::default() };
        let api_keys = vec![
            of(ApiKey::API_VERSIONS, 4),
            of(ApiKey::METADATA, 12),
            of(ApiKey::FETCH, self.fetch_max),
            of(ApiKey::CREATE_TOPICS, 7),
        ];
        ApiVersionsResponse { api_keys, ..Default::default() }
    }

    fn metadata(&mut self) -> MetadataResponse {
        let id = self.topic_ids[self.metadata.min(self.topic_ids.len() - 1)];
        self.metadata += 1;
        let (host, port) = self.address.clone();
        let partition = MetadataResponsePartition { leader_id: 1, leader_epoch: 4, ..Default::default() };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker { node_id: 1, host, port, ..Default::default() }],
            controller_id: 1,
            topics: vec![MetadataResponseTopic {
                name: Some("orders".into()),
                topic_id: Uuid([id; 16]),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

fn fetched(asked: &FetchRequest, data: PartitionData) -> FetchResponse {
    let topic = FetchableTopicResponse {
        topic: asked.topics[0].topic.clone(),
        topic_id: asked.topics[0].topic_id,
        partitions: vec![data],
        ..Default::default()
    };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn records(bytes: Vec<u8>) -> Deed {
    Deed::Fetch(PartitionData { high_watermark: 100, records: Some(bytes.into()), ..Default::default() })
}

fn refusal(code: ErrorCode) -> Deed {
    Deed::Fetch(PartitionData { error_code: code.0, ..Default::default() })
}

/// Records from `base_offset` on, each with its offset as its value.
fn batch(base_offset: i64, count: i32) -> Vec<u8> {
    batch_with(Attributes::default(), base_offset, count)
}

fn batch_with(attributes: Attributes, base_offset: i64, count: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for delta in 0..count {
        let value = (base_offset + i64::from(delta)).to_string();
        RecordLayout::new(0, delta, None, Some(value.len()), &[]).unwrap().write(Some(value.as_bytes()), &mut body);
    }
    let header = BatchHeader {
        base_offset,
        attributes,
        last_offset_delta: count - 1,
        record_count: count,
        ..Default::default()
    };
    [&header.seal(body.len(), crc32c::checksum(&body))[..], &body].concat()
}

/// Everything between the offsets, or the error, and what came before it.
async fn read(admin: &mut Admin, from: i64, end: i64) -> (Vec<i64>, Option<ReadError>) {
    let mut reader = admin.reader("orders", 0);
    reader.seek(from);
    let mut found = Vec::new();
    while reader.position() < end {
        match reader.read(end).await {
            Ok(batches) => {
                for record in batches.iter().flat_map(ReadBatch::records) {
                    let record = record.unwrap();
                    assert_eq!(record.value.as_deref(), Some(record.offset.to_string().as_bytes()));
                    found.push(record.offset);
                }
            }
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn only_what_lies_between_the_offsets_is_read() {
    let peer = Peer::follow(&[|| records([batch(0, 3), batch(3, 3), batch(6, 3)].concat())]);
    let (found, error) = run(async { read(&mut peer.admin(SOON).await, 4, 7).await });
    assert!(error.is_none());
    assert_eq!(found, [4, 5, 6]);
    assert_eq!(peer.seen().fetched.len(), 1);
}

#[test]
fn a_cut_batch_is_fetched_again_and_gaps_and_control_batches_are_passed() {
    let peer = Peer::follow(&[
        || records([batch(0, 2), batch(2, 2)[..70].to_vec()].concat()),
        || records([batch_with(Attributes::default().with_control(true), 2, 1), batch(5, 2)].concat()),
        || records(batch(9, 4)),
    ]);
    let (found, error) = run(async { read(&mut peer.admin(SOON).await, 0, 10).await });
    assert!(error.is_none());
    assert_eq!(found, [0, 1, 5, 6, 9]);
    let asked: Vec<i64> = peer.seen().fetched.iter().map(|(_, it)| it.topics[0].partitions[0].fetch_offset).collect();
    assert_eq!(asked, [0, 2, 7]);
}

#[test]
fn a_gap_up_to_the_end_ends_the_reading() {
    let peer = Peer::follow(&[|| records([batch(0, 2), batch(12, 2)].concat())]);
    assert_eq!(run(async { read(&mut peer.admin(SOON).await, 0, 10).await }).0, [0, 1]);
}

/// The records of `batch(from, count)`, by this codec.
fn compressed(codec: Codec, from: i64, count: i32) -> Vec<u8> {
    let plain = batch(from, count);
    let mut header = BatchHeader::read(&plain).expect("it was just written");
    header.attributes = header.attributes.with_compression(codec.into());
    let body = &plain[BATCH_HEADER_BYTES..];
    let packed = Packer::new().pack(Encoding::new(codec), [body]).expect("the records are alike");
    [&header.seal(packed.len(), crc32c::checksum(&packed))[..], &packed].concat()
}

#[test]
fn compressed_batches_are_read_as_others_are() {
    let peer = Peer::follow(&[|| {
        let each = Codec::ALL.iter().zip(0..).map(|(codec, number)| compressed(*codec, 100 * number, 100));
        records(each.collect::<Vec<_>>().concat())
    }]);
    let (found, error) = run(async { read(&mut peer.admin(SOON).await, 50, 350).await });
    assert!(error.is_none());
    assert_eq!(found, (50..350).collect::<Vec<_>>());
}

#[test]
fn a_codec_that_nobody_has_is_an_error_after_everything_before_it() {
    let peer = Peer::follow(&[|| {
        let unknown = batch_with(Attributes::default().with_compression(Compression::Unknown(5)), 2, 1);
        records([batch(0, 2), unknown].concat())
    }]);
    let batches = run(async {
        let mut admin = peer.admin(SOON).await;
        let mut reader = admin.reader("orders", 0);
        reader.read(10).await.expect("whole batches")
    });
    let mut found = batches.iter().flat_map(ReadBatch::records);
    assert!(found.by_ref().take(2).all(|record| record.is_ok()));
    let error = found.next().expect("it is told").expect_err("nobody has it").to_string();
    assert!(error.contains("at offset 2 is compressed with unknown codec 5"), "{error}");
}

#[test]
fn a_damaged_batch_is_an_error() {
    let peer = Peer::follow(&[|| {
        let mut damaged = batch(0, 2);
        damaged[65] ^= 1;
        records(damaged)
    }]);
    let (_, error) = run(async { read(&mut peer.admin(SOON).await, 0, 10).await });
    assert!(matches!(error, Some(ReadError::Damaged { .. })), "{error:?}");
}

#[test]
fn a_leader_that_is_none_any_more_and_a_lost_connection_are_got_over() {
    let peer = Peer::follow(&[
        || refusal(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        || Deed::HangUp,
        || refusal(ErrorCode::UNKNOWN_LEADER_EPOCH),
        || records(batch(0, 2)),
    ]);
    let (found, error) = run(async { read(&mut peer.admin(SOON).await, 0, 2).await });
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, [0, 1]);
    assert_eq!(peer.seen().fetched.len(), 4);
    assert!(peer.seen().metadata >= 4, "each setback asks for the leader again");
}

#[test]
fn empty_answers_end_at_the_deadline_and_do_not_spin() {
    let peer = Peer::follow(&[|| records(Vec::new())]);
    let (_, error) = run(async { read(&mut peer.admin(Duration::from_millis(300)).await, 0, 2).await });
    // What it was doing when the deadline came is chance: asking, or pausing.
    assert!(matches!(error, Some(ReadError::Cluster(ClusterError::DeadlinePassed { .. }))), "{error:?}");
    // Pauses of 16 to 24 ms.
    assert!((1..=20).contains(&peer.seen().fetched.len()), "{}", peer.seen().fetched.len());
}

#[test]
fn an_offset_outside_of_the_log_and_a_refusal_are_told_at_once() {
    let peer = Peer::follow(&[|| refusal(ErrorCode::OFFSET_OUT_OF_RANGE)]);
    let (_, error) = run(async { read(&mut peer.admin(SOON).await, 7, 10).await });
    assert!(matches!(error, Some(ReadError::OffsetOutOfRange { offset: 7, .. })), "{error:?}");
    let peer = Peer::follow(&[|| refusal(ErrorCode::TOPIC_AUTHORIZATION_FAILED)]);
    let (_, error) = run(async { read(&mut peer.admin(SOON).await, 7, 10).await });
    assert!(matches!(error, Some(ReadError::Cluster(ClusterError::Refused { .. }))), "{error:?}");
}

#[test]
fn garbage_is_told_at_once() {
    let peer = Peer::follow(&[|| Deed::Garbage]);
    let (_, error) = run(async { read(&mut peer.admin(SOON).await, 0, 10).await });
    assert!(matches!(error, Some(ReadError::Cluster(ClusterError::Broken { .. }))), "{error:?}");
}

#[test]
fn a_topic_that_was_made_again_is_not_read_on() {
    // Connecting and the first look see the old one.
    let peer = Peer::with(&[|| records(batch(0, 2)), || refusal(ErrorCode::UNKNOWN_TOPIC_ID)], vec![1, 1, 2], 17);
    let (found, error) = run(async { read(&mut peer.admin(SOON).await, 0, 10).await });
    assert_eq!(found, [0, 1]);
    assert!(matches!(error, Some(ReadError::Recreated { .. })), "{error:?}");
}

#[test]
fn topics_are_named_where_ids_are_not_known() {
    for (topic_id, fetch_max, expected) in [(1, 17, 17), (1, 12, 12), (0, 17, 12), (0, 4, 4)] {
        let peer = Peer::with(&[|| records(batch(0, 2))], vec![topic_id], fetch_max);
        assert_eq!(run(async { read(&mut peer.admin(SOON).await, 0, 2).await }).0, [0, 1]);
        let (version, asked) = peer.seen().fetched[0].clone();
        assert_eq!(version, expected);
        assert_eq!(&*asked.topics[0].topic == "orders", version < 13);
        assert_eq!(asked.topics[0].topic_id != Uuid::ZERO, version >= 13);
    }
}

#[test]
fn a_topic_whose_making_was_not_answered_may_exist_by_then() {
    let new = NewTopic { name: "orders".to_owned(), partitions: None, replication: None };
    let peer = Peer::follow(&[|| Deed::HangUp, || Deed::Create(ErrorCode::TOPIC_ALREADY_EXISTS)]);
    let made = run(async { peer.admin(SOON).await.create_topic(&new).await });
    assert_eq!(made.unwrap().leaders, [Some(1)]);
    let peer = Peer::follow(&[|| Deed::Create(ErrorCode::TOPIC_ALREADY_EXISTS)]);
    let made = run(async { peer.admin(SOON).await.create_topic(&new).await });
    assert!(matches!(made, Err(AdminError::TopicExists { .. })), "{made:?}");
    let peer = Peer::follow(&[|| Deed::Create(ErrorCode::POLICY_VIOLATION)]);
    let made = run(async { peer.admin(SOON).await.create_topic(&new).await });
    assert!(matches!(made, Err(AdminError::Cluster(ClusterError::Refused { .. }))), "{made:?}");
}

#[test]
fn brokers_that_cannot_be_reached_are_all_named() {
    let servers = ["127.0.0.1:1".to_owned(), "localhost:2".to_owned()];
    let error = run(Admin::connect(&servers, "test", SOON)).expect_err("nobody listens");
    let text = error.to_string();
    assert!(
        text.contains(" 127.0.0.1:1: connection refused") && text.contains("; localhost:2: connection refused ("),
        "{text}"
    );
}

#[test]
fn a_call_that_was_dropped_does_not_hold_up_the_next() {
    let peer = Peer::follow(&[|| records(batch(0, 2))]);
    run(async {
        let mut admin = peer.admin(SOON).await;
        // Dropped at any of its points, among them while the answer is awaited.
        for micros in [1, 100, 1_000, 10_000, 21_000, 22_000, 23_000] {
            let _cut_short = tokio::time::timeout(Duration::from_micros(micros), admin.topic("orders")).await;
        }
        assert!(admin.topic("orders").await.unwrap().is_some());
    });
}
