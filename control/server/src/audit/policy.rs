//! Which requests are told of, and how much of them: a policy's rules, of which the first that fits decides. Pure.

use pal_resources::kinds::names::dns1123_subdomain;
use serde_json::{Map, Value};

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

impl Policy {
    /// Reads a policy's text, YAML or JSON. An error names the field.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "omitStages", "rules", "omitManagedFields"];
        let fields = Fields::of(&value, String::new(), FIELDS)?;
        if fields.text("apiVersion")? != "audit.k8s.io/v1" || fields.text("kind")? != "Policy" {
            return Err("apiVersion, kind: must be Policy of audit.k8s.io/v1".to_owned());
        }
        let rules: Vec<Rule> = fields.list("rules", Rule::parse)?;
        if rules.is_empty() {
            return Err("rules: loaded illegal policy with 0 rules".to_owned());
        }
        let omit_stages = fields.list("omitStages", stage)?;
        Ok(Self { rules, omit_stages, omit_managed_fields: fields.flag("omitManagedFields")?.unwrap_or(false) })
    }
}

impl Rule {
    fn parse(value: &Value, path: &str) -> Result<Self, String> {
        const FIELDS: &[&str] = &[
            "level",
            "users",
            "userGroups",
            "verbs",
            "resources",
            "namespaces",
            "nonResourceURLs",
            "omitStages",
            "omitManagedFields",
        ];
        let fields = Fields::of(value, path.to_owned(), FIELDS)?;
        let rule = Self {
            level: level(fields.text("level")?, &fields.path("level"))?,
            users: fields.list("users", text)?,
            groups: fields.list("userGroups", text)?,
            verbs: fields.list("verbs", text)?,
            resources: fields.list("resources", Resources::parse)?,
            namespaces: fields.list("namespaces", text)?,
            urls: fields.list("nonResourceURLs", url)?,
            omit_stages: fields.list("omitStages", stage)?,
            omit_managed_fields: fields.flag("omitManagedFields")?,
        };
        let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        if of_resources && !rule.urls.is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            return Err(invalid(&fields.path("nonResourceURLs"), &format!("{:?}", rule.urls), why));
        }
        Ok(rule)
    }
}

impl Resources {
    fn parse(value: &Value, path: &str) -> Result<Self, String> {
        let fields = Fields::of(value, path.to_owned(), &["group", "resources", "resourceNames"])?;
        let group = fields.text("group")?.to_owned();
        let found = Self {
            resources: fields.list("resources", text)?,
            names: fields.list("resourceNames", text)?,
            group: group.clone(),
        };
        if let Some(fault) = dns1123_subdomain(&group).first().filter(|_| !group.is_empty()) {
            return Err(invalid(&fields.path("group"), &format!("{group:?}"), fault));
        }
        if found.resources.is_empty() && !found.names.is_empty() {
            let why = "using resourceNames requires at least one resource";
            return Err(invalid(&fields.path("resourceNames"), &format!("{:?}", found.names), why));
        }
        Ok(found)
    }
}

fn invalid(path: &str, value: &str, why: &str) -> String {
    format!("{path}: Invalid value: {value}: {why}")
}

fn level(text: &str, path: &str) -> Result<Level, String> {
    if text.is_empty() {
        return Err(format!("{path}: Required value"));
    }
    named(&Level::ALL, text, path)
}

fn stage(value: &Value, path: &str) -> Result<Stage, String> {
    named(&Stage::ALL, &text(value, path)?, path)
}

fn named<T: Copy>(all: &[(&str, T)], text: &str, path: &str) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, one)| *one);
    found.ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("{path}: Unsupported value: {text:?}: supported values: {}", names.join(", "))
    })
}

fn text(value: &Value, path: &str) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(path, &value.to_string(), "must be a string"))
}

fn url(value: &Value, path: &str) -> Result<String, String> {
    let url = text(value, path)?;
    let fault = if url == "*" {
        None
    } else if !url.starts_with('/') {
        Some("non-resource URL rules must begin with a '/' character")
    } else if url.find('*').is_some_and(|at| at + 1 < url.len()) {
        Some("non-resource URL wildcards '*' must be the final character of the rule")
    } else {
        None
    };
    fault.map_or(Ok(url.clone()), |why| Err(invalid(path, &format!("{url:?}"), why)))
}

/// An object's fields, none of which is unknown.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, path: String, known: &[&str]) -> Result<Self, String> {
        let Some(object) = value.as_object() else {
            return Err(invalid(
                if path.is_empty() { "policy" } else { &path },
                &value.to_string(),
                "must be an object",
            ));
        };
        let fields = Self { object, path };
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(other) => Err(format!("{}: unknown field", fields.path(other))),
            None => Ok(fields),
        }
    }

    fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// Empty when there is none.
    fn text(&self, field: &str) -> Result<&'a str, String> {
        let Some(value) = self.get(field) else { return Ok("") };
        value.as_str().ok_or_else(|| invalid(&self.path(field), &value.to_string(), "must be a string"))
    }

    fn flag(&self, field: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| invalid(&self.path(field), &value.to_string(), "must be true or false"))
    }

    fn list<T>(&self, field: &str, one: impl Fn(&Value, &str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let Some(value) = self.get(field) else { return Ok(Vec::new()) };
        let path = self.path(field);
        let Some(items) = value.as_array() else { return Err(invalid(&path, &value.to_string(), "must be a list")) };
        items.iter().enumerate().map(|(index, item)| one(item, &format!("{path}[{index}]"))).collect()
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

    #[test]
    fn a_wrong_field_is_named() {
        let check = |text: &str, expected: &str| {
            let error = Policy::parse(&format!("{HEAD}{text}")).map(|_| ()).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("rules: []", "rules: loaded illegal policy with 0 rules");
        check("rules: [{}]", "rules[0].level: Required value");
        check("rules: [{level: Loud}]", "rules[0].level: Unsupported value: \"Loud\"");
        check("rules: [{level: None}, {level: None, verbz: [get]}]", "rules[1].verbz: unknown field");
        check("rules: [{level: None, verbs: get}]", "rules[0].verbs: Invalid value: \"get\": must be a list");
        check("rules: [{level: None, users: [5]}]", "rules[0].users[0]: Invalid value: 5: must be a string");
        check("rules: [{level: None, omitStages: [Later]}]", "rules[0].omitStages[0]: Unsupported value: \"Later\"");
        check("rules: [{level: None, nonResourceURLs: [healthz]}]", "must begin with a '/'");
        check("rules: [{level: None, nonResourceURLs: ['/a*b']}]", "must be the final character");
        let both = "rules: [{level: None, namespaces: [a], nonResourceURLs: ['*']}]";
        check(both, "rules[0].nonResourceURLs: Invalid value");
        check("rules: [{level: None, resources: [{group: 'A B'}]}]", "rules[0].resources[0].group: Invalid value");
        let names = "rules: [{level: None, resources: [{resourceNames: [x]}]}]";
        check(names, "rules[0].resources[0].resourceNames: Invalid value");
        check("colour: red", "colour: unknown field");
        check("omitManagedFields: 3\nrules: [{level: None}]", "omitManagedFields: Invalid value: 3");
        assert!(Policy::parse("kind: Policy\napiVersion: v1\nrules: [{level: None}]").is_err());
        assert!(Policy::parse("[").is_err());
    }
}
