//! The default roles, named and bound as Kubernetes names and binds them, and how those that are stored are brought up
//! to date.

use serde_json::{Map, Value, json};

/// The facts, in a small format that its head describes.
const FACTS: &str = include_str!("roles.txt");

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const GROUP: &str = "rbac.authorization.k8s.io";
/// Set to "false", it keeps an object from being brought up to date.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// All default ClusterRoles and ClusterRoleBindings.
pub(super) fn all() -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    for line in FACTS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if line.starts_with(' ') {
            let rules = objects.last_mut().and_then(|role| role["rules"].as_array_mut());
            if let Some(rules) = rules {
                rules.push(rule(words));
            }
            continue;
        }
        match (words.next(), words.next()) {
            (Some("role"), Some(name)) => objects.push(role(name, words)),
            (Some("bind"), Some(name)) => objects.push(binding(name, words)),
            _ => {}
        }
    }
    objects
}

fn rule<'a>(mut words: impl Iterator<Item = &'a str>) -> Value {
    let mut next = || words.next().unwrap_or_default().split(',');
    let verbs: Vec<&str> = match next().collect::<Vec<_>>()[..] {
        ["R"] => READ.to_vec(),
        ["W"] => WRITE.to_vec(),
        ["RW"] => sorted(READ.iter().chain(WRITE).copied().collect()),
        ref verbs => verbs.to_vec(),
    };
    let second: Vec<&str> = next().collect();
    if second[0].starts_with('/') || second == ["**"] {
        let paths: Vec<&str> = second.into_iter().map(|path| if path == "**" { "*" } else { path }).collect();
        return json!({"verbs": verbs, "nonResourceURLs": paths});
    }
    let groups: Vec<&str> = second.into_iter().map(|group| if group == "core" { "" } else { group }).collect();
    let resources: Vec<&str> = next().collect();
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    let names: Vec<&str> = next().filter(|name| !name.is_empty()).collect();
    if !names.is_empty() {
        rule["resourceNames"] = names.into();
    }
    rule
}

fn sorted(mut verbs: Vec<&str>) -> Vec<&str> {
    verbs.sort_unstable();
    verbs
}

fn role<'a>(name: &str, options: impl Iterator<Item = &'a str>) -> Value {
    let mut role = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": metadata(name), "rules": []
    });
    for option in options {
        match option.split_once('=') {
            Some(("aggregates", label)) => {
                let labels = json!({format!("{GROUP}/aggregate-to-{label}"): "true"});
                role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            }
            Some(("into", label)) => {
                role["metadata"]["labels"][format!("{GROUP}/aggregate-to-{label}")] = "true".into();
            }
            _ => {}
        }
    }
    role
}

fn binding<'a>(name: &str, subjects: impl Iterator<Item = &'a str>) -> Value {
    let mut binding = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}
    });
    let subjects: Vec<Value> = subjects
        .filter_map(|subject| {
            let (kind, name) = subject.split_once(':')?;
            Some(match (kind, name.split_once('/')) {
                ("ServiceAccount", Some((namespace, name))) => {
                    json!({"kind": kind, "name": name, "namespace": namespace})
                }
                _ => json!({"kind": kind, "apiGroup": GROUP, "name": name}),
            })
        })
        .collect();
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTO_UPDATE: "true"}
    })
}

/// The stored object with what the default has and it lacks; `None` when it lacks nothing, or is not to be touched. What
/// was added to it stays.
pub(super) fn reconciled(stored: &Value, default: &Value) -> Option<Value> {
    if stored["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return None;
    }
    let mut wanted = stored.clone();
    for field in ["labels", "annotations"] {
        let defaults = default["metadata"][field].as_object().into_iter().flatten();
        let metadata = wanted["metadata"].as_object_mut()?;
        let present = metadata.entry(field).or_insert_with(|| Map::new().into());
        for (key, value) in defaults {
            if let Some(present) = present.as_object_mut() {
                present.entry(key.as_str()).or_insert_with(|| value.clone());
            }
        }
    }
    if default.get("aggregationRule").is_some() {
        // Its rules are the controller's business.
        if wanted["aggregationRule"].is_null() {
            wanted["aggregationRule"] = default["aggregationRule"].clone();
        }
    } else {
        add_missing(&mut wanted, default, "rules");
    }
    add_missing(&mut wanted, default, "subjects");
    (wanted != *stored).then_some(wanted)
}

fn add_missing(wanted: &mut Value, default: &Value, list: &str) {
    let Some(defaults) = default[list].as_array().filter(|defaults| !defaults.is_empty()) else { return };
    let mut present = wanted[list].as_array().cloned().unwrap_or_default();
    let missing: Vec<Value> = defaults.iter().filter(|item| !present.contains(item)).cloned().collect();
    present.extend(missing);
    wanted[list] = present.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, kind: &str) -> Value {
        let found = all().into_iter().find(|object| object["metadata"]["name"] == name && object["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[test]
    fn the_defaults_are_those_of_kubernetes() {
        let check = |name: &str, kind: &str, pointer: &str, expected: Value| {
            assert_eq!(named(name, kind).pointer(pointer), Some(&expected), "{name} {pointer}");
        };
        check(
            "cluster-admin",
            "ClusterRole",
            "/rules/0",
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
        );
        check("cluster-admin", "ClusterRole", "/rules/1", json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        check(
            "edit",
            "ClusterRole",
            "/aggregationRule",
            json!({"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}]}),
        );
        check("edit", "ClusterRole", "/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-admin", "true".into());
        check("system:kube-scheduler", "ClusterRole", "/rules/2/resourceNames", json!(["kube-scheduler"]));
        check("system:kube-dns", "ClusterRoleBinding", "/subjects/0/namespace", "kube-system".into());
        check("cluster-admin", "ClusterRoleBinding", "/subjects/0/name", "system:masters".into());
        for object in all() {
            let rules = object["rules"].as_array().into_iter().flatten();
            assert!(rules.into_iter().all(|rule| rule["verbs"][0] != ""), "{object}");
        }
    }

    #[test]
    fn what_a_stored_default_lacks_is_added_and_what_it_has_stays() {
        let default = named("system:kube-dns", "ClusterRole");
        assert_eq!(reconciled(&default, &default), None);

        let mut fewer = default.clone();
        fewer["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        let mended = reconciled(&fewer, &default).expect("a change");
        assert_eq!(mended["rules"].as_array().map(Vec::len), Some(2));
        assert_eq!(mended["rules"][0], fewer["rules"][0]);

        let mut kept = fewer.clone();
        kept["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        assert_eq!(reconciled(&kept, &default), None);

        let binding = named("system:discovery", "ClusterRoleBinding");
        let mut unbound = binding.clone();
        unbound["subjects"] = Value::Null;
        assert_eq!(reconciled(&unbound, &binding).expect("a change")["subjects"], binding["subjects"]);

        let aggregated = named("view", "ClusterRole");
        let mut filled = aggregated.clone();
        filled["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        assert_eq!(reconciled(&filled, &aggregated), None);
    }
}
