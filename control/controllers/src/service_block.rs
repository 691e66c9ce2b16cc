//! ServiceCIDRs: each is ready to give out addresses while it stays, and goes when no Service has one that is in no other.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::action::{Action, Plan};
use crate::garbage::{Item, with_finalizer, without_finalizer};
use crate::object::remaining;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const READY: &str = "Ready";
const READY_WORDS: &str = "Kubernetes Service CIDR is ready";
const HELD_WORDS: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
/// Who has not heard yet that it goes may still give out an address of it.
const GRACE: Duration = Duration::from_secs(10);

/// Everything that is looked at for one ServiceCIDR.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub item: &'a Item,
    pub block: &'a Value,
    /// The blocks of all ServiceCIDRs but this one that stay.
    pub others: &'a [String],
    /// What Services have for addresses.
    pub addresses: &'a [IpAddr],
}

/// The blocks that a ServiceCIDR has.
pub fn cidrs(block: &Value) -> impl Iterator<Item = &str> {
    block["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Protects the block and says that it is ready; lets it go, or says why it has to stay.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let View { item, block, others, addresses } = *view;
    let protected = item.finalizers.iter().any(|own| own == FINALIZER);
    match (item.deleting, protected) {
        (true, false) => Plan::idle(),
        (true, true) => {
            let is_held = |address: &IpAddr| {
                cidrs(block).any(|own| contains(own, *address)) && !others.iter().any(|other| contains(other, *address))
            };
            if addresses.iter().any(is_held) {
                return say(view, "False", "Terminating", HELD_WORDS, now);
            }
            let since = block["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse().ok());
            let mut plan = Plan::idle();
            match since.and_then(|since| remaining(since, GRACE, now)) {
                Some(rest) => plan.look_again(rest),
                None => plan.push(without_finalizer(item, FINALIZER)),
            }
            plan
        }
        (false, false) => Plan::of(with_finalizer(item, FINALIZER)),
        (false, true) => say(view, "True", "", READY_WORDS, now),
    }
}

/// The write that says whether it is ready, if it does not say so.
fn say(view: &View<'_>, status: &str, reason: &str, message: &str, now: Timestamp) -> Plan {
    let known = view.block["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if known.iter().any(|one| one["type"] == READY && one["status"] == status) {
        return Plan::idle();
    }
    let own = json!({"type": READY, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": Time(now)});
    let conditions: Vec<&Value> = known.iter().filter(|one| one["type"] != READY).chain([&own]).collect();
    let seen = json!({"uid": view.item.target.uid, "resourceVersion": view.item.resource_version});
    Plan::of(Action::Patch {
        target: view.item.target.clone(),
        subresource: Some("status"),
        patch: json!({"metadata": seen, "status": {"conditions": conditions}}),
        announce: None,
    })
}

/// Whether the block, as `10.96.0.0/16` or `fd00::/112`, gives out that address: not its first one, nor the last of IPv4 ones.
fn contains(block: &str, address: IpAddr) -> bool {
    let Some((network, length)) = block.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let (network, address, bits) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits().into(), address.to_bits().into(), 32),
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let own = bits - length.min(bits);
    let last = 1_u128.checked_shl(own).map_or(u128::MAX, |size| size - 1);
    let place = address & last;
    let is_below = (network ^ address) & !last == 0;
    is_below && place != 0 && (bits == 128 || place != last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{ResourceId, Target};

    /// What is written of a block of 10.97.0.0/24.
    fn written(change: Value, finalizers: &[&str], others: &[&str], held: &[&str], seconds: i64) -> Value {
        let at = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut block = json!({"metadata": {"name": "b"}, "spec": {"cidrs": ["10.97.0.0/24", "fd00::/112"]}});
        let deleting = change["deleting"] == true;
        if deleting {
            block["metadata"]["deletionTimestamp"] = json!(Time(at));
        }
        block["status"] = change["status"].clone();
        let resource = ResourceId { group: String::new(), version: "v1".into(), plural: "things".into() };
        let item = Item {
            target: Target { resource, namespace: None, name: "b".into(), uid: "u".into() },
            kind: "ServiceCIDR".into(),
            resource_version: "7".into(),
            owners: Vec::new(),
            finalizers: finalizers.iter().map(|own| (*own).to_owned()).collect(),
            deleting,
        };
        let others: Vec<String> = others.iter().map(|other| (*other).to_owned()).collect();
        let addresses: Vec<IpAddr> = held.iter().map(|text| text.parse().expect("an address")).collect();
        let view = View { item: &item, block: &block, others: &others, addresses: &addresses };
        let plan = reconcile(&view, at + jiff::SignedDuration::from_secs(seconds));
        match plan.actions.first() {
            Some(Action::Patch { patch, subresource: Some("status"), .. }) => {
                patch["status"]["conditions"][0]["status"].clone()
            }
            Some(Action::Patch { patch, .. }) => patch["metadata"]["finalizers"].clone(),
            Some(other) => panic!("{other:?}"),
            None => json!(plan.again.map(|again| again.as_secs())),
        }
    }

    #[test]
    fn a_block_is_ready_while_it_stays_and_goes_when_nobody_has_an_address_of_it() {
        let (stays, goes) = (json!({}), json!({"deleting": true}));
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let own: &[&str] = &[FINALIZER];
        assert_eq!(written(stays.clone(), &[], &[], &[], 0), json!([FINALIZER]));
        assert_eq!(written(stays, own, &[], &[], 0), json!("True"));
        assert_eq!(written(ready, own, &[], &[], 0), Value::Null);
        assert_eq!(written(goes.clone(), own, &[], &["10.97.0.3"], 60), json!("False"));
        assert_eq!(written(goes.clone(), own, &[], &["fd00::3"], 60), json!("False"));
        assert_eq!(
            written(goes.clone(), own, &["10.97.0.0/16"], &["10.97.0.3"], 60),
            Value::Null,
            "the last finalizer"
        );
        assert_eq!(written(goes.clone(), own, &[], &["10.98.0.3"], 4), json!(6));
        assert_eq!(written(goes.clone(), own, &[], &["10.98.0.3"], 10), Value::Null, "the last finalizer");
        assert_eq!(written(goes.clone(), &[FINALIZER, "x/y"], &[], &[], 10), json!(["x/y"]));
        assert_eq!(written(goes, &[], &[], &[], 10), Value::Null);
    }

    #[test]
    fn blocks_have_the_addresses_with_their_leading_bits_but_those_at_their_ends() {
        for (block, address, expected) in [
            ("10.96.0.0/16", "10.96.255.254", true),
            ("10.96.0.0/16", "10.96.255.255", false),
            ("10.96.0.0/16", "10.96.0.0", false),
            ("10.96.0.0/16", "10.97.0.1", false),
            ("10.96.0.4/32", "10.96.0.4", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("fd00::/112", "fd00::ffff", true),
            ("fd00::/112", "fd00::", false),
            ("fd00::/112", "fd00::1:1", false),
            ("::/0", "fd00::1", true),
            ("fd00::/0", "10.96.0.1", false),
            ("10.96.0.0", "10.96.0.1", false),
        ] {
            assert_eq!(contains(block, address.parse().expect("an address")), expected, "{block} {address}");
        }
    }
}
