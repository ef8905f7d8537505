//! Times as text: RFC 3339 in UTC both ways, and what stands after `@` on the command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 as `2026-01-31T12:00:00.000Z`.
pub fn rfc3339(millis: i64) -> String {
    let days = millis.div_euclid(DAY);
    let of_day = millis.rem_euclid(DAY);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", of_day % 1000)
}

/// The other way; a date alone is its midnight, and an offset from UTC is taken into account.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut numbers = date.split('-').map(|part| digits(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() || date.len() != 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days(year, month, day);
    // The 31st of a short month is none of it.
    if self::date(days) != (year, month, day) {
        return None;
    }
    let within = match time {
        Some(time) => time_of_day(time)?,
        None => 0,
    };
    Some(days * DAY + within)
}

fn time_of_day(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, parts.next()?);
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let seconds = digits(seconds, 2)?;
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 60 || fraction.is_empty() {
        return None;
    }
    let fraction = fraction.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{fraction:0<3}"))?;
    let millis: i64 = fraction[..3].parse().ok()?;
    let east = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)?
        }
    };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis - east)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// What stands after `@`: a time, or how long ago.
pub fn parse_moment(text: &str, now: i64) -> Result<i64, String> {
    let wrong = || {
        format!(
            "@{text} is no time: use milliseconds since 1970 (13 digits) or seconds (10), 2026-01-31, 2026-01-31T12:00:00Z, \
             or how long ago, as in @-1h"
        )
    };
    if let Some(ago) = text.strip_prefix('-') {
        let ago = parse_duration(ago).map_err(|_| wrong())?;
        return Ok(now.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().map_err(|_| wrong())?;
        return match text.len() {
            9..=10 => Ok(number * 1000),
            12..=15 => Ok(number),
            _ => Err(wrong()),
        };
    }
    parse_rfc3339(text).ok_or_else(wrong)
}

/// Numbers with units, as in `500ms`, `5s`, `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || NOT_A_DURATION.to_owned();
    let (mut rest, mut millis) = (text, 0u64);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let each = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        millis = number.checked_mul(each).and_then(|more| millis.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[unit..];
        if rest.is_empty() {
            return Ok(Duration::from_millis(millis));
        }
    }
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar (Hinnant's `civil_from_days`): eras of 400 years, in
/// which years begin in March, so that the leap day is the last one.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The other way.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

const DAY: i64 = 86_400_000;

const NOT_A_DURATION: &str = "a whole number and ms, s, m, h or d, as in 500ms or 1h30m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_same_both_ways() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
            assert_eq!(parse_rfc3339(text), Some(millis));
        }
        assert_eq!(parse_rfc3339("2026-01-01"), Some(1_767_225_600_000));
        assert_eq!(parse_rfc3339("2026-01-01T02:00:00.5+02:00"), Some(1_767_225_600_500));
        assert_eq!(parse_rfc3339("2025-12-31 23:30:00-00:30"), Some(1_767_225_600_000));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_told_in_every_way_that_has_one_meaning() {
        let now = 1_767_225_600_000;
        assert_eq!(parse_moment("-1h", now), Ok(now - 3_600_000));
        assert_eq!(parse_moment("-1h30m", now), Ok(now - 5_400_000));
        assert_eq!(parse_moment("1767225600", now), Ok(now));
        assert_eq!(parse_moment("1767225600000", now), Ok(now));
        assert_eq!(parse_moment("2026-01-01", now), Ok(now));
        for wrong in ["", "-", "-1", "-1w", "12", "yesterday", "1h"] {
            let said = parse_moment(wrong, now).expect_err(wrong);
            assert!(said.contains("is no time") && said.contains("@-1h"), "{said}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
        for wrong in ["", "5", "s", "1.5s", "5 s", "-5s", "99999999999999999999s", "1h30"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
