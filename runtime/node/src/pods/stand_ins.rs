//! A server and a runtime that do what the test says.

use super::*;

/// What the API was asked, and what it has.
#[derive(Clone, Default, Debug)]
pub(super) struct Api {
    /// Bodies of status patches.
    pub(super) statuses: Vec<Value>,
    pub(super) deletes: Vec<Value>,
    pub(super) events: Vec<String>,
    pub(super) config_maps: BTreeMap<String, Value>,
    /// It answers nothing.
    pub(super) down: bool,
}

#[derive(Clone)]
pub(super) struct FakeApi(pub(super) watch::Sender<Api>);

impl FakeApi {
    pub(super) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    pub(super) async fn answer(
        &self,
        request: Request<kube::client::Body>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if self.0.borrow().down {
            return Err(std::io::Error::other("connection refused"));
        }
        let path = parts.uri.path();
        let name = path.rsplit('/').next().unwrap_or_default();
        let not_found =
            json!({"kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404});
        let (code, answer) = match (&parts.method, path) {
            (&Method::PATCH, p) if p.ends_with("/status") => {
                self.0.send_modify(|a| a.statuses.push(body["status"].clone()));
                let version = self.0.borrow().statuses.len() * 10;
                (200, json!({"metadata": {"resourceVersion": version.to_string()}}))
            }
            (&Method::DELETE, _) => {
                self.0.send_modify(|a| a.deletes.push(body));
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            (&Method::POST, p) if p.ends_with("/events") => {
                let text = format!(
                    "{} {}",
                    body["reason"].as_str().unwrap_or_default(),
                    body["message"].as_str().unwrap_or_default()
                );
                self.0.send_modify(|a| a.events.push(text));
                (201, body)
            }
            (&Method::GET, p) if p.contains("/configmaps/") => match self.0.borrow().config_maps.get(name) {
                Some(data) => (200, json!({"metadata": {"name": name}, "data": data})),
                None => (404, not_found),
            },
            _ => (404, not_found),
        };
        Response::builder().status(code).body(Full::new(Bytes::from(answer.to_string()))).map_err(std::io::Error::other)
    }

    /// Waits until the condition holds.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Api) -> bool) -> Api {
        let mut receiver = self.0.subscribe();
        let wait = receiver.wait_for(|api| condition(api));
        match tokio::time::timeout(Duration::from_secs(30), wait).await {
            Ok(api) => api.unwrap().clone(),
            Err(_) => panic!("{what}: {:#?}", *self.0.borrow()),
        }
    }
}

pub(super) fn last_ready(api: &Api) -> bool {
    api.statuses.last().is_some_and(|s| condition(s, "Ready") == "True")
}

pub(super) fn condition(status: &Value, name: &str) -> String {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    all.iter().find(|c| c["type"] == name).and_then(|c| c["status"].as_str()).unwrap_or_default().to_owned()
}

/// What components do, by image.
#[derive(Default)]
pub(super) struct FakeRuntime {
    /// Ends of running containers, by container arguments' first.
    pub(super) running: Mutex<HashMap<String, watch::Sender<Option<Exit>>>>,
    pub(super) launches: Mutex<Vec<Vec<(String, String)>>>,
    /// Paths of requests to pods, and stops.
    pub(super) calls: Arc<Mutex<Vec<String>>>,
}

pub(super) struct FakeWorkload {
    pub(super) end: watch::Sender<Option<Exit>>,
    pub(super) service: bool,
    pub(super) calls: Arc<Mutex<Vec<String>>>,
    /// Nothing is read from it, but it could be.
    pub(super) _stdin: pal_engine::Stdin,
}

#[async_trait]
impl Workload for FakeWorkload {
    fn ends(&self) -> bool {
        !self.service
    }

    fn set_memory_limit(&self, bytes: u64) -> Result<(), u64> {
        self.calls.lock().unwrap().push(format!("limit {bytes}"));
        if bytes < 1000 { Err(1000) } else { Ok(()) }
    }

    async fn wait(&self) -> Exit {
        let mut end = self.end.subscribe();
        end.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }

    async fn stop(&self, notice: Duration, _grace: Duration) -> Exit {
        self.calls.lock().unwrap().push("stop".to_owned());
        tokio::time::sleep(notice).await;
        let exit = if self.service { exit(0, "") } else { exit(CANCELLED, "") };
        self.end.send_replace(Some(exit.clone()));
        exit
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn find_image(&self, reference: &str) -> Result<Option<LocalImage>, ImageFailure> {
        match reference {
            "./local.wasm" => Err(ImageFailure { cause: Cause::InvalidImageName, message: "a local file".to_owned() }),
            "missing" => Ok(None),
            "panics" => panic!("as told"),
            _ => Ok(Some(LocalImage {
                image: Image { id: format!("{reference}@sha256:1").into(), size: 1 },
                digest: "sha256:1".to_owned(),
                path: reference.into(),
                defaults: None,
            })),
        }
    }

    async fn pull_image(&self, _: &str, _: bool) -> Result<LocalImage, ImageFailure> {
        Err(ImageFailure { cause: Cause::ErrImagePull, message: "no such image".to_owned() })
    }

    async fn launch(&self, image: &LocalImage, spec: LaunchSpec) -> Result<Arc<dyn Workload>, StartFailure> {
        self.launches.lock().unwrap().push(spec.env.clone());
        spec.stdout.write(b"hello from the guest\n");
        let end = watch::Sender::new(None);
        self.running.lock().unwrap().insert(spec.pod, end.clone());
        let service = image.path.ends_with("service");
        Ok(Arc::new(FakeWorkload { end, service, calls: self.calls.clone(), _stdin: spec.stdin }))
    }

    /// A command that says `fail` fails, and says so.
    async fn exec(&self, _: &LocalImage, program: Program) -> Result<Arc<dyn Workload>, ExecFailure> {
        let command = program.args.join(" ");
        self.calls.lock().unwrap().push(command.clone());
        let code = i32::from(command.contains("fail"));
        if code != 0 {
            program.stderr.write(b"failed as told");
        }
        let end = watch::Sender::new(Some(exit(code, "")));
        Ok(Arc::new(FakeWorkload { end, service: false, calls: self.calls.clone(), _stdin: program.stdin }))
    }

    async fn reach(&self, _: Ipv4Addr, action: &ProbeAction) -> Result<Option<StatusCode>, String> {
        let ProbeAction::HttpGet { path, .. } = action else { return Ok(None) };
        self.calls.lock().unwrap().push(path.clone());
        Ok(Some(if path.contains("bad") { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }))
    }
}

impl FakeRuntime {
    pub(super) fn end(&self, pod: &str, exit: Exit) {
        self.running.lock().unwrap()[pod].send_replace(Some(exit));
    }

    pub(super) fn launches(&self) -> usize {
        self.launches.lock().unwrap().len()
    }
}
