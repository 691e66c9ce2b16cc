//! Spans of time in Go's notation: `1h30m`, `1.5s`, `-3ms`. They are in nanoseconds.

/// Nanoseconds of Go's units.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Below this many nanoseconds, and its negative: about 292 years.
const MOST: u64 = 1 << 63;

/// As Go's `time.ParseDuration`, exact to the nanosecond.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (amount, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| !c.is_ascii_digit() && c != '.');
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(nanoseconds(amount, *unit)?).filter(|total| *total <= MOST)?;
        rest = after;
    }
    match (negative, i64::try_from(total)) {
        (true, _) => Some((total as i64).wrapping_neg()),
        (false, total) => total.ok(),
    }
}

/// Why a text is no span of time, in Go's words.
pub fn check(text: &str) -> Result<(), String> {
    if parse(text).is_some() {
        return Ok(());
    }
    let mut rest = text.trim_start_matches(['-', '+']);
    while !rest.is_empty() {
        let (amount, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| !c.is_ascii_digit() && c != '.');
        if nanoseconds(amount, 1).is_none() {
            break;
        }
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        }
        rest = after;
    }
    Err(format!("time: invalid duration {text:?}"))
}

/// `1.5` of a unit, as exact as Go is.
fn nanoseconds(amount: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (mut part, mut scale) = (0_u64, 1.0);
    for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
        // What no longer fits makes no difference.
        match part.checked_mul(10).and_then(|part| part.checked_add(digit)).filter(|part| *part <= MOST) {
            Some(longer) => (part, scale) = (longer, scale * 10.0),
            None => break,
        }
    }
    let part = (part as f64 * (unit as f64 / scale)) as u64;
    whole.checked_mul(unit)?.checked_add(part).filter(|total| *total <= MOST)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// As Go's `Duration.String`: `1h30m0s`, `1.5s`, `300ms`.
pub fn show(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = |value: u64, unit: u64, name: &str| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        format!("{sign}{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{magnitude}ns"),
        1_000..1_000_000 => fraction(magnitude, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(magnitude, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (magnitude / 60_000_000_000, magnitude % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            let seconds = seconds.trim_start_matches('-');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1h30m", Some(5_400_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("+5s", Some(5_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("1.0000000001s", Some(1_000_000_000)),
            ("0.3333333333333333333h", Some(1_200_000_000_000)),
            ("9007199254740993ns", Some(9_007_199_254_740_993)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("9223372036.854775807s", Some(i64::MAX)),
            ("3000000h", None),
            ("1µs2μs3us", Some(6_000)),
            ("", None),
            ("-", None),
            (".s", None),
            ("1..5s", None),
            ("3", None),
            ("1d", None),
            ("s", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
            if let Some(nanoseconds) = expected {
                assert_eq!(parse(&show(nanoseconds)), expected, "{text:?} shown");
            }
        }
    }
}
