//! Label selectors: `a=b,c in (d,e),!f` and the LabelSelector of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde::Deserialize as _;
use serde_json::Value;

use super::lex::{Context, Lexer, Token};
use crate::kinds::names;
use crate::{FieldError, FieldPath, Status};

/// How a requirement compares a label with its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: BTreeSet<String>,
}

/// Conditions on labels that must all hold. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// The selector of a query string.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut parser = Parser { lexer: Lexer::new(text) };
        parser.requirements().map(|requirements| Self { requirements }).map_err(Status::bad_request)
    }

    /// The selector of an object; an empty one selects everything.
    pub fn from_object(selector: &meta::LabelSelector) -> Result<Self, FieldError> {
        let mut requirements: Vec<Requirement> = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::equals(key, value));
        }
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let path = FieldPath::new("matchExpressions").index(index).child("operator");
                    return Err(FieldError::invalid(&path, other, "not a valid selector operator"));
                }
            };
            let values = expression.values.iter().flatten().cloned().collect();
            requirements.push(Requirement { key: expression.key.clone(), operator, values });
        }
        Ok(Self { requirements })
    }

    /// The same of an object that was not read as its type; null selects everything.
    pub fn from_value(selector: &Value) -> Result<Self, String> {
        if selector.is_null() {
            return Ok(Self::default());
        }
        let selector = meta::LabelSelector::deserialize(selector).map_err(|error| error.to_string())?;
        Self::from_object(&selector).map_err(|error| error.to_string())
    }

    /// The selector whose labels must all be there with these values, as of a Service.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let requirements = labels.iter().map(|(key, value)| Requirement::equals(key, value)).collect();
        Self { requirements }
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selects(&|key| labels.get(key).map(String::as_str))
    }

    /// Whether an object is selected whose labels have these values.
    pub fn selects<'a>(&self, label: &dyn Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(label(&requirement.key)))
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl fmt::Display for LabelSelector {
    /// The text form that `parse` reads, as `kubectl get -o wide` shows a selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Requirement> = self.requirements.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for (index, requirement) in sorted.into_iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl Requirement {
    fn equals(key: &str, value: &str) -> Self {
        let values = BTreeSet::from([value.to_owned()]);
        Self { key: key.to_owned(), operator: Operator::Equals, values }
    }

    /// Whether the condition holds for these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.holds(labels.get(&self.key).map(String::as_str))
    }

    /// Whether the condition holds for that value of its label.
    fn holds(&self, value: Option<&str>) -> bool {
        let is_one = |value: &str| self.values.contains(value);
        match self.operator {
            Operator::Equals | Operator::In => value.is_some_and(is_one),
            Operator::NotEquals | Operator::NotIn => value.is_none_or(|value| !is_one(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |label, bound| label > bound),
            Operator::LessThan => self.compares(value, |label, bound| label < bound),
        }
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let label = value.and_then(|v| v.parse().ok());
        let bound = self.values.first().and_then(|v| v.parse().ok());
        matches!((label, bound), (Some(label), Some(bound)) if holds(label, bound))
    }

    fn check(&self) -> Result<(), String> {
        let mut errors = Vec::new();
        let values = FieldPath::new("values");
        check_key(&self.key)?;
        match self.operator {
            Operator::In | Operator::NotIn if self.values.is_empty() => errors
                .push(format!("{values}: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")),
            Operator::GreaterThan | Operator::LessThan => {
                for (index, value) in self.values.iter().enumerate() {
                    if value.parse::<i64>().is_err() {
                        let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                        let path = values.index(index);
                        errors.push(FieldError::invalid(&path, value.as_str(), why).to_string());
                    }
                }
            }
            _ => {}
        }
        for (index, value) in self.values.iter().enumerate() {
            let faults = names::label_value(value);
            if !faults.is_empty() {
                let path = values.index(index).key(&self.key);
                let error = FieldError::invalid(&path, value.as_str(), &faults.join("; "));
                errors.push(error.to_string());
            }
        }
        match errors.as_slice() {
            [] => Ok(()),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.values.first().map_or("", String::as_str);
        let all = || self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match self.operator {
            Operator::Equals => write!(f, "{key}={one}"),
            Operator::NotEquals => write!(f, "{key}!={one}"),
            Operator::In => write!(f, "{key} in ({})", all()),
            Operator::NotIn => write!(f, "{key} notin ({})", all()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{one}"),
            Operator::LessThan => write!(f, "{key}<{one}"),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let faults = names::qualified_name(key);
    if faults.is_empty() {
        return Ok(());
    }
    let path = FieldPath::new("key");
    Err(FieldError::invalid(&path, key, &faults.join("; ")).to_string())
}

struct Parser<'a> {
    lexer: Lexer<'a>,
}

impl Parser<'_> {
    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.lexer.peek(Context::Values) {
                (Token::Identifier | Token::Not, _) => {}
                (Token::End, _) => return Ok(requirements),
                (_, found) => {
                    return Err(format!("found '{found}', expected: !, identifier, or 'end of string'"));
                }
            }
            let requirement = self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
            requirements.push(requirement);
            match self.lexer.next(Context::Values) {
                (Token::End, _) => return Ok(requirements),
                (Token::Comma, _) => match self.lexer.peek(Context::Values) {
                    (Token::Identifier | Token::Not, _) => {}
                    (_, found) => {
                        return Err(format!("found '{found}', expected: identifier after ','"));
                    }
                },
                (_, found) => {
                    return Err(format!("found '{found}', expected: ',' or 'end of string'"));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut literal) = self.lexer.next(Context::Values);
        let negated = token == Token::Not;
        if negated {
            (token, literal) = self.lexer.next(Context::Values);
        }
        if token != Token::Identifier {
            return Err(format!("found '{literal}', expected: identifier"));
        }
        let key = literal.to_owned();
        check_key(&key)?;
        let alone = matches!(self.lexer.peek(Context::Values).0, Token::End | Token::Comma);
        let (operator, values) = if negated {
            (Operator::DoesNotExist, BTreeSet::new())
        } else if alone {
            (Operator::Exists, BTreeSet::new())
        } else {
            self.comparison()?
        };
        let requirement = Requirement { key, operator, values };
        requirement.check()?;
        Ok(requirement)
    }

    fn comparison(&mut self) -> Result<(Operator, BTreeSet<String>), String> {
        let operator = match self.lexer.next(Context::Operator) {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals | Token::DoubleEquals, _) => Operator::Equals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, found) => {
                return Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => BTreeSet::from([self.single()?]),
        };
        Ok((operator, values))
    }

    fn single(&mut self) -> Result<String, String> {
        if matches!(self.lexer.peek(Context::Values).0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.lexer.next(Context::Values) {
            (Token::Identifier, literal) => Ok(literal.to_owned()),
            (_, found) => Err(format!("found '{found}', expected: identifier")),
        }
    }

    fn list(&mut self) -> Result<BTreeSet<String>, String> {
        match self.lexer.next(Context::Values) {
            (Token::Open, _) => {}
            (_, found) => return Err(format!("found '{found}' expected: '('")),
        }
        match self.lexer.peek(Context::Values) {
            (Token::Identifier | Token::Comma, _) => self.identifiers(),
            (Token::Close, _) => {
                self.lexer.next(Context::Values);
                Ok(BTreeSet::from([String::new()]))
            }
            (_, found) => Err(format!("found '{found}', expected: ',', ')' or identifier")),
        }
    }

    /// What stands in the parentheses, with the closing one; nothing between commas is an empty value.
    fn identifiers(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            let value = match self.lexer.peek(Context::Values) {
                (Token::Identifier, literal) => {
                    self.lexer.next(Context::Values);
                    literal
                }
                (Token::Comma | Token::Close, _) => "",
                (_, found) => return Err(format!("found '{found}', expected: ',', or identifier")),
            };
            values.insert(value.to_owned());
            match self.lexer.next(Context::Values) {
                (Token::Comma, _) => {}
                (Token::Close, _) => return Ok(values),
                (_, found) => return Err(format!("found '{found}', expected: ',' or ')'")),
            }
        }
    }
}
