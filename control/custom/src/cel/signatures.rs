//! The functions that rules may call: CEL's own and Kubernetes' libraries.

/// The kind of an argument or a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Duration,
    List,
    TextList,
    IntList,
    Map,
    Type,
    Optional,
    Opaque(&'static str),
    /// The result is an optional that holds the argument, or nothing where there is none.
    Holding,
    /// The result is an optional of the first argument's items.
    Found,
    /// The result is of the type of the first argument's items, or of what it holds.
    Inner,
    /// Another argument of that type.
    Item,
    /// The same, or, where it holds nothing, of the second argument's type.
    Either,
    /// Of the first argument's type.
    Same,
    /// The result is a map to lists of texts.
    TextLists,
    /// The result is a list of texts, or nothing.
    Words,
    /// A list of lists.
    Lists,
    /// A list of what can be put in order.
    Sortable,
    /// A list of what can be added up.
    Summable,
}

pub(super) const URL: &str = "kubernetes.URL";
pub(super) const IP: &str = "net.IP";
pub(super) const CIDR: &str = "net.CIDR";
pub(super) const QUANTITY: &str = "kubernetes.Quantity";
pub(super) const SEMVER: &str = "kubernetes.Semver";
pub(super) const FORMAT: &str = "kubernetes.NamedFormat";
pub(super) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(super) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(super) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(super) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(super) const DECISION: &str = "kubernetes.authorization.Decision";

/// For the paths of patches, and so only where those are made.
pub(super) const ESCAPE_KEY: &str = "jsonpatch.escapeKey";

/// Counts up to a number that has a price only where it is written down.
pub(super) const RANGE: &str = "lists.range";

/// One way to call a function.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// Whether the first argument stands before a point.
    pub(super) method: bool,
    pub(super) args: &'static [Kind],
    pub(super) result: Kind,
}

const fn global(name: &'static str, args: &'static [Kind], result: Kind) -> Signature {
    Signature { name, method: false, args, result }
}

const fn method(name: &'static str, args: &'static [Kind], result: Kind) -> Signature {
    Signature { name, method: true, args, result }
}

/// The ways in which a function of that name can be called.
pub(super) fn named(name: &str, is_method: bool) -> impl Iterator<Item = &'static Signature> {
    SIGNATURES.iter().filter(move |signature| signature.name == name && signature.method == is_method)
}

use Kind::{
    Any, Bool, Bytes, Double, Duration, Either, Found, Holding, Inner, Int, IntList, Item, List, Lists, Map, Optional,
    Same, Sortable, Summable, Text, TextList, TextLists, Time, Type, Uint, Words,
};

const fn opaque(name: &'static str) -> Kind {
    Kind::Opaque(name)
}

const SIGNATURES: &[Signature] = &[
    global("size", &[Text], Int),
    global("size", &[Bytes], Int),
    global("size", &[List], Int),
    global("size", &[Map], Int),
    method("size", &[Text], Int),
    method("size", &[Bytes], Int),
    method("size", &[List], Int),
    method("size", &[Map], Int),
    global("int", &[Int], Int),
    global("int", &[Uint], Int),
    global("int", &[Double], Int),
    global("int", &[Text], Int),
    global("int", &[Time], Int),
    global("int", &[Duration], Int),
    global("uint", &[Uint], Uint),
    global("uint", &[Int], Uint),
    global("uint", &[Double], Uint),
    global("uint", &[Text], Uint),
    global("double", &[Double], Double),
    global("double", &[Int], Double),
    global("double", &[Uint], Double),
    global("double", &[Text], Double),
    global("string", &[Text], Text),
    global("string", &[Bool], Text),
    global("string", &[Bytes], Text),
    global("string", &[Int], Text),
    global("string", &[Uint], Text),
    global("string", &[Double], Text),
    global("string", &[Time], Text),
    global("string", &[Duration], Text),
    global("string", &[opaque(IP)], Text),
    global("string", &[opaque(CIDR)], Text),
    global("bytes", &[Bytes], Bytes),
    global("bytes", &[Text], Bytes),
    global("bool", &[Bool], Bool),
    global("bool", &[Text], Bool),
    global("dyn", &[Any], Any),
    global("type", &[Any], Type),
    global("duration", &[Duration], Duration),
    global("duration", &[Int], Duration),
    global("duration", &[Text], Duration),
    global("timestamp", &[Time], Time),
    global("timestamp", &[Int], Time),
    global("timestamp", &[Text], Time),
    method("contains", &[Text, Text], Bool),
    method("startsWith", &[Text, Text], Bool),
    method("endsWith", &[Text, Text], Bool),
    method("matches", &[Text, Text], Bool),
    global("matches", &[Text, Text], Bool),
    // Texts.
    method("charAt", &[Text, Int], Text),
    method("indexOf", &[Text, Text], Int),
    method("indexOf", &[Text, Text, Int], Int),
    method("lastIndexOf", &[Text, Text], Int),
    method("lastIndexOf", &[Text, Text, Int], Int),
    method("lowerAscii", &[Text], Text),
    method("upperAscii", &[Text], Text),
    method("replace", &[Text, Text, Text], Text),
    method("replace", &[Text, Text, Text, Int], Text),
    method("split", &[Text, Text], TextList),
    method("split", &[Text, Text, Int], TextList),
    method("substring", &[Text, Int], Text),
    method("substring", &[Text, Int, Int], Text),
    method("trim", &[Text], Text),
    method("reverse", &[Text], Text),
    method("format", &[Text, List], Text),
    global("strings.quote", &[Text], Text),
    global(ESCAPE_KEY, &[Text], Text),
    method("join", &[TextList], Text),
    method("join", &[TextList, Text], Text),
    method("find", &[Text, Text], Text),
    method("findAll", &[Text, Text], TextList),
    method("findAll", &[Text, Text, Int], TextList),
    // Lists.
    method("isSorted", &[Sortable], Bool),
    method("sum", &[Summable], Inner),
    method("min", &[Sortable], Inner),
    method("max", &[Sortable], Inner),
    method("indexOf", &[List, Item], Int),
    method("lastIndexOf", &[List, Item], Int),
    method("slice", &[List, Int, Int], Same),
    method("flatten", &[Lists], Inner),
    method("flatten", &[List, Int], List),
    method("distinct", &[List], Same),
    method("reverse", &[List], Same),
    method("sort", &[Sortable], Same),
    method("first", &[List], Found),
    method("last", &[List], Found),
    global(RANGE, &[Int], IntList),
    global("sets.contains", &[List, Same], Bool),
    global("sets.equivalent", &[List, Same], Bool),
    global("sets.intersects", &[List, Same], Bool),
    // Times.
    method("getFullYear", &[Time], Int),
    method("getFullYear", &[Time, Text], Int),
    method("getMonth", &[Time], Int),
    method("getMonth", &[Time, Text], Int),
    method("getDate", &[Time], Int),
    method("getDate", &[Time, Text], Int),
    method("getDayOfMonth", &[Time], Int),
    method("getDayOfMonth", &[Time, Text], Int),
    method("getDayOfWeek", &[Time], Int),
    method("getDayOfWeek", &[Time, Text], Int),
    method("getDayOfYear", &[Time], Int),
    method("getDayOfYear", &[Time, Text], Int),
    method("getHours", &[Time], Int),
    method("getHours", &[Time, Text], Int),
    method("getMinutes", &[Time], Int),
    method("getMinutes", &[Time, Text], Int),
    method("getSeconds", &[Time], Int),
    method("getSeconds", &[Time, Text], Int),
    method("getMilliseconds", &[Time], Int),
    method("getMilliseconds", &[Time, Text], Int),
    method("getHours", &[Duration], Int),
    method("getMinutes", &[Duration], Int),
    method("getSeconds", &[Duration], Int),
    method("getMilliseconds", &[Duration], Int),
    // Optional values.
    global("optional.of", &[Any], Holding),
    global("optional.ofNonZeroValue", &[Any], Holding),
    global("optional.none", &[], Holding),
    method("hasValue", &[Optional], Bool),
    method("value", &[Optional], Inner),
    method("or", &[Optional, Same], Same),
    method("orValue", &[Optional, Item], Either),
    // URLs.
    global("url", &[Text], opaque(URL)),
    global("isURL", &[Text], Bool),
    method("getScheme", &[opaque(URL)], Text),
    method("getHost", &[opaque(URL)], Text),
    method("getHostname", &[opaque(URL)], Text),
    method("getPort", &[opaque(URL)], Text),
    method("getEscapedPath", &[opaque(URL)], Text),
    method("getQuery", &[opaque(URL)], TextLists),
    // Addresses.
    global("ip", &[Text], opaque(IP)),
    global("isIP", &[Text], Bool),
    global("ip.isCanonical", &[Text], Bool),
    method("family", &[opaque(IP)], Int),
    method("isUnspecified", &[opaque(IP)], Bool),
    method("isLoopback", &[opaque(IP)], Bool),
    method("isLinkLocalMulticast", &[opaque(IP)], Bool),
    method("isLinkLocalUnicast", &[opaque(IP)], Bool),
    method("isGlobalUnicast", &[opaque(IP)], Bool),
    global("cidr", &[Text], opaque(CIDR)),
    global("isCIDR", &[Text], Bool),
    method("containsIP", &[opaque(CIDR), Text], Bool),
    method("containsIP", &[opaque(CIDR), opaque(IP)], Bool),
    method("containsCIDR", &[opaque(CIDR), Text], Bool),
    method("containsCIDR", &[opaque(CIDR), opaque(CIDR)], Bool),
    method("ip", &[opaque(CIDR)], opaque(IP)),
    method("masked", &[opaque(CIDR)], opaque(CIDR)),
    method("prefixLength", &[opaque(CIDR)], Int),
    // Quantities.
    global("quantity", &[Text], opaque(QUANTITY)),
    global("isQuantity", &[Text], Bool),
    method("sign", &[opaque(QUANTITY)], Int),
    method("isInteger", &[opaque(QUANTITY)], Bool),
    method("asInteger", &[opaque(QUANTITY)], Int),
    method("asApproximateFloat", &[opaque(QUANTITY)], Double),
    method("add", &[opaque(QUANTITY), opaque(QUANTITY)], opaque(QUANTITY)),
    method("add", &[opaque(QUANTITY), Int], opaque(QUANTITY)),
    method("sub", &[opaque(QUANTITY), opaque(QUANTITY)], opaque(QUANTITY)),
    method("sub", &[opaque(QUANTITY), Int], opaque(QUANTITY)),
    method("compareTo", &[opaque(QUANTITY), opaque(QUANTITY)], Int),
    method("isLessThan", &[opaque(QUANTITY), opaque(QUANTITY)], Bool),
    method("isGreaterThan", &[opaque(QUANTITY), opaque(QUANTITY)], Bool),
    // Versions.
    global("semver", &[Text], opaque(SEMVER)),
    global("semver", &[Text, Bool], opaque(SEMVER)),
    global("isSemver", &[Text], Bool),
    global("isSemver", &[Text, Bool], Bool),
    method("major", &[opaque(SEMVER)], Int),
    method("minor", &[opaque(SEMVER)], Int),
    method("patch", &[opaque(SEMVER)], Int),
    method("compareTo", &[opaque(SEMVER), opaque(SEMVER)], Int),
    method("isLessThan", &[opaque(SEMVER), opaque(SEMVER)], Bool),
    method("isGreaterThan", &[opaque(SEMVER), opaque(SEMVER)], Bool),
    // Formats.
    global("format.named", &[Text], Optional),
    method("validate", &[opaque(FORMAT), Text], Words),
    global("format.dns1123Label", &[], opaque(FORMAT)),
    global("format.dns1123Subdomain", &[], opaque(FORMAT)),
    global("format.dns1035Label", &[], opaque(FORMAT)),
    global("format.qualifiedName", &[], opaque(FORMAT)),
    global("format.dns1123LabelPrefix", &[], opaque(FORMAT)),
    global("format.dns1123SubdomainPrefix", &[], opaque(FORMAT)),
    global("format.dns1035LabelPrefix", &[], opaque(FORMAT)),
    global("format.labelValue", &[], opaque(FORMAT)),
    global("format.uri", &[], opaque(FORMAT)),
    global("format.uuid", &[], opaque(FORMAT)),
    global("format.byte", &[], opaque(FORMAT)),
    global("format.date", &[], opaque(FORMAT)),
    global("format.datetime", &[], opaque(FORMAT)),
    // What somebody may do.
    method("path", &[opaque(AUTHORIZER), Text], opaque(PATH_CHECK)),
    method("group", &[opaque(AUTHORIZER), Text], opaque(GROUP_CHECK)),
    method("serviceAccount", &[opaque(AUTHORIZER), Text, Text], opaque(AUTHORIZER)),
    method("resource", &[opaque(GROUP_CHECK), Text], opaque(RESOURCE_CHECK)),
    method("subresource", &[opaque(RESOURCE_CHECK), Text], opaque(RESOURCE_CHECK)),
    method("namespace", &[opaque(RESOURCE_CHECK), Text], opaque(RESOURCE_CHECK)),
    method("name", &[opaque(RESOURCE_CHECK), Text], opaque(RESOURCE_CHECK)),
    method("fieldSelector", &[opaque(RESOURCE_CHECK), Text], opaque(RESOURCE_CHECK)),
    method("labelSelector", &[opaque(RESOURCE_CHECK), Text], opaque(RESOURCE_CHECK)),
    method("check", &[opaque(PATH_CHECK), Text], opaque(DECISION)),
    method("check", &[opaque(RESOURCE_CHECK), Text], opaque(DECISION)),
    method("allowed", &[opaque(DECISION)], Bool),
    method("reason", &[opaque(DECISION)], Text),
    method("errored", &[opaque(DECISION)], Bool),
    method("error", &[opaque(DECISION)], Text),
];
