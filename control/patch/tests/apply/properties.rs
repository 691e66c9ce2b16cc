//! What holds of any writes.

use pal_patch::apply::{Element, FieldSet, Operation, Shape};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::story::{Story, schema};

/// Configurations of the kind with every sort of field.
fn config() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let texts = prop::collection::btree_map(name.clone(), "[xy]", 0..3);
    let set = prop::collection::btree_set(name.clone(), 0..3);
    let items = prop::collection::btree_map(name, prop::option::of(0..2i64), 0..3);
    (prop::option::of(0..3i64), texts.clone(), set, items, prop::option::of(texts)).prop_map(
        |(number, map, set, items, whole)| {
            let mut object = Map::new();
            if let Some(number) = number {
                object.insert("number".to_owned(), number.into());
            }
            if !map.is_empty() {
                object.insert("map".to_owned(), json!(map));
            }
            if !set.is_empty() {
                object.insert("set".to_owned(), json!(set));
            }
            if !items.is_empty() {
                let item = |(name, value): (&str, Option<i64>)| match value {
                    Some(value) => json!({"name": name, "value": value}),
                    None => json!({"name": name}),
                };
                object.insert("items".to_owned(), items.into_iter().map(item).collect());
            }
            if let Some(whole) = whole {
                object.insert("whole".to_owned(), json!(whole));
            }
            Value::Object(object)
        },
    )
}

#[derive(Clone, Debug)]
struct Write {
    manager: &'static str,
    applies: bool,
    config: Value,
}

fn write() -> impl Strategy<Value = Write> {
    let manager = prop_oneof![Just("one"), Just("two"), Just("three")];
    (manager, prop::bool::weighted(0.7), config()).prop_map(|(manager, applies, config)| Write {
        manager,
        applies,
        config,
    })
}

fn run(story: &mut Story<'_>, write: &Write) {
    if write.applies {
        story.apply(write.manager, &write.config, true).expect("it fits, and is forced");
    } else {
        story.update(write.manager, write.config.clone());
    }
}

/// The value at a path, if there is one.
fn at<'a>(value: &'a Value, path: &[Element]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, element| match element {
        Element::Field(name) => value.get(&**name),
        Element::Value(item) => value.as_array()?.iter().find(|other| *other == item),
        Element::Key(keys) => {
            value.as_array()?.iter().find(|item| keys.iter().all(|(name, value)| item.get(&**name) == Some(value)))
        }
        Element::Index(_) => None,
    })
}

fn applied_by_others(story: &Story<'_>, manager: &str) -> FieldSet {
    let others = story.managers.entries().iter();
    others
        .filter(|entry| entry.operation == Operation::Apply && entry.manager != manager)
        .fold(FieldSet::default(), |all, entry| all.union(&entry.fields))
}

fn owned_at_all(story: &Story<'_>) -> FieldSet {
    story.managers.entries().iter().fold(FieldSet::default(), |all, entry| all.union(&entry.fields))
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(writes in prop::collection::vec(write(), 1..8), last in config()) {
        let schema = schema();
        let mut story = Story::new(Shape::Custom(&schema));
        writes.iter().for_each(|write| run(&mut story, write));
        story.apply("one", &last, true).expect("it fits");
        let (live, managers) = (story.live.clone(), story.managers.clone());
        story.apply("one", &last, false).expect("nothing is in conflict with what is so already");
        prop_assert_eq!(&story.live, &live);
        prop_assert_eq!(&story.managers, &managers, "times included");
    }

    #[test]
    fn what_is_applied_is_so_and_owned(writes in prop::collection::vec(write(), 0..8), last in config()) {
        let schema = schema();
        let mut story = Story::new(Shape::Custom(&schema));
        writes.iter().for_each(|write| run(&mut story, write));
        story.apply("one", &last, true).expect("it fits");
        let entry = story.managers.entries().iter().find(|e| e.manager == "one" && e.operation == Operation::Apply);
        for path in entry.map(|entry| entry.fields.paths()).unwrap_or_default() {
            prop_assert_eq!(at(&story.live, &path).is_some(), at(&last, &path).is_some(), "{:?}", path);
        }
        prop_assert_eq!(at(&story.live, &[Element::field("number")]).filter(|_| last.get("number").is_some()),
            last.get("number"));
    }

    #[test]
    fn what_is_owned_is_there(writes in prop::collection::vec(write(), 0..8)) {
        let schema = schema();
        let mut story = Story::new(Shape::Custom(&schema));
        for write in &writes {
            run(&mut story, write);
            for path in owned_at_all(&story).paths() {
                // A list's own path may outlive its items.
                let container = path.len() == 1;
                prop_assert!(container || at(&story.live, &path).is_some(), "{:?} in {}", path, story.live);
            }
        }
    }

    #[test]
    fn what_an_applier_drops_goes_exactly_if_no_other_applies_it(
        writes in prop::collection::vec(write(), 0..6), first in config(), second in config(),
    ) {
        let schema = schema();
        let mut story = Story::new(Shape::Custom(&schema));
        writes.iter().for_each(|write| run(&mut story, write));
        story.apply("one", &first, true).expect("it fits");
        story.apply("one", &second, true).expect("it fits");
        let others = applied_by_others(&story, "one");
        let dropped = |name: &str| first.get(name).is_some() && second.get(name).is_none();
        for name in ["number", "whole"] {
            if dropped(name) {
                let kept = others.has(&[Element::field(name)]);
                prop_assert_eq!(story.live.get(name).is_some(), kept, "{}", name);
            }
        }
        for item in first["set"].as_array().into_iter().flatten() {
            let again = second["set"].as_array().is_some_and(|items| items.contains(item));
            if !again {
                let path = [Element::field("set"), Element::Value(item.clone())];
                prop_assert_eq!(at(&story.live, &path).is_some(), others.has(&path), "{}", item);
            }
        }
    }

    #[test]
    fn a_refused_apply_names_fields_of_others_only(writes in prop::collection::vec(write(), 1..8), last in config()) {
        let schema = schema();
        let mut story = Story::new(Shape::Custom(&schema));
        writes.iter().for_each(|write| run(&mut story, write));
        let (live, managers) = (story.live.clone(), story.managers.clone());
        if let Err(error) = story.apply("one", &last, false) {
            let status = error.status();
            prop_assert_eq!(status.code, 409);
            let causes = status.details.expect("details").causes;
            prop_assert!(!causes.is_empty());
            prop_assert!(causes.iter().all(|cause| !cause.field.is_empty()));
            prop_assert_eq!(&story.live, &live);
            prop_assert_eq!(&story.managers, &managers);
        }
    }

    #[test]
    fn sets_are_read_as_they_were_written(writes in prop::collection::vec(write(), 0..6)) {
        let schema = schema();
        let mut story = Story::new(Shape::Custom(&schema));
        writes.iter().for_each(|write| run(&mut story, write));
        let text = story.managers.to_json();
        if !text.is_empty() {
            let read = pal_patch::apply::Managers::from_json(&text).expect("it was written so");
            prop_assert_eq!(read.to_json(), text);
            prop_assert!(read.owns_same(&story.managers));
        }
    }
}
