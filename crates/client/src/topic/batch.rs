//! Many records in one call: one look at the clock, and one lock for as many as go to the same partition one after the other.
//!
//! Always holds: records are accepted in their order, and the first that is refused ends the call, so that none overtakes
//! one that was refused.

use std::fmt;

use milena_core::producer::completion::Delivery;
use milena_core::producer::front::WhenFull;
use milena_core::time::Now;

use super::Topic;
use super::accepting::{Rights, size_of_record};
use super::calls::Call;
use crate::error::SendError;
use crate::record::Record;
use crate::waiting::Refused;

impl Topic {
    /// Accepts records in their order, as [`Self::send`] does with each, for less: one look at the clock, and one lock for as
    /// many as go to the same partition one after the other. Every deadline counts from this call.
    ///
    /// The first record that is refused ends the call; the error has the handles of those before it, and gives that record
    /// and those behind it back.
    ///
    /// Dropping this future before it resolves leaves what was accepted until then accepted; it is delivered, and its
    /// handles are lost. The others are not sent.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let deliveries = match orders.send_batch(["4 tea", "1 coffee"]).await {
    ///     Ok(deliveries) => deliveries,
    ///     Err(error) => {
    ///         eprintln!("{error}");
    ///         error.into_parts().0
    ///     }
    /// };
    /// for delivery in deliveries {
    ///     println!("{:?}", delivery.await);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_batch<'a, R: Into<Record<'a>>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Delivery>, SendBatchError<'a>> {
        let mut batch = Batch::new(self, records.into_iter().map(Into::into));
        while let Some((record, refused)) = batch.accept() {
            if !refused.is_full() && !refused.is_pending() {
                return Err(batch.end(record, refused));
            }
            let call = batch.call.until(record.own_deadline());
            let offer = self.offer(&record, call.record(&record));
            let attempt = |now, rights| self.attempt_to_send(now, offer, rights);
            match self.in_turn(call, offer.aim, refused, attempt).await {
                Ok(delivery) => batch.resume(delivery),
                Err(why) => return Err(batch.end(record, why.into())),
            }
        }
        Ok(batch.accepted)
    }

    /// As [`Self::send_batch`], and never waits: where there is no room, or the topic's partitions are not known yet, the call
    /// ends.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// match orders.try_send_batch([("table 7", "4 tea"), ("table 8", "1 coffee")]) {
    ///     Ok(deliveries) => println!("{} are on their way", deliveries.len()),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    pub fn try_send_batch<'a, R: Into<Record<'a>>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Delivery>, SendBatchError<'a>> {
        let mut batch = Batch::new(self, records.into_iter().map(Into::into));
        match batch.accept() {
            Some((record, refused)) => Err(batch.end(record, refused)),
            None => Ok(batch.accepted),
        }
    }
}

/// A call that is under way.
struct Batch<'t, I> {
    topic: &'t Topic,
    records: I,
    call: Call,
    now: Now,
    accepted: Vec<Delivery>,
}

impl<'t, 'a, I: Iterator<Item = Record<'a>>> Batch<'t, I> {
    fn new(topic: &'t Topic, records: I) -> Self {
        let now = topic.shared().clock.now();
        let call = Call::new(now.moment, topic.shared().front.deadline);
        let accepted = Vec::with_capacity(records.size_hint().0.min(EXPECTED_MAX));
        Self { topic, records, call, now, accepted }
    }

    /// Until a record is refused.
    fn accept(&mut self) -> Option<(Record<'a>, Refused)> {
        let mut next = self.records.next();
        while let Some(record) = next {
            let offer = self.topic.offer(&record, self.call.record(&record));
            match self.topic.attempt_to_send(self.now, offer, Rights::None) {
                Ok(delivery) => self.accepted.push(delivery),
                Err(refused) => return Some((record, refused)),
            }
            next = self.accept_run();
        }
        None
    }

    /// Those that go where the next one goes, under one lock. Gives the first one that may go elsewhere, or be refused.
    fn accept_run(&mut self) -> Option<Record<'a>> {
        let first = self.records.next()?;
        let Some((slot, when_full)) = self.topic.run_of(self.now, &first) else { return Some(first) };
        let pool = &self.topic.shared().pool;
        slot.append_run(|run| {
            let mut next = first;
            for _ in 0..RUN_MAX {
                // Who waits must not be overtaken; the way for single records looks whom it would be.
                let is_here = self.topic.run_of(self.now, &next).is_some_and(|(same, _)| same.id() == slot.id());
                if !is_here || self.topic.somebody_waits() || run.has_sealed() {
                    return Some(next);
                }
                let record = self.call.record(&next);
                let taken = run.append(self.now, &**pool, record, when_full, |new| new.delivery());
                match taken {
                    Ok(delivery) => {
                        if when_full == WhenFull::Refuse {
                            self.topic.sticky().count(size_of_record(&record));
                        }
                        self.accepted.push(delivery);
                    }
                    // It left no trace, and is refused again or accepted elsewhere.
                    Err(_) => return Some(next),
                }
                next = self.records.next()?;
            }
            Some(next)
        })
    }

    /// After a record that has waited.
    fn resume(&mut self, delivery: Delivery) {
        self.accepted.push(delivery);
        self.now = self.topic.shared().clock.now();
    }

    fn end(self, record: Record<'a>, refused: Refused) -> SendBatchError<'a> {
        let reason = self.topic.explain(refused.why, self.call.called);
        let error = SendError::new(&self.topic.shared.name, reason, record);
        SendBatchError { accepted: self.accepted, error, rest: self.records.collect() }
    }
}

/// Records under one lock: a tenth of a millisecond of small ones, for which others of the partition wait.
const RUN_MAX: usize = 1000;

/// Handles that memory is taken for at once, whatever an iterator says of its length.
const EXPECTED_MAX: usize = 16 * 1024;

/// Why [`Topic::send_batch`] stopped, and what became of every record: those before it were accepted, and it and those
/// behind it were not.
///
/// ```
/// # fn example(orders: milena::Topic) {
/// if let Err(stopped) = orders.try_send_batch(["4 tea", "1 coffee"]) {
///     let (accepted, refused, rest) = stopped.into_parts();
///     println!("{refused}: {} are sent, {} are left", accepted.len(), rest.len() + 1);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct SendBatchError<'a> {
    accepted: Vec<Delivery>,
    error: SendError<'a>,
    rest: Vec<Record<'a>>,
}

impl<'a> SendBatchError<'a> {
    /// Why the first record that was refused was.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// if let Err(stopped) = orders.try_send_batch(["4 tea", "1 coffee"]) {
    ///     println!("may be tried again: {}", stopped.error().is_retriable());
    /// }
    /// # }
    /// ```
    pub fn error(&self) -> &SendError<'a> {
        &self.error
    }

    /// How many were accepted before it.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) {
    /// if let Err(stopped) = orders.try_send_batch(["4 tea", "1 coffee"]) {
    ///     println!("{} are on their way", stopped.accepted_count());
    /// }
    /// # }
    /// ```
    pub fn accepted_count(&self) -> usize {
        self.accepted.len()
    }

    /// The handles of those that were accepted, the error with the record that was refused, and the records behind it.
    ///
    /// ```
    /// # async fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Err(stopped) = orders.try_send_batch(["4 tea", "1 coffee"]) {
    ///     let (accepted, refused, rest) = stopped.into_parts();
    ///     let again = std::iter::once(refused.into_record()).chain(rest);
    ///     let later = orders.send_batch(again).await.map_err(|stopped| stopped.to_string())?;
    ///     println!("{} at once, {} later", accepted.len(), later.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_parts(self) -> (Vec<Delivery>, SendError<'a>, Vec<Record<'a>>) {
        (self.accepted, self.error, self.rest)
    }
}

impl fmt::Display for SendBatchError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, rest) = (self.accepted.len(), self.rest.len());
        write!(f, "{} ({accepted} records before it were accepted, {rest} behind it were not)", self.error)
    }
}

impl std::error::Error for SendBatchError<'_> {}
