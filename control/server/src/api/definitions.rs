//! Custom resource definitions: there are none, and clients that look for one by its list are told so. kubectl does,
//! before it says that a kind is unknown. They are not in discovery, because none can be made.

use http::{Response, StatusCode};
use pal_resources::Status;
use serde_json::json;

use super::route::ResourcePath;
use super::{Call, reply};
use crate::Body;

/// Whether the request is for the list of all definitions.
pub(super) fn listed(path: &ResourcePath, verb: &str) -> bool {
    let group = (path.group.as_str(), path.version.as_str()) == ("apiextensions.k8s.io", "v1");
    group && verb == "list" && path.plural == "customresourcedefinitions" && path.namespace.is_none()
}

/// The empty list.
pub(super) fn list(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let version = call.registry().store().applied().revision().0.to_string();
    let list = json!({
        "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"resourceVersion": version}, "items": [],
    });
    reply::value(StatusCode::OK, &list, call.accepted)
}
