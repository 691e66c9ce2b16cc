//! What is known of one object: what the store keeps of it, and the whole of it where some controller looks at its kind.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, Secret, Service, Volume,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::IPAddress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::StorageClass;
use pal_registry::{Made, Object};
use pal_resources::{Resource, ResourceVersion};
use pal_scheduler::volumes::{self, Claim, Class};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cache::Place;
use crate::account_token;
use crate::service_account::ROOT_CA;

/// A uid as a key of a map that holds very many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Uid {
    /// As the registry writes them.
    Uuid([u8; 16]),
    Text(Box<str>),
}

impl Uid {
    pub(super) fn of(text: &str) -> Self {
        let parsed = uuid::Uuid::try_parse(text).ok().filter(|uuid| {
            let mut buffer = uuid::Uuid::encode_buffer();
            // Only one text is the same uid.
            *uuid.hyphenated().encode_lower(&mut buffer) == *text
        });
        parsed.map_or_else(|| Self::Text(text.into()), |uuid| Self::Uuid(uuid.into_bytes()))
    }
}

/// A whole object of a kind that some controller looks at.
#[derive(Clone, Debug)]
pub(super) enum Whole {
    Pod(Arc<Pod>),
    ReplicaSet(Arc<ReplicaSet>),
    Deployment(Arc<Deployment>),
    Controller(Arc<ReplicationController>),
    DaemonSet(Arc<DaemonSet>),
    StatefulSet(Arc<StatefulSet>),
    Revision(Arc<ControllerRevision>),
    Job(Arc<Job>),
    CronJob(Arc<CronJob>),
    Autoscaler(Arc<HorizontalPodAutoscaler>),
    Service(Arc<Service>),
    Address(Arc<IPAddress>),
    /// A ServiceCIDR.
    Block(Arc<Value>),
    Endpoints(Arc<Endpoints>),
    EndpointSlice(Arc<EndpointSlice>),
    Namespace(Arc<Namespace>),
    Node(Arc<Node>),
    Request(Arc<CertificateSigningRequest>),
    RootCa(Arc<ConfigMap>),
    AccountToken(Arc<Secret>),
    ClusterRole(Arc<ClusterRole>),
    Definition(Arc<Value>),
    Budget(Arc<PodDisruptionBudget>),
    Claim(Arc<Claim>),
    Volume(Arc<volumes::Volume>),
    StorageClass(Arc<Class>),
    /// Its references are all that matters.
    Other,
}

impl Whole {
    /// Reads what controllers look at of an object; of one that cannot be read, nothing.
    fn of(resource: &Resource, object: &Object, made: &Made) -> Self {
        fn whole<K: DeserializeOwned>(object: &Object, make: fn(K) -> Whole) -> Whole {
            match object.parse::<K>() {
                Ok(parsed) => make(parsed),
                Err(status) => {
                    tracing::error!(name = object.name(), %status, "a stored object cannot be read");
                    Whole::Other
                }
            }
        }
        fn plain(object: &Object, make: fn(Arc<Value>) -> Whole) -> Whole {
            match object.value() {
                Ok(value) => make(Arc::new(value)),
                Err(status) => {
                    tracing::error!(name = object.name(), %status, "a stored object cannot be read");
                    Whole::Other
                }
            }
        }
        match (&*resource.group, &*resource.kind) {
            ("", "Pod") => match made.take(object) {
                Some(pod) => Whole::Pod(Arc::new(lean(pod))),
                None => whole(object, |pod| Whole::Pod(Arc::new(lean(pod)))),
            },
            ("apps", "ReplicaSet") => whole(object, |parsed| Whole::ReplicaSet(Arc::new(parsed))),
            ("apps", "Deployment") => whole(object, |parsed| Whole::Deployment(Arc::new(parsed))),
            ("", "ReplicationController") => whole(object, |parsed| Whole::Controller(Arc::new(parsed))),
            ("apps", "DaemonSet") => whole(object, |parsed| Whole::DaemonSet(Arc::new(parsed))),
            ("apps", "StatefulSet") => whole(object, |parsed| Whole::StatefulSet(Arc::new(parsed))),
            ("apps", "ControllerRevision") => whole(object, |parsed| Whole::Revision(Arc::new(parsed))),
            ("policy", "PodDisruptionBudget") => whole(object, |parsed| Whole::Budget(Arc::new(parsed))),
            ("batch", "Job") => whole(object, |parsed| Whole::Job(Arc::new(parsed))),
            ("batch", "CronJob") => whole(object, |parsed| Whole::CronJob(Arc::new(parsed))),
            ("autoscaling", "HorizontalPodAutoscaler") => whole(object, |parsed| Whole::Autoscaler(Arc::new(parsed))),
            ("", "Service") => whole(object, |parsed| Whole::Service(Arc::new(parsed))),
            ("networking.k8s.io", "IPAddress") => whole(object, |parsed| Whole::Address(Arc::new(parsed))),
            ("", "Endpoints") => whole(object, |parsed| Whole::Endpoints(Arc::new(parsed))),
            ("discovery.k8s.io", "EndpointSlice") => whole(object, |parsed| Whole::EndpointSlice(Arc::new(parsed))),
            ("", "Namespace") => whole(object, |parsed| Whole::Namespace(Arc::new(parsed))),
            ("", "Node") => whole(object, |parsed| Whole::Node(Arc::new(parsed))),
            ("rbac.authorization.k8s.io", "ClusterRole") => {
                whole(object, |parsed| Whole::ClusterRole(Arc::new(parsed)))
            }
            ("certificates.k8s.io", "CertificateSigningRequest") => {
                whole(object, |parsed| Whole::Request(Arc::new(parsed)))
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => plain(object, Whole::Definition),
            ("networking.k8s.io", "ServiceCIDR") => plain(object, Whole::Block),
            ("", "PersistentVolumeClaim") => {
                whole(object, |parsed: PersistentVolumeClaim| Whole::Claim(Arc::new(Claim::of(&parsed))))
            }
            ("", "PersistentVolume") => {
                whole(object, |parsed: PersistentVolume| Whole::Volume(Arc::new(volumes::Volume::of(&parsed))))
            }
            ("storage.k8s.io", "StorageClass") => {
                whole(object, |parsed: StorageClass| Whole::StorageClass(Arc::new(Class::of(&parsed))))
            }
            ("", "ConfigMap") if object.name() == ROOT_CA => whole(object, |parsed| Whole::RootCa(Arc::new(parsed))),
            ("", "Secret") if object.index().field("type") == Some(account_token::TYPE) => {
                whole(object, |parsed| Whole::AccountToken(Arc::new(parsed)))
            }
            _ => Whole::Other,
        }
    }

    /// The node to which a pod is bound.
    pub(super) fn node(&self) -> Option<&str> {
        match self {
            Self::Pod(pod) => crate::pods::node(pod),
            _ => None,
        }
    }
}

/// What is known of one object. Most is read from what the store keeps of it anyway.
#[derive(Clone, Debug)]
pub(super) struct Known {
    object: Object,
    pub(super) whole: Whole,
}

impl Known {
    pub(super) fn of(resource: &Resource, object: &Object, made: &Made) -> Self {
        Self { object: object.clone(), whole: Whole::of(resource, object, made) }
    }

    pub(super) fn object(&self) -> &Object {
        &self.object
    }

    pub(super) fn version(&self) -> ResourceVersion {
        self.object.version()
    }

    pub(super) fn name(&self) -> &str {
        self.object.name()
    }

    /// Empty for objects of the cluster.
    pub(super) fn namespace(&self) -> &str {
        self.object.namespace().unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        &self.object.index().uid.0
    }

    pub(super) fn place(&self) -> Place {
        (self.namespace().to_owned(), self.name().to_owned())
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.object.index().deleting
    }

    pub(super) fn finalizers(&self) -> &[Box<str>] {
        &self.object.index().finalizers
    }

    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers().iter().any(|own| **own == *name)
    }

    /// Its owners, as it names them.
    pub(super) fn owners(&self) -> &[pal_registry::Owner] {
        &self.object.index().owners
    }
}

/// A pod without what no controller looks at, nor the scheduler: that is most of it.
fn lean(mut pod: Pod) -> Pod {
    if let Some(spec) = &mut pod.spec {
        // Those that stand for claims.
        let is_claim = |volume: &Volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some();
        let volumes = spec.volumes.take().into_iter().flatten().filter(is_claim);
        spec.volumes = Some(volumes.collect()).filter(|volumes: &Vec<Volume>| !volumes.is_empty());
        spec.ephemeral_containers = None;
        spec.image_pull_secrets = None;
        spec.security_context = None;
        spec.service_account = None;
        spec.service_account_name = None;
        spec.dns_policy = None;
        spec.preemption_policy = spec.preemption_policy.take().filter(|policy| policy == "Never");
        spec.tolerations.iter_mut().for_each(Vec::shrink_to_fit);
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let Container { name, ports, resources, restart_policy, .. } = std::mem::take(container);
            *container = Container { name, ports, resources, restart_policy, ..Container::default() };
        }
    }
    if let Some(status) = &mut pod.status {
        status.conditions.iter_mut().for_each(Vec::shrink_to_fit);
        let statuses = status.container_statuses.iter_mut().chain(&mut status.init_container_statuses);
        statuses.for_each(Vec::shrink_to_fit);
    }
    pod
}
