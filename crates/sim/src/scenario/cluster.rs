//! The cluster of a run: brokers, topics, and the addresses that the client begins with.

use std::sync::Arc;
use std::time::Duration;

use milena_broker::TopicConfig;
use milena_core::ids::NodeId;
use milena_core::metadata::Address;
use milena_core::time::Moment;

use super::{millis, secs};
use crate::dice::Dice;

#[derive(Debug)]
pub(crate) struct ClusterPlan {
    /// Numbered from 1.
    pub(crate) nodes: i32,
    /// What the client is told to begin with; some of it leads nowhere.
    pub(crate) bootstrap: Vec<Address>,
    /// `producer.id.expiration.ms`.
    pub(crate) producer_expiry: Duration,
    /// `producer.id.expiration.check.interval.ms`.
    pub(crate) producer_expiry_check: Duration,
}

#[derive(Debug)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) config: TopicConfig,
    /// Later than the producer's start in some runs, so that it is missing at first.
    pub(crate) created_at: Moment,
}

const PORT: u16 = 9092;

/// Where a broker listens at first.
pub(crate) fn address_of(node: NodeId) -> Address {
    Address { host: Arc::from(format!("broker-{node}")), port: PORT }
}

impl ClusterPlan {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let nodes = 1;
        let mut bootstrap: Vec<Address> = (1..=nodes).map(|node| address_of(NodeId(node))).collect();
        if dice.chance(0.2) {
            // Nobody listens there.
            let place = dice.below(bootstrap.len() as u64 + 1) as usize;
            bootstrap.insert(place, Address { host: Arc::from("nowhere"), port: PORT });
        }
        Self { nodes, bootstrap, producer_expiry: secs(24 * 60 * 60), producer_expiry_check: secs(10 * 60) }
    }
}

pub(super) fn draw_topics(dice: &mut Dice, cluster: &ClusterPlan) -> Vec<TopicPlan> {
    (0..dice.pick(&[1, 1, 2, 3])).map(|number| topic(dice, cluster, number)).collect()
}

fn topic(dice: &mut Dice, _cluster: &ClusterPlan, number: u64) -> TopicPlan {
    let created_at =
        if dice.chance(0.1) { Moment::START + dice.duration(millis(1), millis(700)) } else { Moment::START };
    let config = TopicConfig::default();
    TopicPlan { name: format!("topic-{number}"), partitions: dice.pick(&[1, 1, 2, 3, 4]), config, created_at }
}
