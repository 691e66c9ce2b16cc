//! OpenAPI v3 documents, one a group and version, written from the schema's facts.

pub use crate::discovery::Document;
use crate::resource::ResourceRef;

/// `/openapi/v3`: which documents there are and under which URLs with hashes. Cheap: builds no document.
pub fn index(resources: &[ResourceRef]) -> Document {
    let _ = resources;
    crate::discovery::document(&serde_json::json!({}))
}

/// `/openapi/v3/PATH`, where `path` is `api/v1` or `apis/GROUP/VERSION`. The hash is the one in the index.
pub fn document(resources: &[ResourceRef], path: &str) -> Option<Document> {
    let _ = (resources, path);
    None
}
