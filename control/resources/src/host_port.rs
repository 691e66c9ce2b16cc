//! Ports of the node that pods ask for.

use k8s_openapi::api::core::v1::{Container, Pod};

/// The address that stands for all of a node's.
pub const ANY_ADDRESS: &str = "0.0.0.0";

/// A port of the node that a container asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// [`ANY_ADDRESS`] where the container names none.
    pub address: String,
}

impl HostPort {
    /// Those that one container asks for.
    pub fn of_container(container: &Container) -> impl Iterator<Item = Self> {
        let given = |text: &Option<String>, usual: &str| {
            text.as_deref().filter(|text| !text.is_empty()).unwrap_or(usual).to_owned()
        };
        container.ports.iter().flatten().filter_map(move |port| {
            Some(Self {
                port: port.host_port.filter(|port| *port > 0)?,
                protocol: given(&port.protocol, "TCP"),
                address: given(&port.host_ip, ANY_ADDRESS),
            })
        })
    }

    /// Those that a pod's containers ask for, but for init containers that run to their end.
    pub fn of_pod(pod: &Pod) -> Vec<Self> {
        let Some(spec) = &pod.spec else { return Vec::new() };
        let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
        let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
        spec.containers.iter().chain(sidecars).flat_map(Self::of_container).collect()
    }

    /// Whether one node cannot give out both.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let at_one_address =
            self.address == other.address || self.address == ANY_ADDRESS || other.address == ANY_ADDRESS;
        self.port == other.port && self.protocol == other.protocol && at_one_address
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn two_conflict_at_one_port_and_protocol_of_one_address() {
        let all = |ports: Value| {
            let pod = json!({"spec": {"containers": [{"name": "c", "ports": ports}]}});
            HostPort::of_pod(&serde_json::from_value(pod).unwrap())
        };
        let check = |a: Value, b: Value, expected| {
            let (a, b) = (all(json!([a])), all(json!([b])));
            assert_eq!((a[0].conflicts_with(&b[0]), b[0].conflicts_with(&a[0])), (expected, expected), "{a:?} {b:?}");
        };
        let port = |number: i32| json!({"containerPort": 80, "hostPort": number});
        let at = |address: &str| json!({"containerPort": 80, "hostPort": 1, "hostIP": address, "protocol": "TCP"});
        check(port(1), port(1), true);
        check(port(1), port(2), false);
        check(port(1), at("127.0.0.1"), true);
        check(at("0.0.0.0"), at("127.0.0.1"), true);
        check(at("127.0.0.2"), at("127.0.0.1"), false);
        check(port(1), json!({"containerPort": 80, "hostPort": 1, "protocol": "UDP"}), false);
        assert_eq!(all(json!([{"containerPort": 80}])), []);
    }

    #[test]
    fn init_containers_ask_for_none_unless_they_stay() {
        let init = |policy: Value| json!({"name": "i", "restartPolicy": policy, "ports": [{"containerPort": 1, "hostPort": 1}]});
        let pod = json!({"spec": {"containers": [], "initContainers": [init(Value::Null), init(json!("Always"))]}});
        assert_eq!(HostPort::of_pod(&serde_json::from_value(pod).unwrap()).len(), 1);
    }
}
