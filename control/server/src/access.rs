//! Who may come in beside those whom the cluster knows by itself, as files and flags say that are read once, at the start.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::ServerError;
use crate::auth::oidc::{self, Anonymous, Configured, Issuers};
use crate::auth::{Known, OidcFlags, StaticTokens};

/// What is configured of it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A file of tokens with their users: `token,user,uid,"group1,group2"`.
    pub token_file: Option<PathBuf>,
    /// One issuer of tokens.
    pub oidc: OidcFlags,
    /// A file that says issuers in full, and who may come without a token.
    pub authentication_config: Option<PathBuf>,
}

/// Reads what the files hold.
pub(crate) fn known(access: &Access) -> Result<Known, ServerError> {
    let listed = match &access.token_file {
        Some(path) => StaticTokens::parse(&read(path)?).map_err(|why| wrong(path, &why))?,
        None => StaticTokens::default(),
    };
    let Configured { issuers, anonymous } = configured(access)?;
    let issuers = Issuers::new(issuers).map_err(ServerError::Access)?;
    Ok(Known { listed, issuers, anonymous })
}

fn configured(access: &Access) -> Result<Configured, ServerError> {
    match (&access.authentication_config, access.oidc.given()) {
        (None, false) => Ok(Configured::default()),
        (Some(_), true) => {
            let why = "authentication-config file and oidc-* flags are mutually exclusive";
            Err(ServerError::Access(why.to_owned()))
        }
        (Some(path), false) => oidc::from_file(&read(path)?).map_err(|why| wrong(path, &why)),
        (None, true) => {
            let ca_pem = access.oidc.ca_file.as_deref().map(read).transpose()?;
            let issuer = oidc::from_flags(&access.oidc, ca_pem).map_err(ServerError::Access)?;
            Ok(Configured { issuers: vec![issuer], anonymous: Anonymous::default() })
        }
    }
}

fn read(path: &Path) -> Result<String, ServerError> {
    std::fs::read_to_string(path).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, why: &dyn Display) -> ServerError {
    ServerError::File { path: path.to_owned(), why: why.to_string() }
}
