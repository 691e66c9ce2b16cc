//! The formats of texts that are checked (kube-openapi `strfmt`); others are ignored, as kube-apiserver does.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use regex::Regex;

/// A format and the name under which the schema has it.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    name: String,
    test: fn(&str) -> bool,
}

impl Format {
    /// The format of that name; dashes do not matter.
    pub(crate) fn read(name: &str) -> Option<Self> {
        let test: fn(&str) -> bool = match name.replace('-', "").as_str() {
            "bsonobjectid" => |text| hex(text, 24),
            "uri" => is_uri,
            "email" => is_email,
            "hostname" => is_hostname,
            "ipv4" => |text| text.parse::<Ipv4Addr>().is_ok(),
            "ipv6" => |text| text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
            "cidr" => is_cidr,
            "mac" => is_mac,
            "uuid" => |text| is_uuid(text, None),
            "uuid3" => |text| is_uuid(text, Some('3')),
            "uuid4" => |text| is_uuid(text, Some('4')),
            "uuid5" => |text| is_uuid(text, Some('5')),
            "isbn" => |text| isbn10(text) || isbn13(text),
            "isbn10" => isbn10,
            "isbn13" => isbn13,
            "creditcard" => is_credit_card,
            "ssn" => |text| matches(&SSN, text),
            "hexcolor" => |text| matches(&HEX_COLOR, text),
            "rgbcolor" => |text| matches(&RGB_COLOR, text),
            "byte" => is_base64,
            "password" => |_| true,
            "date" => is_date,
            "duration" => |text| crate::duration::parse(text).is_some(),
            "datetime" => is_date_time,
            "k8sshortname" => |text| pal_resources::kinds::names::dns1123_label(text).is_empty(),
            "k8slongname" => |text| pal_resources::kinds::names::dns1123_subdomain(text).is_empty(),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), test })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        (self.test)(text)
    }
}

// A pattern that is written here is one.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

static SSN: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"));
static HEX_COLOR: LazyLock<Option<Regex>> = LazyLock::new(|| pattern("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static RGB_COLOR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let part = "([01]?[0-9]?[0-9]|2[0-4][0-9]|25[0-5])";
    pattern(&format!(r"^rgb\(\s*{part}\s*,\s*{part}\s*,\s*{part}\s*\)$"))
});
static EMAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$",
    )
});

fn hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// As Go's `url.ParseRequestURI`: absolute, or a path.
fn is_uri(text: &str) -> bool {
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    text.starts_with('/') || url::Url::parse(text).is_ok()
}

/// As Go's `mail.ParseAddress` takes them: an address, or a name and an address in angle brackets.
fn is_email(text: &str) -> bool {
    let address = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((_, address)) => address,
        None => text.trim(),
    };
    address.len() <= 320 && !address.contains("..") && !address.starts_with('.') && matches(&EMAIL, address)
}

/// One label, which has a dash behind its first letter or nowhere; or several, of which the last one is of letters.
fn is_hostname(text: &str) -> bool {
    let symbol = |c: char| "$+<=>^`|~".contains(c);
    let inner = |c: char| c.is_ascii_digit() || c.is_alphabetic() || symbol(c);
    let label = |label: &str| {
        let ends = label.starts_with(inner) && label.ends_with(inner);
        ends && label.chars().all(|c| inner(c) || c == '-')
    };
    let alone = |label: &str| {
        let mut rest = label.chars();
        let first = rest.next().is_some_and(inner);
        let rest = rest.as_str();
        first && rest.strip_prefix('-').unwrap_or(rest).chars().all(inner)
    };
    let fits = match text.rsplit_once('.') {
        None => alone(text),
        Some((labels, top)) => {
            labels.split('.').all(label) && top.chars().count() >= 2 && top.chars().all(char::is_alphabetic)
        }
    };
    fits && text.len() <= 255 && text.split('.').all(|label| label.len() <= 63)
}

pub(crate) fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let digits = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
    let bits: u8 = match bits.parse() {
        Ok(bits) if digits => bits,
        _ => return false,
    };
    (bits <= 32 && address.parse::<Ipv4Addr>().is_ok()) || (bits <= 128 && address.parse::<Ipv6Addr>().is_ok())
}

fn is_mac(text: &str) -> bool {
    let even = |separator: char, width: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, width))
    };
    even(':', 2, &[6, 8, 20]) || even('-', 2, &[6, 8, 20]) || even('.', 4, &[3, 4, 10])
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let plain = text.replace('-', "");
    let dashes = text.len() - plain.len() <= 4;
    let digit = |at: usize| plain.chars().nth(at);
    let right = match version {
        None => true,
        Some('3') => digit(12) == Some('3'),
        Some(version) => digit(12) == Some(version) && digit(16).is_some_and(|c| "89abAB".contains(c)),
    };
    dashes && hex(&plain, 32) && right
}

fn digits_of(text: &str) -> Option<Vec<u32>> {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    plain.chars().map(|c| c.to_digit(10)).collect()
}

fn isbn10(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let digit = |(at, c): (usize, char)| match c {
        'X' | 'x' if at == 9 => Some(10),
        c => c.to_digit(10),
    };
    let Some(digits) = plain.chars().enumerate().map(digit).collect::<Option<Vec<u32>>>() else { return false };
    digits.len() == 10 && digits.iter().zip(1..).map(|(digit, weight)| digit * weight).sum::<u32>() % 11 == 0
}

fn isbn13(text: &str) -> bool {
    let Some(digits) = digits_of(text) else { return false };
    let weights = [1, 3].into_iter().cycle();
    digits.len() == 13 && digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 10 == 0
}

fn is_credit_card(text: &str) -> bool {
    let Some(digits) = digits_of(text) else { return false };
    let doubled = |(at, digit): (usize, &u32)| match at % 2 {
        0 => *digit,
        _ if *digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    (12..=19).contains(&digits.len()) && digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

pub(crate) fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// RFC 3339, with the parts that it wants.
pub(crate) fn is_date_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let separated = bytes.len() >= 20 && bytes[4] == b'-' && matches!(bytes[10], b'T' | b't') && bytes[13] == b':';
    separated && bytes[16] == b':' && !text.contains('[') && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_they_should() {
        let rows: &[(&str, &[&str], &[&str])] = &[
            (
                "date-time",
                &["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.5+02:00"],
                &["2024-01-02", "x", "2024-13-02T03:04:05Z"],
            ),
            ("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", "20240229"]),
            ("duration", &["1h30m", "5s", "-1.5h", "3 days"], &["5", "h", "1x"]),
            ("byte", &["aGk="], &["aGk", "!"]),
            ("email", &["a@b.c", "Jo <jo@x.org>"], &["a", "a@", "@b", "a b@c.d", ".a@b.c"]),
            ("ipv4", &["10.0.0.1"], &["10.0.0", "::1", "010.0.0.1"]),
            ("ipv6", &["::1", "fe80::1:2"], &["10.0.0.1", ":::"]),
            ("cidr", &["10.0.0.0/8", "fd00::/64"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8"]),
            ("uri", &["https://a.b/c?d", "/path", "urn:x:y"], &["a b", "nope", ""]),
            ("uuid", &["550e8400-e29b-41d4-a716-446655440000"], &["550e8400", "z50e8400-e29b-41d4-a716-446655440000"]),
            ("uuid4", &["550e8400-e29b-41d4-a716-446655440000"], &["550e8400-e29b-31d4-a716-446655440000"]),
            (
                "hostname",
                &["a", "a-b", "a-", "1", "ab-c.de", "a--b.com", "\u{fc}.de"],
                &["-a", "a..bc", "a_b", "a.b", "a.b1", "my-host", "a.b-.cd"],
            ),
            ("mac", &["01:23:45:67:89:ab", "0123.4567.89ab"], &["01:23:45:67:89", "xx:23:45:67:89:ab"]),
            ("isbn10", &["0-306-40615-2"], &["0-306-40615-3"]),
            ("isbn13", &["978-0-306-40615-7"], &["978-0-306-40615-8"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112"]),
            ("hexcolor", &["#fff", "a1b2c3"], &["#ff", "red"]),
            ("rgbcolor", &["rgb(0, 255, 12)"], &["rgb(0,256,1)", "rgb(1,2)"]),
        ];
        for (name, good, bad) in rows {
            let format = Format::read(name).expect("a known format");
            for text in *good {
                assert!(format.fits(text), "{name} takes {text}");
            }
            for text in *bad {
                assert!(!format.fits(text), "{name} refuses {text}");
            }
        }
        for unknown in ["int32", "int64", "float", "made-up"] {
            assert!(Format::read(unknown).is_none(), "{unknown} is not checked");
        }
    }
}
