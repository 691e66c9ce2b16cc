//! Where the parts of versions stand. Kubernetes holds a part that all versions share once, at the top of the spec, and
//! its messages name it there: `spec.validation.openAPIV3Schema`, not `spec.versions[0].schema.openAPIV3Schema`.

use pal_resources::FieldPath;
use serde_json::Value;

/// One part and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: FieldPath,
}

/// A part of versions: its name in a version and at the top.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Schema,
    Subresources,
    Columns,
    Selectable,
}

impl Part {
    fn in_version(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Subresources => "subresources",
            Self::Columns => "additionalPrinterColumns",
            Self::Selectable => "selectableFields",
        }
    }

    fn at_top(self) -> &'static str {
        match self {
            Self::Schema => "validation",
            other => other.in_version(),
        }
    }

    /// Whether all versions have the same.
    pub(crate) fn shared(self, spec: &Value) -> bool {
        let mut versions = versions(spec).iter().map(|version| &version[self.in_version()]);
        versions.next().is_none_or(|first| versions.all(|other| other == first))
    }

    /// Where the version at `index` has the part.
    pub(crate) fn place(self, spec: &Value, index: usize) -> Place<'_> {
        let spec_path = FieldPath::new("spec");
        let path = if self.shared(spec) {
            spec_path.child(self.at_top())
        } else {
            spec_path.child("versions").index(index).child(self.in_version())
        };
        Place { value: &spec["versions"][index][self.in_version()], path }
    }

    /// Every place at which the part stands, each once.
    pub(crate) fn places(self, spec: &Value) -> Vec<Place<'_>> {
        let count = versions(spec).len();
        let count = if self.shared(spec) { count.min(1) } else { count };
        (0..count).map(|index| self.place(spec, index)).collect()
    }
}

/// The versions of a spec.
pub(crate) fn versions(spec: &Value) -> &[Value] {
    spec["versions"].as_array().map_or(&[], Vec::as_slice)
}
