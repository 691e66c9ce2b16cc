//! Services as the environment of containers tells them: `NAME_SERVICE_HOST` and what goes with it, as a kubelet writes them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// The Service that every pod is told of.
const API: (&str, &str) = ("default", "kubernetes");

/// What is told of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) address: Ipv4Addr,
    /// Names, which may be empty, and numbers; TCP all.
    pub(crate) ports: Vec<(String, u16)>,
}

/// By namespace and name.
pub(crate) type All = BTreeMap<(String, String), Told>;

/// The Services that the node knows now.
#[derive(Default)]
pub(crate) struct Services(Mutex<Arc<All>>);

impl Services {
    /// They are these now.
    pub(crate) fn set(&self, all: All) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
    }

    /// The variables for a pod in that namespace: of all its Services where `links`, of the API's in any case.
    pub(crate) fn variables(&self, namespace: &str, links: bool) -> Vec<(String, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        variables(&all, namespace, links)
    }
}

fn variables(all: &All, namespace: &str, links: bool) -> Vec<(String, String)> {
    let api = |(of, name): &(String, String)| (of.as_str(), name.as_str()) == API;
    // A Service of the pod's own namespace comes before the API's of the same name.
    let own = all.iter().filter(|(key, _)| links && key.0 == namespace);
    let hidden = links && namespace != API.0 && all.contains_key(&(namespace.to_owned(), API.1.to_owned()));
    let api = all.iter().filter(|(key, _)| api(key) && !hidden && !(links && namespace == API.0));
    let mut variables = Vec::new();
    for ((_, name), told) in own.chain(api) {
        of_service(&mut variables, name, told);
    }
    variables
}

fn of_service(variables: &mut Vec<(String, String)>, name: &str, told: &Told) {
    let Some((_, first)) = told.ports.first() else { return };
    let name = shouted(name);
    let address = told.address;
    let mut set = |key: String, value: String| variables.push((key, value));
    set(format!("{name}_SERVICE_HOST"), address.to_string());
    set(format!("{name}_SERVICE_PORT"), first.to_string());
    for (port, number) in told.ports.iter().filter(|(port, _)| !port.is_empty()) {
        set(format!("{name}_SERVICE_PORT_{}", shouted(port)), number.to_string());
    }
    // As containers that were linked had them once.
    set(format!("{name}_PORT"), format!("tcp://{address}:{first}"));
    for (_, number) in &told.ports {
        let prefix = format!("{name}_PORT_{number}_TCP");
        set(format!("{prefix}_PROTO"), "tcp".to_owned());
        set(format!("{prefix}_PORT"), number.to_string());
        set(format!("{prefix}_ADDR"), address.to_string());
        set(prefix, format!("tcp://{address}:{number}"));
    }
}

/// In capital letters, as a variable's name.
fn shouted(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> All {
        let told = |address: &str, ports: &[(&str, u16)]| Told {
            address: address.parse().unwrap(),
            ports: ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect(),
        };
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        All::from([
            (key("default", "kubernetes"), told("10.96.0.1", &[("https", 443)])),
            (key("a", "my-web"), told("10.96.0.7", &[("", 80)])),
            (key("b", "other"), told("10.96.0.8", &[("", 80)])),
        ])
    }

    #[test]
    fn a_pod_is_told_of_the_api_and_of_its_namespaces_services() {
        let names = |namespace: &str, links: bool| -> Vec<String> {
            let all = variables(&all(), namespace, links).into_iter().map(|(key, _)| key);
            all.filter(|key| key.ends_with("_SERVICE_HOST")).collect()
        };
        assert_eq!(names("a", true), ["MY_WEB_SERVICE_HOST", "KUBERNETES_SERVICE_HOST"]);
        assert_eq!(names("a", false), ["KUBERNETES_SERVICE_HOST"]);
        assert_eq!(names("default", true), ["KUBERNETES_SERVICE_HOST"]);
        assert_eq!(names("default", false), ["KUBERNETES_SERVICE_HOST"]);
    }

    #[test]
    fn a_service_has_a_kubelets_variables() {
        let found = variables(&all(), "c", true);
        let found: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected = [
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
            ("KUBERNETES_PORT", "tcp://10.96.0.1:443"),
            ("KUBERNETES_PORT_443_TCP_PROTO", "tcp"),
            ("KUBERNETES_PORT_443_TCP_PORT", "443"),
            ("KUBERNETES_PORT_443_TCP_ADDR", "10.96.0.1"),
            ("KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443"),
        ];
        assert_eq!(found, expected);
    }
}
