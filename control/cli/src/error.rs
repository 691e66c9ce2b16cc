//! What a command says when it fails, and what to do next.

use std::path::PathBuf;

/// Why a command failed. What it prints stands alone on standard error.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The API refused, in its own words, as kubectl prints them.
    #[error("Error from server ({reason}): {message}")]
    Api { code: u16, reason: String, message: String },
    /// The API could not be reached.
    #[error("error: cannot reach the cluster at {url}: {why}\n  Is it running? `pal up` starts one; the kubeconfig is {}", kubeconfig.display())]
    Unreachable { url: String, why: String, kubeconfig: PathBuf },
    /// A file cannot be read or written.
    #[error("error: {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// Another process of this program has the folder.
    #[error("error: another pal is using {}: stop it, or choose another --data-dir", dir.display())]
    InUse { dir: PathBuf },
    /// Whoever read standard output has gone; the command ends, and there is nobody to tell.
    #[error("standard output is closed")]
    OutputClosed,
    /// Anything else, said whole.
    #[error("error: {0}")]
    Other(String),
}

impl CliError {
    /// An error in one sentence.
    pub fn other(message: impl std::fmt::Display) -> Self {
        Self::Other(message.to_string())
    }

    /// For `map_err` on what was done to `path`.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The API's status code, where it was the API that refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { code, .. } => Some(*code),
            _ => None,
        }
    }
}
