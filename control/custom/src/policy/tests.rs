use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// Knows what jane may do: read pods, and whatever the path `/healthz` has; of service accounts what `bot` of `a` may.
#[derive(Debug)]
struct Jane;

impl Authorize for Jane {
    fn decide(&self, question: &Question) -> Answer {
        let own = question.account.as_ref().is_none_or(|(namespace, name)| (&**namespace, &**name) == ("a", "bot"));
        let may = match &question.about {
            About::Path(path) => path == "/healthz",
            About::Resource(target) if target.name == "broken" => {
                return Answer { error: Some("nobody knows".to_owned()), ..Answer::default() };
            }
            About::Resource(target) => target.resource == "pods" && question.verb == "get",
        };
        Answer { allowed: own && may, reason: format!("{:?}", question.about), error: None }
    }
}

/// A policy with those fields in its `spec`.
fn policy(spec: Value) -> Policy {
    Policy::compile(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

fn patched(expression: &str, variables: Value) -> Policy {
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    policy(
        json!({"mutations": [mutation], "variables": variables, "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}),
    )
}

fn applied(expression: &str) -> Policy {
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    policy(json!({"mutations": [mutation]}))
}

/// What the first mutation wants of a Deployment; or what is wrong with the policy or its evaluation.
fn change(policy: &Policy) -> Result<Change, String> {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "labels": {"a/b": "c"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "x"}, {"name": "y"}]}}}});
    let (request, params) =
        (json!({"operation": "CREATE", "userInfo": {"username": "u"}}), json!({"data": {"k": "5"}}));
    let namespace = json!({"metadata": {"labels": {"env": "test"}}});
    if let Some(fault) = policy.faults().first() {
        return Err(fault.to_string());
    }
    let case = Case {
        object: &object,
        old_object: &Value::Null,
        request: &request,
        namespace: &namespace,
        params: &params,
        authorizer: &Jane,
    };
    policy.consider(&case).change(0).map(|change| change.expect("there is a mutation"))
}

#[test]
fn configurations_are_made() {
    let check = |expression: &str, expected: Result<Value, &str>| match (change(&applied(expression)), expected) {
        (Ok(Change::Apply(found)), Ok(expected)) => assert_eq!(found, expected, "{expression}"),
        (Err(why), Err(expected)) => assert!(why.contains(expected), "{expression}: {why}"),
        (found, expected) => panic!("{expression}: {found:?}, not {expected:?}"),
    };
    check("Object{}", Ok(json!({})));
    check("Object{spec: Object.spec{replicas: object.spec.replicas + 3}}", Ok(json!({"spec": {"replicas": 5}})));
    check(
        "Object{metadata: Object.metadata{labels: {'env': namespaceObject.metadata.labels.env}}}",
        Ok(json!({"metadata": {"labels": {"env": "test"}}})),
    );
    check(
        "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: \
         object.spec.template.spec.containers.map(c, Object.spec.template.spec.containers{name: c.name, tty: true})}}}}",
        Ok(json!({"spec": {"template": {"spec": {"containers": [
            {"name": "x", "tty": true}, {"name": "y", "tty": true}]}}}})),
    );
    check(
        "has(object.spec.x) ? Object{} : Object{spec: Object.spec{?paused: optional.none(), ?replicas: optional.of(1)}}",
        Ok(json!({"spec": {"replicas": 1}})),
    );
    check(
        "Object{spec: Object.spec{__namespace__: 'n', a__dash__b: 1}}",
        Ok(json!({"spec": {"namespace": "n", "a-b": 1}})),
    );
    check("request.userInfo.username == 'u' ? Object{} : Object{spec: Object.spec{}}", Ok(json!({})));
    check("\"I'm a teapot!\"", Err("must evaluate to Object but got string"));
    check("Object.spec{}", Err("must evaluate to Object but got Object.spec"));
    check("params.data.k", Err("undeclared reference to 'params'"));
    check(
        "Object{spec: Object.specx{replicas: 1}}",
        Err(
            "type mismatch: unexpected type name \"Object.specx\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
    );
    check("Object{spec: Pod{}}", Err("undeclared reference to 'Pod'"));
    check("Object{spec: Object.spec{replicas: object.spec.none}}", Err("resulted in error: no such key: none"));
    check("Object{", Err("Syntax error"));
    let heavy = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..7).fold("true".to_owned(), |inner, at| format!("{heavy}.all(x{at}, {inner})"));
    check(&format!("{nested} ? Object{{}} : Object{{}}"), Err("actual cost limit exceeded"));
}

#[test]
fn patches_are_made() {
    let variables = json!([
        {"name": "broken", "expression": "object.spec.none"},
        {"name": "wanted", "expression": "int(params.data['k'])"},
        {"name": "twice", "expression": "variables.wanted * 2"},
        {"name": "step", "expression": "JSONPatch{op: 'add', path: '/x', value: variables.twice}"},
    ]);
    let check = |expression: &str, expected: Result<Value, &str>| match (
        change(&patched(expression, variables.clone())),
        expected,
    ) {
        (Ok(Change::Patch(found)), Ok(expected)) => assert_eq!(found, expected, "{expression}"),
        (Err(why), Err(expected)) => assert!(why.contains(expected), "{expression}: {why}"),
        (found, expected) => panic!("{expression}: {found:?}, not {expected:?}"),
    };
    check("[]", Ok(json!([])));
    check("[variables.step]", Ok(json!([{"op": "add", "path": "/x", "value": 10}])));
    check(
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: object.spec.replicas}] + \
         [JSONPatch{op: 'move', from: '/a', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~')}]",
        Ok(json!([{"op": "test", "path": "/spec/replicas", "value": 2},
            {"op": "move", "path": "/metadata/labels/a~1b~0", "from": "/a"}])),
    );
    check(
        "[JSONPatch{op: 'add', path: '/spec', value: Object.spec{selector: Object.spec.selector{}}}]",
        Ok(json!([{"op": "add", "path": "/spec", "value": {"selector": {}}}])),
    );
    check(
        "[JSONPatch{op: 'add', path: '/a', value: {'op': JSONPatch{op: 'o'}.op}}]",
        Ok(json!([{"op": "add", "path": "/a", "value": {"op": "o"}}])),
    );
    check(
        "object.metadata.labels.exists(k, k == 'x') && variables.broken ? [] : [variables.step]",
        Ok(json!([{"op": "add", "path": "/x", "value": 10}])),
    );
    check("[variables.broken]", Err("no such key: none"));
    check("variables.later", Err("undefined field 'later'"));
    check("[JSONPatch{op: 1, path: '/a'}]", Err("expected type of field 'op' is 'string' but provided type is 'int'"));
    check("[JSONPatch{operation: 'add'}]", Err("undefined field 'operation'"));
    check("['a']", Err("must evaluate to list(JSONPatch) but got list(string)"));
    check(
        "[JSONPatch{op: 'add', path: '/a', value: Object.spec{a: Object.spec.b{}}}]",
        Err("unexpected type name \"Object.spec.b\", expected \"Object.spec.a\""),
    );
    let doubled: Vec<Value> = (0..200)
        .map(|n: usize| {
            json!({"name": format!("v{n}"), "expression": match n {
                0 => "1".to_owned(),
                _ => format!("variables.v{0} + variables.v{0}", n - 1),
            }})
        })
        .collect();
    // Each is evaluated once, and none is deeper than the stack bears.
    let deep = patched("[JSONPatch{op: 'add', path: '/a', value: variables.v199}]", doubled.into());
    assert!(change(&deep).is_err_and(|why| why.contains("recursion limit exceeded")), "{:?}", deep.faults());
}

#[test]
fn conditions_and_validations_decide() {
    let object = json!({"spec": {"n": 7}, "metadata": {"name": "a"}});
    let case = Case {
        object: &object,
        old_object: &Value::Null,
        request: &json!({"operation": "CREATE"}),
        namespace: &Value::Null,
        params: &Value::Null,
        authorizer: &Jane,
    };
    let conditions = |list: &[&str]| {
        let list: Vec<Value> = list.iter().map(|it| json!({"name": "c", "expression": it})).collect();
        policy(json!({"matchConditions": list})).consider(&case).applies()
    };
    assert_eq!(conditions(&[]), Ok(true));
    assert_eq!(conditions(&["object.spec.n == 7", "oldObject == null"]), Ok(true));
    assert_eq!(conditions(&["object.spec.m == 7", "false"]), Ok(false));
    assert!(conditions(&["object.spec.m == 7", "true"]).is_err_and(|why| why.contains("no such key: m")));
    let denials = |validation: Value| policy(json!({"validations": [validation]})).consider(&case).denials();
    let denied = |message: &str, reason: &str| {
        vec![Denial { message: message.to_owned(), reason: Some(reason.to_owned()), failed: false, index: 0 }]
    };
    assert_eq!(denials(json!({"expression": "object.spec.n > 5"})), []);
    assert_eq!(
        denials(json!({"expression": " object.spec.n < 5"})),
        denied("failed expression: object.spec.n < 5", "Invalid")
    );
    assert_eq!(
        denials(json!({"expression": "false", "message": "no", "messageExpression": "'at ' + string(object.spec.n)",
            "reason": "Forbidden"})),
        denied("at 7", "Forbidden")
    );
    assert_eq!(
        denials(json!({"expression": "false", "message": "no", "messageExpression": "object.x"})),
        denied("no", "Invalid")
    );
    assert!(denials(json!({"expression": "object.x"})).iter().all(|denial| denial.failed && denial.reason.is_none()));
    let faults = policy(
        json!({"validations": [{"expression": "request.foo == 1"}, {"expression": "namespaceObject.metadata.x == ''"}]}),
    );
    let told: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
    assert!(told[0].contains("undefined field 'foo'") && told[1].contains("undefined field 'x'"), "{told:?}");
    let faults = policy(
        json!({"validations": [{"expression": "1"}, {"expression": "x"}], "variables": [{"name": "v", "expression": "("}]}),
    );
    let told: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
    for (told, expected) in told.iter().zip([
        "spec.variables[0].expression: Invalid value: \"(\": compilation failed",
        "spec.validations[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
        "spec.validations[1].expression: Invalid value: \"x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'x'",
    ]) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn rules_and_selectors_choose_requests() {
    let labels = [BTreeMap::from([("app".to_owned(), "web".to_owned())])];
    let home = BTreeMap::from([("env".to_owned(), "test".to_owned())]);
    let pods = Attributes {
        version: "v1",
        resource: "pods",
        namespace: Some("n"),
        name: "a",
        operation: "CREATE",
        namespace_labels: Some(&home),
        labels: &labels,
        equivalents: &[("", "v2")],
        ..Attributes::default()
    };
    let with = |mut resources: Value, policy: &str| {
        resources["matchPolicy"] = policy.into();
        resources
    };
    let status = Attributes { subresource: "status", ..pods.clone() };
    let namespace = Attributes { resource: "namespaces", ..pods.clone() };
    let rule = |change: Value| {
        let mut rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*"]});
        for (field, value) in change.as_object().into_iter().flatten() {
            rule[field] = value.clone();
        }
        json!({"resourceRules": [rule]})
    };
    for (resources, request, expected) in [
        (Value::Null, &pods, true),
        (rule(json!({})), &pods, true),
        (rule(json!({})), &status, false),
        (rule(json!({"resources": ["pods/*"]})), &status, true),
        (rule(json!({"resources": ["*/status"]})), &status, true),
        (rule(json!({"resources": ["pods/status"]})), &pods, false),
        (rule(json!({"operations": ["UPDATE"]})), &pods, false),
        (rule(json!({"apiGroups": ["apps"]})), &pods, false),
        (rule(json!({"apiVersions": ["v2", "*"]})), &pods, true),
        (with(rule(json!({"apiVersions": ["v2"]})), "Equivalent"), &pods, true),
        (with(rule(json!({"apiVersions": ["v3"]})), "Equivalent"), &pods, false),
        (with(rule(json!({"apiVersions": ["v2"]})), "Exact"), &pods, false),
        (rule(json!({"scope": "Namespaced"})), &pods, true),
        (rule(json!({"scope": "Namespaced"})), &namespace, false),
        (rule(json!({"scope": "Cluster"})), &namespace, true),
        (rule(json!({"resourceNames": ["b"]})), &pods, false),
        (rule(json!({"resourceNames": ["b", "a"]})), &pods, true),
        (json!({"excludeResourceRules": rule(json!({}))["resourceRules"]}), &pods, false),
        (json!({"namespaceSelector": {"matchLabels": {"env": "prod"}}}), &pods, false),
        (json!({"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": "Exists"}]}}), &pods, true),
        (json!({"objectSelector": {"matchLabels": {"app": "web"}}}), &pods, true),
        (json!({"objectSelector": {"matchLabels": {"app": "db"}}}), &pods, false),
    ] {
        assert_eq!(matches(&resources, request), Ok(expected), "{resources} {request:?}");
    }
}

fn case<'a>(object: &'a Value, request: &'a Value) -> Case<'a> {
    let null = &Value::Null;
    Case { object, old_object: null, request, namespace: null, params: null, authorizer: &Jane }
}

#[test]
fn policies_ask_what_somebody_may_do() {
    let object = json!({"metadata": {"name": "a"}, "list": [1, 2, 3]});
    let request = json!({"resource": {"group": "", "version": "v1", "resource": "pods"}, "name": "p", "namespace": "n",
        "subResource": "status"});
    let check = |expression: &str, expected: Result<bool, &str>| {
        let policy = policy(json!({"validations": [{"expression": expression}]}));
        let found = match policy.faults().first() {
            Some(fault) => Err(fault.to_string()),
            None => match policy.consider(&case(&object, &request)).denials().pop() {
                Some(Denial { failed: true, message, .. }) => Err(message),
                denial => Ok(denial.is_none()),
            },
        };
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{expression}"),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{expression}: {why}"),
            _ => panic!("{expression}: {found:?}"),
        }
    };
    check("authorizer.group('').resource('pods').check('get').allowed()", Ok(true));
    check("authorizer.group('').resource('pods').namespace('x').name('y').check('list').allowed()", Ok(false));
    check("authorizer.requestResource.check('get').allowed()", Ok(true));
    check(
        "authorizer.requestResource.check('get').reason() == authorizer.group('').resource('pods').subresource('status')\
         .namespace('n').name('p').check('get').reason()",
        Ok(true),
    );
    check("authorizer.path('/healthz').check('get').allowed()", Ok(true));
    check("authorizer.serviceAccount('a', 'bot').path('/healthz').check('get').allowed()", Ok(true));
    check("authorizer.serviceAccount('a', 'cat').path('/healthz').check('get').allowed()", Ok(false));
    check("authorizer.group('').resource('pods').name('broken').check('get').errored()", Ok(true));
    check("authorizer.group('').resource('pods').name('broken').check('get').error() == 'nobody knows'", Ok(true));
    check("authorizer.group('').resource('pods').check('get').error() == ''", Ok(true));
    check(
        "authorizer.group('').resource('pods').fieldSelector('a=b').labelSelector('c=d').check('get').reason()\
         .contains('c=d')",
        Ok(true),
    );
    check("authorizer.path(' ').check('get').allowed()", Err("path must not be empty"));
    check("authorizer.group('').resource('').check('get').allowed()", Err("resource must not be empty"));
    check("authorizer.serviceAccount('a', 'B').path('/').check('get').allowed()", Err("Invalid service account name"));
    check(
        "authorizer.serviceAccount('a.b', 'b').path('/').check('get').allowed()",
        Err("Invalid service account namespace"),
    );
    check("authorizer.resource('pods').check('get').allowed()", Err("no matching overload for 'resource'"));
    check("authorizer.group('').check('get').allowed()", Err("no matching overload for 'check'"));
    check("[1].all(authorizer, authorizer == 1)", Ok(true));
    // Two are what an expression may cost, and a third is beyond it.
    check("[1, 2].all(x, authorizer.path('/healthz').check('get').allowed())", Ok(true));
    check("object.list.all(x, authorizer.path('/healthz').check('get').allowed())", Err("actual cost limit exceeded"));
    let message = json!({"expression": "true", "messageExpression": "authorizer.path('/').check('get').reason()"});
    let told = policy(json!({"validations": [message]})).faults().first().map(ToString::to_string).unwrap_or_default();
    assert!(told.contains("undeclared reference to 'authorizer'"), "{told}");
}

#[test]
fn what_is_to_be_told_in_the_audit_log_is_evaluated() {
    let object = json!({"metadata": {"name": "a"}});
    let told = |expression: &str| {
        let policy = policy(json!({"auditAnnotations": [{"key": "k", "valueExpression": expression}]}));
        assert_eq!(policy.faults(), [], "{expression}");
        policy.consider(&case(&object, &Value::Null)).annotations()
    };
    let value = |value: &str| vec![Ok(Told { key: "k".to_owned(), value: value.to_owned() })];
    assert_eq!(told("' named ' + object.metadata.name + ' '"), value("named a"));
    assert_eq!(told("null"), []);
    assert_eq!(told("' '"), []);
    let failed = told("string(object.metadata.none)");
    assert!(matches!(failed.as_slice(), [Err(why)] if why.contains("no such key: none")), "{failed:?}");
    for (expression, expected) in [("1", "int"), ("object.metadata.name", "dyn")] {
        let fault = policy(json!({"auditAnnotations": [{"key": "k", "valueExpression": expression}]}));
        let fault = fault.faults().first().map(ToString::to_string).unwrap_or_default();
        assert!(fault.ends_with(&format!("must evaluate to one of [string null_type] but got {expected}")), "{fault}");
    }
}

#[test]
fn all_expressions_together_have_a_budget() {
    let object = json!({"list": vec![1; 900]});
    let costly = "object.list.all(x, object.list.all(y, x == y))";
    let validations: Vec<Value> = (0..20).map(|_| json!({"expression": costly})).collect();
    let policy = policy(json!({"validations": validations}));
    let denials = policy.consider(&case(&object, &Value::Null)).denials();
    let last = denials.last().map(|denial| denial.message.as_str());
    let words = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(last, Some(words), "{denials:?}");
}

#[test]
fn the_types_of_expressions_are_known_as_far_as_kube_apiserver_knows_them() {
    let check = |expression: &str, expected: Option<&str>| {
        let policy = policy(json!({"validations": [{"expression": "true", "messageExpression": expression}]}));
        let found = policy.faults().first().map(ToString::to_string);
        let words = |expected| format!("must evaluate to string but got {expected}");
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.ends_with(&words(expected)), "{expression}: {found}"),
            _ => panic!("{expression}: {found:?}"),
        }
    };
    check("'a' + object.x", None);
    check("object.x + 'a' + object.y", None);
    check("object.x + object.y", Some("dyn"));
    check("object.x + 1", Some("int"));
    check("object.x", Some("dyn"));
    check("string(object.x)", None);
    check("request.userInfo.username", None);
    check("namespaceObject.metadata.name", None);
    check("true ? 'a' : object.x", Some("dyn"));
    check("object.x.lowerAscii()", None);
    check("object.x.join(',') + object.x.replace('a', 'b')", None);
    check("(object.x + ['a'])[0]", None);
    check("object.?x.orValue('a')", Some("dyn"));
}

#[test]
fn what_has_no_fields_has_none_and_variables_are_named_where_they_fail() {
    let object = json!({"metadata": {"name": "a"}});
    let check = |expression: &str, expected: Option<&str>| {
        let variables = json!([
            {"name": "a", "expression": "object.none"}, {"name": "b", "expression": "variables.a + 'x'"},
        ]);
        let policy = policy(json!({"variables": variables, "validations": [{"expression": expression}]}));
        let denials = policy.consider(&case(&object, &Value::Null)).denials();
        let told = denials.first().map(|denial| denial.message.clone());
        let expected = expected.map(|why| format!("expression '{expression}' resulted in error: {why}"));
        assert_eq!(told, expected);
    };
    check("!has(oldObject.metadata)", None);
    check("!has(object.metadata.name.x)", None);
    check("oldObject.metadata.name == 'a'", Some("no such key: metadata"));
    check(
        "variables.b == 'a'",
        Some(
            "composited variable \"b\" fails to evaluate: composited variable \"a\" fails to evaluate: no such key: none",
        ),
    );
}

#[test]
fn conditions_of_webhooks_are_compiled() {
    let check = |expression: &str, expected: Option<&str>| {
        let condition = json!({"name": "c", "expression": expression});
        let configuration = json!({"webhooks": [{"name": "a"}, {"name": "b", "matchConditions": [condition]}]});
        let faults: Vec<String> = webhook_faults(&configuration).iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), usize::from(expected.is_some()), "{faults:?}");
        let words =
            |expected| format!("webhooks[1].matchConditions[0].expression: Invalid value: {expression:?}: {expected}");
        let told = faults.first().cloned().unwrap_or_default();
        assert!(expected.is_none_or(|expected| told.starts_with(&words(expected))), "{told}");
    };
    check("object.metadata.name != 'skip-me' && request.operation == 'CREATE'", None);
    check("authorizer.requestResource.check('get').allowed()", None);
    check("... [] bad expression", Some("compilation failed: "));
    check("params.a == 'b'", Some("compilation failed: "));
    check("object.metadata.name", Some("must evaluate to bool but got dyn"));
    // What is empty becomes what it is put together with; alone it is of a type that nobody knows.
    let on = "has(object.spec)";
    for expression in [
        "([] + [ON])[0]",
        "(ON ? [true] : [])[0]",
        "(ON ? [] : [[ON], []])[0][0]",
        "[[], [ON]][1][0]",
        "(ON ? {} : {'a': ON})['a']",
        "(ON ? {'a': true} : {'b': false}).a",
        "(ON ? optional.none() : optional.of(ON)).orValue(false)",
        "[] == [1] || {} == {'a': 1} || 'a' in []",
    ] {
        check(&expression.replace("ON", on), None);
    }
    check("[][0]", Some("must evaluate to bool but got dyn"));
    check("[]", Some("must evaluate to bool but got list(dyn)"));
    check("{}", Some("must evaluate to bool but got map(dyn, dyn)"));
    check("([] + [1])[0]", Some("must evaluate to bool but got int"));
    check("(has(object.spec) ? [1] : ['a'])[0]", Some("compilation failed: "));
    check("'a'", Some("must evaluate to bool but got string"));
}
