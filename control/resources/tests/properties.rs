//! What holds for all bodies.

use pal_resources::codec::{FieldValidation, Media, conform, decode, to_protobuf};
use pal_resources::resource::{builtin, find};
use pal_resources::schema::{Field, Many, Message, Shape, Type, message_for};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Objects of the message, some levels deep. Zeros are left out, as the codec leaves them out.
fn object(message: &'static Message, depth: u32) -> BoxedStrategy<Value> {
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = message
        .fields
        .iter()
        .map(|field| {
            // Few fields of many, so that objects stay small.
            let weight = if depth == 0 { 1 } else { 3 };
            prop_oneof![
                6 => Just(None),
                weight => value(field, depth).prop_map(|value| Some((field.name.to_owned(), value))),
            ]
            .boxed()
        })
        .collect();
    fields.prop_map(|entries| Value::Object(entries.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

fn value(field: &'static Field, depth: u32) -> BoxedStrategy<Value> {
    let one = single(field.ty, depth);
    match field.many {
        Many::One => one,
        Many::List => prop::collection::vec(one, 1..3).prop_map(Value::Array).boxed(),
        Many::Map => prop::collection::btree_map("[a-z]{1,3}", one, 1..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
            .boxed(),
    }
}

fn single(ty: Type, depth: u32) -> BoxedStrategy<Value> {
    let text = || "[a-z/.]{1,8}".prop_map(Value::String);
    match ty {
        Type::String => text().boxed(),
        Type::Int32 => prop_oneof![any::<i32>()].prop_filter("zeros", |n| *n != 0).prop_map(Value::from).boxed(),
        Type::Int64 => any::<i64>().prop_filter("zeros", |n| *n != 0).prop_map(Value::from).boxed(),
        Type::Double => (1i32..1000).prop_map(|n| Value::from(f64::from(n) / 4.0)).boxed(),
        Type::Bool => Just(Value::Bool(true)).boxed(),
        Type::Bytes => prop_oneof![Just("YQ=="), Just("YWJj"), Just("/+8=")].prop_map(Value::from).boxed(),
        Type::Message(id) => match id.get().shape {
            Shape::Object if depth > 0 => object(id.get(), depth - 1),
            Shape::Object => Just(Value::Object(Map::new())).boxed(),
            Shape::Time => Just(Value::from("2026-11-21T18:00:00Z")).boxed(),
            Shape::MicroTime => Just(Value::from("2026-11-21T18:00:00.000250Z")).boxed(),
            Shape::Duration => Just(Value::from("1m30s")).boxed(),
            Shape::Quantity => prop_oneof![Just("100m"), Just("1Gi"), Just("3")].prop_map(Value::from).boxed(),
            Shape::IntOrString => prop_oneof![text().boxed(), (1i32..9).prop_map(Value::from).boxed()].boxed(),
            Shape::RawObject | Shape::RawJson => Just(serde_json::json!({"a": [1, null]})).boxed(),
            Shape::Strings => prop::collection::vec(text(), 1..3).prop_map(Value::Array).boxed(),
            _ => Just(Value::Object(Map::new())).boxed(),
        },
    }
}

/// An object of some built-in kind.
fn any_object() -> impl Strategy<Value = Value> {
    let kinds: Vec<_> = builtin().to_vec();
    prop::sample::select(kinds).prop_flat_map(|resource| {
        let message = message_for(&resource.group, &resource.version, &resource.kind).expect("kinds have messages");
        object(message, 4).prop_map(move |value| {
            let mut object = Map::new();
            object.insert("kind".to_owned(), resource.kind.to_string().into());
            object.insert("apiVersion".to_owned(), resource.api_version().into());
            if let Value::Object(fields) = value {
                object.extend(fields);
            }
            Value::Object(object)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_encoding_gives_the_same_object(object in any_object()) {
        let read = |media, body: &[u8]| {
            decode(media, body, None, FieldValidation::Strict).map(|decoded| decoded.value)
        };
        let text = object.to_string();
        prop_assert_eq!(read(Media::Json, text.as_bytes()), Ok(object.clone()));
        // JSON is YAML.
        prop_assert_eq!(read(Media::Yaml, text.as_bytes()), Ok(object.clone()));
        let bytes = to_protobuf(&object).expect("the kind has a message");
        prop_assert_eq!(read(Media::Protobuf, &bytes), Ok(object.clone()));
    }

    #[test]
    fn what_was_read_is_canonical(object in any_object()) {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let again = conform(object.clone(), (group, version, &kind), FieldValidation::Strict).map(|d| d.value);
        prop_assert_eq!(again, Ok(object));
    }

    #[test]
    fn broken_protobuf_never_panics(object in any_object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = to_protobuf(&object).expect("the kind has a message");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Err(status) = decode(Media::Protobuf, &bytes, None, FieldValidation::Strict) {
            prop_assert_eq!(status.code, 400);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let pods = find("", "v1", "pods").expect("a built-in resource");
        let mut enveloped = b"k8s\0\x12".to_vec();
        enveloped.push(body.len().min(127) as u8);
        enveloped.extend_from_slice(&body);
        for (media, body) in [(Media::Json, &body), (Media::Yaml, &body), (Media::Protobuf, &body), (Media::Protobuf, &enveloped)] {
            if let Err(status) = decode(media, body, Some(&pods), FieldValidation::Strict) {
                prop_assert_eq!(status.code, 400);
            }
        }
    }

    #[test]
    fn a_cut_off_body_is_refused(object in any_object(), cut in any::<prop::sample::Index>()) {
        let text = object.to_string();
        let cut = &text.as_bytes()[..cut.index(text.len())];
        let status = decode(Media::Json, cut, None, FieldValidation::Ignore).expect_err("it is cut off");
        prop_assert_eq!(status.code, 400);
    }
}
