//! A broker that throws every record away and says that it was written: `sink PARTITIONS` prints its address and serves
//! any topic with that many partitions until its standard input ends.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

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
    port: u16,
    partitions: i32,
    ends: Ends,
}

fn main() -> io::Result<()> {
    let partitions = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("{address}");
    let sink: &'static Sink = Box::leak(Box::new(Sink { port: address.port(), partitions, ends: Ends::default() }));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up ends its thread.
            std::thread::spawn(move || sink.serve(stream));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

impl Sink {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame)?;
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
        let broker = MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: self.port.into(),
            ..Default::default()
        };
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            leader_epoch: 0,
            ..Default::default()
        };
        let topics = request.topics.into_iter().flatten().map(|topic| MetadataResponseTopic {
            name: topic.name,
            topic_id: Uuid([1; 16]),
            partitions: (0..self.partitions).map(partition).collect(),
            ..Default::default()
        });
        MetadataResponse { topics: topics.collect(), brokers: vec![broker], ..Default::default() }
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
