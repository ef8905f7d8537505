//! What each error says: what is wrong, where, and what to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_core::fault::{ConnectionError, DialError, FailedDial};
use milena_wire::ErrorCode;

use super::*;
use crate::record::Record;

const FIVE: Duration = Duration::from_secs(5);

fn fault(address: &str, error: ConnectionError) -> AddressFault {
    AddressFault { address: address.to_owned(), attempts: 3, failed_at: Instant::now(), error }
}

fn faults() -> Vec<AddressFault> {
    let tried = [FailedDial { to: "10.0.0.1:9092".parse().expect("an address"), why: DialError::Refused }];
    let refused = ConnectionError::NotConnected { host: "10.0.0.1".into(), tried: tried.into() };
    vec![fault("10.0.0.1:9092", refused), fault("b:9093", ConnectionError::SpeaksTls)]
}

fn untried(address: &str) -> AddressFault {
    fault(address, ConnectionError::NotTried)
}

const FAULTS: &str = "10.0.0.1:9092: connection refused: nothing listens there, check the port and that the broker runs; \
                      b:9093: the port speaks TLS, this client plain text only: use the port of a PLAINTEXT listener of \
                      the broker";

fn topic() -> String {
    "orders".to_owned()
}

#[test]
fn unready_producers_and_topics_say_why() {
    use ReadyError as E;
    let code = |code: ErrorCode| code.into();
    for (error, text) in [
        (E::Unreachable { within: FIVE, faults: Vec::new() }, "no broker answered within 5s".to_owned()),
        (E::Unreachable { within: FIVE, faults: faults() }, format!("no broker answered within 5s: {FAULTS}")),
        (
            E::Unreachable { within: FIVE, faults: vec![untried("c:1"), untried("d:1")] },
            "no broker answered within 5s: not tried yet: c:1, d:1".to_owned(),
        ),
        (
            E::Unreachable { within: FIVE, faults: faults().into_iter().chain([untried("c:1")]).collect() },
            format!("no broker answered within 5s: {FAULTS}; not tried yet: c:1"),
        ),
        (
            E::LeadersUnreachable { topic: topic(), within: FIVE, faults: faults() },
            format!(
                "the brokers that lead topic orders could not be reached within 5s where their advertised.listeners say \
                 that they are: {FAULTS}"
            ),
        ),
        (
            E::NoLeader { topic: topic(), within: FIVE },
            "no partition of topic orders had a leader within 5s: check that the brokers with its replicas run".to_owned(),
        ),
        (
            E::NoProducerId { within: FIVE, code: None },
            "no broker answered a request for a producer id within 5s".to_owned(),
        ),
        (
            E::NoProducerId { within: FIVE, code: Some(code(ErrorCode::COORDINATOR_NOT_AVAILABLE)) },
            "no broker gave a producer id within 5s; the last answer was COORDINATOR_NOT_AVAILABLE (15)".to_owned(),
        ),
        (
            E::TopicMissing { topic: topic(), creation_asked: false },
            "the cluster has no topic orders: create it first, or set allow_auto_create_topics(true)".to_owned(),
        ),
        (
            E::TopicMissing { topic: topic(), creation_asked: true },
            "the cluster has no topic orders and was asked to create it, but does not: create it first, or look at the \
             brokers' auto.create.topics.enable and this client's right to CREATE"
                .to_owned(),
        ),
        (
            E::TopicNotAuthorized { topic: topic() },
            "this client may not see topic orders: grant it DESCRIBE and WRITE on the topic".to_owned(),
        ),
        (
            E::ClusterNotAuthorized,
            "this client may not get a producer id: grant it WRITE on any topic (Kafka 2.8 and later) or \
             IDEMPOTENT_WRITE on the cluster"
                .to_owned(),
        ),
        (
            E::TopicRefused { topic: topic(), code: code(ErrorCode::INVALID_TOPIC_EXCEPTION) },
            "the cluster refuses topic orders: INVALID_TOPIC_EXCEPTION (17): clients may not write to this topic".to_owned(),
        ),
        (E::TopicPending { topic: topic(), within: FIVE }, "no answer about topic orders within 5s".to_owned()),
        (E::Closed, "the producer is closed".to_owned()),
        (E::DriverLost, "the producer's driver has ended".to_owned()),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn refused_records_say_why_and_are_given_back() {
    use SendRefused as R;
    let name: Arc<str> = Arc::from("orders");
    for (reason, is_retriable, text) in [
        (
            R::Unreachable { faults: faults().into() },
            true,
            format!("the partitions of topic orders are not known, because no broker has answered: {FAULTS}"),
        ),
        (
            R::MetadataPending,
            true,
            "the partitions of topic orders are not known yet: give the first call more time".to_owned(),
        ),
        (
            R::TopicMissing { creation_asked: false },
            true,
            "the cluster has no topic orders: create it first, or set allow_auto_create_topics(true)".to_owned(),
        ),
        (
            R::TopicNotAuthorized,
            true,
            "this client may not see topic orders: grant it DESCRIBE and WRITE on the topic".to_owned(),
        ),
        (
            R::RecordTooLarge { size: 2_200_000_066, limit: 1_048_576 },
            false,
            "record of 2200000066 bytes for topic orders is more than the 2147483598 that Kafka's format can hold: send less \
             in one record"
                .to_owned(),
        ),
        (
            R::RecordTooLarge { size: 1_200_000, limit: 1_048_576 },
            false,
            "record of 1200000 bytes exceeds max_request_size 1048576 for topic orders: send less in one record, or raise \
             max_request_size and the topic's max.message.bytes"
                .to_owned(),
        ),
        (R::Closed, false, "the producer is closed; topic orders takes no more records".to_owned()),
        (R::DriverLost, false, "the producer's driver has ended; topic orders takes no more records".to_owned()),
    ] {
        let error = SendError::new(&name, reason, Record::value("v").tag(7));
        assert_eq!((error.to_string(), error.is_retriable()), (text, is_retriable));
        assert_eq!(error.into_record().tag_number(), 7);
    }
}
