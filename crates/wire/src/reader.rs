//! Reads values from one frame, in order.
//!
//! Everything in the frame may be hostile. A length is compared with the bytes that are left before anything is
//! allocated, and every allocation is charged to a budget of [`MEMORY_PER_BYTE`] times the frame plus [`MEMORY_SLACK`],
//! so nested claims cannot add up to more. A well-formed message never exhausts the budget: each element type is at
//! compile time no larger than `MEMORY_PER_BYTE` times the fewest bytes that it takes on the wire. Byte strings and
//! records are not copied: they are slices of the frame.
//!
//! Leaves out which values a message has; see `messages`.

use bytes::Bytes;

use crate::api_key::Api;
use crate::tags::{TagSection, UnknownTags};
use crate::{DecodeError, Message, Uuid};

/// How many bytes of memory a byte of a frame may cost at most.
///
/// ```
/// use milena_wire::MEMORY_PER_BYTE;
/// // What an answer of a mebibyte may cost while it is looked at.
/// let bytes = MEMORY_PER_BYTE * 1024 * 1024;
/// # let _ = bytes;
/// ```
pub const MEMORY_PER_BYTE: usize = 16;

/// What a frame may cost on top: room for messages that no peer has a reason to send but that are still readable, such
/// as topics with empty names.
///
/// ```
/// use milena_wire::{MEMORY_PER_BYTE, MEMORY_SLACK};
/// let budget = |frame_bytes: usize| frame_bytes * MEMORY_PER_BYTE + MEMORY_SLACK;
/// # let _ = budget(100);
/// ```
pub const MEMORY_SLACK: usize = 32 * 1024;

/// The longest string, in bytes; Kafka refuses longer ones in every version.
///
/// ```
/// use milena_wire::{EncodeError, STRING_BYTES_MAX, Writer};
///
/// let long = "x".repeat(STRING_BYTES_MAX + 1);
/// let refused = Writer::new().string(&long);
/// assert_eq!(refused, Err(EncodeError::TooLong { length: 32_768, limit: 32_767 }));
/// ```
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A position in a frame, and the rules under which the rest of it is read.
///
/// ```
/// use milena_wire::{Reader, Uuid, Writer};
///
/// let mut w = Writer::new();
/// w.bool(true);
/// w.int8(-1);
/// w.int16(2);
/// w.uint16(3);
/// w.int32(4);
/// w.int64(5);
/// w.float64(0.5);
/// w.uuid(Uuid::ZERO);
/// w.unsigned_varint(300);
/// w.string("topic")?;
/// w.nullable_string(None)?;
/// w.bytes(b"records")?;
/// w.nullable_bytes(None)?;
/// w.array(&[1i32, 2], 0)?;
/// w.nullable_array::<i32>(None, 0)?;
/// w.nullable_struct::<i32>(None, 0)?;
///
/// let mut r = Reader::new(w.into_bytes().into());
/// assert_eq!((r.bool()?, r.int8()?, r.int16()?, r.uint16()?), (true, -1, 2, 3));
/// assert_eq!((r.int32()?, r.int64()?, r.float64()?, r.uuid()?), (4, 5, 0.5, Uuid::ZERO));
/// assert_eq!((r.unsigned_varint()?, &*r.string()?, r.nullable_string()?), (300, "topic", None));
/// assert_eq!((&r.bytes()?[..], r.nullable_bytes()?), (b"records".as_slice(), None));
/// assert_eq!((r.array::<i32>(0)?, r.nullable_array::<i32>(0)?), (vec![1, 2], None));
/// assert_eq!(r.nullable_struct::<i32>(0)?, None);
/// assert_eq!(r.left(), 0);
/// r.finish()?;
///
/// // Newer versions have shorter lengths, and fields that may be missing.
/// let mut r = Reader::new([2, b'a', 0].as_slice().into());
/// r.set_flexible(true);
/// assert!(r.flexible());
/// assert_eq!(&*r.string()?, "a");
/// assert!(r.unknown_tags()?.is_empty());
/// assert_eq!(r.position(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
    /// Compact lengths and tagged fields; set by the outermost message.
    flexible: bool,
    /// Bytes of memory that may still be allocated.
    budget: usize,
}

impl Reader {
    /// A reader at the first byte of a frame, which comes without its length.
    pub fn new(frame: Bytes) -> Self {
        let budget = frame.len().saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_SLACK);
        Self { bytes: frame, at: 0, flexible: false, budget }
    }

    /// How many bytes have not been read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether lengths are compact and tagged fields follow.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Says whether lengths are compact and tagged fields follow from here on.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Reads a value whose length keeps its old form whatever the version.
    pub(crate) fn in_old_form<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let value = read(self);
        self.flexible = flexible;
        value
    }

    /// Ends reading; bytes that follow the message are an error.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes { at: self.at, left }),
        }
    }

    /// Begins the outermost message of a version.
    pub(crate) fn begin(&mut self, api: &Api, version: i16) -> Result<(), DecodeError> {
        self.flexible = api.flexible(version).ok_or(DecodeError::UnsupportedVersion { api: api.key, version })?;
        Ok(())
    }

    /// Reads a bool; every byte but zero is true, as for Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.int8()? != 0)
    }

    /// Reads one signed byte.
    pub fn int8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Reads two bytes.
    pub fn int16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Reads two bytes without a sign.
    pub fn uint16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Reads four bytes.
    pub fn int32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Reads eight bytes.
    pub fn int64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// Reads a floating-point number of eight bytes.
    pub fn float64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// The next two bytes without reading them.
    pub(crate) fn peek_int16(&self) -> Option<i16> {
        self.bytes[self.at..].first_chunk().copied().map(i16::from_be_bytes)
    }

    /// Reads sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.fixed()?))
    }

    /// Reads a varint without a sign, of at most 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = u8::from_be_bytes(self.fixed()?);
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::VarintTooLong { at });
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<Box<str>, DecodeError> {
        self.nullable_string()?.ok_or(DecodeError::UnexpectedNull { at: self.at })
    }

    /// Reads a string or null.
    pub fn nullable_string(&mut self) -> Result<Option<Box<str>>, DecodeError> {
        let length = match self.flexible {
            true => self.compact_length()?,
            false => {
                let length = self.int16()?.into();
                self.length(length)?
            }
        };
        let Some(length) = length else { return Ok(None) };
        let at = self.at;
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong { at, length });
        }
        let end = self.end_of(length)?;
        self.charge(length)?;
        self.at = end;
        match std::str::from_utf8(&self.bytes[at..end]) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(DecodeError::InvalidUtf8 { at }),
        }
    }

    /// Reads a byte string or a set of records, as a slice of the frame.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        self.nullable_bytes()?.ok_or(DecodeError::UnexpectedNull { at: self.at })
    }

    /// Reads a byte string or a set of records or null, as a slice of the frame.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.long_length()? else { return Ok(None) };
        let end = self.end_of(length)?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(Some(slice))
    }

    /// Reads an array.
    pub fn array<T: Message>(&mut self, version: i16) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(version)?.ok_or(DecodeError::UnexpectedNull { at: self.at })
    }

    /// Reads an array or null.
    pub fn nullable_array<T: Message>(&mut self, version: i16) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(length) = self.long_length()? else { return Ok(None) };
        self.admit(length, T::BYTES_MIN, size_of::<T>())?;
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(T::read(self, version)?);
        }
        Ok(Some(elements))
    }

    /// Reads a nested type or null.
    pub fn nullable_struct<T: Message>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        match self.int8()? {
            0.. => T::read(self, version).map(Some),
            _ => Ok(None),
        }
    }

    /// Begins the tagged fields of a message or nested type; none in a version that is not flexible.
    pub(crate) fn tags(&mut self) -> Result<TagSection, DecodeError> {
        if !self.flexible {
            return Ok(TagSection::default());
        }
        let count = self.unsigned_varint()? as usize;
        // A tagged field takes at least its tag and its size.
        self.admit(count, 2, 0)?;
        Ok(TagSection::new(count))
    }

    /// Reads the tagged fields of a type of which no tag is known.
    pub fn unknown_tags(&mut self) -> Result<UnknownTags, DecodeError> {
        let mut unknown = UnknownTags::default();
        let mut tags = self.tags()?;
        while tags.next(self)?.is_some() {
            unknown.keep(self, &tags)?;
        }
        Ok(unknown)
    }

    /// Takes memory from the budget before it is allocated.
    pub(crate) fn charge(&mut self, asked: usize) -> Result<(), DecodeError> {
        match self.budget.checked_sub(asked) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(DecodeError::BudgetExhausted { at: self.at, asked, left: self.budget }),
        }
    }

    /// The bytes between two positions that the caller has checked; the reader moves on to the second.
    pub(crate) fn slice_to(&mut self, from: usize, end: usize) -> &[u8] {
        self.at = end;
        &self.bytes[from..end]
    }

    /// Where a value of this length ends.
    pub(crate) fn end_of(&self, length: usize) -> Result<usize, DecodeError> {
        let left = self.left();
        if length > left {
            return Err(DecodeError::Truncated { at: self.at, needed: length, left });
        }
        Ok(self.at + length)
    }

    /// Checks a count against the bytes that are left, and charges for the elements.
    fn admit(&mut self, claimed: usize, bytes_min: usize, memory: usize) -> Result<(), DecodeError> {
        let possible = self.left() / bytes_min;
        if claimed > possible {
            return Err(DecodeError::TooManyElements { at: self.at, claimed, possible });
        }
        self.charge(claimed.saturating_mul(memory))
    }

    /// The length of a byte string or an array: four bytes, or a varint in flexible versions.
    fn long_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return self.compact_length();
        }
        let length = self.int32()?.into();
        self.length(length)
    }

    fn length(&self, length: i64) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            _ => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(DecodeError::InvalidLength { at: self.at, length }),
            },
        }
    }

    /// Compact lengths are one more than the length, so that zero can say null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(DecodeError::Truncated { at: self.at, needed: N, left: self.left() }),
        }
    }
}
