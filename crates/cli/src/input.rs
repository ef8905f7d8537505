//! Where records come from: a stream that is split into records, or files that are one each.
//!
//! Reading (which may block) and taking records apart are two calls, so that nobody waits for a read. Memory is bounded by
//! the longest record that is wanted.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::format::{Format, InputRecord, Taken, find};
use crate::json;
use crate::lines::{Line, Lines};

/// How bytes become records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Lines {
        delimiter: Vec<u8>,
        /// What stands between key and value, if a line has both.
        key_delimiter: Option<Vec<u8>>,
    },
    Json {
        /// Whether records go to the partitions that their lines name.
        keeps_partitions: bool,
    },
    Format(Format),
    /// A file is a value.
    Whole,
}

/// A piece of the input.
#[derive(Debug)]
pub struct Item<'a> {
    /// How much of the input it is.
    pub bytes: u64,
    pub what: What<'a>,
}

#[derive(Debug)]
pub enum What<'a> {
    Record(InputRecord<'a>),
    /// Longer than a record may be.
    TooLong,
    /// No record; the next piece may be one.
    Wrong(String),
    /// No record, and where the next one begins cannot be known.
    Lost(String),
}

/// An input that is read in this way.
pub enum Source<R> {
    Lines(Lines<R>, Option<Vec<u8>>),
    Json(Lines<R>, bool),
    Format(Formatted<R>),
    Whole(Whole<R>),
}

impl<R: Read> Source<R> {
    pub fn new(input: R, reading: &Reading, record_bytes_max: usize) -> Self {
        match reading {
            Reading::Lines { delimiter, key_delimiter } => {
                Self::Lines(Lines::new(input, delimiter, record_bytes_max), key_delimiter.clone())
            }
            Reading::Json { keeps_partitions } => {
                let line_bytes_max = record_bytes_max.saturating_mul(ESCAPED);
                Self::Json(Lines::new(input, b"\n", line_bytes_max), *keeps_partitions)
            }
            Reading::Format(format) => {
                Self::Format(Formatted::new(input, format.clone(), record_bytes_max.saturating_mul(ESCAPED)))
            }
            Reading::Whole => {
                Self::Whole(Whole { input: Some(input), bytes: Vec::new(), is_read: false, record_bytes_max })
            }
        }
    }

    /// Reads more; only after [`Self::next`] gave none. False: there is no more.
    pub fn fill(&mut self) -> io::Result<bool> {
        match self {
            Self::Lines(lines, _) | Self::Json(lines, _) => lines.fill(),
            Self::Format(formatted) => formatted.fill(),
            Self::Whole(whole) => whole.fill(),
        }
    }

    /// The next piece that is wholly there.
    pub fn next(&mut self) -> Option<Item<'_>> {
        match self {
            Self::Lines(lines, key_delimiter) => {
                let delimiter_bytes = lines.delimiter_bytes();
                let line = lines.next_line()?;
                Some(item(line, delimiter_bytes, |line| What::Record(split(line, key_delimiter.as_deref()))))
            }
            Self::Json(lines, keeps_partitions) => Some(item(lines.next_line()?, 1, |line| match json::take(line) {
                Ok(record) if *keeps_partitions => What::Record(record),
                Ok(record) => What::Record(InputRecord { partition: None, ..record }),
                Err(why) => What::Wrong(why),
            })),
            Self::Format(formatted) => formatted.next(),
            Self::Whole(whole) => whole.next(),
        }
    }
}

fn item<'a>(line: Line<'a>, delimiter_bytes: usize, take: impl FnOnce(&'a [u8]) -> What<'a>) -> Item<'a> {
    let (bytes, what) = match line {
        Line::Whole(line) => (line.len() as u64, take(line)),
        Line::TooLong { bytes } => (bytes, What::TooLong),
    };
    Item { bytes: bytes + delimiter_bytes as u64, what }
}

/// A line without the delimiter is a value alone, as in kcat.
fn split<'a>(line: &'a [u8], key_delimiter: Option<&[u8]>) -> InputRecord<'a> {
    let between = key_delimiter.and_then(|delimiter| Some((find(line, delimiter)?, delimiter.len())));
    let (key, value) = match between {
        Some((at, length)) => (Some(Cow::Borrowed(&line[..at])), &line[at + length..]),
        None => (None, line),
    };
    InputRecord { key, value: Some(Cow::Borrowed(value)), ..InputRecord::default() }
}

/// A stream that looks like a format.
pub struct Formatted<R> {
    input: R,
    format: Format,
    buffer: Vec<u8>,
    /// What was read and not given out.
    start: usize,
    end: usize,
    record_bytes_max: usize,
    is_at_end: bool,
    is_lost: bool,
}

impl<R: Read> Formatted<R> {
    fn new(input: R, format: Format, record_bytes_max: usize) -> Self {
        let buffer = vec![0; READ_BYTES];
        Self { input, format, buffer, start: 0, end: 0, record_bytes_max, is_at_end: false, is_lost: false }
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.is_at_end || self.is_lost {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < READ_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = read_some(&mut self.input, &mut self.buffer[self.end..])?;
        self.end += read;
        self.is_at_end = read == 0;
        Ok(!self.is_at_end || self.end > 0)
    }

    fn next(&mut self) -> Option<Item<'_>> {
        let unread = &self.buffer[self.start..self.end];
        if unread.is_empty() || self.is_lost {
            return None;
        }
        let bytes = unread.len() as u64;
        match self.format.take(unread, self.is_at_end) {
            Taken::Record(record, taken) => {
                self.start += taken;
                Some(Item { bytes: taken as u64, what: What::Record(record) })
            }
            Taken::More if unread.len() <= self.record_bytes_max => None,
            Taken::More => {
                self.is_lost = true;
                let why = format!("it has no end within {} bytes; check --format", self.record_bytes_max);
                Some(Item { bytes, what: What::Lost(why) })
            }
            Taken::Malformed(why) => {
                self.is_lost = true;
                Some(Item { bytes, what: What::Lost(why) })
            }
        }
    }
}

/// An input that is one value.
pub struct Whole<R> {
    /// Until it is read.
    input: Option<R>,
    bytes: Vec<u8>,
    /// Set when the bytes are there and not given out.
    is_read: bool,
    record_bytes_max: usize,
}

impl<R: Read> Whole<R> {
    fn fill(&mut self) -> io::Result<bool> {
        let Some(input) = self.input.take() else { return Ok(false) };
        // One byte more shows that it is too long.
        input.take(self.record_bytes_max as u64 + 1).read_to_end(&mut self.bytes)?;
        self.is_read = true;
        Ok(true)
    }

    fn next(&mut self) -> Option<Item<'_>> {
        std::mem::take(&mut self.is_read).then(|| {
            let what = match self.bytes.len() > self.record_bytes_max {
                true => What::TooLong,
                false => {
                    What::Record(InputRecord { value: Some(Cow::Borrowed(&self.bytes)), ..InputRecord::default() })
                }
            };
            Item { bytes: self.bytes.len() as u64, what }
        })
    }
}

/// Opens a file, or says why it cannot be read.
pub fn open(path: &Path) -> Result<File, String> {
    let file = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    });
    file.map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

const READ_BYTES: usize = 256 * 1024;

/// How many times as long as a record its line may be: six characters of JSON are one byte at worst, and more is left for
/// names and headers.
const ESCAPED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn values(input: &[u8], reading: &Reading) -> Vec<Result<Vec<u8>, String>> {
        let mut source = Source::new(input, reading, 100);
        let mut found = Vec::new();
        while source.fill().expect("a slice is readable") {
            while let Some(item) = source.next() {
                found.push(match item.what {
                    What::Record(record) => Ok(record.value.unwrap_or_default().into_owned()),
                    What::TooLong => Err("too long".to_owned()),
                    What::Wrong(why) | What::Lost(why) => Err(why),
                });
            }
        }
        found
    }

    #[test]
    fn a_stream_that_leaves_its_format_ends_there() {
        let reading = Reading::Format(Format::for_input("%V:%v;").expect("is a format"));
        let found = values(b"1:a;2:bc;x:d;1:e;", &reading);
        assert_eq!(found[..2], [Ok(b"a".to_vec()), Ok(b"bc".to_vec())]);
        assert_eq!(found.len(), 3);
        assert!(found[2].as_ref().is_err_and(|why| why.contains("a number should stand where")), "{found:?}");
    }

    #[test]
    fn a_record_without_an_end_is_told_before_it_fills_the_memory() {
        let reading = Reading::Format(Format::for_input("%v;").expect("is a format"));
        let found = values(&vec![b'x'; 2_000_000], &reading);
        assert!(matches!(&found[..], [Err(why)] if why.contains("no end within 800 bytes")), "{found:?}");
    }

    #[test]
    fn a_whole_input_is_one_value_and_may_be_empty_or_too_long() {
        assert_eq!(values(b"a\nb\n", &Reading::Whole), [Ok(b"a\nb\n".to_vec())]);
        assert_eq!(values(b"", &Reading::Whole), [Ok(Vec::new())]);
        assert_eq!(values(&[b'x'; 100], &Reading::Whole), [Ok(vec![b'x'; 100])]);
        assert_eq!(values(&[b'x'; 101], &Reading::Whole), [Err("too long".to_owned())]);
    }
}
