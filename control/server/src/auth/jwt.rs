//! The tokens of service accounts: signed claims (RFC 7519, ES256) of Kubernetes' form, and what makes them hold.

mod legacy;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::jose::{Algorithm, PublicKey, Token};

pub use legacy::{LEGACY_ISSUER, LegacyClaims};

/// Who issues the tokens, and whom they are meant for by default.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Clocks may differ by this many seconds.
const LEEWAY: u64 = 10;

/// What stands before the point of a P-256 key in its SubjectPublicKeyInfo (RFC 5480).
const SPKI_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why a token is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is a bootstrap token by its look, and none.
    #[error("the token is malformed")]
    Malformed,
    #[error("the token has expired")]
    Expired,
    #[error("no such token")]
    Unknown,
    #[error("the token belongs to another cluster")]
    OtherCluster,
    #[error("the token's secret is wrong")]
    Secret,
    /// Nobody here knows such a token.
    #[error("invalid bearer token")]
    Invalid,
    /// Who knows such tokens refuses it, and says why.
    #[error("[invalid bearer token, {0}]")]
    Refused(String),
    /// Nothing is known of the token: what it stands for cannot be read.
    #[error("the token cannot be checked while too few of the cluster's servers answer")]
    Unavailable,
}

impl TokenError {
    /// A refusal in those words.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// Whether whom it is told to may know why: who joins a machine has to.
    pub(crate) fn of_bootstrap(&self) -> bool {
        !matches!(self, Self::Invalid | Self::Refused(_))
    }
}

/// An object that a token is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    /// Empty where the object is named only for information and did not exist.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What a token says beside its times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub namespace: String,
    /// What the token is bound to where there is no pod, else where the pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    pub serviceaccount: Bound,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    aud: Audience,
    exp: u64,
    iat: u64,
    iss: String,
    #[serde(default)]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Claims,
    nbf: u64,
    sub: String,
}

/// One audience or several.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    Several(Vec<String>),
    One(String),
}

impl Audience {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            Self::Several(all) => all,
            Self::One(one) => vec![one],
        }
    }
}

/// A token that holds, but for what stored objects say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub claims: Claims,
    /// The token's own name.
    pub id: String,
    /// Of those asked for, the ones that it is meant for.
    pub audiences: Vec<String>,
}

/// The key that signs tokens.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
    id: String,
    random: SystemRandom,
}

impl TokenKey {
    /// Reads a key in PKCS#8's DER form.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|error| error.to_string())?;
        let point = pair.public_key().as_ref().to_vec();
        // As kube-apiserver names keys: by the hash of their DER form.
        let id = BASE64.encode(Sha256::digest([SPKI_P256, point.as_slice()].concat()));
        Ok(Self { pair, public: PublicKey::P256(point), id, random })
    }

    /// Makes a token for `audiences` that lives from `now` for `life`; `id` is its own name.
    pub fn issue(
        &self,
        claims: &Claims,
        audiences: &[String],
        id: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<String, String> {
        let start = seconds(now);
        let audiences = if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences.to_vec() };
        let payload = Payload {
            aud: Audience::Several(audiences),
            exp: start + life.as_secs(),
            iat: start,
            iss: ISSUER.to_owned(),
            jti: id.to_owned(),
            kubernetes: claims.clone(),
            nbf: start,
            sub: format!("system:serviceaccount:{}:{}", claims.namespace, claims.serviceaccount.name),
        };
        self.signed(&payload)
    }

    /// A token that says that.
    fn signed(&self, payload: &impl Serialize) -> Result<String, String> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'a str,
            kid: &'a str,
        }
        let encode = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|json| BASE64.encode(json)).map_err(|error| error.to_string())
        };
        let header = encode(serde_json::to_vec(&Header { alg: "ES256", kid: &self.id }))?;
        let signed = format!("{header}.{}", encode(serde_json::to_vec(payload))?);
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|error| error.to_string())?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// Whether this key signed the token.
    fn check(&self, token: &Token<'_>) -> Result<(), TokenError> {
        if token.header.alg != "ES256" || !token.header.kid.is_empty() && token.header.kid != self.id {
            return Err(TokenError::refused("invalid signature, no keys found"));
        }
        if !token.signed_by(&self.public, Algorithm::Es256) {
            return Err(TokenError::refused("square/go-jose: error in cryptographic primitive"));
        }
        Ok(())
    }

    /// What a token says that this key signed, that is valid now and meant for one of `wanted`.
    pub(crate) fn verify(&self, token: &Token<'_>, wanted: &[String], now: SystemTime) -> Result<Verified, TokenError> {
        self.check(token)?;
        let payload: Payload = token.claims().ok_or(TokenError::Invalid)?;
        if payload.iss != ISSUER {
            return Err(TokenError::refused(format!("token issuer {:?} is invalid", payload.iss)));
        }
        let meant_for = payload.aud.into_vec();
        let audiences: Vec<String> = meant_for.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            let why = format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted(&meant_for),
                quoted(wanted)
            );
            return Err(TokenError::Refused(why));
        }
        let now = seconds(now);
        if now >= payload.exp.saturating_add(LEEWAY) {
            return Err(TokenError::refused("service account token has expired"));
        }
        if now.saturating_add(LEEWAY) < payload.nbf {
            return Err(TokenError::refused("service account token is not valid yet"));
        }
        Ok(Verified { claims: payload.kubernetes, id: payload.jti, audiences })
    }

    /// The key by which others verify the tokens, as a set of one (RFC 7517).
    pub(crate) fn key_set(&self) -> serde_json::Value {
        let point = self.pair.public_key();
        // The point is 4, then two numbers of 32 bytes.
        let (x, y) = point.as_ref()[1..].split_at(32);
        serde_json::json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": BASE64.encode(x), "y": BASE64.encode(y),
        }]})
    }
}

/// Texts as Go prints a list of them with `%q`.
pub(crate) fn quoted(texts: &[String]) -> String {
    let all: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", all.join(" "))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::super::jose::key_set;
    use super::*;

    pub(super) fn key() -> TokenKey {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        TokenKey::from_pkcs8(document.expect("a key").as_ref()).expect("the key")
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_token_holds_in_its_time_for_its_audience_with_its_key() {
        let (key, other) = (key(), key());
        let now = SystemTime::now();
        let claims = Claims {
            namespace: "default".to_owned(),
            serviceaccount: Bound { name: "web".to_owned(), uid: "1-2".to_owned() },
            ..Claims::default()
        };
        let hour = Duration::from_secs(3600);
        let issue = |audiences: &[&str]| key.issue(&claims, &texts(audiences), "id", now, hour).expect("a token");
        let check = |key: &TokenKey, token: &str, wanted: &[&str], at: SystemTime, expected: Result<&[&str], &str>| {
            let outcome = key.verify(&Token::parse(token).expect("a token"), &texts(wanted), at);
            let outcome = outcome.map(|verified| {
                assert_eq!((&verified.claims, verified.id.as_str()), (&claims, "id"));
                verified.audiences
            });
            let expected = expected.map(texts).map_err(|why| TokenError::Refused(why.to_owned()));
            assert_eq!(outcome, expected);
        };
        let token = issue(&[]);
        check(&key, &token, &[ISSUER], now, Ok(&[ISSUER]));
        check(&key, &token, &[ISSUER], now + hour * 2, Err("service account token has expired"));
        check(&key, &token, &[ISSUER], now - hour, Err("service account token is not valid yet"));
        check(&other, &token, &[ISSUER], now, Err("invalid signature, no keys found"));
        let vault = issue(&["vault", "a"]);
        let words = format!(r#"token audiences ["vault" "a"] is invalid for the target audiences ["{ISSUER}"]"#);
        check(&key, &vault, &[ISSUER], now, Err(&words));
        check(&key, &vault, &["x", "vault"], now, Ok(&["vault"]));
        check(&key, &vault, &["a", "vault"], now, Ok(&["vault", "a"]));
        let mut forged = token.clone();
        let at = forged.rfind('.').expect("a dot") - 6;
        forged.replace_range(at..=at, if &forged[at..=at] == "A" { "B" } else { "A" });
        check(&key, &forged, &[ISSUER], now, Err("square/go-jose: error in cryptographic primitive"));
    }

    #[test]
    fn the_published_key_verifies_what_is_issued() {
        let key = key();
        let token = key.issue(&Claims::default(), &[], "id", SystemTime::now(), Duration::from_secs(60));
        let token = token.expect("a token");
        let token = Token::parse(&token).expect("a token");
        let published = key_set(key.key_set().to_string().as_bytes()).expect("a set");
        assert_eq!(published[0].id, token.header.kid);
        assert!(token.signed_by(&published[0].key, Algorithm::Es256));
    }
}
