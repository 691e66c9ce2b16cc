use super::*;

#[test]
fn an_update_inherits_what_the_server_gave() {
    fn check(old: Value, new: Value, expected: Value) {
        let mut service = json!({"spec": new});
        inherit(&json!({"spec": old}), &mut service);
        assert_eq!(service["spec"], expected);
    }
    let old = || {
        json!({"type": "NodePort", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"],
            "ports": [{"name": "a", "port": 80, "nodePort": 30100}, {"name": "b", "port": 81, "nodePort": 30101}]})
    };
    // Left out: kept, by the ports' names.
    check(
        old(),
        json!({"type": "NodePort", "ports": [{"name": "b", "port": 91}, {"name": "c", "port": 80}]}),
        json!({"type": "NodePort", "ports": [{"name": "b", "port": 91, "nodePort": 30101}, {"name": "c", "port": 80}],
            "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}),
    );
    // A number that the client gives to another port is not inherited as well.
    check(
        old(),
        json!({"type": "NodePort", "ports": [{"name": "b", "port": 91}, {"name": "c", "port": 80, "nodePort": 30101}]}),
        json!({"type": "NodePort", "ports": [{"name": "b", "port": 91}, {"name": "c", "port": 80, "nodePort": 30101}],
            "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}),
    );
    // A type without node ports drops them.
    check(
        old(),
        json!({"type": "ClusterIP", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"],
            "ports": [{"name": "a", "port": 80, "nodePort": 30100}]}),
        json!({"type": "ClusterIP", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"],
            "ports": [{"name": "a", "port": 80}]}),
    );
    // A type without an address drops it, unless the client changed it too (which validation then refuses).
    check(
        old(),
        json!({"type": "ExternalName", "externalName": "x", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}),
        json!({"type": "ExternalName", "externalName": "x"}),
    );
    check(
        old(),
        json!({"type": "ExternalName", "externalName": "x", "clusterIP": "10.96.1.2"}),
        json!({"type": "ExternalName", "externalName": "x", "clusterIP": "10.96.1.2"}),
    );
    // Headless stays headless.
    check(
        json!({"clusterIP": "None", "clusterIPs": ["None"]}),
        json!({"ports": []}),
        json!({"ports": [], "clusterIP": "None", "clusterIPs": ["None"]}),
    );
}

#[test]
fn a_free_number_comes_from_the_upper_part_first() {
    fn check(free: &[u32], expected: Option<&[u32]>) {
        let picked = pick(1, 4, 12, |number| free.contains(&number));
        match (picked, expected) {
            (Some(picked), Some(expected)) => assert!(expected.contains(&picked), "{picked} of {free:?}"),
            (picked, expected) => assert_eq!(picked.is_some(), expected.is_some(), "{free:?}"),
        }
    }
    check(&[1, 2, 3, 4, 5, 12], Some(&[5, 12]));
    check(&[2, 4], Some(&[2, 4]));
    check(&[7], Some(&[7]));
    check(&[1], Some(&[1]));
    check(&[0, 13], None);
    check(&[], None);
}

#[test]
fn a_service_holds_its_address_and_ports() {
    fn check(spec: Value, address: Option<&str>, ports: &[u16]) {
        let held = Held::of(&json!({"spec": spec}));
        let address = address.map(|text| text.parse().expect("an address"));
        assert_eq!(held, Held { address, ports: ports.iter().copied().collect() });
    }
    check(json!({"clusterIP": "10.96.0.1"}), Some("10.96.0.1"), &[]);
    check(json!({"clusterIP": "None"}), None, &[]);
    check(json!({"type": "ExternalName"}), None, &[]);
    check(
        json!({"type": "NodePort", "clusterIP": "10.96.0.1",
            "ports": [{"nodePort": 30001}, {"nodePort": 30001, "protocol": "UDP"}, {"nodePort": 30002}, {}]}),
        Some("10.96.0.1"),
        &[30001, 30002],
    );
    check(json!({"type": "LoadBalancer", "healthCheckNodePort": 30009}), None, &[30009]);
}
