//! What a user may do, as a list (`kubectl auth can-i --list`): the same decisions as `authorize` makes one by one.

use super::authorize::{DISCOVERY, PUBLIC};
use super::{AUTHENTICATED, MASTERS, User};

/// Verbs on resources of a group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResourceRule {
    pub verbs: &'static [&'static str],
    pub group: &'static str,
    pub resources: &'static [&'static str],
}

/// What a user may do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub resources: Vec<ResourceRule>,
    /// What may be read beside resources.
    pub paths: Vec<String>,
    /// The user may do everything.
    pub all: bool,
    /// Why there is more than the list says.
    pub incomplete: Option<&'static str>,
}

const CREATE: &[&str] = &["create"];

/// What the user may do, as far as a list can say it.
pub(crate) fn rules(user: &User) -> Rules {
    if user.is_in(MASTERS) {
        return Rules { all: true, ..Rules::default() };
    }
    let mut rules = Rules::default();
    let below = |roots: &[&str]| -> Vec<String> {
        roots.iter().flat_map(|root| [(*root).to_owned(), format!("{root}/*")]).collect()
    };
    rules.paths.extend(below(PUBLIC));
    if user.is_in(AUTHENTICATED) {
        rules.paths.extend(below(DISCOVERY));
        rules.resources.push(ResourceRule {
            verbs: CREATE,
            group: "authentication.k8s.io",
            resources: &["selfsubjectreviews"],
        });
        rules.resources.push(ResourceRule {
            verbs: CREATE,
            group: "authorization.k8s.io",
            resources: &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        });
    }
    if user.node().is_some() || user.bootstrapping() {
        rules.resources.push(ResourceRule {
            verbs: CREATE,
            group: "certificates.k8s.io",
            resources: &["certificatesigningrequests"],
        });
        rules.incomplete = Some("what a node or a joining machine may do depends on the object");
    }
    rules.paths.sort();
    rules.paths.dedup();
    rules
}

#[cfg(test)]
mod tests {
    use super::super::{Attributes, Target, Verdict, decide};
    use super::*;

    #[test]
    fn whatever_is_listed_is_allowed() {
        let users = [
            User::anonymous(),
            User::new("jane", &[AUTHENTICATED]),
            User::new("system:node:a", &["system:nodes", AUTHENTICATED]),
            User::new("system:bootstrap:x", &["system:bootstrappers", AUTHENTICATED]),
        ];
        for user in users {
            let rules = rules(&user);
            for path in &rules.paths {
                let path = path.replace('*', "x");
                assert_eq!(decide(&user, &Attributes::Path("get", &path)), Verdict::Allow, "{} {path}", user.name);
            }
            for rule in &rules.resources {
                for (verb, resource) in rule.verbs.iter().flat_map(|verb| rule.resources.iter().map(move |r| (verb, r)))
                {
                    let target = Target { group: rule.group, resource, ..Target::default() };
                    let verdict = decide(&user, &Attributes::Resource(verb, target));
                    assert_eq!(verdict, Verdict::Allow, "{} {verb} {resource}", user.name);
                }
            }
        }
        assert!(rules(&User::new("admin", &[MASTERS])).all);
        assert!(rules(&User::anonymous()).resources.is_empty());
    }
}
