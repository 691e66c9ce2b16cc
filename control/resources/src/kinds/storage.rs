//! Volumes and how they come about: claims, volumes, classes and attachments.

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
    PersistentVolumeSpec, PersistentVolumeStatus, TypedLocalObjectReference, TypedObjectReference,
};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Env;
use super::kind::{Errors, Kind, has_meta, keeps_status};
use super::names;
use super::optional::{faults, fill, items, one_of, plain, text};
use super::pod::validate_node_selector;
use super::volume_rules::{
    VOLUME_MODES, validate_claim_spec, validate_csi_name, validate_driver, validate_modes, validate_parameters,
    validate_size, validate_volume_source,
};
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

const RECLAIM: &[&str] = &["Delete", "Recycle", "Retain"];
const IMMUTABLE: &str = "field is immutable";

/// Fills in a claim, or a StatefulSet's template of one.
pub(super) fn fill_claim(claim: &mut PersistentVolumeClaim) {
    let spec = claim.spec.get_or_insert_default();
    fill(&mut spec.volume_mode, "Filesystem");
    let status = claim.status.get_or_insert_default();
    fill(&mut status.phase, "Pending");
}

impl Kind for PersistentVolumeClaim {
    has_meta!();

    fn fill(&mut self) {
        fill_claim(self);
    }

    fn prepare_create(&mut self, _env: &Env) {
        self.status = Some(PersistentVolumeClaimStatus {
            phase: Some("Pending".to_owned()),
            ..PersistentVolumeClaimStatus::default()
        });
        if let Some(spec) = &mut self.spec {
            settle_source(spec);
        }
    }

    keeps_status!();

    fn validate(&self, errors: &mut Errors) {
        validate_claim_spec(self.spec.as_ref(), &FieldPath::new("spec"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        let mut allowed = new.clone();
        // A bound claim may grow; until it is bound, the volume's name is filled in.
        let bound = self.status.as_ref().is_some_and(|status| plain(&status.phase) == "Bound");
        let requests = allowed.resources.as_mut().and_then(|resources| resources.requests.as_mut());
        if let (true, Some(new)) = (bound, requests) {
            let before = old.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
            match before {
                Some(size) => drop(new.insert("storage".to_owned(), size.clone())),
                None => drop(new.remove("storage")),
            }
        }
        if text(&old.volume_name).is_none() {
            allowed.volume_name.clone_from(&old.volume_name);
        }
        allowed.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
        // One that named no class gets the default one, when there is one.
        if old.storage_class_name.is_none() {
            allowed.storage_class_name.clone_from(&old.storage_class_name);
        }
        let path = FieldPath::new("spec");
        if allowed != *old {
            let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                       bound claims";
            errors.push(FieldError::forbidden(&path, why));
        }
        if let (Some(new), Some(old)) = (storage(new), storage(old))
            && new < old
        {
            let path = path.child("resources").child("requests").child("storage");
            let why = "field can not be less than status.capacity";
            errors.push(FieldError::forbidden(&path, why));
        }
    }
}

/// What a volume begins with has two names in the API, of which each takes the other's value. The older one, alone, is ignored
/// where it names what it never could.
fn settle_source(spec: &mut PersistentVolumeClaimSpec) {
    if spec.data_source_ref.is_none() {
        spec.data_source.take_if(|source| {
            let known = (plain(&source.api_group), source.kind.as_str());
            !matches!(known, ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot"))
        });
        spec.data_source_ref = spec.data_source.clone().map(|source| TypedObjectReference {
            api_group: source.api_group,
            kind: source.kind,
            name: source.name,
            namespace: None,
        });
    } else if spec.data_source.is_none() {
        let whole = spec.data_source_ref.clone().filter(|source| text(&source.namespace).is_none());
        spec.data_source = whole.map(|source| TypedLocalObjectReference {
            api_group: source.api_group,
            kind: source.kind,
            name: source.name,
        });
    }
}

fn storage(spec: &PersistentVolumeClaimSpec) -> Option<Quantity> {
    spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()
}

impl Kind for PersistentVolume {
    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        fill(&mut spec.volume_mode, "Filesystem");
        fill(&mut spec.persistent_volume_reclaim_policy, "Retain");
        if let Some(path) = &mut spec.host_path {
            path.type_.get_or_insert_default();
        }
    }

    fn prepare_create(&mut self, env: &Env) {
        self.status = Some(PersistentVolumeStatus {
            phase: Some("Pending".to_owned()),
            last_phase_transition_time: Some(Time(env.now)),
            ..PersistentVolumeStatus::default()
        });
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, env: &Env) {
        self.spec.clone_from(&old.spec);
        let since = |volume: &Self| volume.status.as_ref().and_then(|status| status.last_phase_transition_time.clone());
        let phase = |volume: &Self| volume.status.as_ref().and_then(|status| status.phase.clone());
        let (told, before, moved) = (since(self), since(old), phase(self) != phase(old));
        if let Some(status) = &mut self.status
            && told == before
        {
            status.last_phase_transition_time = if moved { Some(Time(env.now)) } else { before };
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        let empty = PersistentVolumeSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&empty);
        validate_modes(items(&spec.access_modes), "", &path.child("accessModes"), errors);
        let capacity = path.child("capacity");
        match &spec.capacity {
            None => errors.push(FieldError::required(&capacity, "")),
            Some(sizes) if sizes.len() != 1 || !sizes.contains_key("storage") => {
                let shown = serde_json::to_value(sizes).unwrap_or_default();
                errors.push(FieldError::not_supported(&capacity, shown, &["storage"]));
            }
            Some(sizes) => {
                sizes.iter().for_each(|(name, size)| validate_size(&size.0, &capacity.key(name), errors));
            }
        }
        one_of(
            plain(&spec.persistent_volume_reclaim_policy),
            RECLAIM,
            || path.child("persistentVolumeReclaimPolicy"),
            errors,
        );
        one_of(plain(&spec.volume_mode), VOLUME_MODES, || path.child("volumeMode"), errors);
        if let Some(class) = text(&spec.storage_class_name) {
            faults(names::dns1123_subdomain(class), class, || path.child("storageClassName"), errors);
        }
        match volume_source(spec).len() {
            0 => errors.push(FieldError::required(&path, "must specify a volume type")),
            1 => {}
            _ => errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type")),
        }
        validate_volume_source(spec, &path, errors);
        let path = path.child("nodeAffinity");
        match spec.node_affinity.as_ref().map(|affinity| &affinity.required) {
            Some(Some(nodes)) => validate_node_selector(nodes, &path.child("required"), errors),
            Some(None) => {
                errors.push(FieldError::required(&path.child("required"), "must specify required node constraints"));
            }
            None if spec.local.is_some() => {
                errors.push(FieldError::required(&path, "Local volume requires node affinity"));
            }
            None => {}
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        let path = FieldPath::new("spec");
        if volume_source(new) != volume_source(old) {
            let why = "spec.persistentvolumesource is immutable after creation";
            errors.push(FieldError::forbidden(&path.child("persistentvolumesource"), why));
        }
        if new.volume_mode != old.volume_mode {
            // kube-apiserver leaves the `spec` out here.
            errors.push(FieldError::invalid(&FieldPath::new("volumeMode"), plain(&new.volume_mode), IMMUTABLE));
        }
        if old.node_affinity.is_some() && new.node_affinity != old.node_affinity {
            let shown = serde_json::to_value(&new.node_affinity).unwrap_or_default();
            errors.push(FieldError::invalid(&FieldPath::new("nodeAffinity"), shown, IMMUTABLE));
        }
    }
}

/// The fields of a volume's spec that say what it is, of which there is to be one.
const OF_EVERY_VOLUME: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn volume_source(spec: &PersistentVolumeSpec) -> serde_json::Map<String, serde_json::Value> {
    let fields = serde_json::to_value(spec).unwrap_or_default();
    let fields = fields.as_object().cloned().unwrap_or_default();
    fields.into_iter().filter(|(name, _)| !OF_EVERY_VOLUME.contains(&name.as_str())).collect()
}

impl Kind for StorageClass {
    has_meta!();

    fn fill(&mut self) {
        fill(&mut self.reclaim_policy, "Delete");
        fill(&mut self.volume_binding_mode, "Immediate");
    }

    fn validate(&self, errors: &mut Errors) {
        validate_driver(&self.provisioner, &FieldPath::new("provisioner"), errors);
        validate_parameters(self, errors);
        one_of(plain(&self.reclaim_policy), &["Delete", "Retain"], || FieldPath::new("reclaimPolicy"), errors);
        let modes = ["Immediate", "WaitForFirstConsumer"];
        one_of(plain(&self.volume_binding_mode), &modes, || FieldPath::new("volumeBindingMode"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let mut frozen = |field: &str, same: bool| {
            if !same {
                let why = "updates to this field are forbidden.";
                errors.push(FieldError::forbidden(&FieldPath::new(field), why));
            }
        };
        let left_out = |map: &Option<std::collections::BTreeMap<String, String>>| map.clone().unwrap_or_default();
        frozen("parameters", left_out(&self.parameters) == left_out(&old.parameters));
        frozen("provisioner", self.provisioner == old.provisioner);
        frozen("reclaimPolicy", self.reclaim_policy == old.reclaim_policy);
        frozen("volumeBindingMode", self.volume_binding_mode == old.volume_binding_mode);
    }
}

impl Kind for VolumeAttachment {
    has_meta!();

    fn prepare_create(&mut self, _env: &Env) {
        self.status = None;
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &Env) {
        self.spec = old.spec.clone();
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        validate_csi_name(&self.spec.attacher, &path.child("attacher"), errors);
        let source = &self.spec.source;
        let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        match (&source.inline_volume_spec, &source.persistent_volume_name) {
            (None, None) => errors.push(FieldError::required(&path.child("source"), one)),
            (Some(_), Some(_)) => errors.push(FieldError::forbidden(&path.child("source"), one)),
            (None, Some(name)) => {
                let path = path.child("source").child("persistentVolumeName");
                if name.is_empty() {
                    errors.push(FieldError::required(&path, "must specify non empty persistentVolumeName"));
                }
                faults(names::dns1123_subdomain(name), name, || path, errors);
            }
            (Some(_), None) => {}
        }
        let node = &self.spec.node_name;
        faults(names::dns1123_subdomain(node), node, || path.child("nodeName"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.spec != old.spec {
            let shown = serde_json::to_value(&self.spec).unwrap_or_default();
            errors.push(FieldError::invalid(&FieldPath::new("spec"), shown, IMMUTABLE));
        }
    }
}
