//! Producer ids: who waits for one, when to ask, and which must not be used any more.
//!
//! Always holds: all partitions share one producer id, until one gives it up; then the next one serves all who come after;
//! however often ids are given up or refused, they are asked for with growing pauses (KIP-580).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use milena_wire::ErrorCode;
use milena_wire::messages::init_producer_id::request::InitProducerIdRequest;
use milena_wire::messages::init_producer_id::response::InitProducerIdResponse;

use super::{Control, Place};
use crate::backoff::{Backoff, Chance};
use crate::ids::{Epoch, Identity, PartitionId, ProducerId};
use crate::producer::back::PartitionBack;
use crate::producer::lane::LaneOrder;
use crate::producer::outcome::AttemptError;
use crate::time::Moment;

#[derive(Debug, Default)]
pub(super) struct Identities {
    current: Option<Identity>,
    granted_at: Moment,
    /// A partition is done with it and waits for the next one.
    is_given_up: bool,
    /// How often the newest one was given up soon after it came.
    short_lived: u32,
    /// Partitions without one, with the producer id that is no good for them.
    waiting: BTreeMap<PartitionId, Option<ProducerId>>,
    /// Those that somebody else stamps with, newest last.
    foreign: VecDeque<ProducerId>,
    /// Those that came from the present cluster, newest last; noted once there was another cluster before.
    native: Option<VecDeque<ProducerId>>,
    is_asking: bool,
    not_before: Moment,
    failures: u32,
}

/// An id that served for this long was not short-lived.
const SERVED: Duration = Duration::from_secs(60);

/// Between two questions to brokers that say no: somebody has to change an access rule first.
const REFUSED: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(5) };

/// Ids that are remembered as good or bad for partitions that are on their way between lanes.
const IDS_REMEMBERED_MAX: usize = 64;

impl Identities {
    fn serves(&self, abandoned: Option<ProducerId>) -> Option<Identity> {
        self.current.filter(|identity| abandoned != Some(identity.producer_id))
    }

    /// Whether there is one, for those that have not given it up.
    pub(super) fn is_known(&self) -> bool {
        self.current.is_some()
    }

    /// When [`Self::poll_request`] has something to ask.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let is_wanted = self.waiting.values().any(|abandoned| self.serves(*abandoned).is_none());
        (is_wanted && !self.is_asking).then_some(self.not_before)
    }

    pub(super) fn poll_request(&mut self, now: Moment) -> Option<InitProducerIdRequest> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        self.is_asking = true;
        // The timeout belongs to transactions; brokers ignore it without a transactional id but Java sends this.
        Some(InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        })
    }

    pub(super) fn handle_failed(&mut self, now: Moment, retry: Backoff, chance: &mut Chance) {
        self.is_asking = false;
        self.failures += 1;
        self.not_before = now + retry.after(self.failures, chance);
    }

    /// Whether somebody who waits has given this id up.
    fn is_unwelcome(&self, producer_id: ProducerId) -> bool {
        self.waiting.values().any(|abandoned| *abandoned == Some(producer_id))
    }

    fn take(&mut self, now: Moment, identity: Identity) {
        self.is_asking = false;
        self.failures = 0;
        self.granted_at = now;
        self.is_given_up = false;
        self.current = Some(identity);
        if let Some(native) = &mut self.native {
            remember(native, identity.producer_id);
        }
    }

    /// The newest id is no good for somebody: the next one must not come in a hot loop, whatever brokers answer.
    fn give_up(&mut self, now: Moment, retry: Backoff, chance: &mut Chance) {
        if std::mem::replace(&mut self.is_given_up, true) {
            return;
        }
        let is_short_lived = now.since(self.granted_at) < SERVED;
        self.short_lived = if is_short_lived { self.short_lived + 1 } else { 1 };
        self.not_before = self.not_before.max(self.granted_at + retry.after(self.short_lived, chance));
    }

    /// Another cluster gives its own; this one may be somebody else's there (rule 25).
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.foreign.clear();
        self.native = Some(VecDeque::new());
    }

    /// Whether a partition that was on its way when the cluster changed missed it.
    pub(super) fn is_of_former_cluster(&self, identity: Identity) -> bool {
        self.native.as_ref().is_some_and(|native| !native.contains(&identity.producer_id))
    }
}

fn remember(ids: &mut VecDeque<ProducerId>, id: ProducerId) {
    if ids.len() == IDS_REMEMBERED_MAX {
        ids.pop_front();
    }
    ids.push_back(id);
}

/// Codes that stay until somebody changes the brokers' access rules or version: asking again soon is of no use.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::SASL_AUTHENTICATION_FAILED
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::POLICY_VIOLATION
    )
}

impl Control {
    /// A lane's partition has no identity.
    pub(super) fn need_identity(&mut self, now: Moment, id: PartitionId, abandoned: Option<ProducerId>) {
        let current = self.identities.current.map(|identity| identity.producer_id);
        if abandoned.is_some() && abandoned == current {
            self.identities.give_up(now, self.config.retry, &mut self.chance);
        }
        self.identities.waiting.insert(id, abandoned);
        if self.identities.serves(abandoned).is_some() {
            return self.enqueue(id);
        }
        if self.partition(id).trouble.last().1.is_none() {
            self.partition(id).trouble.note(None, AttemptError::NoProducerId);
        }
    }

    /// Part of a look: the identity that the partition waits for.
    pub(super) fn grant(&mut self, id: PartitionId) {
        let Some(abandoned) = self.identities.waiting.get(&id) else { return };
        let Some(identity) = self.identities.serves(*abandoned) else { return };
        self.identities.waiting.remove(&id);
        let trouble = &self.partition(id).trouble;
        if let Some(AttemptError::NoProducerId | AttemptError::ProducerIdRefused(_)) = trouble.last().1 {
            trouble.clear();
        }
        // One that is on its way between lanes asks again where it arrives.
        if let Place::Lane { lane, .. } = self.partition(id).place {
            self.order(lane, LaneOrder::Grant(id, identity));
        }
    }

    pub(super) fn take_identity(&mut self, now: Moment, response: &InitProducerIdResponse) {
        let code = ErrorCode(response.error_code);
        // Negative numbers in a batch mean "not idempotent", so a broker that gives such an id gives none.
        let is_usable = code.is_none() && response.producer_id >= 0 && response.producer_epoch >= 0;
        self.reach.identity_refused = Some(code).filter(|code| !code.is_none());
        if !is_usable {
            let retry = if is_refusal(code) { REFUSED } else { self.config.retry };
            self.identities.handle_failed(now, retry, &mut self.chance);
            return self.note_refusal(code);
        }
        let (producer_id, epoch) = (ProducerId(response.producer_id), Epoch(response.producer_epoch));
        if self.identities.is_unwelcome(producer_id) {
            // A broker that gives the same id again and again is not asked for it again and again.
            return self.identities.handle_failed(now, self.config.retry, &mut self.chance);
        }
        self.identities.take(now, Identity { producer_id, epoch });
        let waiting: Vec<PartitionId> = self.identities.waiting.keys().copied().collect();
        waiting.into_iter().for_each(|id| self.enqueue(id));
    }

    fn note_refusal(&self, code: ErrorCode) {
        for id in self.identities.waiting.keys() {
            self.partitions[id.0 as usize].trouble.note(None, AttemptError::ProducerIdRefused(code.into()));
        }
    }

    /// Somebody else stamps with this id (rule 14): no partition may any more, and all get another one.
    pub(super) fn abandon_producer_id(&mut self, now: Moment, producer_id: ProducerId) {
        if self.identities.foreign.contains(&producer_id) {
            return;
        }
        remember(&mut self.identities.foreign, producer_id);
        if self.identities.current.is_some_and(|identity| identity.producer_id == producer_id) {
            self.identities.give_up(now, self.config.retry, &mut self.chance);
            self.identities.current = None;
        }
        for number in 0..self.partitions.len() {
            // One that is not in a lane was never given an identity.
            if let Place::Lane { lane, .. } = self.partitions[number].place {
                self.order(lane, LaneOrder::Abandon(PartitionId(number as u32), producer_id));
            }
        }
    }

    /// What a partition missed that was on its way between lanes.
    pub(super) fn catch_up_with_identities(&mut self, back: &mut PartitionBack) {
        let mut ended = Vec::new();
        for producer_id in &self.identities.foreign {
            back.abandon(*producer_id, &mut ended);
        }
        if back.identity().is_some_and(|identity| self.identities.is_of_former_cluster(identity)) {
            back.handle_cluster_changed(&mut ended);
        }
        self.publish(back.id(), ended);
    }
}
