//! What Services get their addresses from: the server's own block, and those of all ServiceCIDRs.

use pal_resources::resource;
use pal_store::Snapshot;
use serde_json::Value;

use crate::admission::value;
use crate::config::Cidr;
use crate::key;

/// The ServiceCIDR of the server's own block.
pub(crate) const OWN_BLOCK: &str = "kubernetes";

/// The blocks that addresses are given out of now.
pub(crate) fn blocks(snapshot: &Snapshot, own: Cidr) -> Vec<Cidr> {
    let Some(resource) = resource::find("networking.k8s.io", "v1", "servicecidrs") else { return vec![own] };
    open(snapshot.range(&key::prefix(&resource, None), None).filter_map(value), own)
}

/// Those of each ServiceCIDR that is ready and stays. Nodes know no other addresses than IPv4 ones.
fn open<'a>(known: impl Iterator<Item = &'a Value>, own: Cidr) -> Vec<Cidr> {
    let mut blocks = vec![own];
    for object in known {
        if object["metadata"]["name"] == OWN_BLOCK {
            blocks.retain(|block| *block != own);
        }
        if is_open(object) {
            let texts = object["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            blocks.extend(texts.filter_map(|text| Cidr::parse(text).ok()));
        }
    }
    blocks
}

/// One of which nothing is said yet counts as ready.
fn is_open(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let ready =
        conditions.filter(|condition| condition["type"] == "Ready").all(|condition| condition["status"] == "True");
    ready && object["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_come_from_all_blocks_that_are_ready_and_stay() {
        let own = Cidr::parse("10.96.0.0/16").expect("a block");
        let check = |known: &[Value], expected: &[&str]| {
            let found: Vec<String> = open(known.iter(), own).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{known:?}");
        };
        let block = |name: &str, cidrs: &[&str], ready: Option<&str>| {
            let conditions: Vec<Value> =
                ready.into_iter().map(|ready| json!({"type": "Ready", "status": ready})).collect();
            json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}})
        };
        let mut going = block("b", &["10.98.0.0/24"], Some("True"));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        check(&[], &["10.96.0.0/16"]);
        check(&[block(OWN_BLOCK, &["10.96.0.0/16"], Some("True"))], &["10.96.0.0/16"]);
        check(&[block(OWN_BLOCK, &["10.96.0.0/16"], Some("False"))], &[]);
        check(&[block("a", &["10.97.0.0/24", "fd00::/112"], None)], &["10.96.0.0/16", "10.97.0.0/24"]);
        check(&[going, block("c", &["10.99.0.0/24"], Some("False"))], &["10.96.0.0/16"]);
    }
}
