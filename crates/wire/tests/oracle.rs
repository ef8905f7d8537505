//! The same messages in the hands of another implementation: the `kafka-protocol` crate.
//!
//! A random message is written here, read there, written there, and must come back byte for byte; and it must read here
//! as what it was. No field is mapped by hand, so no mapping can hide a difference.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod random;

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message as OracleMessage};
use milena_wire::{Message, Reader, Request, Response, Writer, frame};
use random::{Draw, Random, each_api};

/// The versions that have definitions here and that kafka-protocol 0.18 lacks; it has no message at all of Kafka Streams'
/// groups. Kafka's own classes are the oracle for those; see `java_oracle.rs`.
const NOT_COMPARED: [(&str, i16); 17] = [
    ("AddRaftVoterRequest", 1),
    ("AddRaftVoterResponse", 1),
    ("DescribeLogDirsRequest", 5),
    ("DescribeLogDirsResponse", 5),
    ("DescribeShareGroupOffsetsRequest", 1),
    ("DescribeShareGroupOffsetsResponse", 1),
    ("InitProducerIdRequest", 6),
    ("ListOffsetsRequest", 11),
    ("ListOffsetsResponse", 11),
    ("OffsetCommitRequest", 10),
    ("OffsetFetchRequest", 10),
    ("ShareAcknowledgeRequest", 2),
    ("ShareAcknowledgeResponse", 2),
    ("ShareFetchRequest", 2),
    ("ShareFetchResponse", 2),
    ("WriteTxnMarkersRequest", 2),
    ("WriteTxnMarkersResponse", 2),
];

const MESSAGES_PER_PAIR: u64 = 300;

#[test]
fn another_implementation_reads_and_writes_the_same_bytes() {
    let mut compared = BTreeSet::new();
    let mut left_out = BTreeSet::new();
    macro_rules! compare {
        (@ streams_group_heartbeat, $($lacking:tt)*) => {};
        (@ streams_group_describe, $($lacking:tt)*) => {};
        (@ $module:ident, $request:ident, $response:ident) => { {
            use milena_wire::messages::$module::{request::$request, response::$response};
            for version in <$request as Request>::VERSIONS {
                let flexible = version >= <$request as Request>::FLEXIBLE_FROM;
                let pair = (stringify!($request), version);
                let met = compare::<$request, kafka_protocol::messages::$request>(pair, flexible);
                if met { compared.insert(pair) } else { left_out.insert(pair) };
            }
            for version in <$response as Response>::VERSIONS {
                let flexible = version >= <$response as Response>::FLEXIBLE_FROM;
                let pair = (stringify!($response), version);
                let met = compare::<$response, kafka_protocol::messages::$response>(pair, flexible);
                if met { compared.insert(pair) } else { left_out.insert(pair) };
            }
        } };
        ($(($module:ident, $request:ident, $response:ident),)*) => { $(compare!(@ $module, $request, $response);)* };
    }
    each_api!(compare);

    assert_eq!(left_out, BTreeSet::from(NOT_COMPARED));
    assert_eq!(compared.len(), 521);
    println!("{} pairs of message and version, {MESSAGES_PER_PAIR} messages each", compared.len());
}

/// Compares many random messages, or says that the oracle does not know the version.
fn compare<Ours, Theirs>((name, version): (&str, i16), flexible: bool) -> bool
where
    Ours: Message + Draw + PartialEq + std::fmt::Debug,
    Theirs: OracleMessage + Encodable + Decodable + std::fmt::Debug,
{
    if !(Theirs::VERSIONS.min..=Theirs::VERSIONS.max).contains(&version) {
        return false;
    }
    for seed in 0..MESSAGES_PER_PAIR {
        let message = Ours::draw(&mut Random::new(seed, flexible), version);
        let bytes = written(&message, version);
        assert_eq!(read::<Ours>(&bytes, version), message, "{name} {version}, seed {seed}: read back here");

        let mut theirs_in = bytes.clone();
        let theirs = Theirs::decode(&mut theirs_in, version)
            .unwrap_or_else(|error| panic!("{name} {version}, seed {seed}: {error:#}\n{message:#?}"));
        assert!(theirs_in.is_empty(), "{name} {version}, seed {seed}: bytes left over there");
        let mut theirs_out = BytesMut::new();
        theirs.encode(&mut theirs_out, version).unwrap();
        assert_eq!(theirs_out, bytes, "{name} {version}, seed {seed}:\n{message:#?}\n{theirs:#?}");
    }
    true
}

#[test]
fn another_implementation_puts_the_same_headers_before_every_message() {
    let mut compared = 0;
    macro_rules! compare {
        (@ streams_group_heartbeat, $($lacking:tt)*) => {};
        (@ streams_group_describe, $($lacking:tt)*) => {};
        (@ $module:ident, $request:ident, $response:ident) => { {
            type Ours = milena_wire::messages::$module::request::$request;
            type Theirs = kafka_protocol::messages::$request;
            type TheirAnswer = kafka_protocol::messages::$response;
            for version in <Ours as Request>::VERSIONS {
                let theirs = messages::RequestHeader::default()
                    .with_request_api_key(<Ours as Request>::KEY.0)
                    .with_request_api_version(version)
                    .with_correlation_id(7)
                    .with_client_id(Some("me".to_string().into()));
                let mut header = BytesMut::new();
                theirs.encode(&mut header, Theirs::header_version(version)).unwrap();
                let ours = frame::encode_request("me", 7, version, &Ours::default());
                compared += starts_with(ours, &header);

                let mut header = BytesMut::new();
                let theirs = messages::ResponseHeader::default().with_correlation_id(7);
                theirs.encode(&mut header, TheirAnswer::header_version(version)).unwrap();
                let answer = <Ours as Request>::Response::default();
                let ours = frame::encode_response(7, version, &answer);
                // A longer header would only show in the length: the message must begin right behind it.
                let body = written(&answer, version);
                assert_eq!(ours.as_ref().unwrap()[4 + header.len()..], body);
                compared += starts_with(ours, &header);
            }
        } };
        ($(($module:ident, $request:ident, $response:ident),)*) => { $(compare!(@ $module, $request, $response);)* };
    }
    each_api!(compare);
    assert_eq!(compared, 538);
}

fn starts_with(frame: Result<Vec<u8>, milena_wire::EncodeError>, header: &[u8]) -> usize {
    assert_eq!(frame.unwrap()[4..][..header.len()], *header);
    1
}

#[test]
fn another_implementation_has_the_same_defaults() {
    let mut messages = 0;
    macro_rules! compare {
        (@ streams_group_heartbeat, $($lacking:tt)*) => {};
        (@ streams_group_describe, $($lacking:tt)*) => {};
        (@ $module:ident, $request:ident, $response:ident) => { {
            use milena_wire::messages::$module::{request::$request, response::$response};
            default_is_the_same::<$request, kafka_protocol::messages::$request>();
            default_is_the_same::<$response, kafka_protocol::messages::$response>();
            messages += 2;
        } };
        ($(($module:ident, $request:ident, $response:ident),)*) => { $(compare!(@ $module, $request, $response);)* };
    }
    each_api!(compare);
    assert_eq!(messages, 140);
}

fn default_is_the_same<Ours, Theirs>()
where
    Ours: Message + Default,
    Theirs: OracleMessage + Encodable + Default,
{
    let mut compared = 0;
    for version in Theirs::VERSIONS.min..=Theirs::VERSIONS.max {
        let mut theirs = BytesMut::new();
        // A default that a version cannot carry is refused on both sides.
        let theirs = Theirs::default().encode(&mut theirs, version).ok().map(|()| theirs.freeze());
        let mut w = Writer::new();
        let ours = Ours::default().write(&mut w, version).ok().map(|()| Bytes::from(w.into_bytes()));
        assert_eq!(ours, theirs, "version {version}");
        compared += usize::from(ours.is_some());
    }
    assert!(compared > 0);
}

/// What the oracle lacks, against its neighbours in the definitions.
#[test]
fn the_versions_left_out_differ_from_the_ones_before_by_two_flags_and_by_nothing() {
    use milena_wire::messages::{init_producer_id, list_offsets};
    for seed in 0..MESSAGES_PER_PAIR {
        let mut request = init_producer_id::request::InitProducerIdRequest::draw(&mut Random::new(seed, true), 6);
        request.unknown_tags = Default::default();
        let newest = written(&request, 6);
        let flags = [u8::from(request.enable2_pc), u8::from(request.keep_prepared_txn), 0];
        (request.enable2_pc, request.keep_prepared_txn) = (false, false);
        let before = written(&request, 5);
        assert_eq!(newest, [&before[..before.len() - 1], &flags].concat());

        let request = list_offsets::request::ListOffsetsRequest::draw(&mut Random::new(seed, true), 11);
        assert_eq!(written(&request, 11), written(&request, 10));
        let response = list_offsets::response::ListOffsetsResponse::draw(&mut Random::new(seed, true), 11);
        assert_eq!(written(&response, 11), written(&response, 10));
        assert_eq!(read::<list_offsets::response::ListOffsetsResponse>(&written(&response, 11), 11), response);
    }
}

fn written<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.write(&mut w, version).unwrap();
    w.into_bytes().into()
}

fn read<M: Message>(bytes: &Bytes, version: i16) -> M {
    let mut r = Reader::new(bytes.clone());
    let message = M::read(&mut r, version).unwrap();
    r.finish().unwrap();
    message
}
