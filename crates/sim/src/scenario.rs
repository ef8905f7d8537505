//! What a run is made of, all of it drawn from the seed: the cluster, the client's settings, the network, the faults.
//!
//! The ranges are chosen for what they must reach: latencies of several lingers and batches of a few records, so that
//! five batches are unsettled often; request timeouts that held requests outlast; deadlines that end before and after
//! the claim. Most runs aim at one cell of the coverage (`aim.rs`), so that the rare ones are reached too.

mod aim;
mod cluster;
mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::connection::ConnectionConfig;
use milena_core::ids::NodeId;
use milena_core::plant::Plant;
use milena_core::producer::back::{Acks, BackConfig, UNSETTLED_STAMPS_MAX};
use milena_core::producer::control::ControlConfig;
use milena_core::producer::front::{AfterDeadline, FrontConfig};
use milena_core::producer::lane::LaneConfig;
use milena_core::producer::packing::Encodings;
use milena_core::time::Moment;
use milena_wire::records::{Codec, Encoding};

use crate::dice::Dice;
use crate::faults::{Fault, FaultRates, Plan};
use aim::Target;

pub(crate) use cluster::{ClusterPlan, TopicPlan, address_of};

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) plant: Plant,
    pub(crate) cluster: ClusterPlan,
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) acks: Acks,
    pub(crate) is_idempotent: bool,
    /// Unsettled batches of a partition.
    pub(crate) in_flight_max: u64,
    /// Batches with stale timestamps are sent again, though they may be written twice.
    pub(crate) resends_stale: bool,
    pub(crate) front: FrontConfig,
    /// How many records say themselves what becomes of them after their deadlines.
    pub(crate) own_policies: f64,
    /// Whether the client may read what it writes.
    pub(crate) may_read: bool,
    /// How long a batch that was given up waits for its end.
    pub(crate) settle_timeout: Duration,
    pub(crate) retry: Backoff,
    pub(crate) request_timeout: Duration,
    pub(crate) produce_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    /// How long the client trusts that brokers remember it.
    pub(crate) horizon: Duration,
    pub(crate) buffer_memory: usize,
    /// One way, least and most.
    pub(crate) latency: (Duration, Duration),
    /// How long a broker works on a request, least and most.
    pub(crate) service: (Duration, Duration),
    /// How batches are written.
    pub(crate) encodings: Encodings,
    /// How long work on the bytes of a batch takes at most.
    pub(crate) pack_max: Duration,
    /// The longest way between the client's tasks.
    pub(crate) mail_max: Duration,
    pub(crate) records: u64,
    /// When the workload ends, unless the buffer held it up.
    pub(crate) workload: Duration,
    /// How many records come with a deadline of their own.
    pub(crate) own_deadlines: f64,
    pub(crate) rates: FaultRates,
    pub(crate) planted: Plan,
    /// No fault starts after this.
    pub(crate) faults_end: Moment,
    /// The producer is closed then, without waiting for anything.
    pub(crate) close_at: Option<Moment>,
}

impl Scenario {
    pub(crate) fn draw(seed: u64, plant: Plant) -> Self {
        let mut dice = Dice::new(seed, 1);
        let dice = &mut dice;
        let target = Target::draw(seed);
        let nodes = dice.pick(&[1, 1, 2, 3, 3, 3]);
        let nodes = target.as_ref().and_then(Target::nodes).unwrap_or(nodes);
        let cluster = ClusterPlan::draw(dice, nodes);
        let topics = cluster::draw_topics(dice, nodes);
        let latency = dice.spread(millis(1), millis(20));
        let service = dice.spread(micros(50), millis(8));
        let request_timeout = dice.spread(millis(200), secs(2));
        let deadline = match dice.below(10) {
            0..4 => dice.spread(millis(20), millis(400)),
            _ => dice.spread(secs(2), secs(15)),
        };
        let delivery_timeout = deadline.max(dice.spread(millis(600), secs(15)));
        let initial = dice.spread(millis(2), millis(100));
        let workload = dice.spread(millis(500), secs(8));
        let is_small = dice.chance(0.3);
        let faults_end = Moment::START + workload.mul_f64(1.0 + dice.fraction());
        let rates = faults::draw(dice, target.as_ref());
        let mut scenario = Self {
            seed,
            plant,
            cluster,
            topics,
            acks: Acks::All,
            is_idempotent: true,
            in_flight_max: UNSETTLED_STAMPS_MAX,
            resends_stale: false,
            front: FrontConfig {
                batch_size: dice.pick(&[200, 400, 1000, 1000, 4096, 16 * 1024, 64 * 1024]),
                max_request_size: 1024 * 1024,
                linger: Duration::from_millis(dice.pick(&[0, 0, 1, 2, 5, 10, 20])),
                deadline,
                after_deadline: AfterDeadline::Complete,
                may_withdraw: true,
            },
            own_policies: 0.0,
            may_read: true,
            settle_timeout: secs(25),
            retry: Backoff { initial, max: initial.max(dice.spread(millis(50), secs(1))) },
            request_timeout,
            produce_timeout: request_timeout / 2,
            delivery_timeout,
            metadata_max_age: dice.spread(millis(500), secs(300)),
            horizon: secs(12 * 60 * 60),
            buffer_memory: if is_small { dice.between(300, 800) as usize * 1024 } else { 32 * 1024 * 1024 },
            latency: (latency / 4, latency),
            service: (service / 4, service),
            encodings: Encodings::NONE,
            pack_max: Duration::ZERO,
            mail_max: dice.pick(&[Duration::ZERO, Duration::ZERO, millis(1), millis(5)]),
            records: dice.between(220, 600),
            workload,
            own_deadlines: dice.pick(&[0.0, 0.0, 0.05, 0.3]),
            rates,
            planted: faults::draw_planted(dice, target.as_ref()),
            faults_end,
            close_at: None,
        };
        scenario.draw_promise(dice, target.as_ref());
        scenario.draw_compression();
        scenario.draw_policies();
        if rates.of(Fault::Closed) > 0.0 {
            scenario.close_at = Some(Moment::START + workload.mul_f64(0.3 + 0.8 * dice.fraction()));
        }
        let forgets = rates.of(Fault::StateExpired) > 0.0;
        if let Some(target) = target {
            target.shape(&mut scenario, dice);
        } else if !forgets && dice.chance(0.3) {
            scenario.fill_windows(dice);
            if dice.chance(0.6) {
                scenario.rates = FaultRates::SLOW_FOLLOWERS;
                scenario.planted = Plan::default();
            }
        }
        if forgets {
            scenario.forget_soon(dice);
        }
        match seed % 25 {
            10 => scenario.keep_to_followers(dice),
            20 => scenario.keep_to_leaders(dice),
            _ => {}
        }
        scenario
    }

    /// Leaders freeze, others are elected long before a request times out, and nothing else goes wrong: what is unanswered at
    /// the old leader must hold nothing up.
    fn keep_to_leaders(&mut self, dice: &mut Dice) {
        self.keep_to_followers(dice);
        // A lane with two partitions would leave its connection because one holds up the other.
        self.topics.truncate(1);
        self.rates = FaultRates::NONE;
        self.rates.set(Fault::Frozen, dice.pick(&[0.3, 0.6, 1.0]));
        self.cluster.session_timeout = dice.spread(millis(200), millis(500));
        self.cluster.frozen_least = self.cluster.session_timeout * 2;
        self.request_timeout = self.cluster.session_timeout * 5 / 2;
        self.produce_timeout = self.request_timeout / 2;
    }

    /// Followers of some partitions copy late or not at all, those of their neighbours on the same brokers do, and nothing else
    /// goes wrong: what one partition costs another shows.
    fn keep_to_followers(&mut self, dice: &mut Dice) {
        self.cluster = ClusterPlan::draw(dice, 3);
        self.cluster.replica_lag_time_max = dice.spread(secs(2), secs(20));
        while self.topics.len() < 2 {
            self.topics = cluster::draw_topics(dice, 3);
        }
        // One topic needs its followers, the others have none.
        for (number, topic) in self.topics.iter_mut().enumerate() {
            topic.partitions = 3;
            topic.replicas = if number == 0 { 3 } else { 1 };
            topic.config.min_insync_replicas = 1;
        }
        (self.acks, self.is_idempotent, self.in_flight_max) = (Acks::All, true, UNSETTLED_STAMPS_MAX);
        self.rates = FaultRates::NONE;
        self.rates.set(dice.pick(&[Fault::FollowerSlow, Fault::FollowerFrozen]), dice.pick(&[0.3, 0.6, 1.0]));
        self.planted = Plan::default();
        self.request_timeout = dice.spread(millis(400), secs(2));
        self.produce_timeout = self.request_timeout / 2;
        self.front.deadline = secs(10);
        self.delivery_timeout = secs(15);
        self.workload = dice.spread(secs(2), secs(5));
        self.faults_end = Moment::START + self.workload;
        self.close_at = None;
    }

    /// Most runs want everything that can be promised.
    fn draw_promise(&mut self, dice: &mut Dice, target: Option<&Target>) {
        let drawn = dice.below(100);
        match target.map_or(drawn, Target::promise) {
            0..5 => self.is_idempotent = false,
            5..12 => (self.acks, self.is_idempotent) = (Acks::Leader, false),
            12..15 => (self.acks, self.is_idempotent) = (Acks::None, false),
            _ => {}
        }
        if self.acks == Acks::Leader && dice.chance(0.5) {
            self.in_flight_max = 1;
        }
    }

    /// With chance of its own: what else a seed draws does not depend on it.
    fn draw_compression(&mut self) {
        let mut dice = Dice::new(self.seed, 9);
        if dice.chance(0.2) {
            let codec = dice.pick(&[Codec::Gzip, Codec::Snappy, Codec::Lz4]);
            self.encodings = Encodings::new([Encoding::new(codec)]).expect("one is not there twice");
            self.pack_max = dice.pick(&[Duration::ZERO, millis(2), millis(20), millis(100)]);
        }
    }

    /// As with compression.
    fn draw_policies(&mut self) {
        let mut dice = Dice::new(self.seed, 10);
        if !self.is_idempotent || self.acks != Acks::All {
            return;
        }
        if dice.chance(0.35) {
            self.front.after_deadline = AfterDeadline::Withdraw;
        }
        if dice.chance(0.35) {
            self.own_policies = dice.pick(&[0.02, 0.2, 0.8]);
        }
        self.may_read = !dice.chance(0.15);
    }

    /// Brokers remember producers for seconds only, and the client knows that. No copy of a request travels or waits for so
    /// long that it comes to brokers that have forgotten its batch: no client could tell.
    fn forget_soon(&mut self, dice: &mut Dice) {
        self.front.deadline = dice.spread(millis(100), secs(1));
        self.delivery_timeout = self.front.deadline.max(dice.spread(millis(500), secs(2)));
        self.horizon = self.delivery_timeout.mul_f64(1.0 + dice.fraction());
        self.cluster.producer_expiry = self.horizon * 2;
        self.cluster.producer_expiry_check = dice.spread(millis(20), millis(500));
        let longest = self.horizon / 8;
        self.request_timeout = self.request_timeout.min(longest);
        self.produce_timeout = self.request_timeout / 2;
        self.cluster.session_timeout = self.cluster.session_timeout.min(longest);
        self.resends_stale = dice.chance(0.2);
    }

    /// Batches of a few records at a rate that keeps every window full.
    fn fill_windows(&mut self, dice: &mut Dice) {
        self.front.batch_size = dice.pick(&[200, 400]);
        self.front.linger = Duration::ZERO;
        self.front.deadline = secs(10);
        self.delivery_timeout = self.delivery_timeout.max(secs(10));
        self.workload = dice.spread(millis(500), secs(3));
        self.faults_end = Moment::START + self.workload + secs(3);
    }

    /// Whether "written" means that no election takes it away.
    pub(crate) fn is_committed(&self) -> bool {
        self.acks == Acks::All
    }

    /// Whether the order of acceptance is promised.
    pub(crate) fn is_ordered(&self) -> bool {
        self.is_idempotent
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        (1..=self.cluster.nodes).map(NodeId).collect()
    }

    pub(crate) fn control(&self) -> ControlConfig {
        let mut back = BackConfig::new(self.delivery_timeout, self.retry);
        back.plant = self.plant;
        back.encodings = self.encodings;
        back.acks = self.acks;
        back.is_idempotent = self.is_idempotent;
        back.in_flight_max = self.in_flight_max;
        back.horizon = self.horizon;
        back.resends_stale = self.resends_stale;
        back.withdraws = self.front.after_deadline == AfterDeadline::Withdraw;
        back.settle_timeout = self.settle_timeout;
        ControlConfig {
            bootstrap: self.cluster.bootstrap.clone(),
            connection: self.connection(),
            back,
            encodings_of: BTreeMap::new(),
            retry: self.retry,
            metadata_max_age: self.metadata_max_age,
            rebootstrap_after: Duration::from_secs(300),
            allow_auto_create_topics: false,
        }
    }

    pub(crate) fn lane(&self) -> LaneConfig {
        let produce_timeout = self.produce_timeout;
        LaneConfig { connection: self.connection(), produce_timeout, reconnect: self.retry }
    }

    fn connection(&self) -> ConnectionConfig {
        let mut connection = ConnectionConfig::new(Arc::from("sim"), self.request_timeout);
        connection.plant = self.plant;
        connection
    }

    /// How long the whole workload may take if every record is a batch of one partition and nothing goes wrong.
    pub(crate) fn backlog_max(&self) -> Duration {
        let round = (self.latency.1 * 2 + self.service.1 + self.mail_max) / 5;
        round.max(self.service.1).mul_f64(2.0 * self.records as f64) + self.front.linger
    }

    /// How long after the last trace of a fault a partition may take to settle what it has sent: one timeout to notice,
    /// then reconnecting and two rounds of resending.
    pub(crate) fn recovery_max(&self) -> Duration {
        let round = (self.latency.1 + self.service.1 + self.mail_max) * 16;
        self.request_timeout * 2 + self.retry.max.mul_f64(1.2) * 4 + round * 3
    }
}

const fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
