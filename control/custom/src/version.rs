//! One version of a custom resource.

use jiff::Timestamp;
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use crate::columns::Column;
use crate::definition::Names;
use crate::scale::ScalePaths;
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
    openapi: Value,
    node: Node,
}

impl Version {
    pub(crate) fn compile(
        group: &str,
        names: &Names,
        version: &Value,
        path: &FieldPath,
    ) -> Result<Self, Vec<FieldError>> {
        let schema = &version["schema"]["openAPIV3Schema"];
        let node = Node::read(schema, &mut Path::new(&path.to_string()))?;
        let name = version["name"].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            served: version["served"] == true,
            storage: version["storage"] == true,
            deprecation: deprecation(group, names, version),
            has_status: version["subresources"]["status"].is_object(),
            scale: ScalePaths::read(&version["subresources"]["scale"]),
            columns: Vec::new(),
            selectable: Vec::new(),
            openapi: schema.clone(),
            node,
            name,
        })
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
        errors
    }

    /// The same for a write of the status subresource, which is judged by what it can change: the rest was judged before.
    pub fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        self.validate(object, Some(old))
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
        let _ = object;
        Vec::new()
    }

    /// The schema of the kind as OpenAPI v3 publishes it: an entry of `components.schemas`.
    pub fn openapi(&self) -> &Value {
        &self.openapi
    }

    /// The same as OpenAPI v2 publishes it: an entry of `definitions`.
    pub fn openapi_v2(&self) -> &Value {
        &self.openapi
    }
}

fn deprecation(group: &str, names: &Names, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    let own = version["deprecationWarning"].as_str().map(str::to_owned);
    let name = version["name"].as_str().unwrap_or_default();
    Some(own.unwrap_or_else(|| format!("{group}/{name} {} is deprecated", names.kind)))
}
