//! Which issuers are trusted, and what flags say of one as kube-apiserver has them. Pure.

use std::path::PathBuf;

use url::Url;

use super::expressions::Expressions;
use crate::auth::jose::Algorithm;

/// A claim, and what stands before its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub claim: String,
    pub prefix: String,
}

/// A claim that must have a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub claim: String,
    pub required_value: String,
}

/// One issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IssuerConfig {
    pub url: String,
    /// Where its discovery document is, if not below its URL.
    pub discovery_url: Option<String>,
    /// The authorities that its certificate may be of, PEM; the system's without.
    pub ca_pem: Option<String>,
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    pub username: Mapping,
    pub groups: Option<Mapping>,
    /// The claim that holds the uid.
    pub uid: Option<String>,
    pub rules: Vec<Rule>,
    pub expressions: Expressions,
}

/// Who may ask without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Anonymous {
    #[default]
    Anywhere,
    /// On these paths alone.
    Paths(Vec<String>),
}

impl Anonymous {
    /// Whether a request for that path may come without credentials.
    pub(crate) fn allows(&self, path: &str) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Paths(paths) => paths.iter().any(|allowed| allowed == path),
        }
    }
}

/// What is configured of authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Configured {
    pub issuers: Vec<IssuerConfig>,
    pub anonymous: Anonymous,
}

/// One issuer as flags say it, `--oidc-…` each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OidcFlags {
    pub issuer_url: String,
    pub client_id: String,
    pub username_claim: String,
    /// Nothing: the issuer's URL and `#`, but for the claim `email`; `-`: no prefix.
    pub username_prefix: String,
    /// Empty: no groups.
    pub groups_claim: String,
    pub groups_prefix: String,
    /// `key=value` each.
    pub required_claims: Vec<String>,
    pub ca_file: Option<PathBuf>,
    pub signing_algs: Vec<String>,
}

impl OidcFlags {
    /// Whether any of them says anything.
    pub fn given(&self) -> bool {
        *self != Self::default()
    }
}

/// The issuer of the flags. `ca_pem` is what the file of the authorities holds.
pub(crate) fn from_flags(flags: &OidcFlags, ca_pem: Option<String>) -> Result<IssuerConfig, String> {
    if flags.issuer_url.is_empty() || flags.client_id.is_empty() {
        return Err(
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set".to_owned()
        );
    }
    check_url("oidc-issuer-url", &flags.issuer_url)?;
    let claim = if flags.username_claim.is_empty() { "sub" } else { &flags.username_claim };
    let prefix = match flags.username_prefix.as_str() {
        // Without a prefix, an issuer could name the users of others; addresses of mail are nobody else's.
        "" if claim != "email" => format!("{}#", flags.issuer_url),
        "" | "-" => String::new(),
        given => given.to_owned(),
    };
    let groups = (!flags.groups_claim.is_empty())
        .then(|| Mapping { claim: flags.groups_claim.clone(), prefix: flags.groups_prefix.clone() });
    let rules = flags.required_claims.iter().map(|pair| match pair.split_once('=') {
        Some((claim, value)) if !claim.is_empty() => {
            Ok(Rule { claim: claim.to_owned(), required_value: value.to_owned() })
        }
        _ => Err(format!("oidc-required-claim: Invalid value: {pair:?}: must be of the form key=value")),
    });
    let algorithms = flags.signing_algs.iter().map(|name| {
        Algorithm::named(name).ok_or_else(|| {
            let known: Vec<&str> = Algorithm::ALL.iter().map(|(name, _)| *name).collect();
            format!("oidc-signing-algs: Unsupported value: {name:?}: supported values: {}", known.join(", "))
        })
    });
    let algorithms: Vec<Algorithm> = algorithms.collect::<Result<_, _>>()?;
    Ok(IssuerConfig {
        url: flags.issuer_url.clone(),
        discovery_url: None,
        ca_pem,
        audiences: vec![flags.client_id.clone()],
        algorithms: if algorithms.is_empty() { vec![Algorithm::Rs256] } else { algorithms },
        username: Mapping { claim: claim.to_owned(), prefix },
        groups,
        uid: None,
        rules: rules.collect::<Result<_, _>>()?,
        expressions: Expressions::default(),
    })
}

/// Whether that is a URL that issuers may have.
pub(super) fn check_url(field: &str, text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{field}: Invalid value: {text:?}: {why}"));
    let Ok(url) = Url::parse(text) else { return wrong("the URL cannot be parsed") };
    if url.scheme() != "https" {
        return wrong("URL scheme must be https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("URL must not contain a username or password");
    }
    if url.query().is_some() {
        return wrong("URL must not contain a query");
    }
    if url.fragment().is_some() {
        return wrong("URL must not contain a fragment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> OidcFlags {
        OidcFlags { issuer_url: "https://a".to_owned(), client_id: "k".to_owned(), ..OidcFlags::default() }
    }

    #[test]
    fn flags_say_an_issuer() {
        let check = |flags: OidcFlags, claim: &str, prefix: &str| {
            let config = from_flags(&flags, None).expect("an issuer");
            assert_eq!((config.username.claim.as_str(), config.username.prefix.as_str()), (claim, prefix), "{flags:?}");
        };
        check(flags(), "sub", "https://a#");
        check(OidcFlags { username_claim: "email".to_owned(), ..flags() }, "email", "");
        check(OidcFlags { username_claim: "name".to_owned(), ..flags() }, "name", "https://a#");
        check(OidcFlags { username_prefix: "-".to_owned(), ..flags() }, "sub", "");
        check(OidcFlags { username_prefix: "x:".to_owned(), ..flags() }, "sub", "x:");
    }

    #[test]
    fn wrong_flags_are_named() {
        let check = |flags: OidcFlags, expected: &str| {
            let error = from_flags(&flags, None).expect_err("a refusal");
            assert!(error.contains(expected), "{error}");
        };
        check(OidcFlags { client_id: String::new(), ..flags() }, "must be specified together");
        check(OidcFlags { issuer_url: "http://a".to_owned(), ..flags() }, "URL scheme must be https");
        check(OidcFlags { issuer_url: "a".to_owned(), ..flags() }, "oidc-issuer-url: Invalid value");
        check(OidcFlags { required_claims: vec!["x".to_owned()], ..flags() }, "oidc-required-claim");
        check(OidcFlags { signing_algs: vec!["HS256".to_owned()], ..flags() }, "Unsupported value: \"HS256\"");
    }
}
