//! The rows of Services and EndpointSlices.

use super::duration::Clock;
use serde_json::Value;

use super::access::{age, items, joined, labels, name, number, text, text_or_none};

/// How many ports and addresses a row shows.
const MAX_SHOWN: usize = 3;

pub(super) fn service(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        text(&spec["type"]).into(),
        text_or_none(&spec["clusterIP"]).into(),
        external_ip(object).into(),
        ports(items(&spec["ports"])).into(),
        age(object, now),
        labels(&spec["selector"]).into(),
    ]
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let mut addresses: Vec<&str> = Vec::new();
    match text(&spec["type"]) {
        "ClusterIP" | "NodePort" => {}
        "LoadBalancer" => {
            for ingress in items(&service["status"]["loadBalancer"]["ingress"]) {
                let address = match text(&ingress["ip"]) {
                    "" => text(&ingress["hostname"]),
                    ip => ip,
                };
                addresses.push(address);
            }
            if addresses.is_empty() && items(&spec["externalIPs"]).is_empty() {
                return "<pending>".to_owned();
            }
        }
        "ExternalName" => return text(&spec["externalName"]).to_owned(),
        _ => return "<unknown>".to_owned(),
    }
    addresses.extend(items(&spec["externalIPs"]).iter().map(text));
    joined(&addresses, ",")
}

fn ports(ports: &[Value]) -> String {
    let shown = |port: &Value| {
        let (number, protocol) = (number(&port["port"]), text(&port["protocol"]));
        match port["nodePort"].as_i64() {
            Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    let all: Vec<String> = ports.iter().map(shown).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

pub(super) fn endpoint_slice(object: &Value, now: Clock) -> Vec<Value> {
    let ports = items(&object["ports"]).iter().map(|port| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => port["name"].as_str().unwrap_or("*").to_owned(),
    });
    let endpoints = items(&object["endpoints"]).iter();
    let addresses = endpoints.flat_map(|e| items(&e["addresses"])).map(|a| text(a).to_owned());
    vec![
        name(object),
        text(&object["addressType"]).into(),
        first_few(ports).into(),
        first_few(addresses).into(),
        age(object, now),
    ]
}

fn first_few(texts: impl Iterator<Item = String>) -> String {
    let mut shown = Vec::with_capacity(MAX_SHOWN);
    let mut more = 0;
    for text in texts {
        if shown.len() < MAX_SHOWN { shown.push(text) } else { more += 1 }
    }
    match (shown.join(","), more) {
        (text, 0) if text.is_empty() => "<unset>".to_owned(),
        (text, 0) => text,
        (text, more) => format!("{text} + {more} more..."),
    }
}
