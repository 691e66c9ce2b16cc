//! The resources that every server has, in the order in which discovery tells them: for an ambiguous short name, clients
//! take the first.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::{ALL_VERBS, Resource, ResourceRef, Subresource};

const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOWS: &str = "flowcontrol.apiserver.k8s.io";

const GET: &[&str] = &["get"];
const GET_LIST: &[&str] = &["get", "list"];
const CREATE: &[&str] = &["create"];
const CREATE_GET: &[&str] = &["create", "get"];
const ANY_METHOD: &[&str] = &["create", "delete", "get", "patch", "update"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];

/// A resource as it is written down below: `group/version` with an empty group for core, and names.
struct Row {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    verbs: &'static [&'static str],
    subresources: &'static [Sub],
}

/// A subresource: its name, the group, version and kind of its bodies, its verbs.
struct Sub(&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const fn row(group: &'static str, plural: &'static str, kind: &'static str, namespaced: bool) -> Row {
    Row {
        group,
        version: "v1",
        plural,
        kind,
        namespaced,
        short_names: &[],
        categories: &[],
        verbs: ALL_VERBS,
        subresources: &[],
    }
}

const ROWS: &[Row] = &[
    Row { verbs: CREATE, ..row("", "bindings", "Binding", true) },
    Row { short_names: &["cs"], verbs: GET_LIST, ..row("", "componentstatuses", "ComponentStatus", false) },
    Row { short_names: &["cm"], ..row("", "configmaps", "ConfigMap", true) },
    Row { short_names: &["ep"], ..row("", "endpoints", "Endpoints", true) },
    Row { short_names: &["ev"], ..row("", "events", "Event", true) },
    Row { short_names: &["limits"], ..row("", "limitranges", "LimitRange", true) },
    Row {
        short_names: &["ns"],
        // The real server has no deletecollection for namespaces either.
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: &[
            Sub("finalize", "", "v1", "Namespace", &["update"]),
            Sub("status", "", "v1", "Namespace", GET_PATCH_UPDATE),
        ],
        ..row("", "namespaces", "Namespace", false)
    },
    Row {
        short_names: &["no"],
        subresources: &[
            Sub("proxy", "", "v1", "NodeProxyOptions", ANY_METHOD),
            Sub("status", "", "v1", "Node", GET_PATCH_UPDATE),
        ],
        ..row("", "nodes", "Node", false)
    },
    Row {
        short_names: &["pvc"],
        subresources: &[Sub("status", "", "v1", "PersistentVolumeClaim", GET_PATCH_UPDATE)],
        ..row("", "persistentvolumeclaims", "PersistentVolumeClaim", true)
    },
    Row {
        short_names: &["pv"],
        subresources: &[Sub("status", "", "v1", "PersistentVolume", GET_PATCH_UPDATE)],
        ..row("", "persistentvolumes", "PersistentVolume", false)
    },
    Row {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Sub("attach", "", "v1", "PodAttachOptions", CREATE_GET),
            Sub("binding", "", "v1", "Binding", CREATE),
            Sub("ephemeralcontainers", "", "v1", "Pod", GET_PATCH_UPDATE),
            Sub("eviction", "policy", "v1", "Eviction", CREATE),
            Sub("exec", "", "v1", "PodExecOptions", CREATE_GET),
            Sub("log", "", "v1", "Pod", GET),
            Sub("portforward", "", "v1", "PodPortForwardOptions", CREATE_GET),
            Sub("proxy", "", "v1", "PodProxyOptions", ANY_METHOD),
            Sub("resize", "", "v1", "Pod", GET_PATCH_UPDATE),
            Sub("status", "", "v1", "Pod", GET_PATCH_UPDATE),
        ],
        ..row("", "pods", "Pod", true)
    },
    row("", "podtemplates", "PodTemplate", true),
    Row {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[
            Sub("scale", "autoscaling", "v1", "Scale", GET_PATCH_UPDATE),
            Sub("status", "", "v1", "ReplicationController", GET_PATCH_UPDATE),
        ],
        ..row("", "replicationcontrollers", "ReplicationController", true)
    },
    Row {
        short_names: &["quota"],
        subresources: &[Sub("status", "", "v1", "ResourceQuota", GET_PATCH_UPDATE)],
        ..row("", "resourcequotas", "ResourceQuota", true)
    },
    row("", "secrets", "Secret", true),
    Row {
        short_names: &["sa"],
        subresources: &[Sub("token", "authentication.k8s.io", "v1", "TokenRequest", CREATE)],
        ..row("", "serviceaccounts", "ServiceAccount", true)
    },
    Row {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[
            Sub("proxy", "", "v1", "ServiceProxyOptions", ANY_METHOD),
            Sub("status", "", "v1", "Service", GET_PATCH_UPDATE),
        ],
        ..row("", "services", "Service", true)
    },
    Row {
        categories: &["api-extensions"],
        subresources: &[Sub("status", "apiregistration.k8s.io", "v1", "APIService", GET_PATCH_UPDATE)],
        ..row("apiregistration.k8s.io", "apiservices", "APIService", false)
    },
    row("apps", "controllerrevisions", "ControllerRevision", true),
    Row {
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[Sub("status", "apps", "v1", "DaemonSet", GET_PATCH_UPDATE)],
        ..row("apps", "daemonsets", "DaemonSet", true)
    },
    Row {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[
            Sub("scale", "autoscaling", "v1", "Scale", GET_PATCH_UPDATE),
            Sub("status", "apps", "v1", "Deployment", GET_PATCH_UPDATE),
        ],
        ..row("apps", "deployments", "Deployment", true)
    },
    Row {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[
            Sub("scale", "autoscaling", "v1", "Scale", GET_PATCH_UPDATE),
            Sub("status", "apps", "v1", "ReplicaSet", GET_PATCH_UPDATE),
        ],
        ..row("apps", "replicasets", "ReplicaSet", true)
    },
    Row {
        short_names: &["sts"],
        categories: &["all"],
        subresources: &[
            Sub("scale", "autoscaling", "v1", "Scale", GET_PATCH_UPDATE),
            Sub("status", "apps", "v1", "StatefulSet", GET_PATCH_UPDATE),
        ],
        ..row("apps", "statefulsets", "StatefulSet", true)
    },
    Row { short_names: &["ev"], ..row("events.k8s.io", "events", "Event", true) },
    Row { verbs: CREATE, ..row("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", false) },
    Row { verbs: CREATE, ..row("authentication.k8s.io", "tokenreviews", "TokenReview", false) },
    Row { verbs: CREATE, ..row("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", true) },
    Row { verbs: CREATE, ..row("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false) },
    Row { verbs: CREATE, ..row("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false) },
    Row { verbs: CREATE, ..row("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", false) },
    Row {
        version: "v2",
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &[Sub("status", "autoscaling", "v2", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)],
        ..row("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true)
    },
    Row {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &[Sub("status", "autoscaling", "v1", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)],
        ..row("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true)
    },
    Row {
        short_names: &["cj"],
        categories: &["all"],
        subresources: &[Sub("status", "batch", "v1", "CronJob", GET_PATCH_UPDATE)],
        ..row("batch", "cronjobs", "CronJob", true)
    },
    Row {
        categories: &["all"],
        subresources: &[Sub("status", "batch", "v1", "Job", GET_PATCH_UPDATE)],
        ..row("batch", "jobs", "Job", true)
    },
    Row {
        short_names: &["csr"],
        subresources: &[
            Sub("approval", "certificates.k8s.io", "v1", "CertificateSigningRequest", GET_PATCH_UPDATE),
            Sub("status", "certificates.k8s.io", "v1", "CertificateSigningRequest", GET_PATCH_UPDATE),
        ],
        ..row("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest", false)
    },
    row("networking.k8s.io", "ingressclasses", "IngressClass", false),
    Row {
        short_names: &["ing"],
        subresources: &[Sub("status", "networking.k8s.io", "v1", "Ingress", GET_PATCH_UPDATE)],
        ..row("networking.k8s.io", "ingresses", "Ingress", true)
    },
    Row { short_names: &["ip"], ..row("networking.k8s.io", "ipaddresses", "IPAddress", false) },
    Row { short_names: &["netpol"], ..row("networking.k8s.io", "networkpolicies", "NetworkPolicy", true) },
    Row {
        subresources: &[Sub("status", "networking.k8s.io", "v1", "ServiceCIDR", GET_PATCH_UPDATE)],
        ..row("networking.k8s.io", "servicecidrs", "ServiceCIDR", false)
    },
    Row {
        short_names: &["pdb"],
        subresources: &[Sub("status", "policy", "v1", "PodDisruptionBudget", GET_PATCH_UPDATE)],
        ..row("policy", "poddisruptionbudgets", "PodDisruptionBudget", true)
    },
    row("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", false),
    row("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", false),
    row("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", true),
    row("rbac.authorization.k8s.io", "roles", "Role", true),
    row("storage.k8s.io", "csidrivers", "CSIDriver", false),
    row("storage.k8s.io", "csinodes", "CSINode", false),
    row("storage.k8s.io", "csistoragecapacities", "CSIStorageCapacity", true),
    Row { short_names: &["sc"], ..row("storage.k8s.io", "storageclasses", "StorageClass", false) },
    Row {
        subresources: &[Sub("status", "storage.k8s.io", "v1", "VolumeAttachment", GET_PATCH_UPDATE)],
        ..row("storage.k8s.io", "volumeattachments", "VolumeAttachment", false)
    },
    Row { short_names: &["vac"], ..row("storage.k8s.io", "volumeattributesclasses", "VolumeAttributesClass", false) },
    Row {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        subresources: &[Sub("status", "apiextensions.k8s.io", "v1", "CustomResourceDefinition", GET_PATCH_UPDATE)],
        ..row("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", false)
    },
    Row {
        categories: &["api-extensions"],
        ..row(ADMISSION, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", false)
    },
    Row {
        categories: &["api-extensions"],
        ..row(ADMISSION, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", false)
    },
    Row {
        categories: &["api-extensions"],
        ..row(ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false)
    },
    Row {
        categories: &["api-extensions"],
        subresources: &[Sub("status", ADMISSION, "v1", "ValidatingAdmissionPolicy", GET_PATCH_UPDATE)],
        ..row(ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false)
    },
    row(ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false),
    Row {
        categories: &["api-extensions"],
        ..row(ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false)
    },
    Row { short_names: &["pc"], ..row("scheduling.k8s.io", "priorityclasses", "PriorityClass", false) },
    row("coordination.k8s.io", "leases", "Lease", true),
    row("node.k8s.io", "runtimeclasses", "RuntimeClass", false),
    row("discovery.k8s.io", "endpointslices", "EndpointSlice", true),
    Row {
        subresources: &[Sub("status", FLOWS, "v1", "FlowSchema", GET_PATCH_UPDATE)],
        ..row(FLOWS, "flowschemas", "FlowSchema", false)
    },
    Row {
        subresources: &[Sub("status", FLOWS, "v1", "PriorityLevelConfiguration", GET_PATCH_UPDATE)],
        ..row(FLOWS, "prioritylevelconfigurations", "PriorityLevelConfiguration", false)
    },
];

/// What is asked of others whenever it is asked for: no object of it is stored or written.
const MEASURED: &[Row] = &[
    Row { version: "v1beta1", verbs: GET_LIST, ..row("metrics.k8s.io", "nodes", "NodeMetrics", false) },
    Row { version: "v1beta1", verbs: GET_LIST, ..row("metrics.k8s.io", "pods", "PodMetrics", true) },
];

/// The built-in resources, and behind them those that are measured.
static RESOURCES: LazyLock<Vec<ResourceRef>> =
    LazyLock::new(|| ROWS.iter().chain(MEASURED).map(Row::resource).collect());

impl Row {
    fn resource(&self) -> ResourceRef {
        let subresources = self
            .subresources
            .iter()
            .map(|Sub(name, group, version, kind, verbs)| Subresource {
                name: Cow::Borrowed(*name),
                group: Cow::Borrowed(*group),
                version: Cow::Borrowed(*version),
                kind: Cow::Borrowed(*kind),
                verbs: Cow::Borrowed(*verbs),
            })
            .collect();
        Arc::new(Resource {
            group: Cow::Borrowed(self.group),
            version: Cow::Borrowed(self.version),
            plural: Cow::Borrowed(self.plural),
            singular: Cow::Owned(self.kind.to_ascii_lowercase()),
            kind: Cow::Borrowed(self.kind),
            namespaced: self.namespaced,
            short_names: self.short_names.iter().copied().map(Cow::Borrowed).collect(),
            categories: self.categories.iter().copied().map(Cow::Borrowed).collect(),
            verbs: Cow::Borrowed(self.verbs),
            subresources: Cow::Owned(subresources),
            custom: None,
        })
    }
}

/// All built-in resources whose objects are kept, or made by the server itself.
pub fn builtin() -> &'static [ResourceRef] {
    &RESOURCES[..ROWS.len()]
}

/// Those of what is measured.
pub fn measured() -> &'static [ResourceRef] {
    &RESOURCES[ROWS.len()..]
}

/// By their plurals, which a few have in common: each request looks some up.
static BY_PLURAL: LazyLock<HashMap<&'static str, Vec<&'static ResourceRef>>> = LazyLock::new(|| {
    let mut found: HashMap<&str, Vec<&ResourceRef>> = HashMap::new();
    for resource in RESOURCES.iter() {
        found.entry(&resource.plural).or_default().push(resource);
    }
    found
});

/// The built-in resource with that group (empty for core), version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<ResourceRef> {
    BY_PLURAL.get(plural)?.iter().find(|r| r.group == group && r.version == version).copied().cloned()
}

/// The built-in resource whose objects have that group (empty for core), version and kind.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<ResourceRef> {
    RESOURCES.iter().find(|r| r.kind == kind && r.group == group && r.version == version).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_found_by_plural_and_by_kind() {
        for resource in builtin() {
            let found = find(&resource.group, &resource.version, &resource.plural);
            assert_eq!(found.as_ref(), Some(resource), "{}", resource.qualified());
            let found = by_kind(&resource.group, &resource.version, &resource.kind);
            assert_eq!(found.as_ref(), Some(resource), "{}", resource.qualified());
        }
    }

    #[test]
    fn short_names_are_unique() {
        // One kind may be served in several forms.
        let of = |r: &ResourceRef| -> Vec<(String, String)> {
            r.short_names.iter().map(|name| (name.to_string(), r.plural.to_string())).collect()
        };
        let mut names: Vec<_> = builtin().iter().flat_map(of).collect();
        names.sort_unstable();
        names.dedup();
        let all = names.len();
        names.dedup_by_key(|(name, _)| name.clone());
        assert_eq!(names.len(), all);
    }
}
