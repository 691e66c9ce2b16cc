//! Reading expressions, by what binds ever tighter.

use std::rc::Rc;

use super::lex::{KEYWORDS, Token};
use super::parse::{Parsed, Parser};
use super::syntax::Expr;
use crate::regex::Regex;

impl Parser {
    /// Expressions up to the closing sign.
    pub(super) fn list(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut all = Vec::new();
        self.newlines();
        while !self.take(end) {
            all.push(self.whole()?);
            self.newlines();
            if !self.take(",") {
                self.expect(end)?;
                break;
            }
            self.newlines();
        }
        Ok(all)
    }

    /// An expression in brackets of any kind, where every operator is what it is.
    pub(super) fn whole(&mut self) -> Parsed<Expr> {
        let before = std::mem::replace(&mut self.printing, false);
        let found = self.expr();
        self.printing = before;
        found
    }

    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(Self::assignment)
    }

    fn assignment(&mut self) -> Parsed<Expr> {
        let left = self.either()?;
        if !matches!(left, Expr::Variable(_) | Expr::Field(_) | Expr::Element(..)) {
            return Ok(left);
        }
        for (sign, op) in [
            ("=", None),
            ("+=", Some("+")),
            ("-=", Some("-")),
            ("*=", Some("*")),
            ("/=", Some("/")),
            ("%=", Some("%")),
            ("^=", Some("^")),
        ] {
            if self.take(sign) {
                self.newlines();
                return Ok(Expr::Assign(op, Box::new(left), Box::new(self.expr()?)));
            }
        }
        Ok(left)
    }

    fn either(&mut self) -> Parsed<Expr> {
        let condition = self.binary(0)?;
        if !self.take("?") {
            return Ok(condition);
        }
        self.newlines();
        let yes = self.expr()?;
        self.newlines();
        self.expect(":")?;
        self.newlines();
        Ok(Expr::Either(Box::new(condition), Box::new(yes), Box::new(self.expr()?)))
    }

    /// What binds ever tighter: `||`, `&&`, `in`, `~`, comparison, joining, sums, products.
    fn binary(&mut self, level: usize) -> Parsed<Expr> {
        match level {
            0 => self.chain(level, &["||"]),
            1 => self.chain(level, &["&&"]),
            2 => {
                let mut left = self.binary(3)?;
                while self.word("in") {
                    left = Expr::Has(vec![left], self.name()?);
                }
                Ok(left)
            }
            3 => {
                let mut left = self.binary(4)?;
                loop {
                    let wanted = if self.take("~") {
                        true
                    } else if self.take("!~") {
                        false
                    } else {
                        return Ok(left);
                    };
                    left = Expr::Match(wanted, Box::new(left), Box::new(self.binary(4)?));
                }
            }
            4 => {
                let left = self.joined()?;
                let Token::Op(op) = *self.peek() else { return Ok(left) };
                let compares = ["<", "<=", "==", "!=", ">=", ">"].contains(&op) && !(op == ">" && self.printing);
                if !compares {
                    return Ok(left);
                }
                self.at += 1;
                Ok(Expr::Binary(op, Box::new(left), Box::new(self.joined()?)))
            }
            5 => self.chain(level, &["+", "-"]),
            6 => self.chain(level, &["*", "/", "%"]),
            _ => self.unary(),
        }
    }

    fn chain(&mut self, level: usize, ops: &[&'static str]) -> Parsed<Expr> {
        let mut left = self.binary(level + 1)?;
        while let Some(op) = ops.iter().find(|op| self.take(op)) {
            if level < 2 {
                self.newlines();
            }
            left = Expr::Binary(op, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        Ok(left)
    }

    pub(super) fn joined(&mut self) -> Parsed<Expr> {
        let mut left = self.binary(5)?;
        loop {
            let begins = match self.peek() {
                Token::Number(_) | Token::Text(_) | Token::Called(_) => true,
                Token::Name(name) => !KEYWORDS.contains(&name.as_str()),
                Token::Op(op) => matches!(*op, "$" | "(" | "++" | "--"),
                _ => false,
            };
            if !begins {
                return Ok(left);
            }
            left = Expr::Join(Box::new(left), Box::new(self.binary(5)?));
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| {
            if parser.take("!") {
                return Ok(Expr::Not(Box::new(parser.unary()?)));
            }
            if parser.take("-") {
                return Ok(Expr::Negative(Box::new(parser.unary()?)));
            }
            if parser.take("+") {
                return Ok(Expr::Positive(Box::new(parser.unary()?)));
            }
            let base = parser.stepped()?;
            if parser.take("^") {
                return Ok(Expr::Binary("^", Box::new(base), Box::new(parser.unary()?)));
            }
            Ok(base)
        })
    }

    fn stepped(&mut self) -> Parsed<Expr> {
        for (sign, by) in [("++", 1.0), ("--", -1.0)] {
            if self.take(sign) {
                return Ok(Expr::Step(by, false, Box::new(self.primary()?)));
            }
        }
        let value = self.primary()?;
        if matches!(value, Expr::Variable(_) | Expr::Field(_) | Expr::Element(..)) {
            for (sign, by) in [("++", 1.0), ("--", -1.0)] {
                if self.take(sign) {
                    return Ok(Expr::Step(by, true, Box::new(value)));
                }
            }
        }
        Ok(value)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.peek().clone();
        self.at += 1;
        match token {
            Token::Number(value) => Ok(Expr::Number(value)),
            Token::Text(text) => Ok(Expr::Text(text.into())),
            Token::Regex(text) => Ok(Expr::Regex(Rc::new(Regex::new(&text, true, false)?))),
            Token::Op("$") => Ok(Expr::Field(Box::new(self.deeper(Self::stepped)?))),
            Token::Op("(") => {
                let mut all = self.list(")")?;
                if self.word("in") {
                    return Ok(Expr::Has(all, self.name()?));
                }
                match (all.pop(), all.is_empty()) {
                    // Brackets keep an expression from being assigned to or stepped, and from nothing else.
                    (Some(one), true) => Ok(one),
                    _ => Err("syntax error: ( ) holds no one expression".to_owned()),
                }
            }
            Token::Called(name) => {
                self.expect("(")?;
                Ok(Expr::Call(name.as_str().into(), self.list(")")?))
            }
            Token::Name(name) if name == "getline" => self.getline(),
            Token::Name(name) if name == "length" => Ok(Expr::Call("length".into(), Vec::new())),
            Token::Name(name) if !KEYWORDS.contains(&name.as_str()) => {
                let name: Rc<str> = name.into();
                if self.take("[") {
                    return Ok(Expr::Element(name, self.list("]")?));
                }
                Ok(Expr::Variable(name))
            }
            other => Err(format!("syntax error at {other:?}")),
        }
    }

    fn getline(&mut self) -> Parsed<Expr> {
        let into = match self.peek() {
            Token::Op("$") => Some(Box::new(self.primary()?)),
            Token::Name(name) if !KEYWORDS.contains(&name.as_str()) => Some(Box::new(self.primary()?)),
            _ => None,
        };
        if self.take("<") {
            return Ok(Expr::Getline(into, Some(Box::new(self.stepped()?))));
        }
        self.reads = true;
        Ok(Expr::Getline(into, None))
    }
}
