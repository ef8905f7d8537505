//! How much each client did lately, and how long it has to wait for what was too much.
//!
//! Measured as Kafka does: in eleven samples of a second each, on every node apart. A client that did more than its quota waits until the
//! rate of the samples is back at it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::NodeId;
use crate::quotas::{Limit, QuotaKey};

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct QuotaRates {
    rates: BTreeMap<Meter, Rate>,
}

/// Who is measured doing what, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Meter {
    node: NodeId,
    key: QuotaKey,
    user: &'static str,
    client: String,
}

/// What is done, where and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed {
    pub(crate) node: NodeId,
    pub(crate) now: Duration,
    pub(crate) key: QuotaKey,
    pub(crate) amount: f64,
}

#[derive(Debug, Default)]
struct Rate {
    /// Oldest first: when each began, and its sum.
    samples: VecDeque<(Duration, f64)>,
}

impl QuotaRates {
    /// Counts it, and says how long to wait.
    pub(crate) fn record(&mut self, limit: &Limit, deed: Deed) -> Duration {
        if self.rates.len() >= METERS_MAX {
            self.rates.retain(|_, rate| rate.is_alive(deed.now));
        }
        let meter = Meter { node: deed.node, key: deed.key, user: limit.user, client: limit.client.clone() };
        let rate = self.rates.entry(meter).or_default();
        rate.add(deed.now, deed.amount);
        rate.wait(deed.now, limit.rate)
    }

    /// Takes back what was counted and did not happen.
    pub(crate) fn take_back(&mut self, limit: &Limit, deed: Deed) {
        let meter = Meter { node: deed.node, key: deed.key, user: limit.user, client: limit.client.clone() };
        if let Some(rate) = self.rates.get_mut(&meter) {
            rate.add(deed.now, -deed.amount);
        }
    }
}

impl Rate {
    fn add(&mut self, now: Duration, amount: f64) {
        match self.samples.back_mut() {
            Some((began, sum)) if now.saturating_sub(*began) < SAMPLE => *sum += amount,
            _ => self.samples.push_back((now, amount)),
        }
        while !self.samples.front().is_none_or(|(began, _)| is_within(*began, now)) {
            self.samples.pop_front();
        }
    }

    /// Until the rate is what it may be, if nothing more is done.
    fn wait(&self, now: Duration, limit: f64) -> Duration {
        let Some((oldest, _)) = self.samples.front() else { return Duration::ZERO };
        let elapsed = now.saturating_sub(*oldest);
        let full = (elapsed.as_nanos() / SAMPLE.as_nanos()).min(u128::from(SAMPLES - 1)) as u32;
        // A young client is measured as if it had done nothing before.
        let span = (elapsed + SAMPLE * (SAMPLES - 1 - full)).as_secs_f64();
        let sum: f64 = self.samples.iter().map(|(_, sum)| sum).sum();
        let excess = sum / span - limit;
        if excess <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64((excess / limit * span).min(WAIT_MAX.as_secs_f64())).unwrap_or(WAIT_MAX)
    }

    fn is_alive(&self, now: Duration) -> bool {
        self.samples.back().is_some_and(|(began, _)| is_within(*began, now))
    }
}

fn is_within(began: Duration, now: Duration) -> bool {
    now.saturating_sub(began) < SAMPLE * SAMPLES
}

/// The most that may be done at once without being too much for all samples together.
pub(crate) fn burst(limit: &Limit) -> f64 {
    limit.rate * f64::from(SAMPLES - 1)
}

/// `quota.window.num` and `quota.window.size.seconds`.
const SAMPLES: u32 = 11;
const SAMPLE: Duration = Duration::from_secs(1);
/// Clients may call themselves anything; those that were not seen lately make room.
const METERS_MAX: usize = 10_000;
/// An answer has room for 24 days in milliseconds.
const WAIT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: f64, client: &str) -> Limit {
        Limit { rate, user: "", client: client.to_owned() }
    }

    fn deed(seconds: u64, amount: f64) -> Deed {
        Deed { node: NodeId(1), now: Duration::from_secs(seconds), key: QuotaKey::ProducerBytes, amount }
    }

    #[test]
    fn who_does_too_much_waits_until_the_rate_is_right() {
        let mut rates = QuotaRates::default();
        let quota = limit(1_000.0, "me");
        assert_eq!(rates.record(&quota, deed(100, 10_000.0)), Duration::ZERO, "ten seconds' worth");
        assert_eq!(rates.record(&quota, deed(100, 10_000.0)), Duration::from_secs(10));
        // A second later the span is the same, because eleven samples are not full yet.
        assert_eq!(rates.record(&quota, deed(105, 0.0)), Duration::from_secs(10));
        assert_eq!(rates.record(&quota, deed(110, 0.0)), Duration::from_secs(10));
        assert_eq!(rates.record(&quota, deed(111, 0.0)), Duration::ZERO, "it is forgotten");
    }

    #[test]
    fn clients_nodes_and_keys_are_measured_apart() {
        let mut rates = QuotaRates::default();
        let too_much = deed(0, 1_000_000.0);
        assert!(rates.record(&limit(1.0, "me"), too_much) > Duration::ZERO);
        assert_eq!(rates.record(&limit(1.0, "you"), deed(0, 1.0)), Duration::ZERO);
        assert_eq!(rates.record(&limit(1.0, "me"), Deed { node: NodeId(2), ..deed(0, 1.0) }), Duration::ZERO);
        let other = Deed { key: QuotaKey::ConsumerBytes, ..deed(0, 1.0) };
        assert_eq!(rates.record(&limit(1.0, "me"), other), Duration::ZERO);
        rates.take_back(&limit(1.0, "me"), too_much);
        assert_eq!(rates.record(&limit(1.0, "me"), deed(0, 1.0)), Duration::ZERO);
    }

    #[test]
    fn any_amount_and_limit_gives_a_wait_that_can_be_told() {
        let mut rates = QuotaRates::default();
        for rate in [f64::MIN_POSITIVE, 1e-9, 1.0, f64::MAX] {
            let wait = rates.record(&limit(rate, "me"), deed(0, 1e15));
            assert!(wait <= WAIT_MAX);
        }
        for number in 0..20_000 {
            rates.record(&limit(1.0, &number.to_string()), deed(number, 1.0));
        }
        assert!(rates.rates.len() <= METERS_MAX);
    }
}
