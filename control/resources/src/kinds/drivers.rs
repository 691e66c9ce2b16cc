//! What drivers of volumes say of themselves.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSINodeDriver, CSIStorageCapacity, TokenRequest};

use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{faults, fill, items, non_negative, one_of, plain};
use super::volume_rules::validate_csi_name;
use super::workload::validate_selector_parts;
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

const IMMUTABLE: &str = "field is immutable";
/// How long the name may be that a driver has for a node, in bytes.
const MAX_NODE_ID: usize = 256;
/// How long a token that a driver wants holds at least, in seconds.
const SHORTEST_TOKEN: i64 = 600;

impl Kind for CSIDriver {
    has_meta!();

    fn fill(&mut self) {
        let spec = &mut self.spec;
        spec.attach_required.get_or_insert(true);
        spec.pod_info_on_mount.get_or_insert(false);
        spec.storage_capacity.get_or_insert(false);
        spec.requires_republish.get_or_insert(false);
        spec.se_linux_mount.get_or_insert(false);
        fill(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        if items(&spec.volume_lifecycle_modes).is_empty() {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        one_of(plain(&self.spec.fs_group_policy), &policies, || path.child("fsGroupPolicy"), errors);
        for mode in items(&self.spec.volume_lifecycle_modes) {
            one_of(mode, &["Persistent", "Ephemeral"], || path.child("volumeLifecycleModes"), errors);
        }
        if let Some(seconds) = self.spec.node_allocatable_update_period_seconds.filter(|seconds| *seconds < 10) {
            let path = path.child("nodeAllocatableUpdatePeriodSeconds");
            errors.push(FieldError::invalid(&path, seconds, "must be greater than or equal to 10 seconds"));
        }
        validate_token_requests(items(&self.spec.token_requests), &path.child("tokenRequests"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        if self.spec.attach_required != old.spec.attach_required {
            // kube-apiserver writes it so here.
            let path = path.child("attachedRequired");
            errors.push(FieldError::invalid(&path, self.spec.attach_required, IMMUTABLE));
        }
        if self.spec.volume_lifecycle_modes != old.spec.volume_lifecycle_modes {
            let path = path.child("volumeLifecycleModes");
            errors.push(FieldError::invalid(&path, items(&self.spec.volume_lifecycle_modes).to_vec(), IMMUTABLE));
        }
    }
}

impl Kind for CSINode {
    has_meta!();

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec").child("drivers");
        let mut seen = std::collections::BTreeSet::new();
        for (index, driver) in self.spec.drivers.iter().enumerate() {
            let path = path.index(index);
            validate_csi_name(&driver.name, &path.child("name"), errors);
            if driver.node_id.is_empty() {
                errors.push(FieldError::required(&path.child("nodeID"), ""));
            }
            if driver.node_id.len() > MAX_NODE_ID {
                let why = format!("must be {MAX_NODE_ID} characters or less");
                errors.push(FieldError::invalid(&path.child("nodeID"), driver.node_id.as_str(), &why));
            }
            if let Some(count) = driver.allocatable.as_ref().and_then(|room| room.count) {
                non_negative(i64::from(count), || path.child("allocatable").child("count"), errors);
            }
            validate_topology_keys(items(&driver.topology_keys), &path, errors);
            if !seen.insert(&driver.name) {
                errors.push(FieldError::duplicate(&path.child("name"), driver.name.as_str()));
            }
        }
    }

    /// What a driver says of itself stays, but for how many volumes it takes.
    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let kept = |driver: &CSINodeDriver| CSINodeDriver { allocatable: None, ..driver.clone() };
        for before in &old.spec.drivers {
            for driver in self.spec.drivers.iter().filter(|driver| driver.name == before.name) {
                let driver = kept(driver);
                if driver != kept(before) {
                    let shown = serde_json::to_value(&driver).unwrap_or_default();
                    errors.push(FieldError::invalid(&FieldPath::new("spec").child("drivers"), shown, IMMUTABLE));
                }
            }
        }
    }
}

/// Whose tokens a driver wants: each audience once.
fn validate_token_requests(requests: &[TokenRequest], path: &FieldPath, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, request) in requests.iter().enumerate() {
        let path = path.index(index);
        let audience = request.audience.as_str();
        if !seen.insert(audience) {
            errors.push(FieldError::duplicate(&path.child("audience"), audience));
            continue;
        }
        let (seconds, path) = (request.expiration_seconds.unwrap_or(SHORTEST_TOKEN), path.child("expirationSeconds"));
        if seconds < SHORTEST_TOKEN {
            let why = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(&path, seconds, why));
        }
        if seconds > 1 << 32 {
            let why = "may not specify a duration larger than 2^32 seconds";
            errors.push(FieldError::invalid(&path, seconds, why));
        }
    }
}

/// What is wrong with a driver's keys is told of the driver.
fn validate_topology_keys(keys: &[String], path: &FieldPath, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for key in keys {
        // Each fault shows all keys.
        if errors.are_many() {
            return;
        }
        if key.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(path, key.as_str()));
        }
        for fault in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, keys.to_vec(), &fault));
        }
    }
}

impl Kind for CSIStorageCapacity {
    has_meta!();

    fn validate(&self, errors: &mut Errors) {
        let class = &self.storage_class_name;
        faults(names::dns1123_subdomain(class), class, || FieldPath::new("storageClassName"), errors);
        if let Some(nodes) = &self.node_topology {
            validate_selector_parts(nodes, &FieldPath::new("nodeTopology"), errors);
        }
        let room = self.capacity.as_ref().and_then(|room| room.0.parse::<Quantity>().ok().map(|size| (size, &room.0)));
        if let Some((_, shown)) = room.filter(|(size, _)| size.is_negative()) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(&FieldPath::new("capacity"), shown.as_str(), why));
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.node_topology != old.node_topology {
            let shown = serde_json::to_value(&self.node_topology).unwrap_or_default();
            errors.push(FieldError::invalid(&FieldPath::new("nodeTopology"), shown, IMMUTABLE));
        }
        if self.storage_class_name != old.storage_class_name {
            let path = FieldPath::new("storageClassName");
            errors.push(FieldError::invalid(&path, self.storage_class_name.as_str(), IMMUTABLE));
        }
    }
}
