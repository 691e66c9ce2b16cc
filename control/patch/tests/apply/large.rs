//! Large objects cost what they are large, no more.

use std::time::{Duration, Instant};

use pal_patch::apply::{FieldSet, Shape};
use serde_json::{Map, Value, json};

use crate::story::Story;

const MANY: usize = 20_000;
/// Far more than it takes, and far less than it would take with work that grows as the square.
const LIMIT: Duration = Duration::from_secs(60);

/// Names that are in no order.
fn names() -> impl Iterator<Item = String> {
    (0..MANY).map(|n| format!("k{}", n * 7919 % MANY))
}

#[test]
fn a_map_of_many_entries_is_applied_in_time() {
    let started = Instant::now();
    let data: Map<String, Value> = names().map(|name| (name, json!("v"))).collect();
    let config = json!({"data": data});
    let mut story = Story::new(Shape::of_kind("", "v1", "ConfigMap").expect("a kind"));
    story.apply("one", &config, false).expect("it fits");
    story.apply("two", &config, false).expect("it fits");
    story.apply("one", &json!({}), false).expect("it fits");
    story.update("three", json!({}));
    assert!(story.managers.is_empty());
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

#[test]
fn a_set_of_many_paths_is_read_in_time() {
    let started = Instant::now();
    let entries: Vec<String> = names().map(|name| format!("\"f:{name}\":{{}}")).collect();
    let text = format!("{{{}}}", entries.join(","));
    let set: FieldSet = serde_json::from_str(&text).expect("it is a set");
    assert_eq!(set.len(), MANY);
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

#[test]
fn a_list_of_many_items_is_merged_in_time() {
    let started = Instant::now();
    let items: Vec<String> = names().collect();
    let mut story = Story::new(Shape::of_kind("", "v1", "ConfigMap").expect("a kind"));
    story.update("one", json!({"metadata": {"finalizers": items}}));
    let reversed: Vec<&String> = items.iter().rev().collect();
    story.apply("two", &json!({"metadata": {"finalizers": reversed}}), false).expect("it fits");
    assert_eq!(story.live["metadata"]["finalizers"], json!(reversed));
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}
