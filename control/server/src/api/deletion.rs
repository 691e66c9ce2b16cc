//! Deleting: the options in the body or the query, and the answer by what is left of the object.

use http::{Response, StatusCode};
use pal_registry::{DeleteOptions, Preconditions, Propagation, Warnings};
use pal_resources::codec::{self, FieldValidation, Media};
use pal_resources::{ResourceVersion, Status, Uid};
use serde_json::Value;

use super::query::{self, Query};
use super::{At, Call, Unread, read, reply};
use crate::Body;

const KIND: &str = "DeleteOptions";

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
        let index = deletion.object.index();
        let status = reply::success(name, &at.resource.group, &at.resource.plural, &index.uid.0);
        reply::value(StatusCode::OK, &status, call.accepted)?
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
    options.dry_run |= call.query.dry_run(KIND)?;
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
    let propagation = query.get("propagationPolicy").map(propagation).transpose()?;
    let orphans = query.get("orphanDependents").map(|_| query.flag("orphanDependents"));
    Ok(DeleteOptions {
        grace_period_seconds: grace(query.int("gracePeriodSeconds")?),
        propagation: combined(propagation, orphans)?,
        cascades: cascades(orphans),
        ..DeleteOptions::default()
    })
}

/// The options that an object of that kind holds: the body of a delete, or a part of an eviction.
pub(super) fn parse(value: &Value) -> Result<DeleteOptions, Status> {
    let given = value["propagationPolicy"].as_str().map(propagation).transpose()?;
    let orphans = value["orphanDependents"].as_bool();
    let words: Vec<&str> =
        value["dryRun"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap_or_default()).collect();
    let dry_run = query::dry_run(KIND, &words)?;
    let preconditions = &value["preconditions"];
    let resource_version = match preconditions["resourceVersion"].as_str().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(
            text.parse::<ResourceVersion>()
                .map_err(|_| Status::bad_request(format!("preconditions.resourceVersion: Invalid value: {text:?}")))?,
        ),
    };
    Ok(DeleteOptions {
        grace_period_seconds: grace(value["gracePeriodSeconds"].as_i64()),
        propagation: combined(given, orphans)?,
        cascades: cascades(orphans),
        preconditions: Preconditions {
            uid: preconditions["uid"].as_str().map(|uid| Uid(uid.to_owned())),
            resource_version,
        },
        dry_run,
        ..DeleteOptions::default()
    })
}

/// A negative period means the shortest one, as kube-apiserver takes it.
fn grace(seconds: Option<i64>) -> Option<i64> {
    seconds.map(|seconds| if seconds < 0 { 1 } else { seconds })
}

fn propagation(text: &str) -> Result<Propagation, Status> {
    match text {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => {
            let given = format!("{other:?}");
            Err(query::unsupported(KIND, "propagationPolicy", &given, r#""Foreground", "Background", "Orphan", "nil""#))
        }
    }
}

/// Whether a delete that is not over at once is answered as one that was accepted: to who said so in the old words.
fn cascades(orphans: Option<bool>) -> bool {
    orphans == Some(false)
}

/// `orphanDependents` is the old word for two of the three.
fn combined(given: Option<Propagation>, orphans: Option<bool>) -> Result<Option<Propagation>, Status> {
    match (given, orphans) {
        (given, None) => Ok(given),
        (None, Some(true)) => Ok(Some(Propagation::Orphan)),
        (None, Some(false)) => Ok(Some(Propagation::Background)),
        (Some(given), Some(_)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            Err(query::invalid(KIND, "propagationPolicy", &format!("{given:?}"), why))
        }
    }
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
        check(json!({"preconditions": {"resourceVersion": "x"}}), Err(400));
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
        let query = Query::parse(Some("gracePeriodSeconds=5&propagationPolicy=Foreground"));
        let options = from_query(&query).expect("options");
        assert_eq!((options.grace_period_seconds, options.propagation), (Some(5), Some(Propagation::Foreground)));
    }
}
