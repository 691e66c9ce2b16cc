//! Who a request is from and what that user may do.

mod authenticate;
mod authorize;
pub(crate) mod jose;
mod jwt;
pub(crate) mod oidc;
pub(crate) mod rbac;
mod static_tokens;

pub(crate) use authenticate::{Authenticator, Known, own_audiences};
pub use authorize::{Attributes, Question, Target, Verdict, decide, forbidden};
pub(crate) use jwt::quoted;
pub use jwt::{Bound, Claims, ISSUER, LEGACY_ISSUER, LegacyClaims, TokenError, TokenKey};
pub use oidc::OidcFlags;
pub(crate) use static_tokens::StaticTokens;

use std::collections::BTreeMap;

/// Members may do everything.
pub const MASTERS: &str = "system:masters";
/// Everybody who proved who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// What of a user's extra names the certificate or the token that was shown.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Who a request is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with these groups.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        Self { name: name.into(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), ..Self::default() }
    }

    /// Somebody who sent no credentials.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    /// Whether the user is in the group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|of| of == group)
    }

    /// The node's name when the user is one.
    pub fn node(&self) -> Option<&str> {
        if self.is_in("system:nodes") { self.name.strip_prefix("system:node:") } else { None }
    }

    /// Whether the user came with a bootstrap token.
    pub fn bootstrapping(&self) -> bool {
        self.is_in("system:bootstrappers")
    }
}
