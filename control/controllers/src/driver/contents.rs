//! How many objects are in each namespace.

use std::collections::{BTreeMap, HashMap};

use crate::namespace::Content;

/// What is in each namespace, by the position of its resource. Of what is not there, nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Contents(HashMap<String, BTreeMap<usize, Content>>);

impl Contents {
    /// Counts one more object.
    pub(super) fn add(&mut self, namespace: &str, resource: usize, deleting: bool) {
        if !self.0.contains_key(namespace) {
            self.0.insert(namespace.to_owned(), BTreeMap::new());
        }
        let Some(content) = self.0.get_mut(namespace) else { return };
        let content = content.entry(resource).or_default();
        content.all += 1;
        content.staying += usize::from(!deleting);
    }

    /// Counts one less, which was counted as it is now.
    pub(super) fn remove(&mut self, namespace: &str, resource: usize, deleting: bool) {
        let Some(content) = self.0.get_mut(namespace) else { return };
        let Some(of) = content.get_mut(&resource) else { return };
        of.all = of.all.saturating_sub(1);
        of.staying = of.staying.saturating_sub(usize::from(!deleting));
        if of.all == 0 {
            content.remove(&resource);
        }
        if content.is_empty() {
            self.0.remove(namespace);
        }
    }

    /// What is in a namespace.
    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = (usize, Content)> {
        self.0.get(namespace).into_iter().flatten().map(|(resource, content)| (*resource, *content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_did_not_go_is_counted() {
        let mut contents = Contents::default();
        contents.add("a", 1, false);
        contents.add("a", 1, true);
        contents.add("a", 2, false);
        contents.add("b", 1, false);
        contents.remove("a", 2, false);
        contents.remove("c", 1, false);
        let of = |namespace| contents.of(namespace).collect::<Vec<_>>();
        assert_eq!(of("a"), [(1, Content { all: 2, staying: 1 })]);
        assert_eq!(of("b"), [(1, Content { all: 1, staying: 1 })]);
        assert_eq!(of("c"), []);
    }
}
