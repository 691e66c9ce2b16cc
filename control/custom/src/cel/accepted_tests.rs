//! Rules as public projects have them, with as much of their schemas as they need: each compiles, holds for a value that is meant
//! to be fine, and fails for one that is not.

use serde_json::{Map, Value, json};

use super::{Meta, Rule, validate};
use crate::schema::{Node, Path};

/// Reads types: `s`tring, `i`nteger, `n`umber, `b`oolean, `x` integer or string, `t`ime, dat`e`, `d`uration, b`y`tes, `f`ree
/// object, `[item]`, `[!item]` a set, `(key item)` a list by that key, `<value>` a map, `{name:type name:type}`.
fn schema(shown: &str) -> Value {
    let (schema, rest) = read(shown.trim());
    assert_eq!(rest.trim(), "", "{shown}");
    schema
}

fn read(shown: &str) -> (Value, &str) {
    let (first, rest) = shown.split_at(1);
    let text = |format: &str| json!({"type": "string", "format": format});
    let plain = match first {
        "s" => json!({"type": "string"}),
        "i" => json!({"type": "integer"}),
        "n" => json!({"type": "number"}),
        "b" => json!({"type": "boolean"}),
        "x" => json!({"x-kubernetes-int-or-string": true}),
        "t" => text("date-time"),
        "e" => text("date"),
        "d" => text("duration"),
        "y" => text("byte"),
        "f" => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        _ => return read_compound(first, rest),
    };
    (plain, rest)
}

fn read_compound<'a>(first: &str, rest: &'a str) -> (Value, &'a str) {
    match first {
        "[" => {
            let (kind, rest) = rest.strip_prefix('!').map_or(("atomic", rest), |rest| ("set", rest));
            let (item, rest) = read(rest);
            (json!({"type": "array", "x-kubernetes-list-type": kind, "items": item}), &rest[1..])
        }
        "(" => {
            let (key, rest) = rest.split_once(' ').expect("a key");
            let (mut item, rest) = read(rest);
            item["required"] = json!([key]);
            let keys = json!([key]);
            let kind = "map";
            let list = json!({"type": "array", "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": keys, "items": item});
            (list, &rest[1..])
        }
        "<" => {
            let (value, rest) = read(rest);
            (json!({"type": "object", "additionalProperties": value}), &rest[1..])
        }
        "{" => {
            let (mut properties, mut rest) = (Map::new(), rest);
            while let Some((name, after)) = rest.trim_start().split_once(':').filter(|_| !rest.starts_with('}')) {
                let (field, after) = read(after);
                properties.insert(name.to_owned(), field);
                rest = after;
            }
            (json!({"type": "object", "properties": properties}), &rest[1..])
        }
        other => panic!("no type: {other}{rest}"),
    }
}

/// What a rule says of a value that was there before already; or why it does not compile.
pub(super) fn said(of: &str, rule: Value, value: &str, old: &str) -> Result<Vec<String>, String> {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    let schema = schema(of);
    let mut node = Node::read(&schema, &mut Path::default()).expect("a schema");
    let told = |faults: Vec<super::Fault>| faults.into_iter().map(|fault| fault.detail).collect::<String>();
    node.compiled = vec![Rule::compile(&rule, &node, &schema, Meta::Resource).map_err(told)?];
    node.ruled = true;
    let judged = validate(&node, &json(value), (!old.is_empty()).then(|| json(old)).as_ref());
    Ok(judged.refused.iter().chain(&judged.forgiven).map(ToString::to_string).collect())
}

/// `rules`: each with a value that it refuses, if there is a short one.
pub(super) fn check(project: &str, of: &str, good: &str, rules: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (rule, bad) in rules {
        let whole = json!({"rule": rule, "optionalOldSelf": rule.contains("oldSelf.hasValue").then_some(true)});
        match said(of, whole.clone(), good, good) {
            Ok(told) if told.is_empty() => {}
            told => wrong.push(format!("{project}: {rule}: {told:#?}")),
        }
        if !bad.is_empty() && said(of, whole, bad, good).is_ok_and(|told| told.is_empty()) {
            wrong.push(format!("{project}: {rule}: takes {bad}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_of_gateway_api_are_taken() {
    check(
        "listeners of gateways",
        "(name {name:s port:i protocol:s hostname:s tls:{mode:s certificateRefs:[{name:s}] options:<s>}})",
        r#"[{"name": "a", "port": 80, "protocol": "HTTP", "hostname": "a.b"}, {"name": "b", "port": 443, "protocol": "HTTPS", "tls": {"mode": "Terminate"}}]"#,
        &[
            (
                "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
                r#"[{"name": "a", "port": 1, "protocol": "TCP", "tls": {}}]"#,
            ),
            (
                "self.all(l, l.protocol.matches('(?i)^(HTTP|TCP|UDP)$') ? !has(l.tls) : true)",
                r#"[{"name": "a", "protocol": "udp", "tls": {}}]"#,
            ),
            (
                "self.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (l.tls.mode == '' || l.tls.mode == 'Terminate') : true)",
                r#"[{"name": "a", "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}]"#,
            ),
            (
                "self.all(l, (l.protocol.matches('(?i)^TLS$') ? has(l.tls) && has(l.tls.mode) && l.tls.mode != '' : true))",
                r#"[{"name": "a", "protocol": "TLS"}]"#,
            ),
            (
                "self.all(l, l.protocol in ['TCP', 'UDP'] ? (!has(l.hostname) || l.hostname == '') : true)",
                r#"[{"name": "a", "protocol": "TCP", "hostname": "h"}]"#,
            ),
            ("self.all(l1, self.exists_one(l2, l1.name == l2.name))", r#"[{"name": "a"}, {"name": "a"}]"#),
            (
                "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
                r#"[{"name": "a", "port": 1, "protocol": "X"}, {"name": "b", "port": 1, "protocol": "X"}]"#,
            ),
            (
                "self.all(l, !has(l.tls) || l.tls.mode == 'Terminate' ? size(l.tls.certificateRefs) > 0 || size(l.tls.options) > 0 : true) || true",
                "",
            ),
        ],
    );
    check(
        "addresses of gateways",
        "[{type:s value:s}]",
        r#"[{"type": "IPAddress", "value": "10.0.0.1"}, {"type": "Hostname", "value": "h"}]"#,
        &[
            (
                "self.all(a1, a1.type == 'IPAddress' && has(a1.value) ? self.exists_one(a2, a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true )",
                r#"[{"type": "IPAddress", "value": "1"}, {"type": "IPAddress", "value": "1"}]"#,
            ),
            (
                "self.all(a, a.type == 'Hostname' ? a.value.matches(r\"\"\"^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$\"\"\") : true)",
                r#"[{"type": "Hostname", "value": "-"}]"#,
            ),
        ],
    );
    let filter = "{type:s requestHeaderModifier:{set:[{name:s}]} requestRedirect:{path:{type:s replaceFullPath:s replacePrefixMatch:s}} urlRewrite:{path:{type:s replacePrefixMatch:s}} requestMirror:{percent:i fraction:{numerator:i denominator:i}}}";
    check(
        "rules of HTTP routes",
        &format!(
            "{{matches:[{{path:{{type:s value:s}}}}] filters:[{filter}] backendRefs:[{{group:s kind:s port:i filters:[{filter}]}}] timeouts:{{request:s backendRequest:s}}}}"
        ),
        r#"{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}}}], "timeouts": {"request": "10s", "backendRequest": "2s"}}"#,
        &[
            (
                "(size(self.backendRefs) > 0 && self.filters.exists(f, has(f.requestRedirect))) ? false : true || !has(self.backendRefs)",
                "",
            ),
            (
                "!(has(self.backendRefs) && size(self.backendRefs) > 0 && has(self.filters) && self.filters.exists(f, has(f.requestRedirect)))",
                r#"{"backendRefs": [{"kind": "S"}], "filters": [{"requestRedirect": {}}]}"#,
            ),
            (
                "(has(self.filters) && self.filters.exists_one(f, has(f.urlRewrite) && has(f.urlRewrite.path) && f.urlRewrite.path.type == 'ReplacePrefixMatch' && has(f.urlRewrite.path.replacePrefixMatch))) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
                "",
            ),
            (
                "(has(self.backendRefs) && self.backendRefs.exists_one(b, (has(b.filters) && b.filters.exists_one(f, has(f.urlRewrite) && has(f.urlRewrite.path))) )) ? size(self.matches) == 1 : true",
                "",
            ),
            (
                "!(has(self.timeouts.request) && has(self.timeouts.backendRequest) && duration(self.timeouts.request) != duration('0s') && duration(self.timeouts.backendRequest) > duration(self.timeouts.request))",
                r#"{"timeouts": {"request": "1s", "backendRequest": "2s"}}"#,
            ),
            (
                "!(self.filters.exists(f, f.type == 'RequestRedirect') && self.filters.exists(f, f.type == 'URLRewrite'))",
                r#"{"filters": [{"type": "RequestRedirect"}, {"type": "URLRewrite"}]}"#,
            ),
            (
                "self.filters.filter(f, f.type == 'URLRewrite').size() <= 1",
                r#"{"filters": [{"type": "URLRewrite"}, {"type": "URLRewrite"}]}"#,
            ),
            (
                "!has(self.backendRefs) || self.backendRefs.all(b, (size(b.group) == 0 && b.kind == 'Service') ? has(b.port) : true)",
                r#"{"backendRefs": [{"group": "", "kind": "Service"}]}"#,
            ),
        ],
    );
    check(
        "path matches",
        "{type:s value:s}",
        r#"{"type": "PathPrefix", "value": "/a/b"}"#,
        &[
            (
                "(self.type in ['Exact','PathPrefix']) ? self.value.startsWith('/') : true",
                r#"{"type": "Exact", "value": "a"}"#,
            ),
            (
                "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('//') : true",
                r#"{"type": "Exact", "value": "/a//"}"#,
            ),
            (
                "(self.type in ['Exact','PathPrefix']) ? !self.value.endsWith('/..') : true",
                r#"{"type": "Exact", "value": "/.."}"#,
            ),
            (
                "(self.type in ['Exact','PathPrefix']) ? self.value.matches(r\"\"\"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$\"\"\") : true",
                r#"{"type": "Exact", "value": "/ü"}"#,
            ),
            (
                "self.type in ['Exact','PathPrefix'] || self.type == 'RegularExpression'",
                r#"{"type": "X", "value": ""}"#,
            ),
        ],
    );
    check(
        "methods of gRPC matches",
        "{type:s service:s method:s}",
        r#"{"type": "Exact", "service": "a.b", "method": "C"}"#,
        &[
            ("has(self.type) ? has(self.service) || has(self.method) : true", r#"{"type": "Exact"}"#),
            (
                "(!has(self.type) || self.type == 'Exact') && has(self.service) ? self.service.matches(r\"\"\"^(?i)\\.?[a-z_][a-z_0-9]*(\\.[a-z_][a-z_0-9]*)*$\"\"\"): true",
                r#"{"service": "-"}"#,
            ),
        ],
    );
    let parent = "[{group:s kind:s name:s namespace:s sectionName:s port:i}]";
    check(
        "references to parents",
        parent,
        r#"[{"group": "g", "kind": "Gateway", "name": "a", "sectionName": "x"}, {"group": "g", "kind": "Gateway", "name": "a", "sectionName": "y"}]"#,
        &[
            (
                "self.all(p1, self.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__ )) ? ((!has(p1.sectionName) || p1.sectionName == '') == (!has(p2.sectionName) || p2.sectionName == '')) : true))",
                r#"[{"group": "g", "kind": "k", "name": "a", "sectionName": "x"}, {"group": "g", "kind": "k", "name": "a"}]"#,
            ),
            (
                "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.sectionName) || p1.sectionName == '') && (!has(p2.sectionName) || p2.sectionName == '')) || ( has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName))))",
                r#"[{"group": "g", "kind": "k", "name": "a"}, {"group": "g", "kind": "k", "name": "a"}]"#,
            ),
        ],
    );
    check(
        "policies of backends",
        "{validation:{caCertificateRefs:[{name:s}] wellKnownCACertificates:s subjectAltNames:[{type:s hostname:s uri:s}]} sessionPersistence:{type:s absoluteTimeout:s cookieConfig:{lifetimeType:s}} retry:{percent:i interval:s}}",
        r#"{"validation": {"wellKnownCACertificates": "System", "subjectAltNames": [{"type": "Hostname", "hostname": "h"}]}, "sessionPersistence": {"absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}}, "retry": {"interval": "10s"}}"#,
        &[
            (
                "!(has(self.validation.caCertificateRefs) && size(self.validation.caCertificateRefs) > 0 && has(self.validation.wellKnownCACertificates) && self.validation.wellKnownCACertificates != \"\")",
                r#"{"validation": {"caCertificateRefs": [{"name": "x"}], "wellKnownCACertificates": "System"}}"#,
            ),
            (
                "(has(self.validation.caCertificateRefs) && size(self.validation.caCertificateRefs) > 0 || has(self.validation.wellKnownCACertificates) && self.validation.wellKnownCACertificates != \"\")",
                r#"{"validation": {}}"#,
            ),
            (
                "self.validation.subjectAltNames.all(s, !(s.type == \"Hostname\" && (!has(s.hostname) || s.hostname == \"\")))",
                r#"{"validation": {"subjectAltNames": [{"type": "Hostname"}]}}"#,
            ),
            (
                "!has(self.sessionPersistence.cookieConfig) || !has(self.sessionPersistence.cookieConfig.lifetimeType) || self.sessionPersistence.cookieConfig.lifetimeType != 'Permanent' || has(self.sessionPersistence.absoluteTimeout)",
                r#"{"sessionPersistence": {"cookieConfig": {"lifetimeType": "Permanent"}}}"#,
            ),
            (
                "!has(self.retry.interval) || (duration(self.retry.interval) <= duration('1h') && duration(self.retry.interval) >= duration('1s'))",
                r#"{"retry": {"interval": "2h"}}"#,
            ),
        ],
    );
}

#[test]
fn rules_of_schedulers_are_taken() {
    let toleration = "[{key:s operator:s value:s effect:s tolerationSeconds:i}]";
    check(
        "Kueue, tolerations",
        toleration,
        r#"[{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 3}, {"operator": "Exists"}]"#,
        &[
            ("self.all(x, !has(x.key) ? x.operator == 'Exists' : true)", r#"[{"operator": "Equal"}]"#),
            (
                "self.all(x, has(x.tolerationSeconds) ? x.effect == 'NoExecute' : true)",
                r#"[{"key": "a", "tolerationSeconds": 1, "effect": "NoSchedule"}]"#,
            ),
            ("self.all(x, !has(x.operator) || x.operator in ['Equal', 'Exists'])", r#"[{"operator": "Is"}]"#),
            (
                "self.all(x, has(x.operator) && x.operator == 'Exists' ? !has(x.value) : true)",
                r#"[{"operator": "Exists", "value": "v"}]"#,
            ),
        ],
    );
    check(
        "Kueue, workloads",
        "{spec:{podSets:(name {name:s count:i minCount:i}) priorityClassSource:s queueName:s maximumExecutionTimeSeconds:i} status:{conditions:(type {type:s status:s}) admission:{clusterQueue:s podSetAssignments:(name {name:s})}}}",
        r#"{"spec": {"podSets": [{"name": "main", "count": 2}], "queueName": "q"}, "status": {"conditions": [{"type": "QuotaReserved", "status": "True"}, {"type": "Admitted", "status": "True"}], "admission": {"clusterQueue": "c", "podSetAssignments": [{"name": "main"}]}}}"#,
        &[
            (
                "has(self.status) && has(self.status.conditions) && self.status.conditions.exists(c, c.type == 'QuotaReserved' && c.status == 'True') && has(self.status.admission) ? size(self.spec.podSets) == size(self.status.admission.podSetAssignments) : true",
                "",
            ),
            (
                "(has(oldSelf.status) && has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(c, c.type == 'QuotaReserved' && c.status == 'True')) && has(oldSelf.spec.queueName) && has(self.spec.queueName) ? oldSelf.spec.queueName == self.spec.queueName : true",
                r#"{"spec": {"queueName": "other"}}"#,
            ),
            (
                "((has(oldSelf.status) && oldSelf.status.conditions.exists(c, c.type == 'Admitted' && c.status == 'True')))?((has(oldSelf.spec.maximumExecutionTimeSeconds)?oldSelf.spec.maximumExecutionTimeSeconds:0) ==  (has(self.spec.maximumExecutionTimeSeconds)?self.spec.maximumExecutionTimeSeconds:0)):true",
                r#"{"spec": {"maximumExecutionTimeSeconds": 4}}"#,
            ),
            (
                "self.spec.podSets.filter(ps, has(ps.minCount)).size() <= 1",
                r#"{"spec": {"podSets": [{"name": "a", "minCount": 1}, {"name": "b", "minCount": 1}]}}"#,
            ),
            (
                "!has(self.spec.podSets) || self.spec.podSets.all(ps, has(ps.minCount) ? ps.minCount <= ps.count : true)",
                r#"{"spec": {"podSets": [{"name": "a", "count": 1, "minCount": 2}]}}"#,
            ),
            ("oldSelf.spec == self.spec || !has(oldSelf.status)", r#"{"spec": {}}"#),
        ],
    );
    check(
        "JobSet",
        "{replicatedJobs:(name {name:s replicas:i template:f dependsOn:(name {name:s status:s})}) startupPolicy:{startupPolicyOrder:s} network:{subdomain:s} coordinator:{replicatedJob:s jobIndex:i} managedBy:s}",
        r#"{"replicatedJobs": [{"name": "a", "replicas": 1}], "startupPolicy": {"startupPolicyOrder": "InOrder"}, "network": {"subdomain": "x"}}"#,
        &[
            (
                "!(has(self.startupPolicy) && self.startupPolicy.startupPolicyOrder == 'InOrder' && self.replicatedJobs.exists(x, has(x.dependsOn)))",
                r#"{"replicatedJobs": [{"name": "a", "dependsOn": []}], "startupPolicy": {"startupPolicyOrder": "InOrder"}}"#,
            ),
            (
                "self.network == oldSelf.network && has(self.replicatedJobs) && !has(self.replicatedJobs[0].dependsOn)",
                r#"{"network": {"subdomain": "y"}, "replicatedJobs": [{"name": "a"}]}"#,
            ),
            (
                "self.replicatedJobs == oldSelf.replicatedJobs && self.replicatedJobs.map(j, j.replicas).sum() >= 1",
                r#"{"replicatedJobs": []}"#,
            ),
        ],
    );
    check(
        "Karpenter",
        "{replicas:i weight:i limits:<x> budgets:[{nodes:s schedule:s duration:s}] labels:<s> key:s requirements:[{key:s operator:s values:[s] minValues:i}] amiSelectorTerms:[{id:s alias:s tags:<s> name:s}] evictionSoft:<s> evictionSoftGracePeriod:<s> imageGCHighThresholdPercent:i imageGCLowThresholdPercent:i}",
        r#"{"replicas": 2, "limits": {"nodes": 3}, "budgets": [{"nodes": "10%", "schedule": "@daily", "duration": "10m"}], "labels": {"a.com/x": "y"}, "key": "a.com/x", "requirements": [{"key": "k", "operator": "In", "values": ["1", "2"], "minValues": 2}, {"key": "g", "operator": "Gt", "values": ["4"]}], "amiSelectorTerms": [{"alias": "al2023@latest"}], "evictionSoft": {"m": "5%"}, "evictionSoftGracePeriod": {"m": "1m"}, "imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80}"#,
        &[
            ("has(self.replicas) == has(oldSelf.replicas)", r#"{"labels": {}}"#),
            (
                "!has(self.replicas) || (!has(self.limits) || size(self.limits) == 0 || (size(self.limits) == 1 && 'nodes' in self.limits))",
                r#"{"replicas": 1, "limits": {"cpu": "1"}}"#,
            ),
            ("self.budgets.all(x, has(x.schedule) == has(x.duration))", r#"{"budgets": [{"schedule": "x"}]}"#),
            (
                "self.requirements.all(x, x.operator == 'In' ? x.values.size() != 0 : true)",
                r#"{"requirements": [{"operator": "In", "values": []}]}"#,
            ),
            (
                "self.requirements.all(x, (x.operator == 'Gt' || x.operator == 'Lt') ? (x.values.size() == 1 && int(x.values[0]) >= 0) : true)",
                r#"{"requirements": [{"operator": "Gt", "values": ["-1"]}]}"#,
            ),
            (
                "self.requirements.all(x, (x.operator == 'In' && has(x.minValues)) ? x.values.size() >= x.minValues : true)",
                r#"{"requirements": [{"operator": "In", "values": ["a"], "minValues": 2}]}"#,
            ),
            (
                "self.key in [\"karpenter.sh/capacity-type\", \"karpenter.sh/nodepool\"] || !self.key.find(\"^([^/]+)\").endsWith(\"karpenter.sh\")",
                r#"{"key": "karpenter.sh/x"}"#,
            ),
            (
                "self.labels.all(x, x in [\"karpenter.sh/capacity-type\"] || !x.find(\"^([^/]+)\").endsWith(\"karpenter.sh\"))",
                r#"{"labels": {"karpenter.sh/x": ""}}"#,
            ),
            (
                "self.amiSelectorTerms.all(x, has(x.tags) || has(x.id) || has(x.name) || has(x.alias))",
                r#"{"amiSelectorTerms": [{}]}"#,
            ),
            (
                "!self.amiSelectorTerms.exists(x, has(x.id) && (has(x.alias) || has(x.tags) || has(x.name)))",
                r#"{"amiSelectorTerms": [{"id": "a", "name": "b"}]}"#,
            ),
            (
                "!(self.amiSelectorTerms.exists(x, has(x.alias)) && self.amiSelectorTerms.size() != 1)",
                r#"{"amiSelectorTerms": [{"alias": "a"}, {}]}"#,
            ),
            (
                "self.amiSelectorTerms.exists(x, has(x.alias)) ? self.amiSelectorTerms.all(x, x.alias.split('@')[0] in ['al2', 'al2023', 'bottlerocket']) : true",
                r#"{"amiSelectorTerms": [{"alias": "x@y"}]}"#,
            ),
            (
                "has(self.imageGCHighThresholdPercent) && has(self.imageGCLowThresholdPercent) ? self.imageGCHighThresholdPercent > self.imageGCLowThresholdPercent : true",
                r#"{"imageGCHighThresholdPercent": 1, "imageGCLowThresholdPercent": 2}"#,
            ),
            (
                "has(self.evictionSoft) ? self.evictionSoft.all(e, (e in self.evictionSoftGracePeriod)):true",
                r#"{"evictionSoft": {"m": ""}, "evictionSoftGracePeriod": {}}"#,
            ),
            (
                "self.labels.all(k, k != '' && (self.labels[k] != 'x' || k.size() > 0)) && self.evictionSoftGracePeriod.all(k, duration(self.evictionSoftGracePeriod[k]) > duration('0s'))",
                "",
            ),
        ],
    );
}
