//! Where the cluster is reached, written into its objects by whoever leads: for pods the Service `kubernetes`, for people
//! and machines that join the ConfigMap `cluster-info` of `kube-public`, as kubeadm has it.

use std::net::SocketAddr;
use std::time::Duration;

use pal_registry::{Bootstrap, Patch, PatchKind, Read, Registry, WriteOptions};
use pal_resources::codec::FieldValidation;
use pal_resources::{ResourceRef, Status, resource};
use pal_store::Standing;
use serde_json::{Value, json};

/// A name that cannot be looked up in this time is left out until the next look.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// `host:port` of every server; the first one leads.
    pub addresses: Vec<String>,
    pub root_pem: String,
}

impl Published {
    /// The servers that have caught up, as the store knows them. One that has no address yet is this one, at `own`.
    pub fn of(registry: &Registry, root_pem: &str, own: &str) -> Self {
        let membership = registry.store().membership();
        let mut members = membership.members;
        members.retain(|status| status.standing == Standing::Voter);
        members.sort_by_key(|status| Some(status.member.id) != membership.leader);
        let address = |address: String| if address.is_empty() { own.to_owned() } else { address };
        let addresses = members.into_iter().map(|status| address(status.member.address)).collect();
        Self { addresses, root_pem: root_pem.to_owned() }
    }

    /// Makes the first objects of the cluster where they are missing.
    pub async fn bootstrap(&self, registry: &Registry) -> Result<(), Status> {
        registry.bootstrap(&Bootstrap { servers: self.endpoints().await }).await?;
        self.cluster_info(registry).await
    }

    /// Brings what is published up to date.
    pub async fn publish(&self, registry: &Registry) -> Result<(), Status> {
        registry.publish_servers(&self.endpoints().await).await?;
        self.cluster_info(registry).await
    }

    async fn endpoints(&self) -> Vec<SocketAddr> {
        let mut endpoints = Vec::new();
        for address in &self.addresses {
            match tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host(address)).await {
                Ok(Ok(mut found)) => endpoints.extend(found.next()),
                Ok(Err(error)) => tracing::warn!(%address, %error, "a server's name cannot be looked up"),
                Err(_) => tracing::warn!(%address, "a server's name was not looked up in time"),
            }
        }
        endpoints
    }

    async fn cluster_info(&self, registry: &Registry) -> Result<(), Status> {
        let resource: ResourceRef = resource::find("", "v1", "configmaps").ok_or_else(Status::unknown_path)?;
        let options = WriteOptions::system("apiserver");
        let (namespace, name) = (Some("kube-public"), "cluster-info");
        let stored = match registry.get(&resource, namespace, name, Read::Any).await {
            Ok(object) => object.value()?,
            Err(status) if status.code == 404 => {
                let body = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": { "name": name, "namespace": "kube-public" }, "data": self.data(&Value::Null),
                });
                return match registry.create(&resource, namespace, body, &options).await {
                    Err(status) if status.code != 409 => Err(status),
                    _ => Ok(()),
                };
            }
            Err(status) => return Err(status),
        };
        let data = self.data(&stored["data"]["server"]);
        if stored["data"] == data {
            return Ok(());
        }
        let (body, validation) = (json!({ "data": data }), FieldValidation::Strict);
        let patch = Patch { kind: PatchKind::Merge, body, validation, found: Vec::new() };
        registry.patch(&resource, None, namespace, name, &patch, &options).await.map(drop)
    }

    /// `server` is one of them, and stays the same for as long as it is: `pal token create` prints it.
    fn data(&self, server: &Value) -> Value {
        let urls: Vec<String> = self.addresses.iter().map(|address| format!("https://{address}")).collect();
        let kept = server.as_str().filter(|kept| urls.iter().any(|url| url == kept));
        let server = kept.or_else(|| urls.first().map(String::as_str)).unwrap_or_default();
        let mut sorted = urls.clone();
        sorted.sort();
        json!({ "server": server, "servers": sorted.join("\n"), "ca.crt": self.root_pem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_is_printed_stays_as_long_as_its_server_does() {
        let check = |addresses: &[&str], kept: Value, expected: &str| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            let data = Published { addresses, root_pem: "root".to_owned() }.data(&kept);
            assert_eq!(data["server"], expected);
            data["servers"].as_str().unwrap_or_default().to_owned()
        };
        check(&["a:1"], Value::Null, "https://a:1");
        assert_eq!(check(&["b:1", "a:1"], json!("https://a:1"), "https://a:1"), "https://a:1\nhttps://b:1");
        check(&["b:1", "c:1"], json!("https://a:1"), "https://b:1");
    }
}
