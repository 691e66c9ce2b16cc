//! Rules of the tests that Kubernetes has for those of custom resources and for its libraries.

use super::accepted_tests::check;

#[test]
fn rules_of_kubernetes_tests_are_taken() {
    check(
        "plain values",
        "{i:i j:i n:n m:n s:s b:b y:y d:d e:e t:t x:x min:x u:s}",
        r#"{"i": 10, "j": 10, "n": 10.0, "m": 10, "s": "10", "b": true, "y": "MTA=", "d": "1h2m3s4ms", "e": "1997-07-16", "t": "2011-08-18T19:03:37.010000000+01:00", "x": "25%", "min": "50%", "u": "https://user:pass@kubernetes.io:80/docs/home?k1=a&k2=b&k2=c#anchor"}"#,
        &[
            ("self.i == self.j && self.i == 10 && type(self.i) == int && self.i + 1 == 10 + 1", ""),
            ("double(self.i) <= self.n && self.i == int(self.n) && double(self.i) == self.m && self.i < int(11.0)", ""),
            ("self.i < 10.5 && self.n > 3 && self.i <= self.n", r#"{"i": 11, "n": 1}"#),
            ("bytes(self.s) == self.y && string(self.y) == self.s && self.y == b'10' && size(self.y) == 2", ""),
            (
                "string(self.i) == self.s && string(self.n) == '10' && string(self.b) == 'true' && double(self.s) == self.n",
                "",
            ),
            (
                "self.d == duration('1h2m') + duration('3s4ms') && self.d.getMinutes() == 62 && duration('1h2m3s4ms') == self.d",
                "",
            ),
            ("type(self.d) == google.protobuf.Duration && string(self.d) == '3723.004s'", ""),
            (
                "self.e == timestamp('1997-07-16T00:00:00.000Z') && self.e.getDate() == 16 && self.e.getMonth() == 06",
                "",
            ),
            (
                "self.t == timestamp('2011-08-18T00:00:00.000+01:00') + duration('19h3m37s10ms') && self.t.getHours('01:00') == 19 && self.t.getHours('UTC') == 18",
                "",
            ),
            ("type(self.t) == google.protobuf.Timestamp && self.t - self.e > self.d && self.t > self.e", ""),
            (
                "self.x == '25%' && self.x != 1 && self.x != ['anything'] && (self.x == 1 || self.x == '25%')",
                r#"{"x": 1}"#,
            ),
            ("type(self.x) == int ? self.x == 1 : self.x == '25%'", r#"{"x": 2}"#),
            (r"type(self.min) == string && self.min.matches(r'(\d+(\.\d+)?%)')", r#"{"min": "x"}"#),
            (
                "type(self.min) == int ? self.i <= self.min : double(self.i) / double(self.j) >= double(self.min.replace('%', '')) / 100.0",
                r#"{"min": 1, "i": 2}"#,
            ),
            ("type(self.s) != null_type && type(self) == type(self)", ""),
            (
                "url(self.u).getScheme() == 'https' && url(self.u).getQuery() == {'k1': ['a'], 'k2': ['b', 'c']} && url('https://example.com/path').getQuery() == {}",
                "",
            ),
            (
                "url(self.u).getQuery()['k2'][1] == 'c' && url(self.u).getQuery().all(k, v, v.size() > 0) && url(self.u) == url(self.u)",
                "",
            ),
            ("self.s.find('[0-9]+') == '10' && self.s.findAll('[0-9]+', 0) == [] && self.s.findAll('xyz') == []", ""),
        ],
    );
    check(
        "lists and maps",
        "{ints:[i] doubles:[n] waits:[d] texts:[s] dates:[e] none:[i] set:[!s] other:[!s] objs:[{f1:s f2:s}] lists:[(k {k:s v:s})] map:<s> maps:<<s>> mapOfObj:<{g:s}> mapOfLists:<[s]> free:[f] quantities:<x>}",
        r#"{"ints": [1, 2, 2, 3], "doubles": [1, 2, 2, 3], "waits": ["1s", "1m", "1m", "1h"], "texts": ["a", "b", "b", "c"], "dates": ["2000-01-01", "2000-02-01"], "none": [], "set": ["a", "b", "c"], "other": ["a", "c", "b"], "objs": [{"f1": "a", "f2": "a"}, {"f1": "a", "f2": "b"}, {"f1": "a", "f2": "b"}], "lists": [[{"k": "a", "v": "1"}, {"k": "b", "v": "2"}], [{"k": "b", "v": "2"}, {"k": "a", "v": "1"}]], "map": {"k1": "a", "k2": "b"}, "maps": {"x": {"y": "b"}}, "mapOfObj": {"k": {"g": "c"}}, "mapOfLists": {"l": ["e"]}, "free": [{"a": 1}, {"a": 1}], "quantities": {"cpu": "2", "pods": 3}}"#,
        &[
            (
                "self.ints.sum() == 8 && self.ints.min() == 1 && self.ints.max() == 3 && self.none.sum() == 0 && self.ints.isSorted() && self.none.isSorted()",
                "",
            ),
            (
                "self.doubles.sum() == 8.0 && self.doubles.indexOf(2.0) == 1 && self.doubles.lastIndexOf(10.0) == -1 && self.doubles.max() == 3.0",
                "",
            ),
            (
                "self.waits.sum() == duration('1h2m1s') && self.waits.min() == duration('1s') && self.waits.lastIndexOf(duration('1m')) == 2 && self.waits.isSorted()",
                "",
            ),
            ("self.texts.min() == 'a' && self.texts.indexOf('x') == -1 && self.texts.isSorted()", ""),
            (
                "self.dates.max() == timestamp('2000-02-01T00:00:00.000Z') && self.dates.indexOf(timestamp('2000-02-01T00:00:00.000Z')) == 1",
                "",
            ),
            (
                "[[1], [2]].indexOf([1]) == 0 && [{'a': 1}, {'b': 2}].lastIndexOf({'b': 2}) == 1 && self.objs.lastIndexOf(self.objs[1]) == 2",
                "",
            ),
            (
                "([0] + self.none).min() == 0 && dyn([]).sum() == 0 && dyn([1, 2]).sum() == 3 && dyn([1.0, 2.0]).sum() == 3.0",
                "",
            ),
            (
                "self.set == ['c', 'b', 'a'] && self.set == self.other && self.set + self.other == ['a', 'b', 'c'] && self.set != ['a', 'b', 'd']",
                "",
            ),
            (
                "self.lists[0] == self.lists[1] && self.lists[0] == [self.lists[0][1], self.lists[0][0]] && self.lists[0] != [self.lists[1][0]]",
                "",
            ),
            ("size(self.lists[0] + self.lists[1]) == 2 && self.lists[0].exists(m, m.k == 'a' && m.v == '1')", ""),
            (
                "self.map == {'k1': 'a', 'k2': 'b'} && 'k1' in self.map && !has(self.map.k9) && self.map.k1 == 'a' && self.map.exists_one(k, self.map[k] == 'b')",
                "",
            ),
            (
                "self.maps['x']['y'] == 'b' && self.mapOfObj['k'].g == 'c' && self.mapOfLists['l'][0] == 'e' && self.maps == {'x': {'y': 'b'}}",
                "",
            ),
            (
                "self.free[0] == self.free[1] && type(self.objs[0]) == type(self.objs[1]) && self.objs[0] != self.objs[1]",
                "",
            ),
            (
                "self.ints.map(e, e * 20).filter(e, e > 30).exists(e, e == 60) && self.objs.map(o, o.f2 != 'a', o.f1).size() == 2",
                "",
            ),
            (
                "self.quantities.all(r, type(self.quantities[r]) == string ? quantity(self.quantities[r]).sign() >= 0 : self.quantities[r] >= 0)",
                r#"{"quantities": {"a": -1}}"#,
            ),
            (
                "self.quantities.all(r, quantity(string(self.quantities[r])).isGreaterThan(quantity('0')))",
                r#"{"quantities": {"a": 0}}"#,
            ),
            (
                "sets.contains(self.texts, ['a']) && sets.equivalent(self.ints, [3, 2, 1]) && sets.intersects(self.set, self.texts) && sets.contains(self.ints, [])",
                "",
            ),
            (
                "self.texts.all(i, t, i < 4 && t != '') && self.map.exists(k, v, k == 'k1' && v == 'a') && self.ints.existsOne(i, n, n == 3)",
                "",
            ),
            (
                "self.ints.transformList(i, n, n * i) == [0, 2, 4, 9] && self.ints.transformList(i, n, i > 2, n) == [3] && self.map.transformList(k, v, k + v).size() == 2",
                "",
            ),
            (
                "self.map.transformMap(k, v, v.size()) == {'k1': 1, 'k2': 1} && self.map.transformMap(k, v, k == 'k1', v) == {'k1': 'a'} && self.texts.transformMap(i, t, t)[0] == 'a'",
                "",
            ),
            (
                "self.map.transformMapEntry(k, v, {v: k}) == {'a': 'k1', 'b': 'k2'} && self.map.transformMapEntry(k, v, k == 'k1', {v: k}).size() == 1 && self.dates.transformMapEntry(i, d, {i: d})[0] == self.dates[0]",
                "",
            ),
            (
                "self.?map[?'k1'].orValue('') == 'a' && self.maps[?'z'].?y.orValue('q') == 'q' && self.texts[?9].hasValue() == false && self.?objs[0].f1.orValue('') == 'a'",
                "",
            ),
            (
                "self.?mapOfLists[?'l'].orValue([]).exists(e, e == 'e') && self.?objs.orValue([]).all(o, o.?f1.hasValue()) && self.?none.optMap(n, n.size()).orValue(1) == 0",
                "",
            ),
            (
                "self.?map.optFlatMap(m, m[?'k1']).or(optional.of('z')).value() == 'a' && optional.ofNonZeroValue('').orValue('x') == 'x' && [?self.map[?'k1'], ?self.map[?'no']] == ['a']",
                "",
            ),
            (
                "self.?ints.orValue([]).size() + (has(self.none) ? size(self.none) : 0) == 4 && {?'a': self.map[?'k1']} == {'a': 'a'}",
                "",
            ),
            (
                "'%s %d %s'.format(['a', self.ints[0], self.texts]) == 'a 1 [a, b, b, c]' && ['a', 'b'].join('/') == 'a/b' && self.texts.join() == 'abbc'",
                "",
            ),
            (
                "self.texts.distinct() == ['a', 'b', 'c'] && self.texts.reverse()[0] == 'c' && self.ints.sort() == self.ints && self.ints.slice(0, 2) == [1, 2] && self.ints.first().value() == 1",
                "",
            ),
            (
                "[self.ints, self.none].flatten() == self.ints && [[self.ints]].flatten(2) == self.ints && lists.range(2) == [0, 1]",
                "",
            ),
            (
                "{1: 'a', 2: 'b'}[self.ints[0]] == 'a' && {true: 1}[true] == 1 && {'a': [1], 'b': []}.all(k, k != '') && [{'a': 1}, {}].size() == 2 && [[], [1]].size() == 2",
                "",
            ),
        ],
    );
}

#[test]
fn rules_of_kubernetes_libraries_are_taken() {
    check(
        "libraries",
        "{v:s}",
        r#"{"v": "1"}"#,
        &[
            (
                "quantity('200M') == quantity('0.2G') && quantity('50M').isLessThan(quantity('50Mi')) && quantity('50M').compareTo(quantity('50Mi')) == -1",
                "",
            ),
            (
                "quantity('50k').add(20).sub(quantity('100k')).sub(-50000).asInteger() == 20 && quantity('50.703k').asApproximateFloat() == 50703.0 && quantity(self.v).sign() == 1",
                "",
            ),
            ("isQuantity(self.v) && quantity('50').isInteger() && !quantity('1.5').isInteger()", ""),
            (
                "semver('1.2.3').compareTo(semver('1.2.3')) == 0 && semver('1.0.0').isLessThan(semver('1.2.3')) && semver('v01.01', true) == semver('1.1.0') && isSemver('1', true) && semver('1.2.3').patch() == 3",
                "",
            ),
            (
                "ip('192.168.0.1') == ip('192.168.0.1') && ip('::1').family() == 6 && ip('127.0.0.1').isLoopback() && ip.isCanonical('::1') && !ip('::1').isUnspecified() && type(ip('::1')) == net.IP",
                "",
            ),
            (
                "ip('224.0.0.1').isLinkLocalMulticast() && ip('169.254.169.254').isLinkLocalUnicast() && ip('192.168.0.1').isGlobalUnicast() && string(ip('::1')) == '::1'",
                "",
            ),
            (
                "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && cidr('192.168.0.0/24').containsIP('192.168.0.1') && cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24')) && cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')",
                "",
            ),
            (
                "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.0.0.0/8').ip() == ip('10.0.0.0') && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && type(cidr('10.0.0.0/8')) == net.CIDR",
                "",
            ),
            (
                "format.named('uuid').value() == format.uuid() && format.dns1123Label().validate('contains a space').value()[0].contains('RFC 1123') && !format.byte().validate('aGVsbG8=').hasValue()",
                "",
            ),
            (
                "!format.named('unknown').hasValue() && format.date().validate('2020-01-32').orValue([]).size() == 1 && format.labelValue().validate('ok').orValue([]) == [] && format.uri() != format.date()",
                "",
            ),
            ("format.dns1123Subdomain().validate(self.v).optMap(errors, errors.join(', ')).orValue('') == ''", ""),
            (
                "[uint(1), uint(2)].sum() == uint(3) && [bytes('a'), bytes('b')].max() == bytes('b') && [timestamp('2011-01-01T00:00:00.000+01:00')].isSorted() && [duration('1s')].sum() == duration('1s')",
                "",
            ),
            (
                "[false, true].min() == false && [1.0, 2.0].indexOf(3.0) == -1 && [uint(1)].lastIndexOf(uint(1)) == 0 && '0123'.lastIndexOf('23') == 2 && [bytes('x')].indexOf(bytes('x')) == 0",
                "",
            ),
            (
                "'abc'.charAt(1) == 'b' && 'a b'.split(' ', 2) == ['a', 'b'] && 'tacocat'.replace('c', 'x', 1) == 'taxocat' && strings.quote('a') == '\"a\"' && 'abc'.reverse() == 'cba'",
                "",
            ),
            (
                "isURL('/path') == true && !isURL('../relative-path') && url('/path').getHost() == '' && url('https://[::1]:80/').getHostname() == '::1'",
                "",
            ),
            (
                "int('1') + int(2u) + int(3.7) == 6 && uint(5) == 5u && uint('5') == uint(5.0) && double(1u) == 1.0 && -3 < 0 && -1.5 < 0.0 && 5 % 3 == 2 && 5u % 3u == 2u",
                "",
            ),
            (
                "int(timestamp('1970-01-01T00:00:10Z')) == 10 && timestamp('1970-01-01T00:00:10Z') - timestamp('1970-01-01T00:00:00Z') == duration('10s') && timestamp('1970-01-01T00:00:10Z') - duration('10s') == timestamp(0)",
                "",
            ),
            (
                "duration('1s') < duration('1m') && b'a' < b'b' && false < true && 'a' < 'b' && 1u < 2u && 1 < 2u && 1.5 > 1u && type(1u) == uint && type([]) == list && type({}) == map && type(type(1)) == type",
                "",
            ),
            ("(dyn(1) == 'a') == false && dyn('a') + 'b' == 'ab' && (dyn(2) > 1) && dyn(true) || false", ""),
            (
                "(self.v == '1' ? {'a': 1} : {}).size() == 1 && (self.v == '1' ? [] : ['x']) == [] && (self.v == '2' ? optional.of('a') : optional.none()).orValue('b') == 'b'",
                "",
            ),
            (
                "(has(self.v) ? optional.of(self.v) : optional.none()).hasValue() && optional.none() == optional.none() && optional.of(1) != optional.none() && [optional.of(1), optional.none()].size() == 2",
                "",
            ),
            ("dyn(optional.of(true)).orValue(false) && dyn([true]).exists(x, x) && dyn({'a': true}).a", ""),
        ],
    );
}
