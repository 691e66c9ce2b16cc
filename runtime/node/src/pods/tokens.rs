//! Tokens of a pod's service account, which its volumes show: asked for of the API, kept on disk, and renewed when four fifths
//! of their life are over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::{Api, PostParams};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::disk;

/// A life that a manifest does not say, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// A server that takes longer is not waited for where a token is kept.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// In a new namespace the account is made a moment after the first pods may be.
const ACCOUNT_TRIES: u32 = 20;
const ACCOUNT_PAUSE: Duration = Duration::from_millis(100);

/// A token that a volume shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenName {
    account: String,
    pod: String,
    uid: String,
    /// Whom it is for; nothing: for the API.
    audience: Option<String>,
    seconds: i64,
}

impl TokenName {
    /// The token of a projection of that pod.
    pub(crate) fn new(pod: &Pod, projection: &ServiceAccountTokenProjection) -> Self {
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        Self {
            account: account.unwrap_or_else(|| "default".to_owned()),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            audience: projection.audience.clone().filter(|audience| !audience.is_empty()),
            seconds: projection.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }

    /// Where it is kept. Audiences may hold anything, and be long.
    fn file(&self, dir: &Path) -> PathBuf {
        let about = format!("{} {} {:?}", self.account, self.seconds, self.audience);
        dir.join(format!("token-{}.json", hex::encode(&Sha256::digest(about)[..16])))
    }

    fn request(&self) -> TokenRequest {
        TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(self.audience.iter().cloned().collect()),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(self.pod.clone()),
                    uid: Some(self.uid.clone()),
                }),
                expiration_seconds: Some(self.seconds),
            }),
            ..TokenRequest::default()
        }
    }
}

impl std::fmt::Display for TokenName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "token of serviceaccount {:?}", self.account)
    }
}

/// A token, and when it is to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) renew: Timestamp,
}

/// The token that is kept, or a new one. Where none can be had, the one that is kept goes on to be shown.
pub(crate) async fn get(
    client: &kube::Client,
    namespace: &str,
    name: &TokenName,
    kept: &Path,
) -> Result<Token, String> {
    let file = name.file(kept);
    let held: Option<Token> = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(held) = held.as_ref().filter(|held| Timestamp::now() < held.renew) {
        return Ok(held.clone());
    }
    let asked = tokio::time::timeout(ASK_LIMIT, ask(client, namespace, name)).await;
    match asked.unwrap_or_else(|_| Err("the server gave no answer".to_owned())) {
        Ok(token) => {
            keep(&file, &token).map_err(|error| format!("{name} cannot be kept: {error}"))?;
            Ok(token)
        }
        Err(why) => held.ok_or_else(|| format!("{name} cannot be had: {why}")),
    }
}

async fn ask(client: &kube::Client, namespace: &str, name: &TokenName) -> Result<Token, String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = name.request();
    let mut tries = 0;
    let made = loop {
        let asked = Timestamp::now();
        match accounts.create_token_request(&name.account, &PostParams::default(), &request).await {
            Ok(made) => break made.status.map(|status| (asked, status)),
            Err(kube::Error::Api(status)) if status.code == 404 && tries < ACCOUNT_TRIES => {
                tries += 1;
                tokio::time::sleep(ACCOUNT_PAUSE).await;
            }
            Err(kube::Error::Api(status)) => return Err(status.message.clone()),
            Err(other) => return Err(crate::join::root_cause(&other)),
        }
    };
    let made = made.and_then(|(asked, status)| Some((asked, status.token?, status.expiration_timestamp?)));
    let (asked, text, expires) = made.ok_or("the answer holds no token")?;
    Ok(Token { text, renew: renewal(asked, expires.0) })
}

/// When four fifths of the time are over.
fn renewal(from: Timestamp, until: Timestamp) -> Timestamp {
    from + SignedDuration::from_secs(from.duration_until(until).as_secs().max(0) * 4 / 5)
}

fn keep(file: &Path, token: &Token) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        disk::private_dir(dir)?;
    }
    disk::replace(file, &serde_json::to_vec(token).map_err(io::Error::other)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let check = |from: i64, until: i64, expected: i64| assert_eq!(renewal(at(from), at(until)), at(expected));
        check(1000, 4600, 3880);
        check(1000, 1600, 1480);
        check(1000, 900, 1000);
    }

    #[test]
    fn a_request_is_for_that_pod_alone() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "uid": "u"}, "spec": {"serviceAccountName": "sa", "containers": []},
        }))
        .unwrap();
        let check = |projection: serde_json::Value, audiences: &[&str], seconds: i64| {
            let name = TokenName::new(&pod, &serde_json::from_value(projection).unwrap());
            let request = serde_json::to_value(name.request()).unwrap();
            assert_eq!(
                request["spec"],
                serde_json::json!({
                    "audiences": audiences, "expirationSeconds": seconds,
                    "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"},
                })
            );
            name.file(Path::new("/x"))
        };
        let api = check(serde_json::json!({"path": "token", "expirationSeconds": 3607}), &[], 3607);
        let vault = check(serde_json::json!({"path": "t", "audience": "https://vault/x"}), &["https://vault/x"], 3600);
        assert_ne!(api, vault);
    }
}
