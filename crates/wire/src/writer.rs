//! Appends values to one growing buffer.
//!
//! There is no pass that computes sizes first: lengths that are only known afterwards are put in their place then.
//! Leaves out which values a message has; see `messages`.

use crate::api_key::Api;
use crate::reader::STRING_BYTES_MAX;
use crate::tags::{TagWriter, UnknownTags};
use crate::{EncodeError, Message, Uuid};

/// The bytes written so far, and the rules under which the next ones are written.
///
/// ```
/// use milena_wire::{UnknownTags, Uuid, Writer};
///
/// let mut w = Writer::with_capacity(64);
/// w.bool(true);
/// w.int8(-1);
/// w.int16(2);
/// w.uint16(3);
/// assert_eq!(w.position(), 6);
/// assert_eq!(w.into_bytes(), [1, 255, 0, 2, 0, 3]);
///
/// let mut w = Writer::new();
/// w.int32(4);
/// w.int64(5);
/// w.float64(0.5);
/// w.uuid(Uuid::ZERO);
/// w.string("topic")?;
/// w.nullable_string(None)?;
/// w.bytes(b"copied")?;
/// w.nullable_bytes(None)?;
/// w.bytes_length(7)?;
/// w.raw(b"as they");
/// w.array_length(1)?;
/// w.int32(6);
/// w.array(&[7i32], 0)?;
/// w.nullable_array::<i32>(None, 0)?;
/// w.nullable_struct(Some(&8i32), 0)?;
///
/// // Newer versions have shorter lengths, and fields that may be missing.
/// let mut w = Writer::new();
/// w.set_flexible(true);
/// assert!(w.flexible());
/// w.string("a")?;
/// w.unsigned_varint(300);
/// w.unknown_tags(&UnknownTags::default())?;
/// assert_eq!(w.into_bytes(), [2, b'a', 0xac, 2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Compact lengths and tagged fields; set by the outermost message.
    flexible: bool,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), flexible: false }
    }

    /// How many bytes have been written.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Whether lengths are compact and tagged fields follow.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Says whether lengths are compact and tagged fields follow from here on.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Appends a value whose length keeps its old form whatever the version.
    pub(crate) fn in_old_form<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let flexible = std::mem::replace(&mut self.flexible, false);
        let value = write(self);
        self.flexible = flexible;
        value
    }

    /// Begins the outermost message of a version.
    pub(crate) fn begin(&mut self, api: &Api, version: i16) -> Result<(), EncodeError> {
        self.flexible = api.flexible(version).ok_or(EncodeError::UnsupportedVersion { api: api.key, version })?;
        Ok(())
    }

    /// Appends a bool.
    pub fn bool(&mut self, value: bool) {
        self.out.push(value.into());
    }

    /// Appends one signed byte.
    pub fn int8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends two bytes.
    pub fn int16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends two bytes without a sign.
    pub fn uint16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends four bytes.
    pub fn int32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends eight bytes.
    pub fn int64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends a floating-point number of eight bytes.
    pub fn float64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// Appends sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    /// Appends a varint without a sign.
    pub fn unsigned_varint(&mut self, value: u32) {
        let (bytes, length) = varint(value);
        self.raw(&bytes[..length]);
    }

    /// Appends bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends a string.
    pub fn string(&mut self, value: &str) -> Result<(), EncodeError> {
        self.nullable_string(Some(value))
    }

    /// Appends a string or null.
    pub fn nullable_string(&mut self, value: Option<&str>) -> Result<(), EncodeError> {
        let length = value.map(str::len);
        let checked = within(length, STRING_BYTES_MAX)?;
        match (self.flexible, checked) {
            (true, _) => self.unsigned_varint(checked.map_or(0, |length| length as u32 + 1)),
            (false, _) => self.int16(checked.map_or(-1, |length| length as i16)),
        }
        self.raw(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Appends a byte string or a set of records.
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), EncodeError> {
        self.nullable_bytes(Some(value))
    }

    /// Appends a byte string or a set of records or null.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>) -> Result<(), EncodeError> {
        self.long_length(value.map(<[u8]>::len))?;
        self.raw(value.unwrap_or_default());
        Ok(())
    }

    /// Appends the length of a byte string or of a set of records, whose bytes the caller sends right after it.
    pub fn bytes_length(&mut self, length: usize) -> Result<(), EncodeError> {
        self.long_length(Some(length))
    }

    /// Appends the length of an array, whose elements the caller appends right after it.
    pub fn array_length(&mut self, length: usize) -> Result<(), EncodeError> {
        self.long_length(Some(length))
    }

    /// Appends an array.
    pub fn array<T: Message>(&mut self, elements: &[T], version: i16) -> Result<(), EncodeError> {
        self.nullable_array(Some(elements), version)
    }

    /// Appends an array or null.
    pub fn nullable_array<T: Message>(&mut self, elements: Option<&[T]>, version: i16) -> Result<(), EncodeError> {
        self.long_length(elements.map(<[T]>::len))?;
        for element in elements.unwrap_or_default() {
            element.write(self, version)?;
        }
        Ok(())
    }

    /// Appends a nested type or null.
    pub fn nullable_struct<T: Message>(&mut self, value: Option<&T>, version: i16) -> Result<(), EncodeError> {
        self.int8(if value.is_some() { 1 } else { -1 });
        value.map_or(Ok(()), |value| value.write(self, version))
    }

    /// Begins the tagged fields of a message or nested type.
    pub(crate) fn tags<'a>(&mut self, unknown: &'a UnknownTags) -> Result<TagWriter<'a>, EncodeError> {
        if !self.flexible && !unknown.is_empty() {
            return Err(EncodeError::TagsNotInVersion);
        }
        let count_at = self.out.len();
        Ok(TagWriter::new(unknown, count_at))
    }

    /// Appends the tagged fields of a type of which no tag is known.
    pub fn unknown_tags(&mut self, unknown: &UnknownTags) -> Result<(), EncodeError> {
        let tags = self.tags(unknown)?;
        tags.finish(self);
        Ok(())
    }

    /// Puts a varint before bytes that are already written.
    pub(crate) fn insert_varint(&mut self, at: usize, value: u32) {
        let (bytes, length) = varint(value);
        self.out.splice(at..at, bytes[..length].iter().copied());
    }

    /// Overwrites four bytes that were held free.
    pub(crate) fn replace_int32(&mut self, at: usize, value: i32) {
        self.out[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn long_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let checked = within(length, LONG_LENGTH_MAX)?;
        match self.flexible {
            true => self.unsigned_varint(checked.map_or(0, |length| length as u32 + 1)),
            false => self.int32(checked.map_or(-1, |length| length as i32)),
        }
        Ok(())
    }
}

/// The longest byte string and the most elements of an array.
const LONG_LENGTH_MAX: usize = i32::MAX as usize;

fn within(length: Option<usize>, limit: usize) -> Result<Option<usize>, EncodeError> {
    match length {
        Some(length) if length > limit => Err(EncodeError::TooLong { length, limit }),
        checked => Ok(checked),
    }
}

/// The bytes of a varint and how many of them count.
pub(crate) fn varint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut length = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[length] = if value == 0 { low } else { low | 0x80 };
        length += 1;
        if value == 0 {
            return (bytes, length);
        }
    }
}
