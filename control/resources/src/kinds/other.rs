//! Kinds without rules of their own: metadata is looked after, the rest is kept as it came.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Env;
use super::kind::Kind;

/// Any object with metadata.
#[derive(Serialize, Deserialize)]
pub(super) struct Other {
    #[serde(flatten)]
    rest: Map<String, Value>,
    #[serde(default)]
    metadata: ObjectMeta,
}

impl Kind for Other {
    super::kind::has_meta!();

    fn prepare_subresource(&mut self, name: &str, old: &Self, _env: &Env) {
        let given = self.rest.remove(name);
        self.rest.clone_from(&old.rest);
        match given {
            Some(value) => self.rest.insert(name.to_owned(), value),
            None => self.rest.remove(name),
        };
    }
}
