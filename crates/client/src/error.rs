//! Errors per operation.

mod readiness;
mod sending;

use std::fmt;

pub use self::readiness::{AddressFault, ReadyError};
pub use self::sending::{ReserveError, SendError, SendRefused};

/// Not a name of a topic: 1 to 249 characters out of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
///
/// ```
/// use milena::{Producer, ProducerConfig};
///
/// let producer = Producer::new(ProducerConfig::new("localhost:9092"))?;
/// let error = producer.topic("orders/eu").unwrap_err();
/// assert!(error.to_string().starts_with("\"orders/eu\" is no topic name"));
/// # Ok::<(), milena::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopic(pub(crate) String);

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no topic name: use 1 to 249 of a-z A-Z 0-9 . _ -, and neither . nor ..", self.0)
    }
}

impl std::error::Error for InvalidTopic {}

#[cfg(all(test, not(milena_model)))]
mod tests;
