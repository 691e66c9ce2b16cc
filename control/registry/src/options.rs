//! What callers say with a request, and what they get back beside the object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pal_custom::policy::{Answer, Authorize, Question};
use pal_resources::codec::FieldValidation;
use pal_resources::selector::{FieldSelector, LabelSelector};
use pal_resources::{ResourceVersion, Status, Uid};
use serde_json::{Value, json};

use crate::object::Object;

/// Who makes a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    pub user: String,
    pub groups: Vec<String>,
    pub uid: String,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Actor {
    /// A part of the control plane itself.
    pub fn system(component: &str) -> Self {
        Self { user: format!("system:{component}"), groups: vec!["system:masters".to_owned()], ..Self::default() }
    }
}

/// What the caller has to say of an object before it is written, beside what the registry itself asks: it gets what is
/// stored, if anything is, and what is to be.
#[derive(Clone)]
pub struct Admission(Arc<Check>);

type Check = dyn Fn(Option<&Value>, &Value) -> Result<(), Status> + Send + Sync;

impl Admission {
    /// Refuses what `check` refuses. It may be called several times for one write.
    pub fn new(check: impl Fn(Option<&Value>, &Value) -> Result<(), Status> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Asks it.
    pub(crate) fn ask(&self, old: Option<&Value>, new: &Value) -> Result<(), Status> {
        (self.0)(old, new)
    }

    /// What the caller has to say of a creation, where that is not what it asked for, before what `then` says.
    pub fn creating(outcome: Result<(), Status>, then: Option<Self>) -> Self {
        Self::new(move |old, new| {
            if old.is_none() {
                outcome.clone()?;
            }
            then.as_ref().map_or(Ok(()), |then| (then.0)(old, new))
        })
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admission")
    }
}

/// What is to be said of a write besides its answer: what its writer is to be warned of, and what the audit log is told.
/// All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
}

impl Warnings {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a warning, once however often the write is tried.
    pub fn add(&self, warning: String) {
        let warnings = &mut self.said().warnings;
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// All warnings that were left here.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.said().warnings)
    }

    /// All that was left here for the audit log.
    pub fn take_annotations(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.said().annotations)
    }
}

/// Knows what else it may do who makes a request; without more, everything, as the control plane itself.
#[derive(Clone, Default)]
pub struct Authority(Option<Arc<Decide>>);

type Decide = dyn Fn(&Question) -> Answer + Send + Sync;

impl Authority {
    /// Answers what `decide` answers.
    pub fn new(decide: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authorize for Authority {
    fn decide(&self, question: &Question) -> Answer {
        match &self.0 {
            Some(decide) => decide(question),
            None => Answer { allowed: true, ..Answer::default() },
        }
    }
}

/// How an object is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Run everything that a write runs, and write nothing.
    pub dry_run: bool,
    pub field_manager: Option<String>,
    pub actor: Actor,
    pub admission: Option<Admission>,
    /// Where the write leaves what is to be said besides its answer.
    pub warnings: Option<Warnings>,
    /// What policies of admission ask what the writer may do.
    pub authority: Authority,
    /// The request names no object, but chooses some.
    pub nameless: bool,
}

impl WriteOptions {
    /// A write by a part of the control plane. Its fields are owned by the part of Kubernetes that does the same work.
    pub fn system(component: &str) -> Self {
        let manager = match component {
            "apiserver" => "kube-apiserver",
            "controller-manager" => "kube-controller-manager",
            "scheduler" => "kube-scheduler",
            other => other,
        };
        Self { field_manager: Some(manager.to_owned()), actor: Actor::system(component), ..Self::default() }
    }

    /// Warns the writer.
    pub(crate) fn warn(&self, warning: String) {
        if let Some(warnings) = &self.warnings {
            warnings.add(warning);
        }
    }

    /// Tells the audit log; what was told under that key before holds.
    pub(crate) fn annotate(&self, key: String, value: String) {
        if let Some(warnings) = &self.warnings {
            warnings.said().annotations.entry(key).or_insert(value);
        }
    }

    /// Asks the caller's admission.
    pub(crate) fn admit(&self, old: Option<&Value>, new: &Value) -> Result<(), Status> {
        self.admission.as_ref().map_or(Ok(()), |admission| (admission.0)(old, new))
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Read {
    /// Everything that was answered before the read began is in it.
    #[default]
    Consistent,
    /// At least as new as that version.
    AtLeast(ResourceVersion),
    /// Whatever this server has.
    Any,
}

/// `resourceVersionMatch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// What a list asks for.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub label: Option<LabelSelector>,
    pub field: Option<FieldSelector>,
    /// At most that many objects; 0 and `None`: all.
    pub limit: Option<u64>,
    /// The token of the page before.
    pub continue_token: Option<String>,
    /// `None`: not given, so the freshest.
    pub resource_version: Option<ResourceVersion>,
    pub version_match: Option<VersionMatch>,
}

/// A list, or a page of one: all of it at one version.
#[derive(Clone, Debug)]
pub struct List {
    pub version: ResourceVersion,
    pub items: Vec<Object>,
    /// What to ask the next page with.
    pub continue_token: Option<String>,
    /// How many are left, where that is known (not with selectors).
    pub remaining: Option<u64>,
}

/// What a watch asks for.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    pub label: Option<LabelSelector>,
    pub field: Option<FieldSelector>,
    /// Changes after that version; `None` and 0: first what there is, as ADDED.
    pub after: Option<ResourceVersion>,
    /// True: first what there is, as ADDED, then a bookmark that says so, then changes; `after` is then the least version.
    /// False: changes alone, from now on where `after` names no version.
    pub send_initial_events: Option<bool>,
    /// A bookmark from time to time.
    pub bookmarks: bool,
}

/// The kind of a patch's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    /// A configuration: server-side apply.
    Apply {
        /// Take over what others own.
        force: bool,
    },
}

/// A change to whatever is there.
#[derive(Clone, Debug)]
pub struct Patch {
    pub kind: PatchKind,
    pub body: Value,
    /// What becomes of fields that the kind does not have.
    pub validation: FieldValidation,
    /// What a strict reader refuses of the patch itself, as duplicate fields; nothing of a configuration to apply.
    pub found: Vec<String>,
}

/// What a patch made, and what the client is to be warned of.
#[derive(Clone, Debug)]
pub struct Patched {
    pub object: Object,
    /// There was none before.
    pub created: bool,
    pub warnings: Vec<String>,
}

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector deletes them afterwards.
    Background,
    /// The object goes after them.
    Foreground,
    /// They stay and lose their owner.
    Orphan,
}

/// What must hold of the object for a delete to happen.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    pub uid: Option<Uid>,
    /// Compared as it is given, whatever it is.
    pub resource_version: Option<String>,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// The client waits for the dependents to go: it said so, or `orphanDependents: false`, the old word.
    pub cascades: bool,
    pub preconditions: Preconditions,
    pub dry_run: bool,
    pub actor: Actor,
    /// Where the delete leaves what is to be said besides its answer.
    pub warnings: Option<Warnings>,
    /// What policies of admission ask what the actor may do.
    pub authority: Authority,
}

impl DeleteOptions {
    /// The same, as policies of admission look at it.
    pub(crate) fn written(&self) -> WriteOptions {
        WriteOptions {
            dry_run: self.dry_run,
            actor: self.actor.clone(),
            warnings: self.warnings.clone(),
            authority: self.authority.clone(),
            ..WriteOptions::default()
        }
    }

    /// A delete by a part of the control plane.
    pub fn system(component: &str) -> Self {
        Self { actor: Actor::system(component), ..Self::default() }
    }
}

/// What a delete did.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The object as it last was, or as it is while it is being deleted.
    pub object: Object,
    /// It is gone; otherwise it goes when its grace period is over and its finalizers are removed.
    pub gone: bool,
}

/// Where a pod is to run.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    pub node: String,
    /// The pod that is meant, where that is known: another of the same name is refused.
    pub uid: Option<Uid>,
    /// The version that is meant, as it was written: another one is refused.
    pub version: Option<String>,
    /// Put on the pod, over what it has.
    pub labels: Vec<(String, String)>,
    /// Put on the pod, over what it has.
    pub annotations: Vec<(String, String)>,
}

impl Binding {
    /// To that node.
    pub fn to(node: impl Into<String>) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// What an object of the kind Binding says.
    pub fn read(posted: &Value) -> Self {
        let (metadata, target) = (&posted["metadata"], &posted["target"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let given = |field: &str| Some(text(&metadata[field])).filter(|text| !text.is_empty());
        let pairs = |field: &str| {
            let pairs = metadata[field].as_object().into_iter().flatten();
            pairs.map(|(key, value)| (key.clone(), text(value))).collect()
        };
        Self {
            node: text(&target["name"]),
            uid: given("uid").map(Uid),
            version: given("resourceVersion"),
            labels: pairs("labels"),
            annotations: pairs("annotations"),
        }
    }

    /// The object for a pod.
    pub(crate) fn posted(&self, namespace: &str, pod: &str) -> Value {
        let mut posted = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod, "namespace": namespace},
            "target": {"kind": "Node", "name": self.node},
        });
        if let Some(Uid(uid)) = &self.uid {
            posted["metadata"]["uid"] = uid.as_str().into();
        }
        if let Some(version) = &self.version {
            posted["metadata"]["resourceVersion"] = version.as_str().into();
        }
        for (field, pairs) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !pairs.is_empty() {
                posted["metadata"][field] = pairs.iter().cloned().collect();
            }
        }
        posted
    }
}
