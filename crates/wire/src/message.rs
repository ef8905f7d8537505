//! What every message and every type nested in one can do: be read and be written, in a version.
//!
//! Whether a version is "flexible" (compact lengths, tagged fields) is a state of the reader and the writer. The
//! outermost message sets it; nested types rely on it.

use std::ops::RangeInclusive;

use crate::{ApiKey, DecodeError, EncodeError, Reader, Uuid, Writer};

/// A message, a type nested in one, or an element of an array.
///
/// ```
/// use milena_wire::messages::metadata::request::MetadataRequest;
/// use milena_wire::{Message, Reader, Writer};
///
/// let (request, version) = (MetadataRequest::default(), 12);
/// let mut w = Writer::new();
/// request.write(&mut w, version)?;
/// assert!(w.position() >= MetadataRequest::BYTES_MIN);
/// assert_eq!(MetadataRequest::read(&mut Reader::new(w.into_bytes().into()), version)?, request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Message: Sized {
    /// The fewest bytes that a value takes in any version; bounds what an array's length may claim.
    const BYTES_MIN: usize;

    /// Reads a value of this version from the reader's position.
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Appends the value in this version.
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// The request of an API.
///
/// ```
/// use milena_wire::messages::metadata::request::MetadataRequest;
/// use milena_wire::{ApiKey, Request};
///
/// /// The newest version that both sides have.
/// fn newest<R: Request>(brokers: std::ops::RangeInclusive<i16>) -> Option<i16> {
///     let newest = *R::VERSIONS.end().min(brokers.end());
///     (newest >= *R::VERSIONS.start().max(brokers.start())).then_some(newest)
/// }
/// assert_eq!(MetadataRequest::KEY, ApiKey::METADATA);
/// assert_eq!(newest::<MetadataRequest>(0..=9), Some(9));
/// assert!(9 >= MetadataRequest::FLEXIBLE_FROM);
/// ```
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// Every version with a definition, unstable ones included; see [`ApiKey::stable_versions`].
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version; `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;
    /// What the broker answers with.
    type Response: Response;
}

/// The response of an API.
///
/// ```
/// use milena_wire::messages::metadata::request::MetadataRequest;
/// use milena_wire::{Request, Response};
///
/// fn answered_by<R: Request>() -> String {
///     <R::Response as Response>::KEY.to_string()
/// }
/// assert_eq!(answered_by::<MetadataRequest>(), "Metadata");
/// ```
pub trait Response: Message {
    /// The API.
    const KEY: ApiKey;
    /// Every version with a definition, unstable ones included; see [`ApiKey::stable_versions`].
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version; `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;
}

/// How a plain array element is read and written.
macro_rules! element {
    ($type:ty, $bytes_min:expr, $leaf:ident) => {
        impl Message for $type {
            const BYTES_MIN: usize = $bytes_min;

            fn read(r: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
                r.$leaf()
            }

            fn write(&self, w: &mut Writer, _version: i16) -> Result<(), EncodeError> {
                w.$leaf(*self);
                Ok(())
            }
        }
        const _: () = assert!(size_of::<$type>() <= crate::MEMORY_PER_BYTE * $bytes_min);
    };
}

element!(i8, 1, int8);
element!(i16, 2, int16);
element!(u16, 2, uint16);
element!(i32, 4, int32);
element!(i64, 8, int64);
element!(Uuid, 16, uuid);

impl Message for Box<str> {
    const BYTES_MIN: usize = 1;

    fn read(r: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
        r.string()
    }

    fn write(&self, w: &mut Writer, _version: i16) -> Result<(), EncodeError> {
        w.string(self)
    }
}

const _: () = assert!(size_of::<Box<str>>() <= crate::MEMORY_PER_BYTE);
