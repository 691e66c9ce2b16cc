//! `pal server list`, `remove` and `transfer-leader`: the servers of a cluster, seen to by its administrator.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::api::{self, Api, request};
use crate::args::{ClientArgs, ServerArgs, ServerCommand, ServerOutput};
use crate::error::CliError;
use crate::get::align;
use crate::{control_plane, out};

const SERVERS: &str = "/cluster/servers";
/// The server that leads knows most; when it does not answer within this time, what another knows must do.
const LEADER_LIMIT: Duration = Duration::from_secs(3);
/// How long a change of the servers is tried for: a new leader is found within it.
const CHANGE_LIMIT: Duration = Duration::from_secs(20);
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// The leader hears of every server that lives within this time; one that has just come to lead knows of none.
const HEARD_LIMIT: Duration = Duration::from_secs(3);

/// `pal server`
pub async fn run(client: &ClientArgs, args: ServerArgs) -> Result<(), CliError> {
    match args.command {
        None => control_plane::run(args).await,
        Some(ServerCommand::List { output }) => list(&Api::connect(client).await?, output).await,
        Some(ServerCommand::Remove { name }) => remove(&Api::connect(client).await?, &name).await,
        Some(ServerCommand::TransferLeader { name }) => transfer(&Api::connect(client).await?, &name).await,
    }
}

async fn list(api: &Api, output: Option<ServerOutput>) -> Result<(), CliError> {
    let servers = Servers::ask(api).await?;
    match output {
        Some(ServerOutput::Json) => {
            let text = serde_json::to_string_pretty(&servers.answer).map_err(CliError::other)?;
            out::line(text)
        }
        None => out::block(&align(servers.rows())),
    }
}

async fn remove(api: &Api, name: &str) -> Result<(), CliError> {
    let started = Instant::now();
    loop {
        let servers = Servers::ask(api).await?;
        let target = servers.named(name)?;
        let name = api::text(&target["name"]);
        let outcome = if target["role"] == "leader" && servers.all().len() > 1 {
            // It hands over first, so that the others do not have to find out that it is gone; but not in vain.
            match servers.by.json(delete(&name, "?dryRun=All")?).await {
                Ok(_) => servers.hand_over(&name, started.elapsed() < HEARD_LIMIT).await,
                Err(error) => Err(error),
            }
        } else {
            let removed = servers.by.json(delete(&name, "")?).await;
            if removed.is_ok() {
                return out::line(format_args!(
                    "server {name:?} removed; it stops by itself, and its data stay where they are"
                ));
            }
            removed.map(drop)
        };
        wait_or_fail(outcome, started).await?;
    }
}

async fn transfer(api: &Api, name: &str) -> Result<(), CliError> {
    let started = Instant::now();
    loop {
        let servers = Servers::ask(api).await?;
        let target = servers.named(name)?;
        let name = api::text(&target["name"]);
        if target["role"] == "leader" {
            return out::line(format_args!("server {name:?} leads"));
        }
        if target["role"] == "learner" {
            return Err(CliError::other(format!("server {name:?} is still catching up and cannot lead yet")));
        }
        let outcome = if target["status"] != "unreachable" {
            lead(&servers.by, &name).await
        } else if started.elapsed() < HEARD_LIMIT {
            // One that has just come to lead has heard of nobody yet.
            Ok(())
        } else {
            Err(CliError::other(format!(
                "server {name:?} does not answer and cannot lead: choose one that `pal server list` shows as ready"
            )))
        };
        wait_or_fail(outcome, started).await?;
    }
}

/// Goes on where the cluster was only between two leaders.
async fn wait_or_fail(outcome: Result<(), CliError>, started: Instant) -> Result<(), CliError> {
    match outcome {
        Ok(()) => {}
        Err(error) if started.elapsed() < CHANGE_LIMIT && may_pass(&error) => {}
        Err(error) => return Err(error),
    }
    if started.elapsed() > CHANGE_LIMIT {
        return Err(CliError::other(format!(
            "the servers did not agree within {} s; look at `pal server list`",
            CHANGE_LIMIT.as_secs()
        )));
    }
    tokio::time::sleep(TRY_AGAIN).await;
    Ok(())
}

fn may_pass(error: &CliError) -> bool {
    matches!(error.code(), Some(429 | 503 | 504))
}

async fn lead(api: &Api, name: &str) -> Result<(), CliError> {
    let path = format!("{SERVERS}/{name}/lead");
    api.json(request(Method::POST, &path, &[], None)?).await.map(drop)
}

fn delete(name: &str, query: &str) -> Result<http::Request<Vec<u8>>, CliError> {
    request(Method::DELETE, &format!("{SERVERS}/{name}{query}"), &[], None)
}

/// The servers as one of them told.
struct Servers {
    answer: Value,
    /// The way to the one that told.
    by: Api,
}

impl Servers {
    /// As the one that leads tells, if it can be asked; else as the kubeconfig's own.
    async fn ask(api: &Api) -> Result<Self, CliError> {
        let first = Self { answer: api.get(SERVERS).await?, by: api.clone() };
        let Some(leader) = first.leader().filter(|_| !first.told_by_leader()) else { return Ok(first) };
        let Ok(by) = api.at(&url(leader)) else { return Ok(first) };
        match tokio::time::timeout(LEADER_LIMIT, by.get(SERVERS)).await {
            Ok(Ok(answer)) => Ok(Self { answer, by }),
            _ => Ok(first),
        }
    }

    fn told_by_leader(&self) -> bool {
        self.answer["answeredBy"] == self.answer["leader"]
    }

    fn all(&self) -> &[Value] {
        api::array(&self.answer["items"])
    }

    fn leader(&self) -> Option<&Value> {
        self.all().iter().find(|server| server["role"] == "leader")
    }

    fn named(&self, name: &str) -> Result<&Value, CliError> {
        self.all().iter().find(|server| server["name"] == name || server["id"] == name).ok_or_else(|| {
            let known: Vec<&str> = self.all().iter().filter_map(|server| server["name"].as_str()).collect();
            CliError::other(format!("there is no server {name:?}; the servers are {}", known.join(", ")))
        })
    }

    /// Has another than `name` lead, unless none could; that may pass when `early`.
    async fn hand_over(&self, name: &str, early: bool) -> Result<(), CliError> {
        let ready = |server: &&Value| server["role"] == "follower" && server["status"] == "ready";
        let Some(other) = self.all().iter().find(ready) else {
            if early {
                return Ok(());
            }
            return Err(CliError::other(format!(
                "server {name:?} leads, and no other server could: each is unreachable or still catching up; look at `pal server list`"
            )));
        };
        lead(&self.by, &api::text(&other["name"])).await
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let heading = ["NAME", "ID", "ADDRESS", "ROLE", "STATUS"].map(str::to_owned).to_vec();
        let row = |server: &Value| {
            ["name", "id", "address", "role", "status"].map(|field| api::text(&server[field])).to_vec()
        };
        std::iter::once(heading).chain(self.all().iter().map(row)).collect()
    }
}

fn url(server: &Value) -> String {
    format!("https://{}", api::text(&server["address"]))
}
