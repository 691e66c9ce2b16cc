//! `serviceaccounts/NAME/token`: tokens that pods and people act with.

use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use pal_registry::Read;
use pal_resources::codec;
use pal_resources::{FieldError, FieldPath, Status, resource};
use serde_json::Value;

use super::kinds::unserved;
use super::{At, Call, reply};
use crate::Body;
use crate::auth::{Attributes, Bound, Claims, Target, forbidden};

const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
/// Longer lives are cut to this, as kube-apiserver does with its default limit.
const MOST_SECONDS: i64 = 365 * 24 * 3600;

/// `POST` of a `TokenRequest`.
pub(super) async fn request(call: &Call<'_>, at: &At, body: Incoming) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let media = call.media()?;
    let body = call.body(body).await?;
    let expect = Some(("authentication.k8s.io", "v1", "TokenRequest"));
    let mut value = codec::decode_as(media, &body, expect, query.validation)?.value;
    let (namespace, name) = (at.namespace().unwrap_or_default(), at.name()?);
    let account = call.registry().get(&at.resource, Some(namespace), name, Read::Consistent).await?;
    let seconds = seconds(&value)?;
    let mut claims = Claims {
        namespace: namespace.to_owned(),
        serviceaccount: Bound { name: name.to_owned(), uid: account.index().uid.0.clone() },
        ..Claims::default()
    };
    bind(call, at, &value["spec"]["boundObjectRef"], &mut claims).await?;
    let audiences: Vec<String> = value["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let now = SystemTime::now();
    let life = Duration::from_secs(seconds.unsigned_abs());
    let id = uuid::Uuid::new_v4().to_string();
    let token = call.api.key.issue(&claims, &audiences, &id, now, life).map_err(Status::internal)?;
    let expires = Timestamp::try_from(now + life).map_err(Status::internal)?;
    value["metadata"] = serde_json::json!({
        "name": name,
        "namespace": namespace,
        "creationTimestamp": stamp(Timestamp::try_from(now).map_err(Status::internal)?),
    });
    if audiences.is_empty() {
        value["spec"]["audiences"] = serde_json::json!([crate::auth::ISSUER]);
    }
    value["spec"]["expirationSeconds"] = seconds.into();
    value["status"] = serde_json::json!({"token": token, "expirationTimestamp": stamp(expires)});
    reply::value(StatusCode::CREATED, &value, call.accepted)
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn seconds(value: &Value) -> Result<i64, Status> {
    let asked = value["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    if asked >= LEAST_SECONDS {
        return Ok(asked.min(MOST_SECONDS));
    }
    let path = FieldPath::new("spec").child("expirationSeconds");
    let error = FieldError::invalid(&path, asked, "may not specify a duration less than 10 minutes");
    Err(Status::invalid(&unserved("authentication.k8s.io", "TokenRequest"), "", &[error]))
}

/// Ties the token to a pod or a secret: it ends with that.
async fn bind(call: &Call<'_>, at: &At, reference: &Value, claims: &mut Claims) -> Result<(), Status> {
    let node = call.user.node();
    let Some(kind) = reference["kind"].as_str() else {
        return match node {
            // A node acts for its pods, each with a token that ends with it.
            Some(_) => Err(refused(call, at, "node requested token not bound to a pod")),
            None => Ok(()),
        };
    };
    let plural = match kind {
        "Pod" => "pods",
        "Secret" if node.is_none() => "secrets",
        other => {
            let message = format!("cannot bind token for serviceaccount {:?} to object of kind {other:?}", at.name()?);
            return Err(Status::bad_request(message));
        }
    };
    let resource = resource::find("", "v1", plural).ok_or_else(Status::unknown_path)?;
    let name = reference["name"].as_str().unwrap_or_default();
    let object = call.registry().get(&resource, at.namespace(), name, Read::Consistent).await?;
    let index = object.index();
    if reference["uid"].as_str().is_some_and(|uid| !uid.is_empty() && uid != index.uid.0) {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            reference["uid"].as_str().unwrap_or_default()
        );
        return Err(Status::conflict(&resource, name, &why));
    }
    let bound = Bound { name: name.to_owned(), uid: index.uid.0.clone() };
    if plural == "secrets" {
        claims.secret = Some(bound);
        return Ok(());
    }
    let pod: Value = object.value()?;
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    if account != claims.serviceaccount.name {
        let message = format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            at.name()?
        );
        return Err(Status::bad_request(message));
    }
    if node.is_some() && index.field("spec.nodeName") != node {
        return Err(refused(call, at, "node requested token bound to a pod scheduled on a different node"));
    }
    claims.pod = Some(bound);
    claims.node = pod["spec"]["nodeName"].as_str().map(|name| Bound { name: name.to_owned(), uid: String::new() });
    Ok(())
}

fn refused(call: &Call<'_>, at: &At, why: &str) -> Status {
    let target = Target {
        resource: "serviceaccounts",
        subresource: "token",
        namespace: at.namespace().unwrap_or_default(),
        name: at.name.as_deref().unwrap_or_default(),
        ..Target::default()
    };
    forbidden(&call.user, &Attributes::Resource("create", target), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_kept_within_bounds() {
        let check = |asked: Value, expected: Result<i64, &str>| {
            let found = seconds(&serde_json::json!({"spec": {"expirationSeconds": asked}}));
            assert_eq!(found.map_err(|status| status.message), expected.map_err(str::to_owned));
        };
        check(Value::Null, Ok(3600));
        check(7200.into(), Ok(7200));
        check(i64::MAX.into(), Ok(MOST_SECONDS));
        check(
            5.into(),
            Err(
                "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5: may not \
                 specify a duration less than 10 minutes",
            ),
        );
    }
}
