//! Rules over a whole object (apiextensions `schema/cel/validation.go`).

use pal_resources::FieldError;
use pal_resources::field::FieldErrorKind;
use serde_json::Value;

use super::Rule;
use super::eval::{Scope, Variables};
use super::expr::Expr;
use super::meter::{Fail, Meter};
use super::ty::Meta;
use super::value::V;
use crate::schema::check::{Keyed, alike};
use crate::schema::node::Type;
use crate::schema::{Node, Path};

/// What one evaluation may cost.
pub(super) const PER_CALL: u64 = 1_000_000;

/// What all rules of an object together may cost.
pub(super) const PER_OBJECT: u64 = 10_000_000;

const MAX_MESSAGE_BYTES: usize = 5 * 1024;

/// What is wrong with an object.
#[derive(Debug, Default, PartialEq)]
pub struct Judged {
    pub refused: Vec<FieldError>,
    /// What rules say of parts that did not change (KEP-4008): who writes it is warned.
    pub forgiven: Vec<FieldError>,
}

/// What the rules of a schema say. With what was stored before, what they say of what did not change is forgiven.
pub(crate) fn validate(node: &Node, object: &Value, old: Option<&Value>) -> Judged {
    let mut run = Run { left: PER_OBJECT, judged: Judged::default(), stopped: false };
    let at = At { old, correlated: old, parent: None };
    run.walk(node, object, Meta::Resource, at, &mut Path::default());
    run.judged
}

/// The rules of one value alone: those of a default.
pub(crate) fn validate_value(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut run = Run { left: PER_CALL, judged: Judged::default(), stopped: false };
    run.walk(
        node,
        value,
        Meta::of(node),
        At { old: Some(value), correlated: None, parent: None },
        &mut Path::default(),
    );
    run.judged.refused
}

struct Run {
    left: u64,
    judged: Judged,
    stopped: bool,
}

/// What stood before where a value stands now.
#[derive(Clone, Copy)]
struct At<'a> {
    old: Option<&'a Value>,
    /// The same for forgiving.
    correlated: Option<&'a Value>,
    /// The nearest value above that has one, its schema before it, and what stood there.
    parent: Option<(&'a Node, &'a Value, &'a Value)>,
}

impl<'a> At<'a> {
    fn below(self, node: &'a Node, value: &'a Value, old: Option<&'a Value>) -> Self {
        match self.correlated {
            Some(before) => Self { old, correlated: old, parent: Some((node, value, before)) },
            None => Self { old, correlated: None, parent: self.parent },
        }
    }

    fn unchanged(self, node: &Node, value: &Value) -> bool {
        match (self.correlated, self.parent) {
            (Some(before), _) => alike(node, value, before),
            (None, Some((node, value, before))) => alike(node, value, before),
            (None, None) => false,
        }
    }
}

impl Run {
    fn walk<'a>(&mut self, node: &'a Node, value: &'a Value, meta: Meta, at: At<'a>, path: &mut Path) {
        if self.stopped || value.is_null() || !node.ruled {
            return;
        }
        self.rules(node, value, meta, at, path);
        match value {
            Value::Object(map) => {
                for (name, inner) in map {
                    let old = at.old.and_then(|old| old.get(name)).filter(|old| !old.is_null());
                    let below = at.below(node, value, old);
                    if let Some(node) = node.properties.get(name) {
                        path.child(name, |path| self.walk(node, inner, Meta::of(node), below, path));
                    } else if let Some(node) = node.entries() {
                        path.key(name, |path| self.walk(node, inner, Meta::of(node), below, path));
                    }
                }
            }
            Value::Array(list) => {
                let Some(item) = &node.items else { return };
                let before = at.old.and_then(Value::as_array).zip(node.list_keys());
                let before = before.map(|(old, keys)| Keyed::new(old, keys));
                for (index, inner) in list.iter().enumerate() {
                    let below = at.below(node, value, before.as_ref().and_then(|before| before.get(inner)));
                    path.index(index, |path| self.walk(item, inner, Meta::of(item), below, path));
                }
            }
            _ => {}
        }
    }

    fn rules<'a>(&mut self, node: &'a Node, value: &'a Value, meta: Meta, at: At<'a>, path: &Path) {
        for rule in &node.compiled {
            if self.stopped {
                return;
            }
            let old = at.old.map(|old| V::of(old, node, meta));
            let old_self = match (rule.optional_old, old) {
                (true, old) => V::Optional(old.map(std::rc::Rc::new)),
                (false, Some(old)) => old,
                (false, None) if rule.uses_old => continue,
                (false, None) => V::Null,
            };
            let self_ = V::of(value, node, meta);
            let outcome = self.evaluate(&rule.program, self_.clone(), old_self.clone());
            self.judge(rule, node, value, at, path, outcome, (self_, old_self));
        }
    }

    fn evaluate<'a>(&mut self, program: &'a Expr, self_: V<'a>, old_self: V<'a>) -> Result<V<'a>, Fail> {
        let mut meter = Meter::new(PER_CALL.min(self.left));
        let mut scope =
            Scope { self_, old_self, locals: Vec::new(), variables: Variables::default(), meter: &mut meter };
        let outcome = scope.eval(program);
        self.left = self.left.saturating_sub(meter.spent().min(PER_CALL));
        outcome
    }

    #[allow(clippy::too_many_arguments)] // Everything that a refusal is made of.
    fn judge<'a>(
        &mut self,
        rule: &'a Rule,
        node: &Node,
        value: &'a Value,
        at: At<'a>,
        path: &Path,
        outcome: Result<V<'a>, Fail>,
        (self_, old_self): (V<'a>, V<'a>),
    ) {
        let ty = node.ty.map_or("", Type::name);
        let mut refuse = |why: String| self.judged.refused.push(FieldError::invalid(&path.field(), ty, &why));
        match outcome {
            Ok(V::Bool(true)) => return,
            Ok(_) => {}
            Err(Fail::TooCostly) => {
                refuse(if self.left == 0 {
                    "validation failed due to running out of cost budget, no further validation rules will be run"
                        .to_owned()
                } else {
                    format!(
                        "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                        rule.shown()
                    )
                });
                self.stopped = true;
                return;
            }
            Err(Fail::Error(why)) if why.starts_with("no such overload") => {
                return refuse(format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                    rule.shown()
                ));
            }
            Err(Fail::Error(why)) => return refuse(format!("{why} evaluating rule: {}", rule.shown())),
        }
        let detail = match rule.message_program.as_ref().map(|program| self.evaluate(program, self_, old_self)) {
            Some(Ok(V::Text(text))) => Some(text.trim().to_owned()),
            Some(Err(Fail::TooCostly)) => {
                let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                self.judged.refused.push(FieldError::invalid(&path.field(), ty, why));
                self.stopped = true;
                return;
            }
            _ => None,
        };
        let fine = |text: &String| !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
        let detail = detail.filter(fine).unwrap_or_else(|| rule.failure());
        let is_forgiven = !rule.uses_old && at.unchanged(node, value);
        let told = if is_forgiven { &mut self.judged.forgiven } else { &mut self.judged.refused };
        told.push(refusal(rule, value, path, &detail));
    }
}

fn refusal(rule: &Rule, value: &Value, path: &Path, detail: &str) -> FieldError {
    let field = match (path.as_str(), rule.field.as_str()) {
        (_, "") => path.field(),
        (_, below) => path.field().child(below),
    };
    let whole = value.is_object() || value.is_array();
    let shown =
        |kind, label: &str, rest: &str| FieldError { kind, path: field.clone(), message: format!("{label}{rest}") };
    match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(&field, detail),
        "FieldValueRequired" => FieldError::required(&field, detail),
        "FieldValueDuplicate" if whole => shown(FieldErrorKind::Duplicate, "Duplicate value", ""),
        "FieldValueDuplicate" => FieldError::duplicate(&field, value.clone()),
        // Large values would hide the message.
        _ if whole => shown(FieldErrorKind::Invalid, "Invalid value: ", detail),
        _ => FieldError::invalid(&field, value.clone(), detail),
    }
}
