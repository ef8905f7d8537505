//! What a run is made of, all of it drawn from the seed: the cluster, the client's settings, the network, the faults.
//!
//! The ranges are chosen for what they must reach: latencies of several lingers and batches of a few records, so that
//! five batches are unsettled often; request timeouts that held requests outlast; deadlines that end before and after
//! the claim.

use std::sync::Arc;
use std::time::Duration;

use milena_core::backoff::Backoff;
use milena_core::connection::ConnectionConfig;
use milena_core::metadata::Address;
use milena_core::plant::Plant;
use milena_core::producer::back::BackConfig;
use milena_core::producer::control::ControlConfig;
use milena_core::producer::front::FrontConfig;
use milena_core::producer::lane::LaneConfig;
use milena_core::time::Moment;

use crate::dice::Dice;
use crate::faults::FaultRates;

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) plant: Plant,
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) front: FrontConfig,
    pub(crate) retry: Backoff,
    pub(crate) request_timeout: Duration,
    pub(crate) produce_timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) buffer_memory: usize,
    /// One way, least and most.
    pub(crate) latency: (Duration, Duration),
    /// How long the broker works on a request, least and most.
    pub(crate) service: (Duration, Duration),
    /// The longest way between the client's tasks.
    pub(crate) mail_max: Duration,
    pub(crate) records: u64,
    /// When the workload ends, unless the buffer held it up.
    pub(crate) workload: Duration,
    pub(crate) rates: FaultRates,
    /// No fault starts after this.
    pub(crate) faults_end: Moment,
    /// The producer is closed then, without waiting for anything.
    pub(crate) close_at: Option<Moment>,
}

#[derive(Debug)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// Later than the producer's start in some runs, so that it is missing at first.
    pub(crate) created_at: Moment,
}

/// The one broker.
pub(crate) const HOST: &str = "broker";
pub(crate) const PORT: u16 = 9092;

impl Scenario {
    pub(crate) fn draw(seed: u64, plant: Plant) -> Self {
        let mut dice = Dice::new(seed, 1);
        let dice = &mut dice;
        let topics = (0..dice.pick(&[1, 1, 2, 3])).map(|number| topic(dice, number)).collect();
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
        let is_calm = dice.chance(0.03);
        let buffer_memory = if dice.chance(0.3) { dice.between(300, 800) as usize * 1024 } else { 32 * 1024 * 1024 };
        let faults_end = Moment::START + workload.mul_f64(1.0 + dice.fraction());
        let is_closed = dice.chance(0.08);
        let close_at = is_closed.then(|| Moment::START + workload.mul_f64(0.3 + 0.8 * dice.fraction()));
        let rates = if is_calm { FaultRates::NONE } else { FaultRates::draw(dice) };
        let mut scenario = Self {
            seed,
            plant,
            topics,
            front: FrontConfig {
                batch_size: dice.pick(&[200, 400, 1000, 1000, 4096, 16 * 1024, 64 * 1024]),
                max_request_size: 1024 * 1024,
                linger: Duration::from_millis(dice.pick(&[0, 0, 1, 2, 5, 10, 20])),
                deadline,
            },
            retry: Backoff { initial, max: initial.max(dice.spread(millis(50), secs(1))) },
            request_timeout,
            produce_timeout: request_timeout / 2,
            delivery_timeout,
            metadata_max_age: dice.spread(millis(500), secs(300)),
            buffer_memory,
            latency: (latency / 4, latency),
            service: (service / 4, service),
            mail_max: dice.pick(&[Duration::ZERO, Duration::ZERO, millis(1), millis(5)]),
            records: dice.between(220, 600),
            workload,
            rates,
            faults_end,
            close_at,
        };
        if dice.chance(0.15) {
            scenario.fill_windows(dice);
        }
        scenario
    }

    /// Batches of a few records at a rate that keeps every window full, answered by brokers whose followers are slow.
    fn fill_windows(&mut self, dice: &mut Dice) {
        self.front.batch_size = dice.pick(&[200, 400]);
        self.front.linger = Duration::ZERO;
        self.front.deadline = secs(10);
        self.delivery_timeout = self.delivery_timeout.max(secs(10));
        self.workload = millis(500);
        self.faults_end = Moment::START + secs(4);
        self.rates = FaultRates::SLOW_FOLLOWERS;
    }

    pub(crate) fn control(&self) -> ControlConfig {
        let mut back = BackConfig::new(self.delivery_timeout, self.retry);
        back.plant = self.plant;
        ControlConfig {
            bootstrap: vec![Address { host: Arc::from(HOST), port: PORT }],
            connection: self.connection(),
            back,
            retry: self.retry,
            metadata_max_age: self.metadata_max_age,
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

fn topic(dice: &mut Dice, number: u64) -> TopicPlan {
    let created_at =
        if dice.chance(0.1) { Moment::START + dice.duration(millis(1), millis(700)) } else { Moment::START };
    TopicPlan { name: format!("topic-{number}"), partitions: dice.pick(&[1, 1, 2, 3, 4]), created_at }
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
