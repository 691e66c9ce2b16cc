//! The other servers: a link to each, and what goes over it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::eager::Lately;
use super::frames::Kind;
use super::handing::{write_forward, write_refusal};
use super::hello::{Acquaintance, Hello, Judge, Purpose, VERSION, Welcome};
use super::outbox::{Adding, Outbox, Room};
use super::{Dial, link, snapshots};
use crate::asking::Asking;
use crate::core::Transport;
use crate::driver::{Arrival, Request};
use crate::error::StoreError;
use crate::image::Image;
use crate::inbox::Inbox;
use crate::lease::Clock;
use crate::members::Members;
use crate::membership::{Member, ServerId, Standing};
use crate::proposals::{Context, Forward, Refusal, Why};
use crate::store::Identity;
use crate::view::{Role, View};

/// A stream on which nothing else is said carries a sign of life this often.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_millis(250);
/// A stream between servers on which nothing comes for so long is dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// What may wait for one server.
const LINK_ROOM: Room = Room { frames: 16 << 10, bytes: 32 << 20 };
/// So many snapshots are sent at once.
const SNAPSHOTS: usize = 2;
/// So many tools are served at once.
const TOOLS: usize = 1024;

/// What a server needs to speak with others.
pub(crate) struct PeersConfig {
    pub identity: Identity,
    pub name: String,
    pub address: String,
    pub dialer: Option<Arc<dyn Dial>>,
    pub inbox: Arc<Inbox<Request, Arrival>>,
    pub view: Arc<View>,
    /// The driver's clock.
    pub clock: Clock,
    /// Where the tasks run.
    pub runtime: Handle,
}

/// What all tasks that speak with others share.
pub(crate) struct Peers {
    pub config: PeersConfig,
    known: Mutex<Known>,
    pub(super) asking: Mutex<Asking>,
    tools: Arc<Semaphore>,
    lately: Lately,
    tasks: TaskTracker,
    ending: CancellationToken,
}

#[derive(Default)]
struct Known {
    members: Members,
    /// What members said of themselves when they greeted, where it is newer than the members' record: who has moved can
    /// only say so in the log when a leader reaches it.
    moved: HashMap<u64, Member>,
    links: HashMap<u64, Link>,
    /// The stream that each server has open to this one; a newer one ends it.
    incoming: HashMap<u64, CancellationToken>,
    /// Who is being sent a snapshot.
    sending: HashSet<u64>,
    /// Whether a snapshot is coming in.
    receiving: bool,
}

/// This server's way to another one.
struct Link {
    member: Member,
    outbox: Arc<Outbox>,
    /// Says that it is worth trying again now.
    nudge: Arc<Notify>,
    /// Not a member yet, as far as this server knows: it greeted first.
    guest: bool,
    _ends: DropGuard,
}

impl Peers {
    pub fn new(config: PeersConfig) -> Arc<Peers> {
        Arc::new(Peers {
            config,
            known: Mutex::default(),
            asking: Mutex::default(),
            tools: Arc::new(Semaphore::new(TOOLS)),
            lately: Lately::new(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Cancelled when this server's streams are to end.
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Ends all streams.
    pub fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.lock().links.clear();
    }

    /// Returns when all tasks have ended, which they do when they are told to.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }

    /// Tells the driver; nobody listens any more when it has gone.
    pub fn tell(&self, arrival: Arrival) {
        self.config.inbox.deliver([arrival], 0);
    }

    pub fn me(&self) -> ServerId {
        self.config.identity.server
    }

    pub fn judge(&self) -> Judge<'_> {
        Judge { cluster: &self.config.identity.cluster, me: self.me() }
    }

    /// What this server says first to another one.
    pub fn hello(&self, to: ServerId, purpose: Purpose) -> Hello {
        let PeersConfig { identity, name, address, .. } = &self.config;
        let from = Member { id: identity.server, name: name.clone(), address: address.clone() };
        Hello { version: VERSION, purpose, cluster: identity.cluster.clone(), from, to, blank: self.is_blank() }
    }

    /// What this server answers to a hello that it likes.
    pub fn welcome(&self) -> Welcome {
        let Identity { cluster, server } = &self.config.identity;
        Welcome { version: VERSION, cluster: cluster.clone(), server: *server, blank: self.is_blank() }
    }

    fn is_blank(&self) -> bool {
        self.config.view.membership().applied == 0
    }

    /// What is known of a server.
    pub fn acquaintance(&self, id: ServerId) -> Acquaintance {
        if self.lock().members.is_removed(id) {
            return Acquaintance::Removed;
        }
        let membership = self.config.view.membership();
        let Some(status) = membership.members.iter().find(|status| status.member.id == id) else {
            return Acquaintance::None;
        };
        let acknowledged = status.progress.is_some_and(|progress| progress.matched > 0);
        Acquaintance::Member { had_state: status.standing == Standing::Voter || acknowledged }
    }

    /// This server is told that it is no member any more: it leaves the others alone.
    pub fn expelled(&self) {
        if self.config.view.role() != Role::Removed {
            tracing::error!(
                "the other servers say that this one was removed from the cluster; it serves nothing any more"
            );
            self.tell(Arrival::Removed);
        }
        self.lock().links.clear();
    }

    /// This server is told that it has lost its data. It goes on trying, which only tells whoever looks what to do.
    pub fn wiped(&self) {
        // What comes in this moment may have brought it up to date since it greeted.
        if self.is_blank() && self.config.view.failure().is_none() {
            let error = StoreError::Wiped;
            tracing::error!(%error, "the other servers do not take this one for the member that it was");
            self.config.view.set_failure(error);
        }
    }

    /// A server greeted. It is there, so it can be dialled; if it is no member that this server knows, it is until its
    /// stream ends. What this returns is cancelled when the same server opens another stream.
    pub fn arrived(self: &Arc<Self>, from: &Member) -> CancellationToken {
        let id = from.id.0;
        let current = self.ending.child_token();
        let mut known = self.lock();
        if let Some(earlier) = known.incoming.insert(id, current.clone()) {
            earlier.cancel();
        }
        let guest = known.members.get(from.id).is_none();
        match known.links.get(&id) {
            _ if from.address.is_empty() => {}
            Some(link) if link.member.address == from.address => link.nudge.notify_one(),
            _ => {
                if !guest {
                    known.moved.insert(id, from.clone());
                }
                let link = self.link(from.clone(), guest);
                known.links.insert(id, link);
            }
        }
        current
    }

    /// The stream of a server ended, which `arrived` returned this for.
    pub fn left(&self, id: ServerId, stream: &CancellationToken) {
        let mut known = self.lock();
        if stream.is_cancelled() {
            return;
        }
        known.incoming.remove(&id.0);
        if known.links.get(&id.0).is_some_and(|link| link.guest) {
            known.links.remove(&id.0);
        }
    }

    fn link(self: &Arc<Self>, member: Member, guest: bool) -> Link {
        let outbox = Arc::new(Outbox::new(LINK_ROOM));
        let nudge = Arc::new(Notify::new());
        let ends = self.ending.child_token();
        let kept = link::keep(self.clone(), member.clone(), outbox.clone(), nudge.clone());
        self.spawn(ends.clone(), kept);
        Link { member, outbox, nudge, guest, _ends: ends.drop_guard() }
    }

    fn spawn(&self, ends: CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            ends.run_until_cancelled(task).await;
        };
        self.tasks.spawn_on(task, &self.config.runtime);
    }

    /// Begins to serve a tool, unless too many are served already.
    pub fn begin_serving(&self) -> Option<OwnedSemaphorePermit> {
        self.tools.clone().try_acquire_owned().ok()
    }

    /// Which tool asked last.
    pub fn lately(&self) -> &Lately {
        &self.lately
    }

    /// Begins to take a snapshot in, unless one is coming already.
    pub fn begin_receiving(self: &Arc<Self>) -> Option<Receiving> {
        let mut known = self.lock();
        let free = !std::mem::replace(&mut known.receiving, true);
        free.then(|| Receiving(self.clone()))
    }

    /// The way to a server, if there is one.
    pub(super) fn outbox(&self, to: u64) -> Option<Arc<Outbox>> {
        self.lock().links.get(&to).map(|link| link.outbox.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change of it is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this is kept, no other snapshot is taken in.
pub(crate) struct Receiving(Arc<Peers>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.lock().receiving = false;
    }
}

/// The driver's way to the other servers. When it goes, all streams end.
pub(crate) struct Links(pub Arc<Peers>);

impl Links {
    /// Lets `add` write to the server's link. False when something was lost.
    fn to(&self, to: u64, add: impl FnOnce(&mut Adding<'_>) -> bool) -> bool {
        self.0.outbox(to).is_some_and(|outbox| add(&mut outbox.adding()))
    }
}

impl Transport for Links {
    fn send(&mut self, mut messages: Vec<Message>) {
        // Stable, so that each server's stay in order; each link is woken once.
        messages.sort_by_key(|message| message.to);
        for chunk in messages.chunk_by(|one, other| one.to == other.to) {
            let to = chunk[0].to;
            let written = self.to(to, |adding| {
                // Where one does not fit, none fits that follows.
                chunk.iter().all(|message| adding.add(Kind::Message, |out| write_message(message, out)))
            });
            if !written && chunk.iter().any(|message| message.get_msg_type() == MessageType::MsgAppend) {
                // Raft then asks how far the server is before it sends it more.
                self.0.tell(Arrival::Unreachable { to });
            }
        }
    }

    fn forward(&mut self, to: u64, proposals: Vec<Forward>) {
        let mut refusals = Vec::new();
        self.to(to, |adding| {
            for forward in &proposals {
                let written = adding.add(Kind::Forward, |out| write_forward(forward, out));
                // Without a stream it is handed in again when nothing came of it; for a slow leader that is too often.
                if !written && adding.has_stream() {
                    let Context { origin, seq, .. } = forward.context;
                    refusals.push(Refusal { origin, seq, why: Why::QueueFull });
                }
            }
            true
        });
        if !refusals.is_empty() {
            self.0.tell(Arrival::Refused { from: to, refusals });
        }
    }

    fn refuse(&mut self, to: u64, refusals: Vec<Refusal>) {
        self.to(to, |adding| {
            refusals.iter().all(|refusal| adding.add(Kind::Refusal, |out| write_refusal(refusal, out)))
        });
    }

    fn send_snapshot(&mut self, message: Message, image: Image) {
        let to = message.to;
        let member = {
            let mut known = self.0.lock();
            let free = known.sending.len() < SNAPSHOTS && !known.sending.contains(&to);
            let member = known.links.get(&to).map(|link| link.member.clone()).filter(|_| free);
            known.sending.extend(member.is_some().then_some(to));
            member
        };
        let Some(member) = member else {
            return self.0.tell(Arrival::SnapshotSent { to, ok: false });
        };
        let peers = self.0.clone();
        self.0.spawn(self.0.ending.clone(), async move {
            let sent = snapshots::send(&peers, &member, &message, image).await;
            match &sent {
                Ok(()) => tracing::info!(server = %member.id, name = member.name, "sent the whole state"),
                Err(error) => {
                    tracing::warn!(server = %member.id, name = member.name, %error, "could not send the whole state");
                }
            }
            peers.lock().sending.remove(&to);
            peers.tell(Arrival::SnapshotSent { to, ok: sent.is_ok() });
        });
    }

    fn members(&mut self, members: &Members) {
        let mut known = self.0.lock();
        let before = std::mem::replace(&mut known.members, members.clone());
        // Where the record has changed, it is the newer one.
        known.moved.retain(|id, _| members.get(ServerId(*id)) == before.get(ServerId(*id)));
        let Known { links, moved, incoming, .. } = &mut *known;
        links.retain(|id, link| {
            link.guest && !members.is_removed(ServerId(*id)) || members.get(link.member.id).is_some()
        });
        // What it learns then is that it was removed, which it may not have heard of.
        let gone = incoming.extract_if(|id, _| members.is_removed(ServerId(*id)));
        gone.for_each(|(_, stream)| stream.cancel());
        for member in members.iter().filter(|member| member.id != self.0.me()) {
            let id = member.id.0;
            let member = moved.get(&id).unwrap_or(member);
            match links.get_mut(&id) {
                Some(link) if link.member.address == member.address => link.guest = false,
                _ => drop(links.insert(id, self.0.link(member.clone(), false))),
            }
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Appends raft's message.
pub(crate) fn write_message(message: &Message, out: &mut Vec<u8>) {
    // Writing to memory fails for no reason but a required field that is missing, of which these have none.
    if let Err(error) = message.write_to_vec(out) {
        tracing::error!(%error, "a message could not be encoded");
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
