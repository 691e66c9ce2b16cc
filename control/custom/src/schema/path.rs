//! The place in an object that is being looked at.

use pal_resources::FieldPath;

/// A path that grows and shrinks while an object is walked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    /// Looks at the field or the map's entry of that name.
    pub(crate) fn child<T>(&mut self, name: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.0.len();
        if before > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        let result = look(self);
        self.0.truncate(before);
        result
    }

    /// Looks at the entry of a map, with its key in brackets.
    pub(crate) fn key<T>(&mut self, key: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.0.len();
        self.0.push('[');
        self.0.push_str(key);
        self.0.push(']');
        let result = look(self);
        self.0.truncate(before);
        result
    }

    /// Looks at an item of a list.
    pub(crate) fn index<T>(&mut self, index: usize, look: impl FnOnce(&mut Self) -> T) -> T {
        self.key(&index.to_string(), look)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn field(&self) -> FieldPath {
        FieldPath::new(&self.0)
    }
}
