//! The connection of a lane: how it comes, what its end means for what was sent on it, and when its silence is suspicious.

use bytes::BytesMut;

use super::{AttemptKey, Lane, LaneEvent, LaneReport, StrayAnswer};
use crate::connection::{Connection, ConnectionError};
use crate::ids::{PartitionId, PartitionIndex};
use crate::producer::back::{Ticket, TopicRef, Word};
use crate::time::Moment;

/// What of a request is remembered until its answer.
#[derive(Debug)]
pub(super) enum Flight {
    /// Batches.
    Batches(Vec<Attempt>),
    /// Where these logs end.
    Ends(Vec<Asked>),
    /// What stands in this one.
    Log(Asked),
}

impl Flight {
    /// The batches, if it carries any.
    pub(super) fn attempts(&self) -> &[Attempt] {
        if let Self::Batches(attempts) = self { attempts } else { &[] }
    }

    /// The questions, if it asks any.
    pub(super) fn questions(&self) -> &[Asked] {
        match self {
            Self::Batches(_) => &[],
            Self::Ends(asked) => asked,
            Self::Log(asked) => std::slice::from_ref(asked),
        }
    }
}

/// A partition's question.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub partition: PartitionId,
    pub topic: TopicRef,
    pub index: PartitionIndex,
    pub ticket: Ticket,
}

/// A batch in a request.
#[derive(Debug)]
pub(super) struct Attempt {
    pub partition: PartitionId,
    pub topic: TopicRef,
    pub index: PartitionIndex,
    pub key: AttemptKey,
}

/// How far the way to the broker is.
#[derive(Debug)]
pub(super) enum Link {
    Down { retry_at: Moment },
    Dialing,
    Up(Box<Connection<Flight>>),
}

impl Lane {
    /// Whether the owner must dial now; once per attempt.
    pub fn poll_dial(&mut self, now: Moment) -> bool {
        let is_due = matches!(self.link, Link::Down { retry_at } if retry_at <= now) && !self.partitions.is_empty();
        if is_due {
            self.link = Link::Dialing;
        }
        is_due
    }

    /// The socket is open.
    pub fn handle_connected(&mut self, now: Moment) {
        assert!(
            matches!(self.link, Link::Dialing),
            "a socket opens after a dial, and attempts on another would be lost"
        );
        self.link = Link::Up(Box::new(Connection::new(self.config.connection.clone(), now)));
    }

    /// The socket could not be opened, or is closed, for this reason.
    pub fn handle_disconnected(&mut self, now: Moment, error: ConnectionError) {
        if matches!(self.link, Link::Down { .. }) {
            return;
        }
        self.is_connected = false;
        self.failures += 1;
        self.suspects_at = None;
        self.pace.forget_oldest();
        self.throttle_ends = None;
        let retry_at = now + self.config.reconnect.after(self.failures, &mut self.chance);
        self.report(LaneReport::NeedsMetadata(None));
        let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Down { retry_at }) else {
            return self.tell_end(error);
        };
        self.tell_end(connection.explain(error));
        self.lose_unanswered(now, *connection);
    }

    /// The owner has closed the socket because the producer ends: what is not answered stays so, and that is nobody's trouble.
    pub fn hang_up(&mut self, now: Moment) {
        if let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Down { retry_at: Moment::NEVER }) {
            self.lose_unanswered(now, *connection);
        }
    }

    fn lose_unanswered(&mut self, now: Moment, connection: Connection<Flight>) {
        for unanswered in connection.close() {
            for attempt in unanswered.purpose.attempts() {
                self.lose_attempt(now, attempt, unanswered.was_all_written);
            }
            self.lose_questions(now, unanswered.purpose.questions());
        }
    }

    /// The broker is at another address now: whatever connection there is leads to the wrong place, and the next dial, to the
    /// right one, waits for nothing.
    pub fn redial(&mut self, now: Moment) {
        self.handle_disconnected(now, ConnectionError::Moved);
        self.failures = 0;
        self.link = Link::Down { retry_at: now };
    }

    /// Whether answers may still come; strays too (rule 7).
    pub fn has_unanswered(&self) -> bool {
        matches!(&self.link, Link::Up(connection) if connection.in_flight() > 0)
    }

    pub(super) fn lose_attempt(&mut self, now: Moment, attempt: &Attempt, was_all_written: bool) {
        let Some(held) = self.partitions.get_mut(&attempt.partition) else {
            let stray = StrayAnswer { key: attempt.key, word: Word::of_loss(was_all_written) };
            return self.report(LaneReport::Stray(attempt.partition, stray));
        };
        let mut ended = Vec::new();
        let lost = held.back.handle_attempt_lost(now, attempt.key, was_all_written, &mut self.chance, &mut ended);
        self.publish(attempt.partition, ended);
        self.act(attempt.partition, lost);
    }

    /// Also to the records that wait: it is what they wait for.
    fn tell_end(&mut self, error: ConnectionError) {
        for held in self.partitions.values() {
            held.back.trouble().note(Some(self.id.node), error.attempt_error());
        }
        self.events.push_back(LaneEvent::Disconnected(error.clone()));
        self.report(LaneReport::Disconnected(error));
    }

    /// So many more bytes were handed to the kernel.
    pub fn handle_written(&mut self, bytes: usize) {
        let Link::Up(connection) = &mut self.link else { return };
        connection.handle_written(bytes);
        while let Link::Up(connection) = &mut self.link
            && let Some(flight) = connection.poll_handed_over()
        {
            for attempt in flight.attempts() {
                self.tell_back(attempt.partition, |back, ended| {
                    // It is all that will ever be known to go well.
                    back.trouble().clear();
                    back.handle_handed_over(attempt.key, ended);
                });
            }
        }
    }

    /// Where the socket may read to; followed by [`Self::handle_read`].
    pub fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        if let Link::Up(connection) = &mut self.link { Some(connection.read_buffer()) } else { None }
    }

    /// A request that takes longer than the broker may wait for its followers: whoever leads now is worth asking, again and
    /// again, because a frozen leader never says that it leads no more (rule 7).
    pub(super) fn suspect(&mut self, now: Moment) {
        let Link::Up(connection) = &self.link else { return };
        let patience = self.config.produce_timeout;
        match (connection.waits_since(), self.suspects_at) {
            (None, _) => self.suspects_at = None,
            (Some(_), Some(due)) if due <= now => {
                self.report(LaneReport::NeedsMetadata(None));
                self.suspects_at = Some(now + patience);
            }
            (Some(_), Some(_)) => {}
            (Some(since), None) => self.suspects_at = Some(since + patience),
        }
    }
}
