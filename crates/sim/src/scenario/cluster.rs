//! The cluster of a run: brokers, topics, and the addresses that the client begins with.

use std::sync::Arc;
use std::time::Duration;

use milena_broker::{TimestampType, TopicConfig};
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
    /// `broker.session.timeout.ms`.
    pub(crate) session_timeout: Duration,
    /// How long a broker that stands still does so at least.
    pub(crate) frozen_least: Duration,
    /// `replica.lag.time.max.ms`.
    pub(crate) replica_lag_time_max: Duration,
    /// How long a broker that stood still believes what it knew.
    pub(crate) catch_up: Duration,
    /// KIP-966.
    pub(crate) strict_min_isr: bool,
    /// `producer.id.expiration.ms`.
    pub(crate) producer_expiry: Duration,
    /// `producer.id.expiration.check.interval.ms`.
    pub(crate) producer_expiry_check: Duration,
}

#[derive(Debug)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replicas: i16,
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
    pub(super) fn draw(dice: &mut Dice, nodes: i32) -> Self {
        let mut bootstrap: Vec<Address> = (1..=nodes).map(|node| address_of(NodeId(node))).collect();
        if nodes > 1 && dice.chance(0.3) {
            // Not every broker needs to be named.
            bootstrap.remove(dice.below(nodes as u64) as usize);
        }
        if dice.chance(0.2) {
            // Nobody listens there.
            let place = dice.below(bootstrap.len() as u64 + 1) as usize;
            bootstrap.insert(place, Address { host: Arc::from("nowhere"), port: PORT });
        }
        Self {
            nodes,
            bootstrap,
            session_timeout: dice.spread(millis(200), secs(2)),
            frozen_least: millis(30),
            replica_lag_time_max: dice.spread(millis(300), secs(3)),
            catch_up: dice.spread(millis(20), millis(300)),
            strict_min_isr: dice.chance(0.5),
            producer_expiry: secs(24 * 60 * 60),
            producer_expiry_check: secs(10 * 60),
        }
    }
}

pub(super) fn draw_topics(dice: &mut Dice, nodes: i32) -> Vec<TopicPlan> {
    (0..dice.pick(&[1, 1, 2, 3])).map(|number| topic(dice, nodes, number)).collect()
}

fn topic(dice: &mut Dice, nodes: i32, number: u64) -> TopicPlan {
    let created_at =
        if dice.chance(0.1) { Moment::START + dice.duration(millis(1), millis(700)) } else { Moment::START };
    let replicas = match dice.chance(0.75) {
        true => nodes,
        false => dice.between(1, nodes as u64) as i32,
    };
    let mut config =
        TopicConfig { min_insync_replicas: if replicas > 1 { dice.pick(&[1, 2]) } else { 1 }, ..Default::default() };
    if dice.chance(0.2) {
        config.timestamp_type = TimestampType::LogAppendTime;
    }
    let partitions = dice.pick(&[1, 1, 2, 3, 4]);
    TopicPlan { name: format!("topic-{number}"), partitions, replicas: replicas as i16, config, created_at }
}
