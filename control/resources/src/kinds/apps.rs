//! DaemonSets, StatefulSets and ControllerRevisions.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy, StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Env;
use super::kind::{Errors, Kind, has_meta, has_status};
use super::names;
use super::optional::{faults, fill, items, items_mut, non_negative, one_of, plain};
use super::pod::{fill_template, validate_template};
use super::status_rules::{validate_collisions, validate_counts};
use super::storage::fill_claim;
use super::volume_rules::validate_claim_spec;
use super::workload::{same_selector, validate_selector, validate_share};
use crate::{FieldError, FieldPath};

const STRATEGIES: &[&str] = &["RollingUpdate", "OnDelete"];

impl Kind for DaemonSet {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        fill(&mut strategy.type_, "RollingUpdate");
        if plain(&strategy.type_) == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        fill_template(&mut spec.template);
    }

    fn prepare_create(&mut self, _env: &Env) {
        self.status = Some(DaemonSetStatus::default());
        let given = template_number(self);
        number_template(self, given.max(1));
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
        let template = |set: &Self| set.spec.as_ref().map(|spec| spec.template.clone());
        let changed = template(self) != template(old);
        number_template(self, template_number(old).saturating_add(i64::from(changed)));
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
        number_template(self, template_number(old));
    }

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        validate_counts(
            &self.status,
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            &[],
            errors,
        );
    }

    fn validate_subresource_update(&self, _name: &str, old: &Self, errors: &mut Errors) {
        let collisions = |set: &Self| set.status.as_ref().and_then(|status| status.collision_count);
        validate_collisions(collisions(self), collisions(old), errors);
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            validate_daemon_set(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if let (Some(new), Some(old)) = (&self.spec, &old.spec) {
            same_selector(&new.selector, &old.selector, errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

/// How often the template was another one, as it is said in an annotation that clients do not change.
const TEMPLATE_NUMBER: &str = "deprecated.daemonset.template.generation";

fn template_number(set: &DaemonSet) -> i64 {
    let annotations = set.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(TEMPLATE_NUMBER)?.parse().ok()).unwrap_or(0)
}

fn number_template(set: &mut DaemonSet, number: i64) {
    set.metadata.annotations.get_or_insert_default().insert(TEMPLATE_NUMBER.to_owned(), number.to_string());
}

fn validate_daemon_set(spec: &DaemonSetSpec, path: &FieldPath, errors: &mut Errors) {
    validate_selector(&spec.selector, &path.child("selector"), "daemonset", errors);
    validate_template("DaemonSet", &spec.template, &spec.selector, &path.child("template"), errors);
    non_negative(i64::from(spec.min_ready_seconds.unwrap_or(0)), || path.child("minReadySeconds"), errors);
    if let Some(strategy) = &spec.update_strategy {
        validate_daemon_strategy(strategy, &path.child("updateStrategy"), errors);
    }
    let history = spec.revision_history_limit.unwrap_or(0);
    non_negative(i64::from(history), || path.child("revisionHistoryLimit"), errors);
}

fn validate_daemon_strategy(strategy: &DaemonSetUpdateStrategy, path: &FieldPath, errors: &mut Errors) {
    one_of(plain(&strategy.type_), STRATEGIES, || path.child("type"), errors);
    if plain(&strategy.type_) != "RollingUpdate" {
        return;
    }
    let path = path.child("rollingUpdate");
    let Some(rolling) = &strategy.rolling_update else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    let unavailable_path = path.child("maxUnavailable");
    let unavailable = validate_share(rolling.max_unavailable.as_ref(), true, &unavailable_path, errors);
    let surge = validate_share(rolling.max_surge.as_ref(), true, &path.child("maxSurge"), errors);
    let shown = |share: &Option<IntOrString>| serde_json::to_value(share).unwrap_or_default();
    match (unavailable.unwrap_or(0) > 0, surge.unwrap_or(0) > 0) {
        (false, false) => {
            errors.push(FieldError::required(&unavailable_path, "cannot be 0 when maxSurge is 0"));
        }
        (true, true) => {
            let why = "may not be set when maxUnavailable is non-zero";
            errors.push(FieldError::invalid(&path.child("maxSurge"), shown(&rolling.max_surge), why));
        }
        _ => {}
    }
}

impl Kind for StatefulSet {
    const GENERATION: bool = true;

    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        fill(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        fill(&mut strategy.type_, "RollingUpdate");
        if plain(&strategy.type_) == "RollingUpdate" {
            strategy.rolling_update.get_or_insert_default().partition.get_or_insert(0);
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        fill(&mut retention.when_deleted, "Retain");
        fill(&mut retention.when_scaled, "Retain");
        fill_template(&mut spec.template);
        for claim in items_mut(&mut spec.volume_claim_templates) {
            fill_claim(claim);
        }
    }

    has_status!(StatefulSetStatus { available_replicas: Some(0), ..StatefulSetStatus::default() });

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        validate_counts(
            &self.status,
            &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ],
            &[
                ("readyReplicas", "replicas", "status.replicas"),
                ("currentReplicas", "replicas", "status.replicas"),
                ("updatedReplicas", "replicas", "status.replicas"),
                ("availableReplicas", "replicas", "status.replicas"),
                ("availableReplicas", "readyReplicas", "status.readyReplicas"),
            ],
            errors,
        );
    }

    fn validate_subresource_update(&self, _name: &str, old: &Self, errors: &mut Errors) {
        let collisions = |set: &Self| set.status.as_ref().and_then(|status| status.collision_count);
        validate_collisions(collisions(self), collisions(old), errors);
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            validate_stateful_set(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        // What may change is taken from the old one; whatever else differs may not.
        let mut allowed = new.clone();
        allowed.replicas = old.replicas;
        allowed.ordinals.clone_from(&old.ordinals);
        allowed.template = old.template.clone();
        allowed.update_strategy.clone_from(&old.update_strategy);
        allowed.min_ready_seconds = old.min_ready_seconds;
        allowed.revision_history_limit = old.revision_history_limit;
        allowed.persistent_volume_claim_retention_policy.clone_from(&old.persistent_volume_claim_retention_policy);
        if allowed != *old {
            let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                       'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                       'minReadySeconds' are forbidden";
            errors.push(FieldError::forbidden(&FieldPath::new("spec"), why));
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

fn validate_stateful_set(spec: &StatefulSetSpec, path: &FieldPath, errors: &mut Errors) {
    let policies = ["OrderedReady", "Parallel"];
    let policy = || path.child("podManagementPolicy");
    match plain(&spec.pod_management_policy) {
        "" => errors.push(FieldError::required(&policy(), "")),
        known if policies.contains(&known) => {}
        other => {
            let why = "must be 'OrderedReady' or 'Parallel'";
            errors.push(FieldError::invalid(&policy(), other, why));
        }
    }
    if let Some(strategy) = &spec.update_strategy {
        validate_stateful_strategy(strategy, &path.child("updateStrategy"), errors);
    }
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        validate_retention(policy, &path.child("persistentVolumeClaimRetentionPolicy"), errors);
    }
    non_negative(i64::from(spec.replicas.unwrap_or(0)), || path.child("replicas"), errors);
    non_negative(i64::from(spec.min_ready_seconds.unwrap_or(0)), || path.child("minReadySeconds"), errors);
    if let Some(ordinals) = &spec.ordinals {
        let start = ordinals.start.unwrap_or(0);
        non_negative(i64::from(start), || path.child("ordinals").child("start"), errors);
    }
    let history = spec.revision_history_limit.unwrap_or(0);
    non_negative(i64::from(history), || path.child("revisionHistoryLimit"), errors);
    validate_selector(&spec.selector, &path.child("selector"), "statefulset", errors);
    validate_template("StatefulSet", &with_claims(spec), &spec.selector, &path.child("template"), errors);
    if let Some(service) = spec.service_name.as_deref().filter(|name| !name.is_empty()) {
        faults(names::dns1123_label(service), service, || path.child("serviceName"), errors);
    }
    for (index, claim) in items(&spec.volume_claim_templates).iter().enumerate() {
        let path = path.child("volumeClaimTemplates").index(index);
        validate_claim_spec(claim.spec.as_ref(), &path.child("spec"), errors);
    }
}

/// The template as pods have it: with a volume for each claim's template, which takes the place of one of its name.
fn with_claims(spec: &StatefulSetSpec) -> Cow<'_, PodTemplateSpec> {
    let claims = items(&spec.volume_claim_templates);
    if claims.is_empty() {
        return Cow::Borrowed(&spec.template);
    }
    let mut template = spec.template.clone();
    let volumes = template.spec.get_or_insert_default().volumes.get_or_insert_default();
    for claim in claims {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), ..Default::default() };
        let volume = Volume { name, persistent_volume_claim: Some(source), ..Default::default() };
        match volumes.iter_mut().find(|known| known.name == volume.name) {
            Some(known) => *known = volume,
            None => volumes.push(volume),
        }
    }
    Cow::Owned(template)
}

fn validate_stateful_strategy(strategy: &StatefulSetUpdateStrategy, path: &FieldPath, errors: &mut Errors) {
    match plain(&strategy.type_) {
        "" => errors.push(FieldError::required(path, "")),
        "OnDelete" => {
            if strategy.rolling_update.is_some() {
                let shown = serde_json::to_value(&strategy.rolling_update).unwrap_or_default();
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(FieldError::invalid(&path.child("rollingUpdate"), shown, why));
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = &strategy.rolling_update else { return };
            let path = path.child("rollingUpdate");
            non_negative(i64::from(rolling.partition.unwrap_or(0)), || path.child("partition"), errors);
            let unavailable = path.child("maxUnavailable");
            if validate_share(rolling.max_unavailable.as_ref(), true, &unavailable, errors) == Some(0) {
                errors.push(FieldError::invalid(&unavailable, 0, "cannot be 0"));
            }
        }
        other => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(path, other, why));
        }
    }
}

fn validate_retention(policy: &StatefulSetPersistentVolumeClaimRetentionPolicy, path: &FieldPath, errors: &mut Errors) {
    for (field, value) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
        one_of(plain(value), &["Retain", "Delete"], || path.child(field), errors);
    }
}

impl Kind for ControllerRevision {
    has_meta!();

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("data");
        match &self.data {
            None => errors.push(FieldError::required(&path, "data is mandatory")),
            Some(data) if !data.0.is_object() => {
                let why = "data must be a valid JSON object";
                errors.push(FieldError::invalid(&path, data.0.clone(), why));
            }
            Some(_) => {}
        }
        non_negative(self.revision, || FieldPath::new("revision"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.data != old.data {
            let shown = self.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
            errors.push(FieldError::invalid(&FieldPath::new("data"), shown, "field is immutable"));
        }
    }
}
