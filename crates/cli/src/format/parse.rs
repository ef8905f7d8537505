//! A format out of its text.

use super::clock::unquoted;
use super::{Attribute, Clock, Digits, Encoding, Number, Part, Text, Unpack};

/// The whole text.
pub fn parts(text: &str) -> Result<Vec<Part>, String> {
    within(text, Inside::Record)
}

/// What the fields are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Record,
    Header,
}

fn within(text: &str, inside: Inside) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '%' => {
                let (part, after) = field(&rest[1..], inside)?;
                push(&mut parts, part);
                rest = after;
            }
            '\\' => {
                let (byte, after) = escape(&rest[1..])?;
                push(&mut parts, Part::Literal(vec![byte]));
                rest = after;
            }
            plain => {
                let (now, after) = rest.split_at(plain.len_utf8());
                push(&mut parts, Part::Literal(now.as_bytes().to_vec()));
                rest = after;
            }
        }
    }
    Ok(parts)
}

/// Literals that follow each other are one.
fn push(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Literal(before)), Part::Literal(more)) => before.extend(more),
        (_, part) => parts.push(part),
    }
}

/// After the percent sign.
fn field(text: &str, inside: Inside) -> Result<(Part, &str), String> {
    let Some(name) = text.chars().next() else {
        return Err("the format ends with %; write %% for a percent sign".to_owned());
    };
    let rest = &text[name.len_utf8()..];
    if let '%' | '{' | '}' = name {
        return Ok((Part::Literal(vec![name as u8]), rest));
    }
    let (how, rest) = braces(rest, name)?;
    let part = match (name, inside) {
        ('k', _) => text_part(Text::Key, how, name)?,
        ('v', _) => text_part(Text::Value, how, name)?,
        ('K', _) => Part::Number(Number::KeyBytes, length(how, name)?),
        ('V', _) => Part::Number(Number::ValueBytes, length(how, name)?),
        ('t', Inside::Record) => text_part(Text::Topic, how, name)?,
        ('T', Inside::Record) => Part::Number(Number::TopicBytes, length(how, name)?),
        ('p', Inside::Record) => Part::Number(Number::Partition, digits(how, name)?),
        ('o', Inside::Record) => Part::Number(Number::Offset, digits(how, name)?),
        ('i', Inside::Record) => Part::Number(Number::Count, digits(how, name)?),
        ('H', Inside::Record) => Part::Number(Number::HeaderCount, digits(how, name)?),
        ('x', Inside::Record) => Part::Number(Number::ProducerId, digits(how, name)?),
        ('y', Inside::Record) => Part::Number(Number::ProducerEpoch, digits(how, name)?),
        ('e', Inside::Record) => Part::Number(Number::LeaderEpoch, digits(how, name)?),
        ('[', Inside::Record) => Part::Number(Number::LogStart, digits(how, name)?),
        ('|', Inside::Record) => Part::Number(Number::LastStable, digits(how, name)?),
        (']', Inside::Record) => Part::Number(Number::HighWatermark, digits(how, name)?),
        ('a', Inside::Record) => attribute(how)?,
        ('d', Inside::Record) => Part::Time(Clock::named(how)?),
        ('h', Inside::Record) => match how {
            Some(inner) => Part::Headers(within(inner, Inside::Header)?),
            None => return Err("%h needs to say what a header looks like, as in %h{%k=%v }".to_owned()),
        },
        (other, Inside::Header) => {
            return Err(format!("%{other} is nothing of a header; inside of %h there are %k, %v, %K and %V"));
        }
        ('s' | 'S' | 'R', Inside::Record) => {
            return Err(format!("%{name} is kcat's; use %v for the value and %V for its length"));
        }
        ('A' | 'D', Inside::Record) => {
            return Err(format!("%{name} is of share groups, and consume reads without a group"));
        }
        (other, Inside::Record) => {
            return Err(format!(
                "%{other} is no field; there are %t %k %v %p %o %d %i %h{{..}}, the lengths %T %K %V, the number of headers %H, \
                 %a{{..}} %x %y %e of the batch, %[ %| %] of the partition, and %% %{{ %}}"
            ));
        }
    };
    Ok((part, rest))
}

/// What stands in braces right behind a field, if anything does.
fn braces(text: &str, name: char) -> Result<(Option<&str>, &str), String> {
    let Some(inner) = text.strip_prefix('{') else { return Ok((None, text)) };
    let mut depth = 1;
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '%' | '\\' => {
                characters.next();
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((Some(&inner[..at]), &inner[at + 1..]));
        }
    }
    Err(format!("the brace after %{name} is not closed; write %{{ for a brace that means itself"))
}

fn text_part(text: Text, how: Option<&str>, name: char) -> Result<Part, String> {
    match how.and_then(|how| how.strip_prefix("unpack")) {
        Some(quoted) => Ok(Part::Unpacked(text, Unpack::parse(unquoted(quoted)?)?)),
        None => Ok(Part::Text(text, encoding(how, name)?)),
    }
}

fn attribute(how: Option<&str>) -> Result<Part, String> {
    let (which, digits) = match how.and_then(|how| how.split_once(';')) {
        Some((which, how)) => (Some(which), Some(self::digits(Some(how), 'a')?)),
        None => (how, None),
    };
    let attribute = match which {
        Some("compression") if digits.is_none() => return Ok(Part::Codec),
        Some("compression") => Attribute::Compression,
        Some("timestamp-type") => Attribute::TimestampType,
        Some("transactional-bit") => Attribute::Transactional,
        Some("control-bit") => Attribute::Control,
        _ => {
            return Err("%a needs to say which attribute: compression, timestamp-type, transactional-bit or control-bit, as in \
                        %a{compression}, or %a{compression;number}"
                .to_owned());
        }
    };
    Ok(Part::Number(Number::Attribute(attribute), digits.unwrap_or(Digits::Ascii)))
}

fn encoding(how: Option<&str>, name: char) -> Result<Encoding, String> {
    match how {
        None => Ok(Encoding::Plain),
        Some("hex") => Ok(Encoding::Hex),
        Some("base64") => Ok(Encoding::Base64),
        Some("base64raw") => Ok(Encoding::Base64Raw),
        Some("json") => Ok(Encoding::Json),
        Some(other) => Err(format!(
            "%{name} cannot be {other:?}; it can be hex, base64, base64raw, for produce json, for consume unpack[..], and without \
             braces it is as it is"
        )),
    }
}

fn digits(how: Option<&str>, name: char) -> Result<Digits, String> {
    let Some(how) = how else { return Ok(Digits::Ascii) };
    Digits::named(how).ok_or_else(|| {
        format!(
            "%{name} cannot be {how:?}; it can be ascii, hex, bool, byte, or big, little or hex with 8, 16, 32 or 64 bits, as in \
             %{name}{{big32}}"
        )
    })
}

/// As a number, or said by the format: exactly so many bytes.
fn length(how: Option<&str>, name: char) -> Result<Digits, String> {
    match how.filter(|how| !how.is_empty() && how.bytes().all(|byte| byte.is_ascii_digit())) {
        None => digits(how, name),
        Some(exact) => match exact.parse() {
            Ok(bytes @ 0..=EXACT_MAX) => Ok(Digits::Exact(bytes)),
            _ => Err(format!("%{name}{{{exact}}} is more than a record can hold")),
        },
    }
}

/// After the backslash.
fn escape(text: &str) -> Result<(u8, &str), String> {
    let wrong = || "a backslash stands before n, t, r, 0, \\ or xNN with two hexadecimal digits".to_owned();
    let kind = text.chars().next().ok_or_else(wrong)?;
    let rest = &text[kind.len_utf8()..];
    let byte = match kind {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        '0' => 0,
        '\\' => b'\\',
        'x' => {
            let digits = rest.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(wrong)?;
            return Ok((byte, &rest[2..]));
        }
        _ => return Err(wrong()),
    };
    Ok((byte, rest))
}

/// A delimiter: text with the escapes of a format and nothing else of it.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, after) = escape(&rest[at + 1..])?;
        bytes.push(byte);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    match bytes.is_empty() {
        true => Err(
            "it is empty; use at least one byte, as in \\n or \\0; an equals sign needs a space before it, as in -K ="
                .to_owned(),
        ),
        false => Ok(bytes),
    }
}

/// As much as a length may be that the input tells.
const EXACT_MAX: u32 = 1 << 30;
