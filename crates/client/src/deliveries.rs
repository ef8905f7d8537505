//! Reports of posted records as a stream.
//!
//! Always holds: no report is lost while somebody reads; at most `capacity` wait in the stream. The others hold their
//! batches' memory, so whoever posts faster than the reports are read is refused, or waits, for want of `buffer_memory`.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use milena_core::blocking::block_on;
use tokio::sync::mpsc::Receiver;

use crate::report::DeliveryReport;

/// What became of posted records, in a stream: from [`crate::ProducerConfig::deliveries`]. It ends when every producer of its
/// configuration has ended, no clone of the configuration is left, and all is read.
///
/// What is not read is bounded: so many reports as its capacity says wait here, and the batches of the others hold their
/// memory until they are read, so a slow reader slows down who posts, at `buffer_memory`, and no deadline. Dropped, it lets
/// the reports go; records are delivered all the same.
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use milena::{Producer, ProducerConfig};
///
/// let (config, mut deliveries) = ProducerConfig::new("localhost:9092").deliveries(10_000);
/// let producer = Producer::new(config)?;
/// let reader = std::thread::spawn(move || {
///     while let Some(report) = deliveries.blocking_next() {
///         println!("{}: {:?}", report.tag(), report.outcome());
///     }
/// });
/// # let _ = (producer, reader);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Deliveries {
    reports: Receiver<DeliveryReport<'static>>,
}

impl Deliveries {
    pub(crate) fn new(reports: Receiver<DeliveryReport<'static>>) -> Self {
        Self { reports }
    }

    /// The next report; none when the stream has ended. Dropping this future before it resolves loses no report.
    ///
    /// ```
    /// # async fn example(mut deliveries: milena::Deliveries) {
    /// while let Some(report) = deliveries.next().await {
    ///     println!("{}: {:?}", report.tag(), report.outcome());
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<DeliveryReport<'static>> {
        self.reports.recv().await
    }

    /// A report that is here already; none if there is none now, or the stream has ended.
    ///
    /// ```
    /// # fn example(mut deliveries: milena::Deliveries) {
    /// while let Some(report) = deliveries.try_next() {
    ///     println!("{}: {:?}", report.tag(), report.outcome());
    /// }
    /// # }
    /// ```
    pub fn try_next(&mut self) -> Option<DeliveryReport<'static>> {
        self.reports.try_recv().ok()
    }

    /// As [`Self::next`], on this thread.
    ///
    /// ```
    /// # fn example(mut deliveries: milena::Deliveries) {
    /// while let Some(report) = deliveries.blocking_next() {
    ///     println!("{}: {:?}", report.tag(), report.outcome());
    /// }
    /// # }
    /// ```
    pub fn blocking_next(&mut self) -> Option<DeliveryReport<'static>> {
        block_on(self.next())
    }
}

impl Stream for Deliveries {
    type Item = DeliveryReport<'static>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.reports.poll_recv(cx)
    }
}
