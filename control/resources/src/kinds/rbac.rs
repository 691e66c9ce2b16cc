//! Roles and their bindings.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{faults, fill, items, items_mut, one_of, plain};
use super::workload::validate_selector_parts;
use crate::{FieldError, FieldPath};

const GROUP: &str = "rbac.authorization.k8s.io";

impl Kind for Role {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, errors: &mut Errors) {
        validate_rules(items(&self.rules), true, errors);
    }
}

impl Kind for ClusterRole {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, errors: &mut Errors) {
        validate_rules(items(&self.rules), false, errors);
        let Some(aggregation) = &self.aggregation_rule else { return };
        let path = FieldPath::new("aggregationRule").child("clusterRoleSelectors");
        if items(&aggregation.cluster_role_selectors).is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(FieldError::required(&path, why));
        }
        for (index, selector) in items(&aggregation.cluster_role_selectors).iter().enumerate() {
            validate_selector_parts(selector, &path.index(index), errors);
        }
    }
}

impl Kind for RoleBinding {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn fill(&mut self) {
        fill_binding(&mut self.role_ref, items_mut(&mut self.subjects));
    }

    fn validate(&self, errors: &mut Errors) {
        validate_role_ref(&self.role_ref, &["ClusterRole", "Role"], errors);
        // An account without a namespace is one of the binding's own.
        validate_subjects(items(&self.subjects), false, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        same_role(&self.role_ref, &old.role_ref, errors);
    }
}

impl Kind for ClusterRoleBinding {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn fill(&mut self) {
        fill_binding(&mut self.role_ref, items_mut(&mut self.subjects));
    }

    fn validate(&self, errors: &mut Errors) {
        validate_role_ref(&self.role_ref, &["ClusterRole"], errors);
        validate_subjects(items(&self.subjects), true, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        same_role(&self.role_ref, &old.role_ref, errors);
    }
}

fn fill_binding(role: &mut RoleRef, subjects: &mut [Subject]) {
    fill(&mut role.api_group, GROUP);
    for subject in subjects {
        if subject.api_group.is_none() && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = Some(GROUP.to_owned());
        }
    }
}

fn validate_rules(rules: &[PolicyRule], namespaced: bool, errors: &mut Errors) {
    for (index, rule) in rules.iter().enumerate() {
        let path = FieldPath::new("rules").index(index);
        if rule.verbs.is_empty() {
            let why = "verbs must contain at least one value";
            errors.push(FieldError::required(&path.child("verbs"), why));
        }
        if !items(&rule.non_resource_urls).is_empty() {
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                let shown = serde_json::to_value(&rule.non_resource_urls).unwrap_or_default();
                errors.push(FieldError::invalid(&path.child("nonResourceURLs"), shown, why));
            } else if [&rule.api_groups, &rule.resources, &rule.resource_names]
                .iter()
                .any(|list| !items(list).is_empty())
            {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                let shown = serde_json::to_value(&rule.non_resource_urls).unwrap_or_default();
                errors.push(FieldError::invalid(&path.child("nonResourceURLs"), shown, why));
            }
            continue;
        }
        let lists = [
            ("apiGroups", &rule.api_groups, "resource rules must supply at least one api group"),
            ("resources", &rule.resources, "resource rules must supply at least one resource"),
        ];
        for (field, list, why) in lists {
            if items(list).is_empty() {
                errors.push(FieldError::required(&path.child(field), why));
            }
        }
    }
}

fn validate_role_ref(role: &RoleRef, kinds: &[&str], errors: &mut Errors) {
    let path = FieldPath::new("roleRef");
    one_of(plain(&role.api_group), &[GROUP], || path.child("apiGroup"), errors);
    one_of(&role.kind, kinds, || path.child("kind"), errors);
    if role.name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    for fault in names::path_segment(&role.name) {
        errors.push(FieldError::invalid(&path.child("name"), role.name.as_str(), &fault));
    }
}

fn validate_subjects(subjects: &[Subject], need_namespace: bool, errors: &mut Errors) {
    for (index, subject) in subjects.iter().enumerate() {
        let path = FieldPath::new("subjects").index(index);
        if subject.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        let group = || path.child("apiGroup");
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    faults(names::dns1123_subdomain(&subject.name), &subject.name, || path.child("name"), errors);
                }
                one_of(plain(&subject.api_group), &[""], group, errors);
                if need_namespace && plain(&subject.namespace).is_empty() {
                    errors.push(FieldError::required(&path.child("namespace"), ""));
                }
            }
            "User" | "Group" => one_of(plain(&subject.api_group), &[GROUP], group, errors),
            kind => {
                let known = ["ServiceAccount", "User", "Group"];
                one_of(kind, &known, || path.child("kind"), errors);
            }
        }
    }
}

fn same_role(new: &RoleRef, old: &RoleRef, errors: &mut Errors) {
    if new != old {
        let shown = serde_json::to_value(new).unwrap_or_default();
        let path = FieldPath::new("roleRef");
        errors.push(FieldError::invalid(&path, shown, "cannot change roleRef"));
    }
}
