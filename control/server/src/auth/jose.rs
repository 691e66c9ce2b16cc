//! Signed tokens as they come (RFC 7515, RFC 7519): taken apart, and their signatures verified against public keys, which may
//! be a set in JSON (RFC 7517). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longer ones nobody here has made, nor any issuer that is known.
const LONGEST: usize = 16 * 1024;

/// An algorithm that signs, by its name in RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub(crate) const ALL: [(&str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// The algorithm of that name, if it is one that can be verified here.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// What a token says of its own signature.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub alg: String,
    #[serde(default)]
    pub kid: String,
}

/// A token in its compact form, decoded. Nothing of it is proved before [`Token::signed_by`] says so.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart; nothing when it is none.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let decode = |part: &str| BASE64.decode(part).ok();
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            signed,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// What the token says.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.payload).ok()
    }

    /// Who issued it, as it says itself.
    pub(crate) fn issuer(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        self.claims::<Issuer>().map(|claims| claims.iss)
    }

    /// Whether that key made the signature, by that algorithm.
    pub(crate) fn signed_by(&self, key: &PublicKey, algorithm: Algorithm) -> bool {
        key.verifies(algorithm, self.signed.as_bytes(), &self.signature)
    }
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, not compressed (SEC 1).
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl PublicKey {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        let plain = |with: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(with, key).verify(message, signed).is_ok()
        };
        let rsa = match algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                return match (algorithm, self) {
                    (Algorithm::Es256, Self::P256(point)) => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
                    (Algorithm::Es384, Self::P384(point)) => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
                    (Algorithm::EdDsa, Self::Ed25519(key)) => plain(&signature::ED25519, key),
                    _ => false,
                };
            }
        };
        match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(rsa, message, signed).is_ok(),
            _ => false,
        }
    }
}

/// A key of a set, with what the set says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedKey {
    pub id: String,
    pub key: PublicKey,
}

#[derive(Deserialize)]
struct Jwks {
    #[serde(default)]
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    #[serde(default)]
    kty: String,
    #[serde(default)]
    kid: String,
    #[serde(default, rename = "use")]
    purpose: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

/// The keys of a set that can be used here; those of other kinds are left out. An error is a text that is no such set.
pub(crate) fn key_set(json: &[u8]) -> Result<Vec<NamedKey>, serde_json::Error> {
    let set: Jwks = serde_json::from_slice(json)?;
    Ok(set.keys.into_iter().filter_map(named_key).collect())
}

fn named_key(jwk: Jwk) -> Option<NamedKey> {
    if !matches!(jwk.purpose.as_str(), "" | "sig") {
        return None;
    }
    let number = |text: &str| BASE64.decode(text.trim_end_matches('=')).ok().filter(|bytes| !bytes.is_empty());
    let point = |size: usize| {
        let (x, y) = (number(&jwk.x)?, number(&jwk.y)?);
        let whole = x.len() == size && y.len() == size;
        whole.then(|| [&[4], x.as_slice(), y.as_slice()].concat())
    };
    let key = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        // A number's leading zeros are not its own.
        ("RSA", _) => {
            let short = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
            PublicKey::Rsa { n: short(number(&jwk.n)?), e: short(number(&jwk.e)?) }
        }
        ("EC", "P-256") => PublicKey::P256(point(32)?),
        ("EC", "P-384") => PublicKey::P384(point(48)?),
        ("OKP", "Ed25519") => PublicKey::Ed25519(number(&jwk.x)?),
        _ => return None,
    };
    Some(NamedKey { id: jwk.kid, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_apart_or_are_none() {
        let encode = |text: &str| BASE64.encode(text);
        let whole = format!("{}.{}.{}", encode(r#"{"alg":"ES256"}"#), encode(r#"{"iss":"https://a"}"#), encode("x"));
        let token = Token::parse(&whole).expect("a token");
        assert_eq!((token.header.kid.as_str(), token.issuer().as_deref()), ("", Some("https://a")));
        for text in ["", "a", "a.b", "a.b.c", &"a.".repeat(20_000), &format!("{whole}.x")] {
            let short: String = text.chars().take(60).collect();
            let parsed = Token::parse(text).and_then(|token| token.claims::<serde_json::Value>());
            assert!(parsed.is_none(), "{short}");
        }
    }

    #[test]
    fn a_set_gives_the_keys_that_can_be_used() {
        let check = |jwk: serde_json::Value, expected: Option<&str>| {
            let json = serde_json::json!({"keys": [jwk]}).to_string();
            let keys = key_set(json.as_bytes()).expect("a set");
            let kind = keys.first().map(|key| match key.key {
                PublicKey::Rsa { .. } => "RSA",
                PublicKey::P256(_) => "P-256",
                PublicKey::P384(_) => "P-384",
                PublicKey::Ed25519(_) => "Ed25519",
            });
            assert_eq!(kind, expected, "{json}");
        };
        let number = |size: usize| BASE64.encode(vec![7; size]);
        check(serde_json::json!({"kty": "RSA", "n": number(256), "e": "AQAB"}), Some("RSA"));
        check(serde_json::json!({"kty": "RSA", "n": number(256)}), None);
        check(serde_json::json!({"kty": "RSA", "n": number(256), "e": "AQAB", "use": "enc"}), None);
        check(serde_json::json!({"kty": "EC", "crv": "P-256", "x": number(32), "y": number(32)}), Some("P-256"));
        check(serde_json::json!({"kty": "EC", "crv": "P-256", "x": number(31), "y": number(32)}), None);
        check(serde_json::json!({"kty": "EC", "crv": "P-384", "x": number(48), "y": number(48)}), Some("P-384"));
        check(serde_json::json!({"kty": "EC", "crv": "P-521", "x": number(66), "y": number(66)}), None);
        check(serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": number(32)}), Some("Ed25519"));
        check(serde_json::json!({"kty": "oct", "k": number(32)}), None);
        assert!(key_set(b"no set").is_err());
    }

    /// Made once with another program.
    const MODULUS: &str = "jHQA9qcp4kz27yGMyKqQs758A1CjOHivysPW7VUjzBu1URJcJUYJ1AfsXQJsytCsbQ9nlgj-n10qfjYcIos3HhiuifugWLeiqqdFEZgmUPXcO_O3hY1e--Ehc154epzMtXc4N_HYPwzcqaN-DHaxvI9A-Hmnqy4plBdV0tLkAeSLdPnESArVpVvx-LSf8eggJjPxIuPoFVUsMUIaE5n0wRJ8lYcJLlluMvcoBMycYLM7T0hclJXrLeF8i7NafK-xj4_ef4UcPqUD2D1CPre3sEWUUge1sKUvojpcKv6KU6H7B3w6Hblui0YzU8CXerg15fWyAfLBncJ3WimGFgj38Q";
    const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.e30.S2aF0XQEYZGQ6_uH3vPTpN7cm7hi-jC0K2x171Mi5I17LLCM5GQ5lDhsxdqMfD7orv9NlhN6nGBhIn6CcrjwAR4eNE4KFyguvewS0vMN2I9CHKT5OOp1reOLbr2mDAKVrlFXM4A938rcu0o799MDQ3yNlpUdkPUD2Ta7TPA5SCDGVzpHzyp2su_ZpX9psGxULmqTDlQATYRU0YwfCTOJrU5E6KC5EzlAYGpJbFvmk_a4S7RW7M9oSonTUYgQwBC53qYrgkQ0m9-mhIvV6wsTGHcWxiV7c6oHis9LnJxb2ud6dJBr0RtoCUXlQGMdt4k-2e7Erz-hmsw-TFYfeSP1qQ";
    const PS384: &str = "eyJhbGciOiJQUzM4NCIsImtpZCI6InIifQ.e30.D9jSAfg7do566aXVr3lwA41K-7_ce3CLxEFRj4Jv8NuD70Igz2w2xJ28CASzCyvNJj3QcuTOYjO0QkSATk3b-QKUp3g131ZPBJzwgU36k9WjpGC9F44cyNylKa0M7h1B4-WCspjIPEIZkOUb2Zlr4XxD2suUXnrxZAQDoqqLGNNikR164DRcObhHjz6BbDi1-WcQkW_-zkJfE-GyL7PH-qXlWPHVu42-a0dLbZhPHduzq_BFvbOH6FNUJbUz37K4o7RiNM3BNtI6hLGiYhB0xtFYoCPwjVWb2BEZuFKsq_0vEWmyKPRcRYiZ-PxQaZfzwKJUcp_raEXCS1BBorpIwA";

    #[test]
    fn signatures_of_other_programs_are_verified() {
        let set = serde_json::json!({"keys": [{"kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB"}]}).to_string();
        let keys = key_set(set.as_bytes()).expect("a set");
        let check = |text: &str, algorithm: Algorithm, expected: bool| {
            let token = Token::parse(text).expect("a token");
            assert_eq!(token.signed_by(&keys[0].key, algorithm), expected, "{algorithm:?}");
        };
        check(RS256, Algorithm::Rs256, true);
        check(PS384, Algorithm::Ps384, true);
        check(RS256, Algorithm::Rs512, false);
        check(RS256, Algorithm::Ps256, false);
        check(RS256, Algorithm::Es256, false);
        check(&RS256.replacen(".e30.", ".e300.", 1), Algorithm::Rs256, false);
    }
}
