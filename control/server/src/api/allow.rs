//! Authorization where it meets stored objects.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, Pod, PodSpec, Volume};
use pal_custom::policy::{About, Answer, Question as Asked};
use pal_registry::{ListOptions, Read};
use pal_resources::selector::FieldSelector;
use pal_resources::volumes::claims_of;
use pal_resources::{Status, resource};

use super::{Api, At, Call};
use crate::auth::rbac::Policy;
use crate::auth::{Attributes, Question, Target, User, Verdict, decide, forbidden};

/// Whether a user may, and why or why not; empty when there is no more to say.
pub(super) enum Decision {
    Allowed(String),
    Refused(String),
}

/// Refuses what the user may not do.
pub(super) async fn check(call: &Call<'_>, attributes: &Attributes<'_>) -> Result<(), Status> {
    let decision = permitted(call.api, &call.user, attributes).await?;
    let (allowed, why) = match &decision {
        Decision::Allowed(why) => (true, why),
        Decision::Refused(why) => (false, why),
    };
    if let Some(trail) = call.trail {
        trail.authorized(allowed, why);
    }
    if allowed { Ok(()) } else { Err(forbidden(&call.user, attributes, why)) }
}

/// Refuses who may not create what the path names, its subresource included.
pub(super) async fn create(call: &Call<'_>, at: &At) -> Result<(), Status> {
    let target = Target {
        group: &at.resource.group,
        resource: &at.resource.plural,
        subresource: at.subresource().unwrap_or_default(),
        namespace: at.namespace().unwrap_or_default(),
        name: at.name()?,
        field_selector: "",
    };
    check(call, &Attributes::Resource("create", target)).await
}

/// What the request alone decides, then what stored objects say of nodes, then roles and their bindings.
pub(super) async fn permitted(api: &Api, user: &User, attributes: &Attributes<'_>) -> Result<Decision, Status> {
    let mut why_not = String::new();
    match (decide(user, attributes), attributes) {
        (Verdict::Allow, _) => return Ok(Decision::Allowed(String::new())),
        (Verdict::Ask(question), Attributes::Resource(verb, target)) => {
            if ask(api, user, question, verb, target).await? {
                return Ok(Decision::Allowed(String::new()));
            }
            let why = user.node().map(|node| format!("no relationship found between node '{node}' and this object"));
            why_not = why.unwrap_or_default();
        }
        (Verdict::NotForNodes(why), _) => why_not = why.to_owned(),
        (Verdict::Ask(_) | Verdict::Deny, _) => {}
    }
    let roles = api.rbac.policy();
    Ok(match roles.allows(user, attributes) {
        Some(why) => Decision::Allowed(why.to_string()),
        None => {
            let lacks = roles.lacks(user, attributes);
            let said = [why_not, lacks].into_iter().filter(|why| !why.is_empty());
            Decision::Refused(said.collect::<Vec<_>>().join("\n"))
        }
    })
}

/// What policies of admission are told of what somebody may do. What only stored objects know, nobody may.
pub(super) fn answer(user: &User, roles: &Policy, question: &Asked) -> Answer {
    let account = question.account.as_ref().map(|(namespace, name)| {
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
        User::new(format!("system:serviceaccount:{namespace}:{name}"), &groups)
    });
    let user = account.as_ref().unwrap_or(user);
    let attributes = match &question.about {
        About::Path(path) => Attributes::Path(&question.verb, path),
        About::Resource(about) => {
            let target = Target {
                group: &about.group,
                resource: &about.resource,
                subresource: &about.subresource,
                namespace: &about.namespace,
                name: &about.name,
                field_selector: &about.field_selector,
            };
            Attributes::Resource(&question.verb, target)
        }
    };
    if decide(user, &attributes) == Verdict::Allow {
        return Answer { allowed: true, ..Answer::default() };
    }
    let why = roles.allows(user, &attributes);
    let reason = why.as_ref().map_or_else(|| roles.lacks(user, &attributes), |why| why.to_string());
    Answer { allowed: why.is_some(), reason, error: None }
}

async fn ask(api: &Api, user: &User, question: Question, verb: &str, target: &Target<'_>) -> Result<bool, Status> {
    let node = user.node().unwrap_or_default();
    match question {
        Question::PodOnNode => {
            let pod = find(api, "", "pods", target).await?;
            Ok(match pod {
                Some(pod) => pod.index().field("spec.nodeName") == Some(node),
                None => absent_is_allowed(verb),
            })
        }
        Question::OwnRequest => {
            let request = find(api, "certificates.k8s.io", "certificatesigningrequests", target).await?;
            let Some(request) = request else { return Ok(true) };
            Ok(request.value()?["spec"]["username"] == user.name.as_str())
        }
        Question::NamedByPodOfNode if target.resource == "persistentvolumes" => {
            let Some(volume) = find(api, "", "persistentvolumes", target).await? else { return Ok(false) };
            let claim = volume.value()?["spec"]["claimRef"].clone();
            let text = |field: &str| claim[field].as_str().unwrap_or_default();
            let (namespace, name) = (text("namespace"), text("name"));
            if name.is_empty() {
                return Ok(false);
            }
            // Who uses the claim uses its volume.
            let target = Target { resource: "persistentvolumeclaims", namespace, name, ..*target };
            named_by_pod(api, node, &target).await
        }
        Question::NamedByPodOfNode => named_by_pod(api, node, target).await,
    }
}

/// What does not exist is answered with 404: a node must learn that its pod is gone. A list or a watch would be of
/// whatever comes to exist.
fn absent_is_allowed(verb: &str) -> bool {
    !matches!(verb, "list" | "watch")
}

async fn find(
    api: &Api,
    group: &str,
    plural: &str,
    target: &Target<'_>,
) -> Result<Option<pal_registry::Object>, Status> {
    let resource = resource::find(group, "v1", plural).ok_or_else(Status::unknown_path)?;
    let namespace = Some(target.namespace).filter(|namespace| !namespace.is_empty());
    match api.registry.get(&resource, namespace, target.name, Read::Consistent).await {
        Ok(object) => Ok(Some(object)),
        Err(status) if status.code == 404 => Ok(None),
        Err(status) => Err(status),
    }
}

async fn named_by_pod(api: &Api, node: &str, target: &Target<'_>) -> Result<bool, Status> {
    let pods = resource::find("", "v1", "pods").ok_or_else(Status::unknown_path)?;
    let options =
        ListOptions { field: Some(FieldSelector::parse(&format!("spec.nodeName={node}"))?), ..ListOptions::default() };
    let list = api.registry.list(&pods, Some(target.namespace), options).await?;
    let quoted = format!("\"{}\"", target.name);
    for pod in &list.items {
        // Most pods that do not name the object do not contain its name at all, and are not parsed. A claim that is made for
        // a pod is called after it and not named.
        let json = pod.json();
        let is_made = target.resource == "persistentvolumeclaims" && target.name.starts_with(pod.name());
        if (is_made || json.windows(quoted.len()).any(|window| window == quoted.as_bytes()))
            && names(&pod.parse::<Pod>()?, target.resource, target.name)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the pod names that object: as a volume, for its environment, to pull its image, as its own identity.
fn names(pod: &Pod, resource: &str, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    match resource {
        "serviceaccounts" => spec.service_account_name.as_deref().unwrap_or("default") == name,
        "persistentvolumeclaims" => claims_of(pod).any(|claim| claim == name),
        "configmaps" => {
            volumes(spec).any(|volume| configures(volume, name)) || environments(spec).any(|of| of.reads_map(name))
        }
        "secrets" => {
            let pulls = spec.image_pull_secrets.iter().flatten().any(|secret| secret.name == name);
            pulls
                || volumes(spec).any(|volume| conceals(volume, name))
                || environments(spec).any(|of| of.reads_secret(name))
        }
        _ => false,
    }
}

fn volumes(spec: &PodSpec) -> impl Iterator<Item = &Volume> {
    spec.volumes.iter().flatten()
}

/// Where the variables of a pod's container come from.
struct Environment<'a> {
    from: &'a Option<Vec<EnvFromSource>>,
    variables: &'a Option<Vec<EnvVar>>,
}

fn environments(spec: &PodSpec) -> impl Iterator<Item = Environment<'_>> {
    let own = spec.init_containers.iter().flatten().chain(&spec.containers);
    let own = own.map(|container| Environment { from: &container.env_from, variables: &container.env });
    let later = spec.ephemeral_containers.iter().flatten();
    own.chain(later.map(|container| Environment { from: &container.env_from, variables: &container.env }))
}

fn configures(volume: &Volume, name: &str) -> bool {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.config_map.as_ref().is_some_and(|map| map.name == name)
        || projected.filter_map(|source| source.config_map.as_ref()).any(|map| map.name == name)
}

fn conceals(volume: &Volume, name: &str) -> bool {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.secret.as_ref().is_some_and(|secret| secret.secret_name.as_deref() == Some(name))
        || projected.filter_map(|source| source.secret.as_ref()).any(|secret| secret.name == name)
}

impl Environment<'_> {
    fn reads_map(&self, name: &str) -> bool {
        let from = self.from.iter().flatten().filter_map(|source| source.config_map_ref.as_ref());
        let keys = self.keys().filter_map(|source| source.config_map_key_ref.as_ref());
        from.map(|map| &map.name).chain(keys.map(|key| &key.name)).any(|of| of == name)
    }

    fn reads_secret(&self, name: &str) -> bool {
        let from = self.from.iter().flatten().filter_map(|source| source.secret_ref.as_ref());
        let keys = self.keys().filter_map(|source| source.secret_key_ref.as_ref());
        from.map(|secret| &secret.name).chain(keys.map(|key| &key.name)).any(|of| of == name)
    }

    fn keys(&self) -> impl Iterator<Item = &EnvVarSource> {
        self.variables.iter().flatten().filter_map(|variable| variable.value_from.as_ref())
    }
}

/// The one name that a field selector asks for; none where a comma may not be what parts the terms.
pub(super) fn selected_name(selector: &str) -> Option<&str> {
    if selector.contains('\\') {
        return None;
    }
    selector.split(',').find_map(|term| {
        let (field, value) = term.split_once('=')?;
        (field.trim() == "metadata.name").then(|| value.trim_start_matches('=').trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_name_what_they_use() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "sa",
                "imagePullSecrets": [{"name": "pull"}],
                "volumes": [
                    {"name": "a", "configMap": {"name": "cm-volume"}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
                    {"name": "own", "ephemeral": {}},
                    {"name": "b", "secret": {"secretName": "secret-volume"}},
                    {"name": "c", "projected": {"sources": [
                        {"configMap": {"name": "cm-projected"}}, {"secret": {"name": "secret-projected"}}]}},
                ],
                "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "cm-init"}}]}],
                "containers": [{"name": "c", "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm-key", "key": "k"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "secret-key", "key": "k"}}}]}],
                "ephemeralContainers": [{"name": "e", "envFrom": [{"secretRef": {"name": "secret-later"}}]}],
            }
        }))
        .expect("a pod");
        let check = |resource: &str, name: &str, expected: bool| {
            assert_eq!(names(&pod, resource, name), expected, "{resource} {name}");
        };
        for name in ["cm-volume", "cm-projected", "cm-init", "cm-key"] {
            check("configmaps", name, true);
            check("secrets", name, false);
        }
        for name in ["pull", "secret-volume", "secret-projected", "secret-key", "secret-later"] {
            check("secrets", name, true);
            check("configmaps", name, false);
        }
        check("persistentvolumeclaims", "claim", true);
        check("persistentvolumeclaims", "p-own", true);
        check("persistentvolumeclaims", "sa", false);
        check("serviceaccounts", "sa", true);
        check("serviceaccounts", "default", false);
    }

    #[test]
    fn what_does_not_exist_is_neither_listed_nor_watched() {
        let check = |verb: &str, expected: bool| assert_eq!(absent_is_allowed(verb), expected, "{verb}");
        check("get", true);
        check("delete", true);
        check("patch", true);
        check("list", false);
        check("watch", false);
    }

    #[test]
    fn a_selector_names_one_object_only_where_it_says_so() {
        let check =
            |selector: &str, expected: Option<&str>| assert_eq!(selected_name(selector), expected, "{selector}");
        check("metadata.name=p", Some("p"));
        check("status.phase=Running,metadata.name==p", Some("p"));
        check("metadata.name!=p", None);
        check("status.phase!=x\\,metadata.name=p", None);
        check("", None);
    }
}
