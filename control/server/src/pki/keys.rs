//! What makes a server one of its cluster: the authority and the key of the service accounts, as one value that goes to
//! a server that joins and into a backup.

use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{ClusterCa, PkiError, files};

pub(super) const ROOT: &str = "ca.crt";
pub(super) const ROOT_KEY: &str = "ca.key";
pub(super) const SERVICE_ACCOUNTS: &str = "sa.key";

/// The keys that all servers of a cluster share. Whoever has them is the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterKeys {
    /// The root certificate, PEM.
    pub ca_certificate: String,
    /// Its key, PEM.
    pub ca_key: String,
    /// The key that signs service accounts' tokens, PEM.
    pub service_account_key: String,
}

impl std::fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterKeys").finish_non_exhaustive()
    }
}

impl ClusterKeys {
    /// Writes the keys into `dir`, from which [`ClusterCa::open`] then reads them. Each file is replaced as a whole; a
    /// crash in between leaves what writing the same keys again completes.
    ///
    /// # Errors
    /// When they do not belong together, or when `dir` holds the authority of another cluster, whose key would be lost.
    pub fn install(&self, dir: &Path) -> Result<(), PkiError> {
        files::private_dir(dir)?;
        let root = dir.join(ROOT);
        if root.exists() && files::read(&root)? != self.ca_certificate {
            let why = "this is the authority of another cluster: choose an empty data directory".to_owned();
            return Err(PkiError::Unreadable { path: root, why });
        }
        self.check()?;
        // The certificate goes last: while it is missing, nothing is taken for whole.
        files::write_private(&dir.join(SERVICE_ACCOUNTS), self.service_account_key.as_bytes())?;
        files::write_private(&dir.join(ROOT_KEY), self.ca_key.as_bytes())?;
        files::write_private(&root, self.ca_certificate.as_bytes())
    }

    /// Tries the keys where nobody sees them.
    fn check(&self) -> Result<(), PkiError> {
        let io = |source| PkiError::Io { path: std::env::temp_dir(), source };
        let dir = tempfile::tempdir().map_err(io)?;
        files::write_private(&dir.path().join(SERVICE_ACCOUNTS), self.service_account_key.as_bytes())?;
        files::write_private(&dir.path().join(ROOT_KEY), self.ca_key.as_bytes())?;
        files::write_private(&dir.path().join(ROOT), self.ca_certificate.as_bytes())?;
        let ca = ClusterCa::open(dir.path(), SystemTime::now())?;
        ca.service_account_key()?;
        // A leaf that does not verify was signed by another key than the certificate's.
        ca.client_identity("trial", "trial", "trial", SystemTime::now())?;
        match super::Identity::load(dir.path(), "trial", ca.root())? {
            Some(_) => Ok(()),
            None => Err(PkiError::Request("the authority's key is not that of its certificate".to_owned())),
        }
    }
}

impl ClusterCa {
    /// The keys, to be handed to a server that joins, or kept in a backup.
    pub fn export(&self) -> Result<ClusterKeys, PkiError> {
        Ok(ClusterKeys {
            ca_certificate: self.root_pem.clone(),
            ca_key: files::read(&self.dir.join(ROOT_KEY))?,
            service_account_key: self.service_account_pem()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn authority() -> (tempfile::TempDir, ClusterCa) {
        let dir = tempfile::tempdir().expect("a directory");
        let ca = ClusterCa::open(&dir.path().join("pki"), SystemTime::now()).expect("an authority");
        (dir, ca)
    }

    #[test]
    fn keys_that_were_handed_over_make_the_same_authority() {
        let (_first, ca) = authority();
        let keys = ca.export().expect("keys");
        let dir = tempfile::tempdir().expect("a directory");
        let pki = dir.path().join("pki");
        // Again, as after a crash in between.
        keys.install(&pki).and_then(|()| keys.install(&pki)).expect("installed");
        let same = ClusterCa::open(&pki, SystemTime::now()).expect("an authority");
        assert_eq!(same.fingerprint(), ca.fingerprint());
        assert_eq!(same.export().expect("keys"), keys);
        for file in [ROOT_KEY, SERVICE_ACCOUNTS] {
            let mode = std::fs::metadata(pki.join(file)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn keys_that_do_not_belong_together_or_here_are_refused() {
        let ((_a, first), (_b, second)) = (authority(), authority());
        let (keys, others) = (first.export().expect("keys"), second.export().expect("keys"));
        let check = |keys: &ClusterKeys, dir: &Path, expected: &str| {
            let refused = keys.install(dir).expect_err("a refusal").to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        let dir = tempfile::tempdir().expect("a directory");
        let mixed = ClusterKeys { ca_key: others.ca_key.clone(), ..keys.clone() };
        check(&mixed, dir.path(), "not that of its certificate");
        let broken = ClusterKeys { service_account_key: "x".to_owned(), ..keys.clone() };
        check(&broken, dir.path(), SERVICE_ACCOUNTS);
        assert!(!dir.path().join(ROOT).exists(), "nothing was written");
        check(&keys, second.dir(), "another cluster");
        assert_eq!(second.export().expect("keys"), others);
    }
}
