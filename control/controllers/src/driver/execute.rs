//! Plans into writes.

mod emptied;

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ResourceQuota;
use pal_registry::{DeleteOptions, Deletion, Object, Patch, PatchKind, Preconditions, Registry, WriteOptions};
use pal_resources::codec::FieldValidation;
use pal_resources::{ResourceRef, Status, Uid};
use serde_json::{Value, json};

use super::cache::Place;
use super::measure::Asked;
use super::recorder::Recorder;
use crate::action::{Action, Announce, Note, Propagation, ResourceId, Target, Words};
use crate::autoscaler::Measured;
use crate::csr;
use crate::ports::{AccountToken, CertificateSigner, PodMetrics, TokenSigner, VolumeDirectories};
use crate::replicaset;

/// Creates of one plan that run at once, in the end.
const MOST_AT_ONCE: usize = 64;
const COMPONENT: &str = "controller-manager";

/// What one look's work needs.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) registry: Registry,
    pub(super) signer: Arc<dyn CertificateSigner>,
    pub(super) tokens: Arc<dyn TokenSigner>,
    pub(super) metrics: Arc<dyn PodMetrics>,
    pub(super) directories: Arc<dyn VolumeDirectories>,
    pub(super) recorder: Recorder,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) wrote: Vec<Wrote>,
    /// Owners that the registry was asked for and does not have.
    pub(super) absent: Vec<String>,
    pub(super) failure: Option<Failed>,
    /// Pods could not be created or deleted, and why.
    pub(super) replicas: Option<replicaset::Failure>,
    /// What was found for an autoscaler.
    pub(super) measured: Option<(Place, Measured)>,
}

/// One object as a write left it.
#[derive(Debug)]
pub(super) struct Wrote {
    pub(super) resource: ResourceId,
    pub(super) object: Object,
    pub(super) gone: bool,
}

/// Why the rest of a plan was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0}")]
    Refused(Status),
    #[error("no resource {0}")]
    UnknownResource(ResourceId),
    /// Something is left of a namespace.
    #[error("the namespace is not empty yet")]
    NotEmpty,
    #[error("no token: {0}")]
    Unsigned(String),
    /// A node could not make or remove a directory.
    #[error("the directory of a volume: {0}")]
    Directory(String),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

fn ends_with_its_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

impl Failed {
    /// Whether someone else wrote first, or the namespace goes with all that is in it, which is no news.
    pub(super) fn is_usual(&self) -> bool {
        match self {
            Self::Refused(status) => status.code == 409 || status.is_for_another() || ends_with_its_namespace(status),
            Self::NotEmpty => true,
            Self::UnknownResource(_) | Self::Unsigned(_) | Self::Directory(_) => false,
        }
    }
}

impl Executor {
    /// Does what a plan says, in its order; the first failure ends it.
    pub(super) async fn execute(&self, actions: Vec<Action>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut actions = actions.into_iter().peekable();
        while let Some(action) = actions.next() {
            let result = match action {
                Action::Create { .. } | Action::Delete { .. } => {
                    let growing = matches!(action, Action::Create { .. });
                    let mut run = vec![action];
                    while let Some(next) = actions.next_if(|next| {
                        if growing {
                            matches!(next, Action::Create { .. })
                        } else {
                            matches!(next, Action::Delete { .. })
                        }
                    }) {
                        run.push(next);
                    }
                    self.together(run, growing, &mut outcome).await
                }
                other => self.one(other, &mut outcome).await,
            };
            if let Err(failure) = result {
                outcome.failure = Some(failure);
                break;
            }
        }
        outcome
    }

    /// Creates in batches of one, two, four, ...: what fails for one fails for all, and should not be tried a thousand
    /// times. Deletes all at once.
    async fn together(&self, actions: Vec<Action>, growing: bool, outcome: &mut Outcome) -> Result<(), Failed> {
        let mut left = actions.into_iter();
        let mut size = if growing { 1 } else { usize::MAX };
        loop {
            let batch: Vec<Action> = left.by_ref().take(size).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let mut running = futures::stream::iter(batch)
                .map(|action| async move {
                    let mut own = Outcome::default();
                    let result = self.one(action, &mut own).await;
                    (own, result)
                })
                .buffer_unordered(MOST_AT_ONCE);
            let mut failure = None;
            while let Some((own, result)) = running.next().await {
                outcome.wrote.extend(own.wrote);
                outcome.replicas = outcome.replicas.take().or(own.replicas);
                failure = failure.or(result.err());
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            size = size.saturating_mul(2);
        }
    }

    pub(super) async fn one(&self, action: Action, outcome: &mut Outcome) -> Result<(), Failed> {
        match action {
            Action::Create { resource, namespace, body, announce } => {
                self.create(resource, namespace.as_deref(), body, announce, outcome).await
            }
            Action::Patch { target, subresource, patch, announce } => {
                self.patch(target, subresource, patch, announce, outcome).await
            }
            Action::Delete { target, grace_seconds, propagation, announce } => {
                self.delete(target, grace_seconds, propagation, announce, outcome).await
            }
            Action::DeleteAll { resource, namespace } => {
                self.delete_all(&self.find(&resource)?, namespace.as_deref()).await
            }
            Action::FinalizeNamespace { target } => self.finalize(target, outcome).await,
            Action::CountQuotas { namespace } => {
                let written = self.registry.recount_quotas(&namespace).await?;
                let resource = ResourceId::of::<ResourceQuota>();
                let wrote = written.into_iter().map(|object| Wrote { resource: resource.clone(), object, gone: false });
                outcome.wrote.extend(wrote);
                Ok(())
            }
            Action::FinalizeDefinition { target, instances, patch } => {
                if let Some(resource) = instances {
                    self.check_empty(&resource).await?;
                }
                self.patch(target, Some("status"), patch, None, outcome).await
            }
            Action::VerifyOwner { owner } => self.verify(owner, outcome).await,
            Action::Sign { target, request, signer, seconds } => {
                let status = match self.signer.sign(&request, &signer, seconds) {
                    Ok(signed) => json!({ "certificate": ByteString(signed.into_bytes()) }),
                    Err(why) => csr::failure(&why, jiff::Timestamp::now()),
                };
                let patch = json!({ "metadata": { "uid": target.uid }, "status": status });
                self.patch(target, Some("status"), patch, None, outcome).await
            }
            Action::IssueToken { target, account, uid, mut patch } => {
                let namespace = target.namespace.clone().unwrap_or_default();
                let token = AccountToken { namespace, secret: target.name.clone(), account, uid };
                let token = self.tokens.sign(token).map_err(Failed::Unsigned)?;
                patch["data"]["token"] = json!(ByteString(token.into_bytes()));
                self.patch(target, None, patch, None, outcome).await
            }
            Action::Provision { node, volume, claim } => self.provision(&node, volume, claim, outcome).await,
            Action::RemoveDirectory { node, volume, about } => self.remove_directory(&node, &volume, about).await,
            Action::Measure { namespace, name, generation, api_version, kind, target } => {
                let asked = Asked { namespace: namespace.clone(), api_version, kind, name: target };
                outcome.measured = Some(((namespace, name), self.measure(&asked, generation).await));
                Ok(())
            }
            Action::Tell(note) => {
                self.recorder.tell(note);
                Ok(())
            }
        }
    }

    async fn create(
        &self,
        resource: ResourceId,
        namespace: Option<&str>,
        body: Value,
        announce: Option<Announce>,
        outcome: &mut Outcome,
    ) -> Result<(), Failed> {
        let found = self.find(&resource)?;
        match self.registry.create(&found, namespace, body, &WriteOptions::system(COMPONENT)).await {
            Ok(object) => {
                self.tell_done(announce, object.name());
                outcome.wrote.push(Wrote { resource, object, gone: false });
                Ok(())
            }
            Err(status) => {
                if resource.plural == "pods" && !is_race(&status) {
                    outcome.replicas = Some(replicaset::Failure::Create(status.message.clone()));
                }
                self.tell_failed(announce, &status);
                Err(status.into())
            }
        }
    }

    async fn patch(
        &self,
        target: Target,
        subresource: Option<&'static str>,
        body: Value,
        announce: Option<Announce>,
        outcome: &mut Outcome,
    ) -> Result<(), Failed> {
        let found = self.find(&target.resource)?;
        let patch = Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Ignore, found: Vec::new() };
        let options = WriteOptions::system(COMPONENT);
        let namespace = target.namespace.as_deref();
        let patched = self.registry.patch(&found, subresource, namespace, &target.name, &patch, &options).await;
        match patched {
            Ok(patched) => {
                self.tell_done(announce, &target.name);
                // A scale is answered by itself, not by what it scales; the watch tells of that.
                if subresource != Some("scale") {
                    let object = patched.object;
                    outcome.wrote.push(Wrote { resource: target.resource, object, gone: false });
                }
                Ok(())
            }
            // It went meanwhile, and with it the reason to change it.
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => {
                self.tell_failed(announce, &status);
                Err(status.into())
            }
        }
    }

    async fn delete(
        &self,
        target: Target,
        grace_seconds: Option<i64>,
        propagation: Option<Propagation>,
        announce: Option<Announce>,
        outcome: &mut Outcome,
    ) -> Result<(), Failed> {
        let found = self.find(&target.resource)?;
        let options = DeleteOptions {
            grace_period_seconds: grace_seconds,
            propagation: propagation.map(|propagation| match propagation {
                Propagation::Background => pal_registry::Propagation::Background,
                Propagation::Foreground => pal_registry::Propagation::Foreground,
                Propagation::Orphan => pal_registry::Propagation::Orphan,
            }),
            preconditions: Preconditions { uid: Some(Uid(target.uid)), resource_version: None },
            ..DeleteOptions::system(COMPONENT)
        };
        let deleted = self.registry.delete(&found, target.namespace.as_deref(), &target.name, &options).await;
        match deleted {
            Ok(Deletion { object, gone }) => {
                self.tell_done(announce, &target.name);
                outcome.wrote.push(Wrote { resource: target.resource, object, gone });
                Ok(())
            }
            // It is gone, as wanted.
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => {
                if target.resource.plural == "pods" && !is_race(&status) {
                    outcome.replicas = Some(replicaset::Failure::Delete(status.message.clone()));
                }
                self.tell_failed(announce, &status);
                Err(status.into())
            }
        }
    }

    /// The resource of that id. Of a custom one any version does, if that one is no longer served.
    fn find(&self, id: &ResourceId) -> Result<ResourceRef, Failed> {
        let found = self.registry.find(&id.group, &id.version, &id.plural);
        let found = found.or_else(|| self.registry.definitions().any_version(&id.group, &id.plural));
        found.ok_or_else(|| Failed::UnknownResource(id.clone()))
    }

    fn tell_done(&self, announce: Option<Announce>, detail: &str) {
        if let Some(announce) = announce
            && let Some(words) = announce.done.clone()
        {
            self.tell(announce, words, detail);
        }
    }

    fn tell_failed(&self, announce: Option<Announce>, status: &Status) {
        if let Some(announce) = announce
            && let Some(words) = announce.failed.clone()
            && !is_race(status)
        {
            self.tell(announce, words, &status.message);
        }
    }

    fn tell(&self, announce: Announce, words: Words, detail: &str) {
        let message = if words.with_detail { format!("{}: {detail}", words.text) } else { words.text };
        self.recorder.tell(Note {
            about: announce.about,
            component: announce.component,
            severity: words.severity,
            reason: words.reason,
            message,
        });
    }
}

/// Whether a refusal only says that things have moved on: a lost race, a namespace that is on its way out, a server
/// that stops.
fn is_race(status: &Status) -> bool {
    let terminating = status.code == 403 && status.message.contains("is being terminated");
    matches!(status.code, 409 | 503) || status.is_for_another() || terminating
}
