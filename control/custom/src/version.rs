//! One version of a custom resource.

use jiff::Timestamp;
use pal_resources::field::FieldErrorKind;
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use crate::cel::{self, Judged};
use crate::columns::Column;
use crate::definition::{Names, rule_rules};
use crate::openapi::{self, Edition};
use crate::scale::{self, ScalePaths};
use crate::schema::check::{self, Findings};
use crate::schema::{Node, Path, default, lists, meta, prune};

/// A field by which lists and watches may select (`spec.versions[].selectableFields`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectable {
    /// The path as selectors write it: `spec.color`.
    pub name: String,
}

/// One version, compiled.
#[derive(Debug)]
pub struct Version {
    /// `v1`, `v1beta1`, ...
    pub name: String,
    pub served: bool,
    pub storage: bool,
    /// What clients of a deprecated version are told in a Warning header.
    pub deprecation: Option<String>,
    has_status: bool,
    scale: Option<ScalePaths>,
    columns: Vec<Column>,
    selectable: Vec<Selectable>,
    openapi: Published,
    openapi_v2: Published,
    openapi_name: String,
    node: Node,
}

/// A kind's schema and its list's.
#[derive(Debug)]
struct Published {
    object: Value,
    list: Value,
}

impl Version {
    pub(crate) fn compile(
        group: &str,
        names: &Names,
        version: &Value,
        path: &FieldPath,
    ) -> Result<Self, Vec<FieldError>> {
        let schema = &version["schema"]["openAPIV3Schema"];
        let mut node = Node::read(schema, &mut Path::new(&path.to_string()))?;
        let mut errors = Vec::new();
        rule_rules::compile_stored(&mut node, schema, path, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let name = version["name"].as_str().unwrap_or_default().to_owned();
        let published = |edition| Published {
            object: openapi::object(schema, group, &name, &names.kind, edition),
            list: openapi::list(group, &name, names, edition),
        };
        Ok(Self {
            served: version["served"] == true,
            storage: version["storage"] == true,
            deprecation: deprecation(group, names, version),
            has_status: version["subresources"]["status"].is_object(),
            scale: ScalePaths::read(&version["subresources"]["scale"]),
            columns: Column::read(&version["additionalPrinterColumns"]),
            selectable: selectable(&version["selectableFields"]),
            openapi: published(Edition::V3),
            openapi_v2: published(Edition::V2),
            openapi_name: openapi::name(group, &name, &names.kind),
            node,
            name,
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Leaves out what the schema does not know. The paths of what was left out, as `spec.foo`, sorted: what the strict
    /// decoder of kube-apiserver names as `unknown field "spec.foo"`. Idempotent.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune_object(object, &self.node)
    }

    /// Fills in the schema's defaults, and takes out nulls that may not be. Idempotent.
    pub fn default(&self, object: &mut Value) {
        default::fill(object, &self.node);
    }

    /// What is wrong with an object: schema, formats, list types, rules. With the stored object beside it, faults of
    /// parts that did not change are forgiven (KEP-4008).
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        self.judge(object, old).refused
    }

    /// The same, and what rules that are not met were forgiven.
    pub fn judge(&self, object: &Value, old: Option<&Value>) -> Judged {
        let mut found = Findings::default();
        check::check(&self.node, object, old, &mut Path::default(), &mut found);
        let mut errors = found.errors;
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate(object));
        }
        meta::check_embedded(object, &self.node, true, &mut Path::default(), &mut errors);
        let doubled_before = old.is_some_and(|old| {
            let mut doubled = Vec::new();
            lists::duplicates(old, &self.node, &mut Path::default(), &mut doubled);
            !doubled.is_empty()
        });
        if !doubled_before {
            lists::duplicates(object, &self.node, &mut Path::default(), &mut errors);
        }
        if !self.node.ruled {
            return Judged { refused: errors, ..Judged::default() };
        }
        if errors.iter().any(blocks_rules) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid(&FieldPath::new(""), Value::Null, why));
            return Judged { refused: errors, ..Judged::default() };
        }
        let Judged { refused, forgiven } = cel::validate(&self.node, object, old);
        errors.extend(refused);
        Judged { refused: errors, forgiven }
    }

    /// Whether there is a status subresource: then the main resource ignores `status` and the subresource all but it.
    pub fn has_status(&self) -> bool {
        self.has_status
    }

    /// The scale subresource, if there is one.
    pub fn scale(&self) -> Option<&ScalePaths> {
        self.scale.as_ref()
    }

    /// The columns of the table, the name's first.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The object's row: one cell for each column.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.iter().map(|column| column.cell(object, now)).collect()
    }

    /// The fields by which one may select, beside `metadata.name` and `metadata.namespace`.
    pub fn selectable(&self) -> &[Selectable] {
        &self.selectable
    }

    /// The values of the selectable fields; a field that is missing is the empty text.
    pub fn selected(&self, object: &Value) -> Vec<(String, String)> {
        let value = |field: &Selectable| match scale::at(object, &field.name) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        self.selectable.iter().map(|field| (field.name.clone(), value(field))).collect()
    }

    /// The name of the kind's schema in OpenAPI documents: `com.example.v1.Widget`; the list's has `List` behind it.
    pub fn openapi_name(&self) -> &str {
        &self.openapi_name
    }

    /// The schema of the kind as OpenAPI v3 publishes it: an entry of `components.schemas`.
    pub fn openapi(&self) -> &Value {
        &self.openapi.object
    }

    /// The schema of its list.
    pub fn openapi_list(&self) -> &Value {
        &self.openapi.list
    }

    /// The schema of the kind as OpenAPI v2 publishes it: an entry of `definitions`.
    pub fn openapi_v2(&self) -> &Value {
        &self.openapi_v2.object
    }

    /// The schema of its list in OpenAPI v2.
    pub fn openapi_v2_list(&self) -> &Value {
        &self.openapi_v2.list
    }
}

/// Rules rely on values having their types and sizes.
fn blocks_rules(error: &FieldError) -> bool {
    use FieldErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

fn selectable(fields: &Value) -> Vec<Selectable> {
    let paths = fields.as_array().into_iter().flatten().filter_map(|field| field["jsonPath"].as_str());
    paths.map(|path| Selectable { name: path.trim_start_matches('.').to_owned() }).collect()
}

fn deprecation(group: &str, names: &Names, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    let own = version["deprecationWarning"].as_str().map(str::to_owned);
    let name = version["name"].as_str().unwrap_or_default();
    Some(own.unwrap_or_else(|| format!("{group}/{name} {} is deprecated", names.kind)))
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
