//! `$((…))`: whole numbers of 64 bits, as C has them.

/// What a sum needs of the shell.
pub trait Variables {
    fn value(&self, name: &str) -> Option<String>;
    fn assign(&mut self, name: &str, value: String) -> Result<(), String>;
}

struct Sum<'a> {
    text: &'a [u8],
    at: usize,
    variables: &'a mut dyn Variables,
    /// Read and not done: the side that a condition does not take.
    idle: bool,
    depth: usize,
}

/// The operators of two sides, by how tightly they bind; longer ones first.
const BINARY: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// The value of a text.
pub fn evaluate(text: &str, variables: &mut dyn Variables) -> Result<i64, String> {
    if text.trim().is_empty() {
        return Ok(0);
    }
    let mut sum = Sum { text: text.as_bytes(), at: 0, variables, idle: false, depth: 0 };
    let value = sum.comma()?;
    sum.blanks();
    if sum.at < text.len() { Err("arithmetic syntax error".to_owned()) } else { Ok(value) }
}

type Value = Result<i64, String>;

impl Sum<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, text: &str) -> bool {
        self.blanks();
        let found = self.text[self.at..].starts_with(text.as_bytes());
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn comma(&mut self) -> Value {
        let mut value = self.assignment()?;
        while self.take(",") {
            value = self.assignment()?;
        }
        Ok(value)
    }

    fn name(&mut self) -> Option<String> {
        self.blanks();
        let rest = &self.text[self.at..];
        let long = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
        if long == 0 || rest[0].is_ascii_digit() {
            return None;
        }
        self.at += long;
        Some(String::from_utf8_lossy(&rest[..long]).into_owned())
    }

    fn assignment(&mut self) -> Value {
        self.depth += 1;
        if self.depth > 60 {
            return Err("expression nested too deep".to_owned());
        }
        let begin = self.at;
        if let Some(name) = self.name() {
            self.blanks();
            let rest = &self.text[self.at..];
            let operators: [&str; 11] = ["=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "|=", "^="];
            let found =
                operators.into_iter().find(|o| rest.starts_with(o.as_bytes())).filter(|_| !rest.starts_with(b"=="));
            if let Some(operator) = found {
                self.at += operator.len();
                let right = self.assignment()?;
                let value = match &operator[..operator.len() - 1] {
                    "" => right,
                    binary => apply(binary, self.variable(&name)?, right, self.idle)?,
                };
                self.set(&name, value)?;
                self.depth -= 1;
                return Ok(value);
            }
        }
        self.at = begin;
        let value = self.condition()?;
        self.depth -= 1;
        Ok(value)
    }

    fn set(&mut self, name: &str, value: i64) -> Result<(), String> {
        if self.idle { Ok(()) } else { self.variables.assign(name, value.to_string()) }
    }

    fn condition(&mut self) -> Value {
        let value = self.binary(0)?;
        if !self.take("?") {
            return Ok(value);
        }
        let idle = self.idle;
        self.idle = idle || value == 0;
        let yes = self.assignment()?;
        if !self.take(":") {
            return Err("arithmetic syntax error".to_owned());
        }
        self.idle = idle || value != 0;
        let no = self.assignment()?;
        self.idle = idle;
        Ok(if value != 0 { yes } else { no })
    }

    fn binary(&mut self, level: usize) -> Value {
        let Some(operators) = BINARY.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            self.blanks();
            let rest = &self.text[self.at..];
            let found = operators.iter().find(|o| rest.starts_with(o.as_bytes())).filter(|o| !longer(o, rest));
            let Some(operator) = found else { return Ok(left) };
            self.at += operator.len();
            let idle = self.idle;
            self.idle |= *operator == "&&" && left == 0 || *operator == "||" && left != 0;
            let right = self.binary(level + 1)?;
            self.idle = idle;
            left = apply(operator, left, right, idle)?;
        }
    }

    fn unary(&mut self) -> Value {
        self.depth += 1;
        if self.depth > 60 {
            return Err("expression nested too deep".to_owned());
        }
        let value = if self.take("++") || self.take("--") {
            let by = if self.text[self.at - 1] == b'+' { 1 } else { -1 };
            let name = self.name().ok_or("arithmetic syntax error")?;
            let value = self.variable(&name)?.wrapping_add(by);
            self.set(&name, value)?;
            value
        } else if self.take("-") {
            self.unary()?.wrapping_neg()
        } else if self.take("+") {
            self.unary()?
        } else if self.take("!") {
            i64::from(self.unary()? == 0)
        } else if self.take("~") {
            !self.unary()?
        } else if self.take("(") {
            let value = self.comma()?;
            if !self.take(")") {
                return Err("missing )".to_owned());
            }
            value
        } else if let Some(name) = self.name() {
            let value = self.variable(&name)?;
            let by = if self.take("++") {
                1
            } else if self.take("--") {
                -1
            } else {
                0
            };
            if by != 0 {
                self.set(&name, value.wrapping_add(by))?;
            }
            value
        } else {
            self.number()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn number(&mut self) -> Value {
        self.blanks();
        let rest = &self.text[self.at..];
        let long = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'#').count();
        let text = String::from_utf8_lossy(&rest[..long]).into_owned();
        self.at += long;
        number(&text).ok_or_else(|| "arithmetic syntax error".to_owned())
    }

    fn variable(&mut self, name: &str) -> Value {
        let text = self.variables.value(name).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(0);
        }
        number(text.trim()).ok_or_else(|| format!("{name}: bad number \"{text}\""))
    }
}

/// Whether the text goes on to a longer operator than this.
fn longer(operator: &str, rest: &[u8]) -> bool {
    let next = rest.get(operator.len()).copied();
    match operator {
        "|" | "&" => next == rest.first().copied() || next == Some(b'='),
        "<" | ">" => next == rest.first().copied(),
        "<<" | ">>" | "^" | "+" | "-" | "*" | "/" | "%" => next == Some(b'='),
        _ => false,
    }
}

fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else if let Some((base, digits)) = digits.split_once('#') {
        i64::from_str_radix(digits, base.parse().ok().filter(|base| (2..=36).contains(base))?).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(sign * value)
}

fn apply(operator: &str, left: i64, right: i64, idle: bool) -> Value {
    let truth = |yes: bool| i64::from(yes);
    Ok(match operator {
        "||" => truth(left != 0 || right != 0),
        "&&" => truth(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => truth(left == right),
        "!=" => truth(left != right),
        "<=" => truth(left <= right),
        ">=" => truth(left >= right),
        "<" => truth(left < right),
        ">" => truth(left > right),
        "<<" => left.wrapping_shl(right as u32),
        ">>" => left.wrapping_shr(right as u32),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        _ if right == 0 && idle => 0,
        _ if right == 0 => return Err("divide by zero".to_owned()),
        "/" => left.wrapping_div(right),
        _ => left.wrapping_rem(right),
    })
}
