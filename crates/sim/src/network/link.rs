//! One connection: who dialed, where it leads, what is on it in both directions.

use std::collections::VecDeque;

use bytes::Bytes;
use milena_broker::ConnectionId;
use milena_core::ids::NodeId;
use milena_core::time::Moment;
use milena_wire::frame::{FRAME_BYTES_MAX, FrameSplitter};

use super::pipe::Pipe;
use super::{Outgoing, Owner};
use crate::history::{AttemptId, AttemptState};
use crate::memory::Memory;
use crate::request::{Asked, News};
use crate::stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEnd {
    Dialing,
    Open,
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) owner: Owner,
    /// Who was dialed; nobody may listen there.
    pub(super) node: Option<NodeId>,
    pub(super) client: ClientEnd,
    pub(super) broker: Option<ConnectionId>,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// What the kernel has not taken yet, and from where on.
    pub(super) outbox: Option<(Outgoing, usize)>,
    pub(super) stalled_until: Moment,
    /// Requests whose last byte the broker does not have, with where that byte stands; then those it has not served.
    pub(super) asked: VecDeque<(u64, Asked)>,
    pub(super) answered: VecDeque<Answered>,
    pub(super) inbox: FrameSplitter,
    pub(super) frames: VecDeque<Bytes>,
    /// The request that the broker works on.
    pub(super) serving: Option<Asked>,
    pub(super) is_working: bool,
    /// The broker has read the end of the stream.
    pub(super) has_ended: bool,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) end: u64,
    pub(super) news: News,
}

impl Link {
    pub(super) fn new(owner: Owner, node: Option<NodeId>) -> Self {
        Self {
            owner,
            node,
            client: ClientEnd::Dialing,
            broker: None,
            up: Pipe::default(),
            down: Pipe::default(),
            outbox: None,
            stalled_until: Moment::START,
            asked: VecDeque::new(),
            answered: VecDeque::new(),
            inbox: FrameSplitter::new(FRAME_BYTES_MAX),
            frames: VecDeque::new(),
            serving: None,
            is_working: false,
            has_ended: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.client == ClientEnd::Open
    }

    /// Where the last byte stands of all that was asked.
    pub(super) fn asked_end(&self) -> u64 {
        self.asked.back().map_or(self.up.sent, |(end, _)| (*end).max(self.up.sent))
    }

    /// Answers that have arrived whole are told.
    pub(super) fn tell_answered(&mut self, stage: &mut Stage, told: &mut Vec<AttemptId>) {
        let arrived = self.down.limit.map_or(self.down.arrived, |limit| limit.min(self.down.arrived));
        while self.answered.front().is_some_and(|answer| answer.end <= arrived) {
            let answer = self.answered.pop_front().expect("the answer was just seen");
            let at = stage.now;
            stage.history.leaders_told.extend(answer.news.leaders.into_iter().map(|leading| (at, leading)));
            for (attempt, code, base_offset) in answer.news.verdicts {
                told.push(attempt);
                stage.history.attempts.off_wire(at, attempt, Some(AttemptState::Told { code, base_offset, at }));
            }
        }
    }

    /// The client's socket is closed: what the kernel took still goes out, the rest never does.
    pub(super) fn hang_up(&mut self, stage: &mut Stage, memory: &Memory) {
        self.client = ClientEnd::Closed;
        if let Some((frame, _)) = self.outbox.take() {
            frame.end(memory);
        }
        let now = stage.now;
        for (end, asked) in &self.asked {
            let state = (*end > self.up.sent).then_some(AttemptState::CutShort);
            asked.attempts.iter().for_each(|attempt| stage.history.attempts.off_wire(now, *attempt, state));
        }
        let serving = self.serving.iter().flat_map(|asked| asked.attempts.iter().copied());
        let untold =
            self.answered.iter().flat_map(|answered| answered.news.verdicts.iter().map(|(attempt, ..)| *attempt));
        for attempt in serving.chain(untold) {
            stage.history.attempts.off_wire(now, attempt, None);
        }
    }
}
