//! What a body may say, by who sends it: nodes write in their own name, and ask for certificates in no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pal_registry::Admission;
use pal_resources::Status;
use serde_json::Value;

use super::{At, Call};
use crate::ClusterCa;
use crate::auth::{MASTERS, rbac};
use crate::pki::NODE_CLIENT_SIGNER;

/// What is asked of an object when it is clear how it will be stored.
pub(super) fn admission(call: &Call<'_>, at: &At) -> Option<Admission> {
    if &*at.resource.group != rbac::GROUP {
        return None;
    }
    let (policy, user, resource) = (call.api.rbac.policy(), call.user.clone(), at.resource.clone());
    Some(Admission::new(move |old, new| rbac::no_escalation(&policy, &user, &resource, old, new)))
}

/// Checks an object that is to be created.
pub(super) fn create(call: &Call<'_>, at: &At, object: &Value) -> Result<(), Status> {
    if call.user.is_in(MASTERS) {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match (&*at.resource.group, &*at.resource.plural) {
        ("certificates.k8s.io", "certificatesigningrequests") => certificate(call, at, name, object),
        ("", "nodes") | ("coordination.k8s.io", "leases") => match call.user.node() {
            Some(node) if name != node => {
                let why = format!("node {node:?} is not allowed to create {} {name:?}", at.resource.singular);
                Err(Status::forbidden(&at.resource, name, &why))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn certificate(call: &Call<'_>, at: &At, name: &str, object: &Value) -> Result<(), Status> {
    let refuse = |why: &str| Err(Status::forbidden(&at.resource, name, why));
    let spec = &object["spec"];
    let request = spec["request"].as_str().and_then(|text| STANDARD.decode(text).ok());
    // What is no request at all is told by the kind's own validation.
    let Some(request) = request else { return Ok(()) };
    let subject = match ClusterCa::subject(&request) {
        Ok(subject) => subject,
        Err(error) => return Err(Status::bad_request(format!("spec.request: {error}"))),
    };
    if let Some(node) = call.user.node() {
        let own = subject.common_name == call.user.name;
        return if own {
            Ok(())
        } else {
            refuse(&format!("node {node:?} may only ask for certificates of its own name"))
        };
    }
    if !call.user.is_in("system:bootstrappers:node") {
        return refuse(
            "this token lets a server join, not a node: `pal token create --role node` makes one for a node",
        );
    }
    let Some(node) = subject.common_name.strip_prefix("system:node:") else {
        return refuse("a bootstrap token lets a machine ask for the certificate of a node, system:node:NAME");
    };
    if spec["signerName"] != NODE_CLIENT_SIGNER {
        return refuse(&format!("a bootstrap token lets a machine ask {NODE_CLIENT_SIGNER} alone"));
    }
    if call.api.tunnels.connected(node) {
        return refuse(&format!("a node named {node:?} is connected; take another name, or stop that node first"));
    }
    Ok(())
}
