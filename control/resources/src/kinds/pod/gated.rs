//! Where a pod may go that is still held back by gates (KEP-3838): that may be narrowed, not widened.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, NodeSelectorTerm, PodSpec};

use crate::kinds::kind::Errors;
use crate::kinds::optional::items;
use crate::{FieldError, FieldPath};

/// Judges what a gated pod's new manifest says of nodes, and takes it out of what else is compared.
pub(super) fn settle(new: &mut PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    if items(&old.scheduling_gates).is_empty() {
        return;
    }
    if new.node_selector != old.node_selector {
        validate_selector(new, old, &path.child("nodeSelector"), errors);
        new.node_selector.clone_from(&old.node_selector);
    }
    let before = of(&old.affinity).cloned();
    if of(&new.affinity) != before.as_ref() {
        validate_affinity(of(&new.affinity), before.as_ref(), &path.child("affinity").child("nodeAffinity"), errors);
        let affinity = Affinity { node_affinity: before, ..new.affinity.take().unwrap_or_default() };
        new.affinity = (old.affinity.is_some() || affinity != Affinity::default()).then_some(affinity);
    }
}

fn of(affinity: &Option<Affinity>) -> Option<&NodeAffinity> {
    affinity.as_ref()?.node_affinity.as_ref()
}

fn validate_selector(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let none = BTreeMap::new();
    let selector = new.node_selector.as_ref().unwrap_or(&none);
    if !old.node_selector.iter().flatten().all(|(key, value)| selector.get(key) == Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(FieldError::invalid(path, serde_json::to_value(selector).unwrap_or_default(), why));
    }
}

fn terms(affinity: Option<&NodeAffinity>) -> &[NodeSelectorTerm] {
    let required = affinity.and_then(|of| of.required_during_scheduling_ignored_during_execution.as_ref());
    required.map(|selector| selector.node_selector_terms.as_slice()).unwrap_or_default()
}

fn validate_affinity(new: Option<&NodeAffinity>, old: Option<&NodeAffinity>, path: &FieldPath, errors: &mut Errors) {
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    let (new, old) = (terms(new), terms(old));
    if !old.is_empty() && old.len() != new.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.push(FieldError::invalid(&path, serde_json::to_value(new).unwrap_or_default(), why));
        return;
    }
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        if !only_adds(new, old) {
            let why = "only additions are allowed (no mutations or deletions)";
            let shown = serde_json::to_value(new).unwrap_or_default();
            errors.push(FieldError::invalid(&path.index(index), shown, why));
        }
    }
}

/// Whether all that the old term asks for is asked for by the new one, in the same places. A term that asks for nothing
/// matches no node, so that nothing may be added to it.
fn only_adds(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let (expressions, fields) = (items(&old.match_expressions), items(&old.match_fields));
    if expressions.is_empty() && fields.is_empty() {
        return new == old;
    }
    items(&new.match_expressions).starts_with(expressions) && items(&new.match_fields).starts_with(fields)
}
