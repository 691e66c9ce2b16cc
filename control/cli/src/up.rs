//! `pal up`: a server and a node in one process, and manifests brought to life.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use pal_server::tokens::{self, Role};
use serde_json::Value;

use crate::api::{self, Api};
use crate::apply::{self, Applied};
use crate::args::{JoinArgs, UpArgs};
use crate::control_plane::ControlPlane;
use crate::error::CliError;
use crate::journal::{Journal, Keeper};
use crate::manifest;
use crate::mirror::{self, Shown};
use crate::node::{Node, NodeStart};
use crate::progress::Progress;
use crate::{out, paths, running, signals, wait};

/// The token by which the node of the same process joins is used at once.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// `pal up`
pub async fn run(args: UpArgs, journal: Journal, keeper: Keeper) -> Result<(), CliError> {
    let started = Timestamp::now();
    let stop = signals::stop_on_signal()?;
    // Read before anything starts: a mistake in a manifest is the commonest reason to begin again.
    let documents = if args.filename.is_empty() { Vec::new() } else { manifest::read(&args.filename, false)? };
    let data_dir = paths::data_dir(args.serve.data_dir.as_deref())?;
    let progress = Progress::new();

    let step = progress.step("starting the control plane");
    let alone = JoinArgs::default();
    let plane = match ControlPlane::start(&args.serve, &alone, &data_dir, &stop, |text| step.note(text)).await {
        Ok(Some(plane)) => plane,
        Ok(None) => return Ok(()),
        Err(CliError::InUse { dir }) => return Err(running::there(dir).await),
        Err(error) => return Err(error),
    };
    let ready = format!("control plane is ready at {}", plane.url);
    journal.keep(&ready);
    step.done(ready);

    let result = async {
        let step = progress.step("starting the node");
        let node = start_node(&args, &data_dir, &plane, |text| step.note(text)).await?;
        let runs = format!("node {} is running", node.name);
        journal.keep(&runs);
        step.done(runs);
        Ok::<_, CliError>(node)
    };
    let node = match result.await {
        Ok(node) => node,
        Err(error) => {
            plane.stop().await;
            return Err(error);
        }
    };
    let work = async {
        let served = serve(&args, &plane, documents, &progress).await;
        if served.is_ok() {
            stop.cancelled().await;
        }
        served
    };
    let shown = Shown { node: node.name.clone(), address: args.node_ip, started };
    let result = tokio::select! {
        result = work => result,
        never = mirror::keep(&plane.registry, &shown) => match never {},
        never = keeper.keep(node.log()) => match never {},
        () = stop.cancelled() => Ok(()),
        failure = plane.failed() => Err(failure),
    };
    if result.is_ok() {
        eprintln!("stopping (again to stop at once)");
    }
    node.stop().await;
    plane.stop().await;
    result
}

async fn start_node(
    args: &UpArgs,
    data_dir: &Path,
    plane: &ControlPlane,
    progress: impl Fn(&str) + Send,
) -> Result<Node, CliError> {
    let token = tokens::create(&plane.registry, Role::Node, TOKEN_LIFE, "pal up", plane.server.ca().fingerprint())
        .await
        .map_err(CliError::other)?;
    let start = NodeStart {
        data_dir: data_dir.join("node"),
        servers: vec![plane.url.clone()],
        token: Some(token.clone()),
        name: None,
        node_ip: args.node_ip,
        labels: Vec::new(),
        local_volumes: Vec::new(),
        shown_by: mirror::pods,
    };
    let node = Node::start(start, progress, tokio_util::sync::CancellationToken::new()).await;
    // Used or not needed: nobody else ever sees it.
    let id = token.trim_start_matches("pal_").split('.').next().unwrap_or_default();
    if let Err(status) = tokens::revoke(&plane.registry, id).await {
        tracing::warn!(%status, "the node's token could not be taken back; it expires by itself");
    }
    node
}

/// Applies the manifests, waits, and prints what runs and where.
async fn serve(
    args: &UpArgs,
    plane: &ControlPlane,
    documents: Vec<manifest::Document>,
    progress: &Progress,
) -> Result<(), CliError> {
    let api = Api::from_kubeconfig(plane.kubeconfig.clone()).await?;
    let mut applied = Vec::new();
    if !documents.is_empty() {
        let step = progress.step("applying the manifests");
        applied = apply::apply(&api, documents, false, |one| progress.say(&one.line())).await?;
        step.done(format!("applied {}", count(applied.len(), "object")));
        let step = progress.step("waiting until all is ready");
        wait::ready(&api, &applied, args.timeout, |text| step.note(text)).await?;
        step.done("all is ready");
    }
    let urls = service_urls(&api, &applied).await?;
    if !urls.is_empty() {
        out::note("");
    }
    for url in urls {
        out::note(format_args!("  {url}"));
    }
    for trouble in port_trouble(&api, &applied).await? {
        out::note(format_args!("  warning: {trouble}"));
    }
    out::note(format_args!("\n  kubectl --kubeconfig {} get pods -A\n", plane.kubeconfig.display()));
    out::note(format_args!("Ctrl-C stops it; the next `pal up` goes on where it was."));
    Ok(())
}

/// Where the NodePort Services among the objects are reached: on the first node that says its address.
pub async fn service_urls(api: &Api, applied: &[Applied]) -> Result<Vec<String>, CliError> {
    let mut urls = Vec::new();
    let services: Vec<&Applied> = applied.iter().filter(|a| a.resource.plural == "services").collect();
    if services.is_empty() {
        return Ok(urls);
    }
    let Some(address) = node_address(api).await? else { return Ok(urls) };
    for service in services {
        let object = api.get(&service.resource.path(service.namespace.as_deref(), Some(&service.name))).await?;
        urls.extend(node_ports(&address, &object));
    }
    Ok(urls)
}

/// The same of all Services of the cluster.
pub async fn all_service_urls(api: &Api) -> Result<Vec<String>, CliError> {
    let services = api.get("/api/v1/services").await?;
    let Some(address) = node_address(api).await? else { return Ok(Vec::new()) };
    Ok(api::array(&services["items"]).iter().flat_map(|service| node_ports(&address, service)).collect())
}

async fn node_address(api: &Api) -> Result<Option<String>, CliError> {
    let nodes = api.get("/api/v1/nodes").await?;
    Ok(api::array(&nodes["items"]).iter().find_map(internal_ip))
}

fn node_ports(address: &str, service: &Value) -> Vec<String> {
    let name = api::text(&service["metadata"]["name"]);
    let ports = api::array(&service["spec"]["ports"]).iter().filter_map(|port| port["nodePort"].as_u64());
    ports.map(|port| format!("http://{address}:{port}  (service/{name})")).collect()
}

/// Ports of the Services among the objects that a node could not open, in its words.
pub async fn port_trouble(api: &Api, applied: &[Applied]) -> Result<Vec<String>, CliError> {
    let mut troubles = Vec::new();
    let starts = [("fieldSelector", "involvedObject.kind=Node,reason=Starting".to_owned())];
    let starts = api.get(&format!("/api/v1/namespaces/default/events{}", api::query(&starts))).await?;
    for service in applied.iter().filter(|a| a.resource.plural == "services") {
        let namespace = service.namespace.as_deref().unwrap_or("default");
        let fields =
            format!("involvedObject.kind=Service,involvedObject.name={},reason=NodePortUnavailable", service.name);
        let parameters = api::query(&[("fieldSelector", fields)]);
        let events = api.get(&format!("/api/v1/namespaces/{namespace}/events{parameters}")).await?;
        let told = since_start(api::array(&events["items"]), api::array(&starts["items"]));
        troubles.extend(told.into_iter().map(|message| format!("service/{}: {message}", service.name)));
    }
    Ok(troubles)
}

/// What the events say, each thing once; those of before their node's last start are of the past.
fn since_start(events: &[Value], starts: &[Value]) -> BTreeSet<String> {
    let at = |event: &Value| api::text(&event["lastTimestamp"]);
    let started = |node: &Value| starts.iter().filter(|start| start["source"]["host"] == *node).map(at).max();
    let holds = |event: &&Value| started(&event["source"]["host"]).is_none_or(|started| started <= at(event));
    events.iter().filter(holds).map(|event| api::text(&event["message"])).collect()
}

fn internal_ip(node: &Value) -> Option<String> {
    let address = api::array(&node["status"]["addresses"]).iter().find(|a| a["type"] == "InternalIP")?;
    address["address"].as_str().map(str::to_owned)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_started_anew_is_heard_of_what_it_said_since_and_once() {
        let event = |host: &str, time: &str, message: &str| json!({"source": {"host": host}, "lastTimestamp": format!("2026-11-23T14:{time}Z"), "message": message});
        let starts =
            [event("a", "10:00", "Starting"), event("a", "20:00", "Starting"), event("b", "30:00", "Starting")];
        let check = |events: &[Value], expected: &[&str]| {
            assert_eq!(since_start(events, &starts).iter().map(String::as_str).collect::<Vec<_>>(), expected);
        };
        check(&[event("a", "10:00", "before"), event("a", "20:00", "now")], &["now"]);
        check(&[event("a", "21:00", "again"), event("a", "22:00", "again")], &["again"]);
        check(
            &[event("b", "29:59", "before"), event("c", "01:00", "of whose start nothing is known")],
            &["of whose start nothing is known"],
        );
        check(&[], &[]);
    }
}
