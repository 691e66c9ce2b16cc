//! Schedules in the five fields of cron, as CronJobs write them.

use std::ops::RangeInclusive;

/// Names that stand for numbers, from the first of the range on.
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A field: what it is called, what it may be, and the names of its values.
struct Field {
    range: RangeInclusive<u32>,
    names: &'static [&'static str],
}

const FIELDS: &[Field] = &[
    Field { range: 0..=59, names: &[] },
    Field { range: 0..=23, names: &[] },
    Field { range: 1..=31, names: &[] },
    Field { range: 1..=12, names: MONTHS },
    Field { range: 0..=6, names: DAYS },
];

const MACROS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.starts_with('@') {
        if MACROS.contains(&schedule) || schedule.strip_prefix("@every ").is_some_and(is_duration) {
            return Ok(());
        }
        return Err(format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
    }
    fields.iter().zip(FIELDS).try_for_each(|(text, field)| text.split(',').try_for_each(|part| field.check(part)))
}

/// `1h30m`, as Go writes times.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let behind = &rest[digits..];
        let unit = ["ms", "h", "m", "s"].into_iter().find(|unit| behind.starts_with(unit));
        match unit {
            Some(unit) if digits > 0 && rest[..digits].parse::<f64>().is_ok() => rest = &behind[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

impl Field {
    /// `*`, `5`, `1-5`, any of them with `/2`.
    fn check(&self, part: &str) -> Result<(), String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        if range != "*" && range != "?" {
            let (low, high) = match range.split_once('-') {
                Some((low, high)) => (self.value(low)?, self.value(high)?),
                None => (self.value(range)?, *self.range.end()),
            };
            let (least, most) = (*self.range.start(), *self.range.end());
            if low < least {
                return Err(format!("beginning of range ({low}) below minimum ({least}): {part}"));
            }
            let end = if range.contains('-') { high } else { low };
            if end > most {
                return Err(format!("end of range ({end}) above maximum ({most}): {part}"));
            }
            if low > end {
                return Err(format!("beginning of range ({low}) beyond end of range ({end}): {part}"));
            }
        }
        match step.map(str::parse::<u32>) {
            None => Ok(()),
            Some(Ok(0)) => Err(format!("step of range should be a positive number: {part}")),
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => Err(format!("failed to parse int from {}", step.unwrap_or_default())),
        }
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
    use super::check;

    #[test]
    fn schedules_are_what_cron_takes() {
        for good in ["* * * * *", "*/5 0-6 1,15 jan-mar MON", "0 0 1 1 0", "5/10 * * * ?", "@daily", "@every 1h30m"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
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
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
