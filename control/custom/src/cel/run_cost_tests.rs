//! What evaluations cost, beside what Kubernetes' own tests expect (apiserver `cel/library/cost_test.go`, and the model of
//! cel-go's `interpreter/runtimecost.go`).

use serde_json::Value;

use super::authorizer::{Answer, Authorize, Question};
use super::policy::{Compiler, Evaluator, Given, Wanted};

#[derive(Debug)]
struct Anybody;

impl Authorize for Anybody {
    fn decide(&self, _: &Question) -> Answer {
        Answer { allowed: true, ..Answer::default() }
    }
}

fn spent(expression: &str) -> u64 {
    let compiler = Compiler::new(&["authorizer", "input"]);
    let compiled = compiler.expression(expression, Wanted::Any);
    let program = compiled.unwrap_or_else(|why| panic!("{expression}: {why}"));
    let input: Value = serde_json::from_str(r#"{"a": {"b": "c"}, "l": [1, 2]}"#).expect("JSON");
    let given = [("authorizer", Given::Authorizer(&Anybody)), ("input", Given::Json(&input))];
    let mut evaluator = Evaluator::new(&given, &[]);
    if let Err(why) = evaluator.evaluate(&program) {
        panic!("{expression}: {why}");
    }
    evaluator.spent()
}

fn check(rows: &[(&str, u64)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(expression, expected)| (expression, *expected, spent(expression)))
        .filter(|(_, expected, found)| expected != found)
        .map(|(expression, expected, found)| format!("{expression}: {found}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const INTS: &str = "[1, 2, 3, 4, 5]";
const UINTS: &str = "[uint(1), uint(2), uint(3), uint(4), uint(5)]";
const DOUBLES: &str = "[1.0, 2.0, 3.0, 4.0, 5.0]";
const BOOLS: &str = "[false, true, false, true, false]";
const TEXTS: &str = "['012345678901', '012345678901', '012345678901', '012345678901', '012345678901']";
const BYTES: &str = "[bytes('012345678901'), bytes('012345678901'), bytes('012345678901'), bytes('012345678901'), \
     bytes('012345678901')]";
const SPANS: &str = "[duration('1s'), duration('2s'), duration('3s'), duration('4s'), duration('5s')]";

#[test]
fn lists_cost_what_kubernetes_says() {
    let mut rows = Vec::new();
    for (list, item, sums, expected, found) in [
        (INTS, "3", true, 15, 15),
        (UINTS, "uint(3)", true, 20, 21),
        (DOUBLES, "3.0", true, 15, 15),
        (BOOLS, "true", false, 15, 15),
        (TEXTS, "'x'", false, 15, 15),
        (BYTES, "bytes('x')", false, 25, 26),
        (SPANS, "duration('3s')", true, 20, 21),
    ] {
        for method in ["isSorted", "min", "max"].into_iter().chain(sums.then_some("sum")) {
            rows.push((format!("{list}.{method}()"), expected));
        }
        rows.push((format!("{list}.indexOf({item})"), found));
        rows.push((format!("{list}.lastIndexOf({item})"), found));
    }
    let rows: Vec<(&str, u64)> = rows.iter().map(|(text, cost)| (text.as_str(), *cost)).collect();
    check(&rows);
    check(&[
        ("'01234567890123456789012345678901234567890123456789'.indexOf('123')", 5),
        ("sets.contains([], [])", 21),
        ("sets.contains([1], [1, 1])", 23),
        ("sets.contains([1, 2, 3, 4], [2, 3])", 29),
        ("sets.contains([[1], [2, 3]], [[2, 3]])", 53),
        ("!sets.contains([1], [2, 1])", 24),
        ("sets.equivalent([1], [1, 1])", 25),
        ("sets.equivalent([1, 2, 3], [3, 2, 1])", 39),
        ("!sets.equivalent([1, 2], [2, 2, 2])", 34),
        ("sets.intersects([1, 2], [2, 2, 2])", 27),
        ("sets.intersects([[1], [2, 3]], [[1, 2], [2, 3]])", 65),
        ("!sets.intersects([1], [3, 2])", 24),
    ]);
}

#[test]
fn texts_and_addresses_cost_what_kubernetes_says() {
    check(&[
        ("url('https://kubernetes.io/ab').getScheme()", 4),
        ("url('https://kubernetes.io/ab') == url('https://kubernetes.io/ab')", 7),
        ("url('https://kubernetes.io/ab') == url('http://x.b')", 5),
        ("ip('192.168.0.1')", 2),
        ("ip('192.168.0.1').family()", 3),
        ("ip('2001:db8:3333:4444:5555:6666:7777:8888').isGlobalUnicast()", 5),
        ("ip('2001:db8:3333:4444:5555:6666:7777:8888') == ip('192.168.0.1')", 7),
        ("ip.isCanonical('192.168.0.1')", 3),
        ("ip.isCanonical('2001:db8:3333:4444:5555:6666:7777:8888')", 8),
        ("cidr('192.168.0.0/16').ip()", 3),
        ("cidr('192.168.0.0/16') == cidr('2001:db8::/32')", 5),
        ("cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))", 7),
        ("cidr('192.168.0.0/16').containsCIDR('192.168.0.0/16')", 7),
        ("cidr('192.168.0.0/16').containsIP(ip('192.0.0.1'))", 4),
        ("cidr('192.168.0.0/16').containsIP('192.169.0.1')", 5),
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", 3),
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii() == 'abcdefghij ABCDEFGHIJ'.lowerAscii()", 9),
        ("strings.quote('ABCDEFGHIJ abcdefghij')", 3),
        ("strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')", 9),
        ("'abc 123 def 123'.replace('123', '456')", 3),
        ("'abc 123 def 123'.replace('', 'x')", 3),
        ("'abc 123 def 123'.replace('123', '456', 1)", 3),
        ("'abc 123 def 123'.split(' ')", 3),
        ("'abc 123 def 123'.substring(5, 8)", 2),
        ("'  abc 123 def 123  '.trim()", 2),
        ("['aa', 'bb', 'cc', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].join(' ')", 15),
        ("['aa', 'bb', 'cc', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].join()", 13),
        ("'abc 123 def 123'.find('123')", 2),
        ("'abc 123 def 123'.findAll('123', 1)", 2),
        ("format.named('dns1123Subdomain').value().validate('my-name')", 17),
        ("format.named('dns1123Label').value().validate('my-name')", 10),
        ("format.named('dns1123Label').value() == format.named('dns1123Label').value()", 5),
    ]);
}

#[test]
fn quantities_versions_and_checks_cost_what_kubernetes_says() {
    let selector = "'spec.nodeName=example-node-name.fully.qualified.domain.name.example.com'";
    let selected = format!("authorizer.group('').resource('pods').fieldSelector({selector})");
    check(&[
        ("quantity('12Mi')", 1),
        ("isQuantity('20M')", 1),
        ("quantity('200M') == quantity('0.2G') && quantity('0.2G') == quantity('200M')", 6),
        ("quantity('50M').isLessThan(quantity('50Mi'))", 3),
        ("quantity('200M').compareTo(quantity('0.2G')) > 0", 4),
        ("quantity('50k').add(quantity('20')) == quantity('50.02k')", 5),
        ("quantity('50k').sub(20) == quantity('49980')", 4),
        ("quantity('50k').add(20).sub(quantity('100k')).sub(-50000).asInteger() > 0", 7),
        ("quantity('50.703k').asApproximateFloat() > 0.0", 3),
        ("semver('1.0.0')", 1),
        ("semver('1234.56789012345.67890123456789')", 4),
        ("isSemver('1234.56789012345.67890123456789')", 4),
        ("semver('1.0.0').isLessThan(semver('1.1.0'))", 3),
        ("authorizer.path('/healthz')", 2),
        ("authorizer.group('apps').resource('deployments').subresource('status').namespace('test').name('backend')", 6),
        (&selected, 1821),
        ("authorizer.path('/healthz').check('get').allowed()", 350_003),
        ("authorizer.group('apps').resource('deployments').namespace('t').name('b').check('create').error()", 350_006),
    ]);
}

#[test]
fn macros_and_names_cost_what_kubernetes_says() {
    check(&[
        ("{'a': 1, 'b': 2}.all(k, v, v > 0)", 41),
        ("{'a': 1, 'b': 2}.exists(k, v, v > 0)", 40),
        ("{'a': 1, 'b': 2}.existsOne(k, v, v > 0)", 40),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", 71),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v < 5, v + 1)", 75),
        ("[1, 2].all(i, v, v > 0)", 21),
        ("[1, 2].exists(i, v, v > 0)", 20),
        ("[1, 2].existsOne(i, v, v > 0)", 20),
        ("[1, 2].transformList(i, v, v + 1)", 49),
        ("[1, 2].transformList(i, v, v < 5, v + 1)", 53),
        ("true", 0),
        ("input.a.b", 3),
        ("input.a.b == 'c' ? 1 : 2", 4),
        ("has(input.a)", 1),
        ("3 in input.l", 4),
        ("'a' in input", 2),
        ("input.a.b.startsWith('a')", 4),
        ("input.a.b.contains('a')", 4),
        ("input.a.b.matches('a+')", 4),
        ("input.a.b + 'x'", 4),
        ("input.l[0] + 1", 4),
        ("input.a.b.size() >= 1 && input.a.b < 'd'", 9),
    ]);
}
