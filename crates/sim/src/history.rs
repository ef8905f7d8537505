//! What was observed from outside: every record, what its caller was told and when, and every attempt that carried it.
//!
//! Records are told through the real futures: each is polled once, and again only when its waker was called, so a lost
//! wake-up shows as a record nobody was told about.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use milena_core::producer::completion::{Delivery, Fate};
use milena_core::producer::outcome::{NotWritten, Outcome, Settlement, Written};
use milena_core::time::Moment;
use milena_wire::ErrorCode;

/// A record of the workload, in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId(pub(crate) u32);

/// A batch on its way in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptId(pub(crate) u32);

/// A partition by the place of its topic in the scenario, and its number.
pub(crate) type Place = (usize, i32);

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
    pub(crate) timestamp: Option<i64>,
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
    NotWritten(NotWritten),
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

/// One batch in one request, as the network saw it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) place: Place,
    /// Its first record, by which a resent batch is known again.
    pub(crate) first: Option<RecordId>,
    pub(crate) handed_at: Moment,
    pub(crate) state: AttemptState,
    /// Its connection lives and has not answered.
    is_on_wire: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptState {
    /// Handed over; nothing more is known.
    Sent,
    /// The connection ended before the kernel had every byte.
    CutShort,
    /// The broker answered so; the answer has not reached the client, and may never.
    Answered { code: ErrorCode, base_offset: i64 },
    /// The answer reached the client.
    Told { code: ErrorCode, base_offset: i64, at: Moment },
}

type Bell = Arc<Mutex<Vec<Rung>>>;

#[derive(Clone, Copy, Debug)]
enum Rung {
    Delivery(RecordId),
    Fate(RecordId),
}

#[derive(Debug)]
struct Clapper {
    what: Rung,
    bell: Bell,
}

impl Wake for Clapper {
    fn wake(self: Arc<Self>) {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).push(self.what);
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) records: Vec<Record>,
    pub(crate) attempts: Vec<Attempt>,
    /// Rules broken in a way that shows at once.
    pub(crate) faults_seen: Vec<String>,
    /// Going on makes no sense.
    pub(crate) is_hopeless: bool,
    pub(crate) refused_by_buffer: u64,
    /// The most batches of one partition that were on the wire at once.
    pub(crate) deepest: usize,
    on_wire: BTreeMap<Place, Vec<AttemptId>>,
    acceptances: u64,
    /// Callers that were not told yet.
    waiting: u64,
    deliveries: Vec<Option<Delivery>>,
    fates: Vec<Option<Fate>>,
    bell: Bell,
}

impl History {
    pub(crate) fn plan(&mut self, topic: usize, content: Content, via: Via) -> RecordId {
        let id = RecordId(self.records.len() as u32);
        self.records.push(Record {
            topic,
            content,
            via,
            acceptance: None,
            cancelled_at: None,
            outcome: None,
            settlement: None,
            reports: 0,
            attempts: Vec::new(),
        });
        self.deliveries.push(None);
        self.fates.push(None);
        id
    }

    pub(crate) fn record(&mut self, id: RecordId) -> &mut Record {
        &mut self.records[id.0 as usize]
    }

    pub(crate) fn accepted(&mut self, id: RecordId, acceptance: Acceptance, delivery: Option<Delivery>) {
        let number = self.acceptances;
        self.acceptances += 1;
        let via = self.record(id).via;
        self.record(id).acceptance = Some(Acceptance { number, ..acceptance });
        self.waiting += u64::from(via != Via::Nobody);
        match via {
            Via::Await => {
                self.deliveries[id.0 as usize] = delivery;
                self.poll_delivery(id, acceptance.at);
            }
            Via::Look => self.deliveries[id.0 as usize] = delivery,
            Via::Post | Via::Nobody => {}
        }
    }

    /// The delivery of a record that can be cancelled.
    pub(crate) fn delivery(&self, id: RecordId) -> Option<&Delivery> {
        self.deliveries[id.0 as usize].as_ref()
    }

    /// A posted record's report.
    pub(crate) fn reported(&mut self, tag: u64, outcome: Option<Outcome>, now: Moment) {
        let Some(outcome) = outcome else { return self.fault(format!("report {tag} came without an outcome")) };
        let Some(id) = u32::try_from(tag).ok().map(RecordId).filter(|id| (id.0 as usize) < self.records.len()) else {
            return self.fault(format!("report for a tag {tag} that nobody posted"));
        };
        let record = self.record(id);
        record.reports += 1;
        if record.reports > 1 || record.via != Via::Post {
            return self.fault(format!("record {} was reported once too often", id.0));
        }
        self.told(id, outcome, now);
    }

    fn told(&mut self, id: RecordId, outcome: Outcome, now: Moment) {
        let told = match outcome {
            Outcome::Written(at) => Told::Written(at),
            Outcome::NotWritten(why) => Told::NotWritten(why.reason),
            Outcome::Unknown(fate) => {
                self.fates[id.0 as usize] = Some(fate);
                Told::Unknown
            }
        };
        self.record(id).outcome = Some((now, told));
        self.waiting -= 1;
        self.poll_fate(id, now);
    }

    fn poll_delivery(&mut self, id: RecordId, now: Moment) {
        let Some(delivery) = &mut self.deliveries[id.0 as usize] else { return };
        let waker = waker(Rung::Delivery(id), &self.bell);
        if let Poll::Ready(outcome) = Pin::new(delivery).poll(&mut Context::from_waker(&waker)) {
            self.deliveries[id.0 as usize] = None;
            self.told(id, outcome, now);
        }
    }

    fn poll_fate(&mut self, id: RecordId, now: Moment) {
        let Some(fate) = &mut self.fates[id.0 as usize] else { return };
        let waker = waker(Rung::Fate(id), &self.bell);
        if let Poll::Ready(settlement) = Pin::new(fate).poll(&mut Context::from_waker(&waker)) {
            self.fates[id.0 as usize] = None;
            self.record(id).settlement = Some((now, settlement));
        }
    }

    /// Polls what was woken. Says how many were told something.
    pub(crate) fn answer_bells(&mut self, now: Moment) {
        loop {
            let rung = std::mem::take(&mut *self.bell.lock().unwrap_or_else(PoisonError::into_inner));
            if rung.is_empty() {
                return;
            }
            for what in rung {
                match what {
                    Rung::Delivery(id) => self.poll_delivery(id, now),
                    Rung::Fate(id) => self.poll_fate(id, now),
                }
            }
        }
    }

    /// Those who only look now and then look now.
    pub(crate) fn look(&mut self, now: Moment) {
        for number in 0..self.records.len() {
            let id = RecordId(number as u32);
            if self.records[number].via == Via::Look
                && let Some(outcome) = self.deliveries[number].as_ref().and_then(Delivery::try_outcome)
            {
                self.deliveries[number] = None;
                self.told(id, outcome, now);
            }
        }
    }

    /// Whether everybody who waits for an outcome or a fate was told.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting == 0 && self.fates.iter().all(Option::is_none)
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.faults_seen.push(what);
    }

    /// A fault after which the run ends at once.
    pub(crate) fn give_up(&mut self, what: String) {
        self.is_hopeless = true;
        self.fault(what);
    }

    pub(crate) fn handed(&mut self, now: Moment, place: Place, records: &[RecordId]) -> AttemptId {
        let id = AttemptId(self.attempts.len() as u32);
        self.attempts.push(Attempt {
            place,
            first: records.first().copied(),
            handed_at: now,
            state: AttemptState::Sent,
            is_on_wire: true,
        });
        let on_wire = self.on_wire.entry(place).or_default();
        on_wire.push(id);
        on_wire.retain(|id| self.attempts[id.0 as usize].is_on_wire);
        self.deepest = self.deepest.max(on_wire.len());
        for record in records {
            self.record(*record).attempts.push(id);
        }
        id
    }

    /// The client was told, or its connection is gone.
    pub(crate) fn off_wire(&mut self, id: AttemptId, state: Option<AttemptState>) {
        let attempt = self.attempt(id);
        attempt.is_on_wire = false;
        attempt.state = state.unwrap_or(attempt.state);
    }

    pub(crate) fn attempt(&mut self, id: AttemptId) -> &mut Attempt {
        &mut self.attempts[id.0 as usize]
    }
}

fn waker(what: Rung, bell: &Bell) -> Waker {
    Waker::from(Arc::new(Clapper { what, bell: Arc::clone(bell) }))
}
