//! The objects that every cluster begins with.

mod parts;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Endpoints, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pal_resources::admission::storage::DEFAULT_CLASS;
use pal_resources::selector::LabelSelector;
use pal_resources::volumes::PROVISIONER;
use pal_resources::{Resource, Status, resource};
use serde_json::{Value, json};

use crate::options::{ListOptions, Read, WriteOptions};
use crate::registry::Registry;
use crate::service_blocks::OWN_BLOCK;
use crate::typed::Typed;
use crate::{key, meta};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// What the first objects say of the servers.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Where clients reach the API: an address of each server.
    pub servers: Vec<SocketAddr>,
}

impl Registry {
    /// Makes what is missing of the objects that clients expect in every cluster: namespaces, the `kubernetes` Service,
    /// its Endpoints and EndpointSlice, the default roles. A cluster that is new gets a class of storage, too. What is there
    /// already stays as it is, but for the servers' addresses.
    pub async fn bootstrap(&self, bootstrap: &Bootstrap) -> Result<(), Status> {
        let namespaces: Typed<Namespace> = self.client();
        let resource = namespaces.resource()?;
        // A cluster begins with it, and does with it afterwards what it likes. It comes first, so that a cluster that has its
        // namespaces has had it.
        if self.shared.store.applied().get(key::of(resource, None, NAMESPACES[0])).is_none() {
            let classes = resource::find("storage.k8s.io", "v1", "storageclasses").ok_or_else(Status::unknown_path)?;
            self.ensure(&classes, None, default_class()).await?;
        }
        let made = NAMESPACES.iter().map(|&name| {
            let body = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
            });
            self.ensure(resource, None, body)
        });
        futures::future::try_join_all(made).await?;
        let made = parts::all()
            .into_iter()
            .map(|(resource, object)| async move { self.ensure(&resource, None, object).await });
        futures::future::try_join_all(made).await?;
        self.publish_block().await?;
        let roles = roles::all().into_iter().map(|role| self.ensure_role(role));
        futures::future::try_join_all(roles).await?;
        self.publish_servers(&bootstrap.servers).await
    }

    /// Makes a default role or binding, or adds to the stored one what it lacks of the default.
    async fn ensure_role(&self, body: Value) -> Result<(), Status> {
        let kind = body["kind"].as_str().unwrap_or_default();
        let resource = resource::by_kind("rbac.authorization.k8s.io", "v1", kind).ok_or_else(Status::unknown_path)?;
        self.ensure(&resource, None, body.clone()).await?;
        let name = meta::text(&body, "name");
        let stored = self.get(&resource, None, name, Read::Any).await?.value()?;
        if roles::reconciled(&stored, &body).is_none() {
            return Ok(());
        }
        let change = |stored: Value| Ok(roles::reconciled(&stored, &body).unwrap_or(stored));
        self.modify(&resource, None, None, name, change, &WriteOptions::system("apiserver")).await.map(|_| ())
    }

    /// Creates the object unless there is one of its name.
    async fn ensure(&self, resource: &Resource, namespace: Option<&str>, body: Value) -> Result<(), Status> {
        let name = meta::text(&body, "name");
        if self.shared.store.applied().get(key::of(resource, namespace, name)).is_some() {
            return Ok(());
        }
        match self.create(resource, namespace, body, &WriteOptions::system("apiserver")).await {
            Ok(_) => Ok(()),
            Err(status) if status.code == 409 => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// The block that Services get their addresses from, as the ServiceCIDR that kube-apiserver makes of it.
    async fn publish_block(&self) -> Result<(), Status> {
        let resource = resource::find("networking.k8s.io", "v1", "servicecidrs").ok_or_else(Status::unknown_path)?;
        let cidr = self.config().service_cidr.to_string();
        self.ensure(&resource, None, json!({"metadata": {"name": OWN_BLOCK}, "spec": {"cidrs": [cidr]}})).await?;
        let stored = self.get(&resource, None, OWN_BLOCK, Read::Any).await?.value()?;
        if stored["status"]["conditions"].is_array() {
            return Ok(());
        }
        let since = stored["metadata"]["creationTimestamp"].clone();
        let ready = json!({"conditions": [{
            "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": since,
            "message": "Kubernetes default Service CIDR is ready"
        }]});
        let change = |mut object: Value| {
            object["status"] = ready.clone();
            Ok(object)
        };
        let options = WriteOptions::system("apiserver");
        self.modify(&resource, Some("status"), None, OWN_BLOCK, change, &options).await.map(|_| ())
    }

    /// `kubernetes` in `default`: how what runs in the cluster finds the API. Nothing is written where it is right.
    pub async fn publish_servers(&self, servers: &[SocketAddr]) -> Result<(), Status> {
        // The same for the same servers, whoever writes it.
        let Some(port) = servers.iter().map(SocketAddr::port).min() else { return Ok(()) };
        let services: Typed<Service> = self.client();
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": self.config().service_cidr.at(1).to_string(),
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
                "sessionAffinity": "None"
            }
        });
        self.ensure_current(services.resource()?, service, &["spec", "ports", "0", "targetPort"]).await?;
        let endpoints: Typed<Endpoints> = self.client();
        self.ensure_current(endpoints.resource()?, endpoints_of(servers), &["subsets"]).await?;
        let wanted = slices(servers);
        let client: Typed<EndpointSlice> = self.client();
        let resource = client.resource()?;
        for slice in &wanted {
            self.ensure_slice(resource, slice).await?;
        }
        self.remove_slices_but(resource, &wanted).await
    }

    async fn ensure_slice(&self, resource: &Resource, slice: &Value) -> Result<(), Status> {
        self.ensure_current(resource, slice.clone(), &["ports"]).await?;
        match self.ensure_current(resource, slice.clone(), &["endpoints"]).await {
            // The address family cannot change: another slice takes its place.
            Err(status) if status.code == 422 => {
                let options = crate::DeleteOptions::system("apiserver");
                self.delete(resource, Some("default"), meta::text(slice, "name"), &options).await?;
                self.ensure(resource, Some("default"), slice.clone()).await
            }
            other => other,
        }
    }

    /// Removes the slices of servers that are no longer there.
    async fn remove_slices_but(&self, resource: &Resource, wanted: &[Value]) -> Result<(), Status> {
        let label = LabelSelector::parse(&format!("{SERVICE_NAME}=kubernetes"))?;
        let options = ListOptions { label: Some(label), ..ListOptions::default() };
        for slice in self.list(resource, Some("default"), options).await?.items {
            let value = slice.value()?;
            let name = meta::text(&value, "name");
            if wanted.iter().any(|slice| meta::text(slice, "name") == name) {
                continue;
            }
            match self.delete(resource, Some("default"), name, &crate::DeleteOptions::system("apiserver")).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
        Ok(())
    }

    /// Creates the object in `default`, or gives the one that is there the value at `path` that `body` has.
    async fn ensure_current(&self, resource: &Resource, body: Value, path: &[&str]) -> Result<(), Status> {
        let name = meta::text(&body, "name").to_owned();
        let wanted = at(&body, path).cloned();
        self.ensure(resource, Some("default"), body).await?;
        let stored = self.get(resource, Some("default"), &name, Read::Any).await?.value()?;
        let is_empty = |value: Option<&Value>| value.is_none_or(|value| value.as_array().is_some_and(Vec::is_empty));
        let current = at(&stored, path);
        if current == wanted.as_ref() || is_empty(current) && is_empty(wanted.as_ref()) {
            return Ok(());
        }
        let change = |mut object: Value| {
            let Some((last, path)) = path.split_last() else { return Ok(object) };
            let home = path.iter().fold(String::new(), |pointer, part| format!("{pointer}/{part}"));
            if let (Some(Value::Object(home)), Some(wanted)) = (object.pointer_mut(&home), &wanted) {
                home.insert((*last).to_owned(), wanted.clone());
            }
            Ok(object)
        };
        let options = WriteOptions::system("apiserver");
        self.modify(resource, None, Some("default"), &name, change, &options).await.map(|_| ())
    }
}

/// The class of claims that name none: directories of the node on which their pod is.
fn default_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {DEFAULT_CLASS[0]: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true
    })
}

/// Addresses of servers by their family (whether it is that of IPv6) and port. Addresses of a host's own are no endpoints;
/// an API that listens on nothing else has none.
fn grouped(servers: &[SocketAddr]) -> BTreeMap<(bool, u16), BTreeSet<IpAddr>> {
    let mut groups: BTreeMap<(bool, u16), BTreeSet<IpAddr>> = BTreeMap::new();
    for server in servers.iter().filter(|server| !server.ip().is_loopback() && !server.ip().is_unspecified()) {
        groups.entry((server.is_ipv6(), server.port())).or_default().insert(server.ip());
    }
    groups
}

/// The Endpoints of `kubernetes`, which nobody has to mirror.
fn endpoints_of(servers: &[SocketAddr]) -> Value {
    let subset = |((_, port), addresses): ((bool, u16), BTreeSet<IpAddr>)| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
    };
    let subsets: Vec<Value> = grouped(servers).into_iter().map(subset).collect();
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}
        },
        "subsets": subsets
    })
}

/// The slices of `kubernetes`: one for each port and family of addresses, because a slice has one of each.
fn slices(servers: &[SocketAddr]) -> Vec<Value> {
    let slice = |(number, ((is_ipv6, port), addresses)): (usize, ((bool, u16), BTreeSet<IpAddr>))| {
        let family = if is_ipv6 { "IPv6" } else { "IPv4" };
        let name = match number {
            0 => "kubernetes".to_owned(),
            _ => format!("kubernetes-{}-{port}", family.to_ascii_lowercase()),
        };
        let endpoints: Vec<Value> =
            addresses.iter().map(|ip| json!({"addresses": [ip.to_string()], "conditions": {"ready": true}})).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "default", "labels": {SERVICE_NAME: "kubernetes"}},
            "addressType": family,
            "endpoints": endpoints,
            "ports": [{"name": "https", "protocol": "TCP", "port": port}]
        })
    };
    grouped(servers).into_iter().enumerate().map(slice).collect()
}

fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    object.pointer(&format!("/{}", path.join("/")))
}
