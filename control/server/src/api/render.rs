//! Stored objects into the forms that clients ask for: as they are, as rows of a table, as metadata alone.

use std::ops::Range;

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use pal_registry::{List, Object, custom};
use pal_resources::{Reason, Resource, ResourceRef, ResourceVersion, Status, table};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::accept::{Accepted, Encoding, Form};
use super::query::Include;
use super::reply;
use crate::Body;
use crate::wire::{MadeWhileRead, Size, Spliced};

/// No row is shorter: what surrounds its cells and its object's metadata.
const SHORTEST_ROW: u64 = 60;

/// How objects of one request are shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub resource: ResourceRef,
    pub form: Form,
    pub include: Include,
}

impl Shown {
    /// A form that the resource does not have is the plain one.
    pub(crate) fn new(resource: ResourceRef, form: Form, include: Include) -> Self {
        let form = match form {
            Form::Table(_) if resource.custom.is_none() && table::columns(&resource).is_empty() => Form::Object,
            form => form,
        };
        Self { resource, form, include }
    }

    /// One object.
    pub(crate) fn object(&self, object: &Object) -> Result<Bytes, Status> {
        if matches!(self.form, Form::Partials(_)) {
            return Err(self.unlike("PartialObjectMetadataList", "not a list", ""));
        }
        self.event(object, true)
    }

    /// The answer to who asks for one as many or for many as one, naming what it is in kube-apiserver.
    fn unlike(&self, asked: &str, is: &str, suffix: &str) -> Status {
        let (group, kind) = (&*self.resource.group, &*self.resource.kind);
        let package = match group.split('.').next() {
            Some("" | "events") | None => "core",
            Some(first) => first,
        };
        let name = if self.resource.custom.is_some() {
            format!("unstructured.Unstructured{suffix}")
        } else {
            format!("{package}.{kind}{suffix}")
        };
        let message = format!("you requested {asked}, but the requested object is {is} (*{name})");
        Status::new(406, Reason::NotAcceptable, message)
    }

    /// One object of a watch: a table of one row, the first of which names its columns.
    pub(crate) fn event(&self, object: &Object, first: bool) -> Result<Bytes, Status> {
        match self.form {
            Form::Object => Ok(object.json().clone()),
            Form::Partial(api) | Form::Partials(api) => partial(object.json(), api).map(Bytes::from),
            Form::Table(api) => self.table(api, object, first).map(Bytes::from),
        }
    }

    /// A bookmark: no object of its own, so a table has no row for it.
    pub(crate) fn bookmark(&self, json: Bytes, version: ResourceVersion) -> Result<Bytes, Status> {
        match self.form {
            Form::Object => Ok(json),
            Form::Partial(api) | Form::Partials(api) => partial(&json, api).map(Bytes::from),
            Form::Table(api) => {
                let head = table_head(api, &list_metadata(version, None, None), "null");
                Ok(format!("{head}]}}").into())
            }
        }
    }

    fn table(&self, api: &str, object: &Object, columns: bool) -> Result<Vec<u8>, Status> {
        let columns = if columns { columns_json(&self.resource)? } else { "null".to_owned() };
        let mut bytes = table_head(api, &list_metadata(object.version(), None, None), &columns).into_bytes();
        bytes.extend(self.row(object, api, Timestamp::now())?);
        bytes.extend_from_slice(b"]}");
        Ok(bytes)
    }

    fn row(&self, object: &Object, api: &str, now: Timestamp) -> Result<Vec<u8>, Status> {
        let json = object.json();
        if let Some(kind) = custom::kind_of(&self.resource) {
            let value = object.value()?;
            let cells = serde_json::to_vec(&kind.cells(&value, now)).map_err(Status::internal)?;
            return self.row_of(object, api, &cells, metadata(json)?);
        }
        let read = || Prepared::read(&self.resource, json);
        let made;
        // Kept with the object: most lists show what was shown before.
        let prepared = match object.shown(read) {
            Some(kept) => kept,
            None => {
                made = read();
                &made
            }
        };
        let prepared = prepared.as_ref().map_err(Status::clone)?;
        let mut cells = Vec::with_capacity(256);
        prepared.cells.write(now, &mut cells);
        self.row_of(object, api, &cells, json.get(prepared.metadata.clone()).unwrap_or(b"{}"))
    }

    /// A row of these cells.
    fn row_of(&self, object: &Object, api: &str, cells: &[u8], metadata: &[u8]) -> Result<Vec<u8>, Status> {
        let json = object.json();
        let mut row = Vec::with_capacity(cells.len() + json.len().min(1024));
        row.extend_from_slice(b"{\"cells\":");
        row.extend_from_slice(cells);
        row.extend_from_slice(b",\"object\":");
        match self.include {
            Include::None => row.extend_from_slice(b"null"),
            Include::Object => row.extend_from_slice(json),
            Include::Metadata => partial_of(metadata, api, &mut row),
        }
        row.push(b'}');
        Ok(row)
    }

    /// A list as an answer. Its objects' bytes are sent as they are stored.
    pub(crate) fn list(&self, list: List, accepted: Accepted) -> Result<Response<Body>, Status> {
        let metadata = list_metadata(list.version, list.continue_token.as_deref(), list.remaining);
        let plain = accepted.encoding == Encoding::Json && !accepted.pretty;
        let tail = |closing: &'static str| Bytes::from_static(closing.as_bytes());
        let count = list.items.len();
        match self.form {
            Form::Object => {
                let resource = &self.resource;
                let kind = custom::kind_of(resource).map(|kind| kind.list_kind().to_owned());
                let kind = kind.unwrap_or_else(|| format!("{}List", resource.kind));
                let mut head = list_head(&kind, &resource.api_version(), &metadata);
                if count > 0 {
                    head.push('{');
                }
                let said = said_by_list(resource);
                let size = list.items.iter().map(|item| item.json().len() - unsaid_at(item.json(), &said));
                let size = Size::Exactly(size.map(|size| size as u64).sum());
                let pieces = list.items.into_iter().map(move |item| item.json().slice(unsaid_at(item.json(), &said)..));
                finish(Spliced::new(head.into(), pieces, ",{", count, size, tail(end(plain))), plain, accepted)
            }
            Form::Partial(_) => Err(self.unlike("PartialObjectMetadata", "a list", "List")),
            Form::Partials(api) => {
                let head = list_head("PartialObjectMetadataList", &format!("meta.k8s.io/{api}"), &metadata);
                let pieces = list.items.into_iter().map(move |item| shown(partial(item.json(), api), &item));
                let size = Size::AtLeast(count as u64 * SHORTEST_ROW);
                finish(Spliced::new(head.into(), pieces, ",", count, size, tail(end(plain))), plain, accepted)
            }
            Form::Table(api) => {
                let head = table_head(api, &metadata, &columns_json(&self.resource)?);
                let (now, this) = (Timestamp::now(), self.clone());
                let pieces = list.items.into_iter().map(move |item| shown(this.row(&item, api, now), &item));
                let size = Size::AtLeast(count as u64 * SHORTEST_ROW);
                finish(Spliced::new(head.into(), pieces, ",", count, size, tail(end(plain))), plain, accepted)
            }
        }
    }
}

/// How an object begins of which a list says kind and version: items of what is built in leave these out, those of custom
/// resources have them.
fn said_by_list(resource: &Resource) -> Bytes {
    if resource.custom.is_some() {
        return Bytes::from_static(b"{");
    }
    format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", resource.kind, resource.api_version()).into()
}

/// Where an object goes on behind its brace and what its list says of it.
fn unsaid_at(json: &[u8], said: &[u8]) -> usize {
    if json.starts_with(said) { said.len() } else { 1.min(json.len()) }
}

/// What closes a list; its newline comes with it where nothing rewrites the whole.
fn end(plain: bool) -> &'static str {
    if plain { "]}\n" } else { "]}" }
}

fn finish<I>(body: Spliced<I>, plain: bool, accepted: Accepted) -> Result<Response<Body>, Status>
where
    I: Iterator<Item = Bytes> + Unpin + Send + 'static,
{
    if plain {
        let mut answer = reply::sized(reply::answer(StatusCode::OK, reply::JSON, reply::boxed(body)), accepted);
        answer.extensions_mut().insert(MadeWhileRead);
        return Ok(answer);
    }
    reply::json(StatusCode::OK, &body.whole(), accepted)
}

/// An object that cannot be shown in the form is left to the client as an empty one, and does not hide the others.
fn shown(form: Result<Vec<u8>, Status>, item: &Object) -> Bytes {
    match form {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            tracing::error!(object = ?item.name(), %error, "an object cannot be shown");
            Bytes::from_static(b"{}")
        }
    }
}

/// What a table needs of an object, read once.
struct Prepared {
    cells: table::Row,
    /// Where the object's metadata stands in its bytes.
    metadata: Range<usize>,
}

impl Prepared {
    fn read(resource: &Resource, json: &Bytes) -> Result<Self, Status> {
        let value: Value = serde_json::from_slice(json).map_err(Status::internal)?;
        let metadata = metadata(json)?;
        // Both are of the same bytes.
        let start = metadata.as_ptr() as usize - json.as_ptr() as usize;
        Ok(Self { cells: table::row(resource, &value), metadata: start..start + metadata.len() })
    }
}

/// The object's metadata alone, its bytes as they are stored.
fn partial(json: &Bytes, api: &str) -> Result<Vec<u8>, Status> {
    let metadata = metadata(json)?;
    let mut bytes = Vec::with_capacity(metadata.len() + 96);
    partial_of(metadata, api, &mut bytes);
    Ok(bytes)
}

fn metadata(json: &Bytes) -> Result<&[u8], Status> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let named: Named<'_> = serde_json::from_slice(json).map_err(Status::internal)?;
    Ok(named.metadata.get().as_bytes())
}

fn partial_of(metadata: &[u8], api: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
    bytes.extend_from_slice(api.as_bytes());
    bytes.extend_from_slice(b"\",\"metadata\":");
    bytes.extend_from_slice(metadata);
    bytes.push(b'}');
}

fn columns_json(resource: &Resource) -> Result<String, Status> {
    if let Some(kind) = custom::kind_of(resource) {
        let column = |column: &custom::Column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        };
        return Ok(Value::Array(kind.columns().iter().map(column).collect()).to_string());
    }
    serde_json::to_string(table::columns(resource)).map_err(Status::internal)
}

fn list_metadata(version: ResourceVersion, next: Option<&str>, remaining: Option<u64>) -> String {
    let mut fields = Vec::new();
    // What is not stored has no version.
    if version.0 != 0 {
        fields.push(format!("\"resourceVersion\":\"{version}\""));
    }
    if let Some(next) = next {
        // A token is base64: nothing in it needs escaping.
        fields.push(format!("\"continue\":\"{next}\""));
    }
    if let Some(remaining) = remaining.filter(|remaining| *remaining > 0) {
        fields.push(format!("\"remainingItemCount\":{remaining}"));
    }
    format!("{{{}}}", fields.join(","))
}

fn list_head(kind: &str, api_version: &str, metadata: &str) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[")
}

fn table_head(api: &str, metadata: &str, columns: &str) -> String {
    format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{api}\",\"metadata\":{metadata},\
         \"columnDefinitions\":{columns},\"rows\":["
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_cut_out_of_an_object_as_it_is() {
        let json = Bytes::from_static(
            br#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a"},"spec":{"metadata":{}}}"#,
        );
        let found = partial(&json, "v1").expect("metadata");
        let expected = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7","name":"a"}}"#;
        assert_eq!(String::from_utf8_lossy(&found), expected);
    }

    #[test]
    fn items_leave_out_what_their_list_says() {
        fn check(json: &str, said: &str, expected: &str) {
            assert_eq!(&json[unsaid_at(json.as_bytes(), said.as_bytes())..], expected, "{json}");
        }
        let pod = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#;
        let pods = pal_resources::resource::find("", "v1", "pods").expect("pods are built in");
        let said = said_by_list(&pods);
        check(pod, std::str::from_utf8(&said).expect("text"), r#""metadata":{"name":"a"}}"#);
        check(pod, "{", &pod[1..]);
        check(pod, r#"{"kind":"Node","apiVersion":"v1","#, &pod[1..]);
        check("{}", "{\"kind\"", "}");
    }

    #[test]
    fn lists_say_their_version_and_how_to_go_on() {
        let check = |next: Option<&str>, remaining: Option<u64>, expected: &str| {
            assert_eq!(list_metadata(ResourceVersion(5), next, remaining), expected);
        };
        assert_eq!(list_metadata(ResourceVersion(0), None, None), "{}");
        check(None, None, r#"{"resourceVersion":"5"}"#);
        check(Some("abc"), None, r#"{"resourceVersion":"5","continue":"abc"}"#);
        check(Some("abc"), Some(3), r#"{"resourceVersion":"5","continue":"abc","remainingItemCount":3}"#);
    }
}
