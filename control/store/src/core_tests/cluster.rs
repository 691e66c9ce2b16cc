//! Servers without threads or sockets, whose messages the test carries.

use super::*;

/// What a server said to another one.
pub(super) enum Said {
    Message(Message),
    Forward(u64, Vec<Forward>),
    Refusal(u64, Vec<Refusal>),
    Snapshot(Box<(Message, Image)>),
}

pub(super) type Wire = Arc<Mutex<VecDeque<(u64, Said)>>>;

/// Puts what a server says on a wire that the test empties.
pub(super) struct Wired(u64, Wire);

impl Wired {
    fn say(&self, said: impl IntoIterator<Item = Said>) {
        self.1.lock().unwrap().extend(said.into_iter().map(|said| (self.0, said)));
    }
}

impl Transport for Wired {
    fn send(&mut self, messages: Vec<Message>) {
        self.say(messages.into_iter().map(Said::Message));
    }

    fn forward(&mut self, to: u64, proposals: Vec<Forward>) {
        self.say([Said::Forward(to, proposals)]);
    }

    fn refuse(&mut self, to: u64, refusals: Vec<Refusal>) {
        self.say([Said::Refusal(to, refusals)]);
    }

    fn send_snapshot(&mut self, message: Message, image: Image) {
        self.say([Said::Snapshot(Box::new((message, image)))]);
    }

    fn members(&mut self, _: &Members) {}
}

pub(super) fn record(server: u64) -> Member {
    Member { id: ServerId(server), name: format!("s{server}"), address: format!("s{server}:1") }
}

/// What a server is made from: founding members, or what it stored.
pub(super) fn founded(voters: &[u64]) -> Image {
    let mut state = State::default();
    state.pass(FOUNDED_AT, 1);
    for voter in voters {
        state.change_members(&Change::Update(record(*voter)));
    }
    Image { state, conf_state: ConfState { voters: voters.to_vec(), ..ConfState::default() } }
}

/// A server that knows nothing yet.
pub(super) fn blank() -> Image {
    Image { state: State::default(), conf_state: ConfState::default() }
}

/// A server's start: `starts` tells it from its other ones.
pub(super) fn core(server: u64, starts: u64, stored: Image, disk: &MemoryDisk, wire: &Wire) -> Core<MemoryDisk> {
    let Image { state, conf_state } = stored;
    let base = Base { index: state.index(), term: state.term(), installed: false };
    let initial = founding_state(state.index().min(FOUNDED_AT), state.term().min(1));
    let (log, recovered) = Log::open(disk.clone(), 4096, base, &initial).unwrap();
    let limits = Limits { events: 100, bytes: usize::MAX };
    let mut core = Core::new(Parts {
        record: record(server),
        origin: server * 1000 + starts,
        seed: server * 7 + starts,
        timing: Timing::default(),
        log,
        recovered,
        hub: Arc::new(Hub::new(limits, state.revision(), state.changed().iter())),
        view: Arc::new(View::new(state.snapshot())),
        state,
        conf_state,
        transport: Box::new(Wired(server, wire.clone())),
        planted: None,
    })
    .unwrap();
    let bounds = |entries| Bounds { entries, bytes: usize::MAX };
    core.retain(Retention { usual: bounds(20), slow: bounds(100), snapshot: bounds(200) });
    core
}

pub(super) fn put(key: &str) -> Bytes {
    let op = Op::Put { key: key.into(), value: Bytes::from_static(b"v"), revision_at: None };
    encode_txn(&Txn::of(vec![op])).into()
}

pub(super) fn keys(core: &Core<MemoryDisk>) -> Vec<String> {
    core.view.snapshot().range("", None).map(|entry| entry.key().to_string()).collect()
}

pub(super) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// The revision at which a write was committed, if it is known.
pub(super) fn revision(answer: &mut Answer<Outcome>) -> Option<u64> {
    match answer.try_recv().ok()? {
        Ok(Outcome::Committed { revision, .. }) => Some(revision.0),
        other => panic!("{other:?}"),
    }
}

/// Servers whose messages the test carries, by their numbers.
pub(super) struct Cluster {
    pub(super) disks: Vec<MemoryDisk>,
    pub(super) wire: Wire,
    pub(super) cores: Vec<Core<MemoryDisk>>,
    pub(super) now: Duration,
    pub(super) starts: u64,
    /// The states that servers were sent, which is what is on their disks then.
    pub(super) installed: Vec<(u64, Image)>,
}

impl Cluster {
    /// So many voters that found a cluster together.
    pub(super) fn new(voters: u64) -> Cluster {
        let all: Vec<u64> = (1..=voters).collect();
        let mut cluster =
            Cluster { disks: vec![], wire: Wire::default(), cores: vec![], now: TICK, starts: 0, installed: vec![] };
        all.iter().for_each(|_| cluster.add(founded(&all)));
        // Nobody is bound by what it vowed before.
        let now = cluster.now;
        cluster.cores.iter_mut().for_each(|core| core.set_now(now));
        cluster.now += crate::lease::vow(&Timing::default());
        cluster
    }

    /// Adds a server with this state on its disk.
    pub(super) fn add(&mut self, stored: Image) {
        let disk = MemoryDisk::default();
        let server = self.cores.len() as u64 + 1;
        self.cores.push(core(server, 0, stored, &disk, &self.wire));
        self.disks.push(disk);
    }

    pub(super) fn core(&mut self, server: u64) -> &mut Core<MemoryDisk> {
        &mut self.cores[server as usize - 1]
    }

    /// Starts a server anew from its log, with this state on its disk.
    pub(super) fn restart(&mut self, server: u64, stored: Image) {
        let at = server as usize - 1;
        self.starts += 1;
        self.disks[at].cut_power();
        self.cores[at] = core(server, self.starts, stored, &self.disks[at], &self.wire);
        let now = self.now;
        self.core(server).set_now(now);
        self.core(server).settle().unwrap();
    }

    /// Carries messages among these servers until there are none; those from and to others are lost.
    pub(super) fn carry(&mut self, among: &[u64]) {
        for _ in 0..1000 {
            for server in among {
                let now = self.now;
                self.core(*server).set_now(now);
                self.core(*server).settle().unwrap();
            }
            let said = std::mem::take(&mut *self.wire.lock().unwrap());
            if said.is_empty() {
                return;
            }
            for (from, said) in said.into_iter().filter(|(from, _)| among.contains(from)) {
                self.deliver(from, said, among);
            }
        }
        panic!("the servers do not come to rest");
    }

    pub(super) fn deliver(&mut self, from: u64, said: Said, among: &[u64]) {
        match said {
            Said::Message(message) if among.contains(&message.to) => self.core(message.to).step(message).unwrap(),
            Said::Forward(to, proposals) if among.contains(&to) => self.core(to).forwarded(from, proposals).unwrap(),
            Said::Refusal(to, refusals) if among.contains(&to) => self.core(to).refused(refusals),
            Said::Snapshot(sent) => {
                let (message, image) = *sent;
                let to = message.to;
                let wanted = among.contains(&to) && self.core(to).wants(&message);
                if wanted {
                    self.installed.push((to, image.clone()));
                    self.core(to).install(message, image).unwrap();
                }
                self.core(from).snapshot_sent(to, wanted);
            }
            _ => {}
        }
    }

    /// Lets so many ticks pass for these servers, who can reach each other.
    pub(super) fn pass(&mut self, ticks: usize, among: &[u64]) {
        for _ in 0..ticks {
            self.now += TICK;
            for server in among {
                let now = self.now;
                self.core(*server).set_now(now);
                self.core(*server).tick().unwrap();
            }
            self.carry(among);
        }
    }

    /// Lets time pass until one of these servers leads, and returns which.
    pub(super) fn elect(&mut self, among: &[u64]) -> u64 {
        for _ in 0..200 {
            self.pass(1, among);
            let leads = |server: &&u64| self.cores[**server as usize - 1].view.role() == Role::Leader;
            if let Some(leader) = among.iter().find(leads) {
                return *leader;
            }
        }
        panic!("nobody was elected");
    }

    /// A cluster whose first server leads.
    pub(super) fn led(voters: u64) -> Cluster {
        let mut cluster = Cluster::new(voters);
        let all: Vec<u64> = (1..=voters).collect();
        cluster.core(1).campaign().unwrap();
        cluster.carry(&all);
        assert_eq!(cluster.core(1).view.role(), Role::Leader);
        cluster
    }

    pub(super) fn propose(&mut self, server: u64, key: &str) -> Answer<Outcome> {
        let (reply, answer) = oneshot::channel();
        self.core(server).propose(put(key), None, reply);
        answer
    }

    pub(super) fn read(&mut self, server: u64) -> Answer<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.core(server).read(reply);
        answer
    }

    pub(super) fn change(&mut self, server: u64, change: Change) -> Answer<()> {
        let (reply, answer) = oneshot::channel();
        self.core(server).change(change, reply);
        answer
    }

    /// The keys that each of these servers shows.
    pub(super) fn keys(&self, among: &[u64]) -> Vec<Vec<String>> {
        among.iter().map(|server| keys(&self.cores[*server as usize - 1])).collect()
    }
}
