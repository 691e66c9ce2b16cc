//! What is wrong with a validating policy's expressions for the kinds that it is about, as its status tells it.

use pal_custom::policy::{Kind, named_resources, type_warnings};
use pal_resources::{Resource, ResourceRef, resource};
use serde_json::{Value, json};

use super::GROUP;
use crate::custom::kind_of;
use crate::registry::Registry;

/// How many kinds of one policy are looked at.
const MOST_KINDS: usize = 10;

impl Registry {
    /// Writes into a validating policy's status what is wrong with its expressions, when they are new.
    pub(crate) fn check_types(&self, resource: &Resource, old: Option<&Value>, new: &mut Value) {
        if &*resource.group != GROUP || resource.plural != "validatingadmissionpolicies" {
            return;
        }
        if old.is_some_and(|old| old["spec"] == new["spec"]) {
            return;
        }
        let kinds = self.kinds_of(new);
        let kinds: Vec<Kind<'_>> = kinds.iter().map(|found| described(found)).collect();
        let params = self.params_kind(new);
        let warnings = type_warnings(new, &kinds, params.as_deref().map(described).as_ref());
        let told: Vec<Value> =
            warnings.iter().map(|found| json!({"fieldRef": found.field, "warning": found.message})).collect();
        new["status"]["typeChecking"] = if told.is_empty() { json!({}) } else { json!({"expressionWarnings": told}) };
    }
    /// The kinds that a policy is about, by group, version and kind.
    fn kinds_of(&self, policy: &Value) -> Vec<ResourceRef> {
        let definitions = self.definitions();
        let all = || resource::builtin().iter().chain(definitions.resources());
        let mut found: Vec<ResourceRef> = Vec::new();
        for (group, version, plural) in named_resources(policy) {
            // No group means any, as where kube-controller-manager looks it up.
            let named = |it: &&ResourceRef| {
                it.plural == plural && it.version == version && (group.is_empty() || it.group == group)
            };
            found.extend(all().filter(named).take(MOST_KINDS - found.len()).cloned());
        }
        found.sort_by(|a, b| (&a.group, &a.version, &a.kind).cmp(&(&b.group, &b.version, &b.kind)));
        found.dedup_by(|a, b| (&a.group, &a.version, &a.kind) == (&b.group, &b.version, &b.kind));
        found
    }

    fn params_kind(&self, policy: &Value) -> Option<ResourceRef> {
        let kind = &policy["spec"]["paramKind"];
        let (api_version, kind) = (kind["apiVersion"].as_str()?, kind["kind"].as_str()?);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.find_kind(group, version, kind)
    }
}

fn described(resource: &Resource) -> Kind<'_> {
    let definition = kind_of(resource).map(crate::custom::Kind::version);
    Kind { group: &resource.group, version: &resource.version, kind: &resource.kind, definition }
}
