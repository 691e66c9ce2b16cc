//! Under which name the fields that a request writes are owned.

use http::header::USER_AGENT;

use super::Call;
use super::query::WriteQuery;

/// The longest name, in bytes.
const LONGEST: usize = 128;
/// The name of what Kubernetes has on nodes.
const KUBELET: &str = "kubelet";

/// The field manager that the request names; else the client's program, as its User-Agent begins.
pub(super) fn of(call: &Call<'_>, query: &WriteQuery) -> String {
    if let Some(manager) = &query.field_manager {
        return manager.clone();
    }
    if call.user.node().is_some() {
        return KUBELET.to_owned();
    }
    let agent = call.parts.headers.get(USER_AGENT).map_or(&[][..], |value| value.as_bytes());
    program(&String::from_utf8_lossy(agent))
}

/// What stands before the first slash of a User-Agent.
fn program(agent: &str) -> String {
    let mut name = String::new();
    for c in agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > LONGEST {
            break;
        }
        name.push(c);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_its_user_agent() {
        let check = |agent: &str, expected: &str| assert_eq!(program(agent), expected);
        check("kubectl/v1.37.1 (linux/amd64) kubernetes/abc", "kubectl");
        check("OpenAPI-Generator/1.2/python", "OpenAPI-Generator");
        check("curl", "curl");
        check("", "");
        check(&"x".repeat(200), &"x".repeat(LONGEST));
    }
}
