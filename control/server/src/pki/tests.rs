use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

fn ca() -> (tempfile::TempDir, ClusterCa) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ca = ClusterCa::open(dir.path(), SystemTime::now()).expect("a new authority");
    (dir, ca)
}

fn csr(common_name: &str, organizations: &[&str], names: &[&str]) -> Vec<u8> {
    let mut params = leaf_params(common_name, organizations, SystemTime::now(), DAY);
    params.serial_number = None;
    params.use_authority_key_identifier_extension = false;
    params.subject_alt_names = names.iter().map(|name| san(name).expect("a name")).collect();
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").pem().expect("PEM").into_bytes()
}

#[test]
fn an_authority_is_the_same_after_it_is_opened_again() {
    let (dir, first) = ca();
    let second = ClusterCa::open(dir.path(), SystemTime::now()).expect("the kept authority");
    assert_eq!(first.root_pem(), second.root_pem());
    assert_eq!(first.fingerprint(), second.fingerprint());
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, ca) = ca();
    ca.server_identity(&["localhost".to_owned()], SystemTime::now()).expect("a certificate");
    for file in ["ca.key", "ca.crt", "server.key"] {
        let mode = std::fs::metadata(dir.path().join(file)).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_server_certificate_is_kept_until_its_names_change_or_its_end_is_near() {
    let (_dir, ca) = ca();
    let now = SystemTime::now();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let first = ca.server_identity(&names, now).expect("a certificate");
    let again = ca.server_identity(&names, now + DAY).expect("a certificate");
    assert_eq!(first.certificate_pem, again.certificate_pem);
    let near_the_end = ca.server_identity(&names, now + LEAF_LIFETIME - DAY).expect("a certificate");
    assert_ne!(first.certificate_pem, near_the_end.certificate_pem);
    let other_names = ca.server_identity(&["localhost".to_owned()], now).expect("a certificate");
    assert_eq!(other_names.names, ["localhost"]);
    assert_ne!(near_the_end.certificate_pem, other_names.certificate_pem);
}

#[test]
fn requests_are_signed_only_for_the_subjects_of_their_signer() {
    let (_dir, ca) = ca();
    let check = |signer: &str, name: &str, groups: &[&str], names: &[&str], refusal: Option<&str>| {
        let outcome = ca.sign(&csr(name, groups, names), signer, 3600, SystemTime::now());
        match (outcome, refusal) {
            (Ok(pem), None) => {
                let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
                assert_eq!(peer_name(&der).expect("a subject").user, name);
            }
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (outcome, refusal) => panic!("{signer} {name}: {outcome:?} instead of {refusal:?}"),
        }
    };
    let nodes = &["system:nodes"][..];
    check(NODE_CLIENT_SIGNER, "system:node:a", nodes, &[], None);
    check(NODE_CLIENT_SIGNER, "system:node:a", nodes, &["a"], Some("not granted to a client"));
    check(NODE_CLIENT_SIGNER, "system:node:", nodes, &[], Some("must be system:node:NAME"));
    check(NODE_CLIENT_SIGNER, "admin", nodes, &[], Some("must be system:node:NAME"));
    check(NODE_CLIENT_SIGNER, "system:node:a", &["system:masters"], &[], Some("system:nodes alone"));
    check(NODE_SERVING_SIGNER, "system:node:a", nodes, &["127.0.0.2", "a"], None);
    check(NODE_SERVING_SIGNER, "system:node:a", nodes, &[], Some("at least one"));
    check(CLIENT_SIGNER, "jane", &["dev"], &[], None);
    check(CLIENT_SIGNER, "jane", &["system:masters"], &[], Some("system:masters is not granted"));
    check("example.com/own", "jane", &[], &[], Some("no signer"));
}

#[test]
fn a_subject_with_anything_but_one_name_and_organizations_is_malformed() {
    let (_dir, ca) = ca();
    let check = |oid: &[u64], value: &str, expected: &str| {
        // A type spelled by its number stands beside the one that the builder knows by name.
        let mut params = leaf_params("system:node:a", &["system:nodes"], SystemTime::now(), DAY);
        params.serial_number = None;
        params.use_authority_key_identifier_extension = false;
        params.distinguished_name.push(DnType::CustomDnType(oid.to_vec()), value);
        let key = KeyPair::generate().expect("a key");
        let pem = params.serialize_request(&key).expect("a request").pem().expect("PEM").into_bytes();
        for signer in [NODE_CLIENT_SIGNER, CLIENT_SIGNER] {
            let error = ca.sign(&pem, signer, 3600, SystemTime::now()).expect_err("a refusal").to_string();
            assert!(error.contains(expected), "{signer}: {error}");
        }
    };
    check(&[2, 5, 4, 3], "system:node:victim", "more than one common name");
    check(&[2, 5, 4, 11], "unit", "nothing else");
    check(&[2, 5, 4, 10], "system:masters", "organization");
}

#[test]
fn a_user_in_several_groups_has_them_all_in_its_certificate() {
    let (_dir, ca) = ca();
    let check = |second: &str, expected: Result<&[&str], &str>| {
        let mut params = leaf_params("jane", &["dev"], SystemTime::now(), DAY);
        params.serial_number = None;
        params.use_authority_key_identifier_extension = false;
        // By its number, because the builder holds one attribute of each kind.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), second);
        let key = KeyPair::generate().expect("a key");
        let csr = params.serialize_request(&key).expect("a request").pem().expect("PEM").into_bytes();
        match (ca.sign(&csr, CLIENT_SIGNER, 3600, SystemTime::now()), expected) {
            (Ok(pem), Ok(groups)) => {
                let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("DER");
                let mut found = peer_name(&der).expect("a subject");
                found.groups.sort();
                assert_eq!(
                    (found.user.as_str(), found.groups),
                    ("jane", groups.iter().map(|g| (*g).to_owned()).collect())
                );
                let (_, leaf) = X509Certificate::from_der(&der).expect("a certificate");
                let (_, root) = X509Certificate::from_der(ca.root()).expect("a certificate");
                leaf.verify_signature(Some(root.public_key())).expect("the authority's signature");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (outcome, _) => panic!("{second}: {outcome:?}"),
        }
    };
    check("ops", Ok(&["dev", "ops"]));
    check("system:masters", Err("system:masters is not granted"));
}

#[test]
fn a_certificate_says_what_was_checked() {
    let (_dir, ca) = ca();
    let csr = csr("system:node:a", &["system:nodes"], &["a", "127.0.0.2"]);
    let pem = ca.sign(&csr, NODE_SERVING_SIGNER, 3600, SystemTime::now()).expect("a certificate");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("DER");
    let name = peer_name(&der).expect("a subject");
    assert_eq!((name.user.as_str(), name.groups), ("system:node:a", vec!["system:nodes".to_owned()]));
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let names = certificate.subject_alternative_name().expect("one extension").expect("names");
    let names: Vec<_> = names.value.general_names.iter().filter_map(identity::general_name).collect();
    assert_eq!(names, ["a", "127.0.0.2"]);
}

#[test]
fn what_is_not_a_request_is_refused_in_words() {
    let check = |input: &[u8], expected: &str| {
        let error = ClusterCa::subject(input).expect_err("a refusal").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(b"", "must be CERTIFICATE REQUEST");
    check(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "cannot be parsed");
}

#[test]
fn an_authority_whose_key_is_gone_is_not_replaced() {
    let (dir, _ca) = ca();
    std::fs::remove_file(dir.path().join("ca.key")).expect("the key's file");
    let error = ClusterCa::open(dir.path(), SystemTime::now()).expect_err("a refusal").to_string();
    assert!(error.contains("ca.key: the cluster's key is missing"), "{error}");
    assert!(error.contains("from pki/ of another server") && error.contains("pal snapshot restore"), "{error}");
}

#[test]
fn an_authority_that_is_damaged_says_what_to_do() {
    for file in ["ca.crt", "ca.key"] {
        let (dir, _ca) = ca();
        let path = dir.path().join(file);
        let mut bytes = std::fs::read(&path).expect("its file");
        let middle = bytes.len() / 2;
        bytes[middle] = b'!';
        std::fs::write(&path, bytes).expect("the damage");
        let error = ClusterCa::open(dir.path(), SystemTime::now()).expect_err("a refusal").to_string();
        assert!(error.contains(file) && error.contains("pal snapshot restore"), "{error}");
    }
}

#[test]
fn names_that_cannot_be_in_a_certificate_are_refused_by_name() {
    let (_dir, ca) = ca();
    for name in ["", "a b", "a..b", "http://x", "ü.example", "a/b"] {
        let error = ca.server_identity(&[name.to_owned()], SystemTime::now()).expect_err("a refusal").to_string();
        assert_eq!(error, format!("{name:?} is neither an IP address nor a DNS name"));
    }
    for name in ["a", "*.example.com", "::1", "10.0.0.1", "my_host.local"] {
        assert!(ca.server_identity(&[name.to_owned()], SystemTime::now()).is_ok(), "{name}");
    }
}

#[test]
fn what_is_signed_begins_a_little_ago_and_is_not_due_to_be_renewed_at_once() {
    let (_dir, ca) = ca();
    let now = SystemTime::now();
    let check = |life: i64, begun: i64| {
        let pem = ca.sign(&csr("jane", &[], &[]), CLIENT_SIGNER, life, now).expect("a certificate");
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let (_, leaf) = X509Certificate::from_der(&leaf).expect("a certificate");
        let at = i64::try_from(now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()).expect("a date");
        let validity = leaf.validity();
        let (from, until) = (validity.not_before.timestamp() - at, validity.not_after.timestamp() - at);
        assert_eq!((from, until), (-begun, life), "{life} s");
        assert!(from + (until - from) / 3 * 2 >= life / 2, "{life} s");
    };
    check(16, 4);
    check(600, 150);
    check(7200, 1800);
    check(30 * 24 * 3600, 3600);
}
