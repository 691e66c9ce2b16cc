//! What is told beside resources: which groups, versions and resources there are, what the server is, and whose keys sign tokens.

use serde_json::{Map, Value, json};

use super::paths::Named;
use super::reference;
use crate::resource::Resource;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const VERSION_INFO: &str = "io.k8s.apimachinery.pkg.version.Info";
/// What `/version` tells.
const VERSION_FIELDS: [&str; 9] =
    ["buildDate", "compiler", "gitCommit", "gitTreeState", "gitVersion", "goVersion", "major", "minor", "platform"];
/// The documents that tell of no group: the name, the operation, its tag, and the type of the answer; none where it is text.
const ROOTS: [(&str, &str, &str, &str); 5] = [
    (".well-known/openid-configuration", "getServiceAccountIssuerOpenIDConfiguration", "WellKnown", ""),
    ("openid/v1/jwks", "getServiceAccountIssuerOpenIDKeyset", "openid", ""),
    ("api", "getCoreAPIVersions", "core", "APIVersions"),
    ("apis", "getAPIVersions", "apis", "APIGroupList"),
    ("version", "getCodeVersion", "version", VERSION_INFO),
];

/// The names of the documents that there are beside those of groups and versions.
pub(super) fn names<'a>(resources: impl Iterator<Item = &'a Resource>) -> Vec<String> {
    let groups = resources.filter(|resource| !resource.group.is_empty());
    let groups = groups.map(|resource| format!("apis/{}", resource.group));
    ROOTS.iter().map(|(name, ..)| (*name).to_owned()).chain(groups).collect()
}

/// The only path of such a document, and the type that it answers with; `group` has the document's name.
pub(super) fn path(name: &str, group: Option<&Resource>) -> Option<(Map<String, Value>, Option<String>)> {
    if let Some((_, operation, tag, ty)) = ROOTS.iter().find(|(root, ..)| *root == name) {
        return Some(told(name, operation, tag, ty));
    }
    let group = Named::group(group?);
    Some(told(name, &format!("get{}APIGroup", group.prefix), &group.tag, "APIGroup"))
}

/// The path that tells which resources a group and version has.
pub(super) fn resources(resource: &Resource) -> (Map<String, Value>, Option<String>) {
    let Named { prefix, tag } = Named::of(resource);
    told(&super::path_of(resource), &format!("get{prefix}APIResources"), &tag, "APIResourceList")
}

/// The schema of what the table of facts does not have.
pub(super) fn schema(name: &str) -> Option<Value> {
    let fields = VERSION_FIELDS.map(|field| (field.to_owned(), json!({"type": "string", "default": ""})));
    let fields: Map<String, Value> = fields.into_iter().collect();
    let told = json!({
        "description": "Info contains versioning information.",
        "type": "object", "required": VERSION_FIELDS, "properties": fields,
    });
    (name == VERSION_INFO).then_some(told)
}

fn told(name: &str, operation: &str, tag: &str, ty: &str) -> (Map<String, Value>, Option<String>) {
    let ty = match ty {
        "" => None,
        VERSION_INFO => Some(VERSION_INFO.to_owned()),
        ty => Some(format!("{META}.{ty}")),
    };
    let schema = ty.as_deref().map_or_else(|| json!({"type": "object"}), reference);
    let media: &[&str] = match ty.as_deref() {
        None if tag == "openid" => &["application/jwk-set+json"],
        None | Some(VERSION_INFO) => &["application/json"],
        Some(_) => &["application/json", "application/yaml"],
    };
    let content: Map<String, Value> =
        media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
    let get = json!({
        "tags": [tag],
        "operationId": operation,
        "responses": {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}},
    });
    (Map::from_iter([(format!("/{name}/"), json!({"get": get}))]), ty)
}
