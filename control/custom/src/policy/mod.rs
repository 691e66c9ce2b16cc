//! Policies of admission (`admissionregistration.k8s.io/v1`): what they refuse of requests, and what they change in objects.
//!
//! Pure: which policies there are, what binds them and with which parameters is for the caller to find; what comes of a
//! mutation is applied by it too.

mod matching;
#[cfg(test)]
mod tests;
mod types;

use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use crate::cel::policy::{Compiler, Evaluator, Given, Program, Wanted};

pub use crate::cel::authorizer::{About, Answer, Authorize, Question, Target};
pub use matching::{Attributes, matches};
pub use types::{Kind, Warning, named_resources, type_warnings};

/// What is wrong with the conditions of a configuration's webhooks.
pub fn webhook_faults(configuration: &Value) -> Vec<FieldError> {
    let (compiler, mut faults) = (Compiler::new(&GIVEN[..GIVEN.len() - 1]), Faults::default());
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    for (index, webhook) in webhooks.enumerate() {
        for (at, condition) in items(webhook, "matchConditions", &FieldPath::new("webhooks").index(index)) {
            let source = text(condition, "expression");
            faults.take(compiler.plain(source, Wanted::Bool), &at.child("expression"), source);
        }
    }
    faults.0
}

/// How long a message may be that an expression makes, in bytes.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;

/// A `ValidatingAdmissionPolicy` or a `MutatingAdmissionPolicy`, compiled.
#[derive(Debug, Default)]
pub struct Policy {
    conditions: Vec<Program>,
    variables: Vec<Program>,
    mutations: Vec<Mutation>,
    validations: Vec<Validation>,
    annotations: Vec<Annotation>,
    takes_params: bool,
    faults: Vec<FieldError>,
}

#[derive(Debug)]
struct Mutation {
    program: Program,
    applies: bool,
}

#[derive(Debug)]
struct Validation {
    program: Program,
    message_program: Option<Program>,
    message: String,
    reason: Option<String>,
}

#[derive(Debug)]
struct Annotation {
    key: String,
    program: Program,
}

/// What a policy wants of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A configuration that is merged into it by the schema, without `apiVersion` and `kind`.
    Apply(Value),
    /// A JSON patch.
    Patch(Value),
}

/// Why a request is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub message: String,
    /// `Forbidden`, `Invalid`, ...; nothing where the evaluation itself failed.
    pub reason: Option<String>,
    /// It could not be evaluated, so that the failure policy decides.
    pub failed: bool,
    /// Which of the validations it is.
    pub index: usize,
}

/// What is to be told of a request in the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub key: String,
    pub value: String,
}

/// What expressions speak of. What there is not is null.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub object: &'a Value,
    pub old_object: &'a Value,
    pub request: &'a Value,
    pub namespace: &'a Value,
    pub params: &'a Value,
    /// Who knows what somebody may do.
    pub authorizer: &'a dyn Authorize,
}

impl<'a> Case<'a> {
    /// What the names stand for, in the order of `GIVEN`.
    fn given(&self) -> [(&'static str, Given<'a>); GIVEN.len()] {
        let values = [
            Given::Json(self.object),
            Given::Json(self.old_object),
            Given::Json(self.request),
            Given::Json(self.namespace),
            Given::Authorizer(self.authorizer),
            Given::RequestResource(self.authorizer, self.target()),
            Given::Json(self.params),
        ];
        let mut names = GIVEN.into_iter();
        values.map(|value| (names.next().unwrap_or_default(), value))
    }

    /// What the request is about.
    fn target(&self) -> Target {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (request, resource) = (self.request, &self.request["resource"]);
        Target {
            group: text(&resource["group"]),
            resource: text(&resource["resource"]),
            subresource: text(&request["subResource"]),
            namespace: text(&request["namespace"]),
            name: text(&request["name"]),
            ..Target::default()
        }
    }
}

const GIVEN: [&str; 7] =
    ["object", "oldObject", "request", "namespaceObject", "authorizer", "authorizer.requestResource", "params"];

impl Policy {
    /// Compiles a policy of either kind.
    pub fn compile(policy: &Value) -> Self {
        let (spec, path) = (&policy["spec"], FieldPath::new("spec"));
        let takes_params = spec["paramKind"].is_object();
        let given = if takes_params { &GIVEN[..] } else { &GIVEN[..GIVEN.len() - 1] };
        let builds = spec["mutations"].is_array();
        let (mut compiler, mut faults) = (Compiler::new(given), Faults::default());
        let mut made = Self { takes_params, ..Self::default() };
        for (at, condition) in items(spec, "matchConditions", &path) {
            let source = text(condition, "expression");
            made.conditions.extend(faults.take(compiler.plain(source, Wanted::Bool), &at.child("expression"), source));
        }
        for (at, variable) in items(spec, "variables", &path) {
            let source = text(variable, "expression");
            let compiled = compiler.variable(text(variable, "name"), source, builds);
            made.variables.extend(faults.take(compiled, &at.child("expression"), source));
        }
        for (at, mutation) in items(spec, "mutations", &path) {
            let applies = text(mutation, "patchType") == "ApplyConfiguration";
            let (field, wanted) =
                if applies { ("applyConfiguration", Wanted::Object) } else { ("jsonPatch", Wanted::Patches) };
            let source = text(&mutation[field], "expression");
            let compiled = compiler.expression(source, wanted);
            let program = faults.take(compiled, &at.child(field).child("expression"), source);
            made.mutations.extend(program.map(|program| Mutation { program, applies }));
        }
        for (at, validation) in items(spec, "validations", &path) {
            made.validations.extend(validated(&compiler, validation, &at, &mut faults));
        }
        for (at, annotation) in items(spec, "auditAnnotations", &path) {
            let source = text(annotation, "valueExpression");
            let compiled = compiler.expression(source, Wanted::TextOrNull);
            let program = faults.take(compiled, &at.child("valueExpression"), source);
            let key = text(annotation, "key").to_owned();
            made.annotations.extend(program.map(|program| Annotation { key, program }));
        }
        made.faults = faults.0;
        made
    }

    /// What is wrong with its expressions. A policy with faults can only fail.
    pub fn faults(&self) -> &[FieldError] {
        &self.faults
    }

    /// Begins with a request.
    pub fn consider<'a>(&'a self, case: &Case<'a>) -> Consideration<'a> {
        let count = if self.takes_params { GIVEN.len() } else { GIVEN.len() - 1 };
        Consideration { policy: self, evaluator: Evaluator::new(&case.given()[..count], &self.variables) }
    }

    /// How many mutations it has, which are made one after the other.
    pub fn mutations(&self) -> usize {
        self.mutations.len()
    }
}

/// A policy and a request.
pub struct Consideration<'a> {
    policy: &'a Policy,
    evaluator: Evaluator<'a>,
}

impl<'a> Consideration<'a> {
    /// Whether the request meets the policy's conditions. One that is false outweighs errors of others.
    pub fn applies(&mut self) -> Result<bool, String> {
        let mut failed = Vec::new();
        for condition in &self.policy.conditions {
            match self.evaluator.evaluate(condition) {
                Ok(found) if found.is_true() => {}
                Ok(_) => return Ok(false),
                Err(why) => failed.push(why),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            [why] => Err(why.clone()),
            all => Err(format!("[{}]", all.join(", "))),
        }
    }

    /// What one of the mutations wants.
    pub fn change(&mut self, index: usize) -> Result<Option<Change>, String> {
        let Some(mutation) = self.policy.mutations.get(index) else { return Ok(None) };
        let found = self.evaluator.evaluate(&mutation.program)?;
        let change =
            if mutation.applies { found.object().map(Change::Apply) } else { found.patches().map(Change::Patch) };
        change.map(Some)
    }

    /// What the validations refuse.
    pub fn denials(&mut self) -> Vec<Denial> {
        let mut denials = Vec::new();
        for (index, validation) in self.policy.validations.iter().enumerate() {
            match self.evaluator.evaluate(&validation.program) {
                Ok(found) if found.is_true() => {}
                Ok(_) => {
                    let message = self.message(validation);
                    let reason = Some(validation.reason.clone().unwrap_or_else(|| "Invalid".to_owned()));
                    denials.push(Denial { message, reason, failed: false, index });
                }
                Err(message) => denials.push(Denial { message, reason: None, failed: true, index }),
            }
        }
        denials
    }

    /// What is to be told in the audit log; or why that could not be evaluated.
    pub fn annotations(&mut self) -> Vec<Result<Told, String>> {
        let mut told = Vec::new();
        for Annotation { key, program } in &self.policy.annotations {
            let found = self.evaluator.evaluate(program).and_then(|found| match found.text().map(str::trim) {
                Some(text) => Ok(text.to_owned()),
                None if found.is_null() => Ok(String::new()),
                None => Err(format!(
                    "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null",
                    program.source(),
                    found.type_name()
                )),
            });
            match found {
                Ok(value) if value.is_empty() => {}
                Ok(value) => told.push(Ok(Told { key: key.clone(), value })),
                Err(why) => told.push(Err(why)),
            }
        }
        told
    }

    fn message(&mut self, validation: &'a Validation) -> String {
        let made = validation.message_program.as_ref().and_then(|program| {
            let found = self.evaluator.evaluate(program).ok()?;
            let text = found.text()?.trim();
            let fine = !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
            fine.then(|| text.to_owned())
        });
        made.unwrap_or_else(|| match validation.message.trim() {
            "" => format!("failed expression: {}", validation.program.source()),
            message => message.to_owned(),
        })
    }
}

fn validated(compiler: &Compiler, validation: &Value, at: &FieldPath, faults: &mut Faults) -> Option<Validation> {
    let (source, message) = (text(validation, "expression"), text(validation, "messageExpression"));
    let program = faults.take(compiler.expression(source, Wanted::Bool), &at.child("expression"), source);
    let message_program = (!message.trim().is_empty())
        .then(|| {
            let compiled = compiler.message(message);
            faults.take(compiled, &at.child("messageExpression"), message)
        })
        .flatten();
    Some(Validation {
        program: program?,
        message_program,
        message: text(validation, "message").to_owned(),
        reason: validation["reason"].as_str().map(str::to_owned),
    })
}

#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    /// What was compiled; or notes why it was not.
    fn take(&mut self, compiled: Result<Program, String>, path: &FieldPath, source: &str) -> Option<Program> {
        match compiled {
            Ok(program) => Some(program),
            Err(why) => {
                self.0.push(FieldError::invalid(path, source, &why));
                None
            }
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn items<'a>(spec: &'a Value, list: &str, path: &FieldPath) -> Vec<(FieldPath, &'a Value)> {
    let below = path.child(list);
    let found = spec[list].as_array().into_iter().flatten().enumerate();
    found.map(|(index, item)| (below.index(index), item)).collect()
}
