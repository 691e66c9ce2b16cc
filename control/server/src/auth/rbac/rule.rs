//! One rule of a role: what it allows, and whether others allow as much.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::super::{Attributes, Target};

/// What stands for everything.
const ALL: &str = "*";

/// Verbs on resources, or on paths beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    /// With their subresources, as `pods/log`.
    pub resources: Vec<String>,
    /// Empty: whatever the name.
    pub names: Vec<String>,
    pub urls: Vec<String>,
}

impl From<PolicyRule> for Rule {
    fn from(rule: PolicyRule) -> Self {
        Self {
            verbs: rule.verbs,
            groups: rule.api_groups.unwrap_or_default(),
            resources: rule.resources.unwrap_or_default(),
            names: rule.resource_names.unwrap_or_default(),
            urls: rule.non_resource_urls.unwrap_or_default(),
        }
    }
}

fn holds(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

impl Rule {
    /// Whether the rule allows the request.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        match request {
            Attributes::Path(verb, path) => holds(&self.verbs, verb) && self.allows_path(path),
            Attributes::Resource(verb, target) => holds(&self.verbs, verb) && self.allows_target(target),
        }
    }

    fn allows_path(&self, path: &str) -> bool {
        self.urls.iter().any(|url| match url.strip_suffix(ALL) {
            Some(prefix) => path.starts_with(prefix),
            None => url == path,
        })
    }

    fn allows_target(&self, target: &Target<'_>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == target.name);
        named && holds(&self.groups, target.group) && self.allows_resource(target.resource, target.subresource)
    }

    fn allows_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|item| match item.split_once('/') {
            _ if item == ALL => true,
            None => subresource.is_empty() && item == resource,
            Some((of, sub)) => !subresource.is_empty() && sub == subresource && (of == ALL || of == resource),
        })
    }

    /// The rule taken apart, so that each part has one verb, group and resource (and name), or one verb and path.
    fn atoms(&self) -> impl Iterator<Item = Rule> + '_ {
        let one = |text: &String| vec![text.clone()];
        let paths = self.urls.iter().flat_map(move |url| {
            self.verbs.iter().map(move |verb| Rule { verbs: one(verb), urls: one(url), ..Rule::default() })
        });
        let named: Vec<Vec<String>> =
            if self.names.is_empty() { vec![Vec::new()] } else { self.names.iter().map(one).collect() };
        let mut atoms: Vec<Rule> = paths.collect();
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    atoms.extend(named.iter().map(|names| Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        names: names.clone(),
                        urls: Vec::new(),
                    }));
                }
            }
        }
        atoms.into_iter()
    }

    /// Whether everything that the atom allows is allowed here too.
    fn covers(&self, atom: &Rule) -> bool {
        let verbs = atom.verbs.iter().all(|verb| holds(&self.verbs, verb));
        let paths = atom.urls.iter().all(|path| self.allows_path(path));
        let groups = atom.groups.iter().all(|group| holds(&self.groups, group));
        let resources = atom.resources.iter().all(|resource| {
            holds(&self.resources, resource)
                || resource.split_once('/').is_some_and(|(_, sub)| {
                    self.resources.iter().any(|item| item.strip_prefix("*/").is_some_and(|wild| wild == sub))
                })
        });
        let names = match (self.names.is_empty(), atom.names.is_empty()) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => atom.names.iter().all(|name| self.names.contains(name)),
        };
        verbs && paths && groups && resources && names
    }
}

/// The parts of `wanted` that `held` does not allow, put together again where they differ in verbs alone.
pub(crate) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for atom in wanted.iter().flat_map(Rule::atoms) {
        if held.iter().any(|rule| rule.covers(&atom)) {
            continue;
        }
        let same = missing.iter_mut().find(|known| {
            (&known.groups, &known.resources, &known.names, &known.urls)
                == (&atom.groups, &atom.resources, &atom.names, &atom.urls)
        });
        match same {
            Some(known) => {
                let new: Vec<String> = atom.verbs.into_iter().filter(|verb| !known.verbs.contains(verb)).collect();
                known.verbs.extend(new);
            }
            None => missing.push(atom),
        }
    }
    missing
}

/// Rules as kube-apiserver words them in a refusal, sorted.
pub(crate) fn listed(rules: &[Rule]) -> String {
    let lines: BTreeSet<String> = rules.iter().map(line).collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

fn line(rule: &Rule) -> String {
    let fields = [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.names),
        ("NonResourceURLs", &rule.urls),
        ("Verbs", &rule.verbs),
    ];
    let shown: Vec<String> = fields
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| {
            let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            format!("{name}:[{}]", quoted.join(" "))
        })
        .collect();
    format!("{{{}}}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verbs groups resources names`, lists with commas, `core` for the group without a name, `-` for nothing.
    fn rule(text: &str) -> Rule {
        let list = |word: &str| -> Vec<String> {
            let items = word.split(',').filter(|item| !item.is_empty() && *item != "-");
            items.map(|item| if item == "core" { String::new() } else { item.to_owned() }).collect()
        };
        let mut words = text.split(' ');
        let mut next = || words.next().map(list).unwrap_or_default();
        let (verbs, second) = (next(), next());
        if second.first().is_some_and(|url| url.starts_with('/')) || second == ["**"] {
            return Rule { verbs, urls: second.iter().map(|url| url.replace("**", "*")).collect(), ..Rule::default() };
        }
        Rule { verbs, groups: second, resources: next(), names: next(), urls: Vec::new() }
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        let check = |text: &str, verb: &str, target: [&str; 4], expected: bool| {
            let [group, resource, subresource, name] = target;
            let target = Target { group, resource, subresource, name, ..Target::default() };
            assert_eq!(rule(text).allows(&Attributes::Resource(verb, target)), expected, "{text}: {verb} {target:?}");
        };
        check("get core pods", "get", ["", "pods", "", "a"], true);
        check("get core pods", "list", ["", "pods", "", ""], false);
        check("get core pods", "get", ["apps", "pods", "", "a"], false);
        check("get core pods", "get", ["", "pods", "log", "a"], false);
        check("get core pods/log", "get", ["", "pods", "log", "a"], true);
        check("get core pods/log", "get", ["", "pods", "", "a"], false);
        check("get core */log", "get", ["", "pods", "log", "a"], true);
        check("get core */log", "get", ["", "pods", "status", "a"], false);
        check("* * *", "delete", ["x", "pods", "log", "a"], true);
        check("get core pods a,b", "get", ["", "pods", "", "b"], true);
        check("get core pods a,b", "get", ["", "pods", "", "c"], false);
        check("list core pods a", "list", ["", "pods", "", ""], false);
    }

    #[test]
    fn a_rule_of_paths_allows_paths() {
        let check = |text: &str, verb: &str, path: &str, expected: bool| {
            assert_eq!(rule(text).allows(&Attributes::Path(verb, path)), expected, "{text}: {verb} {path}");
        };
        check("get /metrics", "get", "/metrics", true);
        check("get /metrics", "get", "/metrics/x", false);
        check("get /api/*", "get", "/api/v1", true);
        check("get /api/*", "get", "/apis", false);
        check("* **", "post", "/x", true);
        check("* * *", "get", "/x", false);
    }

    #[test]
    fn what_is_not_held_is_missing() {
        let check = |held: &[&str], wanted: &[&str], expected: &str| {
            let rules = |texts: &[&str]| texts.iter().map(|text| rule(text)).collect::<Vec<_>>();
            assert_eq!(listed(&missing(&rules(held), &rules(wanted))), expected, "{held:?} {wanted:?}");
        };
        check(&["* * *"], &["get core pods", "list apps deployments/scale x"], "");
        check(&["* * *", "* **"], &["get /metrics"], "");
        check(&["* * *"], &["get /metrics"], r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#);
        check(&[], &["get,list core pods"], r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#);
        check(&["get core pods"], &["get,list core pods"], r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#);
        check(&["get core pods", "list core pods"], &["get,list core pods"], "");
        check(
            &["get core secrets a"],
            &["get core secrets"],
            r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#,
        );
        check(&["get core secrets"], &["get core secrets a"], "");
        check(
            &["get core secrets a"],
            &["get core secrets a,b"],
            r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#,
        );
        check(&["get core */scale"], &["get core pods/scale"], "");
        check(&["get core pods"], &["* core pods"], r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#);
    }
}
