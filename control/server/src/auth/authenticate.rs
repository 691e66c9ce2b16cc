//! Credentials into users: the connection's certificate, else a bearer token, else nobody in particular.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use pal_registry::{Object, Patch, PatchKind, Read, Registry, WriteOptions};
use pal_resources::codec::FieldValidation;
use pal_resources::status::{Reason, Status, StatusDetails};
use pal_resources::{ResourceRef, resource};
use serde_json::{Value, json};

use super::jose::Token;
use super::jwt::Verified;
use super::oidc::{Anonymous, Issuers, Vouched};
use super::static_tokens::StaticTokens;
use super::{AUTHENTICATED, Bound, Claims, ISSUER, LEGACY_ISSUER, LegacyClaims, TokenError, TokenKey, User};
use crate::{stream, tokens};

/// What is being deleted vouches for its tokens for this long, as kube-apiserver has it.
const GOING: Duration = Duration::from_secs(60);

/// The labels of a Secret that say when its token was last used, and that it is no longer taken.
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const INVALIDATED: &str = "service account token has been invalidated";

/// Knows who is who.
pub(crate) struct Authenticator {
    registry: Registry,
    fingerprint: String,
    key: Arc<TokenKey>,
    known: Known,
    anonymous: Arc<User>,
}

/// Who is known by what the server was started with.
pub(crate) struct Known {
    /// Tokens from a file.
    pub listed: StaticTokens,
    /// Who else issues tokens.
    pub issuers: Issuers,
    /// Who may come without any.
    pub anonymous: Anonymous,
}

/// Whose a token is.
pub(crate) struct Proved {
    pub user: Arc<User>,
    /// Of the audiences that were asked for, those that it is meant for.
    pub audiences: Vec<String>,
}

/// Whom the API's own tokens are meant for.
pub(crate) fn own_audiences() -> Vec<String> {
    vec![ISSUER.to_owned()]
}

impl Authenticator {
    pub(crate) fn new(registry: Registry, fingerprint: String, key: Arc<TokenKey>, known: Known) -> Self {
        Self { registry, fingerprint, key, known, anonymous: Arc::new(User::anonymous()) }
    }

    /// The user of a request for `path`; `peer` is the one whom the connection's certificate names.
    pub(crate) async fn user(
        &self,
        peer: Option<&Arc<User>>,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<Arc<User>, Status> {
        if let Some(peer) = peer {
            return Ok(peer.clone());
        }
        let given = bearer(headers);
        let named = if given.is_none() { stream::token(headers) } else { None };
        let Some(token) = given.or(named.as_deref()) else {
            let allowed = self.known.anonymous.allows(path);
            return allowed.then(|| self.anonymous.clone()).ok_or_else(Status::unauthorized);
        };
        match self.token(token, &own_audiences()).await {
            Ok(proved) => Ok(proved.user),
            Err(error) => Err(unauthorized(&error)),
        }
    }

    /// Whose the token is, for one of the audiences.
    pub(crate) async fn token(&self, token: &str, audiences: &[String]) -> Result<Proved, TokenError> {
        // These know nothing of audiences: they are for the API.
        let for_api = || match audiences.iter().any(|audience| audience == ISSUER) {
            true => Ok(own_audiences()),
            false => Err(TokenError::Invalid),
        };
        if let Some(user) = self.known.listed.user(token) {
            return Ok(Proved { user: user.clone(), audiences: for_api()? });
        }
        if token.starts_with("pal_") {
            let audiences = for_api()?;
            let user = tokens::verify(&self.registry, &self.fingerprint, token).await?;
            return Ok(Proved { user: Arc::new(user), audiences });
        }
        let text = token;
        let Some(token) = Token::parse(text) else { return Err(TokenError::Invalid) };
        match token.issuer().as_deref() {
            Some(LEGACY_ISSUER) => {
                let user = self.of_secret(&token, text).await?;
                Ok(Proved { user: Arc::new(user), audiences: for_api()? })
            }
            Some(ISSUER) => self.service_account(&token, audiences).await,
            _ => {
                let Vouched { user, audiences } = self.known.issuers.token(&token, audiences).await?;
                Ok(Proved { user: Arc::new(user), audiences })
            }
        }
    }

    async fn service_account(&self, token: &Token<'_>, audiences: &[String]) -> Result<Proved, TokenError> {
        let verified = self.key.verify(token, audiences, SystemTime::now())?;
        let claims = &verified.claims;
        let (namespace, account) = (claims.namespace.as_str(), &claims.serviceaccount);
        let found = self.look("serviceaccounts", Some(namespace), account).await?;
        judge_account(&found, claims)?;
        // A pod's token names its node too, without being bound to that.
        let bound = match claims {
            Claims { pod: Some(pod), .. } => Some(("pod", "pods", Some(namespace), pod)),
            Claims { secret: Some(secret), .. } => Some(("secret", "secrets", Some(namespace), secret)),
            Claims { node: Some(node), .. } => Some(("node", "nodes", None, node)),
            _ => None,
        };
        if let Some((kind, plural, namespace, bound)) = bound {
            judge_bound(kind, &self.look(plural, namespace, bound).await?, bound)?;
        }
        let user = Arc::new(service_account_user(&verified));
        Ok(Proved { user, audiences: verified.audiences })
    }

    /// Whose a token is that lies in a Secret.
    async fn of_secret(&self, token: &Token<'_>, text: &str) -> Result<User, TokenError> {
        let claims = self.key.verify_legacy(token)?;
        let resource = known("secrets")?;
        let namespace = claims.namespace.as_str();
        let secret = match self.registry.get(&resource, Some(namespace), &claims.secret, Read::Consistent).await {
            Ok(secret) => secret,
            Err(status) if status.code == 404 => return Err(TokenError::refused(INVALIDATED)),
            Err(_) => return Err(TokenError::Unavailable),
        };
        let value = secret.value().map_err(|_| TokenError::Unavailable)?;
        judge_secret(&secret, &value, text)?;
        let LegacyClaims { namespace, account, uid, .. } = claims;
        let of = Claims { namespace, serviceaccount: Bound { name: account, uid }, ..Claims::default() };
        let found = self.look("serviceaccounts", Some(&of.namespace), &of.serviceaccount).await?;
        judge_account(&found, &of)?;
        self.note_use(&resource, &of.namespace, &secret, &value).await;
        Ok(account_user(&of))
    }

    /// Writes to a Secret that its token was used today.
    async fn note_use(&self, resource: &ResourceRef, namespace: &str, secret: &Object, value: &Value) {
        let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
        if value["metadata"]["labels"][LAST_USED] == today.as_str() {
            return;
        }
        let body = json!({"metadata": {"uid": secret.index().uid.0, "labels": {LAST_USED: today}}});
        let patch = Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Ignore, found: Vec::new() };
        let options = WriteOptions::system("apiserver");
        let patched = self.registry.patch(resource, None, Some(namespace), secret.name(), &patch, &options).await;
        if let Err(status) = patched {
            tracing::warn!(%status, "that a token was used could not be written to its Secret");
        }
    }

    async fn look(&self, plural: &str, namespace: Option<&str>, bound: &Bound) -> Result<Found, TokenError> {
        let resource = known(plural)?;
        match self.registry.get(&resource, namespace, &bound.name, Read::Consistent).await {
            Ok(object) => {
                let index = object.index();
                let uid = index.uid.0.clone();
                if !index.deleting {
                    return Ok(Found::There(uid));
                }
                let value = object.value().map_err(|_| TokenError::Unavailable)?;
                let since = value["metadata"]["deletionTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
                let long = since.is_none_or(|since| since + GOING < Timestamp::now());
                Ok(if long { Found::Deleted } else { Found::There(uid) })
            }
            Err(status) if status.code == 404 => Ok(Found::Absent),
            Err(_) => Err(TokenError::Unavailable),
        }
    }
}

fn known(plural: &str) -> Result<ResourceRef, TokenError> {
    resource::find("", "v1", plural).ok_or(TokenError::Invalid)
}

/// What there is of an object that a token names.
enum Found {
    /// With that uid.
    There(String),
    /// It has been going for long.
    Deleted,
    Absent,
}

fn judge_secret(secret: &Object, value: &Value, token: &str) -> Result<(), TokenError> {
    if secret.index().deleting || !value["metadata"]["labels"][INVALID_SINCE].is_null() {
        return Err(TokenError::refused(INVALIDATED));
    }
    let kept = value["data"]["token"].as_str().and_then(|text| BASE64.decode(text).ok());
    if kept.as_deref() != Some(token.as_bytes()) {
        return Err(TokenError::refused("service account token does not match server's copy"));
    }
    Ok(())
}

fn judge_account(found: &Found, claims: &Claims) -> Result<(), TokenError> {
    let account = &claims.serviceaccount;
    match found {
        Found::There(uid) if *uid == account.uid => Ok(()),
        Found::There(uid) => {
            let why = format!("service account UID ({uid}) does not match claim ({})", account.uid);
            Err(TokenError::Refused(why))
        }
        Found::Deleted => {
            Err(TokenError::Refused(format!("service account {}/{} has been deleted", claims.namespace, account.name)))
        }
        Found::Absent => Err(TokenError::Refused(format!("serviceaccounts {:?} not found", account.name))),
    }
}

fn judge_bound(kind: &str, found: &Found, bound: &Bound) -> Result<(), TokenError> {
    match found {
        Found::There(uid) if *uid == bound.uid => Ok(()),
        Found::There(uid) => {
            let shown = match kind {
                "pod" => "pod UID",
                "node" => "node UID",
                _ => "secret UID",
            };
            let why = format!("{shown} ({uid}) does not match service account {kind} ref claim ({})", bound.uid);
            Err(TokenError::Refused(why))
        }
        Found::Deleted | Found::Absent => Err(TokenError::refused(INVALIDATED)),
    }
}

/// The user that an account is.
fn account_user(claims: &Claims) -> User {
    let namespace = &claims.namespace;
    let mut user = User::new(
        format!("system:serviceaccount:{namespace}:{}", claims.serviceaccount.name),
        &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), AUTHENTICATED],
    );
    user.uid = claims.serviceaccount.uid.clone();
    user
}

fn service_account_user(verified: &Verified) -> User {
    let claims = &verified.claims;
    let mut user = account_user(claims);
    let mut extra = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    if !verified.id.is_empty() {
        extra("credential-id", &format!("JTI={}", verified.id));
    }
    if let Some(pod) = &claims.pod {
        extra("pod-name", &pod.name);
        extra("pod-uid", &pod.uid);
    }
    if let Some(node) = &claims.node {
        extra("node-name", &node.name);
        if !node.uid.is_empty() {
            extra("node-uid", &node.uid);
        }
    }
    user
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    // Other schemes are for what is mounted.
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn unauthorized(error: &TokenError) -> Status {
    if *error == TokenError::Unavailable {
        let details = StatusDetails { retry_after_seconds: Some(1), ..StatusDetails::default() };
        return Status { details: Some(details), ..Status::unavailable(error.to_string()) };
    }
    tracing::info!(%error, "a bearer token was refused");
    if error.of_bootstrap() {
        return Status::new(401, Reason::Unauthorized, format!("Unauthorized: {error}"));
    }
    Status::unauthorized()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_is_bound_to_must_be_there_and_the_same() {
        let bound = Bound { name: "web".to_owned(), uid: "1".to_owned() };
        let claims = Claims { namespace: "a".to_owned(), serviceaccount: bound.clone(), ..Claims::default() };
        let there = |uid: &str| Found::There(uid.to_owned());
        let check = |outcome: Result<(), TokenError>, expected: &str| {
            let why = match outcome {
                Ok(()) => String::new(),
                Err(TokenError::Refused(why)) => why,
                Err(other) => other.to_string(),
            };
            assert_eq!(why, expected);
        };
        check(judge_account(&there("1"), &claims), "");
        check(judge_account(&there("2"), &claims), "service account UID (2) does not match claim (1)");
        check(judge_account(&Found::Deleted, &claims), "service account a/web has been deleted");
        check(judge_account(&Found::Absent, &claims), "serviceaccounts \"web\" not found");
        check(judge_bound("pod", &there("1"), &bound), "");
        let words = "pod UID (2) does not match service account pod ref claim (1)";
        check(judge_bound("pod", &there("2"), &bound), words);
        check(judge_bound("secret", &Found::Absent, &bound), "service account token has been invalidated");
        check(judge_bound("node", &Found::Deleted, &bound), "service account token has been invalidated");
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        let check = |value: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().expect("a header"));
            assert_eq!(bearer(&headers), expected, "{value}");
        };
        check("Bearer x", Some("x"));
        check("bearer  x ", Some("x"));
        check("Bearer ", None);
        check("Basic x", None);
    }
}
