//! Bringing a Wasm file into a registry.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use crate::artifact::{Descriptor, MANIFEST, Manifest, WASM_CONFIG, WASM_LAYER, WasmConfig};
use crate::client::RegistryClient;
use crate::digest::Digest;
use crate::reference::{CLUSTER_HOST, Reference, ReferenceError};
use crate::site::ClientError;

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// As `pal.local/hello@sha256:…`: what a manifest's `image` is rewritten to.
    pub reference: String,
    /// Whether the file was sent; false where the registry had it already.
    pub uploaded: bool,
}

/// Why a file could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Pushes a Wasm file to the cluster's registry under `name` (a path of lower-case words).
/// `os` is `wasip1` for a core module and `wasip2` for a component.
pub async fn push(client: &RegistryClient, name: &str, wasm: Bytes, os: &str) -> Result<Pushed, PushError> {
    let target: Reference = format!("{CLUSTER_HOST}/{name}").parse()?;
    let layer = Digest::of(&wasm);
    let config = WasmConfig { architecture: "wasm".to_owned(), os: os.to_owned(), layer_digests: vec![layer.clone()] };
    // Structs of strings and numbers have no way to fail.
    let config = Bytes::from(serde_json::to_vec(&config).unwrap_or_default());
    let describe = |media_type: &str, bytes: &Bytes| Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let manifest = Manifest::of_wasm(describe(WASM_CONFIG, &config), describe(WASM_LAYER, &wasm));
    let manifest = Bytes::from(serde_json::to_vec(&manifest).unwrap_or_default());
    let digest = Digest::of(&manifest);

    let uploaded = upload(client, &target, wasm).await?;
    upload(client, &target, config).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MANIFEST));
    client.call(&target, Method::PUT, &format!("manifests/{digest}"), headers, manifest).await?;
    Ok(Pushed { reference: target.at(&digest).to_string(), uploaded })
}

/// Sends a blob in one request unless the registry has it; tells whether it was sent.
async fn upload(client: &RegistryClient, target: &Reference, bytes: Bytes) -> Result<bool, ClientError> {
    let digest = Digest::of(&bytes);
    match client.call(target, Method::HEAD, &format!("blobs/{digest}"), HeaderMap::new(), Bytes::new()).await {
        Ok(_) => return Ok(false),
        Err(ClientError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    client.call(target, Method::POST, &format!("blobs/uploads/?digest={digest}"), headers, bytes).await?;
    Ok(true)
}
