//! Clusters of several real servers, and what can be done to them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::Access;
use crate::kubectl::Ran;
use crate::load::Endpoints;
use crate::process::{Pal, Process, loopback};
use crate::relay::{Network, Relay};
use crate::wait::wait_until;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How much of each server's log is shown when a test fails.
const LINES_SHOWN: usize = 60;

/// A cluster of real `pal server` processes on addresses of their own. Dropped, they are killed.
pub struct Servers {
    pal: Pal,
    network: Option<Network>,
    environment: Vec<(String, String)>,
    log: &'static str,
    root: TempDir,
    servers: Vec<Server>,
    endpoints: Endpoints,
    made: usize,
}

/// One server, whether it runs or not.
pub struct Server {
    pub name: String,
    /// What it listens on and dials from.
    pub ip: IpAddr,
    pub dir: PathBuf,
    process: Option<Process>,
    relay: Option<Relay>,
    access: Option<Access>,
    environment: Vec<(String, String)>,
}

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct Forming {
    /// Servers reach each other through relays, so that their network can be cut.
    pub relayed: bool,
    /// Environment variables for every server.
    pub environment: Vec<(String, String)>,
    /// They log warnings only, for loads that are measured.
    pub quiet: bool,
}

impl Servers {
    /// Starts the first server and joins the others to it; returns when all are voters.
    pub async fn form(pal: &Pal, count: usize, forming: Forming) -> Self {
        let mut servers = Self {
            pal: pal.clone(),
            network: forming.relayed.then(Network::default),
            environment: forming.environment,
            log: if forming.quiet { "warn" } else { "info" },
            root: tempfile::tempdir().expect("a temporary directory"),
            servers: Vec::new(),
            endpoints: Endpoints::default(),
            made: 0,
        };
        let first = servers.make().await;
        servers.launch(first, &[]);
        servers.ready(first).await;
        for _ in 1..count {
            servers.join().await;
        }
        servers.until_voters(count).await;
        servers
    }

    /// The servers, in the order in which they were made, but for those that were removed.
    pub fn all(&self) -> &[Server] {
        &self.servers
    }

    /// One of them, by its place.
    pub fn server_mut(&mut self, place: usize) -> &mut Server {
        &mut self.servers[place]
    }

    /// Where clients find the servers.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    /// The network between them.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the cluster was formed with relays")
    }

    /// The addresses that servers dial from, by their place.
    pub fn ips(&self, places: &[usize]) -> Vec<IpAddr> {
        places.iter().map(|place| self.servers[*place].ip).collect()
    }

    /// Where the data of the next server that joins will lie; it may be made beforehand.
    pub fn next_dir(&self) -> PathBuf {
        self.root.path().join(format!("s{}", self.made + 1))
    }

    /// Joins one more server; its place. It is a learner until it has caught up.
    pub async fn join(&mut self) -> usize {
        let place = self.make().await;
        self.join_as(place).await;
        place
    }

    /// Joins a server that was made and has no data, and waits until it serves.
    pub async fn join_as(&mut self, place: usize) {
        let (url, token) = self.token(place).await;
        self.launch(place, &["--join", &url, "--token", &token]);
        self.ready(place).await;
    }

    /// Where to join and with what, from a server that runs, other than the one at `place`.
    async fn token(&self, place: usize) -> (String, String) {
        let host = self.servers.iter().enumerate().find(|(at, server)| *at != place && server.process.is_some());
        let (_, host) = host.expect("a server runs");
        let token = host.pal(&self.pal, &["token", "create", "--role", "server", "--quiet"]).await;
        (host.url(), token.trim().to_owned())
    }

    async fn make(&mut self) -> usize {
        let dir = self.next_dir();
        self.made += 1;
        let ip: IpAddr = loopback().parse().expect("an address");
        let relay = match &self.network {
            Some(network) => Some(network.relay(ip).await.expect("a relay")),
            None => None,
        };
        let (name, environment) = (format!("s{}", self.made), self.environment.clone());
        self.servers.push(Server { name, ip, dir, process: None, relay, access: None, environment });
        self.servers.len() - 1
    }

    /// Starts a server that does not run; it may not serve yet.
    pub fn start(&mut self, place: usize) {
        self.launch(place, &[]);
    }

    fn launch(&mut self, place: usize, more: &[&str]) {
        let server = &mut self.servers[place];
        assert!(server.process.is_none(), "{} runs already", server.name);
        let (data, listen) = (server.dir.display().to_string(), SocketAddr::new(server.ip, 0).to_string());
        let advertise = server.relay.as_ref().map(|relay| relay.address().to_string());
        let mut words = vec!["server", "--name", &server.name, "--data-dir", &data, "--listen", &listen];
        words.extend(advertise.iter().flat_map(|address| ["--advertise", address.as_str()]));
        words.extend(["--log", self.log]);
        words.extend(more);
        server.process = Some(self.pal.start_with(&words, &server.environment));
    }

    /// Waits until a server that was started serves.
    pub async fn ready(&mut self, place: usize) {
        let server = &mut self.servers[place];
        if let Some(relay) = &server.relay {
            // The others bring a server up to date before it serves, so they must reach it first.
            let file = server.dir.join("listen-address");
            let address = wait_until(LIMIT, "where it listens", async || {
                let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
                text.trim().parse::<SocketAddr>().map_err(|error| error.to_string())
            });
            relay.leads_to(address.await);
        }
        server.process.as_mut().expect("it was started").until("kubeconfig: ").await;
        let access = Access::from_kubeconfig(&server.kubeconfig()).await.expect("a usable kubeconfig");
        self.endpoints.put(&server.name, access.clone());
        server.access = Some(access);
    }

    /// kill -9.
    pub async fn kill(&mut self, place: usize) {
        if let Some(mut process) = self.servers[place].process.take() {
            process.kill().await;
        }
    }

    /// An orderly stop.
    pub async fn stop(&mut self, place: usize) {
        if let Some(mut process) = self.servers[place].process.take() {
            assert!(process.interrupt().await, "it did not end well:\n{}", process.output());
        }
    }

    /// Waits until a server has ended by itself; what it printed.
    pub async fn until_ended(&mut self, place: usize) -> String {
        let mut process = self.servers[place].process.take().expect("it runs");
        process.ended().await;
        process.output()
    }

    /// SIGSTOP: it does nothing until it is resumed, and its connections stay.
    pub async fn pause(&self, place: usize) {
        self.signal(place, "STOP").await;
    }

    /// SIGCONT.
    pub async fn resume(&self, place: usize) {
        self.signal(place, "CONT").await;
    }

    async fn signal(&self, place: usize, name: &str) {
        self.servers[place].process.as_ref().expect("it runs").signal(name).await;
    }

    /// Takes a server out of the cluster, asking another; its process and its data go too.
    pub async fn remove(&mut self, place: usize) {
        let name = self.servers[place].name.clone();
        self.pal_elsewhere(place, &["server", "remove", &name]).await;
        self.kill(place).await;
        self.endpoints.take(&name);
        let server = self.servers.remove(place);
        std::fs::remove_dir_all(&server.dir).expect("its data is ours");
    }

    /// Runs a command of `pal` as the administrator, on a server other than the one at `place`; it must succeed.
    pub async fn pal_elsewhere(&self, place: usize, words: &[&str]) -> String {
        let host = self.servers.iter().enumerate().find(|(at, server)| *at != place && server.process.is_some());
        host.expect("another server runs").1.pal(&self.pal, words).await
    }

    /// Runs a command of `pal` as the administrator, on the server at `place`; what it printed.
    pub async fn pal_at(&self, place: usize, words: &[&str]) -> Ran {
        self.servers[place].ran(&self.pal, words).await
    }

    /// The same where the command may be refused; what it printed.
    pub async fn pal_elsewhere_may_fail(&self, place: usize, words: &[&str]) -> Ran {
        let host = self.servers.iter().enumerate().find(|(at, server)| *at != place && server.process.is_some());
        host.expect("another server runs").1.ran(&self.pal, words).await
    }

    /// Tries to join a server that was made and has no data, which must be refused; what it printed.
    pub async fn join_refused(&mut self, place: usize) -> String {
        let (url, token) = self.token(place).await;
        self.launch(place, &["--join", &url, "--token", &token]);
        self.until_ended(place).await
    }

    /// Whether the servers reach each other through relays.
    pub fn is_relayed(&self) -> bool {
        self.network.is_some()
    }

    /// What the server at `place` says of all servers.
    pub async fn members(&self, place: usize) -> Result<Vec<Value>, String> {
        let server = &self.servers[place];
        let access = server.access.as_ref().ok_or("it has not served yet")?;
        let answer = access.api().get("/cluster/servers", REQUEST_LIMIT).await?;
        answer["items"].as_array().cloned().ok_or(format!("no servers in {answer}"))
    }

    /// The place of the server that leads, as one of `places` says.
    pub async fn leader_among(&self, places: &[usize]) -> usize {
        wait_until(LIMIT, "a leader", async || {
            let mut seen = Vec::new();
            for asked in places {
                let members = self.members(*asked).await;
                let leader = members.iter().flatten().find(|member| member["role"] == "leader");
                let name = leader.and_then(|member| member["name"].as_str());
                match self.servers.iter().position(|server| Some(server.name.as_str()) == name) {
                    Some(place) if places.contains(&place) => return Ok(place),
                    _ => seen.push(format!("{}: {members:?}", self.servers[*asked].name)),
                }
            }
            Err(seen.join("; "))
        })
        .await
    }

    /// The place of the server that leads.
    pub async fn leader(&self) -> usize {
        let running: Vec<usize> =
            (0..self.servers.len()).filter(|place| self.servers[*place].process.is_some()).collect();
        self.leader_among(&running).await
    }

    /// Waits until so many servers vote.
    pub async fn until_voters(&self, count: usize) {
        wait_until(LIMIT, "all are voters", async || {
            let running = self.servers.iter().position(|server| server.process.is_some()).expect("a server runs");
            let members = self.members(running).await?;
            let voters = members.iter().filter(|member| member["role"] != "learner").count();
            if voters == count && members.len() == count { Ok(()) } else { Err(format!("{members:?}")) }
        })
        .await;
    }
}

impl Server {
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        format!("https://{}", self.access().authority())
    }

    /// Its API, once it has served.
    pub fn access(&self) -> &Access {
        self.access.as_ref().expect("it has served")
    }

    /// What it has printed since it was started.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Its process, where it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Sets what it finds in its environment from its next start on.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    async fn pal(&self, pal: &Pal, words: &[&str]) -> String {
        self.ran(pal, words).await.ok()
    }

    async fn ran(&self, pal: &Pal, words: &[&str]) -> Ran {
        let kubeconfig = text(&self.kubeconfig());
        let mut all = vec!["--kubeconfig", &kubeconfig];
        all.extend(words);
        pal.run(&all).await
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of plain text").to_owned()
}

impl Drop for Servers {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for server in &self.servers {
            let output = server.output();
            let lines: Vec<&str> = output.lines().collect();
            eprintln!("--- the last of {} at {}:", server.name, server.ip);
            for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
                eprintln!("{line}");
            }
        }
    }
}
