//! Keys and revisions.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A point in the store's history: one counter for the whole store, raised by one for every commit that changed
/// something. 0 is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key such as `pods/default/web-0`. The bucket is everything up to and including the first `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key with this text.
    pub fn new(text: impl Into<Arc<str>>) -> Key {
        Key(text.into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bucket that the key lies in, its `/` included.
    pub fn bucket(&self) -> &str {
        bucket_of(&self.0)
    }
}

/// The bucket of a key or of a prefix: up to and including the first `/`, or all of it when there is none.
pub(crate) fn bucket_of(text: &str) -> &str {
    text.find('/').map_or(text, |slash| &text[..=slash])
}

/// The place in its bucket that a key or a prefix lies in: up to and including the second `/`. `None` when there is none.
pub(crate) fn place_of(text: &str) -> Option<&str> {
    let bucket = bucket_of(text).len();
    text[bucket..].find('/').map(|slash| &text[..=bucket + slash])
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        Key(text.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_ends_with_the_first_slash() {
        fn check(key: &str, expected: &str) {
            assert_eq!(Key::from(key).bucket(), expected);
        }
        check("pods/default/web-0", "pods/");
        check("nodes/a", "nodes/");
        check("nodes/", "nodes/");
        check("deployments.apps/x/y", "deployments.apps/");
        check("bare", "bare");
        check("", "");
    }

    #[test]
    fn the_place_ends_with_the_second_slash() {
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(place_of(text), expected, "{text}");
        }
        check("pods/default/web-0", Some("pods/default/"));
        check("pods/default/", Some("pods/default/"));
        check("pods/default", None);
        check("nodes/a", None);
        check("bare", None);
    }
}
