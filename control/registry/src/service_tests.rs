use super::*;

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
        let health = port_number(&spec["healthCheckNodePort"]);
        let held = Held::of(&json!({"spec": spec}));
        let address = address.map(|text| text.parse().expect("an address"));
        assert_eq!(held, Held { address, ports: ports.iter().copied().collect(), health });
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
