//! Whether a record could be sent now, and if not, why: as callers see it.
//!
//! Always holds: whoever waits until the producer is ready and whoever is refused a record are told from the same; both
//! on their own threads, so nothing that the driver does delays an answer beyond its deadline (rule 16).
//!
//! Left out: what is known, which the driver tells ([`Outlook::tell`]), and what it means (`Standing::readiness`).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use milena_core::fault;
use milena_core::metadata::Address;
use milena_core::producer::control::{ReadyQuestion, Standing, Unready};
use milena_core::producer::outcome::NotWritten;
use milena_core::time::Moment;
use milena_wire::ErrorCode;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{AddressFault, ReadyError, SendRefused};
use crate::shared::{Command, Shared, TopicShared};
use crate::waiting::Alarm;

/// What the driver told last of who can be reached.
#[derive(Debug)]
pub(crate) struct Outlook {
    standing: watch::Sender<Arc<Standing>>,
    /// The driver was asked to refresh it and has not looked yet; so one who asks in a loop leaves no heap of questions.
    is_asked: AtomicBool,
}

impl Outlook {
    pub(crate) fn new(bootstrap: &[Address]) -> Self {
        let standing = Arc::new(Standing::untried(bootstrap));
        Self { standing: watch::Sender::new(standing), is_asked: AtomicBool::new(false) }
    }

    /// Called by the driver alone, after what it knows of topics has reached them.
    pub(crate) fn tell(&self, standing: Arc<Standing>) {
        self.standing.send_replace(standing);
    }

    /// A topic's standing has changed, or the producer ends.
    pub(crate) fn wake_all(&self) {
        self.standing.send_modify(|_| {});
    }

    /// Called by the driver alone: it is about to refresh what is known.
    pub(crate) fn take_question(&self) {
        self.is_asked.store(false, Ordering::SeqCst);
    }

    fn known(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.borrow())
    }
}

impl Shared {
    /// Waits until a record could be sent, to this topic or at all; at `within` the answer is why not.
    pub(crate) async fn ready(&self, topic: Option<&TopicShared>, within: Duration) -> Result<(), ReadyError> {
        let asked_at = self.clock.moment();
        let due = asked_at + within;
        let mut news = self.outlook.standing.subscribe();
        self.refresh_outlook();
        let mut alarm = Alarm::new(self, due);
        loop {
            if let Some(why) = self.closed() {
                return Err(ReadyError::by_close(why));
            }
            news.mark_unchanged();
            let is_over = due <= self.clock.moment();
            let answer = self.readiness(topic, ReadyQuestion { asked_at, is_over });
            if answer.is_ok() || is_over {
                return answer
                    .map_err(|unready| ReadyError::new(unready, topic.map_or("", |topic| &topic.name), within, self));
            }
            let mut changed = pin!(news.changed());
            std::future::poll_fn(|cx| {
                alarm.set(cx);
                let is_over = due <= self.clock.moment();
                // The sender lives as long as whoever waits here.
                if is_over || changed.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Why a record is refused whose topic's partitions were not known from `asked_at` until now.
    pub(crate) fn why_no_partitions(&self, topic: &TopicShared, asked_at: Moment) -> SendRefused {
        if let Some(why) = self.closed() {
            return SendRefused::by_close(why);
        }
        match self.readiness(Some(topic), ReadyQuestion { asked_at, is_over: true }) {
            Err(unready) => SendRefused::new(unready, self),
            // They have just come.
            Ok(()) => SendRefused::MetadataPending,
        }
    }

    fn readiness(&self, topic: Option<&TopicShared>, question: ReadyQuestion) -> Result<(), Unready> {
        let standing = self.outlook.known();
        let topic = topic.map(TopicShared::standing);
        standing.readiness(self.clock.moment(), question, topic.as_ref())
    }

    fn refresh_outlook(&self) {
        if !self.outlook.is_asked.swap(true, Ordering::SeqCst) {
            // A driver that has ended has told so.
            let _ = self.commands.send(Command::Refresh);
        }
    }
}

impl ReadyError {
    fn by_close(why: NotWritten) -> Self {
        if why == NotWritten::DriverLost { Self::DriverLost } else { Self::Closed }
    }

    fn new(unready: Unready, topic: &str, within: Duration, shared: &Shared) -> Self {
        let topic = topic.to_owned();
        match unready {
            Unready::Unreachable(told) => Self::Unreachable { within, faults: faults(&told, &shared.clock) },
            Unready::TopicPending => Self::TopicPending { topic, within },
            Unready::TopicRefused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                Self::TopicMissing { topic, creation_asked: shared.asks_for_creation }
            }
            Unready::TopicRefused(ErrorCode::TOPIC_AUTHORIZATION_FAILED) => Self::TopicNotAuthorized { topic },
            Unready::TopicRefused(code) => Self::TopicRefused { topic, code: code.into() },
            Unready::NoLeader => Self::NoLeader { topic, within },
            Unready::LeadersUnreachable(told) => {
                Self::LeadersUnreachable { topic, within, faults: faults(&told, &shared.clock) }
            }
            Unready::NoProducerId(Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)) => Self::ClusterNotAuthorized,
            Unready::NoProducerId(code) => Self::NoProducerId { within, code: code.map(Into::into) },
        }
    }
}

impl SendRefused {
    /// Of a record whose topic's partitions are not known.
    fn new(unready: Unready, shared: &Shared) -> Self {
        match unready {
            Unready::Unreachable(told) => Self::Unreachable { faults: faults(&told, &shared.clock) },
            Unready::TopicRefused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                Self::TopicMissing { creation_asked: shared.asks_for_creation }
            }
            Unready::TopicRefused(ErrorCode::TOPIC_AUTHORIZATION_FAILED) => Self::TopicNotAuthorized,
            Unready::TopicRefused(code) => Self::TopicRefused(code.into()),
            // Of the last three the partitions must be known; they have just come.
            Unready::TopicPending | Unready::NoLeader | Unready::LeadersUnreachable(_) | Unready::NoProducerId(_) => {
                Self::MetadataPending
            }
        }
    }
}

fn faults<T: FromIterator<AddressFault>>(told: &[(Address, fault::AddressFault)], clock: &Clock) -> T {
    told.iter().map(|(address, fault)| AddressFault::new(clock, address, fault)).collect()
}
