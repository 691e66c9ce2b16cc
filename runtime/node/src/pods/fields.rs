//! What a pod may know of itself: `fieldRef` and `resourceFieldRef`.

use std::net::IpAddr;
use std::str::FromStr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use pal_resources::quantity::Quantity;

/// A pod, with what only the node knows of it.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) host_ip: IpAddr,
    /// What a container without limits may use at most.
    pub(crate) capacity: Capacity,
}

/// The node's capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) cpu_millis: u64,
    pub(crate) memory_bytes: u64,
}

impl Facts<'_> {
    /// The value of a `fieldPath`.
    pub(crate) fn field(&self, path: &str) -> Result<String, String> {
        let (meta, spec) = (&self.pod.metadata, self.pod.spec.as_ref());
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        let ip = || self.ip.map(|ip| ip.to_string()).unwrap_or_default();
        Ok(match path {
            "metadata.name" => text(meta.name.as_ref()),
            "metadata.namespace" => text(meta.namespace.as_ref()),
            "metadata.uid" => text(meta.uid.as_ref()),
            "metadata.labels" => listing(meta.labels.iter().flatten()),
            "metadata.annotations" => listing(meta.annotations.iter().flatten()),
            "spec.nodeName" => text(spec.and_then(|s| s.node_name.as_ref())),
            "spec.serviceAccountName" => text(spec.and_then(|s| s.service_account_name.as_ref())),
            "status.podIP" | "status.podIPs" => ip(),
            "status.hostIP" | "status.hostIPs" => self.host_ip.to_string(),
            _ => match subscript(path) {
                Some(("metadata.labels", key)) => text(meta.labels.as_ref().and_then(|l| l.get(key))),
                Some(("metadata.annotations", key)) => text(meta.annotations.as_ref().and_then(|a| a.get(key))),
                _ => return Err(format!("fieldPath {path:?} is not supported")),
            },
        })
    }

    /// The value of a `resourceFieldRef` for a container.
    pub(crate) fn resource(&self, selector: &ResourceFieldSelector, own: &Container) -> Result<String, String> {
        let spec = self.pod.spec.as_ref();
        let named = |name: &String| {
            spec.and_then(|s| s.containers.iter().chain(s.init_containers.iter().flatten()).find(|c| c.name == *name))
        };
        let container = match selector.container_name.as_ref().filter(|n| !n.is_empty()) {
            Some(name) => named(name).ok_or_else(|| format!("container {name:?} not found"))?,
            None => own,
        };
        let (list, resource) = selector.resource.split_once('.').unwrap_or_default();
        let resources = container.resources.as_ref();
        let amounts = match list {
            "limits" => resources.and_then(|r| r.limits.as_ref()),
            "requests" => resources.and_then(|r| r.requests.as_ref()),
            _ => return Err(format!("resource {:?} is not supported", selector.resource)),
        };
        let amount = amounts
            .and_then(|a| a.get(resource))
            .map(|q| Quantity::try_from(q).map_err(|e| e.to_string()))
            .transpose()?;
        let divisor = match &selector.divisor {
            Some(divisor) if divisor.0 != "0" && !divisor.0.is_empty() => {
                Quantity::from_str(&divisor.0).map_err(|e| e.to_string())?
            }
            _ => Quantity::from_units(1),
        };
        let (amount, divisor) = match (resource, amount) {
            ("cpu", Some(q)) => (q.millis(), divisor.millis()),
            ("cpu", None) if list == "limits" => (clamp(self.capacity.cpu_millis), divisor.millis()),
            (_, Some(q)) => (q.units(), divisor.units()),
            ("memory", None) if list == "limits" => (clamp(self.capacity.memory_bytes), divisor.units()),
            (_, None) => (0, 1),
        };
        let divisor = divisor.max(1);
        // Rounded up, as kubelet does.
        Ok((amount / divisor + i64::from(amount % divisor != 0)).to_string())
    }
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `metadata.labels['a']` taken apart.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (field, rest) = path.split_once("['")?;
    Some((field, rest.strip_suffix("']")?))
}

/// One `key="value"` a line.
fn listing<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    pairs.map(|(k, v)| format!("{k}={v:?}")).collect::<Vec<_>>().join("\n")
}
