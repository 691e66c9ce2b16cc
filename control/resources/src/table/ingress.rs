//! The rows of Ingresses, network policies, Endpoints, and of Services' addresses.

use serde_json::Value;

use super::Column;
use super::access::{age, items, name, text, text_or};
use super::columns::{AGE, NAME, text as column};
use super::duration::Clock;
use super::workload::selector;

/// How many of a list are shown.
const SHOWN: usize = 3;

pub(super) const INGRESS: &[Column] = &[
    NAME,
    column("Class", "The class of the ingress."),
    column("Hosts", "The hosts of the rules."),
    column("Address", "Where it is reached."),
    column("Ports", "The ports at which it is reached."),
    AGE,
];

pub(super) fn ingress(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts: Vec<&str> =
        items(&spec["rules"]).iter().map(|rule| text(&rule["host"])).filter(|host| !host.is_empty()).collect();
    let addresses = items(&object["status"]["loadBalancer"]["ingress"]).iter();
    let addresses: Vec<&str> = addresses.map(|at| text_or(&at["ip"], text(&at["hostname"]))).collect();
    let ports = if items(&spec["tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        name(object),
        text_or(&spec["ingressClassName"], "<none>").into(),
        (if hosts.is_empty() { "*".to_owned() } else { few(&hosts) }).into(),
        addresses.join(",").into(),
        ports.into(),
        age(object, now),
    ]
}

fn few(texts: &[&str]) -> String {
    let shown = texts.iter().take(SHOWN).copied().collect::<Vec<_>>().join(",");
    let more = texts.len().saturating_sub(SHOWN);
    if more > 0 { format!("{shown} + {more} more...") } else { shown }
}

pub(super) const INGRESS_CLASS: &[Column] = &[
    NAME,
    column("Controller", "Who serves ingresses of the class."),
    column("Parameters", "Where more is said of the class."),
    AGE,
];

pub(super) fn ingress_class(object: &Value, now: Clock) -> Vec<Value> {
    let parameters = &object["spec"]["parameters"];
    let shown = if parameters.is_null() {
        "<none>".to_owned()
    } else {
        let kind = match text(&parameters["apiGroup"]) {
            "" => text(&parameters["kind"]).to_owned(),
            group => format!("{}.{group}", text(&parameters["kind"])),
        };
        format!("{kind}/{}", text(&parameters["name"]))
    };
    let metadata = &object["metadata"];
    let default = text(&metadata["annotations"]["ingressclass.kubernetes.io/is-default-class"]) == "true";
    let named = format!("{}{}", text(&metadata["name"]), if default { " (default)" } else { "" });
    vec![named.into(), text(&object["spec"]["controller"]).into(), shown.into(), age(object, now)]
}

pub(super) const IP_ADDRESS: &[Column] = &[NAME, column("ParentRef", "What has the address.")];

pub(super) fn ip_address(object: &Value, _now: Clock) -> Vec<Value> {
    let parent = &object["spec"]["parentRef"];
    let shown = if parent.is_null() {
        "<none>".to_owned()
    } else {
        let group = Some(text(&parent["group"])).filter(|group| !group.is_empty());
        let kind = group
            .map_or(text(&parent["resource"]).to_owned(), |group| format!("{}.{group}", text(&parent["resource"])));
        let parts = [kind.to_lowercase(), text(&parent["namespace"]).to_owned(), text(&parent["name"]).to_owned()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    };
    vec![name(object), shown.into()]
}

pub(super) const SERVICE_CIDR: &[Column] = &[NAME, column("CIDRs", "The blocks that addresses come from."), AGE];

pub(super) fn service_cidr(object: &Value, now: Clock) -> Vec<Value> {
    let blocks: Vec<&str> = items(&object["spec"]["cidrs"]).iter().map(text).collect();
    vec![name(object), blocks.join(",").into(), age(object, now)]
}

pub(super) const NETWORK_POLICY: &[Column] = &[NAME, column("Pod-Selector", "Which pods the policy is for."), AGE];

pub(super) fn network_policy(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), selector(&object["spec"]["podSelector"]).into(), age(object, now)]
}

pub(super) const ENDPOINTS: &[Column] = &[NAME, column("Endpoints", "The addresses with their ports."), AGE];

pub(super) fn endpoints(object: &Value, now: Clock) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        for address in items(&subset["addresses"]) {
            let ip = text(&address["ip"]);
            let ports = items(&subset["ports"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(ports.iter().map(|port| match (ip.contains(':'), port["port"].as_i64().unwrap_or(0)) {
                (true, port) => format!("[{ip}]:{port}"),
                (false, port) => format!("{ip}:{port}"),
            }));
        }
    }
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let shown = if texts.is_empty() { "<none>".to_owned() } else { few(&texts) };
    vec![name(object), shown.into(), age(object, now)]
}
