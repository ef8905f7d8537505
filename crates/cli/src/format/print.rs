//! Records as bytes.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use milena::unstable::{ReadBatch, ReadRecord, TimestampType};

use super::{Attribute, Encoding, Format, Number, Part, Text};

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// The one that the record is of.
    pub batch: &'a ReadBatch,
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
            Part::Text(text, encoding) => match text.of(printed, pair) {
                Some(bytes) => encoding.print(bytes, out),
                None => out.extend_from_slice(printed.null),
            },
            Part::Unpacked(text, unpack) => match text.of(printed, pair) {
                Some(bytes) => unpack.print(bytes, out)?,
                None => out.extend_from_slice(printed.null),
            },
            Part::Codec => {
                let codec = printed.batch.header().attributes.compression();
                out.extend_from_slice(codec.to_string().as_bytes());
            }
            Part::Number(number, digits) => digits.write(number.of(printed, pair), out)?,
            Part::Time(clock) => clock.print(printed.record.timestamp, out)?,
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

impl Text {
    fn of<'a>(self, printed: &Printed<'a>, pair: Pair<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Topic => Some(printed.topic.as_bytes()),
            Self::Key => pair.key,
            Self::Value => pair.value,
        }
    }
}

impl Number {
    fn of(self, printed: &Printed<'_>, pair: Pair<'_>) -> i64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        let (header, marks) = (printed.batch.header(), printed.batch.marks);
        match self {
            Self::TopicBytes => printed.topic.len() as i64,
            Self::KeyBytes => length(pair.key),
            Self::ValueBytes => length(pair.value),
            Self::HeaderCount => printed.record.headers().len() as i64,
            Self::Partition => printed.partition.into(),
            Self::Offset => printed.record.offset,
            Self::Count => printed.count as i64,
            Self::ProducerId => header.producer_id,
            Self::ProducerEpoch => header.producer_epoch.into(),
            Self::LeaderEpoch => header.partition_leader_epoch.into(),
            Self::LogStart => marks.log_start,
            Self::LastStable => marks.last_stable,
            Self::HighWatermark => marks.high_watermark,
            Self::Attribute(Attribute::Compression) => header.attributes.compression().id().into(),
            Self::Attribute(Attribute::TimestampType) => {
                (header.attributes.timestamp_type() == TimestampType::LogAppendTime).into()
            }
            Self::Attribute(Attribute::Transactional) => header.attributes.is_transactional().into(),
            Self::Attribute(Attribute::Control) => header.attributes.is_control().into(),
        }
    }
}

impl Encoding {
    fn print(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            // JSON is for input only; that was checked.
            Self::Plain | Self::Json => out.extend_from_slice(bytes),
            Self::Hex => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend(
                    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
                );
            }
            Self::Base64 => out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes()),
            Self::Base64Raw => out.extend_from_slice(BASE64_STANDARD_NO_PAD.encode(bytes).as_bytes()),
        }
    }
}
