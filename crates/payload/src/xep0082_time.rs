//! XEP-0082: XMPP Date and Time Profiles, version 1.1.1.
//!
//! Writes and reads the DateTime profile between text and milliseconds since the Unix epoch.
//! Implements: §3.2 (DateTime).
//! Left out: the Date and Time profiles, which no element of ours carries.

/// Writes a moment as UTC with milliseconds: `2026-01-02T03:04:05.678Z`; without the fraction
/// where it is zero. Moments outside the years 0 to 9999 are written as the nearest bound.
#[must_use]
pub fn write(unix_ms: i64) -> String {
    let unix_ms = unix_ms.clamp(UNIX_MS_MIN, UNIX_MS_MAX);
    let (days, in_day) = (unix_ms.div_euclid(DAY_MS), unix_ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, ms) = (in_day / 1_000 % 60, in_day % 1_000);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads a DateTime; none if it is not one. A leap second reads as the second before it.
#[must_use]
pub fn read(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let year = digits(bytes.get(0..4)?)?;
    let month = digits(bytes.get(5..7)?)?;
    let day = digits(bytes.get(8..10)?)?;
    let hour = digits(bytes.get(11..13)?)?;
    let minute = digits(bytes.get(14..16)?)?;
    let second = digits(bytes.get(17..19)?)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range || marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let (ms, rest) = read_fraction(&bytes[19..])?;
    let offset_ms = read_offset(rest)?;
    let seconds = hour * 3_600 + minute * 60 + second.min(59);
    Some(days_from_civil(year, month, day) * DAY_MS + seconds * 1_000 + ms - offset_ms)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

/// Milliseconds of an optional fraction; further digits are cut.
fn read_fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = bytes.strip_prefix(b".") else { return Some((0, bytes)) };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let ms = (0..3).fold(0, |sum, at| {
        let digit = if at < len { i64::from(rest[at] - b'0') } else { 0 };
        sum * 10 + digit
    });
    Some((ms, &rest[len..]))
}

fn read_offset(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let offset = (hours * 60 + minutes) * 60_000;
            (hours < 24 && minutes < 60).then_some(if *sign == b'+' { offset } else { -offset })
        }
        _ => None,
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day last, so months have a fixed offset.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - DAYS_0000_TO_1970
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_0000_TO_1970;
    let era = days.div_euclid(DAYS_IN_400_YEARS);
    let in_era = days.rem_euclid(DAYS_IN_400_YEARS);
    let year_in_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_in_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

const DAY_MS: i64 = 86_400_000;
/// From 0000-03-01 to 1970-01-01.
const DAYS_0000_TO_1970: i64 = 719_468;
const DAYS_IN_400_YEARS: i64 = 146_097;
/// 0000-01-01T00:00:00Z.
const UNIX_MS_MIN: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
const UNIX_MS_MAX: i64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (UNIX_MS_MIN, "0000-01-01T00:00:00Z"),
            (UNIX_MS_MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(write(ms), text);
            assert_eq!(read(text), Some(ms));
        }
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(read("1969-12-31T19:00:00-05:00"), Some(0));
        assert_eq!(read("1970-01-01T00:00:00.5Z"), Some(500));
        assert_eq!(read("1970-01-01T00:00:00.123456789Z"), Some(123));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-01-02",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+1:00",
            "20260102T03:04:05",
            "2026-01-02 03:04:05Z",
            "２０２６-01-02T03:04:05Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_dates_agree_over_a_thousand_years() {
        for day in -400_000..400_000 {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
    }
}
