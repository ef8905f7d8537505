//! The `%` language: what a record looks like as bytes, written by `consume --format` and read by `produce --format`.
//!
//! The names are those of kcl and rpk. One grammar for both directions: [`Format::for_output`] and [`Format::for_input`]
//! refuse what makes no sense in theirs, and say what to use. `print.rs` writes, `take.rs` reads.

mod clock;
mod numbers;
mod parse;
mod print;
mod take;
#[cfg(test)]
mod tests;
mod unpack;

use std::borrow::Cow;

pub use self::clock::Clock;
pub use self::numbers::Digits;
pub use self::parse::unescape;
pub use self::print::Printed;
pub use self::take::{Taken, find};
pub use self::unpack::Unpack;

/// A format that was checked for its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
}

/// One thing after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Literal(Vec<u8>),
    Text(Text, Encoding),
    /// Numbers and text out of the bytes, as Python's `struct` takes them apart.
    Unpacked(Text, Unpack),
    Number(Number, Digits),
    Time(Clock),
    /// The codec's name.
    Codec,
    /// For each header of the record.
    Headers(Vec<Part>),
}

/// Bytes of a record, or of a header where the part stands inside of `%h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    Topic,
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Hex,
    Base64,
    /// Without the signs at its end.
    Base64Raw,
    /// A value of JSON, which ends by itself.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    TopicBytes,
    /// −1 for null, as in Kafka's own records.
    KeyBytes,
    ValueBytes,
    HeaderCount,
    Partition,
    Offset,
    /// Records so far, this one included.
    Count,
    /// −1 for those that no idempotent producer sent, as the next.
    ProducerId,
    ProducerEpoch,
    LeaderEpoch,
    /// Of the partition, when its leader answered; as the next two.
    LogStart,
    LastStable,
    HighWatermark,
    Attribute(Attribute),
}

/// What a batch says of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Kafka's number of the codec.
    Compression,
    /// 0: the producer's time; 1: the broker's.
    TimestampType,
    /// 1: part of a transaction.
    Transactional,
    /// 1: an end of a transaction; `consume` prints none.
    Control,
}

/// A name, and a value that may be null.
pub type InputHeader<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

/// A record as the input has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRecord<'a> {
    pub key: Option<Cow<'a, [u8]>>,
    pub value: Option<Cow<'a, [u8]>>,
    pub headers: Vec<InputHeader<'a>>,
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
}

fn is_json(part: &Part) -> bool {
    match part {
        Part::Text(_, encoding) => *encoding == Encoding::Json,
        Part::Headers(inner) => inner.iter().any(is_json),
        _ => false,
    }
}

impl Format {
    /// As `consume` takes it.
    pub fn for_output(text: &str) -> Result<Self, String> {
        let parts = parse::parts(text)?;
        if parts.iter().any(is_json) {
            return Err("{json} is for produce; consume --json prints whole records".to_owned());
        }
        Ok(Self { parts })
    }

    /// As `produce` takes it: each part must have an end that can be found.
    pub fn for_input(text: &str) -> Result<Self, String> {
        let parts = parse::parts(text)?;
        take::check(&parts)?;
        Ok(Self { parts })
    }

    /// kcat's way: key and delimiter if one is given, the value, and what ends a record.
    pub fn of_lines(key_delimiter: Option<&[u8]>, delimiter: &[u8]) -> Self {
        let key = key_delimiter
            .into_iter()
            .flat_map(|between| [Part::Text(Text::Key, Encoding::Plain), Part::Literal(between.to_vec())]);
        let value = [Part::Text(Text::Value, Encoding::Plain), Part::Literal(delimiter.to_vec())];
        Self { parts: key.chain(value).collect() }
    }
}
