//! What the server asks for, read from kubelet's paths.

use pal_resources::Status;

/// Which streams a client wants, and what is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Of exec: the program and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

impl Request {
    /// Reads the query of `/exec/…` or `/attach/…`.
    pub(crate) fn parse(query: &str) -> Result<Self, Status> {
        let mut request = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let flag = || match value.as_ref() {
                "" | "1" | "true" => Ok(true),
                "0" | "false" => Ok(false),
                _ => Err(Status::bad_request(format!("invalid value {value:?} of {name}"))),
            };
            match name.as_ref() {
                "command" => request.command.push(value.into_owned()),
                "stdin" => request.stdin = flag()?,
                "stdout" => request.stdout = flag()?,
                "stderr" => request.stderr = flag()?,
                "tty" => request.tty = flag()?,
                // Newer servers may know more.
                _ => {}
            }
        }
        // A terminal has one way out.
        request.stderr &= !request.tty;
        if !(request.stdin || request.stdout || request.stderr) {
            return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_or_refused() {
        let check = |query: &str, expected: Result<Request, &str>| {
            assert_eq!(
                Request::parse(query).map_err(|status| status.message),
                expected.map_err(str::to_owned),
                "{query}"
            );
        };
        let command = || vec!["sh".to_owned(), "-c".to_owned(), "echo a b".to_owned()];
        let request = |stdin, stdout, stderr, tty| Request { command: command(), stdin, stdout, stderr, tty };
        let run = "command=sh&command=-c&command=echo+a%20b";
        check(&format!("{run}&stdout=true&stderr=1"), Ok(request(false, true, true, false)));
        check(&format!("{run}&stdin=true&stdout=true&stderr=true&tty=true"), Ok(request(true, true, false, true)));
        check(run, Err("you must specify at least 1 of stdin, stdout, stderr"));
        check("stderr=true&tty=true", Err("you must specify at least 1 of stdin, stdout, stderr"));
        check("stdin=maybe", Err("invalid value \"maybe\" of stdin"));
    }
}
