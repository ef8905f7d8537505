//! A broker that throws every record away and says that it was written: `sink PARTITIONS [MILLISECONDS|never]` prints its
//! address and serves any topic with that many partitions, one whose name ends in `-N` with N, until its standard input
//! ends. With a number it says so this much later, one request after the other as brokers do; with `never` not at all.
//! Topics whose name starts with `silent` have another leader, which never does.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use milena_wire::frame::{self, RequestHeader};
use milena_wire::messages::api_versions::request::ApiVersionsRequest;
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_wire::messages::produce::request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::messages::produce::response::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use milena_wire::records::BatchHeader;
use milena_wire::{ApiKey, Reader, Request, Uuid};

/// The next offset of each partition.
type Ends = Mutex<BTreeMap<(Uuid, i32), i64>>;

struct Sink {
    /// Of node 1, and of node 2, which is silent.
    ports: [u16; 2],
    partitions: i32,
    ends: Ends,
}

/// When a Produce request is answered.
#[derive(Clone, Copy)]
enum Produce {
    After(Duration),
    Never,
}

impl Produce {
    fn named(argument: Option<&str>) -> Self {
        match argument {
            Some("never") => Self::Never,
            Some(millis) => Self::After(Duration::from_millis(millis.parse().expect("a number of milliseconds"))),
            None => Self::After(Duration::ZERO),
        }
    }
}

fn main() -> io::Result<()> {
    let partitions = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    let produce = Produce::named(std::env::args().nth(2).as_deref());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("{address}");
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let ports = [address.port(), silent.local_addr()?.port()];
    let sink: &'static Sink = Box::leak(Box::new(Sink { ports, partitions, ends: Ends::default() }));
    for (listener, produce) in [(listener, produce), (silent, Produce::Never)] {
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up ends its thread.
                std::thread::spawn(move || sink.serve(stream, produce));
            }
        });
    }
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

impl Sink {
    fn serve(&self, mut stream: TcpStream, produce: Produce) -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame)?;
            if frame.starts_with(&ApiKey::PRODUCE.0.to_be_bytes()) {
                match produce {
                    Produce::Never => continue,
                    Produce::After(delay) => std::thread::sleep(delay),
                }
            }
            let answer = self.answer(frame.into()).map_err(io::Error::other)?;
            stream.write_all(&answer)?;
        }
    }

    fn answer(&self, frame: Bytes) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut r = Reader::new(frame);
        let header = RequestHeader::read(&mut r)?;
        let (id, version) = (header.correlation_id, header.api_version);
        Ok(match header.api_key {
            ApiKey::API_VERSIONS => frame::encode_response(id, version, &versions())?,
            ApiKey::METADATA => {
                let request: MetadataRequest = frame::decode_request(r, version)?;
                frame::encode_response(id, version, &self.metadata(request))?
            }
            ApiKey::INIT_PRODUCER_ID => {
                frame::encode_response(id, version, &InitProducerIdResponse { producer_id: 1, ..Default::default() })?
            }
            ApiKey::PRODUCE => {
                let request: ProduceRequest = frame::decode_request(r, version)?;
                frame::encode_response(id, version, &self.produce(&request)?)?
            }
            other => return Err(format!("the sink does not serve {other}").into()),
        })
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let broker = |node_id, port: u16| MetadataResponseBroker {
            node_id,
            host: "127.0.0.1".into(),
            port: port.into(),
            ..Default::default()
        };
        let partition = |partition_index, leader_id| MetadataResponsePartition {
            partition_index,
            leader_id,
            leader_epoch: 0,
            ..Default::default()
        };
        let topics = request.topics.into_iter().flatten().map(|topic| {
            let leader = if topic.name.as_ref().is_some_and(|name| name.starts_with("silent")) { 2 } else { 1 };
            let name = topic.name.as_deref().unwrap_or_default();
            let count = name.rsplit_once('-').and_then(|(_, count)| count.parse().ok()).unwrap_or(self.partitions);
            // The same for the same name; only the first byte tells the leader.
            let mut id = [leader as u8; 16];
            id[1..].iter_mut().zip(name.bytes()).for_each(|(id, name)| *id ^= name);
            MetadataResponseTopic {
                topic_id: Uuid(id),
                partitions: (0..count).map(|index| partition(index, leader)).collect(),
                name: topic.name,
                ..Default::default()
            }
        });
        let brokers = vec![broker(1, self.ports[0]), broker(2, self.ports[1])];
        MetadataResponse { topics: topics.collect(), brokers, ..Default::default() }
    }

    fn produce(&self, request: &ProduceRequest) -> Result<ProduceResponse, milena_wire::records::BatchError> {
        let mut ends = self.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut topic_answer = |topic: &TopicProduceData| {
            let answers = topic.partition_data.iter().map(|data| answer_batch(&mut ends, topic.topic_id, data));
            Ok(TopicProduceResponse {
                topic_id: topic.topic_id,
                partition_responses: answers.collect::<Result<_, _>>()?,
                ..Default::default()
            })
        };
        let responses = request.topic_data.iter().map(&mut topic_answer).collect::<Result<_, _>>()?;
        Ok(ProduceResponse { responses, ..Default::default() })
    }
}

fn answer_batch(
    ends: &mut BTreeMap<(Uuid, i32), i64>,
    topic: Uuid,
    data: &PartitionProduceData,
) -> Result<PartitionProduceResponse, milena_wire::records::BatchError> {
    let header = BatchHeader::read(data.records.as_deref().unwrap_or_default())?;
    let end = ends.entry((topic, data.index)).or_default();
    let base_offset = *end;
    *end += i64::from(header.record_count);
    Ok(PartitionProduceResponse { index: data.index, base_offset, ..Default::default() })
}

fn versions() -> ApiVersionsResponse {
    let api = |key: ApiKey, min_version, max_version| ApiVersion {
        api_key: key.0,
        min_version,
        max_version,
        ..Default::default()
    };
    let newest = |key: ApiKey| key.stable_versions().map_or(0, |versions| *versions.end());
    let api_keys = vec![
        api(ApiVersionsRequest::KEY, 0, 3),
        api(MetadataRequest::KEY, 0, newest(MetadataRequest::KEY)),
        api(InitProducerIdRequest::KEY, 0, newest(InitProducerIdRequest::KEY)),
        api(ProduceRequest::KEY, 13, 13),
    ];
    ApiVersionsResponse { api_keys, ..Default::default() }
}
