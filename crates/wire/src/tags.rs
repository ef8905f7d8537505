//! Tagged fields (KIP-482): the open end of every flexible message and nested type.
//!
//! Tags ascend strictly; each has a size, and its content fills that size exactly. Fields with tags that the definitions
//! lack are kept as they came and written back in their place, so a relay loses nothing.

use std::fmt;

use crate::writer::varint;
use crate::{DecodeError, EncodeError, Reader, Writer};

/// Tagged fields that the definitions lack. Takes 8 bytes of its owner and allocates only when there are any.
///
/// ```
/// use milena_wire::messages::metadata::request::MetadataRequest;
/// use milena_wire::{Message, Reader, Writer};
///
/// let mut request = MetadataRequest::default();
/// assert!(request.unknown_tags.is_empty());
/// request.unknown_tags.append(5, b"of a newer Kafka")?;
/// let mut w = Writer::new();
/// request.write(&mut w, 12)?;
/// let read = MetadataRequest::read(&mut Reader::new(w.into_bytes().into()), 12)?;
/// assert_eq!(read.unknown_tags.iter().next(), Some((5, b"of a newer Kafka".as_slice())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UnknownTags(Option<Box<Kept>>);

/// Tag, size and content one after the other, as on the wire, in ascending order. Copied, so that a few bytes never
/// hold a whole frame in memory.
#[derive(Clone, Default, PartialEq, Eq)]
struct Kept {
    wire: Vec<u8>,
}

impl UnknownTags {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The tags and their contents, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.entries().map(|entry| (entry.tag, entry.content))
    }

    /// Adds a tagged field, whose tag must be higher than all that are there.
    pub fn append(&mut self, tag: u32, content: &[u8]) -> Result<(), EncodeError> {
        if self.entries().last().is_some_and(|last| last.tag >= tag) {
            return Err(EncodeError::TagOrder { tag });
        }
        let length = content.len();
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: u32::MAX as usize })?;
        let wire = &mut self.0.get_or_insert_default().wire;
        for number in [tag, size] {
            let (bytes, length) = varint(number);
            wire.extend_from_slice(&bytes[..length]);
        }
        wire.extend_from_slice(content);
        Ok(())
    }

    /// Keeps the field that the section has announced last.
    pub(crate) fn keep(&mut self, r: &mut Reader, section: &TagSection) -> Result<(), DecodeError> {
        let length = section.content_end - section.field_at;
        // A growing vector takes less than four times its final length in all its steps. The smallest field has two
        // bytes, so this stays within what a byte of the frame may cost.
        let first = if self.is_empty() { size_of::<Kept>() } else { 0 };
        r.charge(first + length.saturating_mul(4))?;
        let field = r.slice_to(section.field_at, section.content_end);
        self.0.get_or_insert_default().wire.extend_from_slice(field);
        Ok(())
    }

    fn entries(&self) -> Entries<'_> {
        Entries { rest: self.0.as_ref().map_or(&[], |kept| &kept.wire) }
    }
}

impl fmt::Debug for UnknownTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Walks kept fields, which are well-formed.
#[derive(Debug)]
struct Entries<'a> {
    rest: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    tag: u32,
    content: &'a [u8],
    /// Tag, size and content.
    wire: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let from = self.rest;
        let tag = self.varint()?;
        let size = self.varint()?;
        let (content, rest) = self.rest.split_at_checked(size as usize)?;
        self.rest = rest;
        Some(Entry { tag, content, wire: &from[..from.len() - rest.len()] })
    }
}

impl Entries<'_> {
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(value)
    }
}

/// Where reading stands in the tagged fields of one message or nested type.
#[derive(Debug, Default)]
pub(crate) struct TagSection {
    left: usize,
    previous: Option<u32>,
    /// Where the tag of the announced field stands.
    field_at: usize,
    /// Where its content must end.
    content_end: usize,
}

impl TagSection {
    pub(crate) fn new(count: usize) -> Self {
        Self { left: count, ..Self::default() }
    }

    /// Announces the next field by its tag; the reader stands at its content then.
    pub(crate) fn next(&mut self, r: &mut Reader) -> Result<Option<u32>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.field_at = r.position();
        let tag = r.unsigned_varint()?;
        let size = r.unsigned_varint()? as usize;
        if self.previous.is_some_and(|previous| previous >= tag) {
            return Err(DecodeError::TagOrder { at: r.position(), tag });
        }
        self.previous = Some(tag);
        self.content_end = r.end_of(size)?;
        Ok(Some(tag))
    }

    /// Ends the announced field: its content must have been read to its stated end.
    pub(crate) fn end(&self, r: &Reader) -> Result<(), DecodeError> {
        match r.position() == self.content_end {
            true => Ok(()),
            false => Err(DecodeError::TagSize { at: r.position(), stated_end: self.content_end }),
        }
    }
}

/// Writes the tagged fields of one message or nested type: known ones as they are opened, unknown ones between them.
#[derive(Debug)]
pub(crate) struct TagWriter<'a> {
    unknown: std::iter::Peekable<Entries<'a>>,
    count: u32,
    /// Where the count goes once it is known.
    count_at: usize,
    /// Where the content of the open field begins.
    content_at: usize,
}

impl<'a> TagWriter<'a> {
    pub(crate) fn new(unknown: &'a UnknownTags, count_at: usize) -> Self {
        Self { unknown: unknown.entries().peekable(), count: 0, count_at, content_at: count_at }
    }

    /// Begins a known field; its content is written next.
    pub(crate) fn open(&mut self, w: &mut Writer, tag: u32) -> Result<(), EncodeError> {
        while let Some(before) = self.unknown.next_if(|entry| entry.tag < tag) {
            self.count += 1;
            w.raw(before.wire);
        }
        if self.unknown.peek().is_some_and(|entry| entry.tag == tag) {
            return Err(EncodeError::TagOrder { tag });
        }
        self.count += 1;
        w.unsigned_varint(tag);
        self.content_at = w.position();
        Ok(())
    }

    /// Ends the open field: its size goes before its content.
    pub(crate) fn close(&mut self, w: &mut Writer) -> Result<(), EncodeError> {
        let length = w.position() - self.content_at;
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: u32::MAX as usize })?;
        w.insert_varint(self.content_at, size);
        Ok(())
    }

    /// Ends the section: the count goes before all fields. A version without tagged fields gets nothing.
    pub(crate) fn finish(mut self, w: &mut Writer) {
        for after in self.unknown.by_ref() {
            self.count += 1;
            w.raw(after.wire);
        }
        if w.flexible() {
            w.insert_varint(self.count_at, self.count);
        }
    }
}
