//! A connection against a peer that is played by hand, honest and otherwise.

use super::*;
use crate::backoff::Chance;
use milena_wire::messages::api_versions::response::{ApiVersion, ApiVersionsResponse};
use milena_wire::messages::fetch::request::FetchRequest;
use milena_wire::messages::list_offsets::request::ListOffsetsRequest;
use milena_wire::messages::metadata::request::MetadataRequest;
use milena_wire::messages::metadata::response::MetadataResponse;
use milena_wire::messages::produce::request::ProduceRequest;
use milena_wire::{Reader, Response};

const TIMEOUT: Duration = Duration::from_secs(10);

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

fn fresh() -> Connection<&'static str> {
    Connection::new(ConnectionConfig::new(Arc::from("me"), TIMEOUT), at(0))
}

/// Key, version and correlation id of a request frame.
fn head(frame: &[u8]) -> (ApiKey, i16, i32) {
    let mut reader = Reader::new(Bytes::copy_from_slice(&frame[4..]));
    let header = frame::RequestHeader::read(&mut reader).expect("our own frame");
    assert_eq!(header.client_id.as_deref(), Some("me"));
    (header.api_key, header.api_version, header.correlation_id)
}

fn versions(error_code: i16, ranges: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let api = |(key, min_version, max_version): &(ApiKey, i16, i16)| ApiVersion {
        api_key: key.0,
        min_version: *min_version,
        max_version: *max_version,
        ..ApiVersion::default()
    };
    ApiVersionsResponse { error_code, api_keys: ranges.iter().map(api).collect(), ..ApiVersionsResponse::default() }
}

fn answer<R: Response>(correlation: i32, version: i16, response: &R) -> Vec<u8> {
    frame::encode_response(correlation, version, response).expect("fits")
}

/// A connection that has negotiated and has nothing in flight. Its next correlation id is 1.
fn ready() -> Connection<&'static str> {
    let mut connection = fresh();
    let frame = connection.poll_handshake().expect("the first frame");
    connection.handle_written(frame.len());
    let ours = [(ApiKey::METADATA, 0, 12), (ApiKey::PRODUCE, 3, 11)];
    connection.handle_bytes(at(0), &answer(0, 3, &versions(0, &ours))).expect("negotiated");
    assert!(connection.is_ready() && connection.in_flight() == 0);
    connection
}

/// Sends a Metadata request; gives the length of its frame.
fn ask(connection: &mut Connection<&'static str>, millis: u64, purpose: &'static str) -> usize {
    let frame = connection.encode(12, &MetadataRequest::default()).expect("fits");
    connection.register(at(millis), ApiKey::METADATA, 12, frame.len(), purpose);
    frame.len()
}

fn told(correlation: i32) -> Vec<u8> {
    answer(correlation, 12, &MetadataResponse::default())
}

#[test]
fn the_first_frame_asks_for_versions_once_and_requests_wait_for_the_answer() {
    let mut connection = fresh();
    assert!(!connection.is_ready());
    assert!(connection.version_of::<MetadataRequest>().is_err());
    let frame = connection.poll_handshake().expect("the first frame");
    assert_eq!(head(&frame), (ApiKey::API_VERSIONS, 3, 0));
    assert_eq!(connection.poll_handshake(), None);
    assert!(connection.has_unsent());
    connection.handle_written(frame.len());
    assert!(!connection.has_unsent());
    let theirs = versions(0, &[(ApiKey::METADATA, 4, 9), (ApiKey::PRODUCE, 3, 99)]);
    connection.handle_bytes(at(1), &answer(0, 3, &theirs)).expect("negotiated");
    assert!(connection.is_ready());
    assert_eq!(connection.version_of::<MetadataRequest>(), Ok(9));
    assert_eq!(connection.version_of::<ProduceRequest>(), Ok(13), "ours is the older side here");
}

/// Brokers before 2.4 answer in version 0 that they do not know version 3 (KIP-511).
#[test]
fn a_broker_that_does_not_know_the_first_version_is_asked_in_version_0() {
    let mut connection = fresh();
    let first = connection.poll_handshake().expect("the first frame");
    connection.handle_written(first.len());
    let refusal = answer(0, 0, &versions(35, &[(ApiKey::API_VERSIONS, 0, 2)]));
    connection.handle_bytes(at(1), &refusal).expect("not the end");
    let second = connection.poll_handshake().expect("the second frame");
    assert_eq!(head(&second), (ApiKey::API_VERSIONS, 0, 1));
    connection.handle_written(second.len());
    let theirs = versions(0, &[(ApiKey::METADATA, 0, 7)]);
    connection.handle_bytes(at(2), &answer(1, 0, &theirs)).expect("negotiated");
    assert_eq!(connection.version_of::<MetadataRequest>(), Ok(7));
}

#[test]
fn a_broker_that_refuses_version_0_too_is_given_up() {
    let mut connection = fresh();
    connection.poll_handshake().expect("the first frame");
    connection.handle_bytes(at(1), &answer(0, 0, &versions(35, &[]))).expect("not the end");
    connection.poll_handshake().expect("the second frame");
    let error = connection.handle_bytes(at(2), &answer(1, 0, &versions(35, &[]))).expect_err("refused twice");
    assert_eq!(error, ConnectionError::VersionsRefused(ErrorCode::UNSUPPORTED_VERSION.into()));
}

#[test]
fn an_api_without_a_common_version_is_named_with_the_versions_of_both_sides() {
    let mut connection = fresh();
    connection.poll_handshake().expect("the first frame");
    let theirs = versions(0, &[(ApiKey::METADATA, 100, 200), (ApiKey::PRODUCE, 0, 2), (ApiKey::FETCH, 9, 2)]);
    connection.handle_bytes(at(1), &answer(0, 3, &theirs)).expect("negotiated");
    let too_new = ConnectionError::ClientTooOld { api: "Metadata", ours: 0..=13, theirs: 100..=200 };
    assert_eq!(connection.version_of::<MetadataRequest>(), Err(too_new));
    let too_old = ConnectionError::BrokerTooOld { api: "Produce", ours: 3..=13, theirs: 0..=2 };
    assert_eq!(connection.version_of::<ProduceRequest>(), Err(too_old));
    let none = |api| Err(ConnectionError::ApiMissing { api });
    assert_eq!(connection.version_of::<FetchRequest>(), none("Fetch"), "an empty range");
    assert_eq!(connection.version_of::<ListOffsetsRequest>(), none("ListOffsets"), "not served");
}

#[test]
fn versions_that_the_client_does_not_want_count_as_not_spoken() {
    let mut connection = fresh();
    connection.poll_handshake().expect("the first frame");
    let theirs = versions(0, &[(ApiKey::METADATA, 0, 5)]);
    connection.handle_bytes(at(1), &answer(0, 3, &theirs)).expect("negotiated");
    assert_eq!(connection.version_from::<MetadataRequest>(5), Ok(5));
    let too_old = ConnectionError::BrokerTooOld { api: "Metadata", ours: 6..=13, theirs: 0..=5 };
    assert_eq!(connection.version_from::<MetadataRequest>(6), Err(too_old));
}

#[test]
fn a_peer_that_speaks_something_else_is_recognised_by_its_first_bytes() {
    let cases: [(&[u8], ConnectionError); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n", ConnectionError::SpeaksHttp),
        (b"<html><body>400</body></html>", ConnectionError::SpeaksHttp),
        // Alerts: "unexpected message" of TLS 1.2, "protocol version" of a server that speaks TLS 1.0.
        (&[21, 3, 3, 0, 2, 2, 10], ConnectionError::SpeaksTls),
        (&[21, 3, 1, 0, 2, 2, 70], ConnectionError::SpeaksTls),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ConnectionError::NotKafka { begins: *b"SSH-" }),
        (&[0xff; 9], ConnectionError::NotKafka { begins: [0xff; 4] }),
    ];
    for (bytes, expected) in cases {
        for step in [1, 4, bytes.len()] {
            let mut connection = fresh();
            let told = bytes.chunks(step).find_map(|bytes| connection.handle_bytes(at(1), bytes).err());
            assert_eq!(told.as_ref(), Some(&expected), "in pieces of {step}");
        }
    }
}

#[test]
fn a_connection_that_ends_says_at_which_point() {
    let reset = ConnectionError::Lost { why: "reset by peer".into() };
    let mut connection = fresh();
    for end in [&ConnectionError::Closed, &reset] {
        assert_eq!(connection.explain(end.clone()), ConnectionError::ClosedBeforeVersions);
    }
    assert_eq!(connection.explain(ConnectionError::Unasked), ConnectionError::Unasked, "it has its reason already");
    connection = ready();
    assert_eq!(connection.explain(reset.clone()), reset, "nothing was asked");
    ask(&mut connection, 0, "a");
    let at_first = ConnectionError::ClosedAtFirstRequest { api: "Metadata" };
    for end in [&ConnectionError::Closed, &reset] {
        assert_eq!(connection.explain(end.clone()), at_first);
    }
    connection.handle_bytes(at(1), &told(1)).expect("fine");
    ask(&mut connection, 0, "b");
    assert_eq!(connection.explain(reset.clone()), reset, "it has served one");
}

#[test]
fn what_is_waited_for_is_told_with_its_time() {
    let mut connection = ready();
    assert_eq!(connection.waits(), None);
    ask(&mut connection, 1_000, "a");
    ask(&mut connection, 1_300, "b");
    assert_eq!(connection.waits(), Some((ApiKey::METADATA, at(1_000))));
}

#[test]
fn answers_find_their_requests_in_order_however_the_bytes_arrive() {
    let stream = [told(1), told(2), told(3)].concat();
    for step in [1, 3, 7, stream.len()] {
        let mut connection = ready();
        for purpose in ["a", "b", "c"] {
            ask(&mut connection, 0, purpose);
        }
        assert_eq!(connection.in_flight(), 3);
        for bytes in stream.chunks(step) {
            connection.handle_bytes(at(5), bytes).expect("fine");
        }
        let purposes: Vec<_> = std::iter::from_fn(|| connection.poll_answer()).collect();
        assert!(purposes.iter().all(|answer| answer.decode::<MetadataRequest>().is_ok()));
        assert_eq!(purposes.iter().map(|answer| answer.purpose).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(connection.close().count(), 0);
    }
}

#[test]
fn bytes_that_are_no_answer_end_the_connection_and_its_requests_stay_unanswered() {
    let too_long = |stated| ConnectionError::Malformed {
        why: FrameTooLong { stated, limit: RESPONSE_BYTES_MAX }.to_string().into(),
    };
    let cases: [(&[u8], ConnectionError); 3] = [
        (&[0, 0, 0, 4, 0, 0, 0, 99], ConnectionError::WrongCorrelation { expected: 1, found: 99 }),
        (b"HTTP/1.1 400 Bad Request", too_long(0x4854_5450)),
        (&[255, 255, 255, 255], too_long(-1)),
    ];
    for (bytes, expected) in cases {
        let mut connection = ready();
        let len = ask(&mut connection, 0, "a");
        connection.handle_written(len);
        assert_eq!(connection.handle_bytes(at(1), bytes), Err(expected));
        let lost: Vec<_> = connection.close().collect();
        assert_eq!(lost, [Unanswered { purpose: "a", was_all_written: true }]);
    }
}

#[test]
fn a_frame_too_short_for_a_correlation_id_is_malformed() {
    let mut connection = ready();
    ask(&mut connection, 0, "a");
    let error = connection.handle_bytes(at(1), &[0, 0, 0, 2, 0, 0]);
    assert!(matches!(error, Err(ConnectionError::Malformed { .. })), "{error:?}");
    assert_eq!(connection.close().count(), 1);
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let mut connection = ready();
    assert_eq!(connection.handle_bytes(at(1), &told(1)), Err(ConnectionError::Unasked));
}

/// Rule 27: a broker serves one request per connection at a time, so the second one's time starts with the first one's
/// answer.
#[test]
fn a_request_has_its_whole_time_from_the_moment_it_is_the_oldest() {
    let mut connection = ready();
    assert_eq!(connection.poll_timeout(), None);
    ask(&mut connection, 1_000, "a");
    ask(&mut connection, 2_000, "b");
    assert_eq!(connection.poll_timeout(), Some(at(1_000) + TIMEOUT));
    connection.handle_bytes(at(9_000), &told(1)).expect("fine");
    assert_eq!(connection.poll_timeout(), Some(at(9_000) + TIMEOUT));
    assert_eq!(connection.handle_timeout(at(18_999)), Ok(()));
    let late = ConnectionError::TimedOut { api: "Metadata", after: TIMEOUT };
    assert_eq!(connection.handle_timeout(at(19_000)), Err(late));
    connection.handle_bytes(at(19_000), &told(2)).expect("fine");
    assert_eq!(connection.poll_timeout(), None);
    assert_eq!(connection.handle_timeout(at(1_000_000)), Ok(()));
}

#[test]
fn a_peer_that_accepts_and_says_nothing_is_given_up_after_the_request_timeout() {
    let mut connection = fresh();
    assert_eq!(connection.poll_timeout(), Some(at(0) + TIMEOUT));
    let late = ConnectionError::TimedOut { api: "ApiVersions", after: TIMEOUT };
    assert_eq!(connection.handle_timeout(at(10_000)), Err(late));
}

/// Rule 27: while a broker throttles it reads nothing, so the wait says nothing about the request (KIP-219).
#[test]
fn no_request_has_its_time_run_while_the_broker_throttles() {
    let mut connection = ready();
    connection.handle_throttle(at(0), 3_000);
    connection.handle_throttle(at(0), -5);
    ask(&mut connection, 1_000, "a");
    assert_eq!(connection.poll_timeout(), Some(at(3_000) + TIMEOUT));
    connection.handle_throttle(at(1_000), i32::MAX);
    assert_eq!(connection.poll_timeout(), Some(at(1_000) + THROTTLE_MAX + TIMEOUT), "nobody pauses for weeks");
}

/// Rule 12: what the kernel never got in full is never executed.
#[test]
fn a_closed_connection_tells_of_each_request_whether_it_was_all_written() {
    let mut connection = ready();
    let lengths = ["a", "b", "c"].map(|purpose| ask(&mut connection, 0, purpose));
    connection.handle_written(lengths[0] + lengths[1] - 1);
    assert!(connection.has_unsent());
    let lost: Vec<_> = connection.close().map(|lost| (lost.purpose, lost.was_all_written)).collect();
    assert_eq!(lost, [("a", true), ("b", false), ("c", false)]);
}

/// A fault in the first of two answers that arrived together made the second one's request vanish: it was neither in
/// flight nor among the unanswered, and its batches waited for ever.
#[test]
fn an_answer_that_nobody_took_counts_as_none() {
    let mut connection = ready();
    for purpose in ["a", "b", "c"] {
        let len = ask(&mut connection, 0, purpose);
        connection.handle_written(len);
    }
    connection.handle_bytes(at(1), &[told(1), told(2)].concat()).expect("fine");
    assert_eq!(connection.poll_answer().map(|answer| answer.purpose), Some("a"));
    let lost: Vec<_> = connection.close().map(|lost| (lost.purpose, lost.was_all_written)).collect();
    assert_eq!(lost, [("b", true), ("c", true)]);
}

#[test]
fn an_answer_of_another_shape_is_malformed() {
    let mut connection = ready();
    ask(&mut connection, 0, "a");
    connection.handle_bytes(at(1), &[0, 0, 0, 6, 0, 0, 0, 1, 255, 255]).expect("the frame itself is fine");
    let answer = connection.poll_answer().expect("one answer");
    assert!(matches!(answer.decode::<MetadataRequest>(), Err(ConnectionError::Malformed { .. })));
}

#[test]
fn no_bytes_make_it_panic() {
    let mut chance = Chance::new(5);
    let good = [answer(0, 3, &versions(0, &[(ApiKey::METADATA, 0, 12)])), told(1), told(2)].concat();
    let mut faults = 0;
    for _ in 0..2_000 {
        let mut connection = fresh();
        connection.poll_handshake();
        for purpose in ["a", "b"] {
            ask(&mut connection, 0, purpose);
        }
        let mut bytes = good.clone();
        for _ in 0..chance.bits() % 6 {
            let place = chance.bits() as usize % bytes.len();
            bytes[place] = chance.bits() as u8;
        }
        let read = connection.handle_bytes(at(1), &bytes);
        let mut answered = 0;
        while let Some(answer) = connection.poll_answer() {
            drop(answer.decode::<MetadataRequest>());
            answered += 1;
        }
        faults += u32::from(read.is_err());
        assert_eq!(answered + connection.close().count(), 2, "no request is lost");
    }
    assert!(faults > 100, "{faults} of the streams were damaged");
}
