//! Questions that clients ask about themselves: who am I, and may I.

use http::{Response, StatusCode};
use hyper::body::Incoming;
use pal_resources::codec;
use pal_resources::{Resource, Status};
use serde_json::{Map, Value, json};

use super::{At, Call, allow, reply};
use crate::Body;
use crate::auth::{Attributes, Target, User};

/// Whether the resource is such a question. Nothing of them is stored.
pub(super) fn reviewed(resource: &Resource) -> bool {
    matches!(
        (&*resource.group, &*resource.plural),
        ("authentication.k8s.io", "selfsubjectreviews") | ("authorization.k8s.io", "selfsubjectaccessreviews")
    )
}

/// `POST` of a review: it comes back with its answer as `status`.
pub(super) async fn answer(call: &Call<'_>, at: &At, body: Incoming) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let media = call.media()?;
    let body = call.body(body).await?;
    let mut review = codec::decode(media, &body, Some(&at.resource), query.validation)?.value;
    review["status"] = if at.resource.plural == "selfsubjectreviews" {
        json!({"userInfo": user_info(&call.user)})
    } else {
        access(call, &review["spec"]).await?
    };
    let ordered = ordered(review);
    reply::value(StatusCode::CREATED, &ordered, call.accepted)
}

/// Kind and version first, whatever order they came in.
fn ordered(review: Value) -> Value {
    let Value::Object(mut fields) = review else { return review };
    let mut first = Map::new();
    for name in ["kind", "apiVersion", "metadata"] {
        let value = fields.shift_remove(name).unwrap_or_else(|| json!({}));
        first.insert(name.to_owned(), value);
    }
    first.extend(fields);
    Value::Object(first)
}

fn user_info(user: &User) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.as_str().into());
    }
    info.insert("groups".to_owned(), user.groups.clone().into());
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    info.into()
}

async fn access(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let text = |value: &'_ Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let outcome = match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let [verb, group, plural, subresource, namespace, name] =
                ["verb", "group", "resource", "subresource", "namespace", "name"].map(|key| text(resource, key));
            let target = Target {
                group: &group,
                resource: &plural,
                subresource: &subresource,
                namespace: &namespace,
                name: &name,
                field_selector: "",
            };
            allow::permitted(call, &call.user, &Attributes::Resource(&verb, target)).await?
        }
        (false, true) => {
            let (verb, path) = (text(path, "verb"), text(path, "path"));
            allow::permitted(call, &call.user, &Attributes::Path(&verb, &path)).await?
        }
        _ => {
            return Err(Status::bad_request(
                "spec: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    Ok(match outcome {
        None => json!({"allowed": true}),
        Some(why) if why.is_empty() => json!({"allowed": false}),
        Some(why) => json!({"allowed": false, "reason": why}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_begins_with_what_it_is() {
        let review = ordered(json!({"spec": {}, "status": {}, "apiVersion": "v1", "kind": "X"}));
        let expected = r#"{"kind":"X","apiVersion":"v1","metadata":{},"spec":{},"status":{}}"#;
        assert_eq!(review.to_string(), expected);
    }
}
