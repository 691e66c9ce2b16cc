//! A deployment's ReplicaSets while a step is being worked out.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::{Map, Value, json};

use super::budget::Budget;
use super::template::same_template;
use super::{COMPONENT, DESIRED_REPLICAS, MAX_REPLICAS, REVISION};
use crate::action::{Action, Announce, Plan, Severity, Target, Words, reference};
use crate::object::{annotation, created, name, same_object};
use crate::replicaset::wanted;

/// One ReplicaSet, with what the step changes on it.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// `None` for one that this very step creates.
    pub(super) set: Option<&'a ReplicaSet>,
    pub(super) name: String,
    /// What the set asks for, after this step.
    pub(super) replicas: i32,
    /// How many of those are available. More may be, of those that are on their way out.
    pub(super) available: i32,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) min_ready_seconds: Option<i32>,
    /// Whether the annotations about the deployment's size are to follow it now.
    pub(super) resized: bool,
}

impl<'a> Member<'a> {
    fn of(set: &'a ReplicaSet) -> Self {
        let replicas = wanted(set);
        let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
        Self {
            set: Some(set),
            name: name(&set.metadata).to_owned(),
            replicas,
            available: available.clamp(0, replicas),
            annotations: BTreeMap::new(),
            min_ready_seconds: None,
            resized: false,
        }
    }

    /// A set that does not exist yet.
    pub(super) fn made(name: String, replicas: i32) -> Self {
        Self {
            set: None,
            name,
            replicas,
            available: 0,
            annotations: BTreeMap::new(),
            min_ready_seconds: None,
            resized: false,
        }
    }

    /// Asks for another number of pods.
    pub(super) fn resize(&mut self, replicas: i32) {
        self.replicas = replicas.max(0);
        self.available = self.available.min(self.replicas);
        self.resized = true;
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.set.and_then(|set| annotation(&set.metadata, key))
    }

    /// The number of the set's template; zero when it has none.
    pub(super) fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Pods that the set's status counts.
    pub(super) fn existing(&self) -> i32 {
        self.set.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas)
    }

    /// Writes what the step changed.
    pub(super) fn flush(&self, deployment: &Deployment, budget: &Budget, plan: &mut Plan) {
        let Some(set) = self.set else { return };
        let target = Target::of(set);
        let mut annotations: Map<String, Value> = self
            .annotations
            .iter()
            .filter(|(key, value)| annotation(&set.metadata, key) != Some(value.as_str()))
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        if self.resized {
            for (key, value) in size_annotations(budget) {
                if self.annotation(key) != Some(value.as_str()) {
                    annotations.insert(key.to_owned(), json!(value));
                }
            }
        }
        let mut spec = Map::new();
        let before = wanted(set);
        if self.replicas != before {
            spec.insert("replicas".to_owned(), json!(self.replicas));
        }
        if let Some(seconds) = self.min_ready_seconds {
            spec.insert("minReadySeconds".to_owned(), json!(seconds));
        }
        if annotations.is_empty() && spec.is_empty() {
            return;
        }
        let mut metadata = same_object(&target);
        if !annotations.is_empty() {
            metadata["annotations"] = Value::Object(annotations);
        }
        let mut patch = json!({ "metadata": metadata });
        if !spec.is_empty() {
            patch["spec"] = Value::Object(spec);
        }
        let announce = (self.replicas != before).then(|| scaled(deployment, &self.name, before, self.replicas));
        plan.push(Action::Patch { target, subresource: None, patch, announce });
    }
}

/// The annotations by which a later look knows for which size a set was sized.
pub(super) fn size_annotations(budget: &Budget) -> [(&'static str, String); 2] {
    [(DESIRED_REPLICAS, budget.replicas.to_string()), (MAX_REPLICAS, budget.most().to_string())]
}

/// What is told of a change of size.
pub(super) fn scaled(deployment: &Deployment, set: &str, from: i32, to: i32) -> Announce {
    let direction = if to > from { "up" } else { "down" };
    Announce {
        about: reference(deployment),
        component: COMPONENT,
        done: Some(Words {
            severity: Severity::Normal,
            reason: "ScalingReplicaSet",
            text: format!("Scaled {direction} replica set {set} from {from} to {to}"),
            with_detail: false,
        }),
        failed: None,
    }
}

/// The sets of one deployment: that of its template, and those of earlier ones, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Members<'a> {
    pub(super) new: Option<Member<'a>>,
    pub(super) old: Vec<Member<'a>>,
}

impl<'a> Members<'a> {
    pub(super) fn sort(deployment: &Deployment, owned: &[&'a ReplicaSet]) -> Self {
        let mut sets = owned.to_vec();
        sets.sort_by(|a, b| (created(&a.metadata), &a.metadata.name).cmp(&(created(&b.metadata), &b.metadata.name)));
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        let mut members = Self::default();
        for set in sets {
            let current = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            let newest = matches!((template, current), (Some(a), Some(b)) if same_template(a, b));
            if newest && members.new.is_none() {
                members.new = Some(Member::of(set));
            } else {
                members.old.push(Member::of(set));
            }
        }
        members
    }

    /// The old ones and the new one.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member<'a>> {
        self.old.iter().chain(&self.new)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Member<'a>> {
        self.old.iter_mut().chain(&mut self.new)
    }

    /// Pods that all sets ask for together.
    pub(super) fn replicas(&self) -> i32 {
        self.all().map(|member| member.replicas).sum()
    }

    /// Pods that are available and stay.
    pub(super) fn available(&self) -> i32 {
        self.all().map(|member| member.available).sum()
    }
}
