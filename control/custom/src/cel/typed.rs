//! Expressions of policies over objects of a known kind: whether they can be meant so.

use pal_resources::schema;

use super::check::{AUTHORIZER, Names, PolicyNames, given_type};
use super::described;
use super::ty::{Meta, Ty};
use super::{FAILED, compile};
use crate::version::Version;

/// A kind whose objects expressions may speak of.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    /// Of a custom resource; the others are known.
    pub definition: Option<&'a Version>,
}

/// A kind and the type of its objects.
pub(crate) struct Described<'a> {
    name: String,
    ty: Ty<'a>,
}

impl<'a> Kind<'a> {
    /// `None` where nothing is known of its objects.
    pub(crate) fn described(&self) -> Option<Described<'a>> {
        let ty = match self.definition {
            Some(version) => Ty::of(version.node(), Meta::Published)?,
            None => described::message(schema::message_for(self.group, self.version, self.kind)?)?,
        };
        Some(Described { name: format!("{}/{}, Kind={}", self.group, self.version, self.kind), ty })
    }
}

/// Checks the expressions of one policy for one kind.
pub(crate) struct Checking<'a> {
    kind: String,
    names: PolicyNames<'a>,
}

impl<'a> Checking<'a> {
    pub(crate) fn new(object: Described<'a>, params: Option<Described<'a>>) -> Self {
        let known = ["request", "namespaceObject", AUTHORIZER].map(|name| (name, given_type(name)));
        let mut given = vec![("object", object.ty.clone()), ("oldObject", object.ty)];
        given.extend(known);
        given.extend(params.map(|params| ("params", params.ty)));
        Self { kind: object.name, names: PolicyNames { given, ..PolicyNames::default() } }
    }

    /// A variable, which may ask for those before it. What is wrong with it is not told.
    pub(crate) fn variable(&mut self, name: &str, source: &str) {
        let ty = self.compiled(source).map_or(Ty::Any, |ty| if ty.is_object() { Ty::Any } else { ty });
        self.names.variables.push((name.to_owned(), ty));
    }

    /// What is wrong with an expression, with the name of the kind.
    pub(crate) fn fault(&self, source: &str) -> Option<String> {
        let why = self.compiled(source).err()?;
        Some(format!("{}: {}", self.kind, why.strip_prefix(FAILED).unwrap_or(&why)))
    }

    fn compiled(&self, source: &str) -> Result<Ty<'a>, String> {
        let policy = Some(self.names.clone());
        compile(source, Names { self_: Ty::Any, variable: "", old_self: None, policy, stored: false })
            .map(|found| found.ty)
    }
}
