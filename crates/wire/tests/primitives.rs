//! Single values at their limits, tagged fields, and what a version cannot carry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use milena_wire::messages::fetch::request::{FetchRequest, FetchTopic, ReplicaState};
use milena_wire::messages::metadata::request::{MetadataRequest, MetadataRequestTopic};
use milena_wire::messages::produce::response::{NodeEndpoint, ProduceResponse};
use milena_wire::{ApiKey, DecodeError, EncodeError, Message, Reader, STRING_BYTES_MAX, UnknownTags, Writer};

fn reader(bytes: &[u8], flexible: bool) -> Reader {
    let mut r = Reader::new(Bytes::copy_from_slice(bytes));
    r.set_flexible(flexible);
    r
}

fn written(flexible: bool, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    w.set_flexible(flexible);
    write(&mut w);
    w.into_bytes()
}

fn message<M: Message>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    message.write(&mut w, version).map(|()| w.into_bytes())
}

#[test]
fn varints_take_as_few_bytes_as_they_need() {
    let cases: [(u32, &[u8]); 7] = [
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (16_383, &[0xff, 0x7f]),
        (16_384, &[0x80, 0x80, 1]),
        (u32::MAX >> 4, &[0xff, 0xff, 0xff, 0x7f]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in cases {
        assert_eq!(written(true, |w| w.unsigned_varint(value)), bytes);
        assert_eq!(reader(bytes, true).unsigned_varint(), Ok(value));
    }
}

#[test]
fn a_varint_of_more_than_32_bits_is_refused() {
    for last in [0x10, 0x1f, 0x80, 0xff] {
        let mut r = reader(&[0xff, 0xff, 0xff, 0xff, last, 0], true);
        assert_eq!(r.unsigned_varint(), Err(DecodeError::VarintTooLong { at: 0 }));
    }
    assert_eq!(reader(&[0x80], true).unsigned_varint(), Err(DecodeError::Truncated { at: 1, needed: 1, left: 0 }));
}

#[test]
fn floating_point_numbers_keep_every_bit() {
    for bits in [0x3ff8_0000_0000_0000, 0x8000_0000_0000_0000, 0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0123u64] {
        let bytes = bits.to_be_bytes();
        assert_eq!(written(true, |w| w.float64(f64::from_bits(bits))), bytes);
        assert_eq!(reader(&bytes, true).float64().unwrap().to_bits(), bits);
    }
    let truncated = reader(&[0; 7], true).float64().unwrap_err();
    assert_eq!(truncated, DecodeError::Truncated { at: 0, needed: 8, left: 7 });
}

#[test]
fn strings_and_bytes_have_an_old_and_a_compact_form() {
    let old = written(false, |w| {
        w.string("ab").unwrap();
        w.nullable_string(None).unwrap();
        w.bytes(b"xyz").unwrap();
        w.nullable_bytes(None).unwrap();
        w.array(&[7i32], 0).unwrap();
        w.nullable_array::<i32>(None, 0).unwrap();
    });
    let expected =
        [0, 2, b'a', b'b', 255, 255, 0, 0, 0, 3, b'x', b'y', b'z', 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 7];
    assert_eq!(old, [&expected[..], &[255; 4]].concat());
    let compact = written(true, |w| {
        w.string("ab").unwrap();
        w.nullable_string(None).unwrap();
        w.bytes(b"xyz").unwrap();
        w.nullable_bytes(None).unwrap();
        w.array(&[7i32], 0).unwrap();
        w.nullable_array::<i32>(None, 0).unwrap();
    });
    assert_eq!(compact, [3, b'a', b'b', 0, 4, b'x', b'y', b'z', 0, 2, 0, 0, 0, 7, 0]);
    for (bytes, flexible) in [(old, false), (compact, true)] {
        let mut r = reader(&bytes, flexible);
        assert_eq!(&*r.string().unwrap(), "ab");
        assert_eq!(r.nullable_string(), Ok(None));
        assert_eq!(&*r.bytes().unwrap(), b"xyz");
        assert_eq!(r.nullable_bytes(), Ok(None));
        assert_eq!(r.array::<i32>(0), Ok(vec![7]));
        assert_eq!(r.nullable_array::<i32>(0), Ok(None));
        assert_eq!(r.finish(), Ok(()));
    }
}

#[test]
fn null_is_refused_where_no_null_may_be() {
    assert!(matches!(reader(&[255, 255], false).string(), Err(DecodeError::UnexpectedNull { at: 2 })));
    assert!(matches!(reader(&[0], true).bytes(), Err(DecodeError::UnexpectedNull { at: 1 })));
    assert!(matches!(reader(&[0], true).array::<i32>(0), Err(DecodeError::UnexpectedNull { at: 1 })));
}

#[test]
fn lengths_below_minus_one_are_refused() {
    assert_eq!(reader(&[255, 254], false).string(), Err(DecodeError::InvalidLength { at: 2, length: -2 }));
    let least = [0x80, 0, 0, 0];
    let length = i32::MIN.into();
    assert_eq!(reader(&least, false).bytes(), Err(DecodeError::InvalidLength { at: 4, length }));
    assert_eq!(reader(&least, false).array::<i32>(0), Err(DecodeError::InvalidLength { at: 4, length }));
}

#[test]
fn a_length_is_compared_with_what_is_left() {
    assert_eq!(reader(&[0, 3, 1, 2], false).string(), Err(DecodeError::Truncated { at: 2, needed: 3, left: 2 }));
    assert_eq!(reader(&[4, 1, 2], true).bytes(), Err(DecodeError::Truncated { at: 1, needed: 3, left: 2 }));
    let claims_two = [0, 0, 0, 2, 0, 0, 0, 1];
    assert_eq!(
        reader(&claims_two, false).array::<i32>(0),
        Err(DecodeError::TooManyElements { at: 4, claimed: 2, possible: 1 })
    );
}

#[test]
fn strings_longer_than_kafka_accepts_are_refused_both_ways() {
    let longest = "x".repeat(STRING_BYTES_MAX);
    for flexible in [false, true] {
        let bytes = written(flexible, |w| w.string(&longest).unwrap());
        assert_eq!(&*reader(&bytes, flexible).string().unwrap(), longest);
        let refused = Writer::new().string(&format!("{longest}x")).unwrap_err();
        assert_eq!(refused, EncodeError::TooLong { length: STRING_BYTES_MAX + 1, limit: STRING_BYTES_MAX });
    }
    let mut compact = written(true, |w| w.unsigned_varint(STRING_BYTES_MAX as u32 + 2));
    compact.extend(std::iter::repeat_n(b'x', STRING_BYTES_MAX + 1));
    let refused = reader(&compact, true).string().unwrap_err();
    assert_eq!(refused, DecodeError::StringTooLong { at: 3, length: STRING_BYTES_MAX + 1 });
}

#[test]
fn a_string_that_is_not_utf_8_is_refused() {
    assert_eq!(reader(&[2, 0xff], true).string(), Err(DecodeError::InvalidUtf8 { at: 1 }));
}

#[test]
fn byte_strings_are_slices_of_the_frame() {
    let frame = Bytes::from(vec![3, 1, 2]);
    let mut r = Reader::new(frame.clone());
    r.set_flexible(true);
    assert_eq!(r.bytes().unwrap().as_ptr(), frame[1..].as_ptr());
}

#[test]
fn unknown_tagged_fields_come_back_in_their_places() {
    let mut response = ProduceResponse {
        node_endpoints: vec![NodeEndpoint { node_id: 1, ..Default::default() }],
        ..Default::default()
    };
    response.unknown_tags.append(5, b"five").unwrap();
    response.unknown_tags.append(300, b"").unwrap();
    let bytes = message(&response, 10).unwrap();
    // Three tagged fields: the known one first, as its tag is 0.
    assert_eq!(bytes[5..7], [3, 0]);
    let tail = [5, 4, b'f', b'i', b'v', b'e', 0xac, 2, 0];
    assert_eq!(bytes[bytes.len() - tail.len()..], tail);
    let read = ProduceResponse::read(&mut reader(&bytes, false), 10).unwrap();
    assert_eq!(read, response);
    assert_eq!(read.unknown_tags.iter().collect::<Vec<_>>(), [(5, &b"five"[..]), (300, &b""[..])]);
}

#[test]
fn an_unknown_field_below_a_known_one_is_written_before_it() {
    let mut fetch = FetchRequest { cluster_id: None, ..Default::default() };
    fetch.replica_state = ReplicaState { replica_id: 3, ..Default::default() };
    fetch.unknown_tags.append(0, b"").unwrap();
    // In this version tag 0 is the cluster id, which is null and so not written: the place is free.
    let bytes = message(&fetch, 15).unwrap();
    assert_eq!(bytes[bytes.len() - 18..][..5], [2, 0, 0, 1, 13]);
    fetch.cluster_id = Some("c".into());
    assert_eq!(message(&fetch, 15), Err(EncodeError::TagOrder { tag: 0 }));
}

#[test]
fn tags_must_ascend() {
    for tags in [[4, 0, 4, 0], [4, 0, 3, 0]] {
        let bytes = [&[2], &tags[..]].concat();
        let refused = reader(&bytes, true).unknown_tags().unwrap_err();
        assert_eq!(refused, DecodeError::TagOrder { at: 5, tag: tags[2].into() });
    }
    let mut tags = UnknownTags::default();
    tags.append(4, b"").unwrap();
    assert_eq!(tags.append(4, b""), Err(EncodeError::TagOrder { tag: 4 }));
}

#[test]
fn tagged_fields_are_counted_and_measured() {
    let claims_too_many = reader(&[3, 1, 0, 2, 0], true).unknown_tags().unwrap_err();
    assert_eq!(claims_too_many, DecodeError::TooManyElements { at: 1, claimed: 3, possible: 2 });
    let beyond_the_frame = reader(&[1, 9, 5, 1, 2], true).unknown_tags().unwrap_err();
    assert_eq!(beyond_the_frame, DecodeError::Truncated { at: 3, needed: 5, left: 2 });
    // The known field NodeEndpoints holds an empty array, one byte, and is said to have two.
    let longer_than_its_value = [1, 0, 0, 0, 0, 1, 0, 2, 1, 0];
    let refused = ProduceResponse::read(&mut reader(&longer_than_its_value, false), 10).unwrap_err();
    assert_eq!(refused, DecodeError::TagSize { at: 9, stated_end: 10 });
}

#[test]
fn a_field_that_the_version_would_lose_is_refused_unless_it_may_be_lost() {
    let state =
        FetchRequest { replica_state: ReplicaState { replica_id: 3, ..Default::default() }, ..Default::default() };
    let refused = message(&state, 14).unwrap_err();
    assert_eq!(refused, EncodeError::NotInVersion { field: "FetchRequest.replica_state", version: 14 });
    assert!(message(&state, 15).is_ok());
    let with_id = FetchRequest {
        topics: vec![FetchTopic { topic_id: milena_wire::Uuid([1; 16]), ..Default::default() }],
        ..Default::default()
    };
    assert!(message(&with_id, 12).is_ok());
    let read = FetchRequest::read(&mut reader(&message(&with_id, 12).unwrap(), false), 12).unwrap();
    assert!(read.topics[0].topic_id.is_zero());
}

#[test]
fn null_and_unknown_tags_are_refused_in_versions_without_them() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(message(&all, 0), Err(EncodeError::NullNotAllowed { field: "MetadataRequest.topics", version: 0 }));
    let by_id = MetadataRequestTopic { name: None, ..Default::default() };
    let by_id = MetadataRequest { topics: Some(vec![by_id]), ..Default::default() };
    assert!(message(&by_id, 10).is_ok());
    assert_eq!(message(&by_id, 9), Err(EncodeError::NullNotAllowed { field: "MetadataRequestTopic.name", version: 9 }));
    let mut tagged = MetadataRequest::default();
    tagged.unknown_tags.append(9, b"").unwrap();
    assert!(message(&tagged, 9).is_ok());
    assert_eq!(message(&tagged, 8), Err(EncodeError::TagsNotInVersion));
}

#[test]
fn versions_without_a_definition_are_refused() {
    let (api, version) = (ApiKey::METADATA, 14);
    assert_eq!(message(&MetadataRequest::default(), version), Err(EncodeError::UnsupportedVersion { api, version }));
    let refused = MetadataRequest::read(&mut reader(&[0; 20], false), version).unwrap_err();
    assert_eq!(refused, DecodeError::UnsupportedVersion { api, version });
}

#[test]
fn a_nested_type_can_be_null() {
    let topic = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let bytes = written(true, |w| {
        w.nullable_struct(Some(&topic), 9).unwrap();
        w.nullable_struct::<MetadataRequestTopic>(None, 9).unwrap();
    });
    assert_eq!(bytes, [1, 2, b't', 0, 255]);
    let mut r = reader(&bytes, true);
    assert_eq!(r.nullable_struct(9), Ok(Some(topic)));
    assert_eq!(r.nullable_struct::<MetadataRequestTopic>(9), Ok(None));
}
