//! Which resources are watched, and where those that controllers ask for are among them.

use pal_resources::{ResourceRef, forms, resource};

/// Positions in the list of watched resources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positions {
    pub(super) pods: usize,
    pub(super) replica_sets: usize,
    pub(super) deployments: usize,
    pub(super) controllers: usize,
    pub(super) daemon_sets: usize,
    pub(super) stateful_sets: usize,
    pub(super) revisions: usize,
    pub(super) jobs: usize,
    pub(super) cron_jobs: usize,
    pub(super) autoscalers: usize,
    pub(super) claims: usize,
    pub(super) services: usize,
    pub(super) addresses: usize,
    pub(super) blocks: usize,
    pub(super) endpoint_slices: usize,
    pub(super) endpoints: usize,
    pub(super) namespaces: usize,
    pub(super) nodes: usize,
    pub(super) service_accounts: usize,
    pub(super) secrets: usize,
    pub(super) config_maps: usize,
    pub(super) requests: usize,
    pub(super) cluster_roles: usize,
    pub(super) resource_quotas: usize,
    pub(super) definitions: usize,
    pub(super) api_services: usize,
    pub(super) volumes: usize,
    pub(super) storage_classes: usize,
    pub(super) budgets: usize,
}

/// A resource that the controllers can not do without is not served.
#[derive(Debug, thiserror::Error)]
#[error("the registry does not serve {0}")]
pub struct MissingResource(pub &'static str);

/// All resources that are watched: those that can be, but for Events, of which there are many and which own nothing.
pub(super) fn watched() -> Vec<ResourceRef> {
    resource::builtin()
        .iter()
        .filter(|resource| {
            let another_form = forms::of(resource).is_some();
            resource.verbs.contains(&"watch") && resource.plural != "events" && !another_form
        })
        .cloned()
        .collect()
}

impl Positions {
    pub(super) fn of(resources: &[ResourceRef]) -> Result<Self, MissingResource> {
        let at = |group: &str, plural: &'static str| {
            resources
                .iter()
                .position(|resource| resource.group == group && resource.plural == plural)
                .ok_or(MissingResource(plural))
        };
        Ok(Self {
            pods: at("", "pods")?,
            replica_sets: at("apps", "replicasets")?,
            deployments: at("apps", "deployments")?,
            controllers: at("", "replicationcontrollers")?,
            daemon_sets: at("apps", "daemonsets")?,
            stateful_sets: at("apps", "statefulsets")?,
            revisions: at("apps", "controllerrevisions")?,
            jobs: at("batch", "jobs")?,
            cron_jobs: at("batch", "cronjobs")?,
            autoscalers: at("autoscaling", "horizontalpodautoscalers")?,
            claims: at("", "persistentvolumeclaims")?,
            services: at("", "services")?,
            addresses: at("networking.k8s.io", "ipaddresses")?,
            blocks: at("networking.k8s.io", "servicecidrs")?,
            endpoints: at("", "endpoints")?,
            endpoint_slices: at("discovery.k8s.io", "endpointslices")?,
            namespaces: at("", "namespaces")?,
            nodes: at("", "nodes")?,
            service_accounts: at("", "serviceaccounts")?,
            secrets: at("", "secrets")?,
            config_maps: at("", "configmaps")?,
            requests: at("certificates.k8s.io", "certificatesigningrequests")?,
            cluster_roles: at("rbac.authorization.k8s.io", "clusterroles")?,
            resource_quotas: at("", "resourcequotas")?,
            volumes: at("", "persistentvolumes")?,
            storage_classes: at("storage.k8s.io", "storageclasses")?,
            budgets: at("policy", "poddisruptionbudgets")?,
            api_services: at("apiregistration.k8s.io", "apiservices")?,
            definitions: at("apiextensions.k8s.io", "customresourcedefinitions")?,
        })
    }
}
