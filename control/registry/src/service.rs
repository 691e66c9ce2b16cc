//! Service addresses and node ports: given out and taken back in the transaction that writes the Service.
//!
//! Which fields a change of type keeps and drops is decided with the kind's other rules, before this.
//!
//! What is taken is a key of its own in the store (`clusterips/10.96.0.1`), guarded to be absent, so that two Services
//! never get the same however many are made at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use pal_resources::{FieldError, FieldPath, Resource, Status};
use pal_store::{Guard, Op, Snapshot};
use rand::RngExt;
use serde_json::{Value, json};

use crate::config::{Cidr, Config};
use crate::service_blocks::blocks;
use crate::{key, meta};

/// How many are tried at random before the range is searched.
const RANDOM_TRIES: usize = 16;

/// What a write of a Service takes and gives back.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub guards: Vec<Guard>,
    pub ops: Vec<Op>,
}

/// Whether objects of the resource have addresses.
pub(crate) fn is_service(resource: &Resource) -> bool {
    resource.plural == "services" && resource.group.is_empty()
}

/// What a stored Service holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    address: Option<Ipv4Addr>,
    ports: BTreeSet<u16>,
    /// The one of `ports` at which nodes tell a load balancer whether they have endpoints.
    health: Option<u16>,
}

impl Held {
    fn of(service: &Value) -> Self {
        let spec = &service["spec"];
        let address = spec["clusterIP"].as_str().and_then(|text| text.parse().ok()).filter(|_| has_address(spec));
        let mut ports: BTreeSet<u16> = ports(spec).filter_map(node_port).collect();
        let health = port_number(&spec["healthCheckNodePort"]);
        ports.extend(health);
        Self { address, ports, health }
    }
}

fn kind(spec: &Value) -> &str {
    spec["type"].as_str().filter(|kind| !kind.is_empty()).unwrap_or("ClusterIP")
}

fn has_address(spec: &Value) -> bool {
    matches!(kind(spec), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &Value) -> bool {
    match kind(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn has_health_port(spec: &Value) -> bool {
    kind(spec) == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

fn ports(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["ports"].as_array().into_iter().flatten()
}

fn node_port(port: &Value) -> Option<u16> {
    port_number(&port["nodePort"])
}

fn port_number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0)
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        _ => false,
    }
}

/// Gives the Service what it lacks, and says what the transaction takes for it and gives back.
pub(crate) fn claim(
    service: &mut Value,
    old: Option<&Value>,
    snapshot: &Snapshot,
    config: &Config,
    resource: &Resource,
) -> Result<Claims, Status> {
    let name = meta::text(service, "name").to_owned();
    let owner = format!("{}/{name}", meta::text(service, "namespace"));
    let before = old.map(Held::of).unwrap_or_default();
    let mut errors = Vec::new();
    let Some(spec) = service.get_mut("spec").filter(|spec| spec.is_object()) else { return Ok(Claims::default()) };
    let range = Range { snapshot, config, blocks: blocks(snapshot, config.service_cidr), before: &before };

    let mut taken = Held::default();
    if has_address(spec) {
        range.address(spec, &mut taken, &mut errors)?;
    }
    range.ports(spec, &mut taken, &mut errors)?;
    if !errors.is_empty() {
        return Err(Status::invalid(resource, &name, &errors));
    }

    let now = Held::of(service);
    let mut claims = Claims::default();
    let addresses = taken.address.into_iter().map(key::cluster_ip);
    for key in addresses.chain(taken.ports.iter().copied().map(key::node_port)) {
        claims.guards.push(Guard::Absent(key.clone()));
        claims.ops.push(Op::Put { key, value: owner.clone().into(), revision_at: None });
    }
    let left = Held {
        address: before.address.filter(|address| now.address != Some(*address)),
        ports: before.ports.difference(&now.ports).copied().collect(),
        health: None,
    };
    claims.ops.extend(left.release());
    Ok(claims)
}

/// Gives back all that a Service holds.
pub(crate) fn release(service: &Value) -> Vec<Op> {
    Held::of(service).release()
}

impl Held {
    fn release(self) -> Vec<Op> {
        let addresses = self.address.into_iter().map(key::cluster_ip);
        let ports = self.ports.into_iter().map(key::node_port);
        addresses.chain(ports).map(|key| Op::Delete { key }).collect()
    }
}

/// Where addresses and ports come from, and what the Service holds of them already.
struct Range<'a> {
    snapshot: &'a Snapshot,
    config: &'a Config,
    /// What addresses are given out of.
    blocks: Vec<Cidr>,
    before: &'a Held,
}

impl Range<'_> {
    fn address(&self, spec: &mut Value, taken: &mut Held, errors: &mut Vec<FieldError>) -> Result<(), Status> {
        let given = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        if given.is_empty() {
            let address = self.free_address()?;
            spec["clusterIP"] = address.to_string().into();
            taken.address = Some(address);
        } else if let Ok(address) = given.parse::<Ipv4Addr>() {
            if self.before.address != Some(address) {
                match self.check_address(address) {
                    Ok(()) => taken.address = Some(address),
                    Err(why) => {
                        let path = FieldPath::new("spec").child("clusterIPs");
                        let detail = format!("failed to allocate IP {address}: {why}");
                        errors.push(FieldError::invalid(&path, json!([given]), &detail));
                    }
                }
            }
        } else if given != "None" {
            let path = FieldPath::new("spec").child("clusterIPs");
            let why = format!("IPv6 is not configured on this cluster: {given}");
            errors.push(FieldError::invalid(&path, json!([given]), &why));
        }
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
        if empty(&spec["ipFamilies"]) {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if empty(&spec["ipFamilyPolicy"]) {
            spec["ipFamilyPolicy"] = "SingleStack".into();
        }
        Ok(())
    }

    fn check_address(&self, address: Ipv4Addr) -> Result<(), String> {
        if !self.blocks.iter().any(|block| block.contains(address)) {
            return Err("the provided network does not match the current range".to_owned());
        }
        if self.snapshot.get(key::cluster_ip(address)).is_some() {
            return Err("provided IP is already allocated".to_owned());
        }
        Ok(())
    }

    /// An address that nobody holds, from the upper part of a block while that lasts: the lower is left to those who
    /// choose their address.
    fn free_address(&self) -> Result<Ipv4Addr, Status> {
        let of = |block: &Cidr| {
            let usable = block.usable();
            let reserved = if usable < 32 { 0 } else { (usable / 16).clamp(16, 256) };
            let free = |offset: u32| self.snapshot.get(key::cluster_ip(block.at(offset))).is_none();
            pick(1, reserved, usable, free).map(|offset| block.at(offset))
        };
        let found = self.blocks.iter().find_map(of);
        found.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))
    }

    fn ports(&self, spec: &mut Value, taken: &mut Held, errors: &mut Vec<FieldError>) -> Result<(), Status> {
        let wanted = has_node_ports(spec);
        let explicit: BTreeSet<u16> = ports(spec).filter_map(node_port).collect();
        // While the Service has none yet: later each port that comes gets one of its own.
        let mut shared = Some(chosen(spec)).filter(|_| self.before.ports.is_empty());
        let list = spec.get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in list.into_iter().flatten().enumerate() {
            if let Some(number) = node_port(port) {
                if self.before.ports.contains(&number) {
                    continue;
                }
                match self.check_port(number) {
                    // One Service may use a number for several protocols.
                    Ok(()) => drop(taken.ports.insert(number)),
                    Err(why) => {
                        let path = FieldPath::new("spec").child("ports").index(index).child("nodePort");
                        errors.push(FieldError::invalid(&path, number, &why));
                    }
                }
            } else if wanted && port.is_object() {
                let served = port_number(&port["port"]).unwrap_or_default();
                let known = shared.as_ref().and_then(|numbers| numbers.get(&served).copied());
                let fresh = || self.free_port(|number| !explicit.contains(&number) && !taken.ports.contains(&number));
                let number = known.map_or_else(fresh, Ok)?;
                port["nodePort"] = number.into();
                if let Some(numbers) = &mut shared {
                    numbers.insert(served, number);
                }
                if known.is_none() {
                    taken.ports.insert(number);
                }
            }
        }
        if has_health_port(spec) {
            self.health_port(spec, taken, errors)?;
        }
        Ok(())
    }

    fn health_port(&self, spec: &mut Value, taken: &mut Held, errors: &mut Vec<FieldError>) -> Result<(), Status> {
        let path = || FieldPath::new("spec").child("healthCheckNodePort");
        let no_port = spec["healthCheckNodePort"].as_i64().filter(|number| u16::try_from(*number).is_err());
        if let Some(number) = no_port {
            errors.push(FieldError::invalid(&path(), number, &self.out_of_range()));
            return Ok(());
        }
        match port_number(&spec["healthCheckNodePort"]).or(self.before.health) {
            Some(number) if self.before.ports.contains(&number) => {
                spec["healthCheckNodePort"] = number.into();
            }
            Some(number) => match self.check_port(number) {
                Ok(()) => drop(taken.ports.insert(number)),
                Err(why) => errors.push(FieldError::invalid(&path(), number, &why)),
            },
            None => {
                let number = self.free_port(|number| !taken.ports.contains(&number))?;
                spec["healthCheckNodePort"] = number.into();
                taken.ports.insert(number);
            }
        }
        Ok(())
    }

    fn check_port(&self, port: u16) -> Result<(), String> {
        if !self.config.node_ports.contains(&port) {
            return Err(self.out_of_range());
        }
        if self.snapshot.get(key::node_port(port)).is_some() {
            return Err("provided port is already allocated".to_owned());
        }
        Ok(())
    }

    fn out_of_range(&self) -> String {
        let (first, last) = (self.config.node_ports.start(), self.config.node_ports.end());
        format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
    }

    fn free_port(&self, wanted: impl Fn(u16) -> bool) -> Result<u16, Status> {
        let (first, last) = (*self.config.node_ports.start(), *self.config.node_ports.end());
        let size = u32::from(last.saturating_sub(first)) + 1;
        let reserved = if size < 32 { 0 } else { (size / 32).clamp(16, 128) };
        let number = |offset: u32| u16::try_from(u32::from(first) + offset).ok();
        let free = |offset: u32| {
            number(offset).is_some_and(|port| {
                wanted(port) && !self.before.ports.contains(&port) && self.snapshot.get(key::node_port(port)).is_none()
            })
        };
        pick(0, reserved, size - 1, free)
            .and_then(number)
            .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))
    }
}

/// The node ports that a client chose, by the ports that they are for: another protocol's port of the same number gets
/// the same one.
fn chosen(spec: &Value) -> BTreeMap<u16, u16> {
    let mut numbers = BTreeMap::new();
    for port in ports(spec) {
        if let (Some(served), Some(number)) = (port_number(&port["port"]), node_port(port)) {
            numbers.entry(served).or_insert(number);
        }
    }
    numbers
}

/// A free number in `first..=last`, below `first + reserved` only when there is none above.
fn pick(first: u32, reserved: u32, last: u32, free: impl Fn(u32) -> bool) -> Option<u32> {
    let mut rng = rand::rng();
    let split = first + reserved;
    for (low, high) in [(split, last), (first, split.saturating_sub(1).min(last))] {
        if low > high {
            continue;
        }
        for _ in 0..RANDOM_TRIES {
            let offset = rng.random_range(low..=high);
            if free(offset) {
                return Some(offset);
            }
        }
        let start = rng.random_range(low..=high);
        if let Some(offset) = (start..=high).chain(low..start).find(|&offset| free(offset)) {
            return Some(offset);
        }
    }
    None
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
