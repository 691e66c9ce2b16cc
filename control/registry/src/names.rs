//! Names that the server makes.

use rand::RngExt;

/// The letters and digits of generated names: no vowels, so that no words come out, and none that look alike.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// What a generated name leaves of 63 for its base.
const BASE: usize = 63 - SUFFIX;

/// `base` with five random characters behind it.
pub(crate) fn generated(base: &str) -> String {
    let mut end = base.len().min(BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + SUFFIX);
    name.push_str(&base[..end]);
    let mut rng = rand::rng();
    for _ in 0..SUFFIX {
        name.push(char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    }
    name
}

/// A random UUID (RFC 9562, version 4). From this thread's generator: a look at the system's costs as much as an object's
/// defaults.
pub fn random_uuid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_its_base_and_five_characters() {
        fn check(base: &str, kept: &str) {
            let name = generated(base);
            let suffix = name.strip_prefix(kept).expect("the base");
            assert_eq!(suffix.len(), SUFFIX, "{name}");
            assert!(suffix.bytes().all(|byte| ALPHABET.contains(&byte)), "{name}");
        }
        check("web-", "web-");
        check("", "");
        check(&"a".repeat(80), &"a".repeat(58));
        check(&"é".repeat(40), &"é".repeat(29));
    }
}
