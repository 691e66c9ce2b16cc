//! Small documents over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::trust;

/// A document that takes longer is not waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// Documents of issuers are small; bytes.
const LARGEST: usize = 1024 * 1024;

/// Gets documents from one issuer.
#[derive(Clone)]
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Fetcher {
    /// Trusts the authorities of that text, or the system's.
    pub(super) fn new(ca_pem: Option<&str>) -> Result<Self, String> {
        let connector = match ca_pem {
            Some(pem) => HttpsConnectorBuilder::new().with_tls_config(trusting(pem)?),
            None => HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
                .map_err(|error| format!("the system's certificate authorities cannot be read: {error}"))?,
        };
        let connector = connector.https_only().enable_http1().enable_http2().build();
        Ok(Self(Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(5)).build(connector)))
    }

    /// The document at that address, or what went wrong.
    pub(super) async fn get(&self, url: &str) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let request = Request::get(uri).header(ACCEPT, "application/json").body(Empty::new());
        let request = request.map_err(|error| format!("{url}: {error}"))?;
        let work = async {
            let response = self.0.request(request).await.map_err(|error| causes(&error))?;
            let code = response.status();
            if !code.is_success() {
                return Err(format!("the answer is {code}"));
            }
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok(body.map_err(|error| error.to_string())?.to_bytes())
        };
        let answer = tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        answer.map_err(|why| format!("{url}: {why}"))
    }
}

fn trusting(pem: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("certificate authority: {error}"))?;
        roots.add(certificate).map_err(|error| format!("certificate authority: {error}"))?;
    }
    if roots.is_empty() {
        return Err("certificate authority: there is no certificate in it".to_owned());
    }
    let provider = Arc::clone(&trust::provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

/// An error with what caused it, which is what tells.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
