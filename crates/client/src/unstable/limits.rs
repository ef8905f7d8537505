//! What a configuration says in the end, however it came about.

use std::time::Duration;

use crate::config::ProducerConfig;

/// The settings that the command line goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a record that has none of its own.
    pub deadline: Duration,
    /// Until when a batch is sent again.
    pub delivery_timeout: Duration,
    /// Bytes of a batch that is full.
    pub batch_size: usize,
    /// Bytes of the largest batch of one record.
    pub max_request_size: usize,
}

impl Limits {
    /// As the configuration is now.
    pub fn of(config: &ProducerConfig) -> Self {
        config.limits()
    }
}
