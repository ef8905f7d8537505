//! Records as bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use milena::unstable::ReadRecord;

use super::{Clock, Encoding, Format, Number, Part, Text};
use crate::times;

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub record: &'a ReadRecord,
    /// Records so far, this one included.
    pub count: u64,
    /// What is printed in place of a key or value that is null.
    pub null: &'a [u8],
}

impl Format {
    /// Adds the record. The error says what cannot be written as it was asked for.
    pub fn print(&self, printed: &Printed<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let ReadRecord { key, value, .. } = printed.record;
        print_parts(&self.parts, printed, Pair { key: key.as_deref(), value: value.as_deref() }, out)
    }
}

/// Of the record, or of a header.
#[derive(Clone, Copy)]
struct Pair<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

fn print_parts(parts: &[Part], printed: &Printed<'_>, pair: Pair<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Literal(bytes) => out.extend_from_slice(bytes),
            Part::Text(text, encoding) => {
                let bytes = match text {
                    Text::Topic => Some(printed.topic.as_bytes()),
                    Text::Key => pair.key,
                    Text::Value => pair.value,
                };
                match bytes {
                    Some(bytes) => encoding.print(bytes, out),
                    None => out.extend_from_slice(printed.null),
                }
            }
            Part::Number(number, digits) => digits.write(number.of(printed, pair), out)?,
            Part::Time(clock) => clock.print(printed.record.timestamp, out),
            Part::Headers(inner) => {
                for header in printed.record.headers() {
                    let pair = Pair { key: Some(&header.key), value: header.value.as_deref() };
                    print_parts(inner, printed, pair, out)?;
                }
            }
        }
    }
    Ok(())
}

impl Number {
    fn of(self, printed: &Printed<'_>, pair: Pair<'_>) -> i64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        match self {
            Self::TopicBytes => printed.topic.len() as i64,
            Self::KeyBytes => length(pair.key),
            Self::ValueBytes => length(pair.value),
            Self::HeaderCount => printed.record.headers().len() as i64,
            Self::Partition => printed.partition.into(),
            Self::Offset => printed.record.offset,
            Self::Count => printed.count as i64,
        }
    }
}

impl Encoding {
    fn print(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(bytes),
            Self::Hex => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend(
                    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
                );
            }
            Self::Base64 => out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes()),
        }
    }
}

impl Clock {
    fn print(self, millis: i64, out: &mut Vec<u8>) {
        let text = match self {
            Self::Millis => millis.to_string(),
            Self::Seconds => millis.div_euclid(1000).to_string(),
            Self::Rfc3339 => times::rfc3339(millis),
        };
        out.extend_from_slice(text.as_bytes());
    }
}
