//! The schema's table is what the sources give.

#[path = "../examples/facts/generate.rs"]
mod generate;
#[path = "../examples/facts/openapi.rs"]
mod openapi;
#[path = "../examples/facts/protobuf.rs"]
mod protobuf;
#[path = "../examples/facts/sources.rs"]
mod sources;

use std::path::Path;

use pal_resources::resource::builtin;
use pal_resources::schema::{self, Many, Shape, message_for, messages};

#[test]
fn the_table_is_what_the_sources_give() {
    let sources = match sources::Sources::locate() {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("not compared, the sources are not on this machine (`cargo fetch` brings them): {error}");
            return;
        }
    };
    let tables = generate::tables(&sources).expect("the sources are readable");
    // k8s-pb is a version ahead of the served one: what is left out is told, and is little.
    assert!(tables.notes.len() < 10, "{:?}", tables.notes);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema");
    for (name, expected) in [("facts.txt", &tables.facts), ("descriptions.txt", &tables.descriptions)] {
        let found = std::fs::read_to_string(folder.join(name)).expect("the table is checked in");
        let difference = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        let difference = difference.map(|(found, expected)| format!("\n  has {found}\n  not {expected}"));
        assert!(
            found == *expected,
            "{name} is not what the sources give: run `cargo run -p pal-resources --example facts`{}",
            difference.unwrap_or_default()
        );
    }
}

#[test]
fn every_served_kind_has_a_message() {
    for resource in builtin() {
        let message = message_for(&resource.group, &resource.version, &resource.kind);
        assert!(message.is_some_and(|m| m.root && m.field("metadata").is_some()), "{}", resource.kind);
        for sub in resource.subresources.iter().filter(|sub| !sub.kind.ends_with("Options")) {
            assert!(message_for(&sub.group, &sub.version, &sub.kind).is_some(), "{}", sub.kind);
        }
    }
}

#[test]
fn the_table_holds_together() {
    assert!(messages().len() > 500);
    for message in messages() {
        // The codec keeps a bit for each field.
        assert!(message.fields.len() <= 128, "{}", message.name);
        assert_eq!(schema::message(message.name).map(|m| m.name), Some(message.name));
        for field in &message.fields {
            let found = message.field(field.name);
            assert!(found.is_some_and(|f| std::ptr::eq(f, field)), "{} has two fields {}", message.name, field.name);
            if let Some(key) = field.merge_key {
                let item = field.message().and_then(|item| item.field(key));
                assert!(item.is_some(), "{}.{} has no key {key}", message.name, field.name);
            }
            for key in &field.list_keys {
                let item = field.message().and_then(|item| item.field(key));
                assert!(item.is_some() || field.many == Many::Map, "{}.{} has no key {key}", message.name, field.name);
            }
        }
    }
}

#[test]
fn fields_are_as_the_api_has_them() {
    let message = |name: &str| schema::message(name).expect("it is in the table");
    let spec = message("io.k8s.api.core.v1.ServiceSpec");
    let ports = spec.field("ports").expect("it has ports");
    assert_eq!((ports.number, ports.many, ports.merge, ports.merge_key), (1, Many::List, true, Some("port")));
    assert_eq!(ports.list_keys, ["port", "protocol"]);
    assert_eq!(spec.field("clusterIPs").map(|f| f.number), Some(18));
    let volume = message("io.k8s.api.core.v1.Volume");
    assert!(volume.field("emptyDir").is_some() && volume.field("volumeSource").is_none());
    let probe = message("io.k8s.api.core.v1.Probe");
    assert!(probe.field("httpGet").is_some());
    assert_eq!(message("io.k8s.apimachinery.pkg.api.resource.Quantity").shape, Shape::Quantity);
    let replicas = message("io.k8s.api.apps.v1.DeploymentSpec").field("replicas").expect("it has replicas");
    assert!(replicas.pointer && !replicas.required);
    let volumes = message("io.k8s.api.core.v1.PodSpec").field("volumes").expect("it has volumes");
    assert!(volumes.merge && volumes.retain_keys);
    assert_eq!(message("io.k8s.api.core.v1.ContainerPort").field("protocol").and_then(|f| f.default), Some("\"TCP\""));
}
