//! The cluster under the clients, and what happens to it between their bursts.

use std::time::{Duration, Instant};

use milena_broker::{
    ApiKey, Broker, BrokerOptions, ErrorCode, Fault, KafkaRelease, NodeId, PartitionIndex, Process, Stop,
};

/// Three nodes, and what has been done to them.
pub struct Stage {
    pub broker: Broker,
    turn: usize,
    pub leaders_moved: usize,
}

/// Something that makes clients look for leaders again, or send again.
#[derive(Clone, Copy, Debug)]
enum Upheaval {
    /// Every partition is led by the next replica in sync.
    MoveLeaders,
    /// The node goes on SIGTERM.
    Stop(NodeId),
    /// The node goes on SIGKILL, and its partitions get other leaders once it is missed.
    Kill(NodeId),
    Start(NodeId),
    /// The node says nothing any more, and its partitions get other leaders.
    Freeze(NodeId),
    Thaw(NodeId),
    /// The next requests to write are executed, and their connections closed instead of an answer.
    CutAnswers,
    /// The next batch of each partition is appended, and its client told that it is not known whether it was.
    LoseAnswers,
}

/// One follows the other, and after the last the first again. Answers are lost last: of a batch with others acknowledged behind it a leader that
/// was restarted since does not know that it has it, here as in Kafka, and Java asks for two minutes. For the same reason a program goes on to the next
/// upheaval only once the burst before its last one is answered: a node is not started again before that.
const UPHEAVALS: [Upheaval; 10] = [
    Upheaval::MoveLeaders,
    Upheaval::Kill(NodeId(2)),
    Upheaval::Start(NodeId(2)),
    Upheaval::MoveLeaders,
    Upheaval::Freeze(NodeId(1)),
    Upheaval::Thaw(NodeId(1)),
    Upheaval::Stop(NodeId(3)),
    Upheaval::Start(NodeId(3)),
    Upheaval::CutAnswers,
    Upheaval::LoseAnswers,
];

impl Stage {
    /// Silent nodes are missed soon.
    pub fn start(release: KafkaRelease) -> Stage {
        let options = BrokerOptions {
            nodes: 3,
            release,
            session_timeout: Duration::from_millis(500),
            replica_lag_time_max: Duration::from_secs(2),
            ..BrokerOptions::default()
        };
        let broker = Broker::start(options).expect("ports are free");
        Stage { broker, turn: 0, leaders_moved: 0 }
    }

    /// The next upheaval.
    pub fn upset(&mut self) {
        let upheaval = UPHEAVALS[self.turn % UPHEAVALS.len()];
        self.turn += 1;
        let done = match upheaval {
            Upheaval::MoveLeaders => self.move_leaders(),
            Upheaval::Stop(node) => self.broker.stop_node(node, Stop::Clean).is_ok(),
            Upheaval::Kill(node) => self.broker.stop_node(node, Stop::Kill).is_ok() && self.wait_until_replaced(node),
            Upheaval::Start(node) => self.broker.start_node(node).is_ok(),
            Upheaval::Freeze(node) => self.broker.freeze(node).is_ok() && self.wait_until_replaced(node),
            Upheaval::Thaw(node) => self.broker.thaw(node).is_ok(),
            Upheaval::CutAnswers => self.cut_answers(),
            Upheaval::LoseAnswers => self.lose_answers(),
        };
        assert!(done, "{upheaval:?} came to nothing");
    }

    /// All nodes run and every replica is in sync.
    pub fn calm(&mut self) {
        let nodes: Vec<NodeId> = self.broker.look(|cluster| cluster.nodes().collect());
        for node in nodes {
            match self.broker.look(move |cluster| cluster.process(node)) {
                Some(Process::Stopped) => self.broker.start_node(node).expect("its port is kept"),
                Some(Process::Frozen) => self.broker.thaw(node).expect("it is frozen"),
                _ => {}
            }
        }
        self.wait_until("every replica is in sync", |broker| {
            partitions(broker).iter().all(|partition| partition.in_sync.len() == partition.replicas)
        });
    }

    fn move_leaders(&mut self) -> bool {
        let mut moved = 0;
        for Standing { topic, index, leader, in_sync, .. } in partitions(&self.broker) {
            let next = in_sync.iter().position(|&node| Some(node) == leader).map_or(0, |at| (at + 1) % in_sync.len());
            moved += usize::from(self.broker.move_leader(&topic, index, in_sync[next]).is_ok());
        }
        self.leaders_moved += moved;
        moved > 0
    }

    fn cut_answers(&self) -> bool {
        self.broker.faults().add(Fault::close_after().api(ApiKey::PRODUCE).times(5));
        true
    }

    fn lose_answers(&self) -> bool {
        for partition in partitions(&self.broker) {
            let fault = Fault::refuse_after(ErrorCode::REQUEST_TIMED_OUT).api(ApiKey::PRODUCE);
            self.broker.faults().add(fault.partition(partition.topic, partition.index).once());
        }
        true
    }

    fn wait_until_replaced(&mut self, node: NodeId) -> bool {
        self.wait_until("others lead", |broker| partitions(broker).iter().all(|found| found.leader != Some(node)));
        true
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut(&Broker) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(&self.broker) {
            assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
            // The broker tells nobody of elections; this asks, and leaves the processor to the clients.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How it stands with a partition.
struct Standing {
    topic: String,
    index: PartitionIndex,
    leader: Option<NodeId>,
    in_sync: Vec<NodeId>,
    replicas: usize,
}

fn partitions(broker: &Broker) -> Vec<Standing> {
    broker.look(|cluster| {
        let topics = cluster.topics();
        let all = topics.flat_map(|topic| {
            (0..).zip(topic.partitions()).map(|(index, partition)| Standing {
                topic: topic.name().to_owned(),
                index: PartitionIndex(index),
                leader: partition.leader(),
                in_sync: partition.isr().to_vec(),
                replicas: partition.replicas().count(),
            })
        });
        all.collect()
    })
}

const PATIENCE: Duration = Duration::from_secs(30);
