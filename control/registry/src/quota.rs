//! Quotas, exact however many write at once and on whichever server.
//!
//! Two keys of a namespace hold what is decided by. `quotaspecs/NS` changes when a ResourceQuota comes, goes or asks for
//! something else; whatever is created guards it, so that no quota is overlooked. `quotaused/NS` is the ledger: what of
//! each quota is used. A write that uses more puts the new numbers there in its own transaction, guarded by the old ones,
//! so that of two that fit only one at a time one is refused. What is used less (after deletes) is found by counting: here,
//! before anything is refused, and by a controller, which brings the quotas' status up to date.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use pal_resources::admission::quota::{self, Quota};
use pal_resources::amounts::{self, Amounts};
use pal_resources::{Resource, ResourceRef, Status, resource};
use pal_store::{Entry, Guard, Key, Op, Revision, Snapshot};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::object::{Object, index_of};
use crate::registry::{ATTEMPTS, Registry, Tried, contended};
use crate::service::Claims;
use crate::stored::Stored;
use crate::{key, meta, wire};

/// In how many lines writers of namespaces with quotas wait, so that they do not refuse one another over and over.
const LINES: usize = 64;

/// Where writers wait for their turn. It saves work only: what holds is held by the store's guards.
pub(crate) struct Lines(Vec<Mutex<()>>);

impl Default for Lines {
    fn default() -> Self {
        Self((0..LINES).map(|_| Mutex::new(())).collect())
    }
}

impl Lines {
    async fn turn(&self, namespace: &str) -> MutexGuard<'_, ()> {
        let line = namespace.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.0[line % LINES].lock().await
    }
}

/// What of each quota is used, by uid; right only as long as the quotas are those of that revision of `quotaspecs`.
#[derive(Debug, Default)]
struct Ledger {
    specs: u64,
    used: BTreeMap<String, Amounts>,
}

impl Ledger {
    fn read(entry: Option<&Arc<Entry>>, specs: Revision) -> Self {
        let empty = Self { specs: specs.0, ..Self::default() };
        let parsed = entry.and_then(|entry| serde_json::from_slice::<Value>(entry.value()).ok());
        let Some(value) = parsed.filter(|value| value["specs"] == specs.0) else { return empty };
        let used = value["used"].as_object().into_iter().flatten();
        Self { used: used.map(|(uid, used)| (uid.clone(), amounts::read(used))).collect(), ..empty }
    }

    fn put(&self, namespace: &str) -> Op {
        let used: Map<String, Value> = self.used.iter().map(|(uid, used)| (uid.clone(), shown(used))).collect();
        let value = json!({ "specs": self.specs, "used": used }).to_string().into();
        Op::Put { key: key::quota_used(namespace), value, revision_at: None }
    }
}

fn shown(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect::<Map<_, _>>().into()
}

fn quotas() -> Result<ResourceRef, Status> {
    resource::find("", "v1", "resourcequotas").ok_or_else(Status::unknown_path)
}

/// Whether the objects of the resource are quotas.
pub(crate) fn is_quota(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "resourcequotas"
}

/// What a transaction does beside, that makes, changes or removes a quota: from then on the numbers are counted anew.
pub(crate) fn changed(namespace: &str) -> Op {
    Op::Put { key: key::quota_specs(namespace), value: b"{}".as_slice().into(), revision_at: None }
}

/// What is left of quotas when a namespace goes.
pub(crate) fn forget(namespace: &str) -> [Op; 2] {
    [key::quota_specs(namespace), key::quota_used(namespace)].map(|key| Op::Delete { key })
}

/// The keys that decide, as a snapshot has them.
struct State<'a> {
    snapshot: &'a Snapshot,
    namespace: &'a str,
    now: Timestamp,
    specs: Revision,
    ledger_at: Option<Revision>,
    ledger: Ledger,
    quotas: Vec<(Arc<Entry>, Quota)>,
}

impl<'a> State<'a> {
    /// `None` where there has never been a quota.
    fn of(snapshot: &'a Snapshot, namespace: &'a str, now: Timestamp) -> Result<Option<Self>, Status> {
        let Some(specs) = snapshot.get(key::quota_specs(namespace)).map(|entry| entry.modified()) else {
            return Ok(None);
        };
        let ledger = snapshot.get(key::quota_used(namespace));
        let prefix = key::prefix(&*quotas()?, Some(namespace));
        let stored = snapshot.range(&prefix, None).filter_map(|entry| {
            let value: Value = serde_json::from_slice(entry.value()).ok()?;
            Some((entry.clone(), Quota::read(&value)))
        });
        Ok(Some(Self {
            snapshot,
            namespace,
            now,
            specs,
            ledger_at: ledger.map(|entry| entry.modified()),
            ledger: Ledger::read(ledger, specs),
            quotas: stored.collect(),
        }))
    }

    fn guards(&self) -> Vec<Guard> {
        let used = key::quota_used(self.namespace);
        let ledger = match self.ledger_at {
            Some(at) => Guard::Unchanged(used, at),
            None => Guard::Absent(used),
        };
        vec![Guard::Unchanged(key::quota_specs(self.namespace), self.specs), ledger]
    }

    /// What there is of all that a quota counts.
    fn counted(&self, quota: &Quota) -> Amounts {
        let mut used = quota.nothing();
        for counted in quota.resources() {
            let prefix = format!("{counted}/{}/", self.namespace);
            let entries = self.snapshot.range(&prefix, None);
            match resource::find("", "v1", counted).filter(|resource| quota::is_measured(resource)) {
                Some(resource) => {
                    for entry in entries {
                        let measure = index_of(entry).measure(&resource, entry.value());
                        if quota.covers(measure) {
                            amounts::add(&mut used, &quota.masked(&measure.usage(self.now)));
                        }
                    }
                }
                None if quota.is_unscoped() => {
                    let count = i64::try_from(entries.count()).unwrap_or(i64::MAX);
                    let names = quota.hard.keys().filter(|name| quota::counted_resource(name) == Some(counted));
                    let each = names.map(|name| (name.clone(), pal_resources::quantity::Quantity::from_units(count)));
                    amounts::add(&mut used, &each.collect());
                }
                None => {}
            }
        }
        used
    }

    /// The numbers of a quota, if all that it counts is among them.
    fn known(&self, quota: &Quota) -> Option<&Amounts> {
        self.ledger.used.get(&quota.uid).filter(|used| quota.hard.keys().all(|name| used.contains_key(name)))
    }

    /// The write of a quota's status.
    fn told(&self, entry: &Arc<Entry>, quota: &Quota, used: &Amounts, limit: usize) -> Result<(Guard, Op), Status> {
        let resource = quotas()?;
        let mut stored = Stored::read(entry.value()).map_err(Status::internal)?;
        stored.value["status"] = json!({ "hard": stored.value["spec"]["hard"], "used": shown(&quota.masked(used)) });
        let encoded = wire::encode(&resource, &stored.value, &stored.managed, limit)?;
        let key: Key = entry.key().clone();
        let guard = Guard::Unchanged(key.clone(), entry.modified());
        Ok((guard, Op::Put { key, value: encoded.bytes, revision_at: Some(encoded.revision_at) }))
    }
}

/// A write, as far as quotas are concerned.
#[derive(Clone, Copy)]
pub(crate) struct Use<'a> {
    pub resource: &'a Resource,
    pub namespace: &'a str,
    pub old: Option<&'a Value>,
    pub new: &'a Value,
}

impl Use<'_> {
    /// Whether a quota could ever mind.
    pub(crate) fn matters(&self) -> bool {
        if quota::is_ignored(self.resource) {
            return false;
        }
        match self.old {
            None => true,
            Some(old) => quota::is_measured(self.resource) && old["spec"] != self.new["spec"],
        }
    }
}

impl Registry {
    /// Waits for the turn of a write that a quota counts. `None`: no quota counts it.
    pub(crate) async fn quota_turn(
        &self,
        snapshot: &Snapshot,
        of: Use<'_>,
    ) -> Result<Option<MutexGuard<'_, ()>>, Status> {
        let state = if of.matters() { State::of(snapshot, of.namespace, Timestamp::now())? } else { None };
        let counts = |state: State<'_>| state.quotas.iter().any(|(_, quota)| !quota.counted_of(of.resource).is_empty());
        if state.is_some_and(counts) { Ok(Some(self.shared.lines.turn(of.namespace).await)) } else { Ok(None) }
    }

    /// What a write that uses more of the namespace's quotas adds to its transaction; 403 when it does not fit.
    pub(crate) fn charge(&self, snapshot: &Snapshot, of: Use<'_>, now: Timestamp) -> Result<Claims, Status> {
        let mut claims = Claims::default();
        if !of.matters() {
            return Ok(claims);
        }
        let Some(mut state) = State::of(snapshot, of.namespace, now)? else {
            claims.guards.push(Guard::Absent(key::quota_specs(of.namespace)));
            return Ok(claims);
        };
        let refused = |why: String| Status::forbidden(of.resource, meta::text(of.new, "name"), &why);
        let measure = quota::measure(of.resource, of.new);
        let before = of.old.map(|old| quota::measure(of.resource, old));
        let before = before.as_ref().map(|measure| measure.usage(now)).unwrap_or_default();
        let more = quota::growth(&before, &measure.usage(now));
        let counting = |quota: &Quota| !quota.counted_of(of.resource).is_empty() && quota.covers(&measure);
        let mut told = None;
        let mut charged = Vec::new();
        for (entry, quota) in state.quotas.iter().filter(|(_, quota)| counting(quota)) {
            // Who was there before the quota need not say more to go on: to get a node, another image, a container to debug it.
            if of.old.is_none() || !more.is_empty() {
                quota.check_said(of.resource, of.new).map_err(refused)?;
            }
            if quota.masked(&more).is_empty() {
                continue;
            }
            let sum = match state.known(quota).map(|used| quota.charged(used, &more)) {
                Some(Ok(sum)) => sum,
                // Not counted yet, or something may have gone since.
                Some(Err(_)) | None => quota.charged(&state.counted(quota), &more).map_err(refused)?,
            };
            // One object of a resource to a revision: the other quotas' status follows.
            if told.is_none() && !is_quota(of.resource) {
                told = Some(state.told(entry, quota, &sum, self.config().object_limit_bytes)?);
            }
            charged.push((quota.uid.clone(), sum));
        }
        if charged.is_empty() {
            claims.guards.push(Guard::Unchanged(key::quota_specs(of.namespace), state.specs));
            return Ok(claims);
        }
        state.ledger.used.extend(charged);
        claims.guards.extend(state.guards());
        claims.ops.push(state.ledger.put(of.namespace));
        if let Some((guard, put)) = told {
            claims.guards.push(guard);
            claims.ops.push(put);
        }
        Ok(claims)
    }

    /// Counts what the quotas of a namespace have of what they count, and writes it to their status where that says
    /// otherwise. The quotas that were written.
    pub async fn recount_quotas(&self, namespace: &str) -> Result<Vec<Object>, Status> {
        let mut written = Vec::new();
        let resource = quotas()?;
        for _ in 0..ATTEMPTS {
            let turn = self.shared.lines.turn(namespace).await;
            let snapshot = self.shared.store.applied();
            let Some(state) = State::of(&snapshot, namespace, Timestamp::now())? else { return Ok(written) };
            let Some(Claims { guards, ops }) = self.correction(state)? else { return Ok(written) };
            drop(snapshot);
            if let Tried::Committed { entries, .. } = self.commit(guards, ops).await? {
                written.extend(entries.into_iter().next().flatten().map(Object::stored));
            }
            drop(turn);
        }
        Err(contended(&resource, namespace))
    }

    /// The write that brings the first quota up to date whose status or numbers are not.
    fn correction(&self, mut state: State<'_>) -> Result<Option<Claims>, Status> {
        let wrong = state.quotas.iter().find_map(|(entry, quota)| {
            let status = serde_json::from_slice::<Value>(entry.value()).ok()?["status"].take();
            let used = state.counted(quota);
            let right = amounts::read(&status["hard"]) == quota.hard
                && amounts::read(&status["used"]) == used
                && state.known(quota).is_none_or(|known| *known == used);
            (!right).then(|| (entry.clone(), quota.clone(), used))
        });
        let Some((entry, quota, used)) = wrong else { return Ok(None) };
        let (guard, put) = state.told(&entry, &quota, &used, self.config().object_limit_bytes)?;
        state.ledger.used.insert(quota.uid.clone(), used);
        let mut guards = state.guards();
        guards.push(guard);
        Ok(Some(Claims { guards, ops: vec![put, state.ledger.put(state.namespace)] }))
    }
}
