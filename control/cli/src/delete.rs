//! `pal delete`

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::api::{self, Api, Resource, query, request};
use crate::args::{Cascade, ClientArgs, DeleteArgs};
use crate::error::CliError;
use crate::{manifest, out};

const GONE_LIMIT: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

struct Target {
    resource: Resource,
    namespace: Option<String>,
    name: String,
}

pub async fn run(client: &ClientArgs, args: DeleteArgs) -> Result<(), CliError> {
    let api = Api::connect(client).await?;
    let targets = targets(&api, &args).await?;
    if targets.is_empty() {
        eprintln!("No resources found");
        return Ok(());
    }
    let mut deleted = Vec::new();
    for target in targets {
        if delete(&api, &args, &target).await? {
            out::line(format_args!("{} {:?} deleted", target.resource.qualified_singular(), target.name))?;
            deleted.push(target);
        }
    }
    if !args.no_wait {
        for target in &deleted {
            gone(&api, target).await?;
        }
    }
    Ok(())
}

async fn targets(api: &Api, args: &DeleteArgs) -> Result<Vec<Target>, CliError> {
    let resources = api.resources().await?;
    let target = |resource: &Resource, namespace: Option<&str>, name: &str| Target {
        resource: resource.clone(),
        namespace: resource.namespaced.then(|| namespace.unwrap_or(&api.namespace).to_owned()),
        name: name.to_owned(),
    };
    if !args.filename.is_empty() {
        let documents = manifest::read(&args.filename, false)?;
        return documents
            .iter()
            .rev()
            .map(|d| {
                let is = |r: &&Resource| r.kind == d.kind() && r.api_version() == d.api_version();
                let resource = resources.iter().find(is).ok_or_else(|| {
                    CliError::other(format!(
                        "{}: no matches for kind {:?} in version {:?}",
                        d.origin,
                        d.kind(),
                        d.api_version()
                    ))
                })?;
                Ok(target(resource, d.namespace(), d.name()))
            })
            .collect();
    }
    let word = args.resource.as_deref().unwrap_or_default();
    let known = |word: &str| {
        api::find(&resources, word)
            .ok_or_else(|| CliError::other(format!("the server doesn't have a resource type {word:?}")))
    };
    if word.contains('/') {
        let words = std::iter::once(word).chain(args.names.iter().map(String::as_str));
        return words
            .map(|word| match word.split_once('/') {
                Some((resource, name)) => Ok(target(known(resource)?, None, name)),
                None => Err(CliError::other(format!("{word:?} is not of the form RESOURCE/NAME"))),
            })
            .collect();
    }
    let wanted = word.split(',').map(known).collect::<Result<Vec<&Resource>, _>>()?;
    if !args.names.is_empty() {
        let each = wanted.iter().flat_map(|resource| args.names.iter().map(|name| target(resource, None, name)));
        return Ok(each.collect());
    }
    let selector = match (&args.selector, args.all) {
        (Some(selector), _) => vec![("labelSelector", selector.clone())],
        (None, true) => Vec::new(),
        (None, false) => return Err(CliError::other("say which: by name, with -l LABELS, or --all")),
    };
    let mut found = Vec::new();
    for resource in wanted {
        let list = api.get(&format!("{}{}", resource.path(Some(&api.namespace), None), query(&selector))).await?;
        found.extend(api::array(&list["items"]).iter().map(|item| {
            target(resource, item["metadata"]["namespace"].as_str(), &api::text(&item["metadata"]["name"]))
        }));
    }
    Ok(found)
}

/// Deletes one object; false where there was none and that is no error.
async fn delete(api: &Api, args: &DeleteArgs, target: &Target) -> Result<bool, CliError> {
    let policy = match args.cascade {
        Cascade::Background => "Background",
        Cascade::Foreground => "Foreground",
        Cascade::Orphan => "Orphan",
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    if let Some(seconds) = args.grace_period {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    let path = target.resource.path(target.namespace.as_deref(), Some(&target.name));
    match api.json(request(Method::DELETE, &path, &[], Some(&options))?).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(404) && args.ignore_not_found => Ok(false),
        Err(error) => Err(error),
    }
}

async fn gone(api: &Api, target: &Target) -> Result<(), CliError> {
    let path = target.resource.path(target.namespace.as_deref(), Some(&target.name));
    let started = Instant::now();
    loop {
        match api.get(&path).await {
            Err(error) if error.code() == Some(404) => return Ok(()),
            Err(error) => return Err(error),
            // A successor of the same name is another object; the one that was deleted is gone.
            Ok(object) if object["metadata"]["deletionTimestamp"].is_null() => return Ok(()),
            Ok(_) if started.elapsed() > GONE_LIMIT => {
                let what = format!("{} {:?}", target.resource.qualified_singular(), target.name);
                return Err(CliError::other(format!("{what} is still being deleted after {} s", GONE_LIMIT.as_secs())));
            }
            Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}
