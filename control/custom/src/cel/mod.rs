//! Rules (`x-kubernetes-validations`): expressions of CEL over the values of an object.
//!
//! The crate `cel` parses. What is parsed is checked against the schema's types and evaluated here, because the crate has
//! no types of fields and no meter: no rule may take long with any object.

#[cfg(test)]
mod accepted_library_tests;
#[cfg(test)]
mod accepted_policy_tests;
#[cfg(test)]
mod accepted_project_tests;
#[cfg(test)]
mod accepted_tests;
pub(crate) mod authorizer;
mod bounds;
mod check;
mod cost;
#[cfg(test)]
mod cost_tests;
mod described;
mod eval;
mod expr;
mod free;
mod functions;
mod json;
mod meter;
mod operators;
pub(crate) mod policy;
mod run;
#[cfg(test)]
mod run_cost_tests;
mod signatures;
#[cfg(test)]
mod tests;
mod ty;
pub(crate) mod typed;
mod typing;
mod value;

use std::collections::BTreeSet;

use cel::parser::PrattParser;
use serde_json::Value;

use check::{Checker, Names, show_error};
pub(crate) use cost::most_values;
use expr::Expr;
pub use free::{Expression, Found, Wanted};
pub use run::Judged;
pub(crate) use run::{validate, validate_value};
pub(crate) use ty::Meta;
use ty::Ty;

use crate::field_path::{self, Notation};
use crate::schema::Node;

/// How deep expressions may be nested, for the parser.
const MAX_DEPTH: u16 = 150;

/// A rule that compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    source: String,
    message: String,
    reason: String,
    /// Of the field that is to blame, below the rule's own: `spec.x`.
    field: String,
    optional_old: bool,
    pub(crate) uses_old: bool,
    program: Expr,
    message_program: Option<Expr>,
}

/// Why a rule does not compile: the field of the rule, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) field: &'static str,
    pub(crate) detail: String,
}

impl Rule {
    /// Compiles one rule of a schema. Several things may be wrong with it.
    pub(crate) fn compile(rule: &Value, node: &Node, schema: &Value, meta: Meta) -> Result<Self, Vec<Fault>> {
        Self::compiled(rule, node, schema, meta, false)
    }

    /// Compiles one that was accepted once: types that do not go together are no fault of it.
    pub(crate) fn compile_stored(rule: &Value, node: &Node, schema: &Value, meta: Meta) -> Result<Self, Vec<Fault>> {
        Self::compiled(rule, node, schema, meta, true)
    }

    fn compiled(rule: &Value, node: &Node, schema: &Value, meta: Meta, stored: bool) -> Result<Self, Vec<Fault>> {
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let optional_old = rule["optionalOldSelf"] == true;
        let fault = |field, detail: &str| vec![Fault { field, detail: detail.to_owned() }];
        let Some(self_) = Ty::of(node, meta) else {
            return Err(fault("rule", "compilation failed: the type of self is not known"));
        };
        let old = if optional_old { Ty::Optional(std::rc::Rc::new(self_.clone())) } else { self_.clone() };
        let names = Names { self_, variable: "self", old_self: Some(old), policy: None, stored };
        let source = text("rule");
        let Compiled { program, ty, uses_old, .. } =
            compile(source, names.clone()).map_err(|why| fault("rule", &why))?;
        if !(matches!(ty, Ty::Bool) || stored && matches!(ty, Ty::Any)) {
            return Err(fault("rule", "cel expression must evaluate to a bool"));
        }
        if rule.get("optionalOldSelf").is_some_and(|given| !given.is_null()) && !uses_old {
            return Err(fault("optionalOldSelf", "may not be set if oldSelf is not used in rule"));
        }
        let message_source = text("messageExpression");
        let message_program = if message_source.is_empty() {
            None
        } else {
            let failed = |why: String| fault("messageExpression", &format!("messageExpression {why}"));
            let Compiled { program, ty, .. } = compile(message_source, names).map_err(failed)?;
            if !(matches!(ty, Ty::Text) || stored && matches!(ty, Ty::Any)) {
                return Err(fault("messageExpression", "messageExpression must evaluate to a string"));
            }
            Some(program)
        };
        let field = field_path::resolve(text("fieldPath"), schema, Notation::FieldsAndKeys);
        Ok(Self {
            source: source.trim().to_owned(),
            message: text("message").trim().to_owned(),
            reason: text("reason").to_owned(),
            field: field.map(|found| found.path).unwrap_or_default(),
            optional_old,
            uses_old,
            program,
            message_program,
        })
    }

    /// What an evaluation costs at most, with the largest values that the schema allows and a request can hold.
    pub(crate) fn cost(&self, node: &Node, meta: Meta) -> u64 {
        cost::most(&self.program, node, meta)
    }

    /// The same for the expression that makes its message.
    pub(crate) fn message_cost(&self, node: &Node, meta: Meta) -> u64 {
        self.message_program.as_ref().map_or(0, |program| cost::most(program, node, meta))
    }

    /// What the rule is called where it fails.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }

    fn failure(&self) -> String {
        if self.message.is_empty() { format!("failed rule: {}", self.source) } else { self.message.clone() }
    }
}

/// What errors of the compiler begin with.
const FAILED: &str = "compilation failed: ";

/// What came of an expression's text.
struct Compiled<'n> {
    program: Expr,
    ty: Ty<'n>,
    uses_old: bool,
    /// The named expressions that it asks for.
    variables: BTreeSet<usize>,
    /// How deep it is nested.
    depth: usize,
}

fn compile<'n>(source: &str, names: Names<'n>) -> Result<Compiled<'n>, String> {
    let failed = |errors: &[String]| format!("{FAILED}{}", errors.join("\n"));
    let depth = bounds::check(source).map_err(|why| failed(&[format!("ERROR: <input>:-1:0: {why}")]))?;
    let parser = PrattParser::new().max_recursion_depth(MAX_DEPTH).enable_optional_syntax(true);
    let parsed = parser.parse(source).map_err(|errors| {
        let shown: Vec<String> = errors.errors.iter().map(|error| place_error(source, error)).collect();
        failed(&shown)
    })?;
    let mut checker = Checker::new(names, source);
    let (program, ty) = checker.read(&parsed);
    if !checker.errors.is_empty() {
        return Err(failed(&checker.errors));
    }
    Ok(Compiled { program, ty: ty.settled(), uses_old: checker.uses_old_self, variables: checker.variables, depth })
}

/// A parser's error in the form of the checker's.
fn place_error(source: &str, error: &cel::ParseError) -> String {
    let (line, column) = (error.pos.0.max(1) as usize, error.pos.1.max(1) as usize);
    let start: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let in_line = source.get(start..).unwrap_or_default();
    let offset = in_line.char_indices().nth(column - 1).map_or(in_line.len(), |(at, _)| at);
    show_error(source, start + offset, &format!("Syntax error: {}", error.msg))
}
