//! What looks at each item of a list or map: the macros, those that the parser leaves as calls among them.

use std::rc::Rc;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr as Parsed, IdedExpr, LiteralValue, operators as ops};

use super::super::expr::{Expr, Fold, FoldKind};
use super::super::ty::Ty;
use super::super::typing::{inner, optional};
use super::{Checker, Typed, no_overload};

impl<'n> Checker<'n, '_> {
    /// Macros that the parser leaves as calls: those of optionals and those with two variables.
    pub(super) fn own_macro(&mut self, call: &CallExpr) -> Option<Typed<'n>> {
        let target = call.target.as_deref()?;
        let name_at = |at: usize| match call.args.get(at).map(|arg| &arg.expr) {
            Some(Parsed::Ident(name)) => Some(name.clone()),
            _ => None,
        };
        match (call.func_name.as_str(), call.args.len()) {
            (name @ ("optMap" | "optFlatMap"), 2) => {
                let variable = name_at(0)?;
                let (of, ty) = self.read(target);
                let is_optional = |ty: &Ty<'_>| matches!(ty, Ty::Optional(_) | Ty::Any);
                if !is_optional(&ty) {
                    return Some(self.fail_call(name, 0, no_overload("hasValue", true, &[ty])));
                }
                let (body, result) = self.within(vec![(variable, inner(&ty))], |checker| checker.read(&call.args[1]));
                let flat = name == "optFlatMap";
                if flat && !is_optional(&result) {
                    let types = [Ty::Bool, result, optional(Ty::Any)];
                    return Some(self.fail_call(name, 0, no_overload(ops::CONDITIONAL, false, &types)));
                }
                let result = if flat { result } else { optional(result) };
                Some((Expr::OptionalMap { of: Box::new(of), body: Box::new(body), flat }, result))
            }
            (
                name @ ("all" | "exists" | "existsOne" | "exists_one" | "transformList" | "transformMap"
                | "transformMapEntry"),
                3 | 4,
            ) => {
                let kind = match name {
                    "all" => FoldKind::All,
                    "exists" => FoldKind::Exists,
                    "transformList" => FoldKind::List,
                    "transformMap" => FoldKind::Map,
                    "transformMapEntry" => FoldKind::Entries,
                    _ => FoldKind::ExistsOne,
                };
                let transforms = matches!(kind, FoldKind::List | FoldKind::Map | FoldKind::Entries);
                let (test, item) = match (transforms, call.args.len()) {
                    (false, 3) => (Some(&call.args[2]), None),
                    (true, 3) => (None, Some(&call.args[2])),
                    (true, 4) => (Some(&call.args[2]), Some(&call.args[3])),
                    _ => return None,
                };
                Some(self.fold(kind, target, vec![name_at(0)?, name_at(1)?], test, item))
            }
            _ => None,
        }
    }

    /// The parser's macros, told by their shape.
    pub(super) fn comprehension(&mut self, fold: &ComprehensionExpr) -> Typed<'n> {
        let vars = vec![fold.iter_var.clone()];
        let step = match &fold.loop_step.expr {
            Parsed::Call(call) => call,
            _ => return self.fail("", "unexpected comprehension".to_owned()),
        };
        let (kind, test, item) = match (&fold.accu_init.expr, step.func_name.as_str()) {
            (Parsed::Literal(LiteralValue::Boolean(_)), ops::LOGICAL_AND) => (FoldKind::All, Some(&step.args[1]), None),
            (Parsed::Literal(LiteralValue::Boolean(_)), ops::LOGICAL_OR) => {
                (FoldKind::Exists, Some(&step.args[1]), None)
            }
            (Parsed::Literal(LiteralValue::Int(_)), ops::CONDITIONAL) => {
                (FoldKind::ExistsOne, Some(&step.args[0]), None)
            }
            (Parsed::List(_), ops::ADD) => (FoldKind::List, None, only_item(&step.args[1])),
            (Parsed::List(_), ops::CONDITIONAL) => match &step.args[1].expr {
                Parsed::Call(add) => (FoldKind::List, Some(&step.args[0]), only_item(&add.args[1])),
                _ => return self.fail("", "unexpected comprehension".to_owned()),
            },
            _ => return self.fail("", "unexpected comprehension".to_owned()),
        };
        self.fold(kind, &fold.iter_range, vars, test, item)
    }

    fn fold(
        &mut self,
        kind: FoldKind,
        range: &IdedExpr,
        vars: Vec<String>,
        test: Option<&IdedExpr>,
        item: Option<&IdedExpr>,
    ) -> Typed<'n> {
        let (range, range_type) = self.read(range);
        let two = vars.len() == 2;
        let (first, second) = match &range_type {
            Ty::List(item) => (Ty::Int, item.taken()),
            Ty::Map(key, value) => (key.taken(), value.taken()),
            Ty::Any => (Ty::Any, Ty::Any),
            other => {
                let why = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    other.name()
                );
                return self.fail(vars.first().map_or("", String::as_str), why);
            }
        };
        let single = if matches!(range_type, Ty::List(_)) { second.clone() } else { first.clone() };
        let key_type = first.clone();
        let types = if two { vec![first, second] } else { vec![single] };
        let scope = vars.into_iter().zip(types).collect();
        let (test, item) = self.within(scope, |checker| {
            let test = test.map(|test| {
                let (test, ty) = checker.read(test);
                if !ty.may_be(&Ty::Bool) {
                    checker.fail("", format!("expected type 'bool' but found '{}'", ty.name()));
                }
                test
            });
            (test, item.map(|item| checker.read(item)))
        });
        let (item, item_type) = item.map_or((None, Ty::Any), |(item, ty)| (Some(item), ty));
        let ty = match kind {
            FoldKind::List => Ty::List(Rc::new(item_type)),
            FoldKind::Map => Ty::Map(Rc::new(key_type), Rc::new(item_type)),
            FoldKind::Entries if matches!(item_type, Ty::Map(..) | Ty::Any) => item_type,
            FoldKind::Entries => {
                let types = [Ty::Map(Rc::new(Ty::Any), Rc::new(Ty::Any)), item_type];
                return self.fail("transformMapEntry", no_overload("cel.@mapInsert", false, &types));
            }
            _ => Ty::Bool,
        };
        (Expr::Fold(Box::new(Fold { kind, range, two, test, item })), ty)
    }

    fn within<T>(&mut self, scope: Vec<(String, Ty<'n>)>, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.locals.len();
        self.locals.extend(scope);
        let result = read(self);
        self.locals.truncate(before);
        result
    }
}

fn only_item(list: &IdedExpr) -> Option<&IdedExpr> {
    match &list.expr {
        Parsed::List(list) => list.elements.first(),
        _ => None,
    }
}
