//! APIServices of what definitions bring: each group and version that is served has one, which goes with the last definition of it.

use serde_json::{Value, json};

use crate::action::{Action, Plan, ResourceId, Target};

/// The label of what is made here, with this value. What servers make at their start has another one.
pub const MANAGED: (&str, &str) = ("kube-aggregator.kubernetes.io/automanaged", "true");
/// The place of custom resources' groups among all, and of a version in its group, as Kubernetes has them: far behind.
const PRIORITIES: (u32, u32) = (1000, 100);

/// Everything that is looked at for one group and version.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// `VERSION.GROUP`
    pub name: &'a str,
    /// Whether a definition serves it.
    pub served: bool,
    /// The APIService of that name.
    pub known: Option<Known>,
}

/// An APIService that there is.
#[derive(Clone, Debug)]
pub struct Known {
    pub target: Target,
    /// Whether it was made here.
    pub managed: bool,
}

/// The names that the APIServices of a definition's served versions have.
pub fn names(definition: &Value) -> impl Iterator<Item = String> {
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    versions.map(move |version| format!("{}.{}", text(&version["name"]), text(&spec["group"])))
}

/// Makes what is missing, and removes what nobody serves any more.
pub fn reconcile(view: &View<'_>) -> Plan {
    match (&view.known, view.served, view.name.split_once('.')) {
        (None, true, Some((version, group))) => Plan::of(Action::Create {
            resource: ResourceId {
                group: "apiregistration.k8s.io".into(),
                version: "v1".into(),
                plural: "apiservices".into(),
            },
            namespace: None,
            body: json!({
                "metadata": {"name": view.name, "labels": {MANAGED.0: MANAGED.1}},
                "spec": {"group": group, "version": version,
                         "groupPriorityMinimum": PRIORITIES.0, "versionPriority": PRIORITIES.1},
            }),
            announce: None,
        }),
        (Some(known), false, _) if known.managed => Plan::of(Action::Delete {
            target: known.target.clone(),
            grace_seconds: None,
            propagation: None,
            announce: None,
        }),
        _ => Plan::idle(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_has_an_api_service_as_long_as_it_is() {
        let resource = ResourceId { group: "g".into(), version: "v1".into(), plural: "p".into() };
        let target = Target { resource, namespace: None, name: "v1.x.io".into(), uid: "u".into() };
        let check = |served: bool, managed: Option<bool>, expected: &str| {
            let known = managed.map(|managed| Known { target: target.clone(), managed });
            let plan = reconcile(&View { name: "v1.x.io", served, known });
            let told = plan.actions.first().map_or(String::new(), |action| match action {
                Action::Create { body, .. } => body.to_string(),
                Action::Delete { target, .. } => format!("delete {}", target.name),
                other => format!("{other:?}"),
            });
            assert_eq!(told, expected, "{served} {managed:?}");
        };
        let made = json!({
            "metadata": {"name": "v1.x.io", "labels": {"kube-aggregator.kubernetes.io/automanaged": "true"}},
            "spec": {"group": "x.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100},
        });
        check(true, None, &made.to_string());
        check(true, Some(true), "");
        check(true, Some(false), "");
        check(false, None, "");
        check(false, Some(true), "delete v1.x.io");
        check(false, Some(false), "");
    }

    #[test]
    fn served_versions_are_named() {
        let definition = json!({"spec": {"group": "x.io", "versions": [
            {"name": "v1", "served": true}, {"name": "v2", "served": false}, {"name": "v3", "served": true}]}});
        assert_eq!(names(&definition).collect::<Vec<_>>(), ["v1.x.io", "v3.x.io"]);
        assert_eq!(names(&json!({})).count(), 0);
    }
}
