//! Reports of posted records, on a thread of their own: no handler stands between a deadline and a caller (rule 16 of
//! the design: a blocking handler must not delay a release).
//!
//! Always holds: every posted record is reported exactly once; the memory of a batch goes back after the
//! reports of its end, so unread reports slow down who posts. Reports of records that were released at their deadline are
//! counted themselves until they are read, so that a slow handler cannot pile them up while brokers are away.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use milena_core::producer::body::Body;
use milena_core::producer::completion::{BatchCompletion, Posted};
use milena_core::producer::outcome::Outcome;
use tokio::sync::mpsc;

use crate::pool::ChunkPool;
use crate::slot::PartitionSlot;

/// What became of a posted record.
///
/// ```
/// # async fn example(mut deliveries: milena::Deliveries) {
/// while let Some(report) = deliveries.next().await {
///     println!("{} {}: {:?}", report.topic(), report.tag(), report.outcome());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct DeliveryReport<'a> {
    topic: TopicName<'a>,
    tag: u64,
    outcome: Outcome,
}

/// Borrowed for a handler, kept in a stream.
#[derive(Debug)]
enum TopicName<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl DeliveryReport<'_> {
    /// The record's topic.
    ///
    /// ```
    /// # async fn example(mut deliveries: milena::Deliveries) {
    /// if let Some(report) = deliveries.next().await {
    ///     println!("a record of {}", report.topic());
    /// }
    /// # }
    /// ```
    pub fn topic(&self) -> &str {
        match &self.topic {
            TopicName::Borrowed(name) => name,
            TopicName::Shared(name) => name,
        }
    }

    /// The number the caller gave with [`crate::Record::tag`].
    ///
    /// ```
    /// # async fn example(mut deliveries: milena::Deliveries) {
    /// if let Some(report) = deliveries.next().await {
    ///     println!("record {}", report.tag());
    /// }
    /// # }
    /// ```
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// Its outcome; an `Unknown` one holds the fate, which may be cloned and awaited elsewhere.
    ///
    /// ```
    /// # async fn example(mut deliveries: milena::Deliveries) {
    /// if let Some(report) = deliveries.next().await {
    ///     println!("{:?}", report.outcome());
    /// }
    /// # }
    /// ```
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Its outcome, to be kept.
    ///
    /// ```
    /// # async fn example(mut deliveries: milena::Deliveries) {
    /// use milena::Outcome;
    ///
    /// if let Some(report) = deliveries.next().await
    ///     && let Outcome::Unknown(fate) = report.into_outcome()
    /// {
    ///     println!("{:?}", fate.await);
    /// }
    /// # }
    /// ```
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }
}

pub(crate) type Handler = Arc<dyn Fn(&DeliveryReport<'_>) + Send + Sync>;

/// Who gets the reports.
#[derive(Clone)]
pub(crate) enum ReportReader {
    /// Called for each.
    Handler(Handler),
    /// Reads them when it likes.
    Stream(mpsc::Sender<DeliveryReport<'static>>),
}

/// Some posted records of one batch.
#[derive(Debug)]
pub(crate) struct ReportSlice {
    pub(crate) slot: Arc<PartitionSlot>,
    pub(crate) completion: Arc<BatchCompletion>,
    pub(crate) posted: Vec<Posted>,
    pub(crate) holds: Holds,
}

/// What is counted against `buffer_memory` until a slice is reported.
#[derive(Debug)]
pub(crate) enum Holds {
    /// The memory of a batch that has ended, unless a request that is still being written holds it.
    Batch(Option<Body>),
    /// The slice itself: its batch's memory is needed for the next attempt, or was given back.
    Slice,
}

/// What a slice needs beside its records: its place in the queue, and a part of its batch's completion.
const SLICE_BYTES: usize = 512;

impl ReportSlice {
    fn own_bytes(&self) -> usize {
        SLICE_BYTES + self.posted.len() * size_of::<Posted>()
    }
}

/// The driver's end: hands slices to the reporting thread, or, without a reader, only gives memory back.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pool: Arc<ChunkPool>,
    slices: Option<Sender<ReportSlice>>,
}

impl Reporter {
    /// The reporter, and the work for its thread if somebody reads.
    pub(crate) fn new(pool: Arc<ChunkPool>, reader: Option<ReportReader>) -> (Self, Option<ReportWork>) {
        let Some(reader) = reader else { return (Self { pool, slices: None }, None) };
        let (slices, receiver) = channel();
        let work = ReportWork { pool: Arc::clone(&pool), reader, slices: receiver };
        (Self { pool, slices: Some(slices) }, Some(work))
    }

    pub(crate) fn report(&self, slice: ReportSlice) {
        match &self.slices {
            Some(slices) if !slice.posted.is_empty() => {
                if let Holds::Slice = slice.holds {
                    self.pool.hold(slice.own_bytes());
                }
                // The thread ends only after every reporter is gone.
                if let Err(returned) = slices.send(slice) {
                    give_back(&self.pool, returned.0);
                }
            }
            _ => {
                if let Holds::Batch(Some(body)) = slice.holds {
                    body.give_back(&*self.pool);
                }
            }
        }
    }
}

/// What the reporting thread does.
pub(crate) struct ReportWork {
    pool: Arc<ChunkPool>,
    reader: ReportReader,
    slices: Receiver<ReportSlice>,
}

impl ReportWork {
    /// Until the last [`Reporter`] is gone.
    pub(crate) fn run(self) {
        for slice in &self.slices {
            // Nearly always all of them were written, which one look tells.
            let written = slice.completion.written_batch();
            for Posted { index, tag } in &slice.posted {
                let outcome = written.and_then(|written| written.outcome(*index));
                let outcome = outcome.or_else(|| slice.completion.outcome(*index));
                self.report(&slice, *tag, outcome.expect("only released or ended records are reported"));
            }
            give_back(&self.pool, slice);
        }
    }

    /// A handler that panics loses its own report and no other; the panic hook has told of it. A full stream is waited for,
    /// and one that was dropped wants no reports.
    #[inline]
    fn report(&self, slice: &ReportSlice, tag: u64, outcome: Outcome) {
        match &self.reader {
            ReportReader::Handler(handler) => {
                let topic = TopicName::Borrowed(slice.slot.topic_name());
                let report = DeliveryReport { topic, tag, outcome };
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler(&report)));
            }
            ReportReader::Stream(stream) => {
                let topic = TopicName::Shared(Arc::clone(slice.slot.topic_name()));
                let _ = stream.blocking_send(DeliveryReport { topic, tag, outcome });
            }
        }
    }
}

fn give_back(pool: &ChunkPool, slice: ReportSlice) {
    let own_bytes = slice.own_bytes();
    match slice.holds {
        Holds::Slice => pool.let_go(own_bytes),
        Holds::Batch(Some(body)) => body.give_back(pool),
        Holds::Batch(None) => {}
    }
}
