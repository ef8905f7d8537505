//! Which faults a request meets, and what they make of it together.

use std::time::Duration;

use bytes::Bytes;
use milena_wire::{ApiKey, ErrorCode};

use super::{Effect, FaultEntry, FaultId, Faults};
use crate::api::{Part, RequestHead, Told};
use crate::ids::NodeId;
use crate::moment::Moment;

/// A request, as faults look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) api: ApiKey,
    pub(crate) node: NodeId,
    pub(crate) client: Option<&'a str>,
    /// The topics and partitions that it names.
    pub(crate) parts: &'a [Part],
}

/// How a connection ends, or stops being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    CloseBefore,
    CloseAfter,
    LoseAnswer,
    Cut(usize),
}

/// An error that part of a request, or a request that names no parts, is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    /// Whether it is executed first.
    pub(crate) executed: bool,
}

/// How late an answer is, and the fault that wants it: the answer goes out once that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) fault: FaultId,
    pub(crate) time: Duration,
}

/// An answer while it is late.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The fault that holds it.
    pub(crate) fault: FaultId,
    /// When it goes out.
    pub(crate) until: Duration,
    /// None where there is none to give (acks=0): then only the connection is muted.
    pub(crate) answer: Option<Bytes>,
}

/// What faults make of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) throttle: Option<Duration>,
    pub(crate) delay: Option<Delay>,
    pub(crate) ending: Option<Ending>,
    /// For each part of the request, or for the one that a request without parts is.
    pub(crate) refused: Vec<Option<Refused>>,
}

/// What is still to be done to the answer of a request.
#[derive(Clone, Debug)]
pub(crate) struct Aftermath {
    pub(crate) api: ApiKey,
    pub(crate) head: RequestHead,
    /// Taken when the answer is there, and is held then.
    pub(crate) delay: Option<Delay>,
    pub(crate) ending: Option<Ending>,
    /// What the answer says of which part.
    pub(crate) told: Vec<Told>,
    /// Set while the answer is late.
    pub(crate) held: Option<Held>,
}

impl Faults {
    /// Whether a request can meet any, so that nobody looks into requests without need.
    pub(crate) fn are_in_force(&self, now: Moment) -> bool {
        self.entries.values().any(|entry| entry.is_in_force(now.elapsed))
    }

    /// Decides, and counts. A request hits a fault once, however many of its parts do.
    pub(crate) fn strike(&mut self, now: Moment, request: Request<'_>) -> Strike {
        let mut strike = Strike { refused: vec![None; request.parts.len().max(1)], ..Strike::default() };
        for entry in self.entries.values_mut().filter(|entry| entry.is_in_force(now.elapsed)) {
            let fitting = fitting_parts(entry, request);
            if !fitting.iter().any(|fits| *fits) || !strike.has_room(entry.fault.effect, &fitting) || !entry.take() {
                continue;
            }
            self.hits += 1;
            self.news += 1;
            strike.meet(entry, &fitting);
        }
        strike
    }
}

impl Strike {
    /// Whether this effect would change anything beside those of the faults before it.
    fn has_room(&self, effect: Effect, fitting: &[bool]) -> bool {
        match effect {
            Effect::Throttle(_) => self.throttle.is_none(),
            Effect::Delay(_) => self.delay.is_none(),
            Effect::CloseBefore | Effect::CloseAfter | Effect::LoseAnswer | Effect::Cut(_) => self.ending.is_none(),
            Effect::Refuse(_) | Effect::RefuseAfter(_) => {
                self.refused.iter().zip(fitting).any(|(refused, fits)| *fits && refused.is_none())
            }
        }
    }

    fn meet(&mut self, entry: &FaultEntry, fitting: &[bool]) {
        match entry.fault.effect {
            Effect::Throttle(time) => self.throttle = Some(time),
            Effect::Delay(time) => self.delay = Some(Delay { fault: entry.id, time }),
            Effect::CloseBefore => self.ending = Some(Ending::CloseBefore),
            Effect::CloseAfter => self.ending = Some(Ending::CloseAfter),
            Effect::LoseAnswer => self.ending = Some(Ending::LoseAnswer),
            Effect::Cut(bytes) => self.ending = Some(Ending::Cut(bytes)),
            Effect::Refuse(code) => self.refuse(Refused { code, executed: false }, fitting),
            Effect::RefuseAfter(code) => self.refuse(Refused { code, executed: true }, fitting),
        }
    }

    fn refuse(&mut self, how: Refused, fitting: &[bool]) {
        for (refused, _) in self.refused.iter_mut().zip(fitting).filter(|(_, fits)| **fits) {
            refused.get_or_insert(how);
        }
    }
}

/// For each part of the request, or for the one that a request without parts is.
fn fitting_parts(entry: &FaultEntry, request: Request<'_>) -> Vec<bool> {
    let fault = &entry.fault;
    let fits = fault.api.is_none_or(|api| api == request.api)
        && fault.node.is_none_or(|node| node == request.node)
        && fault.client.as_deref().is_none_or(|client| Some(client) == request.client);
    if request.parts.is_empty() {
        return vec![fits && fault.topic.is_none() && fault.partition.is_none()];
    }
    let part_fits = |part: &Part| {
        fault.topic.as_deref().is_none_or(|topic| topic == &*part.topic)
            && fault.partition.is_none_or(|index| part.partition.is_none_or(|of| of == index))
    };
    request.parts.iter().map(|part| fits && part_fits(part)).collect()
}
