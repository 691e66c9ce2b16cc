//! The text that lets a machine join: `pal_<id>.<secret>.<sha256 of the CA, hex>`.

use crate::error::JoinError;

/// A token, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The whole text: what is sent as the bearer.
    pub(crate) text: String,
    /// SHA-256 of the cluster CA's DER.
    pub(crate) ca_hash: [u8; 32],
}

impl Token {
    pub(crate) fn parse(text: &str) -> Result<Self, JoinError> {
        let text = text.trim();
        let rest = text.strip_prefix("pal_").ok_or(JoinError::MalformedToken("it does not begin with pal_"))?;
        let mut parts = rest.split('.');
        let (id, secret, hash) = (parts.next(), parts.next(), parts.next());
        let (Some(id), Some(secret), Some(hash), None) = (id, secret, hash, parts.next()) else {
            return Err(JoinError::MalformedToken("it does not have three parts (is it cut off?)"));
        };
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !plain(id) || !plain(secret) {
            return Err(JoinError::MalformedToken("its id or secret has characters that no token has"));
        }
        let mut ca_hash = [0; 32];
        hex::decode_to_slice(hash, &mut ca_hash)
            .map_err(|_| JoinError::MalformedToken("its last part is not 64 hexadecimal digits (is it cut off?)"))?;
        Ok(Self { text: text.to_owned(), ca_hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), &str>) {
        let hash = "ab".repeat(32);
        let result = Token::parse(&text.replace("HASH", &hash)).map(|t| assert_eq!(t.ca_hash, [0xab; 32]));
        match (result, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn a_token_has_a_prefix_and_three_parts() {
        check("pal_a1b2c3.0123456789abcdef.HASH", Ok(()));
        check("  pal_a1b2c3.0123456789abcdef.HASH\n", Ok(()));
        check("a1b2c3.0123456789abcdef.HASH", Err("does not begin with pal_"));
        check("pal_a1b2c3.0123456789abcdef", Err("three parts"));
        check("pal_a1b2c3.0123456789abcdef.abab", Err("64 hexadecimal"));
        check("pal_a1b2c3.01234\r\n6789abcdef.HASH", Err("characters"));
        check("", Err("pal_"));
    }
}
