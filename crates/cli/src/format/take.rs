//! Records out of bytes.
//!
//! A part ends where its length says, if that was told before it, and else before the next literal. Nothing is guessed: a
//! format whose parts have no end is refused, and input that does not look like the format ends the reading, because where
//! the next record begins cannot be known then.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde_json::value::RawValue;

use super::{Clock, Digits, Encoding, Format, InputHeader, InputRecord, Number, Part, Text};

/// What a look at the input found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// A record, and how many bytes of the input it is.
    Record(InputRecord<'a>, usize),
    /// It is not whole yet.
    More,
    /// No record: what was expected.
    Malformed(String),
}

impl Format {
    /// The record at the begin of these bytes; `is_all` when no more will come. There is at least one byte.
    pub fn take<'a>(&self, bytes: &'a [u8], is_all: bool) -> Taken<'a> {
        let mut taking = Taking { bytes, at: 0, is_all };
        let mut record = InputRecord::default();
        match taking.record(&self.parts, &mut record) {
            // It would be taken again and again.
            Ok(()) if taking.at == 0 => Taken::Malformed("the format takes nothing of the input".to_owned()),
            Ok(()) => Taken::Record(record, taking.at),
            Err(Stop::More) if !is_all => Taken::More,
            Err(Stop::More) => Taken::Malformed("the input ends in the middle of it".to_owned()),
            Err(Stop::Malformed(what)) => Taken::Malformed(what),
        }
    }
}

/// Whether each part has an end that can be found.
pub fn check(parts: &[Part]) -> Result<(), String> {
    check_parts(parts, false)?;
    let takes_bytes = parts.iter().any(|part| matches!(part, Part::Text(Text::Key | Text::Value, _)));
    match takes_bytes {
        false => Err("the format has neither %k nor %v, so records would be empty; add %v".to_owned()),
        true => Ok(()),
    }
}

fn check_parts(parts: &[Part], is_header: bool) -> Result<(), String> {
    let mut sized = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let is_ended = matches!(parts.get(at + 1), Some(Part::Literal(_)));
        match part {
            Part::Literal(_) => {}
            Part::Text(Text::Topic, _) | Part::Number(Number::TopicBytes, _) => {
                return Err("%t and %T are for consume; produce has its topic on the command line".to_owned());
            }
            Part::Number(Number::Offset | Number::Count, _) => {
                return Err("%o and %i are for consume; brokers give the offsets".to_owned());
            }
            Part::Unpacked(..) => return Err("{unpack[..]} is for consume; use numbers such as %v{hex}".to_owned()),
            Part::Codec
            | Part::Number(
                Number::ProducerId
                | Number::ProducerEpoch
                | Number::LeaderEpoch
                | Number::LogStart
                | Number::LastStable
                | Number::HighWatermark
                | Number::Attribute(_),
                _,
            ) => {
                return Err(
                    "%a, %x, %y, %e, %[, %| and %] are for consume; brokers and the producer give them".to_owned()
                );
            }
            Part::Number(_, digits) | Part::Time(Clock::Millis(digits)) if !digits.is_for_input() => {
                return Err(
                    "{hex} and {bool} are for consume; a number that is read is ascii or has a width, as in {hex32}"
                        .to_owned(),
                );
            }
            Part::Number(number, digits) => {
                let needs_end = *digits == Digits::Ascii;
                if needs_end && at + 1 == parts.len() && !is_header {
                    return Err("the format ends with a number that has no end; add \\n".to_owned());
                }
                sized.push(*number);
            }
            Part::Text(text, encoding) => {
                let (size, names) = match text {
                    Text::Key => (Number::KeyBytes, ["%k", "%K"]),
                    _ => (Number::ValueBytes, ["%v", "%V"]),
                };
                let [name, length] = names;
                if *encoding == Encoding::Json {
                    if sized.contains(&size) {
                        return Err("{json} ends by itself; leave its length out".to_owned());
                    }
                } else if *encoding != Encoding::Plain && sized.contains(&size) {
                    return Err(format!(
                        "{length} before a text of {{hex}} or {{base64}} could mean two things: kcl and rpk count what stands \
                         there, consume counts the bytes of the record; leave {length} out and put text after {name}, as in \
                         {name}{{hex}}\\n"
                    ));
                } else if !is_ended && !sized.contains(&size) {
                    return Err(format!(
                        "{name} has no end: put text after it, as in {name}\\n, or its length {length} before it"
                    ));
                }
            }
            Part::Time(Clock::Rfc3339 | Clock::Pattern(_)) if !is_ended => {
                return Err("%d as text, such as %d{rfc3339}, has no end: put text after it".to_owned());
            }
            Part::Time(_) => {}
            Part::Headers(inner) => {
                if !sized.contains(&Number::HeaderCount) {
                    return Err(
                        "%h needs to know how many headers come: put %H before it, as in %H %h{%k=%v,}".to_owned()
                    );
                }
                if !inner.iter().any(|part| matches!(part, Part::Text(Text::Key, _))) {
                    return Err("%h has no %k, and a header has a name".to_owned());
                }
                check_parts(inner, true)?;
            }
        }
    }
    Ok(())
}

enum Stop {
    More,
    Malformed(String),
}

struct Taking<'a> {
    bytes: &'a [u8],
    at: usize,
    is_all: bool,
}

/// A key and a value, with their lengths where these were told.
#[derive(Default)]
struct Pair<'a> {
    key: Option<Cow<'a, [u8]>>,
    value: Option<Cow<'a, [u8]>>,
    key_bytes: Option<i64>,
    value_bytes: Option<i64>,
}

impl<'a> Taking<'a> {
    fn record(&mut self, parts: &[Part], record: &mut InputRecord<'a>) -> Result<(), Stop> {
        let mut pair = Pair::default();
        let mut header_count = 0;
        for (at, part) in parts.iter().enumerate() {
            let end = Ending::of(parts, at);
            match part {
                Part::Literal(literal) => self.literal(literal, at + 1 == parts.len())?,
                Part::Number(Number::Partition, digits) => {
                    let partition = self.number(*digits)?;
                    let wrong = || Stop::Malformed(format!("{partition} is no partition"));
                    record.partition = Some(i32::try_from(partition).ok().filter(|it| *it >= 0).ok_or_else(wrong)?);
                }
                Part::Number(Number::HeaderCount, digits) => header_count = self.length(*digits)?,
                Part::Time(clock) => record.timestamp = Some(self.time(clock, end)?),
                Part::Headers(inner) => {
                    for _ in 0..header_count.max(0) {
                        record.headers.push(self.header(inner)?);
                    }
                }
                other => self.pair(other, end, &mut pair)?,
            }
        }
        (record.key, record.value) = (pair.key, pair.value);
        Ok(())
    }

    fn header(&mut self, parts: &[Part]) -> Result<InputHeader<'a>, Stop> {
        let (mut pair, before) = (Pair::default(), self.at);
        for (at, part) in parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => self.literal(literal, false)?,
                other => self.pair(other, Ending::of(parts, at), &mut pair)?,
            }
        }
        if self.at == before {
            // However many are told to come, they cost nothing unless there is a byte for each.
            return Err(Stop::Malformed("a header takes nothing of the input".to_owned()));
        }
        let name = match pair.key.unwrap_or_default() {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| ()),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| ()),
        };
        let name = name.map_err(|()| Stop::Malformed("the name of a header is not UTF-8".to_owned()))?;
        Ok((name, pair.value))
    }

    fn pair(&mut self, part: &Part, end: Ending<'_>, pair: &mut Pair<'a>) -> Result<(), Stop> {
        match part {
            Part::Number(Number::KeyBytes, digits) => pair.key_bytes = Some(self.length(*digits)?),
            Part::Number(Number::ValueBytes, digits) => pair.value_bytes = Some(self.length(*digits)?),
            Part::Text(Text::Key, encoding) => pair.key = self.text(pair.key_bytes, *encoding, end)?,
            Part::Text(Text::Value, encoding) => pair.value = self.text(pair.value_bytes, *encoding, end)?,
            other => unreachable!("{other:?} was refused when the format was checked"),
        }
        Ok(())
    }

    /// The last one may be missing at the end of the input, as the LF of a last line may.
    fn literal(&mut self, literal: &[u8], is_last: bool) -> Result<(), Stop> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(literal) {
            self.at += literal.len();
            return Ok(());
        }
        match (rest.is_empty(), literal.starts_with(rest)) {
            (true, _) if self.is_all && is_last => Ok(()),
            (_, true) => Err(Stop::More),
            _ => {
                let found = &rest[..rest.len().min(literal.len())];
                Err(Stop::Malformed(format!("{:?} should stand where {:?} does", Shown(literal), Shown(found))))
            }
        }
    }

    fn number(&mut self, digits: Digits) -> Result<i64, Stop> {
        let rest = &self.bytes[self.at..];
        let bytes = match digits.len() {
            Some(bytes) if bytes > rest.len() => return Err(Stop::More),
            Some(bytes) => bytes,
            None => {
                let is_part = |(at, byte): (usize, &u8)| byte.is_ascii_digit() || (at == 0 && *byte == b'-');
                let end = rest.iter().enumerate().position(|found| !is_part(found));
                match end {
                    None if !self.is_all && rest.len() <= NUMBER_BYTES_MAX => return Err(Stop::More),
                    None => rest.len(),
                    Some(end) => end,
                }
            }
        };
        let written = &rest[..bytes];
        let number = digits.read(written);
        self.at += bytes;
        number.ok_or_else(|| {
            let shown = if written.is_empty() { &rest[..rest.len().min(8)] } else { written };
            Stop::Malformed(format!("a number should stand where {:?} does", Shown(shown)))
        })
    }

    /// A number that says how much comes; −1 is null.
    fn length(&mut self, digits: Digits) -> Result<i64, Stop> {
        let length = self.number(digits)?;
        match (-1..=LENGTH_MAX).contains(&length) {
            true => Ok(length),
            false => Err(Stop::Malformed(format!("{length} is no length of what a record can hold"))),
        }
    }

    /// What has a length is plain; that was checked.
    fn text(
        &mut self,
        length: Option<i64>,
        encoding: Encoding,
        end: Ending<'_>,
    ) -> Result<Option<Cow<'a, [u8]>>, Stop> {
        if encoding == Encoding::Json {
            return self.json().map(Some);
        }
        let bytes = match length {
            Some(-1) => return Ok(None),
            Some(length) => self.sized(length as usize)?,
            None => self.ended(end)?,
        };
        encoding.decode(bytes).map(Some)
    }

    /// As it is written, without the space before it.
    fn json(&mut self) -> Result<Cow<'a, [u8]>, Stop> {
        let rest = &self.bytes[self.at..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(value)) => {
                let end = values.byte_offset();
                // More digits may come.
                if end == rest.len() && !self.is_all && !value.get().ends_with(['}', ']', '"']) {
                    return Err(Stop::More);
                }
                self.at += end;
                Ok(Cow::Borrowed(value.get().as_bytes()))
            }
            Some(Err(error)) if error.is_eof() => Err(Stop::More),
            // Half a number is no end of the input to the parser.
            Some(Err(_)) if !self.is_all && rest.last().is_some_and(|last| b"+-.eE".contains(last)) => Err(Stop::More),
            Some(Err(_)) => Err(Stop::Malformed(format!(
                "a value of JSON should stand where {:?} does",
                Shown(&rest[..rest.len().min(40)])
            ))),
            None => Err(Stop::More),
        }
    }

    fn sized(&mut self, bytes: usize) -> Result<&'a [u8], Stop> {
        let found = self.bytes[self.at..].get(..bytes).ok_or(Stop::More)?;
        self.at += bytes;
        Ok(found)
    }

    fn ended(&mut self, Ending { literal, is_last }: Ending<'_>) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let found = match find(rest, literal) {
            Some(at) => &rest[..at],
            None if self.is_all && is_last => rest,
            None => return Err(Stop::More),
        };
        self.at += found.len();
        Ok(found)
    }

    fn time(&mut self, clock: &Clock, end: Ending<'_>) -> Result<i64, Stop> {
        let too_large = || Stop::Malformed("a timestamp is too large".to_owned());
        match clock {
            Clock::Millis(digits) => self.number(*digits),
            Clock::Seconds => self.number(Digits::Ascii)?.checked_mul(1000).ok_or_else(too_large),
            Clock::Rfc3339 | Clock::Pattern(_) => {
                let bytes = self.ended(end)?;
                let time = std::str::from_utf8(bytes).ok().and_then(|text| clock.read(text));
                time.ok_or_else(|| {
                    let mut example = Vec::new();
                    let _year_2026 = clock.print(1_769_860_800_000, &mut example);
                    let shown = &bytes[..bytes.len().min(40)];
                    Stop::Malformed(format!("{:?} is no time as {:?} is", Shown(shown), Shown(&example)))
                })
            }
        }
    }
}

/// What ends a part that has no length.
#[derive(Clone, Copy)]
struct Ending<'p> {
    literal: &'p [u8],
    /// Nothing comes after it in the format.
    is_last: bool,
}

impl<'p> Ending<'p> {
    fn of(parts: &'p [Part], at: usize) -> Self {
        match parts.get(at + 1) {
            Some(Part::Literal(literal)) => Self { literal, is_last: at + 2 == parts.len() },
            // Then the part has a length; that was checked.
            _ => Self { literal: &[], is_last: false },
        }
    }
}

impl Encoding {
    fn decode(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, Stop> {
        let decoded = match self {
            Self::Plain | Self::Json => return Ok(Cow::Borrowed(bytes)),
            Self::Hex => hex(bytes),
            Self::Base64 => BASE64_STANDARD.decode(bytes).ok(),
            Self::Base64Raw => BASE64_STANDARD_NO_PAD.decode(bytes).ok(),
        };
        let wrong = || {
            let name = if self == Self::Hex { "hexadecimal" } else { "base64" };
            Stop::Malformed(format!("{:?} is not {name}", Shown(&bytes[..bytes.len().min(40)])))
        };
        decoded.map(Cow::Owned).ok_or_else(wrong)
    }
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.chunks_exact(2);
    pairs.remainder().is_empty().then_some(())?;
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Where a text begins in a longer one.
pub fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    match text {
        [byte] => bytes.iter().position(|other| other == byte),
        text => bytes.windows(text.len().max(1)).position(|window| window == text),
    }
}

/// Bytes as somebody would type them.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// More than any number has digits.
const NUMBER_BYTES_MAX: usize = 20;

/// Far beyond what a record may hold, and far from where sums overflow.
const LENGTH_MAX: i64 = 1 << 30;
