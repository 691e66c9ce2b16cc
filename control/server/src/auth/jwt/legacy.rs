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

#[cfg(test)]
mod tests {
    use super::super::tests::key;
    use super::*;

    #[test]
    fn a_token_of_a_secret_says_whose_it_is() {
        let key = key();
        let claims = |namespace: &str, account: &str| LegacyClaims {
            namespace: namespace.to_owned(),
            secret: "s".to_owned(),
            account: account.to_owned(),
            uid: "1".to_owned(),
        };
        let verified = |text: &str, key: &TokenKey| key.verify_legacy(&Token::parse(text).expect("a token"));
        let text = key.issue_legacy(claims("a", "bot")).expect("signed");
        assert_eq!(Token::parse(&text).and_then(|token| token.issuer()).as_deref(), Some(LEGACY_ISSUER));
        assert_eq!(verified(&text, &key), Ok(claims("a", "bot")));
        let other = super::super::tests::key();
        assert_eq!(verified(&text, &other), Err(TokenError::refused("invalid signature, no keys found")));
        let nobody = key.issue_legacy(claims("a", "")).expect("signed");
        assert_eq!(verified(&nobody, &key), Err(TokenError::refused("serviceAccountName claim is missing")));
        let payload = Payload { iss: LEGACY_ISSUER.to_owned(), claims: claims("a", "bot"), sub: "x".to_owned() };
        let forged = key.signed(&payload).expect("signed");
        assert_eq!(verified(&forged, &key), Err(TokenError::refused("sub claim is invalid")));
    }
}
