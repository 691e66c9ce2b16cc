//! What the server says it serves: aggregated discovery (`apidiscovery.k8s.io/v2`) and the older lists.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::resource::{Resource, ResourceRef, Subresource};

/// A document that clients cache: its bytes, and a hash that changes when they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// Hexadecimal; stable over restarts.
    pub hash: String,
}

/// The content type of aggregated discovery.
pub const AGGREGATED_MEDIA_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `/api` as `APIGroupDiscoveryList`.
pub fn aggregated_core(resources: &[ResourceRef]) -> Document {
    aggregated(&groups(resources).into_iter().filter(|group| group.name.is_empty()).collect::<Vec<_>>())
}

/// `/apis` as `APIGroupDiscoveryList`.
pub fn aggregated_groups(resources: &[ResourceRef]) -> Document {
    aggregated(&groups(resources).into_iter().filter(|group| !group.name.is_empty()).collect::<Vec<_>>())
}

/// `/api` as `APIVersions`; `address` is where clients reach the server.
pub fn api_versions(address: &str) -> Document {
    document(&json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }))
}

/// `/apis` as `APIGroupList`.
pub fn group_list(resources: &[ResourceRef]) -> Document {
    let groups: Vec<Value> = groups(resources)
        .iter()
        .filter(|group| !group.name.is_empty())
        .map(|group| Value::Object(group.describe()))
        .collect();
    document(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// `/apis/GROUP` as `APIGroup`.
pub fn group(resources: &[ResourceRef], group: &str) -> Option<Document> {
    let found = groups(resources).into_iter().find(|g| !g.name.is_empty() && g.name == group)?;
    let mut value = Map::new();
    value.insert("kind".to_owned(), "APIGroup".into());
    value.insert("apiVersion".to_owned(), "v1".into());
    value.extend(found.describe());
    Some(document(&Value::Object(value)))
}

/// `/api/v1` or `/apis/GROUP/VERSION` as `APIResourceList`; the core group's name is empty.
pub fn resource_list(resources: &[ResourceRef], group: &str, version: &str) -> Option<Document> {
    let mut list = Vec::new();
    for resource in resources.iter().filter(|r| r.group == group && r.version == version) {
        list.push(resource_entry(resource));
        list.extend(resource.subresources.iter().map(|sub| subresource_entry(resource, sub)));
    }
    let api_version = resources.iter().find(|r| r.group == group && r.version == version)?.api_version();
    let mut value = json!({"kind": "APIResourceList"});
    // Of the core group it has none, as it had none in Kubernetes 1.1.
    if !group.is_empty() {
        value["apiVersion"] = "v1".into();
    }
    (value["groupVersion"], value["resources"]) = (api_version.into(), list.into());
    Some(document(&value))
}

/// The place of a version among others, the most stable first: `v2`, `v1`, `v1beta1`, `v1alpha2`, and then what has no such
/// name.
pub fn version_rank(version: &str) -> impl Ord + use<> {
    let rank = |stage: u8, major: u64, minor: u64| (stage, Reverse(major), Reverse(minor));
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some(rank(0, major, 0)),
            stage => {
                let (stage, minor) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
                    (Some(minor), _) => (1, minor),
                    (None, Some(minor)) => (2, minor),
                    (None, None) => return None,
                };
                Some(rank(stage, major, minor.parse().ok()?))
            }
        }
    };
    parse().unwrap_or_else(|| rank(3, 0, 0))
}

pub(crate) fn document(value: &Value) -> Document {
    let body = value.to_string().into_bytes();
    let hash = hash(&[&body]);
    Document { body, hash }
}

/// SHA-256 over the parts, in the upper case that the real server has.
pub(crate) fn hash(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A group with its versions, in the order in which the resources tell them: the first version is preferred.
struct Group<'a> {
    name: &'a str,
    versions: Vec<(&'a str, Vec<&'a Resource>)>,
}

fn groups(resources: &[ResourceRef]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for resource in resources {
        let at = groups.iter().position(|g| g.name == resource.group).unwrap_or_else(|| {
            groups.push(Group { name: &resource.group, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match versions.iter_mut().find(|(version, _)| *version == resource.version) {
            Some((_, list)) => list.push(resource),
            None => versions.push((&resource.version, vec![resource])),
        }
    }
    groups
}

impl Group<'_> {
    /// The fields of an `APIGroup`.
    fn describe(&self) -> Map<String, Value> {
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|(version, _)| json!({"groupVersion": format!("{}/{version}", self.name), "version": version}))
            .collect();
        let preferred = versions.first().cloned().unwrap_or_default();
        let mut group = Map::new();
        group.insert("name".to_owned(), self.name.into());
        group.insert("versions".to_owned(), versions.into());
        group.insert("preferredVersion".to_owned(), preferred);
        group
    }
}

fn aggregated(groups: &[Group<'_>]) -> Document {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources.iter().map(|r| aggregated_resource(r)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": {"name": group.name}, "versions": versions})
        })
        .collect();
    document(&json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }))
}

fn aggregated_resource(resource: &Resource) -> Value {
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            // An empty group and version stand for those of the list.
            let own = sub.group == resource.group && sub.version == resource.version;
            let (group, version) = if own { ("", "") } else { (&*sub.group, &*sub.version) };
            json!({
                "subresource": sub.name,
                "responseKind": {"group": group, "version": version, "kind": sub.kind},
                "verbs": sub.verbs,
            })
        })
        .collect();
    let mut value = Map::new();
    value.insert("resource".to_owned(), resource.plural.as_ref().into());
    value.insert("responseKind".to_owned(), json!({"group": "", "version": "", "kind": resource.kind}));
    value.insert("scope".to_owned(), if resource.namespaced { "Namespaced" } else { "Cluster" }.into());
    value.insert("singularResource".to_owned(), resource.singular.as_ref().into());
    value.insert("verbs".to_owned(), json!(resource.verbs));
    add_names(&mut value, resource);
    if !subresources.is_empty() {
        value.insert("subresources".to_owned(), subresources.into());
    }
    Value::Object(value)
}

fn add_names(value: &mut Map<String, Value>, resource: &Resource) {
    if !resource.short_names.is_empty() {
        value.insert("shortNames".to_owned(), json!(resource.short_names));
    }
    if !resource.categories.is_empty() {
        value.insert("categories".to_owned(), json!(resource.categories));
    }
}

fn resource_entry(resource: &Resource) -> Value {
    let mut value = Map::new();
    value.insert("name".to_owned(), resource.plural.as_ref().into());
    value.insert("singularName".to_owned(), resource.singular.as_ref().into());
    value.insert("namespaced".to_owned(), resource.namespaced.into());
    value.insert("kind".to_owned(), resource.kind.as_ref().into());
    value.insert("verbs".to_owned(), json!(resource.verbs));
    add_names(&mut value, resource);
    // What is not stored has no version in which it is.
    if resource.verbs.contains(&"watch") {
        value.insert("storageVersionHash".to_owned(), storage_version_hash(resource).into());
    }
    Value::Object(value)
}

/// Names the version in which objects are stored, as kube-apiserver makes it up: of its group, version and kind.
fn storage_version_hash(resource: &Resource) -> String {
    let named = format!("{}/{}/{}", resource.group, resource.version, resource.kind);
    STANDARD.encode(&Sha256::digest(named)[..8])
}

fn subresource_entry(resource: &Resource, sub: &Subresource) -> Value {
    let mut value = Map::new();
    value.insert("name".to_owned(), format!("{}/{}", resource.plural, sub.name).into());
    value.insert("singularName".to_owned(), "".into());
    value.insert("namespaced".to_owned(), resource.namespaced.into());
    if sub.group != resource.group || sub.version != resource.version {
        value.insert("group".to_owned(), sub.group.as_ref().into());
        value.insert("version".to_owned(), sub.version.as_ref().into());
    }
    value.insert("kind".to_owned(), sub.kind.as_ref().into());
    value.insert("verbs".to_owned(), json!(sub.verbs));
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::builtin;

    fn parsed(document: &Document) -> Value {
        serde_json::from_slice(&document.body).expect("documents are JSON")
    }

    #[test]
    fn aggregated_discovery_has_core_apart_and_groups_in_order() {
        let core = parsed(&aggregated_core(builtin()));
        assert_eq!(core["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(core["items"][0]["metadata"]["name"], "");
        let groups = parsed(&aggregated_groups(builtin()));
        let names: Vec<&str> =
            groups["items"].as_array().into_iter().flatten().filter_map(|g| g["metadata"]["name"].as_str()).collect();
        assert_eq!(names[..2], ["apiregistration.k8s.io", "apps"]);
        assert!(names.contains(&"rbac.authorization.k8s.io"));
        let resources = groups["items"][1]["versions"][0]["resources"].as_array();
        let deployments = resources.and_then(|all| all.iter().find(|one| one["resource"] == "deployments")).cloned();
        assert_eq!(
            deployments.unwrap_or_default(),
            json!({
                "resource": "deployments",
                "responseKind": {"group": "", "version": "", "kind": "Deployment"},
                "scope": "Namespaced",
                "singularResource": "deployment",
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
                "shortNames": ["deploy"],
                "categories": ["all"],
                "subresources": [
                    {"subresource": "scale", "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}, "verbs": ["get", "patch", "update"]},
                    {"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "Deployment"}, "verbs": ["get", "patch", "update"]},
                ],
            })
        );
    }

    #[test]
    fn older_lists_tell_the_same() {
        let list = parsed(&resource_list(builtin(), "", "v1").expect("core is served"));
        let eviction = list["resources"].as_array().and_then(|l| l.iter().find(|r| r["name"] == "pods/eviction"));
        let expected = json!({"name": "pods/eviction", "singularName": "", "namespaced": true,
            "group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]});
        assert_eq!(eviction, Some(&expected));
        let hash = |name: &str| {
            let found = list["resources"].as_array().and_then(|l| l.iter().find(|r| r["name"] == name));
            found.map(|resource| resource["storageVersionHash"].clone())
        };
        assert_eq!(hash("configmaps"), Some(json!("qFsyl6wFWjQ=")));
        assert_eq!(hash("componentstatuses"), Some(Value::Null));
        assert_eq!((&list["groupVersion"], list.get("apiVersion")), (&json!("v1"), None));
        assert_eq!(parsed(&resource_list(builtin(), "apps", "v1").expect("apps is served"))["apiVersion"], "v1");
        assert_eq!(resource_list(builtin(), "nope", "v1"), None);
        let apps = parsed(&group(builtin(), "apps").expect("apps is served"));
        assert_eq!(apps["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
        assert_eq!(group(builtin(), ""), None);
        assert_eq!(parsed(&group_list(builtin()))["groups"][1]["name"], "apps");
    }

    #[test]
    fn stable_versions_come_first() {
        let mut versions = ["foo10", "v1alpha1", "v10", "v1beta1", "v2", "v1", "v11alpha2", "v2beta1", "v", "v1beta"];
        versions.sort_by_key(|version| (version_rank(version), *version));
        let expected = ["v10", "v2", "v1", "v2beta1", "v1beta1", "v11alpha2", "v1alpha1", "foo10", "v", "v1beta"];
        assert_eq!(versions, expected);
    }

    #[test]
    fn the_hash_follows_the_content() {
        let all = aggregated_groups(builtin());
        assert_eq!(all, aggregated_groups(builtin()));
        assert_ne!(all.hash, aggregated_groups(&builtin()[..10]).hash);
        assert_eq!(all.hash.len(), 64);
    }
}
