//! For programs without a runtime: the calls that wait, on the caller's own thread.
//!
//! Always holds: they work wherever the producer is served, on a thread of its own or on a runtime that is not the caller's;
//! inside the runtime that serves it they panic, as tokio's own do, because they would hold up what they wait for.

use std::time::Duration;

use milena_core::blocking::block_on;
use milena_core::producer::completion::Delivery;
use milena_core::producer::outcome::Tally;

use crate::error::{ReadyError, ReserveError, SendError};
use crate::producer::Producer;
use crate::record::Record;
use crate::shared::Shared;
use crate::topic::{Permit, SendBatchError, Topic};

impl Shared {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.runtime {
            // It knows who may wait on it.
            Some(runtime) => runtime.block_on(future),
            None => block_on(future),
        }
    }
}

impl Topic {
    /// As [`Self::ready`], on this thread.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// println!("{} partitions", orders.blocking_ready(Duration::from_secs(5))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_ready(&self, deadline: Duration) -> Result<usize, ReadyError> {
        self.shared().block_on(self.ready(deadline))
    }

    /// As [`Self::send`], on this thread.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let delivery = orders.blocking_send("4 tea").map_err(|refused| refused.to_string())?;
    /// println!("{:?}", delivery.blocking_wait());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_send<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery, SendError<'a>> {
        self.shared().block_on(self.send(record))
    }

    /// As [`Self::send_batch`], on this thread.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let deliveries = orders.blocking_send_batch(["4 tea", "1 coffee"]).map_err(|stopped| stopped.to_string())?;
    /// for delivery in deliveries {
    ///     println!("{:?}", delivery.blocking_wait());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_send_batch<'a, R: Into<Record<'a>>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Delivery>, SendBatchError<'a>> {
        self.shared().block_on(self.send_batch(records))
    }

    /// As [`Self::post_wait`], on this thread.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use milena::Record;
    ///
    /// orders.blocking_post(Record::value("4 tea").tag(42)).map_err(|refused| refused.to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_post<'a>(&self, record: impl Into<Record<'a>>) -> Result<(), SendError<'a>> {
        self.shared().block_on(self.post_wait(record))
    }

    /// As [`Self::reserve`], on this thread.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let permit = orders.blocking_reserve(1000, Duration::from_secs(5))?;
    /// permit.post("4 tea").map_err(|refused| refused.to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_reserve(&self, size: usize, deadline: Duration) -> Result<Permit<'_>, ReserveError> {
        self.shared().block_on(self.reserve(size, deadline))
    }

    /// As [`Self::reserve_for`], on this thread.
    ///
    /// ```
    /// # fn example(orders: milena::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let permit = orders.blocking_reserve_for("table 7", 1000, Duration::from_secs(5))?;
    /// permit.post(("table 7", "4 tea"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_reserve_for(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        size: usize,
        deadline: Duration,
    ) -> Result<Permit<'_>, ReserveError> {
        self.shared().block_on(self.reserve_for(key, size, deadline))
    }
}

impl Producer {
    /// As [`Self::ready`], on this thread.
    ///
    /// ```
    /// # fn example(producer: milena::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// producer.blocking_ready(Duration::from_secs(5))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_ready(&self, deadline: Duration) -> Result<(), ReadyError> {
        self.handle.shared().block_on(self.ready(deadline))
    }

    /// As [`Self::flush`], on this thread.
    ///
    /// ```
    /// # fn example(producer: milena::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// println!("{:?}", producer.blocking_flush(Duration::from_secs(5)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_flush(&self, deadline: Duration) -> Tally {
        self.handle.shared().block_on(self.flush(deadline))
    }

    /// As [`Self::close`], on this thread.
    ///
    /// ```
    /// # fn example(producer: milena::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// println!("{:?}", producer.blocking_close(Duration::from_secs(5)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// In a task, if the producer is served by a runtime ([`crate::ProducerConfig::runtime`]).
    pub fn blocking_close(&self, deadline: Duration) -> Tally {
        self.handle.shared().block_on(self.close(deadline))
    }
}
