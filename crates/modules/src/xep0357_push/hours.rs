//! Hours of the week in a time zone: `Mon-Fri 08:00-18:00 Europe/Berlin`.

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::{Date, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

/// When devices are told; each line adds to it. Without a line they are told at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hours(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Whether it begins on each day from Monday on.
    days: [bool; 7],
    from: Time,
    /// On the next day if that is not later.
    to: Time,
    zone: TimeZone,
}

/// A line that says nothing known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not like `Mon-Fri 08:00-18:00 Europe/Berlin`")]
pub(super) struct NotHours(String);

impl Hours {
    /// Reads lines; empty ones count for nothing.
    pub(super) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, NotHours> {
        let lines = lines.into_iter().map(str::trim).filter(|line| !line.is_empty());
        let read = |line: &str| Line::read(line).ok_or_else(|| NotHours(line.to_owned()));
        lines.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The lines, as they are read.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// When devices may be told again, if that is not now: in milliseconds since 1970 UTC.
    pub(super) fn closed_until_ms(&self, now_ms: i64) -> Option<i64> {
        if self.0.is_empty() {
            return None;
        }
        let mut next = i64::MAX;
        for (from_ms, to_ms) in self.0.iter().flat_map(|line| line.round(now_ms)) {
            if (from_ms..to_ms).contains(&now_ms) {
                return None;
            }
            if from_ms > now_ms {
                next = next.min(from_ms);
            }
        }
        Some(next)
    }
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (days, hours, zone) = (words.next()?, words.next()?, words.next()?);
        let (from, to) = hours.split_once('-')?;
        let line = Self {
            days: read_days(days)?,
            from: read_time(from)?,
            to: read_time(to)?,
            zone: ZONES.get(zone).ok()?,
        };
        words.next().is_none().then_some(line)
    }

    /// When it begins and ends in the days round a moment, in milliseconds since 1970 UTC.
    fn round(&self, now_ms: i64) -> Vec<(i64, i64)> {
        let Ok(now) = Timestamp::from_millisecond(now_ms) else { return Vec::new() };
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-1..=7_i64).filter_map(|day| today.checked_add(day.days()).ok());
        let begins = |day: &Date| {
            let of_week =
                usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or_default();
            self.days[of_week]
        };
        days.filter(begins).filter_map(|day| self.on(day)).collect()
    }

    fn on(&self, day: Date) -> Option<(i64, i64)> {
        let last = if self.to > self.from { day } else { day.tomorrow().ok()? };
        let ms = |day: Date, time: Time| {
            let moment = day.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
            Some(moment.timestamp().as_millisecond())
        };
        Some((ms(day, self.from)?, ms(last, self.to)?))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |range: (usize, usize)| match range {
            (first, last) if first == last => DAYS[first].to_owned(),
            (first, last) => format!("{}-{}", DAYS[first], DAYS[last]),
        };
        let ranges: Vec<_> = ranges(&self.days).into_iter().map(named).collect();
        let (from, to) = (self.from.strftime("%H:%M"), self.to.strftime("%H:%M"));
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} {from}-{to} {zone}", ranges.join(","))
    }
}

/// The runs of days, by their first and last.
fn ranges(days: &[bool; 7]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for day in (0..7).filter(|day| days[*day]) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == day => *last = day,
            _ => ranges.push((day, day)),
        }
    }
    ranges
}

/// `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
fn read_days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    let day_of = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (day_of(first)?, day_of(last)?);
        days[day] = true;
        while day != last {
            day = (day + 1) % 7;
            days[day] = true;
        }
    }
    Some(days)
}

fn read_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let is_short = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !is_short(hour) || !is_short(minute) {
        return None;
    }
    // The end of a day is the beginning of the next one.
    let hour = if (hour, minute) == ("24", "00") { 0 } else { hour.parse().ok()? };
    Time::new(hour, minute.parse().ok()?, 0, 0).ok()
}

/// The rules of this release, so that all servers judge alike.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stentor_payload::xep0082_time;

    use super::*;

    proptest! {
        #[test]
        fn prop_whatever_is_read_is_written_and_read_alike(
            text in "[MmTtWwFfSs][onuedhriat]{2}[-,]?(Mon|Sun|Fri)? ?[0-2][0-9]:[0-6][0-9]-[0-2][0-9]:\\PC{2} (UTC|Europe/Berlin|\\PC*)",
            now_ms in any::<i64>(),
        ) {
            if let Ok(hours) = Hours::read([text.as_str()]) {
                let lines = hours.lines();
                prop_assert_eq!(&Hours::read(lines.iter().map(String::as_str)).unwrap(), &hours);
                let until_ms = hours.closed_until_ms(now_ms);
                prop_assert!(until_ms.is_none_or(|until_ms| until_ms > now_ms));
            }
        }
    }

    const WORK: &str = "Mon-Fri 08:00-18:00 Europe/Berlin";

    /// Until when it is closed at a moment.
    fn closed(line: &str, now: &str) -> Option<String> {
        let hours = Hours::read([line]).unwrap();
        let until_ms = hours.closed_until_ms(xep0082_time::read(now).unwrap());
        until_ms.map(xep0082_time::write)
    }

    #[test]
    fn it_opens_and_closes_at_the_hours_of_the_zone() {
        // 13 January 2026 is a Tuesday; Berlin is an hour ahead.
        let next = |text: &str| Some(text.to_owned());
        assert_eq!(closed(WORK, "2026-01-13T06:59:59Z"), next("2026-01-13T07:00:00Z"));
        assert_eq!(closed(WORK, "2026-01-13T07:00:00Z"), None);
        assert_eq!(closed(WORK, "2026-01-13T16:59:59Z"), None);
        assert_eq!(closed(WORK, "2026-01-13T17:00:00Z"), next("2026-01-14T07:00:00Z"));
        // Over the weekend.
        assert_eq!(closed(WORK, "2026-01-16T17:00:00Z"), next("2026-01-19T07:00:00Z"));
    }

    #[test]
    fn it_keeps_to_the_clock_when_that_is_put_forward_or_back() {
        // Summer time begins on 29 March and ends on 25 October 2026.
        let next = |text: &str| Some(text.to_owned());
        assert_eq!(closed(WORK, "2026-03-27T18:00:00Z"), next("2026-03-30T06:00:00Z"));
        assert_eq!(closed(WORK, "2026-10-23T18:00:00Z"), next("2026-10-26T07:00:00Z"));
        // An hour that there is not begins when the next one does.
        let early = "Sun 02:30-10:00 Europe/Berlin";
        assert_eq!(closed(early, "2026-03-29T00:00:00Z"), next("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn a_line_may_pass_midnight_and_several_add_up() {
        let night = "Fri 22:00-06:00 UTC";
        assert_eq!(closed(night, "2026-01-16T21:59:00Z"), Some("2026-01-16T22:00:00Z".into()));
        assert_eq!(closed(night, "2026-01-17T05:59:00Z"), None);
        assert_eq!(closed(night, "2026-01-17T06:00:00Z"), Some("2026-01-23T22:00:00Z".into()));
        assert_eq!(closed("Mon-Sun 00:00-24:00 UTC", "2026-01-17T06:00:00Z"), None);
        let both = Hours::read([WORK, "Sat,Sun 10:00-12:00 Europe/Berlin"]).unwrap();
        let at = |text: &str| both.closed_until_ms(xep0082_time::read(text).unwrap());
        assert_eq!(at("2026-01-17T09:30:00Z"), None);
        assert_eq!(at("2026-01-17T11:00:00Z"), xep0082_time::read("2026-01-18T09:00:00Z"));
        assert_eq!(Hours::default().closed_until_ms(0), None);
    }

    #[test]
    fn lines_are_written_as_they_are_read() {
        for line in [WORK, "Mon,Wed-Fri,Sun 22:00-06:30 America/New_York", "Sat 00:00-00:00 UTC"] {
            assert_eq!(Hours::read([line]).unwrap().lines(), [line]);
        }
        assert_eq!(
            Hours::read(["fri-mon 08:00-09:00 UTC", " "]).unwrap().lines(),
            ["Mon,Fri-Sun 08:00-09:00 UTC"]
        );
        for wrong in [
            "Mon 08:00-09:00",
            "Mon 08:00 UTC",
            "Mon 8:00-9:00 UTC",
            "Mon 08:00-25:00 UTC",
            "Mon 24:01-25:00 UTC",
            "Someday 08:00-09:00 UTC",
            "Mon 08:00-09:00 Middle/Earth",
            "Mon 08:00-09:00 UTC now",
        ] {
            assert_eq!(Hours::read([wrong]), Err(NotHours(wrong.to_owned())));
        }
    }
}
