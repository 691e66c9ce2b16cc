//! What the server says it serves: aggregated discovery (`apidiscovery.k8s.io/v2`) and the older lists.

use crate::resource::ResourceRef;

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
    let _ = resources;
    document(&serde_json::json!({}))
}

/// `/apis` as `APIGroupDiscoveryList`.
pub fn aggregated_groups(resources: &[ResourceRef]) -> Document {
    let _ = resources;
    document(&serde_json::json!({}))
}

/// `/api` as `APIVersions`; `address` is where clients reach the server.
pub fn api_versions(address: &str) -> Document {
    let _ = address;
    document(&serde_json::json!({}))
}

/// `/apis` as `APIGroupList`.
pub fn group_list(resources: &[ResourceRef]) -> Document {
    let _ = resources;
    document(&serde_json::json!({}))
}

/// `/apis/GROUP` as `APIGroup`.
pub fn group(resources: &[ResourceRef], group: &str) -> Option<Document> {
    let _ = (resources, group);
    None
}

/// `/api/v1` or `/apis/GROUP/VERSION` as `APIResourceList`; the core group's name is empty.
pub fn resource_list(resources: &[ResourceRef], group: &str, version: &str) -> Option<Document> {
    let _ = (resources, group, version);
    None
}

pub(crate) fn document(value: &serde_json::Value) -> Document {
    Document { body: value.to_string().into_bytes(), hash: String::new() }
}
