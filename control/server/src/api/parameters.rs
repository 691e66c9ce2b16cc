//! Who writes a policy of admission, or binds one, must be able to read the parameters that it names: what the policy says of
//! them would tell (kube-apiserver's registries of `admissionregistration.k8s.io`).

use pal_registry::Registry;
use pal_resources::{FieldError, FieldPath, Resource, Status};
use serde_json::Value;

use crate::auth::rbac::Policy;
use crate::auth::{Attributes, MASTERS, Target, User};

pub(super) const GROUP: &str = "admissionregistration.k8s.io";

/// Checks a policy or a binding that is to be written: `old` is what it replaces.
pub(super) fn check(
    registry: &Registry,
    rbac: &Policy,
    user: &User,
    resource: &Resource,
    (old, new): (Option<&Value>, &Value),
) -> Result<(), Status> {
    let spec = &new["spec"];
    let (field, binds) = if resource.plural.ends_with("bindings") { ("paramRef", true) } else { ("paramKind", false) };
    if user.is_in(MASTERS) || !spec[field].is_object() || old.is_some_and(|old| old["spec"][field] == spec[field]) {
        return Ok(());
    }
    let named = &spec[field];
    let bound = binds.then(|| kind_of_policy(registry, resource, text(spec, "policyName"))).flatten();
    let kind = bound.as_ref().unwrap_or(if binds { &Value::Null } else { named });
    let wanted = Parameters::of(registry, kind);
    let (verb, name, namespace) = match text(named, "name") {
        _ if !binds => ("get", "*", "*"),
        "" => ("list", "", text(named, "namespace")),
        name => ("get", name, text(named, "namespace")),
    };
    let target = Target { group: &wanted.group, resource: &wanted.plural, name, namespace, ..Target::default() };
    if rbac.allows(user, &Attributes::Resource(verb, target)).is_some() {
        return Ok(());
    }
    let who = shown(user);
    let why = if binds {
        format!("user {who} does not have {verb:?} permission on the object referenced by paramRef")
    } else {
        let (kind, version) = (text(named, "kind"), text(named, "apiVersion"));
        format!(
            "user {who} must have \"get\" permission on all objects of the referenced paramKind (kind={kind}, \
             apiVersion={version})"
        )
    };
    let error = FieldError::forbidden(&FieldPath::new("spec").child(field), &why);
    Err(Status::invalid(resource, new["metadata"]["name"].as_str().unwrap_or_default(), &[error]))
}

/// The kind of parameters of the policy that a binding names.
fn kind_of_policy(registry: &Registry, binding: &Resource, name: &str) -> Option<Value> {
    let plural = binding.plural.replace("bindings", "").replace("policy", "policies");
    let policies = registry.find(GROUP, "v1", &plural)?;
    let policy = registry.peek(&policies, None, name)?;
    Some(policy.value().ok()?["spec"]["paramKind"].take()).filter(Value::is_object)
}

/// Where parameters of a kind are found. What is not known is everything.
struct Parameters {
    group: String,
    plural: String,
}

impl Parameters {
    fn of(registry: &Registry, kind: &Value) -> Self {
        let everything = || "*".to_owned();
        let Some(api_version) = kind["apiVersion"].as_str() else {
            return Self { group: everything(), plural: everything() };
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = registry.find_kind(group, version, text(kind, "kind"));
        Self { group: group.to_owned(), plural: found.map_or_else(everything, |found| found.plural.to_string()) }
    }
}

/// A user as Go prints one.
fn shown(user: &User) -> String {
    let extra: Vec<String> = user.extra.iter().map(|(key, all)| format!("{key}:[{}]", all.join(" "))).collect();
    format!("&{{{} {} [{}] map[{}]}}", user.name, user.uid, user.groups.join(" "), extra.join(" "))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
