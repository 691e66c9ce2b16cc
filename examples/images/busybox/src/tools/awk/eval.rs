//! What expressions come to.

use std::collections::{HashMap, VecDeque};

use super::run::{Done, Flow, Machine, wrong};
use super::syntax::{Expr, Function};
use super::value::{Array, Value, Variable};

/// How deep functions may call each other.
const MAX_CALLS: usize = 100;

impl Machine<'_> {
    pub fn subscript(&mut self, parts: &[Expr]) -> Done<String> {
        let texts = parts.iter().map(|part| Ok(self.value(part)?.string())).collect::<Done<Vec<_>>>()?;
        let separator = self.get("SUBSEP").string();
        Ok(texts.join(&*separator))
    }

    pub fn assign(&mut self, target: &Expr, value: Value) -> Done<()> {
        match target {
            Expr::Variable(name) => self.set(name, value),
            Expr::Element(array, parts) => {
                let key = self.subscript(parts)?;
                self.array(array).borrow_mut().insert(key, value);
            }
            Expr::Field(number) => {
                let number = self.value(number)?.number();
                match number as usize {
                    _ if !(0.0..1e6).contains(&number) => return wrong("access to a field that cannot be"),
                    0 => self.set_record(&value.string()),
                    number => {
                        if self.fields.len() < number {
                            self.fields.resize(number, "".into());
                        }
                        self.fields[number - 1] = value.string();
                        self.join_fields();
                    }
                }
            }
            _ => return wrong("nothing can be assigned to that"),
        }
        Ok(())
    }

    pub fn value(&mut self, expr: &Expr) -> Done<Value> {
        Ok(match expr {
            Expr::Number(value) => Value::Number(*value),
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Regex(regex) => Value::truth(regex.matches(&self.record)),
            Expr::Variable(name) => self.get(name),
            Expr::Field(number) => match self.value(number)?.number() as usize {
                0 => Value::Input(self.record.clone()),
                number => self.fields.get(number - 1).map_or(Value::Unset, |text| Value::Input(text.clone())),
            },
            Expr::Element(array, parts) => {
                let key = self.subscript(parts)?;
                self.array(array).borrow_mut().entry(key).or_default().clone()
            }
            Expr::Assign(op, target, value) => {
                let mut value = self.value(value)?;
                if let Some(op) = op {
                    let before = self.value(target)?.number();
                    value = Value::Number(arithmetic(op, before, value.number())?);
                }
                self.assign(target, value.clone())?;
                value
            }
            Expr::Step(by, before, target) => {
                let old = self.value(target)?.number();
                self.assign(target, Value::Number(old + by))?;
                Value::Number(if *before { old } else { old + by })
            }
            Expr::Either(condition, yes, no) => {
                let chosen = if self.value(condition)?.is_true() { yes } else { no };
                self.value(chosen)?
            }
            Expr::Binary(op, left, right) => self.binary(op, left, right)?,
            Expr::Join(left, right) => {
                let left = self.value(left)?.string();
                Value::text(format!("{left}{}", self.value(right)?.string()))
            }
            Expr::Match(wanted, text, pattern) => {
                let text = self.value(text)?.string();
                Value::truth(self.regex(pattern)?.matches(&text) == *wanted)
            }
            Expr::Has(parts, array) => {
                let key = self.subscript(parts)?;
                Value::truth(self.array(array).borrow().contains_key(&key))
            }
            Expr::Not(inner) => Value::truth(!self.value(inner)?.is_true()),
            Expr::Negative(inner) => Value::Number(-self.value(inner)?.number()),
            Expr::Positive(inner) => Value::Number(self.value(inner)?.number()),
            Expr::Call(name, args) => match self.program.functions.get(name).cloned() {
                Some(function) => self.invoke(&function, args)?,
                None => super::functions::call(self, name, args)?,
            },
            Expr::Getline(into, file) => self.getline(into.as_deref(), file.as_deref())?,
        })
    }

    fn binary(&mut self, op: &str, left: &Expr, right: &Expr) -> Done<Value> {
        let value = self.value(left)?;
        match op {
            "&&" => return Ok(Value::truth(value.is_true() && self.value(right)?.is_true())),
            "||" => return Ok(Value::truth(value.is_true() || self.value(right)?.is_true())),
            _ => {}
        }
        let other = self.value(right)?;
        let order = || value.compare(&other);
        Ok(match op {
            "<" => Value::truth(order().is_lt()),
            "<=" => Value::truth(order().is_le()),
            "==" => Value::truth(order().is_eq()),
            "!=" => Value::truth(order().is_ne()),
            ">=" => Value::truth(order().is_ge()),
            ">" => Value::truth(order().is_gt()),
            _ => Value::Number(arithmetic(op, value.number(), other.number())?),
        })
    }

    fn invoke(&mut self, function: &Function, args: &[Expr]) -> Done<Value> {
        if self.frames.len() >= MAX_CALLS {
            return wrong("functions call each other too deep");
        }
        let mut frame = HashMap::new();
        for (i, parameter) in function.parameters.iter().enumerate() {
            let variable = match args.get(i) {
                // An array goes as what it is, anything else as its value.
                Some(Expr::Variable(name)) if **name != *"NF" => self.variable(name).clone(),
                Some(arg) => Variable { value: self.value(arg)?, array: Array::default() },
                None => Variable::default(),
            };
            frame.insert(parameter.clone(), variable);
        }
        self.frames.push(frame);
        let done = self.statement(&function.body);
        self.frames.pop();
        match done {
            Ok(()) => Ok(Value::Unset),
            Err(Flow::Return(value)) => Ok(value),
            Err(other) => Err(other),
        }
    }

    fn getline(&mut self, into: Option<&Expr>, file: Option<&Expr>) -> Done<Value> {
        let line = match file {
            None => self.ahead.pop_front(),
            Some(file) => {
                let name = self.value(file)?.string().to_string();
                if !self.read.contains_key(&name) {
                    let Ok(text) = crate::files::read_text(&self.call.path(&name)) else {
                        return Ok(Value::Number(-1.0));
                    };
                    self.read.insert(name.clone(), text.lines().map(str::to_owned).collect());
                }
                self.read.get_mut(&name).and_then(VecDeque::pop_front)
            }
        };
        let Some(line) = line else { return Ok(Value::Number(0.0)) };
        if file.is_none() {
            self.count_record();
        }
        match into {
            Some(target) => self.assign(target, Value::input(line))?,
            None => self.set_record(&line),
        }
        Ok(Value::Number(1.0))
    }
}

fn arithmetic(op: &str, left: f64, right: f64) -> Done<f64> {
    match op {
        "/" | "%" if right == 0.0 => wrong("division by zero"),
        "+" => Ok(left + right),
        "-" => Ok(left - right),
        "*" => Ok(left * right),
        "/" => Ok(left / right),
        "%" => Ok(left % right),
        _ => Ok(left.powf(right)),
    }
}
