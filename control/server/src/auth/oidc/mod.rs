//! Tokens of other issuers (OpenID Connect): which issuers are trusted, what their claims mean, and their keys.
//!
//! `config`, `file` and `claims` decide over values; `provider` keeps one issuer's keys, fetched by `fetch` in the background.

mod claims;
mod config;
mod expressions;
mod fetch;
mod file;
mod provider;

use std::time::SystemTime;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::provider::Provider;
use super::jose::Token;
use super::{TokenError, User};
pub use config::OidcFlags;
pub(crate) use config::{Anonymous, Configured, IssuerConfig, from_flags};
pub(crate) use file::from_file;

/// A token that an issuer vouches for.
pub(crate) struct Vouched {
    pub user: User,
    /// Of those asked for, the ones that it is meant for.
    pub audiences: Vec<String>,
}

/// All issuers that are trusted.
pub(crate) struct Issuers(Vec<Provider>);

impl Issuers {
    /// Nothing is fetched before [`Issuers::run`]. An error is a certificate authority that cannot be read.
    pub(crate) fn new(configs: Vec<IssuerConfig>) -> Result<Self, String> {
        Ok(Self(configs.into_iter().map(Provider::new).collect::<Result<_, _>>()?))
    }

    /// The tasks that fetch the issuers' keys, one each, until `stop`.
    pub(crate) fn run(&self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        self.0.iter().map(|provider| tokio::spawn(provider.fetcher(stop.clone()))).collect()
    }

    /// Whose the token is, for one of the audiences that the API is asked by.
    pub(crate) async fn token(&self, token: &Token<'_>, wanted: &[String]) -> Result<Vouched, TokenError> {
        let issuer = token.issuer().unwrap_or_default();
        let Some(provider) = self.0.iter().find(|provider| provider.config.url == issuer) else {
            return Err(TokenError::Invalid);
        };
        // These tokens are for clients of this API, and for nobody whom the API is asked by.
        let audiences = super::own_audiences();
        if !audiences.iter().any(|audience| wanted.contains(audience)) {
            return Err(TokenError::Invalid);
        }
        provider.verify(token).await.map_err(TokenError::Refused)?;
        let claims = token.claims().ok_or(TokenError::Invalid)?;
        let user = claims::user(&provider.config, &claims, SystemTime::now()).map_err(TokenError::Refused)?;
        Ok(Vouched { user, audiences })
    }
}
