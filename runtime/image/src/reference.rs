//! Image references: `host[:port]/path[:tag][@digest]`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::digest::Digest;

/// The host name that means the cluster's own registry.
pub const CLUSTER_HOST: &str = "pal.local";
const DEFAULT_HOST: &str = "docker.io";

/// Where an artifact is, parsed: what the `image` of a container names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("the image name is empty")]
    Empty,
    #[error(
        "{0:?} names a local file, which only `pal` can resolve: use `pal apply -f`, `pal up -f` or `pal run`, \
         or push the file to a registry and name it there"
    )]
    LocalFile(String),
    #[error("couldn't parse image name {text:?}: {why}")]
    Malformed { text: String, why: &'static str },
}

impl Reference {
    /// The registry's host, with the port where one was given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the host.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What to ask the registry for: the digest where one was given, else the tag.
    pub fn selector(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }

    /// The digest that the reference pins.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// This repository at that digest, as `imageID` shows it.
    pub fn at(&self, digest: &Digest) -> Self {
        Self { host: self.host.clone(), repository: self.repository.clone(), tag: None, digest: Some(digest.clone()) }
    }

    /// The reference in the cluster's own registry that stands in for this one, if one does. A digest means one image and
    /// no other.
    pub(crate) fn stand_in(&self) -> Option<Self> {
        let repository = crate::standin::repository(&self.host, &self.repository)?;
        let (host, tag) = (CLUSTER_HOST.to_owned(), self.tag.clone());
        self.digest.is_none().then(|| Self { host, repository: repository.to_owned(), tag, digest: None })
    }

    /// Whether the cluster's own registry holds it.
    pub fn in_cluster(&self) -> bool {
        self.host == CLUSTER_HOST
    }

    /// The path, if the image name is one of a local file (`./x`, `../x`, `/x`, `file:x`).
    pub fn local_file(text: &str) -> Option<&Path> {
        let path = text.strip_prefix("file:").or_else(|| {
            let leads = ["./", "../", "/"];
            leads.iter().any(|lead| text.starts_with(lead)).then_some(text)
        });
        path.map(Path::new)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |why| ReferenceError::Malformed { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if Self::local_file(text).is_some() {
            return Err(ReferenceError::LocalFile(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| malformed("the digest must be sha256:<64 hex digits>"))?))
            }
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(malformed("a tag is up to 128 letters, digits, '_', '.' and '-'"));
        }
        let (host, repository) = match path.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
            Some(_) => (DEFAULT_HOST, path.to_owned()),
            None => (DEFAULT_HOST, format!("library/{path}")),
        };
        if !is_host(host) {
            return Err(malformed("the registry's host is not a host name with an optional port"));
        }
        if !is_repository(&repository) {
            return Err(malformed(
                "a path is of lower-case letters and digits, with single '.', '_', '-' or '/' between",
            ));
        }
        Ok(Self { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        match (&self.tag, &self.digest) {
            (None, None) => write!(f, ":latest"),
            (tag, digest) => {
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                if let Some(digest) = digest {
                    write!(f, "@{digest}")?;
                }
                Ok(())
            }
        }
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// OCI distribution spec: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_path_component)
}

fn is_path_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    ends_well
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'_' | b'-'))
        && !bytes
            .windows(2)
            .any(|pair| matches!(pair, [b'.', b'.' | b'_' | b'-'] | [b'_' | b'-', b'.'] | [b'_', b'-'] | [b'-', b'_']))
        && !text.contains("___")
}

/// OCI distribution spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
pub(crate) fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=128).contains(&bytes.len())
        && (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        match text.parse::<Reference>() {
            Ok(reference) => assert_eq!(reference.to_string(), expected, "{text}"),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    #[test]
    fn references_are_completed_as_container_engines_do() {
        let digest = format!("sha256:{}", "a".repeat(64));
        check("nginx", "docker.io/library/nginx:latest");
        check("me/app:v1", "docker.io/me/app:v1");
        check("ghcr.io/me/app:v1.2_x", "ghcr.io/me/app:v1.2_x");
        check("localhost/app", "localhost/app:latest");
        check("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest");
        check(&format!("pal.local/hello@{digest}"), &format!("pal.local/hello@{digest}"));
        check(&format!("pal.local/hello:v1@{digest}"), &format!("pal.local/hello:v1@{digest}"));
    }

    #[test]
    fn some_names_lead_to_what_stands_in_for_them() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<Reference>().unwrap().stand_in().map(|r| r.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("busybox", Some("pal.local/busybox:latest"));
        check("busybox:1.36", Some("pal.local/busybox:1.36"));
        check("docker.io/library/busybox:stable", Some("pal.local/busybox:stable"));
        check("ubuntu:latest", Some("pal.local/ubuntu:latest"));
        check("alpine:3", Some("pal.local/alpine:3"));
        check("nginx:1.29-alpine", Some("pal.local/nginx:1.29-alpine"));
        check("registry.k8s.io/pause:3.10", Some("pal.local/pause:3.10"));
        check("pause", Some("pal.local/pause:latest"));
        check("agnhost:2.53", Some("pal.local/agnhost:2.53"));
        check(&format!("busybox@sha256:{}", "a".repeat(64)), None);
        check("postgres", None);
        check("ghcr.io/library/nginx", None);
        check("me/busybox", None);
    }

    #[test]
    fn a_local_file_is_known_by_how_it_begins() {
        let check = |text: &str, path: Option<&str>| assert_eq!(Reference::local_file(text), path.map(Path::new));
        check("./a.wasm", Some("./a.wasm"));
        check("../a.wasm", Some("../a.wasm"));
        check("/a.wasm", Some("/a.wasm"));
        check("file:a.wasm", Some("a.wasm"));
        check("a.wasm", None);
        check("example.org/file:a", None);
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        assert_eq!("".parse::<Reference>(), Err(ReferenceError::Empty));
        for text in ["./a.wasm", "../a.wasm", "/a.wasm", "file:a.wasm"] {
            assert_eq!(text.parse::<Reference>(), Err(ReferenceError::LocalFile(text.to_owned())));
        }
        for text in
            ["Upper/case", "a b", "x:bad tag", "x@sha256:12", "x@md5:1", "-a", "a..b", "a//b", "h.io:99999/x", "\0"]
        {
            assert!(matches!(text.parse::<Reference>(), Err(ReferenceError::Malformed { .. })), "{text:?}");
        }
    }
}
