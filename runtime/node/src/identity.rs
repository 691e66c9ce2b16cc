//! Who the node is: its certificates, kept in the data directory.

use std::path::Path;

use crate::error::NodeError;

/// A certificate chain and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// A node's name, the cluster's CA, the certificate for the API and the one for other nodes.
#[derive(Clone)]
pub struct NodeIdentity {
    /// The Node's name.
    pub name: String,
    /// The cluster's root.
    pub ca_pem: String,
    /// `system:node:NAME`, for the API.
    pub client: Credential,
    /// For node-to-node connections.
    pub serving: Credential,
}

impl NodeIdentity {
    /// The identity that a former [`join`](crate::join) left in `data_dir`, if there is one.
    pub fn load(_data_dir: &Path) -> Result<Option<Self>, NodeError> {
        Ok(None)
    }
}
