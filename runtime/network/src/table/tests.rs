use super::*;

fn table() -> Table {
    let route = |namespace: &str, name: &str, ip: Option<[u8; 4]>, port: u16, pods: &[u8]| ServiceRoute {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        cluster_ip: ip.map(Ipv4Addr::from),
        external_name: None,
        affinity: None,
        ports: vec![PortRoute {
            name: String::new(),
            port,
            node_port: ip.map(|_| 30_000 + port),
            outside: None,
            endpoints: pods
                .iter()
                .map(|n| Endpoint { ip: Ipv4Addr::new(100, 64, 0, *n), port: 8080, node: "a".to_owned() })
                .collect(),
        }],
        pods: pods.iter().map(|n| (format!("{name}-{n}"), Ipv4Addr::new(100, 64, 0, *n))).collect(),
    };
    let alias = |name: &str, of: &str| ServiceRoute {
        external_name: Some(of.to_owned()),
        name: name.to_owned(),
        namespace: "default".to_owned(),
        ..ServiceRoute::default()
    };
    let routes = [
        alias("shop", "web.other.svc.cluster.local"),
        alias("away", "example.com"),
        alias("round", "round.default.svc.cluster.local"),
        route("default", "web", Some([10, 96, 0, 7]), 80, &[1, 2]),
        route("other", "web", Some([10, 96, 0, 8]), 81, &[3]),
        route("default", "db", None, 5432, &[4]),
        route("default", "kubernetes", Some([10, 96, 0, 1]), 443, &[]),
        route("other", "kubernetes", Some([10, 96, 0, 2]), 443, &[]),
    ];
    Table::new(&routes, &Table::default())
}

fn check(host: &str, port: u16, expected: &str) {
    check_for(None, host, port, expected);
}

fn origin(ip: Option<Ipv4Addr>) -> PodOrigin {
    PodOrigin { namespace: "default".to_owned(), name: "asker".to_owned(), ip }
}

fn check_for(ip: Option<Ipv4Addr>, host: &str, port: u16, expected: &str) {
    let target = match table().resolve(&origin(ip), host, port, "cluster.local") {
        Target::Port(port) => format!("service {}", port.label),
        Target::Pod(address) => format!("pod {address}"),
        Target::Api => "the API".to_owned(),
        Target::NoSuchPort(name) => format!("no port {name}"),
        Target::NoSuchHost(name) => format!("no host {name}"),
        Target::Denied(_) => "denied".to_owned(),
        Target::Outside => "outside".to_owned(),
    };
    assert_eq!(target, expected, "{host}:{port}");
}

#[test]
fn a_service_is_found_by_all_of_its_names_and_by_its_address() {
    check("web", 80, "service default/web:80");
    check("WEB.", 80, "service default/web:80");
    check("web.default", 80, "service default/web:80");
    check("web.other", 81, "service other/web:81");
    check("web.other.svc", 81, "service other/web:81");
    check("web.other.svc.cluster.local", 81, "service other/web:81");
    check("web.other.svc.cluster.local.", 81, "service other/web:81");
    check("10.96.0.8", 81, "service other/web:81");
}

#[test]
fn one_service_stands_for_the_api() {
    check("kubernetes", 443, "the API");
    check("kubernetes.default.svc.cluster.local", 443, "the API");
    check("10.96.0.1", 443, "the API");
    check("kubernetes", 80, "no port kubernetes:80");
    check("kubernetes.other", 443, "service other/kubernetes:443");
}

#[test]
fn an_external_name_means_what_it_stands_for() {
    check("shop", 81, "service other/web:81");
    check("away", 81, "outside");
    check("round", 81, "no host round.default.svc.cluster.local");
}

#[test]
fn pods_are_found_by_address_and_headless_services_mean_their_pods() {
    check("100.64.0.9", 1234, "pod 100.64.0.9:1234");
    check("db", 5432, "service default/db:5432");
    check("db", 8080, "pod 100.64.0.4:8080");
}

#[test]
fn a_pod_behind_a_service_has_a_name_in_it() {
    for name in ["db-4.db", "db-4.db.default", "db-4.db.default.svc", "DB-4.db.default.svc.cluster.local."] {
        check(name, 1234, "pod 100.64.0.4:1234");
    }
    check("web-3.web.other.svc", 80, "no host web-3.web.other.svc");
    check("100-64-0-4.db", 80, "pod 100.64.0.4:80");
    check("100-64-0-9.any.pod.cluster.local", 80, "pod 100.64.0.9:80");
    check("db-5.db.default.svc", 80, "no host db-5.db.default.svc");
    check("100-64-0-5.db.default.svc", 80, "no host 100-64-0-5.db.default.svc");
    check("db-5.db", 80, "outside");
    check("10-96-0-7.any.pod.cluster.local", 80, "outside");
}

#[test]
fn a_node_port_may_lead_elsewhere_than_the_address() {
    let endpoint = |n: u8| Endpoint { ip: Ipv4Addr::new(100, 64, 0, n), port: 8080, node: "a".to_owned() };
    let port = |outside| PortRoute {
        port: 80,
        node_port: Some(30_080),
        endpoints: vec![endpoint(1), endpoint(2)],
        outside,
        ..PortRoute::default()
    };
    let check = |outside: Option<Vec<Endpoint>>, inside: usize, through: usize| {
        let route = ServiceRoute { name: "web".to_owned(), ports: vec![port(outside)], ..ServiceRoute::default() };
        let table = Table::new(&[route], &Table::default());
        let found = table.by_name[""]["web"].ports[&80].endpoints.len();
        assert_eq!((found, table.node_port(30_080).unwrap().endpoints.len()), (inside, through));
    };
    check(None, 2, 2);
    check(Some(vec![endpoint(2)]), 2, 1);
    check(Some(Vec::new()), 2, 0);
}

#[test]
fn what_is_not_there_is_named_and_the_node_itself_is_out_of_reach() {
    check("web", 81, "no port web:81");
    check("nobody", 80, "no host nobody");
    check("web.none.svc", 80, "no host web.none.svc");
    check("localhost", 80, "denied");
    check("127.0.0.1", 80, "denied");
    check("127.8.8.8", 80, "denied");
    check("169.254.169.254", 80, "denied");
    check("0.0.0.0", 80, "denied");
    check("[::1]", 80, "denied");
    check("example.com", 80, "outside");
    check("192.0.2.1", 80, "outside");
}

#[test]
fn a_pods_loopback_is_its_own() {
    let own = Some(Ipv4Addr::new(100, 64, 0, 5));
    for host in ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "0.0.0.0", "[::1]", "100.64.0.5"] {
        check_for(own, host, 8080, "pod 100.64.0.5:8080");
    }
    check_for(own, "169.254.169.254", 80, "denied");
}

#[test]
fn a_client_stays_with_its_endpoint_through_new_tables() {
    let route = |affinity: Option<u64>, pods: &[u8]| ServiceRoute {
        affinity: affinity.map(Duration::from_secs),
        ports: vec![PortRoute {
            port: 80,
            endpoints: pods
                .iter()
                .map(|n| Endpoint { ip: Ipv4Addr::new(100, 64, 0, *n), port: 8080, node: "a".to_owned() })
                .collect(),
            ..PortRoute::default()
        }],
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        ..ServiceRoute::default()
    };
    let live = |table: &Table| table.by_name["default"]["web"].ports[&80].clone();
    let (client, now) = (Some(IpAddr::from([100, 64, 0, 99])), Instant::now());
    let picked = |table: &Table| -> std::collections::BTreeSet<usize> {
        let port = live(table);
        (0..64).filter_map(|draw: u64| port.pick(client, now, draw.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    };
    let first = Table::new(&[route(Some(60), &[1, 2, 3])], &Table::default());
    assert_eq!(picked(&first).len(), 3);
    live(&first).took(client, now, SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 2), 8080));
    assert_eq!(picked(&first).into_iter().collect::<Vec<_>>(), [1]);
    let second = Table::new(&[route(Some(60), &[2, 3])], &first);
    assert_eq!(picked(&second).into_iter().collect::<Vec<_>>(), [0]);
    assert_eq!(picked(&Table::new(&[route(Some(60), &[1, 3])], &first)).len(), 2, "its endpoint is gone");
    assert_eq!(picked(&Table::new(&[route(Some(61), &[1, 2, 3])], &first)).len(), 3, "another time-out");
    assert_eq!(picked(&Table::new(&[route(None, &[1, 2, 3])], &first)).len(), 3, "no affinity any more");
}

#[test]
fn counts_outlive_a_new_table() {
    let old = table();
    let endpoint = old.node_port(30_080).unwrap().endpoints[0].clone();
    endpoint.under_way.store(3, Ordering::Relaxed);
    let route = ServiceRoute {
        ports: vec![PortRoute {
            port: 80,
            endpoints: vec![Endpoint { ip: *endpoint.address.ip(), port: 8080, node: "a".to_owned() }],
            ..PortRoute::default()
        }],
        ..ServiceRoute::default()
    };
    let new = Table::new(&[route], &old);
    assert_eq!(new.endpoints[&(endpoint.address, "a".into())].under_way.load(Ordering::Relaxed), 3);
}

#[test]
fn a_node_that_claims_the_address_of_anothers_pod_does_not_get_its_requests() {
    let address = SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 1), 8080);
    let route = |name: &str, node: &str| ServiceRoute {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        cluster_ip: None,
        external_name: None,
        affinity: None,
        ports: vec![PortRoute {
            port: 80,
            endpoints: vec![Endpoint { ip: *address.ip(), port: 8080, node: node.to_owned() }],
            ..PortRoute::default()
        }],
        pods: Vec::new(),
    };
    let table = Table::new(&[route("thief", "b"), route("web", "a"), route("web2", "a")], &Table::default());
    let node = |name: &str| match table.resolve(&origin(None), name, 80, "cluster.local") {
        Target::Port(port) => port.endpoints[0].node.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!((node("thief").as_str(), node("web").as_str(), node("web2").as_str()), ("b", "a", "a"));
    assert_eq!(table.node_of(address), None);
    let alone = Table::new(&[route("web", "a"), route("web2", "a")], &table);
    assert_eq!(alone.node_of(address).as_deref(), Some("a"));
}
