//! How records become batches, and what they may hold meanwhile.

use std::time::Duration;

use super::ProducerConfig;

impl ProducerConfig {
    /// How long a batch may fill before it is sent. A ceiling: a full batch goes at once, and while all slots of a
    /// partition are in flight its batch fills on at no cost. Default 5 ms: at 10,000 records a second per partition, 50
    /// records share one batch; half of `deadline` or `delivery_timeout` where that is less. Raising it adds latency to every
    /// record of a quiet partition. It is part of each record's deadline: `request_timeout` or half of the deadline must be
    /// left for sending, or the configuration is refused. A record with a deadline of its own that is shorter than this
    /// ends `NotWritten`, unless its batch goes earlier. `linger.ms`; librdkafka also `queue.buffering.max.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Nobody waits for these, so batches may take their time to fill.
    /// let config = ProducerConfig::new("localhost:9092").linger(Duration::from_millis(100));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = Some(linger);
        self
    }

    /// The bytes at which a batch is full. Default 1 MB, just below what brokers accept (`max.message.bytes`). Chunks are
    /// taken as a batch grows, so a high value costs memory only where it is used. `batch.size`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // The topic takes no batch above 512 KiB (`max.message.bytes`).
    /// let config = ProducerConfig::new("localhost:9092").batch_size(500_000);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// Bytes that records may hold from acceptance to the end of their batch. Default 32 MiB. When it is used up,
    /// `try_send` refuses and `send` waits. Raising it costs that memory while brokers are slow or away. `buffer.memory`; librdkafka's
    /// `queue.buffering.max.kbytes`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // A gigabyte a minute, and brokers that may be away for a few seconds.
    /// let config = ProducerConfig::new("localhost:9092").buffer_memory(256 * 1024 * 1024);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// How much of `buffer_memory` one partition may hold, as a part of what the others leave: above 0, at most 1. Default
    /// 0.5: one partition that makes no progress holds at most half of the memory, two a third each, nine a tenth each, and
    /// as much is left for all others. Callers of a partition that holds its share wait or are refused with
    /// [`crate::SendRefused::PartitionFull`]; those of others are not held up. Raising it gives a single busy partition more
    /// of the memory and leaves less to the others when it stops; 1 lets one take all. An empty partition always has room
    /// for its first record, as long as there is any.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // All records go to one partition: it may have nearly all of the memory.
    /// let config = ProducerConfig::new("localhost:9092").partition_memory_share(0.9);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn partition_memory_share(mut self, share: f64) -> Self {
        self.partition_memory_share = share;
        self
    }

    /// A record that is larger alone in its batch is refused at once. Default 1 MiB, as brokers do (`max.message.bytes`);
    /// at most 2,147,418,111, because the length of a request is a signed 32-bit number, and brokers take 100 MiB unless their
    /// `socket.request.max.bytes` says otherwise. `max.request.size`; librdkafka's `message.max.bytes`.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // The topic takes 8 MiB (`max.message.bytes`), and single records may need it.
    /// let config = ProducerConfig::new("localhost:9092").max_request_size(8 * 1024 * 1024);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
        self
    }
}
