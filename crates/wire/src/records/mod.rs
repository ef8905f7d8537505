//! Record batches, format version 2: the only format that Kafka has written since 0.11.
//!
//! Owns the 61-byte batch header, the encoding of records into a growing body, the dropping of records from a body that
//! has no stamp yet, the codecs, reading without copying, and the checks a broker makes on what a producer sends. The header stands
//! apart from the body and the checksum is combined from both, so a stamp never touches the body.
//!
//! What comes from outside is believed only after a check: every length against the bytes that are there, every count
//! against the smallest record. Nothing is allocated by a claimed size, and what is compressed has a limit.
//!
//! Leaves out the formats of magic 0 and 1, which are named and refused.

mod codec;
mod error;
mod header;
mod layout;
mod parse;
mod produced;
mod reader;
mod retain;
mod varint;

pub use codec::{Codec, Encoding, Packer, UNPACKED_BYTES_MAX, UnpackError, unpack};
pub use error::{BatchError, RecordFault};
pub use header::{Attributes, BATCH_HEADER_BYTES, BODY_BYTES_MAX, BatchHeader, Compression, TimestampType};
pub use layout::{RECORD_BYTES_MAX, RecordHeader, RecordLayout, RecordTooLarge};
pub use produced::{place_batch, set_log_append_time, validate_produced};
pub use reader::{BatchView, Batches, Header, Headers, Record, RecordOutline, RecordOutlines, Records, batches};
pub use retain::{RewrittenBody, retain};
