//! Bootstrap tokens: how a machine that has no certificate yet proves that it may ask for one.
//!
//! A token is a Secret in `kube-system` of the type that Kubernetes uses, except that it holds the hash of the token's
//! secret part. Its text is `pal_ID.SECRET.CA`, where `CA` is the hash of the cluster's root certificate.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pal_registry::{DeleteOptions, ListOptions, Read, Registry, WriteOptions};
use pal_resources::selector::FieldSelector;
use pal_resources::{ResourceRef, Status, resource};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

use crate::auth::{AUTHENTICATED, TokenError, User};

const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const PREFIX: &str = "bootstrap-token-";
const ID_LENGTH: usize = 6;
/// 24 characters of 36 are 124 bits.
const SECRET_LENGTH: usize = 24;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// What a token lets a machine become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Node,
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Server => "server",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "node" => Ok(Self::Node),
            "server" => Ok(Self::Server),
            other => Err(format!("a token's role is node or server, not {other:?}")),
        }
    }
}

/// A token that was just made. Its text is known only now.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub text: String,
    /// What is stored of it.
    pub secret: Secret,
}

/// What is known of a stored token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: String,
    pub role: String,
    pub description: String,
    pub expires: Option<Timestamp>,
}

/// A token's text, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenText {
    pub id: String,
    pub secret: String,
    /// SHA-256 of the root certificate's DER form, in hexadecimal.
    pub ca: String,
}

impl FromStr for TokenText {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let rest = text.trim().strip_prefix("pal_").ok_or(TokenError::Malformed)?;
        let mut parts = rest.split('.');
        let (Some(id), Some(secret), Some(ca), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Malformed);
        };
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let whole = id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH && ca.len() == 64;
        if !whole || !plain(id) || !plain(secret) || !plain(ca) {
            return Err(TokenError::Malformed);
        }
        Ok(Self { id: id.to_owned(), secret: secret.to_owned(), ca: ca.to_owned() })
    }
}

/// Makes a token for the cluster whose root has the hash `fingerprint`. Nothing is stored yet.
pub fn generate(role: Role, life: Duration, description: &str, fingerprint: &str, now: Timestamp) -> NewToken {
    let mut rng = rand::rng();
    let mut text = |length: usize| -> String {
        (0..length).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
    };
    let (id, secret) = (text(ID_LENGTH), text(SECRET_LENGTH));
    let expires = now.checked_add(life).unwrap_or(Timestamp::MAX);
    let data = [
        ("token-id", id.clone()),
        ("token-secret-sha256", hash(&secret)),
        ("expiration", expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("usage-bootstrap-authentication", "true".to_owned()),
        ("role", role.to_string()),
        ("description", description.to_owned()),
    ];
    let stored = Secret {
        metadata: ObjectMeta {
            name: Some(format!("{PREFIX}{id}")),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect()),
        ..Secret::default()
    };
    NewToken { text: format!("pal_{id}.{secret}.{fingerprint}"), secret: stored }
}

/// Makes and stores a token; the text to hand to the machine that joins.
pub async fn create(
    registry: &Registry,
    role: Role,
    life: Duration,
    description: &str,
    fingerprint: &str,
) -> Result<String, Status> {
    let token = generate(role, life, description, fingerprint, Timestamp::now());
    let body = serde_json::to_value(&token.secret).map_err(Status::internal)?;
    registry.create(&*secrets()?, Some(NAMESPACE), body, &WriteOptions::system("bootstrap-token")).await?;
    Ok(token.text)
}

/// All tokens, expired ones too.
pub async fn list(registry: &Registry) -> Result<Vec<TokenInfo>, Status> {
    let options =
        ListOptions { field: Some(FieldSelector::parse(&format!("type={SECRET_TYPE}"))?), ..ListOptions::default() };
    let list = registry.list(&*secrets()?, Some(NAMESPACE), options).await?;
    Ok(list.items.iter().filter_map(|item| item.parse::<Secret>().ok()).filter_map(|secret| info(&secret)).collect())
}

/// Takes a token back.
pub async fn revoke(registry: &Registry, id: &str) -> Result<(), Status> {
    let name = format!("{PREFIX}{id}");
    registry.delete(&*secrets()?, Some(NAMESPACE), &name, &DeleteOptions::system("bootstrap-token")).await.map(|_| ())
}

/// The user that a token's text stands for.
pub(crate) async fn verify(registry: &Registry, fingerprint: &str, text: &str) -> Result<User, TokenError> {
    let token: TokenText = text.parse()?;
    // Said apart from a wrong secret, because a token of another cluster is an easy mistake to make.
    if token.ca != fingerprint {
        return Err(TokenError::OtherCluster);
    }
    let resource = secrets().map_err(|_| TokenError::Unknown)?;
    let name = format!("{PREFIX}{}", token.id);
    let found = registry.get(&resource, Some(NAMESPACE), &name, Read::Consistent).await;
    let secret: Secret = found.and_then(|object| object.parse()).map_err(|status| match status.code {
        500.. => TokenError::Unavailable,
        _ => TokenError::Unknown,
    })?;
    judge(&secret, &token, Timestamp::now())
}

fn judge(secret: &Secret, token: &TokenText, now: Timestamp) -> Result<User, TokenError> {
    if secret.type_.as_deref() != Some(SECRET_TYPE) {
        return Err(TokenError::Unknown);
    }
    let data = secret.data.as_ref().ok_or(TokenError::Unknown)?;
    if !same(text(data, "token-secret-sha256").as_bytes(), hash(&token.secret).as_bytes()) {
        return Err(TokenError::Secret);
    }
    match text(data, "expiration").parse::<Timestamp>() {
        Ok(expires) if now < expires => {}
        _ => return Err(TokenError::Expired),
    }
    if text(data, "usage-bootstrap-authentication") != "true" {
        return Err(TokenError::Unknown);
    }
    let role = format!("system:bootstrappers:{}", text(data, "role"));
    Ok(User::new(format!("system:bootstrap:{}", token.id), &["system:bootstrappers", &role, AUTHENTICATED]))
}

fn info(secret: &Secret) -> Option<TokenInfo> {
    let data = secret.data.as_ref()?;
    Some(TokenInfo {
        id: text(data, "token-id").to_owned(),
        role: text(data, "role").to_owned(),
        description: text(data, "description").to_owned(),
        expires: text(data, "expiration").parse().ok(),
    })
}

fn text<'a>(data: &'a BTreeMap<String, ByteString>, key: &str) -> &'a str {
    data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

/// Takes the same time wherever two texts of one length differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && std::hint::black_box(left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b))) == 0
}

fn secrets() -> Result<ResourceRef, Status> {
    resource::find("", "v1", "secrets").ok_or_else(|| Status::internal("secrets are not served"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_until_it_expires_and_only_with_its_own_secret() {
        let now = Timestamp::now();
        let hour = Duration::from_secs(3600);
        let made = generate(Role::Node, hour, "", &"ab".repeat(32), now);
        let token: TokenText = made.text.parse().expect("its own text");
        let check = |token: &TokenText, at: Timestamp, expected: Result<&str, TokenError>| {
            let outcome = judge(&made.secret, token, at);
            assert_eq!(outcome.as_ref().map(|user| user.name.as_str()), expected.as_ref().copied());
        };
        let user = format!("system:bootstrap:{}", token.id);
        check(&token, now, Ok(&user));
        check(&token, now + 2 * hour, Err(TokenError::Expired));
        let wrong = TokenText { secret: "a".repeat(SECRET_LENGTH), ..token.clone() };
        check(&wrong, now, Err(TokenError::Secret));
        let stored = serde_json::to_string(&made.secret).expect("JSON");
        assert!(!stored.contains(&token.secret), "the secret itself is not stored");
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused() {
        let good = format!("pal_{}.{}.{}", "a1b2c3", "s".repeat(24), "0f".repeat(32));
        assert!(good.parse::<TokenText>().is_ok());
        for text in
            ["", "pal_", "pal_a.b", &good[4..], &good[..good.len() - 1], &good.to_uppercase(), &format!("{good}.x")]
        {
            assert_eq!(text.parse::<TokenText>(), Err(TokenError::Malformed), "{text}");
        }
    }
}
