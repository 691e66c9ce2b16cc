//! Components under the names of images that manifests everywhere use: `busybox`, `nginx`, `pause` and a few others.
//!
//! Whoever asks for one of these names, of whatever tag, gets from the cluster's own registry what was pushed there as
//! `pal.local/busybox` (and so on) with that tag, and where nothing was, the component that is carried in here. A reference
//! with a digest means that very image and none of these.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;

use crate::artifact::{Defaults, Descriptor, MANIFEST, Manifest, WASM_CONFIG, WASM_LAYER, WasmConfig};
use crate::blobs::{BlobError, Blobs};
use crate::digest::Digest;

static BUSYBOX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/busybox.wasm.gz"));
static NGINX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nginx.wasm.gz"));

/// One of them.
struct StandIn {
    /// Its repository in the cluster's registry.
    name: &'static str,
    packed: &'static [u8],
    entrypoint: &'static [&'static str],
    cmd: &'static [&'static str],
    port: Option<u16>,
    /// With which first arguments it answers requests; nothing where its exports say what it is.
    serves: Option<&'static [&'static str]>,
    /// Where it then listens, by the first argument.
    ports: &'static [(&'static str, u16)],
    /// Files that it has, by their paths from `/`.
    files: &'static [(&'static str, &'static str)],
    /// What it stands in for: hosts and repositories.
    names: &'static [(&'static str, &'static str)],
}

/// The commands of `agnhost` that answer requests.
const SERVERS: &[&str] =
    &["netexec", "serve-hostname", "test-webserver", "liveness", "porter", "nettest", "update-demo"];

/// Where some of these listen, as agnhost's own do.
const AGNHOST_PORTS: &[(&str, u16)] = &[("serve-hostname", 9376), ("test-webserver", 80)];

const ALL: &[StandIn] = &[
    StandIn {
        name: "busybox",
        packed: BUSYBOX,
        entrypoint: &[],
        cmd: &["sh"],
        port: None,
        serves: Some(&[]),
        ports: &[],
        files: &[],
        names: &[
            ("docker.io", "library/busybox"),
            ("docker.io", "busybox"),
            ("registry.k8s.io", "busybox"),
            ("registry.k8s.io", "e2e-test-images/busybox"),
            ("k8s.gcr.io", "e2e-test-images/busybox"),
            ("k8s.gcr.io", "busybox"),
            ("gcr.io", "google-containers/busybox"),
        ],
    },
    StandIn {
        name: "alpine",
        packed: BUSYBOX,
        entrypoint: &[],
        cmd: &["/bin/sh"],
        port: None,
        serves: Some(&[]),
        ports: &[],
        files: &[],
        names: &[("docker.io", "library/alpine"), ("docker.io", "alpine")],
    },
    StandIn {
        name: "ubuntu",
        packed: BUSYBOX,
        entrypoint: &[],
        cmd: &["/bin/bash"],
        port: None,
        serves: Some(&[]),
        ports: &[],
        files: &[],
        names: &[("docker.io", "library/ubuntu"), ("docker.io", "ubuntu")],
    },
    StandIn {
        name: "pause",
        packed: BUSYBOX,
        entrypoint: &["/pause"],
        cmd: &[],
        port: None,
        serves: Some(&[]),
        ports: &[],
        files: &[],
        names: &[
            ("docker.io", "library/pause"),
            ("registry.k8s.io", "pause"),
            ("k8s.gcr.io", "pause"),
            ("gcr.io", "google-containers/pause"),
            ("gcr.io", "google_containers/pause"),
        ],
    },
    StandIn {
        name: "agnhost",
        packed: BUSYBOX,
        entrypoint: &["/agnhost"],
        cmd: &["pause"],
        port: None,
        serves: Some(SERVERS),
        ports: AGNHOST_PORTS,
        files: &[],
        names: &[
            ("docker.io", "library/agnhost"),
            ("registry.k8s.io", "e2e-test-images/agnhost"),
            ("registry.k8s.io", "agnhost"),
            ("k8s.gcr.io", "e2e-test-images/agnhost"),
        ],
    },
    StandIn {
        name: "nautilus",
        packed: BUSYBOX,
        entrypoint: &["/agnhost", "update-demo", "nautilus.jpg"],
        cmd: &[],
        port: Some(80),
        serves: Some(SERVERS),
        ports: &[],
        files: &[],
        names: &[("registry.k8s.io", "e2e-test-images/nautilus"), ("gcr.io", "kubernetes-e2e-test-images/nautilus")],
    },
    StandIn {
        name: "kitten",
        packed: BUSYBOX,
        entrypoint: &["/agnhost", "update-demo", "kitten.jpg"],
        cmd: &[],
        port: Some(80),
        serves: Some(SERVERS),
        ports: &[],
        files: &[],
        names: &[("registry.k8s.io", "e2e-test-images/kitten"), ("gcr.io", "kubernetes-e2e-test-images/kitten")],
    },
    StandIn {
        name: "httpd",
        packed: NGINX,
        entrypoint: &["httpd-foreground"],
        cmd: &[],
        port: Some(80),
        serves: None,
        ports: &[],
        files: &[("usr/local/apache2/htdocs/index.html", include_str!("../../../examples/images/nginx/httpd.html"))],
        names: &[
            ("docker.io", "library/httpd"),
            ("docker.io", "httpd"),
            ("registry.k8s.io", "e2e-test-images/httpd"),
            ("k8s.gcr.io", "e2e-test-images/httpd"),
        ],
    },
    StandIn {
        name: "nginx",
        packed: NGINX,
        entrypoint: &["/docker-entrypoint.sh"],
        cmd: &["nginx", "-g", "daemon off;"],
        port: Some(80),
        serves: None,
        ports: &[],
        files: &[("usr/share/nginx/html/index.html", include_str!("../../../examples/images/nginx/nginx.html"))],
        names: &[
            ("docker.io", "library/nginx"),
            ("docker.io", "nginx"),
            ("registry.k8s.io", "nginx-slim"),
            ("registry.k8s.io", "e2e-test-images/nginx"),
            ("k8s.gcr.io", "e2e-test-images/nginx"),
            ("k8s.gcr.io", "nginx-slim"),
        ],
    },
];

/// The repository of the cluster's registry that stands in for another one.
pub(crate) fn repository(host: &str, repository: &str) -> Option<&'static str> {
    ALL.iter().find(|image| image.names.contains(&(host, repository))).map(|image| image.name)
}

/// The shell and the tools as a component.
pub(crate) fn tools() -> Result<Bytes, BlobError> {
    unpack(BUSYBOX)
}

fn unpack(packed: &[u8]) -> Result<Bytes, BlobError> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).map_err(BlobError::io("a component of this program".as_ref()))?;
    Ok(bytes.into())
}

/// Puts what stands in for the repository into the folder, if something does; returns its manifest's digest.
pub(crate) async fn provide(blobs: &Blobs, repository: &str) -> Result<Option<Digest>, BlobError> {
    let Some(image) = ALL.iter().find(|image| image.name == repository) else { return Ok(None) };
    let wasm = unpack(image.packed)?;
    let layer = blobs.put(&wasm).await?;
    let config = WasmConfig { architecture: "wasm".into(), os: "wasip2".into(), layer_digests: vec![layer.clone()] };
    // Structs of strings and numbers have no way to fail.
    let config = serde_json::to_vec(&config).unwrap_or_default();
    let describe = |media_type: &str, digest, size: usize| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: size as u64,
    };
    let (config, layer) =
        (describe(WASM_CONFIG, blobs.put(&config).await?, config.len()), describe(WASM_LAYER, layer, wasm.len()));
    let mut manifest = Manifest::of_wasm(config, layer);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let defaults = Defaults {
        entrypoint: words(image.entrypoint),
        cmd: words(image.cmd),
        port: image.port,
        serves: image.serves.map(words),
        ports: image.ports.iter().map(|(word, port)| ((*word).to_owned(), *port)).collect(),
        files: image.files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
    };
    manifest.annotations = defaults.annotations();
    let digest = blobs.put(&serde_json::to_vec(&manifest).unwrap_or_default()).await?;
    blobs.record(repository, &digest, MANIFEST).await?;
    Ok(Some(digest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[tokio::test]
    async fn each_is_an_artifact_that_says_how_it_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).await.unwrap();
        for image in ALL {
            let digest = provide(&blobs, image.name).await.unwrap().unwrap();
            let bytes = blobs.read(&digest).await.unwrap().unwrap();
            let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
            let defaults = Defaults::of(&manifest).unwrap();
            assert_eq!(
                (&defaults.entrypoint[..], &defaults.cmd[..]),
                (&words(image.entrypoint)[..], &words(image.cmd)[..])
            );
            let files: Vec<(&str, &str)> = defaults.files.iter().map(|(path, text)| (&**path, &**text)).collect();
            assert_eq!(files, image.files);
            assert_eq!(defaults.ports.len(), image.ports.len());
            let wasm = blobs.read(&manifest.layers[0].digest).await.unwrap().unwrap();
            assert!(wasm.starts_with(b"\0asm"), "{}", image.name);
            assert_eq!(wasm.len() as u64, manifest.layers[0].size);
        }
        assert_eq!(provide(&blobs, "postgres").await.unwrap(), None);
    }

    #[test]
    fn a_program_listens_where_it_does_unless_it_is_told() {
        let ports = AGNHOST_PORTS.iter().map(|(word, port)| ((*word).to_owned(), *port)).collect();
        let defaults =
            Defaults { entrypoint: vec![], cmd: vec![], port: None, serves: None, ports, files: BTreeMap::new() };
        let check = |args: &[&str], expected: Option<u16>| {
            assert_eq!(defaults.own_port(&words(args)), expected, "{args:?}");
        };
        check(&["/agnhost", "serve-hostname"], Some(9376));
        check(&["/agnhost", "serve-hostname", "--port=80"], None);
        check(&["/agnhost", "serve-hostname", "--port", "80"], None);
        check(&["/agnhost", "netexec"], None);
        check(&["/agnhost"], None);
        check(&[], None);
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn all_of_them_together_stay_small() {
        let bytes = BUSYBOX.len() + NGINX.len();
        assert!(bytes < 1_500_000, "{bytes}");
    }
}
