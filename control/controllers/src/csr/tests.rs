use super::*;

fn request(user: &str, signer: &str, usages: &[&str]) -> CertificateSigningRequest {
    let group = if user.starts_with(BOOTSTRAP_PREFIX) { BOOTSTRAPPERS } else { NODES };
    serde_json::from_value(json!({
        "metadata": {"name": "csr", "uid": "u", "creationTimestamp": "2027-01-15T08:00:00Z"},
        "spec": {"request": "", "signerName": signer, "username": user,
            "groups": [group, "system:authenticated"], "usages": usages}
    }))
    .unwrap()
}

fn subject(dns: &[&str], ips: &[&str]) -> CsrSubject {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    CsrSubject {
        common_name: "system:node:n1".into(),
        organizations: vec![NODES.into()],
        dns: texts(dns),
        ips: texts(ips),
    }
}

fn look(request: &CertificateSigningRequest, subject: Result<CsrSubject, String>, live: bool) -> Plan {
    let view = View {
        request,
        subject: &subject,
        is_live: &|_| live,
        reserved: &["10.0.0.1".to_owned(), "api.example.com".to_owned()],
        default_validity: Duration::from_secs(1000),
    };
    reconcile(&view, "2027-01-15T08:00:10Z".parse().unwrap())
}

fn check(request: CertificateSigningRequest, subject: CsrSubject, live: bool, expected: &str) {
    let plan = look(&request, Ok(subject.clone()), live);
    let got = plan.actions.first().map_or("left".to_owned(), |action| match action {
        Action::Patch { patch, .. } => patch["status"]["conditions"][0]["type"].as_str().unwrap().to_owned(),
        other => format!("{other:?}"),
    });
    assert_eq!(got, expected, "{request:?} {subject:?}");
}

const CLIENT: &[&str] = &["digital signature", "client auth"];
const SERVER: &[&str] = &["digital signature", "server auth"];

#[test]
fn client_certificates_are_for_joiners_and_the_node_itself() {
    let token = "system:bootstrap:abcdef";
    check(request(token, CLIENT_SIGNER, CLIENT), subject(&[], &[]), false, "Approved");
    check(request(token, CLIENT_SIGNER, CLIENT), subject(&[], &[]), true, "Denied");
    check(request("system:node:n1", CLIENT_SIGNER, CLIENT), subject(&[], &[]), true, "Approved");
    check(request("system:node:n2", CLIENT_SIGNER, CLIENT), subject(&[], &[]), false, "left");
    check(request("jane", CLIENT_SIGNER, CLIENT), subject(&[], &[]), false, "left");
    check(request(token, CLIENT_SIGNER, CLIENT), subject(&["n1"], &[]), false, "Denied");
    check(request(token, CLIENT_SIGNER, SERVER), subject(&[], &[]), false, "Denied");
    check(request(token, "example.com/other", CLIENT), subject(&[], &[]), false, "left");
    let admin = CsrSubject {
        common_name: "admin".into(),
        organizations: vec!["system:masters".into()],
        ..CsrSubject::default()
    };
    check(request(token, CLIENT_SIGNER, CLIENT), admin, false, "Denied");
    let masters = CsrSubject { organizations: vec!["system:masters".into()], ..subject(&[], &[]) };
    check(request(token, CLIENT_SIGNER, CLIENT), masters, false, "Denied");
}

#[test]
fn serving_certificates_are_for_the_node_itself_and_its_own_names() {
    let node = "system:node:n1";
    check(request(node, SERVING_SIGNER, SERVER), subject(&["n1"], &["127.0.0.2"]), true, "Approved");
    check(request(node, SERVING_SIGNER, SERVER), subject(&[], &[]), true, "Denied");
    check(request(node, SERVING_SIGNER, SERVER), subject(&["kubernetes"], &[]), true, "Denied");
    check(request(node, SERVING_SIGNER, SERVER), subject(&[], &["10.0.0.1"]), true, "Denied");
    let token = "system:bootstrap:abcdef";
    check(request(token, SERVING_SIGNER, SERVER), subject(&["n1"], &[]), false, "left");
}

#[test]
fn no_node_has_a_reserved_name() {
    let named = |node: &str, dns: &[&str]| {
        let mut subject = subject(dns, &[]);
        subject.common_name = format!("system:node:{node}");
        subject
    };
    let token = "system:bootstrap:abcdef";
    check(request(token, CLIENT_SIGNER, CLIENT), named("api.example.com", &[]), false, "Denied");
    check(request(token, CLIENT_SIGNER, CLIENT), named("10.0.0.1", &[]), false, "Denied");
    check(request(token, CLIENT_SIGNER, CLIENT), named("*.example.com", &[]), false, "Denied");
    check(request(token, CLIENT_SIGNER, CLIENT), named("web.example.com", &[]), false, "Approved");
    let own = "system:node:api.example.com";
    check(request(own, SERVING_SIGNER, SERVER), named("api.example.com", &["api.example.com"]), true, "Denied");
    check(request(own, CLIENT_SIGNER, CLIENT), named("api.example.com", &[]), true, "Denied");
    let reserved = ["::1".to_owned(), "API.example.com".to_owned(), "10.0.0.1".to_owned()];
    for name in ["0:0::1", "api.example.COM.", "::ffff:10.0.0.1"] {
        assert!(is_reserved(&reserved, name), "{name}");
    }
    assert!(!is_reserved(&reserved, "example.com"));
}

fn decided(mut request: CertificateSigningRequest, kinds: &[&str]) -> CertificateSigningRequest {
    let conditions: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
    request.status = Some(serde_json::from_value(json!({ "conditions": conditions })).unwrap());
    request
}

#[test]
fn what_an_administrator_approved_is_signed_or_fails_with_the_reason() {
    let check = |signer: &str, usages: &[&str], kinds: &[&str], subject: CsrSubject, expected: &str| {
        let plan = look(&decided(request("jane", signer, usages), kinds), Ok(subject), true);
        let got = match &plan.actions[..] {
            [] => "left",
            [Action::Sign { signer: by, .. }] if by == signer => "signed",
            [Action::Patch { patch, .. }] => patch["status"]["conditions"][0]["type"].as_str().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(got, expected, "{signer} {kinds:?}");
    };
    let jane = |group: &str| CsrSubject {
        common_name: "jane".into(),
        organizations: vec![group.into()],
        ..CsrSubject::default()
    };
    check(USER_SIGNER, CLIENT, &[], jane("dev"), "left");
    check(USER_SIGNER, CLIENT, &["Approved"], jane("dev"), "signed");
    check(USER_SIGNER, CLIENT, &["Denied"], jane("dev"), "left");
    check(USER_SIGNER, CLIENT, &["Approved", "Denied"], jane("dev"), "left");
    check(USER_SIGNER, CLIENT, &["Approved", "Failed"], jane("dev"), "left");
    check(USER_SIGNER, CLIENT, &["Approved"], jane("system:masters"), "Failed");
    check(USER_SIGNER, SERVER, &["Approved"], jane("dev"), "Failed");
    check("example.com/mine", CLIENT, &["Approved"], jane("dev"), "left");
    check(CLIENT_SIGNER, CLIENT, &["Approved"], subject(&[], &[]), "signed");
    check(SERVING_SIGNER, SERVER, &["Approved"], subject(&["n1"], &["10.0.0.2"]), "signed");
    check(SERVING_SIGNER, SERVER, &["Approved"], subject(&["api.example.com"], &[]), "Failed");
    check(SERVING_SIGNER, SERVER, &["Approved"], subject(&[], &["10.0.0.1"]), "Failed");
}

#[test]
fn what_is_no_request_is_denied() {
    let plan = look(&request("system:node:n1", CLIENT_SIGNER, CLIENT), Err("bad".into()), false);
    assert!(matches!(&plan.actions[..], [Action::Patch { .. }]), "{plan:?}");
}

#[test]
fn an_approved_request_is_signed_for_no_longer_than_allowed() {
    let mut approved = request("system:node:n1", CLIENT_SIGNER, CLIENT);
    approved.status =
        Some(serde_json::from_value(json!({"conditions": [{"type": "Approved", "status": "True"}]})).unwrap());
    for (asked, expected) in [(None, 1000), (Some(600), 600), (Some(5000), 1000), (Some(1), 600)] {
        approved.spec.expiration_seconds = asked;
        let plan = look(&approved, Ok(subject(&[], &[])), true);
        let [Action::Sign { seconds, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(*seconds, expected);
    }
}

#[test]
fn finished_requests_are_deleted_after_an_hour() {
    let mut denied = request("jane", CLIENT_SIGNER, CLIENT);
    denied.status =
        Some(serde_json::from_value(json!({"conditions": [{"type": "Denied", "status": "True"}]})).unwrap());
    assert_eq!(look(&denied, Ok(subject(&[], &[])), true).actions, []);
    denied.metadata.creation_timestamp = Some(Time("2027-01-15T07:00:00Z".parse().unwrap()));
    let plan = look(&denied, Ok(subject(&[], &[])), true);
    assert!(matches!(&plan.actions[..], [Action::Delete { .. }]), "{plan:?}");
}
