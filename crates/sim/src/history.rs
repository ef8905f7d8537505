//! What was observed from outside: every record, what its caller was told and when, and every attempt that carried it.
//!
//! Records are told through the real futures: each is polled once, and again only when its waker was called, so a lost
//! wake-up shows as a record nobody was told about.

mod attempts;
mod records;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use milena_core::producer::completion::{Delivery, Fate};
use milena_core::producer::outcome::Outcome;
use milena_core::time::Moment;

use crate::coverage::Taken;
use crate::request::Leading;

pub(crate) use attempts::{Attempt, AttemptId, AttemptState, Attempts, Carried, Road, WireStamp};
pub(crate) use records::{Acceptance, Content, Place, Record, RecordId, Told, Via};

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
    pub(crate) attempts: Attempts,
    /// Rules broken in a way that shows at once.
    pub(crate) wrong: Vec<String>,
    /// Going on makes no sense.
    pub(crate) is_hopeless: bool,
    pub(crate) refused_by_buffer: u64,
    /// Who leads what, as the client was told.
    pub(crate) leaders_told: Vec<(Moment, Leading)>,
    /// Which row of the table each answer took.
    pub(crate) taken: Vec<Taken>,
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
        self.records.push(Record::new(topic, content, via));
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
        let Some(outcome) = outcome else { return self.blame(format!("report {tag} came without an outcome")) };
        let Some(id) = u32::try_from(tag).ok().map(RecordId).filter(|id| (id.0 as usize) < self.records.len()) else {
            return self.blame(format!("report for a tag {tag} that nobody posted"));
        };
        let record = self.record(id);
        record.reports += 1;
        if record.reports > 1 || record.via != Via::Post {
            return self.blame(format!("record {} was reported once too often", id.0));
        }
        self.told(id, outcome, now);
    }

    fn told(&mut self, id: RecordId, outcome: Outcome, now: Moment) {
        let told = match outcome {
            Outcome::Written(at) => Told::Written(at),
            Outcome::NotWritten(why) => Told::NotWritten(why),
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

    pub(crate) fn blame(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// A fault after which the run ends at once.
    pub(crate) fn give_up(&mut self, what: String) {
        self.is_hopeless = true;
        self.blame(what);
    }

    /// A batch is handed to a connection.
    pub(crate) fn handed(&mut self, now: Moment, carried: &Carried, road: Road) -> AttemptId {
        let id = self.attempts.hand_over(now, carried, road);
        for record in &carried.records {
            self.record(*record).attempts.push(id);
        }
        id
    }
}

fn waker(what: Rung, bell: &Bell) -> Waker {
    Waker::from(Arc::new(Clapper { what, bell: Arc::clone(bell) }))
}
