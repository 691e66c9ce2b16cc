//! Spans of time in the notation of kube-openapi's format `duration`, looser than Go's.

use pal_resources::duration;

/// The words for a unit in the looser notation; whatever begins with the last is one too.
const WORDS: [(&[&str], i64); 8] = [
    (&["ns", "nano"], 1),
    (&["us", "µs", "micro"], 1_000),
    (&["ms", "milli"], 1_000_000),
    (&["s", "sec"], 1_000_000_000),
    (&["m", "min"], 60_000_000_000),
    (&["h", "hr", "hour"], 3_600_000_000_000),
    (&["d", "day"], 86_400_000_000_000),
    (&["w", "wk", "week"], 604_800_000_000_000),
];

/// Reads a span and returns nanoseconds: as Go does, else the sum of all numbers that a unit follows (`3 days`, `2 weeks`),
/// whatever else stands there.
pub(crate) fn parse(text: &str) -> Option<i64> {
    duration::parse(text).or_else(|| parse_words(text))
}

fn parse_words(text: &str) -> Option<i64> {
    let mut total = None;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[start..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let after = rest[digits..].trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let end = after.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(after.len());
        let word = after[..end].to_lowercase();
        if !word.is_empty() {
            let amount: i64 = rest[..digits].parse().ok()?;
            let known = |words: &[&str]| {
                words.contains(&word.as_str()) || words.last().is_some_and(|last| word.starts_with(last))
            };
            let unit = WORDS.iter().find(|(words, _)| known(words)).map(|(_, unit)| *unit);
            // What is too large wraps around, as in Go.
            total = unit.map_or(total, |unit| Some(total.unwrap_or(0_i64).wrapping_add(amount.wrapping_mul(unit))));
        }
        rest = &after[end..];
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loose_notation_takes_words() {
        const DAY: i64 = 86_400_000_000_000;
        for (text, expected) in [
            ("3 days", Some(3 * DAY)),
            ("2 weeks 1 day", Some(15 * DAY)),
            ("1d", Some(DAY)),
            ("1 HOUR", Some(DAY / 24)),
            ("about 1 hr, or 2 minutes", Some(DAY / 24 + 120_000_000_000)),
            ("7 nanoseconds", Some(7)),
            ("5 lightyears", None),
            ("5", None),
            ("99999999999999999999 days", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
