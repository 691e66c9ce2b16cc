//! The expressions of policies of admission: over several values of any type, with variables of their own.

use std::rc::Rc;

use serde_json::Value;

use super::authorizer::{Asking, Authorize, Target};
use super::check::{AUTHORIZER, Names, PATCH, PolicyNames, REQUEST_RESOURCE, given_type};
use super::eval::{Scope, Variables};
use super::expr::Expr;
use super::free::loose;
use super::json::json;
use super::meter::{Fail, Meter};
use super::run::{PER_CALL, PER_OBJECT};
use super::ty::Ty;
use super::value::V;
use super::{Compiled, compile};

/// How deep variables and what they ask for may be nested together, in operators and brackets.
const MAX_DEPTH: usize = 300;

/// What an expression is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Any,
    Bool,
    Text,
    TextOrNull,
    /// `Object{...}`
    Object,
    /// A list of `JSONPatch{...}`.
    Patches,
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Text => "string",
            Self::TextOrNull => "one of [string null_type]",
            Self::Object => "Object",
            Self::Patches => "list(JSONPatch)",
        }
    }

    fn fits(self, ty: &Ty<'_>) -> bool {
        let built = |ty: &Ty<'_>, wanted: &str| matches!(ty, Ty::Built(name) if **name == *wanted);
        match (self, ty) {
            (Self::Any, _) => true,
            // Of what may be anything nobody knows whether it is what is wanted.
            (_, Ty::Any) => false,
            (Self::Bool, ty) => matches!(ty, Ty::Bool),
            (Self::Text, ty) => matches!(ty, Ty::Text),
            (Self::TextOrNull, ty) => matches!(ty, Ty::Text | Ty::Null),
            (Self::Object, ty) => built(ty, "Object"),
            (Self::Patches, Ty::List(item)) => matches!(**item, Ty::Any) || built(item, PATCH),
            (Self::Patches, _) => false,
        }
    }
}

/// An expression, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Program {
    /// What it is called, if it is a variable.
    name: Box<str>,
    source: Box<str>,
    expr: Expr,
}

/// Compiles the expressions of one policy, its variables in their order.
pub(crate) struct Compiler {
    given: Vec<(&'static str, Ty<'static>)>,
    variables: Vec<(String, Ty<'static>)>,
    depths: Vec<usize>,
}

impl Compiler {
    /// For expressions over values of these names.
    pub(crate) fn new(given: &[&'static str]) -> Self {
        let given = given.iter().map(|name| (*name, given_type(name))).collect();
        Self { given, variables: Vec::new(), depths: Vec::new() }
    }

    /// An expression that knows no variables.
    pub(crate) fn plain(&self, source: &str, wanted: Wanted) -> Result<Program, String> {
        let names = PolicyNames { given: self.given.clone(), ..PolicyNames::default() };
        finished(source, compiled(source, names)?, wanted)
    }

    /// The expression of a message: one that must not ask what somebody may do.
    pub(crate) fn message(&self, source: &str) -> Result<Program, String> {
        let mut names = self.names(false);
        for (name, _) in &mut names.given {
            if matches!(*name, AUTHORIZER | REQUEST_RESOURCE) {
                *name = "";
            }
        }
        let found = compiled(source, names)?;
        self.depth(&found)?;
        finished(source, found, Wanted::Text)
    }

    /// An expression that may ask for all variables so far.
    pub(crate) fn expression(&self, source: &str, wanted: Wanted) -> Result<Program, String> {
        let found = compiled(source, self.names(matches!(wanted, Wanted::Object | Wanted::Patches)))?;
        self.depth(&found)?;
        finished(source, found, wanted)
    }

    /// A variable, which may ask for those before it. `builds`: it may make objects.
    pub(crate) fn variable(&mut self, name: &str, source: &str, builds: bool) -> Result<Program, String> {
        let found = compiled(source, self.names(builds));
        let known = found.as_ref().ok();
        let depth = known.map_or(Ok(0), |found| self.depth(found));
        // Whoever asks for one that does not compile is told no more of it.
        self.variables.push((name.to_owned(), known.map_or(Ty::Any, |found| found.ty.clone())));
        self.depths.push(depth.clone().unwrap_or(MAX_DEPTH));
        depth?;
        Ok(Program { name: name.into(), ..finished(source, found?, Wanted::Any)? })
    }

    fn names(&self, builds: bool) -> PolicyNames<'static> {
        PolicyNames { given: self.given.clone(), variables: self.variables.clone(), builds }
    }

    /// How deep it is with the variables that it asks for.
    fn depth(&self, found: &Compiled<'_>) -> Result<usize, String> {
        let below = found.variables.iter().filter_map(|at| self.depths.get(*at)).max().copied().unwrap_or(0);
        let depth = found.depth + below;
        if depth > MAX_DEPTH {
            return Err(format!("compilation failed: expression recursion limit exceeded: {MAX_DEPTH}"));
        }
        Ok(depth)
    }
}

fn compiled(source: &str, policy: PolicyNames<'static>) -> Result<Compiled<'static>, String> {
    compile(source, Names { self_: Ty::Any, variable: "", old_self: None, policy: Some(policy), stored: false })
}

fn finished(source: &str, found: Compiled<'_>, wanted: Wanted) -> Result<Program, String> {
    if !wanted.fits(&found.ty) {
        let got = if matches!(found.ty, Ty::Null) { "null_type".to_owned() } else { found.ty.name() };
        return Err(format!("must evaluate to {} but got {got}", wanted.name()));
    }
    Ok(Program { name: "".into(), source: source.trim().into(), expr: found.program })
}

impl Program {
    /// As it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

/// Evaluates the expressions of a policy for one request; variables once.
pub(crate) struct Evaluator<'a> {
    given: Vec<V<'a>>,
    variables: Variables<'a>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Given<'a> {
    Json(&'a Value),
    Authorizer(&'a dyn Authorize),
    RequestResource(&'a dyn Authorize, Target),
}

impl<'a> Given<'a> {
    fn value(&self) -> V<'a> {
        match self {
            Self::Json(value) => loose(value),
            Self::Authorizer(by) => V::Asking(Rc::new(Asking::new(*by))),
            Self::RequestResource(by, target) => V::Asking(Rc::new(Asking::of(*by, target.clone()))),
        }
    }
}

/// What an expression came to.
pub(crate) struct Found<'a>(V<'a>);

impl<'a> Evaluator<'a> {
    /// Over the values of those names; what there is not is null.
    pub(crate) fn new(given: &[(&str, Given<'a>)], variables: &'a [Program]) -> Self {
        let given: Vec<V<'a>> = given.iter().map(|(_, given)| given.value()).collect();
        let variables = Variables {
            programs: variables.iter().map(|program| (&*program.name, &program.expr)).collect(),
            known: variables.iter().map(|_| None).collect(),
            given: given.len(),
            limit: PER_CALL,
            left: PER_OBJECT,
        };
        Self { given, variables }
    }

    /// What all evaluations cost so far.
    #[cfg(test)]
    pub(crate) fn spent(&self) -> u64 {
        PER_OBJECT - self.variables.left
    }

    /// Evaluates one. An error is told as Kubernetes tells it.
    pub(crate) fn evaluate(&mut self, program: &'a Program) -> Result<Found<'a>, String> {
        let mut meter = Meter::new(PER_CALL.min(self.variables.left));
        let mut scope = Scope {
            self_: V::Null,
            old_self: V::Null,
            locals: self.given.clone(),
            variables: std::mem::take(&mut self.variables),
            meter: &mut meter,
        };
        let outcome = scope.eval(&program.expr);
        self.variables = scope.variables;
        self.variables.left = self.variables.left.saturating_sub(meter.spent());
        let source = &program.source;
        match outcome {
            Ok(value) => Ok(Found(value)),
            Err(Fail::TooCostly) if self.variables.left == 0 => {
                Err("validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned())
            }
            Err(Fail::TooCostly) => {
                Err(format!("expression '{source}' resulted in error: operation cancelled: actual cost limit exceeded"))
            }
            Err(Fail::Error(why)) => Err(format!("expression '{source}' resulted in error: {why}")),
        }
    }
}

impl Found<'_> {
    /// Whether it is true; anything but a boolean is not.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self.0, V::Bool(true))
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_text()
    }

    /// Whether it is null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.0, V::Null)
    }

    /// The name of its type.
    pub(crate) fn type_name(&self) -> &'static str {
        self.0.type_name()
    }

    /// The object that was made, whose parts must be called by the paths at which they stand.
    pub(crate) fn object(&self) -> Result<Value, String> {
        match &self.0 {
            V::Built(..) => json(&self.0, Some("Object")),
            other => Err(format!("must evaluate to Object but got {}", other.type_name())),
        }
    }

    /// The operations of a JSON patch.
    pub(crate) fn patches(&self) -> Result<Value, String> {
        let V::List(items) = &self.0 else {
            return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
        };
        items.iter().map(patch).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }
}

fn patch(step: &V<'_>) -> Result<Value, String> {
    let V::Built(PATCH, _) = step else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned());
    };
    let mut out = serde_json::Map::new();
    for name in ["op", "path", "from"] {
        match step.field(name) {
            Some(V::Text(text)) => drop(out.insert(name.to_owned(), text.to_string().into())),
            None if name == "from" => {}
            None => drop(out.insert(name.to_owned(), "".into())),
            Some(other) => return Err(format!("unexpected type {} for JSONPatch field {name}", other.type_name())),
        }
    }
    if let Some(value) = step.field("value") {
        let root = match &value {
            V::Built(own, _) => Some((*own).to_owned()),
            _ => None,
        };
        out.insert("value".to_owned(), json(&value, root.as_deref())?);
    }
    Ok(Value::Object(out))
}
