//! The forms of names, labels and the like (apimachinery `pkg/util/validation`): each function tells what is wrong.

use std::net::{IpAddr, Ipv4Addr};

/// A name of at most 63 characters: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 63 {
        faults.push(max_len(63));
    }
    if !is_dns1123_label(text) {
        if is_dns1123_subdomain(text) {
            faults.push("must not contain dots".to_owned());
        } else {
            faults.push(regex_fault(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            ));
        }
    }
    faults
}

/// Labels joined by dots, at most 253 characters.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 253 {
        faults.push(max_len(253));
    }
    if !is_dns1123_subdomain(text) {
        faults.push(regex_fault(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    faults
}

/// The same, with underscores too: domains that names are searched in.
pub fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 253 {
        faults.push(max_len(253));
    }
    let plain = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let label = |part: &str| {
        let bytes = part.strip_prefix('_').unwrap_or(part).as_bytes();
        let inner = |b: &u8| plain(Some(b)) || matches!(b, b'-' | b'_');
        plain(bytes.first()) && plain(bytes.last()) && bytes.iter().all(inner)
    };
    if !text.split('.').all(label) {
        faults.push(regex_fault(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    faults
}

/// The same as [`dns1123_label`], beginning with a letter: names of Services.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 63 {
        faults.push(max_len(63));
    }
    let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if !(starts && is_dns1123_label(text)) {
        faults.push(regex_fault(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    faults
}

/// `name` or `prefix/name`: keys of labels, annotations, finalizers.
pub fn qualified_name(text: &str) -> Vec<String> {
    const FORM: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    let mut faults = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(dns1123_subdomain(prefix).iter().map(|f| format!("prefix part {f}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex_fault(QUALIFIED_MESSAGE, FORM, &["MyName", "my.name", "123-abc"])
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        faults.push(format!("name part {}", max_len(63)));
    }
    if !is_label_text(name) || name.is_empty() {
        let fault = regex_fault(QUALIFIED_MESSAGE, FORM, &["MyName", "my.name", "123-abc"]);
        faults.push(format!("name part {fault}"));
    }
    faults
}

const QUALIFIED_MESSAGE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// What a label may be worth: empty, or at most 63 of a few characters.
pub fn label_value(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 63 {
        faults.push(max_len(63));
    }
    if !is_label_text(text) {
        faults.push(regex_fault(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    faults
}

/// Keys of ConfigMaps and Secrets: they become file names.
pub fn config_key(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 253 {
        faults.push(max_len(253));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) {
        faults.push(regex_fault(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

/// Names of environment variables: any printable ASCII but `=`.
pub fn env_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Names of container ports: at most 15, at least one letter, no two dashes together.
pub fn port_name(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > 15 {
        faults.push(max_len(15));
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// What may be part of a URL's path: names of RBAC objects.
pub fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." => vec!["may not be '.'".to_owned()],
        ".." => vec!["may not be '..'".to_owned()],
        _ => ["/", "%"]
            .iter()
            .filter(|illegal| text.contains(**illegal))
            .map(|illegal| format!("may not contain '{illegal}'"))
            .collect(),
    }
}

/// A port number's range.
pub fn port_number(port: i32) -> Vec<String> {
    in_range(i64::from(port), 1, 65535)
}

/// An address of a network, of either family.
pub fn ip_address(text: &str) -> Vec<String> {
    let fault = match text.parse::<IpAddr>() {
        Ok(ip) if is_mapped(ip) => "must not be an IPv4-mapped IPv6 address",
        Ok(_) => return Vec::new(),
        Err(_) if without_zeros(text).parse::<Ipv4Addr>().is_ok() => "must not have leading 0s",
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    vec![fault.to_owned()]
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// The numbers of an address as those take them who read no octal numbers.
fn without_zeros(text: &str) -> String {
    let number = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    text.split('.').map(number).collect::<Vec<_>>().join(".")
}

/// An address in the one form that is written for it.
pub fn canonical_ip(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(ip) => canonical(text, &ip.to_string()),
        Err(_) => ip_address(text),
    }
}

fn canonical(text: &str, form: &str) -> Vec<String> {
    if text == form { Vec::new() } else { vec![format!("must be in canonical form ({form:?})")] }
}

/// An address that a service or an endpoint may have: none that means something everywhere.
pub fn common_ip(text: &str) -> Vec<String> {
    let Ok(ip) = text.parse::<IpAddr>() else { return ip_address(text) };
    let (local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (ip.is_unspecified(), format!("may not be unspecified ({text})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, why)| why).collect()
}

/// Addresses that begin alike, as `10.9.8.0/24`.
pub fn cidr(text: &str) -> Vec<String> {
    let fault = |why: &str| vec![why.to_owned()];
    let none = || fault("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    let Some((address, length)) = text.split_once('/') else { return none() };
    let Ok(bits) = length.parse::<u32>() else { return none() };
    let sloppy = address.parse::<IpAddr>().ok().or_else(|| without_zeros(address).parse().ok());
    match sloppy {
        Some(ip) if bits <= longest(ip) && length.starts_with(|c: char| c.is_ascii_digit()) => {
            if address.parse::<IpAddr>().is_err() || length.len() > 1 && length.starts_with('0') {
                fault("must not have leading 0s in IP or prefix length")
            } else if is_mapped(ip) {
                fault("must not have an IPv4-mapped IPv6 address")
            } else if first(ip, bits) != ip {
                fault("must not have bits set beyond the prefix length")
            } else {
                Vec::new()
            }
        }
        _ => none(),
    }
}

fn longest(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The first address of those that share so many bits with this one.
fn first(ip: IpAddr, bits: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into()),
    }
}

/// The same in the one form that is written for it, without bits behind those that are alike.
pub fn canonical_cidr(text: &str) -> Vec<String> {
    let parts = text.split_once('/').filter(|_| cidr(text).is_empty());
    match parts.map(|(address, bits)| (address.parse::<IpAddr>(), bits)) {
        Some((Ok(address), bits)) => canonical(text, &format!("{address}/{bits}")),
        _ => cidr(text),
    }
}

/// A number within bounds.
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) {
        Vec::new()
    } else {
        vec![format!("must be between {low} and {high}, inclusive")]
    }
}

/// "must be no more than N bytes"
pub fn max_len(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

/// The sentence of a form: `message (e.g. 'a', regex used for validation is '...')`.
pub fn regex_fault(message: &str, form: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{form}')");
    }
    let quoted: Vec<String> = examples.iter().map(|e| format!("'{e}'")).collect();
    format!("{message} (e.g. {}, regex used for validation is '{form}')", quoted.join(",  or "))
}

fn is_dns1123_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.is_some_and(|b| inner(*b));
    let bytes = text.as_bytes();
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| inner(*b) || *b == b'-')
}

fn is_dns1123_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns1123_label)
}

fn is_label_text(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)
}

/// What no name in CEL may be: the language's own words, and those that it reserves.
pub const CEL_KEYWORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
