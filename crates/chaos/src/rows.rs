//! The table: which faults strike which cluster, and under which load.
//!
//! A fault waits for events, not for time: enough records offered, a leader replaced, a replica out of sync or back in.

use std::time::Duration;

use kafka_harness::{Kafka, PartitionState};

use crate::load::{Load, Settings};

/// One row: fresh topics, a load on them, a fault in the middle.
pub struct Row {
    pub name: &'static str,
    /// Of the cluster that it needs.
    pub nodes: u32,
    pub topics: &'static [Layout],
    pub settings: Settings,
    /// By which way the load goes to the nodes.
    pub way: Way,
    /// Strikes once the load is steady, and lets the cluster be whole again at its end.
    pub fault: fn(&mut Stage<'_>) -> Result<(), Error>,
    /// Whether deadlines certainly end while the fault lasts.
    pub releases: bool,
    /// On which releases it strikes: on all where what brokers remember and answer is at stake, which releases differ in.
    pub on: On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    EveryRelease,
    TheNewest,
}

impl Row {
    pub fn partitions(&self) -> usize {
        self.topics.iter().map(|layout| layout.replicas.len()).sum()
    }
}

/// A topic's.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Of its partitions, the preferred leader first.
    pub replicas: &'static [&'static [u32]],
    /// How many of them must have a record before it is committed.
    pub in_sync_min: u32,
    /// Whether nothing that it needs is struck: other topics at the same leaders may hold it up for the 2 s that a broker
    /// may wait for followers, and no longer (rule 27). Without that it would wait as long as they do, for 4 s.
    pub is_neighbour: bool,
}

/// To a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Straight,
    Proxied,
}

pub type Error = Box<dyn std::error::Error>;

/// What a fault has in its hands.
pub struct Stage<'a> {
    pub kafka: &'a mut Kafka,
    pub load: &'a Load,
    pub topics: &'a [String],
}

pub const ROWS: &[Row] = &[
    Row {
        name: "the node killed and started again",
        nodes: 1,
        topics: &[LONE],
        settings: MIXED,
        way: Way::Straight,
        fault: killed_alone,
        releases: true,
        on: On::EveryRelease,
    },
    Row {
        name: "the node frozen and thawed",
        nodes: 1,
        topics: &[LONE],
        settings: MIXED,
        way: Way::Straight,
        fault: frozen_alone,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "the node frozen for longer than delivery_timeout",
        nodes: 1,
        topics: &[LONE],
        settings: IMPATIENT,
        way: Way::Straight,
        fault: frozen_alone,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "the node thawed and killed at once",
        nodes: 1,
        topics: &[LONE],
        settings: MIXED,
        way: Way::Straight,
        fault: thawed_and_killed_alone,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "the node restarted",
        nodes: 1,
        topics: &[LONE],
        settings: MIXED,
        way: Way::Straight,
        fault: restarted_alone,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "answers lost, then the node killed and started again",
        nodes: 1,
        topics: &[LONE],
        settings: MIXED,
        way: Way::Proxied,
        fault: answers_lost_and_killed,
        releases: true,
        on: On::EveryRelease,
    },
    Row {
        name: "a leader killed",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Straight,
        fault: leader_killed,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "a leader's answers lost, then it killed",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Proxied,
        fault: leaders_answers_lost,
        releases: true,
        on: On::EveryRelease,
    },
    Row {
        name: "a leader frozen and thawed",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Straight,
        fault: leader_frozen,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "a leader thawed and killed at once",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Straight,
        fault: leader_thawed_and_killed,
        releases: true,
        on: On::EveryRelease,
    },
    Row {
        name: "a leader frozen for less than its session",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Straight,
        fault: leader_frozen_briefly,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "two nodes of three frozen and thawed",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Straight,
        fault: majority_frozen,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "a rolling restart",
        nodes: 3,
        topics: &[SPREAD],
        settings: MIXED,
        way: Way::Straight,
        fault: rolling_restart,
        releases: false,
        on: On::TheNewest,
    },
    Row {
        name: "a follower frozen beside a topic without it",
        nodes: 3,
        topics: &[FOLLOWED_BY_3, WITHOUT_3],
        settings: MIXED,
        way: Way::Straight,
        fault: follower_frozen,
        releases: true,
        on: On::TheNewest,
    },
    Row {
        name: "a node frozen where all must be in sync",
        nodes: 3,
        topics: &[SPREAD_ALL],
        settings: MIXED,
        way: Way::Straight,
        fault: one_too_few,
        releases: true,
        on: On::EveryRelease,
    },
];

/// From less than any fault lasts to more than all of them last, so that batches live on for some of their records.
pub const MIXED: Settings = Settings {
    deadlines: &[
        Duration::from_millis(300),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(2),
        Duration::from_secs(3),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
        Duration::from_secs(60),
    ],
    delivery_timeout: Duration::from_secs(90),
    ..Settings::STEADY
};

/// Fates end before the fault does.
pub const IMPATIENT: Settings = Settings {
    deadlines: &[Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)],
    delivery_timeout: Duration::from_secs(3),
    ..Settings::STEADY
};

const LONE: Layout = Layout { replicas: &[&[1], &[1], &[1], &[1]], in_sync_min: 1, is_neighbour: false };

/// Every node leads two partitions and follows on four.
pub const SPREAD: Layout = Layout {
    replicas: &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2], &[1, 3, 2], &[2, 1, 3], &[3, 2, 1]],
    in_sync_min: 2,
    is_neighbour: false,
};

/// With one replica out of sync nothing is appended any more.
const SPREAD_ALL: Layout = Layout { in_sync_min: 3, ..SPREAD };

/// Its partitions wait for node 3; those of [`WITHOUT_3`] at the same leaders do not.
const FOLLOWED_BY_3: Layout = Layout { replicas: &[&[1, 2, 3], &[2, 1, 3], &[1, 2, 3], &[2, 1, 3]], ..SPREAD };
const WITHOUT_3: Layout = Layout { replicas: &[&[1, 2], &[2, 1], &[1, 2], &[2, 1]], is_neighbour: true, ..SPREAD };

fn killed_alone(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).kill()?;
    stage.load.await_offered(SECOND)?;
    stage.kafka.node(1).start()?;
    stage.settle()
}

/// Longer than the request timeout of the load.
fn frozen_alone(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).freeze()?;
    stage.load.await_offered(5 * SECOND)?;
    stage.kafka.node(1).thaw()?;
    stage.settle()
}

/// What waited in the frozen node's sockets may be appended and its answers lost: after the restart the node remembers
/// only the last batch.
fn thawed_and_killed_alone(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).freeze()?;
    stage.load.await_offered(4 * SECOND)?;
    stage.kafka.node(1).thaw()?;
    stage.kafka.node(1).kill()?;
    stage.kafka.node(1).start()?;
    stage.settle()
}

/// Several batches of each partition are appended, and nobody is told. After the restart the node remembers only the last
/// one: a resend of those before is answered OUT_OF_ORDER_SEQUENCE_NUMBER (rule 13).
fn answers_lost_and_killed(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).proxy().hold_answers();
    stage.load.await_offered(2 * SECOND)?;
    stage.kafka.node(1).kill()?;
    stage.kafka.node(1).proxy().cut();
    stage.kafka.node(1).start()?;
    stage.settle()?;
    let refused = stage.kafka.node(1).logged("OutOfOrderSequenceException:")?;
    println!("measured: {refused} resends were refused with OUT_OF_ORDER_SEQUENCE_NUMBER");
    if refused == 0 { Err("the node forgot nothing".into()) } else { Ok(()) }
}

fn restarted_alone(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).terminate()?;
    stage.kafka.node(1).start()?;
    stage.settle()
}

fn leader_killed(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(2).kill()?;
    stage.await_led_without(2)?;
    stage.load.await_written(SECOND)?;
    stage.kafka.node(2).start()?;
    stage.settle()
}

/// What it appended is replicated, and nobody is told: the next leader is asked.
fn leaders_answers_lost(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).proxy().hold_answers();
    stage.load.await_offered(SECOND)?;
    stage.kafka.node(1).kill()?;
    stage.kafka.node(1).proxy().cut();
    stage.await_led_without(1)?;
    stage.load.await_written(SECOND)?;
    stage.kafka.node(1).start()?;
    stage.settle()
}

/// Until another leads, so that what the frozen one holds comes too late.
fn leader_frozen(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(3).freeze()?;
    stage.await_led_without(3)?;
    stage.load.await_written(SECOND)?;
    stage.kafka.node(3).thaw()?;
    stage.settle()
}

/// The session of a frozen leader lasts for 4 s.
fn leader_thawed_and_killed(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).freeze()?;
    stage.load.await_offered(3 * SECOND)?;
    stage.kafka.node(1).thaw()?;
    stage.kafka.node(1).kill()?;
    stage.await_led_without(1)?;
    stage.kafka.node(1).start()?;
    stage.settle()
}

/// Longer than brokers may wait for their followers, shorter than the request timeout.
fn leader_frozen_briefly(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(1).freeze()?;
    stage.load.await_offered(5 * SECOND / 2)?;
    stage.kafka.node(1).thaw()?;
    stage.settle()
}

/// Without a majority nobody can be elected and no replica be taken out: node 1 appends, and nothing is committed.
fn majority_frozen(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(2).freeze()?;
    stage.kafka.node(3).freeze()?;
    stage.load.await_offered(5 * SECOND)?;
    stage.kafka.node(2).thaw()?;
    stage.kafka.node(3).thaw()?;
    stage.settle()
}

/// Leaders leave each node in order, and come back when it has.
fn rolling_restart(stage: &mut Stage<'_>) -> Result<(), Error> {
    for node in 1..=3 {
        stage.kafka.node(node).terminate()?;
        stage.kafka.node(node).start()?;
        for topic in stage.topics {
            stage.kafka.elect_preferred(topic)?;
        }
        stage.settle()?;
    }
    Ok(())
}

fn follower_frozen(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(3).freeze()?;
    stage.await_each(|state| !state.in_sync.contains(&3))?;
    stage.load.await_written(SECOND)?;
    stage.kafka.node(3).thaw()?;
    stage.settle()
}

/// Before the node is out of sync batches are appended and not committed; afterwards they are refused before the append,
/// and so are resends of those (NOT_ENOUGH_REPLICAS comes before the duplicate check).
fn one_too_few(stage: &mut Stage<'_>) -> Result<(), Error> {
    stage.kafka.node(2).freeze()?;
    stage.await_each(|state| !state.in_sync.contains(&2))?;
    stage.load.await_offered(2 * SECOND)?;
    stage.kafka.node(2).thaw()?;
    stage.settle()
}

impl Stage<'_> {
    fn await_led_without(&self, node: u32) -> Result<(), Error> {
        self.await_each(|state| state.leader.is_some_and(|leader| leader != node))
    }

    /// Waits until all partitions are so, in the eyes of every node that is awake.
    fn await_each(&self, is_so: impl Fn(&PartitionState) -> bool) -> Result<(), Error> {
        for topic in self.topics {
            self.kafka.await_partitions(topic, |states| states.iter().all(&is_so))?;
        }
        Ok(())
    }

    /// Waits until all replicas are in sync and the load flows again.
    fn settle(&self) -> Result<(), Error> {
        for topic in self.topics {
            self.kafka.await_in_sync(topic)?;
        }
        self.load.await_written(SECOND)?;
        Ok(())
    }
}

/// The records of about one second.
pub const SECOND: u64 = 2_000;
