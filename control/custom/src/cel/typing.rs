//! Which types calls and operators take, and what comes of them.

use std::rc::Rc;

use cel::common::ast::operators as ops;

use super::signatures::Kind;
use super::ty::Ty;

pub(super) fn optional(ty: Ty<'_>) -> Ty<'_> {
    match ty {
        already @ Ty::Optional(_) => already,
        ty => Ty::Optional(Rc::new(ty)),
    }
}

/// What an optional or a list holds.
pub(super) fn inner<'n>(ty: &Ty<'n>) -> Ty<'n> {
    match ty {
        Ty::Optional(inner) | Ty::List(inner) => inner.taken(),
        _ => Ty::Any,
    }
}

/// Whether an argument is of such a kind, beside what stands first.
pub(super) fn fits(kind: Kind, ty: &Ty<'_>, first: &Ty<'_>) -> bool {
    match (kind, ty) {
        (Kind::Any, _) | (_, Ty::Any) => true,
        (Kind::Same, ty) => first.may_be(ty),
        (Kind::Item, ty) => inner(first).may_be(ty),
        (Kind::TextList, Ty::List(item)) => item.may_be(&Ty::Text),
        (Kind::Lists, Ty::List(item)) => matches!(**item, Ty::Any | Ty::Open | Ty::List(_)),
        (Kind::Summable, Ty::List(item)) => is_number(item) || matches!(**item, Ty::Any | Ty::Open | Ty::Duration),
        (Kind::Sortable, Ty::List(item)) => is_ordered(item) || matches!(**item, Ty::Any | Ty::Open),
        (Kind::Time | Kind::Duration | Kind::Optional | Kind::Opaque(_), Ty::Null) => true,
        (Kind::Bool, Ty::Bool)
        | (Kind::Int, Ty::Int)
        | (Kind::Uint, Ty::Uint)
        | (Kind::Double, Ty::Double)
        | (Kind::Text, Ty::Text)
        | (Kind::Bytes, Ty::Bytes)
        | (Kind::Time, Ty::Time)
        | (Kind::Duration, Ty::Duration)
        | (Kind::List, Ty::List(_))
        | (Kind::Map, Ty::Map(..))
        | (Kind::Type, Ty::Type)
        | (Kind::Optional, Ty::Optional(_)) => true,
        (Kind::Opaque(a), Ty::Opaque(b)) => a == *b,
        _ => false,
    }
}

pub(super) fn result<'n>(kind: Kind, args: &[Ty<'n>]) -> Ty<'n> {
    match kind {
        Kind::Any => Ty::Any,
        Kind::Bool => Ty::Bool,
        Kind::Int => Ty::Int,
        Kind::Uint => Ty::Uint,
        Kind::Double => Ty::Double,
        Kind::Text => Ty::Text,
        Kind::Bytes => Ty::Bytes,
        Kind::Time => Ty::Time,
        Kind::Duration => Ty::Duration,
        Kind::List | Kind::Lists | Kind::Sortable | Kind::Summable => Ty::List(Rc::new(Ty::Any)),
        Kind::TextList => Ty::List(Rc::new(Ty::Text)),
        Kind::IntList => Ty::List(Rc::new(Ty::Int)),
        Kind::Map => Ty::Map(Rc::new(Ty::Any), Rc::new(Ty::Any)),
        Kind::TextLists => Ty::Map(Rc::new(Ty::Text), Rc::new(Ty::List(Rc::new(Ty::Text)))),
        Kind::Words => optional(Ty::List(Rc::new(Ty::Text))),
        Kind::Type => Ty::Type,
        Kind::Optional => Ty::Optional(Rc::new(Ty::Any)),
        Kind::Holding => Ty::Optional(Rc::new(args.first().map_or(Ty::Open, Ty::clone))),
        Kind::Opaque(name) => Ty::Opaque(name),
        Kind::Found => Ty::Optional(Rc::new(args.first().map_or(Ty::Any, inner))),
        Kind::Inner | Kind::Item => args.first().map_or(Ty::Any, inner),
        Kind::Either => match args {
            [Ty::Optional(inner), other] => (**inner).clone().join(other.clone()).taken(),
            // What may be anything is taken for an optional of what the other one is.
            [_, other] => other.taken(),
            _ => Ty::Any,
        },
        Kind::Same => match args {
            [first @ Ty::Optional(_), second] => first.clone().join(second.clone()),
            [Ty::Any, second @ Ty::Optional(_)] => second.clone(),
            _ => args.first().cloned().unwrap_or(Ty::Any),
        },
    }
}

/// The constant for an operator's name.
pub(super) fn known_operator(name: &str) -> Option<&'static str> {
    const ALL: &[&str] = &[
        ops::CONDITIONAL,
        ops::LOGICAL_AND,
        ops::LOGICAL_OR,
        ops::LOGICAL_NOT,
        ops::SUBSTRACT,
        ops::ADD,
        ops::MULTIPLY,
        ops::DIVIDE,
        ops::MODULO,
        ops::EQUALS,
        ops::NOT_EQUALS,
        ops::GREATER_EQUALS,
        ops::LESS_EQUALS,
        ops::GREATER,
        ops::LESS,
        ops::NEGATE,
        ops::INDEX,
        ops::OPT_INDEX,
        ops::OPT_SELECT,
        ops::IN,
    ];
    ALL.iter().find(|known| **known == name).copied()
}

/// How an operator is written.
pub(super) fn sign_of(name: &str) -> &str {
    match name {
        ops::IN => " in ",
        ops::CONDITIONAL => "?",
        other => other.trim_matches('_'),
    }
}

fn is_number(ty: &Ty<'_>) -> bool {
    matches!(ty, Ty::Int | Ty::Uint | Ty::Double)
}

/// Whether one value of the type goes before another.
fn is_ordered(ty: &Ty<'_>) -> bool {
    is_number(ty) || matches!(ty, Ty::Bool | Ty::Text | Ty::Bytes | Ty::Time | Ty::Duration)
}

/// What comes of adding what may be anything, or of taking it away: what all the operations have in common that there are for the
/// other one.
fn arithmetic<'n>(name: &str, known: &Ty<'n>, known_first: bool) -> Option<Ty<'n>> {
    let adds = name == ops::ADD;
    Some(match known {
        Ty::Int | Ty::Uint | Ty::Double => known.clone(),
        Ty::Text | Ty::Bytes | Ty::List(_) | Ty::Time if adds => known.clone(),
        Ty::Duration if !adds && known_first => Ty::Duration,
        Ty::Time if !known_first => Ty::Duration,
        Ty::Any | Ty::Open | Ty::Null | Ty::Time | Ty::Duration => Ty::Any,
        _ => return None,
    })
}

/// The type of an operation; `None` where the types do not go together.
pub(super) fn operator_type<'n>(name: &str, types: &[Ty<'n>]) -> Option<Ty<'n>> {
    let first = types.first().cloned().unwrap_or(Ty::Any);
    let second = types.get(1).cloned().unwrap_or(Ty::Any);
    let any = |ty: &Ty<'_>| matches!(ty, Ty::Any);
    match name {
        ops::LOGICAL_AND | ops::LOGICAL_OR | ops::LOGICAL_NOT => {
            types.iter().all(|ty| any(ty) || matches!(ty, Ty::Bool)).then_some(Ty::Bool)
        }
        ops::CONDITIONAL => {
            let third = types.get(2).cloned().unwrap_or(Ty::Any);
            ((any(&first) || matches!(first, Ty::Bool)) && second.may_be(&third)).then(|| second.join(third))
        }
        ops::EQUALS | ops::NOT_EQUALS => first.may_be(&second).then_some(Ty::Bool),
        ops::LESS | ops::LESS_EQUALS | ops::GREATER | ops::GREATER_EQUALS => {
            let fine = any(&first) || any(&second) || (is_number(&first) && is_number(&second));
            (fine || (is_ordered(&first) && first.may_be(&second))).then_some(Ty::Bool)
        }
        ops::NEGATE => matches!(first, Ty::Any | Ty::Int | Ty::Double).then_some(first),
        ops::ADD | ops::SUBSTRACT => match (&first, &second) {
            (known, Ty::Any) => arithmetic(name, known, true),
            (Ty::Any, known) => arithmetic(name, known, false),
            (Ty::Time, Ty::Duration) => Some(Ty::Time),
            (Ty::Duration, Ty::Time) if name == ops::ADD => Some(Ty::Time),
            (Ty::Time, Ty::Time) if name == ops::SUBSTRACT => Some(Ty::Duration),
            (Ty::Duration, Ty::Duration) => Some(Ty::Duration),
            (Ty::Text, Ty::Text) | (Ty::Bytes, Ty::Bytes) if name == ops::ADD => Some(first),
            (Ty::List(_), Ty::List(_)) if name == ops::ADD => first.may_be(&second).then(|| first.join(second)),
            (a, b) => (is_number(a) && a.may_be(b)).then_some(first),
        },
        ops::MULTIPLY | ops::DIVIDE | ops::MODULO => {
            let known = if any(&first) { &second } else { &first };
            let fine = is_number(known) && !(name == ops::MODULO && matches!(known, Ty::Double));
            ((any(known) || fine) && first.may_be(&second)).then(|| known.clone())
        }
        ops::INDEX | ops::OPT_INDEX => {
            let wrapped = name == ops::OPT_INDEX || matches!(first, Ty::Optional(_));
            let of = if let Ty::Optional(inner) = &first { inner.taken() } else { first };
            let item = match of {
                Ty::Any => Ty::Any,
                Ty::List(item) if second.may_be(&Ty::Int) => item.taken(),
                Ty::Map(key, value) if second.may_be(&key) => value.taken(),
                _ => return None,
            };
            Some(if wrapped { optional(item) } else { item })
        }
        ops::IN => match &second {
            Ty::Any => Some(Ty::Bool),
            Ty::List(item) => first.may_be(item).then_some(Ty::Bool),
            Ty::Map(key, _) => first.may_be(key).then_some(Ty::Bool),
            _ => None,
        },
        _ => Some(Ty::Any),
    }
}
