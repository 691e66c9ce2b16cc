//! `serviceaccounts/NAME/token`: tokens that pods and people act with.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use jiff::Timestamp;
use pal_registry::{Object, Read};
use pal_resources::codec;
use pal_resources::status::{Reason, StatusDetails};
use pal_resources::{FieldError, FieldPath, Status, resource};
use serde_json::{Value, json};

use super::kinds::unserved;
use super::subresources::place;
use super::{At, Call, Unread, reply};
use crate::Body;
use crate::auth::{Bound, Claims, own_audiences};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;

/// `POST` of a `TokenRequest`.
pub(super) async fn request(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let body = call.body(body).await?;
    let media = call.media()?;
    let mut value = codec::decode_as(media, &body, Some((GROUP, "v1", KIND)), query.validation)?.value;
    let (namespace, name) = (at.namespace().unwrap_or_default(), at.name()?);
    settle_place(&value["metadata"], namespace, name)?;
    let account = call.registry().get(&at.resource, Some(namespace), name, Read::Consistent).await?;
    settle_uid(&value["metadata"], name, &account.index().uid.0)?;
    place(&mut value, namespace, name);
    let options = call.write_options(at, &query);
    call.registry().admit_posted(&at.resource, at.subresource(), namespace, &mut value, &options)?;
    let seconds = seconds(&value)?;
    let mut claims = Claims {
        namespace: namespace.to_owned(),
        serviceaccount: Bound { name: name.to_owned(), uid: account.index().uid.0.clone() },
        ..Claims::default()
    };
    bind(call, at, &value["spec"]["boundObjectRef"], &mut claims).await?;
    let asked = value["spec"]["audiences"].as_array().into_iter().flatten();
    let mut audiences: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences = own_audiences();
    }
    let now = SystemTime::now();
    let life = Duration::from_secs(seconds.unsigned_abs());
    let status = if query.dry_run {
        // A token is made or it is not: what is tried only gets none.
        json!({"token": "", "expirationTimestamp": null})
    } else {
        let id = uuid::Uuid::new_v4().to_string();
        let token = call.api.key.issue(&claims, &audiences, &id, now, life).map_err(Status::internal)?;
        json!({"token": token, "expirationTimestamp": stamp(now + life)?})
    };
    let spec = json!({
        "audiences": audiences,
        "expirationSeconds": seconds,
        "boundObjectRef": value["spec"]["boundObjectRef"].take(),
    });
    let metadata = json!({"name": name, "namespace": namespace, "creationTimestamp": stamp(now)?});
    let answer = json!({
        "kind": KIND, "apiVersion": "authentication.k8s.io/v1", "metadata": metadata, "spec": spec, "status": status,
    });
    reply::value(StatusCode::CREATED, &answer, call.accepted)
}

fn stamp(time: SystemTime) -> Result<String, Status> {
    let time = Timestamp::try_from(time).map_err(Status::internal)?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn invalid(name: &str, error: FieldError) -> Status {
    Status::invalid(&unserved(GROUP, KIND), name, &[error])
}

/// A body that names the account must name that of the path.
fn settle_place(metadata: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    let check = |field: &str, wanted: &str| {
        let given = metadata[field].as_str().unwrap_or_default();
        if given.is_empty() || given == wanted {
            return Ok(());
        }
        let path = FieldPath::new("metadata").child(field);
        Err(invalid(
            name,
            FieldError::invalid(&path, given, &format!("must match the service account {field} if specified")),
        ))
    };
    check("name", name).and_then(|()| check("namespace", namespace))
}

/// A body that says which account it means does not get a token of one that came after it.
fn settle_uid(metadata: &Value, name: &str, uid: &str) -> Result<(), Status> {
    let asked = metadata["uid"].as_str().unwrap_or_default();
    if asked.is_empty() || asked == uid {
        return Ok(());
    }
    let message = format!(
        "Operation cannot be fulfilled on {KIND}.{GROUP} {name:?}: the UID in the token request ({asked}) does not match \
         the UID of the service account ({uid})"
    );
    let (name, kind) = (name.to_owned(), KIND.to_owned());
    let details = StatusDetails { name, kind, group: GROUP.to_owned(), ..StatusDetails::default() };
    Err(Status { details: Some(details), ..Status::new(409, Reason::Conflict, message) })
}

fn seconds(value: &Value) -> Result<i64, Status> {
    let asked = value["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let why = match asked {
        ..LEAST_SECONDS => "may not specify a duration less than 10 minutes",
        LEAST_SECONDS..=MOST_SECONDS => return Ok(asked),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let path = FieldPath::new("spec").child("expirationSeconds");
    Err(invalid("", FieldError::invalid(&path, asked, why)))
}

/// What a token is to be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pod,
    Secret,
    Node,
}

impl Kind {
    /// The kind that a reference names. Versions other than v1 are as good: only the group counts.
    fn of(reference: &Value) -> Result<Self, Status> {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        match (group, text("kind")) {
            ("", "Pod") => Ok(Self::Pod),
            ("", "Secret") => Ok(Self::Secret),
            ("", "Node") => Ok(Self::Node),
            (group, kind) => {
                let message = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                Err(Status::bad_request(message))
            }
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Secret => "secrets",
            Self::Node => "nodes",
        }
    }
}

/// Ties the token to a pod, a secret or a node: it ends with that.
async fn bind(call: &Call<'_>, at: &At, reference: &Value, claims: &mut Claims) -> Result<(), Status> {
    let node = call.user.node();
    if node.is_some() {
        check_node_asks(reference).map_err(|why| refused(at, &why))?;
    }
    if reference.is_null() {
        return Ok(());
    }
    let kind = Kind::of(reference)?;
    let resource = resource::find("", "v1", kind.plural()).ok_or_else(Status::unknown_path)?;
    let name = reference["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let namespace = if kind == Kind::Node { None } else { at.namespace() };
    let object = call.registry().get(&resource, namespace, name, Read::Consistent).await?;
    let uid = object.index().uid.0.clone();
    if kind == Kind::Pod {
        let pod = object.value()?;
        let runs_at = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
        if node.is_some() && runs_at != node {
            return Err(refused(at, "node requested token bound to a pod scheduled on a different node"));
        }
        if pod["spec"]["serviceAccountName"].as_str().unwrap_or("default") != claims.serviceaccount.name {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                claims.serviceaccount.name
            )));
        }
        if let Some(node) = runs_at {
            claims.node = Some(Bound { name: node.to_owned(), uid: uid_of_node(call, node).await? });
        }
    }
    if let Some(asked) = reference["uid"].as_str().filter(|asked| !asked.is_empty() && *asked != uid) {
        return Err(other_uid(reference["kind"].as_str().unwrap_or_default(), name, asked));
    }
    let bound = Some(Bound { name: name.to_owned(), uid });
    match kind {
        Kind::Pod => claims.pod = bound,
        Kind::Secret => claims.secret = bound,
        Kind::Node => claims.node = bound,
    }
    Ok(())
}

/// A node acts for its pods, each with a token that ends with it (the NodeRestriction admission plugin).
fn check_node_asks(reference: &Value) -> Result<(), String> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
        return Err("node requested token not bound to a pod".to_owned());
    }
    if text("uid").is_empty() {
        return Err("node requested token with a pod binding without a uid".to_owned());
    }
    Ok(())
}

/// The uid of a pod's node; empty when that is gone.
async fn uid_of_node(call: &Call<'_>, name: &str) -> Result<String, Status> {
    let nodes = resource::find("", "v1", "nodes").ok_or_else(Status::unknown_path)?;
    let found: Result<Object, Status> = call.registry().get(&nodes, None, name, Read::Any).await;
    match found {
        Ok(node) => Ok(node.index().uid.0.clone()),
        Err(status) if status.code == 404 => Ok(String::new()),
        Err(status) => Err(status),
    }
}

/// 409, which names the kind where others name the resource, as kube-apiserver does here.
fn other_uid(kind: &str, name: &str, asked: &str) -> Status {
    let message = format!(
        "Operation cannot be fulfilled on {kind} {name:?}: the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
    );
    let details = StatusDetails { name: name.to_owned(), kind: kind.to_owned(), ..StatusDetails::default() };
    Status { details: Some(details), ..Status::new(409, Reason::Conflict, message) }
}

fn refused(at: &At, why: &str) -> Status {
    Status::forbidden(&at.resource, at.name.as_deref().unwrap_or_default(), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_kept_within_bounds() {
        let check = |asked: Value, expected: Result<i64, &str>| {
            let found = seconds(&json!({"spec": {"expirationSeconds": asked}})).map_err(|status| status.message);
            let words = |why: &str| {
                format!(
                    "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {why}"
                )
            };
            assert_eq!(found, expected.map_err(words));
        };
        check(Value::Null, Ok(3600));
        check(600.into(), Ok(600));
        check(7200.into(), Ok(7200));
        check(5.into(), Err("5: may not specify a duration less than 10 minutes"));
        check((-1).into(), Err("-1: may not specify a duration less than 10 minutes"));
        check((1_i64 << 33).into(), Err("8589934592: may not specify a duration larger than 2^32 seconds"));
    }

    #[test]
    fn tokens_are_bound_to_pods_secrets_and_nodes() {
        let check = |api_version: &str, kind: &str, expected: Result<Kind, &str>| {
            let found = Kind::of(&json!({"apiVersion": api_version, "kind": kind})).map_err(|status| status.message);
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        check("v1", "Pod", Ok(Kind::Pod));
        check("v1", "Secret", Ok(Kind::Secret));
        check("v1", "Node", Ok(Kind::Node));
        check("", "Pod", Ok(Kind::Pod));
        check("v1", "ConfigMap", Err("cannot bind token to object of type /v1, Kind=ConfigMap"));
        check("apps/v1", "Deployment", Err("cannot bind token to object of type apps/v1, Kind=Deployment"));
    }

    #[test]
    fn a_node_asks_for_a_pod_that_it_knows() {
        let check = |reference: Value, expected: Result<(), &str>| {
            assert_eq!(check_node_asks(&reference), expected.map_err(str::to_owned), "{reference}");
        };
        let unbound = Err("node requested token not bound to a pod");
        check(Value::Null, unbound);
        check(json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "1"}), unbound);
        check(json!({"apiVersion": "v1", "kind": "Pod", "uid": "1"}), unbound);
        let no_uid = Err("node requested token with a pod binding without a uid");
        check(json!({"apiVersion": "v1", "kind": "Pod", "name": "p"}), no_uid);
        check(json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}), Ok(()));
    }

    #[test]
    fn a_body_that_names_an_account_names_that_of_the_path() {
        let check = |metadata: Value, expected: Result<(), &str>| {
            let found = settle_place(&metadata, "a", "sa").map_err(|status| status.message);
            let words = |why: &str| format!("TokenRequest.authentication.k8s.io \"sa\" is invalid: {why}");
            assert_eq!(found, expected.map_err(words));
        };
        check(Value::Null, Ok(()));
        check(json!({"name": "sa", "namespace": "a"}), Ok(()));
        let name = "metadata.name: Invalid value: \"x\": must match the service account name if specified";
        check(json!({"name": "x"}), Err(name));
        let namespace =
            "metadata.namespace: Invalid value: \"b\": must match the service account namespace if specified";
        check(json!({"namespace": "b"}), Err(namespace));
    }

    #[test]
    fn a_token_is_of_the_account_that_is_meant() {
        let check = |metadata: Value, expected: Result<(), &str>| {
            let found = settle_uid(&metadata, "sa", "u-1").map_err(|status| status.message);
            assert_eq!(found, expected.map_err(str::to_owned), "{metadata}");
        };
        check(Value::Null, Ok(()));
        check(json!({"uid": "u-1"}), Ok(()));
        check(
            json!({"uid": "u-0"}),
            Err(
                "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"sa\": the UID in the token request \
                 (u-0) does not match the UID of the service account (u-1)",
            ),
        );
    }
}
