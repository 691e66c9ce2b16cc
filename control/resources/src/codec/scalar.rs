//! Text that must have a form: times, durations, quantities, base64.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::quantity::Quantity;

/// A time in whole seconds, UTC.
pub(super) fn time(text: String) -> Result<String, String> {
    if is_canonical_time(text.as_bytes()) && text.parse::<Timestamp>().is_ok() {
        return Ok(text);
    }
    Ok(format_time(parse_time(&text, "2006-01-02T15:04:05Z07:00")?))
}

/// A time in microseconds, UTC.
pub(super) fn micro_time(text: &str) -> Result<String, String> {
    Ok(format_micro_time(parse_time(text, "2006-01-02T15:04:05.000000Z07:00")?))
}

/// `2006-01-02T15:04:05Z`
pub(super) fn format_time(time: Timestamp) -> String {
    // The format has directives that every timestamp has.
    strtime::format("%Y-%m-%dT%H:%M:%SZ", time).unwrap_or_default()
}

/// `2006-01-02T15:04:05.000000Z`
pub(super) fn format_micro_time(time: Timestamp) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S.%6fZ", time).unwrap_or_default()
}

fn is_canonical_time(text: &[u8]) -> bool {
    text.len() == 20
        && text.iter().zip(b"dddd-dd-ddTdd:dd:ddZ").all(|(got, want)| match want {
            b'd' => got.is_ascii_digit(),
            want => got == want,
        })
}

fn parse_time(text: &str, layout: &str) -> Result<Timestamp, String> {
    // jiff takes forms that RFC 3339 does not have, as a space for the T.
    let rfc3339 = text.as_bytes().get(10) == Some(&b'T') && text.is_ascii() && !text.ends_with(']');
    match text.parse::<Timestamp>() {
        Ok(time) if rfc3339 => Ok(time),
        _ => Err(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as {layout:?}")),
    }
}

/// A quantity in its canonical form.
pub(super) fn quantity(text: &str) -> Result<String, String> {
    Quantity::canonical(text).map_err(|e| e.to_string())
}

/// Takes the last bits of the last letter for nothing, as Go does.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Base64 as Go writes what it read: without line breaks, and with nothing in the bits that say nothing.
pub(super) fn base64(mut text: String) -> Result<String, String> {
    check_base64(&text)?;
    text.retain(|c| !matches!(c, '\r' | '\n'));
    if let (true, Some(at)) = (text.ends_with('='), text.len().checked_sub(4)) {
        // Only what is before the padding can have such bits.
        let last = LENIENT.decode(&text[at..]).map_err(|error| error.to_string())?;
        text.truncate(at);
        LENIENT.encode_string(last, &mut text);
    }
    Ok(text)
}

/// Whether the text is standard base64 with padding, as Go's decoder takes it (line breaks are passed over).
fn check_base64(text: &str) -> Result<(), String> {
    let mut count = 0;
    let mut padding = 0;
    for (at, byte) in text.bytes().enumerate() {
        let ok = match byte {
            b'\r' | b'\n' => continue,
            b'=' => {
                padding += 1;
                padding <= 2 && count % 4 >= 2
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => padding == 0,
            _ => false,
        };
        if !ok {
            return Err(format!("illegal base64 data at input byte {at}"));
        }
        count += 1;
    }
    if count % 4 == 0 {
        Ok(())
    } else {
        Err(format!("illegal base64 data at input byte {}", text.len() - text.len() % 4))
    }
}

/// A duration in Go's notation to nanoseconds.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    crate::duration::check(text)?;
    crate::duration::parse(text).ok_or_else(|| format!("time: invalid duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_and_whole_seconds() {
        let check = |input: &str, expected: &str| assert_eq!(time(input.to_owned()).as_deref(), Ok(expected));
        check("2026-11-21T18:00:00Z", "2026-11-21T18:00:00Z");
        check("2026-11-21T18:00:00.75Z", "2026-11-21T18:00:00Z");
        check("2026-11-21T18:00:00+01:30", "2026-11-21T16:30:00Z");
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-21 18:00:00Z", "2026-11-21T18:00:00"] {
            assert!(time(bad.to_owned()).is_err_and(|e| e.starts_with("parsing time")), "{bad}");
        }
    }

    #[test]
    fn micro_times_keep_six_digits() {
        assert_eq!(micro_time("2026-11-21T18:00:00.1234567Z").as_deref(), Ok("2026-11-21T18:00:00.123456Z"));
        assert_eq!(micro_time("2026-11-21T18:00:00Z").as_deref(), Ok("2026-11-21T18:00:00.000000Z"));
    }

    #[test]
    fn base64_is_checked_as_go_does() {
        for good in ["", "YQ==", "YWI=", "YWJj", "YW\nJj"] {
            assert_eq!(check_base64(good), Ok(()), "{good}");
        }
        let check = |input: &str, at: usize| {
            assert_eq!(check_base64(input), Err(format!("illegal base64 data at input byte {at}")), "{input}");
        };
        check("a b=", 1);
        check("YQ=a", 3);
        check("YWJjZ", 4);
    }

    #[test]
    fn base64_is_kept_as_go_writes_it() {
        let check = |input: &str, expected: &str| {
            assert_eq!(base64(input.to_owned()).as_deref(), Ok(expected), "{input}");
        };
        check("", "");
        check("YWJj", "YWJj");
        check("YQ==", "YQ==");
        check("YW\nJj\r\n", "YWJj");
        check("YR==\n", "YQ==");
        check("YWJjYWK=", "YWJjYWI=");
        assert_eq!(base64("YQ".to_owned()), Err("illegal base64 data at input byte 0".to_owned()));
    }

    #[test]
    fn durations_are_read_and_written_as_in_go() {
        let check = |input: &str, nanos: i64, written: &str| {
            assert_eq!(duration(input), Ok(nanos), "{input}");
            assert_eq!(crate::duration::show(nanos), written);
        };
        check("0", 0, "0s");
        check("1.5s", 1_500_000_000, "1.5s");
        check("90m", 5_400_000_000_000, "1h30m0s");
        check("300ms", 300_000_000, "300ms");
        check("-2m3s", -123_000_000_000, "-2m3s");
        check("1500ns", 1_500, "1.5µs");
        let refused = |input: &str, why: &str| assert_eq!(duration(input), Err(format!("time: {why} {input:?}")));
        refused("5", "missing unit in duration");
        refused("1m5", "missing unit in duration");
        refused("-1m2y", "unknown unit \"y\" in duration");
        refused("s", "invalid duration");
        refused("", "invalid duration");
        refused("1m.s", "invalid duration");
    }
}
