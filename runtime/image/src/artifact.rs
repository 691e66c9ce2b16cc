//! The JSON documents of an artifact, and which of them are Wasm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER: &str = "application/wasm";
/// What `wasm-to-oci` made before there was a CNCF layout.
const OLD_WASM_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// A pointer to content (OCI image spec, "Content Descriptors").
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// An image manifest, or an index of several (then `manifests` is not empty).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<IndexEntry>,
    /// Among others how the program is run, see [`Defaults`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What is run where a container does not say it, as the config of a container image has it. A Wasm artifact's config has
/// no place for this, so that it is in the manifest's annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// What `command` replaces.
    pub entrypoint: Vec<String>,
    /// What `args` replace; without a command of the container alone.
    pub cmd: Vec<String>,
    /// Where an HTTP service listens.
    pub port: Option<u16>,
    /// Of a program that runs and answers requests too: the first arguments with which it does the latter. `None`: what it
    /// is, its exports say.
    pub serves: Option<Vec<String>>,
    /// Of such a program: where it listens with a first argument, whatever ports the container declares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// Texts among the container's own files: what they are, by their paths from `/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

impl Defaults {
    /// Whether a program of that kind answers requests when it is run so, its name being the first of the words; `None`:
    /// its exports decide.
    pub fn serving(&self, args: &[String]) -> Option<bool> {
        let words = self.serves.as_ref()?;
        Some(args.get(1).is_some_and(|first| words.contains(first)))
    }

    /// Where a program of that kind listens when it is run so, unless it is told a port.
    pub fn own_port(&self, args: &[String]) -> Option<u16> {
        let (first, flags) = args.get(1..)?.split_first()?;
        let told = flags.iter().any(|flag| flag.starts_with('-') && flag.contains("port"));
        self.ports.get(first).copied().filter(|_| !told)
    }
}

const ENTRYPOINT: &str = "palinurus.dev/entrypoint";
const CMD: &str = "palinurus.dev/cmd";
const PORT: &str = "palinurus.dev/port";
const SERVES: &str = "palinurus.dev/serves";
const PORTS: &str = "palinurus.dev/ports";
const FILES: &str = "palinurus.dev/files";

impl Defaults {
    /// Those of a manifest that has some.
    pub(crate) fn of(manifest: &Manifest) -> Option<Self> {
        let words = |key| manifest.annotations.get(key).and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
        let (entrypoint, cmd) = (words(ENTRYPOINT), words(CMD));
        let port = manifest.annotations.get(PORT).and_then(|text| text.parse().ok());
        let serves = words(SERVES);
        let ports = manifest.annotations.get(PORTS).and_then(|text| serde_json::from_str(text).ok());
        let files = manifest.annotations.get(FILES).and_then(|text| serde_json::from_str(text).ok());
        if entrypoint.is_none() && cmd.is_none() && port.is_none() && serves.is_none() && files.is_none() {
            return None;
        }
        Some(Self {
            entrypoint: entrypoint.unwrap_or_default(),
            cmd: cmd.unwrap_or_default(),
            port,
            serves,
            ports: ports.unwrap_or_default(),
            files: files.unwrap_or_default(),
        })
    }

    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        // Lists of strings have no way to fail.
        let words = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
        let mut all =
            BTreeMap::from([(ENTRYPOINT.to_owned(), words(&self.entrypoint)), (CMD.to_owned(), words(&self.cmd))]);
        if let Some(port) = self.port {
            all.insert(PORT.to_owned(), port.to_string());
        }
        if let Some(serves) = &self.serves {
            all.insert(SERVES.to_owned(), words(serves));
        }
        if !self.ports.is_empty() {
            // So have maps of strings.
            all.insert(PORTS.to_owned(), serde_json::to_string(&self.ports).unwrap_or_default());
        }
        if !self.files.is_empty() {
            all.insert(FILES.to_owned(), serde_json::to_string(&self.files).unwrap_or_default());
        }
        all
    }
}

/// One artifact of an index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexEntry {
    #[serde(flatten)]
    pub descriptor: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an artifact of an index is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
}

/// The config of a Wasm artifact (CNCF Wasm OCI Artifact layout).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmConfig {
    pub architecture: String,
    pub os: String,
    pub layer_digests: Vec<Digest>,
}

/// What a manifest turned out to be.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// One Wasm file.
    Wasm(&'a Descriptor),
    /// An index: look again at this entry.
    Entry(&'a Descriptor),
    /// A container image for an operating system.
    Linux,
    /// Something else; the media type that says so.
    Other(String),
}

impl Manifest {
    /// The manifest of a Wasm file whose config and layer are given.
    pub(crate) fn of_wasm(config: Descriptor, layer: Descriptor) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: Some(config),
            layers: vec![layer],
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Decides what the manifest holds.
    pub(crate) fn content(&self) -> Content<'_> {
        if !self.manifests.is_empty() {
            let is_wasm =
                |p: &Platform| p.architecture == "wasm" || p.architecture == "wasm32" || p.os.starts_with("wasi");
            return match self.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(is_wasm)) {
                Some(entry) => Content::Entry(&entry.descriptor),
                None => Content::Linux,
            };
        }
        if let Some(layer) = self.layers.iter().find(|l| l.media_type == WASM_LAYER || l.media_type == OLD_WASM_LAYER) {
            return Content::Wasm(layer);
        }
        let config_type = self.config.as_ref().map(|c| c.media_type.as_str()).unwrap_or_default();
        if config_type.contains("image.config") || config_type.contains("container.image") {
            return Content::Linux;
        }
        let seen = self.layers.first().map(|l| l.media_type.as_str()).unwrap_or(config_type);
        Content::Other(seen.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let manifest: Manifest = serde_json::from_str(json).unwrap();
        let content = match manifest.content() {
            Content::Wasm(d) => format!("wasm {}", d.size),
            Content::Entry(d) => format!("entry {}", d.size),
            Content::Linux => "linux".to_owned(),
            Content::Other(media_type) => format!("other {media_type}"),
        };
        assert_eq!(content, expected);
    }

    #[test]
    fn a_manifest_tells_wasm_from_linux_images_and_the_rest() {
        let d = |media_type: &str, size: u64| {
            format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":{size}}}"#, "0".repeat(64))
        };
        let image = |config: &str, layer: &str| {
            format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, d(config, 1), d(layer, 7))
        };
        check(&image(WASM_CONFIG, WASM_LAYER), "wasm 7");
        check(&image("application/vnd.wasm.config.v1+json", OLD_WASM_LAYER), "wasm 7");
        check(
            &image("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
            "linux",
        );
        check(&image("application/vnd.docker.container.image.v1+json", "x"), "linux");
        check(
            &image("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart"),
            "other application/vnd.cncf.helm.chart",
        );
        let index = |os: &str, arch: &str| {
            format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"sha256:{}","size":9,"platform":{{"os":"{os}","architecture":"{arch}"}}}}]}}"#,
                "0".repeat(64)
            )
        };
        check(&index("linux", "amd64"), "linux");
        check(&index("wasip2", "wasm"), "entry 9");
    }
}
