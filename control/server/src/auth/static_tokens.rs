//! Tokens from a file (`--token-auth-file`): a line each with the token, the user's name, its uid, and perhaps its groups.
//! The form is CSV (RFC 4180) as kube-apiserver reads it. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::{AUTHENTICATED, User};

/// The tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct StaticTokens(HashMap<String, Arc<User>>);

impl StaticTokens {
    /// Reads the file's text. An error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = HashMap::new();
        for (number, record) in records(text)? {
            let [token, name, uid, rest @ ..] = record.as_slice() else {
                return Err(format!(
                    "line {number}: token file must have at least 3 columns (token, user name, user uid), found {}",
                    record.len()
                ));
            };
            if token.is_empty() {
                return Err(format!("line {number}: the token is empty"));
            }
            if name.is_empty() {
                return Err(format!("line {number}: the user name is empty"));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let mut groups: Vec<&str> = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
            groups.push(AUTHENTICATED);
            let user = User { uid: uid.clone(), ..User::new(name.as_str(), &groups) };
            tokens.insert(token.clone(), Arc::new(user));
        }
        Ok(Self(tokens))
    }

    /// Whose token it is.
    pub(crate) fn user(&self, token: &str) -> Option<&Arc<User>> {
        self.0.get(token)
    }
}

/// The records of the text with the numbers of their lines; empty lines are none. A field in quotes may hold commas, line ends
/// and doubled quotes.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut records = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while chars.peek().is_some() {
        let (began, mut record, mut field) = (line, Vec::new(), String::new());
        loop {
            // Space before a field, and a quote that begins it.
            while field.is_empty() && chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
            if field.is_empty() && chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next() {
                        Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            field.push(c);
                        }
                        None => return Err(format!("line {began}: a quote is not closed")),
                    }
                }
            }
            match chars.next() {
                Some(',') => record.push(std::mem::take(&mut field)),
                Some('\n') | None => break,
                Some('\r') => {}
                Some('"') => return Err(format!("line {line}: a bare quote in a field that is not quoted")),
                Some(c) => field.push(c),
            }
        }
        record.push(field);
        if record != [""] {
            records.push((began, record));
        }
        line += 1;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_token_with_its_user() {
        let text = "one,jane,7\n\ntwo,\"doe, john\",8,\"dev,ops\"\r\nthree,x,,single\n  \"fo\"\"ur\",y,9,,more";
        let tokens = StaticTokens::parse(text).expect("tokens");
        let check = |token: &str, expected: Option<(&str, &str, &[&str])>| {
            let found = tokens.user(token).map(|user| (user.name.as_str(), user.uid.as_str(), user.groups.clone()));
            let groups = |groups: &[&str]| groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>();
            assert_eq!(found, expected.map(|(name, uid, of)| (name, uid, groups(of))), "{token}");
        };
        check("one", Some(("jane", "7", &[AUTHENTICATED])));
        check("two", Some(("doe, john", "8", &["dev", "ops", AUTHENTICATED])));
        check("three", Some(("x", "", &["single", AUTHENTICATED])));
        check("fo\"ur", Some(("y", "9", &[AUTHENTICATED])));
        check("jane", None);
        check("", None);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let check = |text: &str, expected: &str| {
            let error = StaticTokens::parse(text).map(|_| ()).expect_err(text);
            assert!(error.contains(expected), "{error}");
        };
        check("a,b,c\nd,e", "line 2: token file must have at least 3 columns (token, user name, user uid), found 2");
        check("a,b,c\n,e,f", "line 2: the token is empty");
        check("a,,c", "line 1: the user name is empty");
        check("a,\"b,c", "line 1: a quote is not closed");
        check("a,b\"x\",c", "line 1: a bare quote");
    }
}
