//! `pal get` and `pal version`: objects as the server's tables, or whole.

use futures::{AsyncBufReadExt, TryStreamExt};
use http::Method;
use serde_json::{Value, json};

use crate::api::{self, AS_TABLE, Api, Resource, query, request};
use crate::args::{ClientArgs, GetArgs, Output, VersionArgs};
use crate::error::CliError;
use crate::out;

pub async fn run(client: &ClientArgs, args: GetArgs) -> Result<(), CliError> {
    let api = Api::connect(client).await?;
    let targets = targets(&api, &args).await?;
    let many = targets.len() > 1;
    let mut items = Vec::new();
    let mut printed = false;
    for (resource, names) in &targets {
        let namespace = (!args.all_namespaces).then_some(api.namespace.as_str());
        if args.watch {
            if many || names.len() > 1 {
                return Err(CliError::other("you may watch one resource, or one object of it"));
            }
            return watch(&api, &args, resource, namespace, names.first().map(String::as_str)).await;
        }
        match args.output {
            Some(Output::Json | Output::Yaml | Output::Name) => {
                items.extend(whole(&api, &args, resource, namespace, names).await?);
            }
            None | Some(Output::Wide) => {
                printed |= print_tables(&api, &args, resource, namespace, names, many, printed).await?;
            }
        }
    }
    match args.output {
        Some(Output::Json | Output::Yaml) => print_whole(&args, &targets, items),
        Some(Output::Name) => {
            for (resource, item) in items {
                out::line(format_args!("{}/{}", resource.qualified_singular(), api::text(&item["metadata"]["name"])))?;
            }
            Ok(())
        }
        _ => {
            if !printed {
                let looked = !args.all_namespaces && targets.iter().any(|(resource, _)| resource.namespaced);
                eprintln!("{}", none_found(looked.then_some(api.namespace.as_str())));
            }
            Ok(())
        }
    }
}

/// The resources that are asked for, each with the names that are.
async fn targets(api: &Api, args: &GetArgs) -> Result<Vec<(Resource, Vec<String>)>, CliError> {
    let resources = api.resources().await?;
    let known = |word: &str| {
        api::find(&resources, word)
            .cloned()
            .ok_or_else(|| CliError::other(format!("the server doesn't have a resource type {word:?}")))
    };
    if args.resource == "all" {
        let all = resources.iter().filter(|r| r.listable && r.categories.iter().any(|c| c == "all"));
        return Ok(all.map(|r| (r.clone(), Vec::new())).collect());
    }
    if args.resource.contains('/') {
        let words = std::iter::once(&args.resource).chain(&args.names);
        return words
            .map(|word| match word.split_once('/') {
                Some((resource, name)) => Ok((known(resource)?, vec![name.to_owned()])),
                None => Err(CliError::other(format!("{word:?} is not of the form RESOURCE/NAME"))),
            })
            .collect();
    }
    args.resource.split(',').map(|word| Ok((known(word)?, args.names.clone()))).collect()
}

fn parameters(args: &GetArgs) -> Vec<(&'static str, String)> {
    let mut parameters = Vec::new();
    if let Some(selector) = &args.selector {
        parameters.push(("labelSelector", selector.clone()));
    }
    if let Some(selector) = &args.field_selector {
        parameters.push(("fieldSelector", selector.clone()));
    }
    parameters
}

async fn whole(
    api: &Api,
    args: &GetArgs,
    resource: &Resource,
    namespace: Option<&str>,
    names: &[String],
) -> Result<Vec<(Resource, Value)>, CliError> {
    let mut items = Vec::new();
    if names.is_empty() {
        let list = api.get(&format!("{}{}", resource.path(namespace, None), query(&parameters(args)))).await?;
        for item in api::array(&list["items"]) {
            // Items of a list leave out what the list says for all of them.
            let mut whole = json!({"kind": resource.kind, "apiVersion": resource.api_version()});
            if let (Some(whole), Some(item)) = (whole.as_object_mut(), item.as_object()) {
                whole.extend(item.clone());
            }
            items.push((resource.clone(), whole));
        }
    }
    for name in names {
        items.push((resource.clone(), api.get(&resource.path(namespace, Some(name))).await?));
    }
    Ok(items)
}

fn print_whole(
    args: &GetArgs,
    targets: &[(Resource, Vec<String>)],
    items: Vec<(Resource, Value)>,
) -> Result<(), CliError> {
    let single = matches!(targets, [(_, names)] if names.len() == 1);
    let mut items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    let value = match items.pop() {
        Some(item) if single => item,
        last => {
            items.extend(last);
            json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
        }
    };
    let value = readable(value);
    let text = if args.output == Some(Output::Yaml) {
        serde_saphyr::to_string(&value).map_err(CliError::other)?
    } else {
        serde_json::to_string_pretty(&value).map_err(CliError::other)?
    };
    out::line(format_args!("{}", text.trim_end()))?;
    Ok(())
}

/// An object as it is shown whole: without what tells which client wrote which of them.
fn readable(mut value: Value) -> Value {
    let strip = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    strip(&mut value);
    if value["kind"] == "List" {
        value["items"].as_array_mut().into_iter().flatten().for_each(strip);
    }
    value
}

/// What is said where there is nothing to show: in which namespace that is, for what lies in one.
fn none_found(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("No resources found in {namespace} namespace."),
        None => "No resources found".to_owned(),
    }
}

async fn print_tables(
    api: &Api,
    args: &GetArgs,
    resource: &Resource,
    namespace: Option<&str>,
    names: &[String],
    prefixed: bool,
    printed_before: bool,
) -> Result<bool, CliError> {
    let headers = [("accept", AS_TABLE)];
    let mut tables = Vec::new();
    if names.is_empty() {
        let path = format!("{}{}", resource.path(namespace, None), query(&parameters(args)));
        tables.push(api.json(request(Method::GET, &path, &headers, None)?).await?);
    }
    for name in names {
        let path = resource.path(namespace, Some(name));
        tables.push(api.json(request(Method::GET, &path, &headers, None)?).await?);
    }
    let style = Style::new(args, resource, prefixed);
    let columns = tables.first().map(|table| style.columns(table)).unwrap_or_default();
    let rows: Vec<Vec<String>> = tables.iter().flat_map(|table| style.rows(table)).collect();
    if rows.is_empty() {
        return Ok(false);
    }
    if printed_before {
        out::line("")?;
    }
    let heading = (!args.no_headers).then_some(columns);
    out::block(&align(heading.into_iter().chain(rows).collect()))?;
    Ok(true)
}

/// How a table is shown.
struct Style {
    wide: bool,
    with_namespace: bool,
    with_labels: bool,
    /// `pod/` before each name, where several resources are shown.
    prefix: String,
}

impl Style {
    fn new(args: &GetArgs, resource: &Resource, prefixed: bool) -> Self {
        Self {
            wide: args.output == Some(Output::Wide),
            with_namespace: args.all_namespaces && resource.namespaced,
            with_labels: args.show_labels,
            prefix: if prefixed { format!("{}/", resource.qualified_singular()) } else { String::new() },
        }
    }

    fn shown(&self, table: &Value) -> Vec<usize> {
        let definitions = api::array(&table["columnDefinitions"]);
        let is_shown = |index: &usize| self.wide || definitions[*index]["priority"].as_i64().unwrap_or(0) == 0;
        (0..definitions.len()).filter(is_shown).collect()
    }

    fn columns(&self, table: &Value) -> Vec<String> {
        let definitions = api::array(&table["columnDefinitions"]);
        let mut columns: Vec<String> =
            self.shown(table).into_iter().map(|i| api::text(&definitions[i]["name"]).to_uppercase()).collect();
        if self.with_namespace {
            columns.insert(0, "NAMESPACE".to_owned());
        }
        if self.with_labels {
            columns.push("LABELS".to_owned());
        }
        columns
    }

    fn rows(&self, table: &Value) -> Vec<Vec<String>> {
        let shown = self.shown(table);
        let rows = api::array(&table["rows"]).iter().map(|row| {
            let mut cells: Vec<String> = shown.iter().map(|i| cell(&row["cells"][*i])).collect();
            if let Some(first) = cells.first_mut() {
                first.insert_str(0, &self.prefix);
            }
            let metadata = &row["object"]["metadata"];
            if self.with_namespace {
                cells.insert(0, api::text(&metadata["namespace"]));
            }
            if self.with_labels {
                let labels = metadata["labels"].as_object();
                let labels: Vec<String> =
                    labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", api::text(v))).collect();
                cells.push(if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") });
            }
            cells
        });
        rows.collect()
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "<none>".to_owned(),
        // One object is one line, whatever its message holds.
        Value::String(text) => text.replace(['\n', '\r'], " "),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

/// Lines whose columns stand below each other, three spaces apart.
pub fn align(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

async fn watch(
    api: &Api,
    args: &GetArgs,
    resource: &Resource,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<(), CliError> {
    let mut parameters = parameters(args);
    if let Some(name) = name {
        parameters.push(("fieldSelector", format!("metadata.name={name}")));
    }
    let path = resource.path(namespace, None);
    let headers = [("accept", AS_TABLE)];
    let list = request(Method::GET, &format!("{path}{}", query(&parameters)), &headers, None)?;
    let list = api.json(list).await?;
    let style = Style::new(args, resource, false);
    let mut rows = style.rows(&list);
    if !args.no_headers {
        rows.insert(0, style.columns(&list));
    }
    out::block(&align(rows))?;
    let columns = list["columnDefinitions"].clone();
    parameters
        .extend([("watch", "true".to_owned()), ("resourceVersion", api::text(&list["metadata"]["resourceVersion"]))]);
    let events = request(Method::GET, &format!("{path}{}", query(&parameters)), &headers, None)?;
    let mut lines = api.stream(events).await?.lines();
    while let Some(line) = lines.try_next().await.map_err(CliError::other)? {
        let event: Value = serde_json::from_str(&line).map_err(CliError::other)?;
        if event["type"] == "ERROR" {
            let object = &event["object"];
            return Err(CliError::Api {
                code: object["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500),
                reason: api::text(&object["reason"]),
                message: api::text(&object["message"]),
            });
        }
        let mut table = event["object"].clone();
        // Only the first table of a watch says what its columns are.
        table["columnDefinitions"] = columns.clone();
        out::block(&align(style.rows(&table)))?;
    }
    Ok(())
}

/// `pal version`
pub async fn version(client: &ClientArgs, args: VersionArgs) -> Result<(), CliError> {
    out::line(format_args!("Client: pal {} (Kubernetes API {})", env!("CARGO_PKG_VERSION"), pal_server::VERSION))?;
    if args.client {
        return Ok(());
    }
    let version = Api::connect(client).await?.get("/version").await?;
    out::line(format_args!("Server: {}", api::text(&version["gitVersion"])))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_objects_are_shown_in_order_and_without_their_managers() {
        let check = |given: Value, expected: &str| assert_eq!(readable(given).to_string(), expected);
        let object =
            json!({"kind": "A", "apiVersion": "v1", "metadata": {"name": "a", "managedFields": [], "labels": {}}});
        let shown = r#"{"apiVersion":"v1","kind":"A","metadata":{"labels":{},"name":"a"}}"#;
        check(object.clone(), shown);
        check(json!({"kind": "List", "items": [object]}), &format!(r#"{{"items":[{shown}],"kind":"List"}}"#));
    }

    #[test]
    fn where_nothing_is_found_is_said_of_what_lies_in_namespaces() {
        assert_eq!(none_found(Some("a")), "No resources found in a namespace.");
        assert_eq!(none_found(None), "No resources found");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = |rows: &[&[&str]]| rows.iter().map(|r| r.iter().map(ToString::to_string).collect()).collect();
        let text = align(rows(&[&["NAME", "READY"], &["hello-1", "1/1"], &["x", ""]]));
        assert_eq!(text, "NAME      READY\nhello-1   1/1\nx\n");
    }
}
