//! Kafka's wire format: frames, generated messages, record batches, error codes.

pub mod crc32c;
mod error_code;
pub mod murmur2;
pub mod records;

pub use error_code::ErrorCode;
