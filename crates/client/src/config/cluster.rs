//! How brokers are asked, and how long they have.

use std::time::Duration;

use milena_core::backoff::Backoff;

use super::ProducerConfig;

impl ProducerConfig {
    /// How long the oldest unanswered request of a connection may wait before the connection is given up. Default 10 s.
    /// Lowering it finds frozen brokers sooner and gives slow ones less time. `request.timeout.ms`; librdkafka's
    /// `socket.timeout.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Brokers nearby answer in milliseconds, so one that is silent for three seconds is given up.
    /// let config = ProducerConfig::new("localhost:9092").request_timeout(Duration::from_secs(3));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a broker may wait for its followers before it answers that it did not see them. Default 2 s: one request
    /// carries many partitions, and a frozen follower of one holds up the others for so long. Raising it makes that worse;
    /// lowering it below what replication takes makes batches go twice, which costs traffic and is not written twice. A field
    /// of the request; Java sends its `request.timeout.ms`, librdkafka's `request.timeout.ms` is this.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Followers far away take longer.
    /// let config = ProducerConfig::new("localhost:9092").produce_timeout(Duration::from_secs(5));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn produce_timeout(mut self, timeout: Duration) -> Self {
        self.produce_timeout = timeout;
        self
    }

    /// How long to wait before a batch, metadata or a producer id is asked for again: `initial` after the first failure,
    /// twice as long after each further one, at most `max`, all of it a fifth longer or shorter by chance (KIP-580).
    /// Default 100 ms to 1 s. Raising it spares a cluster in trouble and makes everything later once it is well.
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // A cluster in trouble is asked less often.
    /// let config = ProducerConfig::new("localhost:9092").retry_backoff(Duration::from_millis(500), Duration::from_secs(5));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn retry_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.retry_backoff = Backoff { initial, max };
        self
    }

    /// How long to wait before a broker that could not be reached is dialed again, as in [`Self::retry_backoff`]. Default
    /// 50 ms to 1 s: brokers restart in seconds, and longer waits would eat the deadlines of their records. Raising it
    /// spares brokers that thousands of clients come back to. `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Thousands of these come back to a broker that restarts.
    /// let config = ProducerConfig::new("localhost:9092").reconnect_backoff(Duration::from_millis(200), Duration::from_secs(10));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn reconnect_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.reconnect_backoff = Backoff { initial, max };
        self
    }

    /// How long one address may take to open a connection, and one name to be looked up. Default 10 s, as Java's
    /// `socket.connection.setup.timeout.ms`. Of a name with several addresses the next one is tried after a quarter of a
    /// second, so a dead one delays nothing for longer. Lowering it finds dead addresses sooner; much below a second a
    /// single lost packet counts as one.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // In one data centre a connection is there at once or not at all.
    /// let config = ProducerConfig::new("localhost:9092").connect_timeout(Duration::from_secs(2));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long brokers, topics and leaders are asked for again though nothing went wrong. Default 300 s: only new
    /// partitions are found by it, everything else is found when it fails. Lowering it finds them sooner and costs a request
    /// per producer each time. `metadata.max.age.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // New partitions are to be used within a minute.
    /// let config = ProducerConfig::new("localhost:9092").metadata_max_age(Duration::from_secs(60));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = age;
        self
    }

    /// After how long without an answer the brokers that are known count as gone: every connection is given up and the
    /// bootstrap servers are asked again, their names looked up anew (KIP-1102). Default 300 s, longer than a broker takes
    /// to restart. Where none of the known brokers can be reached that happens at once (KIP-899). Lowering it leaves
    /// brokers sooner that take connections and do not answer. `metadata.recovery.rebootstrap.trigger.ms`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use milena::ProducerConfig;
    /// // Whole clusters are exchanged behind the same names.
    /// let config = ProducerConfig::new("localhost:9092").rebootstrap_after(Duration::from_secs(60));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn rebootstrap_after(mut self, time: Duration) -> Self {
        self.rebootstrap_after = time;
        self
    }

    /// Whether a topic that is not there may be created by asking for it, with the brokers' defaults, where they allow that
    /// (`auto.create.topics.enable`). Default false: a name that is misspelled is an error, and no new topic. Kafka's Java
    /// producer always asks for it; its consumer's setting `allow.auto.create.topics` has this name.
    ///
    /// ```
    /// # use milena::ProducerConfig;
    /// // A test against a broker that makes topics as they are named.
    /// let config = ProducerConfig::new("localhost:9092").allow_auto_create_topics(true);
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn allow_auto_create_topics(mut self, allow: bool) -> Self {
        self.allow_auto_create_topics = allow;
        self
    }
}
