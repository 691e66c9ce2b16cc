//! What policies may ask of `authorizer`: what somebody may do, narrowed down step by step (Kubernetes' CEL library `authz`).

use std::fmt::Debug;
use std::rc::Rc;

/// Who knows what somebody may do.
pub trait Authorize: Debug {
    /// The answer.
    fn decide(&self, question: &Question) -> Answer;
}

/// Whether somebody may do something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The namespace and the name of the service account that is meant; without, it is who makes the request.
    pub account: Option<(String, String)>,
    pub verb: String,
    pub about: About,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Path(String),
    Resource(Target),
}

impl Default for About {
    fn default() -> Self {
        Self::Resource(Target::default())
    }
}

/// A resource. What is empty is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub allowed: bool,
    pub reason: String,
    /// Why it could not be found out.
    pub error: Option<String>,
}

/// A question that is being put together, or its answer.
#[derive(Clone, Debug)]
pub(super) struct Asking<'a> {
    pub(super) by: &'a dyn Authorize,
    pub(super) stage: Stage,
    pub(super) question: Question,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decided(Answer),
}

impl<'a> Asking<'a> {
    /// The variable `authorizer`.
    pub(super) fn new(by: &'a dyn Authorize) -> Self {
        Self { by, stage: Stage::Authorizer, question: Question::default() }
    }

    /// The variable `authorizer.requestResource`.
    pub(super) fn of(by: &'a dyn Authorize, target: Target) -> Self {
        let question = Question { about: About::Resource(target), ..Question::default() };
        Self { by, stage: Stage::Resource, question }
    }

    pub(super) fn type_name(&self) -> &'static str {
        use super::signatures::{AUTHORIZER, DECISION, GROUP_CHECK, PATH_CHECK, RESOURCE_CHECK};
        match self.stage {
            Stage::Authorizer => AUTHORIZER,
            Stage::Path => PATH_CHECK,
            Stage::Group => GROUP_CHECK,
            Stage::Resource => RESOURCE_CHECK,
            Stage::Decided(_) => DECISION,
        }
    }

    /// The next step.
    pub(super) fn then(&self, stage: Stage, change: impl FnOnce(&mut Question)) -> Rc<Self> {
        let mut next = self.clone();
        change(&mut next.question);
        next.stage = stage;
        Rc::new(next)
    }
}
