//! Credentials into users: the connection's certificate, else a bearer token, else nobody in particular.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use pal_registry::{Read, Registry};
use pal_resources::status::{Reason, Status, StatusDetails};
use pal_resources::{ResourceRef, resource};

use super::{AUTHENTICATED, Bound, Claims, TokenError, TokenKey, User};
use crate::tokens;

/// Knows who is who.
pub(crate) struct Authenticator {
    registry: Registry,
    fingerprint: String,
    key: Arc<TokenKey>,
    anonymous: Arc<User>,
}

impl Authenticator {
    pub(crate) fn new(registry: Registry, fingerprint: String, key: Arc<TokenKey>) -> Self {
        Self { registry, fingerprint, key, anonymous: Arc::new(User::anonymous()) }
    }

    /// The user of a request; `peer` is the one whom the connection's certificate names.
    pub(crate) async fn user(&self, peer: Option<&Arc<User>>, headers: &HeaderMap) -> Result<Arc<User>, Status> {
        if let Some(peer) = peer {
            return Ok(peer.clone());
        }
        let Some(token) = bearer(headers) else { return Ok(self.anonymous.clone()) };
        self.token(token).await.map(Arc::new).map_err(|error| unauthorized(&error))
    }

    /// Whose the token is.
    pub(crate) async fn token(&self, token: &str) -> Result<User, TokenError> {
        if token.starts_with("pal_") {
            tokens::verify(&self.registry, &self.fingerprint, token).await
        } else {
            self.service_account(token).await
        }
    }

    async fn service_account(&self, token: &str) -> Result<User, TokenError> {
        let (claims, id) = self.key.verify(token, SystemTime::now())?;
        let account = &claims.serviceaccount;
        self.exists("serviceaccounts", &claims.namespace, account).await?;
        if let Some(pod) = &claims.pod {
            self.exists("pods", &claims.namespace, pod).await?;
        }
        if let Some(secret) = &claims.secret {
            self.exists("secrets", &claims.namespace, secret).await?;
        }
        Ok(service_account_user(&claims, &id))
    }

    async fn exists(&self, plural: &str, namespace: &str, bound: &Bound) -> Result<(), TokenError> {
        let resource: ResourceRef = resource::find("", "v1", plural).ok_or(TokenError::Unbound)?;
        let found = self.registry.get(&resource, Some(namespace), &bound.name, Read::Consistent).await;
        match found {
            Ok(object) if object.index().uid.0 == bound.uid => Ok(()),
            Err(status) if status.code >= 500 => Err(TokenError::Unavailable),
            _ => Err(TokenError::Unbound),
        }
    }
}

fn service_account_user(claims: &Claims, id: &str) -> User {
    let namespace = &claims.namespace;
    let mut user = User::new(
        format!("system:serviceaccount:{namespace}:{}", claims.serviceaccount.name),
        &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), AUTHENTICATED],
    );
    user.uid = claims.serviceaccount.uid.clone();
    let mut extra = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    extra("credential-id", &format!("JTI={id}"));
    if let Some(pod) = &claims.pod {
        extra("pod-name", &pod.name);
        extra("pod-uid", &pod.uid);
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
    Status::new(401, Reason::Unauthorized, format!("Unauthorized: {error}"))
}
