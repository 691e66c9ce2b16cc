//! Rules and messages of operators and of other projects with definitions of their own.

use serde_json::json;

use super::accepted_tests::{check, said};

#[test]
fn rules_of_operators_are_taken() {
    check(
        "Envoy Gateway, kgateway, agentgateway",
        "{minVersion:s maxVersion:s ciphers:[s] targetRef:{group:s kind:s name:s} targetRefs:[{group:s kind:s name:s}] targetSelectors:[{kind:s}] backendRefs:[{group:s kind:s}] type:s http:{statusCode:x} duration:s maxRequestSize:x exact:s prefix:s groups:[{providers:[{name:s}]}] limits:[{requests:i unit:s}] prefixLength:i}",
        r#"{"minVersion": "1.2", "maxVersion": "1.3", "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}], "backendRefs": [{"group": "", "kind": "Service"}], "type": "HTTP", "http": {"statusCode": 503}, "duration": "100ms", "maxRequestSize": "1Mi", "exact": "a", "groups": [{"providers": [{"name": "a"}]}, {"providers": [{"name": "b"}]}], "limits": [{"requests": 4, "unit": "Hour"}]}"#,
        &[
            (
                "has(self.minVersion) && self.minVersion == '1.3' ? !has(self.ciphers) : true",
                r#"{"minVersion": "1.3", "ciphers": []}"#,
            ),
            (
                "has(self.minVersion) && has(self.maxVersion) ? {\"Auto\":0,\"1.0\":1,\"1.1\":2,\"1.2\":3,\"1.3\":4}[self.minVersion] <= {\"1.0\":1,\"1.1\":2,\"1.2\":3,\"1.3\":4,\"Auto\":5}[self.maxVersion] : !has(self.minVersion) && has(self.maxVersion) ? 3 <= {\"1.0\":1,\"1.1\":2,\"1.2\":3,\"1.3\":4,\"Auto\":5}[self.maxVersion] : true",
                r#"{"minVersion": "1.3", "maxVersion": "1.1"}"#,
            ),
            (
                "(has(self.targetRef) && !has(self.targetRefs)) || (!has(self.targetRef) && has(self.targetRefs)) || (has(self.targetSelectors) && self.targetSelectors.size() > 0)",
                "{}",
            ),
            (
                "has(self.targetRef) ? self.targetRef.group == 'gateway.networking.k8s.io' : true",
                r#"{"targetRef": {"group": "x"}}"#,
            ),
            (
                "has(self.targetRefs) ? self.targetRefs.all(ref, ref.kind in ['Gateway', 'HTTPRoute', 'GRPCRoute', 'UDPRoute', 'TCPRoute', 'TLSRoute']) : true",
                r#"{"targetRefs": [{"kind": "Pod"}]}"#,
            ),
            (
                "self.targetRefs.all(r, r.kind == 'Gateway' && (!has(r.group) || r.group == 'gateway.networking.k8s.io'))",
                r#"{"targetRefs": [{"kind": "Gateway", "group": ""}]}"#,
            ),
            (
                "has(self.backendRefs) ? self.backendRefs.all(f, f.kind == 'Service' || f.kind == 'ServiceImport' || f.kind == 'Backend') : true",
                r#"{"backendRefs": [{"kind": "x"}]}"#,
            ),
            (
                "has(self.backendRefs) ? (self.backendRefs.all(f, f.group == \"\" || f.group == 'multicluster.x-k8s.io' || f.group == 'gateway.envoyproxy.io')) : true",
                r#"{"backendRefs": [{"group": "x"}]}"#,
            ),
            ("self.type == 'HTTP' || !has(self.http)", r#"{"type": "TCP", "http": {}}"#),
            (
                "type(self.http.statusCode) == int ? self.http.statusCode >= 100 && self.http.statusCode < 600 : self.http.statusCode.matches('^[0-9]+$')",
                r#"{"http": {"statusCode": 6000}}"#,
            ),
            (
                "matches(self.duration, '^([0-9]{1,5}(h|m|s|ms)){1,4}$') && duration(self.duration) >= duration('50ms')",
                r#"{"duration": "1ms"}"#,
            ),
            (
                "quantity(self.maxRequestSize).isGreaterThan(quantity('0')) && quantity(self.maxRequestSize).isLessThan(quantity('4Gi'))",
                r#"{"maxRequestSize": "5Gi"}"#,
            ),
            ("[has(self.exact), has(self.prefix)].filter(x, x).size() == 1", r#"{"exact": "a", "prefix": "b"}"#),
            (
                "[has(self.exact), has(self.prefix)].filter(x,x==true).size() <= 1 && [has(self.exact), has(self.prefix) && self.prefix != ''].exists_one(x, x)",
                r#"{"exact": "a", "prefix": "b"}"#,
            ),
            (
                "self.groups.map(pg, pg.providers.map(pp, pp.name)).map(p, self.groups.map(pg, pg.providers.map(pp, pp.name)).filter(cp, cp != p).exists(cp, p.exists(pn, pn in cp))).exists(p, !p)",
                "",
            ),
            (
                "self.groups.map(g, g.providers.size()).sum() == 2 && self.groups.all(g, g.providers.all(p1, g.providers.exists_one(p2, p1.name == p2.name)))",
                r#"{"groups": [{"providers": []}]}"#,
            ),
            (
                "self.limits.map(l, l.requests * {'Second': 1, 'Hour': 3600}[l.unit]).max() > 0",
                r#"{"limits": [{"requests": 0, "unit": "Hour"}]}"#,
            ),
        ],
    );
    check(
        "OpenShift, OVN-Kubernetes, network policies",
        "{cidr:s cidrs:[s] layer3:{mtu:i subnets:[{cidr:s hostSubnet:i}]} topology:s role:s vaultAddress:s url:s blockedCIDRs:[s] retention:s state:s profiles:<s> issuer:{url:s audiences:[!s]} ports:[{portNumber:{port:i} portRange:{start:i end:i}}]}",
        r#"{"cidr": "10.0.0.0/16", "cidrs": ["10.0.0.0/16", "fd00::/64"], "layer3": {"mtu": 1400, "subnets": [{"cidr": "10.1.0.0/16", "hostSubnet": 24}]}, "topology": "Layer3", "role": "Primary", "vaultAddress": "https://vault.example.com:8200", "url": "https://a.b/", "retention": "7d", "state": "Active", "issuer": {"url": "https://x/y", "audiences": ["a"]}, "ports": [{"portRange": {"start": 1, "end": 2}}]}"#,
        &[
            ("isCIDR(self.cidr) && cidr(self.cidr) == cidr(self.cidr).masked()", r#"{"cidr": "10.0.0.1/8"}"#),
            (
                "isCIDR(self.cidr) && cidr(self.cidr).ip().family() == 4 && cidr(self.cidr).prefixLength() <= 30",
                r#"{"cidr": "fd00::/8"}"#,
            ),
            (
                "size(self.cidrs) != 2 || !isCIDR(self.cidrs[0]) || !isCIDR(self.cidrs[1]) || cidr(self.cidrs[0]).ip().family() != cidr(self.cidrs[1]).ip().family()",
                r#"{"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}"#,
            ),
            ("self.cidrs.all(x, self.cidrs.exists_one(y, x == y))", r#"{"cidrs": ["a", "a"]}"#),
            (
                "!has(self.layer3.subnets) || !has(self.layer3.mtu) || !self.layer3.subnets.exists_one(i, isCIDR(i.cidr) && cidr(i.cidr).ip().family() == 6) || self.layer3.mtu >= 1280",
                r#"{"layer3": {"mtu": 1000, "subnets": [{"cidr": "fd00::/8"}]}}"#,
            ),
            (
                "self.layer3.subnets.all(s, !has(s.hostSubnet) || !isCIDR(s.cidr) || s.hostSubnet > cidr(s.cidr).prefixLength())",
                r#"{"layer3": {"subnets": [{"cidr": "10.0.0.0/24", "hostSubnet": 20}]}}"#,
            ),
            ("self.topology == 'Layer3' ? has(self.layer3): !has(self.layer3)", r#"{"topology": "Layer3"}"#),
            (
                "isURL(self.vaultAddress) && url(self.vaultAddress).getScheme() == 'https' && url(self.vaultAddress).getHostname() != ''",
                r#"{"vaultAddress": "http://x"}"#,
            ),
            ("isURL(self.url) ? (url(self.url).getScheme() == \"https\") : true", r#"{"url": "http://x"}"#),
            (
                "isURL(self.url) && size(url(self.url).getQuery()) == 0 && url(self.url).getEscapedPath() in ['', '/'] && self.url.find('@') == ''",
                r#"{"url": "https://x/?a=b"}"#,
            ),
            (
                "self.retention.endsWith('d') ? (int(self.retention.replace('d', '')) >= 1 && int(self.retention.replace('d', '')) <= 90) : duration(self.retention) >= duration('1h')",
                r#"{"retention": "91d"}"#,
            ),
            (
                "oldSelf.state == 'Active' || oldSelf.state == 'Paused' || oldSelf.state == 'Archived' && oldSelf.state == self.state",
                "",
            ),
            (
                "!has(oldSelf.issuer) || has(self.issuer) && self.issuer == oldSelf.issuer && self.issuer.audiences == oldSelf.issuer.audiences",
                "{}",
            ),
            (
                "self.ports.all(p, !(has(p.portNumber) && has(p.portRange))) && self.ports.all(p, !has(p.portRange) || p.portRange.start < p.portRange.end)",
                r#"{"ports": [{"portRange": {"start": 2, "end": 1}}]}"#,
            ),
            (
                "!has(self.profiles) || self.profiles.all(key, !format.qualifiedName().validate(key).hasValue() && !key.startsWith('ate.dev/'))",
                r#"{"profiles": {"-": ""}}"#,
            ),
            ("oldSelf.cidrs.all(c, c in self.cidrs)", r#"{"cidrs": []}"#),
        ],
    );
    check(
        "Cluster API, Crossplane, CloudNativePG, cert-manager, Prometheus operator",
        "{version:s oldVersion:s forProvider:{region:s size:x} policies:[!s] size:s instances:i minSyncReplicas:i maxSyncReplicas:i storage:{size:x storageClass:s} secretName:s configMap:f secret:f sources:[{configMap:f secret:f inLine:s}] timeout:d interval:d conditions:(type {type:s status:s lastTransitionTime:t}) maxSurge:x steps:[{setWeight:i pause:{duration:x}}] data:<s> mapping:[{key:s secretKey:s}] creds:{source:s __package:s} paths:[{path:s}] vars:{a:b c:b}}",
        r#"{"version": "1.30", "forProvider": {"region": "eu", "size": 2}, "policies": ["Create", "Update"], "instances": 3, "minSyncReplicas": 1, "maxSyncReplicas": 2, "storage": {"size": "1Gi", "storageClass": "x"}, "configMap": {}, "sources": [{"inLine": "x"}, {"configMap": {}}], "timeout": "10s", "interval": "30s", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}], "maxSurge": "25%", "steps": [{"setWeight": 20}, {"pause": {"duration": "1h"}}], "data": {"a": "b"}, "mapping": [{"key": "a"}, {"key": "b", "secretKey": "c"}], "creds": {"source": "Secret"}, "paths": [{"path": "a"}], "vars": {"a": true, "c": false}}"#,
        &[
            (
                "double(self.version) >= double(oldSelf.version) && double(self.version) - double(oldSelf.version) < 0.02",
                r#"{"version": "1.40"}"#,
            ),
            ("int(self.version.split('.')[0]) >= int(oldSelf.version.split('.')[0])", r#"{"version": "0.9"}"#),
            ("semver(self.version, true).compareTo(semver(oldSelf.version, true)) >= 0", r#"{"version": "1.2"}"#),
            (
                "!('*' in self.policies || 'Create' in self.policies || 'Update' in self.policies) || has(self.forProvider.region) || (has(self.forProvider) && has(self.forProvider.size))",
                "",
            ),
            (
                "self.instances > self.maxSyncReplicas && self.minSyncReplicas <= self.maxSyncReplicas",
                r#"{"instances": 1, "minSyncReplicas": 0, "maxSyncReplicas": 2}"#,
            ),
            (
                "quantity(string(self.storage.size)).compareTo(quantity(string(oldSelf.storage.size))) >= 0",
                r#"{"storage": {"size": "1Mi"}}"#,
            ),
            (
                "has(self.storage.storageClass) == has(oldSelf.storage.storageClass) && (!has(self.storage.storageClass) || self.storage.storageClass == oldSelf.storage.storageClass)",
                r#"{"storage": {"storageClass": "y"}}"#,
            ),
            ("[has(self.configMap), has(self.secret)].exists(x,x)", "{}"),
            (
                "self.sources.all(s, [has(s.configMap), has(s.secret), has(s.inLine)].exists_one(x, x))",
                r#"{"sources": [{}]}"#,
            ),
            ("!has(self.timeout) || self.timeout <= self.interval", r#"{"timeout": "2m", "interval": "30s"}"#),
            (
                "self.conditions.filter(c, c.type == 'Ready').map(c, c.lastTransitionTime).all(t, t < timestamp('2030-01-01T00:00:00Z'))",
                r#"{"conditions": [{"type": "Ready", "lastTransitionTime": "2040-01-01T00:00:00Z"}]}"#,
            ),
            (
                "type(self.maxSurge) == string ? int(self.maxSurge.replace('%', '')) <= 100 : self.maxSurge >= 0",
                r#"{"maxSurge": "200%"}"#,
            ),
            (
                "self.steps.all(s, has(s.setWeight) != has(s.pause)) && self.steps.filter(s, has(s.setWeight)).map(s, s.setWeight).isSorted()",
                r#"{"steps": [{"setWeight": 3}, {"setWeight": 2}]}"#,
            ),
            (
                "self.steps.all(s, !has(s.pause) || type(s.pause.duration) == int || duration(s.pause.duration) > duration('0s'))",
                r#"{"steps": [{"pause": {"duration": "0s"}}]}"#,
            ),
            (
                "self.data.all(k, k.size() <= 253 && k.matches('^[A-Za-z0-9._-]+$')) && self.data.all(k, self.data[k] in ['a', 'b'])",
                r#"{"data": {"a": "c"}}"#,
            ),
            (
                "self.mapping.all(m1, self.mapping.exists_one(m2, (has(m2.secretKey) ? m2.secretKey : m2.key) == (has(m1.secretKey) ? m1.secretKey : m1.key)))",
                r#"{"mapping": [{"key": "a"}, {"key": "b", "secretKey": "a"}]}"#,
            ),
            (
                "((has(self.vars.a) && self.vars.a) ? 1 : 0) + ((has(self.vars.c) && self.vars.c) ? 1 : 0) == 1",
                r#"{"vars": {}}"#,
            ),
            ("self.metadata.name.size() < 63 || !has(self.metadata.name) || true", ""),
            ("!oldSelf.hasValue() || self.storage == oldSelf.value().storage", r#"{"storage": {}}"#),
            (
                "oldSelf.hasValue() && has(oldSelf.value().storage) ? quantity(string(oldSelf.value().storage.size)).compareTo(quantity('4Gi')) < 0 : true",
                "",
            ),
            (
                "oldSelf.hasValue() ? oldSelf.?storage.storageClass.orValue('') == self.?storage.storageClass.orValue('') : true",
                r#"{"storage": {"storageClass": "y"}}"#,
            ),
            (
                "oldSelf.hasValue() && oldSelf.optMap(o, o.instances <= self.instances).orValue(true) && oldSelf.?instances == optional.of(self.instances)",
                r#"{"instances": 1}"#,
            ),
        ],
    );
}

#[test]
fn messages_of_projects_are_taken() {
    let of = "{replicas:i max:x name:s list:[s] old:s timeout:s interval:d wait:d nested:{ratio:n} labels:<s> u:s}";
    let value = r#"{"replicas": 5, "max": 3, "name": "n", "list": ["a", "b"], "timeout": "1m", "interval": "30s", "wait": "90s", "nested": {"ratio": 1.5}, "labels": {"a": "b"}, "u": "https://h/?q=v"}"#;
    let check = |message: &str, expected: &str| {
        let told = said(of, json!({"rule": "false", "messageExpression": message}), value, "");
        assert_eq!(told, Ok(vec![format!("<nil>: Invalid value: {expected}")]), "{message}");
    };
    check("'%d is more than 3'.format([self.replicas])", "5 is more than 3");
    check(
        "'scrape timeout (%s) must not be greater than (%s)'.format([self.timeout, self.interval])",
        "scrape timeout (1m) must not be greater than (30s)",
    );
    check(
        "'at most %d, not %s for %s'.format([4 * self.replicas, self.name, self.list])",
        "at most 20, not n for [a, b]",
    );
    check("self.name + ' is not in ' + self.list.join(', ')", "n is not in a, b");
    check("\"variable '\" + self.name + \"': dataType is not allowed\"", "variable 'n': dataType is not allowed");
    check("!has(self.old) ? 'was ' + self.name : 'from ' + self.old + ', to ' + self.name", "was n");
    check("'got ' + string(self.max) + ', ' + string(self.nested.ratio) + ', ' + string(self.wait)", "got 3, 1.5, 90s");
    check("self.?old.orValue('none') + self.labels[?'a'].orValue('') + self.list[0]", "noneba");
    check("'x' + url(self.u).getQuery()['q'][0]", "xv");
    check("url(self.u).getQuery()['q'][0]", "v");
    check("self.list.map(i, i.upperAscii()).filter(i, i != 'A')[0]", "B");
    check("format.dns1123Label().validate('-').value()[0].substring(0, 11)", "a lowercase");
    check("self.list.min() + self.list.first().value() + self.list.last().orValue('')", "aab");
    check("(self.replicas > 1 ? optional.of('many') : optional.none()).orValue('few')", "many");
    check("dyn(optional.of('a')).orValue('b')", "a");
    check("cidr('10.0.0.0/8').ip().family() == 4 ? string(cidr('10.0.0.0/8')) : ''", "10.0.0.0/8");
    check("'wants more than ' + dyn(self.name)", "wants more than n");
}
