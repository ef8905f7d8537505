//! Callers who wait until a record could be sent.
//!
//! Left out: when that is; see `Control::readiness`.

use std::sync::Arc;
use std::time::Duration;

use milena_core::fault;
use milena_core::ids::TopicIndex;
use milena_core::metadata::Address;
use milena_core::producer::control::{Control, ReadyQuestion, Unready};
use milena_core::time::Moment;
use milena_wire::ErrorCode;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::error::{AddressFault, ReadyError};
use crate::shared::Shared;

/// Those who wait, each until its time is over.
#[derive(Default)]
pub(super) struct ReadyWaiters {
    waiters: Vec<Waiter>,
}

struct Waiter {
    question: ReadyQuestion,
    /// Of the topic that is asked about; empty if none is.
    topic: Arc<str>,
    due: Moment,
    within: Duration,
    reply: oneshot::Sender<Result<(), ReadyError>>,
}

impl ReadyWaiters {
    pub(super) fn add(
        &mut self,
        now: Moment,
        topic: Option<(TopicIndex, Arc<str>)>,
        within: Duration,
        reply: oneshot::Sender<Result<(), ReadyError>>,
    ) {
        let (index, topic) = topic.unzip();
        let question = ReadyQuestion { topic: index, asked_at: now, is_over: false };
        let topic = topic.unwrap_or_default();
        self.waiters.push(Waiter { question, topic, due: now + within, within, reply });
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.waiters.iter().map(|waiter| waiter.due).min()
    }

    /// Answers those that can be answered now.
    pub(super) fn answer(&mut self, control: &Control, now: Moment, shared: &Shared) {
        let mut place = 0;
        while let Some(waiter) = self.waiters.get_mut(place) {
            waiter.question.is_over = waiter.due <= now;
            let readiness = control.readiness(now, waiter.question);
            if readiness.is_err() && !waiter.question.is_over && !waiter.reply.is_closed() {
                place += 1;
                continue;
            }
            let waiter = self.waiters.swap_remove(place);
            let answer = readiness.map_err(|unready| waiter.explain(unready, shared));
            // Whoever asked may have left.
            let _ = waiter.reply.send(answer);
        }
    }
}

impl Waiter {
    fn explain(&self, unready: Unready, shared: &Shared) -> ReadyError {
        let (topic, within) = (self.topic.as_ref().to_owned(), self.within);
        match unready {
            Unready::Unreachable(told) => ReadyError::Unreachable { within, faults: faults(&told, &shared.clock) },
            Unready::TopicPending => ReadyError::TopicPending { topic, within },
            Unready::TopicRefused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                ReadyError::TopicMissing { topic, creation_asked: shared.asks_for_creation }
            }
            Unready::TopicRefused(ErrorCode::TOPIC_AUTHORIZATION_FAILED) => ReadyError::TopicNotAuthorized { topic },
            Unready::TopicRefused(code) => ReadyError::TopicRefused { topic, code: code.into() },
            Unready::NoLeader => ReadyError::NoLeader { topic, within },
            Unready::LeadersUnreachable(told) => {
                ReadyError::LeadersUnreachable { topic, within, faults: faults(&told, &shared.clock) }
            }
            Unready::NoProducerId(Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)) => ReadyError::ClusterNotAuthorized,
            Unready::NoProducerId(code) => ReadyError::NoProducerId { within, code: code.map(Into::into) },
        }
    }
}

fn faults(told: &[(Address, fault::AddressFault)], clock: &Clock) -> Vec<AddressFault> {
    told.iter().map(|(address, fault)| AddressFault::new(clock, address, fault)).collect()
}
