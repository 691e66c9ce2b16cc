//! Ages, as kubectl shows them.

use jiff::Timestamp;
use serde_json::Value;

/// A span in seconds, with as many figures as matter to a person: `45s`, `3m20s`, `5d`.
pub fn human_duration(seconds: i64) -> String {
    // Clocks that differ by a second do not make an age wrong.
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if years < 2 {
        format!("{days}d")
    } else if years < 8 {
        two(years, "y", days % 365, "d")
    } else {
        format!("{years}y")
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

/// When a row is looked at.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    At(Timestamp),
    /// Not yet known: ages are left as marks, see [`marked`].
    Later,
}

/// What stands around a time whose age is to be told later. No name and no other short text has it.
pub(super) const MARK: char = '\0';

/// How long ago the time in `field` was; `None` where there is none.
pub(super) fn since(field: &Value, clock: Clock) -> Option<String> {
    let time: Timestamp = field.as_str()?.parse().ok()?;
    Some(match clock {
        Clock::At(now) => elapsed(time, now),
        Clock::Later => format!("{MARK}{}{MARK}", time.as_nanosecond()),
    })
}

/// The time in a mark, without what stands around it.
pub(super) fn marked(text: &str) -> Option<Timestamp> {
    Timestamp::from_nanosecond(text.parse().ok()?).ok()
}

/// How long ago a time was.
pub(super) fn elapsed(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs_f64().trunc();
    // Spans of time fit by far.
    human_duration(seconds as i64)
}
