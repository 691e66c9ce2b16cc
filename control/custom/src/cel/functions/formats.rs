//! Named formats (Kubernetes' `format`).

use std::rc::Rc;

use pal_resources::kinds::names;

use super::super::meter::Meter;
use super::super::value::V;
use super::Outcome;
use crate::schema::format::Format;

const KNOWN: &[&str] = &[
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

pub(super) fn call<'a>(name: &str, args: &[V<'a>], meter: &mut Meter) -> Option<Outcome<'a>> {
    let known = |name: &str| KNOWN.iter().find(|known| **known == name).copied();
    Some(match (name, args) {
        ("format.named", [V::Text(name)]) => Ok(V::Optional(known(name).map(|name| Rc::new(V::Format(name))))),
        ("validate", [V::Format(format), V::Text(text)]) => meter.charge_text(text.len()).map(|()| {
            let faults = faults(format, text);
            let list = V::list(faults.into_iter().map(V::text).collect());
            V::Optional((list.count() != Some(0)).then(|| Rc::new(list)))
        }),
        (name, []) => Ok(V::Format(known(name.strip_prefix("format.")?)?)),
        _ => return None,
    })
}

/// How long the pattern of a format is, for what it costs to look at a text.
pub(super) fn pattern_len(format: &str) -> usize {
    match format {
        "dns1123Label" | "dns1035Label" | "dns1123LabelPrefix" | "dns1035LabelPrefix" => 30,
        "labelValue" => 40,
        "dns1123Subdomain" | "dns1123SubdomainPrefix" | "qualifiedName" => 60,
        "date" => 10,
        "datetime" => 35,
        "uuid" => 120,
        _ => 1_000,
    }
}

fn faults(format: &str, text: &str) -> Vec<String> {
    // A prefix may end in a dash, which is then not its end.
    let prefix = || format!("{}a", text.strip_suffix('-').unwrap_or(text));
    let standard = |name: &str, why: &str| match Format::read(name) {
        Some(format) if !format.fits(text) => vec![why.to_owned()],
        _ => Vec::new(),
    };
    match format {
        "dns1123Label" => names::dns1123_label(text),
        "dns1123Subdomain" => names::dns1123_subdomain(text),
        "dns1035Label" => names::dns1035_label(text),
        "qualifiedName" => names::qualified_name(text),
        "dns1123LabelPrefix" => names::dns1123_label(&prefix()),
        "dns1123SubdomainPrefix" => names::dns1123_subdomain(&prefix()),
        "dns1035LabelPrefix" => names::dns1035_label(&prefix()),
        "labelValue" => names::label_value(text),
        "uri" => standard("uri", "invalid URI"),
        "uuid" => standard("uuid", "does not match the UUID format"),
        "byte" => standard("byte", "invalid base64"),
        "date" => standard("date", "invalid date"),
        _ => standard("date-time", "invalid datetime"),
    }
}
