//! Who may come in, and what is told of it: named as kube-apiserver names these.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use pal_server::{Access, AuditConfig, OidcFlags};

#[derive(ClapArgs, Debug, Clone, Default)]
pub struct AccessArgs {
    /// A file of bearer tokens, as lines of: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub token_auth_file: Option<PathBuf>,
    /// A file that says whose tokens are trusted (AuthenticationConfiguration); instead of the flags --oidc-…
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub authentication_config: Option<PathBuf>,
    /// Who issues tokens that are trusted (OpenID Connect), as https://…
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true, help_heading = "Access")]
    pub oidc_issuer_url: String,
    /// Whom the issuer's tokens are meant for
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, help_heading = "Access")]
    pub oidc_client_id: String,
    /// The claim with the user's name [default: sub]
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true, help_heading = "Access")]
    pub oidc_username_claim: String,
    /// What stands before the user's name; - for nothing [default: the issuer and #, for all claims but email]
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true,
        help_heading = "Access"
    )]
    pub oidc_username_prefix: String,
    /// The claim with the user's groups
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true, help_heading = "Access")]
    pub oidc_groups_claim: String,
    /// What stands before the groups
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, help_heading = "Access")]
    pub oidc_groups_prefix: String,
    /// A claim that must have that value; may be given again
    #[arg(long, value_name = "CLAIM=VALUE", value_delimiter = ',', help_heading = "Access")]
    pub oidc_required_claim: Vec<String>,
    /// The authorities that the issuer's certificate may be of, PEM [default: the system's]
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub oidc_ca_file: Option<PathBuf>,
    /// How its tokens may be signed, with commas [default: RS256]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Access")]
    pub oidc_signing_algs: Vec<String>,
    /// A file that says which requests are told of in the audit log (Policy of audit.k8s.io/v1)
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    pub audit_policy_file: Option<PathBuf>,
    /// The audit log; - for the standard output
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    pub audit_log_path: Option<PathBuf>,
    /// How large the audit log becomes before it is put aside, in megabytes
    #[arg(long, value_name = "MB", default_value_t = 100, help_heading = "Audit")]
    pub audit_log_maxsize: u64,
    /// How many of those put aside are kept; 0 keeps all
    #[arg(long, value_name = "FILES", default_value_t = 0, help_heading = "Audit")]
    pub audit_log_maxbackup: usize,
    /// For how many days; 0 keeps them for ever
    #[arg(long, value_name = "DAYS", default_value_t = 0, help_heading = "Audit")]
    pub audit_log_maxage: u64,
}

impl AccessArgs {
    /// Who may come in beside those whom the cluster knows by itself.
    pub fn access(&self) -> Access {
        Access {
            token_file: self.token_auth_file.clone(),
            oidc: OidcFlags {
                issuer_url: self.oidc_issuer_url.clone(),
                client_id: self.oidc_client_id.clone(),
                username_claim: self.oidc_username_claim.clone(),
                username_prefix: self.oidc_username_prefix.clone(),
                groups_claim: self.oidc_groups_claim.clone(),
                groups_prefix: self.oidc_groups_prefix.clone(),
                required_claims: self.oidc_required_claim.clone(),
                ca_file: self.oidc_ca_file.clone(),
                signing_algs: self.oidc_signing_algs.clone(),
            },
            authentication_config: self.authentication_config.clone(),
        }
    }

    /// What is told of requests. One of the two files without the other tells nothing, which is no mistake to overlook.
    pub fn audit(&self) -> Result<Option<AuditConfig>, &'static str> {
        match (&self.audit_policy_file, &self.audit_log_path) {
            (None, None) => Ok(None),
            (Some(policy_file), Some(log_path)) => Ok(Some(AuditConfig {
                policy_file: policy_file.clone(),
                log_path: log_path.clone(),
                max_size_mib: self.audit_log_maxsize,
                max_backups: self.audit_log_maxbackup,
                max_age_days: self.audit_log_maxage,
            })),
            (Some(_), None) => Err("--audit-policy-file needs --audit-log-path, which says where to"),
            (None, Some(_)) => Err("--audit-log-path needs --audit-policy-file, which says what is told of"),
        }
    }
}
