//! Which requests are told of, and how much of them: a policy's rules, of which the first that fits decides. Pure.

mod file;

use crate::auth::User;

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    None,
    /// Who, what, when, and the outcome.
    Metadata,
    /// The body of the request too.
    Request,
    /// And that of the answer.
    RequestResponse,
}

impl Level {
    const ALL: [(&str, Self); 4] = [
        ("None", Self::None),
        ("Metadata", Self::Metadata),
        ("Request", Self::Request),
        ("RequestResponse", Self::RequestResponse),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, level)| *level == self).map_or("None", |(name, _)| name)
    }
}

/// When it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    RequestReceived,
    /// The head of an answer that goes on was sent.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    const ALL: [(&str, Self); 4] = [
        ("RequestReceived", Self::RequestReceived),
        ("ResponseStarted", Self::ResponseStarted),
        ("ResponseComplete", Self::ResponseComplete),
        ("Panic", Self::Panic),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, stage)| *stage == self).map_or("", |(name, _)| name)
    }
}

/// A request, as a policy looks at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub verb: String,
    /// Without its query.
    pub path: String,
    /// Nothing for what is no resource.
    pub object: Option<Object>,
}

/// The resource that a request is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

/// What a policy decides of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

/// The rules, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Default)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default)]
struct Resources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

fn holds(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

impl Policy {
    /// What is told of that request of that user; nobody is known where a proof was refused.
    pub(crate) fn decide(&self, user: Option<&User>, asked: &Asked) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(user, asked)) else {
            return Verdict { omit_stages: self.omit_stages.clone(), ..Verdict::default() };
        };
        let mut omit_stages = self.omit_stages.clone();
        omit_stages.extend(rule.omit_stages.iter().copied());
        let omit_managed_fields = rule.omit_managed_fields.unwrap_or(self.omit_managed_fields);
        Verdict { level: rule.level, omit_stages, omit_managed_fields }
    }
}

impl Rule {
    fn fits(&self, user: Option<&User>, asked: &Asked) -> bool {
        let name = user.map_or("", |user| user.name.as_str());
        let groups = user.map_or(&[][..], |user| user.groups.as_slice());
        let of_user = (self.users.is_empty() || holds(&self.users, name))
            && (self.groups.is_empty() || groups.iter().any(|group| holds(&self.groups, group)));
        if !of_user || !self.verbs.is_empty() && !holds(&self.verbs, &asked.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return asked.object.as_ref().is_some_and(|object| self.fits_object(object));
        }
        self.urls.is_empty() || asked.object.is_none() && self.urls.iter().any(|url| fits_url(url, &asked.path))
    }

    fn fits_object(&self, object: &Object) -> bool {
        // What has no namespace is in the one without a name.
        if !self.namespaces.is_empty() && !holds(&self.namespaces, &object.namespace) {
            return false;
        }
        self.resources.is_empty() || self.resources.iter().any(|resources| resources.fit(object))
    }
}

impl Resources {
    fn fit(&self, object: &Object) -> bool {
        if self.group != object.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let named = self.names.is_empty() || holds(&self.names, &object.name);
        named && self.resources.iter().any(|resource| fits_resource(resource, object))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/log` or `*`.
fn fits_resource(pattern: &str, object: &Object) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || object.subresource.is_empty() && pattern == object.resource,
        Some((resource, "*")) => resource == object.resource,
        Some((resource, subresource)) => {
            !object.subresource.is_empty()
                && subresource == object.subresource
                && (resource == "*" || resource == object.resource)
        }
    }
}

fn fits_url(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

    fn decide(policy: &str, user: &User, asked: &Asked) -> Verdict {
        Policy::parse(&format!("{HEAD}{policy}")).expect("a policy").decide(Some(user), asked)
    }

    /// `verb group/resource[/subresource] namespace name`, or `verb /path`.
    fn asked(text: &str) -> Asked {
        let mut words = text.split(' ').map(|word| if word == "-" { "" } else { word });
        let verb = words.next().unwrap_or_default().to_owned();
        let what = words.next().unwrap_or_default();
        if what.starts_with('/') {
            return Asked { verb, path: what.to_owned(), object: None };
        }
        let mut parts = what.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (group, resource, subresource) = (next().replace("core", ""), next(), next());
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (namespace, name) = (word(), word());
        let object = Object { group, version: "v1".to_owned(), resource, subresource, namespace, name };
        Asked { verb, path: String::new(), object: Some(object) }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = "
rules:
- {level: None, users: [quiet]}
- {level: None, userGroups: [system:nodes], verbs: [get, watch]}
- {level: Request, resources: [{group: '', resources: [pods]}], namespaces: [a]}
- {level: RequestResponse, resources: [{group: apps, resources: [deployments], resourceNames: [web]}]}
- {level: Metadata, resources: [{group: '', resources: [pods/log, '*/status', 'nodes/*']}]}
- {level: Metadata, resources: [{group: batch}]}
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- {level: Metadata, namespaces: ['']}
- {level: Request, nonResourceURLs: ['*']}
";
        let jane = User::new("jane", &["dev"]);
        let node = User::new("system:node:n", &["system:nodes"]);
        let quiet = User::new("quiet", &[]);
        let check = |user: &User, text: &str, expected: Level| {
            assert_eq!(decide(policy, user, &asked(text)).level, expected, "{} {text}", user.name);
        };
        check(&quiet, "get core/pods a p", Level::None);
        check(&node, "get core/pods a p", Level::None);
        check(&node, "delete core/pods a p", Level::Request);
        check(&jane, "get core/pods a p", Level::Request);
        check(&jane, "get core/pods b p", Level::None);
        check(&jane, "get core/pods/log a p", Level::Metadata);
        check(&jane, "update core/pods/status b p", Level::Metadata);
        check(&jane, "get core/nodes - n", Level::Metadata);
        check(&jane, "get core/nodes/proxy - n", Level::Metadata);
        check(&jane, "get apps/deployments a web", Level::RequestResponse);
        check(&jane, "get apps/deployments a other", Level::None);
        check(&jane, "list batch/jobs a", Level::Metadata);
        check(&jane, "get /healthz/ping", Level::None);
        check(&jane, "get /version", Level::None);
        check(&jane, "get /metrics", Level::Request);
    }

    #[test]
    fn what_is_left_out_adds_up() {
        let policy = "
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: Metadata, verbs: [get], omitStages: [Panic], omitManagedFields: false}
- {level: Metadata}
";
        let jane = User::new("jane", &[]);
        let got = decide(policy, &jane, &asked("get core/pods a p"));
        assert_eq!((got.omit_stages, got.omit_managed_fields), (vec![Stage::RequestReceived, Stage::Panic], false));
        let listed = decide(policy, &jane, &asked("list core/pods a"));
        assert_eq!((listed.omit_stages, listed.omit_managed_fields), (vec![Stage::RequestReceived], true));
        let all = Policy::parse(&format!("{HEAD}rules: [{{level: Metadata}}]")).expect("a policy");
        assert_eq!(all.decide(None, &asked("get core/pods a p")).level, Level::Metadata);
    }
}
