//! Namespaces, Nodes, Leases and ServiceAccounts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus, Node, NodeSpec, ServiceAccount, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Env;
use super::kind::{Errors, Kind, has_meta};
use super::optional::{faults, items, non_negative, one_of, plain, text};
use super::{meta, names};
use crate::{FieldError, FieldPath};

/// Every namespace carries its name as a label, so that selectors can name it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What holds every namespace until it is empty. Others may hold it too.
const EMPTIED: &str = "kubernetes";

impl Kind for Namespace {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn fill(&mut self) {
        if let Some(name) = text(&self.metadata.name).map(str::to_owned) {
            self.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
        }
    }

    fn prepare_create(&mut self, _env: &Env) {
        let held = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !held.iter().any(|finalizer| finalizer == EMPTIED) {
            held.push(EMPTIED.to_owned());
        }
        let phase = Some("Active".to_owned());
        self.status = Some(NamespaceStatus { phase, ..NamespaceStatus::default() });
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
    }

    /// `finalize` is the one way in which `spec.finalizers` changes.
    fn prepare_subresource(&mut self, name: &str, old: &Self, _env: &Env) {
        if name == "finalize" {
            self.status.clone_from(&old.status);
        } else {
            self.spec.clone_from(&old.spec);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let held = self.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
        meta::finalizer_names(held, false, &FieldPath::new("spec").child("finalizers"), errors);
    }
}

impl Kind for Node {
    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.pod_cidr.take_if(|block| block.is_empty());
        match (&spec.pod_cidr, items(&spec.pod_cidrs).first()) {
            // Who knows of one block only says which.
            (Some(block), first) if first != Some(block) => spec.pod_cidrs = Some(vec![block.clone()]),
            (None, Some(block)) => spec.pod_cidr = Some(block.clone()),
            _ => {}
        }
        if let Some(status) = &mut self.status {
            super::pod::canonical(&mut status.capacity);
            super::pod::canonical(&mut status.allocatable);
            if status.allocatable.is_none() {
                status.allocatable.clone_from(&status.capacity);
            }
        }
    }

    /// A node tells of itself from the start: the status stays.
    fn prepare_create(&mut self, _env: &Env) {
        self.status.get_or_insert_default();
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            validate_taints(items(&spec.taints), errors);
            validate_blocks(items(&spec.pod_cidrs), errors);
        }
        if let Some(status) = &self.status {
            validate_amounts("capacity", status.capacity.as_ref(), errors);
            validate_amounts("allocatable", status.allocatable.as_ref(), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        validate_node_update(new, old, errors);
    }
}

fn validate_node_update(new: &NodeSpec, old: &NodeSpec, errors: &mut Errors) {
    let path = FieldPath::new("spec");
    if !items(&old.pod_cidrs).is_empty() && items(&new.pod_cidrs) != items(&old.pod_cidrs) {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("podCIDRs"), why));
    }
    if text(&old.provider_id).is_some() && new.provider_id != old.provider_id {
        let why = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(&path.child("providerID"), why));
    }
}

/// The addresses of a node's pods: one block of a family.
fn validate_blocks(blocks: &[String], errors: &mut Errors) {
    let path = FieldPath::new("spec").child("podCIDRs");
    let bad = |block: &String| !names::cidr(block).is_empty();
    for (index, block) in blocks.iter().enumerate() {
        faults(names::cidr(block), block, || path.index(index), errors);
    }
    let wide = blocks.iter().filter(|block| block.contains(':')).count();
    if blocks.len() > 1 && (blocks.len() > 2 || wide != 1) && !blocks.iter().any(bad) {
        let why = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid(&path, blocks.to_vec(), why));
    }
    for (index, block) in blocks.iter().enumerate().filter(|(index, block)| blocks[..*index].contains(block)) {
        errors.push(FieldError::duplicate(&path.index(index), block.as_str()));
    }
}

fn validate_taints(taints: &[Taint], errors: &mut Errors) {
    // kube-apiserver says `metadata` here, and clients know it so.
    let list = FieldPath::new("metadata").child("taints");
    let mut taken = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = list.index(index);
        let value = plain(&taint.value);
        faults(names::qualified_name(&taint.key), &taint.key, || path.child("key"), errors);
        faults(names::label_value(value), value, || path.child("value"), errors);
        if taint.effect.is_empty() {
            errors.push(FieldError::required(&path.child("effect"), ""));
        } else {
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            one_of(&taint.effect, &known, || path.child("effect"), errors);
        }
        if !taken.insert((&taint.key, &taint.effect)) {
            let shown = serde_json::to_value(taint).unwrap_or_default();
            let mut error = FieldError::duplicate(&path, shown);
            error.message.push_str(": taints must be unique by key and effect pair");
            errors.push(error);
        }
    }
}

fn validate_amounts(field: &str, amounts: Option<&BTreeMap<String, Quantity>>, errors: &mut Errors) {
    for (name, amount) in amounts.into_iter().flatten() {
        let fault = match crate::quantity::Quantity::try_from(amount) {
            Ok(quantity) if quantity.is_negative() => "must be greater than or equal to 0".into(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        let path = FieldPath::new("status").child(field).child(name);
        errors.push(FieldError::invalid(&path, amount.0.as_str(), &fault));
    }
}

impl Kind for Lease {
    has_meta!();

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        if let Some(seconds) = spec.lease_duration_seconds
            && seconds <= 0
        {
            let path = path.child("leaseDurationSeconds");
            errors.push(FieldError::invalid(&path, seconds, "must be greater than 0"));
        }
        let transitions = i64::from(spec.lease_transitions.unwrap_or(0));
        non_negative(transitions, || path.child("leaseTransitions"), errors);
    }
}

impl Kind for ServiceAccount {
    has_meta!();
}
