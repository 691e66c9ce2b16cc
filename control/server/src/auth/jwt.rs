//! The tokens of service accounts: signed claims (RFC 7519, ES256) of Kubernetes' form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Who issues the tokens, and whom they are meant for by default.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Clocks may differ by this much.
const LEEWAY: u64 = 10;
/// Longer ones were not made here.
const LONGEST: usize = 16 * 1024;

/// Why a token is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token was not signed by this cluster")]
    Foreign,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("what the token is bound to no longer exists")]
    Unbound,
    #[error("no such token")]
    Unknown,
    #[error("the token belongs to another cluster")]
    OtherCluster,
    #[error("the token's secret is wrong")]
    Secret,
    /// Nothing is known of the token: what it stands for cannot be read.
    #[error("the token cannot be checked while too few of the cluster's servers answer")]
    Unavailable,
}

/// An object that a token is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    pub uid: String,
}

/// What a token says beside its times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub namespace: String,
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
    aud: Vec<String>,
    exp: u64,
    iat: u64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Claims,
    nbf: u64,
    sub: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// The key that signs tokens.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

impl TokenKey {
    /// Reads a key in PKCS#8's DER form.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|error| error.to_string())?;
        let id = BASE64.encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { pair, id, random })
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
        let header = Header { alg: "ES256".to_owned(), kid: self.id.clone() };
        let start = seconds(now);
        let payload = Payload {
            aud: if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences.to_vec() },
            exp: start + life.as_secs(),
            iat: start,
            iss: ISSUER.to_owned(),
            jti: id.to_owned(),
            kubernetes: claims.clone(),
            nbf: start,
            sub: format!("system:serviceaccount:{}:{}", claims.namespace, claims.serviceaccount.name),
        };
        let encode = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|json| BASE64.encode(json)).map_err(|error| error.to_string())
        };
        let signed = format!("{}.{}", encode(serde_json::to_vec(&header))?, encode(serde_json::to_vec(&payload))?);
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|error| error.to_string())?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The claims of a token that this key signed, that is valid now and meant for this API; and the token's own name.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<(Claims, String), TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| TokenError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header.alg != "ES256" || header.kid != self.id {
            return Err(TokenError::Foreign);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Foreign)?;
        let payload: Payload = serde_json::from_slice(&decode(payload)?).map_err(|_| TokenError::Malformed)?;
        let now = seconds(now);
        if payload.iss != ISSUER {
            return Err(TokenError::Foreign);
        }
        if now >= payload.exp.saturating_add(LEEWAY) {
            return Err(TokenError::Expired);
        }
        if now.saturating_add(LEEWAY) < payload.nbf {
            return Err(TokenError::NotYet);
        }
        if !payload.aud.iter().any(|audience| audience == ISSUER) {
            return Err(TokenError::Audience);
        }
        Ok((payload.kubernetes, payload.jti))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        TokenKey::from_pkcs8(document.expect("a key").as_ref()).expect("the key")
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
        let issue = |audiences: &[&str]| {
            let audiences: Vec<String> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
            key.issue(&claims, &audiences, "id", now, hour).expect("a token")
        };
        let token = issue(&[]);
        let check = |key: &TokenKey, token: &str, at: SystemTime, expected: Result<(), TokenError>| {
            assert_eq!(key.verify(token, at).map(|(found, _)| assert_eq!(found, claims)), expected);
        };
        check(&key, &token, now, Ok(()));
        check(&key, &token, now + hour * 2, Err(TokenError::Expired));
        check(&key, &token, now - hour, Err(TokenError::NotYet));
        check(&other, &token, now, Err(TokenError::Foreign));
        check(&key, &issue(&["vault"]), now, Err(TokenError::Audience));
        check(&key, "a.b", now, Err(TokenError::Malformed));
        check(&key, &"a.".repeat(20_000), now, Err(TokenError::Malformed));
        let mut forged = token.clone();
        let middle = forged.find('.').expect("a dot") + 3;
        forged.replace_range(middle..middle + 1, if &forged[middle..=middle] == "A" { "B" } else { "A" });
        check(&key, &forged, now, Err(TokenError::Foreign));
    }
}
