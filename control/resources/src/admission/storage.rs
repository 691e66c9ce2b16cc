//! Defaults that a class in the cluster gives: of storage and of Ingresses; and which claims may grow.

use serde_json::Value;

use super::pod::object;
use crate::amounts;
use crate::volumes::OLD_CLASS as OLD_CLASS_OF_CLAIM;

/// The annotations that make a class of storage the default one.
pub const DEFAULT_CLASS: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const INGRESS_CLASS: &[&str] = &["ingressclass.kubernetes.io/is-default-class"];
const OLD_CLASS_OF_INGRESS: &str = "kubernetes.io/ingress.class";

/// The finalizer of claims, which stay while pods use them.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// The finalizer of volumes, which stay while they are bound.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// Protects a new claim or volume (the StorageObjectInUseProtection admission plugin).
pub fn protect(object: &mut Value, finalizer: &str) {
    let Some(metadata) = self::object(object, "metadata") else { return };
    let finalizers = metadata.entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if finalizers.is_null() {
        *finalizers = Value::Array(Vec::new());
    }
    if let Some(list) = finalizers.as_array_mut().filter(|list| list.iter().all(|own| own != finalizer)) {
        list.push(finalizer.into());
    }
}

/// Of several default classes, each with the time when it was made, the one made last, of those the first by name.
pub fn newest<'a, T: Ord>(defaults: impl Iterator<Item = (T, &'a str)>) -> Option<&'a str> {
    defaults.max_by(|(made, name), (later, other)| made.cmp(later).then(other.cmp(name))).map(|(_, name)| name)
}

fn default_name<'a>(classes: &[&'a Value], marks: &[&str]) -> Option<&'a str> {
    let is_default =
        |class: &&'a Value| marks.iter().any(|mark| class["metadata"]["annotations"][*mark].as_str() == Some("true"));
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    let class = |class: &'a Value| (text(&class["metadata"]["creationTimestamp"]), text(&class["metadata"]["name"]));
    newest(classes.iter().copied().filter(is_default).map(class))
}

/// Gives a new claim that names no class the default one. `""` is a name: that of none.
pub fn fill_claim(classes: &[&Value], claim: &mut Value) {
    let old_style = claim["metadata"]["annotations"].get(OLD_CLASS_OF_CLAIM).is_some();
    fill(claim, "storageClassName", old_style, || default_name(classes, DEFAULT_CLASS));
}

/// Gives a new Ingress that names no class the default one.
pub fn fill_ingress(classes: &[&Value], ingress: &mut Value) {
    let old_style = ingress["metadata"]["annotations"].get(OLD_CLASS_OF_INGRESS).is_some();
    fill(ingress, "ingressClassName", old_style, || default_name(classes, INGRESS_CLASS));
}

fn fill<'a>(of: &mut Value, field: &str, old_style: bool, default: impl FnOnce() -> Option<&'a str>) {
    if old_style || of["spec"].get(field).is_some_and(|class| !class.is_null()) {
        return;
    }
    if let (Some(name), Some(spec)) = (default(), object(of, "spec")) {
        spec.insert(field.to_owned(), name.into());
    }
}

/// The class that a claim is of.
pub fn class_of(claim: &Value) -> Option<&str> {
    let annotated = claim["metadata"]["annotations"][OLD_CLASS_OF_CLAIM].as_str();
    annotated.or_else(|| claim["spec"]["storageClassName"].as_str()).filter(|class| !class.is_empty())
}

/// Whether a claim that grows may. The refusal's words.
pub fn check_growth(class: Option<&Value>, old: &Value, new: &Value) -> Result<(), String> {
    let size = |claim: &Value| amounts::read(&claim["spec"]["resources"]["requests"]).remove("storage");
    if size(new) <= size(old) {
        return Ok(());
    }
    if old["status"]["phase"] != "Bound" {
        return Err("Only bound persistent volume claims can be expanded".to_owned());
    }
    if class.is_some_and(|class| class["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    Err("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_new_is_protected_once() {
        let check = |metadata: Value, expected: Value| {
            let mut claim = json!({"metadata": metadata});
            protect(&mut claim, CLAIM_PROTECTION);
            assert_eq!(claim["metadata"]["finalizers"], expected);
        };
        check(json!({}), json!([CLAIM_PROTECTION]));
        check(json!({"finalizers": null}), json!([CLAIM_PROTECTION]));
        check(json!({"finalizers": ["x"]}), json!(["x", CLAIM_PROTECTION]));
        check(json!({"finalizers": [CLAIM_PROTECTION]}), json!([CLAIM_PROTECTION]));
    }

    #[test]
    fn claims_get_the_default_class() {
        let class = |name: &str, made: &str, default: &str| json!({"metadata": {"name": name, "creationTimestamp": made, "annotations": {DEFAULT_CLASS[0]: default}}});
        let classes = [
            class("old", "2026-01-01T00:00:00Z", "true"),
            class("b", "2026-01-02T00:00:00Z", "true"),
            class("a", "2026-01-02T00:00:00Z", "true"),
            class("no", "2026-01-03T00:00:00Z", "false"),
        ];
        let classes: Vec<&Value> = classes.iter().collect();
        let check = |claim: Value, expected: Value| {
            let mut filled = claim.clone();
            fill_claim(&classes, &mut filled);
            assert_eq!(filled["spec"]["storageClassName"], expected, "{claim}");
        };
        check(json!({"spec": {}}), json!("a"));
        check(json!({"spec": {"storageClassName": ""}}), json!(""));
        check(json!({"spec": {"storageClassName": "x"}}), json!("x"));
        check(json!({"spec": {}, "metadata": {"annotations": {OLD_CLASS_OF_CLAIM: "x"}}}), json!(null));
    }

    #[test]
    fn a_claim_grows_if_its_class_lets_it() {
        let claim = |size: &str, phase: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}, "status": {"phase": phase}});
        let grows = json!({"allowVolumeExpansion": true});
        assert_eq!(check_growth(Some(&grows), &claim("1Gi", "Bound"), &claim("2Gi", "Bound")), Ok(()));
        assert_eq!(check_growth(None, &claim("1Gi", "Bound"), &claim("1Gi", "Bound")), Ok(()));
        assert!(check_growth(None, &claim("1Gi", "Bound"), &claim("2Gi", "Bound")).is_err());
        assert!(check_growth(Some(&grows), &claim("1Gi", "Pending"), &claim("2Gi", "Pending")).is_err());
    }
}
