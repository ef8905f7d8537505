//! Timestamps as text, both ways: numbers, RFC 3339, and the patterns of strftime and of Go. Always in UTC.

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, NaiveTime};

use super::Digits;
use crate::times;

/// How a timestamp is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Milliseconds since 1970.
    Millis(Digits),
    /// Seconds since 1970.
    Seconds,
    Rfc3339,
    Pattern(Vec<Item<'static>>),
}

impl Clock {
    /// By what stands in the braces.
    pub fn named(how: Option<&str>) -> Result<Self, String> {
        let Some(how) = how else { return Ok(Self::Millis(Digits::Ascii)) };
        match how {
            "ms" => return Ok(Self::Millis(Digits::Ascii)),
            "s" => return Ok(Self::Seconds),
            "rfc3339" => return Ok(Self::Rfc3339),
            _ => {}
        }
        if let Some(quoted) = how.strip_prefix("strftime") {
            return unquoted(quoted).and_then(Self::strftime);
        }
        if let Some(quoted) = how.strip_prefix("go") {
            return unquoted(quoted).and_then(|layout| Self::strftime(&strftime_of_go(layout)?));
        }
        Digits::named(how).map(Self::Millis).ok_or_else(|| {
            format!(
                "%d cannot be {how:?}; it can be ms or s since 1970, rfc3339, strftime[%F %T], go[2006-01-02], or a number as \
                 in %d{{big64}}"
            )
        })
    }

    fn strftime(pattern: &str) -> Result<Self, String> {
        let items = StrftimeItems::new(pattern).parse_to_owned();
        items.map(Self::Pattern).map_err(|_| format!("{pattern:?} has something that strftime does not know"))
    }

    /// Adds the time; the error says that it cannot be written so.
    pub fn print(&self, millis: i64, out: &mut Vec<u8>) -> Result<(), String> {
        let text = match self {
            Self::Millis(digits) => return digits.write(millis, out),
            Self::Seconds => millis.div_euclid(1000).to_string(),
            Self::Rfc3339 => times::rfc3339(millis),
            Self::Pattern(items) => {
                let time = DateTime::from_timestamp_millis(millis);
                let time = time.ok_or_else(|| format!("timestamp {millis} is too far away for a pattern; use %d"))?;
                time.format_with_items(items.iter()).to_string()
            }
        };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// The time in a text of RFC 3339 or of a pattern. A date alone is its midnight.
    pub fn read(&self, text: &str) -> Option<i64> {
        let Self::Pattern(items) = self else { return times::parse_rfc3339(text) };
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
        let east = parsed.offset().unwrap_or(0);
        let local = parsed.to_naive_datetime_with_offset(east);
        let local = local.or_else(|_| parsed.to_naive_date().map(|date| date.and_time(NaiveTime::MIN))).ok()?;
        local.and_utc().timestamp_millis().checked_sub(i64::from(east) * 1000)
    }
}

/// What stands between signs of one kind, as many behind it as before it: `[..]`, `{..}`, `(..)`, `##..##`.
pub fn unquoted(text: &str) -> Result<&str, String> {
    let wrong = || format!("{text:?} stands in brackets or between signs such as #, as in strftime[%F] or go#15:04#");
    let open = text.chars().next().filter(char::is_ascii_punctuation).ok_or_else(wrong)?;
    let close = match open {
        '[' => ']',
        '{' => '}',
        '(' => ')',
        same => same,
    };
    let count = text.len() - text.trim_start_matches(open).len();
    let end = close.to_string().repeat(count);
    let inner = text[count..].strip_suffix(&end).ok_or_else(wrong)?;
    if inner.is_empty() { Err(wrong()) } else { Ok(inner) }
}

/// Go writes a layout as the second of January 2006, 15:04:05, would be written.
fn strftime_of_go(layout: &str) -> Result<String, String> {
    let (mut pattern, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        if let Some((go, strftime)) = GO.iter().find(|(go, _)| rest.starts_with(go)) {
            if strftime.is_empty() {
                return Err(format!(
                    "go{layout:?} has {go:?}, which is not there; parts of a second are .000, .000000 or .000000000"
                ));
            }
            pattern += strftime;
            rest = &rest[go.len()..];
        } else {
            match first {
                '%' => pattern += "%%",
                other => pattern.push(other),
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(pattern)
}

/// Longer ones first. All times are UTC, whose zone is `Z` or `UTC`. Empty: refused, rather than printed as it stands.
const GO: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    (".000000000", "%.9f"),
    (".000000", "%.6f"),
    (".000", "%.3f"),
    (".0", ""),
    (",0", ""),
    (".9", ""),
    (",9", ""),
    ("2006", "%Y"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("__2", ""),
    ("_2", "%e"),
    ("15", "%H"),
    ("-07:00:00", ""),
    ("-07:00", "%:z"),
    ("-070000", ""),
    ("-0700", "%z"),
    ("-07", ""),
    ("Z07:00:00", ""),
    ("Z07:00", "Z"),
    ("Z070000", ""),
    ("Z0700", "Z"),
    ("Z07", "Z"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(how: &str, millis: i64) -> String {
        let mut out = Vec::new();
        let clock = Clock::named(Some(how)).unwrap_or_else(|why| panic!("{how}: {why}"));
        clock.print(millis, &mut out).expect(how);
        String::from_utf8(out).expect("is text")
    }

    /// Saturday, 3 January 2026, 04:05:06.789.
    const TIME: i64 = 1_767_413_106_789;

    #[test]
    fn patterns_of_strftime_and_of_go_are_written_and_read() {
        for (how, text, read) in [
            ("strftime[%F %T]", "2026-01-03 04:05:06", TIME - 789),
            ("strftime##%Y/%m/%d %H:%M:%S%.3f##", "2026/01/03 04:05:06.789", TIME),
            ("strftime{%s}", "1767413106", TIME - 789),
            ("strftime(%F)", "2026-01-03", TIME - TIME.rem_euclid(86_400_000)),
            ("strftime[%FT%T%:z]", "2026-01-03T04:05:06+00:00", TIME - 789),
            ("go[2006-01-02T15:04:05Z07:00]", "2026-01-03T04:05:06Z", TIME - 789),
            ("go##2006-01-02 15:04:05.000 -0700##", "2026-01-03 04:05:06.789 +0000", TIME),
            ("go[Mon Jan _2 15:04:05 2006]", "Sat Jan  3 04:05:06 2026", TIME - 789),
            ("go[Monday, January 2, 2006 3:04:05PM]", "Saturday, January 3, 2026 4:05:06AM", TIME - 789),
        ] {
            assert_eq!(printed(how, TIME), text, "{how}");
            let clock = Clock::named(Some(how)).expect(how);
            assert_eq!(clock.read(text), Some(read), "{how}");
        }
        assert_eq!(printed("go[02/01/06 %]", TIME), "03/01/26 %");
        assert_eq!(printed("hex64", TIME), format!("{TIME:016x}"));
        let east = Clock::named(Some("strftime[%F %T %:z]")).expect("is one");
        assert_eq!(east.read("2026-01-03 06:05:06 +02:00"), Some(TIME - 789));
    }

    #[test]
    fn what_is_no_pattern_says_so() {
        for (how, said) in [
            ("noon", "strftime[%F %T]"),
            ("strftime", "stands in brackets"),
            ("strftime[%F", "stands in brackets"),
            ("strftime[[%F]", "stands in brackets"),
            ("strftime[%!]", "does not know"),
            ("go[15:04:05.999]", "has \".9\", which is not there"),
            ("go[15:04:05.0]", "has \".0\", which is not there"),
        ] {
            let why = Clock::named(Some(how)).expect_err(how);
            assert!(why.contains(said), "{how}: {why}");
        }
        let far = Clock::named(Some("strftime[%F]")).expect("is one").print(i64::MAX, &mut Vec::new());
        assert!(far.is_err_and(|why| why.contains("too far away")));
    }
}
