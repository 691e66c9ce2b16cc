//! Directories of nodes that are volumes, for who asks within the process.

use std::sync::Arc;

use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::{Api, nodes};

const ANSWER_LIMIT: usize = 64 * 1024;

/// Has nodes make and remove the directories of volumes.
#[derive(Clone)]
pub struct Directories(pub(crate) Arc<Api>);

impl Directories {
    /// Makes the directory of a volume on a node, if it is not there: its path.
    pub async fn make(&self, node: &str, volume: &str) -> Result<String, String> {
        let answer = self.ask(node, Method::PUT, volume).await?;
        let path = answer["path"].as_str().filter(|path| !path.is_empty());
        path.map(str::to_owned).ok_or_else(|| format!("node {node} does not say where the volume is"))
    }

    /// Removes it with all that is in it, if it is there.
    pub async fn remove(&self, node: &str, volume: &str) -> Result<(), String> {
        self.ask(node, Method::DELETE, volume).await.map(drop)
    }

    async fn ask(&self, node: &str, method: Method, volume: &str) -> Result<Value, String> {
        let answer = nodes::send(&self.0, node, &method, &format!("/volumes/{volume}")).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        match status {
            StatusCode::OK => Ok(body),
            _ => Err(body["message"].as_str().map_or_else(|| format!("node {node} answered {status}"), str::to_owned)),
        }
    }
}
