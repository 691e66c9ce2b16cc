use super::*;

#[test]
fn a_watch_lasts_as_long_as_it_asks_for_within_bounds() {
    let check = |query: &str, expected: Option<u64>| {
        let lasts = Query::parse(Some(query)).timeout().expect("a number");
        assert_eq!(lasts.map(|lasts| lasts.as_secs()), expected, "{query}");
    };
    check("", None);
    check("timeoutSeconds=0", None);
    check("timeoutSeconds=-1", None);
    check("timeoutSeconds=300", Some(300));
    check("timeoutSeconds=9223372036854775807", Some(24 * 3600));
}

#[test]
fn what_cannot_be_read_is_told_in_kubernetes_words() {
    let check = |query: &str, parse: fn(&Query<'_>) -> Option<Status>, code: u16, message: &str| {
        let status = parse(&Query::parse(Some(query))).expect("a refusal");
        assert_eq!((status.code, status.message.as_str()), (code, message), "{query}");
    };
    let list = |query: &Query<'_>| query.list().err();
    let watch = |query: &Query<'_>| query.watch().err();
    let write = |query: &Query<'_>| query.write("CreateOptions").err();
    check("limit=x", list, 400, r#"strconv.ParseInt: parsing "x": invalid syntax"#);
    for query in ["limit=", "limit", "timeoutSeconds=&limit=1"] {
        check(query, list, 400, r#"strconv.ParseInt: parsing "": invalid syntax"#);
    }
    let too_large = "9223372036854775808";
    let why = format!("strconv.ParseInt: parsing \"{too_large}\": value out of range");
    check(&format!("limit={too_large}&resourceVersionMatch=x"), list, 400, &why);
    check(
        "resourceVersion=x",
        list,
        400,
        r#"invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#,
    );
    check(
        "resourceVersion=99999999999999999999",
        list,
        400,
        r#"invalid resource version: resourceVersion: Invalid value: "99999999999999999999": strconv.ParseUint: parsing "99999999999999999999": value out of range"#,
    );
    check(
        "resourceVersionMatch=Exact",
        list,
        422,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is \
         forbidden unless resourceVersion is provided",
    );
    check(
        "sendInitialEvents=true",
        list,
        422,
        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
    );
    check(
        "watch=1&sendInitialEvents=true",
        watch,
        422,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
         resourceVersionMatch to NotOlderThan",
    );
    check(
        "sendInitialEvents=false&resourceVersionMatch=Exact",
        watch,
        422,
        "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: sendInitialEvents requires \
         setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported \
         values: \"NotOlderThan\"]",
    );
    check(
        "resourceVersionMatch=NotOlderThan&continue=a",
        watch,
        422,
        "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: resourceVersionMatch is \
         forbidden for watch unless sendInitialEvents is provided, resourceVersionMatch: Forbidden: \
         resourceVersionMatch is forbidden when continue is provided]",
    );
    check(
        "dryRun=Some",
        write,
        422,
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported \
         values: \"All\"",
    );
    check(
        "fieldValidation=Loud",
        write,
        422,
        "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Loud\": supported values: \
         \"\", \"Ignore\", \"Strict\", \"Warn\"",
    );
}

#[test]
fn options_are_read() {
    let query = Query::parse(Some("limit=500&continue=abc&labelSelector=a%3Db&watch"));
    let list = query.list().expect("options");
    assert_eq!((list.limit, list.continue_token.as_deref()), (Some(500), Some("abc")));
    assert!(list.label.is_some() && list.field.is_none());
    assert!(query.flag("watch") && !query.flag("follow") && !Query::parse(Some("watch=False")).flag("watch"));
    let query = Query::parse(Some("dryRun=All&fieldManager=kubectl-create&fieldValidation=Strict"));
    let expected = WriteQuery {
        dry_run: true,
        field_manager: Some("kubectl-create".to_owned()),
        validation: FieldValidation::Strict,
    };
    assert_eq!(query.write("CreateOptions").map_err(|status| status.message), Ok(expected));
    let version = |text: &'static str| Query::parse(Some(text)).read().map_err(|status| status.message);
    assert_eq!(version(""), Ok(Read::Consistent));
    assert_eq!(version("resourceVersion=0"), Ok(Read::Any));
    assert_eq!(version("resourceVersion=7"), Ok(Read::AtLeast(ResourceVersion(7))));
}

#[test]
fn who_applies_says_its_name_and_nobody_else_forces() {
    let check = |query: &str, applies: bool, expected: Result<(), &str>| {
        let checked =
            Query::parse(Some(query)).patch(applies).map(drop).map_err(|status| (status.code, status.message));
        assert_eq!(checked, expected.map_err(|words| (422, words.to_owned())), "{query}");
    };
    check("fieldManager=a&force=true", true, Ok(()));
    check("", false, Ok(()));
    check(
        "force=true",
        true,
        Err("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"),
    );
    check(
        "force=false",
        false,
        Err("PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"),
    );
}

#[test]
fn what_is_no_parameter_is_overlooked() {
    let check = |query: &str, expected: &[(&str, &str)]| {
        let found = Query::parse(Some(query));
        let found: Vec<(&str, &str)> = found.0.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected, "{query}");
    };
    check("", &[]);
    check("&&a=1&&", &[("a", "1")]);
    check("a&=x&b=c=d", &[("a", ""), ("", "x"), ("b", "c=d")]);
    check("a=%zz&b=%4&c=%&d%z=1&e=%4a+b%2B", &[("e", "J b+")]);
    check("a=1;b=2&c=%3B", &[("c", ";")]);
}

#[test]
fn a_nought_that_is_written_otherwise_is_no_version() {
    let check = |query: &str, expected: (Option<u64>, Option<VersionMatch>)| {
        let found = Query::parse(Some(query)).list().expect("options");
        assert_eq!((found.resource_version.map(|version| version.0), found.version_match), expected, "{query}");
    };
    check("resourceVersion=0", (Some(0), None));
    check("resourceVersion=00", (None, None));
    check("resourceVersion=00&resourceVersionMatch=Exact", (None, None));
    check("resourceVersion=01&resourceVersionMatch=Exact", (Some(1), Some(VersionMatch::Exact)));
}
