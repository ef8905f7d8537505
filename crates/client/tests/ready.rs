//! Errors that tell: what is wrong, where, and what to do, over real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;
use std::time::Duration;

use milena::{
    AddressFault, AttemptError, Because, Cause, ConnectionError, NotWritten, Outcome, Producer, ProducerConfig,
    ReadyError, Record, SendError, SendRefused,
};
use milena_broker::{Broker, BrokerOptions};
use milena_wire::ErrorCode;
use strangers::{Grudging, answering, closed, closing, silent};

mod strangers;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const SOON: Duration = Duration::from_secs(10);

const WITHIN: Duration = Duration::from_millis(300);

/// Asks until the answer is that something is wrong, and not that it could not be found out yet: a DNS server or a busy
/// machine may take its time.
async fn unready(asked: impl AsyncFn() -> Result<(), ReadyError>) -> ReadyError {
    loop {
        let error = asked().await.expect_err("something is missing");
        let is_pending = match &error {
            ReadyError::Unreachable { faults, .. } | ReadyError::LeadersUnreachable { faults, .. } => {
                faults.iter().any(|fault| is_pending(&fault.error))
            }
            ReadyError::TopicPending { .. } | ReadyError::NoProducerId { code: None, .. } => true,
            _ => false,
        };
        if !is_pending {
            return error;
        }
    }
}

fn is_pending(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::NotYet { .. } | ConnectionError::NotTried | ConnectionError::TimedOut { .. } => true,
        // The next attempt tells why there is no other connection.
        ConnectionError::Closed | ConnectionError::Lost { .. } => true,
        _ => false,
    }
}

fn producer(servers: impl ToString) -> Producer {
    let config = ProducerConfig::new(servers.to_string()).deadline(WITHIN);
    Producer::new(config).expect("is built")
}

/// Why the producer is not ready; `send` gives the same reasons.
fn fault_of(servers: impl ToString) -> (ConnectionError, String) {
    let producer = producer(servers);
    let orders = producer.topic("orders").expect("a name");
    run(async {
        let error = unready(async || producer.ready(WITHIN).await).await;
        let ReadyError::Unreachable { within, faults } = &error else { panic!("{error}") };
        assert_eq!((*within, faults.len()), (WITHIN, 1), "{error}");
        assert!(faults[0].attempts >= 1);
        let text = error.to_string();
        assert!(text.starts_with(&format!("no broker answered within 300ms: {}: ", faults[0].address)), "{text}");
        let of_topic = orders.ready(Duration::ZERO).await.expect_err("no broker is there");
        assert!(matches!(&of_topic, ReadyError::Unreachable { .. }), "{of_topic}");
        let refused = orders.try_send(Record::value("v")).expect_err("no partitions are known");
        let SendRefused::Unreachable { faults: of_send } = refused.reason() else { panic!("{refused}") };
        assert_eq!(of_send[0].address, faults[0].address);
        assert!(refused.is_retriable() && refused.to_string().contains(&of_send[0].error.to_string()), "{refused}");
        (faults[0].error.clone(), text)
    })
}

/// Why the topic is not ready.
fn topic_error(broker: Grudging) -> ReadyError {
    topic_error_at(broker.start())
}

fn topic_error_at(address: SocketAddr) -> ReadyError {
    let producer = producer(address);
    run(async {
        producer.ready(SOON).await.expect("the cluster answers");
        let orders = producer.topic("orders").expect("a name");
        unready(async || orders.ready(WITHIN).await.map(drop)).await
    })
}

#[test]
fn a_port_where_nobody_listens() {
    let address = closed();
    let (fault, text) = fault_of(address);
    assert!(matches!(&fault, ConnectionError::NotConnected { tried, .. } if tried[0].to == address), "{fault:?}");
    assert!(
        text.ends_with(&format!(
            "{address}: connection refused: nothing listens there, check the port and that the broker runs"
        )),
        "{text}"
    );
}

#[test]
fn a_name_that_does_not_resolve() {
    let (fault, text) = fault_of("x.invalid:9092");
    assert!(matches!(&fault, ConnectionError::NameNotResolved { host, .. } if &**host == "x.invalid"), "{fault:?}");
    assert!(text.contains("the name x.invalid does not resolve ("), "{text}");
}

#[test]
fn ports_of_other_protocols() {
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    assert_eq!(fault_of(answering(http)).0, ConnectionError::SpeaksHttp);
    // The alert "unexpected message".
    assert_eq!(fault_of(answering(&[21, 3, 3, 0, 2, 2, 10])).0, ConnectionError::SpeaksTls);
    assert_eq!(fault_of(answering(b"220 mail ready\r\n")).0, ConnectionError::NotKafka { begins: *b"220 " });
    assert_eq!(fault_of(closing()).0, ConnectionError::ClosedBeforeVersions);
}

#[test]
fn a_listener_that_asks_for_sasl() {
    let address = Grudging { wants_sasl: true, ..Grudging::new() }.start();
    assert_eq!(fault_of(address).0, ConnectionError::ClosedAtFirstRequest { api: "Metadata" });
}

#[test]
fn a_broker_too_old_to_be_asked() {
    let address = Grudging { metadata_newest: 3, ..Grudging::new() }.start();
    let too_old = ConnectionError::BrokerTooOld { api: "Metadata", ours: 4..=13, theirs: 0..=3 };
    assert_eq!(fault_of(address).0, too_old);
}

#[test]
fn every_address_is_told() {
    let (refusing, speaking) = (closed(), answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let producer = producer(format!("{refusing},{speaking},x.invalid:9092"));
    run(async {
        let error = unready(async || producer.ready(WITHIN).await).await;
        let ReadyError::Unreachable { faults, .. } = &error else { panic!("{error}") };
        let fault = |address: &str| faults.iter().find(|fault| fault.address == address).map(|fault| &fault.error);
        assert!(matches!(fault(&refusing.to_string()), Some(ConnectionError::NotConnected { .. })), "{error}");
        assert_eq!(fault(&speaking.to_string()), Some(&ConnectionError::SpeaksHttp));
        assert!(matches!(fault("x.invalid:9092"), Some(ConnectionError::NameNotResolved { .. })), "{error}");
    });
}

/// By address, what is wrong there. Durations differ from one look to the next.
fn by_address(faults: &[AddressFault]) -> BTreeMap<String, Discriminant<ConnectionError>> {
    faults.iter().map(|fault| (fault.address.clone(), discriminant(&fault.error))).collect()
}

fn faults_of_ready(answer: Result<impl Sized, ReadyError>) -> Vec<AddressFault> {
    match answer.err() {
        Some(ReadyError::Unreachable { faults, .. }) => faults,
        other => panic!("{other:?}"),
    }
}

fn faults_of_send(answer: Result<impl Sized, SendError<'_>>) -> Vec<AddressFault> {
    match answer.err().expect("no partitions are known").reason() {
        SendRefused::Unreachable { faults } => faults.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// A record that was refused left out the address that was just being tried, and with no time said nothing at all.
#[test]
fn ready_and_a_refused_record_name_the_same_addresses_with_the_same_reasons() {
    let http = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let tls = answering(&[21, 3, 3, 0, 2, 2, 10]);
    let (refusing, silent) = (closed(), silent());
    let servers =
        [refusing.to_string(), http.to_string(), "x.invalid:9092".to_owned(), tls.to_string(), silent.to_string()];
    let producer = producer(servers.join(","));
    let orders = producer.topic("orders").expect("a name");
    run(async {
        // Not all of them can have been tried by now.
        let with_no_time = [
            faults_of_ready(producer.ready(Duration::ZERO).await),
            faults_of_ready(orders.ready(Duration::ZERO).await),
            faults_of_send(orders.try_send(Record::value("v"))),
            faults_of_send(orders.send(Record::value("v").deadline(Duration::ZERO)).await),
        ];
        for faults in with_no_time {
            let addresses: BTreeSet<_> = faults.iter().map(|fault| fault.address.clone()).collect();
            assert_eq!(addresses, BTreeSet::from(servers.clone()), "every address, each once");
            assert_eq!(faults.len(), servers.len());
        }
        // The last one is tried for seconds, so from here on each address has its own reason.
        let is_told = |faults: &[AddressFault]| {
            faults.iter().all(|fault| fault.address == silent.to_string() || !is_pending(&fault.error))
        };
        while !is_told(&faults_of_ready(producer.ready(WITHIN).await)) {}
        let ready = producer.ready(WITHIN).await;
        let topic = orders.ready(WITHIN).await;
        let send = orders.send(Record::value("v").deadline(WITHIN)).await;
        let ready = faults_of_ready(ready);
        let expected = by_address(&ready);
        assert_eq!(expected.len(), servers.len());
        let of_silent = ready.iter().find(|fault| fault.address == silent.to_string()).expect("it is told");
        assert!(matches!(of_silent.error, ConnectionError::TimedOut { api: "ApiVersions", .. }), "{of_silent}");
        assert_eq!(by_address(&faults_of_ready(topic)), expected);
        assert_eq!(by_address(&faults_of_send(send)), expected);
        assert_eq!(by_address(&faults_of_send(orders.try_send(Record::value("v")))), expected);
        assert_eq!(by_address(&faults_of_ready(orders.ready(Duration::ZERO).await)), expected);
    });
}

/// The broker can be asked, but not produced to: its versions do for one and not for the other.
#[test]
fn a_broker_too_old_to_be_produced_to() {
    let error = topic_error(Grudging { produce_newest: 2, ..Grudging::new() });
    let ReadyError::LeadersUnreachable { faults, .. } = &error else { panic!("{error}") };
    let too_old = ConnectionError::BrokerTooOld { api: "Produce", ours: 3..=13, theirs: 0..=2 };
    assert_eq!(faults[0].error, too_old);
}

/// The classic: a broker in a container tells a name that only its neighbours know.
#[test]
fn brokers_that_advertise_addresses_where_nobody_reaches_them() {
    let advertised = Some(("broker.invalid", 9092));
    let error = topic_error(Grudging { advertised, ..Grudging::new() });
    let ReadyError::LeadersUnreachable { topic, faults, .. } = &error else { panic!("{error}") };
    assert_eq!((topic.as_str(), faults[0].address.as_str()), ("orders", "broker.invalid:9092"));
    assert!(matches!(faults[0].error, ConnectionError::NameNotResolved { .. }), "{error}");
    assert!(error.to_string().contains("advertised.listeners"), "{error}");
}

/// What the record ends with says the same.
#[test]
fn a_record_for_a_broker_that_nobody_reaches_ends_with_the_reason() {
    let producer = producer(Grudging { advertised: Some(("broker.invalid", 9092)), ..Grudging::new() }.start());
    run(async {
        let orders = producer.topic("orders").expect("a name");
        unready(async || orders.ready(WITHIN).await.map(drop)).await;
        let delivery = orders.send(Record::value("v")).await.expect("partitions are known");
        let Outcome::NotWritten(Because { reason, cause }) = delivery.await else { panic!("it was never sent") };
        let expected = Cause { attempts: 0, node: Some(1), last_error: Some(AttemptError::NameNotResolved) };
        assert_eq!((reason, cause), (NotWritten::DeadlinePassed, expected));
    });
}

#[test]
fn a_topic_without_a_leader() {
    let error = topic_error(Grudging { has_leader: false, ..Grudging::new() });
    assert!(matches!(&error, ReadyError::NoLeader { topic, .. } if topic == "orders"), "{error}");
}

#[test]
fn a_topic_that_is_not_there() {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    let error = topic_error_at(broker.bootstrap().parse().expect("an address"));
    assert_eq!(error, ReadyError::TopicMissing { topic: "orders".to_owned(), creation_asked: false });
    assert!(error.to_string().contains("set allow_auto_create_topics(true)"), "{error}");
    let producer = producer(broker.bootstrap());
    run(async {
        let orders = producer.topic("orders").expect("a name");
        let refused = orders.send(Record::value("v")).await.expect_err("it is not there");
        assert_eq!(refused.reason(), &SendRefused::TopicMissing { creation_asked: false });
        assert_eq!(refused.to_string(), error.to_string());
    });
}

#[test]
fn a_topic_that_the_cluster_does_not_create_though_asked() {
    let address = Grudging { topic_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..Grudging::new() }.start();
    let config = ProducerConfig::new(address.to_string()).deadline(WITHIN).allow_auto_create_topics(true);
    let producer = Producer::new(config).expect("is built");
    run(async {
        let orders = producer.topic("orders").expect("a name");
        let error = unready(async || orders.ready(WITHIN).await.map(drop)).await;
        assert_eq!(error, ReadyError::TopicMissing { topic: "orders".to_owned(), creation_asked: true });
        assert!(error.to_string().contains("was asked to create it, but does not"), "{error}");
        let refused = orders.send(Record::value("v")).await.expect_err("it is not there");
        assert_eq!(refused.to_string(), error.to_string());
    });
}

#[test]
fn a_topic_that_this_client_may_not_see() {
    let topic_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let address = Grudging { topic_code, ..Grudging::new() }.start();
    let error = topic_error_at(address);
    assert_eq!(error, ReadyError::TopicNotAuthorized { topic: "orders".to_owned() });
    assert!(error.to_string().contains("grant it DESCRIBE and WRITE on the topic"), "{error}");
    let producer = producer(address);
    run(async {
        let orders = producer.topic("orders").expect("a name");
        let refused = orders.send(Record::value("v")).await.expect_err("it is not shown");
        assert_eq!(refused.reason(), &SendRefused::TopicNotAuthorized);
        assert_eq!(refused.to_string(), error.to_string());
    });
}

#[test]
fn a_cluster_that_gives_this_client_no_producer_id() {
    let identity_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    let error = topic_error(Grudging { identity_code, ..Grudging::new() });
    assert_eq!(error, ReadyError::ClusterNotAuthorized);
    let identity_code = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    let error = topic_error(Grudging { identity_code, ..Grudging::new() });
    assert!(matches!(error, ReadyError::NoProducerId { code: Some(code), .. } if code.code() == 15), "{error}");
}

#[test]
fn other_refusals_of_a_topic_keep_their_code() {
    let error = topic_error(Grudging { topic_code: ErrorCode::INVALID_TOPIC_EXCEPTION, ..Grudging::new() });
    assert!(matches!(&error, ReadyError::TopicRefused { code, .. } if code.code() == 17), "{error}");
}

/// `ready` stayed Ok once a broker had answered, and a new topic's said that there was no answer about it.
#[test]
fn a_cluster_that_is_gone_is_not_ready_any_more() {
    let broker = Broker::start(BrokerOptions::default()).expect("starts");
    let address = broker.bootstrap().to_owned();
    let producer = producer(&address);
    run(async {
        producer.ready(SOON).await.expect("it runs");
        producer.ready(Duration::ZERO).await.expect("it has just answered");
        broker.stop();
        // Until the end of the connection has come here.
        while producer.ready(Duration::ZERO).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let orders = producer.topic("orders").expect("a name");
        for error in [
            unready(async || producer.ready(WITHIN).await).await,
            unready(async || orders.ready(WITHIN).await.map(drop)).await,
        ] {
            let ReadyError::Unreachable { faults, .. } = &error else { panic!("{error}") };
            assert_eq!(faults[0].address, address);
            assert!(matches!(faults[0].error, ConnectionError::NotConnected { .. }), "{error}");
        }
        producer.close(SOON).await;
        assert_eq!(producer.ready(SOON).await, Err(ReadyError::Closed));
    });
}
