//! What is looked at of claims, volumes and classes: a small part of each.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeSelector, PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm, VolumeResourceRequirements,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pal_resources::admission::storage::DEFAULT_CLASS;
use pal_resources::quantity::Quantity;
use pal_resources::selector::LabelSelector;
use pal_resources::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, OLD_CLASS, PROVISIONED_BY, SELECTED_NODE, STORAGE_PROVISIONER,
};

use crate::affinity::{Labelled, selects};

/// The access mode of volumes that one pod at a time may use.
pub const SINGLE_POD: &str = "ReadWriteOncePod";

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    pub deleting: bool,
    /// The uid of the owner that controls it: a pod, of an ephemeral volume's.
    pub owner: Option<String>,
    pub modes: Vec<String>,
    /// How much is asked for.
    pub asked: Quantity,
    pub selector: Option<LabelSelector>,
    /// `Some` of an empty name: none is wanted.
    pub class: Option<String>,
    /// The class of attributes; empty: none.
    pub attributes: String,
    pub is_block: bool,
    /// Whether it is to begin as a copy of something.
    pub is_copy: bool,
    /// The volume's name; empty: it has none yet.
    pub volume: String,
    /// Whether the binding is complete on both sides.
    pub is_bound: bool,
    /// Whether the volume was not named by a user.
    pub bound_by_controller: bool,
    /// The node of the pod that waits for it.
    pub selected_node: Option<String>,
    /// Who is asked to make its volume.
    pub provisioner: Option<String>,
    /// `status.phase`
    pub phase: String,
    /// `status.capacity.storage`
    pub capacity: Option<Quantity>,
}

/// The claim that a volume names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimRef {
    pub namespace: String,
    pub name: String,
    /// Empty: any claim of that name is meant.
    pub uid: String,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    pub name: String,
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    pub deleting: bool,
    pub labels: BTreeMap<String, String>,
    pub modes: Vec<String>,
    pub capacity: Quantity,
    /// Its class; empty: none.
    pub class: String,
    /// The class of attributes; empty: none.
    pub attributes: String,
    pub is_block: bool,
    pub claim: Option<ClaimRef>,
    /// The nodes from which it can be reached; `None`: all.
    pub affinity: Option<NodeSelector>,
    /// `Delete`, `Retain` or `Recycle`.
    pub reclaim: String,
    /// Who made it, if it was not made by hand.
    pub provisioner: Option<String>,
    /// Whether the claim was not named by a user.
    pub bound_by_controller: bool,
    /// `status.phase`
    pub phase: String,
    /// `status.message`
    pub message: String,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    pub name: String,
    pub provisioner: String,
    /// Whether claims wait for the first pod that uses them.
    pub waits: bool,
    pub reclaim: String,
    pub mount_options: Vec<String>,
    /// Whether claims that name no class are of this one.
    pub is_default: bool,
    /// When it was made, as text.
    pub made: String,
    /// Where its volumes may be; empty: everywhere.
    pub topologies: Vec<TopologySelectorTerm>,
}

fn annotation(meta: &ObjectMeta, key: &str) -> Option<String> {
    meta.annotations.as_ref()?.get(key).filter(|value| !value.is_empty()).cloned()
}

fn text(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

fn storage(
    amounts: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
) -> Option<Quantity> {
    amounts?.get("storage")?.0.parse().ok()
}

impl Claim {
    /// Takes what matters from a claim.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let meta = &claim.metadata;
        let spec = claim.spec.clone().unwrap_or_default();
        let status = claim.status.as_ref();
        let requests = |resources: &VolumeResourceRequirements| storage(resources.requests.as_ref());
        let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Self {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
            deleting: meta.deletion_timestamp.is_some(),
            owner: owner.map(|owner| owner.uid.clone()),
            modes: spec.access_modes.unwrap_or_default(),
            asked: spec.resources.as_ref().and_then(requests).unwrap_or_default(),
            // What cannot be read was refused when it was written.
            selector: spec.selector.as_ref().and_then(|selector| LabelSelector::from_object(selector).ok()),
            class: annotation(meta, OLD_CLASS).or(spec.storage_class_name),
            attributes: text(&spec.volume_attributes_class_name),
            is_block: spec.volume_mode.as_deref() == Some("Block"),
            is_copy: spec.data_source.is_some() || spec.data_source_ref.is_some(),
            volume: text(&spec.volume_name),
            is_bound: annotation(meta, BIND_COMPLETED).is_some(),
            bound_by_controller: annotation(meta, BOUND_BY_CONTROLLER).is_some(),
            selected_node: annotation(meta, SELECTED_NODE),
            provisioner: STORAGE_PROVISIONER.iter().find_map(|key| annotation(meta, key)),
            phase: status.map(|status| text(&status.phase)).unwrap_or_default(),
            capacity: status.and_then(|status| storage(status.capacity.as_ref())),
        }
    }

    /// The name of its class; empty: none.
    pub fn class_name(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }

    /// Whether one pod at a time may use it.
    pub fn is_for_one_pod(&self) -> bool {
        self.modes.iter().any(|mode| mode == SINGLE_POD)
    }
}

impl ClaimRef {
    /// Whether that claim is meant, whatever claim of its name is.
    pub fn names(&self, claim: &Claim) -> bool {
        self.namespace == claim.namespace && self.name == claim.name && (self.uid.is_empty() || self.uid == claim.uid)
    }
}

impl Volume {
    /// Takes what matters from a volume.
    pub fn of(volume: &PersistentVolume) -> Self {
        let meta = &volume.metadata;
        let spec = volume.spec.clone().unwrap_or_default();
        let status = volume.status.as_ref();
        let claim = spec.claim_ref.as_ref().map(|claim| ClaimRef {
            namespace: text(&claim.namespace),
            name: text(&claim.name),
            uid: text(&claim.uid),
        });
        Self {
            name: text(&meta.name),
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
            deleting: meta.deletion_timestamp.is_some(),
            labels: meta.labels.clone().unwrap_or_default(),
            modes: spec.access_modes.unwrap_or_default(),
            capacity: storage(spec.capacity.as_ref()).unwrap_or_default(),
            class: annotation(meta, OLD_CLASS).or(spec.storage_class_name).unwrap_or_default(),
            attributes: text(&spec.volume_attributes_class_name),
            is_block: spec.volume_mode.as_deref() == Some("Block"),
            claim,
            affinity: spec.node_affinity.and_then(|affinity| affinity.required),
            reclaim: text(&spec.persistent_volume_reclaim_policy),
            provisioner: annotation(meta, PROVISIONED_BY),
            bound_by_controller: annotation(meta, BOUND_BY_CONTROLLER).is_some(),
            phase: status.map(|status| text(&status.phase)).unwrap_or_default(),
            message: status.map(|status| text(&status.message)).unwrap_or_default(),
        }
    }

    /// Whether it can be reached from a node with that name and those labels.
    pub fn is_reached_from(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.affinity.as_ref().is_none_or(|selector| selects(selector, &Labelled { name, labels }))
    }
}

impl Class {
    /// Takes what matters from a class.
    pub fn of(class: &StorageClass) -> Self {
        let meta = &class.metadata;
        let made = meta.creation_timestamp.as_ref().map(|time| time.0.to_string());
        Self {
            name: text(&meta.name),
            provisioner: class.provisioner.clone(),
            waits: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            reclaim: class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned()),
            mount_options: class.mount_options.clone().unwrap_or_default(),
            is_default: DEFAULT_CLASS.iter().any(|mark| annotation(meta, mark).as_deref() == Some("true")),
            made: made.unwrap_or_default(),
            topologies: class.allowed_topologies.clone().unwrap_or_default(),
        }
    }

    /// Whether its volumes may be where nodes have those labels.
    pub(crate) fn allows(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |term: &TopologySelectorTerm| {
            let mut wanted = term.match_label_expressions.iter().flatten();
            wanted.all(|want| labels.get(&want.key).is_some_and(|value| want.values.contains(value)))
        };
        self.topologies.is_empty() || self.topologies.iter().any(holds)
    }
}
