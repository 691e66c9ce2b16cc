//! `/cluster/…`: the servers of the cluster, and its backup. These paths are our own; Kubernetes has none for this.

mod admission;
mod members;
mod snapshot;

use http::{Method, Response};
use pal_registry::store_failure;
use pal_resources::{Reason, Status};
use pal_store::{Store, StoreError};
use serde_json::{Value, json};

use super::{Call, Unread, method_not_allowed, nodes, taken};
use crate::auth::User;
use crate::{Body, pki};

/// Where the servers are listed and added; one of them lies below it by its name.
pub(crate) const SERVERS: &str = "/cluster/servers";

/// Whether the path is one of these.
pub(super) fn answers(path: &str) -> bool {
    path.strip_prefix("/cluster").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request that was authenticated and allowed.
pub(super) async fn answer(call: &Call<'_>, path: &str, body: &mut Unread) -> Result<Response<Body>, Status> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    let method = &call.parts.method;
    match segments.as_slice() {
        ["servers"] if method == Method::GET => members::list(call),
        ["servers"] if method == Method::POST => admission::admit(call, body).await,
        ["servers", name] if method == Method::DELETE => members::remove(call, name).await,
        ["servers", name, "lead"] if method == Method::POST => members::lead(call, name).await,
        ["nodes", node, ..] => nodes::relay(call, node, taken(body)?).await,
        ["snapshot"] if method == Method::GET => snapshot::save(call).await,
        ["servers"] | ["servers", _] | ["servers", _, "lead"] | ["snapshot"] => Err(method_not_allowed()),
        _ => Err(Status::unknown_path()),
    }
}

/// Refuses a server that is no member any more: its certificate outlasts it.
pub(super) fn still_a_member(store: &Store, user: &User) -> Result<(), Status> {
    let Some(id) = pki::server_of(&user.name, &user.groups) else { return Ok(()) };
    if store.membership().members.iter().any(|status| status.member.id == id) {
        return Ok(());
    }
    let message = format!("Unauthorized: server {id} is no member of this cluster");
    Err(Status::new(401, Reason::Unauthorized, message))
}

/// The cluster for those who look for it: its id, its root, and where its servers are.
pub(super) fn info(call: &Call<'_>) -> Value {
    let store = call.api.store();
    let membership = store.membership();
    let servers: Vec<Value> = membership
        .members
        .iter()
        .filter(|status| !status.member.address.is_empty())
        .map(|status| json!({"name": status.member.name, "url": format!("https://{}", status.member.address)}))
        .collect();
    json!({
        "kind": "ClusterInfo", "apiVersion": "palinurus.dev/v1",
        "cluster": store.identity().cluster,
        "certificateAuthority": call.api.ca.root_pem(),
        "servers": servers,
    })
}

/// What is told of a change of the members that the store refused.
fn refused(error: &StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::MemberExists { .. } => Status::new(409, Reason::AlreadyExists, message),
        StoreError::TooManyMembers { .. } | StoreError::LastVoter(_) | StoreError::CannotLead { .. } => {
            Status::new(409, Reason::Conflict, message)
        }
        StoreError::NotMember(_) => Status::new(404, Reason::NotFound, message),
        other => store_failure(other),
    }
}
