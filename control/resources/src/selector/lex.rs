//! Label selectors' words: apimachinery `pkg/labels` reads them the same way.

/// One word of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Greater,
    Less,
    Identifier,
    End,
    Error,
}

/// Whether `in` and `notin` are operators at this place, or names like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Operator,
    Values,
}

/// Reads words one after the other.
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next word, which stays the next one.
    pub(super) fn peek(&self, context: Context) -> (Token, &'a str) {
        Self { rest: self.rest }.next(context)
    }

    /// The next word.
    pub(super) fn next(&mut self, context: Context) -> (Token, &'a str) {
        self.rest = self.rest.trim_start_matches(is_space);
        let Some(first) = self.rest.chars().next() else {
            return (Token::End, "");
        };
        if is_special(first) { self.special() } else { self.word(context) }
    }

    fn special(&mut self) -> (Token, &'a str) {
        const SYMBOLS: &[(&str, Token)] = &[
            ("==", Token::DoubleEquals),
            ("!=", Token::NotEquals),
            ("=", Token::Equals),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            (">", Token::Greater),
            ("<", Token::Less),
        ];
        for (symbol, token) in SYMBOLS {
            if self.rest.starts_with(symbol) {
                let (literal, rest) = self.rest.split_at(symbol.len());
                self.rest = rest;
                return (*token, literal);
            }
        }
        (Token::Error, self.rest)
    }

    fn word(&mut self, context: Context) -> (Token, &'a str) {
        let end = self.rest.find(|c| is_space(c) || is_special(c)).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        self.rest = rest;
        match (context, literal) {
            (Context::Operator, "in") => (Token::In, literal),
            (Context::Operator, "notin") => (Token::NotIn, literal),
            _ => (Token::Identifier, literal),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
