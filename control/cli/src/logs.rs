//! `pal logs`

use futures::AsyncReadExt;
use futures::future::try_join_all;
use http::Method;
use serde_json::Value;

use crate::api::{self, Api, query, request};
use crate::args::{ClientArgs, LogsArgs};
use crate::error::CliError;
use crate::out;

/// How many pods are followed at a time; kubectl's limit is five, for the server's sake.
const FOLLOWED: usize = 50;
const LINES_OF_MANY: i64 = 10;

pub async fn run(client: &ClientArgs, args: LogsArgs) -> Result<(), CliError> {
    let api = Api::connect(client).await?;
    let pods = pods(&api, &args).await?;
    if pods.is_empty() {
        return Err(CliError::other(format!("no pods found in {} namespace", api.namespace)));
    }
    let many = pods.len() > 1 || args.selector.is_some();
    if args.follow && pods.len() > FOLLOWED {
        return Err(CliError::other(format!("{} pods are more than the {FOLLOWED} that can be followed", pods.len())));
    }
    let tail = args.tail.or_else(|| (args.selector.is_some()).then_some(LINES_OF_MANY));
    let prints = pods.iter().map(|pod| {
        let prefix = if many { format!("[pod/{pod}] ") } else { String::new() };
        print(&api, &args, pod, tail, prefix)
    });
    if args.follow {
        try_join_all(prints).await?;
    } else {
        for one in prints {
            one.await?;
        }
    }
    Ok(())
}

/// The pods that are meant: one by name, those of a workload, those with labels.
async fn pods(api: &Api, args: &LogsArgs) -> Result<Vec<String>, CliError> {
    let collection = format!("/api/v1/namespaces/{}/pods", api.namespace);
    let selector = match (&args.target, &args.selector) {
        (_, Some(selector)) => selector.clone(),
        (Some(target), None) => match target.split_once('/') {
            None => return Ok(vec![target.clone()]),
            Some(("pod" | "pods" | "po", name)) => return Ok(vec![name.to_owned()]),
            Some((word, name)) => {
                let resource = api.resource(word).await?;
                let object = api.get(&resource.path(Some(&api.namespace), Some(name))).await?;
                labels_of(&object).ok_or_else(|| CliError::other(format!("{target} has no pods of its own")))?
            }
        },
        (None, None) => return Err(CliError::other("say which pod")),
    };
    let list = api.get(&format!("{collection}{}", query(&[("labelSelector", selector)]))).await?;
    Ok(api::array(&list["items"]).iter().map(|pod| api::text(&pod["metadata"]["name"])).collect())
}

fn labels_of(object: &Value) -> Option<String> {
    let selector = &object["spec"]["selector"];
    let labels = selector["matchLabels"].as_object().or_else(|| selector.as_object())?;
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    Some(pairs.join(","))
}

async fn print(api: &Api, args: &LogsArgs, pod: &str, tail: Option<i64>, prefix: String) -> Result<(), CliError> {
    let mut parameters = Vec::new();
    if let Some(container) = &args.container {
        parameters.push(("container", container.clone()));
    }
    if let Some(tail) = tail.filter(|lines| *lines >= 0) {
        parameters.push(("tailLines", tail.to_string()));
    }
    if let Some(since) = args.since {
        parameters.push(("sinceSeconds", since.as_secs().max(1).to_string()));
    }
    for (name, set) in [("follow", args.follow), ("previous", args.previous), ("timestamps", args.timestamps)] {
        if set {
            parameters.push((name, "true".to_owned()));
        }
    }
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/log{}", api.namespace, query(&parameters));
    let mut stream = Box::pin(api.stream(request(Method::GET, &path, &[], None)?).await?);
    let mut buffer = vec![0; 16 * 1024];
    let mut at_line_start = true;
    loop {
        let read = stream.read(&mut buffer).await.map_err(CliError::other)?;
        if read == 0 {
            return Ok(());
        }
        let text = prefixed(&buffer[..read], &prefix, &mut at_line_start);
        out::bytes(&text)?;
    }
}

fn prefixed(bytes: &[u8], prefix: &str, at_line_start: &mut bool) -> Vec<u8> {
    if prefix.is_empty() {
        return bytes.to_vec();
    }
    let mut text = Vec::with_capacity(bytes.len() + prefix.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if *at_line_start {
            text.extend_from_slice(prefix.as_bytes());
        }
        text.extend_from_slice(line);
        *at_line_start = line.ends_with(b"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_gets_its_pod_once_however_it_arrives() {
        let mut start = true;
        let mut text = prefixed(b"one\ntw", "> ", &mut start);
        text.extend(prefixed(b"o\nthree\n", "> ", &mut start));
        assert_eq!(String::from_utf8_lossy(&text), "> one\n> two\n> three\n");
    }
}
