//! Records as lines of JSON, both ways, with the names that rpk and kcl give their fields.
//!
//! Bytes that are not UTF-8 stand as base64 in a field of their own (`value_base64`), so every line is valid JSON and
//! every record comes back as it was.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use milena::unstable::ReadHeader;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::format::{InputRecord, Printed};

/// Adds the record as a line.
pub fn print(printed: &Printed<'_>, out: &mut Vec<u8>) {
    let record = printed.record;
    let headers: Vec<ReadHeader> = record.headers().collect();
    let (key, key_base64) = told(record.key.as_deref());
    let (value, value_base64) = told(record.value.as_deref());
    let headers = headers.iter().map(|header| {
        let (key, key_base64) = told(Some(&header.key));
        let (value, value_base64) = told(header.value.as_deref());
        ToldHeader { key, key_base64, value, value_base64 }
    });
    line(
        &Told {
            topic: printed.topic,
            partition: printed.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
        },
        out,
    );
}

/// Adds a value as one line.
pub fn line(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, value).expect("text, numbers and lists go into memory");
    out.push(b'\n');
}

/// Text or null in the field, or base64 in the other one.
fn told(bytes: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (Some(None), None),
        Some(Ok(text)) => (Some(Some(text)), None),
        Some(Err(bytes)) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

#[derive(Serialize)]
struct Told<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<ToldHeader<'a>>,
}

#[derive(Serialize)]
struct ToldHeader<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// The record of a line; the error says what is wrong with it.
pub fn take(line: &[u8]) -> Result<InputRecord<'_>, String> {
    let given: Given<'_> = object(line)?;
    if given.value.is_none() && given.value_base64.is_none() {
        return Err("it has no value; write \"value\":null for a record without one".to_owned());
    }
    let mut headers = Vec::with_capacity(given.headers.len());
    for Object(header) in given.headers {
        let name = header_name(header.key, header.key_base64)?;
        headers.push((name, bytes(header.value, header.value_base64, "value of a header")?));
    }
    let timestamp = match given.timestamp {
        // What consume prints of a record that has none.
        None | Some(-1) => None,
        Some(millis @ 0..) => Some(millis),
        Some(millis) => return Err(format!("timestamp {millis} lies before 1970")),
    };
    if let Some(partition) = given.partition.filter(|partition| *partition < 0) {
        return Err(format!("{partition} is no partition; they are numbered from 0"));
    }
    Ok(InputRecord {
        key: bytes(given.key, given.key_base64, "key")?,
        value: bytes(given.value, given.value_base64, "value")?,
        headers,
        partition: given.partition,
        timestamp,
    })
}

/// Of bytes that are not UTF-8 Kafka knows nothing: names of headers are text, and its own clients fail over others.
fn header_name<'a>(text: Option<Cow<'a, str>>, base64: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err("the key of a header is given twice, as it is and as base64".to_owned()),
        (Some(text), None) => Ok(text),
        (None, None) => Err("a header has no key".to_owned()),
        (None, Some(base64)) => {
            let decoded = BASE64_STANDARD.decode(base64.as_bytes());
            let decoded = decoded.map_err(|error| format!("the key of a header is not base64: {error}"))?;
            String::from_utf8(decoded).map(Cow::Owned).map_err(|_| {
                "the key of a header is not UTF-8: to Kafka it is text, and no other is written here; give it as text in \
                 \"key\", or leave the header out"
                    .to_owned()
            })
        }
    }
}

/// Text as it is meant; any other value of JSON as it is written.
fn bytes<'a>(
    raw: Option<&'a RawValue>,
    base64: Option<Cow<'a, str>>,
    what: &str,
) -> Result<Option<Cow<'a, [u8]>>, String> {
    match (raw.map(RawValue::get), base64) {
        (Some(_), Some(_)) => Err(format!("the {what} is given twice, as it is and as base64")),
        (None | Some("null"), None) => Ok(None),
        (None, Some(text)) => {
            let decoded = BASE64_STANDARD.decode(text.as_bytes());
            decoded.map(|bytes| Some(Cow::Owned(bytes))).map_err(|error| format!("the {what} is not base64: {error}"))
        }
        (Some(text), None) if text.starts_with('"') => {
            let text: String = serde_json::from_str(text).map_err(|error| without_line(&error))?;
            Ok(Some(Cow::Owned(text.into_bytes())))
        }
        (Some(json), None) => Ok(Some(Cow::Borrowed(json.as_bytes()))),
    }
}

/// What a line holds that is one object; the error says what is wrong with it.
pub fn object<'a, T: Deserialize<'a> + Named>(line: &'a [u8]) -> Result<T, String> {
    let Object(given) = serde_json::from_slice(line).map_err(|error| without_line(&error))?;
    Ok(given)
}

/// There is one line only, and which of the input is said elsewhere.
fn without_line(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said.rsplit_once(" at line ").map_or(&*said, |(what, _)| what);
    match error.column() {
        0 => what.to_owned(),
        column => format!("{what}, at column {column}"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    headers: Vec<Object<GivenHeader<'a>>>,
    timestamp: Option<i64>,
    partition: Option<i32>,
    // Where `consume --json` found it; it goes to another place now.
    #[serde(default, rename = "topic")]
    _topic: IgnoredAny,
    #[serde(default, rename = "offset")]
    _offset: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenHeader<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value_base64: Option<Cow<'a, str>>,
}

/// What has names for its fields: serde would take a bare list of them, in their order, as well.
struct Object<T>(T);

/// What it is, for the error.
pub trait Named {
    const WHAT: &'static str;
    const EXAMPLE: &'static str = "{\"key\":\"a\",\"value\":\"b\"}";
}

impl Named for Given<'_> {
    const WHAT: &'static str = "a record";
}

impl Named for GivenHeader<'_> {
    const WHAT: &'static str = "a header";
}

impl<'de, T: Deserialize<'de> + Named> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Named> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, as in {}", T::WHAT, T::EXAMPLE)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// Also null, which is not the same as absent.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> Result<(Option<String>, Option<String>), String> {
        let text = |bytes: Option<Cow<'_, [u8]>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        take(line.as_bytes()).map(|record| (text(record.key), text(record.value)))
    }

    #[test]
    fn text_null_base64_and_json_of_ones_own_are_values() {
        let some = |text: &str| Some(text.to_owned());
        for (line, key, value) in [
            (r#"{"value":"a\nb\u00e9"}"#, None, some("a\nb\u{e9}")),
            (r#"{"key":"k","value":null}"#, some("k"), None),
            (r#"{"key":7,"value":{"b":1, "a":[2]}}"#, some("7"), some(r#"{"b":1, "a":[2]}"#)),
            (r#"{"key_base64":"YQ==","value_base64":"","topic":"t","offset":3}"#, some("a"), some("")),
        ] {
            assert_eq!(taken(line), Ok((key, value)), "{line}");
        }
    }

    #[test]
    fn the_name_of_a_header_may_stand_as_base64_of_text() {
        let record = take(br#"{"value":"a","headers":[{"key_base64":"w6Q=","value":null}]}"#).expect("is one");
        assert_eq!(record.headers, [(Cow::Borrowed("\u{e4}"), None)]);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, said) in [
            ("", "EOF"),
            ("hello", "expected value"),
            ("[]", "invalid type: sequence, expected a record, as in {\"key\":\"a\",\"value\":\"b\"}"),
            (r#"["k", null, "v"]"#, "expected a record, as in"),
            ("7", "expected a record, as in"),
            (r#"{"value":"a","headers":[["k","v"]]}"#, "invalid type: sequence, expected a header, as in"),
            (r#"{"key":"a"}"#, "it has no value"),
            (r#"{"vlaue":"a"}"#, "unknown field `vlaue`"),
            (r#"{"value":"a","value_base64":"YQ=="}"#, "given twice"),
            (r#"{"value_base64":"?"}"#, "not base64"),
            (r#"{"value":"a","headers":[{"value":"b"}]}"#, "a header has no key"),
            (r#"{"value":"a","headers":[{"key":"a","key_base64":"YQ==","value":"b"}]}"#, "given twice"),
            (r#"{"value":"a","headers":[{"key_base64":"?","value":"b"}]}"#, "the key of a header is not base64"),
            (r#"{"value":"a","headers":[{"key_base64":"/w==","value":"b"}]}"#, "is not UTF-8: to Kafka it is text"),
            (r#"{"value":"a","timestamp":-5}"#, "before 1970"),
            (r#"{"value":"a","partition":-1}"#, "numbered from 0"),
            (r#"{"value":"a"} {"value":"b"}"#, "trailing characters"),
        ] {
            let why = taken(line).expect_err(line);
            assert!(why.contains(said) && !why.contains(" at line "), "{line}: {why}");
        }
    }
}
