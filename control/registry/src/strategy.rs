//! How resources differ in what an update may do (the update strategies of kube-apiserver's registries).

use pal_resources::Resource;

/// The resources that are built in and whose updates must say which version they replace. Custom resources are alike.
const VERSIONED: &[&str] = &[
    "leases",
    "customresourcedefinitions",
    "apiservices",
    "poddisruptionbudgets",
    "csidrivers",
    "csinodes",
    "csistoragecapacities",
    "volumeattachments",
    "volumeattributesclasses",
    "runtimeclasses",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "flowschemas",
    "prioritylevelconfigurations",
];

/// Whether an update may leave out which version it replaces.
pub(crate) fn updates_unconditionally(resource: &Resource) -> bool {
    resource.custom.is_none() && !VERSIONED.contains(&&*resource.plural)
}

/// Whether an update of an object that is not there creates it.
pub fn creates_by_update(resource: &Resource) -> bool {
    match &*resource.group {
        "" => matches!(&*resource.plural, "services" | "endpoints" | "events" | "limitranges"),
        "events.k8s.io" => &*resource.plural == "events",
        "coordination.k8s.io" => &*resource.plural == "leases",
        "rbac.authorization.k8s.io" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pal_resources::resource;

    use super::*;

    /// Plurals with their groups, of what can be replaced and of which that holds.
    fn those(holds: impl Fn(&Resource) -> bool) -> BTreeSet<String> {
        let replaced = resource::builtin().iter().filter(|resource| resource.verbs.contains(&"update"));
        replaced.filter(|resource| holds(resource)).map(|resource| resource.qualified()).collect()
    }

    #[test]
    fn some_updates_must_name_the_version_that_they_replace() {
        let expected = [
            "apiservices.apiregistration.k8s.io",
            "csidrivers.storage.k8s.io",
            "csinodes.storage.k8s.io",
            "csistoragecapacities.storage.k8s.io",
            "customresourcedefinitions.apiextensions.k8s.io",
            "flowschemas.flowcontrol.apiserver.k8s.io",
            "leases.coordination.k8s.io",
            "mutatingadmissionpolicies.admissionregistration.k8s.io",
            "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
            "poddisruptionbudgets.policy",
            "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
            "runtimeclasses.node.k8s.io",
            "validatingadmissionpolicies.admissionregistration.k8s.io",
            "validatingadmissionpolicybindings.admissionregistration.k8s.io",
            "validatingwebhookconfigurations.admissionregistration.k8s.io",
            "volumeattachments.storage.k8s.io",
            "volumeattributesclasses.storage.k8s.io",
        ];
        let found = those(|resource| !updates_unconditionally(resource));
        assert_eq!(found, expected.map(str::to_owned).into_iter().collect());
    }

    #[test]
    fn some_updates_create_what_is_not_there() {
        let expected = [
            "clusterrolebindings.rbac.authorization.k8s.io",
            "clusterroles.rbac.authorization.k8s.io",
            "endpoints",
            "events",
            "events.events.k8s.io",
            "leases.coordination.k8s.io",
            "limitranges",
            "rolebindings.rbac.authorization.k8s.io",
            "roles.rbac.authorization.k8s.io",
            "services",
        ];
        assert_eq!(those(creates_by_update), expected.map(str::to_owned).into_iter().collect());
    }
}
