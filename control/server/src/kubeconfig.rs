//! The file by which clients find a cluster and prove who they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A kubeconfig for one cluster and one user with a client certificate.
pub fn kubeconfig(url: &str, root_pem: &str, user: &str, certificate_pem: &str, key_pem: &str) -> String {
    let (root, certificate, key) =
        (STANDARD.encode(root_pem), STANDARD.encode(certificate_pem), STANDARD.encode(key_pem));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: palinurus
  cluster:
    server: {url}
    certificate-authority-data: {root}
contexts:
- name: palinurus
  context:
    cluster: palinurus
    user: {user}
current-context: palinurus
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"
    )
}
