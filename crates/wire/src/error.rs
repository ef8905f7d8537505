//! Why bytes could not be read, and why a message could not be written.
//!
//! A decode error is the peer's fault and names the byte of the frame; an encode error is the caller's fault and names
//! the field. Neither holds any of the bytes.

use std::fmt;

use crate::ApiKey;

/// Why a frame is not a well-formed message; `at` counts from the first byte after the frame's length.
///
/// ```
/// use milena_wire::{DecodeError, Reader};
///
/// let mut frame = Reader::new([0, 0, 1].as_slice().into());
/// let cut = frame.int32().unwrap_err();
/// assert_eq!(cut, DecodeError::Truncated { at: 0, needed: 4, left: 3 });
/// assert_eq!(cut.to_string(), "frame ends inside a value of 4 bytes at byte 0, 3 left");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ends inside a value.
    Truncated {
        /// Where the value begins.
        at: usize,
        /// How many bytes the value takes.
        needed: usize,
        /// How many bytes are left.
        left: usize,
    },
    /// A length below -1, or a size that fits no buffer.
    InvalidLength {
        /// Where the length ends.
        at: usize,
        /// The length as read.
        length: i64,
    },
    /// An unsigned varint of more than 32 bits.
    VarintTooLong {
        /// Where the varint begins.
        at: usize,
    },
    /// Null where this version allows none.
    UnexpectedNull {
        /// Where the length that says null ends.
        at: usize,
    },
    /// A string longer than [`STRING_BYTES_MAX`](crate::STRING_BYTES_MAX).
    StringTooLong {
        /// Where the string begins.
        at: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A string that is not UTF-8.
    InvalidUtf8 {
        /// Where the string begins.
        at: usize,
    },
    /// More elements or tagged fields than the rest of the frame can hold.
    TooManyElements {
        /// Where the count ends.
        at: usize,
        /// The count as read.
        claimed: usize,
        /// How many the remaining bytes could hold.
        possible: usize,
    },
    /// The message would take more memory than any well-formed message of this size.
    BudgetExhausted {
        /// Where the value that does not fit begins.
        at: usize,
        /// How many bytes of memory it asks for.
        asked: usize,
        /// How many are left in the frame's budget.
        left: usize,
    },
    /// A tagged field that does not come after the one before it.
    TagOrder {
        /// Where the tagged field's content would begin.
        at: usize,
        /// Its tag.
        tag: u32,
    },
    /// A tagged field whose content is shorter or longer than its stated size.
    TagSize {
        /// Where reading the content stopped.
        at: usize,
        /// Where the stated size ends.
        stated_end: usize,
    },
    /// Bytes after the end of the message.
    TrailingBytes {
        /// Where the message ends.
        at: usize,
        /// How many bytes follow.
        left: usize,
    },
    /// A version that this crate has no definition for.
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at, needed, left } => {
                write!(f, "frame ends inside a value of {needed} bytes at byte {at}, {left} left")
            }
            Self::InvalidLength { at, length } => {
                write!(f, "length {length} before byte {at} is not possible")
            }
            Self::VarintTooLong { at } => write!(f, "varint at byte {at} exceeds 32 bits"),
            Self::UnexpectedNull { at } => {
                write!(f, "null before byte {at} where this version allows none")
            }
            Self::StringTooLong { at, length } => {
                write!(f, "string of {length} bytes at byte {at} exceeds {}", crate::STRING_BYTES_MAX)
            }
            Self::InvalidUtf8 { at } => write!(f, "string at byte {at} is not UTF-8"),
            Self::TooManyElements { at, claimed, possible } => {
                write!(f, "{claimed} elements claimed before byte {at}, the frame can hold {possible}")
            }
            Self::BudgetExhausted { at, asked, left } => {
                write!(f, "value at byte {at} asks for {asked} bytes of memory, the frame's budget has {left} left")
            }
            Self::TagOrder { at, tag } => {
                write!(f, "tagged field {tag} before byte {at} is out of order")
            }
            Self::TagSize { at, stated_end } => {
                write!(f, "tagged field was to end at byte {stated_end} and ends at byte {at}")
            }
            Self::TrailingBytes { at, left } => {
                write!(f, "{left} bytes follow the message that ends at byte {at}")
            }
            Self::UnsupportedVersion { api, version } => {
                write!(f, "{api} version {version} has no definition here")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a message cannot be written in the version asked for.
///
/// ```
/// use milena_wire::messages::metadata::request::MetadataRequest;
/// use milena_wire::{ApiKey, EncodeError, Message, Writer};
///
/// let refused = MetadataRequest::default().write(&mut Writer::new(), 99);
/// assert_eq!(refused, Err(EncodeError::UnsupportedVersion { api: ApiKey::METADATA, version: 99 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field is set that this version cannot carry and must not lose.
    NotInVersion {
        /// The type and the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null where this version allows none.
    NullNotAllowed {
        /// The type and the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Unknown tagged fields in a version without tagged fields.
    TagsNotInVersion,
    /// An unknown tagged field that has the tag of a known one, or does not come after the one before it.
    TagOrder {
        /// The tag.
        tag: u32,
    },
    /// A string, byte string, array or frame longer than the format allows.
    TooLong {
        /// Its length.
        length: usize,
        /// The longest possible.
        limit: usize,
    },
    /// A version that this crate has no definition for.
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInVersion { field, version } => {
                write!(f, "{field} is set but version {version} does not carry it")
            }
            Self::NullNotAllowed { field, version } => {
                write!(f, "{field} is null, which version {version} does not allow")
            }
            Self::TagsNotInVersion => {
                write!(f, "unknown tagged fields are set but this version carries none")
            }
            Self::TagOrder { tag } => {
                write!(f, "unknown tagged field {tag} repeats a tag or is out of order")
            }
            Self::TooLong { length, limit } => {
                write!(f, "length {length} exceeds the format's limit {limit}")
            }
            Self::UnsupportedVersion { api, version } => {
                write!(f, "{api} version {version} has no definition here")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
