//! What the server may ask of a node, with kubelet's paths.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodStatus};
use pal_engine::{Body, BoxError};
use pal_network::SharedBackend;
use pal_resources::Status;
use pal_resources::status::Reason;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::host::{self, Host};
use crate::local_volumes::LocalVolumes;
use crate::logs::{LogFile, LogQuery, LogStore, stream};
use crate::pods::Manager;
use crate::stats::Stats;
use crate::streaming::{self, Exec, Target};

/// What is listened to at an address of a pod.
pub(crate) type Listeners = Arc<dyn Fn(Ipv4Addr, u16) -> Option<SharedBackend> + Send + Sync>;

/// Below it lies what pods serve, by address and port.
const POD_PROXY: &str = "podProxy";
/// Set on an answer that is the node's own: nothing listens there.
const REFUSED: HeaderName = HeaderName::from_static("pal-refused");

/// Answers the server's requests.
pub(crate) struct Kubelet {
    /// The node's name.
    pub(crate) node: String,
    pub(crate) pods: Arc<Manager>,
    pub(crate) host: Arc<Host>,
    pub(crate) logs: Arc<LogStore>,
    pub(crate) volumes: Arc<LocalVolumes>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) exec: Arc<dyn Exec>,
    pub(crate) listeners: Listeners,
    /// What runs for clients.
    pub(crate) tasks: TaskTracker,
}

impl Kubelet {
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let answer = match (request.method(), parts.as_slice()) {
            (&Method::GET, ["healthz"]) => Ok(text("ok".to_owned())),
            (&Method::GET, ["metrics", "resource"]) => Ok(text(self.stats.figures())),
            (&Method::GET, ["stats", "summary"]) => Ok(as_json(&self.stats.summary(&self.node).await)),
            (&Method::GET, ["pods"]) => {
                let items = self.pods.all();
                Ok(as_json(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})))
            }
            (&Method::GET, ["containerLogs", namespace, pod, container]) => {
                self.log(namespace, pod, container, request.uri().query().unwrap_or_default())
            }
            (&Method::POST, [what @ ("exec" | "attach"), namespace, pod, container]) => {
                let target = Target {
                    namespace: (*namespace).to_owned(),
                    pod: (*pod).to_owned(),
                    container: (*container).to_owned(),
                };
                self.stream(*what == "exec", &target, request).await
            }
            (&Method::POST, ["portForward", namespace, pod]) => self.forward(namespace, pod, request),
            (method @ (&Method::PUT | &Method::DELETE), ["volumes", volume]) => self.volume(method, volume).await,
            (_, [POD_PROXY, ip, port, ..]) => self.proxy(ip, port, request).await,
            _ => Err(Status::unknown_path()),
        };
        answer.unwrap_or_else(|status| refusal(&status))
    }

    async fn stream(&self, anew: bool, target: &Target, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let mut asked = streaming::Request::parse(request.uri().query().unwrap_or_default())?;
        if let Some(pod) = self.host.find(&target.namespace, &target.pod) {
            return Err(host::no_programs(pod));
        }
        let session = if anew {
            self.exec.exec(target, std::mem::take(&mut asked.command)).await?
        } else {
            self.exec.attach(target).await?
        };
        Ok(streaming::serve(session, &asked, request.into_body(), &self.tasks))
    }

    /// A connection to a pod's port; without one, whether there is something to forward to.
    fn forward(&self, namespace: &str, pod: &str, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        if let Some(pod) = self.host.find(namespace, pod) {
            return Err(host::no_ports(pod));
        }
        let status = self.pods.find(namespace, pod).and_then(|handle| handle.status());
        let status = status.ok_or_else(|| Status::new(404, Reason::NotFound, "pod does not exist"))?;
        let query = request.uri().query().unwrap_or_default();
        let port = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "port");
        let Some((_, port)) = port else { return Ok(text(String::new())) };
        let wrong = || Status::bad_request(format!("invalid value {port:?} of port"));
        let port = port.parse::<u16>().map_err(|_| wrong())?;
        let ip = status.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
        let refused = || {
            let message = format!(
                "failed to connect to localhost:{port} inside pod {pod}: dial tcp4 127.0.0.1:{port}: connect: connection refused"
            );
            Status { code: 502, reason: None, message, details: None }
        };
        let backend = ip.and_then(|ip| (self.listeners)(ip, port)).ok_or_else(refused)?;
        Ok(streaming::forward(backend, port, request.into_body(), &self.tasks))
    }

    /// A request to what a pod serves: the path behind address and port is the pod's own.
    async fn proxy(&self, ip: &str, port: &str, mut request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let own = path.strip_prefix(&format!("/{POD_PROXY}/{ip}/{port}")).unwrap_or_default().to_owned();
        let address = ip.parse().ok().zip(port.parse().ok()).ok_or_else(Status::unknown_path)?;
        let Some(backend) = (self.listeners)(address.0, address.1) else {
            let status = Status { code: 502, reason: None, message: "connection refused".to_owned(), details: None };
            let mut response = refusal(&status);
            response.headers_mut().insert(REFUSED, HeaderValue::from_static("1"));
            return Ok(response);
        };
        let wrong = |_| Status::bad_request("the path cannot be passed on");
        *request.uri_mut() = Uri::try_from(format!("http://{ip}:{port}{own}")).map_err(wrong)?;
        if let Ok(host) = HeaderValue::try_from(format!("{ip}:{port}")) {
            request.headers_mut().insert(header::HOST, host);
        }
        *request.version_mut() = http::Version::HTTP_11;
        let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
        let mut response = backend.call(request).await;
        pal_proxy::strip_hop_by_hop(response.headers_mut());
        response.headers_mut().remove(REFUSED);
        Ok(response)
    }

    /// Makes or removes the directory of a volume.
    async fn volume(&self, method: &Method, volume: &str) -> Result<Response<Body>, Status> {
        let (volumes, name, makes) = (self.volumes.clone(), volume.to_owned(), method == Method::PUT);
        let work = move || {
            if makes {
                let path = volumes.make(&name)?;
                return Ok(json!({"path": path.to_string_lossy()}));
            }
            volumes.remove(&name).map(|()| json!({}))
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(Status::internal)?;
        done.map(|value| as_json(&value))
    }

    fn log(&self, namespace: &str, pod: &str, container: &str, query: &str) -> Result<Response<Body>, Status> {
        let asked = parse(query, Timestamp::now())?;
        let (path, writer) = match self.host.find(namespace, pod) {
            Some(pod) => self.host.log(pod, container, asked.previous)?,
            None => self.log_of(namespace, pod, container, asked.previous)?,
        };
        let frames = stream(path, writer, asked.query).map_ok(Frame::data).map_err(|e| -> BoxError { Box::new(e) });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(response)
    }

    /// The log of a pod's container.
    fn log_of(&self, namespace: &str, pod: &str, container: &str, previous: bool) -> Result<LogFile, Status> {
        let not_found = || Status::new(404, Reason::NotFound, format!("pods {pod:?} not found"));
        let handle = self.pods.find(namespace, pod).ok_or_else(not_found)?;
        let status = handle.status().ok_or_else(not_found)?;
        let attempt = attempt(&status, pod, container, previous)?;
        let dir = self.logs.pod_dir(namespace, pod, &handle.uid);
        Ok(self.logs.find(&dir, container, attempt))
    }
}

fn text(text: String) -> Response<Body> {
    Response::new(http_body_util::Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
}

fn as_json(value: &Value) -> Response<Body> {
    let mut response = text(value.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refusal(status: &Status) -> Response<Body> {
    let body = String::from_utf8(status.to_json()).unwrap_or_default();
    let mut response = text(body + "\n");
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Asked {
    query: LogQuery,
    previous: bool,
}

fn parse(query: &str, now: Timestamp) -> Result<Asked, Status> {
    let mut asked = Asked { query: LogQuery::default(), previous: false };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = || Status::bad_request(format!("invalid value {value:?} of {name}"));
        let flag = || match value.as_ref() {
            "" | "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(wrong()),
        };
        let number = || value.parse::<u64>().map_err(|_| wrong());
        match name.as_ref() {
            "follow" => asked.query.follow = flag()?,
            "timestamps" => asked.query.timestamps = flag()?,
            "previous" => asked.previous = flag()?,
            "tailLines" => asked.query.tail = Some(number()?),
            "limitBytes" => asked.query.limit = Some(number()?),
            "sinceSeconds" => {
                let ago = SignedDuration::from_secs(i64::try_from(number()?).map_err(|_| wrong())?);
                asked.query.since = Some(now.checked_sub(ago).unwrap_or(Timestamp::MIN));
            }
            "sinceTime" => asked.query.since = Some(value.parse().map_err(|_| wrong())?),
            // Newer clients may know more.
            _ => {}
        }
    }
    Ok(asked)
}

/// Which run's log is meant.
fn attempt(status: &PodStatus, pod: &str, container: &str, previous: bool) -> Result<u32, Status> {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let all = lists.into_iter().flatten().flatten();
    let bad = |message: String| Err(Status::bad_request(message));
    let Some(found) = all.into_iter().find(|c| c.name == container) else {
        return bad(format!("container {container} is not valid for pod {pod}"));
    };
    let last = found.last_state.as_ref().and_then(ended);
    if previous {
        return match last {
            Some(attempt) => Ok(attempt),
            None => bad(format!("previous terminated container {container:?} in pod {pod:?} not found")),
        };
    }
    match current(found).or(last) {
        Some(attempt) => Ok(attempt),
        None => {
            let reason = found.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.reason.as_deref());
            let why = match reason {
                Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image",
                Some("ErrImageNeverPull") => "image can't be pulled",
                Some(other) => other,
                None => "ContainerCreating",
            };
            bad(format!("container {container:?} in pod {pod:?} is waiting to start: {why}"))
        }
    }
}

/// The run that goes on or was the last one.
fn current(container: &ContainerStatus) -> Option<u32> {
    let state = container.state.as_ref()?;
    match state.running {
        Some(_) => u32::try_from(container.restart_count).ok(),
        None => ended(state),
    }
}

fn ended(state: &ContainerState) -> Option<u32> {
    let id = state.terminated.as_ref()?.container_id.as_deref()?;
    id.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: serde_json::Value, last: serde_json::Value, previous: bool, expected: Result<u32, &str>) {
        let status: PodStatus = serde_json::from_value(serde_json::json!({"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last},
        ]}))
        .unwrap();
        let got = attempt(&status, "p", "c", previous).map_err(|s| s.message);
        assert_eq!(got, expected.map_err(str::to_owned));
    }

    #[test]
    fn the_log_is_that_of_the_run_that_is_meant() {
        let ended = |n: u32| json!({"terminated": {"exitCode": 1, "containerID": format!("pal://u/c/{n}")}});
        let crash_loop = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        check(json!({"running": {}}), ended(2), false, Ok(3));
        check(json!({"running": {}}), ended(2), true, Ok(2));
        check(crash_loop.clone(), ended(3), false, Ok(3));
        check(crash_loop, ended(3), true, Ok(3));
        check(ended(3), json!({}), false, Ok(3));
        check(ended(3), json!({}), true, Err("previous terminated container \"c\" in pod \"p\" not found"));
        check(
            json!({"waiting": {"reason": "ImagePullBackOff"}}),
            json!({}),
            false,
            Err("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
        );
    }

    #[test]
    fn a_query_is_read_or_refused_by_name() {
        let now: Timestamp = "2026-11-21T00:00:10Z".parse().unwrap();
        let asked =
            parse("follow=true&tailLines=5&sinceSeconds=10&timestamps=1&previous=false&limitBytes=7", now).unwrap();
        let since = Some("2026-11-21T00:00:00Z".parse().unwrap());
        let expected = LogQuery { follow: true, tail: Some(5), since, timestamps: true, limit: Some(7) };
        assert_eq!((asked.query, asked.previous), (expected, false));
        let error = parse("tailLines=-1", now).err().unwrap();
        assert_eq!((error.code, error.message.as_str()), (400, "invalid value \"-1\" of tailLines"));
    }
}
