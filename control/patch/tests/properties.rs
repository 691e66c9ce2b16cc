//! What holds for all patches.

use pal_patch::{go_text, json_patch, merge_patch, strategic_merge};
use pal_resources::schema::{Message, message};
use proptest::prelude::*;
use serde_json::{Value, json};

fn pod_spec() -> &'static Message {
    message("io.k8s.api.core.v1.PodSpec").expect("it is in the table")
}

/// Any JSON, now and then with the names that mean something to a patch.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "delete", "replace", "merge"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let names = prop::sample::select(vec![
            "name",
            "containers",
            "env",
            "ports",
            "volumes",
            "nodeSelector",
            "args",
            "$patch",
            "$retainKeys",
            "$setElementOrder/containers",
            "$setElementOrder/args",
            "$deleteFromPrimitiveList/args",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((names, inner), 0..4)
                .prop_map(|entries| entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn named(names: &'static [&'static str], directives: bool) -> impl Strategy<Value = Value> {
    let env = prop::sample::subsequence(vec!["X", "Y", "Z"], 0..3)
        .prop_shuffle()
        .prop_map(|names| names.iter().map(|name| json!({"name": name, "value": "v"})).collect::<Value>());
    let item = (prop::option::of("[a-c]"), prop::option::of(env), any::<bool>());
    let items = prop::sample::subsequence(names, 0..=names.len()).prop_shuffle();
    (items, prop::collection::vec(item, names.len())).prop_map(move |(names, items)| {
        let list = names.iter().zip(items).map(|(name, (image, env, delete))| {
            let mut item = json!({"name": name});
            if directives && delete {
                item["$patch"] = "delete".into();
                return item;
            }
            if let Some(image) = image {
                item["image"] = image.into();
            }
            if let Some(env) = env {
                item["env"] = env;
            }
            item
        });
        list.collect()
    })
}

fn live() -> impl Strategy<Value = Value> {
    (named(&["a", "b", "c", "d"], false), prop::option::of("[x-z]")).prop_map(|(containers, host)| {
        let mut spec = json!({"containers": containers, "nodeSelector": {"k": "v", "l": "w"}});
        if let Some(host) = host {
            spec["hostname"] = host.into();
        }
        spec
    })
}

fn patch() -> impl Strategy<Value = Value> {
    (named(&["b", "c", "d", "e"], true), any::<bool>(), prop::option::of(prop::option::of("[x-z]"))).prop_map(
        |(containers, ordered, host)| {
            let mut patch = json!({"nodeSelector": {"l": null, "m": "1"}});
            if ordered {
                let kept = containers.as_array().into_iter().flatten().filter(|c| c.get("$patch").is_none());
                patch["$setElementOrder/containers"] = kept.map(|c| json!({"name": c["name"]})).collect();
            }
            patch["containers"] = containers;
            if let Some(host) = host {
                patch["hostname"] = host.into();
            }
            patch
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_strategic_patch_applied_twice_changes_nothing_more(live in live(), patch in patch()) {
        let once = strategic_merge(&live, &patch, pod_spec()).expect("it is well formed");
        let twice = strategic_merge(&once, &patch, pod_spec());
        prop_assert_eq!(twice, Ok(once));
    }

    #[test]
    fn a_strategic_patch_does_what_it_says(live in live(), patch in patch()) {
        let patched = strategic_merge(&live, &patch, pod_spec()).expect("it is well formed");
        let find = |list: &Value, name: &Value| {
            list.as_array().into_iter().flatten().find(|item| &item["name"] == name).cloned()
        };
        for item in patch["containers"].as_array().into_iter().flatten() {
            let found = find(&patched["containers"], &item["name"]);
            if item.get("$patch").is_some() {
                prop_assert_eq!(found, None);
            } else {
                let image = found.map(|found| found["image"].clone());
                prop_assert!(item["image"].is_null() || image.as_ref() == Some(&item["image"]));
            }
        }
        for item in live["containers"].as_array().into_iter().flatten() {
            if find(&patch["containers"], &item["name"]).is_none() {
                prop_assert_eq!(find(&patched["containers"], &item["name"]), Some(item.clone()));
            }
        }
        prop_assert_eq!(&patched["nodeSelector"], &json!({"k": "v", "m": "1"}));
    }

    #[test]
    fn an_empty_patch_changes_nothing(live in live()) {
        prop_assert_eq!(strategic_merge(&live, &json!({}), pod_spec()), Ok(live.clone()));
        prop_assert_eq!(merge_patch(&live, &json!({})), Ok(live.clone()));
        prop_assert_eq!(json_patch(&live, &json!([])), Ok(live));
    }

    #[test]
    fn a_merge_patch_applied_twice_changes_nothing_more(live in any_json(), patch in any_json()) {
        if let Ok(once) = merge_patch(&live, &patch) {
            prop_assert_eq!(merge_patch(&once, &patch), Ok(once));
        }
    }

    #[test]
    fn any_json_is_applied_or_refused(live in any_json(), patch in any_json()) {
        for result in [
            strategic_merge(&live, &patch, pod_spec()),
            merge_patch(&live, &patch),
            json_patch(&live, &patch),
        ] {
            if let Err(error) = result {
                prop_assert!([400, 413, 422, 500].contains(&error.status().code));
                prop_assert!(!go_text(&patch).is_empty() || patch == "");
            }
        }
    }

    #[test]
    fn no_directive_is_left_in_an_object(live in live(), patch in any_json()) {
        if let Ok(patched) = strategic_merge(&live, &patch, pod_spec()) {
            let top = patched.as_object().expect("a patched object is an object");
            prop_assert!(top.keys().all(|key| !key.starts_with('$')));
        }
    }
}
