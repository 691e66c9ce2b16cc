//! Kinds that have no path of their own, described as the others are: for messages about them, and for their tables.

use pal_resources::Resource;

/// The kind, which nobody can list or get. Options are such: `CreateOptions.meta.k8s.io "" is invalid: ...`.
pub(super) fn unserved(group: &'static str, kind: &'static str) -> Resource {
    Resource {
        group: group.into(),
        version: "v1".into(),
        plural: "".into(),
        singular: "".into(),
        kind: kind.into(),
        namespaced: false,
        short_names: (&[]).into(),
        categories: (&[]).into(),
        verbs: (&[]).into(),
        subresources: (&[]).into(),
        custom: None,
    }
}
