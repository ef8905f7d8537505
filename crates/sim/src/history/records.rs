//! The records of the workload: what was made, where it was accepted, and what its caller was told.

use std::time::Duration;

use bytes::Bytes;
use milena_core::producer::front::AfterDeadline;
use milena_core::producer::outcome::{Because, NotWritten, Settlement, Written};
use milena_core::time::Moment;

use super::AttemptId;

/// A record of the workload, in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId(pub(crate) u32);

/// A partition by the place of its topic in the scenario, and its number.
pub(crate) type Place = (usize, i32);

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
    pub(crate) timestamp: Option<i64>,
    /// Its own, if it has one.
    pub(crate) deadline: Option<Duration>,
    /// Its own, if it has one.
    pub(crate) after_deadline: Option<AfterDeadline>,
}

/// How the caller wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Awaits the delivery.
    Await,
    /// Looks at the delivery once, at the end.
    Look,
    /// Posted, with the record's number as the tag.
    Post,
    /// Drops the delivery.
    Nobody,
}

/// What the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Written(Written),
    NotWritten(Because<NotWritten>),
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) topic: usize,
    pub(crate) content: Content,
    pub(crate) via: Via,
    pub(crate) acceptance: Option<Acceptance>,
    pub(crate) cancelled_at: Option<Moment>,
    pub(crate) outcome: Option<(Moment, Told)>,
    pub(crate) settlement: Option<(Moment, Settlement)>,
    pub(crate) reports: u32,
    pub(crate) attempts: Vec<AttemptId>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Acceptance {
    pub(crate) place: Place,
    pub(crate) at: Moment,
    pub(crate) due: Moment,
    /// Counts all acceptances.
    pub(crate) number: u64,
    /// Its timestamp, own or the clock's.
    pub(crate) timestamp: i64,
}

impl Record {
    pub(super) fn new(topic: usize, content: Content, via: Via) -> Self {
        Self {
            topic,
            content,
            via,
            acceptance: None,
            cancelled_at: None,
            outcome: None,
            settlement: None,
            reports: 0,
            attempts: Vec::new(),
        }
    }
}
