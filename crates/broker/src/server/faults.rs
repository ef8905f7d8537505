//! The faults of a running broker, from any thread.

use std::time::{Duration, Instant};

use super::Broker;
use crate::faults::{Fault, FaultEntry, FaultId};

/// The faults of a running broker: what [`Broker::faults`] gives. Each call returns when it has taken effect.
///
/// ```
/// use std::time::Duration;
/// use milena_broker::{ApiKey, Broker, BrokerOptions, ErrorCode, Fault};
///
/// let broker = Broker::start(BrokerOptions::default())?;
/// let faults = broker.faults();
/// let refused = faults.add(Fault::refuse(ErrorCode::NOT_ENOUGH_REPLICAS).api(ApiKey::PRODUCE).once());
/// assert_eq!((faults.hits(refused), faults.list().len()), (0, 1));
/// assert_eq!(faults.get(refused).expect("it is known").spared, 0);
/// // A test would make its client produce here, and wait until it was refused.
/// assert!(!faults.wait_for_hits(refused, 1, Duration::ZERO));
/// assert!(faults.remove(refused).is_some());
/// faults.clear();
/// # Ok::<(), milena_broker::StartError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Faults<'b> {
    broker: &'b Broker,
}

impl Broker {
    /// What the broker does to requests instead of, or beside, serving them.
    pub fn faults(&self) -> Faults<'_> {
        Faults { broker: self }
    }
}

impl Faults<'_> {
    /// From now on requests that fit meet this fault. Faults are looked at in the order in which they were added.
    pub fn add(&self, fault: Fault) -> FaultId {
        self.broker.steer(move |cluster, now| cluster.add_fault(now, fault))
    }

    /// A fault, and how often it has hit. None if it was removed, or was over 1,000 such ago.
    pub fn get(&self, fault: FaultId) -> Option<FaultEntry> {
        self.broker.steer(move |cluster, now| cluster.fault(now, fault))
    }

    /// How many requests it has hit; 0 if it is not known any more.
    pub fn hits(&self, fault: FaultId) -> u64 {
        self.get(fault).map_or(0, |entry| entry.hits)
    }

    /// All that are known, in the order in which they were added; also those that are over.
    pub fn list(&self) -> Vec<FaultEntry> {
        self.broker.steer(|cluster, now| cluster.faults(now).collect())
    }

    /// Ends a fault and forgets it: answers that it holds back go out at once. What else it did to requests stays done.
    pub fn remove(&self, fault: FaultId) -> Option<FaultEntry> {
        self.broker.steer(move |cluster, now| cluster.remove_fault(now, fault))
    }

    /// Ends and forgets all.
    pub fn clear(&self) {
        self.broker.steer(|cluster, now| cluster.clear_faults(now));
    }

    /// Blocks until a fault has hit so many requests; false once it cannot any more, because the time is over, it is used up, or it was
    /// removed. What a request that is hit does has been done then, and its answer may still be on its way.
    pub fn wait_for_hits(&self, fault: FaultId, hits: u64, timeout: Duration) -> bool {
        let until = Instant::now().checked_add(timeout);
        loop {
            let (known, news) =
                self.broker.steer(move |cluster, now| (cluster.fault(now, fault), cluster.faults.news()));
            match known {
                Some(entry) if entry.hits >= hits => return true,
                None => return false,
                Some(entry) if entry.is_over => return false,
                Some(_) => {}
            }
            if !self.broker.shared.wait_for_news(news, until) {
                return false;
            }
        }
    }
}
