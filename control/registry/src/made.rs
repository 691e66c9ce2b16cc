//! New pods as their type, for those in this process that are told of them a moment later and would parse them again.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::object::Object;
use crate::typed::Kind;

/// How many are kept; nobody may come for them.
const PLACES: usize = 256;

type Typed = Box<dyn Any + Send + Sync>;
/// A uid and its object.
type Place = Option<(String, Typed)>;

/// What was made a moment ago. Each has the place that its uid names, and goes when another one comes there: who does not find
/// it parses it. All clones are one.
#[derive(Clone)]
pub struct Made(Arc<[Mutex<Place>]>);

impl Default for Made {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was made")
    }
}

impl Made {
    pub(crate) fn put(&self, uid: &str, typed: Typed) {
        let new = Some((uid.to_owned(), typed));
        let before = std::mem::replace(&mut *self.place(uid), new);
        // The lock is given back already.
        drop(before);
    }

    /// An object that this server created a moment ago, as its type. Handed out once. It is what [`Object::parse`] gives, but
    /// for the volume with the token of a pod's service account and where that is mounted.
    pub fn take<K: Kind + 'static>(&self, object: &Object) -> Option<K> {
        if !object.is_first_version() {
            return None;
        }
        let mut made = *self.forget(&object.index().uid.0)?.downcast::<K>().ok()?;
        made.metadata_mut().resource_version = Some(object.version().to_string());
        Some(made)
    }

    /// Takes out what was not stored like that.
    pub(crate) fn forget(&self, uid: &str) -> Option<Typed> {
        self.place(uid).take_if(|(of, _)| of == uid).map(|(_, typed)| typed)
    }

    fn place(&self, uid: &str) -> MutexGuard<'_, Place> {
        let sum = uid.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        // A place is only ever replaced, so a panic elsewhere leaves it whole.
        self.0[sum % PLACES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
