//! OpenAPI v3 documents, one a group and version, written from the schema's facts.
//!
//! kubectl reads them before it writes (which kinds take `fieldValidation`, which lists have merge keys) and to explain
//! fields to users.

mod paths;
mod roots;
mod schemas;
pub mod v2;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

pub use crate::discovery::Document;
use crate::discovery::{document as indexed, hash};
use crate::resource::{Resource, ResourceRef};

/// The version of Kubernetes whose types are served.
const VERSION: &str = "v1.36.0";

/// Tells the schema of a custom resource's kind, as `components.schemas` has it.
pub type Schemas<'a> = &'a dyn for<'r> Fn(&'r Resource) -> Option<&'r Value>;

/// `/openapi/v3`: which documents there are and under which URLs with hashes. Cheap: builds no document.
pub fn index(resources: &[ResourceRef], custom: Schemas<'_>) -> Document {
    let mut paths = Map::new();
    let roots = roots::names(resources.iter().map(AsRef::as_ref));
    for path in roots.into_iter().chain(resources.iter().map(|resource| path_of(resource))) {
        if !paths.contains_key(&path) {
            let url = format!("/openapi/v3/{path}?hash={}", hash_of(resources, custom, &path));
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    paths.sort_keys();
    indexed(&json!({"paths": paths}))
}

/// `/openapi/v3/PATH`, where `path` is `api/v1`, `apis/GROUP/VERSION`, or what tells of groups and of the server. The hash is the one in the index. Takes some
/// milliseconds: to be kept by hash.
pub fn document(resources: &[ResourceRef], custom: Schemas<'_>, path: &str) -> Option<Document> {
    let served: Vec<&Resource> = resources.iter().map(AsRef::as_ref).filter(|r| path_of(r) == path).collect();
    let (mut paths, ty) = match served.first() {
        Some(resource) => roots::resources(resource),
        None => {
            let group = resources.iter().find(|resource| path.strip_prefix("apis/") == Some(&*resource.group));
            roots::path(path, group.map(AsRef::as_ref))?
        }
    };
    paths.extend(paths::paths(&served));
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas::schemas(&served, ty.as_deref(), custom)},
    });
    Some(Document { body: document.to_string().into_bytes(), hash: hash_of(resources, custom, path) })
}

fn path_of(resource: &Resource) -> String {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", resource.api_version())
}

/// Of what a document is made from, which is less work than to make it.
fn hash_of(resources: &[ResourceRef], custom: Schemas<'_>, path: &str) -> String {
    static TABLES: LazyLock<String> = LazyLock::new(|| {
        hash(&[include_bytes!("schema/facts.txt"), schemas::DESCRIPTIONS.as_bytes(), schemas::VALUES.as_bytes()])
    });
    let served: Vec<&ResourceRef> = resources.iter().filter(|r| path_of(r) == path).collect();
    let own: Vec<String> = served.iter().filter_map(|r| custom(r)).map(Value::to_string).collect();
    let described = format!("{VERSION} {} {served:?} {own:?}", env!("CARGO_PKG_VERSION"));
    hash(&[TABLES.as_bytes(), path.as_bytes(), described.as_bytes()])
}

/// The name of a custom resource's schema: `com.example.stable.v1.CronTab`.
fn custom_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::builtin;

    fn none(_resource: &Resource) -> Option<&Value> {
        None
    }

    fn parsed(path: &str) -> Value {
        let document = document(builtin(), &none, path).expect("it is served");
        serde_json::from_slice(&document.body).expect("documents are JSON")
    }

    #[test]
    fn the_index_has_every_document_with_its_hash() {
        let index: Value = serde_json::from_slice(&index(builtin(), &none).body).expect("documents are JSON");
        let paths = index["paths"].as_object().expect("paths");
        assert!(paths.contains_key("api/v1") && paths.contains_key("apis/apps/v1"));
        for (path, entry) in paths {
            let document = document(builtin(), &none, path).expect("the index lists it");
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            assert_eq!(entry["serverRelativeURL"], url);
        }
        assert_eq!(super::document(builtin(), &none, "apis/nope/v1"), None);
    }

    #[test]
    fn what_a_delete_answers_is_described() {
        let check = |document: &str, path: &str, expected: Value| {
            let delete = &parsed(document)["paths"][path]["delete"];
            assert_eq!(delete["responses"]["200"]["content"]["application/json"]["schema"], expected, "{path}");
        };
        let schema = |name: &str| json!({"$ref": format!("#/components/schemas/io.k8s.{name}")});
        let status = schema("apimachinery.pkg.apis.meta.v1.Status");
        check("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}", schema("api.core.v1.Pod"));
        let namespace = json!({"anyOf": [status, schema("api.core.v1.Namespace")]});
        check("api/v1", "/api/v1/namespaces/{name}", namespace);
        check("api/v1", "/api/v1/namespaces/{namespace}/pods", status);
    }

    #[test]
    fn patches_take_field_validation() {
        let path = &parsed("apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        let kind = json!({"group": "apps", "kind": "Deployment", "version": "v1"});
        assert_eq!(path["x-kubernetes-group-version-kind"], kind);
        let parameters = path["parameters"].as_array().expect("parameters");
        assert!(parameters.iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"));
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let custom = crontabs();
        let of_custom = super::document(std::slice::from_ref(&custom), &schema_of, &path_of(&custom));
        let of_custom = serde_json::from_slice(&of_custom.expect("it is served").body).expect("documents are JSON");
        let served: std::collections::BTreeSet<String> = builtin().iter().map(|resource| path_of(resource)).collect();
        let documents = served.iter().map(|path| parsed(path)).chain([of_custom]);
        let mut ids = std::collections::BTreeMap::new();
        for document in documents {
            for (path, item) in document["paths"].as_object().expect("paths") {
                for (method, operation) in
                    item.as_object().expect("operations").iter().filter(|(key, _)| *key != "parameters")
                {
                    let id = operation["operationId"].as_str().expect("an id").to_owned();
                    let before = ids.insert(id, (format!("{method} {path}"), operation["tags"][0].clone()));
                    assert_eq!(before, None, "{method} {path}");
                }
            }
        }
        for (id, operation, tag) in [
            ("listCoreV1NamespacedPod", "get /api/v1/namespaces/{namespace}/pods", "core_v1"),
            ("listCoreV1PodForAllNamespaces", "get /api/v1/pods", "core_v1"),
            ("deleteCoreV1CollectionNamespacedPod", "delete /api/v1/namespaces/{namespace}/pods", "core_v1"),
            ("readCoreV1NamespacedPodLog", "get /api/v1/namespaces/{namespace}/pods/{name}/log", "core_v1"),
            ("connectCoreV1GetNamespacedPodExec", "get /api/v1/namespaces/{namespace}/pods/{name}/exec", "core_v1"),
            ("connectCoreV1PostNodeProxy", "post /api/v1/nodes/{name}/proxy", "core_v1"),
            ("readCoreV1Node", "get /api/v1/nodes/{name}", "core_v1"),
            (
                "patchAppsV1NamespacedDeploymentScale",
                "patch /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
                "apps_v1",
            ),
            (
                "createRbacAuthorizationV1ClusterRole",
                "post /apis/rbac.authorization.k8s.io/v1/clusterroles",
                "rbacAuthorization_v1",
            ),
            (
                "replaceStableExampleComV1NamespacedCronTab",
                "put /apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}",
                "stableExampleCom_v1",
            ),
        ] {
            assert_eq!(ids.get(id), Some(&(operation.to_owned(), json!(tag))), "{id}");
        }
    }

    #[test]
    fn lists_have_their_merge_keys() {
        let document = parsed("api/v1");
        let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        let item = &containers["items"];
        assert_eq!(item["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
        let volumes = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
        assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    }

    /// A resource as of a definition, whose schema has metadata.
    fn crontabs() -> ResourceRef {
        let deployments = crate::resource::find("apps", "v1", "deployments").expect("a built-in resource");
        let schema = json!({"type": "object", "properties": {
            "metadata": {"allOf": [reference("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")]},
        }});
        std::sync::Arc::new(Resource {
            group: "stable.example.com".into(),
            plural: "crontabs".into(),
            singular: "crontab".into(),
            kind: "CronTab".into(),
            subresources: deployments.subresources.iter().filter(|sub| sub.name == "scale").cloned().collect(),
            custom: Some(crate::resource::Custom::new(std::sync::Arc::new(schema))),
            ..(*deployments).clone()
        })
    }

    fn schema_of(resource: &Resource) -> Option<&Value> {
        resource.custom.as_ref()?.get()
    }

    #[test]
    fn a_custom_resource_is_told_with_its_own_schema() {
        let resources = [crontabs()];
        let document = document(&resources, &schema_of, "apis/stable.example.com/v1").expect("it is served");
        let value: Value = serde_json::from_slice(&document.body).expect("documents are JSON");
        let patch = &value["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"];
        assert_eq!(patch["operationId"], "patchStableExampleComV1NamespacedCronTab");
        assert_eq!(
            patch["responses"]["200"]["content"]["application/json"]["schema"],
            reference("com.example.stable.v1.CronTab")
        );
        assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
        let schemas = &value["components"]["schemas"];
        let list = &schemas["com.example.stable.v1.CronTabList"];
        assert_eq!(list["properties"]["items"]["items"], reference("com.example.stable.v1.CronTab"));
        let mut other = (*resources[0]).clone();
        other.custom = Some(crate::resource::Custom::new(std::sync::Arc::new(json!({"type": "object"}))));
        let changed = super::document(&[std::sync::Arc::new(other)], &schema_of, "apis/stable.example.com/v1");
        assert_ne!(changed.expect("it is served").hash, document.hash);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let custom = crontabs();
        let of_custom = super::document(std::slice::from_ref(&custom), &schema_of, &path_of(&custom));
        let of_custom = serde_json::from_slice(&of_custom.expect("it is served").body).expect("documents are JSON");
        let documents = builtin().iter().map(|resource| parsed(&path_of(resource))).chain([of_custom]);
        for document in documents {
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            let mut pending = vec![&document];
            while let Some(value) = pending.pop() {
                match value {
                    Value::Object(map) => {
                        if let Some(Value::String(target)) = map.get("$ref") {
                            let name = target.trim_start_matches("#/components/schemas/");
                            assert!(schemas.contains_key(name), "{name}");
                        }
                        pending.extend(map.values());
                    }
                    Value::Array(list) => pending.extend(list),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn what_is_no_object_is_asked_for_in_the_query_and_comes_as_text() {
        let core = parsed("api/v1");
        let pod = "/api/v1/namespaces/{namespace}/pods/{name}";
        let log = &core["paths"][format!("{pod}/log")]["get"];
        let names: Vec<&str> =
            log["parameters"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
        assert!(names.contains(&"tailLines") && names.contains(&"insecureSkipTLSVerifyBackend"), "{names:?}");
        let text = &log["responses"]["200"]["content"]["text/plain"]["schema"]["type"];
        assert_eq!((text, &log["x-kubernetes-action"]), (&json!("string"), &json!("get")));
        let exec = &core["paths"][format!("{pod}/exec")]["post"];
        assert_eq!(exec["x-kubernetes-action"], "connect");
        assert_eq!(exec["x-kubernetes-group-version-kind"]["kind"], "PodExecOptions");
        assert!(exec["responses"]["200"]["content"]["*/*"].is_object(), "{exec}");
    }

    #[test]
    fn texts_of_few_values_have_them() {
        let core = parsed("api/v1");
        let values = |ty: &str, field: &str| {
            core["components"]["schemas"][format!("io.k8s.api.core.v1.{ty}")]["properties"][field].clone()
        };
        assert_eq!(values("PodSpec", "restartPolicy")["enum"], json!(["Always", "Never", "OnFailure"]));
        assert_eq!(values("ServiceSpec", "ipFamilies")["items"]["enum"], json!(["", "IPv4", "IPv6"]));
        assert_eq!(values("ServicePort", "protocol")["default"], "TCP");
        // Each line names a field that there is, and its default is among the values.
        for line in schemas::VALUES.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let (ty, name) = words.next().and_then(|path| path.rsplit_once('.')).expect("a type and a field");
            let message = crate::schema::message(&format!("io.k8s.api.{ty}")).expect(line);
            let field = message.fields.iter().find(|field| field.name == name).expect(line);
            let default = field.default.map(|text| text.trim_matches('"'));
            assert!(default.is_none_or(|default| words.any(|word| word == default)), "{line}");
        }
    }

    #[test]
    fn kinds_and_fields_are_described() {
        let document = parsed("api/v1");
        let pod = &document["components"]["schemas"]["io.k8s.api.core.v1.Pod"];
        let kind = json!([{"group": "", "kind": "Pod", "version": "v1"}]);
        assert_eq!(pod["x-kubernetes-group-version-kind"], kind);
        assert!(pod["description"].as_str().is_some_and(|text| text.starts_with("Pod is a collection of containers")));
        let volume = &document["components"]["schemas"]["io.k8s.api.core.v1.Volume"]["properties"];
        assert!(volume["emptyDir"]["description"].as_str().is_some_and(|text| !text.is_empty()));
    }
}
