//! What an applier is told when others own what it would change.

use std::collections::BTreeMap;

use pal_resources::status::{StatusCause, StatusDetails};
use pal_resources::{Reason, Status};

use super::element::{Element, Told};
use super::managers::{Identity, Operation};
use super::set::FieldSet;

/// A field that another manager owns and that would get another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) owner: Identity,
    pub(crate) path: Vec<Element>,
}

/// All conflicts of an apply, ordered by their managers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(pub(crate) Vec<Conflict>);

impl Identity {
    fn told(&self) -> String {
        let mut words = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            words.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            words.push_str(&format!(" using {}", self.api_version));
        }
        words
    }
}

impl Conflicts {
    /// Conflicts by their owners.
    pub(crate) fn of(owned: Vec<(Identity, FieldSet)>) -> Self {
        let mut owned = owned;
        owned.sort_by(|a, b| a.0.cmp(&b.0));
        let all = owned
            .into_iter()
            .flat_map(|(owner, set)| set.paths().into_iter().map(move |path| Conflict { owner: owner.clone(), path }));
        Self(all.collect())
    }

    /// The fields, whoever owns them.
    pub(crate) fn fields(&self) -> FieldSet {
        let mut set = FieldSet::default();
        self.0.iter().for_each(|conflict| set.insert(&conflict.path));
        set
    }

    /// The conflicts about other fields than those.
    pub(crate) fn beside(mut self, fields: &FieldSet) -> Self {
        self.0.retain(|conflict| !fields.has(&conflict.path));
        self
    }

    /// The failure as the API tells it.
    pub fn status(&self) -> Status {
        let causes = self.0.iter().map(|conflict| StatusCause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", conflict.owner.told()),
            field: Told(&conflict.path).to_string(),
        });
        Status {
            code: 409,
            reason: Some(Reason::Conflict),
            message: self.message(),
            details: Some(StatusDetails { causes: causes.collect(), ..StatusDetails::default() }),
        }
    }

    fn message(&self) -> String {
        if let [one] = &*self.0 {
            return format!("Apply failed with 1 conflict: conflict with {}: {}", one.owner.told(), Told(&one.path));
        }
        let mut owners: BTreeMap<&Identity, Vec<&[Element]>> = BTreeMap::new();
        for conflict in &self.0 {
            owners.entry(&conflict.owner).or_default().push(&conflict.path);
        }
        let mut lines = Vec::new();
        for (owner, paths) in owners {
            lines.push(format!("conflicts with {}:", owner.told()));
            lines.extend(paths.into_iter().map(|path| format!("- {}", Told(path))));
        }
        format!("Apply failed with {} conflicts: {}", self.0.len(), lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(manager: &str, operation: Operation, subresource: &str) -> Identity {
        let api_version = if operation == Operation::Apply { "" } else { "apps/v1" }.to_owned();
        Identity { manager: manager.to_owned(), operation, api_version, subresource: subresource.to_owned() }
    }

    #[test]
    fn one_conflict_is_told_in_a_line() {
        fn check(owner: Identity, expected: &str) {
            let conflicts = Conflicts::of(vec![(owner, FieldSet::of_fields(&[&["spec", "replicas"]]))]);
            let status = conflicts.status();
            assert_eq!(
                status.message,
                format!("Apply failed with 1 conflict: conflict with {expected}: .spec.replicas")
            );
            let cause = &status.details.expect("details").causes[0];
            assert_eq!(cause.message, format!("conflict with {expected}"));
            assert_eq!((&*cause.reason, &*cause.field), ("FieldManagerConflict", ".spec.replicas"));
            assert_eq!((status.code, status.reason), (409, Some(Reason::Conflict)));
        }
        check(owner("a", Operation::Apply, ""), "\"a\"");
        check(owner("a", Operation::Update, ""), "\"a\" using apps/v1");
        check(owner("a", Operation::Update, "scale"), "\"a\" with subresource \"scale\" using apps/v1");
        check(owner("a", Operation::Apply, "status"), "\"a\" with subresource \"status\"");
    }

    #[test]
    fn several_conflicts_are_told_by_manager() {
        let one = FieldSet::of_fields(&[&["spec", "replicas"]]);
        let two = FieldSet::of_fields(&[&["spec", "replicas"], &["metadata", "labels", "a"]]);
        let conflicts =
            Conflicts::of(vec![(owner("b", Operation::Update, ""), one), (owner("a", Operation::Apply, ""), two)]);
        assert_eq!(
            conflicts.status().message,
            "Apply failed with 3 conflicts: conflicts with \"a\":\n- .metadata.labels.a\n- .spec.replicas\n\
             conflicts with \"b\" using apps/v1:\n- .spec.replicas"
        );
    }
}
