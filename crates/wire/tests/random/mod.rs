//! Random messages: every value of a version can come up, and the ones at the edges often.
//!
//! Not part of the crate, so nobody who uses it compiles it. How a message is put together is generated; what a value
//! looks like is decided in `source.rs`.

mod messages;
mod source;

#[allow(unused_imports, reason = "each test uses a part")]
pub use source::{Draw, Known, Random};

pub(crate) use messages::each_api;
