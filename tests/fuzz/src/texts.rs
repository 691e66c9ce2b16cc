//! Short texts with a grammar of their own.

use std::collections::BTreeMap;

use pal_resources::quantity::Quantity;
use pal_resources::selector::{FieldSelector, LabelSelector};

/// A selector: of labels, and of fields.
pub(crate) fn selectors(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        let nothing = selector.matches(&BTreeMap::new());
        assert!(!selector.is_empty() || nothing, "a selector without requirements matches all");
        let labels: BTreeMap<String, String> = selector
            .requirements()
            .iter()
            .map(|requirement| (requirement.key.clone(), requirement.values.first().cloned().unwrap_or_default()))
            .collect();
        let _ = selector.matches(&labels);
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        assert_eq!(selector.requirements().is_empty(), selector.is_empty());
        let _ = selector.matches(|_| Some("x"));
    }
}

/// A quantity, whose canonical form is one and is worth the same.
pub(crate) fn quantities(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(canonical) = Quantity::canonical(text) else { return };
    assert_eq!(Quantity::canonical(&canonical).as_ref(), Ok(&canonical), "of {text:?}");
    if let (Ok(one), Ok(other)) = (text.parse::<Quantity>(), canonical.parse::<Quantity>()) {
        assert_eq!(
            (one.millis(), one.is_negative()),
            (other.millis(), other.is_negative()),
            "{text:?} as {canonical:?}"
        );
    }
}
