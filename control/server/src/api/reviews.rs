//! Questions about users: who am I, whose is that token, and who may what.

use http::{Response, StatusCode};
use pal_resources::codec;
use pal_resources::{Resource, Status};
use serde_json::{Map, Value, json};

use super::allow::Decision;
use super::question::About;
use super::{At, Call, Unread, allow, question, reply};
use crate::Body;
use crate::auth::rbac::Rule;
use crate::auth::{Attributes, Target, User, own_audiences};

/// Whether the resource is such a question. Nothing of them is stored.
pub(super) fn reviewed(resource: &Resource) -> bool {
    matches!(
        (&*resource.group, &*resource.plural),
        ("authentication.k8s.io", "selfsubjectreviews" | "tokenreviews")
            | (
                "authorization.k8s.io",
                "localsubjectaccessreviews"
                    | "selfsubjectaccessreviews"
                    | "selfsubjectrulesreviews"
                    | "subjectaccessreviews"
            )
    )
}

/// `POST` of a review: it comes back with its answer as `status`.
pub(super) async fn answer(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let body = call.body(body).await?;
    let media = call.media()?;
    let mut review = codec::decode(media, &body, Some(&at.resource), query.validation)?.value;
    let spec = &review["spec"];
    let status = match &*at.resource.plural {
        "selfsubjectreviews" => json!({"userInfo": user_info(&call.user)}),
        "selfsubjectrulesreviews" => rules(call, spec)?,
        "subjectaccessreviews" => {
            check(at, &review, About::Anybody)?;
            access(call, &subject(spec), spec).await?
        }
        "localsubjectaccessreviews" => {
            check(at, &review, About::Local(at.namespace().unwrap_or_default()))?;
            access(call, &subject(spec), spec).await?
        }
        "tokenreviews" => token(call, spec).await?,
        _ => {
            check(at, &review, About::Oneself)?;
            access(call, &call.user, spec).await?
        }
    };
    if &*at.resource.plural == "selfsubjectrulesreviews" {
        // The question does not come back with this answer, as in kube-apiserver.
        (review["metadata"], review["spec"]) = (json!({}), json!({}));
    }
    review["status"] = status;
    if review["metadata"].is_null() {
        review["metadata"] = json!({});
    }
    reply::value(StatusCode::CREATED, &review, call.accepted)
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

/// The user that a SubjectAccessReview asks about.
fn subject(spec: &Value) -> User {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |key: &str| spec[key].as_str().unwrap_or_default().to_owned();
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text("user"),
        uid: text("uid"),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

/// Whose a token is, for one of the audiences that are asked for, or for this API.
async fn token(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut audiences: Vec<String> = asked.map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences = own_audiences();
    }
    Ok(match call.api.authenticator.token(token, &audiences).await {
        Ok(proved) => {
            json!({"authenticated": true, "user": user_info(&proved.user), "audiences": proved.audiences})
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

/// What the user may do, as a list.
fn rules(call: &Call<'_>, spec: &Value) -> Result<Value, Status> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let held = call.api.rbac.policy().held(&call.user, namespace);
    Ok(rules_status(&held, call.user.node().is_some() || call.user.bootstrapping()))
}

/// `more`: the user may do things that no rule says, because they depend on the object.
fn rules_status(rules: &[Rule], more: bool) -> Value {
    let resources = rules.iter().filter(|rule| !rule.resources.is_empty()).map(|rule| {
        let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources});
        if !rule.names.is_empty() {
            shown["resourceNames"] = rule.names.clone().into();
        }
        shown
    });
    let paths = rules.iter().filter(|rule| !rule.urls.is_empty());
    let paths = paths.map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.urls}));
    let mut status = json!({
        "resourceRules": resources.collect::<Vec<_>>(),
        "nonResourceRules": paths.collect::<Vec<_>>(),
        "incomplete": more,
    });
    if more {
        status["evaluationError"] = "node authorizer does not support user rule resolution".into();
    }
    status
}

fn check(at: &At, review: &Value, about: About<'_>) -> Result<(), Status> {
    match question::faults(review, about).as_slice() {
        [] => Ok(()),
        // Of no kind, as kube-apiserver, which asks what it has read and no longer knows.
        faults => Err(Status::invalid(&Resource { kind: "".into(), ..(*at.resource).clone() }, "", faults)),
    }
}

async fn access(call: &Call<'_>, user: &User, spec: &Value) -> Result<Value, Status> {
    let text = |value: &'_ Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let outcome = if resource.is_object() {
        let [verb, group, plural, subresource, namespace, name] =
            ["verb", "group", "resource", "subresource", "namespace", "name"].map(|key| text(resource, key));
        let selector = selector(&resource["fieldSelector"]);
        let target = Target {
            group: &group,
            resource: &plural,
            subresource: &subresource,
            namespace: &namespace,
            name: &name,
            field_selector: &selector,
        };
        allow::permitted(call.api, user, &Attributes::Resource(&verb, target)).await?
    } else {
        let (verb, path) = (text(path, "verb"), text(path, "path"));
        allow::permitted(call.api, user, &Attributes::Path(&verb, &path)).await?
    };
    let (allowed, reason) = match outcome {
        Decision::Allowed(reason) => (true, reason),
        Decision::Refused(reason) => (false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

/// The field selector of the request that is asked about, as a query has it: as it is given, or put together from what it
/// requires. What cannot be put so narrows nothing down.
fn selector(given: &Value) -> String {
    if let Some(raw) = given["rawSelector"].as_str().filter(|raw| !raw.is_empty()) {
        return raw.to_owned();
    }
    let requirements = given["requirements"].as_array().into_iter().flatten();
    let terms =
        requirements.filter_map(|one| match (one["operator"].as_str()?, one["values"].as_array()?.as_slice()) {
            ("In", [value]) => Some(format!("{}={}", one["key"].as_str()?, value.as_str()?)),
            ("NotIn", [value]) => Some(format!("{}!={}", one["key"].as_str()?, value.as_str()?)),
            _ => None,
        });
    terms.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_may_be_about_a_selection() {
        let check = |given: Value, expected: &str| assert_eq!(selector(&given), expected, "{given}");
        check(Value::Null, "");
        check(json!({"rawSelector": "spec.nodeName=a"}), "spec.nodeName=a");
        let one = |operator: &str| json!({"key": "spec.nodeName", "operator": operator, "values": ["a"]});
        check(json!({"requirements": [one("In")]}), "spec.nodeName=a");
        check(json!({"requirements": [one("In"), one("NotIn")]}), "spec.nodeName=a,spec.nodeName!=a");
        check(json!({"requirements": [one("Exists")]}), "");
    }
}
