//! From the object to what requests need of it.

use pal_resources::FieldError;
use pal_resources::discovery::version_rank;
use serde_json::Value;

use super::places::{Part, versions as all_versions};
use crate::version::Version;

/// The names of a resource, as `spec.names` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
}

/// A definition that is ready to serve objects.
#[derive(Debug)]
pub struct Definition {
    group: String,
    names: Names,
    namespaced: bool,
    versions: Vec<Version>,
}

impl Definition {
    /// Reads a definition that was defaulted. Errors are what [`super::validate_definition`] tells of schemas and rules;
    /// a definition that was accepted compiles.
    pub fn compile(crd: &Value) -> Result<Self, Vec<FieldError>> {
        let spec = &crd["spec"];
        let names = &spec["names"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let names = Names {
            plural: text(&names["plural"]),
            singular: text(&names["singular"]),
            kind: text(&names["kind"]),
            list_kind: text(&names["listKind"]),
            short_names: list(&names["shortNames"]),
            categories: list(&names["categories"]),
        };
        let group = text(&spec["group"]);
        let (mut versions, mut errors) = (Vec::new(), Vec::new());
        for (index, version) in all_versions(spec).iter().enumerate() {
            let path = Part::Schema.place(spec, index).path.child("openAPIV3Schema");
            match Version::compile(&group, &names, version, &path) {
                Ok(version) => versions.push(version),
                Err(faults) => errors.extend(faults),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        name_successors(&group, &names, all_versions(spec), &mut versions);
        Ok(Self { group, names, namespaced: spec["scope"] == "Namespaced", versions })
    }

    /// The API group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The resource's names as the spec wants them; which of them hold is in `status.acceptedNames`.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether objects live in namespaces.
    pub fn namespaced(&self) -> bool {
        self.namespaced
    }

    /// All versions in the order of the spec.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The version in which objects are stored.
    pub fn storage(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.storage)
    }

    /// Turns an object into one of another version: with the strategy `None` only its `apiVersion` changes.
    pub fn convert(&self, object: &mut Value, version: &str) {
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".to_owned(), format!("{}/{version}", self.group).into());
        }
    }
}

/// Tells clients of deprecated versions, unless the definition has words of its own for them, which version to use instead:
/// the most stable one that is served and not deprecated, if it is more stable than theirs.
fn name_successors(group: &str, names: &Names, given: &[Value], versions: &mut [Version]) {
    let rank = |name: &str| (version_rank(name), name.to_owned());
    let better = given.iter().filter(|one| one["served"] == true && one["deprecated"] != true);
    let Some(best) = better.filter_map(|one| one["name"].as_str()).min_by_key(|name| rank(name)) else { return };
    for (version, given) in versions.iter_mut().zip(given) {
        if let Some(words) = version.deprecation.as_mut().filter(|_| given["deprecationWarning"].is_null())
            && rank(best) < rank(&version.name)
        {
            words.push_str(&format!("; use {group}/{best} {}", names.kind));
        }
    }
}
