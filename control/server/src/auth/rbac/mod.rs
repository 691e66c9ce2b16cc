//! Role-based access control: who may what, by the stored roles and bindings, as Kubernetes has it.
//!
//! `rule`, `policy` and `escalation` decide over values; what is here keeps the policy that is stored now.

mod escalation;
mod policy;
mod rule;

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::rbac::v1::PolicyRule;
use pal_registry::{Held, Object, Registry};
use pal_resources::resource;
use serde::de::DeserializeOwned;

pub(crate) use escalation::check as no_escalation;
pub(crate) use policy::{Policy, Stored};
pub(crate) use rule::Rule;

/// The group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// In the order in which `Rbac` takes them from its view.
const RESOURCES: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];

/// Rules as the policy has them.
fn rules_from(rules: Vec<PolicyRule>) -> Vec<Rule> {
    rules.into_iter().map(Rule::from).collect()
}

/// The policy that is stored, put together anew when it has changed.
pub(crate) struct Rbac(Mutex<Current>);

struct Current {
    held: Held,
    policy: Arc<Policy>,
}

impl Rbac {
    /// Over the roles and bindings of that registry.
    pub fn new(registry: &Registry) -> Self {
        let resources = RESOURCES.iter().filter_map(|plural| resource::find(GROUP, "v1", plural)).collect();
        Self(Mutex::new(Current { held: registry.hold(resources), policy: Arc::default() }))
    }

    /// The policy of everything that this server has applied.
    pub fn policy(&self) -> Arc<Policy> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lists) = current.held.changed() {
            current.policy = Arc::new(Policy::new(stored(lists)));
        }
        current.policy.clone()
    }
}

fn stored(lists: Vec<Vec<Object>>) -> Stored {
    let mut lists = lists.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    Stored {
        cluster_roles: parsed(next()),
        roles: parsed(next()),
        cluster_bindings: parsed(next()),
        bindings: parsed(next()),
    }
}

/// What was stored was valid; should one not be, it grants nothing.
fn parsed<K: DeserializeOwned>(objects: Vec<Object>) -> Vec<K> {
    objects
        .iter()
        .filter_map(|object| match object.parse() {
            Ok(parsed) => Some(parsed),
            Err(status) => {
                tracing::warn!(name = object.name(), %status, "a role or binding cannot be read");
                None
            }
        })
        .collect()
}
