use serde_json::{Value, json};

use super::{Meta, Rule, validate};
use crate::schema::{Node, Path};

/// A schema with most kinds of fields.
fn schema() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "name": {"type": "string"},
        "nothing": {"type": "integer"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": true},
        "at": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "names": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "dash-ed": {"type": "integer"},
        "namespace": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
    }}}})
}

fn object() -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {
        "name": "hello", "count": 3, "ratio": 2, "on": true, "port": "http", "at": "2024-05-06T07:08:09Z",
        "wait": "1h30m", "names": ["b", "a", "c"], "set": ["x", "y"], "labels": {"k": "v", "l": "w"}, "dash-ed": 4,
        "namespace": "ns", "free": {"z": 1}, "ports": [{"name": "p", "port": 80}, {"name": "q", "port": 443}],
    }})
}

/// A schema with one rule at its root, compiled.
fn ruled(rule: Value) -> Result<Node, Vec<String>> {
    let schema = schema();
    let mut node = Node::read(&schema, &mut Path::default()).expect("the schema is right");
    let rule = Rule::compile(&rule, &node, &schema, Meta::Resource);
    node.compiled = vec![rule.map_err(|faults| faults.into_iter().map(|fault| fault.detail).collect::<Vec<_>>())?];
    node.ruled = true;
    Ok(node)
}

fn outcome(rule: Value, old: Option<&Value>) -> Vec<String> {
    let node = ruled(rule).unwrap_or_else(|why| panic!("{why:#?}"));
    validate(&node, &object(), old).refused.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_that_hold_hold() {
    let rules = [
        "self.spec.count == 3 && self.spec.count + 1 == 4 && 7 / 2 == 3 && 7 % 4 == 3 && -self.spec.count < 0",
        "self.spec.ratio == 2.0 && self.spec.ratio * 2.0 >= 4.0 && self.spec.count < 3.5",
        "self.spec.on ? self.spec.name == 'hello' : false",
        "has(self.spec.name) && (self.spec.nothing == 1 || true)",
        "self.metadata.name == 'x' && self.kind == 'Widget' && !has(self.metadata.generateName)",
        "self.spec.dash__dash__ed == 4 && self.spec.__namespace__ == 'ns'",
        "type(self.spec.port) == string && self.spec.port == 'http'",
        "type(self.spec.port) == int ? self.spec.port > 0 : self.spec.port.startsWith('h')",
        "'k' in self.spec.labels && self.spec.labels['k'] == 'v' && self.spec.labels.l == 'w' && size(self.spec.labels) == 2",
        "self.spec.labels.all(k, self.spec.labels[k].size() == 1)",
        "self.spec.labels.all(k, v, k != v) && self.spec.names.exists(i, n, i == 1 && n == 'a')",
        "self.spec.names.exists_one(n, n == 'a') && self.spec.names.map(n, n + '!')[1] == 'a!'",
        "self.spec.names.filter(n, n > 'a') == ['b', 'c'] && 'c' in self.spec.names",
        "self.spec.names.map(n, n != 'a', n.upperAscii()).join('-') == 'B-C'",
        "self.spec.ports.all(p, p.port > 0) && self.spec.ports.filter(p, p.name == 'q')[0].port == 443",
        "self.spec.set == ['y', 'x'] || self.spec.set == ['x', 'y']",
        "(self.spec.set + self.spec.set).size() == 2",
        "self.spec.names.exists(n, 1 / 0 == 1 || n == 'c') || true",
        "false || self.spec.name.matches('^h[a-z]+o$') && 'abc'.find('b+') == 'b' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "self.spec.at < timestamp('2025-01-01T00:00:00Z') && self.spec.at.getFullYear() == 2024 && self.spec.at.getMonth() == 4",
        "self.spec.wait == duration('90m') && self.spec.wait.getHours() == 1 && self.spec.at + self.spec.wait > self.spec.at",
        "'hello'.charAt(1) == 'e' && 'hello'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3 && 'a,b'.split(',') == ['a', 'b']",
        "' x '.trim() == 'x' && 'aXa'.lowerAscii() == 'axa' && 'aa'.replace('a', 'b') == 'bb' && 'hello'.substring(1, 3) == 'el'",
        "'%s-%d-%.2f-%s'.format(['a', 5, 2.5, [1, 2]]) == 'a-5-2.50-[1, 2]'",
        "[1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2].isSorted() && [1, 2, 1].lastIndexOf(1) == 2",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3] && [[[1]], [[2]]].flatten(2) == [1, 2]",
        "int('3') == 3 && int(2.9) == 2 && int(timestamp('1970-01-01T00:01:00Z')) == 60 && uint('1') == 1u && double('2.5') == 2.5",
        "string(b'ab') == 'ab' && string(self.spec.wait) == '5400s' && string(true) == 'true' && string(2.5) == '2.5' && bool('true')",
        "string(ip('10.0.0.1')) == '10.0.0.1' && cidr('10.0.0.0/8').containsIP(ip('10.0.0.1')) && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "timestamp(60) == timestamp('1970-01-01T00:01:00Z') && duration(duration('1s')) == duration('1s') && bytes('a') == b'a'",
        "[duration('1s'), duration('2s')].sum() == duration('3s') && [timestamp(1), timestamp(2)].max() == timestamp(2) && [false, true].isSorted()",
        "self.spec.?nothing.orValue(0) == 0 && self.?spec.?names.orValue([]).size() == 3 && self.spec.?names.orValue([]).all(n, n != '') && self.spec.?labels.orValue({}).size() == 2",
        "optional.none().or(optional.of(true)).value()",
        "optional.of([1]).optMap(m, m.size() == 1).orValue(false) && [self.spec.on].first().orValue(false)",
        "[?self.spec.?name, ?optional.none()].size() == 1 && {?'a': self.spec.?name, 'b': 'c'}.size() == 2",
        "self.spec.names.indexOf('a') == 1 && sets.contains(self.spec.names, ['a']) && [] + ['a'] == ['a'] && -dyn(1) == -1 && 7 % dyn(4) == 3",
        "['b', 'a', 'b'].distinct() == ['b', 'a'] && ['b', 'a'].sort() == ['a', 'b'] && [1, 2].reverse() == [2, 1]",
        "lists.range(3) == [0, 1, 2] && [1, 2].first().value() == 1 && [1, 2].last().value() == 2 && ![].first().hasValue()",
        "self.spec.names.sort().reverse()[0] == 'c' && self.spec.names.slice(0, 1).size() == 1",
        "optional.none().orValue(true) && ([] + [true])[0]",
        "sets.contains([1, 2, 3], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 2], [2, 1, 1])",
        "url('https://a.b:80/c?x=1').getHost() == 'a.b:80' && url('/p/q').getEscapedPath() == '/p/q' && !isURL('a b')",
        "quantity('1.5Gi').isGreaterThan(quantity('1500M')) && quantity('2').add(quantity('1')).asInteger() == 3 && !isQuantity('x')",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && !isIP('10.0.0') && isCIDR('fd00::/8')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).minor() == 2",
        "!format.dns1123Label().validate('a-b').hasValue() && format.named('uuid').value().validate('x').hasValue()",
        "optional.of(1).hasValue() && self.spec.?name.orValue('') == 'hello' && optional.none().orValue(2) == 2",
        "self.?spec.?free.hasValue() && self.spec.labels[?'nope'].orValue('d') == 'd' && optional.of(2).optMap(x, x + 1).value() == 3",
        "int('5') == 5 && string(5) == '5' && double('1.5') == 1.5 && string(duration('90s')) == '90s' && bool('true')",
        "{'a': 1, 'b': 2}.a == 1 && {'a': 1}.transformMap(k, v, v + 1)['a'] == 2 && b'ab'.size() == 2 && 1u + 2u == 3u",
        "[[1, 2], [3]].all(l, l.all(x, x > 0)) && dyn(1) == 1.0 && null == null",
    ];
    for rule in rules {
        assert_eq!(outcome(json!({"rule": rule}), None), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn rules_that_fail_say_why() {
    let check = |rule: Value, expected: &str| assert_eq!(outcome(rule, None), [expected]);
    check(json!({"rule": "self.spec.count > 3"}), "<nil>: Invalid value: failed rule: self.spec.count > 3");
    check(json!({"rule": "self.spec.count > 3", "message": "too few"}), "<nil>: Invalid value: too few");
    check(
        json!({"rule": "self.spec.count > 3", "messageExpression": "'only ' + string(self.spec.count)", "fieldPath": ".spec.count"}),
        "spec.count: Invalid value: only 3",
    );
    check(json!({"rule": "false", "reason": "FieldValueForbidden", "message": "no"}), "<nil>: Forbidden: no");
    check(
        json!({"rule": "false", "reason": "FieldValueRequired", "message": "no", "fieldPath": ".spec.name"}),
        "spec.name: Required value: no",
    );
    check(
        json!({"rule": "1 / 0 == 1"}),
        "<nil>: Invalid value: \"object\": division by zero evaluating rule: 1 / 0 == 1",
    );
    check(
        json!({"rule": "self.spec.names[9] == ''", "message": "m"}),
        "<nil>: Invalid value: \"object\": index out of bounds: 9 evaluating rule: m",
    );
    for (rule, why) in [
        ("[1].slice(0, 2) == []", "cannot slice(0, 2), list is length 1"),
        ("[1].slice(-1, 2) == []", "cannot slice(-1, 2), negative indexes not supported"),
        ("[1].slice(1, 0) == []", "cannot slice(1, 0), start index must be less than or equal to end index"),
        ("[[1]].flatten(-1) == []", "level must be non-negative"),
        ("lists.range(-1) == []", "lists.range: size must be non-negative, got -1"),
        ("[dyn(1), dyn('a')].sort() == []", "list elements must have the same type"),
    ] {
        let expected = format!("<nil>: Invalid value: \"object\": {why} evaluating rule: m");
        check(json!({"rule": rule, "message": "m"}), &expected);
    }
    check(
        json!({"rule": "self.spec.labels.nope == ''"}),
        "<nil>: Invalid value: \"object\": no such key: nope evaluating rule: self.spec.labels.nope == ''",
    );
    check(
        json!({"rule": "self.spec.port > 1"}),
        "<nil>: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.spec.port > 1",
    );
}

#[test]
fn rules_over_changes_see_both_sides() {
    let mut old = object();
    old["spec"]["count"] = json!(5);
    let rule = json!({"rule": "self.spec.count >= oldSelf.spec.count", "message": "never less"});
    assert_eq!(outcome(rule.clone(), None), Vec::<String>::new(), "there is nothing to compare with");
    assert_eq!(outcome(rule, Some(&old)), ["<nil>: Invalid value: never less"]);
    let optional = json!({"rule": "oldSelf.hasValue() || self.spec.count == 1", "optionalOldSelf": true});
    assert_eq!(outcome(optional.clone(), Some(&old)), Vec::<String>::new());
    assert_eq!(outcome(optional, None).len(), 1);
    let unmet = json!({"rule": "self.spec.count > 10"});
    assert_eq!(outcome(unmet.clone(), Some(&object())), Vec::<String>::new(), "what did not change is forgiven");
    assert_eq!(outcome(unmet.clone(), Some(&old)).len(), 1);
    let forgiven = validate(&ruled(unmet).expect("it compiles"), &object(), Some(&object())).forgiven;
    let forgiven: Vec<String> = forgiven.iter().map(ToString::to_string).collect();
    assert_eq!(forgiven, ["<nil>: Invalid value: failed rule: self.spec.count > 10"], "and told");
}

#[test]
fn what_does_not_compile_is_told() {
    let check = |rule: &str, expected: &str| {
        let told = ruled(json!({"rule": rule})).expect_err(rule);
        assert!(told.len() == 1 && told[0].contains(expected), "{rule}: {told:#?}");
    };
    check(
        "self.spec.nope == 1",
        "compilation failed: ERROR: <input>:1:10: undefined field 'nope'\n | self.spec.nope == 1\n | .........^",
    );
    check("self.spec.free.z == 1", "undefined field 'z'");
    check("has(self.spec.namespace)", "undefined field 'namespace'");
    check("foo == 1", "undeclared reference to 'foo' (in container '')");
    check("foo(1)", "undeclared reference to 'foo' (in container '')");
    check("self.spec.count == 'x'", "found no matching overload for '_==_' applied to '(int, string)'");
    check("self.spec.count + 1.5 > 1.0", "found no matching overload for '_+_' applied to '(int, double)'");
    check("self.spec.count.startsWith('x')", "found no matching overload for 'startsWith' applied to 'int.(string)'");
    check("self.spec.count", "cel expression must evaluate to a bool");
    check("self.spec.names.all(n, n == 1)", "found no matching overload for '_==_' applied to '(string, int)'");
    check("self.spec.count.all(n, true)", "cannot be range of a comprehension");
    check("self.spec.name.matches('(')", "ERROR: <input>:1:24: invalid matches argument");
    check("self.spec.name.foo()", "ERROR: <input>:1:19: undeclared reference to 'foo'");
    check("duration('1d') > duration('1s')", "ERROR: <input>:1:10: invalid duration argument");
    check("timestamp('2020-01-01') == self.spec.at", "ERROR: <input>:1:11: invalid timestamp argument");
    check("[1, 'a'].size() > 0", "expected type 'int' but found 'string'");
    check("{'a': 1, 'b': true}.size() > 0", "expected type 'int' but found 'bool'");
    check("[self.spec.name, null].size() > 0", "expected type 'string' but found 'null'");
    check("self.spec.on ? true : 1", "found no matching overload for '_?_:_' applied to '(bool, bool, int)'");
    check("self.spec.names == null", "found no matching overload for '_==_' applied to '(list(string), null)'");
    check("self.spec.count != null", "found no matching overload for '_!=_' applied to '(int, null)'");
    check("self.spec.free.all(k, true)", "cannot be range of a comprehension");
    check("size(self.spec) > 0", "found no matching overload for 'size'");
    check("self.spec == self.spec.free", "found no matching overload for '_==_' applied to '(object, object)'");
    check("self.spec.ports[0] == self.spec", "found no matching overload for '_==_'");
    check("[self.spec, self.spec.ports[0]].size() > 0", "expected type 'object' but found 'object'");
    check("self.spec.free == {}", "found no matching overload for '_==_'");
    check("self.spec.names.exists(n, n)", "expected type 'bool' but found 'string'");
    check("{1: 1, 'b': 2}.size() > 0", "expected type 'int' but found 'string'");
    check("[?1].size() > 0", "expected type 'optional_type(int)' but found 'int'");
    check("{?'a': 1}.size() > 0", "expected type 'optional_type(int)' but found 'int'");
    check("int(self.spec.on) == 1", "found no matching overload for 'int' applied to '(bool)'");
    check("uint(self.spec.on) == 1u", "found no matching overload for 'uint' applied to '(bool)'");
    check("double(self.spec.at) > 1.0", "found no matching overload for 'double' applied to '(timestamp)'");
    check("string(self.spec.names) == ''", "found no matching overload for 'string' applied to '(list(string))'");
    check("string({'a': 1}) == ''", "found no matching overload for 'string' applied to '(map(string, int))'");
    check("bytes(1) == b''", "found no matching overload for 'bytes' applied to '(int)'");
    check("bool(1)", "found no matching overload for 'bool' applied to '(int)'");
    check("duration(1.5) > self.spec.wait", "found no matching overload for 'duration' applied to '(double)'");
    check("timestamp(self.spec.wait) == self.spec.at", "found no matching overload for 'timestamp'");
    check("self.spec.names.sum() == ''", "found no matching overload for 'sum' applied to 'list(string).()'");
    check("self.spec.ports.isSorted()", "found no matching overload for 'isSorted' applied to 'list(object).()'");
    check("[[1]].max() == [1]", "found no matching overload for 'max' applied to 'list(list(int)).()'");
    check("[1].flatten() == [1]", "found no matching overload for 'flatten' applied to 'list(int).()'");
    check("[1].join() == ''", "found no matching overload for 'join' applied to 'list(int).()'");
    check("self.spec.names.indexOf(1) == 0", "found no matching overload for 'indexOf'");
    check("sets.contains(self.spec.names, [1])", "found no matching overload for 'sets.contains'");
    check("optional.of(1).orValue('a') == 1", "found no matching overload for 'orValue'");
    check(
        "self.spec.?name.orValue(1) == 1",
        "found no matching overload for 'orValue' applied to 'optional_type(string).(int)'",
    );
    check("optional.of(1).or(optional.of('a')).hasValue()", "found no matching overload for 'or'");
    check(
        "{'a': 1}.optMap(m, m.size()).hasValue()",
        "found no matching overload for 'hasValue' applied to 'map(string, int).()'",
    );
    check("optional.of(1).optFlatMap(x, x).hasValue()", "found no matching overload for '_?_:_'");
    check("cidr('10.0.0.0/8').containsIP(1)", "found no matching overload for 'containsIP'");
    check("quantity('1').add('1') == quantity('2')", "found no matching overload for 'add'");
    check("-1u == 1u", "found no matching overload for '-_' applied to '(uint)'");
    check("5.0 % 2.0 == 1.0", "found no matching overload for '_%_' applied to '(double, double)'");
    check("self.spec.wait - self.spec.at == self.spec.at", "applied to '(duration, timestamp)'");
    check("[1] + ['a'] == []", "found no matching overload for '_+_' applied to '(list(int), list(string))'");
    check("dyn(1) * 'a' == 1", "found no matching overload for '_*_' applied to '(dyn, string)'");
    check("true + dyn(1) == 1", "found no matching overload for '_+_' applied to '(bool, dyn)'");
    check("dyn(true)", "cel expression must evaluate to a bool");
    check("self.spec.port", "cel expression must evaluate to a bool");
    check("self.spec.count >", "compilation failed: ERROR: <input>:1:");
    check("has(self)", "invalid argument to has() macro");
    check(&"(".repeat(90_000), "expression recursion limit exceeded");
    check(&format!("self.spec.count == {}", "1+".repeat(40_000) + "1"), "expression recursion limit exceeded");
}

#[test]
fn what_is_as_deep_as_it_may_be_is_evaluated_on_a_small_stack() {
    let rules = [
        format!("{}true{}", "(".repeat(70), ")".repeat(70)),
        format!("1{} > 0", " + 1".repeat(140)),
        format!("{}true", "!".repeat(140)),
        format!("{}1{} != []", "[".repeat(70), "]".repeat(70)),
        format!("true{}", " && self.spec.count == 3".repeat(500)),
    ];
    for rule in rules {
        assert_eq!(outcome(json!({"rule": rule}), None), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn no_rule_takes_long() {
    let bombs = [
        // A pattern that is compiled anew each time.
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(a, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(b, 'x'.matches('(x{9}){9}' + string(a)) || true))",
        // Each of a thousand against each of a thousand against ...
        "[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a+b+c+d+e+f >= 0))))))",
        "self.spec.names.map(x, self.spec.name).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).map(x, x+x+x+x+x+x+x+x).size() == 1",
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').size() == 1",
    ];
    for rule in bombs {
        let told = outcome(json!({"rule": rule, "message": "m"}), None);
        let expected = "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: m";
        assert!(told.len() == 1 && told[0].ends_with(expected), "{rule}: {told:?}");
    }
}
