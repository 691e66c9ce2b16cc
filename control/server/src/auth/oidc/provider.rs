//! One issuer: its keys, fetched in the background and kept, and what they verify.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::IssuerConfig;
use super::fetch::Fetcher;
use crate::auth::jose::{Algorithm, NamedKey, Token, key_set};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How old keys become before they are fetched anew.
const REFRESH: Duration = Duration::from_secs(3600);
/// Keys are fetched no more often than this, whoever shows tokens with unknown ones.
const LEAST_PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for the keys that it asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was fetched: nothing before it was the first time.
type Keys = Option<Arc<Vec<NamedKey>>>;

pub(super) struct Provider {
    pub(super) config: Arc<IssuerConfig>,
    fetcher: Fetcher,
    keys: watch::Sender<Keys>,
    /// Somebody shows a token whose key is unknown.
    wanted: Arc<Notify>,
}

impl Provider {
    pub(super) fn new(config: IssuerConfig) -> Result<Self, String> {
        let fetcher = Fetcher::new(config.ca_pem.as_deref())?;
        let (keys, wanted) = (watch::Sender::new(None), Arc::new(Notify::new()));
        Ok(Self { config: Arc::new(config), fetcher, keys, wanted })
    }

    /// Keeps the keys up to date until `stop`.
    pub(super) fn fetcher(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (config, fetcher) = (self.config.clone(), self.fetcher.clone());
        let (keys, wanted) = (self.keys.clone(), self.wanted.clone());
        let work = async move {
            loop {
                let began = Instant::now();
                let pause = match fetch(&config, &fetcher).await {
                    Ok(fetched) => {
                        tracing::debug!(issuer = config.url, keys = fetched.len(), "an issuer's keys were fetched");
                        keys.send_replace(Some(Arc::new(fetched)));
                        REFRESH
                    }
                    Err(why) => {
                        tracing::warn!(issuer = config.url, why, "an issuer's keys could not be fetched");
                        // Who waits is told that there is nothing new.
                        keys.send_modify(|_| {});
                        RETRY
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = wanted.notified() => tokio::time::sleep_until(began + LEAST_PAUSE).await,
                }
            }
        };
        async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Whether the issuer signed the token.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<(), String> {
        let name = &token.header.alg;
        let algorithm = Algorithm::named(name).filter(|algorithm| self.config.algorithms.contains(algorithm));
        let Some(algorithm) = algorithm else {
            return Err(format!("oidc: verify token: oidc: id token signed with unsupported algorithm {name:?}"));
        };
        let mut keys = self.keys.subscribe();
        let held = keys.borrow_and_update().clone();
        let Some(held) = held else { return Err("oidc: authenticator not initialized".to_owned()) };
        match outcome(&held, token, algorithm) {
            Outcome::Signed => return Ok(()),
            Outcome::Forged => return Err(forged()),
            Outcome::Unknown => {}
        }
        // The issuer may have a new key.
        self.wanted.notify_one();
        let _ = tokio::time::timeout(PATIENCE, keys.changed()).await;
        let fresh = keys.borrow().clone().unwrap_or(held);
        match outcome(&fresh, token, algorithm) {
            Outcome::Signed => Ok(()),
            Outcome::Forged | Outcome::Unknown => Err(forged()),
        }
    }
}

fn forged() -> String {
    "oidc: verify token: failed to verify signature: failed to verify id token signature".to_owned()
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Signed,
    /// There is a key of that name, which did not sign it.
    Forged,
    /// No key has the name.
    Unknown,
}

/// A token that names no key may be signed by any; one that names one, by that alone.
fn outcome(keys: &[NamedKey], token: &Token<'_>, algorithm: Algorithm) -> Outcome {
    let named = &token.header.kid;
    let mut candidates = keys.iter().filter(|key| named.is_empty() || key.id == *named).peekable();
    if candidates.peek().is_none() {
        return Outcome::Unknown;
    }
    if candidates.any(|candidate| token.signed_by(&candidate.key, algorithm)) {
        Outcome::Signed
    } else {
        Outcome::Forged
    }
}

async fn fetch(config: &IssuerConfig, fetcher: &Fetcher) -> Result<Vec<NamedKey>, String> {
    #[derive(Deserialize)]
    struct Discovery {
        issuer: String,
        jwks_uri: String,
    }
    let below = || format!("{}/.well-known/openid-configuration", config.url.trim_end_matches('/'));
    let url = config.discovery_url.clone().unwrap_or_else(below);
    let document = fetcher.get(&url).await?;
    let document: Discovery = serde_json::from_slice(&document).map_err(|error| format!("{url}: {error}"))?;
    if document.issuer != config.url {
        return Err(format!(
            "oidc: issuer did not match the issuer returned by provider, expected {:?} got {:?}",
            config.url, document.issuer
        ));
    }
    let keys = fetcher.get(&document.jwks_uri).await?;
    key_set(&keys).map_err(|error| format!("{}: {error}", document.jwks_uri))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::auth::jose::PublicKey;

    #[test]
    fn a_token_is_signed_by_the_key_that_it_names() {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
        let pair = || {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
            Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("the key")
        };
        let (first, second) = (pair(), pair());
        let named = |id: &str, pair: &Ed25519KeyPair| NamedKey {
            id: id.to_owned(),
            key: PublicKey::Ed25519(pair.public_key().as_ref().to_vec()),
        };
        let keys = [named("1", &first), named("2", &second)];
        let check = |header: &str, signer: &Ed25519KeyPair, expected: Outcome| {
            let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode("{}"));
            let text = format!("{signed}.{}", BASE64.encode(signer.sign(signed.as_bytes())));
            let token = Token::parse(&text).expect("a token");
            assert_eq!(outcome(&keys, &token, Algorithm::EdDsa), expected, "{header}");
        };
        check(r#"{"alg":"EdDSA","kid":"1"}"#, &first, Outcome::Signed);
        check(r#"{"alg":"EdDSA","kid":"1"}"#, &second, Outcome::Forged);
        check(r#"{"alg":"EdDSA","kid":"3"}"#, &first, Outcome::Unknown);
        check(r#"{"alg":"EdDSA"}"#, &second, Outcome::Signed);
        check(r#"{"alg":"EdDSA"}"#, &pair(), Outcome::Forged);
    }
}
