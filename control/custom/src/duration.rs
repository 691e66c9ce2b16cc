//! Spans of time in Go's notation: `1h30m`, `1.5s`, `-3ms`.

const NANOSECOND: f64 = 1.0;

/// Reads a span and returns nanoseconds. Beside Go's units it takes the days and weeks of kube-openapi's `duration`.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Some(nanoseconds) = parse_go(text) {
        return Some(nanoseconds);
    }
    // `3 days`, `2 weeks`, `1 hour`
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let amount: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "w" | "wk" | "week" => 7.0 * 86_400.0,
        "d" | "day" => 86_400.0,
        "h" | "hr" | "hour" => 3_600.0,
        "m" | "min" | "minute" => 60.0,
        "" | "sec" | "second" if !unit.is_empty() => 1.0,
        "ms" | "milli" | "millisecond" => 1e-3,
        "u" | "µ" | "micro" | "microsecond" => 1e-6,
        "n" | "nano" | "nanosecond" => 1e-9,
        _ => return None,
    };
    whole(amount * seconds * 1e9)
}

/// As Go's `time.ParseDuration`.
pub(crate) fn parse_go(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |length| end + length);
        total += amount
            * match &rest[end..unit] {
                "ns" => NANOSECOND,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3_600e9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    whole(sign * total)
}

fn whole(nanoseconds: f64) -> Option<i64> {
    // Below the largest number of nanoseconds that fits, about 292 years.
    (nanoseconds.abs() < 9.223e18).then_some(nanoseconds.round() as i64)
}

/// As Go's `Duration.String`: `1h30m0s`, `1.5s`, `20ms`.
pub(crate) fn show(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let with = |amount: f64, unit: &str| format!("{sign}{amount}{unit}");
    match size {
        0 => "0s".to_owned(),
        1..1_000 => with(size as f64, "ns"),
        1_000..1_000_000 => with(size as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => with(size as f64 / 1e6, "ms"),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = rest as f64 / 1e9;
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}
