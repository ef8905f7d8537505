//! What each fault says, and what is kept of it.

use super::*;
use milena_wire::ErrorCode;

fn dial(to: &str, why: DialError) -> FailedDial {
    FailedDial { to: to.parse().expect("an address"), why }
}

const TEN: Duration = Duration::from_secs(10);

/// One of each, with the sentence that follows its address.
fn all() -> Vec<(ConnectionError, &'static str)> {
    use ConnectionError as E;
    let not_connected = |host: &str, tried: &[FailedDial]| E::NotConnected { host: host.into(), tried: tried.into() };
    let unroutable = || DialError::Failed { why: "Network is unreachable (os error 101)".into() };
    vec![
        (
            E::NameNotResolved { host: "x.invalid".into(), why: "Name or service not known".into() },
            "the name x.invalid does not resolve (Name or service not known): check its spelling, and the DNS of this \
             machine",
        ),
        (
            E::NameLookupTimedOut { host: "x.invalid".into(), after: TEN },
            "the name x.invalid was not resolved within 10s: check the DNS of this machine",
        ),
        (
            not_connected("10.0.0.1", &[dial("10.0.0.1:9092", DialError::Refused)]),
            "connection refused: nothing listens there, check the port and that the broker runs",
        ),
        (
            not_connected("kafka", &[dial("10.0.0.1:9092", DialError::TimedOut { after: TEN })]),
            "no connection within 10s (10.0.0.1:9092): check the route, firewalls, and that the broker runs",
        ),
        (
            not_connected("kafka", &[dial("[::1]:9092", unroutable()), dial("10.0.0.1:9092", DialError::Refused)]),
            "Network is unreachable (os error 101) ([::1]:9092) and connection refused (10.0.0.1:9092): check the \
             route, firewalls, and that the broker runs",
        ),
        (E::NotYet { after: TEN }, "not connected after 10s"),
        (E::NotTried, "not tried yet"),
        (
            E::SpeaksTls,
            "the port speaks TLS, this client plain text only: use the port of a PLAINTEXT listener of the broker",
        ),
        (
            E::OtherCluster { expected: "ours".into(), found: "theirs".into() },
            "the broker belongs to cluster theirs, not to ours: its address was given to another one, check the \
             advertised listeners",
        ),
        (
            E::MetadataRefused(ErrorCode::REBOOTSTRAP_REQUIRED.into()),
            "the broker refuses to tell of topics and brokers: REBOOTSTRAP_REQUIRED (129)",
        ),
        (E::KnowsNoBrokers, "the broker knows of no broker yet, itself included: it is still starting"),
        (E::Moved, "given up, because the broker is at another address now"),
        (E::BrokerUnknown, "no broker that could be asked knows where this one is"),
        (E::SpeaksHttp, "the port speaks HTTP, so it is no Kafka broker's: check the port"),
        (
            E::NotKafka { begins: *b"220\xff" },
            "the answer begins with \"220\\xff\", so the port is no Kafka broker's: check host and port",
        ),
        (
            E::ClosedBeforeVersions,
            "the connection was closed before any answer: the port asks for TLS, or is no Kafka broker's",
        ),
        (
            E::ClosedAtFirstRequest { api: "Metadata" },
            "the broker closed the connection at the first Metadata request, as listeners do that ask for SASL: use \
             one that asks for none",
        ),
        (
            E::BrokerTooOld { api: "Produce", ours: 3..=13, theirs: 0..=2 },
            "the broker is too old: it speaks Produce in versions 0 to 2, this client in 3 to 13, Kafka 2.1 or later \
             is needed",
        ),
        (
            E::ClientTooOld { api: "Produce", ours: 3..=13, theirs: 20..=22 },
            "the broker is too new: it speaks Produce in versions 20 to 22, this client in 3 to 13, a newer version of \
             this client is needed",
        ),
        (
            E::ApiMissing { api: "Produce" },
            "the peer does not serve Produce requests: use the port of a broker of Kafka 2.1 or later, not that of a \
             controller",
        ),
        (
            E::VersionsRefused(ErrorCode::UNSUPPORTED_VERSION.into()),
            "the broker refuses to tell its API versions: UNSUPPORTED_VERSION (35)",
        ),
        (E::TimedOut { api: "Produce", after: Duration::from_millis(7) }, "Produce was not answered within 7ms"),
        (
            E::TimedOut { api: "Produce", after: TEN },
            "Produce was not answered within 10s: the broker hangs or is overloaded",
        ),
        (
            E::TimedOut { api: "ApiVersions", after: TEN },
            "ApiVersions was not answered within 10s: the broker hangs or is overloaded, or the port is no Kafka \
             broker's",
        ),
        (
            E::Malformed { why: "null before byte 7".into() },
            "the peer does not answer like a Kafka broker (null before byte 7): check host and port",
        ),
        (E::WrongCorrelation { expected: 3, found: 4 }, "answer 4 came where answer 3 was due"),
        (E::Unasked, "an answer came though nothing was asked"),
        (E::Lost { why: "reset by peer".into() }, "the connection broke: reset by peer"),
        (E::Closed, "the broker closed the connection"),
    ]
}

#[test]
fn each_fault_says_what_is_wrong_and_what_to_do() {
    for (error, text) in all() {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn what_only_a_change_can_mend_is_not_retriable() {
    let lasting = all().into_iter().filter(|(error, _)| !error.is_retriable());
    let texts: Vec<String> = lasting.map(|(error, _)| error.to_string()).collect();
    for word in ["TLS,", "HTTP", "too old", "too new", "does not serve", "begins with"] {
        assert!(texts.iter().any(|text| text.contains(word)), "{word}");
    }
    assert!(!texts.iter().any(|text| text.contains("refused:") || text.contains("resolve")), "{texts:?}");
}

#[test]
fn of_each_address_the_last_fault_is_kept_and_how_often_it_was_tried() {
    let address = |host: &str| Address { host: host.into(), port: 9092 };
    let mut faults = Faults::new();
    assert!(faults.is_empty());
    faults.note(Moment::from_micros(1), address("b"), ConnectionError::Closed);
    faults.note(Moment::from_micros(2), address("a"), ConnectionError::SpeaksTls);
    faults.note(Moment::from_micros(3), address("b"), ConnectionError::Unasked);
    let told: Vec<_> = faults.iter().map(|(address, fault)| (&*address.host, fault.attempts, &fault.error)).collect();
    assert_eq!(told, [("a", 1, &ConnectionError::SpeaksTls), ("b", 2, &ConnectionError::Unasked)]);
    assert_eq!(faults.revision(), 3);
    faults.clear();
    faults.clear();
    assert_eq!((faults.is_empty(), faults.revision()), (true, 4));
}
