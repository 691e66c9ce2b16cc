//! What a policy's file says, field by field. Pure.

use pal_resources::kinds::names::dns1123_subdomain;
use serde_json::{Map, Value};

use super::{Level, Policy, Resources, Rule, Stage};

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
