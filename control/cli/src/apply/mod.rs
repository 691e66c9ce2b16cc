//! `pal apply`: what kubectl's client-side apply does, with local Wasm files resolved.

mod three_way;

use http::Method;
use serde_json::{Value, json};

use crate::api::{self, Api, Resource, query, request};
use crate::args::{ApplyArgs, ClientArgs};
use crate::error::CliError;
use crate::images::Images;
use crate::manifest::{self, Document};
use crate::{out, wait};

/// The annotation in which kubectl keeps what was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// kubectl's name for this way of writing, so that both can take turns.
const MANAGER: &str = "kubectl-client-side-apply";

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Applied {
    pub resource: Resource,
    pub namespace: Option<String>,
    pub name: String,
    pub verb: &'static str,
}

impl Applied {
    /// `deployment.apps/hello created`
    pub fn line(&self) -> String {
        format!("{}/{} {}", self.resource.qualified_singular(), self.name, self.verb)
    }
}

pub async fn run(client: &ClientArgs, args: ApplyArgs) -> Result<(), CliError> {
    let api = Api::connect(client).await?;
    let documents = manifest::read(&args.filename, args.recursive)?;
    let suffix = if args.dry_run { " (server dry run)" } else { "" };
    let applied =
        apply(&api, documents, args.dry_run, |applied| out::note(format_args!("{}{suffix}", applied.line()))).await?;
    if args.wait && !args.dry_run {
        wait::ready(&api, &applied, args.timeout, |_| {}).await?;
    }
    Ok(())
}

/// Applies the documents in order. All are tried; the first error is the result, the others are told on the way.
pub async fn apply(
    api: &Api,
    documents: Vec<Document>,
    dry_run: bool,
    mut report: impl FnMut(&Applied),
) -> Result<Vec<Applied>, CliError> {
    let resources = api.resources().await?;
    let mut images = Images::new(api.registry()?);
    let (mut all, mut failure) = (Vec::new(), None::<CliError>);
    for mut document in documents {
        let result = match images.resolve(&mut document).await {
            Ok(()) => apply_one(api, &resources, &document, dry_run).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(applied) => {
                report(&applied);
                all.push(applied);
            }
            Err(error) => {
                let error = in_document(error, &document);
                if let Some(earlier) = failure.replace(error) {
                    eprintln!("{earlier}");
                }
            }
        }
    }
    failure.map_or(Ok(all), Err)
}

/// The error with the manifest that it is about.
fn in_document(error: CliError, document: &Document) -> CliError {
    match error {
        CliError::Api { code, reason, message } => {
            CliError::Api { code, reason, message: format!("error when applying {}: {message}", document.origin) }
        }
        other => other,
    }
}

async fn apply_one(api: &Api, resources: &[Resource], document: &Document, dry_run: bool) -> Result<Applied, CliError> {
    let resource = resources
        .iter()
        .find(|r| r.kind == document.kind() && r.api_version() == document.api_version())
        .ok_or_else(|| {
            CliError::other(format!(
                "{}: no matches for kind {:?} in version {:?}",
                document.origin,
                document.kind(),
                document.api_version()
            ))
        })?;
    let namespace = resource.namespaced.then(|| document.namespace().unwrap_or(&api.namespace).to_owned());
    let mut parameters = vec![("fieldManager", MANAGER.to_owned()), ("fieldValidation", "Strict".to_owned())];
    if dry_run {
        parameters.push(("dryRun", "All".to_owned()));
    }
    let parameters = query(&parameters);
    let desired = with_last_applied(&document.object, namespace.as_deref());
    let path = resource.path(namespace.as_deref(), Some(document.name()));
    let current = match document.name() {
        "" => None,
        _ => match api.get(&path).await {
            Ok(current) => Some(current),
            Err(error) if error.code() == Some(404) => None,
            Err(error) => return Err(error),
        },
    };
    let (verb, name) = match current {
        None => {
            let collection = resource.path(namespace.as_deref(), None);
            let created = request(Method::POST, &format!("{collection}{parameters}"), &[], Some(&desired))?;
            let created = api.json(created).await?;
            ("created", api::text(&created["metadata"]["name"]))
        }
        Some(current) => {
            let patch = three_way::patch(resource, &last_applied(&current), &desired, &current);
            if patch.as_object().is_none_or(serde_json::Map::is_empty) {
                ("unchanged", document.name().to_owned())
            } else {
                let headers = [("content-type", three_way::media_type(resource))];
                let patched = request(Method::PATCH, &format!("{path}{parameters}"), &headers, Some(&patch))?;
                let patched = api.json(patched).await?;
                let same = patched["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"];
                (if same { "unchanged" } else { "configured" }, document.name().to_owned())
            }
        }
    };
    Ok(Applied { resource: resource.clone(), namespace, name, verb })
}

/// The object with itself as text in the annotation, as kubectl writes it.
fn with_last_applied(object: &Value, namespace: Option<&str>) -> Value {
    let mut plain = object.clone();
    if let Some(namespace) = namespace {
        plain["metadata"]["namespace"] = json!(namespace);
    }
    match plain["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
        Some(annotations) => drop(annotations.remove(LAST_APPLIED)),
        None => plain["metadata"]["annotations"] = json!({}),
    }
    // In the order of the names, as kubectl writes it: both must see the other's text as their own.
    let text = format!("{plain}\n");
    plain["metadata"]["annotations"][LAST_APPLIED] = Value::String(text);
    plain
}

/// What was applied last; nothing where the object was not made by applying.
fn last_applied(current: &Value) -> Value {
    let text = current["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or(Value::Null)
}
