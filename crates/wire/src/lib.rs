//! Kafka's wire format: frames, generated messages, record batches, error codes.
//!
//! [`frame`] has whole requests and responses, [`messages`] the messages in every version of Kafka's definitions,
//! [`records`] the batches that Produce and Fetch carry. What comes from the network may be hostile: no decoder panics,
//! and none takes more memory than [`MEMORY_PER_BYTE`] times its input plus a constant; what is compressed is unpacked up to a
//! limit.
//!
//! Always there are the messages of a producer, of a consumer that is given its partitions, and of topics. The others
//! come by family, each with its feature, so that nobody compiles what it does not use: `admin` (configuration,
//! partitions, leaders, reassignments, quotas, log folders, the metadata quorum), `groups`, `transactions`, `share`
//! (share groups), `streams` (groups of Kafka Streams), `sasl`, `security` (ACLs, delegation tokens, SCRAM credentials),
//! `telemetry`; `all` has every one. What brokers and controllers say to each other only is not here.
//!
//! Leaves out sockets, time and every decision about what to send.

mod api_key;
pub mod crc32c;
mod error;
mod error_code;
pub mod frame;
pub mod key_hash;
mod message;
pub mod messages;
pub mod murmur2;
mod reader;
pub mod records;
mod tags;
mod uuid;
mod writer;

pub use api_key::ApiKey;
pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use message::{Message, Request, Response};
pub use reader::{MEMORY_PER_BYTE, MEMORY_SLACK, Reader, STRING_BYTES_MAX};
pub use tags::UnknownTags;
pub use uuid::Uuid;
pub use writer::Writer;
