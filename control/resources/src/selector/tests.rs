use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use proptest::prelude::*;
use serde_json::json;

use super::{FieldSelector, LabelSelector};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn label_selectors_select_by_all_their_conditions() {
    let web = labels(&[("app", "web"), ("tier", "front"), ("n", "7"), ("empty", "")]);
    let table = [
        ("", true),
        ("app", true),
        ("!app", false),
        ("! app", false),
        ("app=web", true),
        ("app==web", true),
        ("app = web", true),
        ("app!=web", false),
        ("other!=web", true),
        ("app=", false),
        ("app in (web, api)", true),
        ("app notin (web)", false),
        ("other notin (web)", true),
        ("app in (api)", false),
        ("app in ()", false),
        ("app notin ( )", true),
        ("other notin ()", true),
        ("empty in (),app", true),
        ("empty in (,x)", true),
        ("empty notin (x,)", false),
        ("empty=", true),
        ("app=web,tier=front", true),
        ("app=web,tier=back", false),
        ("app=web,!old", true),
        ("n>6", true),
        ("n>7", false),
        ("n<8", true),
        ("app>1", false),
        ("in in (in)", false),
        ("example.com/app!=x", true),
    ];
    for (text, expected) in table {
        let selector = LabelSelector::parse(text).expect(text);
        assert_eq!(selector.matches(&web), expected, "{text}");
    }
}

#[test]
fn label_selectors_that_make_no_sense_are_refused_in_kubernetes_words() {
    let table = [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (b),", "found '', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "a=b_",
            "unable to parse requirement: values[0][a]: Invalid value: \"b_\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        (
            "a/=b",
            "unable to parse requirement: key: Invalid value: \"a/\": name part must be non-empty; name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
    ];
    for (text, expected) in table {
        let status = LabelSelector::parse(text).expect_err(text);
        assert_eq!((status.code, status.message.as_str()), (400, expected));
    }
}

#[test]
fn selectors_of_objects_are_those_of_query_strings() {
    let table = [
        (json!({}), ""),
        (json!({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
        (
            json!({"matchExpressions": [
                {"key": "z", "operator": "Exists"},
                {"key": "y", "operator": "DoesNotExist"},
                {"key": "x", "operator": "NotIn", "values": ["2", "1"]},
            ]}),
            "x notin (1,2),!y,z",
        ),
    ];
    for (object, expected) in table {
        let object: meta::LabelSelector = serde_json::from_value(object).expect("a selector");
        let selector = LabelSelector::from_object(&object).expect("valid");
        assert_eq!(selector.to_string(), expected);
    }
    let object = json!({"matchExpressions": [{"key": "z", "operator": "Like"}]});
    let object: meta::LabelSelector = serde_json::from_value(object).expect("a selector");
    let error = LabelSelector::from_object(&object).expect_err("no such operator");
    let expected = "matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn field_selectors_compare_texts() {
    let field = |name: &str| match name {
        "status.phase" => Some("Running"),
        "metadata.name" => Some("a,b=c\\"),
        _ => None,
    };
    let table = [
        ("", true),
        ("status.phase=Running", true),
        ("status.phase==Running", true),
        ("status.phase!=Running", false),
        ("status.phase!=Failed,spec.nodeName=", true),
        ("spec.nodeName!=", false),
        ("metadata.name=a\\,b\\=c\\\\", true),
    ];
    for (text, expected) in table {
        let selector = FieldSelector::parse(text).expect(text);
        assert_eq!(selector.matches(field), expected, "{text}");
    }
}

#[test]
fn field_selectors_that_make_no_sense_are_refused() {
    let table = [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
        ("a=\\b", "invalid field selector: invalid escape sequence: \"\\\\b\""),
    ];
    for (text, expected) in table {
        let status = FieldSelector::parse(text).expect_err(text);
        assert_eq!((status.code, status.message.as_str()), (400, expected));
    }
}

proptest! {
    #[test]
    fn any_text_is_a_selector_or_refused(text in ".{0,60}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }

    #[test]
    fn selectors_are_read_as_they_are_written(
        text in "[a-c]( (in|notin) \\([x-z](,[x-z]){0,2}\\)|=[x-z]|!=[x-z]|>[0-9])?(,!?[d-f]){0,2}",
        pairs in proptest::collection::btree_map("[a-f]", "[x-z0-9]", 0..4),
    ) {
        let selector = LabelSelector::parse(&text).expect("well formed");
        let again = LabelSelector::parse(&selector.to_string()).expect("written well formed");
        prop_assert_eq!(again.matches(&pairs), selector.matches(&pairs));
        prop_assert_eq!(again.to_string(), selector.to_string());
    }
}
