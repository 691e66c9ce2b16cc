//! What only policies have: their variables, and objects and patches that they make.

use cel::common::ast::{EntryExpr, Expr as Parsed, IdedExpr, StructExpr};

use super::super::described::{NAMESPACE, REQUEST};
use super::super::expr::{Expr, Field, Literal};
use super::super::signatures;
use super::super::ty::{Ty, unescape};
use super::super::typing::inner;
use super::{Checker, Typed};

/// What the expressions of a policy may speak of.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct PolicyNames<'n> {
    /// Values and their types; the first of the macros' variables. The empty name is one that cannot be asked for.
    pub(in super::super) given: Vec<(&'static str, Ty<'n>)>,
    /// `variables.NAME`, and what those come to.
    pub(in super::super) variables: Vec<(String, Ty<'n>)>,
    /// Objects and patches can be made: `Object{}`, `JSONPatch{}`.
    pub(in super::super) builds: bool,
}

/// The type of an operation of a JSON patch, and that of its fields that are texts.
pub(in super::super) const PATCH: &str = "JSONPatch";
const PATCH_TEXTS: [&str; 3] = ["op", "path", "from"];

/// What somebody may do, and what the one who makes the request may do with what it is about.
pub(in super::super) const AUTHORIZER: &str = "authorizer";
pub(in super::super) const REQUEST_RESOURCE: &str = "authorizer.requestResource";

/// What is known of a value before there is one.
pub(in super::super) fn given_type<'n>(name: &str) -> Ty<'n> {
    match name {
        AUTHORIZER => Ty::Opaque(signatures::AUTHORIZER),
        REQUEST_RESOURCE => Ty::Opaque(signatures::RESOURCE_CHECK),
        "request" => Ty::Record(&REQUEST),
        "namespaceObject" => Ty::Record(&NAMESPACE),
        _ => Ty::Any,
    }
}

impl<'n> Checker<'n, '_> {
    /// `authorizer.requestResource`, which is a variable with a point in its name.
    pub(super) fn request_resource(&mut self, operand: &IdedExpr, field: &str) -> Option<Typed<'n>> {
        let own = |local: &(String, Ty<'n>)| local.0 == AUTHORIZER;
        let shadowed = self.locals.iter().filter(|local| own(local)).count() > 1;
        if shadowed || field != "requestResource" || !matches!(&operand.expr, Parsed::Ident(name) if name == AUTHORIZER)
        {
            return None;
        }
        let at = self.locals.iter().position(|(local, _)| local == REQUEST_RESOURCE)?;
        Some((Expr::Local(at), self.locals[at].1.clone()))
    }

    /// `variables.NAME` of a policy.
    pub(super) fn variable(&mut self, operand: &IdedExpr, field: &str, test: bool) -> Option<Typed<'n>> {
        let policy = self.names.policy.as_ref()?;
        let shadowed = self.locals.iter().any(|(local, _)| local == "variables");
        if shadowed || !matches!(&operand.expr, Parsed::Ident(name) if name == "variables") {
            return None;
        }
        // Of two with one name the later holds.
        let found = policy.variables.iter().rposition(|(name, _)| name == field);
        Some(match found {
            Some(_) if test => (Expr::Literal(Literal::Bool(true)), Ty::Bool),
            Some(at) => {
                let ty = policy.variables[at].1.clone();
                self.variables.insert(at);
                (Expr::Variable(at), ty)
            }
            None => self.fail(&format!(".{field}"), format!("undefined field '{field}'")),
        })
    }

    /// `Object.spec{replicas: 3}`, `JSONPatch{op: "add"}`.
    pub(super) fn built(&mut self, built: &StructExpr) -> Typed<'n> {
        let name = built.type_name.trim_start_matches('.');
        let is_object = name == "Object" || name.starts_with("Object.");
        let builds = self.names.policy.as_ref().is_some_and(|policy| policy.builds);
        if !builds || !(is_object || name == PATCH) {
            return self.fail(name, format!("undeclared reference to '{name}' (in container '')"));
        }
        let mut fields = Vec::with_capacity(built.entries.len());
        for entry in &built.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let (value, ty) = self.read(&field.value);
            let ty = if field.optional { inner(&ty) } else { ty };
            if !is_object {
                let text = PATCH_TEXTS.contains(&field.field.as_str());
                if !text && field.field != "value" {
                    return self.fail(&field.field, format!("undefined field '{}'", field.field));
                }
                if text && !ty.may_be(&Ty::Text) {
                    let why = format!(
                        "expected type of field '{}' is 'string' but provided type is '{}'",
                        field.field,
                        ty.name()
                    );
                    return self.fail(&field.field, why);
                }
            }
            fields.push(Field { name: unescape(&field.field).into(), value, optional: field.optional });
        }
        (Expr::Built { name: name.into(), fields }, Ty::Built(name.into()))
    }
}
