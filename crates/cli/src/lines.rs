//! Lines out of a stream of bytes: what is between one delimiter (LF, if it is not another) and the next.
//!
//! Nothing is interpreted: CR and bytes that are not UTF-8 belong to the line. A last line without LF counts; after a last
//! LF there is none. Reading (which may block) and splitting are two calls. Memory is bounded by the longest line that is
//! wanted; of a longer one only the length is kept.

use std::io::{self, Read};

use crate::format::find;

/// Splits what `input` gives.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// What was read and not given out.
    start: usize,
    end: usize,
    line_bytes_max: usize,
    /// At least one byte.
    delimiter: Vec<u8>,
    /// Bytes of a line that is too long, thrown away so far; set until its end is found.
    skipped: Option<u64>,
    is_at_end: bool,
}

/// One line, without its delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Whole(&'a [u8]),
    TooLong { bytes: u64 },
}

impl<R: Read> Lines<R> {
    pub fn new(input: R, delimiter: &[u8], line_bytes_max: usize) -> Self {
        let (buffer, delimiter) = (vec![0; READ_BYTES], delimiter.to_vec());
        assert!(!delimiter.is_empty(), "lines end somewhere");
        Self { input, buffer, start: 0, end: 0, line_bytes_max, delimiter, skipped: None, is_at_end: false }
    }

    pub fn input(&self) -> &R {
        &self.input
    }

    pub fn delimiter_bytes(&self) -> usize {
        self.delimiter.len()
    }

    /// Reads more; only after [`Self::next_line`] gave none. False: there is no more.
    pub fn fill(&mut self) -> io::Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        self.make_room();
        let read = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        self.is_at_end = read == 0;
        Ok(!self.is_at_end || self.start < self.end || self.skipped.is_some())
    }

    /// The unfinished line moves to the front; the buffer grows only for a line that fills it. Of one that is too long the
    /// end is kept, because a delimiter may have begun there.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end > self.line_bytes_max || self.skipped.is_some() {
            let kept = self.end.min(self.delimiter.len() - 1);
            let gone = self.end - kept;
            *self.skipped.get_or_insert(0) += gone as u64;
            self.buffer.copy_within(gone..self.end, 0);
            self.end = kept;
        }
        if self.buffer.len() - self.end < READ_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    /// The next line that is wholly there; at the end of the input also the last one without LF.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        let unread = &self.buffer[self.start..self.end];
        let (bytes, taken) = match find(unread, &self.delimiter) {
            Some(length) => (length, length + self.delimiter.len()),
            None if self.is_at_end && (!unread.is_empty() || self.skipped.is_some()) => (unread.len(), unread.len()),
            None => return None,
        };
        let line = self.start..self.start + bytes;
        self.start += taken;
        match self.skipped.take() {
            Some(skipped) => Some(Line::TooLong { bytes: skipped + bytes as u64 }),
            None if bytes > self.line_bytes_max => Some(Line::TooLong { bytes: bytes as u64 }),
            None => Some(Line::Whole(&self.buffer[line])),
        }
    }
}

/// Few system calls, and still in the processor's cache when the lines are split.
const READ_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(size);
            buffer[..size].copy_from_slice(now);
            self.0 = later;
            Ok(size)
        }
    }

    fn split(input: &[u8], piece: usize, line_bytes_max: usize) -> Vec<Result<Vec<u8>, u64>> {
        split_at(input, b"\n", piece, line_bytes_max)
    }

    fn split_at(input: &[u8], delimiter: &[u8], piece: usize, line_bytes_max: usize) -> Vec<Result<Vec<u8>, u64>> {
        let mut lines = Lines::new(Pieces(input, piece), delimiter, line_bytes_max);
        let mut found = Vec::new();
        while lines.fill().expect("a slice is readable") {
            while let Some(line) = lines.next_line() {
                found.push(match line {
                    Line::Whole(line) => Ok(line.to_vec()),
                    Line::TooLong { bytes } => Err(bytes),
                });
            }
        }
        found
    }

    fn whole(lines: &[&[u8]]) -> Vec<Result<Vec<u8>, u64>> {
        lines.iter().map(|line| Ok(line.to_vec())).collect()
    }

    #[test]
    fn a_line_is_what_lies_before_an_lf_and_the_rest_at_the_end() {
        for piece in [1, 2, 3, 1000] {
            assert_eq!(split(b"", piece, 9), whole(&[]));
            assert_eq!(split(b"\n", piece, 9), whole(&[b""]));
            assert_eq!(split(b"a\r\n\n\xff\x00\nlast", piece, 9), whole(&[b"a\r", b"", b"\xff\x00", b"last"]));
            assert_eq!(split(b"a\n\n", piece, 9), whole(&[b"a", b""]));
        }
    }

    #[test]
    fn a_line_longer_than_a_read_is_put_together() {
        let long = vec![b'x'; READ_BYTES * 3];
        let input = [b"a\n", &long[..], b"\nb"].concat();
        for piece in [1000, 100_000, usize::MAX] {
            assert_eq!(split(&input, piece, long.len()), whole(&[b"a", &long, b"b"]));
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_the_length_is_told_and_the_next_is_whole() {
        let long = vec![b'x'; READ_BYTES * 5 + 7];
        let input = [&long[..], b"\nb\n", &long[..]].concat();
        for piece in [1000, 100_000, usize::MAX] {
            let expected = [Err(long.len() as u64), Ok(b"b".to_vec()), Err(long.len() as u64)];
            assert_eq!(split(&input, piece, 1000), expected);
        }
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_found_wherever_reads_end() {
        let long = vec![b'-'; READ_BYTES * 2 + 1];
        let input = [b"a-b--\n--c--", &long[..], b">", b"d"].concat();
        for piece in [1000, 100_001, usize::MAX] {
            assert_eq!(split_at(&input, b"-->", piece, 1000), [Err((input.len() - 4) as u64), Ok(b"d".to_vec())]);
        }
        for piece in [1, 2, 3, 1000] {
            assert_eq!(split_at(b"a--b-->c->-->", b"-->", piece, 9), whole(&[b"a--b", b"c->"]));
        }
    }

    #[test]
    fn the_limit_itself_is_not_too_long() {
        assert_eq!(split(b"abc\nabcd\nabc", 2, 3), [Ok(b"abc".to_vec()), Err(4), Ok(b"abc".to_vec())]);
    }
}
