//! The objects that every cluster begins with.

mod roles;

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pal_resources::{Resource, Status, resource};
use serde_json::{Value, json};

use crate::options::{Read, WriteOptions};
use crate::registry::Registry;
use crate::typed::Typed;
use crate::{key, meta};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// What the first objects say of the server.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap {
    /// Where clients reach the API.
    pub endpoint: SocketAddr,
}

impl Registry {
    /// Makes what is missing of the objects that clients expect in every cluster: namespaces, the `kubernetes` Service
    /// and its EndpointSlice, the default roles. What is there already stays as it is, but for the server's address.
    pub async fn bootstrap(&self, bootstrap: &Bootstrap) -> Result<(), Status> {
        let namespaces: Typed<Namespace> = self.client();
        let resource = namespaces.resource()?;
        let made = NAMESPACES.iter().map(|&name| {
            let body = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
            });
            self.ensure(resource, None, body)
        });
        futures::future::try_join_all(made).await?;
        let roles = roles::all().into_iter().map(|role| self.ensure_role(role));
        futures::future::try_join_all(roles).await?;
        self.ensure_kubernetes_service(bootstrap.endpoint).await
    }

    async fn ensure_role(&self, body: Value) -> Result<(), Status> {
        let kind = body["kind"].as_str().unwrap_or_default();
        let resource = resource::by_kind("rbac.authorization.k8s.io", "v1", kind).ok_or_else(Status::unknown_path)?;
        self.ensure(&resource, None, body).await
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

    /// `kubernetes` in `default`: how what runs in the cluster finds the API.
    async fn ensure_kubernetes_service(&self, endpoint: SocketAddr) -> Result<(), Status> {
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
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": endpoint.port()}],
                "sessionAffinity": "None"
            }
        });
        self.ensure_current(services.resource()?, service, &["spec", "ports", "0", "targetPort"]).await?;
        // Addresses of the host's own are no endpoints; an API that listens on nothing else has none.
        let ip = endpoint.ip();
        if ip.is_loopback() || ip.is_unspecified() {
            return Ok(());
        }
        let slices: Typed<EndpointSlice> = self.client();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"}
            },
            "addressType": match ip { IpAddr::V4(_) => "IPv4", IpAddr::V6(_) => "IPv6" },
            "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "protocol": "TCP", "port": endpoint.port()}]
        });
        self.ensure_current(slices.resource()?, slice.clone(), &["ports"]).await?;
        let same = self.ensure_current(slices.resource()?, slice.clone(), &["endpoints"]).await;
        match same {
            // The address family cannot change: another slice takes its place.
            Err(status) if status.code == 422 => {
                let (slices, options) = (slices.resource()?, crate::DeleteOptions::system("apiserver"));
                self.delete(slices, Some("default"), "kubernetes", &options).await?;
                self.ensure(slices, Some("default"), slice).await
            }
            other => other,
        }
    }

    /// Creates the object in `default`, or gives the one that is there the value at `path` that `body` has.
    async fn ensure_current(&self, resource: &Resource, body: Value, path: &[&str]) -> Result<(), Status> {
        let name = meta::text(&body, "name").to_owned();
        let wanted = at(&body, path).cloned();
        self.ensure(resource, Some("default"), body).await?;
        let stored = self.get(resource, Some("default"), &name, Read::Any).await?.value()?;
        if at(&stored, path) == wanted.as_ref() {
            return Ok(());
        }
        let change = |mut object: Value| {
            let pointer = format!("/{}", path.join("/"));
            if let (Some(place), Some(wanted)) = (object.pointer_mut(&pointer), &wanted) {
                *place = wanted.clone();
            }
            Ok(object)
        };
        let options = WriteOptions::system("apiserver");
        self.modify(resource, None, Some("default"), &name, change, &options).await.map(|_| ())
    }
}

fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    object.pointer(&format!("/{}", path.join("/")))
}
