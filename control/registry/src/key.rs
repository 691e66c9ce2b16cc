//! Where objects lie in the store.

use pal_resources::Resource;
use pal_store::Key;

/// What all objects of the resource, in that namespace or in all, have in common.
pub(crate) fn prefix(resource: &Resource, namespace: Option<&str>) -> String {
    let mut text = String::with_capacity(48);
    text.push_str(&resource.plural);
    if !resource.group.is_empty() {
        text.push('.');
        text.push_str(&resource.group);
    }
    text.push('/');
    if let Some(namespace) = namespace {
        text.push_str(namespace);
        text.push('/');
    }
    text
}

/// The key of an object.
pub(crate) fn of(resource: &Resource, namespace: Option<&str>, name: &str) -> Key {
    let mut text = prefix(resource, namespace);
    text.push_str(name);
    Key::from(text)
}

/// The key of a namespace.
pub(crate) fn namespace(name: &str) -> Key {
    Key::from(format!("namespaces/{name}"))
}

/// The key of a Service address that is taken.
pub(crate) fn cluster_ip(address: std::net::Ipv4Addr) -> Key {
    Key::from(format!("clusterips/{address}"))
}

/// The key that changes with the quotas of a namespace.
pub(crate) fn quota_specs(namespace: &str) -> Key {
    Key::from(format!("quotaspecs/{namespace}"))
}

/// The key of what of a namespace's quotas is used.
pub(crate) fn quota_used(namespace: &str) -> Key {
    Key::from(format!("quotaused/{namespace}"))
}

/// The key of a node port that is taken.
pub(crate) fn node_port(port: u16) -> Key {
    Key::from(format!("nodeports/{port}"))
}
