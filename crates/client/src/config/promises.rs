//! What an outcome means, by when it is told, and for how long the truth is pursued.

use std::path::PathBuf;
use std::time::Duration;

use milena_core::producer::front::AfterDeadline;
use milena_core::producer::verdict::Acks;

use super::ProducerConfig;
use crate::record::Record;

impl ProducerConfig {
    /// Who must have a record before the broker answers. Default [`Acks::All`], the only one that idempotence goes with and
    /// that survives the loss of a broker. [`Acks::Leader`] saves the wait for the followers, and `Written` then means "on
    /// the leader": lost with it if it fails before they copy. With [`Acks::None`] nobody ever tells: every outcome is
    /// `Unknown`, and its fate `Undetermined`. Both need `idempotence(false)`. `acks`; librdkafka also
    /// `request.required.acks`.
    ///
    /// ```
    /// # use milena::Acks;
    /// # use milena::ProducerConfig;
    /// // Metrics, of which some may be lost with a broker.
    /// let config = ProducerConfig::new("localhost:9092").acks(Acks::Leader).idempotence(false);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Whether brokers recognise what is sent again, so that a record is written once and in order. Default true; costs a
    /// round trip at the start. Without it a batch that went unanswered cannot be asked about: a resend may write it twice,
    /// and with more than one batch in flight change the order. `enable.idempotence`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // The topic is deduplicated downstream anyway.
    /// let config = ProducerConfig::new("localhost:9092").idempotence(false);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.idempotence = idempotence;
        self
    }

    /// Batches of a partition that are sent and not settled; 1 to 5. Default 5 with idempotence, as many as brokers
    /// remember of a producer: over a long way they keep the connection full. Default 1 without, because a batch that is
    /// sent again would come behind its followers. `max.in.flight.requests.per.connection`, which counts requests.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // As other clients without pipelining: for a comparison.
    /// let config = ProducerConfig::new("localhost:9092").max_in_flight(1);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn max_in_flight(mut self, batches: u32) -> Self {
        self.max_in_flight = Some(batches);
        self
    }

    /// How long after `send` every record has its outcome at the latest, whatever brokers and network do; in steps of
    /// 10 ms, from nothing to days. Default 30 s. [`crate::Record::deadline`] sets it for one record. Raising it makes
    /// callers wait longer in an outage; lowering it makes more outcomes `Unknown`. Of Java's `delivery.timeout.ms` and
    /// librdkafka's `message.timeout.ms` the part that callers see; it also covers what Java bounds by `max.block.ms`.
    ///
    /// It stands in no fixed relation to the other times. Shorter than `request_timeout`, it ends before a broker that says
    /// nothing is left for another one, and what was sent is `Unknown` then; its batch goes on until `delivery_timeout`.
    /// Longer than `delivery_timeout`, its batch goes on until it ends. What was sent and is unanswered after half of
    /// `producer_id_expiration` ends in doubt, whatever the deadline.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // A web request has a second; Kafka gets most of it.
    /// let config = ProducerConfig::new("localhost:9092").deadline(Duration::from_millis(900));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a batch is sent again, counted from its first record, to settle the fates of callers who were released.
    /// Default 120 s. A batch somebody still waits for is never given up, so with a longer `deadline` that counts. Raising
    /// it settles more fates after long outages and holds their memory longer. `delivery.timeout.ms`; librdkafka also
    /// `message.timeout.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Callers leave after a second; what was sent by then is pursued for ten minutes.
    /// let config = ProducerConfig::new("localhost:9092").deadline(Duration::from_secs(1)).delivery_timeout(Duration::from_secs(600));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// What becomes of a record that was sent and of which no conclusive answer came by its deadline. Its caller is told
    /// `Unknown` either way, and either way its fate is settled. Default [`AfterDeadline::Complete`]: it is sent again until a
    /// broker answers, at most until `delivery_timeout`. With [`AfterDeadline::Withdraw`] it is not sent any more, and the fate
    /// says whether it had been appended. [`crate::Record::after_deadline`] sets it for one record. `docs/certainty.md` has the
    /// proofs.
    ///
    /// What `Withdraw` costs: before the first batch of each partition is sent its leader is asked where the log ends, a round
    /// trip (DESCRIBE on the topic, which WRITE includes); each withdrawal takes a producer epoch, and the log behind the last
    /// acknowledged batch is read once (READ on the topic). It needs idempotence, and a later batch on the same partition:
    /// where none may come, [`Self::fence_with`] gives one. A partition withdraws once a second at most; what is due
    /// earlier is completed. Java's client and librdkafka have nothing like it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use milena::{AfterDeadline, ProducerConfig};
    ///
    /// // Prices: one that comes late is worse than none.
    /// let config = ProducerConfig::new("localhost:9092")
    ///     .deadline(Duration::from_secs(1))
    ///     .after_deadline(AfterDeadline::Withdraw);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn after_deadline(mut self, after_deadline: AfterDeadline) -> Self {
        self.after_deadline = after_deadline;
        self
    }

    /// How long after a batch was given up its fate is open at most: for the next batch of its partition to be acknowledged, and
    /// for the log to be read up to there. Default 5 min. A fate that waits holds some hundred bytes, and nobody up. When the
    /// time is over it is `Undetermined(NoFence)` where no later batch was acknowledged, `Undetermined(ScanTooLong)` where the
    /// log could not be read. Raising it settles more fates on partitions with little traffic and after long outages. Concerns
    /// what [`Self::after_deadline`] withdraws and what `delivery_timeout` ends.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Some partitions get a record every ten minutes only.
    /// let config = ProducerConfig::new("localhost:9092").settle_timeout(Duration::from_secs(1800));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn settle_timeout(mut self, timeout: Duration) -> Self {
        self.settle_timeout = timeout;
        self
    }

    /// A record that is sent to a partition on which something was given up and nothing else is sent for a second: acknowledged, it
    /// keeps late copies out, and the fates of what was given up can be settled. Default: none; then they wait for the next record
    /// of the application's, `settle_timeout` at most, and [`crate::Producer::close`] waits for them until its deadline. Key, value
    /// and headers count; its partition, timestamp, deadline and tag do not. Consumers must expect it. It is sent while the
    /// producer is being closed too, is asked for again after 2, 4, 8 … 64 s if it comes to nothing, and is counted by
    /// [`crate::Producer::stats`], `flush` and `close` like any other. Costs one record for each time that a quiet partition had
    /// something given up. Needs idempotence.
    ///
    /// ```
    /// use milena::{AfterDeadline, ProducerConfig, Record};
    ///
    /// // Readers skip records with this key; a tombstone leaves nothing behind on compacted topics.
    /// let config = ProducerConfig::new("localhost:9092")
    ///     .after_deadline(AfterDeadline::Withdraw)
    ///     .fence_with(Record::tombstone().key("fence"));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn fence_with(mut self, record: impl Into<Record<'static>>) -> Self {
        self.fence = Some(record.into());
        self
    }

    /// A file in which every batch is noted before it is handed over, and struck out once it has ended: of what a process had sent
    /// when it was killed, `milena settle` and [`crate::Settle`] tell from it later whether it was written. Default: none; then
    /// nobody ever knows. It survives the process and not the host, because nothing is synced to the disk. `docs/certainty.md` has
    /// what it holds.
    ///
    /// It is made if it is not there, and locked while the producer lives: each producer needs one of its own, and
    /// [`crate::Producer::new`] refuses one that is in use, cannot be written, or is something else, with
    /// [`crate::ConfigError::Journal`]. What an earlier process left in it stays in it until it is settled; settle it first.
    /// Where it cannot be written later, as on a full disk, nothing new is sent until it can: records wait, and at their deadline
    /// are `NotWritten` with the cause [`crate::AttemptError::JournalFailed`].
    ///
    /// Costs one write of some 150 bytes for each batch, made at once for all batches of a request, and a round trip before the
    /// first batch of each partition, whose leader is asked where the log ends (DESCRIBE, which WRITE includes). It has some
    /// hundred KiB at most, whatever the uptime, unless more is unsettled at a time. A name next to it, with `.new` behind, is used
    /// to make it small. Needs idempotence.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// let config = ProducerConfig::new("localhost:9092").fate_journal("/var/lib/shop/orders.fates");
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn fate_journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.fate_journal = Some(path.into());
        self
    }

    /// After how long without a record brokers forget a producer: their setting `producer.id.expiration.ms`, to be told
    /// here. Default 24 h, as theirs. For half of that time they are trusted to recognise what is sent again; later, and for
    /// records with older timestamps, a resend proves nothing and is not made. A value above the brokers' makes records
    /// possible that are written twice. Clients of other make have no such setting.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // The brokers were told `producer.id.expiration.ms=604800000`.
    /// let config = ProducerConfig::new("localhost:9092").producer_id_expiration(Duration::from_secs(7 * 24 * 3600));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn producer_id_expiration(mut self, expiration: Duration) -> Self {
        self.producer_id_expiration = expiration;
        self
    }

    /// Whether a batch of records with timestamps older than half of `producer_id_expiration` is sent again after an
    /// attempt that went unanswered. Default false: brokers count a producer's age by record timestamps, so they may have
    /// forgotten such a batch at once and write it twice. With true fewer fates end `Undetermined(StaleTimestamps)`, and some
    /// such records are in the log twice. Concerns topics with `message.timestamp.type=CreateTime`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // Old events are loaded again, and twice is better than not at all.
    /// let config = ProducerConfig::new("localhost:9092").resend_stale(true);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn resend_stale(mut self, resend: bool) -> Self {
        self.resend_stale = resend;
        self
    }
}
