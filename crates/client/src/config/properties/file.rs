//! Files of properties, as `java.util.Properties` reads them.
//!
//! Left out: what the names mean.

use std::fs::File;
use std::io::Read;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// A file of settings is a few kilobytes; what is larger is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("larger than 1 MiB: this is no file of properties".to_owned());
    }
    Ok(bytes)
}

/// A property as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
    /// Its first line, from 1.
    pub(super) line: usize,
}

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineFault {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// The properties of a text, in order.
pub(super) struct Pairs<'a> {
    lines: Peekable<std::iter::Enumerate<Lines<'a>>>,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // A byte order mark, which editors of one make put there.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { lines: Lines { rest: Some(text) }.enumerate().peekable() }
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<Pair, LineFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, first) = self.lines.next()?;
            let first = first.trim_start_matches(is_blank);
            if first.is_empty() || first.starts_with(['#', '!']) {
                continue;
            }
            let mut logical = first.to_owned();
            while goes_on(&logical) {
                logical.pop();
                let Some((_, next)) = self.lines.next() else { break };
                logical.push_str(next.trim_start_matches(is_blank));
            }
            let line = number + 1;
            return Some(pair(&logical, line).map_err(|what| LineFault { line, what }));
        }
    }
}

/// Lines that end with `\n`, `\r` or both.
struct Lines<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        let Some(end) = rest.find(['\n', '\r']) else { return Some(rest) };
        let after = if rest[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        self.rest = Some(&rest[after..]);
        Some(&rest[..end])
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// An odd number of backslashes at its end.
fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn pair(line: &str, number: usize) -> Result<Pair, &'static str> {
    let mut is_escaped = false;
    let ends_name = |character: char| {
        let ends = !is_escaped && (is_blank(character) || matches!(character, '=' | ':'));
        is_escaped = !is_escaped && character == '\\';
        ends
    };
    let end = line.find(ends_name).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Ok(Pair { name: unescape(name)?, value: unescape(value)?, line: number })
}

/// UTF-16, because a character beyond the first plane is two escapes.
fn unescape(text: &str) -> Result<String, &'static str> {
    let mut units = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => escape(&mut characters, &mut units)?,
            _ => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
        }
    }
    String::from_utf16(&units).map_err(|_| "half of a character: a \\ud8xx escape needs its second half")
}

/// What stands behind a backslash.
fn escape(characters: &mut Chars<'_>, units: &mut Vec<u16>) -> Result<(), &'static str> {
    // A line that ends in one goes on, so this cannot be; it would mean nothing.
    let Some(character) = characters.next() else { return Ok(()) };
    let character = match character {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\u{c}',
        'u' => {
            units.push(unit(characters)?);
            return Ok(());
        }
        other => other,
    };
    units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
    Ok(())
}

fn unit(characters: &mut Chars<'_>) -> Result<u16, &'static str> {
    let malformed = "\\u needs four hexadecimal digits behind it, as in \\u00e9; a backslash is written \\\\";
    let mut unit = 0;
    for _ in 0..4 {
        let digit = characters.next().and_then(|digit| digit.to_digit(16)).ok_or(malformed)?;
        unit = unit << 4 | digit as u16;
    }
    Ok(unit)
}

#[cfg(all(test, not(milena_model)))]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        let pairs = Pairs::new(text).map(|pair| pair.expect("is well formed"));
        pairs.map(|pair| (pair.name, pair.value, pair.line)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let pairs = pairs(text);
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        let (name, value, _) = pairs.into_iter().next().expect("one");
        (name, value)
    }

    /// The examples of the documentation of `java.util.Properties`, and the corners of its grammar.
    #[test]
    fn names_and_values_are_found_as_java_finds_them() {
        for (text, name, value) in [
            ("Truth = Beauty", "Truth", "Beauty"),
            (" Truth:Beauty", "Truth", "Beauty"),
            ("Truth                    :Beauty", "Truth", "Beauty"),
            ("Truth Beauty", "Truth", "Beauty"),
            ("cheeses", "cheeses", ""),
            ("a==b", "a", "=b"),
            ("a = = b", "a", "= b"),
            ("a:=b", "a", "=b"),
            ("a b = c ", "a", "b = c "),
            ("\\:\\= = c", ":=", "c"),
            ("with\\ blank=c", "with blank", "c"),
            ("a=C:\\\\kafka", "a", "C:\\kafka"),
            ("a=C:\\kafka", "a", "C:kafka"),
            ("a=\\t\\n\\r\\f\\u00e9\\ud83d\\ude00", "a", "\t\n\r\u{c}é😀"),
            ("a=\\😀é", "a", "😀é"),
            ("=b", "", "b"),
            ("a=b\\", "a", "b"),
            ("a=b#c", "a", "b#c"),
        ] {
            assert_eq!(one(text), (name.to_owned(), value.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over_and_lines_are_counted() {
        let text = "\u{feff}# first\n\n  ! second \\\na=1\r\nfruits   apple, banana, \\\r\n   pear, \\\n\tcherry\rb=2\n\\\nc=3";
        let expected = [("a", "1", 4), ("fruits", "apple, banana, pear, cherry", 5), ("b", "2", 8), ("c", "3", 9)];
        let expected = expected.map(|(name, value, line)| (name.to_owned(), value.to_owned(), line));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (text, line, what) in [
            ("a=1\nb=\\u12", 2, "four hexadecimal digits"),
            ("\nb=C:\\users", 2, "a backslash is written"),
            ("a=\\ud83d", 1, "second half"),
        ] {
            let fault = Pairs::new(text).find_map(Result::err).expect("is malformed");
            assert_eq!(fault.line, line);
            assert!(fault.what.contains(what), "{}", fault.what);
        }
    }
}
