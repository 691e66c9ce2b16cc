//! Becoming a node: from a token to certificates. The CA is known by its hash; keys never leave the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{Api, ObjectMeta, PostParams};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use tokio_util::sync::CancellationToken;

use crate::api::{API_ALPN, api_client};
use crate::config::JoinConfig;
use crate::connect::ServerAddress;
use crate::error::{JoinError, NodeError};
use crate::identity::{Credential, NodeIdentity};
use crate::retry::Retry;
use crate::servers::{self, Servers};
use crate::tls::{OwnCertificate, PinnedCa, client_config, pinned_config};
use crate::token::Token;

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// How long a certificate may take to be signed.
const SIGNING_LIMIT: Duration = Duration::from_secs(30);

/// A failure that may pass, or one for good.
enum Trouble {
    Passing(String),
    Final(JoinError),
}

impl From<NodeError> for Trouble {
    fn from(error: NodeError) -> Self {
        Self::Final(error.into())
    }
}

/// Returns the identity in the data directory, or gets one with the token.
///
/// While no server answers it tries again, saying so through `progress`, until `cancel`.
pub async fn join(
    config: JoinConfig,
    progress: impl Fn(&str) + Send,
    cancel: CancellationToken,
) -> Result<NodeIdentity, JoinError> {
    if let Some(found) = NodeIdentity::load(&config.data_dir)? {
        if found.name != config.name {
            return Err(JoinError::OtherIdentity { dir: config.data_dir, found: found.name });
        }
        if found.is_valid_at(Timestamp::now()) {
            return Ok(found);
        }
        progress("the node's certificate is over; joining again");
    }
    let token = Token::parse(&config.token)?;
    let addresses = servers::parsed(&config.servers)?;
    let mut retry = Retry::new(Duration::from_millis(500), Duration::from_secs(10));
    for round in 0.. {
        let address = &addresses[round % addresses.len()];
        let trouble = tokio::select! {
            result = attempt(&config, &token, address) => match result {
                Ok(identity) => {
                    identity.save(&config.data_dir)?;
                    return Ok(identity);
                }
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing(why)) => why,
            },
            () = cancel.cancelled() => return Err(JoinError::Stopped("none; it was under way".to_owned())),
        };
        progress(&format!("{}: {trouble}; trying again", address.url()));
        // Another server may answer at once; a pause is made when each was asked.
        if (round + 1) % addresses.len() != 0 {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(retry.pause()) => {}
            () = cancel.cancelled() => return Err(JoinError::Stopped(trouble)),
        }
    }
    Err(JoinError::Stopped("none; it was never begun".to_owned()))
}

async fn attempt(config: &JoinConfig, token: &Token, address: &ServerAddress) -> Result<NodeIdentity, Trouble> {
    let pin = PinnedCa::new(token.ca_hash);
    let (server, url) = (Servers::fixed(vec![address.clone()]), address.url());
    let client = api_client(&server, pinned_config(pin.clone(), API_ALPN)?, Some(&token.text))?;
    let foreign = || {
        let expected = hex::encode(token.ca_hash);
        Trouble::Final(JoinError::ForeignToken { server: url.clone(), expected })
    };
    let request =
        Request { name: &config.name, signer: CLIENT_SIGNER, usages: &["digital signature", "client auth"], ip: None };
    let credential = match request.sign(&client, &url).await {
        Err(_) if pin.mismatched() => return Err(foreign()),
        other => other?,
    };
    let ca = pin.ca().ok_or_else(foreign)?;
    let ca_pem = pem("CERTIFICATE", ca);
    let client = api_client(&server, client_config(&ca_pem, Some(OwnCertificate::new(&credential)?), API_ALPN)?, None)?;
    let serving = serving_request(&config.name, config.node_ip).sign(&client, &url).await?;
    Ok(NodeIdentity { name: config.name.clone(), ca_pem, client: credential, serving })
}

/// Gets new certificates with the old ones.
pub(crate) async fn renew(
    client: &kube::Client,
    old: &NodeIdentity,
    node_ip: IpAddr,
    server: &str,
) -> Result<NodeIdentity, String> {
    let request =
        Request { name: &old.name, signer: CLIENT_SIGNER, usages: &["digital signature", "client auth"], ip: None };
    let told = |trouble: Trouble| match trouble {
        Trouble::Passing(why) => why,
        Trouble::Final(error) => error.to_string(),
    };
    let credential = request.sign(client, server).await.map_err(told)?;
    let serving = serving_request(&old.name, node_ip).sign(client, server).await.map_err(told)?;
    Ok(NodeIdentity { client: credential, serving, ..old.clone() })
}

fn serving_request(name: &str, ip: IpAddr) -> Request<'_> {
    Request { name, signer: SERVING_SIGNER, usages: &["digital signature", "server auth"], ip: Some(ip) }
}

/// One certificate to ask for.
struct Request<'a> {
    name: &'a str,
    signer: &'a str,
    usages: &'a [&'a str],
    /// In the certificate beside the name, for serving.
    ip: Option<IpAddr>,
}

impl Request<'_> {
    async fn sign(&self, client: &kube::Client, server: &str) -> Result<Credential, Trouble> {
        let (key_pem, request_pem) = self.pkcs10().map_err(NodeError::Certificate)?;
        let api: Api<CertificateSigningRequest> = Api::all(client.clone());
        let told = |error: kube::Error| self.told(error, server);
        let created =
            tokio::time::timeout(SIGNING_LIMIT, api.create(&PostParams::default(), &self.object(request_pem)))
                .await
                .map_err(|_| Trouble::Passing("no answer".to_owned()))?
                .map_err(told)?;
        let name = created.metadata.name.clone().unwrap_or_default();
        let mut current = created;
        let wait = async {
            loop {
                if let Some(chain_pem) = self.outcome(&current)? {
                    return Ok(Credential { chain_pem, key_pem });
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                current = api.get(&name).await.map_err(told)?;
            }
        };
        let late =
            |_| Trouble::Passing(format!("certificate request {name} was not signed in {} s", SIGNING_LIMIT.as_secs()));
        tokio::time::timeout(SIGNING_LIMIT, wait).await.map_err(late)?
    }

    /// The certificate if it is there; an error if it never will be.
    fn outcome(&self, csr: &CertificateSigningRequest) -> Result<Option<String>, Trouble> {
        let Some(status) = &csr.status else { return Ok(None) };
        if let Some(ByteString(pem)) = &status.certificate {
            return Ok(Some(String::from_utf8_lossy(pem).into_owned()));
        }
        let refused = status.conditions.iter().flatten().find(|c| c.type_ == "Denied" || c.type_ == "Failed");
        match refused {
            Some(condition) => {
                let why = condition.message.clone().or(condition.reason.clone()).unwrap_or_default();
                Err(Trouble::Final(JoinError::Denied { name: self.name.to_owned(), why }))
            }
            None => Ok(None),
        }
    }

    fn told(&self, error: kube::Error, server: &str) -> Trouble {
        let server = server.to_owned();
        match error {
            kube::Error::Api(status) => match status.code {
                401 => Trouble::Final(JoinError::TokenRefused { server }),
                403 | 409 | 422 | 400 => {
                    Trouble::Final(JoinError::Denied { name: self.name.to_owned(), why: status.message.clone() })
                }
                404 => Trouble::Final(JoinError::Server { server, why: status.message.clone() }),
                _ => Trouble::Passing(status.message.clone()),
            },
            other => Trouble::Passing(root_cause(&other)),
        }
    }

    fn pkcs10(&self) -> Result<(String, String), String> {
        let told = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate().map_err(told)?;
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, "system:nodes");
        subject.push(DnType::CommonName, format!("system:node:{}", self.name));
        params.distinguished_name = subject;
        if let Some(ip) = self.ip {
            let name = self.name.try_into().map_err(told)?;
            params.subject_alt_names = vec![SanType::DnsName(name), SanType::IpAddress(ip)];
        }
        let request = params.serialize_request(&key).map_err(told)?;
        Ok((key.serialize_pem(), request.pem().map_err(told)?))
    }

    fn object(&self, request_pem: String) -> CertificateSigningRequest {
        let kind = if self.ip.is_some() { "serving" } else { "client" };
        CertificateSigningRequest {
            metadata: ObjectMeta {
                name: Some(format!("node-{}-{kind}-{:08x}", self.name, rand::random::<u32>())),
                labels: Some(BTreeMap::from([("kubernetes.io/hostname".to_owned(), self.name.to_owned())])),
                ..ObjectMeta::default()
            },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request_pem.into_bytes()),
                signer_name: self.signer.to_owned(),
                usages: Some(self.usages.iter().map(|u| (*u).to_owned()).collect()),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        }
    }
}

/// The last error of the chain, which says most ("connection refused").
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|l| std::str::from_utf8(l).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
