//! Peers that are no brokers, or brokers that say no.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use milena_wire::frame::{self, RequestHeader};
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use milena_wire::{ApiKey, ErrorCode, Reader, Uuid};

/// Serves every connection on a thread of its own, as long as the process lives.
fn serve(serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// An address where nobody listens, nor ever will: it is taken, until the process ends.
pub fn closed() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    std::mem::forget(socket);
    address
}

/// Answers the first bytes of every connection with these, whatever they are.
pub fn answering(bytes: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        stream.read_exact(&mut [0; 4]).ok()?;
        stream.write_all(bytes).ok()?;
        // Until the client hangs up, so that the answer is not lost in a reset.
        stream.read_to_end(&mut Vec::new()).ok().map(drop)
    })
}

/// An address where connections are opened, by the kernel, and nobody is there.
pub fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::mem::forget(listener);
    address
}

/// Takes every connection and closes it when it is asked something.
pub fn closing() -> SocketAddr {
    serve(|mut stream| stream.read_exact(&mut [0; 4]).ok())
}

/// A broker as far as this goes: versions, the topic "orders" with one partition, producer ids.
#[derive(Clone)]
pub struct Grudging {
    pub metadata_newest: i16,
    pub produce_newest: i16,
    /// Said of the topic.
    pub topic_code: ErrorCode,
    /// Said instead of a producer id.
    pub identity_code: ErrorCode,
    /// Where it says that it is; none: the truth.
    pub advertised: Option<(&'static str, u16)>,
    pub has_leader: bool,
    /// Closes the connection when it is asked anything but its versions.
    pub wants_sasl: bool,
}

impl Grudging {
    pub fn new() -> Self {
        Self {
            metadata_newest: 12,
            produce_newest: 11,
            topic_code: ErrorCode::NONE,
            identity_code: ErrorCode::NONE,
            advertised: None,
            has_leader: true,
            wants_sasl: false,
        }
    }

    pub fn start(self) -> SocketAddr {
        serve(move |mut stream| {
            loop {
                let mut length = [0; 4];
                stream.read_exact(&mut length).ok()?;
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).ok()?;
                let here = stream.local_addr().ok()?;
                stream.write_all(&self.answer(here, request.into())?).ok()?;
            }
        })
    }

    fn answer(&self, here: SocketAddr, request: Bytes) -> Option<Vec<u8>> {
        let mut reader = Reader::new(request);
        let RequestHeader { api_key, api_version, correlation_id, .. } = RequestHeader::read(&mut reader).ok()?;
        let answered = match api_key {
            ApiKey::API_VERSIONS => frame::encode_response(correlation_id, api_version, &self.versions()),
            _ if self.wants_sasl => return None,
            ApiKey::METADATA => {
                let asked: MetadataRequest = frame::decode_request(reader, api_version).ok()?;
                frame::encode_response(correlation_id, api_version, &self.metadata(here, &asked))
            }
            ApiKey::INIT_PRODUCER_ID => {
                let is_given = self.identity_code.is_none();
                let answer = InitProducerIdResponse {
                    error_code: self.identity_code.0,
                    producer_id: if is_given { 7 } else { -1 },
                    producer_epoch: if is_given { 0 } else { -1 },
                    ..Default::default()
                };
                frame::encode_response(correlation_id, api_version, &answer)
            }
            _ => return None,
        };
        Some(answered.expect("its own version"))
    }

    fn versions(&self) -> ApiVersionsResponse {
        let of = |key: ApiKey, max_version| ApiVersion { api_key: key.0, max_version, ..Default::default() };
        let api_keys = vec![
            of(ApiKey::API_VERSIONS, 4),
            of(ApiKey::METADATA, self.metadata_newest),
            of(ApiKey::PRODUCE, self.produce_newest),
            of(ApiKey::INIT_PRODUCER_ID, 4),
        ];
        ApiVersionsResponse { api_keys, ..Default::default() }
    }

    fn metadata(&self, here: SocketAddr, asked: &MetadataRequest) -> MetadataResponse {
        let (host, port) = match self.advertised {
            Some((host, port)) => (host.to_owned(), port),
            None => (here.ip().to_string(), here.port()),
        };
        let broker = MetadataResponseBroker { node_id: 1, host: host.into(), port: port.into(), ..Default::default() };
        let leader_id = if self.has_leader { 1 } else { -1 };
        let partition = MetadataResponsePartition { leader_id, leader_epoch: 4, ..Default::default() };
        let topic = MetadataResponseTopic {
            name: Some("orders".into()),
            error_code: self.topic_code.0,
            topic_id: Uuid([1; 16]),
            partitions: if self.topic_code.is_none() { vec![partition] } else { Vec::new() },
            ..Default::default()
        };
        let is_asked = asked.topics.as_ref().is_some_and(|topics| !topics.is_empty());
        MetadataResponse {
            brokers: vec![broker],
            controller_id: 1,
            topics: if is_asked { vec![topic] } else { Vec::new() },
            ..Default::default()
        }
    }
}
