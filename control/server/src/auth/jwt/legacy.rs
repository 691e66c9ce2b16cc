//! Tokens that lie in Secrets of the type `kubernetes.io/service-account-token`: claims of the older form, without an end.
//! They hold as long as the Secret has them and the account is there.

use serde::{Deserialize, Serialize};

use super::{TokenError, TokenKey};
use crate::auth::jose::Token;

/// Who issues such tokens.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// What such a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    #[serde(flatten)]
    claims: LegacyClaims,
    sub: String,
}

impl TokenKey {
    /// Makes a token for a Secret.
    pub fn issue_legacy(&self, claims: LegacyClaims) -> Result<String, String> {
        let sub = subject(&claims);
        self.signed(&Payload { iss: LEGACY_ISSUER.to_owned(), claims, sub })
    }

    /// What a token of a Secret says that this key signed.
    pub(crate) fn verify_legacy(&self, token: &Token<'_>) -> Result<LegacyClaims, TokenError> {
        self.check(token)?;
        let Payload { claims, sub, .. } = token.claims().ok_or(TokenError::Invalid)?;
        let given = [
            ("secret.name", &claims.secret),
            ("serviceAccountUID", &claims.uid),
            ("serviceAccountName", &claims.account),
            ("namespace", &claims.namespace),
        ];
        if let Some((missing, _)) = given.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(TokenError::Refused(format!("{missing} claim is missing")));
        }
        if sub != subject(&claims) {
            return Err(TokenError::refused("sub claim is invalid"));
        }
        Ok(claims)
    }
}

fn subject(claims: &LegacyClaims) -> String {
    format!("system:serviceaccount:{}:{}", claims.namespace, claims.account)
}
