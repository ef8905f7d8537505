//! The two brokers: a real Kafka, and milena-broker on a data directory of its own, each of one node.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use kafka_harness::{Kafka, Options};
use milena_broker::{Broker, BrokerOptions};
use milena_wire::messages::find_coordinator::request::FindCoordinatorRequest;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;

use crate::asked::Answer;
use crate::names::Names;
use crate::run::Run;
use crate::sequence::{Sequence, TopicNeeded};
use crate::settle;
use crate::side::Side;

/// Both brokers.
#[derive(Debug)]
pub struct Pair {
    /// Gone only while it is restarted. Before Kafka, whose folder holds its own.
    ours: Option<Broker>,
    our_address: SocketAddr,
    folder: PathBuf,
    kafka: Kafka,
    kafka_address: SocketAddr,
}

/// How both are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    InOrder,
    /// SIGKILL.
    Kill,
}

impl Pair {
    pub fn start() -> Pair {
        let options = Options { in_memory: true, properties: PROPERTIES, ..Options::default() };
        let mut kafka = Kafka::start(options).expect("Kafka starts");
        let kafka_address = kafka.node(1).address();
        let folder = kafka.folder().join("milena-broker");
        let ours = start(&folder, "127.0.0.1:0");
        let our_address = ours.bootstrap().parse().expect("it is the address of one node");
        let pair = Pair { kafka, kafka_address, our_address, ours: Some(ours), folder };
        pair.await_producer_ids();
        pair
    }

    /// Kafka's broker has no producer ids before the controller gave it some.
    fn await_producer_ids(&self) {
        let request =
            InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 1_000, ..Default::default() };
        let given = self.kafka().await_answer(4, request, |answer| match answer {
            Answer::InitProducerId(answer) => answer.error_code == 0,
            _ => false,
        });
        given.expect("Kafka gives producer ids");
    }

    /// Kafka makes the topics of its coordinators when somebody first asks for one, and who coordinates transactions reads what it knows once it
    /// leads; what is verified before that is refused as something that passes.
    pub fn warm_up(&self) {
        for key_type in [0, 1] {
            let request = FindCoordinatorRequest {
                key_type,
                coordinator_keys: vec!["g".into(), "h".into()],
                ..Default::default()
            };
            let found = self.kafka().await_answer(4, request, |answer| match answer {
                Answer::FindCoordinator(answer) => answer.coordinators.iter().all(|found| found.error_code == 0),
                _ => false,
            });
            found.expect("Kafka has coordinators");
        }
        // One for each of the four partitions of the topic.
        for id in ["a", "b", "c", "d"] {
            let request = InitProducerIdRequest {
                transactional_id: Some(id.into()),
                transaction_timeout_ms: 1_000,
                ..Default::default()
            };
            let given = self.kafka().await_answer(4, request, |answer| match answer {
                Answer::InitProducerId(answer) => answer.error_code == 0,
                _ => false,
            });
            given.expect("Kafka coordinates transactions");
        }
    }

    /// The same for both; they come back on their data, at their addresses.
    pub fn restart(&mut self, end: End) {
        let Pair { kafka, ours, folder, our_address, .. } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(broker) = ours.take() {
                    broker.stop();
                }
                *ours = Some(start(folder, &our_address.to_string()));
            });
            let node = kafka.node(1);
            match end {
                End::InOrder => node.terminate().expect("Kafka ends"),
                End::Kill => node.kill().expect("Kafka is killed"),
            }
            node.start().expect("Kafka starts again");
        });
        self.await_producer_ids();
        self.warm_up();
    }

    /// A broker that answers again need not know yet what it leads.
    pub fn await_topics(&self, runs: &[Run]) -> io::Result<()> {
        let there: Vec<&TopicNeeded> = runs.iter().flat_map(Run::there).collect();
        for some in there.chunks(TOPICS_AT_ONCE) {
            settle::await_created(&mut self.kafka(), some)?;
            settle::await_created(&mut self.ours(), some)?;
        }
        Ok(())
    }

    /// What is not needed any more only makes both slower to restart.
    pub fn remove_topics(&self, runs: &[Run]) -> io::Result<()> {
        let names: Vec<&str> = runs.iter().flat_map(Run::there).map(|topic| topic.name.as_str()).collect();
        for some in names.chunks(TOPICS_AT_ONCE) {
            settle::delete(&mut self.kafka(), some)?;
            settle::delete(&mut self.ours(), some)?;
        }
        Ok(())
    }

    pub fn kafka(&self) -> Side {
        side(self.kafka_address)
    }

    pub fn ours(&self) -> Side {
        side(self.our_address)
    }

    /// Both sides of each sequence, with its topics.
    pub fn prepare(&self, sequences: &[Sequence]) -> io::Result<Vec<(Side, Side)>> {
        let mut sides: Vec<(Side, Side)> = sequences.iter().map(|_| (self.kafka(), self.ours())).collect();
        for (sequence, (kafka, ours)) in sequences.iter().zip(&mut sides) {
            (kafka.names.unpacks, ours.names.unpacks) = (sequence.is_repacked, sequence.is_repacked);
        }
        let needed: Vec<(usize, &TopicNeeded)> = (0..)
            .zip(sequences)
            .flat_map(|(at, sequence)| sequence.topics.iter().map(move |topic| (at, topic)))
            .collect();
        for some in needed.chunks(TOPICS_AT_ONCE) {
            let topics: Vec<&TopicNeeded> = some.iter().map(|(_, topic)| *topic).collect();
            let kafka = settle::create(&mut self.kafka(), &topics)?;
            let ours = settle::create(&mut self.ours(), &topics)?;
            for ((at, topic), (kafka, ours)) in some.iter().zip(kafka.into_iter().zip(ours)) {
                sides[*at].0.names.learn_topic(topic.slot, kafka);
                sides[*at].1.names.learn_topic(topic.slot, ours);
            }
        }
        Ok(sides)
    }
}

fn side(address: SocketAddr) -> Side {
    Side::new(address, Names::new(address, crate::now() - 1_000))
}

fn start(folder: &std::path::Path, listen: &str) -> Broker {
    let options = BrokerOptions {
        listen: listen.to_owned(),
        data_dir: Some(folder.to_owned()),
        auto_create_topics: false,
        racks: vec!["rack1".to_owned()],
        ..BrokerOptions::default()
    };
    Broker::start(options).expect("milena-broker starts")
}

/// Nothing that Kafka does by and by, at a time of its own: it looks for old segments and compacts later than the test lasts; deleted topics
/// leave the disk soon, so that it starts again sooner. A loaded machine is no reason to fence it.
const PROPERTIES: &[(&str, &str)] = &[
    ("log.initial.task.delay.ms", "3600000"),
    ("log.segment.delete.delay.ms", "2000"),
    ("broker.session.timeout.ms", "9000"),
    // The controller waits so long for more to write, for every topic that comes, changes or goes.
    ("controller.quorum.append.linger.ms", "0"),
];
/// Kafka makes a few hundred partitions a second.
const TOPICS_AT_ONCE: usize = 200;
