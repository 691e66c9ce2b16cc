//! Deleting: the options in the body or the query, and the answer by what is left of the object.

use http::{Response, StatusCode};
use pal_registry::{DeleteOptions, Preconditions, Propagation, Warnings};
use pal_resources::codec::{self, FieldValidation, Media};
use pal_resources::field::{FieldError, FieldPath};
use pal_resources::status::StatusDetails;
use pal_resources::{Status, Uid};
use serde_json::Value;

use super::kinds::unserved;
use super::query::{self, Query};
use super::{At, Call, Unread, read, reply};
use crate::Body;

const KIND: &str = "DeleteOptions";
const POLICY: &str = "propagationPolicy";

const PRESERVED: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                         remove them or set propagationPolicy=Orphan to suppress this warning";

/// `DELETE` of one object.
pub(super) async fn delete(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let options = options(call, body).await?;
    let name = at.name()?;
    let deletion = call.registry().delete(&at.resource, at.namespace(), name, &options).await?;
    let answer = if !deletion.gone || at.resource.returned() {
        // Taken up, and not done with.
        let code = if !deletion.gone && options.cascades { StatusCode::ACCEPTED } else { StatusCode::OK };
        read::one(call, at, code, &deletion.object)?
    } else {
        let details = StatusDetails {
            name: name.to_owned(),
            group: at.resource.group.to_string(),
            kind: at.resource.plural.to_string(),
            uid: deletion.object.index().uid.0.clone(),
            ..StatusDetails::default()
        };
        reply::json(StatusCode::OK, &Status::success(Some(&details), None), call.accepted)?
    };
    Ok(reply::warn(answer, &warnings(at, &options)))
}

/// What somebody is told who may not expect what becomes of the dependents.
fn warnings(at: &At, options: &DeleteOptions) -> Vec<String> {
    let unsaid = options.propagation.is_none() && at.resource.group == "batch" && at.resource.plural == "jobs";
    let left = options.warnings.as_ref().map(Warnings::take).unwrap_or_default();
    unsaid.then(|| PRESERVED.to_owned()).into_iter().chain(left).collect()
}

/// `DELETE` of all that is selected.
pub(super) async fn collection(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let options = options(call, body).await?;
    let list = call.query.list()?;
    let shown = call.shown(at)?;
    let deleted = call.registry().delete_collection(&at.resource, at.namespace(), list, &options).await?;
    Ok(reply::warn(shown.list(deleted, call.accepted)?, &warnings(at, &options)))
}

/// The body's options, or the query's when there is no body.
async fn options(call: &Call<'_>, body: &mut Unread) -> Result<DeleteOptions, Status> {
    let body = call.body(body).await?;
    let mut options = if body.is_empty() { from_query(call.query)? } else { from_body(call.media()?, &body)? };
    options.actor = call.actor();
    options.warnings = Some(call.aside.clone());
    options.authority = call.authority();
    Ok(options)
}

fn from_body(media: Media, body: &[u8]) -> Result<DeleteOptions, Status> {
    // The options belong to every group: clients name the one of what they delete.
    let decoded = codec::decode_as(media, body, Some(("", "v1", KIND)), FieldValidation::Ignore)?;
    parse(&decoded.value)
}

fn from_query(query: &Query<'_>) -> Result<DeleteOptions, Status> {
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    let orphans = query.get("orphanDependents").map(|_| query.flag("orphanDependents"));
    let preconditions = Preconditions {
        uid: query.get("uid").map(|uid| Uid(uid.to_owned())),
        resource_version: query.get("resourceVersion").map(str::to_owned),
    };
    let seconds = query.int("gracePeriodSeconds")?;
    checked(
        query.get("propagationPolicy"),
        orphans,
        &dry_run,
        DeleteOptions { grace_period_seconds: grace(seconds), preconditions, ..DeleteOptions::default() },
    )
}

/// The options that an object of that kind holds: the body of a delete, or a part of an eviction.
pub(super) fn parse(value: &Value) -> Result<DeleteOptions, Status> {
    let dry_run: Vec<&str> =
        value["dryRun"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap_or_default()).collect();
    let preconditions = &value["preconditions"];
    let preconditions = Preconditions {
        uid: preconditions["uid"].as_str().map(|uid| Uid(uid.to_owned())),
        resource_version: preconditions["resourceVersion"].as_str().map(str::to_owned),
    };
    checked(
        value["propagationPolicy"].as_str(),
        value["orphanDependents"].as_bool(),
        &dry_run,
        DeleteOptions {
            grace_period_seconds: grace(value["gracePeriodSeconds"].as_i64()),
            preconditions,
            ..DeleteOptions::default()
        },
    )
}

/// The options with what becomes of the dependents, and whether anything does, unless these are refused. `orphans` is the old
/// word for two of the three policies.
fn checked(
    policy: Option<&str>,
    orphans: Option<bool>,
    dry_run: &[&str],
    options: DeleteOptions,
) -> Result<DeleteOptions, Status> {
    let mut faults = Vec::new();
    if let (Some(policy), Some(_)) = (policy, orphans) {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        faults.push(FieldError::invalid(&FieldPath::new(POLICY), policy, why));
    }
    let known = policy.map(propagation);
    if known == Some(None) {
        let supported = r#""Foreground", "Background", "Orphan", "nil""#;
        faults.push(query::not_supported(POLICY, &format!("{:?}", policy.unwrap_or_default()), supported));
    }
    faults.extend(query::dry_run_fault(dry_run));
    if !faults.is_empty() {
        return Err(Status::invalid(&unserved("meta.k8s.io", KIND), "", &faults));
    }
    let old = orphans.map(|orphans| if orphans { Propagation::Orphan } else { Propagation::Background });
    Ok(DeleteOptions {
        propagation: known.flatten().or(old),
        cascades: cascades(orphans),
        dry_run: !dry_run.is_empty(),
        ..options
    })
}

fn propagation(text: &str) -> Option<Propagation> {
    match text {
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        _ => None,
    }
}

/// A negative period means the shortest one, as kube-apiserver takes it.
fn grace(seconds: Option<i64>) -> Option<i64> {
    seconds.map(|seconds| if seconds < 0 { 1 } else { seconds })
}

/// Whether a delete that is not over at once is answered as one that was accepted: to who said so in the old words.
fn cascades(orphans: Option<bool>) -> bool {
    orphans == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_read_from_bodies() {
        let check = |body: Value, expected: Result<(Option<i64>, Option<Propagation>, bool), u16>| {
            let found = parse(&body).map_err(|status| status.code);
            let found = found.map(|o| (o.grace_period_seconds, o.propagation, o.dry_run));
            assert_eq!(found, expected, "{body}");
        };
        check(json!({}), Ok((None, None, false)));
        check(json!({"propagationPolicy": "Background"}), Ok((None, Some(Propagation::Background), false)));
        check(json!({"gracePeriodSeconds": 0, "dryRun": ["All"]}), Ok((Some(0), None, true)));
        check(json!({"gracePeriodSeconds": -1}), Ok((Some(1), None, false)));
        check(json!({"orphanDependents": true}), Ok((None, Some(Propagation::Orphan), false)));
        check(json!({"propagationPolicy": "Sideways"}), Err(422));
        check(json!({"propagationPolicy": "Orphan", "orphanDependents": true}), Err(422));
        check(json!({"dryRun": ["Some"]}), Err(422));
        check(json!({"preconditions": {"resourceVersion": "x"}}), Ok((None, None, false)));
    }

    #[test]
    fn who_waits_for_dependents_is_told_that_it_was_accepted() {
        for (body, expected) in [
            (json!({}), false),
            (json!({"propagationPolicy": "Background"}), false),
            (json!({"propagationPolicy": "Orphan"}), false),
            (json!({"propagationPolicy": "Foreground"}), false),
            (json!({"orphanDependents": true}), false),
            (json!({"orphanDependents": false}), true),
        ] {
            assert_eq!(parse(&body).expect("options").cascades, expected, "{body}");
        }
    }

    #[test]
    fn options_are_read_from_queries_too() {
        let query =
            Query::parse(Some("gracePeriodSeconds=5&propagationPolicy=Foreground&dryRun=All&uid=u&resourceVersion=x"));
        let options = from_query(&query).expect("options");
        let found = (options.grace_period_seconds, options.propagation, options.dry_run);
        assert_eq!(found, (Some(5), Some(Propagation::Foreground), true));
        let Preconditions { uid, resource_version } = options.preconditions;
        assert_eq!((uid, resource_version), (Some(Uid("u".to_owned())), Some("x".to_owned())));
    }

    #[test]
    fn all_that_is_wrong_with_options_is_told() {
        let body = json!({"propagationPolicy": "Sideways", "orphanDependents": true, "dryRun": ["All", "x"]});
        let refused = parse(&body).expect_err("nothing of it can be");
        let causes = refused.details.map(|details| details.causes).unwrap_or_default();
        let told: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "Invalid value: \"Sideways\": orphanDependents and deletionPropagation cannot be both set",
                "Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                "Unsupported value: [\"All\",\"x\"]: supported values: \"All\"",
            ]
        );
    }
}
