//! What awk's variables hold: texts that are numbers where they look like some.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::lex::number;
use crate::tools::print::general;

#[derive(Clone, Default)]
pub enum Value {
    #[default]
    Unset,
    Number(f64),
    Text(Rc<str>),
    /// From the input: a number if it looks like one.
    Input(Rc<str>),
}

pub type Array = Rc<RefCell<BTreeMap<String, Value>>>;

/// A variable: which of both it is, its use says.
#[derive(Clone, Default)]
pub struct Variable {
    pub value: Value,
    pub array: Array,
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }

    pub fn input(text: impl AsRef<str>) -> Self {
        Self::Input(text.as_ref().into())
    }

    pub fn truth(truth: bool) -> Self {
        Self::Number(f64::from(u8::from(truth)))
    }

    pub fn number(&self) -> f64 {
        match self {
            Self::Unset => 0.0,
            Self::Number(value) => *value,
            Self::Text(text) | Self::Input(text) => number(text.trim_start()).0,
        }
    }

    /// The number that it is, if it counts as one.
    fn numeric(&self) -> Option<f64> {
        match self {
            Self::Unset => Some(0.0),
            Self::Number(value) => Some(*value),
            Self::Text(_) => None,
            Self::Input(text) => {
                let text = text.trim();
                let (value, used) = number(text);
                (used > 0 && used == text.len()).then_some(value)
            }
        }
    }

    pub fn is_true(&self) -> bool {
        match (self, self.numeric()) {
            (Self::Text(text), _) => !text.is_empty(),
            (Self::Input(text), None) => !text.is_empty(),
            (_, value) => value.is_some_and(|value| value != 0.0),
        }
    }

    pub fn string(&self) -> Rc<str> {
        match self {
            Self::Unset => "".into(),
            Self::Number(value) => shown(*value).into(),
            Self::Text(text) | Self::Input(text) => text.clone(),
        }
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.numeric(), other.numeric()) {
            (Some(left), Some(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
            _ => self.string().cmp(&other.string()),
        }
    }
}

/// A number as it is printed.
pub fn shown(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e16 { format!("{}", value as i64) } else { general(value, 6) }
}
